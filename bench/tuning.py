"""A real fine-tune of all-MiniLM-L6-v2, short, with numpy alone: what it moves in the weights is what training moves.

All weights are trained in fp32 with AdamW (learning rate 2e-5, decay 0.01), by the objective that the model was made
with: of two texts that stand together, each finds the other among those of its batch. The texts are neighbouring lines
of this repository's own specifications. No dropout; GELU by its tanh form.

It is a fine-tune of some dozen steps and no better model: its loss falls, and that is all that is claimed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from weights import SEED, Array, Tensors

__all__ = ["STEPS", "Node", "Tuned", "fine_tuned", "learn"]

STEPS: Final = 60
_PAIRS, _LENGTH = 16, 32
"""Pairs of texts in a batch, and tokens of each text at most."""

_HEADS: Final = 12
_RATE, _DECAY, _BETAS, _TINY = 2e-5, 0.01, (0.9, 0.999), 1e-8
_SHARPNESS: Final = 20.0
"""By which cosines are multiplied before the softmax, as sentence-transformers does."""

_CLS, _SEP, _UNKNOWN = 101, 102, 100


@dataclass(frozen=True, slots=True)
class Tuned:
    """What came of it.

    Attributes:
        tensors: The weights after it.
        before: Loss of the first steps.
        after: Loss of the last ones.
    """

    tensors: Tensors
    before: float
    after: float


def fine_tuned(base: Tensors, tokenizer: Path, texts: Path, steps: int = STEPS, rate: float = _RATE) -> Tuned:
    """Train all weights for some steps.

    Args:
        base: The fp32 weights.
        tokenizer: Its tokenizer.json.
        texts: A folder of Markdown.
        steps: How many.
        rate: The learning rate.
    """
    pairs = _Pairs(tokenizer, texts)
    weights = {name: Node(tensor.astype("<f4")) for name, tensor in base.items()}
    first = {name: np.zeros_like(node.value) for name, node in weights.items()}
    second = {name: np.zeros_like(node.value) for name, node in weights.items()}
    losses = []
    for step in range(1, steps + 1):
        for node in weights.values():
            node.slope = np.zeros_like(node.value)
        losses.append(learn(weights, *pairs.batch()))
        for name, node in weights.items():
            _step(node, first[name], second[name], step, rate)
    few = max(1, steps // 6)
    tensors = {name: node.value for name, node in weights.items()}
    return Tuned(tensors, float(np.mean(losses[:few])), float(np.mean(losses[-few:])))


def _step(node: Node, first: Array, second: Array, number: int, rate: float) -> None:
    """Move one tensor as AdamW does (Loshchilov and Hutter, 2019)."""
    slow, slower = _BETAS
    first += (1 - slow) * (node.slope - first)
    second += (1 - slower) * (np.square(node.slope) - second)
    scale = np.sqrt(second / (1 - slower**number)) + _TINY
    node.value -= rate * (first / (1 - slow**number) / scale + _DECAY * node.value)


# The texts.


class _Pairs:
    """Neighbouring lines of texts, as tokens."""

    def __init__(self, tokenizer: Path, texts: Path) -> None:
        self._ids: dict[str, int] = json.loads(tokenizer.read_text(encoding="utf-8"))["model"]["vocab"]
        self._chance = np.random.default_rng(SEED)
        self._found = [pair for path in sorted(texts.rglob("*.md")) for pair in self._neighbours(path)]

    def batch(self) -> tuple[Array, Array]:
        """Return tokens of the left texts and then of the right ones, in rows, and which of them are there."""
        chosen = self._chance.choice(len(self._found), _PAIRS, replace=False)
        rows = [self._found[number][side] for side in (0, 1) for number in chosen]
        width = max(map(len, rows))
        tokens = np.array([row + [0] * (width - len(row)) for row in rows])
        return tokens, tokens != 0

    def _neighbours(self, path: Path) -> Iterator[tuple[list[int], list[int]]]:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if len(line) >= 60]
        tokens = [self._tokens(line) for line in lines]
        yield from pairwise(tokens)

    def _tokens(self, text: str) -> list[int]:
        words = re.findall(r"\w+|[^\w\s]", text.lower())
        found = [token for word in words for token in self._pieces(word)]
        return [_CLS, *found[: _LENGTH - 2], _SEP]

    def _pieces(self, word: str) -> list[int]:
        """Return the longest known pieces of a word, from left to right (WordPiece)."""
        found, at = [], 0
        while at < len(word):
            for end in range(len(word), at, -1):
                if (known := self._ids.get(("##" if at else "") + word[at:end])) is not None:
                    found.append(known)
                    at = end
                    break
            else:
                return [_UNKNOWN]
        return found


# The model, forth and back. A node's slope is the derivative of the loss by its value.


class Node:
    """A tensor of the computation, and the derivative of the loss by it."""

    __slots__ = ("slope", "value")

    def __init__(self, value: Array) -> None:
        self.value = value
        self.slope: Array = np.zeros(0)


class _Tape:
    """What was computed, in order, so that slopes can go back through it."""

    def __init__(self) -> None:
        self._done: list[tuple[Node, Callable[[Array], None]]] = []

    def made(self, value: Array, back: Callable[[Array], None]) -> Node:
        """Take note of a value, and of how its slope goes on to what it was made of."""
        node = Node(value)
        node.slope = np.zeros_like(value)
        self._done.append((node, back))
        return node

    def back(self) -> None:
        for node, back in reversed(self._done):
            back(node.slope)


def learn(weights: dict[str, Node], tokens: Array, there: Array) -> float:
    """Fill the slopes of all weights by one batch, and return its loss."""
    tape = _Tape()
    node = _embedded(tape, weights, tokens)
    layer = 0
    while f"encoder.layer.{layer}.attention.self.query.weight" in weights:
        node = _layer(tape, weights, f"encoder.layer.{layer}.", node, there)
        layer += 1
    loss = _contrast(node, there)
    tape.back()
    return loss


def _embedded(tape: _Tape, weights: dict[str, Node], tokens: Array) -> Node:
    words, places, kinds = (
        weights[f"embeddings.{part}_embeddings.weight"] for part in ("word", "position", "token_type")
    )
    width = tokens.shape[1]

    def back(slope: Array) -> None:
        np.add.at(words.slope, tokens.ravel(), slope.reshape(-1, slope.shape[-1]))
        places.slope[:width] += slope.sum(0)
        kinds.slope[0] += slope.sum((0, 1))

    found = tape.made(words.value[tokens] + places.value[:width] + kinds.value[0], back)
    return _norm(tape, weights, "embeddings.LayerNorm", found)


def _layer(tape: _Tape, weights: dict[str, Node], name: str, node: Node, there: Array) -> Node:
    query, key, value = (
        _linear(tape, weights, f"{name}attention.self.{part}", node) for part in ("query", "key", "value")
    )
    seen = _linear(tape, weights, f"{name}attention.output.dense", _attention(tape, query, key, value, there))
    node = _norm(tape, weights, f"{name}attention.output.LayerNorm", _sum(tape, node, seen))
    wide = _gelu(tape, _linear(tape, weights, f"{name}intermediate.dense", node))
    found = _sum(tape, node, _linear(tape, weights, f"{name}output.dense", wide))
    return _norm(tape, weights, f"{name}output.LayerNorm", found)


def _linear(tape: _Tape, weights: dict[str, Node], name: str, node: Node) -> Node:
    matrix, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]

    rows = node.value.reshape(-1, node.value.shape[-1])  # one product of matrices, and not one a text

    def back(slope: Array) -> None:
        flat = slope.reshape(-1, slope.shape[-1])
        node.slope += (flat @ matrix.value).reshape(node.value.shape)
        matrix.slope += flat.T @ rows
        bias.slope += flat.sum(0)

    made = rows @ matrix.value.T + bias.value
    return tape.made(made.reshape(*node.value.shape[:-1], -1), back)


def _sum(tape: _Tape, one: Node, other: Node) -> Node:
    def back(slope: Array) -> None:
        one.slope += slope
        other.slope += slope

    return tape.made(one.value + other.value, back)


def _norm(tape: _Tape, weights: dict[str, Node], name: str, node: Node) -> Node:
    scale, shift = weights[f"{name}.weight"], weights[f"{name}.bias"]
    middle = node.value - node.value.mean(-1, keepdims=True)
    width = np.sqrt(np.square(middle).mean(-1, keepdims=True) + 1e-12)
    even = middle / width

    def back(slope: Array) -> None:
        scale.slope += (slope * even).sum((0, 1))
        shift.slope += slope.sum((0, 1))
        inner = slope * scale.value
        node.slope += (inner - inner.mean(-1, keepdims=True) - even * (inner * even).mean(-1, keepdims=True)) / width

    return tape.made(even * scale.value + shift.value, back)


def _gelu(tape: _Tape, node: Node) -> Node:
    x, steep = node.value, np.float32(np.sqrt(2 / np.pi))
    bend = np.tanh(steep * (x + np.float32(0.044715) * x * x * x))

    def back(slope: Array) -> None:
        turn = (1 - bend * bend) * steep * (1 + np.float32(3 * 0.044715) * x * x)
        node.slope += slope * np.float32(0.5) * (1 + bend + x * turn)

    return tape.made(np.float32(0.5) * x * (1 + bend), back)


def _attention(tape: _Tape, query: Node, key: Node, value: Node, there: Array) -> Node:
    rows, width, size = query.value.shape
    scale = np.float32((size // _HEADS) ** -0.5)

    def apart(flat: Array) -> Array:
        found: Array = flat.reshape(rows, width, _HEADS, -1).transpose(0, 2, 1, 3)
        return found

    def together(heads: Array) -> Array:
        found: Array = heads.transpose(0, 2, 1, 3).reshape(rows, width, size)
        return found

    q, k, v = apart(query.value), apart(key.value), apart(value.value)
    scores = q @ k.swapaxes(-1, -2) * scale + np.where(there, np.float32(0), np.float32(-1e9))[:, None, None, :]
    share = _softmax(scores)

    def back(slope: Array) -> None:
        heads = apart(slope)
        value.slope += together(share.swapaxes(-1, -2) @ heads)
        by_share = heads @ v.swapaxes(-1, -2)
        by_score = share * (by_share - (by_share * share).sum(-1, keepdims=True)) * scale
        query.slope += together(by_score @ k)
        key.slope += together(by_score.swapaxes(-1, -2) @ q)

    return tape.made(together(share @ v), back)


def _contrast(node: Node, there: Array) -> float:
    """Return the loss of texts, the mean of their tokens, that find their neighbours; its slope begins here."""
    share = (there / there.sum(1, keepdims=True)).astype("<f4")
    means = np.einsum("rw,rws->rs", share, node.value)
    length = np.linalg.norm(means, axis=1, keepdims=True)
    unit = means / length
    left, right = unit[:_PAIRS], unit[_PAIRS:]
    chance = _softmax(np.float32(_SHARPNESS) * left @ right.T)
    by_score = (chance - np.eye(_PAIRS, dtype="<f4")) * np.float32(_SHARPNESS / _PAIRS)
    by_unit = np.concatenate((by_score @ right, by_score.T @ left))
    by_mean = (by_unit - unit * (by_unit * unit).sum(1, keepdims=True)) / length
    node.slope += share[:, :, None] * by_mean[:, None, :]
    return float(-np.log(np.diagonal(chance)).mean())


def _softmax(scores: Array) -> Array:
    raised = np.exp(scores - scores.max(-1, keepdims=True))
    found: Array = raised / raised.sum(-1, keepdims=True)
    return found
