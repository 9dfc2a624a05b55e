"""What must hold of the bytes that a change costs, as pure functions of the medians; goals.py says how goals look."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from goals import AIMS, OURS, Goal, Medians
from measuring import GIB

__all__ = ["BYTE_GOALS", "best_other", "line_seconds", "seconds"]

_LITTLE: Final = 0.3
"""Per cent of the bytes that what moves no weights may cost."""

_FASTER: Final = 5.0
_RIVALS: Final = frozenset({"rsync", "rsync -z", "hf_xet"})


def line_seconds(found: Mapping[str, float]) -> float:
    """Return the seconds that the bytes of an update need on the line, when nothing else takes time."""
    return found["moved"] * 8 / (found["mbit"] * 1e6)


def seconds(found: Mapping[str, float]) -> float:
    """Return how long an update takes over the line: measured, or, where there was no line, computed from its bytes."""
    return found["seconds"] if "wire" in found else line_seconds(found)


def best_other(medians: Mapping[str, Mapping[str, float]]) -> str:
    """Return the program that is fastest over the line, Samara apart.

    Raises:
        KeyError: There is no other.
    """
    others = {name: seconds(found) for name, found in medians.items() if not name.startswith(OURS)}
    if not others:
        raise KeyError("no other program")
    return min(others, key=others.__getitem__)


def _faster(row: str) -> Callable[[Medians], float]:
    """How many times as fast as the best of its rivals over the line."""

    def seen(medians: Medians) -> float:
        rivals = {name: found for name, found in medians[row].items() if name in _RIVALS}
        return seconds(rivals[best_other(rivals)]) / medians[row][OURS]["seconds"]

    return seen


def _share(row: str) -> Callable[[Medians], float]:
    """All bytes that TCP carried, per cent of the content's."""
    return lambda medians: 100 * medians[row][OURS]["moved"] / medians[row][OURS]["bytes"]


def _of_a_gib(medians: Medians) -> float:
    """MB that a file of 1 GiB would cost, of which a tenth is changed and 1 MB is new.

    What comes on top of the ideal has little to do with the size, so that a smaller file shows it, too.
    """
    ours = medians["changed"][OURS]
    ideal = GIB / 10 + 1e6
    return (ours["moved"] - ideal * ours["bytes"] / (GIB + 1e6) + ideal) / 1e6


def _listed(what: str) -> Callable[[Medians], float]:
    return lambda medians: 100 * medians["lists"][what]["share"]


def _most(row: str, aim: float) -> Goal:
    return Goal(row, "bytes / size", round(100 * aim, 3), False, _share(row), " %")


BYTE_GOALS: Final = (
    _most("first-bf16", AIMS["planes bf16"]),
    _most("first-fp16", AIMS["planes fp16"]),
    _most("first-fp32", AIMS["planes fp32"]),
    _most("noise-3e-3", AIMS["delta bf16, fine-tune 3e-3"]),
    _most("noise-1e-2", AIMS["delta bf16, fine-tune 1e-2"]),
    _most("lora-qv", AIMS["delta bf16, LoRA of q, v"]),
    _most("lora-all", AIMS["delta bf16, LoRA of all linear"]),
    _most("gguf-q8_0", AIMS["delta Q8_0, fine-tune 3e-3"]),
    _most("gguf-q4_0", AIMS["delta Q4_0, fine-tune 3e-3"]),
    *(_most(row, _LITTLE / 100) for row in ("reshard", "reorder", "header", "rows", "gguf-header")),
    Goal("changed", "MB of 1 GiB (ideal 108.4)", 112, False, _of_a_gib, " MB"),
    Goal("tuned", "speed / the best of rsync, rsync -z and hf_xet", _FASTER, True, _faster("tuned"), "×"),
    Goal("wide", "speed / the best of rsync, rsync -z and hf_xet", _FASTER, True, _faster("wide"), "×"),
    Goal("lists", "chunk list / file, 7B, bf16", 0.004, False, _listed("7B, bf16"), " %"),
    Goal("lists", "chunk list / file, 1B, bf16", 0.004, False, _listed("1B, bf16"), " %"),
    Goal("lists", "chunk list / file, 91 MB, fp32", 0.02, False, _listed("91 MB, fp32"), " %"),
    Goal("lists", "chunk list / file, cut by content", 0.07, False, _listed("cut by content"), " %"),
)
