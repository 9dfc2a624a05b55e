"""Operations: what Samara does, each defined once for all its doors.

An operation is a request type, a result type and a handler. The handler gets the node, the request and a `report` for
its events; terminal, socket, HTTP and Python doors hand requests in and events and results out, as the same JSON.
Requests and results are frozen dataclasses of plain values; their field names are the JSON keys (specs/cli.md).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

if TYPE_CHECKING:
    from samara.node.app import Node
    from samara.node.store.store import Store

__all__ = ["AnyOperation", "Event", "Notice", "Operation", "Progress", "Query", "Report", "Text"]

Request = TypeVar("Request")
Result = TypeVar("Result")


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """How far long work is.

    Attributes:
        phase: What is being done, in a word or two: "fetching", "hashing".
        done: Units done.
        total: Units in all; None while unknown.
        unit: "bytes", "files" or "chunks".
        note: More for the person: the file in hand, how many peers.
    """

    phase: str
    done: int
    total: int | None
    unit: str = "bytes"
    note: str = ""


class Notice(msgspec.Struct, frozen=True, tag="notice"):
    """Something that the person should know and that is no error."""

    notice: str


class Text(msgspec.Struct, frozen=True, tag="text"):
    """A piece of generated text."""

    text: str


Event = Progress | Notice | Text
Report = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Operation(Generic[Request, Result]):
    """One thing that Samara does.

    Attributes:
        name: Its name on every door.
        request: The request's dataclass.
        result: The result's dataclass.
        handler: Does it; raises a `SamaraError` when it cannot.
        detaches: It goes on in the node when its caller leaves.
        looks: It can do without writing into the home, and so works on one that cannot be written.
        signs: It may need the publisher's key: when that is locked, it can be asked for again once it is not.
    """

    name: str
    request: type[Request]
    result: type[Result]
    handler: Callable[[Node, Request, Report], Awaitable[Result]]
    detaches: bool = False
    looks: bool = False
    signs: bool = False


AnyOperation = Operation[Any, Any]


@dataclass(frozen=True, slots=True)
class Query(Generic[Request, Result]):
    """An operation that only looks into the store: it needs no event loop, so a command may answer it by itself.

    Attributes:
        name: Its name on every door.
        request: The request's dataclass.
        result: The result's dataclass.
        answer: Looks; raises a `SamaraError` when it cannot.
    """

    name: str
    request: type[Request]
    result: type[Result]
    answer: Callable[[Store, Request], Result]

    def operation(self) -> Operation[Request, Result]:
        """Return the same as an operation, for the doors of a running node."""

        async def handler(node: Node, request: Request, report: Report) -> Result:
            import trio

            return await trio.to_thread.run_sync(self.answer, node.store, request)

        return Operation(self.name, self.request, self.result, handler)
