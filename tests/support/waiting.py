"""Tests that may not hang."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any

import trio

__all__ = ["in_time"]

Test = Callable[..., Awaitable[None]]


def in_time(test: Test) -> Test:
    """Let a test fail when it takes two minutes."""

    @functools.wraps(test)
    async def bounded(*arguments: Any, **named: Any) -> None:
        with trio.fail_after(120):
            await test(*arguments, **named)

    return bounded
