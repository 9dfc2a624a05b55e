"""Kinds of change: what a receiver holds, what it wants, and the making of both in a folder.

The model is all-MiniLM-L6-v2 (22.7 million weights), cast or quantized, unless it is said otherwise.
"""

from __future__ import annotations

import functools
import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from contents import write_random
from measuring import GIB, MIB
from peers.apart import PYTHON, lacking
from peers.base import Skipped
from tuning import STEPS, Tuned, fine_tuned
from weights import (
    ALL_LINEAR,
    QUERY_VALUE,
    SEED,
    Array,
    Stored,
    Tensors,
    cast_all,
    gguf,
    lora,
    moved_by,
    noise,
    quantized,
    read_tensors,
    safetensors,
    shards,
)

from samara.cli.sample_model import MINILM, SMOLLM2, Sample, default_cache, fetch_sample

__all__ = ["CHANGES", "Change", "Source"]

_TEXTS = Path(__file__).resolve().parents[1] / "specs"
COPIES: Final = 8
ROWS: Final = 200_000
"""Rows of the data sets; about 240 bytes each as JSON."""


class Source:
    """What changes are made of; each part is made when it is first wanted.

    Args:
        mib: MiB of the file without structure.
    """

    def __init__(self, mib: int) -> None:
        self.mib = mib

    @functools.cached_property
    def base(self) -> Tensors:
        """The model in fp32."""
        return read_tensors(_sample(MINILM))

    @functools.cached_property
    def tuned(self) -> Tuned:
        """The model after a real fine-tune."""
        return fine_tuned(self.base, _sample(MINILM).with_name("tokenizer.json"), _TEXTS)

    @functools.cached_property
    def vocabulary(self) -> list[str]:
        """The words that the model knows."""
        told = json.loads(_sample(MINILM).with_name("tokenizer.json").read_text(encoding="utf-8"))
        return list(told["model"]["vocab"])

    @functools.cached_property
    def lines(self) -> list[str]:
        """Rows of a data set."""
        return _lines(self, SEED, ROWS)

    def tuning(self) -> str:
        """Say what the real fine-tune was, in words."""
        found = self.tuned
        return (
            f"{STEPS} steps of AdamW with numpy, loss {found.before:.2f} to {found.after:.2f}, "
            f"the weights moved by {moved_by(self.base, found.tensors):.1e} of their norm"
        )


@dataclass(frozen=True, slots=True)
class Change:
    """One kind of change.

    Attributes:
        name: What `--only` calls it.
        title: What it is, in words.
        make: Makes the folders `base` (unless nothing is held) and `new` in a folder that is empty.
        note: Says more, once it is made.
        timed: It is run as often as asked; else once, since bytes hardly vary.
    """

    name: str
    title: str
    make: Callable[[Source, Path], None]
    note: Callable[[Source], str] = lambda source: ""
    timed: bool = False


def _sample(sample: Sample) -> Path:
    return fetch_sample(sample, cache=default_cache())


def _folders(folder: Path) -> tuple[Path, Path]:
    base, new = folder / "base", folder / "new"
    base.mkdir()
    new.mkdir()
    return base, new


# Weights.


def _first(cast: str) -> Callable[[Source, Path], None]:
    def make(source: Source, folder: Path) -> None:
        (folder / "new").mkdir()
        safetensors(folder / "new" / "model.safetensors", cast_all(cast, source.base))

    return make


def _weights(change: Callable[[Source], Tensors]) -> Callable[[Source, Path], None]:
    """Make a model in bf16, and the same with other weights."""

    def make(source: Source, folder: Path) -> None:
        base, new = _folders(folder)
        safetensors(base / "model.safetensors", cast_all("bf16", source.base))
        safetensors(new / "model.safetensors", cast_all("bf16", change(source)))

    return make


def _file(write: Callable[[Path, dict[str, Stored]], None]) -> Callable[[Source, Path], None]:
    """Make a model in bf16, and the same weights written in another way."""

    def make(source: Source, folder: Path) -> None:
        base, new = _folders(folder)
        tensors = cast_all("bf16", source.base)
        safetensors(base / "model.safetensors", tensors)
        write(new, tensors)

    return make


def _reorder(folder: Path, tensors: dict[str, Stored]) -> None:
    names = random.Random(SEED).sample(sorted(tensors), len(tensors))
    safetensors(folder / "model.safetensors", {name: tensors[name] for name in names})


def _edit_header(folder: Path, tensors: dict[str, Stored]) -> None:
    facts = {"license": "mit", "description": "The same weights, with something said of them."}
    safetensors(folder / "model.safetensors", tensors, facts)


def _seven_rows(source: Source) -> Tensors:
    name = "embeddings.word_embeddings.weight"
    words = source.base[name]
    chance = np.random.default_rng(SEED)
    new: Array = (chance.standard_normal((7, words.shape[1])) * words.std()).astype("<f4")
    return source.base | {name: np.concatenate((words, new))}


def _wide(source: Source, folder: Path) -> None:
    """Make a model that is as large as several, without a row that is in it twice, and its fine-tune."""
    base, new = _folders(folder)
    tuned = source.tuned.tensors
    before: dict[str, Stored] = {}
    after: dict[str, Stored] = {}
    for number in range(COPIES):
        orders = {name: _orders(tensor, number) for name, tensor in source.base.items()}
        for tensors, made in ((source.base, before), (tuned, after)):
            shuffled = {f"part.{number}.{name}": tensors[name][orders[name]] for name in tensors}
            made |= cast_all("bf16", shuffled)
    safetensors(base / "model.safetensors", before)
    safetensors(new / "model.safetensors", after)


def _wide_note(source: Source) -> str:
    return f"{COPIES} copies of the model and of its fine-tune, rows and columns of each copy in an order of their own"


def _orders(tensor: Array, number: int) -> tuple[Array, ...]:
    """Return an index that shuffles a tensor along each of its dimensions."""
    chance = np.random.default_rng((SEED, number))
    return np.ix_(*(chance.permutation(size) for size in tensor.shape))


def _requantized(cast: str) -> Callable[[Source, Path], None]:
    def make(source: Source, folder: Path) -> None:
        for path, tensors in zip(_folders(folder), (source.base, noise(source.base, 3e-3)), strict=True):
            facts = {"general.architecture": "bert", "general.name": "MiniLM"}
            gguf(path / "model.gguf", quantized(cast, tensors), facts, source.vocabulary)

    return make


def _edit_gguf(source: Source, folder: Path) -> None:
    """Lengthen a name in the header of a real model by one alignment, so that the padding stays as it is."""
    base, new = _folders(folder)
    data = _sample(SMOLLM2).read_bytes()
    key = b"general.name" + (8).to_bytes(4, "little")
    at = data.index(key) + len(key)
    size = int.from_bytes(data[at : at + 8], "little")
    name = data[at + 8 : at + 8 + size] + b", as edited by one of its users."
    assert (len(name) - size) % 32 == 0
    (base / "model.gguf").write_bytes(data)
    (new / "model.gguf").write_bytes(data[:at] + len(name).to_bytes(8, "little") + name + data[at + 8 + size :])


# Data sets, and a file without structure.


def _lines(source: Source, seed: int, count: int) -> list[str]:
    """Return rows of words that are as frequent as words are (Zipf)."""
    chance = random.Random(seed)
    words = [word for word in source.vocabulary if word.isalpha()]
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    chosen = iter(chance.choices(words, weights, k=count * 28))
    return [
        json.dumps(
            {
                "id": chance.getrandbits(48),
                "text": " ".join(next(chosen) for _ in range(28)),
                "source": chance.choice(("web", "books", "code")),
                "score": round(chance.random(), 6),
            }
        )
        + "\n"
        for _ in range(count)
    ]


def _with_rows(lines: list[str], more: list[str], places: int) -> list[str]:
    """Insert rows at some places; at the end when there is none."""
    if not places:
        return lines + more
    share, step = len(more) // places, len(lines) // (places + 1)
    found, at = [], 0
    for number in range(places):
        found += lines[at : at + step] + more[number * share : (number + 1) * share]
        at += step
    return found + lines[at:]


def _jsonl(more: float, places: int) -> Callable[[Source, Path], None]:
    def make(source: Source, folder: Path) -> None:
        base, new = _folders(folder)
        changed = _with_rows(source.lines, _lines(source, SEED + 1, int(ROWS * more)), places)
        (base / "data.jsonl").write_text("".join(source.lines))
        (new / "data.jsonl").write_text("".join(changed))

    return make


def _parquet(*how: str) -> Callable[[Source, Path], None]:
    def make(source: Source, folder: Path) -> None:
        if gone := lacking("pyarrow"):
            raise Skipped(f"not installed: {gone}")
        _jsonl(0.01, 3)(source, folder)
        child = Path(__file__).with_name("parquet_child.py")
        for lines in (folder / "base" / "data.jsonl", folder / "new" / "data.jsonl"):
            words = [str(each) for each in (PYTHON, "-I", child, lines, lines.with_suffix(".parquet"), *how)]
            done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=300)
            if "unexpected keyword" in done.stderr:
                raise Skipped("this pyarrow does not cut by content")
            done.check_returncode()
            lines.unlink()

    return make


def _changed(source: Source, folder: Path) -> None:
    """Change a tenth in one place, and insert 1 MB of a GiB in another before it."""
    base, new = _folders(folder)
    write_random(base / "data.bin", source.mib * MIB)
    more, fifth, tenth = (source.mib * size // 1024 for size in (1_000_000, GIB // 5, GIB // 10))
    with (base / "data.bin").open("rb") as old, (new / "data.bin").open("wb") as file:
        file.write(old.read(fifth))
        file.write(os.urandom(more))
        file.write(old.read(fifth))
        file.write(os.urandom(tenth))
        old.seek(tenth, os.SEEK_CUR)
        shutil.copyfileobj(old, file, 16 * MIB)


CHANGES = (
    Change("first-bf16", "bf16, nothing held", _first("bf16")),
    Change("first-fp16", "fp16, nothing held", _first("fp16")),
    Change("first-fp32", "fp32, nothing held", _first("fp32")),
    Change("tuned", "bf16, a real fine-tune", _weights(lambda source: source.tuned.tensors), Source.tuning, timed=True),
    Change("noise-3e-3", "bf16, noise of 3e-3 of the norm", _weights(lambda source: noise(source.base, 3e-3))),
    Change("noise-1e-2", "bf16, noise of 1e-2", _weights(lambda source: noise(source.base, 1e-2))),
    Change("lora-qv", "bf16, LoRA merged into q, v", _weights(lambda source: lora(source.base, QUERY_VALUE))),
    Change("lora-all", "bf16, LoRA merged into all linear", _weights(lambda source: lora(source.base, ALL_LINEAR))),
    Change("reshard", "bf16, one file to three and an index", _file(lambda at, tensors: shards(at, tensors, 3))),
    Change("reorder", "bf16, tensors in another order", _file(_reorder)),
    Change("header", "bf16, metadata of the header edited", _file(_edit_header)),
    Change("rows", "bf16, vocabulary of 7 rows more", _weights(_seven_rows)),
    Change("gguf-header", "SmolLM2 Q4_1 GGUF, its name edited", _edit_gguf),
    Change("gguf-q8_0", "Q8_0 GGUF, of noise of 3e-3", _requantized("Q8_0")),
    Change("gguf-q4_0", "Q4_0 GGUF, of noise of 3e-3", _requantized("Q4_0")),
    Change("jsonl-insert", "JSON lines, 1 % inserted at three places", _jsonl(0.01, 3)),
    Change("jsonl-append", "JSON lines, 5 % appended", _jsonl(0.05, 0)),
    Change("parquet", "parquet, 1 % of rows inserted at three places", _parquet()),
    Change("parquet-cdc", "the same, pages cut by content", _parquet("chunked")),
    Change("changed", "a file without structure, 10 % changed, 0.1 % inserted", _changed),
    Change("wide", f"bf16, the real fine-tune, {COPIES} times the size", _wide, _wide_note, timed=True),
)
