"""The caller's side of the local door: plain blocking sockets, so that a command need not start an event loop."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from typing import IO, Final, TypeVar

import msgspec

from samara.node.doors.proof import MAX_PROOF_LINE, Caller
from samara.node.doors.wire import (
    MAX_ANSWER,
    MAX_CALL,
    Call,
    ErrorLine,
    EventLine,
    HelloLine,
    Line,
    ResultLine,
    error_of,
)
from samara.node.operations.base import Event, Operation
from samara.node.store.home import Home
from samara.protocol.errors import OperationError, UsageError

__all__ = ["Connection", "call_node", "connect"]

Request = TypeVar("Request")
Result = TypeVar("Result")

_HELLO_TIMEOUT: Final = 10.0
"""Seconds: a node says hello as soon as it is dialled; one that is suspended does not."""

_MAX_HELLO: Final = 4096

Connection = socket.socket
"""A connected socket on which the node has said hello."""


@contextlib.contextmanager
def connect(home: Home) -> Iterator[Connection | None]:
    """Connect to the node that holds a home, and hear it.

    Yields:
        None when none says hello, as one that is just leaving, or hangs.

    Raises:
        OperationError: It speaks another language.
    """
    holder = home.holder()
    found = _dial(holder.door) if holder and holder.door else None
    if found is None:
        yield None
        return
    sock, token = found
    with contextlib.closing(sock):
        yield sock if _meet(sock, token) else None


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
        UsageError: Something in the request is not UTF-8, or it is too long.
    """
    call = _encoded(Call(operation.name, msgspec.Raw(_encoded(request)))) + b"\n"
    if len(call) > MAX_CALL:
        raise UsageError(f"{operation.name} was given {len(call)} bytes: a running node takes at most {MAX_CALL}")
    with connection.makefile("rb") as lines:
        with _until_it_stops():
            connection.sendall(call)
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


def _dial(door: str) -> tuple[Connection, str] | None:
    """Return a connected socket, and the token that is to be proved on it, if there is one."""
    kind, _, where = door.partition(":")
    try:
        if kind == "unix":
            return _dial_unix(where), ""
        port, _, token = where.partition(":")
        return socket.create_connection(("127.0.0.1", int(port)), timeout=_HELLO_TIMEOUT), token
    except (OSError, ValueError, OverflowError):
        return None


def _dial_unix(path: str) -> Connection:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(_HELLO_TIMEOUT)  # of a node that is suspended the callers soon have no place to wait
        sock.connect(path)
    except (OSError, ValueError):
        sock.close()
        raise
    return sock


def _meet(sock: Connection, token: str) -> bool:
    """Hear the node, and at a port prove to each other who one is; False when it is not the node, or says nothing.

    Raises:
        OperationError: It is the node, and speaks another language.
    """
    end = time.monotonic() + _HELLO_TIMEOUT
    try:
        if token and not _prove(sock, token, end):
            return False
        heard = _hear(sock, _MAX_HELLO, end)
        sock.settimeout(None)
    except OSError:
        return False
    return isinstance(_decoded(heard), HelloLine)


def _prove(sock: Connection, token: str, end: float) -> bool:
    caller = Caller(token)
    sock.sendall(caller.challenge())
    proof = caller.answer(_hear(sock, MAX_PROOF_LINE, end))
    if proof is not None:
        sock.sendall(proof)
    return proof is not None


def _hear(sock: Connection, most: int, end: float) -> bytes:
    """Return a line of at most `most` bytes, heard before `end`; the other end says no more before it is spoken to.

    Raises:
        OSError: It does not come.
    """
    heard = bytearray()
    while not heard.endswith(b"\n"):
        sock.settimeout(max(end - time.monotonic(), 0.001))
        data = sock.recv(most)
        if not data or len(heard) + len(data) > most:
            raise ConnectionResetError
        heard += data
    return bytes(heard)


def _read(lines: IO[bytes]) -> Line:
    with _until_it_stops():
        line = lines.readline(MAX_ANSWER)
        if not line.endswith(b"\n") and len(line) < MAX_ANSWER:
            raise ConnectionResetError
    if not line.endswith(b"\n"):
        raise OperationError(f"the running node answered with more than {MAX_ANSWER} bytes", hint="Restart it.")
    return _decoded(line)


def _decoded(line: bytes) -> Line:
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
