"""Model files whose weights look like weights, and what a fine-tune makes of them."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Weights", "draw", "tune", "write_safetensors"]

Weights = Mapping[str, npt.NDArray[Any]]
"""bfloat16 by name, as the 16 high bits of single precision."""


def draw(seed: int, tensors: int = 6, size: int = 1_100_000) -> Weights:
    """Return tensors of normal weights, in bfloat16; the last two are small."""
    random = np.random.default_rng(seed)
    sizes = [size] * (tensors - 2) + [700, 1200]
    return {
        f"layers.{n}.weight": _bfloat16(random.standard_normal(count, np.float32) * np.float32(0.02))
        for n, count in enumerate(sizes)
    }


def tune(weights: Weights, relative: float, seed: int) -> Weights:
    """Return weights that differ by normal noise of so much of their own size."""
    random = np.random.default_rng(seed)
    return {
        name: _bfloat16(_single(values) * (1 + relative * random.standard_normal(len(values), np.float32)))
        for name, values in weights.items()
    }


def write_safetensors(path: Path, weights: Weights, note: str = "") -> None:
    """Write a safetensors file."""
    header: dict[str, object] = {"__metadata__": {"note": note}} if note else {}
    at = 0
    for name, values in weights.items():
        header[name] = {"dtype": "BF16", "shape": [len(values)], "data_offsets": [at, at + 2 * len(values)]}
        at += 2 * len(values)
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(each.tobytes() for each in weights.values()))


def _bfloat16(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    words = values.astype(np.float32).view(np.uint32)
    return ((words + 0x7FFF + (words >> 16 & 1)) >> 16).astype("<u2")


def _single(words: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return (words.astype(np.uint32) << 16).view(np.float32)
