"""Slow and plain: specs/content.md §4–§6 read off the page, over whole byte strings, to hold the fast code against."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from blake3 import blake3

__all__ = ["GEAR", "WIDTHS", "cut_header", "ends", "layout", "tree"]

VECTORS = Path(__file__).resolve().parents[2] / "specs" / "vectors" / "content"
_PROFILE = json.loads((VECTORS / "gear.json").read_text())
GEAR = [int(value, 16) for row in _PROFILE["gear"] for value in row.split()]
_BELOW = int(_PROFILE["mask_below_average"], 16)
_FROM = int(_PROFILE["mask_from_average"], 16)
WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


class BrokenError(Exception):
    """A statement of §4 does not hold."""


def cut_header(data: bytes) -> list[int]:
    """Ends of the chunks of a header region (§5)."""
    ends, start = [], 0
    while start < len(data):
        start += _next(data[start : start + 262144], len(data) - start)
        ends.append(start)
    return ends


def _next(b: bytes, n: int) -> int:
    if n <= 16384:
        return n
    end = min(n, 262144) // 2 * 2
    centre = min(n, 65536) // 2 * 2
    h = 0
    for i in range(16384, end):
        h = (2 * h + GEAR[b[i]]) % 2**64
        if h & (_BELOW if i < centre else _FROM) == 0:
            return i
    return min(n, 262144)


def layout(data: bytes) -> tuple[str, int, list[int]]:
    """Kind, H and starts (§4.1)."""
    try:
        if data[:4] == b"GGUF":
            kind, (header, starts) = "gguf", _gguf(data)
        else:
            kind, (header, starts) = "safetensors", _safetensors(data)
    except (BrokenError, struct.error, ValueError, RecursionError):
        return "generic", len(data), []
    if header == len(data):
        return kind, header, []
    return kind, header, sorted({header, *starts} - {len(data)})


def _need(holds: bool) -> None:
    if not holds:
        raise BrokenError


def _safetensors(data: bytes) -> tuple[int, list[int]]:
    (n,) = struct.unpack_from("<Q", data)
    _need(2 <= n <= 100_000_000 and 8 + n <= len(data) and data[8] == ord("{"))
    members = 0

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal members
        members += len(items)
        _need(len({name for name, _ in items}) == len(items))
        return dict(items)

    def number(text: str) -> str:
        _need(len(text) <= 64)
        return "number " + text

    header = json.loads(
        data[8 : 8 + n].decode(), object_pairs_hook=pairs, parse_int=number, parse_float=number, parse_constant=_refuse
    )
    text = data[8 : 8 + n].decode()
    _need(_depth(header) <= 16 and _values(header) <= 1048576 and members <= 524288)
    names = [name for value in _objects(header) for name in value]
    strings = re.finditer(r'("(?:[^"\\]|\\.)*")\s*(:?)', text, re.DOTALL)
    _need(not any("\\" in found[1] for found in strings if found[2]))
    _need(all(len(name.encode()) <= 1024 for name in names))
    starts = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        _need(isinstance(entry, dict) and "data_offsets" in entry)
        offsets = entry["data_offsets"]
        _need(isinstance(offsets, list) and len(offsets) == 2)
        a, b = (_int(value) for value in offsets)
        _need(a <= b <= len(data) - 8 - n)
        starts.append(8 + n + a)
    _need(len(header) - ("__metadata__" in header) <= 131072)
    return 8 + n, starts


def _refuse(_: str) -> None:
    raise BrokenError


def _int(value: object) -> int:
    _need(isinstance(value, str) and value.startswith("number "))
    digits = str(value).removeprefix("number ")
    _need(digits.isascii() and digits.isdigit() and len(digits) <= 16)
    return int(digits)


def _depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0


def _values(value: object) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(_values, inside))


def _objects(value: object) -> list[dict[str, Any]]:
    inside = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    found = [inner for item in inside for inner in _objects(item)]
    return [value, *found] if isinstance(value, dict) else found


def _gguf(data: bytes) -> tuple[int, list[int]]:
    at = 4
    end = min(len(data), 268435456)

    def take(length: int) -> bytes:
        nonlocal at
        _need(at + length <= end)
        at += length
        return data[at - length : at]

    def uint(width: int) -> int:
        return int.from_bytes(take(width), "little")

    _need(uint(4) in (2, 3))
    tensors, keys = uint(8), uint(8)
    _need(tensors <= 131072 and keys <= 65536)
    alignment, strings = None, 0
    for _ in range(keys):
        length = uint(8)
        _need(length <= 65535)
        key, kind = take(length), uint(4)
        if key == b"general.alignment":
            _need(kind == 4 and alignment is None)
            alignment = uint(4)
            _need(alignment > 0 and alignment & (alignment - 1) == 0)
        elif kind == 8:
            take(uint(8))
        elif kind == 9:
            element, count = uint(4), uint(8)
            if element == 8:
                strings += count
                _need(strings <= 2097152)
                for _ in range(count):
                    take(uint(8))
            else:
                _need(element in WIDTHS)
                take(WIDTHS[element] * count)
        else:
            _need(kind in WIDTHS)
            take(WIDTHS[kind])
    alignment = alignment or 32
    offsets = []
    for _ in range(tensors):
        length = uint(8)
        _need(length <= 65535)
        take(length)
        dims = uint(4)
        _need(dims <= 4)
        take(8 * dims + 4)
        offsets.append(uint(8))
        _need(offsets[-1] % alignment == 0)
    header = at
    while header % alignment and header < len(data):
        header += 1
    _need(all(header + offset <= len(data) for offset in offsets))
    return header, [header + offset for offset in offsets]


def ends(data: bytes) -> list[int]:
    """Ends of all chunks of a stream that may have a structure (§4)."""
    _, header, starts = layout(data)
    found = cut_header(data[:header])
    chunks: list[tuple[int, int, bool]] = []  # start, end, of small segments
    for start, end in zip(starts, [*starts, len(data)][1:], strict=bool(starts)):
        if end - start >= 65536:
            chunks += [(at, min(at + 1048576, end), False) for at in range(start, end, 1048576)]
        elif chunks and chunks[-1][2] and end - chunks[-1][0] <= 262144:
            chunks[-1] = (chunks[-1][0], end, True)
        else:
            chunks.append((start, end, True))
    return found + [end for _, end, _ in chunks]


def tree(chunks: Sequence[tuple[bytes, int]], *, table: bool = False, profile: int = 1) -> tuple[bytes, list[bytes]]:
    """Root and nodes of a list (§6): the root first, equal nodes once."""
    if not chunks:
        return blake3(b"").digest(), []
    if len(chunks) == 1 and not table:
        return chunks[0][0], []
    levels: list[list[bytes]] = []
    level, below, form = 0, list(chunks), "<32sI"
    while True:
        made = []
        levels.insert(0, [])
        for at in range(0, len(below), 8192):
            part = below[at : at + 8192]
            length = sum(size for _, size in part)
            node = b"samaraCL" + struct.pack("<BBHIQ", 1, level, profile, len(part), length)
            node += b"".join(struct.pack(form, name, size) for name, size in part)
            levels[0].append(node)
            made.append((blake3(node).digest(), length))
        if len(made) == 1:
            return made[0][0], list(dict.fromkeys(node for nodes in levels for node in nodes))
        level, below, form = level + 1, made, "<32sQ"
