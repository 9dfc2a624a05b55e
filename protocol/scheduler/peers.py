"""One peer of a fetch and the requests that it has open. Bookkeeping only: `scheduler` decides.

Invariants: a request lies in one page, so that its chunks are bits of one small integer;
`owed_bytes` and `owed_chunks` are the sums over its requests; a peer that owes nothing has no request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, final

from samara.protocol.limits import UNPROVEN_CHUNKS
from samara.protocol.scheduler.holdings import Holdings
from samara.protocol.scheduler.news import Want
from samara.protocol.scheduler.pace import Pace

__all__ = ["Peer", "Request", "positions"]


_LIVELY: Final = 1.0
"""Seconds of silence of a peer that owes something, from which on nobody relies on it."""


@final
@dataclass(slots=True, eq=False)
class Request:
    """A want that a peer was given. Bit n of each mask is chunk n of its run.

    Attributes:
        peer: Who was asked.
        want: For what.
        position: Position of its first chunk.
        owed: Chunks that the peer has not sent.
        moot: Those of them that came from elsewhere.
    """

    peer: Peer
    want: Want
    position: int
    owed: int
    moot: int = 0

    @property
    def due(self) -> int:
        """Chunks that are owed and still missing."""
        return self.owed & ~self.moot


@final
@dataclass(slots=True, eq=False)
class Peer:
    """A known peer.

    Attributes:
        name: Its peer id.
        pace: Its speed, window and clocks.
        holdings: What it claims.
        max_requests: How many wants its session takes at a time.
        since: When it came (seconds).
        has_given: It has given right nodes of the content's lists.
        unproven: How many chunks it may owe until it is proven.
        requests: Its open requests, oldest first.
        owed_bytes: Bytes that it owes, moot ones included.
        owed_chunks: Chunks that it owes.
        count: Chunks that it was seen to claim.
        grown: When it was first seen to have as much as it has (seconds), as far as anybody looked.
        misses: Wants in a row that it could not or would not answer.
        rests_until: When it may be asked again (seconds), or None.
        is_slow: It does not keep up: nothing is left to it that it could get and pass on.
        looks_again: When it may look again for others' work to help with (seconds), or None.
    """

    name: str
    pace: Pace
    holdings: Holdings
    max_requests: int
    since: float
    has_given: bool = False
    unproven: int = UNPROVEN_CHUNKS
    requests: dict[Want, Request] = field(default_factory=dict)
    owed_bytes: int = 0
    owed_chunks: int = 0
    count: int = -1
    grown: float = 0.0
    misses: int = 0
    is_slow: bool = False
    rests_until: float | None = None
    looks_again: float | None = None

    def may_be_asked(self, now: float) -> bool:
        """Say whether its rest is over and enough of its window is free for a run that is worth asking for."""
        if self.rests_until is not None and now < self.rests_until:
            return False
        return self.room() > 0 and self.pace.window - self.owed_bytes >= self.pace.window // 4

    def is_awake(self, now: float) -> bool:
        """Say whether it is not at rest, and has not kept us waiting just now."""
        rests = self.rests_until is not None and now < self.rests_until
        return not rests and (not self.requests or self.pace.silence(now) < _LIVELY)

    def is_lively(self, now: float) -> bool:
        """Say whether it is awake, and proven."""
        return self.pace.is_proven and self.is_awake(now)

    def grows_to(self, count: int, now: float) -> int:
        """Take note of how many chunks it claims now, and return it."""
        if count > self.count:
            self.count, self.grown = count, now
        return count

    def looks_later(self, now: float) -> bool:
        """Say whether it has looked just now for work that is not its own."""
        return self.looks_again is not None and now < self.looks_again

    def room(self) -> int:
        """Return the bytes that it may be asked for now, as long as it has requests and chunks left."""
        if len(self.requests) >= self.max_requests or self.chunks_left() <= 0:
            return 0
        return self.pace.window - self.owed_bytes

    def chunks_left(self) -> int:
        """Return how many chunks more it may be asked for by one want; unbounded, once it is proven.

        Until then wants are small: the first that is answered proves it, while others are on their way.
        """
        return 1 << 30 if self.pace.is_proven else min(UNPROVEN_CHUNKS, self.unproven - self.owed_chunks)

    def open(self, request: Request, size: int, now: float) -> None:
        """Let the peer owe a new request of `size` bytes."""
        if not self.requests:
            self.pace.asked(now)
        self.requests[request.want] = request
        self.owed_bytes += size
        self.owed_chunks += request.want.count

    def settle(self, request: Request, mask: int, lengths: Sequence[int]) -> None:
        """Let the peer not owe the chunks of `mask` any more; a request that owes nothing is closed."""
        request.owed &= ~mask
        self.owed_chunks -= mask.bit_count()
        self.owed_bytes -= sum(lengths[position] for position in positions(request, mask))
        if not request.owed:
            del self.requests[request.want]

    def carries(self, position: int) -> Request | None:
        """Return the open request by which it owes a chunk, if any; O(requests)."""
        for request in self.requests.values():
            offset = position - request.position
            if 0 <= offset < request.want.count and request.owed >> offset & 1:
                return request
        return None

    def finish_in(self, now: float) -> float:
        """Return the seconds until it has sent what it owes.

        At its rate; not less than it has been silent for, nor than it is busy for.
        """
        rate = self.pace.rate
        rest = 0.0 if self.rests_until is None else self.rests_until - now
        return max(self.pace.silence(now), rest, 0.0 if rate is None else self.owed_bytes / max(rate, 1.0))

    def would_take(self, size: int, now: float) -> float:
        """Return the seconds until it has sent `size` bytes more than it owes; who owes and is silent stays so."""
        return max(self.pace.silence(now) if self.requests else 0.0, self.pace.seconds_for(self.owed_bytes + size))


def positions(request: Request, mask: int) -> list[int]:
    """Return the positions of the chunks of `mask`, ascending."""
    found = []
    while mask:
        bit = mask & -mask
        found.append(request.position + bit.bit_length() - 1)
        mask ^= bit
    return found
