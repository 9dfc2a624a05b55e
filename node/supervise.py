"""Services under one nursery: a service that fails is logged and started again, later each time; the others go on."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import trio

__all__ = ["supervise"]

_log = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0


async def supervise(name: str, service: Callable[[], Awaitable[None]]) -> None:
    """Run a service until it returns; after an exception start it again, after a pause that doubles.

    Args:
        name: For the log.
        service: Is awaited; returning means that it is done.
    """
    pause = _FIRST_PAUSE
    while True:
        started = trio.current_time()
        try:
            await service()
        except Exception:
            _log.exception("service %s failed; it starts again in %.0f s", name, pause)
        else:
            return
        await trio.sleep(pause)
        lived = trio.current_time() - started
        pause = _FIRST_PAUSE if lived > 10 * _LONGEST_PAUSE else min(pause * 2, _LONGEST_PAUSE)
