"""How long work on a stick says how far it is, and learns that it shall stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from samara.protocol.errors import StoppedError

__all__ = ["Cancelled", "Step", "Steps", "Watch"]


@dataclass(frozen=True, slots=True)
class Step:
    """How far a phase is.

    Attributes:
        phase: "writing", "reading back" or "importing".
        done: Bytes of the release that are done.
        total: Bytes of the release.
        note: The file in hand.
    """

    phase: str
    done: int
    total: int
    note: str


Watch = Callable[[Step], None]
Cancelled = Callable[[], bool]


class Steps:
    """Counts one phase after another.

    Args:
        watch: Is told of each step, in the thread that does the work; what it raises ends the work.
        cancelled: Says whether to stop.
    """

    def __init__(self, watch: Watch | None, cancelled: Cancelled | None) -> None:
        self._watch = watch
        self._cancelled = cancelled
        self._phase = ""
        self._done = self._total = 0

    def begin(self, phase: str, total: int, done: int = 0) -> None:
        """Begin a phase of `total` bytes, of which `done` are done already."""
        self._phase, self._total, self._done = phase, total, done
        self.add(0, "")

    def add(self, count: int, note: str) -> None:
        """Say that `count` bytes more are done.

        Raises:
            StoppedError: The work shall stop.
        """
        if self._cancelled is not None and self._cancelled():
            raise StoppedError(f"{self._phase} was stopped", hint="The same command goes on where it was.")
        self._done += count
        if self._watch is not None:
            self._watch(Step(self._phase, self._done, self._total, note))
