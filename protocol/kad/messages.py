"""The messages of `/samara/kad/1`: those of libp2p's Kademlia, field for field, under a name of our own.

Contacts and providers of a message are read up to k each, with at most `MAX_PEER_ADDRESSES` addresses that Samara can
dial; the rest is skipped, not an error, since other implementations may send more. All addresses are claims.

Source: libp2p kad-dht specification; specs/network.md, "Messages".
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from samara.protocol.contacts import Contact, decode_contact, encode_contacts
from samara.protocol.errors import RemoteProtocolError
from samara.protocol.limits import KAD_BUCKET, MAX_KAD_KEY, MAX_KAD_VALUE
from samara.protocol.wire import bytes_field, fields, number_field

__all__ = ["KAD", "Kind", "Message", "decode", "encode", "position"]

KAD: Final = "/samara/kad/1"

_KIND, _KEY, _RECORD, _CLOSER, _PROVIDERS = 1, 2, 3, 8, 9
_RECORD_KEY, _RECORD_VALUE = 1, 2


class Kind(IntEnum):
    """What a message asks, and what its answer answers."""

    PUT_VALUE = 0
    GET_VALUE = 1
    ADD_PROVIDER = 2
    GET_PROVIDERS = 3
    FIND_NODE = 4
    PING = 5


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    Attributes:
        kind: What is asked or answered.
        key: What it is about; at most `MAX_KAD_KEY` bytes.
        value: The value under the key, or None.
        closer: Peers that are closer to the key.
        providers: Peers that have the key.
    """

    kind: Kind
    key: bytes = b""
    value: bytes | None = None
    closer: tuple[Contact, ...] = ()
    providers: tuple[Contact, ...] = ()


def position(key: bytes) -> int:
    """Return the place of a key, or of the bytes of a peer id, in the space of the DHT: 256 bits.

    Source: libp2p kad-dht specification, "Distance": the SHA-256 of the key.
    """
    return int.from_bytes(hashlib.sha256(key).digest(), "big")


def encode(message: Message) -> bytes:
    """Return the bytes of a message."""
    out = number_field(_KIND, message.kind)
    if message.key:
        out += bytes_field(_KEY, message.key)
    if message.value is not None:
        record = bytes_field(_RECORD_KEY, message.key) + bytes_field(_RECORD_VALUE, message.value)
        out += bytes_field(_RECORD, record)
    return out + encode_contacts(_CLOSER, message.closer) + encode_contacts(_PROVIDERS, message.providers)


def decode(data: bytes) -> Message:
    """Return a message; `data` is at most `MAX_KAD_MESSAGE` bytes.

    Raises:
        RemoteProtocolError: It is malformed, or breaks a limit.
    """
    kind, key, value = 0, b"", None
    closer: list[Contact] = []
    providers: list[Contact] = []
    for number, content in fields(data):
        if number == _KIND and isinstance(content, int):
            kind = content
        elif not isinstance(content, bytes):
            continue
        elif number == _KEY:
            key = content
        elif number == _RECORD:
            record_key, value = _decode_record(content)
            key = key or record_key
        elif number == _CLOSER and len(closer) < KAD_BUCKET:
            closer += _contact(content)
        elif number == _PROVIDERS and len(providers) < KAD_BUCKET:
            providers += _contact(content)
    if kind not in Kind.__members__.values():
        raise RemoteProtocolError(f"a DHT message of kind {kind}")
    if len(key) > MAX_KAD_KEY:
        raise RemoteProtocolError(f"a DHT key of {len(key)} bytes: at most {MAX_KAD_KEY}")
    if value is not None and len(value) > MAX_KAD_VALUE:
        raise RemoteProtocolError(f"a DHT value of {len(value)} bytes: at most {MAX_KAD_VALUE}")
    return Message(Kind(kind), key, value, tuple(closer), tuple(providers))


def _decode_record(data: bytes) -> tuple[bytes, bytes]:
    key, value = b"", b""  # protobuf leaves an empty one out
    for number, content in fields(data):
        if number == _RECORD_KEY and isinstance(content, bytes):
            key = content
        elif number == _RECORD_VALUE and isinstance(content, bytes):
            value = content
    return key, value


def _contact(data: bytes) -> list[Contact]:
    contact = decode_contact(data)
    return [] if contact is None else [contact]
