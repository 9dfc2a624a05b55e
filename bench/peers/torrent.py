"""libtorrent, tuned: one session a process, in an environment of its own (scripts/bench_setup.py makes it)."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from measuring import Meter

from peers.apart import PYTHON, lacking
from peers.base import End, Figures, Yard, ending, folders, kill_at_half

__all__ = ["Torrent"]

_CHILD = Path(__file__).with_name("torrent_child.py")


@dataclass(frozen=True, slots=True)
class Torrent:
    """libtorrent.

    Attributes:
        version: Of the torrent: 1 (SHA-1 of pieces) or 2 (SHA-256, Merkle).
        encrypted: RC4 is forced; else all is plain.
    """

    version: int = 1
    encrypted: bool = False

    @property
    def name(self) -> str:
        return f"libtorrent v{self.version}{' encrypted' if self.encrypted else ''}"

    def missing(self) -> str:
        return lacking("libtorrent")

    @contextlib.contextmanager
    def seeding(self, yard: Yard) -> Iterator[_Seeder]:
        yard.folder.mkdir(parents=True, exist_ok=True)
        torrent = yard.folder / "content.torrent"
        path = str(yard.content.path)
        with _Session(End(), role="make", path=path, torrent=str(torrent), version=self.version) as making:
            making.heard()
        facts = {"torrent": str(torrent), "encrypted": self.encrypted}
        with _Session(yard.wire.seeder, role="seed", path=path, **facts) as session:
            yield _Seeder(yard, session, session.heard()["port"], facts)


class _Session:
    """A child with one session; it ends with the block."""

    def __init__(self, end: End, **facts: object) -> None:
        said = json.dumps({"address": end.address, **facts})
        command = [*end.before, str(PYTHON), "-I", str(_CHILD), said]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._ending = ending(self.process)

    def __enter__(self) -> _Session:
        self._ending.__enter__()
        return self

    def __exit__(self, *failure: Any) -> None:  # noqa: ANN401 - what any block ends with
        self._ending.__exit__(*failure)

    def tell(self, said: object) -> None:
        pipe = _pipe(self.process.stdin)
        pipe.write(json.dumps(said) + "\n")
        pipe.flush()

    def heard(self) -> dict[str, Any]:
        """Return what it says next.

        Raises:
            RuntimeError: It has ended.
        """
        line = _pipe(self.process.stdout).readline()
        if not line:
            raise RuntimeError(f"libtorrent's process ended with {self.process.wait()}")
        found: dict[str, Any] = json.loads(line)
        return found


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


@dataclass(frozen=True, slots=True)
class _Seeder:
    yard: Yard
    session: _Session
    port: int
    facts: dict[str, object]

    def fetch(self, count: int) -> Figures:
        with folders(self.yard.folder, count) as made:
            before = self._sent()
            with Meter([self.session.process.pid]) as meter:
                seconds = self._fetch(meter, made)
            figures = meter.figures()
            for folder in made:
                self.yard.content.check(self._place(folder))
            return {**figures, "seconds": seconds, "sent": self._sent() - before}

    def interrupted(self) -> Figures:
        with folders(self.yard.folder, 1) as (folder,):
            before = self._sent()
            with self._fetcher(folder) as fetcher:
                fetcher.heard()
                fetcher.tell([self._address()])
                rate = kill_at_half(fetcher.process, folder, self.yard.content.size)
            with Meter([self.session.process.pid]) as meter:
                seconds = self._fetch(meter, [folder])
            self.yard.content.check(self._place(folder))
            again = self._sent() - before - self.yard.content.size
            return {**meter.figures(), "seconds": seconds, "again": again, "rate": rate}

    def _fetch(self, meter: Meter, made: list[Path]) -> float:
        """Fetch into folders at once, each from the seeder and from those before it; return the seconds of the last."""
        with contextlib.ExitStack() as stack:
            fetchers = [stack.enter_context(self._fetcher(folder)) for folder in made]
            known = [self._address()]
            told = []
            for fetcher in fetchers:
                meter.watch(fetcher.process.pid)
                told.append(list(known))
                known.append((self.yard.wire.fetcher.address, fetcher.heard()["port"]))
            for fetcher, peers in zip(fetchers, told, strict=True):
                fetcher.tell(peers)
            return max(float(fetcher.heard()["seconds"]) for fetcher in fetchers)

    def _fetcher(self, folder: Path) -> _Session:
        return _Session(self.yard.wire.fetcher, role="fetch", path=str(folder), **self.facts)

    def _address(self) -> tuple[str, int]:
        return self.yard.wire.seeder.address, self.port

    def _sent(self) -> int:
        self.session.tell("sent")
        return int(self.session.heard()["sent"])

    def _place(self, folder: Path) -> Path:
        return folder / self.yard.content.name if self.yard.content.path.is_dir() else folder
