"""Where the records of one publisher are found: by id, by the bytes they came in, by place, by name and sequence.

It judges nothing. A record that is here was verified, and was taken by `Ledger`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Final, final

from samara.protocol.records.delegation import Delegation
from samara.protocol.records.entry import Verified
from samara.protocol.records.head import VerifiedHead
from samara.protocol.records.log import Entry
from samara.protocol.records.root import PublisherChain
from samara.protocol.records.signers import Standing
from samara.protocol.trust.forks import place_of
from samara.protocol.trust.reading import says

__all__ = ["Index"]


@final
class Index:
    """Records of one publisher.

    Attributes:
        placed: Records of the log by id, in the order in which they came.
        loose: Heads outside the log by id.
        delegations: Delegations by id; they are in `placed`, too.
    """

    __slots__ = ("_envelopes", "_names", "_places", "delegations", "loose", "placed")

    def __init__(self) -> None:
        self.placed: Final[dict[bytes, Entry]] = {}
        self.loose: Final[dict[bytes, VerifiedHead]] = {}
        self.delegations: Final[dict[bytes, Verified[Delegation]]] = {}
        self._places: Final[dict[int, list[Entry]]] = {}
        self._names: Final[dict[tuple[str, bytes | None, int, int], list[VerifiedHead]]] = {}
        self._envelopes: Final[dict[bytes, bytes]] = {}

    def find(self, record: bytes) -> Entry | None:
        """Return the record of an id."""
        return self.placed.get(record) or self.loose.get(record)

    def find_envelope(self, envelope: bytes) -> Entry | None:
        """Return the record that came in these very bytes."""
        record = self._envelopes.get(envelope)
        return None if record is None else self.find(record)

    def at(self, position: int) -> tuple[Entry, ...]:
        """Return the records at a position of the log."""
        return tuple(self._places.get(position, ()))

    def near(self, entry: Entry) -> Iterator[Entry]:
        """Yield the records that could contradict one: at its place and beside it, in the log and in its name."""
        place = place_of(entry)
        if place is not None:
            for position in (place.position - 1, place.position, place.position + 1):
                yield from self._places.get(position, ())
        if isinstance(entry, VerifiedHead):
            head = entry.head
            for sequence in (head.sequence - 1, head.sequence, head.sequence + 1):
                yield from self._names.get((head.name, head.delegation, head.root, sequence), ())

    def heads(self, name: str) -> list[VerifiedHead]:
        """Return all heads of a name, oldest first."""
        found = [head for heads in self._names.values() for head in heads if head.head.name == name]
        return sorted(found, key=lambda head: (head.head.root, head.head.sequence, head.id))

    def add(self, entry: Entry) -> None:
        """Add a record, or put one in the place of the same one with other signatures."""
        known = self.find(entry.id)
        if known is not None:
            self._remove(known)
        self._envelopes[entry.envelope] = entry.id
        if isinstance(entry, VerifiedHead):
            self._names.setdefault(_name(entry), []).append(entry)
        place = place_of(entry)
        if place is not None:
            self.placed[entry.id] = entry
            self._places.setdefault(place.position, []).append(entry)
        elif isinstance(entry, VerifiedHead):
            self.loose[entry.id] = entry
        if says(entry, Delegation):
            self.delegations[entry.id] = entry

    def restand(self, chain: PublisherChain) -> None:
        """Hold the signers of all records against a longer chain."""
        for entry in (*self.placed.values(), *self.loose.values()):
            standing = _standing(entry, chain)
            if standing is not entry.signers.standing:
                self.add(dataclasses.replace(entry, signers=dataclasses.replace(entry.signers, standing=standing)))

    def _remove(self, entry: Entry) -> None:
        """Remove a record from where there may be several; what has it by its id alone is written over in its place."""
        del self._envelopes[entry.envelope]
        place = place_of(entry)
        if place is not None:
            self._places[place.position].remove(entry)
        if isinstance(entry, VerifiedHead):
            self._names[_name(entry)].remove(entry)


def _name(entry: VerifiedHead) -> tuple[str, bytes | None, int, int]:
    head = entry.head
    return head.name, head.delegation, head.root, head.sequence


def _standing(entry: Entry, chain: PublisherChain) -> Standing:
    if entry.signers.delegation is not None:
        return entry.signers.standing  # whether a delegation is in force, the log says
    now = chain.current
    return Standing.CURRENT if len(entry.signers.everyone & set(now.keys)) >= now.threshold else Standing.RETIRED
