"""A node with one operation of its own, and callers at its door."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import trio
import trio.lowlevel

from samara.node.app import Node, open_node
from samara.node.doors.client import call_node, connect
from samara.node.operations.base import Event, Operation, Progress, Report
from samara.node.settings import Settings, StoreSettings
from samara.node.store.home import Home
from samara.protocol.errors import NotFoundError, SamaraError

__all__ = ["ECHO", "ERRORS", "Answered", "Asked", "a_node", "ask", "call_line", "door_of"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for the tests."""

    what: str
    times: int = 1


@dataclass(frozen=True, slots=True)
class Answered:
    """Its result."""

    what: str


async def _echo(node: Node, request: Asked, report: Report) -> Answered:
    if request.what == "large":
        return Answered("x" * request.times)
    for n in range(request.times):
        report(Progress("echoing", n, request.times))
        await trio.lowlevel.checkpoint()
    if request.what == "missing":
        raise NotFoundError("it is not here", hint="Look elsewhere.")
    if request.what == "bug":
        raise ZeroDivisionError
    if request.what == "wait":
        await trio.sleep_forever()
    if request.what in ERRORS:
        raise ERRORS[request.what](f"what happened to \udcff, {request.what}", hint="What to do next.")
    if request.what == "odd note":
        report(Progress("echoing", 1, 1, note="\udcff"))
        report(Progress("echoing", 1, 1, note="after it"))
    return Answered(request.what)


def _errors_below(root: type[SamaraError]) -> Iterator[type[SamaraError]]:
    yield root
    for kind in root.__subclasses__():
        yield from _errors_below(kind)


ERRORS = {kind.__name__: kind for kind in _errors_below(SamaraError) if kind.__module__.startswith("samara.")}
"""Every class that an operation may raise, those too that only one file knows."""

ECHO = Operation("echo", Asked, Answered, _echo)


@contextlib.asynccontextmanager
async def a_node(path: Path) -> AsyncIterator[Node]:
    """Run a node on a home below `path`."""
    home = Home(path / "home")
    async with open_node(home, Settings(store=StoreSettings(floor=0)), {ECHO.name: ECHO}) as node:
        yield node


def ask(home: Home, request: Asked, report: Callable[[Event], None] = lambda event: None) -> Answered:
    """Call as a command does. Blocks."""
    with connect(home) as connection:
        assert connection is not None
        return call_node(connection, ECHO, request, report)


def call_line(**fields: object) -> bytes:
    """Return the line of a call; keywords change it."""
    return json.dumps({"type": "call", "operation": "echo", "request": {"what": "x"}} | fields).encode() + b"\n"


def door_of(home: Home) -> str:
    """Return how callers find the node of a home."""
    holder = home.holder()
    assert holder is not None
    return holder.door
