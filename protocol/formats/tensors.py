"""Where the tensors of a model file lie: what a chunk of weights is made of, and where its like lies in another file.

A map is built from a header that was checked as a whole (`safetensors`, `gguf_header`); a file whose header lies has
none. It is a convenience for whoever encodes, and no part of what is verified: chunks are right by their hashes alone.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple, final

from samara.protocol.errors import ModelHeaderError
from samara.protocol.formats.gguf_header import MAGIC, read_gguf_header
from samara.protocol.formats.header import ReadAt
from samara.protocol.formats.safetensors import looks_like_safetensors, read_safetensors

__all__ = ["Tensor", "TensorMap", "read_tensors"]


class Tensor(NamedTuple):
    """One tensor.

    Attributes:
        name: Its name.
        type: How its elements are stored, as its container calls it: "BF16", "Q8_0", ….
        shape: Its lengths, in the container's order.
        start: Offset in the file of its first byte.
        end: Offset behind its last byte.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    start: int
    end: int


@final
class TensorMap:
    """The tensors of one file, in the order in which they lie there.

    Args:
        container: "gguf" or "safetensors": equal types of both are equal bytes.
        tensors: In any order; none overlaps another.
        data: Where in the file the header ends and the data begin.
    """

    def __init__(self, container: str, tensors: Sequence[Tensor], data: int = 0) -> None:
        self.container = container
        self.data = data
        self._tensors = sorted((tensor for tensor in tensors if tensor.end > tensor.start), key=lambda each: each.start)
        self._starts = [tensor.start for tensor in self._tensors]
        self._by_name = {tensor.name: tensor for tensor in self._tensors}

    def __len__(self) -> int:
        return len(self._tensors)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self._tensors)

    def get(self, name: str) -> Tensor | None:
        """Return the tensor of a name."""
        return self._by_name.get(name)

    def within(self, start: int, end: int) -> Sequence[Tensor]:
        """Return the tensors of which a part lies from `start` to `end`, in order."""
        first = max(bisect_right(self._starts, start) - 1, 0)
        last = bisect_right(self._starts, end - 1)
        return [tensor for tensor in self._tensors[first:last] if tensor.end > start]


def read_tensors(read_at: ReadAt, size: int) -> TensorMap | None:
    """Return the tensors of a file; None when it is no model container, or its header lies.

    Args:
        read_at: `read_at(offset, length)` returns the bytes of the file there.
        size: Bytes of the file.
    """
    found: list[Tensor] = []

    def each(name: str, kind: str, shape: tuple[int, ...], start: int, end: int) -> None:
        found.append(Tensor(name, kind, shape, start, end))

    try:
        if size >= len(MAGIC) and read_at(0, len(MAGIC)) == MAGIC:
            container, data = "gguf", read_gguf_header(read_at, size, each).data
        elif looks_like_safetensors(read_at, size):
            container, data = "safetensors", read_safetensors(read_at, size, each).header_bytes
        else:
            return None
    except ModelHeaderError:
        return None
    return TensorMap(container, [each._replace(start=each.start + data, end=each.end + data) for each in found], data)
