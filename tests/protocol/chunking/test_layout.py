"""The structural rules against the vectors and the slow reference; lies cost no time, no memory, no exception."""

from __future__ import annotations

import json
import struct
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import reference
from support.recipes import build, gguf, gguf_kv, gguf_tensor, repeat, safetensors, string, xof

from samara.protocol.chunking import _json, _window
from samara.protocol.chunking import gguf as gguf_rule
from samara.protocol.chunking import safetensors as safetensors_rule
from samara.protocol.chunking.layout import FIXED, JOIN_BELOW, JOIN_CAP, MAX_STARTS
from samara.protocol.chunking.profile import Kind, Layout, cut_bytes, layout

VECTORS: list[dict[str, Any]] = json.loads((reference.VECTORS / "layouts.json").read_text())
SECONDS = 8.0
"""What the worst header may take here; a slow and busy machine needs some 3 s for it."""


def lay(data: bytes) -> Layout:
    return layout(len(data), lambda offset, length: data[offset : offset + length])


def seen(data: bytes) -> tuple[str, int, list[int]]:
    found = lay(data)
    return found.kind.value, found.header, list(found.starts)


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_vectors(vector: dict[str, Any]) -> None:
    data = build(vector["stream"])
    found = lay(data)
    assert found.kind.value == vector["kind"]
    assert cut_bytes(data, found) == vector["ends"]


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_every_truncation_of_a_header_agrees_with_the_reference(vector: dict[str, Any]) -> None:
    data = build(vector["stream"])[:400]
    for length in range(0, len(data), 7):
        assert seen(data[:length]) == reference.layout(data[:length])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
OFFSETS = st.lists(st.integers(0, 120), min_size=2, max_size=2).map(sorted) | JSON
TENSORS = st.fixed_dictionaries({"data_offsets": OFFSETS}, optional={"dtype": JSON, "shape": JSON}) | JSON
HEADERS = st.dictionaries(st.sampled_from(["__metadata__", "a", "b", "c"]) | st.text(max_size=4), TENSORS, max_size=5)


@st.composite
def headers(draw: st.DrawFn) -> bytes:
    text = json.dumps(draw(HEADERS), ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
    raw = bytearray(text.encode("utf-8", "surrogatepass") + b" " * draw(st.integers(0, 3)))
    for _ in range(draw(st.integers(0, 2))):
        raw[draw(st.integers(0, len(raw) - 1))] = draw(st.sampled_from(b'{}[],:"\\ 0e-.1\x00\xff'))
    return build(safetensors(bytes(raw), [xof("data", draw(st.integers(0, 120)))]))


@given(headers())
@settings(max_examples=400, deadline=None)
def test_safetensors_agrees_with_the_reference(data: bytes) -> None:
    assert seen(data) == reference.layout(data)


VALUES = st.one_of(
    st.sampled_from(sorted(reference.WIDTHS)).map(lambda kind: (kind, bytes(reference.WIDTHS[kind]))),
    st.binary(max_size=5).map(lambda text: (8, string(text))),
    st.lists(st.binary(max_size=3), max_size=4).map(
        lambda words: (9, struct.pack("<IQ", 8, len(words)) + b"".join(map(string, words)))
    ),
    st.integers(0, 3).map(lambda count: (9, struct.pack("<IQ", 2, count) + bytes(2 * count))),
)
KEYS = st.binary(max_size=4) | st.just(b"general.alignment")


@st.composite
def ggufs(draw: st.DrawFn) -> bytes:
    kvs = [gguf_kv(draw(KEYS), *draw(VALUES)) for _ in range(draw(st.integers(0, 4)))]
    if draw(st.booleans()):
        kvs.append(gguf_kv(b"general.alignment", 4, struct.pack("<I", draw(st.sampled_from([1, 8, 32, 64, 24])))))
    tensors = [
        gguf_tensor(draw(st.binary(max_size=3)), [1] * draw(st.integers(0, 5)), draw(st.sampled_from([0, 32, 64, 100])))
        for _ in range(draw(st.integers(0, 4)))
    ]
    raw = bytearray(build(gguf(kvs, tensors, [xof("data", draw(st.integers(0, 120)))])))
    for _ in range(draw(st.integers(0, 2))):
        raw[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
    return bytes(raw)


@given(ggufs())
@settings(max_examples=400, deadline=None)
def test_gguf_agrees_with_the_reference(data: bytes) -> None:
    assert seen(data) == reference.layout(data)


@given(st.binary(max_size=200), st.sampled_from([b"", b"GGUF\x03\0\0\0", b"\x40\0\0\0\0\0\0\0{"]))
@settings(max_examples=300, deadline=None)
def test_any_bytes_have_a_layout(tail: bytes, head: bytes) -> None:
    assert seen(head + tail) == reference.layout(head + tail)


def test_small_windows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_window, "_STEP", 1)
    monkeypatch.setattr(_json, "_MARGIN", 1100)
    monkeypatch.setattr(gguf_rule, "_MARGIN", 16)
    for vector in VECTORS:
        data = build(vector["stream"])
        if len(data) < 80_000:
            assert lay(data).kind.value == vector["kind"], vector["name"]


def test_a_file_that_ends_before_its_size_is_generic() -> None:
    data = build(safetensors({"a": {"data_offsets": [0, 5]}}, [xof("data", 5)]))
    assert lay(data).kind is Kind.SAFETENSORS
    short = data[:20]
    assert layout(len(data), lambda offset, length: short[offset : offset + length]).kind is Kind.GENERIC


def test_an_error_of_reading_passes_through() -> None:
    def fail(offset: int, length: int) -> bytes:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        layout(100, fail)


def test_the_limit_of_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safetensors_rule, "MAX_STARTS", 3)
    monkeypatch.setattr(gguf_rule, "MAX_STARTS", 3)
    for count, holds in ((3, True), (4, False)):
        header = {str(i): {"data_offsets": [0, 0]} for i in range(count)} | {"__metadata__": {}}
        assert (lay(build(safetensors(header))).kind is Kind.SAFETENSORS) == holds
        tensors = [gguf_tensor(b"t", [1], 0)] * count
        assert (lay(build(gguf([], tensors))).kind is Kind.GGUF) == holds


def test_the_limits_of_json(monkeypatch: pytest.MonkeyPatch) -> None:
    data = build(safetensors({"a": {"data_offsets": [0, 0], "shape": [1]}, "b": {"data_offsets": [0, 0]}}))
    for name, enough in (("MAX_VALUES", 11), ("MAX_MEMBERS", 5)):
        with monkeypatch.context() as patch:
            patch.setattr(_json, name, enough)
            assert lay(data).kind is Kind.SAFETENSORS
            patch.setattr(_json, name, enough - 1)
            assert lay(data).kind is Kind.GENERIC


def test_the_limits_of_the_profile_are_frozen() -> None:
    """Another number would give other content ids for the same files: it needs another profile."""
    assert (MAX_STARTS, JOIN_BELOW, JOIN_CAP, FIXED) == (131_072, 65_536, 262_144, 1_048_576)
    assert (_json.MAX_DEPTH, _json.MAX_VALUES, _json.MAX_MEMBERS) == (16, 1_048_576, 524_288)
    assert (_json.MAX_NAME, _json.MAX_NUMBER, _json.MAX_INT_DIGITS) == (1024, 64, 16)
    assert (safetensors_rule.MAX_HEADER, gguf_rule.MAX_HEADER) == (100_000_000, 268_435_456)
    assert (gguf_rule.MAX_KEYS, gguf_rule.MAX_STRINGS, gguf_rule.MAX_DIMS) == (65_536, 2_097_152, 4)
    assert (gguf_rule.MAX_NAME, gguf_rule.DEFAULT_ALIGNMENT) == (65_535, 32)


def _endless(unit: bytes, length: int, before: bytes = b"{") -> bytes:
    text = before + unit * (length // len(unit))
    return struct.pack("<Q", len(text)) + text


# Each is about the worst of its kind: as long as the limits let it go on.
HOSTILE = {
    "arrays beside each other": lambda: _endless(b"[],", 20_000_000, b'{"__metadata__":['),
    "numbers": lambda: _endless(b"1,", 20_000_000, b'{"__metadata__":['),
    "white space": lambda: _endless(b" ", 20_000_000),
    "a string": lambda: _endless(b"a", 20_000_000, b'{"__metadata__":"'),
    "a string of escapes": lambda: _endless(b"\\n", 20_000_000, b'{"__metadata__":"'),
    "a number": lambda: _endless(b"1", 20_000_000, b'{"__metadata__":'),
    "brackets": lambda: _endless(b"[", 20_000_000, b'{"__metadata__":'),
    "names": lambda: _names(),
    "strings of an array": lambda: build(
        [*gguf([gguf_kv(b"k", 9, struct.pack("<IQ", 8, 1 << 21))], [], align=1), repeat(bytes(8), 1 << 21)]
    ),
    "empty strings": lambda: _endless(b'"",', 20_000_000, b'{"__metadata__":['),
    "keys": lambda: build(
        [*gguf([], [], counts=(0, 1 << 16), align=1), repeat(gguf_kv(b"k", 8, string(b"v" * 200)), 1 << 16)]
    ),
    "tensors": lambda: build(
        [*gguf([], [], counts=(1 << 17, 0), align=1), repeat(gguf_tensor(b"t" * 99, [1] * 4, 32), 1 << 17)]
    ),
}


def _names() -> bytes:
    text = b"{" + b",".join(b'"%x":0' % i for i in range(600_000)) + b"}"
    text = b'{"__metadata__":' + text + b"}"
    return struct.pack("<Q", len(text)) + text


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.no_cover
def test_hostile_headers_are_over_soon(name: str) -> None:
    data = HOSTILE[name]()
    start = time.process_time()
    lay(data)
    assert time.process_time() - start < SECONDS


@pytest.mark.parametrize("name", ["white space", "a string", "brackets"])
def test_hostile_headers_take_little_memory(name: str) -> None:
    text = HOSTILE[name]()[8:1_500_000]
    data = struct.pack("<Q", len(text)) + text
    tracemalloc.start()
    try:
        lay(data)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.no_cover
def test_49_bytes_that_hang_others() -> None:
    data = build(next(v["stream"] for v in VECTORS if "49 bytes" in v["name"]))
    start = time.process_time()
    assert (len(data), lay(data).kind) == (49, Kind.GENERIC)
    assert time.process_time() - start < 0.1


def test_a_claim_of_gigabytes_reads_nothing_of_them() -> None:
    asked: list[int] = []
    head = struct.pack("<Q", 90_000_000) + b"{" + bytes(1 << 20)

    def read_at(offset: int, length: int) -> bytes:
        asked.append(length)
        return head[offset : offset + length]

    assert layout(1 << 40, read_at).kind is Kind.GENERIC
    assert sum(asked) < 1 << 20
