"""`/samara/reach/1`: please dial me back, and say which of my addresses worked. Messages and the rule of whom to dial.

The one rule that makes this safe to serve: only addresses whose IP is the one that the request came from are dialled.
So nobody can be sent against a third host, nor into a network that the asker is not in, and a dial costs the asker as
many bytes as the asked.

Source: specs/network.md, "Reachability".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from samara.protocol.addresses import Address, at_ip_of, decode_address
from samara.protocol.errors import RemoteProtocolError
from samara.protocol.limits import MAX_PEER_ADDRESSES, REACH_DIALS
from samara.protocol.wire import bytes_field, fields, number_field

__all__ = [
    "REACH",
    "Answer",
    "Verdict",
    "decode_answer",
    "decode_request",
    "encode_answer",
    "encode_request",
    "to_dial",
]

REACH: Final = "/samara/reach/1"


class Verdict(IntEnum):
    """How a request ended."""

    REACHED = 1
    NOT_REACHED = 2
    BUSY = 3
    REFUSED = 4


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request.

    Attributes:
        verdict: How it ended.
        address: The address that worked; None unless it was reached.
    """

    verdict: Verdict
    address: Address | None = None


def encode_request(addresses: Sequence[Address]) -> bytes:
    """Return a request to dial us at one of these addresses."""
    return b"".join(bytes_field(1, address.encode()) for address in addresses[:MAX_PEER_ADDRESSES])


def decode_request(data: bytes) -> tuple[Address, ...]:
    """Return the addresses of a request; those that cannot be dialled are left out.

    Raises:
        RemoteProtocolError: It is no protobuf message.
    """
    decoded = (decode_address(value) for number, value in fields(data) if number == 1 and isinstance(value, bytes))
    return tuple(dict.fromkeys(address for address in decoded if address is not None))[:MAX_PEER_ADDRESSES]


def encode_answer(answer: Answer) -> bytes:
    """Return an answer."""
    out = number_field(1, answer.verdict)
    return out if answer.address is None else out + bytes_field(2, answer.address.encode())


def decode_answer(data: bytes, asked: Sequence[Address]) -> Answer:
    """Return an answer to the request for `asked`.

    Raises:
        RemoteProtocolError: It is malformed, or claims an address that was not asked for.
    """
    verdict, address = 0, None
    for number, value in fields(data):
        if number == 1 and isinstance(value, int):
            verdict = value
        elif number == 2 and isinstance(value, bytes):
            address = decode_address(value)
    if verdict not in Verdict.__members__.values():
        raise RemoteProtocolError(f"a reach answer of verdict {verdict}")
    if (verdict == Verdict.REACHED) != (address is not None) or (address is not None and address not in asked):
        raise RemoteProtocolError("a reach answer names an address that it was not asked for, or none")
    return Answer(Verdict(verdict), address)


def to_dial(addresses: Sequence[Address], seen: Address) -> tuple[Address, ...]:
    """Return which of the asked addresses may be dialled.

    Args:
        addresses: What the peer asked for.
        seen: The remote end of the connection that it asked over.
    """
    return at_ip_of(addresses, seen)[:REACH_DIALS]
