"""Who is served chunks now, and who hears BUSY.

Slots are few when the upload is capped, so that each session that is served gets more than a stalled peer would give:
better a few that are quick than many that time out. Sessions take turns: one that has held its slot for long gives way
as soon as another was turned away.
"""

from __future__ import annotations

from typing import Final, final

from samara.protocol.limits import PROGRESS_RATE

__all__ = ["UploadSlots"]

_LEAST_RATE: Final = 2 * PROGRESS_RATE
"""Bytes a second for each session: twice what a peer must move so as not to stall."""


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
        self._since: dict[object, float] = {}
        self._turned_away = False

    @property
    def held(self) -> int:
        """Sessions that hold a slot."""
        return len(self._since)

    def take(self, session: object, rate: float | None, now: float) -> bool:
        """Take a slot, or go on holding it.

        Args:
            session: Who wants it.
            rate: The cap on the upload, in bytes a second, or None.
            now: The time in seconds.

        Returns:
            False when the session must hear BUSY; it then holds no slot.
        """
        since = self._since.get(session)
        if since is not None:
            if not self._turned_away or now - since < self._turn:
                return True
            self.give_back(session)
            return False
        if self.held >= self._limit(rate):
            self._turned_away = True
            return False
        self._since[session] = now
        self._turned_away = False
        return True

    def give_back(self, session: object) -> None:
        """Let go of a slot; without effect for who holds none."""
        self._since.pop(session, None)

    def _limit(self, rate: float | None) -> int:
        return self._most if rate is None else max(1, min(self._most, int(rate / _LEAST_RATE)))
