"""Which head of a name is the newest: those are asked who may know, and only what its publisher signed is believed.

    the head known here ──┐
    the DHT's ────────────┼──► newer_head ──► the head that counts
    each peer's answer ───┘

A delegate's head counts while its publisher's log, as it is known here, lets the delegate sign (records.md §14).

Nobody can prove that there is nothing newer. So the question ends when whoever could be asked has answered, and nothing
new came for a moment; only who offers what counts, and nothing older, has answered. Nothing is written but,
where it shall be heard, what the publisher's log has more than is known here.

Source: specs/records.md §6; specs/cli.md, "Updates".
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, final

import trio

from samara.node.fetch.goal import Goal
from samara.node.fetch.learning import Learning
from samara.node.fetch.meeting import Meeting
from samara.node.network.exchange.client import ExchangeClient
from samara.node.network.transport import PeerAddress
from samara.node.operations.base import Report
from samara.node.store.catalog import HeldRelease
from samara.protocol.errors import CriticalError, ForkError, NetworkError, NotFoundError, RecordError
from samara.protocol.records import PublisherChain, Standing, VerifiedHead, newer_head, verify_head
from samara.protocol.records.announced import decode_announced
from samara.protocol.routing import head_key
from samara.protocol.trust import ForkProof

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = ["Following", "Newest"]

_log = logging.getLogger(__name__)

_LOOK: Final = 0.1
"""Seconds between two looks whether that is all."""

_SETTLE: Final = 2.0
"""Seconds without news until those who answered are believed: a LAN is heard from within them."""

_STRAGGLERS: Final = 8.0
"""The same while others were asked and have not answered, or the DHT has not: the dead are tried for minutes."""


@final
@dataclass(frozen=True, slots=True)
class Newest:
    """The head that counts.

    Attributes:
        head: The head.
        chain: The publisher's root chain, under which it is verified.
    """

    head: VerifiedHead
    chain: PublisherChain


@final
class Following:
    """Asks for the newest head of a release's name.

    Args:
        node: Ours.
        held: A release that is held here, and public.
        peers: Peers that are asked first.
        report: Is told whom it leaves out.
        patience: Seconds with nobody who knows until it is given up.
        hears: Whether all else that the publisher has said is heard and kept, too.
    """

    def __init__(
        self,
        node: Node,
        held: HeldRelease,
        peers: Sequence[PeerAddress],
        report: Report,
        *,
        patience: float,
        hears: bool,
    ) -> None:
        goal = Goal(held.id, held.publisher, None, None, tuple(peers), (), None)
        self._node = node
        self._held = held
        self._by_name = replace(goal, release=None, name=held.name)
        # What is condemned is not looked for any more, but what takes its place is.
        self._meeting = Meeting(
            node, self._by_name if held.condemned else goal, self, report, patience=patience, hears=hears
        )
        self._chain = PublisherChain.verify(node.store.catalog.roots(held.publisher), expected=held.publisher)
        self._known = node.store.ledgers.head(held.publisher, held.name)
        self._offered: dict[bytes | None, VerifiedHead] = {}  # by delegation: the newest by each who may sign
        self._best: VerifiedHead | None = None
        self._hears = hears
        self._answered: set[str] = set()
        self._dht_asked = False
        self._too_new: CriticalError | None = None
        self._unproven: NotFoundError | None = None
        self._news = trio.current_time()

    async def newest(self) -> Newest:
        """Return the newest head that anybody knows.

        Raises:
            NotFoundError: Nobody who could be asked knows one, or only one that is older than what was seen here.
            CriticalError: It is of a later version of Samara.
            ForkError: The publisher's keys signed a fork.
            NetworkError: The network cannot be had.
        """
        self._meeting.learning.look_at_home()
        with contextlib.suppress(NotFoundError):  # what is said below is said of the name
            await self._run()
        self._judge()  # of what was heard meanwhile, the end of a delegation may be part
        if not self._confirmed or self._best is None:
            raise (
                self._too_new
                or self._unproven
                or NotFoundError(
                    f"nobody who could be asked knows the newest release of {self._held.name}",
                    hint="Is a node of its publisher running? Name it with --peer, or see samara doctor.",
                )
            )
        return Newest(self._best, self._chain)

    async def _run(self) -> None:
        await self._node.network()  # what is wrong here is not the peers' fault
        try:
            await self._meeting.run(self._ask_dht, self._settle)
        except NetworkError as error:  # those who have it are gone
            raise NotFoundError(error.message) from error

    # What the meeting asks (meeting.Work)

    async def share_in(self, client: ExchangeClient) -> None:
        """Ask one peer, once."""
        learning = Learning(self._by_name, self._node.store, self._node.logs.hear if self._hears else None)
        try:
            await learning.ask(client)
        except NotFoundError as error:
            self._too_new = self._too_new or learning.too_new
            self._unproven = self._unproven or learning.unproven
            _log.info("%s: %s", client.peer, error.message)
        if (verified := learning.verified) is not None and verified.head is not None:
            self._take(verified.publisher, verified.head)
        if self._hears:
            await self._node.logs.hear(client, [self._held.publisher])
            self._judge()
        self._answered.add(client.peer)
        await trio.sleep_forever()  # what it knows, it has said

    def given(self, peer: str) -> int:
        """Bytes of chunks that came from a peer: none."""
        return 0

    def is_hopeful(self) -> bool:
        """Whether somebody who is asked has not answered."""
        return self._confirmed or self._meeting.asked > len(self._answered)

    # Meanwhile

    async def _ask_dht(self) -> None:
        routing = (await self._node.network()).routing
        if routing is not None:
            key = head_key(self._held.publisher, self._held.name)
            with contextlib.suppress(NetworkError):
                value = await routing.get_value(key)
                try:
                    if value is not None:
                        self._take(*decode_announced(key, value))
                except RecordError as fork:  # a value that is wrong in itself does not come through the DHT's rules
                    self._meeting.end(fork)
        self._dht_asked = True
        if routing is not None and self._hears:
            await self._node.logs.look_up(routing, self._held.publisher)

    async def _settle(self) -> None:
        while True:
            await trio.sleep(_LOOK)
            open_still = not self._dht_asked or self._meeting.asked > len(self._answered)
            wait = _STRAGGLERS if open_still else _SETTLE
            if self._confirmed and trio.current_time() - self._news >= wait:
                self._meeting.end()

    @property
    def _confirmed(self) -> bool:
        """Whether somebody offers the head that counts."""
        return self._best is not None and any(head.id == self._best.id for head in self._offered.values())

    def _take(self, chain: PublisherChain, head: VerifiedHead) -> None:
        """Hold a verified head against those that were offered so far.

        Raises:
            ForkError: A fork by the publisher's own keys, of which the proof is kept.
        """
        self._chain = self._chain.join(chain)
        key = head.head.delegation
        before = self._offered.get(key)
        if before is None or not self._believes(before):
            self._offered[key] = head
        elif self._believes(head):
            self._offered[key] = self._newer(before, head)
        self._judge()

    def _judge(self) -> None:
        """Find out which head counts, of those that were offered and the one known here, by all that is known by now.

        Raises:
            ForkError: As `_take`.
        """
        was = self._best.id if self._best is not None else None, self._confirmed
        heads = [*([self._known] if self._known is not None else []), *self._offered.values()]
        best: VerifiedHead | None = None
        for head in filter(self._believes, heads):
            best = head if best is None else self._newer(best, head)
        if best is not None and not self._believes(best):
            self._judge()  # a delegate has forked, which ended its delegation
            return
        self._best = best
        if (best.id if best is not None else None, self._confirmed) != was:
            self._news = trio.current_time()

    def _believes(self, head: VerifiedHead) -> bool:
        """Whether those who signed a head may move its name, by the roots and the log that are known by now."""
        if head.head.delegation is None:
            return verify_head(head.envelope, self._chain).signers.standing is Standing.CURRENT
        with self._node.store.ledgers.asking(self._held.publisher) as ledger:
            return ledger is not None and head.head.delegation in ledger.delegations and ledger.believes(head)

    def _newer(self, known: VerifiedHead, offered: VerifiedHead) -> VerifiedHead:
        """Return whichever of two heads that are believed counts. A delegate's fork ends its delegation, and no more.

        Raises:
            ForkError: A fork by the publisher's own keys, of which the proof is kept.
        """
        try:
            return newer_head(_current(known), _current(offered))
        except ForkError as error:
            if error.pair is not None:
                self._node.store.ledgers.take_fork(self._chain.publisher, ForkProof(*error.pair))
            if known.head.delegation is None:
                raise
            return known


def _current(head: VerifiedHead) -> VerifiedHead:
    """A head that is believed, as `newer_head` sees it: it knows of no log, and no longer chain."""
    return replace(head, signers=replace(head.signers, standing=Standing.CURRENT))
