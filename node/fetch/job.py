"""One fetch, from a goal to verified files in place.

    peers (finder) ──► a task a peer: records ► file table ► chunk lists ► chunks ──► intake ──► files

Every peer's task takes part in every step: whoever is first with valid bytes wins, so that one slow or lying peer
holds up nothing. What a peer sends is verified before it is used; a peer that sends something wrong is left and
remembered.

Order of verification (specs/content.md, specs/records.md): the release by its id and signature, the table by the
content id and the release's subject, each list by its root in the table, each chunk by its list.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from samara.node.fetch.finder import Finder
from samara.node.fetch.goal import FetchOutcome, Goal
from samara.node.fetch.lists import ListBoard, SharedTable
from samara.node.fetch.swarm import Swarm, WrongChunkError
from samara.node.fetch.waits import Waits
from samara.node.network.exchange.client import ExchangeClient
from samara.node.network.service import NetworkService
from samara.node.network.transport import PeerAddress
from samara.node.operations.base import Notice, Progress, Report
from samara.node.store.intake import StoreIntake
from samara.node.threads import is_cancelled
from samara.protocol import limits
from samara.protocol.chunklist import ChunkList
from samara.protocol.errors import (
    CriticalError,
    NetworkError,
    NotFoundError,
    PeerBusyError,
    PeerRefusedError,
    RecordError,
    RemoteProtocolError,
    SamaraError,
    VerificationError,
)
from samara.protocol.ids import Digest, digest, format_record
from samara.protocol.ports import Records, StreamNeed
from samara.protocol.records import PublisherChain, VerifiedHead, VerifiedRelease, Visibility, verify_release
from samara.protocol.records.announced import decode_announced_head
from samara.protocol.routing import head_key, routing_key
from samara.protocol.table import verify_table

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = ["FetchJob"]

_log = logging.getLogger(__name__)

_REUSE_STEP: Final = 16 * limits.MIB
_COMMIT_EVERY: Final = 1.0
_COMMIT_BYTES: Final = 64 * limits.MIB
_REPORT_EVERY: Final = 0.25
_MAX_TRIES: Final = 5
"""Tries in a row in which a peer gave nothing, until it is let go; whoever finds it again may offer it again."""
_STREAMS_AT_ONCE: Final = 256


@dataclass(slots=True)
class _Listed:
    """A file whose list is here; `nodes` are to be kept yet, None when they are."""

    need: StreamNeed
    nodes: Sequence[bytes] | None


@dataclass(frozen=True, slots=True)
class _Ready:
    """A file of which all that is held has been copied."""

    stream: int
    missing: list[int]
    chunks: ChunkList


class WrongRecordsError(RemoteProtocolError):
    """A peer sent records that are not what was asked for, or not what was signed."""


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
        self._patience = patience
        self._waits = waits or Waits()
        self._began = trio.current_time()
        self._verified: VerifiedRelease | None = None
        self._records: Records | None = None
        self._intake: StoreIntake | None = None
        self._swarm: Swarm | None = None
        self._finder: Finder | None = None
        self._opening = trio.Lock()
        self._table: SharedTable | None = None
        self._lists: ListBoard | None = None
        self._listed: deque[_Listed] = deque()
        self._has_listed = trio.Event()
        self._copying = False
        self._unlisted = 0
        self._useful = self._gained = trio.current_time()
        self._sessions = 0
        self._addresses: dict[str, PeerAddress] = {}
        self._active: set[str] = set()
        self._excluded: set[str] = set()
        self._failure: SamaraError | None = None
        self._too_new: CriticalError | None = None
        self._ended = trio.Event()
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
            await self._look_at_home()
            if not self._is_complete():
                await self._ask_peers()
            if self._failure is not None:
                raise self._failure
            return await self._finish()
        finally:
            if self._intake is not None:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(self._store.close_intake, self._intake)

    # --- the whole ---

    async def _look_at_home(self) -> None:
        """Begin from what is known here already: a fetch that goes on, or one that is all local copies."""
        release = self._goal.release
        records = self._store.catalog.records(release) if release is not None else None
        if records is None:
            return
        verified = verify_release(records, expected=release)
        self._take_release(verified, records)
        content = verified.release.content
        if self._store.contents.has(content):
            nodes = self._store.contents.nodes(content, 0)
            await self._open(nodes, self._store.contents.table_bytes(content))
            await self._begin_listed()

    async def _ask_peers(self) -> None:
        network = await self._node.network()
        found, peers = trio.open_memory_channel[PeerAddress](64)
        self._finder = Finder(network, self._goal.peers, self._keys())
        self._take_visibility()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._finder.run, found)
            nursery.start_soon(self._look_up_name, network)
            nursery.start_soon(self._meet, network, peers, nursery)
            nursery.start_soon(self._begin_as_listed)
            nursery.start_soon(self._commit_now_and_then)
            nursery.start_soon(self._tell_progress)
            nursery.start_soon(self._lose_patience)
            await self._ended.wait()
            nursery.cancel_scope.cancel()

    async def _finish(self) -> FetchOutcome:
        intake, verified = self._intake, self._verified
        if intake is None or verified is None:
            raise NotFoundError("the fetch ended before it began")
        self._tell()
        path = await trio.to_thread.run_sync(intake.finish)
        await trio.to_thread.run_sync(lambda: self._store.catalog.pin(verified.id, pinned=True))
        swarm = self._swarm
        return FetchOutcome(
            verified.id,
            path,
            swarm.received if swarm else 0,
            self._reused,
            trio.current_time() - self._began,
            dict(swarm.by_peer) if swarm else {},
        )

    def _end(self, failure: SamaraError | None = None) -> None:
        if not self._ended.is_set():  # what fails after the end, fails since it is the end
            self._failure = failure
            self._ended.set()

    def _is_complete(self) -> bool:
        return self._swarm is not None and self._swarm.done and not self._unlisted

    def _keys(self) -> list[bytes]:
        keys = []
        if self._goal.release is not None:
            keys.append(routing_key("release", self._goal.release))
        if self._verified is not None:
            keys.append(routing_key("content", self._verified.release.content))
        return keys

    # --- peers ---

    async def _meet(
        self, network: NetworkService, peers: trio.MemoryReceiveChannel[PeerAddress], nursery: trio.Nursery
    ) -> None:
        banned = self._store.catalog.banned()
        async for address in peers:
            peer = address.peer
            if peer in banned or peer in self._excluded or peer == network.host.peer:
                continue
            self._addresses[peer] = _joined(address, self._addresses.get(peer))
            if peer not in self._active:
                self._active.add(peer)
                nursery.start_soon(self._with_peer, network, peer)

    async def _with_peer(self, network: NetworkService, peer: str) -> None:
        """Fetch from one peer as long as it is of use; its failure ends only this."""
        tries = 0
        try:
            while tries < _MAX_TRIES:
                before = self._given(peer)
                pause = self._waits.pause * 2**tries
                try:
                    await self._session(network, self._addresses[peer])
                except PeerBusyError as busy:
                    pause = max(pause, busy.retry_after)
                except (NetworkError, NotFoundError) as error:
                    _log.info("%s: %s", peer, error.message)
                    if isinstance(error, PeerRefusedError):
                        return
                except RemoteProtocolError as error:
                    await self._blame(network, peer, error)
                    return
                except SamaraError as error:
                    # Right bytes that do not fit together, or our disk: no other peer can help.
                    self._end(error)
                    return
                except Exception:  # the border where a peer's task ends: a bug here must not end the fetch
                    _log.exception("the session with %s failed", peer)
                    return
                tries = 0 if self._given(peer) > before else tries + 1
                await trio.sleep(pause)
        finally:
            self._active.discard(peer)

    def _given(self, peer: str) -> int:
        return self._swarm.by_peer.get(peer, 0) if self._swarm is not None else 0

    async def _session(self, network: NetworkService, address: PeerAddress) -> None:
        async with network.connect(address, patience=self._waits.answer, timeout=self._waits.connect) as client:
            await self._learn_release(client)
            self._check_named(client.peer)
            await self._learn_table(client)
            self._sessions += 1
            try:
                await self._share_in(client)
            finally:
                self._sessions -= 1
                self._useful = trio.current_time()

    def _check_named(self, peer: str) -> None:
        """Of a release that is not public only those are asked whom the link names.

        Raises:
            PeerRefusedError: It is not one of them.
        """
        named = {address.peer for address in self._goal.peers}
        public = self._verified is None or self._verified.release.visibility is Visibility.PUBLIC
        if not public and named and peer not in named:
            raise PeerRefusedError(f"{peer} was not named, and the release is not public", code=0)

    async def _share_in(self, client: ExchangeClient) -> None:
        swarm, lists = self._swarm, self._lists
        if swarm is None or lists is None:
            return
        wrong = self._store.catalog.wrong_counts().get(client.peer, 0)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lists.fetch_from, client)
                await swarm.fetch_from(client, wrong_before=wrong)
        except BaseExceptionGroup as group:
            raise _first(group) from None

    async def _blame(self, network: NetworkService, peer: str, error: SamaraError) -> None:
        self._excluded.add(peer)
        count = await trio.to_thread.run_sync(self._store.catalog.count_wrong, peer, error.message)
        banned = count >= limits.BAN_AFTER
        wrong = isinstance(error, WrongChunkError | WrongRecordsError)
        what = "sent wrong bytes" if wrong else "broke the rules"
        self._report(Notice(f"peer {peer} {what} and is {'banned' if banned else 'left out'}: {error.message}"))
        if banned:
            network.host.set_banned(self._store.catalog.banned())
        await network.host.disconnect(peer)

    # --- records and table ---

    async def _look_up_name(self, network: NetworkService) -> None:
        """Find out from the DHT which release a name means, so that those who have it can be looked for."""
        goal = self._goal
        while goal.release is None and goal.publisher is not None and goal.name is not None and network.routing:
            key = head_key(goal.publisher, goal.name)
            with contextlib.suppress(NetworkError):
                value = await network.routing.get_value(key)
                head = decode_announced_head(key, value) if value is not None else None
                if head is not None and self._finder is not None and not self._is_rollback(head):
                    self._finder.look_for(routing_key("release", head.head.release))
                    return
            await trio.sleep(self._waits.pause)

    def _is_rollback(self, head: VerifiedHead) -> bool:
        """Whether a head is older than one that was seen here: then whoever offers it is behind, or lies."""
        known = self._store.catalog.newest_head(head.head.publisher, head.head.name)
        return known is not None and head.head.sequence < known[1]

    async def _learn_release(self, client: ExchangeClient) -> None:
        if self._verified is not None:
            return
        goal = self._goal
        if goal.release is not None:
            records = await client.records(goal.release)
        elif goal.publisher is not None and goal.name is not None:
            records = await client.latest(goal.publisher, goal.name)
        else:
            raise NotFoundError("a fetch that names nothing")
        verified = self._verify(records, client.peer)
        if goal.release is None:
            self._check_name(verified, client.peer)
        if self._verified is None:
            self._take_release(verified, records)

    def _verify(self, records: Records, peer: str) -> VerifiedRelease:
        """Verify what a peer sent.

        Raises:
            WrongRecordsError: It is not what was asked for, or not what was signed.
            NotFoundError: It is of a later version.
        """
        goal = self._goal
        known = self._store.catalog.roots(goal.publisher) if goal.publisher else ()
        try:
            return verify_release(
                records,
                expected=goal.release,
                publisher=goal.publisher if goal.release is None else None,
                known=PublisherChain.verify(known) if known else None,
            )
        except CriticalError as error:
            self._too_new = error  # whose fault it is cannot be told: nobody is blamed
            raise NotFoundError(f"{peer} has it of a version that is not known here") from error
        except RecordError as error:
            raise WrongRecordsError(f"{peer} sent wrong records: {error.message}") from error

    def _check_name(self, verified: VerifiedRelease, peer: str) -> None:
        """Hold what a peer answered to a name against the name.

        Raises:
            WrongRecordsError: It has another name.
            NotFoundError: It is of another version, or older than what was seen here.
        """
        goal, said = self._goal, verified.release
        if said.name != goal.name:
            raise WrongRecordsError(f"{peer} sent a release of the name {said.name}, not {goal.name}")
        if goal.version is not None:
            if said.version != goal.version:
                raise NotFoundError(f"{peer} has version {said.version}, not {goal.version}")
            return
        known = self._store.catalog.newest_head(said.publisher, said.name)
        behind = self._is_rollback(verified.head) if verified.head else known is not None and known[2] != verified.id
        if behind:
            raise NotFoundError(f"{peer} has only an older release of {goal.name}")

    def _take_release(self, verified: VerifiedRelease, records: Records) -> None:
        if self._goal.publisher not in {None, verified.release.publisher}:
            self._end(
                VerificationError(
                    f"the link names another publisher than release {format_record(verified.id)} has",
                    hint="Do not trust this link: ask whom you have it from.",
                )
            )
            return
        held = self._store.catalog.release(verified.id)
        if held is not None and held.condemned:
            self._end(VerificationError(f"this release is condemned: {held.condemned}"))
        self._verified, self._records = verified, records
        self._gained = trio.current_time()
        self._take_visibility()

    def _take_visibility(self) -> None:
        if self._finder is None or self._verified is None:
            return
        if self._verified.release.visibility is Visibility.PUBLIC:
            for key in self._keys():
                self._finder.look_for(key)
        else:
            self._finder.stay_private()

    async def _learn_table(self, client: ExchangeClient) -> None:
        if self._swarm is not None or self._verified is None:
            return
        if self._table is None:
            self._table = SharedTable(self._verified.release.content, self._held_node)
        await self._table.fetch_from(client)
        await self._open(self._table.nodes(), self._table.data())

    def _held_node(self, name: Digest) -> bytes | None:
        return self._store.contents.any_node(name)

    async def _open(self, nodes: Sequence[bytes], table_bytes: bytes) -> None:
        """Open the intake and hand out what is missing. Only the first call does anything."""
        async with self._opening:
            verified, records = self._verified, self._records
            if self._intake is not None or verified is None or records is None:
                return
            verified.check_table(table_bytes)
            content = verified.release.content
            table = await trio.to_thread.run_sync(verify_table, table_bytes, content)
            wanted = self._goal.wanted(table)
            self._wanted_bytes = sum(table[stream - 1].size for stream in wanted)
            opened = functools.partial(self._store.open_intake, cancelled=is_cancelled)
            intake = await trio.to_thread.run_sync(opened, records, nodes, table_bytes, wanted, self._goal.to)
            # Opened is opened, whatever comes of the rest: `run` closes it.
            self._intake = intake
            needs = await trio.to_thread.run_sync(intake.needs)
            # From here on others look: nothing is awaited before all of it is true.
            self._unlisted = len(needs)
            self._swarm = Swarm(content, intake, len(table), rotate=_rotation(self._node))
            self._lists = ListBoard(content, self._held_node, self._take_list, self._waits.help)
            self._total = sum(need.size for need in needs)
            self._gained = trio.current_time()
            for need in needs:
                if need.listed:
                    self._take_list(need, None)
                else:
                    self._lists.add(need, self._store.contents.verifier(content, need.stream))
        if self._is_complete():
            self._end()

    # --- lists ---

    def _take_list(self, need: StreamNeed, nodes: Sequence[bytes] | None) -> None:
        self._gained = trio.current_time()
        self._listed.append(_Listed(need, nodes))
        self._has_listed.set()

    async def _begin_as_listed(self) -> None:
        """Begin each file when its list is here: in a task of its own, since peers come and go."""
        while True:
            await self._has_listed.wait()
            self._has_listed = trio.Event()
            try:
                await self._begin_listed()
            except SamaraError as error:
                self._end(error)
                return

    async def _begin_listed(self) -> None:
        """Copy what is held of the files whose lists are here, and let the swarm fetch the rest."""
        intake, swarm = self._intake, self._swarm
        while intake is not None and swarm is not None and self._listed:
            self._copying = True
            batch = [self._listed.popleft() for _ in range(min(len(self._listed), _STREAMS_AT_ONCE))]
            while batch:
                ready = await trio.to_thread.run_sync(self._copy_held, intake, batch)
                self._gained = trio.current_time()
                for found in ready:
                    if found.missing:
                        swarm.add_stream(found.stream, found.missing, found.chunks)
                    self._unlisted -= 1
                self._tell()
        self._copying = False

    def _copy_held(self, intake: StoreIntake, batch: list[_Listed]) -> list[_Ready]:
        """Keep lists and copy what is held, one step of it; return the files that are ready. Blocks."""
        ready: list[_Ready] = []
        copied = 0
        while batch and copied < _REUSE_STEP:
            need, nodes = batch[0].need, batch[0].nodes
            if nodes is not None:
                intake.add_list(need.stream, nodes)
                batch[0].nodes = None
            if step := intake.reuse(need.stream, _REUSE_STEP - copied):
                copied += step
                self._reused += step
                continue
            chunks = self._store.contents.chunk_list(intake.content, need.stream)
            if chunks is not None:
                ready.append(_Ready(need.stream, intake.missing(need.stream), chunks))
            del batch[0]
        if intake.pending_bytes >= _COMMIT_BYTES:
            intake.commit()
        return ready

    # --- meanwhile ---

    async def _commit_now_and_then(self) -> None:
        last = trio.current_time()
        while True:
            await trio.sleep(0.05)
            if self._intake is None:
                continue
            if self._is_complete():
                await self._commit()
                self._end()
                return
            due = trio.current_time() - last >= _COMMIT_EVERY
            if (due and self._intake.pending_bytes) or self._intake.pending_bytes >= _COMMIT_BYTES:
                await self._commit()
                last = trio.current_time()

    async def _commit(self) -> None:
        if self._intake is None:
            return
        try:
            await trio.to_thread.run_sync(self._intake.commit)
        except SamaraError as error:
            self._end(error)

    async def _tell_progress(self) -> None:
        while True:
            self._tell()
            await trio.sleep(_REPORT_EVERY)

    def _tell(self) -> None:
        if self._intake is None or self._swarm is None:
            who = f"asking {len(self._active)} peers" if self._active else "looking for peers"
            self._report(Progress("looking", 0, None, note=who))
            return
        before = self._wanted_bytes - self._total
        done = min(before + self._swarm.received + self._reused, self._wanted_bytes)
        plural = "peer" if self._sessions == 1 else "peers"
        self._report(Progress("fetching", done, self._wanted_bytes, note=f"{self._sessions} {plural}"))

    async def _lose_patience(self) -> None:
        kept = 0
        while self._patience is not None:
            await trio.sleep(min(0.5, self._patience / 2))
            now = trio.current_time()
            if self._swarm is not None and self._swarm.received > kept:
                self._gained, kept = now, self._swarm.received
            if self._sessions and self._is_hopeful():
                self._useful = now
            if now - self._useful >= self._patience:
                self._end(self._nobody(self._patience))
            elif self._sessions and now - self._gained >= max(self._waits.gain, self._patience):
                self._end(
                    NetworkError(
                        f"those who have it gave nothing for {now - self._gained:.0f} s",
                        hint="They are busy, or hang. Run the same command later: it goes on where it stopped.",
                    )
                )

    def _is_hopeful(self) -> bool:
        """Whether something that is missing may come of those who are connected, or is being copied here."""
        if self._swarm is None or self._lists is None or self._copying or self._is_complete():
            return True
        return self._lists.hopeful or not (self._swarm.done or self._swarm.stuck)

    def _nobody(self, patience: float) -> SamaraError:
        if self._verified is not None:
            return NetworkError(
                "everybody who has it is gone", hint="Run the same command later: it goes on where it stopped."
            )
        if self._too_new is not None:
            return CriticalError(self._too_new.message, hint=self._too_new.hint or "Is this Samara up to date?")
        what = format_record(self._goal.release) if self._goal.release else self._goal.name
        asked = "nobody could be asked" if not self._excluded and not self._active else "nobody has it"
        return NotFoundError(
            f"release {what} was not found: {asked} within {patience:.0f} s",
            hint="Is its seeder running? Name it with --peer, or see samara doctor.",
        )


def _joined(new: PeerAddress, old: PeerAddress | None) -> PeerAddress:
    """All addresses of a peer, those heard of last first."""
    addresses = dict.fromkeys((*new.addresses, *(old.addresses if old else ())))
    return PeerAddress(new.peer, tuple(addresses)[: limits.MAX_PEER_ADDRESSES])


def _rotation(node: Node) -> int:
    return int.from_bytes(digest(str(node.home.root).encode())[:4], "big")


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended a peer's tasks: its own fault before the network's."""
    errors: list[BaseException] = []
    for error in group.exceptions:
        errors.append(_first(error) if isinstance(error, BaseExceptionGroup) else error)
    faults = [error for error in errors if isinstance(error, RemoteProtocolError)]
    samara = [error for error in errors if isinstance(error, SamaraError)]
    others = [error for error in errors if not isinstance(error, SamaraError | trio.Cancelled)]
    return (others or faults or samara or errors)[0]
