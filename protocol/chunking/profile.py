"""Chunking profile 1: from bytes to chunk boundaries, the same on every machine.

The rule looks at bytes alone, never at a file's name. A file that breaks the rule of its format is generic, so that any
bytes at all have exactly one chunking. Nothing here ever raises on bytes.
"""

from __future__ import annotations

from samara.protocol.chunking.cutter import Cutter
from samara.protocol.chunking.gguf import MAGIC, layout_gguf
from samara.protocol.chunking.layout import PROFILE, Kind, Layout, ReadAt, generic
from samara.protocol.chunking.safetensors import layout_safetensors

__all__ = ["PROFILE", "Cutter", "Kind", "Layout", "ReadAt", "cut_bytes", "generic", "layout"]


def layout(size: int, read_at: ReadAt) -> Layout:
    """Decide where a file may be cut.

    Args:
        size: Bytes of the file.
        read_at: `read_at(offset, length)` returns bytes of it. Errors of reading pass through; a file that turns out
            shorter than `size` is generic.

    Source: specs/content.md §4.
    """
    found = layout_gguf(size, read_at) if read_at(0, len(MAGIC)) == MAGIC else layout_safetensors(size, read_at)
    return found or generic(size)


def cut_bytes(data: bytes | bytearray | memoryview, plan: Layout) -> list[int]:
    """Return the end offset of each chunk of a whole file in memory, in order."""
    cutter = Cutter(plan)
    return [*cutter.feed(memoryview(data)), *cutter.finish()]
