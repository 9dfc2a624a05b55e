"""Which reader a file gets, how split models are joined, and that no header costs much time or memory."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import json
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.model_headers import ARRAY, STRING, U32, Gguf, GgufTensor, reader, safetensors_file, string, tiny_llama

from samara.protocol.errors import ModelHeaderError
from samara.protocol.formats.facts import join_shards, read_facts
from samara.protocol.formats.header import WINDOW, HeaderReader, is_plain, shown
from samara.protocol.limits import MAX_CHECKED_TENSORS, MAX_HEADER_STRINGS, MAX_LAYERS, MIB


@pytest.mark.parametrize(
    ("data", "container"),
    [
        (b"", None),
        (b"GGU", None),
        (b"plain text, no model at all", None),
        (b"\x02\0\0\0\0\0\0\0[]", None),
        (b"\x00\0\0\0\0\0\0\0{}", None),
        (safetensors_file({}), "safetensors"),
        (tiny_llama().build(), "gguf"),
    ],
)
def test_the_bytes_decide_what_a_file_is(data: bytes, container: str | None) -> None:
    found = read_facts(reader(data), len(data))
    assert (found and found.container) == container


def shard(number: int, count: int, blocks: range, *, first: bool = False) -> bytes:
    model = tiny_llama() if first else Gguf()
    model.tensors = [GgufTensor(f"blk.{n}.w", (8,), 0, 32) for n in blocks]
    model.pairs["split.no"] = (U32, number)
    model.pairs["split.count"] = (U32, count)
    return model.build()


def joined(*files: bytes) -> object:
    found = [read_facts(reader(file), len(file)) for file in files]
    return join_shards([facts for facts in found if facts is not None])


def test_a_split_model_is_judged_as_a_whole() -> None:
    whole = joined(shard(0, 2, range(1), first=True), shard(1, 2, range(1, 2)))
    assert (whole.layers, whole.last_block, whole.tensors, whole.tensor_bytes, whole.architecture) == (  # type: ignore[attr-defined]
        2,
        1,
        2,
        64,
        "llama",
    )


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ([shard(0, 2, range(1), first=True), shard(1, 2, range(1, 3))], "the tensors have 3 blocks"),
        ([shard(0, 2, range(1), first=True), shard(1, 2, range(0))], "the tensors have 1 blocks"),
        ([shard(0, 2, range(1), first=True), shard(0, 2, range(1), first=True)], "number 1 of 2"),
        ([shard(0, 3, range(1), first=True), shard(1, 3, range(1, 2))], "of 3"),
        ([shard(0, 2, range(1), first=True), tiny_llama().build()], "of 1"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(files: list[bytes], says: str) -> None:
    with pytest.raises(ModelHeaderError, match=says):
        joined(*files)


def test_a_block_past_all_bounds_is_refused_in_a_part_too() -> None:
    file = shard(1, 2, range(MAX_LAYERS, MAX_LAYERS + 1))
    with pytest.raises(ModelHeaderError, match="blocks"):
        read_facts(reader(file), len(file))


def test_one_file_joins_to_itself() -> None:
    file = tiny_llama().build()
    facts = read_facts(reader(file), len(file))
    assert facts is not None
    assert join_shards([facts]) is facts
    with pytest.raises(dataclasses.FrozenInstanceError):
        facts.layers = 1  # type: ignore[misc]


@given(st.lists(st.integers(0, 3 * WINDOW), max_size=12), st.integers(0, 12))
def test_passing_strings_is_like_taking_them(lengths: list[int], split: int) -> None:
    data = b"".join(struct.pack("<Q", n) + bytes(n) for n in lengths) + b"end"
    fast = HeaderReader(reader(data), len(data), len(data))
    slow = HeaderReader(reader(data), len(data), len(data))
    fast.skip_strings(min(split, len(lengths)), "x")
    fast.skip_strings(len(lengths) - min(split, len(lengths)), "x")
    for n in lengths:
        assert slow.take(8, "x") == struct.pack("<Q", n)
        assert slow.take(n, "x") == bytes(n)
    assert fast.position == slow.position
    assert fast.take(3, "x") == slow.take(3, "x") == b"end"


def test_a_file_that_shrinks_while_it_is_read_is_refused() -> None:
    file = tiny_llama().build()
    with pytest.raises(ModelHeaderError, match="inside its header"):
        read_facts(reader(file[:100]), len(file))
    other = safetensors_file({"__metadata__": {"a": "b" * 100}})
    with pytest.raises(ModelHeaderError, match="inside its header"):
        read_facts(reader(other[:50]), len(other))


@given(st.text())
def test_what_is_shown_is_plain(text: str) -> None:
    assert is_plain(shown(text))
    assert not is_plain(text) or shown(text, len(text)) == text


# Each is the worst of its kind: as long, or as many, as the limits let through. The bounds are three times what an idle
# machine of 2020 needs.
def _many_strings() -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + string("a") + struct.pack("<IIQ", ARRAY, STRING, MAX_HEADER_STRINGS)
    return head + struct.pack("<Q", 24).ljust(32, b"x") * MAX_HEADER_STRINGS


def _many_tensors() -> bytes:
    infos = [string(b"%063d" % n) + struct.pack("<IQIQ", 1, 8, 0, 32 * n) for n in range(MAX_CHECKED_TENSORS)]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(infos), 1) + string("general.architecture") + struct.pack("<I", STRING)
    return head + string("x") + b"".join(infos) + bytes(32 * len(infos) + 32)


def _many_entries() -> bytes:
    entry = b'"%0256d":{"dtype":"U8","shape":[1],"data_offsets":[%d,%d]}'
    body = b",".join(entry % (n, n, n + 1) for n in range(MAX_CHECKED_TENSORS))
    return safetensors_file(b"{" + body + b"}", MAX_CHECKED_TENSORS)


def _long_values() -> bytes:
    value = "\\n" * ((4 << 20) // 2 - 8)
    return safetensors_file(b'{"__metadata__":{' + b",".join(f'"{n}":"{value}"'.encode() for n in range(20)) + b"}}")


def _all_space() -> bytes:
    return safetensors_file(b"{" + b" " * 99_000_000 + b"}")


def _peak() -> int | None:
    """Return the bytes that this process had resident at most since it was last asked, where Linux tells."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return None
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


@pytest.mark.slow
@pytest.mark.parametrize("build", [_many_strings, _many_tensors, _many_entries, _long_values, _all_space])
@pytest.mark.no_cover
def test_no_header_costs_much(build: Callable[[], bytes], tmp_path: Path) -> None:
    path = tmp_path / "hostile"
    path.write_bytes(build())
    size = path.stat().st_size
    with path.open("rb", buffering=0) as file:

        def read_at(offset: int, length: int) -> bytes:
            file.seek(offset)
            return file.read(length) or b""

        gc.collect()
        _peak()
        before = _peak()
        started = time.process_time()
        with contextlib.suppress(ModelHeaderError):
            read_facts(read_at, size)
        assert time.process_time() - started < 5
        after = _peak()
    assert before is None or after is None or after - before < 64 * MIB


def test_json_of_another_shape_is_not_mistaken() -> None:
    raw = json.dumps({"model": "not a tensor"}).encode()
    with pytest.raises(ModelHeaderError):
        read_facts(reader(safetensors_file(raw)), 8 + len(raw))
