"""What this home thinks of a release: its rules, the ledgers and the floor of time held together (specs/trust.md).

`judge` says it, and `check` refuses what is not to be used. Nothing is trusted here that the operator did not say.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from samara.node.store.catalog import Catalog
from samara.node.store.ledgers import Ledgers, Taken
from samara.node.store.times import Times
from samara.protocol.errors import FutureError, RevokedError, UntrustedError, UsageError
from samara.protocol.ids import PublisherId, ReleaseId, format_record
from samara.protocol.limits import MAX_TRUST_FILE
from samara.protocol.records import Entry, VerifiedHead, VerifiedRelease, attach_head
from samara.protocol.trust import DEFAULT_POLICY, Judgement, Ledger, Mode, Policy, Verdict, gather, judge

__all__ = ["OWN", "Trust"]

_log = logging.getLogger(__name__)

OWN: Final = "me"
"""What this home's own publisher is called here, whatever else it is called."""


class Trust:
    """Judges releases. Thread-safe.

    Args:
        file: `trust.toml`.
        catalog: Names of publishers, and what is held.
        ledgers: What publishers signed.
        times: What time it is.
    """

    def __init__(self, file: Path, catalog: Catalog, ledgers: Ledgers, times: Times) -> None:
        self._file = file
        self._catalog = catalog
        self._ledgers = ledgers
        self._times = times
        self._seeded: set[ReleaseId] = set()

    def policy(self) -> Policy:
        """Read the rules.

        Raises:
            UsageError: The file cannot be read, or is not as it must be: never is a rule left out.
        """
        try:
            with self._file.open("rb") as file:
                return Policy.parse(file.read(MAX_TRUST_FILE + 1).decode("utf-8"))
        except FileNotFoundError:
            return DEFAULT_POLICY
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{self._file} cannot be read: {error}", hint="See samara trust --help.") from error

    def name(self, publisher: PublisherId) -> str | None:
        """Return what a publisher is called here, "me" for this home's own, or None."""
        petname = self._catalog.petnames().get(publisher)
        return petname or (OWN if self._ledgers.is_own(publisher) else None)

    def is_trusted(self, publisher: PublisherId) -> bool:
        """Return whether the operator vouches for a publisher: by a name, by a rule that names it, or as its own."""
        if self.name(publisher) is not None:
            return True
        text = format_record(publisher)
        return any(rule.publisher == text and rule.mode is not Mode.OFF for rule in self.policy().rules)

    def witnesses(self) -> frozenset[str]:
        """Return the did:keys that rules name: what they sign of another's counts here."""
        try:
            return frozenset(key for rule in self.policy().rules for key in rule.keys)
        except UsageError:  # whoever judges by the rules says so
            return frozenset()

    def judge(self, release: VerifiedRelease, *, damaged: Iterable[str] = ()) -> Judgement:
        """Return the verdict on a release.

        Args:
            release: The release, verified.
            damaged: Paths whose bytes are not what was signed.

        Raises:
            UsageError: The rules cannot be read.
        """
        publisher = release.release.publisher
        policy = self.policy()
        with self._ledgers.lock:
            ledger = self._ledgers.ledger(publisher) or Ledger(release.publisher)
            decision = policy.decide(
                _with_head(release, ledger),
                petname=self.name(publisher),
                own=self._ledgers.is_own(publisher),
                revoked=_RevokedKeys(ledger),
            )
            facts = gather(
                ledger,
                release,
                decision,
                self._times.moment(),
                held=self._was_held(release, ledger),
                damaged=tuple(damaged),
            )
        return judge(facts)

    def check(self, release: VerifiedRelease, *, insisted: bool = False) -> Judgement:
        """Judge a release that is about to be used; return the verdict.

        Args:
            release: The release, verified.
            insisted: The user named it, and wants it all the same.

        Raises:
            RevokedError: It was taken back.
            UntrustedError: A rule that is enforced does not believe it.
        """
        found = self.judge(release)
        if found.decision.moves_time and found.verdict in (Verdict.GOOD, Verdict.STALE):
            self._times.see_record(
                found.issued, f"a release of {self.name(release.release.publisher) or 'a key known here'}"
            )
        if not found.stops or insisted:
            return found
        name = release.release.name
        insist = f"To use it all the same, say so by its name: --insist {name}"
        what = f"{name} {release.release.version} is {found.verdict.value}: {'; '.join(found.reasons)}"
        if found.verdict is Verdict.REVOKED:
            instead = f"Use {format_record(found.replacement)} in its place. " if found.replacement else ""
            raise RevokedError(what, hint=instead + insist)
        raise UntrustedError(what, hint=insist)

    def is_withdrawn(self, publisher: PublisherId, release: ReleaseId) -> bool:
        """Return whether a publisher took a release back, and nobody here insists on passing it on."""
        return self._ledgers.revocation(publisher, release) is not None and release not in self._seeded

    def seed(self, release: ReleaseId) -> None:
        """Pass a release on though it was taken back, as long as this process runs: the user named it."""
        self._seeded.add(release)

    def see(self, taken: Taken) -> None:
        """Let what trusted publishers have signed raise the floor of time."""
        try:
            if not self.is_trusted(taken.publisher):
                return
            name = self.name(taken.publisher) or format_record(taken.publisher)
            self._times.see_record(max(map(_issued, taken.new)), f"a record of {name}")
        except (FutureError, UsageError) as error:
            _log.warning("the floor of time stays: %s", error.message)

    def _was_held(self, release: VerifiedRelease, ledger: Ledger) -> bool:
        held, fork = self._catalog.release(release.id), ledger.fork
        return held is not None and fork is not None and held.added < self._ledgers.seen(fork)


class _RevokedKeys:
    """The revoked keys of a ledger, as a container."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._ledger.key_revocation(key) is not None


def _with_head(release: VerifiedRelease, ledger: Ledger) -> VerifiedRelease:
    """The release with the head that names it now, if one does: who signed that, vouches for the release."""
    head = ledger.head(release.release.name)
    return attach_head(release, head) if head is not None and head.head.release == release.id else release


def _issued(entry: Entry) -> str:
    return entry.head.issued if isinstance(entry, VerifiedHead) else entry.said.origin.issued
