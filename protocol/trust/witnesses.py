"""Witnesses: whoever co-signs a record of another's log says that they have seen it, and all before it.

    course(ledger, last)   what a witness may sign now, given what it signed last
    seen_by(…)             how far witnesses have seen a log
    saw(…)                 which of them have seen the record that names a release

A co-signature counts only for a reader who names the witness, and it says nothing of what comes after it. It makes a
split view dear: who shows two logs needs a witness for each, and each proves on paper what it has seen.

Source: specs/trust.md, "Witnesses".
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from samara.protocol.dsse import Envelope, signers
from samara.protocol.ids import ReleaseId
from samara.protocol.records.log import Entry
from samara.protocol.trust.forks import Fork, ForkProof, place_of, root_of
from samara.protocol.trust.ledger import Ledger

__all__ = ["Cosigned", "Course", "Seen", "Witness", "course", "newest_cosigned", "on_both_sides", "saw", "seen_by"]


@final
@dataclass(frozen=True, slots=True)
class Witness:
    """Somebody who may witness.

    Attributes:
        name: What the reader calls them.
        keys: Their did:keys, without those that were revoked; empty for one of whom nothing is known.
        threshold: How many of them must have signed.
    """

    name: str
    keys: frozenset[str]
    threshold: int = 1


@final
@dataclass(frozen=True, slots=True)
class Seen:
    """How far a witness has seen a log.

    Attributes:
        witness: Who.
        position: The position up to which they have.
        record: Id of the record at it.
    """

    witness: Witness
    position: int
    record: bytes


@final
@dataclass(frozen=True, slots=True)
class Cosigned:
    """What a witness signed last of a log, as it remembers it.

    Attributes:
        root: Version of the root under which the record is signed.
        position: Its position.
        record: Its id.
        envelope: It, as it was co-signed.
    """

    root: int
    position: int
    record: bytes
    envelope: bytes


class Course(enum.Enum):
    """How the newest record of a log lies to what a witness signed last."""

    FOLLOWS = "follows"
    """It is the same, or what was signed is below it, or nothing was signed yet."""
    BEHIND = "behind"
    """It is older."""
    LEFT = "left"
    """A newer root's log goes on from before what was signed, which is in it no more."""
    FORKS = "forks"
    """Both cannot be in one log."""


def course(ledger: Ledger, last: Cosigned | None) -> tuple[Course, ForkProof | None]:
    """Return whether a witness may sign the newest record of a log, and the proof when it is a fork.

    Nothing may be missing above the position of `last`.

    Args:
        ledger: What is known of the publisher.
        last: What the witness signed last of this log.
    """
    line = {_position(entry): entry for entry in ledger.log()}
    if last is None or not line:
        return Course.FOLLOWS, None
    tip = line[max(line)]
    if (root_of(tip), _position(tip)) < (last.root, last.position):
        return Course.BEHIND, None
    same, above = line.get(last.position), line.get(last.position + 1)
    if (same is not None and same.id == last.record) or (above is not None and _after(above) == last.record):
        return Course.FOLLOWS, None
    other = next((entry for entry in (same, above) if entry is not None and root_of(entry) == last.root), None)
    if other is None:
        return Course.LEFT, None
    return Course.FORKS, ForkProof(last.envelope, other.envelope)


def seen_by(ledger: Ledger, witnesses: Iterable[Witness]) -> tuple[Seen, ...]:
    """Return how far each of some witnesses has seen a log; of those who have seen nothing of it, nothing."""
    newest = _newest_of_keys(ledger, ledger.log())
    found = ((witness, _reached(newest, witness)) for witness in witnesses)
    return tuple(Seen(witness, _position(entry), entry.id) for witness, entry in found if entry is not None)


def saw(ledger: Ledger, name: str, release: ReleaseId, witnesses: Sequence[Witness]) -> tuple[Seen, ...]:
    """Return which of some witnesses have seen a record of the log that names a release.

    They have when they co-signed it, or a record after it to which the log leads without a gap. Each key counts for one
    of them, and no key of the publisher or of its delegates for any.

    Args:
        ledger: What is known of the publisher.
        name: The release's name.
        release: The release.
        witnesses: Who is asked for.
    """
    line = {_position(entry): entry for entry in ledger.log()}
    first = _named_at(ledger, name, release, line)
    if first is None:
        return ()
    last = first
    while last + 1 in line:
        last += 1
    newest = _newest_of_keys(ledger, (line[position] for position in range(first, last + 1)))
    found: list[Seen] = []
    for witness in sorted(witnesses, key=lambda one: (-len(one.keys), one.name)):
        entry = _reached(newest, witness)
        if entry is not None:
            found.append(Seen(witness, _position(entry), entry.id))
            newest = {key: entry for key, entry in newest.items() if key not in witness.keys}
    return tuple(found)


def newest_cosigned(ledger: Ledger, before: int, most: int) -> list[Entry]:
    """Return the records before a position that those whose signatures are kept have co-signed last, in order.

    Args:
        ledger: What is known of the publisher, and whose signatures are kept of it.
        before: The position.
        most: How many records at most: the newest.
    """
    newest = _newest_of_keys(ledger, ledger.log())
    found = {_position(newest[key]): newest[key] for key in ledger.kept(newest)}
    return [found[position] for position in sorted(found) if position < before][-most:]


def on_both_sides(ledger: Ledger, fork: Fork) -> frozenset[str]:
    """Return the did:keys that are not the publisher's and have signed both records of a proof: it convicts them, too.

    A witness that signed later records of both sides is not among them: these, down to the fork, convict it.
    """
    first, second = (signers(Envelope.decode(side)) for side in (fork.proof.first, fork.proof.second))
    return (first & second) - _own_keys(ledger)


def _newest_of_keys(ledger: Ledger, entries: Iterable[Entry]) -> Mapping[str, Entry]:
    """The last of some records, in order, that each key has co-signed which is not the publisher's."""
    newest = {key: entry for entry in entries for key in entry.signers.cosigners}
    for key in _own_keys(ledger):
        newest.pop(key, None)
    return newest


def _own_keys(ledger: Ledger) -> frozenset[str]:
    """The keys of all roots of a publisher, and of its delegates: nobody is a witness of what is their own."""
    roots = (key for root in ledger.chain.roots for key in root.root.keys)
    delegates = (key for delegation in ledger.delegations.values() for key in delegation.said.keys)
    return frozenset((*roots, *delegates))


def _reached(newest: Mapping[str, Entry], witness: Witness) -> Entry | None:
    """The record that enough keys of a witness have co-signed, or one after it."""
    found = sorted((newest[key] for key in witness.keys if key in newest), key=_position, reverse=True)
    return found[witness.threshold - 1] if len(found) >= witness.threshold else None


def _named_at(ledger: Ledger, name: str, release: ReleaseId, line: Mapping[int, Entry]) -> int | None:
    """The first position of the log that names a release, in a head that counts."""
    places = (
        place.position
        for head in ledger.history(name)
        if head.head.release == release and (place := head.head.place) is not None and ledger.counts(head.id)
    )
    return min((position for position in places if position in line), default=None)


def _position(entry: Entry) -> int:
    place = place_of(entry)
    return 0 if place is None else place.position


def _after(entry: Entry) -> bytes | None:
    place = place_of(entry)
    return None if place is None else place.after
