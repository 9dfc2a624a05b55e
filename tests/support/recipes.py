"""Streams of bytes by recipe, as the vectors of specs/content.md describe them, and headers to lie with."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

from blake3 import blake3

__all__ = ["Recipe", "build", "gguf", "gguf_kv", "gguf_tensor", "raw", "repeat", "safetensors", "string", "xof"]

Piece = dict[str, Any]
Recipe = list[Piece]


def raw(data: bytes) -> Piece:
    return {"hex": data.hex()}


def xof(seed: str, length: int) -> Piece:
    return {"xof": seed, "length": length}


def repeat(data: bytes, times: int) -> Piece:
    return {"repeat": data.hex(), "times": times}


def build(recipe: Recipe) -> bytes:
    return b"".join(_piece(piece) for piece in recipe)


def _piece(piece: Piece) -> bytes:
    if "hex" in piece:
        return bytes.fromhex(piece["hex"])
    if "xof" in piece:
        return blake3(piece["xof"].encode()).digest(length=piece["length"]) if piece["length"] else b""
    return bytes.fromhex(piece["repeat"]) * int(piece["times"])


def safetensors(header: object, data: Sequence[Piece] = ()) -> Recipe:
    """A safetensors stream: `header` is JSON text as bytes, or what json.dumps takes."""
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return [raw(struct.pack("<Q", len(text)) + text), *data]


def string(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def gguf_kv(key: bytes, kind: int, value: bytes) -> bytes:
    return string(key) + struct.pack("<I", kind) + value


def gguf_tensor(name: bytes, dims: Sequence[int], offset: int) -> bytes:
    return string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, 0, offset)


def gguf(
    kvs: Sequence[bytes],
    tensors: Sequence[bytes],
    data: Sequence[Piece] = (),
    *,
    version: int = 3,
    align: int = 32,
    counts: tuple[int, int] | None = None,
) -> Recipe:
    """A GGUF stream; `counts` are the tensors and keys that it claims, when that should be a lie."""
    claimed = counts or (len(tensors), len(kvs))
    head = b"GGUF" + struct.pack("<IQQ", version, *claimed) + b"".join(kvs) + b"".join(tensors)
    return [raw(head + bytes(-len(head) % align)), *data]
