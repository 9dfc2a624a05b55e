"""What libp2p peers tell each other when they meet: agent, protocols, addresses, and where the other came from.

All of it is a claim. The addresses are where a peer says that it listens, `observed` is where the teller saw *us* come
from; neither is believed before somebody dialled it. Signed peer records are neither sent nor read: what a node acts on
is checked by dialling, and the id by Noise.

Source: libp2p identify specification 1.0.0; specs/network.md, "Identify".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from samara.protocol.addresses import Address, decode_address
from samara.protocol.limits import MAX_AGENT, MAX_PEER_ADDRESSES, MAX_PROTOCOLS
from samara.protocol.wire import bytes_field, fields

__all__ = ["IDENTIFY", "Identify", "decode_identify", "encode_identify"]

IDENTIFY: Final = "/ipfs/id/1.0.0"
_VERSION: Final = b"ipfs/0.1.0"  # the name of the protocol family, which others compare
_PUBLIC_KEY, _ADDRESSES, _PROTOCOLS, _OBSERVED, _FAMILY, _AGENT = 1, 2, 3, 4, 5, 6


@dataclass(frozen=True, slots=True)
class Identify:
    """One identify message.

    Attributes:
        agent: What the peer says it runs; printable, at most `MAX_AGENT` characters.
        protocols: What it serves.
        addresses: Where it says that it listens; those that Samara can dial.
        observed: Where it saw the receiver come from; None when it does not say.
    """

    agent: str
    protocols: frozenset[str]
    addresses: tuple[Address, ...]
    observed: Address | None


def encode_identify(message: Identify, public_key: bytes) -> bytes:
    """Return the message.

    Args:
        message: What we tell.
        public_key: The protobuf form of our public key.
    """
    out = bytes_field(_PUBLIC_KEY, public_key)
    out += b"".join(bytes_field(_ADDRESSES, address.encode()) for address in message.addresses)
    out += b"".join(bytes_field(_PROTOCOLS, protocol.encode()) for protocol in sorted(message.protocols))
    if message.observed is not None:
        out += bytes_field(_OBSERVED, message.observed.encode())
    return out + bytes_field(_FAMILY, _VERSION) + bytes_field(_AGENT, message.agent.encode())


def decode_identify(data: bytes) -> Identify:
    """Return what a peer told; `data` is at most `MAX_IDENTIFY` bytes.

    Raises:
        RemoteProtocolError: It is no protobuf message.
    """
    agent, observed = "", None
    protocols: list[str] = []
    addresses: list[Address] = []
    for number, value in fields(data):
        if not isinstance(value, bytes):
            continue
        if number == _ADDRESSES and len(addresses) < MAX_PEER_ADDRESSES:
            address = decode_address(value)
            if address is not None and address.port and address not in addresses:
                addresses.append(address)
        elif number == _PROTOCOLS and len(protocols) < MAX_PROTOCOLS:
            protocols.append(value.decode("utf-8", "replace"))
        elif number == _OBSERVED:
            observed = decode_address(value)
        elif number == _AGENT:
            text = value[: 4 * MAX_AGENT].decode("utf-8", "replace")
            agent = "".join(letter for letter in text if letter.isprintable())[:MAX_AGENT]
    return Identify(agent, frozenset(protocols), tuple(addresses), observed)
