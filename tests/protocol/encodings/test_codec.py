"""Chunks to payloads and back: every layout, every phase, and the same payload as the reference makes."""

from __future__ import annotations

import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import naive_encodings as naive

from samara.protocol.chunking.safetensors import layout_safetensors
from samara.protocol.encodings import delta, folds, header, planes, text
from samara.protocol.encodings.codec import WORTH, Encoding, decode, encode
from samara.protocol.encodings.header import Fold
from samara.protocol.encodings.layout import WordLayout, Words
from samara.protocol.errors import EncodingError
from samara.protocol.limits import MAX_CHUNK

KINDS = [
    (Words.INT8, ()),
    (Words.FLOAT8, ()),
    (Words.FLOAT16, ()),
    (Words.FLOAT32, ()),
    (Words.BLOCKS, (1, 1, 16)),
    (Words.BLOCKS, (3,)),
    (Words.BLOCKS, (2, 1, 1, 1, 5)),
]
kinds = pytest.mark.parametrize(("words", "fields"), KINDS)


def _near(base: bytes, chance: random.Random, share: float) -> bytes:
    return bytes((b + chance.choice((-1, 1))) % 256 if chance.random() < share else b for b in base)


def _check(layout: WordLayout, raw: bytes, base: bytes) -> None:
    """Both encodings, whether or not they save anything, against the reference."""
    for encoding in (Encoding.PLANES, Encoding.DELTA):
        held = base if encoding is Encoding.DELTA else None
        payload = delta.encode(raw, layout, base) if held is not None else planes.encode(raw, layout)
        if layout.count(len(raw)) < 1:
            assert payload is None
            assert not raw or encode(encoding, raw, layout, held) is None
            continue
        assert payload is not None
        told = header.read(memoryview(payload), len(raw))
        assert told.layout == layout
        chosen = [int(plane.fold) for plane in told.planes]
        fields = list(layout.fields)
        assert naive.encode(encoding, raw, layout.words, layout.start, fields, held, chosen) == payload
        if held is not None:
            assert delta.decode(memoryview(payload), len(raw), held) == raw
        else:
            assert planes.decode(memoryview(payload), len(raw)) == raw
        sent = encode(encoding, raw, layout, held)
        assert sent == (payload if len(payload) * 100 <= len(raw) * WORTH else None)
        if sent is not None:
            assert decode(encoding, sent, len(raw), held) == naive.decode(encoding, sent, len(raw), held) == raw


@kinds
def test_every_phase_of_every_short_length(words: Words, fields: tuple[int, ...]) -> None:
    chance = random.Random(1)
    size = WordLayout(words, 0, fields).size
    for start in range(size + 2):
        for length in range(3 * size + 2):
            base = chance.randbytes(length)
            _check(WordLayout(words, start, fields), _near(base, chance, 0.5), base)


@kinds
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 1.0])
def test_words_that_move_little(words: Words, fields: tuple[int, ...], share: float) -> None:
    chance = random.Random(2)
    for length in (400, 2_001, 20_003):
        base = bytes(chance.choice((0, 1, 60, 61, 255)) for _ in range(length))
        _check(WordLayout(words, 1, fields), _near(base, chance, share), base)


@given(
    st.sampled_from(KINDS), st.integers(0, 40), st.binary(max_size=400), st.binary(min_size=1, max_size=7), st.data()
)
def test_any_words(
    kind: tuple[Words, tuple[int, ...]], start: int, some: bytes, piece: bytes, data: st.DataObject
) -> None:
    raw = some + piece * data.draw(st.integers(0, 60))
    base = data.draw(st.one_of(st.just(raw), st.binary(min_size=len(raw), max_size=len(raw))))
    _check(WordLayout(kind[0], start, kind[1]), raw, base)


@given(st.binary(min_size=1, max_size=300), st.integers(1, 60))
def test_any_text(piece: bytes, times: int) -> None:
    raw = piece * times
    assert text.decode(memoryview(text.encode(raw)), len(raw)) == raw
    payload = encode(Encoding.TEXT, raw)
    if payload is not None:
        assert decode(Encoding.TEXT, payload, len(raw)) == naive.decode(Encoding.TEXT, payload, len(raw)) == raw


@pytest.mark.parametrize("fold", list(Fold))
def test_planes_of_any_length_and_any_bytes_can_be_folded(fold: Fold) -> None:
    noise = np.frombuffer(random.Random(3).randbytes(4_099), "u1")
    for length in (*range(1, 70), 4_096, 4_097, 4_098, 4_099):
        plane = folds.pack(noise[:length], fold)
        assert [part.length for part in plane.parts] == list(fold.lengths(length))
        assert bytes(folds.unfold(plane)) == bytes(noise[:length])


def test_deltas_are_folded_where_that_is_smaller() -> None:
    chance = np.random.default_rng(4)
    found = set()
    for share in (0.0, 0.1, 0.4, 0.9):
        plane = np.where(chance.random(1 << 16) < share, chance.integers(1, 2 + int(12 * share), 1 << 16), 0)
        plane = plane.astype("u1")
        fold = folds.fold_for(plane)
        sizes = {each: sum(len(part.data) for part in folds.pack(plane, each).parts) for each in Fold}
        assert sizes[fold] <= min(sizes.values()) * 1.02
        found.add(fold)
    assert found == set(Fold)


@pytest.mark.parametrize("encoding", list(Encoding))
def test_the_longest_chunk(encoding: Encoding) -> None:
    chance = np.random.default_rng(5)
    base = (chance.standard_normal(MAX_CHUNK // 2) * 0.05).astype("<f2")
    raw = (base * np.where(chance.random(len(base)) < 0.2, 1.001, 1)).astype("<f2").tobytes()
    if encoding is Encoding.TEXT:
        raw = b"one set of bytes, three carriers. " * 40_000
        raw = raw[:MAX_CHUNK]
    layout = WordLayout.of("F16") if encoding in (Encoding.PLANES, Encoding.DELTA) else None
    held = base.tobytes() if encoding is Encoding.DELTA else None
    payload = encode(encoding, raw, layout, held)
    assert payload is not None
    assert decode(encoding, payload, MAX_CHUNK, held) == raw
    assert decode(encoding, bytearray(payload), MAX_CHUNK, held) == decode(
        encoding, memoryview(payload), MAX_CHUNK, held
    )


def test_noise_is_better_sent_raw() -> None:
    noise, other = random.Random(6).randbytes(50_000), random.Random(7).randbytes(50_000)
    assert encode(Encoding.PLANES, noise, WordLayout.of("Q8_0")) is None
    assert encode(Encoding.DELTA, noise, WordLayout.of("BF16"), other) is None
    assert encode(Encoding.TEXT, noise) is None
    assert encode(Encoding.RAW, noise) == noise == decode(Encoding.RAW, noise, len(noise))


def test_less_than_three_per_cent_are_not_worth_it() -> None:
    noise = random.Random(8).randbytes(10_000)
    taken = [n for n in range(0, 700, 10) if encode(Encoding.TEXT, noise[n:] + bytes(n)) is not None]
    assert taken == list(range(taken[0], 700, 10))
    payload = encode(Encoding.TEXT, noise[taken[0] :] + bytes(taken[0]))
    assert payload is not None
    assert 9_690 <= len(payload) <= 9_700


def test_what_only_the_caller_can_get_wrong() -> None:
    raw = bytes(100)
    half = WordLayout(Words.FLOAT16)
    for encoding, layout, base in (
        (Encoding.RAW, half, None),
        (Encoding.PLANES, None, None),
        (Encoding.PLANES, half, raw),
        (Encoding.DELTA, half, None),
        (Encoding.DELTA, None, raw),
        (Encoding.TEXT, half, None),
        (Encoding.TEXT, None, raw),
    ):
        with pytest.raises(ValueError, match="layout"):
            encode(encoding, raw, layout, base)
    for unknown, data, held in ((9, raw, None), (0, b"", None), (0, bytes(MAX_CHUNK + 1), None), (2, raw, bytes(99))):
        with pytest.raises(EncodingError):
            encode(unknown, data, half if held else None, held)


def test_many_at_once() -> None:
    chance = random.Random(9)
    bases = [bytes(chance.choice((60, 61)) for _ in range(30_000)) for _ in range(16)]
    raws = [_near(base, chance, 0.1) for base in bases]

    def there_and_back(number: int) -> bool:
        raw, base = raws[number], bases[number]
        sent = (
            encode(2, raw, WordLayout(Words.FLOAT16), base),
            encode(1, raw, WordLayout(Words.FLOAT32)),
            encode(3, raw),
        )
        assert sent[0] is not None
        assert sent[1] is not None
        assert sent[2] is not None
        return decode(2, sent[0], 30_000, base) == decode(1, sent[1], 30_000) == decode(3, sent[2], 30_000) == raw

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(there_and_back, [*range(16)] * 10))


def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    code = "import sys, samara.protocol.encodings.codec, samara.protocol.encodings.layout\n"
    code += "sys.exit(len({'numpy', 'zstandard'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.model
@pytest.mark.parametrize(("dtype", "most"), [("BF16", 0.675), ("F16", 0.855), ("F32", 0.83)])
def test_real_weights(minilm: Path, dtype: str, most: float) -> None:
    """What the goals say of weights of which nothing is held, over all chunks of a model."""
    raw = minilm.read_bytes()
    layout = layout_safetensors(len(raw), lambda offset, length: raw[offset : offset + length])
    assert layout is not None
    weights = np.frombuffer(raw[layout.header :], "<f4")
    if dtype == "F16":
        weights = weights.astype("<f2")
    elif dtype == "BF16":
        weights = (weights.view("<u4") >> 16).astype("<u2")
    data, sent = weights.tobytes(), 0
    words = WordLayout.of(dtype)
    for at in range(0, len(data), MAX_CHUNK):
        chunk = data[at : at + MAX_CHUNK]
        payload = encode(Encoding.PLANES, chunk, words)
        if payload is not None:
            assert decode(Encoding.PLANES, payload, len(chunk)) == chunk
        sent += len(chunk if payload is None else payload)
    assert sent <= most * len(data)
