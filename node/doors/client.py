"""The caller's side of the local door: plain blocking sockets, so that a command need not start an event loop."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import IO, TypeVar

import msgspec

from samara.node.doors.wire import MAX_LINE, Call, ErrorLine, EventLine, Line, ResultLine, error_of
from samara.node.operations.base import Event, Operation
from samara.node.store.home import Home
from samara.protocol.errors import OperationError

__all__ = ["Connection", "call_node", "connect"]

Request = TypeVar("Request")
Result = TypeVar("Result")

Connection = tuple[socket.socket, str]
"""A connected socket, and the token that the node expects."""


@contextlib.contextmanager
def connect(home: Home) -> Iterator[Connection | None]:
    """Connect to the node that holds a home; yields None when none answers, else the socket and its token."""
    holder = home.holder()
    found = _dial(holder.door) if holder and holder.door else None
    if found is None:
        yield None
        return
    with contextlib.closing(found[0]):
        yield found


def call_node(
    connection: Connection,
    operation: Operation[Request, Result],
    request: Request,
    report: Callable[[Event], None],
) -> Result:
    """Let the running node do an operation, and wait for its result.

    Raises:
        SamaraError: What the operation raised there.
        OperationError: The node stopped before it was done.
    """
    sock, token = connection
    with sock.makefile("rb") as lines:
        _read(lines)
        raw = msgspec.Raw(msgspec.json.encode(request))
        with _until_it_stops():
            sock.sendall(msgspec.json.encode(Call(operation.name, raw, token)) + b"\n")
        while True:
            line = _read(lines)
            if isinstance(line, ResultLine):
                return msgspec.json.decode(line.result, type=operation.result)
            if isinstance(line, ErrorLine):
                raise error_of(line)
            if isinstance(line, EventLine):
                report(line.event)


def _dial(door: str) -> Connection | None:
    kind, _, where = door.partition(":")
    try:
        if kind == "unix":
            return _dial_unix(where), ""
        port, _, token = where.partition(":")
        return socket.create_connection(("127.0.0.1", int(port)), timeout=None), token
    except (OSError, ValueError):
        return None


def _dial_unix(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return sock


def _read(lines: IO[bytes]) -> Line:
    with _until_it_stops():
        line = lines.readline(MAX_LINE)
        if not line.endswith(b"\n"):
            raise ConnectionResetError
    try:
        found: Line = msgspec.json.decode(line, type=Line)
        return found
    except msgspec.MsgspecError as error:
        raise OperationError(f"the running node speaks another language: {error}", hint="Restart it.") from error


@contextlib.contextmanager
def _until_it_stops() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OperationError(
            "the running node stopped before it was done", hint="Run the same command again."
        ) from error
