"""System calls on files, each behind one function, with a fallback for systems that lack it.

Receiving never follows a symbolic link: a path below a place is walked part by part. Sync errors are final: the
caller drops what it had not recorded and never tries the sync again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

from samara.protocol.errors import DiskFullError, ReadOnlyError, SamaraError, StoreError

__all__ = [
    "create_for_writing",
    "ensure_folder",
    "free_bytes",
    "has_blocks",
    "is_empty",
    "make_read_only",
    "move_into_place",
    "open_for_reading",
    "open_for_writing",
    "os_errors",
    "preallocate",
    "read_at",
    "read_some",
    "remove_file",
    "remove_folder",
    "set_size",
    "share_or_write_at",
    "sync_closed",
    "sync_data",
    "sync_folder",
    "sync_folders",
    "write_at",
]

_BINARY: Final = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_NOFOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_READ_ONLY: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_BLOCK: Final = 4096
"""Bytes of a filesystem's block: ranges that are shared begin and end with one. Where blocks are larger, nothing is."""

_WORTH_SHARING: Final = 65536
"""Bytes from which on a range is shared: less would break a file into pieces for little."""

_SYNC_TOGETHER: Final = 8
"""Files or folders from which on one sync of the whole filesystem costs less than one of each."""

_CANNOT_ALLOCATE: Final = frozenset({errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS})
_CANNOT_SYNC: Final = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS})
"""What network and user-space filesystems say of a sync of a folder: there is none, and nothing failed."""


@contextlib.contextmanager
def os_errors(what: str) -> Iterator[None]:
    """Turn an `OSError` into the typed error that says what could not be done.

    Raises:
        DiskFullError: No room.
        ReadOnlyError: It may not be written.
        StoreError: Anything else.
    """
    try:
        yield
    except OSError as error:
        raise _typed(what, error) from error


def _typed(what: str, error: OSError) -> SamaraError:
    reason = f"{what}: {error.strerror or error}"
    if error.errno in _FULL:
        return DiskFullError(reason, hint="Free some room and run the same command again: it goes on where it stopped.")
    if error.errno in _READ_ONLY:
        return ReadOnlyError(reason, hint="Choose a folder that you may write, with --to or $SAMARA_HOME.")
    return StoreError(reason)


def read_at(fd: int, buffer: memoryview, offset: int) -> int:
    """Read into `buffer` from `offset` until it is full or the file ends; return the bytes read."""
    done = 0
    while done < len(buffer):
        got = _pread_into(fd, buffer[done:], offset + done)
        if not got:
            break
        done += got
    return done


def read_some(fd: int, offset: int, length: int) -> bytes:
    """Return the bytes from `offset` on, `length` of them; fewer only when the file ends."""
    data = bytearray(length)
    return bytes(data[: read_at(fd, memoryview(data), offset)])


def _pread_into(fd: int, buffer: memoryview, offset: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(fd, [buffer], offset)
    os.lseek(fd, offset, os.SEEK_SET)  # Windows: each fd is used by one thread at a time there
    data = os.read(fd, len(buffer))
    buffer[: len(data)] = data
    return len(data)


def write_at(fd: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    """Write all of `data`, beginning at `offset`.

    Raises:
        OSError: As the system says; see `os_errors`.
    """
    rest = memoryview(data)
    while rest:
        done = _pwrite(fd, rest, offset)
        offset += done
        rest = rest[done:]


def _pwrite(fd: int, data: memoryview, offset: int) -> int:
    if hasattr(os, "pwrite"):
        return os.pwrite(fd, data, offset)
    os.lseek(fd, offset, os.SEEK_SET)  # Windows: each fd is used by one thread at a time there
    return os.write(fd, data)


def share_or_write_at(source: int, source_offset: int, fd: int, data: memoryview, offset: int) -> int:
    """Write `data`, which lies in another file too; let both share it where the filesystem can.

    Args:
        source: The other file, open for reading.
        source_offset: Where the data lie there.
        fd: Where to write.
        data: What is to be there in the end, whatever becomes of the other file.
        offset: Where it begins.

    Returns:
        How many bytes take no room of their own.

    Raises:
        OSError: As the system says; see `os_errors`.
    """
    start, end = -offset % _BLOCK, (offset + len(data)) // _BLOCK * _BLOCK - offset
    alike = end - start >= _WORTH_SHARING and (source_offset - offset) % _BLOCK == 0
    if alike and _clone(source, source_offset + start, fd, offset + start, end - start):
        there = bytearray(end - start)  # of two views each byte would be compared by itself
        if (
            read_at(fd, memoryview(there), offset + start) == len(there) and there == data[start:end]
        ):  # it may have changed
            write_at(fd, data[:start], offset)
            write_at(fd, data[end:], offset + end)
            return end - start
    write_at(fd, data, offset)
    return 0


def _clone(source: int, source_offset: int, fd: int, offset: int, length: int) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    from samara.node.store import linux

    return linux.clone_range(source, source_offset, fd, offset, length)


def preallocate(fd: int, size: int) -> None:
    """Give a file its size, and its blocks where the filesystem can promise them; see `has_blocks`.

    Raises:
        OSError: No room, for one.
    """
    if not has_blocks(os.fstat(fd), size):
        try:
            _allocate(fd, size)
        except OSError as error:
            if error.errno not in _CANNOT_ALLOCATE:
                raise
    set_size(fd, size)


def set_size(fd: int, size: int) -> None:
    """Give a file its size; what is not there yet is a hole, where the filesystem has holes.

    Raises:
        OSError: As the system says.
    """
    if os.fstat(fd).st_size != size:
        os.ftruncate(fd, size)


def _allocate(fd: int, size: int) -> None:
    if sys.platform.startswith("linux"):
        from samara.node.store import linux

        linux.allocate(fd, size)
    elif hasattr(os, "posix_fallocate"):  # a call of the kernel's there
        os.posix_fallocate(fd, 0, size)


def has_blocks(status: os.stat_result, size: int) -> bool:
    """Whether a file has blocks for `size` bytes, so that writing them takes nothing more from the disk."""
    return status.st_size >= size and (not hasattr(status, "st_blocks") or status.st_blocks * 512 >= size)


def sync_data(fd: int) -> None:
    """Bring a file's data to the disk (on macOS through the drive's cache too)."""
    if hasattr(os, "fdatasync"):
        os.fdatasync(fd)
        return
    with contextlib.suppress(ImportError):
        import fcntl

        if hasattr(fcntl, "F_FULLFSYNC"):
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
            return
    os.fsync(fd)


def sync_closed(root: Path, paths: Sequence[str]) -> None:
    """Bring the data of closed files below `root` to the disk: many by one sync of their filesystem, where it can be.

    Raises:
        OSError: As the system says; none of them may be believed then.
    """
    if _sync_together(root, len(paths)):
        return
    for path in paths:
        fd = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
        try:
            sync_data(fd)
        finally:
            os.close(fd)


def sync_folders(root: Path, folders: Collection[str]) -> None:
    """Bring the entries of folders below `root` to the disk, as `sync_closed` does with files.

    Raises:
        OSError: As the system says.
    """
    if not _sync_together(root, len(folders)):
        for folder in folders:
            sync_folder(Path(folder))


def _sync_together(root: Path, count: int) -> bool:
    """Sync the whole filesystem if it costs less than to sync so many of it; return whether that could be."""
    if count < _SYNC_TOGETHER or not sys.platform.startswith("linux"):
        return False
    from samara.node.store import linux

    fd = os.open(root, os.O_RDONLY)
    try:
        linux.sync_filesystem(fd)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
        return False
    finally:
        os.close(fd)
    return True


def sync_folder(folder: Path) -> None:
    """Bring a folder's entries to the disk; does nothing where folders cannot be opened (Windows)."""
    if os.name == "nt":
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(fd)


def free_bytes(folder: Path) -> int:
    """Return the bytes that this user may still write on the filesystem of the nearest existing parent."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def is_empty(folder: Path) -> bool:
    """Whether there is nothing in a folder, or it cannot be looked into."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except OSError:
        return True


def ensure_folder(root: Path, parts: Sequence[str]) -> Path:
    """Create `root/parts…` folder by folder, never through a link below `root`, and return it.

    Raises:
        StoreError: A link or a file is in the way.
        OSError: As the system says.
    """
    root.mkdir(parents=True, exist_ok=True)
    folder = root
    for part in parts:
        folder = folder / part
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            raise StoreError(f"{folder} is in the way: a folder is needed there", hint="Choose another --to folder.")
    return folder


def open_for_reading(path: Path | str) -> int:
    """Open a file for positioned reads; a pipe that somebody put in its place does not block the thread.

    Raises:
        OSError: As the system says.
    """
    return os.open(path, os.O_RDONLY | _BINARY | getattr(os, "O_NONBLOCK", 0))


def open_for_writing(path: Path) -> int:
    """Open or create a file for positioned reads and writes, never through a link.

    Raises:
        StoreError: A link or something else than a file is in the way.
        OSError: As the system says.
    """
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise StoreError(f"{path} is not a plain file", hint="Move it away and try again.")
    flags = os.O_RDWR | os.O_CREAT | _NOFOLLOW | _BINARY
    try:
        return os.open(path, flags, 0o644)
    except PermissionError:
        if not path.exists():
            raise
        path.chmod(0o644)  # a process died when the file was read-only already, and not yet at its path
        return os.open(path, flags, 0o644)


def create_for_writing(path: str) -> int:
    """Create a file that will be read-only when it is closed, never through a link; what lay there is replaced.

    Raises:
        StoreError: A link or something else than a file is in the way.
        OSError: As the system says.
    """
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW | _BINARY, 0o444)
    except FileExistsError:
        os.close(open_for_writing(Path(path)))  # it is ours, and a plain file
        remove_file(Path(path))
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW | _BINARY, 0o444)


def make_read_only(fd: int, path: Path) -> None:
    """Take away the right to write, where the filesystem has rights."""
    with contextlib.suppress(OSError):  # FAT and some network filesystems have none: nothing is lost
        if hasattr(os, "fchmod"):
            os.fchmod(fd, 0o444)
        else:
            path.chmod(stat.S_IREAD)


def move_into_place(source: Path | str, target: Path | str) -> None:
    """Rename `source` to `target` unless something is there.

    Raises:
        StoreError: Something is there.
        OSError: As the system says.
    """
    try:
        os.link(source, target, follow_symlinks=False)  # atomic, and refuses an existing target
    except FileExistsError:
        raise StoreError(f"{target} exists already", hint="Move it away and run the same command again.") from None
    except (OSError, NotImplementedError):  # no hard links here: FAT, some phones
        if os.path.lexists(target):
            raise StoreError(f"{target} exists already", hint="Move it away and run the same command again.") from None
        os.rename(source, target)
    else:
        os.unlink(source)


def remove_file(path: Path) -> None:
    """Delete a file that Samara wrote, also a read-only one; it may be gone already."""
    with contextlib.suppress(FileNotFoundError):
        if os.name == "nt":
            path.chmod(stat.S_IWRITE)
        path.unlink()


def remove_folder(folder: Path) -> int:
    """Delete a folder that Samara wrote, with all that is in it; return the bytes that went.

    What cannot be deleted stays: the caller looks whether the folder is still there.
    """
    before = _folder_bytes(folder)
    if os.name == "nt":  # read-only files cannot be deleted there, and all that is complete is read-only
        for item in folder.rglob("*"):
            with contextlib.suppress(OSError):
                item.chmod(stat.S_IWRITE)
    shutil.rmtree(folder, ignore_errors=True)
    return before - _folder_bytes(folder)


def _folder_bytes(folder: Path) -> int:
    total = 0
    for item in folder.rglob("*"):
        with contextlib.suppress(OSError):
            status = item.lstat()
            total += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return total
