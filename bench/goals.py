"""What must hold, as pure functions of the medians: nothing here measures.

Medians are by row, program and figure (peers/base.py names the figures). A goal that needs what was not measured has
no figure, and does not hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from measuring import GIB

__all__ = ["AIMS", "GOALS", "OURS", "Goal", "Medians", "Verdict", "judged"]

Medians = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Row → program → figure → its median; `bytes` is among the figures."""

OURS = "samara"

AIMS: Final = {
    "planes bf16": 0.675,
    "planes fp32": 0.83,
    "planes fp16": 0.855,
    "delta bf16, fine-tune 3e-3": 0.22,
    "delta bf16, fine-tune 1e-2": 0.32,
    "delta bf16, LoRA of q, v": 0.03,
    "delta bf16, LoRA of all linear": 0.15,
    "delta Q8_0, fine-tune 3e-3": 0.18,
    "delta Q4_0, fine-tune 3e-3": 0.07,
}
"""Bytes that are sent, as a share of all bytes of the weights, at most (chunk_encodings.py, and end to end)."""


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal.

    Attributes:
        row: Of what row.
        what: What is compared, in words.
        bound: What it must reach.
        at_least: The figure must be at least the bound; else at most.
        seen: The figure, from the medians.
        unit: What stands behind the figure.
        wanted: What would be better still, or nothing.
    """

    row: str
    what: str
    bound: float
    at_least: bool
    seen: Callable[[Medians], float]
    unit: str = ""
    wanted: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a goal holds at one place.

    Attributes:
        goal: Which.
        seen: The figure; None when it was not measured.
    """

    goal: Goal
    seen: float | None

    @property
    def holds(self) -> bool:
        """Whether it does."""
        if self.seen is None:
            return False
        return self.seen >= self.goal.bound if self.goal.at_least else self.seen <= self.goal.bound

    @property
    def needed(self) -> str:
        """The goal in words and figures."""
        wanted = f" ({self.goal.wanted:g} wanted)" if self.goal.wanted is not None else ""
        return f"{'≥' if self.goal.at_least else '≤'} {self.goal.bound:g}{self.goal.unit}{wanted}"


def _figure(goal: Goal, medians: Medians) -> float | None:
    try:
        return goal.seen(medians)
    except (KeyError, ZeroDivisionError):
        return None


def _faster_than(row: str, peer: str) -> Callable[[Medians], float]:
    """How many times as fast as a program: its time over ours."""
    return lambda medians: medians[row][peer]["seconds"] / medians[row][OURS]["seconds"]


def _time_of(row: str, peer: str) -> Callable[[Medians], float]:
    """Our time as a share of a program's."""
    return lambda medians: medians[row][OURS]["seconds"] / medians[row][peer]["seconds"]


def _ours(row: str, figure: str, scale: float = 1.0) -> Callable[[Medians], float]:
    return lambda medians: medians[row][OURS][figure] * scale


def _cpu_per_gib(row: str) -> Callable[[Medians], float]:
    def seen(medians: Medians) -> float:
        ours = medians[row][OURS]
        return (ours["cpu_fetch"] + ours["cpu_seed"]) / (ours["bytes"] / GIB)

    return seen


def _sent_per_content(medians: Medians) -> float:
    ours = medians["swarm"][OURS]
    return ours["sent"] / ours["bytes"]


def _again(medians: Medians) -> float:
    ours = medians["resume"][OURS]
    return ours["again"] / ours["rate"]


def link_share(row: str, peer: str = OURS) -> Callable[[Medians], float]:
    """Bits of content a second, as a share of the link's."""
    return lambda medians: (
        medians[row][peer]["bytes"] * 8 / medians[row][peer]["seconds"] / (medians[row][peer]["mbit"] * 1e6)
    )


GOALS = (
    Goal("single", "speed / libtorrent v1, plain", 1.2, True, _faster_than("single", "libtorrent v1"), "×", 1.5),
    Goal("single", "speed / libtorrent v2, plain", 1.7, True, _faster_than("single", "libtorrent v2"), "×"),
    Goal("single", "speed / libtorrent encrypted", 2.5, True, _faster_than("single", "libtorrent v1 encrypted"), "×"),
    Goal("single", "speed / curl TLS 1.3 + b3sum", 1.1, True, _faster_than("single", "curl TLS 1.3, b3sum"), "×"),
    Goal("single", "CPU s per GiB, both sides", 2.2, False, _cpu_per_gib("single"), " s", 1.8),
    Goal("model", "speed / libtorrent v1, plain", 1.2, True, _faster_than("model", "libtorrent v1"), "×", 1.5),
    Goal("model", "speed / curl TLS 1.3 + b3sum", 1.1, True, _faster_than("model", "curl TLS 1.3, b3sum"), "×"),
    Goal("model", "CPU s per GiB, both sides", 2.2, False, _cpu_per_gib("model"), " s", 1.8),
    Goal("large", "peak RssAnon, fetcher", 150, False, _ours("large", "rss_fetch", 1e-6), " MB"),
    Goal("large", "peak RssAnon, seeder", 150, False, _ours("large", "rss_seed", 1e-6), " MB"),
    Goal("swarm", "time / libtorrent v1", 0.65, False, _time_of("swarm", "libtorrent v1"), "×"),
    Goal("swarm", "bytes the seeder sends / size", 1.2, False, _sent_per_content, "×"),
    Goal("resume", "bytes fetched again, in seconds of data", 1.0, False, _again, " s"),
    Goal("many", "time / rsync", 1.5, False, _time_of("many", "rsync"), "×"),
    Goal("item", "time of a 1 KB item", 20, False, _ours("item", "seconds", 1e3), " ms"),
    Goal("far", "share of 100 Mbit/s at 200 ms", 90, True, lambda m: 100 * link_share("far")(m), " %"),
    Goal("idle", "share of a core", 1.0, False, _ours("idle", "share", 100), " %"),
    Goal("idle", "RssAnon", 120, False, _ours("idle", "rss", 1e-6), " MB"),
)


def judged(medians: Medians, rows: frozenset[str], goals: Sequence[Goal] = GOALS) -> list[Verdict]:
    """Return the verdict on each goal of the rows that were run."""
    return [Verdict(goal, _figure(goal, medians)) for goal in goals if goal.row in rows]
