"""About how many bytes a fetch would move: a few of the missing chunks are asked for as it would ask, and scaled up.

How small a chunk becomes depends on its kind of file, on what is held as a base, and on what the sender finds worth
its while. So nothing but real payloads tell. Of each kind (the ending of the name) some are asked for, spread over what
is missing; nothing is kept.

Source: specs/cli.md, "Dry runs".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, final

from samara.protocol.chunklist import ChunkList
from samara.protocol.ids import Digest

__all__ = ["Gauge", "Part", "Sample", "choose", "part_of"]

MOST: Final = 8
"""Chunks that are asked for in all: 8 MiB at most, a second of a slow line for each."""

SHARE: Final = 50
"""Of what is missing at most one in so many bytes is asked for, but for the first chunk."""


@final
@dataclass(frozen=True, slots=True)
class Sample:
    """A chunk that may be asked for.

    Attributes:
        kind: Of which kind its file is.
        stream: Which file.
        index: Which chunk.
        length: Its bytes.
        hash: Its hash.
    """

    kind: str
    stream: int
    index: int
    length: int
    hash: Digest


@final
@dataclass(frozen=True, slots=True)
class Part:
    """What is missing of one file.

    Attributes:
        kind: The ending of its name.
        needed: Bytes.
        samples: Chunks of it, evenly spread.
    """

    kind: str
    needed: int
    samples: Sequence[Sample]


def part_of(path: str, stream: int, chunks: ChunkList, missing: Sequence[int]) -> Part:
    """Return what is missing of a file: `missing` are the indexes of its chunks, ascending."""
    kind = path.rpartition("/")[2].rpartition(".")[2].lower()
    count = min(MOST, len(missing))
    picked = [missing[(2 * n + 1) * len(missing) // (2 * count)] for n in range(count)]
    samples = [Sample(kind, stream, index, chunks.length(index), chunks.hash(index)) for index in picked]
    return Part(kind, sum(map(chunks.length, missing)), samples)


def choose(parts: Iterable[Part]) -> list[Sample]:
    """Return the chunks to ask for, by kind, the kind of which most is missing first.

    At most `MOST`, and at most one in `SHARE` of the missing bytes; one when even that is more.
    """
    by_kind: dict[str, list[Part]] = {}
    for part in parts:
        if part.samples:
            by_kind.setdefault(part.kind, []).append(part)
    kinds = sorted(by_kind.values(), key=lambda kind: (-_needed(kind), kind[0].kind))[:MOST]
    room = sum(map(_needed, kinds)) // SHARE
    for count in range(MOST if kinds else 0, 0, -1):
        chosen = [each for kind, seats in zip(kinds, _seats(kinds, count), strict=True) for each in _pick(kind, seats)]
        if count == 1 or sum(each.length for each in chosen) <= room:
            return chosen
    return []


def _needed(kind: Sequence[Part]) -> int:
    return sum(part.needed for part in kind)


def _seats(kinds: Sequence[Sequence[Part]], count: int) -> list[int]:
    """Return how many chunks each kind gets: one each, as far as they go, and the rest by bytes."""
    seats = [1 if number < count else 0 for number in range(len(kinds))]
    for _ in range(count - sum(seats)):
        most = max(range(len(kinds)), key=lambda n: _needed(kinds[n]) / (seats[n] + 1))
        seats[most] += 1
    return seats


def _pick(kind: Sequence[Part], count: int) -> list[Sample]:
    """Return chunks of a kind at even distances of its missing bytes; fewer where it has no more."""
    total = _needed(kind)
    found: dict[tuple[int, int], Sample] = {}
    for number in range(count):
        at = (2 * number + 1) * total // (2 * count)
        for part in kind:
            if at < part.needed:
                sample = part.samples[at * len(part.samples) // part.needed]
                found[sample.stream, sample.index] = sample
                break
            at -= part.needed
    return list(found.values())


@final
class Gauge:
    """What came of samples, by kind.

    A sender that measures its line sends its first bytes as they are, whatever they are (exchange.md, "WANT → CHUNK").
    So what came raw before anything came encoded says nothing.
    """

    def __init__(self) -> None:
        self._raw: dict[str, int] = {}
        self._moved: dict[str, int] = {}

    def add(self, sample: Sample, size: int, *, encoded: bool) -> None:
        """Take note that a chunk came in a payload of `size` bytes."""
        if encoded or self._raw:
            self._raw[sample.kind] = self._raw.get(sample.kind, 0) + sample.length
            self._moved[sample.kind] = self._moved.get(sample.kind, 0) + min(size, sample.length)

    def estimate(self, part: Part) -> int | None:
        """Return about how many bytes a part would move; None when nothing is known of its kind."""
        if not part.needed:
            return 0
        raw = self._raw.get(part.kind)
        return None if raw is None else round(part.needed * self._moved[part.kind] / raw)
