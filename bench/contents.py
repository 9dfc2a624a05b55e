"""Files to measure with: random bytes, alone or as the weights of a model."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

from measuring import MIB

__all__ = ["FILES", "write_gguf", "write_random", "write_safetensors"]


def write_random(path: Path, size: int) -> None:
    with path.open("wb") as file:
        _fill(file.write, size)


def write_gguf(path: Path, size: int) -> None:
    """A GGUF header with some tensors, and random bytes for weights."""
    step = 24 * MIB
    count = max(1, (size - 64 * 1024) // step)
    infos = b"".join(
        _string(f"blk.{i}.ffn_up.weight") + struct.pack("<IQIQ", 1, step, 0, i * step) for i in range(count)
    )
    head = struct.pack("<4sIQQ", b"GGUF", 3, count, 0) + infos
    head += bytes(-len(head) % 32)
    with path.open("wb") as file:
        file.write(head)
        _fill(file.write, size - len(head))


def write_safetensors(path: Path, size: int) -> None:
    """A safetensors header with some tensors, and random bytes for weights."""
    step = 24 * MIB
    body = size - 64 * 1024
    header: dict[str, object] = {
        f"model.layers.{i}.mlp.up_proj.weight": {
            "dtype": "U8",
            "shape": [min(step, body - start)],
            "data_offsets": [start, min(start + step, body)],
        }
        for i, start in enumerate(range(0, body, step))
    }
    text = json.dumps(header).encode()
    text += b" " * (size - body - 8 - len(text))
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        _fill(file.write, body)


FILES: dict[str, Callable[[Path, int], None]] = {
    "gguf": write_gguf,
    "safetensors": write_safetensors,
    "generic": write_random,
}


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def _fill(write: Callable[[bytes], object], size: int) -> None:
    while size > 0:
        write(os.urandom(min(size, 16 * MIB)))
        size -= 16 * MIB
