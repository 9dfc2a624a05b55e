"""What the records of one publisher say, read together (specs/trust.md, "Reading a log").

A pure function of a set of verified records and a root chain: whatever the order in which they came, the reading is
the same. Only while a publisher is frozen by a fork does it matter which branch came first. The steps are those of the
spec: which keys are revoked, which records count, which of them are the line, and what those say.
"""

from __future__ import annotations

from collections.abc import Collection as AnyOf
from collections.abc import Iterable, Mapping
from typing import Final, TypeGuard, TypeVar, final

from samara.protocol.ids import ReleaseId
from samara.protocol.records.attestation import Attestation
from samara.protocol.records.binding import KeyBinding
from samara.protocol.records.collection import Collection
from samara.protocol.records.delegation import Delegation
from samara.protocol.records.entry import Place, Said, Verified
from samara.protocol.records.head import VerifiedHead
from samara.protocol.records.log import Entry
from samara.protocol.records.revocation import KeyRevocation, ReleaseRevocation
from samara.protocol.records.root import PublisherChain
from samara.protocol.trust.forks import place_of, root_of

__all__ = ["Reading", "says"]


S = TypeVar("S", bound=Said)


def says(entry: Entry, kind: type[S]) -> TypeGuard[Verified[S]]:
    """Return whether what a record says is of that kind."""
    return isinstance(entry.said, kind)


@final
class Reading:
    """What is true of a publisher, given some of its records.

    Args:
        chain: The publisher's roots.
        placed: Records of the log by id, in the order in which they came.
        loose: Heads outside the log by id.
        condemned: Delegations of which a fork is proven.
        aside: Revocations of a publisher who was frozen when they came: they count, and lead the log nowhere.

    Attributes:
        keys: Revoked keys, and the revocation that holds for each.
        top: Root and position of the newest record of the log, (0, 0) when there is none.
        tip: The newest record of the log; None when there is none.
        line: The records of the log that hold together, by position. There may be gaps.
        counted: Ids of those that say something: current keys have signed them, or something after them.
        heads: The newest head of each name.
        named: A head for each release that a head that counts names.
        revoked: The revocation of each revoked release.
        delegations: The newest delegation for each list of names, also when it says "no more".
        collections: The newest collection of each name.
        attestations: For each release what is said of it.
        bindings: The newest key binding of each purpose, also when it says "no more".
    """

    __slots__ = (
        "_aside",
        "_chain",
        "_condemned",
        "_paths",
        "_placed",
        "attestations",
        "bindings",
        "collections",
        "counted",
        "delegations",
        "heads",
        "keys",
        "line",
        "named",
        "revoked",
        "tip",
        "top",
    )

    def __init__(
        self,
        chain: PublisherChain,
        placed: Mapping[bytes, Entry],
        loose: Mapping[bytes, VerifiedHead],
        condemned: frozenset[bytes],
        aside: AnyOf[bytes],
    ) -> None:
        self._chain: Final = chain
        self._placed: Final = placed
        self._condemned: Final = condemned
        self._aside: Final = aside
        self._paths: Final = _Paths(placed)
        self.keys: dict[str, Verified[KeyRevocation]] = {}
        self.top = (0, 0)
        self.tip: Entry | None = None
        self.line: dict[int, Entry] = {}
        self.counted: set[bytes] = set()
        self.heads: dict[str, VerifiedHead] = {}
        self.named: dict[ReleaseId, VerifiedHead] = {}
        self.revoked: dict[ReleaseId, Verified[ReleaseRevocation]] = {}
        self.delegations: dict[tuple[str, ...], Verified[Delegation]] = {}
        self.collections: dict[str, Verified[Collection]] = {}
        self.attestations: dict[ReleaseId, list[Verified[Attestation]]] = {}
        self.bindings: dict[str, Verified[KeyBinding]] = {}
        self._read(loose.values())

    # Questions that need no line.

    def counts(self, entry: Entry, *, doubt: bool = False) -> bool:
        """Return whether enough keys signed a record that were not revoked by then.

        Args:
            entry: The record, verified.
            doubt: The answer for a key of which it cannot be told yet: whether the record is one of those that the key
                rightly signed, since records between are not here.
        """
        if not self.keys:
            return True
        keys, threshold = self._authority(entry)
        good = sum(
            1 for key in keys & entry.signers.everyone if (doubt if (v := self.voids(key, entry)) is None else not v)
        )
        return good >= threshold

    def voids(self, key: str, entry: Entry) -> bool | None:
        """Return whether a key's signature on a record is void; None when that cannot be told yet."""
        revocation = self.keys.get(key)
        if revocation is None or revocation.id == entry.id:
            return False
        if not self.reaches(revocation, root_of(entry), entry.signers.delegation):
            return False
        place, said = place_of(entry), revocation.said
        if place is None or said.last is None or place.position > said.through:
            return True
        found = self._paths.at(said.last, said.through, place.position)
        return None if found is None else found != entry.id

    def reaches(self, revocation: Verified[KeyRevocation], root: int, delegation: bytes | None) -> bool:
        """Return whether the revocation of a key is for what it signs under a root, or under a delegation.

        What a newer root, or a delegation under one, has named, an older root does not take back. A delegate writes any
        root into what it signs, so that of its delegation is what matters.
        """
        if delegation is not None:
            found = self._placed.get(delegation)
            root = 0 if found is None else root_of(found)
        return root <= root_of(revocation)

    def is_revoked(self, key: str, root: int, delegation: bytes | None) -> bool:
        """Return whether what a key signs outside the log, under a root or a delegation, is void."""
        revocation = self.keys.get(key)
        return revocation is not None and self.reaches(revocation, root, delegation)

    def is_current(self, entry: Entry) -> bool:
        """Return whether enough keys of the current root signed a record, revoked ones aside."""
        now = self._chain.current
        if not self.keys and root_of(entry) == now.version and entry.signers.delegation is None:
            return True
        ours = entry.signers.everyone & set(now.keys)
        return sum(1 for key in ours if self.voids(key, entry) is False) >= now.threshold

    def in_force(self, delegation: bytes) -> Verified[Delegation] | None:
        """Return the delegation that is in force for the names of one: itself, or what it was renewed by.

        None: its names are delegated no more, or it has ended by a fork.

        Source: specs/records.md §14, 1 and 4.
        """
        found = self._placed.get(delegation)
        if found is None or not says(found, Delegation):
            return None
        if delegation not in self.counted or delegation in self._condemned:
            return None
        newest = self.delegations.get(found.said.names)
        if newest is None or newest.said.revoked or newest.id in self._condemned:
            return None
        return newest

    def lets_sign(self, keys: AnyOf[str], delegation: bytes) -> bool:
        """Return whether keys are enough of those of the delegation that is in force for the names of one."""
        now = self.in_force(delegation)
        return now is not None and len(set(now.said.keys) & set(keys)) >= now.said.threshold

    def believes(self, head: VerifiedHead) -> bool:
        """Return whether current keys, or those of a delegation in force, have signed a head; revoked ones aside."""
        delegation = head.head.delegation
        if delegation is None:
            return self.is_current(head) and self.counts(head)
        good = [key for key in head.signers.everyone if self.voids(key, head) is False]
        return self.counts(head) and self.lets_sign(good, delegation)

    # Reading on.

    def revoke_key(self, entry: Verified[KeyRevocation]) -> bool:
        """Let the revocation of a key count, unless another one of that key holds; return whether it does."""
        known = self.keys.get(entry.said.key)
        holds = known is None or _firmness(entry) < _firmness(known)
        if holds:
            self.keys[entry.said.key] = entry
        return holds

    def is_followed_by(self, place: Place) -> bool:
        """Return whether a place is the next one, and what takes it changes nothing that came before.

        It would where the tip says nothing yet: then what comes after it, by current keys, lets it.
        """
        if self.tip is None:
            return place.position == 1
        return self.tip.id in self.counted and place == Place(_position(self.tip) + 1, self.tip.id)

    def reach(self, entry: Entry) -> None:
        """Know of a record that counts how far the log goes; what it says is heard when all is read anew."""
        self.top = max(self.top, _rank(entry))

    def append(self, entry: Entry) -> None:
        """Take a record that follows the tip and is signed by current keys, without reading all anew."""
        place = place_of(entry)
        if place is not None:
            self.tip = self.line[place.position] = entry
            self.reach(entry)
            if says(entry, ReleaseRevocation):
                self._revoke_release(entry)
            self._hear(entry)

    def _read(self, loose: Iterable[VerifiedHead]) -> None:
        placed = self._placed.values()
        # A newer root's word on keys comes first: a thief of an old one cannot take back what replaced it.
        revocations = [entry for entry in placed if says(entry, KeyRevocation)]
        for revocation in sorted(revocations, key=lambda e: (-root_of(e), _position(e), e.id)):
            if self.counts(revocation, doubt=True):
                self.revoke_key(revocation)
        for entry in placed:
            if says(entry, ReleaseRevocation) and self.counts(entry, doubt=True):
                self._revoke_release(entry)
        candidates = [entry for entry in placed if entry.id not in self._aside and self.counts(entry)]
        for entry in candidates:
            self.reach(entry)
        if candidates:
            self.tip = max(candidates, key=_rank)
            for entry in self._follow(self.tip, candidates):
                self._hear(entry)
        for head in loose:
            self.hear_loose(head)

    def _follow(self, tip: Entry, candidates: Iterable[Entry]) -> list[Entry]:
        """Walk down from the tip, fill `line`, and return those that count, in the order of the log."""
        by_position: dict[int, Entry] = {}
        for entry in candidates:
            known = by_position.get(_position(entry))
            if known is None or root_of(entry) > root_of(known):
                by_position[_position(entry)] = entry
        below = sorted(by_position)
        heard: list[Entry] = []
        at: Entry | None = tip
        linked = False
        while at is not None:
            linked = linked or self.is_current(at)
            position = _position(at)
            self.line[position] = at
            if linked and self.counts(at):
                heard.append(at)
            parent = self._parent(at)
            if parent is None:
                # A gap: what lies below it may be of the line, and nothing current has signed for it yet.
                linked = False
                while below and below[-1] >= position - 1:
                    below.pop()
                while below and root_of(by_position[below[-1]]) > root_of(at):
                    below.pop()
                parent = by_position[below[-1]] if below else None
            at = parent
        heard.reverse()
        return heard

    def _parent(self, entry: Entry) -> Entry | None:
        place = place_of(entry)
        parent = self._placed.get(place.after) if place is not None and place.after is not None else None
        if parent is None or _position(parent) != _position(entry) - 1 or root_of(parent) > root_of(entry):
            return None
        return parent

    def _hear(self, entry: Entry) -> None:
        """Let a record that counts say what it says; it comes after all that were heard before."""
        self.counted.add(entry.id)
        if isinstance(entry, VerifiedHead):
            self._hear_head(entry)
        elif says(entry, Attestation):
            self.attestations.setdefault(entry.said.release, []).append(entry)
        elif says(entry, Collection):
            self.collections[entry.said.name] = entry
        elif says(entry, Delegation):
            self.delegations[entry.said.names] = entry
        elif says(entry, KeyBinding):
            self.bindings[entry.said.purpose] = entry

    def hear_loose(self, head: VerifiedHead) -> None:
        """Let a head outside the log count, if it is believed."""
        if self.believes(head):
            self._hear_head(head)

    def _hear_head(self, entry: VerifiedHead) -> None:
        self.named.setdefault(entry.head.release, entry)
        known = self.heads.get(entry.head.name)
        if known is None or _newness(entry) > _newness(known):
            self.heads[entry.head.name] = entry

    def _revoke_release(self, entry: Verified[ReleaseRevocation]) -> None:
        known = self.revoked.get(entry.said.release)
        if known is None or _rank(entry) > _rank(known):
            self.revoked[entry.said.release] = entry

    def _authority(self, entry: Entry) -> tuple[frozenset[str], int]:
        delegation = entry.signers.delegation
        if delegation is not None:
            found = self._placed.get(delegation)
            if found is None or not isinstance(found.said, Delegation):
                return frozenset(), 1
            return frozenset(found.said.keys), found.said.threshold
        root = self._chain.at(root_of(entry))
        return frozenset(root.keys), root.threshold


class _Paths:
    """Which record is at a position, on the way down from a record: by what each says of the one before it."""

    def __init__(self, placed: Mapping[bytes, Entry]) -> None:
        self._placed: Final = placed
        self._paths: Final[list[tuple[dict[int, bytes], int]]] = []
        self._found: Final[dict[bytes, dict[int, bytes]]] = {}

    def at(self, last: bytes, top: int, position: int) -> bytes | None:
        """Return the id at `position`, on the way down from `last`, the record at `top`; None when one is missing."""
        if position > top:
            return None
        path = self._found.get(last)
        if path is None:
            path = self._found[last] = self._walk(last, top)
        return path.get(position)

    def _walk(self, last: bytes, top: int) -> dict[int, bytes]:
        fresh: dict[int, bytes] = {}
        at: bytes | None = last
        position = top
        while at is not None and position > 0:
            for number, (path, end) in enumerate(self._paths):
                if path.get(position) == at:
                    if end == position:  # goes on where that one ends: one path for both
                        path.update(fresh)
                        self._paths[number] = (path, top)
                        return path
                    joined = {place: found for place, found in path.items() if place <= position} | fresh
                    self._paths.append((joined, top))
                    return joined
            fresh[position] = at
            entry = self._placed.get(at)
            place = None if entry is None else place_of(entry)
            if place is None or place.position != position:
                break
            at, position = place.after, position - 1
        self._paths.append((fresh, top))
        return fresh


def _position(entry: Entry) -> int:
    place = place_of(entry)
    return place.position if place is not None else 0


def _rank(entry: Entry) -> tuple[int, int]:
    return root_of(entry), _position(entry)


def _firmness(entry: Verified[KeyRevocation]) -> tuple[int, int, int, bytes]:
    """Of revocations of one key the least one holds: of the newest root, the one that leaves least to the key."""
    return -root_of(entry), entry.said.through, _position(entry), entry.id


def _newness(head: VerifiedHead) -> tuple[int, int, bool, bool, bytes]:
    """Of heads of one name the greatest is the newest; the last two matter where a fork was lifted, to be no chance."""
    said = head.head
    return said.root, said.sequence, said.delegation is None, said.place is not None, head.id
