"""What a worker thread of trio's asks: whether whoever waits for it has been cancelled.

Blocking work (the store, the scanner) knows no event loop. It takes a `cancelled` function and asks it now and then;
this is the one to give it.
"""

from __future__ import annotations

import contextlib

import trio

__all__ = ["is_cancelled"]


def is_cancelled() -> bool:
    """Return False, or raise `trio.Cancelled` through the work, which cleans up and ends.

    Outside a thread of trio's nobody can cancel.
    """
    with contextlib.suppress(RuntimeError):
        trio.from_thread.check_cancelled()
    return False
