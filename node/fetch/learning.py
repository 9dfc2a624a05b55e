"""What a fetch knows of the release that it is after, and whether what peers say of it can be true.

Everything is verified before it is kept: a release by its id, its signature and its publisher's roots, a name by the
newest head that was seen here (specs/records.md §6). Who sent something wrong is said by the error.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import trio

from samara.node.fetch.ahead import Ahead
from samara.node.fetch.goal import Goal
from samara.node.network.exchange.client import ExchangeClient
from samara.node.store.store import Store
from samara.protocol.dsse import Envelope
from samara.protocol.errors import (
    CriticalError,
    ForkError,
    NotFoundError,
    RecordError,
    RemoteProtocolError,
    VerificationError,
)
from samara.protocol.ids import PublisherId, ReleaseId, digest, format_record
from samara.protocol.ports import Records
from samara.protocol.records import PublisherChain, Standing, VerifiedHead, VerifiedRelease, Visibility
from samara.protocol.records.delegation import named_delegation
from samara.protocol.routing import routing_key
from samara.protocol.trust import contradict

__all__ = ["Hear", "Learning", "WrongRecordsError"]

Hear: TypeAlias = Callable[[ExchangeClient, Sequence[PublisherId]], Awaitable[object]]
"""Asks a peer for the logs of publishers, and keeps what it tells."""


class WrongRecordsError(RemoteProtocolError):
    """A peer sent records that are not what was asked for, or not what was signed."""


class Learning:
    """The release of one fetch.

    Args:
        goal: What is to be fetched.
        store: What is known here already.
        hear: Asks a peer for the log of a publisher and keeps it; None: no log is kept.
        ahead: Takes what comes ahead with the records; None: nothing else is wanted.

    Attributes:
        verified: The release, once it is known.
        records: Its records, as they came.
        too_new: What a later version of Samara must have made; nobody is to blame for it.
        unproven: Why what somebody has is not taken for its publisher's; nobody is to blame for that either.
    """

    def __init__(self, goal: Goal, store: Store, hear: Hear | None = None, ahead: Ahead | None = None) -> None:
        self.verified: VerifiedRelease | None = None
        self.records: Records | None = None
        self.too_new: CriticalError | None = None
        self.unproven: NotFoundError | None = None
        self._goal = goal
        self._store = store
        self._outdated = False
        self._hear = hear
        self._ahead = ahead or Ahead()

    @property
    def public(self) -> bool | None:
        """Whether anybody may be asked for it; None while that is not known."""
        if self.verified is not None:
            return self.verified.release.visibility is Visibility.PUBLIC
        return False if self._goal.discreet or self._outdated else None

    def routing_keys(self) -> list[bytes]:
        """Return the DHT keys under which those who have it can be found."""
        keys = []
        if self._goal.release is not None:
            keys.append(routing_key("release", self._goal.release))
        if self.verified is not None:
            keys.append(routing_key("content", self.verified.release.content))
        return keys

    def look_at_home(self) -> bool:
        """Take what is known here, if anything is; return whether it is.

        What is signed by replaced keys alone, and is not public, is asked for anew of the peers that are named: no head
        will ever vouch for it, but its publisher's new keys may have signed it since (specs/keys.md §5).

        Raises:
            VerificationError: As `ask`.
            UntrustedError: As `ask`.
        """
        release = self._goal.release
        records = self._store.catalog.records(release) if release is not None else None
        if records is None:
            return False
        verified = self._store.verify_records(records, expected=release)
        self._outdated = bool(self._goal.peers) and self._is_outdated(verified)
        if not self._outdated:
            self._take(verified, records)
        return not self._outdated

    async def ask(self, client: ExchangeClient) -> None:
        """Learn it from a peer, unless it is known.

        Raises:
            WrongRecordsError: What the peer sent is not what was asked for, or not what was signed.
            NotFoundError: It has none, or only another or older one, or one by a delegate and no log that proves it.
            VerificationError: The release is not of the publisher that the link names, or is condemned here.
            ForkError: The publisher's keys signed another head for the place of one that is known here.
            UntrustedError: It was taken back, or a rule that is enforced does not believe it.
        """
        if self.verified is not None:
            return
        with self._ahead.asking(client) as most:
            records = await self._see_to_delegations(client, await self._ask_records(client, most))
            verified = await trio.to_thread.run_sync(self._verify, records, client.peer)
            if self._goal.release is None:
                await trio.to_thread.run_sync(self._check_name, verified, records, client.peer)
            if self.verified is None:
                self._take(verified, records)

    async def _ask_records(self, client: ExchangeClient, most: int) -> Records:
        goal, take = self._goal, self._ahead.take
        if goal.release is not None:
            return await client.records(goal.release, most, take)
        if goal.publisher is not None and goal.name is not None:
            return await client.latest(goal.publisher, goal.name, most, take)
        raise NotFoundError("a fetch that names nothing")

    def _is_outdated(self, verified: VerifiedRelease) -> bool:
        said = verified.release
        if said.visibility is Visibility.PUBLIC or said.name in self._goal.insist:
            return False
        with self._store.ledgers.asking(said.publisher) as ledger:
            return ledger is not None and ledger.standing(verified) is Standing.RETIRED

    def is_rollback(self, head: VerifiedHead) -> bool:
        """Whether a head is older than one that was seen here: then whoever offers it is behind, or lies."""
        known = self._store.ledgers.head(head.head.publisher, head.head.name)
        return known is not None and _newness(head) < _newness(known)

    async def _see_to_delegations(self, client: ExchangeClient, records: Records) -> Records:
        """See that the delegations under which records are signed are known: the publisher's log has them.

        Returns:
            The records; of a release that was asked for by its id without the head, where that alone is not proven.

        Raises:
            NotFoundError: They are not, and the peer has no log that does.
        """
        publisher = await trio.to_thread.run_sync(self._whose_log_lacks, records)
        if publisher is None:
            return records
        if self._hear is not None:
            await self._hear(client, [publisher])
            publisher = await trio.to_thread.run_sync(self._whose_log_lacks, records)
        if publisher is not None:
            alone = replace(records, head=None)
            if self._goal.release is not None and not await trio.to_thread.run_sync(self._whose_log_lacks, alone):
                return alone
            self.unproven = NotFoundError(
                f"a delegate has signed it, and the log of publisher {format_record(publisher)} that would say so is"
                " not here" + (", nor with those who have it" if self._hear is not None else ""),
                hint="Get the log first: samara records sync PUBLISHER --peer MULTIADDR, or samara records import.",
            )
            raise self.unproven
        return records

    def _whose_log_lacks(self, records: Records) -> PublisherId | None:
        """Return whose log is needed before records can be verified; None where none is, or they are wrong anyway."""
        goal = self._goal
        try:
            publisher = PublisherChain.verify(records.roots).publisher
            named = {named_delegation(one) for one in (records.release, records.head) if one is not None} - {None}
            asked = goal.release in {None, ReleaseId(digest(Envelope.decode(records.release).payload))}
        except RecordError:
            return None
        if not named or not asked or goal.publisher not in {None, publisher}:
            return None
        with self._store.ledgers.asking(publisher) as ledger:
            return publisher if ledger is None or not named <= ledger.delegations.keys() else None

    def _verify(self, records: Records, peer: str) -> VerifiedRelease:
        goal = self._goal
        try:
            return self._store.verify_records(
                records, expected=goal.release, publisher=goal.publisher if goal.release is None else None
            )
        except ForkError:
            raise  # whoever brings both sides has done well: it is the publisher who signed them
        except CriticalError as error:
            self.too_new = error  # whose fault it is cannot be told: nobody is blamed
            raise NotFoundError(f"{peer} has it of a version that is not known here") from error
        except RecordError as error:
            raise WrongRecordsError(f"{peer} sent wrong records: {error.message}") from error

    def _check_name(self, verified: VerifiedRelease, records: Records, peer: str) -> None:
        """Hold what a peer answered to a name against the name."""
        goal, said = self._goal, verified.release
        if said.name != goal.name:
            raise WrongRecordsError(f"{peer} sent a release of the name {said.name}, not {goal.name}")
        if verified.head is not None and self._is_lapsed(verified.head):
            raise NotFoundError(f"{peer} has only a release of {goal.name} that a delegate signed who may no more")
        if goal.version is not None:
            if said.version != goal.version:
                raise NotFoundError(f"{peer} has version {said.version}, not {goal.version}")
            return
        known = self._store.ledgers.head(said.publisher, said.name)
        other = known is not None and known.head.release != verified.id
        if self.is_rollback(verified.head) if verified.head else other:
            raise NotFoundError(f"{peer} has only an older release of {goal.name}")
        if verified.head is not None and known is not None and contradict(known, verified.head) is not None:
            taken = self._store.ledgers.take(records.roots, [verified.head.envelope])  # it keeps the proof
            if verified.head.head.delegation is not None:  # which ends the delegation, and says nothing of others
                raise NotFoundError(f"{peer} has a head that contradicts one by the same delegate")
            if taken.errors:
                raise taken.errors[0]

    def _is_lapsed(self, head: VerifiedHead) -> bool:
        """Whether a delegate has signed a head under a delegation that does not let it any more, by what is known."""
        if head.head.delegation is None:
            return False
        with self._store.ledgers.asking(head.head.publisher) as ledger:
            return ledger is None or not ledger.believes(head)

    def _take(self, verified: VerifiedRelease, records: Records) -> None:
        if self._goal.publisher not in {None, verified.release.publisher}:
            raise VerificationError(
                f"the link names another publisher than release {format_record(verified.id)} has",
                hint="Do not trust this link: ask whom you have it from.",
            )
        held = self._store.catalog.release(verified.id)
        if held is not None and held.condemned:
            raise VerificationError(f"this release is condemned: {held.condemned}")
        self._store.trust.check(verified, insisted=verified.release.name in self._goal.insist)
        self.verified, self.records = verified, records


def _newness(head: VerifiedHead) -> tuple[int, int]:
    return head.head.root, head.head.sequence
