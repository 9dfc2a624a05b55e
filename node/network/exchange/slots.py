"""Who is served chunks now, and who hears BUSY.

Slots are few when the upload is capped, so that each session that is served gets more than a stalled peer would give:
better a few that are quick than many that time out. Sessions take turns: one that has held its slot for long gives way
as soon as another was turned away.

Those who give are served before those who only take: a giver that finds all slots held takes that of whoever gave us
least. A quarter of the slots stays for those who gave nothing yet, so that newcomers can begin to give.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, final

from samara.protocol.limits import MAX_CREDITS_KEPT, PROGRESS_RATE

__all__ = ["Credit", "UploadSlots"]

_LEAST_RATE: Final = 2 * PROGRESS_RATE
"""Bytes a second for each session: twice what a peer must move so as not to stall."""

_LEAST_TURN: Final = 5.0
"""Seconds for which nobody can take a slot from its holder: long enough for a chunk to come through."""

_NEWCOMERS: Final = 4
"""One in so many slots is for those who gave nothing."""

_HALF_LIFE: Final = 600.0
"""Seconds after which what a peer gave counts half: who once gave much has no right for ever."""


@final
class Credit:
    """How much each peer gave us lately, as far as it matters who is served first."""

    def __init__(self) -> None:
        self._given: OrderedDict[str, tuple[float, float]] = OrderedDict()  # bytes, and when they were counted

    def note(self, peer: str, size: int, now: float) -> None:
        """Take note of `size` bytes that came from a peer and were right."""
        self._given[peer] = (self.of(peer, now) + size, now)
        self._given.move_to_end(peer)
        if len(self._given) > MAX_CREDITS_KEPT:
            self._given.popitem(last=False)

    def of(self, peer: str, now: float) -> float:
        """Return the bytes that a peer gave lately; older ones count less."""
        given, counted = self._given.get(peer, (0.0, now))
        return given * math.exp2((counted - now) / _HALF_LIFE)


@final
@dataclass(slots=True)
class _Held:
    """A slot that somebody has: since when, and what the session is worth."""

    since: float
    worth: float


@final
class UploadSlots:
    """The sessions that are served chunks.

    Args:
        most: Sessions at a time, when the cap allows them.
        turn: Seconds after which a session gives way to one that was turned away.
    """

    def __init__(self, most: int = 16, turn: float = 60.0) -> None:
        self._most = most
        self._turn = turn
        self._held: dict[object, _Held] = {}
        self._turned_away = False

    @property
    def held(self) -> int:
        """Sessions that hold a slot."""
        return len(self._held)

    def take(self, session: object, rate: float | None, now: float, worth: float = 0.0) -> bool:
        """Take a slot, or go on holding it.

        Args:
            session: Who wants it.
            rate: The cap on the upload, in bytes a second, or None.
            now: The time in seconds.
            worth: Bytes that its peer gave us lately.

        Returns:
            False when the session must hear BUSY; it then holds no slot.
        """
        held = self._held.get(session)
        if held is not None:
            held.worth = worth
            if not self._turned_away or now - held.since < self._turn:
                return True
            self.give_back(session)
            return False
        limit = self._limit(rate)
        if self.held >= limit and (self.held > limit or not self._make_room(limit, now, worth)):
            self._turned_away = True
            return False
        self._held[session] = _Held(now, worth)
        self._turned_away = False
        return True

    def give_back(self, session: object) -> None:
        """Let go of a slot; without effect for who holds none."""
        self._held.pop(session, None)

    def _make_room(self, limit: int, now: float, worth: float) -> bool:
        """Take a slot from whoever gave least, for one who gave more; that session hears BUSY when it asks again."""
        takers = sum(not held.worth for held in self._held.values())
        rivals = [
            (held.worth, held.since, session)
            for session, held in self._held.items()
            if held.worth < worth and now - held.since >= _LEAST_TURN and (held.worth or takers > limit // _NEWCOMERS)
        ]
        if not rivals:
            return False
        del self._held[min(rivals, key=lambda rival: rival[:2])[2]]
        return True

    def _limit(self, rate: float | None) -> int:
        return self._most if rate is None else max(1, min(self._most, int(rate / _LEAST_RATE)))
