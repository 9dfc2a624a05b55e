"""What this home thinks of a release: its rules, the ledgers and the floor of time held together (specs/trust.md).

`judge` says it, and `check` refuses what is not to be used. Nothing is trusted here that the operator did not say.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from samara.node.store.catalog import Catalog, HeldRelease
from samara.node.store.ledgers import Ledgers, Taken
from samara.node.store.times import Times
from samara.protocol.errors import (
    FutureError,
    LinkError,
    NotFoundError,
    RecordError,
    RevokedError,
    UntrustedError,
    UsageError,
)
from samara.protocol.ids import PublisherId, ReleaseId, format_record, parse_record
from samara.protocol.limits import MAX_TRUST_FILE
from samara.protocol.records import Entry, PublisherChain, VerifiedHead, VerifiedRelease, attach_head
from samara.protocol.trust import (
    DEFAULT_POLICY,
    Judgement,
    Ledger,
    Mode,
    Policy,
    Rule,
    Verdict,
    Witness,
    gather,
    judge,
)

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
        verified: Returns a release that is known here, verified.
    """

    def __init__(
        self,
        file: Path,
        catalog: Catalog,
        ledgers: Ledgers,
        times: Times,
        verified: Callable[[ReleaseId], VerifiedRelease],
    ) -> None:
        self._file = file
        self._catalog = catalog
        self._ledgers = ledgers
        self._times = times
        self._verified = verified
        self._seeded: set[ReleaseId] = set()
        self._by_keys: dict[ReleaseId, tuple[int, str]] = {}
        self._root_keys: dict[tuple[PublisherId, int], frozenset[str]] = {}

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

    # Witnesses

    def kept(self) -> frozenset[str]:
        """Return the did:keys whose signatures on records of others are kept (specs/trust.md, "Admission", 2).

        It asks no ledger: ledgers ask it.
        """
        try:
            rules = self.policy().rules
        except UsageError:  # whoever judges by the rules says so
            rules = ()
        named = [text for rule in rules for text in rule.witnesses]
        keys = {key for rule in rules for key in rule.keys} | {text for text in named if _is_key(text)}
        publishers = dict(self._ledgers.named())
        for publisher in filter(None, map(_id_of, named)):
            publishers.setdefault(publisher, len(self._catalog.roots(publisher)))
        return frozenset(keys.union(*(self._keys_of(*one) for one in publishers.items())))

    def witnesses_of(self, rule: Rule) -> tuple[Witness, ...]:
        """Return the witnesses whom a rule names. One of whom nothing is known, or who is frozen, has no keys."""
        if not rule.witnesses:
            return ()
        named = {name: publisher for publisher, name in self._catalog.petnames().items()}
        return tuple(self._witness(text, named) for text in rule.witnesses)

    def all_witnesses(self) -> tuple[Witness, ...]:
        """Return everybody who could be a witness for this home: who has a name here, this home, whom rules name."""
        named = {name: publisher for publisher, name in self._catalog.petnames().items()}
        known = {format_record(publisher) for publisher in named.values()}
        rules = {text for rule in self.policy().rules for text in rule.witnesses}
        texts = dict.fromkeys((OWN, *sorted(named), *sorted(rules - known)))
        return tuple(self._witness(text, named) for text in texts)

    def _witness(self, text: str, named: Mapping[str, PublisherId]) -> Witness:
        if _is_key(text):
            return Witness(text, frozenset({text}))
        if text == OWN:
            own = (publisher for publisher in self._ledgers.named() if self._ledgers.is_own(publisher))
            return Witness(OWN, frozenset[str]().union(*(self._speak_for(publisher)[0] for publisher in own)))
        publisher = named.get(text) or _id_of(text)
        return Witness(text, *(self._speak_for(publisher) if publisher is not None else (frozenset[str](), 1)))

    def _speak_for(self, publisher: PublisherId) -> tuple[frozenset[str], int]:
        """The keys that speak for a publisher, without revoked ones, and how many must sign."""
        with self._ledgers.asking(publisher) as ledger:
            if ledger is None or ledger.fork is not None:
                return frozenset(), 1
            current = ledger.chain.current
            return frozenset(key for key in current.keys if ledger.key_revocation(key) is None), current.threshold

    def _keys_of(self, publisher: PublisherId, version: int) -> frozenset[str]:
        """The keys of a publisher's newest root, which is of this version."""
        found = self._root_keys.get((publisher, version))
        if found is None:
            try:
                roots = self._catalog.roots(publisher)
                found = frozenset(PublisherChain.verify(roots).current.keys) if roots else frozenset()
            except RecordError as error:
                _log.warning("the roots of %s are damaged: %s", format_record(publisher), error.message)
                found = frozenset()
            self._root_keys[publisher, version] = found
        return found

    # Verdicts

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
                witnesses=self.witnesses_of(decision.rule),
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

    def taken_back(self, held: HeldRelease) -> str:
        """Return why the verdict on a release is REVOKED, or nothing.

        It is asked for each piece that a peer wants: what the revocation of a key does to a release is found out once
        for each time that something is learned of its publisher.
        """
        found = self._ledgers.revocation(held.publisher, held.id)
        if found is not None:
            return found.said.reason.value + (f": {found.said.text}" if found.said.text else "")
        if not self._ledgers.revokes_keys(held.publisher):
            return ""
        now = self._ledgers.generation(held.publisher)
        known = self._by_keys.get(held.id)
        if known is None or known[0] != now:
            known = self._by_keys[held.id] = now, self._by_key(held)
        return known[1]

    def is_withdrawn(self, held: HeldRelease) -> bool:
        """Return whether the verdict on a release is REVOKED, and nobody here insists on passing it on."""
        return held.id not in self._seeded and bool(self.taken_back(held))

    def seed(self, release: ReleaseId) -> None:
        """Pass a release on though it was taken back, as long as this process runs: the user named it."""
        self._seeded.add(release)

    def see(self, taken: Taken) -> None:
        """Let what the present keys of trusted publishers have signed raise the floor of time."""
        try:
            if not self.is_trusted(taken.publisher):
                return
            with self._ledgers.asking(taken.publisher) as ledger:
                issued = [] if ledger is None else [_issued(entry) for entry in taken.new if ledger.speaks(entry)]
            if issued:
                name = self.name(taken.publisher) or format_record(taken.publisher)
                self._times.see_record(max(issued), f"a record of {name}")
        except (FutureError, UsageError) as error:
            _log.warning("the floor of time stays: %s", error.message)

    def _by_key(self, held: HeldRelease) -> str:
        try:
            release = self._verified(held.id)
        except (RecordError, NotFoundError) as error:
            _log.warning("%s cannot be verified any more: %s", format_record(held.id), error.message)
            return ""
        with self._ledgers.asking(held.publisher) as ledger:
            revocation = ledger.revoked_key(release) if ledger is not None else None
        return f"the key {revocation.said.key} that signed it was taken back" if revocation is not None else ""

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


def _is_key(text: str) -> bool:
    return text.startswith("did:key:")


def _id_of(text: str) -> PublisherId | None:
    """The publisher whose id a text is."""
    try:
        return PublisherId(parse_record(text))
    except LinkError:
        return None
