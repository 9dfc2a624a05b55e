"""Strict JSON: the subset in which envelopes and payloads are written (specs/records.md §1).

Bytes in, plain Python objects out: dict, list, str, int, bool, None. What two parsers could read differently is
refused: duplicate keys, floats, NaN, huge integers, lone surrogates, a byte-order mark, anything after the value.

Invariants: size and depth are checked before the parser of the standard library recurses; nothing but `JsonError` is
ever raised; what `loads` returns, `dumps` takes. It never repairs, and never decides what a field means.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Final, NoReturn

from samara.protocol.errors import JsonError
from samara.protocol.limits import MAX_JSON_DEPTH

__all__ = ["MAX_INTEGER", "dumps", "loads"]

MAX_INTEGER: Final = (1 << 53) - 1
"""The largest magnitude that every JSON reader carries exactly (RFC 8259 §6)."""

_INTEGER_DIGITS: Final = len(str(MAX_INTEGER))

# One alternation in one pass: a string is always consumed whole (an unclosed one up to the end), so brackets inside
# strings are never counted. Possessive quantifiers keep it linear on hostile input.
_BRACKETS: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
_WHITE: Final = " \t\n\r"


def loads(data: bytes, *, max_bytes: int) -> object:
    """Parse strict JSON.

    Args:
        data: The bytes as received.
        max_bytes: The most bytes that this place allows.

    Returns:
        dict, list, str, int, bool or None.

    Raises:
        JsonError: Any violation; the message names it.

    Source: specs/records.md §1; RFC 8259.
    """
    if len(data) > max_bytes:
        raise JsonError(f"JSON of {len(data)} bytes: at most {max_bytes} are allowed here")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise JsonError(f"invalid UTF-8 at byte {error.start}") from None
    if text.startswith("\ufeff"):
        raise JsonError("JSON begins with a byte-order mark")
    if text[:1] in _WHITE or text[-1:] in _WHITE:  # also true of no bytes at all
        raise JsonError("JSON is empty, or has white space before or after its value")
    _check_depth(text)
    try:
        value: object = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise JsonError(f"not JSON: {error.msg} at character {error.pos}") from None
    if "\\u" in text:  # all else that `_admit` looks for was refused above: only an escape can make a lone surrogate
        _admit(value)
    return value


def dumps(value: object) -> bytes:
    """Return `value` as we sign it: keys sorted by code point, compact, UTF-8.

    Args:
        value: dict with str keys, list, str, int, bool or None, nested at most `MAX_JSON_DEPTH` deep.

    Raises:
        JsonError: Something in it is outside the strict subset; it would be refused by everybody who reads it.
    """
    _admit(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8")


def _check_depth(text: str) -> None:
    if text.count("[") + text.count("{") <= MAX_JSON_DEPTH:
        return  # as in all but the largest records
    depth = 0
    for token in _BRACKETS.finditer(text):
        first = text[token.start()]
        if first in "[{":
            depth += 1
            if depth > MAX_JSON_DEPTH:
                raise JsonError(f"JSON is nested more than {MAX_JSON_DEPTH} deep")
        elif first in "]}":
            depth -= 1


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key, count in Counter(keys).items() if count > 1)
        raise JsonError(f"key {twice[:64]!r} occurs twice in one object")
    return found


def _integer(text: str) -> int:
    # The length is judged before the number is made: int() of a million digits takes seconds, or raises.
    if text == "-0" or len(text.lstrip("-")) > _INTEGER_DIGITS or abs(int(text)) > MAX_INTEGER:
        raise JsonError(f"integer {text[:24]} is outside ±(2^53 - 1)")
    return int(text)


def _float(text: str) -> NoReturn:
    raise JsonError(f"number {text[:24]} has a fraction or an exponent: decimals are strings")


def _constant(text: str) -> NoReturn:
    raise JsonError(f"{text} is not JSON")


def _admit(value: object, depth: int = 1) -> None:
    """Refuse what is outside the subset: types, ranges, surrogates, and depth (of values that we are to write)."""
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, dict | list):
        if depth > MAX_JSON_DEPTH:
            raise JsonError(f"JSON is nested more than {MAX_JSON_DEPTH} deep")
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, str):
                    raise JsonError(f"a key of type {type(key).__name__}: only strings are keys")
                _check_text(key)
            value = list(value.values())
        for item in value:
            _admit(item, depth + 1)
    elif value is None or isinstance(value, bool):
        return
    elif not isinstance(value, int):
        raise JsonError(f"a value of type {type(value).__name__} is not in strict JSON")
    elif abs(value) > MAX_INTEGER:
        raise JsonError("an integer is outside ±(2^53 - 1)")


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise JsonError("a string has a lone surrogate") from None


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
)
