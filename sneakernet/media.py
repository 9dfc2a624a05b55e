"""Files on a stick, opened so that a hostile stick reaches nothing outside its folder (specs/stick.md §4, §5).

Every path is walked part by part from the stick's folder, each part opened relative to the one before it and never
through a link; what is opened is a plain file or it is refused. What was written is read back past the system's cache
where the system lets us: rename and fsync prove nothing on FAT. Blocking; used by one thread at a time.

It never deletes a folder, follows a link, writes into a file with a second name, or reads more than it was asked for.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from samara.protocol import limits
from samara.protocol.errors import DiskFullError, ReadOnlyError, SamaraError, StickError, StoreError
from samara.protocol.paths import fold
from samara.sneakernet.layout import MARK, Part

__all__ = ["Stick", "StickFile", "stick_errors"]

_PLAIN: Final = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOINHERIT", 0)
_SAFE: Final = _PLAIN | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_FOLDER: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | _PLAIN
_RELATIVE: Final = {os.open, os.stat, os.mkdir, os.unlink} <= os.supports_dir_fd
_REPARSE_POINT: Final = 0x400  # Windows: junctions and the like look like folders otherwise

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_READ_ONLY: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})

_SYNC_EVERY: Final = 64 * limits.MIB
"""Bytes written to one file between two syncs: gigabytes in the cache of a slow stick would stall the whole machine."""

_SYNC_ALL_ABOVE: Final = 64
"""Files written, above which one sync of the system is cheaper than one a file."""

_NAMES_LOOKED_AT: Final = 65_536
"""Names of one folder among which another spelling is looked for: more than FAT32 puts into one."""

_FOLDERS_REMEMBERED: Final = 8
"""Folders whose names are remembered for that: a deep path, and the folders of the release."""

_BLOCK: Final = 32 * limits.KIB
"""Bytes of a cluster where the system does not tell: the usual one of FAT32 and exFAT on a stick."""


@contextlib.contextmanager
def stick_errors(what: str, folder: Path, path: str = "") -> Iterator[None]:
    """Turn an `OSError` into the typed error that says what could not be done.

    Args:
        what: "cannot read" and the like.
        folder: The stick.
        path: What below it.

    Raises:
        DiskFullError: No room.
        ReadOnlyError: It may not be written.
        StoreError: Anything else.
    """
    try:
        yield
    except OSError as error:
        raise _typed(f"{what} {folder.joinpath(*path.split('/'))}", error) from error


def _typed(what: str, error: OSError) -> SamaraError:
    reason = f"{what}: {error.strerror or error}"
    if error.errno in _FULL:
        return DiskFullError(reason, hint="Free some room there and run the same command again: it goes on.")
    if error.errno in _READ_ONLY:
        return ReadOnlyError(reason, hint="Is the stick's write protection on? Else check the folder's permissions.")
    return StoreError(reason, hint="Is the stick still in, and its filesystem whole?")


class Stick:
    """The folder that people carry.

    Args:
        folder: The folder that holds, or is to hold, `samara/`. It may itself be reached by a link: the user named it.
        forgiving: Take a file whose name differs only in case or in Unicode form, where the right one is not there.
            For reading only: FAT's short names have one case, and tools guess which (specs/stick.md §5).
    """

    def __init__(self, folder: Path, *, forgiving: bool = False) -> None:
        self.folder = folder.absolute()
        self._forgiving = forgiving
        self._spelled: dict[str, dict[str, str]] = {}

    def where(self, path: str) -> Path:
        """Return where a path of the stick lies, for messages."""
        return self.folder.joinpath(*path.split("/"))

    def is_there(self) -> bool:
        """Whether the stick still answers."""
        try:
            return self.size(MARK) is not None
        except SamaraError:
            return False

    def size(self, path: str) -> int | None:
        """Return the bytes of a plain file; None when there is none.

        Raises:
            StickError: There is something else.
        """
        *parts, name = path.split("/")
        with stick_errors("cannot look at", self.folder, path), _if_there(), self._walk(parts) as folder:
            name = self._spelling(folder, name)
            return _plain(folder.stat(name), folder.below(name)).st_size
        return None

    def names(self, path: str, *, most: int) -> list[str] | None:
        """Return the names in a folder, sorted, without those that begin with a dot; None when there is no folder.

        Raises:
            StickError: It has more than `most`, or is no folder.
        """
        with stick_errors("cannot list", self.folder, path), _if_there(), self._walk(path.split("/")) as folder:
            found = list(itertools.islice(folder.names(), most + 1))
            if len(found) > most:
                raise StickError(f"{self.where(path)} has more than {most} entries")
            return sorted(name for name in found if not name.startswith("."))
        return None

    def read(self, path: str, *, most: int) -> bytes | None:
        """Return the bytes of a plain file; None when there is none.

        Raises:
            StickError: It is larger than `most` bytes, or no plain file.
            StoreError: It cannot be read.
        """
        size = self.size(path)
        if size is None:
            return None
        if size > most:
            raise StickError(f"{self.where(path)} has {size} bytes: at most {most} are possible")
        with self.open([Part(path, size)]) as file:
            return file.read(0, size)

    def remove(self, path: str) -> None:
        """Delete a file or a link, which may be gone already."""
        *parts, name = path.split("/")
        with stick_errors("cannot delete", self.folder, path), _if_there(), self._walk(parts) as folder:
            folder.unlink(name)

    def open(self, parts: Sequence[Part]) -> StickFile:
        """Return a file of the stick, whole or in parts."""
        return StickFile(self, parts)

    def room(self) -> tuple[int, int]:
        """Return the bytes that are free, and the bytes of a cluster."""
        with stick_errors("cannot look at", self.folder):
            block = os.statvfs(self.folder).f_frsize if hasattr(os, "statvfs") else 0
            return shutil.disk_usage(self.folder).free, block or _BLOCK

    def sync(self, paths: Sequence[str]) -> None:
        """Bring written files and their folders to the medium.

        Raises:
            StoreError: The system says that it failed; what was written may be lost.
        """
        if sys.platform == "linux" and len(paths) > _SYNC_ALL_ABOVE:
            os.sync()
            return
        for path in paths:
            *parts, name = path.split("/")
            with stick_errors("cannot sync", self.folder, path), self._walk(parts) as folder:
                with contextlib.suppress(FileNotFoundError):  # deleted: the folder is what has to be synced
                    _sync_and_close(folder.open(name, write=True))
                folder.sync()

    def open_part(self, path: str, *, write: bool) -> int:
        """Return a descriptor of a plain file, made when it is to be written.

        Raises:
            FileNotFoundError: There is none, and it is to be read.
            StickError: Something else is there.
            OSError: As the system says.
        """
        *parts, name = path.split("/")
        with self._walk(parts, create=write) as folder:
            return folder.open(self._spelling(folder, name), write=write, create=write)

    @contextlib.contextmanager
    def _walk(self, parts: Sequence[str], *, create: bool = False) -> Iterator[_Folder]:
        folder = _Folder.top(str(self.folder))
        try:
            for part in parts:
                below = folder.enter(self._spelling(folder, part), create=create)
                folder.close()
                folder = below
            yield folder
        finally:
            folder.close()

    def _spelling(self, folder: _Folder, name: str) -> str:
        """Return how a name is spelled in a folder: as it should be, unless only another spelling is there."""
        if not self._forgiving or folder.has(name):
            return name
        known = self._spelled.get(folder.path)
        if known is None:
            if len(self._spelled) >= _FOLDERS_REMEMBERED:
                self._spelled.clear()
            known = {fold(found): found for found in itertools.islice(folder.names(), _NAMES_LOOKED_AT)}
            self._spelled[folder.path] = known
        return known.get(fold(name), name)


class StickFile:
    """The parts of one file, read and written as one run of bytes. Close it, or use it as a context.

    Args:
        stick: Where.
        parts: In order.
    """

    def __init__(self, stick: Stick, parts: Sequence[Part]) -> None:
        self._stick = stick
        self._parts = parts
        self._fd = -1
        self._now = -1
        self._writable = False
        self._unsynced = 0
        self.written: set[str] = set()
        """Parts that were written."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset` on, or fewer: up to the first that is not there.

        Raises:
            StickError: Something else than a file is there.
            StoreError: It cannot be read.
        """
        found: list[bytes] = []
        for number, start, count in self._runs(offset, length):
            with stick_errors("cannot read", self._stick.folder, self._parts[number].path):
                try:
                    data = _read_at(self._open(number, write=False), count, start)
                except FileNotFoundError:
                    break
            found.append(data)
            if len(data) < count:
                break
        return found[0] if len(found) == 1 else b"".join(found)

    def write(self, data: bytes | bytearray | memoryview, offset: int) -> None:
        """Write `data` at `offset`.

        Raises:
            DiskFullError: No room; what was written stays.
            StickError: A folder is in the way.
            StoreError: It cannot be written.
        """
        view = memoryview(data)
        for number, start, count in self._runs(offset, len(view)):
            with stick_errors("cannot write", self._stick.folder, self._parts[number].path):
                fd = self._open(number, write=True)
                _write_at(fd, view[:count], start)
                self._unsynced += count
                if self._unsynced >= _SYNC_EVERY:
                    _sync(fd)
                    self._unsynced = 0
            view = view[count:]

    def path_at(self, offset: int) -> str:
        """Return the path of the part that holds the byte at `offset`."""
        number, _start, _count = next(self._runs(offset, 1))
        return self._parts[number].path

    def unfit(self) -> str | None:
        """Return the path of the first part that is not there, or not as long as it should be; None when all are."""
        return next((part.path for part in self._parts if self._size(part) != part.size), None)

    def fit(self) -> None:
        """Make every part as long as it should be; call it when all bytes are written."""
        for number, part in enumerate(self._parts):
            if self._size(part) != part.size:
                with stick_errors("cannot write", self._stick.folder, part.path):
                    os.ftruncate(self._open(number, write=True), part.size)

    def close(self) -> None:
        """Let the file go."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = self._now = -1

    def _size(self, part: Part) -> int | None:
        try:
            return self._stick.size(part.path)
        except StickError:
            return None

    def _runs(self, offset: int, length: int) -> Iterator[tuple[int, int, int]]:
        """Yield (part, offset in it, count) of a run of bytes."""
        step = self._parts[0].size  # of all but the last
        while length > 0:
            number = min(offset // step, len(self._parts) - 1) if step else 0
            start = offset - number * step
            count = min(length, self._parts[number].size - start)
            if count <= 0:
                return
            yield number, start, count
            offset, length = offset + count, length - count

    def _open(self, number: int, *, write: bool) -> int:
        if self._now == number and (self._writable or not write):
            return self._fd
        self.close()
        path = self._parts[number].path
        self._fd = self._stick.open_part(path, write=write)
        self._now, self._writable, self._unsynced = number, write, 0
        if write:
            self.written.add(path)
        else:
            _pass_cache(self._fd)
        return self._fd


class _Folder:
    """An open folder. Names in it are looked up in this very folder, whatever happens to its path meanwhile."""

    __slots__ = ("_fd", "path")

    def __init__(self, path: str, fd: int | None) -> None:
        self.path = path
        self._fd = fd

    @classmethod
    def top(cls, path: str) -> _Folder:
        return cls(path, os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _PLAIN) if _RELATIVE else None)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
        self._fd = None

    def enter(self, name: str, *, create: bool) -> _Folder:
        if create:
            with contextlib.suppress(FileExistsError):
                os.mkdir(self._at(name), dir_fd=self._fd)
        status = self.stat(name)
        if not stat.S_ISDIR(status.st_mode) or _is_reparse_point(status):
            raise StickError(f"{self.below(name)} is no folder", hint="A stick has no links. Move it away.")
        return _Folder(self.below(name), os.open(name, _FOLDER, dir_fd=self._fd) if _RELATIVE else None)

    def stat(self, name: str) -> os.stat_result:
        return os.stat(self._at(name), dir_fd=self._fd, follow_symlinks=False)

    def has(self, name: str) -> bool:
        try:
            self.stat(name)
        except FileNotFoundError:
            return False
        return True

    def unlink(self, name: str) -> None:
        os.unlink(self._at(name), dir_fd=self._fd)

    def names(self) -> Iterator[str]:
        with os.scandir(self.path if self._fd is None else self._fd) as entries:
            yield from (entry.name for entry in entries)

    def sync(self) -> None:
        if self._fd is not None:
            with contextlib.suppress(OSError):  # some filesystems have no sync of folders; reading back decides
                os.fsync(self._fd)

    def open(self, name: str, *, write: bool, create: bool = False) -> int:
        if create:
            self._make_way(name)
            with contextlib.suppress(FileExistsError):
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _SAFE
                return os.open(self._at(name), flags, 0o644, dir_fd=self._fd)
        _plain(self.stat(name), self.below(name))
        fd = os.open(self._at(name), (os.O_RDWR if write else os.O_RDONLY) | _SAFE, dir_fd=self._fd)
        try:
            _plain(os.fstat(fd), self.below(name))
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _make_way(self, name: str) -> None:
        """Delete a link, a device or a file with a second name, so that nothing is written through it."""
        with contextlib.suppress(FileNotFoundError):
            status = self.stat(name)
            if stat.S_ISDIR(status.st_mode):
                raise StickError(f"{self.below(name)} is a folder: a file is needed there", hint="Move it away.")
            if not stat.S_ISREG(status.st_mode) or _is_reparse_point(status) or status.st_nlink > 1:
                self.unlink(name)

    def below(self, name: str) -> str:
        return f"{self.path}{os.sep}{name}"

    def _at(self, name: str) -> str:
        return name if self._fd is not None else self.below(name)


def _if_there() -> contextlib.suppress:
    """End a block early when what it looks at, or a folder above it, is not there."""
    return contextlib.suppress(FileNotFoundError)


def _plain(status: os.stat_result, path: str) -> os.stat_result:
    if not stat.S_ISREG(status.st_mode) or _is_reparse_point(status):
        raise StickError(f"{path} is no plain file", hint="A stick has no links and no devices. Do not trust this one.")
    return status


def _is_reparse_point(status: os.stat_result) -> bool:
    return bool(getattr(status, "st_file_attributes", 0) & _REPARSE_POINT)


def _read_at(fd: int, length: int, offset: int) -> bytes:
    found = bytearray()
    while len(found) < length:
        if hasattr(os, "pread"):
            data = os.pread(fd, length - len(found), offset + len(found))
        else:
            os.lseek(fd, offset + len(found), os.SEEK_SET)
            data = os.read(fd, length - len(found))
        if not data:
            break
        if len(data) == length:
            return data
        found += data
    return bytes(found)


def _write_at(fd: int, view: memoryview, offset: int) -> None:
    while len(view):
        if hasattr(os, "pwrite"):
            done = os.pwrite(fd, view, offset)
        else:
            os.lseek(fd, offset, os.SEEK_SET)
            done = os.write(fd, view)
        view, offset = view[done:], offset + done


def _sync(fd: int) -> None:
    """Bring a file to the medium, on macOS through the drive's cache too."""
    if sys.platform == "darwin":
        import fcntl

        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    else:
        os.fsync(fd)


def _sync_and_close(fd: int) -> None:
    try:
        _sync(fd)
    finally:
        os.close(fd)


def _pass_cache(fd: int) -> None:
    """Have what follows read from the medium. Windows gives no such way from here: there the cache may answer."""
    with contextlib.suppress(OSError):
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        elif sys.platform == "darwin":
            import fcntl

            fcntl.fcntl(fd, fcntl.F_NOCACHE, 1)
