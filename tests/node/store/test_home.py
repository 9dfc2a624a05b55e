"""Who holds a home: told by a lock that dies with its process, not by what a file says."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest

import samara
from samara.node.store.home import Holder, Home, HomeLock
from samara.protocol.errors import HomeBusyError, StoreError

HOLD = """
import sys, time
from pathlib import Path
from samara.node.store.home import Home, HomeLock
lock = HomeLock(Home(Path(sys.argv[1])))
lock.announce("unix:/there")
print("held", flush=True)
time.sleep(600)
"""


def test_a_home_is_held_until_its_lock_is_closed(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    assert not home.is_held()
    lock = HomeLock(home)
    assert home.is_held()
    assert home.holder() == Holder(os.getpid(), "")
    with pytest.raises(HomeBusyError, match=f"process {os.getpid()}"):
        HomeLock(home)
    lock.close()
    assert not home.is_held()
    HomeLock(home).close()


def test_looking_keeps_nobody_out(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    for _ in range(3):
        assert not home.is_held()
        lock = HomeLock(home)
        assert home.is_held()
        lock.close()


def test_a_process_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    environment = os.environ | {"PYTHONPATH": str(Path(samara.__file__).parents[1])}
    command = [sys.executable, "-c", HOLD, str(home.root)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        assert home.holder() == Holder(process.pid, "unix:/there")
        process.send_signal(signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
    assert "unix:/there" in home.lock.read_text()
    assert not home.is_held()
    assert home.holder() is None


def test_a_filesystem_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")

    def refuse(file: object, how: int) -> NoReturn:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StoreError, match="cannot hold the home"):
        HomeLock(Home(tmp_path / "home"))


class FakeWindows:
    """What `msvcrt` does: a byte of a file is one handle's, until that handle lets it go or is closed."""

    LK_NBLCK, LK_UNLCK = 2, 0

    def __init__(self) -> None:
        self._held: dict[tuple[int, int], int] = {}

    def locking(self, fd: int, mode: int, count: int) -> None:
        key = (os.fstat(fd).st_ino, os.lseek(fd, 0, os.SEEK_CUR))
        if mode == self.LK_UNLCK:
            assert self._held.pop(key) == fd
        elif self._held.get(key) != fd and self._is_open(self._held.get(key), key[0]):  # a number is given again
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        else:
            self._held[key] = fd

    def _is_open(self, fd: int | None, inode: int) -> bool:
        try:
            return fd is not None and os.fstat(fd).st_ino == inode
        except OSError:
            return False


def test_it_is_the_same_with_the_locks_of_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeWindows()
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(
        sys.modules, "msvcrt", SimpleNamespace(locking=fake.locking, LK_NBLCK=fake.LK_NBLCK, LK_UNLCK=fake.LK_UNLCK)
    )
    home = Home(tmp_path / "home")
    for _ in range(2):
        assert not home.is_held()
        lock = HomeLock(home)
        lock.announce("tcp:1:token")
        assert home.is_held()
        assert home.holder() == Holder(os.getpid(), "tcp:1:token")
        with pytest.raises(HomeBusyError):
            HomeLock(home)
        assert home.is_held()
        lock.close()
    home.lock.write_text('{"pid": 1, "door": "tcp:1:token"}')
    assert home.holder() is None
