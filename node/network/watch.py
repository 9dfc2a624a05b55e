"""Boards of short notes by name, which many readers follow: the peers that were met, the peers that are nearby.

A reader sees first what is already there, then each note that is new or changed. A slow reader misses intermediate
versions of a note, never its last one; the board's size is bounded, whatever the readers do.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, final

import trio

from samara.node.network.transport import Network
from samara.protocol.addresses import Address
from samara.protocol.identify import Identify

__all__ = ["Board", "MeetingNetwork", "MetPeer"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MetPeer:
    """A connected peer that told what it serves.

    Attributes:
        peer: Its authenticated peer id.
        remote: The other end of the connection.
        inbound: It dialled us, so the port of `remote` is not one that it listens at.
        identify: What it told.
    """

    peer: str
    remote: Address
    inbound: bool
    identify: Identify


class MeetingNetwork(Network, Protocol):
    """A network that tells which peers it meets."""

    def met(self) -> AsyncIterator[MetPeer]:
        """Iterate over the peers that told what they serve: those connected now first, then each new one."""
        ...

    def whereabouts(self, peer: str) -> MetPeer | None:
        """Return what is known of a peer over a connection that stands now; None before it told what it serves."""
        ...

    def let_idle(self, protocol: str) -> None:
        """Let streams of a protocol keep no connection from being closed as idle."""
        ...

    def keep_for(self, needed: Callable[[str], bool]) -> None:
        """Keep idle connections to the peers of which `needed` says so, as long as places are not scarce."""
        ...


@final
class Board(Generic[T]):
    """Notes by name.

    Args:
        limit: How many notes are kept; the one that was not renewed the longest goes first.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._notes: OrderedDict[str, tuple[int, T]] = OrderedDict()
        self._version = 0
        self._changed = trio.Event()

    def __len__(self) -> int:
        return len(self._notes)

    def __iter__(self) -> Iterator[T]:
        return iter([note for _, note in self._notes.values()])

    def get(self, name: str) -> T | None:
        """Return the note of a name, or None."""
        found = self._notes.get(name)
        return None if found is None else found[1]

    def post(self, name: str, note: T) -> None:
        """Put up a note, in place of an older one of that name."""
        known = self.get(name)
        self._version += known != note
        version = self._version if known != note else self._notes[name][0]
        self._notes[name] = (version, note)
        self._notes.move_to_end(name)
        if len(self._notes) > self._limit:
            self._notes.popitem(last=False)
        if known != note:
            self._changed.set()
            self._changed = trio.Event()

    def remove(self, name: str) -> None:
        """Take down a note."""
        self._notes.pop(name, None)

    def read(self) -> AsyncIterator[T]:
        """Iterate over the notes that are there, then over each new or changed one; never ends by itself."""
        return _Reader(self)

    async def next_after(self, seen: int) -> tuple[int, T]:
        """Return the oldest note of a later version than `seen`, and its version; wait for one."""
        while True:
            changed = self._changed
            fresh = (entry for entry in self._notes.values() if entry[0] > seen)
            found = min(fresh, key=lambda entry: entry[0], default=None)
            if found is not None:
                await trio.lowlevel.checkpoint()
                return found
            await changed.wait()


@final
class _Reader(AsyncIterator[T]):
    """An iterator, not a generator: it may be left where it is, as readers that found what they wanted do."""

    def __init__(self, board: Board[T]) -> None:
        self._board = board
        self._seen = 0

    async def __anext__(self) -> T:
        self._seen, note = await self._board.next_after(self._seen)
        return note
