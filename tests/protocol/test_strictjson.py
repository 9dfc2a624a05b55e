"""Strict JSON against a naive reference, and against whatever bytes hypothesis finds."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samara.protocol.errors import JsonError
from samara.protocol.limits import MAX_JSON_DEPTH, MIB
from samara.protocol.strictjson import MAX_INTEGER, dumps, loads

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
).filter(lambda value: depth_of(value) <= MAX_JSON_DEPTH)


def depth_of(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


class Naive:
    """A recursive-descent parser of the subset, one rule a method; ValueError for whatever is not in it."""

    def __init__(self, data: bytes) -> None:
        self.text = data.decode("utf-8")
        self.at = 0

    def parse(self) -> Any:
        value = self.value(1)
        if self.at != len(self.text):
            raise ValueError
        return value

    def take(self, token: str) -> bool:
        hit = self.text.startswith(token, self.at)
        self.at += len(token) * hit
        return hit

    def need(self, token: str) -> None:
        if not self.take(token):
            raise ValueError

    def white(self) -> None:
        while self.text[self.at : self.at + 1] in (" ", "\t", "\n", "\r"):
            self.at += 1

    def value(self, depth: int) -> Any:
        for word, value in (("null", None), ("true", True), ("false", False)):
            if self.take(word):
                return value
        if self.take('"'):
            return self.string()
        if self.take("["):
            return self.members(depth, "]", self.value)
        if self.take("{"):
            pairs = self.members(depth, "}", self.pair)
            if len(dict(pairs)) != len(pairs):
                raise ValueError
            return dict(pairs)
        return self.number()

    def members(self, depth: int, close: str, read: Any) -> list[Any]:
        if depth > MAX_JSON_DEPTH:
            raise ValueError
        found: list[Any] = []
        self.white()
        if self.take(close):
            return found
        while True:
            self.white()
            found.append(read(depth + 1))
            self.white()
            if self.take(close):
                return found
            self.need(",")

    def pair(self, depth: int) -> tuple[str, Any]:
        self.need('"')
        key = self.string()
        self.white()
        self.need(":")
        self.white()
        return key, self.value(depth)

    def string(self) -> str:
        units: list[int] = []  # UTF-16, so that pairs of escaped surrogates meet
        while not self.take('"'):
            letter = self.text[self.at : self.at + 1]
            if not letter or letter < " ":
                raise ValueError
            self.at += 1
            if letter == "\\":
                letter = self.escape()
            raw = letter.encode("utf-16-le", "surrogatepass")
            units += [int.from_bytes(raw[i : i + 2], "little") for i in range(0, len(raw), 2)]
        return b"".join(unit.to_bytes(2, "little") for unit in units).decode("utf-16-le")

    def escape(self) -> str:
        kind = self.text[self.at : self.at + 1]
        self.at += 1
        if kind == "u":
            digits = self.text[self.at : self.at + 4]
            if not re.fullmatch("[0-9a-fA-F]{4}", digits):
                raise ValueError
            self.at += 4
            return chr(int(digits, 16))
        return dict(zip('"\\/bfnrt', '"\\/\b\f\n\r\t', strict=True)).get(kind) or self.fail()

    def number(self) -> int:
        start = self.at
        while self.text[self.at : self.at + 1] and self.text[self.at] in "+-.eE0123456789":
            self.at += 1
        token = self.text[start : self.at]
        if not re.fullmatch("0|-?[1-9][0-9]{0,15}", token) or abs(int(token)) > MAX_INTEGER:
            raise ValueError
        return int(token)

    def fail(self) -> str:
        raise ValueError


def outcome_of(data: bytes) -> Any:
    try:
        return Naive(data).parse()
    except ValueError:
        return JsonError


def fast(data: bytes) -> Any:
    try:
        return loads(data, max_bytes=MIB)
    except JsonError:
        return JsonError


WORDS = b"""{ } [ ] , : " "a" "a": 1 - 0 1.5 1e3 NaN Infinity null true false \\ \\ud83c \\udf41 "\\u0061"
9007199254740991 9007199254740992 \xc3\xa9 \xff \xef\xbb\xbf \x00 \x1b [[[[[[[[ ]]]]]]]] {"a": {"b":["""
PIECES = st.sampled_from([*WORDS.split(), b" ", b"\n"])


@given(st.lists(PIECES, max_size=14).map(b"".join) | st.binary(max_size=60))
def test_whatever_bytes_are_read_as_the_reference_reads_them(data: bytes) -> None:
    assert fast(data) == outcome_of(data)


@given(VALUES, st.integers(0, 200), st.binary(max_size=3))
def test_damaged_json_is_read_as_the_reference_reads_it(value: object, where: int, what: bytes) -> None:
    good = dumps(value)
    cut = where % (len(good) + 1)
    damaged = good[:cut] + what + good[cut + 1 :]
    assert fast(damaged) == outcome_of(damaged)


@given(VALUES)
def test_what_is_written_is_read_and_canonical(value: object) -> None:
    written = dumps(value)
    assert loads(written, max_bytes=MIB) == value
    assert dumps(loads(written, max_bytes=MIB)) == written
    assert outcome_of(written) == value


def test_keys_are_sorted_and_nothing_is_padded() -> None:
    assert dumps({"b": [1, None, True], "a": "é", "B": {}}) == '{"B":{},"a":"é","b":[1,null,true]}'.encode()


@pytest.mark.parametrize(
    "value",
    [1.5, float("nan"), MAX_INTEGER + 1, -MAX_INTEGER - 1, "\ud800", {"\udfff": 1}, {1: 2}, (1,), b"x", {1}, 1j],
    ids=repr,
)
def test_what_others_would_refuse_is_not_written(value: object) -> None:
    with pytest.raises(JsonError):
        dumps([value])


def test_a_value_that_holds_itself_is_not_written() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(JsonError, match="nested"):
        dumps(loop)


def test_the_limit_is_the_last_size_that_is_taken() -> None:
    assert loads(b'"aaa"', max_bytes=5) == "aaa"
    with pytest.raises(JsonError, match="at most 4"):
        loads(b'"aaa"', max_bytes=4)


@pytest.mark.parametrize(
    "data",
    [
        b'"' + b'\\"' * 390_000,
        b'"' * 786_000,
        b"[" + b"1," * 390_000 + b"1]",
        b"{" + b",".join(b'"%x":0' % i for i in range(70_000)) + b"}",
        b"[" + b"[]," * 260_000 + b"[]]",
        b"9" * 786_000,
        b'"' + rb"\u00e9" * 130_000 + b'"',
        b"[" * 786_000,
    ],
    ids=["escapes", "quotes", "numbers", "keys", "lists", "digits", "unicode escapes", "brackets"],
)
@pytest.mark.no_cover
def test_hostile_payloads_take_no_time(data: bytes) -> None:
    began = time.process_time()
    fast(data)
    assert time.process_time() - began < 2.0, "a quadratic parser takes minutes; a linear one a tenth of a second"


def test_json_loads_would_have_taken_what_is_refused() -> None:
    # What the strictness is for: the parser of the standard library takes all of these.
    for data in (b'{"a":1,"a":2}', b"[1.0]", b"[NaN]", b'"\\ud800"', b" {} \n", b"[1e400]", b"[-0]"):
        json.loads(data)
        with pytest.raises(JsonError):
            loads(data, max_bytes=MIB)
