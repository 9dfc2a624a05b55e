"""Payloads that lie: whatever is changed in one, it is refused by name or decodes to so many bytes, at little cost."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tracemalloc

import pytest
from support import naive_encodings as naive
from support.encodings import worst
from support.scripts import ROOT

from samara.protocol.encodings.codec import decode, encode
from samara.protocol.encodings.layout import WordLayout, Words
from samara.protocol.errors import EncodingError
from samara.protocol.limits import MAX_CHUNK, MIB

_CHANCE = random.Random(1)
_BASE = bytes(_CHANCE.choice((60, 61, 62, 188)) for _ in range(702))
_RAW = bytes(b ^ (_CHANCE.random() < 0.1) for b in _BASE)


def _payload(encoding: int, layout: WordLayout | None) -> tuple[int, bytes, bytes | None]:
    base = _BASE if encoding == 2 else None
    payload = encode(encoding, _RAW, layout, base)
    assert payload is not None
    return encoding, payload, base


GOOD = {
    "planes": _payload(1, WordLayout(Words.FLOAT16, 1)),
    "planes of blocks": _payload(1, WordLayout(Words.BLOCKS, 5, (1, 1, 16))),
    "delta": _payload(2, WordLayout(Words.FLOAT16, 1)),
    "delta of blocks": _payload(2, WordLayout(Words.BLOCKS, 5, (1, 1, 16))),
    "text": _payload(3, None),
}
good = pytest.mark.parametrize(("encoding", "payload", "base"), GOOD.values(), ids=GOOD)


@good
def test_every_cut_and_every_extension(encoding: int, payload: bytes, base: bytes | None) -> None:
    changed = [payload[:end] for end in range(len(payload))]
    changed += [payload + more for more in (b"\0", b"\x28\xb5\x2f\xfd", payload)]
    for wrong in changed:
        with pytest.raises(EncodingError):
            decode(encoding, wrong, len(_RAW), base)


@good
def test_every_other_length(encoding: int, payload: bytes, base: bytes | None) -> None:
    for length in (1, len(_RAW) - 1, len(_RAW) + 1, MAX_CHUNK):
        with pytest.raises(EncodingError):
            decode(encoding, payload, length, base if base is None else base.ljust(length, b"\0")[:length])


@good
def test_every_bit_flipped(encoding: int, payload: bytes, base: bytes | None) -> None:
    """Some of them are another chunk of the same length, and the reference agrees: the hash is what tells."""
    refused = 0
    for bit in range(8 * len(payload)):
        wrong = bytearray(payload)
        wrong[bit // 8] ^= 1 << bit % 8
        try:
            found = decode(encoding, wrong, len(_RAW), base)
        except EncodingError:
            refused += 1
            with pytest.raises(naive.Broken):
                naive.decode(encoding, bytes(wrong), len(_RAW), base)
        else:
            assert found == naive.decode(encoding, bytes(wrong), len(_RAW), base)
    assert 0 < refused < 8 * len(payload)


@good
def test_a_base_of_another_length(encoding: int, payload: bytes, base: bytes | None) -> None:
    for other in (b"", _BASE[:-1], _BASE + b"\0") if base is not None else (_BASE, b""):
        with pytest.raises(EncodingError):
            decode(encoding, payload, len(_RAW), other)


def test_a_wrong_base_gives_another_chunk() -> None:
    encoding, payload, _ = GOOD["delta"]
    found = decode(encoding, payload, len(_RAW), _RAW)
    assert len(found) == len(_RAW)
    assert found != _RAW


def test_memory_of_the_worst_payloads() -> None:
    for encoding, payload, base in worst():
        decode(encoding, payload, MAX_CHUNK, base)  # what is made once for a thread
        tracemalloc.start()
        try:
            found = decode(encoding, payload, MAX_CHUNK, base)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert len(found) == MAX_CHUNK
        assert MAX_CHUNK <= peak <= 8 * MIB


_IN_LITTLE_ROOM = """
import resource
from support.encodings import worst
from support.vectors import unrun, vectors
from samara.protocol.encodings.codec import decode
from samara.protocol.errors import EncodingError
from samara.protocol.limits import MAX_CHUNK, MIB

rows = [(row["encoding"], unrun(row["payload"]), row["length"], unrun(row["base"]) if "base" in row else None)
        for row in vectors("encodings.json")["vectors"] if "error" in row]
good = [(encoding, payload, MAX_CHUNK, base) for encoding, payload, base in worst()]
decode(3, good[0][1], MAX_CHUNK)
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MAX_CHUNK + 16 * MIB,) * 2)
for row in good:
    assert len(decode(*row)) == MAX_CHUNK
for row in rows:
    try:
        decode(*row)
    except EncodingError:
        continue
    raise SystemExit(f"not refused: {row[1]}")
try:
    bytes(64 * MIB)
except MemoryError:
    print("done", len(rows))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc, and RLIMIT_AS is not everywhere")
def test_all_that_is_refused_is_refused_in_little_room() -> None:
    """A process whose address space has room for a chunk and 16 MiB, and for no bomb."""
    path = os.pathsep.join(str(ROOT / folder) for folder in ("src", "tests"))
    command = [sys.executable, "-c", _IN_LITTLE_ROOM]
    environment = os.environ | {"PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.startswith("done ")
