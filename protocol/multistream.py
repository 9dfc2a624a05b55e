"""multistream-select 1.0: how two ends of a stream agree on what is spoken on it. Bytes in, one decision out.

The opener proposes its first protocol in the same write as the header: one round trip, and none where it goes on before
it heard the agreement. After a no it proposes the next, unless it went on; the acceptor goes on after a no a bounded
number of times. A line is a varint length and a text that ends in a newline; what follows the last line belongs to the
protocol that was agreed on.

Source: libp2p multistream-select specification; specs/network.md, "Streams".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from samara.protocol.errors import RemoteProtocolError
from samara.protocol.limits import MAX_NEGOTIATION, MAX_NEGOTIATIONS
from samara.protocol.wire import varint

__all__ = ["Acceptor", "Opener", "line"]

_HEADER: Final = "/multistream/1.0.0"
_NOT_AVAILABLE: Final = "na"


def line(text: str) -> bytes:
    """Return one line of the negotiation."""
    raw = text.encode() + b"\n"
    return varint(len(raw)) + raw


class _Lines:
    """Cuts bytes into lines; what was not cut stays in `rest`."""

    def __init__(self) -> None:
        self.rest = bytearray()

    def next(self) -> str | None:
        if not self.rest:
            return None
        length, head = self.rest[0], 1
        if length >= 0x80:
            if len(self.rest) < 2:
                return None
            length, head = length & 0x7F | self.rest[1] << 7, 2
        if not 0 < length <= MAX_NEGOTIATION:
            raise RemoteProtocolError(f"a negotiation line of {length} bytes: at most {MAX_NEGOTIATION}")
        if len(self.rest) < head + length:
            return None
        raw = bytes(self.rest[head : head + length])
        del self.rest[: head + length]
        if raw[-1:] != b"\n":
            raise RemoteProtocolError("a negotiation line does not end in a newline")
        return raw[:-1].decode("utf-8", "replace")


@final
class Opener:
    """Proposes protocols.

    Args:
        protocols: What may be spoken, the preferred one first; at least one.

    Attributes:
        protocol: What was agreed on; None before.
    """

    def __init__(self, *protocols: str) -> None:
        self.protocol: str | None = None
        self._protocols = protocols
        self._proposed = 0
        self._lines = _Lines()
        self._greeted = False

    def begin(self) -> bytes:
        """Return what is sent first."""
        return line(_HEADER) + line(self._protocols[0])

    @property
    def proposed(self) -> str:
        """The protocol that was proposed last."""
        return self._protocols[self._proposed]

    @property
    def rest(self) -> bytes:
        """What came after the agreement."""
        return bytes(self._lines.rest)

    def receive(self, data: bytes) -> bytes:
        """Take bytes; return what is to be sent. When `protocol` is set, it is agreed on.

        Raises:
            RemoteProtocolError: The peer speaks none of the protocols, or not this negotiation.
        """
        self._lines.rest += data
        out = b""
        while self.protocol is None and (text := self._lines.next()) is not None:
            proposed = self.proposed
            if not self._greeted and text == _HEADER:
                self._greeted = True
            elif self._greeted and text == proposed:
                self.protocol = proposed
            elif text != _NOT_AVAILABLE:
                raise RemoteProtocolError(f"the peer answered {text[:80]!r} to {proposed}")
            elif self._proposed + 1 == len(self._protocols):
                raise RemoteProtocolError(f"the peer does not speak {' or '.join(self._protocols)}")
            else:
                self._proposed += 1
                out += line(self.proposed)
        return out


@final
class Acceptor:
    """Answers proposals.

    Args:
        speaks: Whether a protocol is served here.
    """

    def __init__(self, speaks: Callable[[str], bool]) -> None:
        self.protocol: str | None = None
        self._speaks = speaks
        self._lines = _Lines()
        self._greeted = False
        self._refused = 0

    def begin(self) -> bytes:
        """Return what is sent first."""
        return line(_HEADER)

    @property
    def rest(self) -> bytes:
        """What came after the agreement."""
        return bytes(self._lines.rest)

    def receive(self, data: bytes) -> bytes:
        """Take bytes; return what is to be sent. When `protocol` is set, it is agreed on.

        Raises:
            RemoteProtocolError: The peer does not speak this negotiation, or proposes without end.
        """
        self._lines.rest += data
        out = b""
        while self.protocol is None and (text := self._lines.next()) is not None:
            if not self._greeted:
                if text != _HEADER:
                    raise RemoteProtocolError(f"the peer opened a stream with {text[:80]!r}")
                self._greeted = True
            elif self._speaks(text):
                self.protocol = text
                out += line(text)
            else:
                self._refused += 1
                if self._refused > MAX_NEGOTIATIONS:
                    raise RemoteProtocolError("the peer proposes protocols without end")
                out += line(_NOT_AVAILABLE)
        return out
