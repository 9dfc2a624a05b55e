"""What of a ledger is passed on: pages for who asks, all of it for a file.

It decides nothing about who may see it: whoever holds a log may pass it on, and where that tells too much, the node
says nothing at all. Revocations and proofs of forks come first, so that who is cut off in the middle has these.

Source: specs/exchange.md, "GET_LOG"; specs/records.md §16.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from itertools import zip_longest

from samara.protocol.errors import RecordError, UntrustedError
from samara.protocol.ids import PublisherId
from samara.protocol.limits import (
    MAX_ENVELOPE,
    MAX_LOG_ENTRIES,
    MAX_LOG_FORKS,
    MAX_LOG_REVOCATIONS,
    MAX_LOG_SEEN,
    MAX_RECORDS,
)
from samara.protocol.ports import LogPage
from samara.protocol.records.head import VerifiedHead
from samara.protocol.records.log import Entry
from samara.protocol.records.root import PublisherChain
from samara.protocol.trust.forks import Fork, ForkProof, place_of
from samara.protocol.trust.ledger import Ledger
from samara.protocol.trust.recordfile import Item, Kind
from samara.protocol.trust.witnesses import newest_cosigned

__all__ = ["page_of", "put_together", "whole_log"]


def page_of(ledger: Ledger, root: int, first: int) -> LogPage:
    """Return one answer's worth of a log.

    Args:
        ledger: What is known of the publisher.
        root: The version of the newest root that is known to whoever asks; 0 for none.
        first: The first position of the log that is wanted, ≥ 1.

    Returns:
        A page that has at least one entry if there is any, and keeps the limits of an answer. Only a root chain that
        alone is nearly as long as an answer makes it longer. Before its entries come records that witnesses co-signed
        last, since who knows them may know them without that.

    Source: specs/exchange.md, "GET_LOG".
    """
    line = {_position(entry): entry for entry in ledger.log()}
    wanted = [entry for position, entry in line.items() if position >= first] or list(line.values())[-1:]
    roots = ledger.chain.envelopes[root:]
    room = _Room(MAX_RECORDS - MAX_ENVELOPE - sum(map(len, roots)))
    forks = [fork for fork in ledger.forks[:MAX_LOG_FORKS] if room.takes(*_sides(fork))]
    held = {entry.id for position, entry in line.items() if position < first}
    ahead = [entry for entry in ledger.revocations() if entry.id not in held][:MAX_LOG_REVOCATIONS]
    ahead = [entry for entry in ahead if room.takes(entry.envelope)]
    start = min((_position(entry) for entry in wanted), default=1)
    entries = [entry for entry in newest_cosigned(ledger, start, MAX_LOG_SEEN) if room.takes(entry.envelope)]
    room.left += MAX_ENVELOPE  # one that was asked for always fits
    for entry in wanted[: MAX_LOG_ENTRIES - len(entries)]:
        if not room.takes(entry.envelope):
            break
        entries.append(entry)
    given = {entry.id for entry in entries}
    ahead = [entry for entry in ahead if entry.id not in given]
    beside: list[Entry] = [*ahead]
    if not line or max(line) in map(_position, entries):  # else what says who may sign them may still be to come
        heads = _in_turn(_loose(ledger))[: MAX_LOG_REVOCATIONS - len(ahead)]
        beside += [head for head in heads if room.takes(head.envelope)]
    return LogPage(
        roots=roots,
        forks=tuple(map(_sides, forks)),
        revocations=_envelopes(beside),
        entries=_envelopes(entries),
        newest=max(line, default=0),
    )


def whole_log(ledger: Ledger) -> LogPage:
    """Return all that is passed on of a publisher, of whatever size: what a file of records has."""
    ahead = ledger.revocations()
    given = {entry.id for entry in ahead}
    line = list(ledger.log())
    return LogPage(
        roots=ledger.chain.envelopes,
        forks=tuple(map(_sides, ledger.forks)),
        revocations=_envelopes(ahead),
        entries=_envelopes([*(entry for entry in line if entry.id not in given), *_loose(ledger)]),
        newest=_position(line[-1]) if line else 0,
    )


def put_together(publisher: PublisherId, ours: LogPage, theirs: Iterable[Item]) -> LogPage:
    """Return all that is passed on of a publisher, of what is known here and what lies somewhere in a file.

    Args:
        publisher: Whose.
        ours: All that is known here, as `whole_log` gives it.
        theirs: What a file holds: each item is verified, and what is wrong is left out.

    Raises:
        RecordError: What is known here is wrong: a bug.
    """
    # Whose signatures are worth keeping, whoever reads the file decides: what lies there is not thinned out.
    ledger = Ledger(PublisherChain.verify(ours.roots, expected=publisher), witnesses=_Anybody())
    for pair in ours.forks:
        ledger.admit_fork(ForkProof(*pair))
    items = list(theirs)
    roots = [item.data for item in items if item.kind is Kind.ROOT]
    with contextlib.suppress(RecordError):
        ledger.learn_roots(PublisherChain.verify(roots, expected=publisher))
    records = [item.data for item in items if item.kind is Kind.RECORD]
    for record in (*ours.revocations, *ours.entries, *records):
        with contextlib.suppress(RecordError, UntrustedError):
            ledger.admit(record)
    for item in items:
        if item.kind is Kind.FORK:
            with contextlib.suppress(RecordError):
                ledger.admit_fork(ForkProof.decode(item.data))
    return whole_log(ledger)


class _Anybody:
    """All did:keys."""

    def __contains__(self, key: object) -> bool:
        return True


def _loose(ledger: Ledger) -> list[VerifiedHead]:
    """The heads outside the log that are the newest of their names, those that were issued last first."""
    found = [head for head in ledger.heads.values() if head.head.place is None]
    return sorted(found, key=lambda head: (head.head.issued, head.id), reverse=True)


def _in_turn(heads: Iterable[VerifiedHead]) -> list[VerifiedHead]:
    """One of each delegation, then the next of each: one delegate's many names do not keep out another's few."""
    by_delegation: dict[bytes | None, list[VerifiedHead]] = {}
    for head in heads:
        by_delegation.setdefault(head.head.delegation, []).append(head)
    return [head for turn in zip_longest(*by_delegation.values()) for head in turn if head is not None]


class _Room:
    """How many bytes are left of an answer."""

    def __init__(self, left: int) -> None:
        self.left = left

    def takes(self, *envelopes: bytes) -> bool:
        """Take some envelopes if all of them fit; return whether they did."""
        size = sum(map(len, envelopes))
        fits = size <= self.left
        self.left -= size if fits else 0
        return fits


def _sides(fork: Fork) -> tuple[bytes, bytes]:
    return fork.proof.first, fork.proof.second


def _envelopes(entries: Iterable[Entry]) -> tuple[bytes, ...]:
    return tuple(entry.envelope for entry in entries)


def _position(entry: Entry) -> int:
    place = place_of(entry)
    return 0 if place is None else place.position
