"""Mutations without a fuzzer: the same ones for the same number, from inputs that are known to be interesting."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Final

from support.scripts import ROOT

__all__ = ["CORPUS", "corpus", "mutations"]

CORPUS: Final = ROOT / "tests" / "fuzz" / "corpus"
"""The committed inputs, a folder a target."""

_MOST: Final = 1 << 16
_NUMBERS: Final = (b"\0", b"\1", b"\x7f", b"\x80", b"\xff", b"\xff" * 4, b"\x7f" + b"\xff" * 3, b"\xff" * 8, bytes(8))


def corpus(target: str) -> dict[str, bytes]:
    """Return the committed inputs of a target, by the name of their file."""
    return {path.name: path.read_bytes() for path in sorted((CORPUS / target).glob("*"))}


def mutations(seed: str, inputs: Mapping[str, bytes]) -> Iterator[bytes]:
    """Yield mutated inputs without end, the same ones for the same seed."""
    chance, known = random.Random(seed), [*inputs.values()] or [b""]
    while True:
        data = bytearray(chance.choice(known))
        for _ in range(chance.choice((1, 1, 2, 4, 8))):
            _mutate(chance, data, known)
        yield bytes(data[:_MOST])


def _mutate(chance: random.Random, data: bytearray, known: list[bytes]) -> None:
    place = chance.randint(0, len(data))
    end = min(len(data), place + chance.choice((1, 2, 4, 8, 32)))
    match chance.randrange(8):
        case 0 | 1 if place < len(data):
            data[place] ^= 1 << chance.randrange(8)
        case 2 if place < len(data):
            data[place] = chance.randrange(256)
        case 3:
            number = chance.choice(_NUMBERS)
            data[place : place + len(number)] = number
        case 4:
            data[place:place] = chance.randbytes(end - place + 1)
        case 5:
            del data[place:end]
        case 6:
            data[place:place] = data[place:end] * chance.choice((1, 2, 16))
        case _:
            other = chance.choice(known)
            start = chance.randint(0, len(other))
            data[place:] = other[start:]
