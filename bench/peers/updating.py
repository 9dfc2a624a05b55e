"""Programs that bring what a receiver holds up to date over a line: it has a base, and wants a content that differs.

The seeder holds both. All that TCP carries counts, both ways: tables, lists and checksums too. Figures of one update:

    moved       bytes that TCP carried, both ways
    wire        the same with the headers of packets, as the interface has counted
    seconds     from the start of the command until its end
    cpu_fetch   CPU seconds of the command
    payload     Samara only: bytes of chunks as they came, encoded; received: the same decoded; reused: what was copied
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from links import counted
from measuring import Meter

from peers.base import TIMEOUT, Figures, Wire, Yard, absent, command, folders
from peers.nginx import serving
from peers.ours import address_of, cli_at, folder_of
from peers.rsync import listening

__all__ = ["RsyncUpdate", "SamaraUpdate", "Updater", "ZsyncUpdate"]

Once = Callable[[], Figures]


class Updater(Protocol):
    """A program that is compared."""

    @property
    def name(self) -> str:
        """What it is called in tables."""
        ...

    def missing(self) -> str:
        """Return what is not here and must be, or nothing."""
        ...

    def updating(self, yard: Yard, base: Path | None) -> AbstractContextManager[Once]:
        """Offer the yard's content until the block ends; what is given brings one receiver of `base` up to date."""
        ...


def _measured(wire: Wire, work: Callable[[Meter], object]) -> Figures:
    before = counted(wire.fetcher)
    with Meter(()) as meter:
        work(meter)
    seen, figures = counted(wire.fetcher) - before, meter.figures()
    return {"moved": seen.carried, "wire": seen.wire, "seconds": figures["wall"], "cpu_fetch": figures["cpu_fetch"]}


@dataclass(frozen=True, slots=True)
class SamaraUpdate:
    """Samara: the base is a release that the receiver has fetched, and that the new one names.

    Attributes:
        always: The seeder encodes from the first byte on, before it knows how fast the line is; else as it comes.
    """

    always: bool = False

    @property
    def name(self) -> str:
        return "samara encode=always" if self.always else "samara"

    def missing(self) -> str:
        return ""

    @contextlib.contextmanager
    def updating(self, yard: Yard, base: Path | None) -> Iterator[Once]:
        yard.folder.mkdir(parents=True, exist_ok=True)
        encode = "always" if self.always else "auto"
        seeder = cli_at(yard.folder / "seeder", yard.wire.seeder).having(SAMARA_NETWORK_ENCODE=encode)
        home = yard.folder / "receiver"
        with seeder.running("node") as (_, said):
            peer = ("--peer", address_of(said))
            held = seeder.json("publish", str(base), "--yes") if base else None
            made_from = ("--base", held["release"]) if held else ()
            new = seeder.json("publish", str(yard.content.path), "--yes", *made_from)

            def once() -> Figures:
                if held:  # from the seeder's own end, where the line is not slow
                    near = cli_at(home, yard.wire.seeder)
                    near.run("fetch", held["link"], *peer, "--json", timeout=TIMEOUT).ok()
                cli = cli_at(home, yard.wire.fetcher)
                told: dict[str, Any] = {}

                def fetch(meter: Meter) -> None:
                    words = cli.command("fetch", new["link"], *peer, "--json")
                    told.update(json.loads(command(meter, words, cli.environment())))

                try:
                    figures = _measured(yard.wire, fetch)
                    yard.content.check(folder_of(yard.content, told["path"]))
                finally:
                    shutil.rmtree(home, ignore_errors=True)
                return {**figures, "payload": told["moved"], "received": told["received"], "reused": told["reused"]}

            yield once


@dataclass(frozen=True, slots=True)
class RsyncUpdate:
    """rsync from a daemon; a file that is new is made from one that is like it by name (`--fuzzy`).

    Attributes:
        packed: What travels is compressed (`-z`).
    """

    packed: bool = False

    @property
    def name(self) -> str:
        return "rsync -z" if self.packed else "rsync"

    def missing(self) -> str:
        return absent("rsync")

    @contextlib.contextmanager
    def updating(self, yard: Yard, base: Path | None) -> Iterator[Once]:
        # Neither size nor time may tell it that a file is the same; it must look.
        ways = ["-a", "--ignore-times", "--no-whole-file", "--fuzzy", *(["-z"] if self.packed else [])]
        with listening(yard) as (_, url):

            def once() -> Figures:
                with folders(yard.folder, 1) as (folder,):
                    _hold(base, folder)
                    words = [*yard.wire.fetcher.before, "rsync", *ways, f"{url}/", str(folder)]
                    figures = _measured(yard.wire, partial(command, words=words))
                    yard.content.check(folder)
                    return figures

            yield once


@dataclass(frozen=True, slots=True)
class ZsyncUpdate:
    """zsync over HTTP from nginx, each file from all that are held; the checksums are made beforehand."""

    name: str = "zsync"

    def missing(self) -> str:
        return absent("zsync", "zsyncmake", "nginx")

    @contextlib.contextmanager
    def updating(self, yard: Yard, base: Path | None) -> Iterator[Once]:
        content = yard.content
        with serving(yard, tls=False) as server:
            sums = {name: content.path.parent / f"{Path(name).name}.zsync" for name in content.files}
            for name, path in sums.items():
                make = ["zsyncmake", "-u", f"{content.name}/{name}", "-o", str(path), str(content.path / name)]
                subprocess.run(make, check=True, capture_output=True, timeout=TIMEOUT)

            def once() -> Figures:
                with folders(yard.folder, 2) as (held, folder):
                    _hold(base, held)
                    inputs = [word for each in sorted(held.iterdir()) for word in ("-i", str(each))]

                    def fetch(meter: Meter) -> None:
                        for name, path in sums.items():
                            url = f"{server.url}/{path.name}"
                            words = [*yard.wire.fetcher.before, "zsync", "-q", *inputs, "-o", str(folder / name), url]
                            command(meter, words)

                    figures = _measured(yard.wire, fetch)
                    content.check(folder)
                    return figures

            yield once


def _hold(base: Path | None, folder: Path) -> None:
    if base:
        shutil.copytree(base, folder, dirs_exist_ok=True)
