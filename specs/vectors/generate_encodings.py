"""Writes the vectors of specs/encodings.md: `python specs/vectors/generate_encodings.py`.

Deterministic, and without Samara's code or a zstd library, whose frames are others with each version: frames are
written here, of blocks that are raw or one byte again and again (RFC 8878, §3.1.1.2), and two that a library made are
committed. Bytes are in hexadecimal, or a run of one piece, `[piece, count]`. Each negative vector has the one failure
that its name says.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "encodings.json"

Vector = dict[str, Any]
Word = tuple[int, int, int]
"""A word, that of the base, and what stands for their difference."""

INT8, FLOAT8, FLOAT16, FLOAT32, BLOCKS = range(1, 6)
WHOLE, HALVES, QUARTERS = range(3)

TEXT = (
    b"One set of bytes, three carriers. Records, chunk lists and chunks are the same bytes on libp2p, on a stick and "
    b"over HTTP. A carrier is never trusted; every byte is verified against a hash that a trusted signature reaches."
)
TEXT_FRAME = bytes.fromhex(
    "28b52ffd20ddbd0400c2cb201d8037490700b4b6eff944c896a56f2511c55978201163171ad10b33a50107f694eadd43b2d0c1f03aebe4"
    "07eb5c2722ab436d6a06bb26a3bdb8263dc03411b9fc9a148db6c047018130f035491b54238a255ea3b4a10050142c314af7a0f09ebc57"
    "a34135265a6204424ed94073a9d4e003af7657e5f64e6e607351d890cee24504010500ca4a0f28eef819843cc2503ac38402"
)
"""TEXT, by zstd 1.5.7."""

EXPONENTS_FRAME = bytes.fromhex(
    "28b52ffd609000bd040006d9240bc0251d32a5b4f9ffffbfb8200020001f00877b64fe02d425fbc757a1c9e8e66b0d567f73c39147930f"
    "86dbb2b9e101140439c16cedf759982f523d0a9b8c645c44e461acc70de7328ba4d1626888a920ce77c6c2bff4dbe866c14d8421bb8c74"
    "98541ebfbe96d2ba86d04906679e880e16e4a1a1941e98719ca1510fd3ca63a546882373f2181ad4bc1534848a0b1694180400"
)
"""What `exponents` returns, by zstd 1.5.7."""


def noise(label: str, count: int) -> bytes:
    parts = (hashlib.sha256(f"samara vector {label} {n}".encode()).digest() for n in range(-(-count // 32)))
    return b"".join(parts)[:count]


def exponents() -> bytes:
    return bytes(112 + byte.bit_count() for byte in noise("exponents", 400))


def words(size: int, values: list[int]) -> bytes:
    return b"".join(value.to_bytes(size, "little") for value in values)


# Frames.


def opening(n: int) -> bytes:
    magic = bytes.fromhex("28b52ffd")
    if n < 256:
        return magic + b"\x20" + n.to_bytes(1, "little")
    if n < 65792:
        return magic + b"\x60" + (n - 256).to_bytes(2, "little")
    return magic + b"\xa0" + n.to_bytes(4, "little")


def block(kind: int, size: int, data: bytes, *, last: bool) -> bytes:
    return (last | kind << 1 | size << 3).to_bytes(3, "little") + data


def stored(data: bytes, *, last: bool = True) -> bytes:
    return block(0, len(data), data, last=last)


def run(byte: int, n: int) -> bytes:
    """One byte, n times."""
    blocks, left = b"", n
    while left:
        size = min(left, 1 << 17)
        left -= size
        blocks += block(1, size, bytes([byte]), last=not left)
    return blocks


def same(byte: int, n: int) -> bytes:
    return opening(n) + run(byte, n)


# Payloads.


def header(kind: int, start: int = 0, fields: bytes = b"", *, version: int = 1, many: int | None = None) -> bytes:
    made = bytes([version, kind]) + start.to_bytes(4, "little")
    return made + bytes([len(fields) if many is None else many]) + fields if kind == BLOCKS else made


def form(*frames: bytes | None, fold: int = WHOLE) -> bytes:
    """How a plane lies there: for each part its frame, or None when it is as it is."""
    bits = sum(4 << place for place, frame in enumerate(frames) if frame is not None)
    return bytes([fold | bits]) + b"".join(len(frame).to_bytes(4, "little") for frame in frames if frame is not None)


def row(name: str, encoding: int, payload: bytes, raw: bytes | list[Any], base: bytes | None = None) -> Vector:
    if isinstance(raw, bytes):
        length, said = len(raw), raw.hex()
    else:
        length, said = len(bytes.fromhex(raw[0])) * raw[1], raw
    told = {"base": base.hex()} if base is not None else {}
    return {"name": name, "encoding": encoding, "length": length, "payload": payload.hex(), **told, "raw": said}


def texts() -> list[Vector]:
    two = opening(99) + stored(b"ab", last=False) + block(1, 97, b"c", last=True)
    empty = opening(90) + block(1, 90, b"c", last=False) + stored(b"")
    sizes = {
        "the shortest frame that is worth it": 12,
        "the longest length of one byte": 255,
        "the shortest length of two bytes": 256,
        "the longest length of two bytes": 65791,
        "the shortest length of four bytes": 65792,
        "the longest chunk": 1 << 20,
    }
    return [
        row("raw: a byte", 0, b"x", b"x"),
        row("text: a frame of a library", 3, TEXT_FRAME, TEXT),
        *(row(f"text: {name}", 3, same(7, n), ["07", n]) for name, n in sizes.items()),
        row("text: two blocks", 3, two, b"ab" + b"c" * 97),
        row("text: an empty block at the end", 3, empty, ["63", 90]),
    ]


def planes() -> list[Vector]:
    low, high = noise("mantissas", 400), exponents()
    half = words(2, [(h << 8 | b) >> 1 | (b & 1) << 15 for h, b in zip(high, low, strict=True)])
    single = words(4, [(h << 24 | 1 << 16 | b) >> 1 | (b & 1) << 31 for h, b in zip(high, low, strict=True)])
    zeros, ones, nines = same(0, 400), same(1, 400), same(9, 96)
    scales = b"".join(bytes(pair) + b"\x09" * 32 for pair in zip(b"abc", b"xyz", strict=True))
    above, twos = same(0, 75), same(3, 401)
    fours = opening(101) + block(1, 100, b"\xe4", last=False) + stored(b"\x02")
    exps = form(None) + form(EXPONENTS_FRAME)
    return [
        row("planes: int8", 1, header(INT8) + form(same(5, 300)) + same(5, 300), ["05", 300]),
        row(
            "planes: fp8 after a head",
            1,
            header(FLOAT8, 3) + form(same(5, 97)) + b"abc" + same(5, 97),
            b"abc" + b"\x05" * 97,
        ),
        row("planes: bf16", 1, header(FLOAT16) + exps + low + EXPONENTS_FRAME, half),
        row(
            "planes: bf16 that begins and ends inside a word",
            1,
            header(FLOAT16, 1) + exps + b"ht" + low + EXPONENTS_FRAME,
            b"h" + half + b"t",
        ),
        row(
            "planes: fp32 that begins and ends inside a word",
            1,
            header(FLOAT32, 3)
            + (form(None) + form(zeros) + form(ones) + form(EXPONENTS_FRAME))
            + (b"abcde" + low + zeros + ones + EXPONENTS_FRAME),
            b"abc" + single + b"de",
        ),
        row(
            "planes: blocks of Q8_0 from the middle of one",
            1,
            header(BLOCKS, 30, b"\1\1\x20")
            + (form(None) + form(None) + form(nines))
            + (noise("head", 30) + b"abc" + b"xyz" + nines),
            noise("head", 30) + scales,
        ),
        row(
            "planes: halves, and a spare one",
            1,
            header(INT8) + form(None, above, fold=HALVES) + b"\x21" * 37 + b"\x0f" + above,
            b"\1\2" * 37 + b"\x0f",
        ),
        row(
            "planes: quarters, with more above and three spare ones",
            1,
            header(INT8) + form(fours, twos, fold=QUARTERS) + fours + twos,
            b"\x0c\x0d\x0e\x0f" * 100 + b"\x0e",
        ),
    ]


def delta(name: str, kind: int, size: int, rows: list[Word]) -> Vector:
    """Planes as they are, but those of zeros."""
    made = [bytes(z >> 8 * place & 255 for *_, z in rows) for place in range(size)]
    frames = [None if any(plane) else same(0, len(plane)) for plane in made]
    payload = header(kind) + b"".join(map(form, frames))
    payload += b"".join(frame or plane for frame, plane in zip(frames, made, strict=True))
    return row(name, 2, payload, words(size, [x for x, *_ in rows]), words(size, [y for _, y, _ in rows]))


def small(name: str, kind: int, rows: list[Word]) -> Vector:
    """Words of a byte, whose differences fit into half of one."""
    z = [told for *_, told in rows]
    above = same(0, len(z))
    payload = header(kind) + form(None, above, fold=HALVES)
    payload += bytes(a | b << 4 for a, b in zip(z[::2], z[1::2], strict=True)) + above
    return row(name, 2, payload, bytes(x for x, *_ in rows), bytes(y for _, y, _ in rows))


def deltas() -> list[Vector]:
    half = [
        (0x0000, 0x0000, 0),
        (0x8000, 0x0000, 1),  # minus zero, next below zero
        (0x0000, 0x8000, 2),
        (0x8001, 0x0001, 5),  # the smallest of both signs
        (0x7F80, 0x7F7F, 2),  # infinity above the largest
        (0x7F80, 0x7F81, 1),  # and below NaN
        (0x7FFF, 0xFFFF, 1),  # the ends, which are neighbours
        (0xFFFF, 0x7FFF, 2),
        (0xFF80, 0xFF7F, 1),
        (0x3F80, 0x3F7F, 2),  # across a power of two
        (0xBF80, 0xBF7F, 1),
        (0x3F80, 0x3F90, 31),
        (0x0000, 0x3F80, 0x7EFF),
        (0x3F80, 0xBF80, 0xFE02),
        (0x3FFF, 0xBFFF, 0xFFFE),
        (0xBFFF, 0x4000, 0xFFFF),
    ]
    near = [told for told in half if told[2] < 256] * 4
    single = [
        (0x80000000, 0, 1),
        (0, 0x80000000, 2),
        (0x3F800000, 0x3F7FFFFF, 2),
        (0x7FFFFFFF, 0xFFFFFFFF, 1),
        (0xBF800001, 0xBF800000, 1),
        (0x00000080, 0, 0x100),
        (0x00008000, 0, 0x10000),
    ] * 8
    eighth = [(0x80, 0, 1), (0, 0x80, 2), (0x38, 0x37, 2), (0xB8, 0xB7, 1), (0x7F, 0xFF, 1), (0x01, 0x81, 6)] * 20
    whole = [(0, 0, 0), (0, 1, 1), (1, 0, 2), (0x80, 0x7F, 2), (0x7F, 0x80, 1), (0, 0xFF, 2), (9, 2, 14)] * 20
    base = b"".join(noise("scales", 8)[i : i + 1] + bytes(range(i, i + 16)) for i in range(8))
    moved = bytes(byte if i % 17 == 0 else (byte - 1) % 256 for i, byte in enumerate(base))
    ones, nothing, held = same(1, 128), same(0, 100), noise("words", 200)
    return [
        delta("delta: bf16, neighbours", FLOAT16, 2, near),
        delta("delta: fp32", FLOAT32, 4, single),
        small("delta: fp8", FLOAT8, eighth),
        small("delta: int8", INT8, whole),
        row(
            "delta: blocks whose weights are one down",
            2,
            header(BLOCKS, 0, b"\1\x10") + form(None) + form(ones) + bytes(8) + ones,
            moved,
            base,
        ),
        row(
            "delta: nothing but the head and the tail has changed",
            2,
            header(FLOAT16, 1) + form(nothing) * 2 + b"ht" + nothing * 2,
            b"h" + held + b"t",
            b"H" + held + b"T",
        ),
        _far(half),
    ]


def _far(rows: list[Word]) -> Vector:
    """Each twelve times, as a run of each byte."""
    many = [told for told in rows for _ in range(12)]
    blocks = [b"".join(block(1, 12, bytes([z >> 8 * p & 255]), last=False) for *_, z in rows) for p in range(2)]
    frames = [opening(len(many)) + made + stored(b"") for made in blocks]
    payload = header(FLOAT16) + b"".join(map(form, frames)) + b"".join(frames)
    return row("delta: bf16, far apart", 2, payload, *(words(2, [told[i] for told in many]) for i in range(2)))


# What is refused.


def wrong(name: str, encoding: int, payload: bytes | list[Any], length: int, base: bytes | None = None) -> Vector:
    told = {"base": base.hex()} if base is not None else {}
    said = payload.hex() if isinstance(payload, bytes) else payload
    return {
        "name": name,
        "encoding": encoding,
        "length": length,
        "payload": said,
        **told,
        "error": "EncodingError",
    }


def refused_whole() -> list[Vector]:
    fives = header(INT8) + form(same(5, 300)) + same(5, 300)
    return [
        wrong("an encoding that nobody knows", 4, same(7, 90), 90),
        wrong("no chunk: no byte", 0, b"", 0),
        wrong("no chunk: a byte above 1 MiB", 3, same(7, (1 << 20) + 1), (1 << 20) + 1),
        wrong("raw: a byte less", 0, b"ab", 3),
        wrong("raw: a byte more", 0, b"abcd", 3),
        wrong("raw: with a base", 0, b"abc", 3, b"abc"),
        wrong("planes: with a base", 1, fives, 300, bytes(300)),
        wrong("text: with a base", 3, same(7, 90), 90, bytes(90)),
        wrong("delta: without a base", 2, fives, 300),
        wrong("delta: a base that is a byte shorter", 2, fives, 300, bytes(299)),
        wrong("delta: a base that is a byte longer", 2, fives, 300, bytes(301)),
        wrong("text: nothing saved", 3, opening(20) + b"".join(_slow(20)), 20),
        wrong("planes: nothing saved", 1, header(INT8) + form(None) + bytes(20), 20),
    ]


def _slow(n: int) -> list[bytes]:
    """A block a byte: a frame that is longer than what is in it."""
    return [block(1, 1, b"\x07", last=i == n - 1) for i in range(n)]


def refused_headers() -> list[Vector]:
    five, pair = same(5, 300), same(0, 150)
    flat = form(pair) + form(pair)
    blocks = header(BLOCKS, 0, b"\1\x1d")
    parts = form(same(5, 10)) + form(same(5, 290))
    both = same(5, 10) + same(5, 290)
    good = header(FLOAT16) + flat + pair * 2
    long = opening(30) + b"".join(_slow(30))
    return [
        wrong("planes: no payload", 1, b"", 300),
        wrong("planes: ends inside the fixed header", 1, header(INT8)[:5], 300),
        wrong("planes: ends before the fields", 1, header(BLOCKS)[:6], 300),
        wrong("planes: ends inside the fields", 1, blocks[:-1], 300),
        wrong("planes: ends before a form", 1, header(FLOAT16) + form(pair), 300),
        wrong("planes: ends inside a length", 1, header(FLOAT16) + flat[:-1], 300),
        wrong("planes: version 0", 1, header(INT8, version=0) + form(five) + five, 300),
        wrong("planes: version 2", 1, header(INT8, version=2) + form(five) + five, 300),
        wrong("planes: kind 0", 1, header(0) + form(five) + five, 300),
        wrong("planes: kind 6", 1, header(6) + form(five) + five, 300),
        wrong("planes: no field", 1, header(BLOCKS) + form(five) + five, 300),
        wrong("planes: 17 fields", 1, header(BLOCKS, 0, b"\1" * 17) + form(None) * 17 + bytes(17), 300),
        wrong("planes: a field of no bytes", 1, header(BLOCKS, 0, b"\1\0\x1d") + parts + form(None) + both, 300),
        wrong("planes: more fields than are there", 1, header(BLOCKS, 0, b"\1\x1d", many=3) + parts + both, 300),
        wrong("planes: fewer fields than are there", 1, header(BLOCKS, 0, b"\1\x1d", many=1) + parts + both, 300),
        wrong("planes: a field more of no use", 1, header(BLOCKS, 0, b"\1\x1d\1") + parts + form(None) + both, 300),
        wrong("planes: begin behind the chunk", 1, header(INT8, 301) + form(five) + five, 300),
        wrong("planes: begin 4 GiB behind the chunk", 1, header(INT8, (1 << 32) - 1) + form(five) + five, 300),
        wrong("planes: begin where no word fits", 1, header(FLOAT32, 297) + form(None) * 4 + bytes(280), 300),
        wrong("planes: begin a byte later, without a head", 1, header(INT8, 1) + form(five) + five, 300),
        wrong("planes: a fold of another kind", 1, header(INT8) + bytes([7]) + form(five)[1:] + five, 300),
        wrong("planes: a second part of a whole plane", 1, header(INT8) + bytes([8]) + form(five)[1:] + five, 300),
        wrong("planes: a bit of a form that is none", 1, header(INT8) + bytes([0x14]) + form(five)[1:] + five, 300),
        wrong(
            "planes: a second part in a form without fold, and a frame",
            1,
            header(INT8) + bytes([0x0C]) + form(five)[1:] * 2 + five * 2,
            300,
        ),
        wrong(
            "planes: a frame that is longer than its part",
            1,
            header(BLOCKS, 0, b"\x1e\xff\x0f")
            + form(long)
            + form(same(0, 255))
            + form(same(0, 15))
            + long
            + same(0, 255)
            + same(0, 15),
            300,
        ),
        wrong("planes: a frame of 4 GiB", 1, header(INT8) + b"\4\xff\xff\xff\xff" + five, 300),
        wrong("planes: a frame of no bytes", 1, header(FLOAT16) + b"\4\0\0\0\0" + form(pair) + pair, 300),
        wrong("planes: a byte less", 1, good[:-1], 300),
        wrong("planes: a byte more", 1, good + b"\0", 300),
        wrong("planes: of another length", 1, good, 302),
        wrong(
            "planes: a frame that goes on in the next",
            1,
            header(FLOAT16) + form(pair + b"\0") + form(pair[:-1]) + pair * 2,
            300,
        ),
        wrong(
            "planes: a spare half",
            1,
            header(INT8) + form(None, same(0, 75), fold=HALVES) + b"\x21" * 37 + b"\x1f" + same(0, 75),
            75,
        ),
        wrong(
            "planes: a spare quarter",
            1,
            header(INT8) + form(None, same(0, 401), fold=QUARTERS) + bytes(100) + b"\x40" + same(0, 401),
            401,
        ),
        wrong(
            "planes: more above halves than a byte has",
            1,
            header(INT8) + form(None, same(16, 76), fold=HALVES) + b"\x21" * 38 + same(16, 76),
            76,
        ),
        wrong(
            "planes: more above quarters than a byte has",
            1,
            header(INT8) + form(None, same(64, 76), fold=QUARTERS) + b"\x21" * 19 + same(64, 76),
            76,
        ),
    ]


def refused_frames() -> list[Vector]:
    magic, n = bytes.fromhex("28b52ffd"), 300
    blocks = run(7, n)
    skippable = bytes.fromhex("502a4d18") + (4).to_bytes(4, "little") + b"skip"
    frames = {
        "nothing in it": b"",
        "half of its magic": magic[:2],
        "another magic": bytes.fromhex("27b52ffd") + opening(n)[4:] + blocks,
        "its magic missing": opening(n)[4:] + blocks,
        "a window": magic + b"\x40\x00" + opening(n)[5:] + blocks,
        "a window of 2 GiB": magic + b"\x40\xa8" + opening(n)[5:] + blocks,
        "no size, and a window": magic + b"\x00\x00" + blocks,
        "a checksum": magic + b"\x64" + opening(n)[5:] + blocks + bytes(4),
        "a dictionary": magic + b"\x61\x07" + opening(n)[5:] + blocks,
        "a dictionary of no number": magic + b"\x61\x00" + opening(n)[5:] + blocks,
        "the reserved bit": magic + b"\x68" + opening(n)[5:] + blocks,
        "the unused bit": magic + b"\x70" + opening(n)[5:] + blocks,
        "a size that is longer than needed": magic + b"\xa0" + n.to_bytes(4, "little") + blocks,
        "a size of 8 bytes": magic + b"\xe0" + n.to_bytes(8, "little") + blocks,
        "a size of a byte less": opening(n - 1) + blocks,
        "a size of a byte more": opening(n + 1) + blocks,
        "a size of 256 MiB": opening(1 << 28) + blocks,
        "a size of 16 EiB": magic + b"\xe0" + b"\xff" * 8 + blocks,
        "a byte less in it": opening(n) + run(7, n - 1),
        "a byte more in it": opening(n) + run(7, n + 1),
        "no block": opening(n),
        "half of a block": opening(n) + blocks[:-1],
        "no last block": opening(n) + block(1, n, b"\x07", last=False),
        "a block of the reserved kind": opening(n) + block(3, n, b"\x07", last=True),
        "a block above 128 KiB": opening(n) + block(0, (1 << 17) + 1, b"\x07", last=True),
        "a compressed block of nonsense": opening(n) + block(2, 9, b"\xff" * 9, last=True),
        "a byte after it": opening(n) + blocks + b"\0",
        "an empty frame after it": opening(n) + blocks + magic + b"\x20\x00\x01\x00\x00",
        "a second frame after it": (opening(n) + blocks) * 2,
        "its content in two frames": same(7, n // 2) * 2,
        "a skippable frame before it": skippable + opening(n) + blocks,
        "a skippable frame after it": opening(n) + blocks + skippable,
        "a skippable frame alone": skippable,
    }
    bomb = wrong("text: 256 MiB in it, as it says", 3, same(7, 1 << 28), 1 << 16)
    cut = wrong("text: a frame of a library, its last byte cut off", 3, TEXT_FRAME[:-1], len(TEXT))
    flipped = bytearray(TEXT_FRAME)
    flipped[7] ^= 0x40
    half = header(FLOAT16) + form(None) + form(EXPONENTS_FRAME[:-1]) + noise("mantissas", 400) + EXPONENTS_FRAME[:-1]
    return [
        *(wrong(f"text: {name}", 3, frame, n) for name, frame in frames.items()),
        bomb,
        cut,
        wrong("text: a frame of a library, a bit flipped", 3, bytes(flipped), len(TEXT)),
        wrong("planes: a frame of a library, its last byte cut off", 1, half, 800),
        wrong("delta: a frame of another length", 2, header(INT8) + form(same(5, 299)) + same(5, 299), n, bytes(n)),
    ]


def make() -> str:
    taken = texts() + planes() + deltas()
    refused = refused_whole() + refused_headers() + refused_frames()
    rows = ",\n".join("  " + json.dumps(vector) for vector in taken + refused)
    return f'{{\n "vectors": [\n{rows}\n ]\n}}\n'


if __name__ == "__main__":
    FILE.write_text(make(), encoding="utf-8")
