"""Whom a fetch asks: peers as they are found, a task a peer, each tried again, let go, or blamed for what it did.

    finder ──► meet ──► a task a peer: connect ► learn the release ► take part in the fetch
                 └───── beyond `MAX_FETCH_PEERS` they wait until one of these gave nothing for too long

A peer's failure ends that peer's task and nothing else; what no other peer can mend ends the fetch.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import trio

from samara.node.fetch.ahead import Ahead
from samara.node.fetch.finder import Finder
from samara.node.fetch.goal import Goal
from samara.node.fetch.learning import Learning, WrongRecordsError
from samara.node.fetch.swarm import WrongChunkError
from samara.node.fetch.waits import Waits
from samara.node.network.exchange.client import ExchangeClient
from samara.node.network.exchange.pool import BufferPool
from samara.node.network.service import NetworkService
from samara.node.network.transport import PeerAddress
from samara.node.operations.base import Notice, Report
from samara.protocol import limits
from samara.protocol.errors import (
    CriticalError,
    NetworkError,
    NotFoundError,
    PeerBusyError,
    PeerRefusedError,
    RemoteProtocolError,
    SamaraError,
)
from samara.protocol.ids import PublisherId, format_record
from samara.protocol.records.announced import decode_announced_head
from samara.protocol.routing import head_key, routing_key

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = ["Meeting", "Work"]

_log = logging.getLogger(__name__)

_MAX_TRIES = 5
"""Tries in a row in which a peer gave nothing, until it is let go; whoever finds it again may offer it again."""

_SOON: Final = 0.1
"""Seconds until who does not have it is asked again, twice as long each time up to the usual pause: those who begin to
fetch at one moment meet before they have anything, and on a fast line a second later all has come from the seeder."""


class Work(Protocol):
    """What is done with the peers."""

    async def share_in(self, client: ExchangeClient) -> None:
        """Do what can be done with one peer; returns when it is of no more use.

        Raises:
            RemoteProtocolError: It broke the rules, and is blamed.
            NetworkError: It went away.
            SamaraError: What no other peer can mend.
        """
        ...

    def given(self, peer: str) -> int:
        """Bytes that came from a peer and were kept."""
        ...

    def is_hopeful(self) -> bool:
        """Whether something that is missing may come of those who are connected, or is being done here."""
        ...


@dataclass(slots=True, eq=False)
class _Guest:
    """A peer that has a task."""

    peer: str
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    given: int = 0
    since: float = field(default_factory=trio.current_time)
    """When it gave something last, or came."""


class Meeting:
    """The peers of one fetch.

    Args:
        node: Ours.
        goal: What is looked for.
        work: What is done with who has it.
        report: Is told whom the fetch leaves out.
        patience: Seconds with nobody who has it until the fetch is given up; None never gives up.
        waits: How long it waits for anything else.
        hears: Whether a log is kept that the release cannot be verified without.
        ahead: Takes what comes ahead with the records; None: nothing else is wanted.

    Attributes:
        learning: What is known of the release.
        failure: What the fetch ended with.
        buffers: Where the bytes of payloads come from.
    """

    def __init__(
        self,
        node: Node,
        goal: Goal,
        work: Work,
        report: Report,
        *,
        patience: float | None,
        waits: Waits | None = None,
        hears: bool = True,
        ahead: Ahead | None = None,
    ) -> None:
        self.buffers = BufferPool()
        self.learning = Learning(goal, node.store, self._hear if hears else None, ahead)
        self.failure: SamaraError | None = None
        self._node = node
        self._catalog = node.store.catalog
        self._goal = goal
        self._work = work
        self._report = report
        self._patience = patience
        self._waits = waits or Waits()
        self._finder: Finder | None = None
        self._useful = self._gained = trio.current_time()
        self._resting = 0  # peers that are busy, and will be asked again
        self._addresses: dict[str, PeerAddress] = {}
        self._guests: dict[str, _Guest] = {}
        self._waiting: dict[str, None] = {}  # in the order in which they came
        self._present: dict[str, None] = {}
        self._excluded: set[str] = set()
        self._ended = trio.Event()

    @property
    def asked(self) -> int:
        """How many peers are being asked."""
        return len(self._guests)

    @property
    def sessions(self) -> int:
        """How many peers take part now."""
        return len(self._present)

    @property
    def ended(self) -> bool:
        """Whether `end` was called."""
        return self._ended.is_set()

    def end(self, failure: SamaraError | None = None) -> None:
        """End the fetch: what was wanted is here, or cannot be had. Only the first call counts."""
        if not self._ended.is_set():  # what fails after the end, fails since it is the end
            self.failure = failure
            self._ended.set()

    async def hang_up(self) -> None:
        """Close the connections to those who are asked: what is on its way would come all the same."""
        network = await self._node.network()
        for peer in list(self._guests):
            await network.host.disconnect(peer)

    def gain(self) -> None:
        """Say that something new came: as long as that happens, the fetch goes on."""
        self._gained = trio.current_time()

    async def run(self, *services: Callable[[], Awaitable[None]]) -> None:
        """Ask peers, and run `services` beside it, until `end`.

        Raises:
            NetworkError: The network cannot be had, or everybody who has it is gone.
            NotFoundError: Nobody who could be asked has it.
            SamaraError: What `end` was told.
        """
        if self.learning.public is False and not self._goal.peers:
            raise NotFoundError(
                "the release is not public, and nobody is named who has it", hint="Name who has it, with --peer."
            )
        network = await self._node.network()
        self._useful = trio.current_time()
        found, peers = trio.open_memory_channel[PeerAddress](64)
        keys = self.learning.routing_keys()
        self._finder = Finder(network, self._goal.peers, keys, present=self._present, known=self._addresses)
        self._follow_visibility()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._finder.run, found)
            nursery.start_soon(self._look_up_name, network)
            nursery.start_soon(self._meet, network, peers, nursery)
            nursery.start_soon(self._watch_guests)
            nursery.start_soon(self._note_givers, network)
            nursery.start_soon(self._lose_patience)
            for service in services:
                nursery.start_soon(service)
            await self._ended.wait()
            nursery.cancel_scope.cancel()
        if self.failure is not None:
            raise self.failure

    # Peers.

    async def _meet(
        self, network: NetworkService, peers: trio.MemoryReceiveChannel[PeerAddress], nursery: trio.Nursery
    ) -> None:
        banned = self._catalog.banned()
        async for address in peers:
            peer = address.peer
            if peer in banned or peer in self._excluded or peer == network.host.peer:
                continue
            known = peer in self._guests or peer in self._waiting
            if not known and len(self._waiting) >= limits.MAX_FETCH_WAITING:
                continue
            self._addresses[peer] = _joined(address, self._addresses.get(peer))
            if not known:
                self._waiting[peer] = None
                self._invite(network, nursery)

    def _invite(self, network: NetworkService, nursery: trio.Nursery) -> None:
        """Give those who wait a task, as far as there is room."""
        while self._waiting and len(self._guests) < limits.MAX_FETCH_PEERS:
            peer = next(iter(self._waiting))
            del self._waiting[peer]
            self._guests[peer] = guest = _Guest(peer)
            nursery.start_soon(self._entertain, network, guest, nursery)

    async def _entertain(self, network: NetworkService, guest: _Guest, nursery: trio.Nursery) -> None:
        try:
            with guest.scope:
                await self._with_peer(network, guest.peer)
        finally:
            del self._guests[guest.peer]
            if guest.scope.cancelled_caught:
                self._waiting[guest.peer] = None  # it made way, and comes last
            else:
                del self._addresses[guest.peer]
            if not self.ended:
                self._invite(network, nursery)

    async def _watch_guests(self) -> None:
        """See who gives; one who gave nothing for long makes way when others wait, or 32 shut out the 33rd."""
        while True:
            await trio.sleep(min(self._waits.answer, self._waits.gain) / 4)
            now = trio.current_time()
            for guest in self._guests.values():
                if (given := self._work.given(guest.peer)) > guest.given:
                    guest.given, guest.since = given, now
                    self.gain()
            longest = min(self._guests.values(), key=lambda guest: guest.since, default=None)
            if self._waiting and longest is not None and now - longest.since >= self._waits.answer:
                longest.scope.cancel()

    async def _note_givers(self, network: NetworkService) -> None:
        """Take note of who gives: they are served first, and who asks us for what is public may hear of them."""
        noted: dict[str, int] = {}
        while True:
            await trio.sleep(limits.MATES_SPACING)
            verified = self.learning.verified
            for peer in self._present:
                given = self._work.given(peer)
                network.credit.note(peer, given - noted.get(peer, 0), trio.current_time())
                noted[peer] = given
                if given and verified is not None and self.learning.public:
                    network.mates.note(verified.release.content, peer)

    async def _with_peer(self, network: NetworkService, peer: str) -> None:
        """Fetch from one peer as long as it is of use; its failure ends only this."""
        tries, soon = 0, _SOON
        while tries < _MAX_TRIES:
            before = self._work.given(peer)
            pause, rests, lacks = self._waits.pause * 2**tries, False, False
            try:
                await self._session(network, self._addresses[peer])
            except PeerBusyError as busy:
                pause, rests = max(pause, busy.retry_after), True
            except (NetworkError, NotFoundError) as error:
                _log.info("%s: %s", peer, error.message)
                if isinstance(error, PeerRefusedError):
                    return
                lacks = isinstance(error, NotFoundError)
            except RemoteProtocolError as error:
                await self._blame(network, peer, error)
                return
            except SamaraError as error:
                # Right bytes that do not fit together, or our disk: no other peer can help.
                self.end(error)
                return
            except Exception:  # the border where a peer's task ends: a bug here must not end the fetch
                _log.exception("the session with %s failed", peer)
                return
            if self._work.given(peer) > before:
                tries, soon = 0, _SOON
            elif lacks and soon < self._waits.pause:
                pause, soon = soon, 2 * soon
            else:
                tries += 1
            self._resting += rests
            try:
                await trio.sleep(pause)
            finally:
                self._resting -= rests

    async def _session(self, network: NetworkService, address: PeerAddress) -> None:
        async with network.connect(
            address, patience=self._waits.answer, timeout=self._waits.connect, allocate=self.buffers.take
        ) as client:
            known = self.learning.verified is not None
            await self.learning.ask(client)
            if not known:
                self.gain()
                self._follow_visibility()
            self._check_named(client.peer)
            await client.opened()  # who was asked nothing so far may have said nothing
            self._present[client.peer] = None
            try:
                await self._work.share_in(client)
            finally:
                del self._present[client.peer]
                self._useful = trio.current_time()

    def _check_named(self, peer: str) -> None:
        """Of a release that is not public only those are asked who were named.

        Raises:
            PeerRefusedError: It is not one of them.
        """
        named = {address.peer for address in self._goal.peers}
        if self.learning.public is False and named and peer not in named:
            raise PeerRefusedError(f"{peer} was not named, and the release is not public", code=0)

    async def _blame(self, network: NetworkService, peer: str, error: SamaraError) -> None:
        self._excluded.add(peer)
        count = await trio.to_thread.run_sync(self._catalog.count_wrong, peer, error.message)
        banned = count >= limits.BAN_AFTER
        wrong = isinstance(error, WrongChunkError | WrongRecordsError)
        what = "sent wrong bytes" if wrong else "broke the rules"
        self._report(Notice(f"peer {peer} {what} and is {'banned' if banned else 'left out'}: {error.message}"))
        if banned:
            network.host.set_banned(self._catalog.banned())
        await network.host.disconnect(peer)

    async def _hear(self, client: ExchangeClient, publishers: Sequence[PublisherId]) -> None:
        await self._node.logs.hear(client, publishers)

    # Looking for them.

    def _follow_visibility(self) -> None:
        if self._finder is None:
            return
        verified = self.learning.verified
        if verified is not None and self.learning.public:
            for key in self.learning.routing_keys():
                self._finder.look_for(key)
            self._finder.look_for_mates(verified.release.content)
        elif self.learning.public is False:
            self._finder.stay_private()

    async def _look_up_name(self, network: NetworkService) -> None:
        """Find out from the DHT which release a name means, so that those who have it can be looked for."""
        goal = self._goal
        while goal.release is None and goal.publisher is not None and goal.name is not None and network.routing:
            key = head_key(goal.publisher, goal.name)
            with contextlib.suppress(NetworkError):
                value = await network.routing.get_value(key)
                head = decode_announced_head(key, value) if value is not None else None
                if head is not None and self._finder is not None and not self.learning.is_rollback(head):
                    self._finder.look_for(routing_key("release", head.head.release))
                    return
            await trio.sleep(self._waits.pause)

    # Giving up.

    async def _lose_patience(self) -> None:
        while self._patience is not None:
            await trio.sleep(min(0.5, self._patience / 2))
            now = trio.current_time()
            if self._resting or (self.sessions and self._work.is_hopeful()):
                self._useful = now
            if now - self._useful >= self._patience:
                self.end(self._nobody(self._patience))
            elif (self.sessions or self._resting) and now - self._gained >= max(self._waits.gain, self._patience):
                self.end(
                    NetworkError(
                        f"those who have it gave nothing for {now - self._gained:.0f} s",
                        hint="They are busy, or hang. Run the same command later: it goes on where it stopped.",
                    )
                )

    def _nobody(self, patience: float) -> SamaraError:
        if self.learning.verified is not None:
            return NetworkError(
                "everybody who has it is gone", hint="Run the same command later: it goes on where it stopped."
            )
        if self.learning.unproven is not None:
            return self.learning.unproven
        if (too_new := self.learning.too_new) is not None:
            return CriticalError(too_new.message, hint=too_new.hint or "Is this Samara up to date?")
        what = format_record(self._goal.release) if self._goal.release else self._goal.name
        asked = "nobody could be asked" if not self._excluded and not self._guests else "nobody has it"
        return NotFoundError(
            f"release {what} was not found: {asked} within {patience:.0f} s",
            hint="Is its seeder running? Name it with --peer, or see samara doctor.",
        )


def _joined(new: PeerAddress, old: PeerAddress | None) -> PeerAddress:
    """All addresses of a peer, those heard of last first."""
    addresses = dict.fromkeys((*new.addresses, *(old.addresses if old else ())))
    return PeerAddress(new.peer, tuple(addresses)[: limits.MAX_PEER_ADDRESSES])
