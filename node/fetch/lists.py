"""The file table and the chunk lists of one fetch, brought together from several peers at once.

Every node and every chunk of the table is verified by itself, so whoever is first with valid bytes wins, and what a
slow peer holds up is asked of the next one. Nothing here decides about a peer: what it did wrong is raised to its task.

Source: specs/content.md, "Verification".
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import trio

from samara.node.fetch.ahead import Held
from samara.node.fetch.swarm import WrongChunkError
from samara.node.network.exchange.client import ExchangeClient
from samara.protocol import limits
from samara.protocol.chunklist import ListVerifier
from samara.protocol.errors import NotFoundError
from samara.protocol.exchange.frames import Payload
from samara.protocol.exchange.messages import Chunk
from samara.protocol.ids import ContentId, Digest, digest
from samara.protocol.ports import StreamNeed

__all__ = ["ListBoard", "SharedTable", "add_held", "fill"]

_TABLE_RUN: Final = 8
"""Chunks of the table that one peer is asked for at a time: about 512 KiB, so that several share a large one."""

_LISTS_AT_ONCE: Final = 4
"""Lists that one peer is asked for at a time: a folder of many files costs a round trip for each."""

_MISSES: Final = 4
"""Lists in a row that a peer does not have, until it has a rest."""

_REST: Final = 5.0
"""Seconds until it is asked again: it is fetching, too."""


def add_held(verifier: ListVerifier, held: Held) -> list[Digest]:
    """Add the nodes that are here already, and return those that are wanted and are not.

    Raises:
        NodeError: Its publisher made a list that is none.
    """
    while wanted := verifier.wanted():
        here = {name: held(name) for name in wanted}
        for node in here.values():
            if node is not None:
                verifier.add(node)
        if missing := [name for name, node in here.items() if node is None]:
            return missing
    return []


async def fill(client: ExchangeClient, content: ContentId, verifier: ListVerifier, held: Held) -> None:
    """Bring a chunk list together, from what is here and from a peer; others may be filling the same one.

    Raises:
        NodeError: Its publisher made a list that is none.
        NotFoundError: The peer lacks a node.
        SamaraError: As `ExchangeClient.nodes`.
    """
    while missing := add_held(verifier, held):
        asked = missing[: limits.MAX_NODE_HASHES]
        for name, node in zip(asked, await client.nodes(content, asked), strict=True):
            if name in verifier.wanted():
                verifier.add(node)


class SharedTable:
    """The file table of a content.

    Args:
        content: Which content.
        held: Nodes that are here already.
        ahead: Chunks that are here already, as they came ahead.
    """

    def __init__(self, content: ContentId, held: Held, ahead: Held) -> None:
        self._content = content
        self._held = held
        self._ahead = ahead
        self._verifier = ListVerifier.for_table(content)
        self._parts: dict[int, bytes] = {}
        self._asked: Counter[int] = Counter()
        self._asking: set[trio.CancelScope] = set()

    @property
    def complete(self) -> bool:
        """All of it is here."""
        return self._verifier.complete and len(self._parts) == len(self._verifier.chunks())

    def nodes(self) -> Sequence[bytes]:
        """Return the nodes of its list."""
        return self._verifier.nodes()

    def data(self) -> bytes:
        """Return its bytes, each chunk verified."""
        return b"".join(self._parts[index] for index in range(len(self._parts)))

    async def fetch_from(self, client: ExchangeClient) -> None:
        """Ask one peer until all is here, from whomever.

        Raises:
            NodeError: Its publisher made a list that is none.
            WrongChunkError: The peer sent a wrong chunk.
            SamaraError: As `ExchangeClient.nodes`.
        """
        with trio.CancelScope() as scope:
            self._asking.add(scope)
            try:
                await fill(client, self._content, self._verifier, self._held)
                self._look_ahead()
                while not self.complete:
                    await self._fetch_run(client)
            finally:
                self._asking.discard(scope)
        if self.complete:
            for other in self._asking:  # what they still wait for is here
                other.cancel()

    def _look_ahead(self) -> None:
        chunks = self._verifier.chunks()
        for index in range(len(chunks)):
            data = self._ahead(chunks.hash(index))
            if data is not None and len(data) == chunks.length(index):
                self._parts[index] = data

    async def _fetch_run(self, client: ExchangeClient) -> None:
        chunks = self._verifier.chunks()
        missing = [index for index in range(len(chunks)) if index not in self._parts]
        first = min(missing, key=lambda index: self._asked[index])
        run = range(first, next(i for i in range(first, first + _TABLE_RUN + 1) if self._ends(i, first)))
        self._asked.update(run)

        def keep(chunk: Chunk, data: Payload) -> None:
            start = 0
            for index in range(first + chunk.index, first + chunk.index + chunk.count):
                part = data[start : start + chunks.length(index)]
                if digest(part) != chunks.hash(index):
                    raise WrongChunkError(f"{client.peer} sent a wrong chunk of the file table")
                self._parts[index] = bytes(part)
                start += len(part)
            if start != len(data):
                raise WrongChunkError(f"{client.peer} sent too much of the file table")

        try:
            await client.chunks(self._content, 0, first, len(run), keep)
        finally:
            self._asked.subtract(run)

    def _ends(self, index: int, first: int) -> bool:
        whole = index == len(self._verifier.chunks()) or index == first + _TABLE_RUN
        return whole or index in self._parts or self._asked[index] > self._asked[first]


@dataclass(slots=True, eq=False)
class _Work:
    """A list that is not here.

    Attributes:
        need: Of which file.
        verifier: What came of it.
        since: When somebody was last asked for it.
        asking: Who is being asked.
        lack: Who said that they do not have it.
    """

    need: StreamNeed
    verifier: ListVerifier
    since: float = 0.0
    asking: dict[str, trio.CancelScope] = field(default_factory=dict)
    lack: set[str] = field(default_factory=set)


class ListBoard:
    """The chunk lists that are missing, handed out to whoever can bring them.

    Args:
        content: Of which content.
        held: Nodes that are here already.
        listed: Is told of each list that is complete, once, with its nodes.
        help_after: Seconds until a list that a peer has not brought is asked of another one, too.
    """

    def __init__(
        self,
        content: ContentId,
        held: Held,
        listed: Callable[[StreamNeed, Sequence[bytes]], None],
        help_after: float,
    ) -> None:
        self._content = content
        self._held = held
        self._listed = listed
        self._help_after = help_after
        self._waiting: deque[_Work] = deque()
        self._in_hand: dict[int, _Work] = {}  # the one that was asked for longest ago is first
        self._news = trio.Event()

    @property
    def left(self) -> int:
        """Lists that are not complete."""
        return len(self._waiting) + len(self._in_hand)

    @property
    def hopeful(self) -> bool:
        """Somebody is being asked who may have what it is asked for."""
        return any(not work.lack.issuperset(work.asking) for work in self._in_hand.values())

    def add(self, need: StreamNeed, verifier: ListVerifier) -> None:
        """Want the list of a file."""
        self._waiting.append(_Work(need, verifier))
        self._wake()

    async def fetch_from(self, client: ExchangeClient) -> None:
        """Fetch lists from one peer until none is missing.

        Raises:
            NodeError: The publisher made a list that is none.
            SamaraError: As `ExchangeClient.nodes`, but for lists that this peer lacks.
        """
        async with trio.open_nursery() as nursery:
            for _ in range(_LISTS_AT_ONCE):
                nursery.start_soon(self._fetch_some, client)

    async def _fetch_some(self, client: ExchangeClient) -> None:
        misses = 0
        while (work := await self._take(client.peer)) is not None:
            try:
                with trio.CancelScope() as scope:
                    work.asking[client.peer] = scope
                    await trio.lowlevel.checkpoint()  # `fill` may find all of it here
                    await fill(client, self._content, work.verifier, self._held)
                misses = 0
                work.lack.discard(client.peer)
            except NotFoundError:
                misses += 1
                work.lack.add(client.peer)
            finally:
                self._put_down(work, client.peer)
            if misses >= _MISSES:
                misses = 0
                await trio.sleep(_REST)

    async def _take(self, peer: str) -> _Work | None:
        """Return the next list for a peer, or None when none is missing any more."""
        while self.left:
            now = trio.current_time()
            late = next((work for work in self._in_hand.values() if peer not in work.asking), None)
            due = late.since + self._help_after if late is not None else math.inf
            work = None
            if self._waiting:
                work = self._waiting.popleft()
            elif late is not None and now >= due:
                work = self._in_hand.pop(late.need.stream)
            if work is not None:
                work.since = now
                self._in_hand[work.need.stream] = work
                return work
            news = self._news
            with trio.move_on_at(due):
                await news.wait()
        return None

    def _put_down(self, work: _Work, peer: str) -> None:
        work.asking.pop(peer, None)
        if self._in_hand.get(work.need.stream) is not work:
            return
        if work.verifier.complete:
            del self._in_hand[work.need.stream]
            for scope in work.asking.values():
                scope.cancel()
            self._listed(work.need, work.verifier.nodes())
        elif not work.asking:
            del self._in_hand[work.need.stream]
            self._waiting.append(work)
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = trio.Event()
