"""What a chunk of a model file is made of, and which bytes of another file are its like.

The words of a chunk follow from the tensors in it; the chunk that a delta refers to is the one at the same place of the
tensor of the same name, type and shape. A wrong answer costs bytes and nothing else: what is decoded is held against
the chunk's hash.

Source: specs/encodings.md §6.
"""

from __future__ import annotations

from samara.protocol.encodings.layout import WordLayout
from samara.protocol.formats.tensors import TensorMap

__all__ = ["counterpart", "layout_of"]


def layout_of(tensors: TensorMap, start: int, end: int) -> WordLayout | None:
    """Return where the words of the bytes from `start` to `end` of a file lie; None when they are not of one kind."""
    within = tensors.within(start, end)
    if not within:
        return None
    first = within[0]
    layout = WordLayout.of(first.type, start - first.start)
    if layout is None or any(
        other.type != first.type or (other.start - start - layout.start) % layout.size for other in within[1:]
    ):
        return None
    return layout


def counterpart(tensors: TensorMap, start: int, end: int, base: TensorMap) -> int | None:
    """Return where in a base file bytes lie that correspond to those from `start` to `end`; None when none do."""
    within = tensors.within(start, end)
    if not within or tensors.container != base.container:
        return None
    first = within[0]
    like = base.get(first.name)
    if like is None or (like.type, like.shape) != (first.type, first.shape):
        return None
    offset = like.start + start - first.start
    return offset if offset >= 0 else None
