"""The header of a payload of planes: which words, where they begin, and how each plane lies in the payload.

All that a decoder makes room for follows from the chunk's own length, which its chunk list states, and is held against
it here, before anything is unpacked.

Source: specs/encodings.md §4.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final, NamedTuple, final

from samara.protocol.encodings.layout import WordLayout, Words
from samara.protocol.errors import EncodingError
from samara.protocol.limits import MAX_PLANES

__all__ = ["VERSION", "Fold", "Part", "Plane", "Planes", "read", "write"]

VERSION: Final = 1

_FIXED: Final = struct.Struct("<BBI")
_LENGTH: Final = struct.Struct("<I")


@final
class Fold(enum.IntEnum):
    """How many values of a plane share a byte; the number is the one in a payload."""

    WHOLE = 0
    HALVES = 1
    QUARTERS = 2

    @property
    def bits(self) -> int:
        """Bits of a value that are folded; what is above them lies beside it."""
        return 8 >> self

    def lengths(self, length: int) -> tuple[int, ...]:
        """Return the bytes of the parts of a plane of `length` bytes: the plane, or its folded bits and those above."""
        return (-(-length >> self), length) if self else (length,)


@final
@dataclass(frozen=True, slots=True)
class Part:
    """A plane, or what is folded of it or above the fold, as it lies in a payload.

    Attributes:
        data: Its bytes, or the frame that holds them.
        length: Bytes of it.
        packed: It is a frame.
    """

    data: bytes | memoryview
    length: int
    packed: bool


@final
@dataclass(frozen=True, slots=True)
class Plane:
    """One plane.

    Attributes:
        fold: How it lies in its parts.
        parts: One, or two when it is folded.
    """

    fold: Fold
    parts: tuple[Part, ...]


@final
@dataclass(frozen=True, slots=True)
class Planes:
    """A payload taken apart.

    Attributes:
        layout: Where the words are in the chunk.
        count: How many whole words.
        head: What is before them.
        tail: What is after them.
        planes: One for each of `layout.widths`.
    """

    layout: WordLayout
    count: int
    head: memoryview
    tail: memoryview
    planes: tuple[Plane, ...]


def write(layout: WordLayout, planes: Iterable[Plane]) -> bytes:
    """Return the header of a payload."""
    made = bytearray(_FIXED.pack(VERSION, layout.words, layout.start))
    if layout.fields:
        made += bytes((len(layout.fields), *layout.fields))
    for plane in planes:
        made.append(plane.fold | sum(4 << place for place, part in enumerate(plane.parts) if part.packed))
        for part in plane.parts:
            if part.packed:
                made += _LENGTH.pack(len(part.data))
    return bytes(made)


def read(payload: memoryview, length: int) -> Planes:
    """Take a payload apart; nothing is copied.

    Args:
        payload: All of it.
        length: Bytes of the chunk.

    Raises:
        EncodingError: It is not what a chunk of that length can have.
    """
    layout, at = _layout(payload)
    count = layout.count(length)
    if count < 1:
        raise EncodingError(f"no whole word of {layout.size} bytes from {layout.start} on in a chunk of {length}")
    forms: list[_Form] = []
    for width in layout.widths:
        form, at = _form(payload, at, count * width)
        forms.append(form)
    rest = length - layout.start - count * layout.size
    sizes = (part.size for form in forms for part in form.parts)
    ends = list(accumulate((layout.start, rest, *sizes), initial=at))
    if ends[-1] != len(payload):
        raise EncodingError(f"a payload of {len(payload)} bytes whose header promises {ends[-1]}")
    pieces = (payload[a:b] for a, b in pairwise(ends))
    head, tail = next(pieces), next(pieces)
    planes = tuple(
        Plane(form.fold, tuple(Part(next(pieces), part.length, part.packed) for part in form.parts)) for form in forms
    )
    return Planes(layout, count, head, tail, planes)


class _Told(NamedTuple):
    """What a header tells of a part: its bytes in the payload, the bytes of it, and whether it is a frame."""

    size: int
    length: int
    packed: bool


class _Form(NamedTuple):
    """What a header tells of a plane."""

    fold: Fold
    parts: tuple[_Told, ...]


def _layout(payload: memoryview) -> tuple[WordLayout, int]:
    """Return the layout, and where the header goes on."""
    _need(payload, _FIXED.size)
    version, kind, start = _FIXED.unpack_from(payload)
    if version != VERSION:
        raise EncodingError(f"a payload of version {version}; {VERSION} is known here")
    at, fields = _FIXED.size, b""
    if kind == Words.BLOCKS:
        _need(payload, at + 1)
        many = payload[at]
        if many > MAX_PLANES:  # before they are read; `WordLayout` says the rest
            raise EncodingError(f"blocks of {many} fields: at most {MAX_PLANES}")
        _need(payload, at + 1 + many)
        fields = bytes(payload[at + 1 : at + 1 + many])
        at += 1 + many
    if kind not in tuple(Words):
        raise EncodingError(f"words of the kind {kind}, which is unknown here")
    try:
        return WordLayout(Words(kind), start, tuple(fields)), at
    except ValueError as wrong:
        raise EncodingError(str(wrong)) from None


def _form(payload: memoryview, at: int, length: int) -> tuple[_Form, int]:
    """Return what is told of a plane of `length` bytes, and where the header goes on."""
    _need(payload, at + 1)
    form = payload[at]
    at += 1
    if form & 3 > max(Fold) or form >> (4 if form & 3 else 3):
        raise EncodingError(f"a plane of the form {form}, which is none")
    fold, parts = Fold(form & 3), list[_Told]()
    for place, whole in enumerate(fold.lengths(length)):
        size, packed = whole, bool(form & 4 << place)
        if packed:
            _need(payload, at + _LENGTH.size)
            (size,) = _LENGTH.unpack_from(payload, at)
            at += _LENGTH.size
            if size >= whole:
                raise EncodingError(f"{whole} bytes of a plane in a frame of {size}")
        parts.append(_Told(size, whole, packed))
    return _Form(fold, tuple(parts)), at


def _need(payload: memoryview, end: int) -> None:
    if len(payload) < end:
        raise EncodingError(f"a payload of {len(payload)} bytes that ends inside its header")
