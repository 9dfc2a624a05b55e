"""Weights to measure with: real ones, what stands for a fine-tune of them, and how files of models hold them.

What stands for a fine-tune is made in fp32, before it is cast or quantized: normal noise of a share of each tensor's
norm, or a merged LoRA: B·A of rank 8, both normal, with 1 % of the norm. tuning.py makes a real one.

Quantized weights are blocks as GGUF lays them out (Q8_0: scale and 32 bytes; Q4_0: scale and 16), by ggml's reference
rounding.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = [
    "ALL_LINEAR", "CASTS", "QUERY_VALUE", "Array", "Stored", "Tensors", "cast_all", "gguf", "lora", "moved_by", "noise",
    "quantized", "read_tensors", "safetensors", "shards",
]  # fmt: skip

Array = npt.NDArray[Any]
Tensors = dict[str, Array]

RANK: Final = 8
SEED: Final = 20_26

QUERY_VALUE: Final = ("query", "value")
ALL_LINEAR: Final = ("dense", "query", "key", "value")
"""Parts of the names of the matrices into which a LoRA is merged."""


def read_tensors(path: Path) -> Tensors:
    """Return the fp32 tensors of a safetensors file."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    found: Tensors = {}
    for name, told in json.loads(data[8 : 8 + size]).items():
        if name != "__metadata__" and told["dtype"] == "F32":
            begin, end = told["data_offsets"]
            found[name] = np.frombuffer(data[8 + size + begin : 8 + size + end], "<f4").reshape(told["shape"])
    return found


def noise(tensors: Tensors, share: float) -> Tensors:
    """Return tensors with noise of so much of their norm."""
    chance = np.random.default_rng(SEED)
    return {
        name: tensor + _scaled(chance.standard_normal(tensor.shape), tensor, share) for name, tensor in tensors.items()
    }


def lora(tensors: Tensors, parts: tuple[str, ...]) -> Tensors:
    """Return tensors into whose matrices of these names an update of low rank was merged."""
    chance, made = np.random.default_rng(SEED), dict(tensors)
    for name, tensor in tensors.items():
        if tensor.ndim == 2 and "encoder.layer" in name and any(part in name for part in parts):
            rows, columns = tensor.shape
            update = chance.standard_normal((rows, RANK)) @ chance.standard_normal((RANK, columns))
            made[name] = tensor + _scaled(update, tensor, 1e-2)
    return made


def moved_by(base: Tensors, tensors: Tensors) -> float:
    """Return by how much of their norm tensors have moved, all together."""
    moved = sum(float(np.square(tensors[name] - tensor, dtype="f8").sum()) for name, tensor in base.items())
    return float(np.sqrt(moved / sum(float(np.square(tensor, dtype="f8").sum()) for tensor in base.values())))


def _scaled(update: Array, tensor: Array, share: float) -> Array:
    made: Array = (update * (share * np.linalg.norm(tensor) / np.linalg.norm(update))).astype("<f4")
    return made


def bf16(tensor: Array) -> bytes:
    """Round to nearest, ties to even."""
    bits = np.ascontiguousarray(tensor, "<f4").view("<u4")
    words: Array = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return words.astype("<u2").tobytes()


def fp16(tensor: Array) -> bytes:
    return tensor.astype("<f2").tobytes()


def fp32(tensor: Array) -> bytes:
    return tensor.astype("<f4").tobytes()


def q8_0(tensor: Array) -> bytes:
    blocks = tensor.reshape(-1, 32).astype("<f4")
    scale = np.abs(blocks).max(1) / 127
    return _blocks(scale, np.rint(blocks * _inverse(scale)[:, None]).astype("i1").view("u1"))


def q4_0(tensor: Array) -> bytes:
    blocks = tensor.reshape(-1, 32).astype("<f4")
    largest = blocks[np.arange(len(blocks)), np.abs(blocks).argmax(1)]
    scale = largest / -8
    quants = np.minimum(15, (blocks * _inverse(scale)[:, None] + 8.5).astype("i1")).astype("u1")
    return _blocks(scale, quants[:, :16] | quants[:, 16:] << 4)


def _inverse(scale: Array) -> Array:
    return np.divide(1, scale, out=np.zeros_like(scale), where=scale != 0)


def _blocks(scale: Array, quants: Array) -> bytes:
    return np.hstack((scale.astype("<f2").view("u1").reshape(-1, 2), quants)).tobytes()


CASTS: Final[dict[str, tuple[str, Callable[[Array], bytes]]]] = {
    "bf16": ("BF16", bf16),
    "fp16": ("F16", fp16),
    "fp32": ("F32", fp32),
    "Q8_0": ("Q8_0", q8_0),
    "Q4_0": ("Q4_0", q4_0),
}

# Files.


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor as a file holds it.

    Attributes:
        dtype: As safetensors names it, or ggml.
        shape: Its dimensions, as numpy has them.
        data: Its bytes.
    """

    dtype: str
    shape: tuple[int, ...]
    data: bytes


def cast_all(cast: str, tensors: Tensors) -> dict[str, Stored]:
    """Return all tensors in one type of numbers."""
    dtype, write = CASTS[cast]
    return {name: Stored(dtype, tensor.shape, write(tensor)) for name, tensor in tensors.items()}


def quantized(cast: str, tensors: Tensors) -> dict[str, Stored]:
    """Return tensors as a quantized GGUF has them: the matrices in blocks, and the rest in fp32."""
    dtype, write = CASTS[cast]
    return {
        name: Stored(dtype, tensor.shape, write(tensor))
        if tensor.ndim == 2 and tensor.shape[-1] % 32 == 0
        else Stored("F32", tensor.shape, fp32(tensor))
        for name, tensor in tensors.items()
    }


def safetensors(path: Path, tensors: Mapping[str, Stored], facts: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file, the tensors in their order, with facts in its metadata."""
    header: dict[str, object] = {"__metadata__": {"format": "pt", **(facts or {})}}
    at = 0
    for name, each in tensors.items():
        header[name] = {"dtype": each.dtype, "shape": each.shape, "data_offsets": [at, at + len(each.data)]}
        at += len(each.data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    _write(path, (struct.pack("<Q", len(text)), text, *(each.data for each in tensors.values())))


def shards(folder: Path, tensors: Mapping[str, Stored], count: int) -> None:
    """Write the tensors into so many safetensors files of about one size, with the index that names them."""
    total = sum(len(each.data) for each in tensors.values())
    parts: list[dict[str, Stored]] = [{} for _ in range(count)]
    homes: dict[str, str] = {}
    at = 0
    for name, each in tensors.items():
        number = min(count - 1, at * count // total)
        parts[number][name] = each
        homes[name] = f"model-{number + 1:05}-of-{count:05}.safetensors"
        at += len(each.data)
    for number, part in enumerate(parts):
        safetensors(folder / f"model-{number + 1:05}-of-{count:05}.safetensors", part)
    index = {"metadata": {"total_size": total}, "weight_map": homes}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))


_GGML: Final = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 8}


def gguf(path: Path, tensors: Mapping[str, Stored], facts: Mapping[str, str], words: Iterable[str] = ()) -> None:
    """Write a GGUF file with facts and the words of a vocabulary in its header."""
    listed = [_text(word) for word in words]
    keys = [_text(name) + struct.pack("<I", 8) + _text(value) for name, value in facts.items()]
    keys.append(_text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, len(listed)) + b"".join(listed))
    infos, data, at = [], [], 0
    for name, each in tensors.items():
        sizes = b"".join(struct.pack("<Q", size) for size in reversed(each.shape))
        infos.append(
            _text(name) + struct.pack("<I", len(each.shape)) + sizes + struct.pack("<IQ", _GGML[each.dtype], at)
        )
        data += [each.data, bytes(-len(each.data) % 32)]
        at += len(data[-2]) + len(data[-1])
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(infos), len(keys)) + b"".join((*keys, *infos))
    _write(path, (head, bytes(-len(head) % 32), *data))


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _write(path: Path, parts: Iterable[bytes]) -> None:
    with path.open("wb") as file:
        file.writelines(parts)
