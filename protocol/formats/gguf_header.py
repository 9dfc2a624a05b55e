"""The bytes of a GGUF header, read as a hostile claim: strict, in bounded time and memory.

What is checked, in the order of the file: magic and version; counts against the bytes that are left; every key once and
every value inside the header; every tensor once, of a known type, with dimensions whose bytes are what its neighbours
leave; tensors in order, without overlap or gap, inside the file. What the numbers mean is judged in `gguf`.

Vocabularies are passed over, never held: of an array only its type and count are kept, and few numbers.

Source: GGUF specification (ggml, docs/gguf.md), versions 2 and 3, "File Structure".
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from samara.protocol.errors import ModelHeaderError
from samara.protocol.formats.ggml_types import TENSOR_TYPES, TensorType
from samara.protocol.formats.header import Each, HeaderReader, ReadAt, is_plain, shown
from samara.protocol.limits import (
    KIB,
    MAX_CHAT_TEMPLATE,
    MAX_CHECKED_TENSORS,
    MAX_GGUF_HEADER,
    MAX_HEADER_KEY,
    MAX_HEADER_KEYS,
    MAX_HEADER_STRINGS,
    MAX_LAYERS,
    MIB,
)

__all__ = ["F32", "I32", "MAGIC", "STRING", "GgufHeader", "Metadata", "Tensors", "read_gguf_header"]

MAGIC: Final = b"GGUF"

MAX_NAME: Final = 63
"""Bytes of a tensor's name: ggml's own array has 64 with its end mark."""

MAX_DIMENSIONS: Final = 4
"""Dimensions of a tensor in ggml."""

MAX_ALIGNMENT: Final = MIB
"""Alignment of tensors, in bytes: 32 by default, a page or a huge sector at most."""

MAX_KEPT_TEXT: Final = 4 * KIB
"""Bytes of a name or a licence that are looked at."""

_HEAD: Final = struct.Struct("<4sIQQ")
_U32: Final = struct.Struct("<I")
_U64: Final = struct.Struct("<Q")
_ARRAY: Final = struct.Struct("<IQ")
_TENSOR_TAIL: Final = struct.Struct("<IQ")

STRING: Final = 8
_ARRAY_TYPE: Final = 9
_U32_TYPE: Final = 4
I32: Final = 5
F32: Final = 6
_BOOL_TYPE: Final = 7
_SCALARS: Final[Mapping[int, struct.Struct]] = {
    number: struct.Struct("<" + code)
    for number, code in zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIifBQqd", strict=True)
}

_BLOCK: Final = re.compile(r"(?:enc\.|dec\.)?blk\.(\d+)\.")

_TEMPLATE: Final = "tokenizer.chat_template"
_TEXTS: Final = frozenset(["general.architecture", "general.name", "general.basename", "general.license"])


@dataclass(slots=True)
class Array:
    """An array that was passed over."""

    type: int
    count: int
    numbers: tuple[int, ...] = ()  # only of integers, at most one a layer


@dataclass(slots=True)
class Metadata:
    """The key-value pairs, as far as they are kept."""

    numbers: dict[str, int | float | bool] = field(default_factory=dict)
    types: dict[str, int] = field(default_factory=dict)  # every key that was seen, with its value's type
    texts: dict[str, str] = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)
    strings: int = 0  # in all arrays so far

    def integer(self, key: str, low: int, high: int) -> int | None:
        """Return an integer value inside its bounds, or None when the key is missing."""
        if key not in self.types:
            return None
        value = self.numbers.get(key)
        if type(value) is not int:
            raise ModelHeaderError(f"{key} is not an integer")
        if not low <= value <= high:
            raise ModelHeaderError(f"{key} = {value}: must lie between {low} and {high}")
        return value


@dataclass(slots=True)
class Tensors:
    """The tensor infos, summed up."""

    count: int = 0
    size: int = 0  # bytes without padding
    end: int = 0  # offset behind the last tensor, from the start of the data
    elements: int = 0
    last_block: int | None = None
    bytes_by_type: Counter[str] = field(default_factory=Counter)
    embedding: tuple[int, ...] | None = None  # dimensions of token_embd.weight


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """A header whose bytes are sound; what it says is not yet judged.

    Attributes:
        metadata: The key-value pairs.
        tensors: The tensor infos, summed up.
        end: Bytes of the header.
        data: Where in the file the data begin.
    """

    metadata: Metadata
    tensors: Tensors
    end: int
    data: int


def read_gguf_header(read_at: ReadAt, size: int, each: Each | None = None) -> GgufHeader:
    """Read the header of a GGUF file.

    Args:
        read_at: Reads the file.
        size: Bytes of the file.
        each: Is told of each tensor, as it stands in the header; nothing is to be believed before the call returns.

    Raises:
        ModelHeaderError: The bytes lie, or are outside the bounds.
    """
    reader = HeaderReader(read_at, size, MAX_GGUF_HEADER)
    tensor_count, key_count = _read_head(reader)
    metadata = Metadata()
    for _ in range(key_count):
        _read_pair(reader, metadata)
    alignment = _alignment(metadata)
    tensors = _read_tensors(reader, tensor_count, alignment, each)
    _check_place(tensors, reader.position, alignment, size)
    return GgufHeader(metadata, tensors, reader.position, -(-reader.position // alignment) * alignment)


def _read_head(reader: HeaderReader) -> tuple[int, int]:
    magic, version, tensors, keys = _HEAD.unpack(reader.take(_HEAD.size, "the GGUF head"))
    if magic != MAGIC:
        raise ModelHeaderError(f"not a GGUF file: it begins with {magic!r}")
    if version not in (2, 3):
        swapped = int.from_bytes(version.to_bytes(4, "big"), "little")
        kind = "big-endian" if swapped in (2, 3) else f"of version {version}"
        raise ModelHeaderError(f"a GGUF file {kind}: only little-endian versions 2 and 3 are read")
    if tensors > MAX_CHECKED_TENSORS or keys > MAX_HEADER_KEYS:
        raise ModelHeaderError(
            f"{tensors} tensors and {keys} keys: at most {MAX_CHECKED_TENSORS} and {MAX_HEADER_KEYS} are taken"
        )
    # The shortest pair has 14 bytes (a key of one letter, one byte of value), the shortest tensor 25.
    reader.require(14 * keys + 25 * tensors, f"a header of {tensors} tensors and {keys} keys")
    return tensors, keys


def _read_text(reader: HeaderReader, limit: int, what: str) -> str:
    (length,) = _U64.unpack(reader.take(8, what))
    if length > limit:
        raise ModelHeaderError(f"{what} of {length} bytes at byte {reader.position}: at most {limit}")
    try:
        text = reader.take(length, what).decode("utf-8")
    except UnicodeDecodeError:
        raise ModelHeaderError(f"{what} at byte {reader.position} is not UTF-8") from None
    if not text or not is_plain(text):
        raise ModelHeaderError(f"{what} is empty or has control characters: {shown(text, 80)!r}")
    return text


def _read_pair(reader: HeaderReader, meta: Metadata) -> None:
    key = _read_text(reader, MAX_HEADER_KEY, "a key")
    if key in meta.types:
        raise ModelHeaderError(f"the key {key} stands twice")
    (kind,) = _U32.unpack(reader.take(4, f"the type of {key}"))
    meta.types[key] = kind
    if (scalar := _SCALARS.get(kind)) is not None:
        meta.numbers[key] = _read_scalar(reader, kind, scalar, key)
    elif kind == STRING:
        _read_string(reader, key, meta)
    elif kind == _ARRAY_TYPE:
        _read_array(reader, key, meta)
    else:
        raise ModelHeaderError(f"{key} has the unknown value type {kind}")


def _read_scalar(reader: HeaderReader, kind: int, scalar: struct.Struct, key: str) -> int | float | bool:
    value: int | float = scalar.unpack(reader.take(scalar.size, key))[0]
    if kind != _BOOL_TYPE:
        return value
    if value not in (0, 1):
        raise ModelHeaderError(f"{key} is a truth value of {value}")
    return bool(value)


def _read_string(reader: HeaderReader, key: str, meta: Metadata) -> None:
    (length,) = _U64.unpack(reader.take(8, key))
    reader.require(length, key)
    if key.startswith(_TEMPLATE) and length > MAX_CHAT_TEMPLATE:
        raise ModelHeaderError(f"{key} has {length} bytes: at most {MAX_CHAT_TEMPLATE}")
    if key in _TEXTS:
        kept = min(length, MAX_KEPT_TEXT)
        meta.texts[key] = reader.take(kept, key).decode("utf-8", "replace")
        reader.skip(length - kept, key)
    else:
        reader.skip(length, key)


def _read_array(reader: HeaderReader, key: str, meta: Metadata) -> None:
    kind, count = _ARRAY.unpack(reader.take(_ARRAY.size, key))
    array = Array(kind, count)
    if kind == STRING:
        meta.strings += count
        if meta.strings > MAX_HEADER_STRINGS:
            raise ModelHeaderError(
                f"{key} brings the strings of the header to {meta.strings}: at most {MAX_HEADER_STRINGS}"
            )
        reader.require(8 * count, key)
        reader.skip_strings(count, f"a string of {key}")
    elif (scalar := _SCALARS.get(kind)) is not None:
        if count <= MAX_LAYERS and kind != F32:
            raw = reader.take(scalar.size * count, key)
            array.numbers = tuple(v[0] for v in scalar.iter_unpack(raw) if type(v[0]) is int)
        else:
            reader.skip(scalar.size * count, key)
    else:
        raise ModelHeaderError(f"{key} is an array of type {kind}: nested and unknown arrays are refused")
    meta.arrays[key] = array


def _alignment(meta: Metadata) -> int:
    value = meta.integer("general.alignment", 1, MAX_ALIGNMENT)
    if value is None:
        return 32
    if meta.types["general.alignment"] != _U32_TYPE or value & (value - 1):
        raise ModelHeaderError(f"general.alignment = {value}: must be a u32 that is a power of two")
    return value


def _read_tensors(reader: HeaderReader, count: int, alignment: int, each: Each | None) -> Tensors:
    tensors = Tensors()
    names: set[str] = set()
    for _ in range(count):
        name = _read_text(reader, MAX_NAME, "a tensor's name")
        if name in names or "\\" in name or name.startswith("/") or ".." in name.split("/"):
            raise ModelHeaderError(f"the tensor name {name!r} stands twice or is a path")
        names.add(name)
        (rank,) = _U32.unpack(reader.take(4, name))
        if rank > MAX_DIMENSIONS:
            raise ModelHeaderError(f"the tensor {name} has {rank} dimensions: at most {MAX_DIMENSIONS}")
        dims: tuple[int, ...] = struct.unpack(f"<{rank}Q", reader.take(8 * rank, name))
        kind, offset = _TENSOR_TAIL.unpack(reader.take(_TENSOR_TAIL.size, name))
        _add_tensor(tensors, name, dims, kind, offset, alignment)
        if each is not None:
            each(name, TENSOR_TYPES[kind].name, dims, offset, tensors.end)
    return tensors


def _add_tensor(tensors: Tensors, name: str, dims: tuple[int, ...], kind: int, offset: int, alignment: int) -> None:
    tensor_type = TENSOR_TYPES.get(kind)
    if tensor_type is None:
        raise ModelHeaderError(f"the tensor {name} has type {kind}, whose size is not known here")
    elements, size = _measure(name, dims, tensor_type)
    expected = -(-tensors.end // alignment) * alignment
    if offset != expected:
        kind_of_lie = "overlaps the one before" if offset < expected else "leaves a gap before it"
        raise ModelHeaderError(f"the tensor {name} lies at {offset}, expected {expected}: it {kind_of_lie}")
    tensors.count += 1
    tensors.size += size
    tensors.end = expected + size
    tensors.elements += elements
    tensors.bytes_by_type[tensor_type.name] += size
    if name == "token_embd.weight":
        tensors.embedding = dims
    if (block := _BLOCK.match(name)) is not None:
        tensors.last_block = max(tensors.last_block or 0, int(block[1]))


def _measure(name: str, dims: tuple[int, ...], tensor_type: TensorType) -> tuple[int, int]:
    """Return elements and bytes of a tensor; Python's integers cannot overflow, so the product may be what it is."""
    elements = 1
    for length in dims:
        elements *= length
    if not 0 < elements < 1 << 63:
        raise ModelHeaderError(f"the tensor {name} has dimensions {dims}: a product of {elements}")
    row = dims[0] if dims else 1
    if row % tensor_type.block:
        raise ModelHeaderError(f"the tensor {name} has rows of {row}: {tensor_type.name} needs {tensor_type.block}s")
    return elements, elements // tensor_type.block * tensor_type.size


def _check_place(tensors: Tensors, header_end: int, alignment: int, size: int) -> None:
    start = -(-header_end // alignment) * alignment
    if tensors.count and start + tensors.end > size:
        raise ModelHeaderError(
            f"the tensors end at byte {start + tensors.end}, but the file at byte {size}: it is cut short"
        )
    # Writers pad the last tensor, or do not. More than that is something that no header speaks of.
    if size - (start + tensors.end) >= alignment:
        raise ModelHeaderError(
            f"{size - start - tensors.end} bytes follow the last tensor, and no header speaks of them"
        )
