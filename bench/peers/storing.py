"""Programs that keep only what is new: no line is in between, so what counts is how much their store grows.

Of one update, after the base was stored:

    moved       bytes by which the store has grown
    seconds     from the start of the command that stores until its end, on this machine
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from measuring import Meter

from peers.apart import PYTHON, lacking
from peers.base import Figures, Yard, absent, command, folders

__all__ = ["STORES", "Store"]

_CHILD = Path(__file__).with_name("xet_child.py")
_Words = Sequence[str | Path]


@dataclass(frozen=True, slots=True)
class Store:
    """One of them.

    Attributes:
        name: What it is called in tables.
        lacks: Returns what is not here and must be, or nothing.
        begin: The command that makes a store in a folder, or none.
        add: The command that adds a folder to it under a name.
        counted: The parts of the store that count.
        settings: Its environment, by variable; `{folder}` is where it may write what is no part of the store.
    """

    name: str
    lacks: Callable[[], str]
    begin: Callable[[Path], _Words] | None
    add: Callable[[Path, Path, str], _Words]
    counted: tuple[str, ...] = (".",)
    settings: tuple[tuple[str, str], ...] = ()

    def missing(self) -> str:
        return self.lacks()

    @contextlib.contextmanager
    def updating(self, yard: Yard, base: Path | None) -> Iterator[Callable[[], Figures]]:
        def once() -> Figures:
            with folders(yard.folder, 2) as (store, beside):
                settings = {key: value.format(folder=beside) for key, value in self.settings}
                environment = {**os.environ, "HOME": str(beside), **settings}

                def run(words: _Words) -> Figures:
                    with Meter(()) as meter:
                        command(meter, words, environment)
                    return meter.figures()

                if self.begin:
                    run(self.begin(store))
                if base:
                    run(self.add(store, base, "base"))
                before = self._size(store)
                figures = run(self.add(store, yard.content.path, "new"))
                after = self._size(store)
                if not after:
                    raise RuntimeError("its store is not where it was looked for")
                return {"moved": after - before, "seconds": figures["wall"], "cpu_fetch": figures["cpu_fetch"]}

        yield once

    def _size(self, store: Path) -> int:
        files = (each for part in self.counted for each in (store / part).rglob("*"))
        return sum(each.stat().st_size for each in files if each.is_file())


STORES = (
    Store(
        "casync",
        lambda: absent("casync"),
        None,
        lambda store, path, name: ["casync", "make", f"--store={store}/chunks", store / f"{name}.caidx", path],
    ),
    Store(
        "restic",
        lambda: absent("restic"),
        lambda store: ["restic", "-q", "-r", store / "r", "init"],
        lambda store, path, name: ["restic", "-q", "-r", store / "r", "backup", "--tag", name, path],
        settings=(("RESTIC_PASSWORD", "bench"), ("RESTIC_CACHE_DIR", "{folder}/restic")),
    ),
    Store(
        "borg",
        lambda: absent("borg"),
        lambda store: ["borg", "init", "--encryption=none", store / "r"],
        lambda store, path, name: ["borg", "create", "--compression=auto,zstd", f"{store}/r::{name}", path],
        settings=(("BORG_BASE_DIR", "{folder}"), ("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes")),
    ),
    Store(
        "hf_xet",
        lambda: lacking("hf_xet"),
        None,
        lambda store, path, name: [PYTHON, "-I", _CHILD, store, path],
        # Its lookup tables are the server's own affair.
        counted=("xet/xorbs/xorbs", "xet/xorbs/shards"),
        settings=(("HF_HOME", "{folder}"), ("HF_XET_CACHE", "{folder}/xet"), ("HF_HUB_DISABLE_TELEMETRY", "1")),
    ),
)
"""restic encrypts; borg and casync do not; all compress, as they do by default or, borg, at best."""
