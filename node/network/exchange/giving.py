"""Whether chunks are given to peers now, and how many bytes of them are left to give.

Who is about to send chunks has them promised first, and lets go of the promise when they went out or will not. So
sessions that send at the same time do not exceed together what each of them may send alone. What really moved is
counted at the socket: nobody uses it up by asking and not reading.

Source: specs/exchange.md, "NOT_FOUND, BUSY, REFUSED".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, final

from samara.node.network.caps import TokenBucket
from samara.protocol.limits import MAX_RETRY_MS

__all__ = ["Giving"]

_LONGEST: Final = MAX_RETRY_MS / 1000
_UNKNOWN: Final = 600.0
"""Seconds until a peer is to ask again when nobody knows how long nothing is given."""
_SHORTEST: Final = 1.0


@final
class Giving:
    """What a node gives.

    Args:
        upload: Counts what went up.

    Attributes:
        most: Bytes that go up in all until no more chunks are given; None for no cap.
    """

    def __init__(self, upload: TokenBucket | None = None) -> None:
        self.most: int | None = None
        self._upload = upload or TokenBucket()
        self._promised = 0
        self._closed = False
        self._back_at: float | None = None
        self._serving: dict[object, Callable[[], None]] = {}

    @property
    def given(self) -> int:
        """Bytes that went up so far."""
        return self._upload.passed

    @property
    def open(self) -> bool:
        """Whether chunks are given."""
        return not self._closed and not self._is_used_up()

    def set_closed(self, closed: bool, back_at: float | None = None) -> None:
        """Give chunks from now on, or none; sessions that send some are told to stop.

        Args:
            closed: Whether none are given.
            back_at: When they will be given again, on the clock of `retry_after`; None when nobody knows.
        """
        self._back_at = back_at
        if closed and not self._closed:
            for stop in list(self._serving.values()):
                stop()
        self._closed = closed

    def retry_after(self, now: float) -> float | None:
        """Return the seconds after which a peer is to ask again; None when chunks are given now."""
        if self._closed:
            ahead = _UNKNOWN if self._back_at is None else self._back_at - now
            return min(max(ahead, _SHORTEST), _LONGEST)
        return _LONGEST if self._is_used_up() else None

    def begin(self, session: object, stop: Callable[[], None]) -> None:
        """Take note that a session sends chunks, and how it is stopped."""
        self._serving[session] = stop

    def end(self, session: object) -> None:
        """Take note that a session sends none any more."""
        self._serving.pop(session, None)

    def promise(self, sizes: Sequence[int]) -> int:
        """Promise chunks of these sizes in bytes, as many of the first of them as may be given; return how many."""
        count = 0
        for size in sizes:
            if self.most is not None and self.given + self._promised + size > self.most:
                break
            self._promised += size
            count += 1
        return count

    def let_go(self, size: int) -> None:
        """Let go of a promise of so many bytes: they went out, or will not."""
        self._promised -= size

    def _is_used_up(self) -> bool:
        return self.most is not None and self.given >= self.most
