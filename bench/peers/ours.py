"""Samara: a command on its own, or between nodes that run and know each other."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measuring import Meter, cpu_seconds, rss_anon
from resume import measure
from support.cli import Cli, Running

from peers.base import LOOPBACK, Content, End, Figures, Yard, all_at_once, command, until
from samara.node.doors.client import call_node, connect
from samara.node.operations.fetch import FETCH, FetchRequest
from samara.node.store.home import Home

__all__ = ["Samara", "address_of", "cli_at", "folder_of", "idle"]


@dataclass(frozen=True, slots=True)
class Samara:
    """Samara.

    Attributes:
        running: A node runs on the fetcher's home and has met the seeder; else `samara fetch` does the work itself.
    """

    running: bool = False

    @property
    def name(self) -> str:
        return "samara"

    def missing(self) -> str:
        return ""

    @contextlib.contextmanager
    def seeding(self, yard: Yard) -> Iterator[_Seeder]:
        yard.folder.mkdir(parents=True, exist_ok=True)
        greeting = yard.folder / "greeting"
        greeting.write_text("hello")
        cli = cli_at(yard.folder / "seeder", yard.wire.seeder)
        with cli.running("seed", str(yard.content.path), str(greeting), "--yes") as (process, said):
            links = [row["link"] for row in said["published"]]
            yield _Seeder(yard, self.running, cli, process, *links)


@dataclass(frozen=True, slots=True)
class _Seeder:
    yard: Yard
    running: bool
    cli: Cli
    process: Running
    link: str
    greeting: str

    def fetch(self, count: int) -> Figures:
        homes = [self.yard.folder / f"fetcher-{number}" for number in range(count)]
        clis = [cli_at(home, self.yard.wire.fetcher) for home in homes]
        try:
            return self._between_nodes(clis) if self.running else self._alone(clis[0])
        finally:
            for home in homes:
                shutil.rmtree(home, ignore_errors=True)

    def interrupted(self) -> Figures:
        home = self.yard.folder / "fetcher"
        try:
            found = measure(self.cli, home, self.link, self.yard.content.size, random.Random())
            return {"again": max(0.0, found["again"]), "rate": found["rate"]}
        finally:
            shutil.rmtree(home, ignore_errors=True)

    def _alone(self, cli: Cli) -> Figures:
        before = self._sent()
        with Meter([self.process.pid]) as meter:
            said = json.loads(command(meter, cli.command("fetch", self.link, "--json"), cli.environment()))
        self.yard.content.check(folder_of(self.yard.content, said["path"]))
        return {**meter.figures(), "seconds": said["seconds"], "sent": self._sent() - before}

    def _between_nodes(self, clis: Sequence[Cli]) -> Figures:
        with contextlib.ExitStack() as stack:
            nodes = [stack.enter_context(cli.running("node")) for cli in clis]
            for cli in clis:
                cli.json("fetch", self.greeting)
            pids = [process.pid for process, _ in nodes]
            before = self._sent()
            with Meter([self.process.pid], pids) as meter:
                if len(clis) == 1:
                    words = clis[0].command("fetch", self.link, "--json")
                    said = [json.loads(command(meter, words, clis[0].environment()))]
                else:
                    said = self._each(clis, [address_of(first) for _, first in nodes])
            figures = meter.figures()
            for result in said:
                self.yard.content.check(folder_of(self.yard.content, result["path"]))
            seconds = said[0]["seconds"] if len(clis) == 1 else figures["wall"]
            return {**figures, "seconds": seconds, "sent": self._sent() - before}

    def _each(self, clis: Sequence[Cli], addresses: Sequence[str]) -> list[dict[str, Any]]:
        """Let each running node fetch at the same moment, over its local door: four commands would cost four starts."""
        said: list[dict[str, Any]] = []

        def one(cli: Cli, peers: tuple[str, ...]) -> None:
            with connect(Home(cli.home)) as door:
                assert door is not None, f"no node answers on {cli.home}"
                result = call_node(door, FETCH, FetchRequest(self.link, peers=peers), lambda event: None)
                said.append({"path": result.path})

        others = {at: tuple(other for other in addresses if other != at) for at in addresses}
        all_at_once([lambda c=cli, p=others[at]: one(c, p) for cli, at in zip(clis, addresses, strict=True)])  # type: ignore[misc]
        return said

    def _sent(self) -> int:
        return int(self.cli.json("status")["sent"])


def idle(folder: Path, peers: int, seconds: float) -> Figures:
    """Measure a node that has nothing to do: connected peers that do nothing either, the DHT, and a file that it holds.

    Args:
        folder: Where homes may lie.
        peers: How many it is connected with.
        seconds: How long it is watched.

    Returns:
        `share` of one core, `rss` its RssAnon in bytes at the end, `peers` that are connected at the end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "file"
    file.write_bytes(bytes(100_000))
    with contextlib.ExitStack() as stack:
        known = []
        for number in range(peers):
            cli = cli_at(folder / f"peer-{number}", LOOPBACK.fetcher).having(SAMARA_NETWORK_DHT="server")
            known.append(address_of(stack.enter_context(cli.running("node"))[1]))
        cli = cli_at(folder / "idle", LOOPBACK.seeder).having(
            SAMARA_NETWORK_DHT="server", SAMARA_NETWORK_BOOTSTRAP=" ".join(known)
        )
        process, _ = stack.enter_context(cli.running("seed", str(file), "--yes"))
        until(lambda: _connected(cli) >= peers, f"{peers} peers are connected", 120)
        time.sleep(15)  # what comes with new acquaintances is over
        before, began = cpu_seconds([process.pid]), time.monotonic()
        time.sleep(seconds)
        share = (cpu_seconds([process.pid]) - before) / (time.monotonic() - began)
        return {"share": share, "rss": rss_anon([process.pid]), "peers": _connected(cli)}


def _connected(cli: Cli) -> int:
    return len({row["peer"] for row in cli.json("peers")["peers"]})


def cli_at(home: Path, end: End) -> Cli:
    """Return the command line on a home, at one end of a link."""
    listen = {"SAMARA_NETWORK_LISTEN": f"/ip4/{end.address}/tcp/0"}
    return Cli(home, before=end.before).having(**listen)


def address_of(said: dict[str, Any]) -> str:
    """Return a multiaddr with the peer id, from what a node says first."""
    address = str(said["addresses"][0])
    return address if "/p2p/" in address else f"{address}/p2p/{said['peer']}"


def folder_of(content: Content, path: str) -> Path:
    """Return the folder below which the names of the content are, from where a fetch has put it."""
    found = Path(path)
    return found if found.is_dir() else found.parent
