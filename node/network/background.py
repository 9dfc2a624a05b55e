"""A nursery for the services of a block, whose own exceptions come out as they are."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import trio

__all__ = ["open_background"]


@contextlib.asynccontextmanager
async def open_background() -> AsyncIterator[trio.Nursery]:
    """Open a nursery that is cancelled when the block ends.

    What the block raises is raised as it is, not within an `ExceptionGroup` as a nursery would: its caller handles the
    errors of its own code. What a service raises ends the block, and is in a group.
    """
    failed: Exception | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield nursery
        except Exception as error:
            failed = error
        finally:
            nursery.cancel_scope.cancel()
    if failed is not None:
        raise failed
