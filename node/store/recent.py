"""What was used last, as much of it as may be in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar, final

__all__ = ["Recent"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@final
class Recent(Generic[K, V]):
    """The values that were used last. One that alone is too heavy is kept while it is the last one.

    Threads may share it.

    Args:
        most: What they may weigh together.
        weight: What one weighs.
    """

    def __init__(self, most: int, weight: Callable[[V], int] = lambda value: 1) -> None:
        self._most = most
        self._weight = weight
        self._weighs = 0
        self._values: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: K) -> V | None:
        """Return a value, or None."""
        with self._lock:
            found = self._values.get(key)
            if found is not None:
                self._values.move_to_end(key)
            return found

    def put(self, key: K, value: V) -> None:
        """Keep a value, and forget those that were not used for longest."""
        with self._lock:
            if key in self._values:
                self._weighs -= self._weight(self._values.pop(key))
            self._values[key] = value
            self._weighs += self._weight(value)
            while self._weighs > self._most and len(self._values) > 1:
                self._weighs -= self._weight(self._values.popitem(last=False)[1])

    def forget(self, which: Callable[[K], bool]) -> None:
        """Forget the values of some keys."""
        with self._lock:
            for key in [key for key in self._values if which(key)]:
                self._weighs -= self._weight(self._values.pop(key))
