"""One iterative lookup: whom to ask next, until the k closest peers have all answered. Answers in, questions out.

    seeds ──► candidates ──next()──► asked ──answered()──► heard
                  ▲                    │ └────failed()───► dead
                  └── closer peers ◄───┘

Invariants:
1. A peer is asked once. At most `KAD_ALPHA` are asked at a time, and `MAX_LOOKUP` in all.
2. It ends when the k closest of all peers that are not dead were heard, or nobody is left to ask.
3. What a peer tells is a claim: it makes others candidates, and nothing else.

Source: Maymounkov and Mazières, "Kademlia", §2.3; libp2p kad-dht specification; specs/network.md, "Lookup".
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto
from typing import Final, final

from samara.protocol.contacts import Contact
from samara.protocol.kad.messages import position
from samara.protocol.limits import KAD_ALPHA, KAD_BUCKET, MAX_LOOKUP
from samara.protocol.peers import parse_peer_id

__all__ = ["Lookup"]

_MOST_CANDIDATES: Final = 4 * MAX_LOOKUP


class _State(Enum):
    CANDIDATE = auto()
    ASKED = auto()
    HEARD = auto()
    DEAD = auto()


class _Peer:
    __slots__ = ("contact", "distance", "state")

    def __init__(self, contact: Contact, distance: int) -> None:
        self.contact = contact
        self.distance = distance
        self.state = _State.CANDIDATE


@final
class Lookup:
    """The state of one lookup.

    Args:
        own: Our own peer id, which is never asked.
        target: The position that is looked for.
        seeds: Peers to begin with.
    """

    def __init__(self, own: str, target: int, seeds: Iterable[Contact]) -> None:
        self._own = own
        self._target = target
        self._peers: dict[str, _Peer] = {}
        self._asked = 0
        self._take(seeds)

    @property
    def waiting(self) -> int:
        """How many peers are being asked."""
        return sum(peer.state is _State.ASKED for peer in self._peers.values())

    @property
    def done(self) -> bool:
        """Nobody is being asked, and nobody is left to ask."""
        return not self.waiting and self._nearest_candidate() is None

    def next(self) -> Contact | None:
        """Return the next peer to ask, or None while enough are being asked or nobody is left."""
        if self.waiting >= KAD_ALPHA:
            return None
        peer = self._nearest_candidate()
        if peer is None:
            return None
        peer.state = _State.ASKED
        self._asked += 1
        return peer.contact

    def answered(self, peer: str, closer: Iterable[Contact]) -> None:
        """Take the answer of a peer that `next` returned."""
        self._peers[peer].state = _State.HEARD
        self._take(closer)

    def failed(self, peer: str) -> None:
        """Note that a peer that `next` returned did not answer."""
        self._peers[peer].state = _State.DEAD

    def closest(self) -> list[Contact]:
        """Return the up to k closest peers that answered, closest first."""
        heard = (peer for peer in self._peers.values() if peer.state is _State.HEARD)
        return [peer.contact for peer in sorted(heard, key=lambda peer: peer.distance)[:KAD_BUCKET]]

    def _nearest_candidate(self) -> _Peer | None:
        """Return the nearest peer that was not asked, when it is among the k nearest that are not dead."""
        if self._asked >= MAX_LOOKUP:
            return None
        alive = sorted(
            (peer for peer in self._peers.values() if peer.state is not _State.DEAD), key=lambda peer: peer.distance
        )
        return next((peer for peer in alive[:KAD_BUCKET] if peer.state is _State.CANDIDATE), None)

    def _take(self, contacts: Iterable[Contact]) -> None:
        for contact in contacts:
            known = self._peers.get(contact.peer)
            if known is not None and known.state is _State.CANDIDATE:
                merged = dict.fromkeys((*known.contact.addresses, *contact.addresses))
                known.contact = Contact(contact.peer, tuple(merged))
            elif known is None and contact.peer != self._own and len(self._peers) < _MOST_CANDIDATES:
                distance = position(parse_peer_id(contact.peer)) ^ self._target
                self._peers[contact.peer] = _Peer(contact, distance)
