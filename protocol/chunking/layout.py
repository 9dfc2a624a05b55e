"""What chunking profile 1 sees in a file: a header region, and the places where its data restarts.

A `Layout` is all that decides the chunks of the data region, so those need no bytes at all; only the header region is
cut by its content. The numbers here are frozen with the profile (specs/content.md §4): a file that was cut differently
would have another content id, so a better number is a new profile, and never an edit.
"""

from __future__ import annotations

import enum
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, final

from samara.protocol.limits import KIB, MIB

__all__ = [
    "FIXED",
    "JOIN_BELOW",
    "JOIN_CAP",
    "MAX_STARTS",
    "PROFILE",
    "Kind",
    "Layout",
    "ReadAt",
    "generic",
]

PROFILE: Final = 1
"""The number of this profile, as chunk-list nodes state it: "samara-1"."""

FIXED: Final = MIB
"""Bytes of a chunk inside a large segment; only a segment's last chunk is shorter."""

JOIN_BELOW: Final = 64 * KIB
"""Bytes: a segment below this is small, and shares a chunk with its small neighbours."""

JOIN_CAP: Final = 256 * KIB
"""Bytes that small neighbours may make together."""

MAX_STARTS: Final = 1 << 17
"""Tensors of a file whose structure is followed; with more it is cut as generic. Bounds time and memory of the rule."""

ReadAt = Callable[[int, int], bytes]
"""`read_at(offset, length)`: bytes of a file from `offset`; fewer than `length` only at the end of the file."""


class Kind(enum.StrEnum):
    """What the structural rule took a file for."""

    GENERIC = "generic"
    SAFETENSORS = "safetensors"
    GGUF = "gguf"


@final
@dataclass(frozen=True, slots=True)
class Layout:
    """Where a file may be cut.

    Attributes:
        kind: What the structural rule took it for.
        size: Bytes of the file.
        header: Bytes of the header region, which FastCDC cuts; the whole file when it is generic.
        starts: Offsets in the file at which segments start, ascending, each once. The first is `header` and the last is
            below `size`; empty when the header is the whole file.
    """

    kind: Kind
    size: int
    header: int
    starts: array[int] = field(default_factory=lambda: array("Q"))

    @classmethod
    def of_data(cls, kind: Kind, size: int, header: int, starts: set[int]) -> Layout:
        """Build the layout of a file with data; `starts` at the end of the file bound nothing and are left out."""
        if header == size:
            return cls(kind, size, header)
        inside = {header, *starts}
        inside.discard(size)
        return cls(kind, size, header, array("Q", sorted(inside)))

    def data_ends(self) -> Iterator[int]:
        """Yield the end offset of each chunk of the data region, in order; the last is `size`.

        Source: specs/content.md §4.4.
        """
        joined = 0  # bytes of the small segments that wait to share a chunk
        for index, start in enumerate(self.starts):
            end = self.starts[index + 1] if index + 1 < len(self.starts) else self.size
            length = end - start
            small = length < JOIN_BELOW
            if joined and (not small or joined + length > JOIN_CAP):
                yield start
                joined = 0
            if small:
                joined += length
            else:
                yield from range(start + FIXED, end, FIXED)
                yield end
        if joined:
            yield self.size


def generic(size: int) -> Layout:
    """Return the layout of a file whose bytes mean nothing to us: FastCDC from its first byte to its last."""
    return Layout(Kind.GENERIC, size, size)
