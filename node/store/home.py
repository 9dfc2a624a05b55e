"""The home folder: where it is, who holds it, and its keys.

One process holds a home at a time, by an operating-system lock that dies with it. The lock file says who, so that a
second process can join it or name it. Keys are 32 random bytes in files of mode 0600; what else the publisher's may be,
is in `publisherkeys`.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from samara.node.store.files import move_into_place, os_errors, sync_data, sync_folder
from samara.protocol.errors import HomeBusyError, StoreError

__all__ = ["Holder", "Home", "HomeLock", "write_private"]

_KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a home.

    Attributes:
        pid: Its process id.
        door: Path of the socket on which it answers, or empty while it has none.
    """

    pid: int
    door: str


@dataclass(frozen=True, slots=True)
class Home:
    """Paths below one home folder."""

    root: Path

    @classmethod
    def find(cls, environ: Mapping[str, str] = os.environ) -> Home:
        """Return `$SAMARA_HOME`, or the platform's data folder."""
        if named := environ.get("SAMARA_HOME"):
            return cls(Path(named).expanduser().absolute())
        import platformdirs

        return cls(Path(platformdirs.user_data_dir("samara", appauthor=False)))

    @property
    def index(self) -> Path:
        """The SQLite index."""
        return self.root / "index.sqlite"

    @property
    def content(self) -> Path:
        """The folder of home places."""
        return self.root / "content"

    @property
    def config(self) -> Path:
        """The settings file."""
        return self.root / "config.toml"

    @property
    def trust(self) -> Path:
        """The rules by which publishers are believed; absent means the default."""
        return self.root / "trust.toml"

    @property
    def lock(self) -> Path:
        """The lock file."""
        return self.root / "lock"

    def create(self) -> None:
        """Make the folder, readable by its owner only.

        Raises:
            ReadOnlyError: It cannot be made.
        """
        with os_errors(f"cannot make the home {self.root}"):
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def key(self, name: str) -> bytes:
        """Return the seed (32 bytes) of the key `node` or `publisher`, made now when there is none.

        Raises:
            ReadOnlyError: It cannot be made.
            StoreError: The file is damaged.
        """
        path = self.root / f"{name}.key"
        if not path.exists():
            with os_errors(f"cannot make the key {path}"):
                _make_key(path)
        with os_errors(f"cannot read the key {path}"):
            seed = path.read_bytes()
        if len(seed) != _KEY_BYTES:
            raise StoreError(f"{path} has {len(seed)} bytes instead of {_KEY_BYTES}", hint="Restore it from a backup.")
        return seed

    def is_held(self) -> bool:
        """Whether a process holds this home now. A lock dies with its process, whatever the lock file still says."""
        try:
            with open(self.lock, "rb") as file:
                return not _lock(file, shared=True)
        except FileNotFoundError:
            return False
        except OSError:
            return True  # it cannot be told from here: who dials finds out

    def holder(self) -> Holder | None:
        """Return who holds this home; None when nobody does, or it has not said so yet.

        What the lock file says is believed only of a process that lives: its number may be another's by now, and so
        may its port.
        """
        if not self.is_held():
            return None
        try:
            said = json.loads(self.lock.read_text())
            return Holder(int(said["pid"]), str(said["door"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _make_key(path: Path) -> None:
    with contextlib.suppress(StoreError):  # another process made one first: that one counts
        write_private(path, secrets.token_bytes(_KEY_BYTES))


def write_private(path: Path, data: bytes, *, replace: bool = False) -> None:
    """Write a file of mode 0600 that is whole or as before, whenever this process dies and however full the disk is.

    Args:
        path: Where.
        data: All of it.
        replace: Something may be there already, and goes.

    Raises:
        StoreError: Something is there, and `replace` is not set.
        OSError: As the system says; see `os_errors`.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(data)
            file.flush()
            sync_data(fd)
        if replace:
            os.replace(draft, path)
        else:
            move_into_place(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


class HomeLock:
    """Holds a home for this process until closed.

    Raises:
        HomeBusyError: Another process holds it.
        ReadOnlyError: The home cannot be written.
    """

    def __init__(self, home: Home) -> None:
        home.create()
        self._home = home
        with os_errors(f"cannot hold the home {home.root}"):
            self._file: IO[str] = open(home.lock, "a+")  # noqa: SIM115 - open as long as it is held
        try:
            with os_errors(f"cannot hold the home {home.root}"):
                held = _lock(self._file)
        except StoreError:
            self._file.close()
            raise
        if not held:
            self._file.close()
            holder = home.holder()
            who = f"process {holder.pid}" if holder else "another process"
            raise HomeBusyError(f"{home.root} is held by {who}", hint="Stop it, or use another $SAMARA_HOME.")
        try:
            self.announce("")
        except StoreError:
            self.close()
            raise

    def announce(self, door: str) -> None:
        """Write who holds the home and where it answers.

        Raises:
            DiskFullError: There is no room for it.
        """
        with os_errors(f"cannot hold the home {self._home.root}"):
            self._write(door)

    def withdraw(self) -> None:
        """Write that the holder does not answer any more; never raises."""
        with contextlib.suppress(OSError):
            self._write("")

    def _write(self, door: str) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._file.write(json.dumps({"pid": os.getpid(), "door": door}))
        self._file.flush()

    def close(self) -> None:
        """Let the home go."""
        with contextlib.suppress(OSError):  # what a full disk refused is tried again here, and does not matter
            self._file.seek(0)
            self._file.truncate()
        with contextlib.suppress(OSError):
            self._file.close()


def _lock(file: IO[Any], *, shared: bool = False) -> bool:
    """Take the lock until the file is closed, if nobody has it; a shared one only looks whether it is free."""
    try:
        import fcntl
    except ImportError:
        return _lock_windows(file, keep=not shared)
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_windows(file: IO[Any], *, keep: bool) -> bool:
    import msvcrt

    # A byte far behind the text: Windows locks forbid reading, and the text must stay readable.
    os.lseek(file.fileno(), 1 << 20, os.SEEK_SET)
    try:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except OSError:
        return False
    if not keep:
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined]
    return True
