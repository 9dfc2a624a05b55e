"""Encodings as specs/encodings.md reads, a word and a byte at a time: a reference for `samara.protocol.encodings`.

zstd is the library's: what is in a frame is read from it as a stream, and where the frame ends is found by its blocks.
"""

from __future__ import annotations

import zstandard

__all__ = ["Broken", "decode", "encode", "frame_end", "fresh_header"]

WIDTHS = {1: [1], 2: [1], 3: [1, 1], 4: [1, 1, 1, 1]}
FLOATS = (2, 3, 4)


class Broken(Exception):  # noqa: N818 - not an error of ours: the peer's
    """The payload breaks a rule."""


def _need(holds: bool) -> None:
    if not holds:
        raise Broken


def fresh_header(n: int) -> bytes:
    """What a frame of n bytes begins with (§3)."""
    if n <= 255:
        return bytes([0x28, 0xB5, 0x2F, 0xFD, 0x20, n])
    if n <= 65791:
        return bytes([0x28, 0xB5, 0x2F, 0xFD, 0x60]) + (n - 256).to_bytes(2, "little")
    return bytes([0x28, 0xB5, 0x2F, 0xFD, 0xA0]) + n.to_bytes(4, "little")


def frame_end(frame: bytes, at: int) -> int:
    """Where the blocks of a frame end, from where the first begins (RFC 8878, §3.1.1.2)."""
    while True:
        _need(at + 3 <= len(frame))
        head = int.from_bytes(frame[at : at + 3], "little")
        kind, size = head >> 1 & 3, head >> 3
        _need(kind != 3)
        at += 3 + (1 if kind == 1 else size)
        _need(at <= len(frame))
        if head & 1:
            return at


def unframe(frame: bytes, n: int) -> bytes:
    start = fresh_header(n)
    _need(frame[: len(start)] == start)
    _need(frame_end(frame, len(start)) == len(frame))
    try:
        with zstandard.ZstdDecompressor().stream_reader(frame) as reader:
            data = reader.read(n + 1)
    except zstandard.ZstdError:
        raise Broken from None
    _need(len(data) == n)
    return data


def decode(encoding: int, payload: bytes, length: int, base: bytes | None = None) -> bytes:
    """The chunk (§9)."""
    _need(encoding in (0, 1, 2, 3))
    _need(1 <= length <= 1048576)
    _need((base is not None) == (encoding == 2))
    if encoding == 0:
        _need(len(payload) == length)
        return payload
    _need(len(payload) < length)
    if encoding == 3:
        return unframe(payload, length)
    _need(base is None or len(base) == length)

    at = 0

    def take(size: int) -> bytes:
        nonlocal at
        _need(at + size <= len(payload))
        at += size
        return payload[at - size : at]

    def number(size: int) -> int:
        return int.from_bytes(take(size), "little")

    _need(number(1) == 1)
    kind, start = number(1), number(4)
    _need(1 <= kind <= 5)
    widths = WIDTHS.get(kind) or list(take(number(1)))
    _need(1 <= len(widths) <= 16 and 0 not in widths)
    size = sum(widths)
    _need(start + size <= length)
    count = (length - start) // size
    forms: list[tuple[int, list[tuple[int, int]]]] = []  # fold; for each part: bytes, and bytes of its frame or 0
    for width in widths:
        form, n = number(1), count * width
        fold = form % 4
        _need(fold < 3 and form < (16 if fold else 8))
        parts = [-(-n // (1 << fold)), n] if fold else [n]
        sizes = [number(4) if form & (4 << i) else None for i in range(len(parts))]
        _need(all(framed is None or framed < part for framed, part in zip(sizes, parts, strict=True)))
        forms.append((fold, [(p, -1 if f is None else f) for p, f in zip(parts, sizes, strict=True)]))
    head = take(start)
    tail = take(length - start - count * size)
    planes = []
    for fold, told in forms:
        got = [take(part) if framed < 0 else unframe(take(framed), part) for part, framed in told]
        planes.append(_unfolded(fold, got))
    _need(at == len(payload))
    out = bytearray(head)
    for index in range(count):
        word = b"".join(p[index * width : (index + 1) * width] for p, width in zip(planes, widths, strict=True))
        there = start + index * size
        out += _back(encoding, kind, word, base[there : there + size] if base is not None else b"")
    return bytes(out) + tail


def _unfolded(fold: int, parts: list[bytes]) -> bytes:
    if fold == 0:
        return parts[0]
    low, high = parts
    bits = 8 >> fold
    spread = [byte >> shift & (1 << bits) - 1 for byte in low for shift in range(0, 8, bits)]
    _need(not any(spread[len(high) :]))
    _need(all(byte < 1 << (8 - bits) for byte in high))
    return bytes(above << bits | below for above, below in zip(high, spread, strict=False))


def _back(encoding: int, kind: int, word: bytes, base: bytes) -> bytes:
    if encoding == 1:
        if kind not in (3, 4):
            return word
        bits, x = 8 * len(word), int.from_bytes(word, "little")
        return (x >> 1 | (x & 1) << (bits - 1)).to_bytes(len(word), "little")
    if kind == 5:
        return bytes(_back(2, 1, bytes([z]), bytes([y]))[0] for z, y in zip(word, base, strict=True))
    bits = 8 * len(word)
    z, y = int.from_bytes(word, "little"), int.from_bytes(base, "little")
    d = z // 2 if z % 2 == 0 else (1 << bits) - (z + 1) // 2
    if kind not in FLOATS:
        return ((d + y) % (1 << bits)).to_bytes(len(word), "little")
    m = (d + _order(y, bits)) % (1 << bits)
    x = m - (1 << bits - 1) if m >> (bits - 1) else ~m % (1 << bits)
    return x.to_bytes(len(word), "little")


def _order(x: int, bits: int) -> int:
    return ~x % (1 << bits) if x >> (bits - 1) else x | 1 << (bits - 1)


def _forth(encoding: int, kind: int, word: bytes, base: bytes) -> bytes:
    bits, x, y = 8 * len(word), int.from_bytes(word, "little"), int.from_bytes(base, "little")
    if encoding == 1:
        if kind not in (3, 4):
            return word
        return (x << 1 & (1 << bits) - 1 | x >> (bits - 1)).to_bytes(len(word), "little")
    if kind == 5:
        return bytes(_forth(2, 1, bytes([a]), bytes([b]))[0] for a, b in zip(word, base, strict=True))
    if kind in FLOATS:
        x, y = _order(x, bits), _order(y, bits)
    d = (x - y) % (1 << bits)
    z = 2 * d if d < (1 << bits - 1) else 2 * ((1 << bits) - d) - 1
    return z.to_bytes(len(word), "little")


def encode(
    encoding: int, raw: bytes, kind: int, start: int, fields: list[int], base: bytes | None, folds: list[int]
) -> bytes:
    """The payload of a chunk in encoding 1 or 2, folded as it is told, each part a frame where that saves 2 %."""
    widths = WIDTHS.get(kind) or fields
    size = sum(widths)
    count = (len(raw) - start) // size
    planes = [bytearray() for _ in widths]
    for index in range(count):
        there = start + index * size
        word = _forth(encoding, kind, raw[there : there + size], base[there : there + size] if base else b"")
        for plane, width in zip(planes, widths, strict=True):
            plane += word[:width]
            word = word[width:]
    header = bytes([1, kind]) + start.to_bytes(4, "little") + (bytes([len(fields), *fields]) if kind == 5 else b"")
    body = raw[:start] + raw[start + count * size :]
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=20, min_match=7, hash_log=6)
    for plane, fold in zip(planes, folds, strict=True):
        form, sizes = fold, b""
        for place, part in enumerate(_folded(bytes(plane), fold)):
            frame = zstandard.ZstdCompressor(compression_params=parameters).compress(part)
            if len(frame) * 100 <= len(part) * 98:
                form |= 4 << place
                sizes += len(frame).to_bytes(4, "little")
                body += frame
            else:
                body += part
        header += bytes([form]) + sizes
    return header + body


def _folded(plane: bytes, fold: int) -> list[bytes]:
    if fold == 0:
        return [plane]
    bits = 8 >> fold
    each = 1 << fold
    low = bytearray()
    for index in range(0, len(plane), each):
        byte = 0
        for place, value in enumerate(plane[index : index + each]):
            byte |= (value & (1 << bits) - 1) << (place * bits)
        low.append(byte)
    return [bytes(low), bytes(value >> bits for value in plane)]
