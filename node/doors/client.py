"""The caller's side of the local door: plain blocking sockets, so that a command need not start an event loop."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import IO, Final, TypeVar

import msgspec

from samara.node.doors.wire import MAX_LINE, Call, ErrorLine, EventLine, HelloLine, Line, ResultLine, error_of
from samara.node.operations.base import Event, Operation
from samara.node.store.home import Home
from samara.protocol.errors import OperationError, UsageError

__all__ = ["Connection", "call_node", "connect"]

Request = TypeVar("Request")
Result = TypeVar("Result")

_HELLO_TIMEOUT: Final = 10.0
"""Seconds: a node says hello as soon as it is dialled; one that is suspended does not."""

_MAX_HELLO: Final = 4096

Connection = tuple[socket.socket, str]
"""A connected socket on which the node has said hello, and the token that it expects."""


@contextlib.contextmanager
def connect(home: Home) -> Iterator[Connection | None]:
    """Connect to the node that holds a home, and hear it.

    Yields:
        None when none says hello, as one that is just leaving, or hangs; else the socket and its token.
    """
    holder = home.holder()
    found = _dial(holder.door) if holder and holder.door else None
    if found is None:
        yield None
        return
    with contextlib.closing(found[0]):
        yield found if _says_hello(found[0]) else None


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
        UsageError: Something in the request is not UTF-8.
    """
    sock, token = connection
    with sock.makefile("rb") as lines:
        call = _encoded(Call(operation.name, msgspec.Raw(_encoded(request)), token)) + b"\n"
        with _until_it_stops():
            sock.sendall(call)
        while True:
            line = _read(lines)
            if isinstance(line, ResultLine):
                return msgspec.json.decode(line.result, type=operation.result)
            if isinstance(line, ErrorLine):
                raise error_of(line)
            if isinstance(line, EventLine):
                report(line.event)


def _encoded(value: object) -> bytes:
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError as error:
        raise UsageError(f"{error.object!a} is not UTF-8", hint="A REF and a name are plain text.") from error


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


def _says_hello(sock: socket.socket) -> bool:
    heard = bytearray()
    try:
        sock.settimeout(_HELLO_TIMEOUT)
        while not heard.endswith(b"\n") and len(heard) < _MAX_HELLO:
            data = sock.recv(_MAX_HELLO)  # it says nothing more before it is called
            if not data:
                return False
            heard += data
        sock.settimeout(None)
    except OSError:
        return False
    try:
        return isinstance(msgspec.json.decode(heard, type=Line), HelloLine)
    except msgspec.MsgspecError as error:
        raise OperationError(f"the running node speaks another language: {error}", hint="Restart it.") from error


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
