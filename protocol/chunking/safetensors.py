"""The structural rule for safetensors: where the tensors start, read from its JSON header.

It needs each tensor's `data_offsets` and nothing else: names, dtypes and shapes mean nothing to it, tensors may
overlap, and a file that it accepts may still be refused by the parser that guards a loader. It never raises on bytes,
and time and memory are bounded by limits that are frozen with the profile (specs/content.md §4.2).
"""

from __future__ import annotations

from typing import Final, final

from samara.protocol.chunking._json import JsonScanner
from samara.protocol.chunking._window import BrokenRuleError, Window
from samara.protocol.chunking.layout import MAX_STARTS, Kind, Layout, ReadAt

__all__ = ["layout_safetensors"]

MAX_HEADER: Final = 100_000_000
"""Bytes of JSON: the safetensors library's own limit."""

_LENGTH: Final = 8


def layout_safetensors(size: int, read_at: ReadAt) -> Layout | None:
    """Return the layout of a safetensors file, or None when the rule does not hold.

    Args:
        size: Bytes of the file.
        read_at: Reads bytes of it.

    Source: specs/content.md §4.2; the safetensors format.
    """
    try:
        start = Window(read_at, 0, min(size, _LENGTH + 1))
        length = start.uint(_LENGTH)
        if not 2 <= length <= MAX_HEADER or _LENGTH + length > size or start.take(1) != b"{":
            return None
        header = _LENGTH + length
        starts = _Header(JsonScanner(read_at, _LENGTH, header), size - header).starts()
    except BrokenRuleError:
        return None
    return Layout.of_data(Kind.SAFETENSORS, size, header, {header + start for start in starts})


@final
class _Header:
    """Walks the header once and keeps where tensors start."""

    def __init__(self, json: JsonScanner, data: int) -> None:
        self._json = json
        self._data = data  # bytes after the header
        self._tensors = 0
        self._starts: set[int] = set()
        self._stated = False  # data_offsets was seen in the tensor at hand

    def starts(self) -> set[int]:
        """Return the distinct starts, relative to the data.

        Raises:
            BrokenRuleError: The header is not what the rule describes.
        """
        self._json.object(1, self._entry)
        self._json.finish()
        return self._starts

    def _entry(self, name: bytes) -> None:
        if name == b"__metadata__":
            self._json.value(2)
            return
        self._tensors += 1
        if self._tensors > MAX_STARTS:
            raise BrokenRuleError("too many tensors")
        self._stated = False
        self._json.object(2, self._member)
        if not self._stated:
            raise BrokenRuleError("a tensor without data_offsets")

    def _member(self, name: bytes) -> None:
        if name != b"data_offsets":
            self._json.value(3)
            return
        self._json.enter_array(3)
        start = self._json.integer()
        self._json.expect(b",")
        end = self._json.integer()
        self._json.expect(b"]")
        if not start <= end <= self._data:
            raise BrokenRuleError("data_offsets outside of the data")
        self._starts.add(start)
        self._stated = True
