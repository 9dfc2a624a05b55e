"""What a file looked like when its bytes were last known, so that a change is noticed without reading it.

A stamp guards against accidents: an edit, a copy over it, a backup that was put back. It proves nothing about a medium
that was in other hands; what is served or carried is hashed each time, whatever the stamp says.
"""

from __future__ import annotations

import enum
import os
import sys
from typing import Final, NamedTuple, final

from samara.protocol.ids import digest

__all__ = ["Likeness", "Stamp", "StampTaker", "stamp"]

_FLEETING: Final = frozenset({0x4D44, 0x2011BAB0, 0x65735546, 0x517B, 0xFF534D42, 0xFE534D42, 0x01021997})
"""FAT, exFAT, FUSE, SMB (three of them) and 9p, by the type that Linux states: each mount numbers their files anew, or
each look does."""

_FAT_STEP: Final = 2_000_000_000
"""Nanoseconds: FAT keeps times by two seconds, and a system may round only when it forgets the file."""

_ZONE_STEP: Final = 900_000_000_000
"""Nanoseconds: FAT keeps local time, so in another time zone all files are some quarters of an hour older or newer."""


class Likeness(enum.Enum):
    """How a file compares with its stamp."""

    SAME = enum.auto()
    """As it was."""
    DOUBTFUL = enum.auto()
    """Size and time are as they were, and it is another file, or was touched: hash it before its bytes are believed."""
    CHANGED = enum.auto()
    """It was written to."""


@final
class Stamp(NamedTuple):
    """What a file looked like.

    Attributes:
        size: Bytes.
        mtime_ns: Time of the last change, nanoseconds.
        mark: Made of inode and ctime, which tell a file that another one replaced, or whose mtime was set back; 0 where
            the filesystem does not keep them from one mount to the next.
    """

    size: int
    mtime_ns: int
    mark: int

    def compare(self, status: os.stat_result) -> Likeness:
        """Say how a file looks now."""
        if status.st_size != self.size:
            return Likeness.CHANGED
        apart = abs(status.st_mtime_ns - self.mtime_ns)
        if self.mark:
            if apart:
                return Likeness.CHANGED
            return Likeness.SAME if _mark(status) == self.mark else Likeness.DOUBTFUL
        if apart < _FAT_STEP:
            return Likeness.SAME
        return Likeness.DOUBTFUL if (apart + _FAT_STEP) % _ZONE_STEP < 2 * _FAT_STEP else Likeness.CHANGED


def stamp(fd: int) -> Stamp:
    """Return the stamp of an open file."""
    status = os.fstat(fd)
    return Stamp(status.st_size, status.st_mtime_ns, _mark(status) if _keeps_numbers(fd) else 0)


@final
class StampTaker:
    """Takes stamps of many closed files by their paths; what filesystem each is on is asked once a filesystem."""

    def __init__(self) -> None:
        self._keeps: dict[int, bool] = {}

    def take(self, path: str) -> Stamp:
        """Return the stamp of a file; a link is not followed.

        Raises:
            OSError: As the system says.
        """
        status = os.lstat(path)
        if (keeps := self._keeps.get(status.st_dev)) is None:
            fd = os.open(path, os.O_RDONLY)
            try:
                keeps = self._keeps[status.st_dev] = _keeps_numbers(fd)
            finally:
                os.close(fd)
        return Stamp(status.st_size, status.st_mtime_ns, _mark(status) if keeps else 0)


def _mark(status: os.stat_result) -> int:
    """Return a number other than 0 that an index can hold: inodes may have 64 bits or more."""
    ctime = 0 if os.name == "nt" else status.st_ctime_ns  # Windows calls the time of creation so
    return int.from_bytes(digest(b"%d %d" % (status.st_ino, ctime))[:8], "big", signed=True) or 1


def _keeps_numbers(fd: int) -> bool:
    """Whether the filesystem of a file numbers it the same in each mount, as far as the system tells."""
    if not sys.platform.startswith("linux"):
        return True
    from samara.node.store import linux

    return linux.filesystem_type(fd) not in _FLEETING
