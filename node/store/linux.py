"""Calls of Linux's that Python does not offer; imported where they are called, since a query needs no ctypes."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import struct
from typing import Any, Final

__all__ = ["TMPFS", "allocate", "clone_range", "filesystem_type", "sync_filesystem"]

_LIBC: Final[Any] = ctypes.CDLL(None, use_errno=True)

TMPFS: Final = 0x01021994

_FICLONERANGE: Final = 0x4020940D

_STATFS: Final = 512
"""Bytes that are more than any `struct statfs` has."""


def allocate(fd: int, size: int) -> None:
    """Give a file blocks for `size` bytes: fallocate(2), not the C library's posix_fallocate.

    Where a filesystem has no such call, the library's writes to every block. In memory (tmpfs) there is none for us:
    each page would be made before the first byte may come, which takes half as long as the whole fetch.

    Raises:
        OSError: No room, or no such call.
    """
    if filesystem_type(fd) == TMPFS:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    call = getattr(_LIBC, "fallocate64", None) or getattr(_LIBC, "fallocate", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    while call(fd, 0, ctypes.c_int64(0), ctypes.c_int64(size)):
        if ctypes.get_errno() != errno.EINTR:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def sync_filesystem(fd: int) -> None:
    """Bring all that was written to the filesystem of an open file to its disk: syncfs(2).

    Raises:
        OSError: The disk failed, or there is no such call, or one (before Linux 5.8) that does not tell when it failed.
    """
    call = getattr(_LIBC, "syncfs", None)
    release = tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])
    if call is None or release < (5, 8):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(fd):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def clone_range(source: int, offset: int, target: int, at: int, length: int) -> bool:
    """Let a range of one file be that of another, without a copy: FICLONERANGE (ioctl_ficlonerange(2)).

    Args:
        source: A descriptor that is open for reading.
        offset: Where the range begins there; a multiple of the filesystem's blocks.
        target: One that is open for writing, on the same filesystem.
        at: Where it is to begin there; likewise.
        length: Bytes; likewise, unless it ends with the source.

    Returns:
        Whether it was done; False where the filesystem cannot, or these ranges cannot be.
    """
    try:
        fcntl.ioctl(target, _FICLONERANGE, struct.pack("qQQQ", source, offset, length, at))
    except OSError:
        return False
    return True


def filesystem_type(fd: int) -> int:
    """Return the type of the filesystem of an open file, as linux/magic.h numbers them; 0 when it is not told."""
    answer = ctypes.create_string_buffer(_STATFS)
    if _LIBC.fstatfs(fd, answer):
        return 0
    kind = ctypes.c_long.from_buffer(answer)  # its first field
    return kind.value & 0xFFFFFFFF
