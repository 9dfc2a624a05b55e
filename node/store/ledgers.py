"""The store of signed records: a ledger of each publisher, kept in the index (specs/store.md, "Records").

All records of a publisher's log come in by `take`, whoever brought them: a peer, a stick, a file, this home's own
commands. What the ledger admits is committed in one transaction before anybody is told; what was committed is admitted
again after a restart, and nothing else is believed. Nobody can fill the disk: a stranger is kept few records of.

A ledger is asked in a block of `asking`: another thread may be adding to it.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeGuard

from samara.node.store.catalog import Catalog
from samara.node.store.catalogues import Catalogues
from samara.node.store.index import Index
from samara.protocol import limits
from samara.protocol.errors import (
    DiskFullError,
    ForkError,
    NotFoundError,
    RecordError,
    SamaraError,
    StatementError,
    StoreError,
    UntrustedError,
    name_of,
)
from samara.protocol.ids import PublisherId, ReleaseId, format_record
from samara.protocol.records import (
    Attestation,
    Collection,
    Delegation,
    Entry,
    KeyBinding,
    KeyRevocation,
    PublisherChain,
    ReleaseRevocation,
    Standing,
    Verified,
    VerifiedHead,
)
from samara.protocol.records.attestation import ATTESTATION
from samara.protocol.records.binding import bound_key
from samara.protocol.records.collection import COLLECTION
from samara.protocol.records.fields import NAME
from samara.protocol.records.log import ENTRY_KINDS
from samara.protocol.records.revocation import REVOCATION
from samara.protocol.records.statement import Opened, open_any
from samara.protocol.trust import Fork, ForkProof, Ledger

__all__ = ["Ledgers", "Taken"]

_log = logging.getLogger(__name__)

_KINDS: Final[Mapping[type, str]] = {
    Attestation: "attestation",
    Collection: "collection",
    Delegation: "delegation",
    KeyBinding: "binding",
    KeyRevocation: "revocation",
    ReleaseRevocation: "revocation",
}
_EVICTED: Final = frozenset({"head", "attestation", "collection", "unread"})
"""Kinds of which old ones make room for new ones; of all others, what they say may hold for ever."""

_CACHED: Final = 65_536
"""Records in ledgers that are kept in memory, a few KiB each; the ledger that was asked for longest ago goes."""


class _Quota(NamedTuple):
    """How much is kept of a publisher."""

    records: int
    bytes: int


_STRANGER: Final = _Quota(limits.MAX_RECORDS_STRANGER, limits.MAX_RECORD_BYTES_STRANGER)
_KNOWN: Final = _Quota(limits.MAX_RECORDS_KNOWN, limits.MAX_RECORD_BYTES_KNOWN)
_OWN: Final = _Quota(1 << 62, 1 << 62)


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of records that somebody brought.

    Attributes:
        publisher: Whose they are.
        new: The records that were not known, in the order in which they were taken.
        known: How many were known already.
        roots: How many roots were not known.
        refused: How many were refused, by class of the error.
        errors: The first error of each class.
        forks: Forks that were not known.
    """

    publisher: PublisherId
    new: tuple[Entry, ...]
    known: int
    roots: int
    refused: Mapping[str, int]
    errors: tuple[SamaraError, ...]
    forks: tuple[Fork, ...]


@dataclass(frozen=True, slots=True)
class _TakenBack:
    """What a publisher has taken back.

    Attributes:
        releases: The revocation of each release.
        keys: Some keys, too.
    """

    releases: Mapping[ReleaseId, Verified[ReleaseRevocation]]
    keys: bool


_NOTHING: Final = _TakenBack({}, keys=False)


@dataclass(slots=True)
class _Log:
    """The row of a publisher: what is kept of it."""

    own: bool = False
    position: int = 0
    records: int = 0
    bytes: int = 0
    trimmed: int = 0
    """Of what lay at or before this position, some made room for newer records."""


@dataclass(slots=True)
class _Batch:
    """What is about to be committed of one `take`."""

    frozen: bool
    new: list[Entry] = field(default_factory=list)
    cosigned: list[Entry] = field(default_factory=list)
    known: int = 0
    errors: list[SamaraError] = field(default_factory=list)
    evicted: list[bytes] = field(default_factory=list)
    forks: list[Fork] = field(default_factory=list)


class Ledgers:
    """The ledgers of one home. Thread-safe.

    Args:
        index: Where they are kept.
        catalog: Roots, heads as they were before there was a log, names.

    Attributes:
        catalogues: Whose collections are followed, and what those list.
        lock: Is held while a ledger is asked or changed.
        told: Is told what was taken, once it is committed.
        spread: Is told of records, roots and forks that were not known, whoever brought them; in the thread that took
            them, so it must not wait.
        witnesses: Returns the did:keys whose signatures are kept though they are not the publisher's; it must ask no
            ledger.
    """

    def __init__(self, index: Index, catalog: Catalog) -> None:
        self.lock: Final = threading.RLock()
        self.told: Callable[[Taken], None] | None = None
        self.spread: Callable[[Taken], None] | None = None
        self.witnesses: Callable[[], frozenset[str]] = frozenset
        self.catalogues: Final = Catalogues(index)
        self._index = index
        self._catalog = catalog
        self._cache: OrderedDict[PublisherId, Ledger] = OrderedDict()
        self._weights: dict[PublisherId, int] = {}
        self._taken_back: dict[PublisherId, _TakenBack] = {}
        self._generations: Counter[PublisherId] = Counter()

    # What is asked.

    @contextlib.contextmanager
    def asking(self, publisher: PublisherId) -> Iterator[Ledger | None]:
        """Let nobody add to a publisher's ledger while a block asks it; None when nothing is known of the publisher.

        Raises:
            StoreError: Its roots are damaged.
        """
        with self.lock:
            yield self.ledger(publisher)

    def ledger(self, publisher: PublisherId) -> Ledger | None:
        """Return what is known of a publisher: hold `lock` while it is asked; never change it.

        Raises:
            StoreError: Its roots are damaged.
        """
        with self.lock:
            found = self._cache.get(publisher)
            if found is None:
                roots = self._catalog.roots(publisher)
                if not roots:
                    return None
                found, weight = self._restore(publisher, roots)
                self._remember(found, weight)
            self._cache.move_to_end(publisher)
            return found

    def copy(self, publisher: PublisherId) -> Ledger | None:
        """Return what is known of a publisher as a ledger that nobody else asks; it costs verifying all of it.

        Raises:
            StoreError: Its roots are damaged.
        """
        with self.lock:
            roots = self._catalog.roots(publisher)
            return self._restore(publisher, roots)[0] if roots else None

    def known(self) -> Mapping[PublisherId, tuple[int, int]]:
        """Return of each publisher the version of its newest root, and the newest position of its log, 0 for none."""
        if not self._index.has("log"):
            query = "SELECT publisher, max(version), 0 FROM root GROUP BY publisher"
        else:
            query = (
                "SELECT root.publisher, max(version), coalesce(log.position, 0) FROM root"
                " LEFT JOIN log ON log.publisher = root.publisher GROUP BY root.publisher"
            )
        return {PublisherId(row[0]): (row[1], row[2]) for row in self._index.read.execute(query)}

    def missing(self, publisher: PublisherId) -> tuple[tuple[int, int], ...]:
        """Return the gaps of a log that somebody may be asked for: first and last position of each.

        What made room for newer records is none of them: it would be refused.
        """
        with self.lock:
            ledger = self.ledger(publisher)
            if ledger is None:
                return ()
            trimmed = self._trimmed(publisher, self._row(publisher))
            gaps = ((max(first, trimmed + 1), last) for first, last in ledger.missing())
            return tuple((first, last) for first, last in gaps if first <= last)

    def head(self, publisher: PublisherId, name: str) -> VerifiedHead | None:
        """Return the newest head of a name that counts, or None."""
        with self.asking(publisher) as ledger:
            return ledger.head(name) if ledger is not None else None

    def attestations(self, release: ReleaseId) -> list[Verified[Attestation]]:
        """Return what all publishers say of a release, whoever they are, and whether or not anybody trusts them."""
        if not self._index.has("entry"):
            return []
        rows = self._index.read.execute("SELECT DISTINCT publisher FROM entry WHERE about = ?", (release,))
        found: list[Verified[Attestation]] = []
        for (publisher,) in rows:
            with self.asking(PublisherId(publisher)) as ledger:
                found += ledger.attestations(release) if ledger is not None else ()
        return found

    def bound_keys(self, most: int) -> Iterator[bytes]:
        """Yield the keys that publishers bind or once bound (SubjectPublicKeyInfo in DER), each once.

        Of publishers with a name here first, then of those of whom something is held, and of each the newest first.
        Whether a binding counts, only the ledger of its publisher says.

        Args:
            most: How many records are looked at.
        """
        if not self._index.has("entry"):
            return
        rows = self._index.read.execute(
            "SELECT envelope FROM entry WHERE kind = 'binding' ORDER BY"
            " EXISTS (SELECT 1 FROM petname WHERE petname.publisher = entry.publisher) DESC,"
            " EXISTS (SELECT 1 FROM release WHERE release.publisher = entry.publisher) DESC, no DESC LIMIT ?",
            (most,),
        )
        seen: set[bytes] = set()
        for (envelope,) in rows.fetchall():
            with contextlib.suppress(RecordError):  # damaged on disk: its ledger leaves it out, too
                key = bound_key(envelope)
                if key not in seen:
                    seen.add(key)
                    yield key

    def revocation(self, publisher: PublisherId, release: ReleaseId) -> Verified[ReleaseRevocation] | None:
        """Return the revocation of a release by its publisher, or None.

        It is asked for each piece that a peer wants, and for each line of a list: it waits for nobody where the ledger
        is in memory, and makes none of a publisher who never took anything back. What is being taken just now, and is
        not committed, is not told.
        """
        return self._what_is_taken_back(publisher).releases.get(release)

    def revokes_keys(self, publisher: PublisherId) -> bool:
        """Return whether a publisher took any key back; it costs no more than `revocation`."""
        return self._what_is_taken_back(publisher).keys

    def generation(self, publisher: PublisherId) -> int:
        """Return a number that is another one when anything was learned of a publisher since it was asked for."""
        return self._generations[publisher]

    def named(self) -> Mapping[PublisherId, int]:
        """Return the version of the newest root of this home's own publishers, and of those who have a petname here."""
        whose = "SELECT publisher FROM petname UNION SELECT publisher FROM release WHERE own"
        whose += " UNION SELECT publisher FROM log WHERE own" if self._index.has("log") else ""
        query = f"SELECT publisher, max(version) FROM root WHERE publisher IN ({whose}) GROUP BY publisher"  # noqa: S608
        return {PublisherId(row[0]): row[1] for row in self._index.read.execute(query)}

    def refutes(self, head: VerifiedHead) -> bool:
        """Return whether it is known here that a delegate's head may not move its name any more.

        It is asked for what strangers announce, and makes no ledger for a delegation of which nothing is known.
        """
        query = "SELECT 1 FROM entry WHERE id = ?"
        delegation = head.head.delegation
        if delegation is None or not self._index.has("entry"):
            return False
        if self._index.read.execute(query, (delegation,)).fetchone() is None:
            return False
        with self.asking(head.head.publisher) as ledger:
            return ledger is not None and ledger.refutes(head)

    def forks(self) -> list[tuple[PublisherId, Fork, bool, float]]:
        """Return every fork that is known: whose, whether it freezes its publisher now, and when it was found out."""
        if not self._index.has("fork"):
            return []
        found: list[tuple[PublisherId, Fork, bool, float]] = []
        rows = self._index.read.execute("SELECT publisher, id, added FROM fork ORDER BY rowid")
        for publisher, number, added in rows:
            with self.asking(PublisherId(publisher)) as ledger:
                if ledger is not None:
                    mine = [fork for fork in ledger.forks if fork.id == number]
                    found += [(PublisherId(publisher), fork, ledger.fork is fork, added) for fork in mine]
        return found

    def forget(self, publisher: PublisherId) -> None:
        """Let a ledger go from memory: a transaction around `take` was not committed."""
        with self.lock:
            self._cache.pop(publisher, None)
            self._taken_back.pop(publisher, None)
            self._generations[publisher] += 1

    def seen(self, fork: Fork) -> float:
        """Return when a fork was found out here, in seconds since 1970 by the clock of then; 0 when it is not known."""
        row = self._index.read.execute("SELECT added FROM fork WHERE id = ?", (fork.id,)).fetchone()
        return float(row[0]) if row else 0.0

    def is_own(self, publisher: PublisherId) -> bool:
        """Return whether this home has signed for a publisher."""
        query = "SELECT 1 FROM release WHERE publisher = ? AND own & 1"  # and not as a delegate
        return self._row(publisher).own or self._index.read.execute(query, (publisher,)).fetchone() is not None

    def own(self) -> frozenset[PublisherId]:
        """Return all publishers for which this home has signed."""
        query = "SELECT publisher FROM release WHERE own & 1"
        if self._index.has("log"):
            query += " UNION SELECT publisher FROM log WHERE own"
        return frozenset(PublisherId(row[0]) for row in self._index.read.execute(query))

    def delegating(self) -> frozenset[PublisherId]:
        """Return the publishers of this home that have delegated names: their logs are to be known."""
        if not self._index.has("log"):
            return frozenset()
        query = (
            "SELECT DISTINCT log.publisher FROM log JOIN entry ON entry.publisher = log.publisher"
            " WHERE own AND kind = 'delegation'"
        )
        return frozenset(PublisherId(row[0]) for row in self._index.read.execute(query).fetchall())

    # What comes in.

    def take(
        self,
        roots: Sequence[bytes],
        envelopes: Sequence[bytes],
        *,
        publisher: PublisherId | None = None,
        own: bool = False,
    ) -> Taken:
        """Admit records of one publisher, and keep what was admitted: all of it in one transaction.

        Records may come in any order, and those that are known already change nothing.

        Args:
            roots: Its root chain, genesis first; may be empty when the publisher is known here.
            envelopes: Records of its log, and heads outside it.
            publisher: Whose they must be; None takes whose roots they are.
            own: This home has signed them: no quota holds for them.

        Raises:
            RecordError: The roots are wrong, or another's.
            NotFoundError: There are no roots, neither here nor with them.
            DiskFullError: The disk is full, or the roots of a stranger are long; nothing was kept.
            ReadOnlyError: The home cannot be written.
        """
        with self.lock:
            ledger, fresh = self._opened(roots, publisher)
            batch = _Batch(frozen=ledger.fork is not None)
            before = {fork.id for fork in ledger.forks}
            old_roots = 0 if fresh else len(ledger.chain.roots)
            try:
                self._learn(ledger, roots, batch)
                row = self._row(ledger.publisher)
                row.own = row.own or own
                quota = self._quota(ledger.publisher, row, roots if fresh else ())
                self._admit(ledger, envelopes, batch, row, quota)
                batch.forks = [fork for fork in ledger.forks if fork.id not in before]
                # Roots alone make nobody known, but who has a name here: it may be a witness, who says nothing else.
                known = own or not fresh or self._is_known(ledger.publisher)
                rooted = known and len(ledger.chain.roots) > old_roots
                news = bool(batch.new or batch.forks or rooted)
                if news or batch.cosigned:
                    self._commit(ledger, batch, row, fresh=fresh)
                    self._remember(ledger, row.records)
            except BaseException:
                self.forget(ledger.publisher)  # what was not committed is not known
                raise
            if batch.evicted:
                self.forget(ledger.publisher)  # and what went is known no more
            firsts = {name_of(error): error for error in reversed(batch.errors)}
            taken = Taken(
                ledger.publisher,
                tuple(batch.new),
                batch.known,
                len(ledger.chain.roots) - old_roots,
                Counter(map(name_of, batch.errors)),
                tuple(firsts.values()),
                tuple(batch.forks),
            )
            if taken.new and self.told is not None:
                self.told(taken)
            if news and self.spread is not None:
                self.spread(taken)
            return taken

    def take_own(self, roots: Sequence[bytes], envelope: bytes, *, delegate: bool = False) -> Entry:
        """Take a record that this home has just signed; return it.

        Args:
            roots: The root chain of the publisher.
            envelope: The record.
            delegate: It is signed under a delegation: the publisher is another.

        Raises:
            RecordError: The ledger does not admit it: `ForkError` while the publisher is frozen.
            UntrustedError: The key that signed it was revoked, or replaced.
        """
        taken = self.take(roots, [envelope], own=not delegate)
        if taken.errors:
            raise taken.errors[0]
        return taken.new[0]

    def take_fork(self, publisher: PublisherId, proof: ForkProof) -> Fork:
        """Keep a proof that a publisher's keys signed two things for one place: it is frozen from now on.

        Raises:
            RecordError: It proves nothing.
            NotFoundError: The publisher is not known here.
        """
        with self.lock:
            ledger = self.ledger(publisher)
            if ledger is None:
                raise _nobody(publisher)
            before = {fork.id for fork in ledger.forks}
            frozen = ledger.fork is not None
            fork = ledger.admit_fork(proof)
            if fork.id not in before:
                try:
                    self._commit(ledger, _Batch(frozen=frozen, forks=[fork]), self._row(publisher), fresh=False)
                except BaseException:
                    self.forget(publisher)
                    raise
                self._generations[publisher] += 1
                if self.spread is not None:
                    self.spread(Taken(publisher, (), 0, 0, {}, (), (fork,)))
            return fork

    def lift(self, publisher: PublisherId, fork: bytes) -> None:
        """Go on with a publisher in spite of a fork, as the operator says.

        Raises:
            NotFoundError: No such fork is known.
        """
        with self.lock:
            ledger = self.ledger(publisher)
            if ledger is None or all(known.id != fork for known in ledger.forks):
                raise NotFoundError("there is no such fork here", hint="See samara trust show.")
            with self._index.write() as db:
                db.execute("UPDATE fork SET lifted = 1 WHERE id = ?", (fork,))
            ledger.lift(fork)
            self._generations[publisher] += 1

    # Within.

    def _what_is_taken_back(self, publisher: PublisherId) -> _TakenBack:
        """What is taken back by what was committed: a ledger in which somebody changes something is not touched."""
        found = self._taken_back.get(publisher)
        if found is not None:
            return found
        query = "SELECT 1 FROM entry WHERE publisher = ? AND kind = 'revocation' LIMIT 1"
        if not self._index.has("entry") or not self._index.read.execute(query, (publisher,)):
            return _NOTHING
        self.ledger(publisher)
        return self._taken_back.get(publisher, _NOTHING)

    def _opened(self, roots: Sequence[bytes], publisher: PublisherId | None) -> tuple[Ledger, bool]:
        """Return the ledger that roots lead to, and whether it is a new one."""
        known = self.ledger(publisher) if publisher is not None else None
        if not roots:
            if known is None:
                raise _nobody(publisher)
            return known, False
        chain = PublisherChain.verify(roots, expected=publisher)
        known = known or self.ledger(chain.publisher)
        return (known, False) if known is not None else (Ledger(chain, witnesses=self._kept), True)

    def _learn(self, ledger: Ledger, roots: Sequence[bytes], batch: _Batch) -> None:
        if not roots or tuple(roots) == ledger.chain.envelopes[: len(roots)]:
            return
        try:
            ledger.learn_roots(PublisherChain.verify(roots))
        except ForkError as error:
            batch.errors.append(error)

    def _admit(self, ledger: Ledger, envelopes: Sequence[bytes], batch: _Batch, row: _Log, quota: _Quota) -> None:
        """Admit what can be; what another record of the same batch must come before, is tried again after it."""
        waiting = list(dict.fromkeys(envelopes))
        while waiting:
            errors: list[tuple[bytes, SamaraError]] = []
            before = len(batch.new)
            for envelope in waiting:
                try:
                    self._check_room(ledger, envelope, batch, row, quota)
                    self._admit_one(ledger, envelope, batch, row)
                except (RecordError, UntrustedError, DiskFullError) as error:
                    errors.append((envelope, error))
            again = any(isinstance(entry.said, Delegation) for entry in batch.new[before:])
            waiting = [envelope for envelope, error in errors if again and type(error) is StatementError]
            batch.errors += [error for envelope, error in errors if envelope not in set(waiting)]

    def _admit_one(self, ledger: Ledger, envelope: bytes, batch: _Batch, row: _Log) -> None:
        try:
            admitted = ledger.admit(envelope)
        except ForkError as error:
            with contextlib.suppress(ForkError):
                admitted = ledger.admit(envelope)  # known now: it is a revocation, and was taken all the same
                self._count(admitted.entry, batch, row)
            raise error from None
        if admitted.new:
            self._count(admitted.entry, batch, row)
        elif admitted.cosigned:
            batch.cosigned.append(admitted.entry)
        else:
            batch.known += 1

    def _count(self, entry: Entry, batch: _Batch, row: _Log) -> None:
        if any(entry.id == other.id for other in batch.new):
            return
        batch.new.append(entry)
        row.records += 1
        row.bytes += len(entry.envelope)

    # Quotas.

    def _quota(self, publisher: PublisherId, row: _Log, roots: Sequence[bytes]) -> _Quota:
        if row.own:
            return _OWN
        if self._is_known(publisher):
            return _KNOWN
        if sum(map(len, roots)) > _STRANGER.bytes:
            raise DiskFullError(f"the roots of {format_record(publisher)} take more than a stranger may take here")
        return _STRANGER

    def _is_known(self, publisher: PublisherId) -> bool:
        query = "SELECT 1 FROM release WHERE publisher = ? UNION SELECT 1 FROM petname WHERE publisher = ?"
        named = self._index.read.execute(query, (publisher, publisher)).fetchone() is not None
        return named or self.catalogues.is_followed(publisher)

    def _trimmed(self, publisher: PublisherId, row: _Log) -> int:
        """The position up to which nothing more is taken; a publisher who became known begins anew."""
        quota = _OWN if row.own else _KNOWN if self._is_known(publisher) else _STRANGER
        return row.trimmed if 2 * row.records > quota.records or 2 * row.bytes > quota.bytes else 0

    def _check_room(self, ledger: Ledger, envelope: bytes, batch: _Batch, row: _Log, quota: _Quota) -> None:
        """Make room for a record if there is none left.

        Raises:
            DiskFullError: It is of those that have made room, or nothing can make room for it.
            RecordError: It is wrong by itself.
        """
        full = row.records >= quota.records or row.bytes + len(envelope) > quota.bytes
        if not full and not row.trimmed:
            return
        opened = open_any(envelope)
        if self._index.read.execute("SELECT 1 FROM entry WHERE id = ?", (opened.id,)).fetchone() is not None:
            return
        position = opened.fields.integer("position", 1) if "position" in opened.fields else 0
        lasting = opened.kind in ENTRY_KINDS and opened.kind != ATTESTATION.type and not _is_replaced(ledger, opened)
        if not lasting and 0 < position <= row.trimmed and self._trimmed(ledger.publisher, row):
            raise DiskFullError(
                f"the record at position {position} would be one of those that made room for newer ones"
            )
        for last in (False, True):
            if full:
                lent = self._lent(ledger, revokes=opened.kind == REVOCATION.type) if last else frozenset[bytes]()
                self._evict(ledger, batch, row, quota, lent)
                full = row.records >= quota.records or row.bytes + len(envelope) > quota.bytes
        if full:
            raise DiskFullError(f"no more records of {format_record(ledger.publisher)} are kept here")

    def _evict(
        self, ledger: Ledger, batch: _Batch, row: _Log, quota: _Quota, lent: AbstractSet[bytes] = frozenset()
    ) -> None:
        """Choose the oldest records to go, an eighth at a time: never what may hold for ever, nor what is newest.

        Args:
            ledger: Whose.
            batch: What is about to be committed.
            row: What is kept.
            quota: What may be.
            lent: Newest heads and collections that make room all the same.
        """
        kept = {*(_newest(ledger) - lent), *batch.evicted}
        if ledger.newest is not None:
            kept.add(ledger.newest.id)
        rows = self._index.read.execute(
            "SELECT id, kind, position, length(envelope) FROM entry WHERE publisher = ? ORDER BY no",
            (ledger.publisher,),
        )
        fresh = [(entry.id, _kind(entry), _position(entry), len(entry.envelope)) for entry in batch.new]
        for record, kind, position, size in sorted([*rows, *fresh], key=lambda row: row[2]):
            if row.records <= quota.records * 7 // 8 and row.bytes <= quota.bytes * 7 // 8:
                break
            if kind in _EVICTED and record not in kept:
                batch.evicted.append(record)
                row.records -= 1
                row.bytes -= size
                row.trimmed = max(row.trimmed, position)
        gone = set(batch.evicted)
        batch.new = [entry for entry in batch.new if entry.id not in gone]

    def _lent(self, ledger: Ledger, *, revokes: bool) -> frozenset[bytes]:
        """Return the newest heads under the delegation that has most of them, but those of what was signed here.

        A delegate may have any number of names, and would so keep out the record that ends its delegation. A thief of
        the publisher's own keys may, too: for a revocation all newest heads and collections make room.
        """
        if revokes:
            return _newest(ledger)
        query = "SELECT id FROM release WHERE publisher = ? AND own"
        ours = {ReleaseId(row[0]) for row in self._index.read.execute(query, (ledger.publisher,))}
        heads = [h for h in ledger.heads.values() if h.head.delegation is not None and h.head.release not in ours]
        share = Counter(head.head.delegation for head in heads)
        most = max(share, key=lambda delegation: share[delegation], default=None)
        return frozenset(head.id for head in heads if head.head.delegation == most)

    def _forget_a_stranger(self, db: sqlite3.Connection) -> None:
        """Let the stranger go who was heard of longest ago; those who took something back, or forked, come last."""
        (count,) = db.execute(f"SELECT count(*) FROM log WHERE {_IS_STRANGER}").fetchone()  # noqa: S608
        if count < limits.MAX_STRANGERS:
            return
        (gone,) = db.execute(
            f"SELECT publisher FROM log WHERE {_IS_STRANGER} ORDER BY"  # noqa: S608
            " EXISTS (SELECT 1 FROM fork WHERE fork.publisher = log.publisher) OR EXISTS (SELECT 1 FROM entry"
            " WHERE entry.publisher = log.publisher AND kind = 'revocation'), seen LIMIT 1"
        ).fetchone()
        for table in ("entry", "head", "fork", "log", "root"):
            db.execute(f"DELETE FROM {table} WHERE publisher = ?", (gone,))  # noqa: S608
        self.forget(PublisherId(gone))

    # The index.

    def _restore(self, publisher: PublisherId, roots: Sequence[bytes]) -> tuple[Ledger, int]:
        """Return a ledger of what was stored, and of how many records it is."""
        # Heads of before there was a log; what came since then, comes in the order in which it came.
        heads, entries, forks = "SELECT envelope FROM head WHERE publisher = ? ORDER BY rowid", [], []
        if self._index.has("entry"):
            heads = heads.replace(" ORDER", " AND id NOT IN (SELECT id FROM entry) ORDER")
            query = "SELECT envelope FROM entry WHERE publisher = ? ORDER BY no"
            entries = self._index.read.execute(query, (publisher,)).fetchall()
            query = "SELECT proof, id, lifted FROM fork WHERE publisher = ? ORDER BY rowid"
            forks = self._index.read.execute(query, (publisher,)).fetchall()
        old = self._index.read.execute(heads, (publisher,)).fetchall()
        try:
            chain = PublisherChain.verify(roots, expected=publisher)
        except RecordError as error:
            raise StoreError(
                f"the roots of publisher {format_record(publisher)} in the index are damaged: {error.message}",
                hint="Move index.sqlite away and publish or fetch again: the files themselves are not touched.",
            ) from error
        ledger = Ledger.restore(
            chain,
            [row[0] for row in (*old, *entries)],
            _proofs(row[0] for row in forks),
            [row[1] for row in forks if row[2]],
            self._kept,
        )
        for _, wrong in ledger.left_out:
            _log.warning("a record of %s in the index is of no use: %s", format_record(publisher), wrong.message)
        return ledger, len(old) + len(entries)

    def _kept(self) -> frozenset[str]:
        return self.witnesses()

    def _row(self, publisher: PublisherId) -> _Log:
        if not self._index.has("log"):
            return _Log()
        query = "SELECT own, position, records, bytes, trimmed FROM log WHERE publisher = ?"
        row = self._index.read.execute(query, (publisher,)).fetchone()
        return _Log(bool(row[0]), *row[1:]) if row else _Log()

    def _commit(self, ledger: Ledger, batch: _Batch, row: _Log, *, fresh: bool) -> None:
        publisher = ledger.publisher
        tip = ledger.newest
        row.position = _position(tip) if tip is not None else 0
        with self._index.write() as db:
            if fresh and not row.own and not self._is_known(publisher):
                self._forget_a_stranger(db)
            self._catalog.add_roots(publisher, ledger.chain.envelopes)
            self._write_entries(db, ledger, batch)
            self._write_forks(db, publisher, batch)
            db.execute(
                "INSERT OR REPLACE INTO log (publisher, own, position, records, bytes, trimmed, seen)"
                " VALUES (?,?,?,?,?,?,?)",
                (publisher, row.own, row.position, row.records, row.bytes, row.trimmed, time.time()),
            )
            self.catalogues.refresh(publisher, ledger.collections, own=row.own)

    def _write_entries(self, db: sqlite3.Connection, ledger: Ledger, batch: _Batch) -> None:
        for entry in batch.new:
            db.execute(
                "INSERT INTO entry (id, publisher, kind, position, about, envelope) VALUES (?,?,?,?,?,?)"
                " ON CONFLICT (id) DO UPDATE SET envelope = excluded.envelope",  # one that was damaged came again
                (entry.id, ledger.publisher, _kind(entry), _position(entry), _about(entry), entry.envelope),
            )
            if isinstance(entry, VerifiedHead) and _moves_a_name(ledger, entry):
                self._catalog.add_head(entry)
        for table in ("entry", "head"):
            for entry in batch.cosigned:
                db.execute(f"UPDATE {table} SET envelope = ? WHERE id = ?", (entry.envelope, entry.id))  # noqa: S608
            for record in batch.evicted:
                db.execute(f"DELETE FROM {table} WHERE id = ?", (record,))  # noqa: S608

    def _write_forks(self, db: sqlite3.Connection, publisher: PublisherId, batch: _Batch) -> None:
        for fork in batch.forks:
            (kept,) = db.execute("SELECT count(*) FROM fork WHERE publisher = ?", (publisher,)).fetchone()
            if kept >= limits.MAX_FORKS_KEPT:
                if batch.frozen:
                    return  # one that is kept freezes it already
                db.execute(
                    "DELETE FROM fork WHERE id = (SELECT id FROM fork WHERE publisher = ?"
                    " ORDER BY lifted, rowid LIMIT 1)",
                    (publisher,),
                )
            db.execute(
                "INSERT OR IGNORE INTO fork (id, publisher, proof, added) VALUES (?,?,?,?)",
                (fork.id, publisher, fork.proof.encode(), time.time()),
            )

    def _remember(self, ledger: Ledger, weight: int) -> None:
        """Keep a ledger in memory, and let others go until all fit."""
        _ = ledger.newest  # its reading is made now, and not by whoever asks first
        self._cache[ledger.publisher] = ledger
        self._cache.move_to_end(ledger.publisher)
        revocations = ledger.revocations()
        self._taken_back[ledger.publisher] = _TakenBack(
            {entry.said.release: entry for entry in revocations if _takes_release(entry)},
            any(isinstance(entry.said, KeyRevocation) for entry in revocations),
        )
        self._generations[ledger.publisher] += 1
        self._weights[ledger.publisher] = weight
        while len(self._cache) > 1 and sum(self._weights[one] for one in self._cache) > _CACHED:
            gone, _ = self._cache.popitem(last=False)
            del self._weights[gone]
            self._taken_back.pop(gone, None)


_IS_STRANGER: Final = (
    "NOT own AND publisher NOT IN (SELECT publisher FROM release) AND publisher NOT IN (SELECT publisher FROM petname)"
    " AND publisher NOT IN (SELECT publisher FROM follow)"
)


def _proofs(stored: Iterable[bytes]) -> list[ForkProof]:
    proofs: list[ForkProof] = []
    for proof in stored:
        try:
            proofs.append(ForkProof.decode(proof))
        except RecordError as error:
            _log.warning("a proof of a fork in the index is of no use: %s", error.message)
    return proofs


def _moves_a_name(ledger: Ledger, head: VerifiedHead) -> bool:
    """Whether a head is kept beside the release that it names: a retired key moves no name."""
    if head.head.delegation is not None:
        return ledger.believes(head)
    return head.signers.standing is Standing.CURRENT


def _kind(entry: Entry) -> str:
    return "head" if isinstance(entry, VerifiedHead) else _KINDS.get(type(entry.said), "unread")


def _takes_release(
    entry: Verified[ReleaseRevocation] | Verified[KeyRevocation],
) -> TypeGuard[Verified[ReleaseRevocation]]:
    return isinstance(entry.said, ReleaseRevocation)


def _position(entry: Entry) -> int:
    place = entry.head.place if isinstance(entry, VerifiedHead) else entry.said.origin.place
    return place.position if place is not None else 0


def _newest(ledger: Ledger) -> frozenset[bytes]:
    """The newest head and the newest collection of each name."""
    heads = {head.id for head in ledger.heads.values()}
    return frozenset(heads | {collection.id for collection in ledger.collections.values()})


def _is_replaced(ledger: Ledger, opened: Opened) -> bool:
    """Whether it is a collection of which a newer one is known: nobody misses it, and it need not come again."""
    if opened.kind != COLLECTION.type:
        return False
    newest = ledger.collections.get(opened.fields.match("name", NAME))
    return newest is not None and newest.said.origin.place.position > opened.fields.integer("position", 1)


def _about(entry: Entry) -> ReleaseId | None:
    """The release of whatever publisher that an attestation is about, so that those of all publishers are found."""
    return entry.said.release if isinstance(entry.said, Attestation) else None


def _nobody(publisher: PublisherId | None) -> NotFoundError:
    who = "this publisher" if publisher is None else format_record(publisher)
    return NotFoundError(f"nothing is known here of {who}: its roots are needed first")
