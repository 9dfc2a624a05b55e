"""What a connection makes this node do, and how it rests for it: nobody has more of our time than a share.

Bulk pays for itself. What brings few bytes costs effort: a frame, a read or write of a few bytes, a stream. A
connection has some of it for nothing; beyond that it is not read until the node, which has only so much for all of
them, has had time for it. They take turns in slices, so that whoever asks for little waits for little.

Source: specs/transport.md, "Effort".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, final

import trio

from samara.node.network.caps import TokenBucket
from samara.protocol.limits import (
    EFFORT_BYTES,
    EFFORT_FREE,
    EFFORT_FREE_A_SECOND,
    EFFORT_OF_A_FEW_BYTES,
    EFFORT_OF_A_STREAM,
)

__all__ = ["Effort"]

_SLICE: Final = 250


@final
class Effort:
    """That of one connection.

    Args:
        shared: What the node has for all of them, in units of effort.
        clock: Returns the time in seconds.
    """

    def __init__(self, shared: TokenBucket, clock: Callable[[], float] = trio.current_time) -> None:
        self._shared = shared
        self._clock = clock
        self._left: float = EFFORT_FREE
        self._filled_at = clock()

    def frames(self, count: int) -> None:
        """Take note of frames that were heard."""
        self._left -= count

    def stream(self) -> None:
        """Take note of a stream that the peer opened and is served on."""
        self._left -= EFFORT_OF_A_STREAM

    def moved(self, count: int, *, bulk: bool = False) -> None:
        """Take note of bytes that were read or written at a time.

        Args:
            count: How many.
            bulk: Whether somebody waits for just these, however few they are at a time.
        """
        if count < EFFORT_BYTES and not bulk:
            self._left -= EFFORT_OF_A_FEW_BYTES
        self._left = min(self._left + count / EFFORT_BYTES, EFFORT_FREE)

    async def rest(self) -> None:
        """Wait until there is time for what was done already; at once when little was."""
        now = self._clock()
        self._left = min(self._left + (now - self._filled_at) * EFFORT_FREE_A_SECOND, EFFORT_FREE)
        self._filled_at = now
        while self._left < 0:
            piece = min(math.ceil(-self._left), _SLICE)
            await self._shared.acquire(piece)
            self._left += piece

    @property
    def in_debt(self) -> bool:
        """Whether it has done more than there was time for."""
        return self._left < 0
