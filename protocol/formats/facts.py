"""From any file to its model's facts: which reader it needs, and how the files of a split model fit together."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from samara.protocol.errors import ModelHeaderError
from samara.protocol.formats.gguf import check_blocks, read_gguf
from samara.protocol.formats.gguf_header import MAGIC
from samara.protocol.formats.header import ModelFacts, ReadAt
from samara.protocol.formats.safetensors import looks_like_safetensors, read_safetensors

__all__ = ["ModelFacts", "ReadAt", "join_shards", "read_facts"]


def read_facts(read_at: ReadAt, size: int) -> ModelFacts | None:
    """Check a file's header and tell what it says; decided from the bytes, never from a name.

    Args:
        read_at: `read_at(offset, length)` returns the bytes of the file there.
        size: Bytes of the file.

    Returns:
        The facts, or None when the file does not claim to be a model container.

    Raises:
        ModelHeaderError: It claims to be one, and lies.
    """
    if size >= len(MAGIC) and read_at(0, len(MAGIC)) == MAGIC:
        return read_gguf(read_at, size)
    if looks_like_safetensors(read_at, size):
        return read_safetensors(read_at, size)
    return None


def join_shards(shards: Sequence[ModelFacts]) -> ModelFacts:
    """Return the facts of a whole GGUF model from those of its files, first file first.

    Only now can the number of layers be held against the blocks: one file alone has but some of them.

    Raises:
        ModelHeaderError: They are not the files of one model, or contradict each other.
    """
    first = shards[0]
    for number, shard in enumerate(shards):
        if shard.container != "gguf" or shard.shards != len(shards) or shard.shard != number:
            raise ModelHeaderError(
                f"file {number + 1} of {len(shards)} says that it is number {shard.shard + 1} of {shard.shards}"
            )
    if len(shards) == 1:
        return first
    last_block = max((s.last_block for s in shards if s.last_block is not None), default=None)
    tensors = sum(s.tensors for s in shards)
    check_blocks(first.layers, last_block, 0, tensors)
    heaviest = max(shards, key=lambda s: s.tensor_bytes)
    return dataclasses.replace(
        first,
        header_bytes=sum(s.header_bytes for s in shards),
        tensors=tensors,
        tensor_bytes=sum(s.tensor_bytes for s in shards),
        parameters=sum(s.parameters for s in shards),
        quantization=first.quantization or heaviest.quantization,
        last_block=last_block,
    )
