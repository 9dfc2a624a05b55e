"""Copies what lies on this machine already: chunks that follow each other in a file as in the list that wants them.

    a list, and what is missing of it ──► a source ──► runs of right bytes, and the open files in which they lie

A chunk is looked for in the index; what follows it is found by comparing the two lists, as far as they are alike.

Invariants: bytes are verified before they are lent, and a file of the store is read by the rules of the reader; one run
is in memory, and of each chunk that is looked for no more than its place.

Source: specs/store.md, "What is copied".
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, final

from samara.node.store.contents import Contents, HeldFile
from samara.node.store.reader import Reader
from samara.node.store.recent import Recent
from samara.protocol import limits
from samara.protocol.chunklist import ChunkList
from samara.protocol.ids import ContentId

__all__ = ["MOST_TOGETHER", "HeldChunks", "Lent", "Source"]

MOST_TOGETHER: Final = 4 * limits.MIB
"""Bytes of a run: what is read and verified in one go."""

_FILES: Final = 64
"""Files of the store whose rows are in memory: the bits of one in progress may be half a megabyte."""


@final
@dataclass(frozen=True, slots=True)
class Lent:
    """Chunks in a row that are right.

    Attributes:
        first: Index of the first, in the list that wants them.
        count: How many.
        data: Their bytes, until the next are asked for.
        fd: The file in which they lie, open for reading as long.
        offset: Where the first begins there.
    """

    first: int
    count: int
    data: memoryview
    fd: int
    offset: int


class Source(Protocol):
    """Where chunks may lie."""

    def lend(self, chunks: ChunkList, indexes: Sequence[int]) -> Generator[Lent, None, None]:
        """Yield what is here of some chunks of a list (`indexes`, ascending), each at most once."""
        ...


@final
class HeldChunks:
    """The chunks of the store, also those of files in progress that are committed.

    Args:
        contents: The index's contents.
        reader: For their bytes.
        besides: A stream in which they are not looked for.
    """

    def __init__(self, contents: Contents, reader: Reader, besides: tuple[ContentId, int] | None = None) -> None:
        self._contents = contents
        self._reader = reader
        self._besides = besides
        self._files: Recent[tuple[ContentId, int], Sequence[HeldFile]] = Recent(_FILES)
        self._room = memoryview(bytearray(MOST_TOGETHER))

    def lend(self, chunks: ChunkList, indexes: Sequence[int]) -> Generator[Lent, None, None]:
        """Yield what is here of some chunks of a list (`indexes`, ascending), each at most once."""
        end = 0  # of the last run: what came with it is not looked for any more
        ahead = (index for index in indexes if index >= end)
        for index, places in self._contents.find_chunks(chunks, ahead, besides=self._besides):
            for content, stream, other in places if index >= end else ():
                for lent in self._follow(chunks, indexes, index, content, stream, other):
                    end = lent.first + lent.count
                    yield lent
                if index < end:
                    break

    def _follow(
        self, chunks: ChunkList, indexes: Sequence[int], index: int, content: ContentId, stream: int, other: int
    ) -> Iterator[Lent]:
        """Yield runs from a chunk on that may be chunk `other` of a stream, as long as both lists are alike."""
        theirs = self._contents.chunk_list(content, stream)
        at = bisect_left(indexes, index)
        while theirs is not None:
            count = _in_row(indexes, at, index, chunks.fitting(index, len(chunks) - index, MOST_TOGETHER))
            count = chunks.alike(index, theirs, other, count)
            for held in self._held(content, stream) if count else ():
                if not held.holds(other):
                    continue
                with self._reader.lend(held, theirs, other, count, self._room) as (fd, good):
                    if good:
                        yield Lent(index, good, self._room[: chunks.bytes_of(index, good)], fd, theirs.offset(other))
                        break
                self._files.forget(lambda key: key == (content, stream))  # it went away, or is not what it was
            else:
                return
            index, other, at = index + good, other + good, at + good

    def _held(self, content: ContentId, stream: int) -> Sequence[HeldFile]:
        held = self._files.get((content, stream))
        if held is None:
            held = self._reader.held(content, stream)
            self._files.put((content, stream), held)
        return held


def _in_row(indexes: Sequence[int], at: int, first: int, most: int) -> int:
    """Return how many ascending numbers from position `at` on are `first` and those that follow it, at most `most`."""
    most = min(most, len(indexes) - at)
    if most and indexes[at + most - 1] == first + most - 1:
        return most
    return next((n for n in range(most) if indexes[at + n] != first + n), most)
