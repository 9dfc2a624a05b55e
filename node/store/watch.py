"""Looks whether places changed on the disk: files that were edited, media that came or went.

A look at a file costs a call of the system, so a place of many files is looked through less often: what looking takes
stays a small part of the time, on a slow disk too. Whether a medium is there costs next to nothing, and is looked at
each time. An edit that is noticed late does no harm: each chunk is hashed before it is served.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final, final

from samara.node.store.contents import Place
from samara.node.store.stamps import Likeness
from samara.node.store.store import Store
from samara.protocol.errors import NotFoundError

__all__ = ["PlaceWatch"]

_SHARE: Final = 500
"""Times as long as a look through a place took pass until the next: looking takes 0.2 % of the time."""

_LONGEST: Final = 1800.0
"""Seconds until the next look through any place."""


@final
class PlaceWatch:
    """Compares the places of a store with the disk.

    Args:
        store: Whose places.
        clock: Seconds, from any beginning on.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._contents = store.contents
        self._clock = clock
        self._due: dict[int, float] = {}  # when each place is looked through again

    def look(self) -> list[Place]:
        """Look at every place, record what changed, and return the places that changed."""
        changed = []
        due: dict[int, float] = {}
        for place in self._contents.places():
            try:
                state = self._look_at(place, due)
            except NotFoundError:
                continue  # it was deleted meanwhile
            if state != place.state:
                self._contents.set_place_state(place, state)
                changed.append(place)
        self._due = due
        return changed

    def _look_at(self, place: Place, due: dict[int, float]) -> str:
        if not place.is_there():
            return "away"
        if place.state == "edited":
            return "edited"  # until it is verified, or fetched anew
        began = self._clock()
        at = self._due.get(place.no, began)
        if place.state == "online" and began < at:
            due[place.no] = at
            return "online"
        state = self._look_through(place)
        now = self._clock()
        due[place.no] = now + min(_SHARE * (now - began), _LONGEST)
        return state

    def _look_through(self, place: Place) -> str:
        table = self._contents.table(place.content)
        doubted = []
        for held in self._contents.files(place).values():
            if held.state != "complete":
                continue  # in the hands of an intake
            try:
                likeness = held.stamp.compare(os.stat(f"{place.root}/{table[held.stream - 1].path}"))
            except OSError:
                return "edited"
            if likeness is Likeness.CHANGED:
                return "edited"
            if likeness is Likeness.DOUBTFUL and held.checked:
                doubted.append(held.stream)
        if doubted:
            self._contents.doubt(place, doubted)
        return "online"
