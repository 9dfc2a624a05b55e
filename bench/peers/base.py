"""What a program that is compared can do, and what all of them need: content, ends of a link, processes that end.

A fetch counts from the request until the bytes are verified, written and synced. Figures are named alike for all:

    seconds     from the request to a program that is ready, until verified, written and synced
    wall        the same with the start of the fetching programs
    cpu_fetch   CPU seconds of the fetchers (with their start, where they are started for the fetch)
    cpu_seed    CPU seconds of the seeder meanwhile
    rss_fetch   peak RssAnon of the fetchers together, bytes; rss_seed that of the seeder
    sent        bytes that the seeder sent
    again       resume only: bytes that came a second time; rate: bytes a second before the kill
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from blake3 import blake3
from measuring import Meter

__all__ = [
    "LOOPBACK",
    "Content",
    "End",
    "Figures",
    "Peer",
    "Seeder",
    "Skipped",
    "Wire",
    "Yard",
    "absent",
    "all_at_once",
    "command",
    "ending",
    "folders",
    "free_port",
    "kill_at_half",
    "sync",
    "until",
]

Figures = dict[str, float]
TIMEOUT = 900.0
"""Seconds for one fetch: far more than any of them takes, so that a run that hangs ends."""


class Skipped(Exception):  # noqa: N818 - nothing went wrong
    """This cannot be measured here, and why."""


@dataclass(frozen=True, slots=True)
class End:
    """One end of a link.

    Attributes:
        address: Its IPv4 address.
        before: What stands before a command that runs there.
    """

    address: str = "127.0.0.1"
    before: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wire:
    """Between whom bytes go."""

    seeder: End = End()
    fetcher: End = End()


LOOPBACK = Wire()


@dataclass(frozen=True, slots=True)
class Content:
    """What is moved: one file, or a folder of files.

    Attributes:
        path: Where it lies.
        files: BLAKE3 of each file, hex, by its path below `path`; of one file by its name.
        size: Bytes.
    """

    path: Path
    files: dict[str, str]
    size: int

    @classmethod
    def of(cls, path: Path) -> Content:
        """Hash what lies at a path."""
        found = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
        base = path if path.is_dir() else path.parent
        files = {str(each.relative_to(base)): digest(each) for each in found}
        return cls(path, files, sum(each.stat().st_size for each in found))

    @property
    def name(self) -> str:
        """The name of the file or folder."""
        return self.path.name

    def check(self, folder: Path) -> None:
        """See that a folder holds just these bytes.

        Raises:
            AssertionError: It does not.
        """
        for name, expected in self.files.items():
            found = digest(folder / name)
            assert found == expected, f"{folder / name} is not what was sent"


@dataclass(frozen=True, slots=True)
class Yard:
    """Where a program may put its files, and between whom it moves bytes.

    Attributes:
        folder: A folder of its own.
        content: What it moves.
        wire: Between whom.
    """

    folder: Path
    content: Content
    wire: Wire = LOOPBACK


class Seeder(Protocol):
    """A program that seeds a content, and can have it fetched."""

    def fetch(self, count: int) -> Figures:
        """Let `count` fetchers fetch it at once, into new folders; check what arrived, and remove it."""
        ...

    def interrupted(self) -> Figures:
        """Kill a fetch at half of the bytes, do it again, and count what came twice."""
        ...


class Peer(Protocol):
    """A program that is compared."""

    @property
    def name(self) -> str:
        """What it is called in tables."""
        ...

    def missing(self) -> str:
        """Return what is not here and must be, or nothing."""
        ...

    def seeding(self, yard: Yard) -> AbstractContextManager[Seeder]:
        """Seed a content until the block ends."""
        ...


def digest(path: Path) -> str:
    """Return BLAKE3 of a file, hex."""
    hasher = blake3(max_threads=blake3.AUTO)
    hasher.update_mmap(path)
    return hasher.hexdigest()


def absent(*programs: str) -> str:
    """Return the programs that are not installed, in words, or nothing."""
    return ", ".join(program for program in programs if shutil.which(program) is None)


_PORTS = itertools.count(20_000 + os.getpid() % 10_000)
"""Ports of programs that take none by themselves: below those that Linux gives to who asks for any (from 32,768), since
in another network namespace somebody may have been given just the one that is free here."""


def free_port() -> int:
    """Return a TCP port that nobody has on loopback, each time another."""
    for port in _PORTS:
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("counting has ended")


def until(true: Callable[[], object], what: str, within: float = 60.0) -> None:
    """Wait until something is so.

    Raises:
        TimeoutError: It is not so in time.
    """
    end = time.monotonic() + within
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {within:.0f} s: {what}")
        time.sleep(0.02)


@contextlib.contextmanager
def ending(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Give a process that does not outlive the block: asked to end first, and killed if it does not."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        if process.poll() is None:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def command(meter: Meter, words: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> str:
    """Run a fetching program to its end and return what it printed.

    Args:
        meter: Looks at its memory.
        words: The command.
        environment: Its whole environment; None for that of this process.

    Raises:
        RuntimeError: It failed.
    """
    process = subprocess.Popen(
        list(map(str, words)), env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        meter.watch(process.pid)
        try:
            out, error = process.communicate(timeout=TIMEOUT)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))} ended with {process.returncode}: {out[-500:]}{error[-500:]}")
    return out


def kill_at_half(process: subprocess.Popen[str], folder: Path, size: int) -> float:
    """Kill a process that fetches into a folder at half of the bytes, and return its bytes a second until then.

    Raises:
        RuntimeError: It ended before.
    """
    began = time.monotonic()
    until(lambda: _allocated(folder) >= size / 2 or process.poll() is not None, "half of the bytes", TIMEOUT)
    seconds = time.monotonic() - began
    process.send_signal(signal.SIGKILL)
    if process.wait() != -signal.SIGKILL:
        raise RuntimeError(f"it ended with {process.returncode} before it was killed")
    return size / 2 / seconds


def _allocated(folder: Path) -> int:
    """Bytes that the files of a folder really have, holes not counted."""
    return sum(each.stat().st_blocks * 512 for each in folder.rglob("*") if each.is_file())


def sync(folder: Path) -> None:
    """Make all files of a folder last: each by itself, or when they are many, their filesystem once."""
    found = [folder, *folder.rglob("*")]
    if len(found) > 100:
        subprocess.run(["sync", "--file-system", folder], check=True, timeout=TIMEOUT)
        return
    for path in found:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def all_at_once(work: Iterable[Callable[[], object]]) -> None:
    """Do all of these in threads of their own, and raise the first of their errors when all have ended."""
    failed: list[BaseException] = []

    def guarded(each: Callable[[], object]) -> None:
        try:
            each()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(each,), daemon=True) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


@contextlib.contextmanager
def folders(parent: Path, count: int) -> Iterator[list[Path]]:
    """Give new folders, which are removed when the block ends."""
    found = [parent / f"fetch-{number}" for number in range(count)]
    try:
        for each in found:
            shutil.rmtree(each, ignore_errors=True)
            each.mkdir(parents=True)
        yield found
    finally:
        for each in found:
            shutil.rmtree(each, ignore_errors=True)


@dataclass
class Commands:
    """A seeder whose content is fetched by programs that run once: curl, aria2, rsync.

    Attributes:
        yard: Where.
        pids: The processes that seed.
        sent: Returns the bytes that were sent until now.
        once: Fetches into a folder, and verifies.
        partly: The command of it that can be killed and go on, into a folder; None where it cannot.
    """

    yard: Yard
    pids: Sequence[int]
    sent: Callable[[], int]
    once: Callable[[Meter, Path], object]
    partly: Callable[[Path], Sequence[str | Path]] | None = None
    place: Callable[[Path], Path] = field(default=lambda folder: folder)

    def fetch(self, count: int) -> Figures:
        def one(folder: Path) -> None:
            self.once(meter, folder)
            sync(folder)

        with folders(self.yard.folder, count) as made:
            before = self.sent()
            with Meter(self.pids) as meter:
                all_at_once([lambda folder=folder: one(folder) for folder in made])  # type: ignore[misc]
            figures = meter.figures()
            for folder in made:
                self.yard.content.check(self.place(folder))
            return {**figures, "seconds": figures["wall"], "sent": self.sent() - before}

    def interrupted(self) -> Figures:
        if self.partly is None:
            raise Skipped("it cannot be killed and go on here")
        with folders(self.yard.folder, 1) as (folder,):
            before = self.sent()
            words = list(map(str, self.partly(folder)))
            with ending(subprocess.Popen(words, stdin=subprocess.DEVNULL, text=True)) as process:
                rate = kill_at_half(process, folder, self.yard.content.size)
            with Meter(self.pids) as meter:
                command(meter, self.partly(folder))
            figures = meter.figures()
            self.yard.content.check(self.place(folder))
            again = self.sent() - before - self.yard.content.size
            return {**figures, "seconds": figures["wall"], "again": again, "rate": rate}
