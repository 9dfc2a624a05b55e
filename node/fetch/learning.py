"""What a fetch knows of the release that it is after, and whether what peers say of it can be true.

Everything is verified before it is kept: a release by its id, its signature and its publisher's roots, a name by the
newest head that was seen here (specs/records.md §6). Who sent something wrong is said by the error.
"""

from __future__ import annotations

from samara.node.fetch.goal import Goal
from samara.node.network.exchange.client import ExchangeClient
from samara.node.store.catalog import Catalog
from samara.protocol.errors import (
    CriticalError,
    NotFoundError,
    RecordError,
    RemoteProtocolError,
    VerificationError,
)
from samara.protocol.ids import format_record
from samara.protocol.ports import Records
from samara.protocol.records import PublisherChain, VerifiedHead, VerifiedRelease, Visibility, verify_release
from samara.protocol.routing import routing_key

__all__ = ["Learning", "WrongRecordsError"]


class WrongRecordsError(RemoteProtocolError):
    """A peer sent records that are not what was asked for, or not what was signed."""


class Learning:
    """The release of one fetch.

    Args:
        goal: What is to be fetched.
        catalog: What is known here already.

    Attributes:
        verified: The release, once it is known.
        records: Its records, as they came.
        too_new: What a later version of Samara must have made; nobody is to blame for it.
    """

    def __init__(self, goal: Goal, catalog: Catalog) -> None:
        self.verified: VerifiedRelease | None = None
        self.records: Records | None = None
        self.too_new: CriticalError | None = None
        self._goal = goal
        self._catalog = catalog

    @property
    def public(self) -> bool | None:
        """Whether anybody may be asked for it; None while that is not known."""
        if self.verified is not None:
            return self.verified.release.visibility is Visibility.PUBLIC
        return False if self._goal.discreet else None

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

        Raises:
            VerificationError: As `take`.
        """
        release = self._goal.release
        records = self._catalog.records(release) if release is not None else None
        if records is not None:
            self._take(verify_release(records, expected=release), records)
        return records is not None

    async def ask(self, client: ExchangeClient) -> None:
        """Learn it from a peer, unless it is known.

        Raises:
            WrongRecordsError: What the peer sent is not what was asked for, or not what was signed.
            NotFoundError: It has none, or only another or older one.
            VerificationError: The release is not of the publisher that the link names, or is condemned here.
        """
        if self.verified is not None:
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
        if self.verified is None:
            self._take(verified, records)

    def is_rollback(self, head: VerifiedHead) -> bool:
        """Whether a head is older than one that was seen here: then whoever offers it is behind, or lies."""
        known = self._catalog.newest_head(head.head.publisher, head.head.name)
        return known is not None and head.head.sequence < known[1]

    def _verify(self, records: Records, peer: str) -> VerifiedRelease:
        goal = self._goal
        known = self._catalog.roots(goal.publisher) if goal.publisher else ()
        try:
            return verify_release(
                records,
                expected=goal.release,
                publisher=goal.publisher if goal.release is None else None,
                known=PublisherChain.verify(known) if known else None,
            )
        except CriticalError as error:
            self.too_new = error  # whose fault it is cannot be told: nobody is blamed
            raise NotFoundError(f"{peer} has it of a version that is not known here") from error
        except RecordError as error:
            raise WrongRecordsError(f"{peer} sent wrong records: {error.message}") from error

    def _check_name(self, verified: VerifiedRelease, peer: str) -> None:
        """Hold what a peer answered to a name against the name."""
        goal, said = self._goal, verified.release
        if said.name != goal.name:
            raise WrongRecordsError(f"{peer} sent a release of the name {said.name}, not {goal.name}")
        if goal.version is not None:
            if said.version != goal.version:
                raise NotFoundError(f"{peer} has version {said.version}, not {goal.version}")
            return
        known = self._catalog.newest_head(said.publisher, said.name)
        behind = self.is_rollback(verified.head) if verified.head else known is not None and known[2] != verified.id
        if behind:
            raise NotFoundError(f"{peer} has only an older release of {goal.name}")

    def _take(self, verified: VerifiedRelease, records: Records) -> None:
        if self._goal.publisher not in {None, verified.release.publisher}:
            raise VerificationError(
                f"the link names another publisher than release {format_record(verified.id)} has",
                hint="Do not trust this link: ask whom you have it from.",
            )
        held = self._catalog.release(verified.id)
        if held is not None and held.condemned:
            raise VerificationError(f"this release is condemned: {held.condemned}")
        self.verified, self.records = verified, records
