"""The wanted chunks of a content in one row: (stream, index) ↔ position, and each chunk's length.

Positions are given in the order in which chunks are added, from 0. Consecutive chunks of one stream are a *segment*;
a run may go over from one to the next when they follow each other in the content. Only segments are stored, beside the
lengths: 4 bytes a chunk, 16 a segment, and a dict entry a stream.

It never forgets a chunk, and knows nothing of peers.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import NamedTuple, final

from samara.protocol.errors import LocalProtocolError
from samara.protocol.limits import MAX_CHUNK, MAX_STREAM_CHUNKS
from samara.protocol.ports import Span

__all__ = ["Ledger", "Segment"]


@final
class Segment(NamedTuple):
    """Consecutive chunks of one stream at consecutive positions.

    Attributes:
        position: Position of the first.
        first: Its index in the stream.
        width: How many.
    """

    position: int
    first: int
    width: int


@final
class Ledger:
    """The row of wanted chunks.

    Attributes:
        lengths: Bytes of the chunk at each position.
        bytes: Their sum.
    """

    def __init__(self) -> None:
        self.lengths = array("I")
        self.bytes = 0
        self._positions = array("Q")
        self._indexes = array("I")
        self._streams = array("I")
        self._segments: dict[int, tuple[int, int]] = {}  # stream → (number of its first segment, how many)

    def __len__(self) -> int:
        return len(self.lengths)

    def __contains__(self, stream: int) -> bool:
        return stream in self._segments

    def add(self, stream: int, missing: Sequence[int], lengths: Callable[[int], int]) -> Iterator[Segment]:
        """Add the wanted chunks of a stream, and return them as segments.

        Raises:
            LocalProtocolError: The stream was added before, the indexes are not ascending, or a length is not that of a
                chunk. Nothing was added.
        """
        if stream in self._segments:
            raise LocalProtocolError(f"stream {stream} was added before")
        segments = list(_segments(stream, missing, len(self)))
        sizes = array("I", _lengths(stream, missing, lengths))
        self._segments[stream] = (len(self._positions), len(segments))
        for position, index, _width in segments:
            self._positions.append(position)
            self._indexes.append(index)
            self._streams.append(stream)
        self.lengths.extend(sizes)
        self.bytes += sum(sizes)
        return iter(segments)

    def add_files(self, streams: Sequence[int], sizes: Sequence[int]) -> int:
        """Add the only chunks of streams of one chunk each, and return the position of the first; as `add`, at once.

        Raises:
            LocalProtocolError: One of the streams was added before, or a length is not that of a chunk. Nothing was
                added.
        """
        position, number, count = len(self), len(self._positions), len(streams)
        if len(sizes) != count or len(set(streams)) != count or not self._segments.keys().isdisjoint(streams):
            raise LocalProtocolError(f"of {count} files one was added before, or there are other sizes than files")
        if count and not 1 <= min(sizes) <= max(sizes) <= MAX_CHUNK:
            raise LocalProtocolError(f"a file of one chunk has 1 … {MAX_CHUNK} bytes")
        self._segments.update(zip(streams, zip(range(number, number + count), repeat(1)), strict=False))
        self._positions.extend(range(position, position + count))
        self._indexes.extend(repeat(0, count))
        self._streams.extend(streams)
        self.lengths.extend(sizes)
        self.bytes += sum(sizes)
        return position

    def place(self, position: int) -> tuple[int, int]:
        """Return the (stream, index) at a position."""
        number = bisect_right(self._positions, position) - 1
        return self._streams[number], self._indexes[number] + position - self._positions[number]

    def spans(self, position: int, count: int) -> list[Span]:
        """Return what lies at `count` positions from `position` on."""
        number = bisect_right(self._positions, position) - 1
        end = number + count  # if each has one chunk
        singles = self._positions[number:end]
        if len(singles) == count and (singles[0], singles[-1]) == (position, position + count - 1):
            return list(map(Span, self._streams[number:end], self._indexes[number:end], repeat(1)))
        found: list[Span] = []
        while count:
            start, end = position - self._positions[number], min(self._end(number), position + count)
            found.append(Span(self._streams[number], self._indexes[number] + start, end - position))
            count -= end - position
            position, number = end, number + 1
        return found

    def position(self, stream: int, index: int) -> int:
        """Return the position of a chunk.

        Raises:
            LocalProtocolError: It was never added.
        """
        first, count = self._segments.get(stream, (0, 0))
        number = bisect_right(self._indexes, index, first, first + count) - 1
        if number >= first:
            position = self._positions[number] + index - self._indexes[number]
            if position < self._end(number):
                return position
        raise LocalProtocolError(f"chunk {index} of stream {stream} was never wanted")

    def extent(self, stream: int) -> tuple[int, int]:
        """Return (first position, count) of all wanted chunks of a stream; the count is 0 when there are none."""
        first, count = self._segments.get(stream, (0, 0))
        if not count:
            return 0, 0
        return self._positions[first], self._end(first + count - 1) - self._positions[first]

    def segments(self, stream: int) -> Iterator[Segment]:
        """Iterate over the segments of a stream; none when it was not added."""
        first, count = self._segments.get(stream, (0, 0))
        for number in range(first, first + count):
            position = self._positions[number]
            yield Segment(position, self._indexes[number], self._end(number) - position)

    def _end(self, number: int) -> int:
        return self._positions[number + 1] if number + 1 < len(self._positions) else len(self)


def _segments(stream: int, missing: Sequence[int], position: int) -> Iterator[Segment]:
    if isinstance(missing, range) and missing.step == 1:
        if missing and not 0 <= missing[0] <= missing[-1] < MAX_STREAM_CHUNKS:
            raise LocalProtocolError(f"stream {stream} wants chunks outside 0 … {MAX_STREAM_CHUNKS - 1}")
        if missing:
            yield Segment(position, missing[0], len(missing))
        return
    start = before = -1
    for index in missing:
        if not before < index < MAX_STREAM_CHUNKS:
            raise LocalProtocolError(f"stream {stream} wants chunk {index} after {before}")
        if index != before + 1 or start < 0:
            if start >= 0:
                yield Segment(position, start, before + 1 - start)
                position += before + 1 - start
            start = index
        before = index
    if start >= 0:
        yield Segment(position, start, before + 1 - start)


def _lengths(stream: int, missing: Sequence[int], lengths: Callable[[int], int]) -> list[int]:
    found = list(map(lengths, missing))
    if found and not 1 <= min(found) <= max(found) <= MAX_CHUNK:
        index, length = next(pair for pair in zip(missing, found, strict=True) if not 1 <= pair[1] <= MAX_CHUNK)
        raise LocalProtocolError(f"chunk {index} of stream {stream} has {length} bytes")
    return found
