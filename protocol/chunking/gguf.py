"""The structural rule for GGUF: where the tensors of a model for llama.cpp start.

It follows lengths and counts and nothing else: names, values and quantization types mean nothing to it, and a file that
it accepts may still be refused by the parser that guards the engine. It never raises on bytes, and time and memory are
bounded by the limits below, which are frozen with the profile (specs/content.md §4.3).
"""

from __future__ import annotations

from typing import Final

from samara.protocol.chunking._window import BrokenRuleError, Window
from samara.protocol.chunking.layout import MAX_STARTS, Kind, Layout, ReadAt
from samara.protocol.limits import KIB, MIB

__all__ = ["MAGIC", "layout_gguf"]

MAGIC: Final = b"GGUF"

MAX_HEADER: Final = 256 * MIB
"""Bytes up to the end of the tensor infos; a vocabulary of 256k tokens takes about 10 MB."""

MAX_KEYS: Final = 1 << 16
"""Key/value pairs; real files have some dozens."""

MAX_STRINGS: Final = 1 << 21
"""Strings in all arrays together: tokens and merges of the largest vocabularies are below one million."""

MAX_DIMS: Final = 4
"""Dimensions of a tensor, as in ggml."""

MAX_NAME: Final = (1 << 16) - 1
"""Bytes of a key or of a tensor's name, as GGUF has it."""

DEFAULT_ALIGNMENT: Final = 32

_VERSIONS: Final = (2, 3)
_ALIGNMENT_KEY: Final = b"general.alignment"
_U32, _STRING, _ARRAY = 4, 8, 9
# Bytes of a value by type: u8 i8 u16 i16 u32 i32 f32 bool, and u64 i64 f64 after string and array.
_WIDTHS: Final = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_MARGIN: Final = 4 * KIB


def layout_gguf(size: int, read_at: ReadAt) -> Layout | None:
    """Return the layout of a GGUF file, or None when the rule does not hold.

    Args:
        size: Bytes of the file.
        read_at: Reads bytes of it.

    Source: specs/content.md §4.3; the GGUF specification of ggml.
    """
    try:
        return _parse(size, Window(read_at, 0, min(size, MAX_HEADER)))
    except BrokenRuleError:
        return None


def _parse(size: int, window: Window) -> Layout:
    if window.take(4) != MAGIC or window.uint(4) not in _VERSIONS:
        raise BrokenRuleError("not GGUF 2 or 3")
    tensors, keys = window.uint(8), window.uint(8)
    if tensors > MAX_STARTS or keys > MAX_KEYS:
        raise BrokenRuleError(f"{tensors} tensors, {keys} keys")
    alignment = _skip_values(window, keys)
    offsets = _tensor_offsets(window, tensors, alignment)
    # A file without tensors (a vocabulary) may end right after its infos, unpadded.
    header = min(-(-window.offset // alignment) * alignment, size)
    if offsets and header + max(offsets) > size:
        raise BrokenRuleError("a tensor starts past the end of the file")
    return Layout.of_data(Kind.GGUF, size, header, {header + offset for offset in offsets})


def _skip_values(window: Window, keys: int) -> int:
    """Go past the key/value pairs and return the alignment."""
    alignment: int | None = None
    strings = 0
    for _ in range(keys):
        length = window.uint(8)
        # Only a key of the right length is looked at, so no claimed length is ever allocated.
        is_alignment = length == len(_ALIGNMENT_KEY) and window.take(length) == _ALIGNMENT_KEY
        if length != len(_ALIGNMENT_KEY):
            _skip_name(window, length)
        kind = window.uint(4)
        if is_alignment:
            if alignment is not None or kind != _U32:
                raise BrokenRuleError("general.alignment twice, or not a u32")
            alignment = window.uint(4)
        else:
            strings += _skip_value(window, kind, MAX_STRINGS - strings)
    if alignment is None:
        return DEFAULT_ALIGNMENT
    if alignment == 0 or alignment & (alignment - 1):
        raise BrokenRuleError(f"an alignment of {alignment}")
    return alignment


def _skip_value(window: Window, kind: int, budget: int) -> int:
    """Go past one value; return how many strings of an array it cost."""
    if kind == _STRING:
        window.skip(window.uint(8))
        return 0
    if kind != _ARRAY:
        window.skip(_width(kind))
        return 0
    element, count = window.uint(4), window.uint(8)
    if element != _STRING:  # an array of arrays has no width, and is refused with the unknown types
        window.skip(_width(element) * count)
        return 0
    if count > budget:
        raise BrokenRuleError(f"{count} strings")
    _skip_strings(window, count)
    return count


def _skip_strings(window: Window, count: int) -> None:
    """Go past `count` strings. The one loop here that runs a million times on honest files."""
    while count:
        if window.fill(_MARGIN) < 8:
            raise BrokenRuleError("an array ends in the middle of a string")
        data, pos, last = window.data, window.pos, len(window.data) - 8
        while count and pos <= last:
            pos += 8 + int.from_bytes(data[pos : pos + 8], "little")
            count -= 1
        window.skip(pos - window.pos)


def _tensor_offsets(window: Window, tensors: int, alignment: int) -> set[int]:
    offsets: set[int] = set()
    for _ in range(tensors):
        _skip_name(window, window.uint(8))
        dims = window.uint(4)
        if dims > MAX_DIMS:
            raise BrokenRuleError(f"a tensor of {dims} dimensions")
        window.skip(8 * dims + 4)  # the dimensions and the type
        offset = window.uint(8)
        if offset % alignment:
            raise BrokenRuleError("a tensor that is not aligned")
        offsets.add(offset)
    return offsets


def _skip_name(window: Window, length: int) -> None:
    if length > MAX_NAME:
        raise BrokenRuleError(f"a name of {length} bytes")
    window.skip(length)


def _width(kind: int) -> int:
    if kind not in _WIDTHS:
        raise BrokenRuleError(f"a value of type {kind}")
    return _WIDTHS[kind]
