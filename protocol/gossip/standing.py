"""What is held against the peers of gossip: two counts of each, which are halved by and by.

Source: gossipsub v1.1, "Peer Scoring", P4 and P7; specs/gossip.md, "Standing".
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, final

from samara.protocol.limits import GOSSIP_BREACHES, GOSSIP_FORGIVES, GOSSIP_REJECTED, MAX_GOSSIP_SCORES

__all__ = ["Standing", "Standings"]

_TOLERATED: Final = 6
"""Breaches of who may be in a mesh: clients differ, and what was promised is lost on bad lines."""


class Standing(enum.IntEnum):
    """How it stands with a peer."""

    OUTCAST = 0
    """It is not listened to."""
    POOR = 1
    """It is in no mesh, and its gossip counts for nothing."""
    GOOD = 2


@dataclass(slots=True)
class _Counts:
    rejected: float
    breaches: float
    at: float


@final
class Standings:
    """The counts of all peers; those that go are remembered, up to `MAX_GOSSIP_SCORES`."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, _Counts] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    def of(self, peer: str, now: float) -> Standing:
        """Return how it stands with a peer."""
        if peer not in self._counts:
            return Standing.GOOD
        counts = self._now(peer, now)
        # Rounded: what is halved by and by would else be less than what makes the difference a moment later.
        rejected, breaches = round(counts.rejected), round(counts.breaches)
        if rejected >= GOSSIP_REJECTED or breaches >= GOSSIP_BREACHES:
            return Standing.OUTCAST
        return Standing.POOR if rejected or breaches >= _TOLERATED else Standing.GOOD

    def rejected(self, peer: str, now: float) -> bool:
        """Count a message that was rejected; return whether it makes the peer an outcast."""
        before = self.of(peer, now)
        self._now(peer, now).rejected += 1.0
        return before is not Standing.OUTCAST and self.of(peer, now) is Standing.OUTCAST

    def breach(self, peer: str, now: float, weight: float = 1.0) -> None:
        """Count a breach of the protocol."""
        self._now(peer, now).breaches += weight

    def _now(self, peer: str, now: float) -> _Counts:
        counts = self._counts.setdefault(peer, _Counts(0.0, 0.0, now))
        self._counts.move_to_end(peer)
        left = 0.5 ** (max(now - counts.at, 0.0) / GOSSIP_FORGIVES)
        counts.rejected, counts.breaches, counts.at = counts.rejected * left, counts.breaches * left, now
        if len(self._counts) > MAX_GOSSIP_SCORES:
            self._counts.popitem(last=False)
        return counts
