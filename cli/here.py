"""A node in this process, for as long as a command takes."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from samara.cli.operations import Operations
from samara.node.app import Node, look_at_home, open_node
from samara.node.settings import load_settings
from samara.node.store.home import Home
from samara.protocol.errors import NotFoundError, ReadOnlyError

__all__ = ["run_here"]

Result = TypeVar("Result")


def run_here(home: Home, work: Callable[[Node], Awaitable[Result]], *, looks: bool = False) -> Result:
    """Hold the home, do `work`, and stop cleanly; SIGINT and SIGTERM end it early with nothing lost.

    Args:
        home: Which.
        work: Async function of the node.
        looks: It can do without holding the home, when that cannot be written.

    Raises:
        HomeBusyError: Another process holds the home.
        SamaraError: What `work` raises.
        KeyboardInterrupt: It was interrupted.
    """
    results: list[Result] = []
    stopped: list[int] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(_stop_on_signal, nursery.cancel_scope, stopped)
            async with contextlib.AsyncExitStack() as stack:
                results.append(await work(await _open(home, stack, looks=looks)))
            nursery.cancel_scope.cancel()

    try:
        trio.run(main)
    except BaseExceptionGroup as group:
        raise _only(group) from None
    if stopped and not results:
        raise KeyboardInterrupt
    return results[0]


async def _open(home: Home, stack: contextlib.AsyncExitStack, *, looks: bool) -> Node:
    settings, operations = load_settings(home), Operations()
    try:
        return await stack.enter_async_context(open_node(home, settings, operations))
    except ReadOnlyError as error:
        if not looks:
            raise
        try:
            return await stack.enter_async_context(look_at_home(home, settings, operations))
        except NotFoundError:
            raise error from None


async def _stop_on_signal(
    scope: trio.CancelScope, stopped: list[int], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            stopped.append(number)
            scope.cancel()


def _only(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one error inside nested groups, or the group itself when there are several."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
