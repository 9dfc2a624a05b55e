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
from samara.protocol.errors import SamaraError, class_named, name_of

__all__ = ["MAX_LINE", "Call", "ErrorLine", "EventLine", "HelloLine", "Line", "ResultLine", "error_line", "error_of"]

MAX_LINE: Final = 16 * limits.MIB
"""Bytes of one line: the listing of a content with 100,000 files."""


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


def error_line(error: SamaraError) -> ErrorLine:
    """Return what the caller needs to raise the same error; names of files that are not UTF-8 are escaped in it."""
    return ErrorLine(name_of(error), _as_utf8(error.message), _as_utf8(error.hint))


def error_of(line: ErrorLine) -> SamaraError:
    """Return the error that a line carries, of its own class where this version knows it."""
    return class_named(line.error)(line.message, hint=line.hint)


def _as_utf8(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()
