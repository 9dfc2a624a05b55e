"""Builders of small model files, honest by default, with every lie one argument away."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Gguf", "GgufTensor", "reader", "safetensors_file", "tiny_llama"]

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
_CODES = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "B", U64: "Q", I64: "q", F64: "d"}


def reader(data: bytes) -> Callable[[int, int], bytes]:
    """Return a `read_at` over bytes in memory."""
    return lambda offset, length: data[offset : offset + length]


def string(value: bytes | str) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def value_bytes(kind: int, value: Any) -> bytes:
    if kind == STRING:
        return string(value)
    if kind == ARRAY:
        of, items = value
        return struct.pack("<IQ", of, len(items)) + b"".join(value_bytes(of, item) for item in items)
    return struct.pack("<" + _CODES[kind], value)


@dataclass
class GgufTensor:
    name: bytes | str
    dims: Sequence[int]
    kind: int = 0
    size: int = 0  # bytes of data
    offset: int | None = None  # None: where it belongs


@dataclass
class Gguf:
    """A GGUF file in parts; `build` puts them together."""

    pairs: dict[str, tuple[int, Any]] = field(default_factory=dict)
    tensors: list[GgufTensor] = field(default_factory=list)
    magic: bytes = b"GGUF"
    version: int = 3
    tensor_count: int | None = None
    key_count: int | None = None
    extra_pairs: list[bytes] = field(default_factory=list)  # raw, after the others
    alignment: int = 32
    tail: bytes = b""

    def build(self) -> bytes:
        pairs = [
            string(key) + struct.pack("<I", kind) + value_bytes(kind, value)
            for key, (kind, value) in self.pairs.items()
        ]
        pairs += self.extra_pairs
        infos, data = b"", b""
        for tensor in self.tensors:
            data += bytes(-len(data) % self.alignment)
            offset = len(data) if tensor.offset is None else tensor.offset
            infos += string(tensor.name) + struct.pack(f"<I{len(tensor.dims)}Q", len(tensor.dims), *tensor.dims)
            infos += struct.pack("<IQ", tensor.kind, offset)
            data += bytes(tensor.size)
        head = self.magic + struct.pack(
            "<IQQ",
            self.version,
            len(self.tensors) if self.tensor_count is None else self.tensor_count,
            len(pairs) if self.key_count is None else self.key_count,
        )
        header = head + b"".join(pairs) + infos
        return header + bytes(-len(header) % self.alignment) + data + self.tail


def tiny_llama(layers: int = 2, tokens: int = 5) -> Gguf:
    """Return an honest, minute model: rows of 8, two heads, one key-value head."""
    f32 = 4 * 8
    tensors = [GgufTensor("token_embd.weight", (8, tokens), 0, f32 * tokens)]
    for layer in range(layers):
        tensors.append(GgufTensor(f"blk.{layer}.attn_q.weight", (8, 8), 0, f32 * 8))
        tensors.append(GgufTensor(f"blk.{layer}.attn_norm.weight", (8,), 0, f32))
    return Gguf(
        pairs={
            "general.architecture": (STRING, "llama"),
            "general.name": (STRING, "Tiny"),
            "general.license": (STRING, "apache-2.0"),
            "general.file_type": (U32, 0),
            "llama.block_count": (U32, layers),
            "llama.context_length": (U32, 128),
            "llama.embedding_length": (U32, 8),
            "llama.feed_forward_length": (U32, 16),
            "llama.attention.head_count": (U32, 2),
            "llama.attention.head_count_kv": (U32, 1),
            "tokenizer.ggml.tokens": (ARRAY, (STRING, [f"t{n}" for n in range(tokens)])),
            "tokenizer.ggml.scores": (ARRAY, (F32, [0.0] * tokens)),
            "tokenizer.ggml.token_type": (ARRAY, (I32, [1] * tokens)),
            "tokenizer.chat_template": (STRING, "{{ messages }}"),
        },
        tensors=tensors,
    )


def safetensors_file(header: object, data: int = 0, *, length: int | None = None) -> bytes:
    """Return a safetensors file.

    Args:
        header: What is dumped as JSON, or the raw bytes of the header.
        data: Bytes of data behind it.
        length: What the file says of its header's length; None for the truth.
    """
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + bytes(data)
