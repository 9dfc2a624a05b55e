"""The local door's language: one JSON object a line, over a stream socket (specs/cli.md, "The local door").

    node:    {"type": "hello", "samara": "0.1.0", "pid": 4711}
    caller:  {"type": "call", "operation": "fetch", "request": {…}}
    node:    {"type": "event", "event": {"type": "progress", …}}     any number
    node:    {"type": "result", …}  or  {"type": "error", …}         the end

Where the socket is a port, both prove first that they know its token (`proof`). The caller leaves by closing; whether
the work goes on is the operation's own affair.
"""

from __future__ import annotations

from typing import Final

import msgspec

from samara.node.operations.base import Event
from samara.protocol import limits
from samara.protocol.errors import OperationError, SamaraError, class_named, name_of

__all__ = [
    "MAX_ANSWER",
    "MAX_CALL",
    "Call",
    "ErrorLine",
    "EventLine",
    "HelloLine",
    "Line",
    "ResultLine",
    "error_line",
    "error_of",
    "result_line",
]

MAX_CALL: Final = 16 * limits.MIB
"""Bytes of the caller's line: a prompt, or the names of thousands of releases."""

MAX_ANSWER: Final = 256 * limits.MIB
"""Bytes of a line of the node: it tells of every file of a content, and a file table has as many at most. A list of
100,000 releases has 38 MB, all about 100,000 files 29 MB."""

_AROUND: Final = 64
"""Bytes of a line around its result, and more."""


class HelloLine(msgspec.Struct, frozen=True, tag="hello"):
    """The node's first line."""

    samara: str
    pid: int


class Call(msgspec.Struct, frozen=True, tag="call"):
    """The caller's only line."""

    operation: str
    request: msgspec.Raw


class EventLine(msgspec.Struct, frozen=True, tag="event"):
    """Something happened."""

    event: Event


class ResultLine(msgspec.Struct, frozen=True, tag="result"):
    """It is done."""

    result: msgspec.Raw


class ErrorLine(msgspec.Struct, frozen=True, tag="error"):
    """It failed: the error's class, message and hint."""

    error: str
    message: str
    hint: str


Line = HelloLine | Call | EventLine | ResultLine | ErrorLine


def result_line(operation: str, result: object) -> bytes:
    """Return a result as the line that ends a conversation.

    Raises:
        OperationError: It is too long for a line.
    """
    encoded = msgspec.json.encode(result)
    if len(encoded) > MAX_ANSWER - _AROUND:
        raise OperationError(
            f"the answer to {operation} has {len(encoded)} bytes: at most {MAX_ANSWER - _AROUND} pass the local door",
            hint="Stop the node and run the same command again: then nothing has to pass.",
        )
    return msgspec.json.encode(ResultLine(msgspec.Raw(encoded))) + b"\n"


def error_line(error: SamaraError) -> ErrorLine:
    """Return what the caller needs to raise the same error; names of files that are not UTF-8 are escaped in it."""
    return ErrorLine(name_of(error), _as_utf8(error.message), _as_utf8(error.hint))


def error_of(line: ErrorLine) -> SamaraError:
    """Return the error that a line carries, of its own class where this version knows it."""
    return class_named(line.error)(line.message, hint=line.hint)


def _as_utf8(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()
