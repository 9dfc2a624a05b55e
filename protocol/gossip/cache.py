"""What a router remembers of messages: which it has seen, and those that others may still ask for.

Both are bounded, in number or in bytes, whoever sends whatever.

Source: gossipsub v1.0, "Message Cache"; specs/gossip.md, "Router".
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field
from typing import Final, final

from samara.protocol.gossip.messages import encode_message
from samara.protocol.limits import GOSSIP_SEEN, MAX_GOSSIP_CACHE, MAX_GOSSIP_IDS

__all__ = ["Kept", "MessageCache", "Seen"]

_WINDOWS: Final = 5
"""Heartbeats for which a message is kept, as others have it."""

_TOLD: Final = 3
"""Heartbeats for which its id is told, as others have it."""


@final
class Seen:
    """Ids of messages, each for `GOSSIP_SEEN` seconds."""

    def __init__(self) -> None:
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._until)

    def add(self, one: bytes, now: float) -> None:
        """Remember an id."""
        self._until[one] = now + GOSSIP_SEEN
        self._until.move_to_end(one)
        while len(self._until) > MAX_GOSSIP_IDS or next(iter(self._until.values())) <= now:
            self._until.popitem(last=False)

    def forget(self, one: bytes) -> None:
        """Forget an id: nobody looked at the message."""
        self._until.pop(one, None)

    def has(self, one: bytes, now: float) -> bool:
        """Return whether an id is remembered."""
        return self._until.get(one, now) > now


@final
@dataclass(slots=True)
class Kept:
    """A message that others may ask for.

    Attributes:
        topic: Its topic.
        rpc: An RPC that has it and nothing else.
        given: How often each peer got it because it asked.
    """

    topic: str
    rpc: bytes
    given: Counter[str] = field(default_factory=Counter)


@final
class MessageCache:
    """The messages of the last heartbeats."""

    def __init__(self) -> None:
        self._kept: dict[bytes, Kept] = {}
        self._windows: deque[list[bytes]] = deque([[]], maxlen=_WINDOWS)
        self._size = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> int:
        """Bytes of all of them."""
        return self._size

    def put(self, one: bytes, topic: str, data: bytes) -> Kept:
        """Keep a message; the oldest make room for it. An id is put once."""
        kept = self._kept[one] = Kept(topic, encode_message(topic, data))
        self._size += len(kept.rpc)
        self._windows[0].append(one)
        while self._size > MAX_GOSSIP_CACHE:
            self._drop(next(window for window in reversed(self._windows) if window).pop(0))
        return kept

    def get(self, one: bytes) -> Kept | None:
        """Return a message, or None."""
        return self._kept.get(one)

    def told(self) -> dict[str, list[bytes]]:
        """Return the ids that are told now, by topic."""
        found: dict[str, list[bytes]] = {}
        for window in list(self._windows)[:_TOLD]:
            for one in window:
                found.setdefault(self._kept[one].topic, []).append(one)
        return found

    def shift(self) -> None:
        """Begin a new heartbeat; what is too old goes."""
        if len(self._windows) == _WINDOWS:
            for one in self._windows[-1]:
                self._drop(one)
        self._windows.appendleft([])

    def _drop(self, one: bytes) -> None:
        self._size -= len(self._kept.pop(one).rpc)
