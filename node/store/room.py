"""How much of a disk an intake may take (specs/store.md, "Limits")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from samara.node.store.contents import Place
from samara.node.store.files import free_bytes
from samara.protocol.errors import DiskFullError

__all__ = ["Room"]


@final
@dataclass(frozen=True, slots=True)
class Room:
    """What an intake may take.

    Attributes:
        floor: Bytes that stay free on the place's filesystem.
        quota: Bytes that the place may have in all when it is in the home; None is no quota.
    """

    floor: int
    quota: int | None

    def check(self, place: Place, needed: int, planned: int) -> None:
        """Check that there is room.

        Args:
            place: Where.
            needed: Bytes that are still to be taken from its disk.
            planned: Bytes that it will have in all.

        Raises:
            DiskFullError: There is none.
        """
        free = free_bytes(place.root) - self.floor
        if needed > free:
            raise DiskFullError(
                f"{needed:,} bytes are needed on the disk of {place.root}, {max(free, 0):,} may be used"
                f" (a floor of {self.floor:,} stays free)",
                hint="Free some room, choose another disk with --to, or lower store.floor in config.toml.",
            )
        if place.kind == "home" and self.quota is not None and planned > self.quota:
            raise DiskFullError(
                f"{planned:,} bytes are needed, and the quota leaves {max(self.quota, 0):,}",
                hint="Run samara gc, or raise store.quota in config.toml.",
            )
