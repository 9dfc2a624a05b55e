"""The keys under which contents, releases and heads are found in the DHT: hashes of the ids, never the ids themselves.

Whoever watches the DHT sees which keys are asked for and announced. A key does not tell the id that it was made of, so
a node that only stores provider records cannot ask the providers for what they have. The kinds are kept apart by
domain: a content and a release never share a key, whatever their ids are.

Source: specs/network.md, "Keys".
"""

from __future__ import annotations

from typing import Final, Literal

from blake3 import blake3

__all__ = ["Kind", "head_key", "log_key", "routing_key"]

Kind = Literal["content", "release", "log", "head"]

_CONTEXT: Final = "samara 2026-11 routing key: "
"""BLAKE3's key-derivation context, before the kind. It is part of the format: it never changes."""


def routing_key(kind: Kind, id: bytes) -> bytes:  # noqa: A002 - the word that the spec uses
    """Return the DHT key (32 bytes) of an id.

    Args:
        kind: What the id names.
        id: The raw id: 32 bytes of a content, release or publisher id; of a head, the publisher id and then its name
            in UTF-8.

    Source: specs/network.md, "Keys".
    """
    return blake3(id, derive_key_context=_CONTEXT + kind).digest()


def head_key(publisher: bytes, name: str) -> str:
    """Return the text key of a head's value: `/head/` and 64 hexadecimal digits.

    Args:
        publisher: The publisher id, 32 bytes.
        name: The name of the releases that the head leads.
    """
    return "/head/" + routing_key("head", publisher + name.encode()).hex()


def log_key(publisher: bytes) -> str:
    """Return the text key of the value that tells of a publisher's log: `/log/` and 64 hexadecimal digits.

    Args:
        publisher: The publisher id, 32 bytes.
    """
    return "/log/" + routing_key("log", publisher).hex()
