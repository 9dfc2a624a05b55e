"""A peer and where it is said to be found, as the DHT and those who share a content tell each other of peers.

All of it is a claim: an address is only ever something to dial, and who answers there is proved by the handshake.

Source: libp2p kad-dht specification, "RPC messages"; specs/network.md, "Messages".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from samara.protocol.addresses import Address, decode_address
from samara.protocol.errors import AddressError
from samara.protocol.limits import MAX_PEER_ADDRESSES
from samara.protocol.peers import format_peer_id, parse_peer_id
from samara.protocol.wire import bytes_field, fields

__all__ = ["Contact", "decode_contact", "encode_contacts"]

_ID: Final = 1
_ADDRESS: Final = 2


@dataclass(frozen=True, slots=True)
class Contact:
    """A peer, and where it is said to be found.

    Attributes:
        peer: Its peer id.
        addresses: Where; may be empty.
    """

    peer: str
    addresses: tuple[Address, ...] = ()


def encode_contacts(field: int, contacts: Iterable[Contact]) -> bytes:
    """Return contacts as repeated fields of a message."""
    out = b""
    for contact in contacts:
        peer = bytes_field(_ID, parse_peer_id(contact.peer))
        for address in contact.addresses[:MAX_PEER_ADDRESSES]:
            peer += bytes_field(_ADDRESS, address.encode())
        out += bytes_field(field, peer)
    return out


def decode_contact(data: bytes) -> Contact | None:
    """Return the contact of one field; None when the peer is of a kind that we cannot name, and so cannot ask.

    Raises:
        RemoteProtocolError: It is no protobuf message.
    """
    raw, addresses = b"", dict[Address, None]()
    for number, content in fields(data):
        if number == _ID and isinstance(content, bytes):
            raw = content
        elif number == _ADDRESS and isinstance(content, bytes) and len(addresses) < MAX_PEER_ADDRESSES:
            address = decode_address(content)
            if address is not None and address.port:
                addresses[address] = None
    try:
        return Contact(format_peer_id(raw), tuple(addresses))
    except AddressError:
        return None
