"""Yamux as the specification reads, without a thought for speed: a reference for `samara.protocol.yamux`.

It holds all bytes that ever came, and reads them from the beginning, frame by frame, once all of them are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from samara.protocol.yamux import Body, Ended, Event, GoneAway, Ponged, Reset, StreamOpened, Windowed

__all__ = ["Broken", "NaiveYamux", "joined", "plain"]

WINDOW = 256 * 1024


class Broken(Exception):  # noqa: N818 - not an error of ours: the peer's
    """The peer broke a rule."""


@dataclass
class _Stream:
    ours: bool
    receives: int = WINDOW
    sends: int = WINDOW
    we_closed: bool = False
    they_closed: bool = False


@dataclass
class NaiveYamux:
    """One end.

    Attributes:
        initiator: Whether it dialled.
        inbound: Streams that the other may open.
        events: What it heard, each a tuple: its name, its stream or number, and the bytes of a body.
        strays: Bytes that may come yet for streams that ended.
    """

    initiator: bool
    inbound: int = 32
    streams: dict[int, _Stream] = field(default_factory=dict)
    events: list[tuple[Any, ...]] = field(default_factory=list)
    strays: int = 0

    def hear(self, data: bytes) -> None:
        """Hear whole frames."""
        place = 0
        while place < len(data):
            version, kind = data[place], data[place + 1]
            flags = int.from_bytes(data[place + 2 : place + 4], "big")
            stream = int.from_bytes(data[place + 4 : place + 8], "big")
            length = int.from_bytes(data[place + 8 : place + 12], "big")
            place += 12
            body = data[place : place + length] if kind == 0 else b""
            place += len(body)
            self._frame(version, kind, flags, stream, length, body)

    def open(self, stream: int) -> None:
        """Open a stream of our own."""
        self.streams[stream] = _Stream(ours=True)

    def finish(self, stream: int) -> None:
        """Close our end of a stream."""
        if stream in self.streams:
            self.streams[stream].we_closed = True
            self._look(stream)

    def reset(self, stream: int) -> None:
        """End a stream."""
        if stream in self.streams:
            self._end(stream)

    def _end(self, stream: int) -> None:
        known = self.streams.pop(stream)
        if not known.they_closed:
            self.strays += known.receives

    def grant(self, stream: int, count: int) -> None:
        """Let the other send more."""
        if stream in self.streams and not self.streams[stream].they_closed:
            self.streams[stream].receives += count

    def _frame(self, version: int, kind: int, flags: int, stream: int, length: int, body: bytes) -> None:
        if version != 0 or kind > 3:
            raise Broken
        if kind >= 2:
            if stream != 0:
                raise Broken
            if kind == 3:
                self.events.append(("gone away", length))
            elif flags & 2:
                self.events.append(("ponged", length))
            return
        if flags & 1:
            self._opened(stream)
        known = self.streams.get(stream)
        if known is None:
            if kind == 0 and length > self.strays:
                raise Broken
            self.strays -= length if kind == 0 else 0
            return
        if kind == 0 and length > 0:
            if known.they_closed or length > known.receives:
                raise Broken
            known.receives -= length
            self.events.append(("body", stream, body))
        if kind == 1 and length > 0:
            known.sends += length
            if known.sends >= 1 << 32:
                raise Broken
            self.events.append(("windowed", stream))
        if flags & 8:
            self._end(stream)
            self.events.append(("reset", stream))
        elif flags & 4 and not known.they_closed:
            known.they_closed = True
            self.events.append(("ended", stream))
            self._look(stream)

    def _opened(self, stream: int) -> None:
        theirs = stream % 2 == (0 if self.initiator else 1)
        if not theirs or stream == 0 or stream in self.streams:
            raise Broken
        if sum(not known.ours for known in self.streams.values()) < self.inbound:
            self.streams[stream] = _Stream(ours=False)
            self.events.append(("opened", stream))
        else:
            self.strays += 256 << 10

    def _look(self, stream: int) -> None:
        known = self.streams[stream]
        if known.we_closed and known.they_closed:
            del self.streams[stream]


def plain(events: list[Event]) -> list[tuple[Any, ...]]:
    """Return events of the machine as the reference tells them, with the pieces of one frame's body still apart."""
    told: list[tuple[Any, ...]] = []
    for event in events:
        match event:
            case StreamOpened(stream):
                told.append(("opened", stream))
            case Body(stream, data):
                told.append(("body", stream, bytes(data)))
            case Ended(stream):
                told.append(("ended", stream))
            case Reset(stream):
                told.append(("reset", stream))
            case Windowed(stream):
                told.append(("windowed", stream))
            case Ponged(number):
                told.append(("ponged", number))
            case GoneAway(code):
                told.append(("gone away", code))
    return told


def joined(told: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return what was told, with the pieces of a body that follow each other on one stream as one."""
    out: list[tuple[Any, ...]] = []
    for event in told:
        if event[0] == "body" and out and out[-1][:2] == event[:2]:
            out[-1] = (*event[:2], out[-1][2] + event[2])
        else:
            out.append(event)
    return out
