"""Caps on bandwidth: a bucket for all that goes up, one for all that comes down, and the same again for each peer.

A bucket fills at its rate and holds a tenth of a second of it. Who moves n bytes takes n out first and waits until the
bucket is no longer in debt, first come first served. So the average is exact from the first byte on, a burst is small,
and an amount larger than the bucket is no special case.

Bytes pass the bucket of their peer first and then that of the node, so that who waits for a peer holds up no other. All
connections of one peer share its buckets: more of them give it no more.

At a rate of 0 a trickle passes: what keeps connections and small answers alive. Who would move bulk looks at the rate.

Source: specs/transport.md, "Caps".
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import Final, final

import trio

from samara.protocol.limits import TRICKLE

__all__ = ["Caps", "Passage", "Pauses", "PeerCaps", "TokenBucket"]

_BURST_SECONDS: Final = 0.1
_SHORTEST_WAIT: Final = 1e-6
"""Seconds: a debt so small that the clock cannot tell it from now would be waited for forever. What is overslept is
saved, so the average stays exact."""

_SMALLEST_PIECE: Final = 2 << 10
_LARGEST_PIECE: Final = 1 << 20


@final
class TokenBucket:
    """Lets bytes through at a rate that may change while it runs.

    Args:
        rate: Bytes a second, 0 for no more than a trickle, or None for no cap.
        clock: Returns the time in seconds; by default trio's.
    """

    def __init__(self, rate: float | None = None, clock: Callable[[], float] = trio.current_time) -> None:
        _check(rate)
        self._rate = rate
        self._clock = clock
        self._level = 0.0
        self._filled_at: float | None = None  # None until first used: the clock may not run yet
        self._turn = trio.Lock()
        self._changed = trio.Event()
        self._stops = 0
        self.passed = 0
        """Bytes that were let through so far."""

    @property
    def rate(self) -> float | None:
        """Bytes a second, or None for no cap."""
        return self._rate

    @property
    def piece(self) -> int | None:
        """How many bytes to move at a time so that they flow evenly; None without a cap."""
        if self._rate is None:
            return None
        return max(_SMALLEST_PIECE, min(int(self._flow * _BURST_SECONDS), _LARGEST_PIECE))

    @property
    def _flow(self) -> float:
        return self._rate or TRICKLE

    def set_rate(self, rate: float | None) -> None:
        """Change the cap, from the loop's own thread; whoever waits is served at the new rate from now on.

        With a rate of 0 those who wait are let through at once: what is sealed must be sent, or the connection would
        stand still, and at the pace of a trickle it would for minutes.

        Args:
            rate: Bytes a second, 0 for no more than a trickle, or None for no cap.

        Raises:
            ValueError: The rate is below 0.
        """
        _check(rate)
        if rate == self._rate:
            return
        self._fill()
        self._rate = rate
        if rate == 0:
            self._stops += 1
            self._level = max(self._level, 0.0)
        self._wake()

    async def acquire(self, count: int) -> None:
        """Wait until `count` bytes may move. When cancelled, they count as not moved."""
        if self._rate is None and not self._turn.locked():
            await trio.lowlevel.checkpoint_if_cancelled()
            self.passed += count
            return
        stops = self._stops
        async with self._turn:
            if stops == self._stops:
                self._fill()
                self._level -= count
                try:
                    await self._out_of_debt(stops)
                except BaseException:
                    self._level += count
                    raise
        self.passed += count

    def charge(self, count: int) -> None:
        """Count bytes that moved already; with a cap, those who come next wait for them."""
        self.passed += count
        if self._rate is not None:
            self._fill()
            self._level -= count

    def give_back(self, count: int) -> None:
        """Take back bytes that were let through and did not move; who waits need not wait for them."""
        self.charge(-count)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _out_of_debt(self, stops: int) -> None:
        while self._rate is not None:
            self._fill()
            if self._level >= 0 or stops != self._stops:
                return
            changed = self._changed
            with trio.move_on_after(max(-self._level / self._flow, _SHORTEST_WAIT)):
                await changed.wait()
        self._level = 0.0

    def _fill(self) -> None:
        if self._rate is None:
            self._filled_at = None
            return
        now = self._clock()
        if self._filled_at is not None:
            earned = (now - self._filled_at) * self._flow
            self._level = min(self._level + earned, self._flow * _BURST_SECONDS)
        self._filled_at = now


@final
class Passage:
    """Buckets that bytes pass one after another.

    Args:
        buckets: Those that hold up the fewest others first.
    """

    def __init__(self, *buckets: TokenBucket) -> None:
        self._buckets = buckets

    @property
    def piece(self) -> int | None:
        """How many bytes to move at a time; None when none of the buckets has a cap."""
        return min((bucket.piece for bucket in self._buckets if bucket.piece is not None), default=None)

    async def acquire(self, count: int) -> None:
        """Wait until `count` bytes may move. When cancelled, they count as not moved."""
        done: list[TokenBucket] = []
        try:
            for bucket in self._buckets:
                await bucket.acquire(count)
                done.append(bucket)
        except BaseException:
            for bucket in done:
                bucket.give_back(count)
            raise

    def charge(self, count: int) -> None:
        """Count bytes that moved already."""
        for bucket in self._buckets:
            bucket.charge(count)

    def give_back(self, count: int) -> None:
        """Take back bytes that were let through and did not move."""
        for bucket in self._buckets:
            bucket.give_back(count)


@final
class PeerCaps:
    """What passes to and from one peer; all its connections share it.

    Args:
        node: The caps of the node.
        upload: The peer's own cap on what goes up to it, in bytes a second, or None.
        download: The same of what comes from it.
    """

    def __init__(self, node: Caps, upload: float | None, download: float | None) -> None:
        self._own = (TokenBucket(upload), TokenBucket(download))
        self.upload = Passage(self._own[0], node.upload)
        self.download = Passage(self._own[1], node.download)

    def set_rates(self, upload: float | None, download: float | None) -> None:
        """Change the peer's own caps."""
        self._own[0].set_rate(upload)
        self._own[1].set_rate(download)


@final
class Caps:
    """The caps of a node, which all its connections share, and those of each peer.

    Args:
        upload: On what goes up.
        download: On what comes down.
        peer_upload: On what goes up to one peer, in bytes a second; None for no cap.
        peer_download: On what comes from one peer.
    """

    def __init__(
        self,
        upload: TokenBucket | None = None,
        download: TokenBucket | None = None,
        *,
        peer_upload: float | None = None,
        peer_download: float | None = None,
    ) -> None:
        self.upload = upload or TokenBucket()
        self.download = download or TokenBucket()
        self._peer_rates = (peer_upload, peer_download)
        # A peer's go with its last connection. It gains nothing by coming anew: a bucket begins empty.
        self._peers: weakref.WeakValueDictionary[str, PeerCaps] = weakref.WeakValueDictionary()

    def of_peer(self, peer: str) -> PeerCaps:
        """Return the caps of a peer; the same as long as somebody has them."""
        found = self._peers.get(peer)
        if found is None:
            found = self._peers[peer] = PeerCaps(self, *self._peer_rates)
        return found

    def set_peer_rates(self, upload: float | None, download: float | None) -> None:
        """Change the caps that each peer has for itself, in bytes a second; None for no cap."""
        self._peer_rates = (upload, download)
        for caps in list(self._peers.values()):
            caps.set_rates(upload, download)


@final
class Pauses:
    """Counts the time in which something was held back on purpose."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        """All of it so far, with the pause that lasts."""
        return self._seconds + (trio.current_time() - self._since if self._since is not None else 0.0)

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Count the time that the block takes; blocks do not overlap."""
        self._since = trio.current_time()
        try:
            yield
        finally:
            self._seconds, self._since = self.seconds, None


def _check(rate: float | None) -> None:
    if rate is not None and not rate >= 0:
        raise ValueError(f"a cap of {rate} bytes a second: it must not be below 0, or be None")
