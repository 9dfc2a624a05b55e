"""A scanner that goes past JSON without building it: RFC 8259, with limits, and nothing that a library decides.

The structural rule for safetensors needs four numbers a tensor out of a header of up to 100 MB, and must decide alike
in every version of Python and in every other language: depth, duplicate names, numbers and encoding are judged here.
Memory is one window and the names of the members of the open objects.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from typing import Final, final

from samara.protocol.chunking._window import BrokenRuleError, Window
from samara.protocol.chunking.layout import ReadAt
from samara.protocol.ids import digest
from samara.protocol.limits import KIB

__all__ = ["OBJECT", "JsonScanner"]

# Frozen with profile 1 (specs/content.md §4.2).

MAX_DEPTH: Final = 16
"""Objects and arrays within each other; real headers have 3."""

MAX_VALUES: Final = 1 << 20
"""JSON values of a header: about 8 a tensor."""

MAX_MEMBERS: Final = 1 << 19
"""Members of all objects together: about 4 a tensor. Their names are kept, to find duplicates."""

MAX_NAME: Final = 1024
"""Bytes of a member's name."""

MAX_NUMBER: Final = 64
"""Characters of a number."""

MAX_INT_DIGITS: Final = 16
"""Digits of an integer whose value matters: sizes are below 2⁵³."""

OBJECT: Final = ord("{")
"""What `peek` returns before an object."""

_MARGIN: Final = 2 * KIB  # more than any token that must be held whole
_TEXT_STEP: Final = 16 * KIB
_SHORT_NAME: Final = 64
_ARRAY, _STRING, _COMMA, _END_OBJECT, _END_ARRAY = b'[",}]'

_SPACE: Final = re.compile(rb"[ \t\n\r]*")
_NAME: Final = re.compile(rb'"([^"\\\x00-\x1f]*)"[ \t\n\r]*:')
_SCALAR: Final = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null")
_INT: Final = re.compile(rb"0|[1-9][0-9]*")
_TEXT: Final = re.compile(rb'(?:[^"\\\x00-\x1f]+|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*')


@final
class JsonScanner:
    """Walks the JSON text in bytes `[start, end)` of a file.

    Each method starts at the next token, white space skipped, and leaves the scanner after what it went past.
    All raise `BrokenRuleError` where the text is not what they are called for, or beyond a limit.
    """

    def __init__(self, read_at: ReadAt, start: int, end: int) -> None:
        self._read_at = read_at
        self._end = end
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._window = Window(self._read, start, end)
        self._values = 0
        self._members = 0

    def peek(self) -> int:
        """Return the first byte of the next token, or -1 at the end of the text."""
        window = self._window
        # The common case, a million times: enough is held, and no white space is ahead.
        if len(window.data) - window.pos >= _MARGIN and (first := window.data[window.pos]) > 0x20:
            return first
        while True:
            window.fill(_MARGIN)
            match = _SPACE.match(window.data, window.pos)
            window.pos = match.end() if match else window.pos
            if window.pos < len(window.data):
                # A token may begin close to the end of what is held, after much white space.
                window.fill(_MARGIN)
                return window.data[window.pos]
            if not window.left:
                return -1

    def expect(self, token: bytes) -> None:
        """Go past one punctuation mark."""
        if self.peek() != token[0]:
            raise BrokenRuleError(f"{token!r} expected")
        self._window.pos += 1

    def object(self, depth: int, member: Callable[[bytes], None]) -> None:
        """Go past an object at `depth`; `member` is handed each name and goes past its value."""
        self.expect(b"{")
        self._enter(depth)
        if self._closes(_END_OBJECT):
            return
        names: set[bytes] = set()
        while True:
            name = self._name()
            # A long name is kept as its hash, behind a NUL, which no name can hold.
            key = name if len(name) <= _SHORT_NAME else b"\0" + digest(name)
            if key in names:
                raise BrokenRuleError("a name twice in one object")
            names.add(key)
            member(name)
            if not self._more(_END_OBJECT):
                return

    def integer(self) -> int:
        """Go past a non-negative integer without sign, fraction or exponent, and return it."""
        self._count()
        text = self._match(_INT)
        if len(text) > MAX_INT_DIGITS:
            raise BrokenRuleError("an integer beyond any file")
        return int(text)

    def value(self, depth: int) -> None:
        """Go past any value that sits at `depth`."""
        first = self.peek()
        if first == OBJECT:
            self.object(depth, lambda _: self.value(depth + 1))
        elif first == _ARRAY:
            self._array(depth)
        elif first == _STRING:
            self._string()
        else:
            self._count()
            if len(self._match(_SCALAR)) > MAX_NUMBER:
                raise BrokenRuleError("a number too long")

    def finish(self) -> None:
        """Refuse anything but white space up to the end of the text."""
        if self.peek() != -1:
            raise BrokenRuleError("bytes after the value")

    def enter_array(self, depth: int) -> None:
        """Go past the opening bracket of an array at `depth`."""
        self.expect(b"[")
        self._enter(depth)

    def _array(self, depth: int) -> None:
        self.enter_array(depth)
        if self._closes(_END_ARRAY):
            return
        while True:
            self.value(depth + 1)
            if not self._more(_END_ARRAY):
                return

    def _string(self) -> None:
        """Go past a string of any length: `__metadata__` may hold megabytes."""
        self._count()
        window = self._window
        window.pos += 1
        while window.fill(_MARGIN):
            # In steps: a repeated group costs the engine memory for each round.
            match = _TEXT.match(window.data, window.pos, window.pos + _TEXT_STEP)
            if match is not None and match.end() > window.pos:
                window.pos = match.end()
            elif window.data[window.pos] == _STRING:
                window.pos += 1
                return
            else:
                break
        raise BrokenRuleError("a string without an end, or with a character that it cannot hold")

    def _name(self) -> bytes:
        self.peek()
        window = self._window
        match = _NAME.match(window.data, window.pos)
        if match is None or len(match[1]) > MAX_NAME:
            raise BrokenRuleError("no name, or one that is escaped or too long")
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise BrokenRuleError("too many members")
        window.pos = match.end()
        return match[1]

    def _match(self, pattern: re.Pattern[bytes]) -> bytes:
        self.peek()
        window = self._window
        match = pattern.match(window.data, window.pos)
        if match is None:
            raise BrokenRuleError("not JSON")
        window.pos = match.end()
        return match[0]

    def _closes(self, mark: int) -> bool:
        """Go past a closing mark, if it is next."""
        closes = self.peek() == mark
        self._window.pos += closes
        return closes

    def _more(self, end: int) -> bool:
        """Go past a comma (True) or the closing mark (False)."""
        mark = self.peek()
        self._window.pos += 1
        if mark == _COMMA:
            return True
        if mark != end:
            raise BrokenRuleError("a comma or an end expected")
        return False

    def _enter(self, depth: int) -> None:
        self._count()
        if depth > MAX_DEPTH:
            raise BrokenRuleError("too deep")

    def _count(self) -> None:
        self._values += 1
        if self._values > MAX_VALUES:
            raise BrokenRuleError("too many values")

    def _read(self, offset: int, length: int) -> bytes:
        piece = self._read_at(offset, length)
        try:
            self._decoder.decode(piece, offset + len(piece) >= self._end)
        except UnicodeDecodeError:
            raise BrokenRuleError("not UTF-8") from None
        return piece
