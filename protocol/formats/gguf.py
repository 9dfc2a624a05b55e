"""What a GGUF header says of a model, held against bounds, against itself, and against the tensors that are there.

llama.cpp believes these numbers: it aborts the process on a block count of 2³¹, and reads token scores through a bare
pointer by the count of another array. So each number is bounded, and a number that tensors can bear witness to must
agree with them. What is not judged here: token ids, tensor values, and the chat template's code.

Source: GGUF specification, "Standardized key-value pairs"; llama.cpp's loader, for what it aborts on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from samara.protocol.errors import ModelHeaderError
from samara.protocol.formats.ggml_types import FILE_TYPES
from samara.protocol.formats.gguf_header import F32, I32, STRING, Metadata, Tensors, read_gguf_header
from samara.protocol.formats.header import ModelFacts, ReadAt, shown
from samara.protocol.limits import (
    MAX_CONTEXT,
    MAX_EMBEDDING,
    MAX_EXPERTS,
    MAX_HEADER_STRINGS,
    MAX_HEADS,
    MAX_LAYERS,
    MAX_SHARDS,
)

__all__ = ["check_blocks", "read_gguf"]

_ARCHITECTURE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TEMPLATE: Final = "tokenizer.chat_template"

# What a key's end (behind the architecture's name) must lie between. Heads may be 0: some layers have no attention.
_BOUNDS: Final[Mapping[str, tuple[int, int]]] = {
    "context_length": (1, MAX_CONTEXT),
    "embedding_length": (1, MAX_EMBEDDING),
    "vocab_size": (0, MAX_HEADER_STRINGS),
    "feed_forward_length": (0, MAX_EMBEDDING),
    "attention.head_count": (0, MAX_HEADS),
    "attention.head_count_kv": (0, MAX_HEADS),
    "attention.key_length": (1, MAX_EMBEDDING),
    "attention.value_length": (1, MAX_EMBEDDING),
    "rope.dimension_count": (0, MAX_EMBEDDING),
    "expert_count": (0, MAX_EXPERTS),
    "expert_used_count": (0, MAX_EXPERTS),
    "nextn_predict_layers": (0, MAX_LAYERS),
}


def read_gguf(read_at: ReadAt, size: int) -> ModelFacts:
    """Check the header of a GGUF file and tell what it says.

    Args:
        read_at: Reads the file.
        size: Bytes of the file.

    Raises:
        ModelHeaderError: The header lies, or is outside the bounds.
    """
    header = read_gguf_header(read_at, size)
    return _facts(header.metadata, header.tensors, header.end)


def _facts(meta: Metadata, tensors: Tensors, header_end: int) -> ModelFacts:
    shard, shards = _shard(meta)
    architecture = meta.texts.get("general.architecture")
    if architecture is not None and not _ARCHITECTURE.fullmatch(architecture):
        raise ModelHeaderError(f"general.architecture is not a name: {shown(architecture, 80)!r}")
    if architecture is None and shard == 0:
        raise ModelHeaderError("general.architecture is missing")
    layers = _layers(meta, architecture)
    if shards == 1:
        check_blocks(
            layers, tensors.last_block, _number(meta, architecture, "nextn_predict_layers") or 0, tensors.count
        )
    elif tensors.last_block is not None and tensors.last_block >= MAX_LAYERS:
        raise ModelHeaderError(f"a tensor of block {tensors.last_block}: at most {MAX_LAYERS} blocks")
    heads, kv_heads, feed = _per_layer(meta, architecture, layers)
    embedding = _number(meta, architecture, "embedding_length")
    head_dim, kv_elements = _cache(meta, architecture, embedding, heads, kv_heads)
    vocabulary = _vocabulary(meta, architecture)
    _number(meta, architecture, "rope.dimension_count")
    _check_embedding(tensors.embedding, embedding, vocabulary)
    _check_experts(meta, architecture)
    name = meta.texts.get("general.name") or meta.texts.get("general.basename")
    licence = meta.texts.get("general.license")
    return ModelFacts(
        container="gguf",
        header_bytes=header_end,
        tensors=tensors.count,
        tensor_bytes=tensors.size,
        parameters=tensors.elements,
        quantization=_quantization(meta, tensors),
        architecture=architecture,
        name=shown(name) if name else None,
        license=shown(licence) if licence else None,
        context_length=_number(meta, architecture, "context_length"),
        layers=layers,
        embedding_length=embedding,
        feed_forward_length=max(feed, default=None),
        heads=max(heads, default=None),
        kv_heads=max(kv_heads, default=None),
        head_dim=head_dim,
        kv_elements=kv_elements,
        vocab_size=vocabulary,
        chat_template=meta.types.get(_TEMPLATE) == STRING,
        shard=shard,
        shards=shards,
        last_block=tensors.last_block,
    )


def _shard(meta: Metadata) -> tuple[int, int]:
    shards = meta.integer("split.count", 0, MAX_SHARDS) or 1
    return meta.integer("split.no", 0, shards - 1) or 0, shards


def _number(meta: Metadata, architecture: str | None, name: str) -> int | None:
    low, high = _BOUNDS[name]
    return meta.integer(f"{architecture}.{name}", low, high)


def _layers(meta: Metadata, architecture: str | None) -> int | None:
    for key in meta.types:
        if key.endswith("block_count"):
            meta.integer(key, 0, MAX_LAYERS)
    counts = [meta.integer(f"{architecture}.{side}block_count", 1, MAX_LAYERS) for side in ("", "decoder_")]
    return max((c for c in counts if c is not None), default=None)


def check_blocks(layers: int | None, last_block: int | None, extra: int, tensors: int) -> None:
    """Hold the stated number of layers against the blocks that the tensors name.

    Args:
        layers: What the header states, or None.
        last_block: Highest block number among the tensors, or None.
        extra: Layers for speculative decoding, which some files count and some do not.
        tensors: How many tensors there are; a file of a vocabulary alone has none.

    Raises:
        ModelHeaderError: They contradict each other.
    """
    found = 0 if last_block is None else last_block + 1
    if found > MAX_LAYERS:
        raise ModelHeaderError(f"a tensor of block {last_block}: at most {MAX_LAYERS} blocks")
    if layers is None or not tensors:
        return
    if not layers - extra <= found <= layers + extra:
        raise ModelHeaderError(f"block_count = {layers}, but the tensors have {found} blocks")


def _per_layer(
    meta: Metadata, architecture: str | None, layers: int | None
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Return heads, key-value heads and feed-forward widths: one number a layer each, or nothing."""
    heads = _spread(meta, architecture, "attention.head_count", layers)
    kv_heads = _spread(meta, architecture, "attention.head_count_kv", layers) or heads
    for layer, (all_heads, kv) in enumerate(zip(heads, kv_heads, strict=False)):
        if kv and all_heads % kv:
            raise ModelHeaderError(f"layer {layer} has {all_heads} heads for {kv} key-value heads: not a multiple")
    return heads, kv_heads, _spread(meta, architecture, "feed_forward_length", layers)


def _spread(meta: Metadata, architecture: str | None, name: str, layers: int | None) -> tuple[int, ...]:
    key = f"{architecture}.{name}"
    array = meta.arrays.get(key)
    if array is None:
        value = _number(meta, architecture, name)
        return () if value is None else (value,) * (layers or 1)
    low, high = _BOUNDS[name]
    if layers is None or array.count < layers or len(array.numbers) != array.count:
        raise ModelHeaderError(f"{key} has {array.count} values: there must be an integer for each of {layers} layers")
    if not all(low <= value <= high for value in array.numbers):
        raise ModelHeaderError(f"{key} has a value that does not lie between {low} and {high}")
    return array.numbers[:layers]


def _cache(
    meta: Metadata, architecture: str | None, embedding: int | None, heads: tuple[int, ...], kv_heads: tuple[int, ...]
) -> tuple[int | None, int | None]:
    """Return the elements of a head's key, and what a token adds to the key-value cache."""
    widest = max(heads, default=0)
    default = embedding // widest if embedding and widest else None
    key = _number(meta, architecture, "attention.key_length") or default
    value = _number(meta, architecture, "attention.value_length") or default
    if key is None or value is None:
        return key, None
    return key, sum(kv_heads) * (key + value)


def _vocabulary(meta: Metadata, architecture: str | None) -> int | None:
    """Return how many tokens there are, after the arrays beside them were found to be as long, and of the right type.

    llama.cpp reads scores and types through a bare pointer, by the count of the tokens.
    """
    tokens = meta.arrays.get("tokenizer.ggml.tokens")
    if tokens is None:
        return _number(meta, architecture, "vocab_size")
    if tokens.type != STRING:
        raise ModelHeaderError("tokenizer.ggml.tokens is not an array of strings")
    for key, kind in (("tokenizer.ggml.scores", F32), ("tokenizer.ggml.token_type", I32)):
        beside = meta.arrays.get(key)
        if beside is None and key in meta.types:
            raise ModelHeaderError(f"{key} is not an array")
        if beside is not None and (beside.count != tokens.count or beside.type != kind):
            raise ModelHeaderError(
                f"{key} has {beside.count} values of type {beside.type}, beside {tokens.count} tokens"
            )
    return tokens.count


def _check_embedding(dims: tuple[int, ...] | None, embedding: int | None, vocabulary: int | None) -> None:
    if dims is None:
        return
    if len(dims) != 2:
        raise ModelHeaderError(f"token_embd.weight has dimensions {dims}: it must have two")
    if embedding is not None and dims[0] != embedding:
        raise ModelHeaderError(f"embedding_length = {embedding}, but token_embd.weight has rows of {dims[0]}")
    if vocabulary is not None and vocabulary > dims[1]:
        raise ModelHeaderError(f"{vocabulary} tokens, but token_embd.weight has {dims[1]} rows")


def _check_experts(meta: Metadata, architecture: str | None) -> None:
    experts = _number(meta, architecture, "expert_count") or 0
    used = _number(meta, architecture, "expert_used_count") or 0
    if used > experts:
        raise ModelHeaderError(f"expert_used_count = {used} of {experts} experts")


def _quantization(meta: Metadata, tensors: Tensors) -> str | None:
    """Return the stated label when the tensors bear it out, else the type that holds most bytes."""
    if not tensors.bytes_by_type:
        return None
    stated = FILE_TYPES.get((meta.integer("general.file_type", 0, 0xFFFF_FFFF) or 0) & ~1024)
    if "general.file_type" in meta.types and stated is not None and stated.main in tensors.bytes_by_type:
        return stated.label
    return tensors.bytes_by_type.most_common(1)[0][0]
