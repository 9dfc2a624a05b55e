"""Reads a safetensors header as a hostile claim: strict, one tensor at a time, in bounded time and memory.

The safetensors library itself accepts two tensors of one name, NUL and `../` in names, and fields that nobody defined;
so this reader has its own grammar, which is JSON with exactly the shape that the format has:

    {"__metadata__": {"key": "value", …}, "name": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}, …}

A header of 100 MB is never held: tokens are matched in a sliding buffer, and only names and offsets are kept. In data
order the tensors must begin at 0, follow each other without overlap or gap, and end with the file.

Source: safetensors, README "Format", and `Metadata::validate` of its Rust implementation.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Final, cast, final

from samara.protocol.errors import ModelHeaderError
from samara.protocol.formats.header import WINDOW, Each, ModelFacts, ReadAt, is_plain, shown
from samara.protocol.limits import (
    MAX_CHECKED_TENSORS,
    MAX_HEADER_KEY,
    MAX_HEADER_KEYS,
    MAX_HEADER_METADATA,
    MAX_HEADER_VALUE,
    MAX_SAFETENSORS_HEADER,
    MAX_TENSOR_DIMENSIONS,
    MAX_TENSOR_ENTRY,
    MAX_TENSOR_NAME,
)

__all__ = ["DTYPE_BITS", "looks_like_safetensors", "read_safetensors"]

DTYPE_BITS: Final = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "BOOL", "I8", "U8"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
"""Bits of one element, by dtype."""

_FIELDS: Final = frozenset(["dtype", "shape", "data_offsets"])
_METADATA: Final = "__metadata__"
_LENGTH_BYTES: Final = 8

# Possessive throughout: a token is matched in one pass or not at all, so no input makes the matching slow.
_SPACE: Final = re.compile(rb"[ \t\r\n]*+")
_STRING: Final = re.compile(rb'"(?:[^"\\\x00-\x1f]++|(?:\\["\\/bfnrtu])++)*+"')
_ENTRY: Final = re.compile(rb"\{[^{}]*+\}")
_MARKS: Final = {mark: re.compile(re.escape(mark)) for mark in (b"{", b"}", b":", b",")}


def looks_like_safetensors(read_at: ReadAt, size: int) -> bool:
    """Tell whether a file claims to be safetensors: a plausible length, and a `{` behind it."""
    head = read_at(0, min(size, _LENGTH_BYTES + 1))
    length = int.from_bytes(head[:_LENGTH_BYTES], "little")
    return len(head) == _LENGTH_BYTES + 1 and head[-1:] == b"{" and 2 <= length <= MAX_SAFETENSORS_HEADER


def read_safetensors(read_at: ReadAt, size: int, each: Each | None = None) -> ModelFacts:
    """Check the header of a safetensors file and tell what it says; the architecture is not in it.

    Args:
        read_at: Reads the file.
        size: Bytes of the file.
        each: Is told of each tensor, as it stands in the header; nothing is to be believed before the call returns.

    Raises:
        ModelHeaderError: The header lies, or is outside the bounds.
    """
    length = int.from_bytes(read_at(0, min(size, _LENGTH_BYTES)), "little")
    if size < _LENGTH_BYTES or not 2 <= length <= min(MAX_SAFETENSORS_HEADER, size - _LENGTH_BYTES):
        raise ModelHeaderError(
            f"a header of {length} bytes in a file of {size}: at most {MAX_SAFETENSORS_HEADER}, and inside it"
        )
    scanner = _Scanner(read_at, _LENGTH_BYTES, _LENGTH_BYTES + length)
    found = _Found(size - _LENGTH_BYTES - length, each)
    licence: str | None = None
    for name in scanner.keys_of_object(MAX_TENSOR_NAME):
        if name == _METADATA:
            licence = _read_metadata(scanner)
        else:
            found.add(name, scanner.token(_ENTRY, MAX_TENSOR_ENTRY, "a tensor"))
    scanner.finish()
    found.check_places()
    return ModelFacts(
        container="safetensors",
        header_bytes=_LENGTH_BYTES + length,
        tensors=len(found.places),
        tensor_bytes=found.size,
        parameters=found.elements,
        quantization=found.bytes_by_dtype.most_common(1)[0][0] if found.bytes_by_dtype else None,
        license=licence,
    )


@final
class _Scanner:
    """Matches tokens from front to back in a buffer that slides over the header."""

    def __init__(self, read_at: ReadAt, start: int, end: int) -> None:
        self._read_at = read_at
        self._offset = start  # of the next byte to be read
        self._end = end
        self._buffer = b""
        self._at = 0

    @property
    def position(self) -> int:
        """Offset in the file of the next byte that is matched."""
        return self._offset - len(self._buffer) + self._at

    def token(self, pattern: re.Pattern[bytes], limit: int, what: str) -> bytes:
        """Return the next token, white space before it left out.

        Raises:
            ModelHeaderError: Something else stands there, or it is longer than `limit` bytes.
        """
        self._skip_space()
        while (match := pattern.match(self._buffer, self._at)) is None:
            if len(self._buffer) - self._at >= limit or not self._extend():
                here = shown(self._buffer[self._at : self._at + 40].decode("latin-1"))
                raise ModelHeaderError(
                    f"the header is malformed where {what} should be (at most {limit} bytes): {here!r}"
                )
        if len(match[0]) > limit:
            raise ModelHeaderError(f"{what} has {len(match[0])} bytes: at most {limit}")
        self._at = match.end()
        return match[0]

    def text(self, limit: int, what: str) -> str:
        """Return the next token as a string of at most `limit` bytes of JSON between its quotes."""
        raw = self.token(_STRING, limit + 2, what)
        try:
            return cast("str", json.loads(raw.decode("utf-8")))
        except ValueError:
            raise ModelHeaderError(f"{what} is not a JSON string in UTF-8: {shown(repr(raw[:40]))}") from None

    def keys_of_object(self, key_limit: int) -> _Keys:
        """Iterate over the keys of the object that comes next; whoever iterates takes the value after each key."""
        return _Keys(self, key_limit)

    def finish(self) -> None:
        """Nothing but white space may be left."""
        self._skip_space()
        if self._at < len(self._buffer):
            raise ModelHeaderError("the header has bytes after its JSON")

    def peek(self) -> bytes:
        """Return the next byte that is not white space, or b"" at the end."""
        self._skip_space()
        return self._buffer[self._at : self._at + 1]

    def _skip_space(self) -> None:
        while True:
            match = _SPACE.match(self._buffer, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._buffer) or not self._extend():
                return

    def _extend(self) -> bool:
        """Read on, and drop what was matched; False at the end of the header."""
        # Doubling, so that a long string is matched anew no more than its own length again.
        wanted = min(max(WINDOW, len(self._buffer) - self._at), self._end - self._offset)
        if not wanted:
            return False
        more = bytes(self._read_at(self._offset, wanted))
        if len(more) != wanted:
            raise ModelHeaderError(f"the file ends at byte {self._offset + len(more)}, inside its header")
        self._buffer = self._buffer[self._at :] + more
        self._offset += wanted
        self._at = 0
        return True


@final
class _Keys:
    """The keys of one JSON object: each once, each plain, each followed by a colon that is taken too."""

    def __init__(self, scanner: _Scanner, limit: int) -> None:
        self._scanner = scanner
        self._limit = limit
        self._seen: set[str] = set()
        scanner.token(_MARKS[b"{"], 1, "an object")

    def __iter__(self) -> _Keys:
        return self

    def __next__(self) -> str:
        scanner = self._scanner
        if scanner.peek() == b"}":
            scanner.token(_MARKS[b"}"], 1, "the end of an object")
            raise StopIteration
        if self._seen:
            scanner.token(_MARKS[b","], 1, "a comma")
        name = scanner.text(self._limit, "a name")
        if name in self._seen:
            raise ModelHeaderError(f"the name {shown(name)!r} stands twice")
        self._seen.add(name)
        scanner.token(_MARKS[b":"], 1, "a colon")
        return name


def _read_metadata(scanner: _Scanner) -> str | None:
    """Pass over the metadata, which must be strings by name; return the licence that it may state."""
    licence: str | None = None
    start = scanner.position
    for count, key in enumerate(scanner.keys_of_object(MAX_HEADER_KEY), 1):
        if count > MAX_HEADER_KEYS:
            raise ModelHeaderError(f"{_METADATA} has more than {MAX_HEADER_KEYS} keys")
        value = scanner.text(MAX_HEADER_VALUE, f"a string of {_METADATA}")
        if scanner.position - start > MAX_HEADER_METADATA:
            raise ModelHeaderError(f"{_METADATA} has more than {MAX_HEADER_METADATA} bytes")
        if key in ("license", "modelspec.license"):
            licence = shown(value)
    return licence


@final
class _Found:
    """The tensors, as they are found.

    Args:
        data: Bytes of the file behind its header.
        each: Is told of each.
    """

    def __init__(self, data: int, each: Each | None) -> None:
        self.data = data
        self._each = each
        self.places: list[tuple[int, int, str]] = []
        self.size = 0
        self.elements = 0
        self.bytes_by_dtype: Counter[str] = Counter()

    def add(self, name: str, raw: bytes) -> None:
        """Check one tensor by itself."""
        if len(self.places) == MAX_CHECKED_TENSORS:
            raise ModelHeaderError(f"more than {MAX_CHECKED_TENSORS} tensors")
        if not name or not is_plain(name) or "\\" in name or name.startswith("/") or ".." in name.split("/"):
            raise ModelHeaderError(f"the tensor name {shown(name)!r} is empty, unprintable or a path")
        dtype, shape, (begin, end) = _parse_entry(name, raw)
        elements = 1
        for length in shape:
            elements *= length
        bits = elements * DTYPE_BITS[dtype]
        if bits != 8 * (end - begin):
            raise ModelHeaderError(f"the tensor {name}: {dtype} of shape {shape} is not {end - begin} bytes")
        self.places.append((begin, end, name))
        self.size += end - begin
        self.elements += elements
        self.bytes_by_dtype[dtype] += end - begin
        if self._each is not None:
            self._each(name, dtype, tuple(shape), begin, end)

    def check_places(self) -> None:
        """Check that the tensors fill the data, without overlap or gap."""
        expected = 0
        for begin, end, name in sorted(self.places):
            if begin != expected:
                lie = "overlaps the one before" if begin < expected else "leaves a gap before it"
                raise ModelHeaderError(f"the tensor {name} lies at {begin}, expected {expected}: it {lie}")
            expected = end
        if expected != self.data:
            raise ModelHeaderError(f"the tensors end at byte {expected} of {self.data} bytes of data")


def _parse_entry(name: str, raw: bytes) -> tuple[str, list[int], tuple[int, int]]:
    try:
        pairs = json.loads(raw.decode("utf-8"), object_pairs_hook=list)
    except (ValueError, RecursionError):
        pairs = []
    fields = {key: value for key, value in pairs if isinstance(key, str)}
    if len(pairs) != len(_FIELDS) or fields.keys() != _FIELDS:
        raise ModelHeaderError(
            f"the tensor {name} must have dtype, shape and data_offsets, once each: {shown(repr(raw), 120)}"
        )
    dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise ModelHeaderError(f"the tensor {name} has the unknown dtype {shown(repr(dtype), 40)}")
    if not _are_lengths(shape) or len(shape) > MAX_TENSOR_DIMENSIONS:
        raise ModelHeaderError(f"the tensor {name} has the shape {shown(repr(shape), 80)}")
    if not _are_lengths(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ModelHeaderError(f"the tensor {name} has the offsets {shown(repr(offsets), 80)}")
    return dtype, shape, (offsets[0], offsets[1])


def _are_lengths(value: object) -> bool:
    # type(): True is an int to isinstance, and 2.0 would pass as equal.
    return isinstance(value, list) and all(type(v) is int and 0 <= v < 1 << 63 for v in value)
