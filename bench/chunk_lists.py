"""How large chunk lists are beside what they list, by the rule that publishing cuts by.

A list follows from a file's header and size alone, so models of any size need no weights here; hashes are random.
A real model of 91 MB and a file without structure are there, too, and are really cut.
"""

from __future__ import annotations

import json
import os
import struct
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Final

from measuring import MIB

from samara.cli.sample_model import MINILM, default_cache, fetch_sample
from samara.protocol.chunking.fastcdc import cut
from samara.protocol.chunking.layout import PROFILE, Kind, ReadAt
from samara.protocol.chunking.profile import cut_bytes, layout
from samara.protocol.chunklist import build_list

__all__ = ["list_shares"]

_GENERIC: Final = 256 * MIB


def list_shares() -> dict[str, dict[str, float]]:
    """Return `bytes` of the file, `list` bytes of its chunk list, and their `share`, by what it is."""
    return {
        "7B, bf16": _model(32, 4096, 11008, 32000),
        "1B, bf16": _model(22, 2048, 5632, 32000),
        "91 MB, fp32": _file(fetch_sample(MINILM, cache=default_cache())),
        "cut by content": _generic(),
    }


def _model(layers: int, width: int, wide: int, words: int) -> dict[str, float]:
    """A safetensors file of a llama in bf16."""
    shapes = {"model.embed_tokens.weight": (words, width), "lm_head.weight": (words, width)}
    for number in range(layers):
        name = f"model.layers.{number}."
        shapes |= {f"{name}self_attn.{part}_proj.weight": (width, width) for part in "qkvo"}
        shapes |= {f"{name}mlp.{part}_proj.weight": (wide, width) for part in ("gate", "up", "down")}
        shapes |= {f"{name}{part}_layernorm.weight": (width, 1) for part in ("input", "post_attention")}
    header: dict[str, object] = {}
    at = 0
    for name, (rows, columns) in shapes.items():
        end = at + rows * columns * 2
        header[name] = {"dtype": "BF16", "shape": [rows, columns], "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    head = struct.pack("<Q", len(text)) + text
    return _share(len(head) + at, head)


def _file(path: Path) -> dict[str, float]:
    data = path.read_bytes()
    return _share(len(data), data)


def _share(size: int, head: bytes) -> dict[str, float]:
    """Cut a model by the beginning of its file."""
    plan = layout(size, _reading(head))
    assert plan.kind is Kind.SAFETENSORS, plan
    header = accumulate(cut(memoryview(head)[: plan.header], last=True))
    return _listed([*header, *plan.data_ends()])


def _generic() -> dict[str, float]:
    data = os.urandom(_GENERIC)
    return _listed(cut_bytes(data, layout(len(data), _reading(data))))


def _reading(data: bytes) -> ReadAt:
    return lambda offset, length: data[offset : offset + length]


def _listed(ends: list[int]) -> dict[str, float]:
    chunks = [(os.urandom(32), end - start) for start, end in pairwise([0, *ends])]
    nodes = sum(map(len, build_list(chunks, profile=PROFILE).nodes))
    return {"bytes": ends[-1], "list": nodes, "share": nodes / ends[-1]}
