"""Which files of a model one of its quantizations needs, by their names: weights are large, and one set will do.

Nothing is read: names are all that is known before a fetch. A label is a word of a path, whatever its case: `Q4_K_M` is
in `model-Q4_K_M.gguf`, `model.q4_k_m-00001-of-00003.gguf` and `Q4_K_M/model.gguf`, and `Q4_K` in none of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from samara.protocol.formats.ggml_types import FILE_TYPES

__all__ = ["of_quantization", "quantizations_in"]

_WEIGHTS: Final = re.compile(
    r"\.(?:gguf|ggml|safetensors|bin|pt|pth|ckpt|onnx|onnx_data|h5|msgpack|npz|npy|tflite|dat|imatrix)$", re.IGNORECASE
)
_PROJECTOR: Final = re.compile(r"^mmproj", re.IGNORECASE)
"""What turns pictures into tokens: each quantization of its model needs one, and it has a type of its own."""

_PROJECTOR_TYPES: Final = ("F16", "BF16", "Q8_0", "F32")
"""Of several projectors the first of these is taken: what is more exact brings nothing."""

_WORD: Final = re.compile(r"[A-Za-z0-9]+(?:_[A-Za-z0-9]+)*")
_LABELS: Final = frozenset({each.label for each in FILE_TYPES.values()} | {"FP16", "FP32", "FP8", "INT8", "INT4"})
_OTHER: Final = re.compile(r"(?:I?Q|TQ)[1-8]_[A-Z0-9_]+")
"""Labels of quantizations that came later, or that a publisher made up."""


def of_quantization(paths: Sequence[str], label: str) -> list[int]:
    """Return which of some paths a quantization needs: its weights, and all that is no weights.

    Args:
        paths: Paths of a file table.
        label: The name of a quantization, as "Q4_K_M".

    Returns:
        Indexes, ascending; empty when no weights bear the label.
    """
    weights = [_WEIGHTS.search(path) is not None for path in paths]
    projectors = [n for n, path in enumerate(paths) if weights[n] and _PROJECTOR.search(path.rpartition("/")[2])]
    chosen = {n for n, path in enumerate(paths) if weights[n] and label.upper() in _words(path)}
    if not chosen.difference(projectors):
        return []
    if not chosen.intersection(projectors):
        chosen |= _best(paths, projectors)
    return [n for n in range(len(paths)) if n in chosen or not weights[n]]


def quantizations_in(paths: Iterable[str]) -> list[str]:
    """Return the labels of quantizations that stand in the names of weights, sorted."""
    return sorted({label for path in paths if _WEIGHTS.search(path) for label in _labels(path)})


def _best(paths: Sequence[str], projectors: Sequence[int]) -> set[int]:
    for kind in _PROJECTOR_TYPES:
        if found := {n for n in projectors if kind in _words(paths[n])}:
            return found
    return set(projectors)


def _words(path: str) -> set[str]:
    return {word.upper() for word in _WORD.findall(path)}


def _labels(path: str) -> set[str]:
    return {word for word in _words(path) if word in _LABELS or _OTHER.fullmatch(word)}
