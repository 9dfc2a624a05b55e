"""The forks of one publisher: which are known, and which of them freeze it (specs/trust.md, "Forks").

One proof is kept for each kind, root and delegation: who holds a stolen key can sign as many as it likes, and a second
one says nothing that the first did not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias, final

from samara.protocol.records.log import Entry
from samara.protocol.trust.forks import Fork, ForkKind
from samara.protocol.trust.reading import Reading

__all__ = ["Freezes"]

_Kept: TypeAlias = tuple[ForkKind, int, bytes | None]


@final
class Freezes:
    """What is known of a publisher's forks.

    Args:
        lifted: Ids of those that the operator has lifted.
    """

    __slots__ = ("_forks", "_lifted", "_sides")

    def __init__(self, lifted: Iterable[bytes]) -> None:
        self._forks: Final[dict[_Kept, Fork]] = {}
        self._sides: Final[dict[bytes, tuple[Entry, ...]]] = {}
        self._lifted: Final[set[bytes]] = set(lifted)

    @property
    def all(self) -> tuple[Fork, ...]:
        """All forks that are known, also those that are over."""
        return tuple(self._forks.values())

    @property
    def condemned(self) -> frozenset[bytes]:
        """The delegations of which a fork is known, and not lifted."""
        return frozenset(
            fork.delegation for fork in self._forks.values() if fork.delegation is not None and not self.is_lifted(fork)
        )

    def note(self, fork: Fork, sides: Iterable[Entry], now: Reading) -> Fork:
        """Keep a fork, unless one of its kind, root and delegation is kept that still means something.

        Args:
            fork: The fork.
            sides: Its two records; none for roots.
            now: What else is known of the publisher.

        Returns:
            The one that is kept.
        """
        kept = self._forks.get(_kept(fork))
        if kept is not None and (self.is_lifted(kept) or not self._is_void(kept, now)):
            return kept
        if kept is not None:
            del self._sides[kept.id]
        self._forks[_kept(fork)], self._sides[fork.id] = fork, tuple(sides)
        return fork

    def lift(self, fork: bytes) -> None:
        """Let a fork freeze nothing any more, nor any other of its kind, root and delegation."""
        self._lifted.add(fork)

    def is_lifted(self, fork: Fork) -> bool:
        """Return whether the operator has lifted a fork, or the one that stands for it here."""
        kept = self._forks.get(_kept(fork))
        return fork.id in self._lifted or (kept is not None and kept.id in self._lifted)

    def holding(self, now: Reading, roots: int, delegation: bytes | None = None) -> Fork | None:
        """Return the fork that freezes a publisher, or a delegation of it; of several, the one under the newest root.

        Args:
            now: What is known of the publisher.
            roots: How many roots it has.
            delegation: The delegation that is asked for; None: the publisher's own keys.
        """
        held = (
            fork for fork in self._forks.values() if fork.delegation == delegation and self._holds(fork, now, roots)
        )
        return max(held, key=lambda fork: fork.root, default=None)

    def is_over(self, fork: Fork, now: Reading, roots: int) -> bool:
        """Return whether a publisher has gone on under a newer root than that of a fork, or the operator lifted it.

        A delegate writes any root into what it signs: its fork is over only with its delegation.
        """
        if fork.delegation is not None:
            return self.is_lifted(fork)
        newest = roots if fork.kind is ForkKind.ROOT else now.top[0]
        return newest > fork.root or self.is_lifted(fork)

    def _holds(self, fork: Fork, now: Reading, roots: int) -> bool:
        return not self.is_over(fork, now, roots) and not self._is_void(fork, now)

    def _is_void(self, fork: Fork, now: Reading) -> bool:
        """Whether one of both records is the work of a key that was revoked since, or may be."""
        return not all(now.counts(entry) for entry in self._sides[fork.id])


def _kept(fork: Fork) -> _Kept:
    return fork.kind, fork.root, fork.delegation
