"""All that is known of one publisher: its roots, its log, its heads and what it took back (specs/trust.md).

`admit` takes the bytes of a record, from wherever, and verifies them against what is known. What it refuses, it refuses
with an error of its own for each attack; what it takes, it takes for good. The questions are answered from a `Reading`
of all that was taken, so the order in which records come does not matter, and a ledger is made anew after a restart by
admitting what was stored. A question after records that do not simply follow each other has all of them read anew, some
40 ms for ten thousand: ask after a batch, not after each.

It has no clock: nothing here ever expires. It keeps nothing outside itself, and trusts nobody: whether a publisher is
believed, is for `samara.protocol.trust.policy`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from collections.abc import Collection as AnyOf
from dataclasses import dataclass
from typing import Final, TypeAlias, final

from samara.protocol import dsse
from samara.protocol.errors import (
    EnvelopeError,
    ForkError,
    RecordError,
    RevokedError,
    RollbackError,
    SamaraError,
    StatementError,
    UntrustedError,
)
from samara.protocol.ids import PublisherId, ReleaseId, format_record
from samara.protocol.records.attestation import Attestation
from samara.protocol.records.binding import OMS, KeyBinding
from samara.protocol.records.collection import Collection
from samara.protocol.records.delegation import Delegation
from samara.protocol.records.entry import Place, Verified
from samara.protocol.records.head import VerifiedHead
from samara.protocol.records.log import Entry, verify_entry
from samara.protocol.records.release import VerifiedRelease
from samara.protocol.records.revocation import KeyRevocation, ReleaseRevocation
from samara.protocol.records.root import PublisherChain
from samara.protocol.records.signers import Standing
from samara.protocol.trust.forks import (
    Fork,
    ForkProof,
    contradict,
    fork_of,
    place_of,
    root_of,
    verify_fork,
)
from samara.protocol.trust.freezes import Freezes
from samara.protocol.trust.index import Index
from samara.protocol.trust.reading import Reading, says

__all__ = ["Admitted", "Ledger"]

Witnesses: TypeAlias = Container[str] | Callable[[], Container[str]]

_FORK_HINT: Final = "the publisher's keys may be stolen: ask the publisher, and trust neither until then"


@final
@dataclass(frozen=True, slots=True)
class Admitted:
    """What `Ledger.admit` did with a record.

    Attributes:
        entry: The record, verified.
        new: It was not known before, and is to be stored.
        cosigned: It was known, and came with signatures that it did not have: store this envelope, which has all of
            them, in place of the other.
    """

    entry: Entry
    new: bool
    cosigned: bool = False


@final
class Ledger:
    """What is known of one publisher. Not thread-safe.

    Args:
        chain: Its verified roots.
        lifted: Ids of the forks that the operator of this machine has lifted.
        witnesses: did:keys whose signatures on records are worth keeping, beside those of the publisher; or who says
            which, when it is wanted to know.

    Attributes:
        left_out: Of a restored ledger: each envelope or encoded proof that was not taken again, and why.
    """

    __slots__ = ("_aside", "_chain", "_freezes", "_index", "_reading", "_stale", "_witnesses", "left_out")

    def __init__(self, chain: PublisherChain, lifted: AnyOf[bytes] = (), witnesses: Witnesses = frozenset()) -> None:
        self._chain = chain
        self._witnesses: Final = witnesses
        self._index: Final = Index()
        self._freezes: Final = Freezes(lifted)
        self._aside: Final[set[bytes]] = set()
        self._reading: Reading = self._read()
        self._stale = False
        self.left_out: Final[list[tuple[bytes, SamaraError]]] = []

    @classmethod
    def restore(
        cls,
        chain: PublisherChain,
        envelopes: Iterable[bytes],
        proofs: Sequence[ForkProof] = (),
        lifted: AnyOf[bytes] = (),
        witnesses: Witnesses = frozenset(),
    ) -> Ledger:
        """Make a ledger of what was stored: all of it is verified again.

        What would be refused today, or is damaged, is left out: `left_out` has it, so that the store can tell of it.

        Args:
            chain: The verified roots.
            envelopes: Records, in the order in which they were taken: of two branches of a fork the first is held.
            proofs: Of forks.
            lifted: Ids of the forks that the operator has lifted.
            witnesses: As above.
        """
        ledger = cls(chain, lifted, witnesses)
        for proof in proofs:
            # What is lifted must be known before the records that it lets in; what is not, would keep them out.
            with contextlib.suppress(RecordError):
                fork, *sides = verify_fork(proof, chain)
                if fork.id in lifted:
                    ledger._note(fork, sides)
        for envelope in envelopes:
            try:
                ledger.admit(envelope)
            except (RecordError, UntrustedError) as error:
                if ledger._index.find_envelope(envelope) is None:  # a revocation is taken though it forks
                    ledger.left_out.append((envelope, error))
        for proof in proofs:
            try:
                ledger.admit_fork(proof)
            except RecordError as error:
                ledger.left_out.append((proof.encode(), error))
        return ledger

    # What comes in.

    @property
    def chain(self) -> PublisherChain:
        """The longest root chain that is known."""
        return self._chain

    @property
    def publisher(self) -> PublisherId:
        """Whose ledger it is."""
        return self._chain.publisher

    def learn_roots(self, chain: PublisherChain) -> bool:
        """Join a verified root chain with the one that is known; an old one rolls nothing back.

        Returns:
            Whether it was longer.

        Raises:
            StatementError: Another publisher's.
            ForkError: Both go on differently. The publisher is frozen from now on.

        Source: specs/records.md §4; specs/trust.md, "Forks".
        """
        try:
            joined = self._chain.join(chain)
        except ForkError as error:
            if error.pair is not None:
                fork, *sides = verify_fork(ForkProof(*error.pair), self._chain)
                self._note(fork, sides)
            raise
        longer = len(joined.roots) > len(self._chain.roots)
        if longer:
            self._chain = joined
            self._index.restand(joined)
            self._reading, self._stale = self._read(), False
        return longer

    def admit(self, envelope: bytes) -> Admitted:
        """Verify a record against what is known, and take it.

        It may be any record of the log, in any order, or a head outside the log. What is known already changes nothing.

        Args:
            envelope: The bytes as received.

        Raises:
            RecordError: It is wrong by itself: one of its subclasses, which one for what, is in specs/records.md.
            ForkError: It contradicts a record that is known. The publisher is frozen from now on; `fork` has the proof,
                which is to be stored and passed on. Or it is frozen, and this is not what ends that. A revocation is
                taken all the same.
            RollbackError: Keys that were replaced signed it, at a place that is their successors'.
            RevokedError: Keys signed it that had been revoked by then.

        Source: specs/trust.md, "Admission".
        """
        same = self._index.find_envelope(envelope)
        if same is not None:  # the very bytes that were verified once: a replay costs nothing
            return Admitted(same, new=False)
        entry = verify_entry(envelope, self._chain, self._index.delegations)
        known = self._index.find(entry.id)
        if known is not None:
            return self._cosigned(known, entry)
        revokes = says(entry, ReleaseRevocation) or says(entry, KeyRevocation)
        frozen = self._frozen_by(entry)
        if frozen is not None and not revokes:
            raise _frozen(frozen)
        self._refuse_void(entry)
        self._refuse_misplaced(entry)
        if not revokes:
            self._refuse_outranked(entry)
        fork = None if frozen is not None else self._fork_with(entry)
        if revokes and (frozen is not None or fork is not None):
            self._aside.add(entry.id)
        if fork is None or revokes:
            self._take(entry)
        if fork is not None:
            raise _frozen(fork)
        return Admitted(entry, new=True)

    def admit_fork(self, proof: ForkProof) -> Fork:
        """Take a proof that somebody else brought: the publisher is frozen, unless what it shows is over.

        Returns:
            The fork that is kept: this one, or one that says the same.

        Raises:
            RecordError: It proves nothing.

        Source: specs/trust.md, "Forks".
        """
        fork, *sides = verify_fork(proof, self._chain, self._index.delegations)
        return self._note(fork, sides)

    def lift(self, fork: bytes) -> None:
        """Go on in spite of a fork, as the operator says; it stays known.

        Args:
            fork: Its id.
        """
        self._freezes.lift(fork)
        self._stale = True

    # What is known.

    @property
    def fork(self) -> Fork | None:
        """The fork that freezes the publisher, or None. Of several, the one under the newest root."""
        return self._freezes.holding(self._now(), len(self._chain.roots))

    @property
    def forks(self) -> tuple[Fork, ...]:
        """All forks that were ever proven, also those that are over: their proofs are kept and passed on."""
        return self._freezes.all

    @property
    def newest(self) -> Entry | None:
        """The newest record of the log: who has it, has a commitment to all before it. It is the checkpoint."""
        return self._now().tip

    @property
    def next_place(self) -> Place:
        """The place of the record that the publisher signs next.

        Raises:
            StatementError: There is none.
        """
        return _after(self._now().tip)

    def place_after(self, position: int) -> Place:
        """Return the place after a position of the log: where the log goes on that drops what lies beyond.

        Args:
            position: A position, or 0: the log begins anew.

        Raises:
            StatementError: No record of that position is known.
        """
        if position == 0:
            return Place.first()
        entry = self._now().line.get(position)
        if entry is None:
            raise StatementError(f"no record at position {position} of the log is known here")
        return _after(entry)

    def log(self, first: int = 1) -> Iterator[Entry]:
        """Yield the records of the log that are known, from a position on, in order."""
        line = self._now().line
        return (line[position] for position in sorted(line) if position >= first)

    def missing(self, most: int = 64) -> tuple[tuple[int, int], ...]:
        """Return the gaps of the log up to the newest record: first and last position of each, at most `most`.

        While there are any, something may be withheld, a revocation too.
        """
        gaps: list[tuple[int, int]] = []
        before = 0
        for position in sorted(self._now().line):
            if position > before + 1 and len(gaps) < most:
                gaps.append((before + 1, position - 1))
            before = position
        return tuple(gaps)

    def revocations(self) -> tuple[Verified[ReleaseRevocation] | Verified[KeyRevocation], ...]:
        """Return all revocations that count, also those that are not in the line: they travel before all else."""
        now = self._now()
        return (*now.keys.values(), *now.revoked.values())

    @property
    def heads(self) -> Mapping[str, VerifiedHead]:
        """The newest head of each name."""
        return self._now().heads

    def head(self, name: str) -> VerifiedHead | None:
        """Return the newest head of a name."""
        return self._now().heads.get(name)

    def history(self, name: str) -> tuple[VerifiedHead, ...]:
        """Return all heads of a name that are known, oldest first: what was tagged, and tagged anew."""
        return tuple(self._index.heads(name))

    def revocation(self, release: ReleaseId) -> Verified[ReleaseRevocation] | None:
        """Return the newest revocation of a release *of this publisher*; of another's it says nothing."""
        return self._now().revoked.get(release)

    @property
    def revokes_keys(self) -> bool:
        """Whether any key was revoked."""
        return bool(self._now().keys)

    def key_revocation(self, key: str) -> Verified[KeyRevocation] | None:
        """Return the revocation that holds for a did:key."""
        return self._now().keys.get(key)

    def counts(self, record: bytes) -> bool:
        """Return whether a record of the log, by its id, says something: current keys sign it, or what follows it."""
        return record in self._now().counted

    def speaks(self, entry: Entry) -> bool:
        """Return whether a record that is known is the publisher's word by the keys that speak for it now."""
        return self.counts(entry.id) or self._now().is_current(entry)

    def kept(self, keys: Iterable[str]) -> frozenset[str]:
        """Return those of some did:keys of others whose signatures are kept."""
        wanted = frozenset(keys)
        if not wanted:
            return wanted
        known = self._witnesses() if callable(self._witnesses) else self._witnesses
        return frozenset(key for key in wanted if key in known)

    @property
    def delegations(self) -> Mapping[bytes, Verified[Delegation]]:
        """Return all delegations that are known, by record id: what `verify_release` takes."""
        return self._index.delegations

    def delegation_in_force(self, delegation: bytes) -> Verified[Delegation] | None:
        """Return the delegation that is in force for the names of one: itself, or what renewed it; None: no more.

        Whether it has expired, is for the floor of time.
        """
        return self._now().in_force(delegation)

    @property
    def delegated(self) -> tuple[Verified[Delegation], ...]:
        """The newest delegation for each list of names, in the order of the log; also those that have ended."""
        newest = self._now().delegations.values()
        return tuple(sorted(newest, key=lambda entry: entry.said.origin.place.position))

    def believes(self, head: VerifiedHead) -> bool:
        """Return whether those who signed a head, known or not, may move its name by all that is known."""
        return self._now().believes(head)

    def refutes(self, head: VerifiedHead) -> bool:
        """Return whether the log, as it is known, says of a delegate's head that it may not move its name any more."""
        delegation = head.head.delegation
        return delegation is not None and self.counts(delegation) and not self.believes(head)

    @property
    def collections(self) -> Mapping[str, Verified[Collection]]:
        """The newest collection of each name."""
        return self._now().collections

    def attestations(self, release: ReleaseId) -> tuple[Verified[Attestation], ...]:
        """Return what this publisher says of a release, of whatever publisher, oldest first."""
        return tuple(self._now().attestations.get(release, ()))

    def key_binding(self, purpose: str = OMS) -> Verified[KeyBinding] | None:
        """Return the newest key binding of a purpose, unless it says that the key is the publisher's no more."""
        found = self._now().bindings.get(purpose)
        return None if found is None or found.said.revoked else found

    # Judging.

    def standing(self, release: VerifiedRelease) -> Standing:
        """Return how it stands with the keys that signed a release of this publisher, by all that is known.

        Source: specs/records.md §5; specs/trust.md, "Keys".
        """
        now, signers = self._now(), release.signers
        good = frozenset(
            key for key in signers.everyone if not now.is_revoked(key, release.release.root, signers.delegation)
        )
        if self._speaks(release, good):
            return Standing.CURRENT
        return Standing.VOUCHED if release.id in now.named else Standing.RETIRED

    def revoked_key(self, release: VerifiedRelease) -> Verified[KeyRevocation] | None:
        """Return the revocation of a key without which a release would be believed; None when it is believed."""
        now = self._now()
        if self.standing(release) is not Standing.RETIRED:
            return None
        root, delegation = release.release.root, release.signers.delegation
        return next((now.keys[key] for key in release.signers.keys if now.is_revoked(key, root, delegation)), None)

    def check_release(self, release: VerifiedRelease) -> None:
        """Check that a release of this publisher was not taken back, nor the key that signed it.

        Raises:
            RevokedError: It was; the hint names a replacement if there is one.
        """
        found = self.revocation(release.id)
        if found is not None:
            said = found.said
            raise RevokedError(
                f"release {format_record(release.id)} was revoked: {said.reason.value}"
                + (f": {said.text}" if said.text else ""),
                hint=f"use {format_record(said.replacement)}" if said.replacement else "",
            )
        key = self.revoked_key(release)
        if key is not None:
            raise RevokedError(
                f"release {format_record(release.id)} is signed by {key.said.key}, a key that was revoked",
                hint="ask the publisher for a release that its new keys have signed",
            )

    def check_offer(self, offered: VerifiedHead) -> None:
        """Check a head that somebody offers as the newest of its name.

        Raises:
            RollbackError: A newer one is known here: who offers it is behind, or lies.
        """
        known = self.head(offered.head.name)
        if known is None or known.id == offered.id:
            return
        if (offered.head.root, offered.head.sequence) <= (known.head.root, known.head.sequence):
            raise RollbackError(
                f"a head of {offered.head.name!r} at sequence {offered.head.sequence}: {known.head.sequence} is known"
            )

    # Within.

    def _now(self) -> Reading:
        if self._stale:
            self._reading, self._stale = self._read(), False
        return self._reading

    def _read(self) -> Reading:
        index = self._index
        return Reading(self._chain, index.placed, index.loose, self._freezes.condemned, self._aside)

    def _take(self, entry: Entry) -> None:
        """Keep a record; where that is all there is to it, the reading goes on, and else is made anew when asked."""
        self._index.add(entry)
        if isinstance(entry, VerifiedHead) and entry.head.place is None:
            if not self._stale:
                self._reading.hear_loose(entry)
            return
        follows = not self._stale and self._reading.is_followed_by(_place(entry))
        moves = any(head.head.delegation for head in self._index.loose.values()) if says(entry, Delegation) else False
        if says(entry, KeyRevocation):
            moves = self._reading.revoke_key(entry)  # at once, so that what the key signs next is refused
        if follows and not moves and entry.id not in self._aside and self._reading.is_current(entry):
            self._reading.append(entry)
            return
        if entry.id not in self._aside and self._reading.counts(entry):
            self._reading.reach(entry)
        self._stale = True

    def _cosigned(self, known: Entry, entry: Entry) -> Admitted:
        """Keep the signatures of those who matter here; else anybody could fill a record with signatures.

        Witnesses sign each for itself, so what several copies bring is put together.
        """
        before = self._worth(known)
        if self._worth(entry) <= before:
            return Admitted(known, new=False)
        try:
            joined = dsse.join(known.envelope, entry.envelope, before | self._worth(entry))
        except EnvelopeError:  # too long for one: what is known stays
            return Admitted(known, new=False)
        together = verify_entry(joined, self._chain, self._index.delegations)
        if not self._worth(together) > before:
            return Admitted(known, new=False)
        self._index.add(together)
        self._stale = True
        return Admitted(together, new=False, cosigned=True)

    def _worth(self, entry: Entry) -> frozenset[str]:
        return frozenset(entry.signers.keys) | self.kept(entry.signers.cosigners)

    def _frozen_by(self, entry: Entry) -> Fork | None:
        """Return the fork that keeps a record out: its delegation's, or its publisher's if no newer root signed it."""
        # The last reading does, though it may be stale: else each record that fills a gap would have all read anew.
        now, roots = self._reading, len(self._chain.roots)
        delegation = entry.signers.delegation
        if delegation is not None:
            condemned = self._freezes.holding(now, roots, delegation)
            if condemned is not None:
                return condemned
        fork = self._freezes.holding(now, roots)
        return fork if fork is not None and root_of(entry) <= fork.root else None

    def _refuse_void(self, entry: Entry) -> None:
        if not self._reading.counts(entry, doubt=True):
            raise RevokedError(
                "the record is signed by a key that was revoked before",
                hint="ask the publisher for a record that its new keys have signed",
            )

    def _refuse_misplaced(self, entry: Entry) -> None:
        place = place_of(entry)
        parent = self._index.placed.get(place.after) if place is not None and place.after is not None else None
        if place is None or parent is None:
            return
        if _place(parent).position != place.position - 1:
            raise StatementError(
                f"a record at position {place.position} follows one at position {_place(parent).position}"
            )
        if root_of(parent) > root_of(entry):
            raise RollbackError("a record under an older root follows one under a newer root")

    def _refuse_outranked(self, entry: Entry) -> None:
        place = place_of(entry)
        if place is None:
            return
        root = root_of(entry)
        newer = [one for one in self._index.at(place.position) if root_of(one) > root]
        after = [one for one in self._index.at(place.position + 1) if root_of(one) > root]
        named = any(_place(one).after == entry.id for one in after)
        newest, last = self._reading.top
        beyond = newest > root and place.position > last
        if not named and (newer or after or beyond):
            raise RollbackError(
                f"a record under root {root} at position {place.position}, where a newer root's are known",
                hint="keys that were replaced have signed it, or it is of a branch that the publisher left",
            )

    def _fork_with(self, entry: Entry) -> Fork | None:
        """Return the fork that a record makes with one that is known, and which is kept from now on."""
        for known in self._index.near(entry):
            kind = contradict(known, entry)
            # While it cannot be told whether a revoked key rightly signed one of both, they prove nothing.
            if kind is not None and self._reading.counts(known) and self._reading.counts(entry):
                fork = fork_of(known, entry, kind)
                if not self._freezes.is_over(fork, self._reading, len(self._chain.roots)):
                    return self._note(fork, (known, entry))
        return None

    def _note(self, fork: Fork, sides: Iterable[Entry]) -> Fork:
        self._stale = True
        return self._freezes.note(fork, sides, self._reading)

    def _speaks(self, release: VerifiedRelease, good: frozenset[str]) -> bool:
        delegation = release.signers.delegation
        if delegation is None:
            now = self._chain.current
            return len(good & set(now.keys)) >= now.threshold
        found = self._index.delegations.get(delegation)
        return (
            found is not None
            and len(good & set(found.said.keys)) >= found.said.threshold
            and self._now().lets_sign(good, delegation)
        )


def _after(entry: Entry | None) -> Place:
    return Place.first() if entry is None else _place(entry).next(entry.id)


def _place(entry: Entry) -> Place:
    place = place_of(entry)
    if place is None:
        raise StatementError("a record without a place in the log")
    return place


def _frozen(fork: Fork) -> ForkError:
    return ForkError(
        f"{fork.what} are signed by this publisher's keys",
        pair=(fork.proof.first, fork.proof.second),
        hint=_FORK_HINT,
    )
