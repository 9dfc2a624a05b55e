"""`/samara/mates/1`: who else takes part in this content? One request, one answer, and the rules of what may be in it.

Asked and told only of what is public: who takes part in a public swarm is no secret to the others in it. A peer is told
at the IP that it is connected from, so nobody can have others dial a third host by claiming its address.

Source: specs/network.md, "Mates".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from samara.protocol.addresses import Address, Scope, at_ip_of, meant_for
from samara.protocol.contacts import Contact, decode_contact, encode_contacts
from samara.protocol.errors import RemoteProtocolError
from samara.protocol.ids import ContentId
from samara.protocol.limits import MAX_MATE_ADDRESSES, MAX_MATES
from samara.protocol.wire import bytes_field, fields

__all__ = [
    "MATES",
    "decode_mates",
    "decode_mates_request",
    "encode_mates",
    "encode_mates_request",
    "to_believe",
    "to_tell",
]

MATES: Final = "/samara/mates/1"

_CONTENT, _PEER = 1, 1
_ID_BYTES: Final = 32


def encode_mates_request(content: ContentId) -> bytes:
    """Return the question who takes part in a content."""
    return bytes_field(_CONTENT, content)


def decode_mates_request(data: bytes) -> ContentId:
    """Return which content is asked about.

    Raises:
        RemoteProtocolError: It is no such message.
    """
    content = b""
    for number, value in fields(data):
        if number == _CONTENT and isinstance(value, bytes):
            content = value
    if len(content) != _ID_BYTES:
        raise RemoteProtocolError(f"a question about a content with an id of {len(content)} bytes")
    return ContentId(content)


def encode_mates(mates: Iterable[Contact]) -> bytes:
    """Return the answer."""
    return encode_contacts(_PEER, mates)


def decode_mates(data: bytes) -> tuple[Contact, ...]:
    """Return who is told, at most `MAX_MATES`; the rest is skipped.

    Raises:
        RemoteProtocolError: It is no protobuf message.
    """
    mates: list[Contact] = []
    for number, value in fields(data):
        if number == _PEER and isinstance(value, bytes) and len(mates) < MAX_MATES:
            contact = decode_contact(value)
            if contact is not None:
                mates.append(contact)
    return tuple(mates)


def to_tell(said: Sequence[Address], seen: Address, asker: Scope, *, dialled: bool) -> tuple[Address, ...]:
    """Return where a peer may be said to be found.

    Args:
        said: Where it says that it listens.
        seen: The remote end of the connection with it.
        asker: The scope of who is told.
        dialled: The connection was made to `seen`, so it listens there.
    """
    known = dict.fromkeys((seen, *said) if dialled else said)
    return meant_for(at_ip_of(known, seen), asker)[:MAX_MATE_ADDRESSES]


def to_believe(told: Sequence[Address], teller: Scope) -> tuple[Address, ...]:
    """Return at which of the addresses that a peer tells of another one that may be dialled.

    Args:
        told: What it tells.
        teller: The scope of the address that it is connected from.
    """
    usable = (address for address in told if address.is_unprivileged and not address.is_name)
    return meant_for(usable, teller)[:MAX_MATE_ADDRESSES]
