"""Hears what peers know of publishers: roots, forks, revocations and all else that is in a log (specs/network.md).

    a session ──► LogKeeper.hear ────► GET_LOG, page by page ──┐
                                                               ├──► the store's ledger, which verifies and keeps
    the DHT ────► LogKeeper.look_up ─► the values of its log ──┘

A page is taken before the next is asked for, so what came before a session broke off stays, and who is asked next is
asked for the rest. What one peer may send in one go is bounded, in bytes and in time. A peer that has nothing, is busy
or is older than the question costs one round trip; one that sends what no honest peer keeps is named.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, final

import trio

from samara.node.fetch.learning import WrongRecordsError
from samara.node.network.exchange.client import ExchangeClient
from samara.node.network.transport import Routing
from samara.node.store.ledgers import Ledgers
from samara.protocol import limits
from samara.protocol.errors import (
    EnvelopeError,
    JsonError,
    NetworkError,
    NotFoundError,
    PeerRefusedError,
    RecordError,
    SignatureError,
    StatementError,
    StoreError,
    name_of,
)
from samara.protocol.exchange.messages import Refusal
from samara.protocol.ids import PublisherId
from samara.protocol.ports import LogPage
from samara.protocol.records.delegation import named_delegation
from samara.protocol.routing import log_key
from samara.protocol.trust import ForkProof, Ledger
from samara.protocol.trust.announced import decode_announced_log
from samara.protocol.trust.catchup import CatchUp
from samara.protocol.trust.forks import place_of

__all__ = ["Heard", "LogKeeper", "take_fork"]

_log = logging.getLogger(__name__)

_TURN: Final = 2.0
"""Seconds for which one peer is waited for before another is asked the same beside it: peers mostly have the same log,
and one that is slow must not keep what others know from coming."""

_SIGNATURE: Final = name_of(SignatureError(""))

_NOBODY_KEEPS: Final = frozenset({_SIGNATURE, *map(name_of, (EnvelopeError(""), JsonError("")))})
"""What a record is refused for by every version: whoever passes one on has not verified it."""


@dataclass(slots=True)
class Heard:
    """What one peer told.

    Attributes:
        records: Records that were not known.
        roots: Roots that were not known.
        forks: Forks that were not known.
        bytes: Bytes of all envelopes that came.
        refused: How many records were refused, by the error's class.
    """

    records: int = 0
    roots: int = 0
    forks: int = 0
    bytes: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    def add(self, other: Heard) -> None:
        """Add what else was told."""
        self.records += other.records
        self.roots += other.roots
        self.forks += other.forks
        self.bytes += other.bytes
        self.refused += other.refused


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known here of a publisher, as far as it decides what to ask."""

    root: int
    newest: int
    gaps: tuple[tuple[int, int], ...]


@final
class LogKeeper:
    """Keeps logs up with what peers know.

    Args:
        ledgers: Where they are kept.
    """

    def __init__(self, ledgers: Ledgers) -> None:
        self._ledgers = ledgers
        self._turns: dict[PublisherId, trio.Lock] = {}

    async def hear(
        self,
        client: ExchangeClient,
        publishers: Iterable[PublisherId],
        *,
        most_bytes: int = limits.MAX_LOGS_BYTES,
        seconds: float = limits.LOGS_TIME,
    ) -> Heard:
        """Ask a peer for what it knows of some publishers beyond what is known here, and keep it.

        Args:
            client: A session with the peer.
            publishers: Of whom; at most `MAX_LOGS_OF_A_PEER` are asked for.
            most_bytes: Bytes of envelopes after which nothing more is asked.
            seconds: For all of it.

        Returns:
            What came; less than the peer has, when it is slow or has much.

        Raises:
            WrongRecordsError: It sent what no honest peer keeps.
        """
        heard = Heard()
        with trio.move_on_after(seconds):
            for publisher in list(publishers)[: limits.MAX_LOGS_OF_A_PEER]:
                try:
                    async with self._turn(publisher):
                        await self._hear_one(client, publisher, heard, most_bytes)
                except PeerRefusedError as error:
                    if error.code == Refusal.UNKNOWN:
                        break  # older than the question: it answers no other of them either
                except NotFoundError:
                    pass  # the next may be known to it
                except NetworkError:
                    break
                except StoreError as error:  # the disk, or a stranger who takes too much of it: what came before stands
                    _log.warning("no more records are kept: %s", error.message)
                    break
                if heard.bytes >= most_bytes:
                    break
        return heard

    async def look_up(self, routing: Routing, publisher: PublisherId, *, ours: bytes | None = None) -> Heard:
        """Ask the DHT what must be known of a publisher, and keep all that it has.

        Args:
            routing: The DHT.
            publisher: Of whom.
            ours: The value as it is known here, to be kept where a worse one is; None offers none.
        """
        heard = Heard()
        try:
            values = await routing.get_values(log_key(publisher), ours)
        except NetworkError:
            return heard  # nobody to ask yet
        for value in values:
            if value != ours:
                heard.bytes += len(value)
                heard.add(await trio.to_thread.run_sync(self._take_announced, publisher, value))
        return heard

    @contextlib.asynccontextmanager
    async def _turn(self, publisher: PublisherId) -> AsyncIterator[None]:
        """Let one peer at a time tell of a publisher, as long as it is quick."""
        lock = self._turns.setdefault(publisher, trio.Lock())
        mine = False
        with trio.move_on_after(_TURN):
            await lock.acquire()
            mine = True
        try:
            yield
        finally:
            if mine:
                lock.release()
            if not lock.locked():
                self._turns.pop(publisher, None)

    async def _hear_one(self, client: ExchangeClient, publisher: PublisherId, heard: Heard, most_bytes: int) -> None:
        catchup, compared = CatchUp(), False
        while heard.bytes < most_bytes:
            known = await trio.to_thread.run_sync(self._known, publisher)
            first = catchup.first(known.newest, known.gaps)
            if first is None:
                return
            page = await client.log(publisher, known.root, first)
            heard.bytes += sum(map(len, page.envelopes))
            # What came is kept whatever becomes of the session: a thread is not left half way.
            took = await trio.to_thread.run_sync(self._take_page, publisher, page, client.peer, known.root)
            heard.add(took)
            if known.root > 1 and _SIGNATURE in took.refused and not compared:
                compared = True  # it may know other roots of the same versions: then both prove a fork
                page = await client.log(publisher, 1, first)
                heard.bytes += sum(map(len, page.envelopes))
                heard.add(await trio.to_thread.run_sync(self._take_page, publisher, page, client.peer, 1))
            catchup.heard(page)

    def _known(self, publisher: PublisherId) -> _Known:
        with self._ledgers.asking(publisher) as ledger:
            if ledger is None:
                return _Known(0, 0, ())
            place = place_of(ledger.newest) if ledger.newest is not None else None
            gaps = self._ledgers.missing(publisher)
            return _Known(ledger.chain.current.version, place.position if place is not None else 0, gaps)

    def _take_announced(self, publisher: PublisherId, value: bytes) -> Heard:
        try:
            page = decode_announced_log(log_key(publisher), value).page
            return self._take(publisher, page, page.roots, "the DHT")
        except (WrongRecordsError, StoreError) as error:  # whoever put it there is not known
            _log.warning("a value of the DHT is not kept: %s", error.message)
            return Heard()

    def _take_page(self, publisher: PublisherId, page: LogPage, peer: str, root: int) -> Heard:
        """Take what a peer told: its roots go on from the first `root` of those that are known."""
        with self._ledgers.asking(publisher) as ledger:
            known = () if ledger is None else ledger.chain.envelopes[:root]
            if not known and not page.roots:
                return Heard()
            return self._take(publisher, page, (*known, *page.roots) if page.roots else (), peer)

    def _take(self, publisher: PublisherId, page: LogPage, roots: Sequence[bytes], peer: str) -> Heard:
        heard, doubt = Heard(), False
        try:
            with self._ledgers.asking(publisher) as before:
                # By other roots than the genesis nobody is judged: a publisher can have forked them.
                doubt = before is not None and len(before.chain.roots) > 1
                # The records first: of a publisher that is frozen nothing more is taken but what ends that.
                taken = self._ledgers.take(roots, (*page.revocations, *page.entries), publisher=publisher)
                heard.records, heard.roots, heard.forks = len(taken.new), taken.roots, len(taken.forks)
                heard.refused.update(taken.refused)
                proofs = [ForkProof(*pair) for pair in page.forks]
                heard.forks += sum(
                    take_fork(self._ledgers, publisher, proof)
                    for proof in proofs
                    if not _is_early(self._ledgers.ledger(publisher), proof)
                )
        except RecordError as error:
            if not (doubt and isinstance(error, SignatureError | StatementError)):
                raise WrongRecordsError(f"{peer} sent wrong records: {error.message}") from error
            heard.refused[_SIGNATURE] += 1  # the next root does not go on from the one that is known
        judged = _NOBODY_KEEPS - {_SIGNATURE} if doubt else _NOBODY_KEEPS
        wrong = next((name for name in heard.refused if name in judged), None)
        if wrong is not None:
            raise WrongRecordsError(f"{peer} passes on records that nobody has signed ({wrong})")
        return heard


def _is_early(ledger: Ledger | None, proof: ForkProof) -> bool:
    """Whether nobody can say yet if a proof holds, since the delegation of both heads is still to come: it comes again.

    Raises:
        RecordError: It proves nothing.
    """
    delegation = named_delegation(proof.first)
    return delegation is not None and (ledger is None or delegation not in ledger.delegations)


def take_fork(ledgers: Ledgers, publisher: PublisherId, proof: ForkProof) -> bool:
    """Keep a proof of a fork; return whether it was not known.

    Raises:
        RecordError: It proves nothing.
    """
    with ledgers.asking(publisher) as ledger:
        known = frozenset() if ledger is None else frozenset(fork.id for fork in ledger.forks)
        return ledgers.take_fork(publisher, proof).id not in known
