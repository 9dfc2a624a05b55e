"""A node in one process and its callers in others: what works beside it, what survives, and how it stops."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.cli import Cli, children_of, eventually

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs Unix sockets")

SLOW_LINE = "1500 kB"
"""Bytes a second at which a fetch of `MODEL` takes some seconds, so that there is a middle."""

MODEL = {"w.bin": 5 << 20, "sub/x.bin": 70_000, "empty": 0}


@dataclass(frozen=True, slots=True)
class Seeder:
    """Alice, who seeds."""

    cli: Cli
    root: Path
    published: dict[str, Any]

    @property
    def link(self) -> str:
        return str(self.published["link"])

    @property
    def release(self) -> str:
        return str(self.published["release"])

    def arrived(self, path: str) -> bool:
        """Whether a folder holds what she published."""
        return all((Path(path) / name).read_bytes() == (self.root / name).read_bytes() for name in MODEL)


@pytest.fixture(scope="module")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seeder]:
    folder = tmp_path_factory.mktemp("alice")
    root = write_model(folder / "model", MODEL)
    cli = Cli(folder / "home")
    with cli.running("seed", str(root), "--license", "MIT") as (_, said):
        yield Seeder(cli, root, said["published"][0])


def write_model(root: Path, sizes: dict[str, int]) -> Path:
    for name, size in sizes.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(random.Random(name).randbytes(size))
    return root


def state_of(cli: Cli, release: str) -> str:
    rows = {row["release"]: row for row in cli.json("ls")["releases"]}
    return str(rows[release]["state"]) if release in rows else "unknown"


def held_of(cli: Cli, release: str) -> int:
    return int(next((row["held"] for row in cli.json("ls")["releases"] if row["release"] == release), 0))


def queue_of(cli: Cli) -> list[str]:
    return [fetch["state"] for fetch in cli.json("queue")["fetches"]]


@pytest.mark.slow
def test_all_of_it_works_beside_a_node(tmp_path: Path, alice: Seeder) -> None:
    bob = Cli(tmp_path / "bob")
    with bob.running("node") as (node, said):
        status = bob.json("status")
        assert (status["pid"], status["peer"]) == (node.pid, said["peer"])
        assert status["listening"] == said["addresses"] or said["addresses"][0].startswith(status["listening"][0])

        fetched = bob.json("fetch", alice.link)
        assert alice.arrived(fetched["path"])
        assert [share["peer"] for share in fetched["peers"]] == [alice.link.rpartition("/p2p/")[2]]
        assert isinstance(bob.json("peers")["peers"], list)
        assert bob.json("verify", alice.release)["ok"] is True

        assert bob.json("gc")["contents"] == 0
        assert bob.json("unpin", alice.release)["release"] == alice.release
        assert bob.json("gc")["bytes"] >= sum(MODEL.values())
        assert not Path(fetched["path"]).exists()

        again = bob.json("fetch", alice.link)
        assert again["received"] == sum(MODEL.values())
        assert bob.json("pin", alice.release)["release"] == alice.release

        (tmp_path / "own.txt").write_text("mine")
        assert bob.json("publish", str(tmp_path / "own.txt"), "--license", "MIT")["new"] is True
        assert bob.json("status")["releases"] == 2
        assert node.process.poll() is None


def test_the_door_is_private_and_named_in_the_lock(tmp_path: Path) -> None:
    bob = Cli(tmp_path / "bob")
    with bob.running("node") as (node, _):
        door = Path(bob.door())
        assert stat.S_IMODE(door.stat().st_mode) == 0o600
        assert stat.S_IMODE(door.parent.stat().st_mode) == 0o700
        assert json.loads((bob.home / "lock").read_text())["pid"] == node.pid
        assert stat.S_IMODE(bob.home.stat().st_mode) == 0o700
        second = bob.run("node", "--json")
        assert second.code == 1
        assert second.json["error"] == "HomeBusyError"
        assert str(node.pid) in second.json["message"]
        assert str(node.pid) in bob.run("node").err


def test_seed_beside_a_node_publishes_and_returns(tmp_path: Path, alice: Seeder) -> None:
    (tmp_path / "own.txt").write_text("mine")
    (tmp_path / "other.txt").write_text("also mine")
    bob = Cli(tmp_path / "bob")
    with bob.running("node") as (node, said):
        seeded = bob.run("seed", str(tmp_path / "own.txt"), "--license", "MIT")
        assert seeded.code == 0
        assert "samara:" in seeded.out
        (row,) = bob.json("seed", str(tmp_path / "other.txt"), "--license", "MIT")["published"]
        assert said["peer"] in row["link"]
        assert node.process.poll() is None
        carol = Cli(tmp_path / "carol")
        assert Path(carol.json("fetch", row["link"])["path"]).read_text() == "also mine"


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_fetch_goes_on_when_its_caller_leaves(tmp_path: Path, alice: Seeder, how: signal.Signals) -> None:
    bob = Cli(tmp_path / "bob").having(SAMARA_NETWORK_DOWNLOAD="700 kB")
    with bob.running("node") as (node, _):
        caller = bob.start("fetch", alice.link, "--json")
        eventually(lambda: bob.json("status")["fetches"] == 1)
        done = caller.stop(how)
        assert done.code == (-how if how == signal.SIGKILL else 130 if how == signal.SIGINT else done.code)
        assert done.code != 0
        assert queue_of(bob) == ["running"]
        assert node.process.poll() is None
        eventually(lambda: state_of(bob, alice.release) == "complete", within=30)
        eventually(lambda: queue_of(bob) == [])
        assert alice.arrived(bob.json("show", alice.release)["path"])


@pytest.mark.slow
def test_two_callers_share_one_fetch(tmp_path: Path, alice: Seeder) -> None:
    bob = Cli(tmp_path / "bob").having(SAMARA_NETWORK_DOWNLOAD=SLOW_LINE)
    with bob.running("node"):
        callers = [bob.start("fetch", alice.link, "--json") for _ in range(2)]
        paths = [caller.wait(60).ok()["path"] for caller in callers]
        assert paths[0] == paths[1]
        assert alice.arrived(paths[0])


@pytest.mark.slow
def test_queued_fetches_survive_a_killed_node(tmp_path: Path, alice: Seeder) -> None:
    bob = Cli(tmp_path / "bob").having(SAMARA_NETWORK_DOWNLOAD=SLOW_LINE)
    with bob.running("node") as (node, _):
        caller = bob.start("fetch", alice.link, "--json")
        eventually(lambda: held_of(bob, alice.release) > 0)
        node.stop(signal.SIGKILL)
        done = caller.wait()
        assert (done.code, done.json["error"]) == (1, "OperationError")
    held = held_of(bob, alice.release)
    assert 0 < held < sum(MODEL.values())
    assert queue_of(bob) == ["queued"]
    assert "samara node" in bob.run("queue").err
    bob = Cli(bob.home)
    with bob.running("node"):
        eventually(lambda: state_of(bob, alice.release) == "complete", within=30)
        eventually(lambda: queue_of(bob) == [])
        assert bob.json("status")["received"] <= sum(MODEL.values()) - held + 70_000  # and what carries it
        assert alice.arrived(bob.json("show", alice.release)["path"])


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_node_stops_cleanly_in_the_middle_of_a_fetch(tmp_path: Path, alice: Seeder, how: signal.Signals) -> None:
    bob = Cli(tmp_path / "bob").having(SAMARA_NETWORK_DOWNLOAD=SLOW_LINE)
    with bob.running("node") as (node, _):
        caller = bob.start("fetch", alice.link, "--json")
        eventually(lambda: held_of(bob, alice.release) > 0)
        door = bob.door()
        children = children_of(node.pid)
        done = node.stop(how)
        assert (done.code, done.err) == (0, "")
        assert not os.path.exists(door)
        assert not any(os.path.exists(f"/proc/{child}") for child in children)
        assert caller.wait().code == 1
    assert (bob.home / "lock").read_text() == ""
    held = held_of(bob, alice.release)
    fetched = Cli(bob.home).json("fetch", alice.link)
    assert fetched["received"] == sum(MODEL.values()) - held
    assert alice.arrived(fetched["path"])


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_fetch_in_the_foreground_stops_and_goes_on(tmp_path: Path, alice: Seeder, how: signal.Signals) -> None:
    bob = Cli(tmp_path / "bob").having(SAMARA_NETWORK_DOWNLOAD=SLOW_LINE)
    fetch = bob.start("fetch", alice.link)
    eventually(lambda: (bob.home / "index.sqlite").exists() and held_of(bob, alice.release) > 0)
    done = fetch.stop(how)
    assert (done.code, done.out) == (130, "")
    held = held_of(bob, alice.release)
    assert 0 < held < sum(MODEL.values())
    assert queue_of(bob) == ["queued"]
    fetched = Cli(bob.home).json("fetch", alice.link)
    assert fetched["received"] == sum(MODEL.values()) - held
    assert queue_of(bob) == []


def test_hostile_bytes_at_the_socket_do_not_end_a_node(tmp_path: Path) -> None:
    bob = Cli(tmp_path / "bob")
    noise = random.Random(4).randbytes(4096)
    calls = [
        {"type": "call"},
        {"type": "call", "operation": "format", "request": {}},
        {"type": "call", "operation": "pin", "request": {"ref": 7}},
    ]
    with bob.running("node") as (node, _):
        for said in (b"", b"{}", noise, b"[" * 100_000, *(json.dumps(call).encode() for call in calls)):
            assert _last_line(bob.door(), said + b"\n")["error"] == "UsageError"
        null = {"type": "call", "operation": "publish", "request": {"path": "/\0"}}
        assert _last_line(bob.door(), json.dumps(null).encode() + b"\n")["type"] == "error"
        assert bob.json("status")["pid"] == node.pid


def _last_line(door: str, said: bytes) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(15)
        sock.connect(door)
        with contextlib.suppress(BrokenPipeError):
            sock.sendall(said)
        with sock.makefile("rb") as lines:
            lines.readline()
            found: dict[str, Any] = json.loads(lines.readline())
    return found
