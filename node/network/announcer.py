"""Keeps a set of keys announced in the DHT: at once when a key is new, again every few hours, with jitter.

Invariants:
1. A key that could not be announced is tried again, later each time, and holds up no other.
2. Announcements of many keys are spread: a few at a time, and re-announcements at times of their own.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, final

import trio

from samara.node.network.transport import Routing
from samara.protocol.errors import NetworkError

__all__ = ["Announcer"]

_log = logging.getLogger(__name__)

_INTERVAL: Final = 6 * 3600.0
"""Seconds: a fourth of what others keep a record for, so that a missed one or two do no harm."""
_JITTER: Final = 0.2
_FIRST_RETRY: Final = 5.0
_LAST_RETRY: Final = 600.0
_AT_ONCE: Final = 4


@dataclass(slots=True)
class _Due:
    moment: float
    retry: float = _FIRST_RETRY
    announced: bool = False
    busy: bool = False


@final
class Announcer:
    """Announces keys.

    Args:
        routing: Where.
        interval: Seconds between two announcements of one key.
        rng: Where the jitter comes from.
    """

    def __init__(self, routing: Routing, *, interval: float = _INTERVAL, rng: random.Random | None = None) -> None:
        self._routing = routing
        self._interval = interval
        self._rng = rng or random.Random()  # noqa: S311 - jitter
        self._keys: dict[bytes, _Due] = {}
        self._changed = trio.Event()
        self._limiter = trio.CapacityLimiter(_AT_ONCE)

    @property
    def announced(self) -> frozenset[bytes]:
        """The keys that peers have taken, and that are still ours to announce."""
        return frozenset(key for key, due in self._keys.items() if due.announced)

    def set_keys(self, keys: Iterable[bytes]) -> None:
        """Announce these keys from now on, and no others; those that are new at once."""
        wanted = set(keys)
        for key in self._keys.keys() - wanted:
            del self._keys[key]
        for key in wanted - self._keys.keys():
            self._keys[key] = _Due(float("-inf"))
        self._wake()

    def announce_again(self) -> None:
        """Announce all keys anew, soon: our addresses have changed."""
        for due in self._keys.values():
            due.moment, due.retry = float("-inf"), _FIRST_RETRY
        self._wake()

    async def run(self) -> None:
        """Announce until cancelled; may be run again after it failed."""
        for due in self._keys.values():
            due.busy = False
        async with trio.open_nursery() as nursery:
            while True:
                changed = self._changed
                now = trio.current_time()
                waiting = [(key, due) for key, due in self._keys.items() if not due.busy]
                for key, due in waiting:
                    if due.moment <= now:
                        due.busy = True
                        nursery.start_soon(self._announce, key, due)
                following = min((due.moment for _, due in waiting if not due.busy), default=float("inf"))
                with trio.move_on_at(following):
                    await changed.wait()

    async def _announce(self, key: bytes, due: _Due) -> None:
        async with self._limiter:
            if self._keys.get(key) is not due:
                return
            try:
                await self._routing.provide(key)
            except NetworkError as error:
                _log.debug("announcing %s: %s", key.hex()[:12], error)
                pause = due.retry
                due.retry = min(due.retry * 2, _LAST_RETRY)
            else:
                pause, due.retry, due.announced = self._interval, _FIRST_RETRY, True
        due.moment = trio.current_time() + pause * (1 + _JITTER * (self._rng.random() - 0.5))
        due.busy = False
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
