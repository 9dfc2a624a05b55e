"""One end of a Yamux connection, without its socket: bytes in, events out; wishes in, bytes out.

Both ends are the same but for the parity of the streams that they open. Rules:

1. The window is kept both ways: what a peer sends beyond it ends the connection, and we never send beyond its.
2. A stream is forgotten when both ends have closed it, or either has reset it. Frames of a stream that is not known
   are dropped with their body: they may have been on their way. More body than fitted into the windows of those that
   ended was not, and ends the connection.
3. What costs us time must carry something: a connection whose frames and records outnumber its bytes ends
   (`FRAME_CREDIT`). What one call hands in is one record.
4. Answers that a peer does not read are bounded (`MAX_CONTROL_BACKLOG`).
5. After a `RemoteProtocolError` the session takes nothing more.

The body of a frame goes where the driver wants: `body` says whose it is and how much of it is to come, so that the
driver may put it in its place by itself and say so (`took`), or hand it in like all else and get a `Body`.

Source: the Yamux specification; specs/transport.md, "Streams".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias, final

from samara.protocol.errors import LocalProtocolError, RemoteProtocolError
from samara.protocol.limits import (
    FRAME_BYTES,
    FRAME_CREDIT,
    FRAME_CREDIT_A_SECOND,
    FRAME_CREDIT_AT_FIRST,
    MAX_CONTROL_BACKLOG,
    MAX_STREAMS_PER_PEER,
    STREAM_CREDIT,
    STREAM_WINDOW,
)
from samara.protocol.yamux.frames import ACK, FIN, HEADER, RST, SYN, Kind, header

__all__ = ["Body", "Ended", "Event", "GoneAway", "Ponged", "Reset", "Session", "StreamOpened", "Windowed"]

_SIZE: Final = HEADER.size
_MOST: Final = 2**32 - 1
_DATA, _WINDOW, _PING = int(Kind.DATA), int(Kind.WINDOW), int(Kind.PING)


@final
@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The peer opened a stream."""

    stream: int


@final
@dataclass(frozen=True, slots=True)
class Body:
    """Bytes of a stream; valid until the buffer that was handed in is used again."""

    stream: int
    data: memoryview


@final
@dataclass(frozen=True, slots=True)
class Ended:
    """The peer sends no more on a stream."""

    stream: int


@final
@dataclass(frozen=True, slots=True)
class Reset:
    """The peer ended a stream, both ways and at once."""

    stream: int


@final
@dataclass(frozen=True, slots=True)
class Windowed:
    """More may be sent on a stream."""

    stream: int


@final
@dataclass(frozen=True, slots=True)
class Ponged:
    """The peer answered a ping."""

    number: int


@final
@dataclass(frozen=True, slots=True)
class GoneAway:
    """The peer takes no more streams; 0 is an orderly end."""

    code: int


Event: TypeAlias = StreamOpened | Body | Ended | Reset | Windowed | Ponged | GoneAway


@final
@dataclass(slots=True)
class _Stream:
    """What is left of the windows, and who has closed its end."""

    ours: bool
    receives: int = STREAM_WINDOW
    sends: int = STREAM_WINDOW
    we_closed: bool = False
    they_closed: bool = False


@final
class Session:
    """One end.

    Args:
        initiator: Whether we dialled: our streams have odd numbers then, even ones otherwise.
        inbound: Streams of the peer that may be open at a time; further ones are reset.
    """

    def __init__(self, *, initiator: bool, inbound: int = MAX_STREAMS_PER_PEER) -> None:
        self._parity = 1 if initiator else 0
        self._next = 1 if initiator else 2
        self._inbound = inbound
        self._streams: dict[int, _Stream] = {}
        self._theirs = 0
        self._strays = 0  # bytes that may still come for streams that have ended
        self._out = bytearray()
        self._head = bytearray()  # of a header that is not whole yet
        self._body_stream = 0
        self._body_left = 0
        self._body_flags = 0  # what its frame says of the stream, once the body is over
        self._credit: float = FRAME_CREDIT_AT_FIRST
        self._earned = 0  # bytes that have not made a whole credit yet
        self.frames = 0
        """Frames that were heard so far."""
        self._gone_away = False
        self._failed = False

    # What is known.

    @property
    def body(self) -> tuple[int, int] | None:
        """The stream whose bytes come next and how many; None when a header does, or when its end does with them."""
        return (self._body_stream, self._body_left) if self._body_left and not self._body_flags else None

    @property
    def can_open(self) -> bool:
        """Whether the peer takes streams of ours."""
        return not self._gone_away and self._next <= _MOST

    def sendable(self, stream: int) -> int:
        """Return how many bytes may be sent on a stream now."""
        known = self._streams.get(stream)
        return 0 if known is None or known.we_closed else known.sends

    def is_open(self, stream: int) -> bool:
        """Whether a stream is neither reset nor closed by both ends."""
        return stream in self._streams

    def take_out(self, most: int = MAX_CONTROL_BACKLOG) -> bytes:
        """Return control frames that are to be sent before any data, and forget them; some may be left."""
        out = bytes(self._out[:most])
        del self._out[:most]
        return out

    @property
    def has_out(self) -> bool:
        """Whether there are control frames to be sent."""
        return bool(self._out)

    # What we wish.

    def open(self, window: int = STREAM_WINDOW) -> int:
        """Open a stream that may bring us `window` bytes at once; return its number.

        Raises:
            LocalProtocolError: The peer takes no more.
        """
        if not self.can_open:
            raise LocalProtocolError("the peer takes no more streams")
        stream, self._next = self._next, self._next + 2
        self._streams[stream] = _Stream(ours=True, receives=window)
        self._out += header(Kind.WINDOW, SYN, stream, window - STREAM_WINDOW)
        return stream

    def send(self, stream: int, count: int) -> bytes:
        """Return the header of a frame with `count` bytes, which must follow it.

        Raises:
            LocalProtocolError: That is more than may be sent, or the stream is closed.
        """
        if not 0 < count <= self.sendable(stream):
            raise LocalProtocolError(f"{count} bytes on stream {stream}, which takes {self.sendable(stream)}")
        self._streams[stream].sends -= count
        self._earn(count)  # the peer may answer it with windows
        return header(Kind.DATA, 0, stream, count)

    def grant(self, stream: int, count: int) -> None:
        """Let the peer send `count` bytes more on a stream; void when it cannot any more."""
        known = self._streams.get(stream)
        if known is not None and not known.they_closed and count:
            known.receives += count
            self._out += header(Kind.WINDOW, 0, stream, count)

    def finish(self, stream: int) -> None:
        """Say that we send no more on a stream; void when we said so before."""
        known = self._streams.get(stream)
        if known is not None and not known.we_closed:
            known.we_closed = True
            self._out += header(Kind.WINDOW, FIN, stream, 0)
            self._forget_if_closed(stream, known)

    def reset(self, stream: int) -> None:
        """End a stream both ways at once; void when it has ended."""
        if self._forget(stream):
            self._out += header(Kind.WINDOW, RST, stream, 0)

    def ping(self, number: int) -> None:
        """Ask the peer for a sign of life, with a number of 32 bits that it sends back."""
        self._out += header(Kind.PING, SYN, 0, number)

    def go_away(self, code: int = 0) -> None:
        """Tell the peer that no more streams are taken; 0 is an orderly end."""
        self._out += header(Kind.GO_AWAY, 0, 0, code)

    def passed(self, seconds: float) -> None:
        """Take note that time has passed: it allows frames, too."""
        self._credit = min(self._credit + seconds * FRAME_CREDIT_A_SECOND, FRAME_CREDIT)

    # What the peer sends.

    def took(self, count: int) -> None:
        """Take note that `count` bytes of the body were put in their place: a record that held nothing else.

        Raises:
            RemoteProtocolError: The peer broke a rule. The session is over.
        """
        if count > self._body_left:
            raise LocalProtocolError("more of a body than there is")
        self._pass_body(count)
        self._spend()

    def receive(self, data: memoryview) -> list[Event]:
        """Take the bytes of a record; return what they mean.

        Raises:
            RemoteProtocolError: The peer broke a rule. The session is over.
        """
        if self._failed:
            raise LocalProtocolError("the session has failed")
        events: list[Event] = []
        place, end = 0, len(data)
        heard = self.frames
        try:
            while place < end:
                if self._body_left:
                    part = data[place : place + self._body_left]
                    if self._body_stream in self._streams:
                        events.append(Body(self._body_stream, part))
                    self._pass_body(len(part))
                    place += len(part)
                    if not self._body_left:
                        self._hear_end(self._body_stream, self._body_flags, events)
                elif not self._head and end - place >= _SIZE:
                    self._hear(HEADER.unpack_from(data, place), events)
                    place += _SIZE
                else:
                    part = data[place : place + _SIZE - len(self._head)]
                    self._head += part
                    place += len(part)
                    if len(self._head) == _SIZE:
                        head = HEADER.unpack(self._head)
                        self._head.clear()
                        self._hear(head, events)
            if self.frames == heard:  # else its frames have paid
                self._spend()
        except RemoteProtocolError:
            self._failed = True
            raise
        return events

    def _hear(self, head: tuple[int, int, int, int, int], events: list[Event]) -> None:
        version, kind, flags, stream, length = head
        if version:
            raise RemoteProtocolError(f"a frame of Yamux version {version}")
        self.frames += 1
        self._spend()
        if kind in (_DATA, _WINDOW):
            self._hear_stream(kind, flags, stream, length, events)
        elif stream:
            raise RemoteProtocolError("a ping or a go-away of a stream")
        elif kind == _PING:
            if flags & ACK:
                events.append(Ponged(length))
            else:
                self._answer(header(Kind.PING, ACK, 0, length))
        elif kind == Kind.GO_AWAY:
            self._gone_away = True
            events.append(GoneAway(length))
        else:
            raise RemoteProtocolError(f"a frame of type {kind}")

    def _hear_stream(self, kind: int, flags: int, stream: int, length: int, events: list[Event]) -> None:
        if flags & SYN:
            self._hear_open(stream, events)
        known = self._streams.get(stream)
        if kind == _DATA:
            self._body_stream, self._body_left = stream, length
            if known is not None and length:
                if known.they_closed or length > known.receives:
                    what = "after its end" if known.they_closed else "beyond its window"
                    raise RemoteProtocolError(f"{length} bytes on stream {stream} {what}")
                known.receives -= length
            elif length > self._strays:
                raise RemoteProtocolError(f"{length} bytes on stream {stream}, which is not open")
            else:
                self._strays -= length
        elif known is not None and length:
            known.sends += length
            if known.sends > _MOST:
                raise RemoteProtocolError(f"a window of {known.sends} bytes")
            events.append(Windowed(stream))
        if self._body_left:
            self._body_flags = flags & (FIN | RST)
        else:
            self._hear_end(stream, flags, events)

    def _hear_end(self, stream: int, flags: int, events: list[Event]) -> None:
        self._body_flags = 0
        known = self._streams.get(stream)
        if known is None:
            return
        if flags & RST:
            self._forget(stream)
            events.append(Reset(stream))
        elif flags & FIN and not known.they_closed:
            known.they_closed = True
            events.append(Ended(stream))
            self._forget_if_closed(stream, known)

    def _hear_open(self, stream: int, events: list[Event]) -> None:
        if stream == 0 or stream & 1 == self._parity or stream in self._streams:
            raise RemoteProtocolError(f"the peer opened stream {stream}, which is not its to open")
        self._spend(STREAM_CREDIT)
        if self._theirs >= self._inbound:
            self._strays += STREAM_WINDOW
            self._answer(header(Kind.WINDOW, RST, stream, 0))
            return
        self._theirs += 1
        self._streams[stream] = _Stream(ours=False)
        self._answer(header(Kind.WINDOW, ACK, stream, 0))
        events.append(StreamOpened(stream))

    # Ends and bounds.

    def _forget_if_closed(self, stream: int, known: _Stream) -> None:
        if known.we_closed and known.they_closed:
            self._forget(stream)

    def _forget(self, stream: int) -> bool:
        known = self._streams.pop(stream, None)
        if known is None:
            return False
        self._theirs -= not known.ours
        self._strays += 0 if known.they_closed else known.receives
        return True

    def _answer(self, frame: bytes) -> None:
        if len(self._out) > MAX_CONTROL_BACKLOG:
            raise RemoteProtocolError("the peer asks, and does not read the answers")
        self._out += frame

    def _pass_body(self, count: int) -> None:
        self._body_left -= count
        self._earn(count)

    def _spend(self, credit: int = 1) -> None:
        self._credit -= credit
        if self._credit < 0:
            self._failed = True
            raise RemoteProtocolError("the peer sends frames or records that carry nothing")

    def _earn(self, count: int) -> None:
        self._earned += count
        if self._earned >= FRAME_BYTES:
            self._credit = min(self._credit + self._earned // FRAME_BYTES, FRAME_CREDIT)
            self._earned %= FRAME_BYTES
