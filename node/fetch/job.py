"""One fetch, from a goal to verified files in place.

    peers (meeting) ──► a task a peer: release (learning) ► file table ► chunk lists ► chunks ──► intake ──► files

Every peer's task takes part in every step: whoever is first with valid bytes wins, so that one slow or lying peer
holds up nothing. What a peer sends is verified before it is used; a peer that sends something wrong is left and
remembered.

Order of verification (specs/content.md, specs/records.md): the release by its id and signature, the table by the
content id and the release's subject, each list by its root in the table, each chunk by its list.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio

from samara.node.fetch.ahead import Ahead
from samara.node.fetch.bases import accepts_of
from samara.node.fetch.goal import FetchOutcome, Goal
from samara.node.fetch.lists import ListBoard, SharedTable
from samara.node.fetch.meeting import Meeting
from samara.node.fetch.swarm import Swarm
from samara.node.fetch.waits import Waits
from samara.node.network.exchange.client import ExchangeClient
from samara.node.operations.base import Progress, Report
from samara.node.store.elsewhere import Elsewhere
from samara.node.store.intake import Parts, StoreIntake
from samara.node.threads import is_cancelled
from samara.protocol import limits
from samara.protocol.chunklist import ChunkList
from samara.protocol.errors import NotFoundError, RemoteProtocolError, SamaraError
from samara.protocol.ids import ContentId, digest
from samara.protocol.noise.identity import Identity
from samara.protocol.ports import Accepts, StreamNeed
from samara.protocol.records import VerifiedRelease
from samara.protocol.table import FileTable, verify_table

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = ["FetchJob"]

_REUSE_STEP: Final = 16 * limits.MIB
_COMMIT_EVERY: Final = 1.0
_COMMIT_BYTES: Final = 64 * limits.MIB
_REPORT_EVERY: Final = 0.25
_IDLE: Final = 1.0
_STREAMS_AT_ONCE: Final = 1024
_LISTS_AT_ONCE: Final = 256


@dataclass(slots=True)
class _Ready:
    """Files of which all that is held has been copied.

    Attributes:
        count: How many.
        small: Those of one chunk that is missing.
        sizes: Their bytes.
        large: Others of which something is missing: the stream, what is missing, and its list.
    """

    count: int = 0
    small: Sequence[int] = ()
    sizes: Sequence[int] = ()
    large: list[tuple[int, Sequence[int], ChunkList]] = field(default_factory=list)


class FetchJob:
    """Runs one fetch.

    Args:
        node: Ours.
        goal: What to fetch.
        report: Is told how it goes.
        patience: Seconds with nobody who has it until the fetch is given up; None never gives up.
        waits: How long it waits for anything else.
    """

    def __init__(
        self, node: Node, goal: Goal, report: Report, *, patience: float | None, waits: Waits | None = None
    ) -> None:
        self._node = node
        self._store = node.store
        self._goal = goal
        self._report = report
        self._waits = waits or Waits()
        self._ahead = Ahead.of(goal)
        self._node_held = self._ahead.before(self._store.contents.any_node)
        self._meeting = Meeting(node, goal, self, report, patience=patience, waits=self._waits, ahead=self._ahead)
        self._learning = self._meeting.learning
        self._began = trio.current_time()
        self._intake: StoreIntake | None = None
        self._swarm: Swarm | None = None
        self._opening = trio.Lock()
        self._is_open = trio.Event()
        self._table: SharedTable | None = None
        self._lists: ListBoard | None = None
        self._came: deque[tuple[int, Sequence[bytes]]] = deque()  # by stream, to be kept
        self._listed: deque[int] = deque()  # streams whose lists are here, to be begun
        self._has_listed = trio.Event()
        self._begun = trio.Event()  # a peer begins to give
        self._kept = trio.Event()  # more of it is here
        self._copying = False
        self._elsewhere: Elsewhere | None = None
        self._copied: Generator[int, None, None] | None = None  # of the files that are in hand
        self._unlisted = 0
        self._heard: set[str] = set()  # peers that were asked for the publisher's log
        self._hearing = 0  # those of them that are still telling
        self._looking = False  # whether the DHT is asked for it
        self._reused = 0
        self._total = 0
        self._wanted_bytes = 0

    async def run(self) -> FetchOutcome:
        """Fetch, and return what was done.

        Raises:
            NotFoundError: Nobody who could be asked has it.
            VerificationError: What its publisher signed does not fit together.
            NetworkError: Everybody who has it is gone.
            StoreError: The disk.
        """
        try:
            await self._begin_from_home()
            if not self._is_complete():
                await self._meeting.run(
                    self._begin_as_listed,
                    self._look_log_up,
                    self._keep_chunks,
                    self._keep_time,
                    self._commit_now_and_then,
                    self._tell_progress,
                )
            return await self._finish()
        finally:
            if self._copied is not None:
                self._copied.close()
            if self._intake is not None:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(self._store.close_intake, self._intake)
            if self._elsewhere is not None:
                self._elsewhere.close()

    async def hang_up(self) -> None:
        """Let nothing more come: its caller is about to cancel it."""
        await self._meeting.hang_up()

    # --- the whole ---

    async def _begin_from_home(self) -> None:
        """Begin from what is known here already: a fetch that goes on, or one that is all local copies."""
        await trio.to_thread.run_sync(self._learning.look_at_home)
        verified = self._learning.verified
        if verified is not None and self._store.contents.has(content := verified.release.content):
            nodes = self._store.contents.nodes(content, 0)
            await self._open(nodes, functools.partial(self._store.contents.table, content))
            await self._begin_listed()

    async def _finish(self) -> FetchOutcome:
        intake, verified = self._intake, self._learning.verified
        if intake is None or verified is None:
            raise NotFoundError("the fetch ended before it began")
        self._tell()
        path = await trio.to_thread.run_sync(intake.finish)
        await trio.to_thread.run_sync(self._store.catalog.pin_instead, verified.id, self._goal.replaces)
        swarm = self._swarm
        return FetchOutcome(
            verified.id,
            path,
            swarm.received if swarm else 0,
            swarm.moved if swarm else 0,
            self._reused,
            intake.shared,
            trio.current_time() - self._began,
            dict(swarm.by_peer) if swarm else {},
        )

    def _is_complete(self) -> bool:
        return self._swarm is not None and self._swarm.done and not self._unlisted

    # --- what the meeting asks (meeting.Work) ---

    async def share_in(self, client: ExchangeClient) -> None:
        """Fetch from one peer: the table, then lists and chunks."""
        self._begun.set()
        self._begun = trio.Event()
        await self._learn_table(client)
        swarm, lists = self._swarm, self._lists
        if swarm is None or lists is None:
            return
        network = await self._node.network()
        wrong = self._store.catalog.wrong_counts().get(client.peer, 0)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lists.fetch_from, client)
                nursery.start_soon(self._hear_log, client)
                await swarm.fetch_from(client, own=network.host.peer, wrong_before=wrong)
        except BaseExceptionGroup as group:
            raise _first(group) from None

    def given(self, peer: str) -> int:
        """Bytes of chunks that came from a peer and were kept."""
        return self._swarm.by_peer.get(peer, 0) if self._swarm is not None else 0

    def is_hopeful(self) -> bool:
        """Whether something that is missing may come of those who are connected, or is being copied here."""
        if self._swarm is None or self._lists is None or self._copying or self._is_complete():
            return True
        return self._lists.hopeful or not (self._swarm.done or self._swarm.stuck)

    # --- the log ---

    async def _hear_log(self, client: ExchangeClient) -> None:
        """Hear what a peer knows of the publisher, once: what it withholds, another may tell."""
        verified = self._learning.verified
        if verified is None or client.peer in self._heard:
            return
        self._heard.add(client.peer)
        self._hearing += 1
        try:
            await self._node.logs.hear(client, [verified.release.publisher])
        finally:
            self._hearing -= 1
            self._has_kept()

    async def _look_log_up(self) -> None:
        """Look up in the DHT what must be known of the publisher: who gives the bytes may not tell it."""
        await self._is_open.wait()
        verified, routing = self._learning.verified, (await self._node.network()).routing
        if verified is None or not self._learning.public or routing is None:
            return
        self._looking = True
        try:
            await self._node.logs.look_up(routing, verified.release.publisher)
        finally:
            self._looking = False
            self._has_kept()

    async def _hear_out(self) -> None:
        """Let peers and the DHT say the rest of what they know, for a while: all bytes are here."""
        with trio.move_on_after(limits.LOGS_GRACE):
            with trio.move_on_after(limits.LOGS_DHT_GRACE):
                while self._looking:
                    await self._kept.wait()
            while self._hearing:
                await self._kept.wait()

    # --- the table ---

    async def _learn_table(self, client: ExchangeClient) -> None:
        verified = self._learning.verified
        if self._swarm is not None or verified is None:
            return
        if self._table is None:
            self._table = SharedTable(verified.release.content, self._node_held, self._ahead.find)
        await self._table.fetch_from(client)
        data = self._table.data()
        verified.check_table(data)
        await self._open(self._table.nodes(), functools.partial(verify_table, data, verified.release.content))

    async def _open(self, nodes: Sequence[bytes], read_table: Callable[[], FileTable]) -> None:
        """Open the intake and hand out what is missing. Only the first call does anything."""
        async with self._opening:
            verified, records = self._learning.verified, self._learning.records
            if self._intake is not None or verified is None or records is None:
                return
            content = verified.release.content
            table = await trio.to_thread.run_sync(read_table)
            wanted = await trio.to_thread.run_sync(self._goal.wanted, table)
            insisted = verified.release.name in self._goal.insist
            opened = functools.partial(
                self._store.open_intake, parts=self._parts(content), cancelled=is_cancelled, insisted=insisted
            )
            intake = await trio.to_thread.run_sync(opened, records, nodes, table, wanted, self._goal.to)
            # Opened is opened, whatever comes of the rest: `run` closes it.
            self._intake = intake
            sizes = await trio.to_thread.run_sync(table.sizes)
            listed = await trio.to_thread.run_sync(intake.listed)
            unlisted = await trio.to_thread.run_sync(intake.unlisted)
            total = await trio.to_thread.run_sync(lambda: intake.bytes_left)
            # From here on others look: nothing is awaited before all of it is true.
            self._unlisted = len(listed) + len(unlisted)
            self._wanted_bytes = sum(sizes[stream - 1] for stream in wanted)
            self._swarm = Swarm(
                content,
                intake,
                sizes,
                self._meeting.buffers,
                rotate=_rotation(self._node),
                on_kept=self._has_kept,
                accepts=self._accepts(verified),
            )
            self._lists = ListBoard(content, self._node_held, self._take_list, self._waits.help)
            self._total = total
            self._meeting.gain()
            self._is_open.set()
            self._listed.extend(listed)
            self._has_listed.set()
            for need in unlisted:
                self._lists.add(need, self._store.contents.verifier(content, need.stream))
            self._let_go_of_ahead()
        if self._is_complete():
            self._meeting.end()

    def _parts(self, content: ContentId) -> Parts | None:
        """Return what says which chunks of a file are wanted, when not all are."""
        if self._goal.tensors is None:
            return None
        return lambda stream, chunks: self._store.tensors.chunks_of(content, stream, chunks, self._goal.wants_tensor)

    def _accepts(self, verified: VerifiedRelease) -> Accepts:
        return accepts_of(self._store, verified, self._goal.encode or self._node.allowance.settings.encode)

    # --- lists ---

    def _take_list(self, need: StreamNeed, nodes: Sequence[bytes]) -> None:
        self._meeting.gain()
        self._came.append((need.stream, nodes))
        self._has_listed.set()
        self._let_go_of_ahead()

    def _let_go_of_ahead(self) -> None:
        """Let go of what came ahead when no list is missing any more: a fetch may go on for weeks."""
        if self._lists is not None and not self._lists.left:
            self._ahead.drop()

    async def _begin_as_listed(self) -> None:
        """Begin each file when its list is here: in a task of its own, since peers come and go."""
        while True:
            await self._has_listed.wait()
            self._has_listed = trio.Event()
            try:
                await self._begin_listed()
            except SamaraError as error:
                self._meeting.end(error)
                return

    async def _begin_listed(self) -> None:
        """Copy what is held of the files whose lists are here, and let the swarm fetch the rest."""
        intake, swarm = self._intake, self._swarm
        while intake is not None and swarm is not None and (self._listed or self._came):
            self._copying = True
            await self._look_elsewhere()
            parts = await trio.to_thread.run_sync(self._next_parts, intake)
            while parts:
                ready = await trio.to_thread.run_sync(self._copy_held, intake, parts)
                self._meeting.gain()
                if ready.small:
                    swarm.add_small(ready.small, ready.sizes)
                for stream, missing, chunks in ready.large:
                    swarm.add_stream(stream, missing, chunks)
                self._unlisted -= ready.count
                self._has_kept()
                self._tell()
        self._copying = False

    async def _look_elsewhere(self) -> None:
        """Look once at what lies where the user says that chunks of this may lie."""
        swarm = self._swarm
        if self._elsewhere is not None or not self._goal.reuse or swarm is None:
            return
        elsewhere = self._elsewhere = Elsewhere(self._goal.reuse)
        looking = elsewhere.look(swarm.sizes, cancelled=is_cancelled)
        while await trio.to_thread.run_sync(next, looking, False):
            self._meeting.gain()
            self._report(Progress("looking", elsewhere.looked, None, note="at what lies here"))

    def _next_parts(self, intake: StoreIntake) -> list[Sequence[int]]:
        """Keep the lists that came; return the next streams to begin: small files together, others one by one."""
        streams = [self._listed.popleft() for _ in range(min(len(self._listed), _STREAMS_AT_ONCE))]
        for stream, nodes in [self._came.popleft() for _ in range(min(len(self._came), _LISTS_AT_ONCE))]:
            intake.add_list(stream, nodes)
            streams.append(stream)
        small = intake.small(streams)
        parts: list[Sequence[int]] = [[stream] for stream in sorted(set(streams).difference(small))]
        return [small, *parts] if small else parts

    def _copies(self, intake: StoreIntake, streams: Sequence[int]) -> Generator[int, None, None]:
        """Copy what lies on this machine, make what packs lead to, and yield the bytes of each few chunks."""
        yield from intake.reuse(streams, self._elsewhere)
        yield from self._store.deltas.make(intake, streams)

    def _copy_held(self, intake: StoreIntake, parts: list[Sequence[int]]) -> _Ready:
        """Copy what is held of files, one step of it; take out the parts that are ready, and return them. Blocks."""
        ready = _Ready()
        copied = 0
        while parts and copied < _REUSE_STEP:
            if self._copied is None:
                self._copied = self._copies(intake, parts[0])
            if step := next(self._copied, 0):
                copied += step
                self._reused += step
                continue
            self._copied = None
            streams = parts.pop(0)
            ready.count += len(streams)
            if small := intake.missing_files(streams):
                ready.small, ready.sizes = small, [intake.size(stream) for stream in small]
                continue
            for stream in streams:
                if missing := intake.missing(stream):
                    chunks = self._store.contents.chunk_list(intake.content, stream)
                    assert chunks is not None  # noqa: S101 - of what is not listed nothing is known to be missing
                    ready.large.append((stream, missing, chunks))
        if intake.pending_bytes >= _COMMIT_BYTES:
            intake.commit()
        return ready

    # --- meanwhile ---

    async def _keep_chunks(self) -> None:
        await self._is_open.wait()
        if self._swarm is not None:
            try:
                await self._swarm.keep()
            except SamaraError as error:  # our disk: no peer can help
                self._meeting.end(error)

    async def _keep_time(self) -> None:
        await self._is_open.wait()
        if self._swarm is not None:
            await self._swarm.keep_time()

    async def _pause(self, seconds: float) -> None:
        """Wait between two looks: longer while nobody gives, for such a fetch may lie in the background for weeks."""
        if self._meeting.sessions or self._copying:
            await trio.sleep(seconds)
        else:
            with trio.move_on_after(_IDLE):
                await self._begun.wait()

    async def _commit_now_and_then(self) -> None:
        last = trio.current_time()
        await self._is_open.wait()
        while self._intake is not None and self._swarm is not None:
            if self._is_complete():
                await self._commit()
                await self._hear_out()
                self._meeting.end()
                return
            with trio.move_on_after(_COMMIT_EVERY if self._intake.pending_bytes else _IDLE):
                await self._kept.wait()
            due = trio.current_time() - last >= _COMMIT_EVERY
            if (due and self._intake.pending_bytes) or self._intake.pending_bytes >= _COMMIT_BYTES:
                await self._commit()
                last = trio.current_time()

    def _has_kept(self) -> None:
        self._kept.set()
        self._kept = trio.Event()

    async def _commit(self) -> None:
        if self._intake is None:
            return
        try:
            await trio.to_thread.run_sync(self._intake.commit)
        except SamaraError as error:
            self._meeting.end(error)

    async def _tell_progress(self) -> None:
        while True:
            self._tell()
            await self._pause(_REPORT_EVERY)

    def _tell(self) -> None:
        if self._intake is None or self._swarm is None:
            who = f"asking {asked} peers" if (asked := self._meeting.asked) else "looking for peers"
            self._report(Progress("looking", 0, None, note=who))
            return
        came = self._swarm.received + self._reused
        before = self._wanted_bytes - self._total
        whole = self._goal.tensors is None  # else it shows only when the headers are here how much it is
        done, total = (min(before + came, self._wanted_bytes), self._wanted_bytes) if whole else (came, None)
        plural = "peer" if self._meeting.sessions == 1 else "peers"
        self._report(Progress("fetching", done, total, note=f"{self._meeting.sessions} {plural}"))


def _rotation(node: Node) -> int:
    """A number of this node's own; the path of its home would be the same on many machines."""
    return int.from_bytes(digest(Identity(node.home.key("node")).peer.encode())[:4], "big")


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended a peer's tasks: its own fault before the network's."""
    errors: list[BaseException] = []
    for error in group.exceptions:
        errors.append(_first(error) if isinstance(error, BaseExceptionGroup) else error)
    faults = [error for error in errors if isinstance(error, RemoteProtocolError)]
    samara = [error for error in errors if isinstance(error, SamaraError)]
    others = [error for error in errors if not isinstance(error, SamaraError | trio.Cancelled)]
    return (others or faults or samara or errors)[0]
