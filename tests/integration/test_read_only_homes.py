"""Homes that cannot be written: what only looks works and changes nothing, the rest says that it cannot."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.cli import Cli
from support.contents import Source, give_home, make_source, take_all
from support.kills import as_a_user, fingerprint
from support.mounts import mount, mounted

from samara.protocol.ids import format_record

pytestmark = pytest.mark.slow

TRUTH = random.Random(3).randbytes(300_000)


@dataclass(frozen=True)
class Kept:
    """A home that nobody holds.

    Attributes:
        path: Where it lies.
        own: A release that was published from it; its file lies elsewhere.
        fetched: A release that lies in it.
    """

    path: Path
    own: str
    fetched: str


def fill(base: Path, home: Path, *, copy: Path | None = None) -> tuple[str, str]:
    """Make a home that holds two releases, and perhaps copy it while its index is open and its log not merged."""
    with give_home(base / "seeder") as seeder, give_home(home) as store:
        taken = make_source(seeder, base / "taken", {"weights.bin": 2_000_000, "readme.txt": 100})
        take_all(taken, seeder, store)
        store.catalog.pin(taken.release, pinned=True)
        (base / "own.bin").write_bytes(TRUTH)
        own = Source.publish(store, base / "own.bin")
        if copy is not None:
            shutil.copytree(home, copy)
    return format_record(own.release), format_record(taken.release)


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "home", *fill(tmp_path, tmp_path / "home"))


@contextlib.contextmanager
def _on_a_medium(home: Path, base: Path) -> Iterator[Cli]:
    """A medium that is mounted elsewhere than where the home was made."""
    with mounted(base / "medium", "--bind", str(home)) as view:
        mount("-o", "remount,ro,bind", str(view))
        yield Cli(view).having(XDG_RUNTIME_DIR=str(_runtime(base)))


@contextlib.contextmanager
def _of_somebody_else(home: Path, base: Path) -> Iterator[Cli]:
    """Files and folders that this user may read."""
    before = as_a_user()
    if not before and os.geteuid() == 0:
        pytest.skip("needs setpriv, so that permissions bind root")
    for path in (home, *home.rglob("*")):
        path.chmod(0o500 if path.is_dir() else 0o400)
    try:
        yield Cli(home, before=tuple(before)).having(XDG_RUNTIME_DIR=str(_runtime(base)))
    finally:
        for path in (home, *home.rglob("*")):
            path.chmod(0o700 if path.is_dir() else 0o600)


def _runtime(base: Path) -> Path:
    (base / "run").mkdir(mode=0o700, exist_ok=True)
    return base / "run"


Way = Callable[[Path, Path], AbstractContextManager[Cli]]
each_way = pytest.mark.parametrize("way", [_on_a_medium, _of_somebody_else])


@each_way
def test_what_only_looks_works_and_writes_nothing(tmp_path: Path, kept: Kept, way: Way) -> None:
    before = fingerprint(kept.path)
    with way(kept.path, tmp_path) as cli:
        assert {row["release"] for row in cli.json("ls")["releases"]} == {kept.own, kept.fetched}
        shown = cli.json("show", kept.fetched)
        assert (shown["state"], Path(shown["path"]).parent) == ("complete", cli.home / "content")
        assert cli.json("search", "taken")["releases"]
        assert cli.json("queue") == {"fetches": []}
        assert cli.json("key", "show")["publisher"]
        for release, files in ((kept.own, 1), (kept.fetched, 2)):
            done = cli.run("verify", release, "--json")
            assert (done.ok()["ok"], done.json["files"]) == (True, files)
            assert "not recorded" in done.err
        assert cli.json("verify", kept.own)["signers"][0]["name"] == "me"
        found = cli.run("verify", str(tmp_path / "own.bin"), "--json")
        assert found.ok()["release"] == kept.own
        assert found.err == ""  # a path that is verified is never recorded
        # What stops it is the file, not the home.
        assert "neither GGUF" in cli.run("run", kept.fetched, "Hello", "--file", "weights.bin").err
        assert "neither GGUF" in cli.run("run", str(tmp_path / "own.bin"), "Hello").err
        (tmp_path / "stick").mkdir()
        (stick,) = cli.json("export", str(tmp_path / "stick"), kept.fetched)["releases"]
        assert stick["release"] == kept.fetched
    assert fingerprint(kept.path) == before


@each_way
def test_what_is_wrong_is_found_and_not_recorded(tmp_path: Path, kept: Kept, way: Way) -> None:
    (place,) = (kept.path / "content").iterdir()
    (place / "weights.bin").chmod(0o600)
    with open(place / "weights.bin", "r+b") as file:
        file.write(b"rot")
    before = fingerprint(kept.path)
    with way(kept.path, tmp_path) as cli:
        done = cli.run("verify", kept.fetched, "--json")
        assert (done.code, done.json["bad"]) == (4, ["weights.bin"])
        assert "not recorded" in done.err
        (tmp_path / "stick").mkdir()
        exported = cli.run("export", str(tmp_path / "stick"), kept.fetched, "--json")
        assert (exported.code, exported.json["error"]) == (1, "StoreError")
    assert fingerprint(kept.path) == before


@each_way
def test_what_must_write_says_that_it_cannot(tmp_path: Path, kept: Kept, way: Way) -> None:
    before = fingerprint(kept.path)
    with way(kept.path, tmp_path) as cli:
        for command in (
            ("pin", kept.own),
            ("rm", kept.own),
            ("gc",),
            ("publish", str(tmp_path / "own.bin"), "--license", "MIT"),
            ("fetch", kept.fetched),
            ("import", str(tmp_path)),
            ("key", "name", "me", ""),
            ("node",),
        ):
            done = cli.run(*command, "--json")
            assert (done.code, done.json["error"]) == (1, "ReadOnlyError"), command
            assert done.json["hint"]
    assert fingerprint(kept.path) == before


@each_way
@pytest.mark.parametrize("left", [("-wal", "-shm"), ("-wal",), ("-shm",)], ids=" ".join)
def test_what_a_log_holds_is_seen(tmp_path: Path, way: Way, left: tuple[str, ...]) -> None:
    copy = tmp_path / "copy"
    own, fetched = fill(tmp_path, tmp_path / "home", copy=copy)
    index = copy / "index.sqlite"
    if "-wal" in left:
        with contextlib.closing(sqlite3.connect(f"{index.as_uri()}?mode=ro&immutable=1", uri=True)) as db:
            assert db.execute("PRAGMA user_version").fetchone() == (0,)  # all of it is in the log
    else:
        shutil.copy(tmp_path / "home/index.sqlite", index)
    for end in {"-wal", "-shm"} - set(left):
        index.with_name(index.name + end).unlink()
    before = fingerprint(copy)
    with way(copy, tmp_path) as cli:
        assert {row["release"] for row in cli.json("ls")["releases"]} == {own, fetched}
        assert cli.json("verify", fetched)["ok"]
    assert fingerprint(copy) == before


def test_a_home_that_lives_is_looked_at_from_the_side(tmp_path: Path, kept: Kept) -> None:
    owner = Cli(kept.path).having(XDG_RUNTIME_DIR=str(_runtime(tmp_path)))
    with owner.running("node"), _on_a_medium(kept.path, tmp_path) as cli:
        owner.json("unpin", kept.own)
        assert [row["release"] for row in cli.json("ls")["releases"] if row["pinned"]] == [kept.fetched]
        done = cli.run("verify", kept.own, "--json")  # the node does it, and records it
        assert (done.ok()["ok"], done.err) == (True, "")
        assert [row["release"] for row in cli.json("ls")["releases"] if row["pinned"]] == [kept.fetched]


def test_another_users_home_is_looked_at_without_its_keys(tmp_path: Path, kept: Kept) -> None:
    with _of_somebody_else(kept.path, tmp_path) as cli:
        for key in kept.path.glob("*.key"):
            key.chmod(0)
        verified = cli.json("verify", kept.own)
        assert verified["ok"]
        # Its keys cannot be read; that it was published here is what the index says.
        assert [signer["trusted"] for signer in verified["signers"]] == [True]


@pytest.mark.parametrize("locked", ["index.sqlite", "lock", "."])
def test_a_home_of_which_a_part_may_be_written_is_looked_at(tmp_path: Path, kept: Kept, locked: str) -> None:
    before = as_a_user()
    if not before and os.geteuid() == 0:
        pytest.skip("needs setpriv, so that permissions bind root")
    (kept.path / "lock").touch()
    (kept.path / locked).chmod(0o500)
    cli = Cli(kept.path, before=tuple(before))
    try:
        assert len(cli.json("ls")["releases"]) == 2
        assert cli.json("verify", kept.fetched)["ok"]
        assert cli.run("pin", kept.own, "--json").json["error"] == "ReadOnlyError"
    finally:
        (kept.path / locked).chmod(0o700)


def test_where_no_home_can_be_made_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with _on_a_medium(tmp_path / "empty", tmp_path) as cli:
        for command in (("ls",), ("verify", "bagaaihra2qvjv")):
            done = cli.run(*command, "--json")
            assert (done.code, done.json["error"]) == (1, "ReadOnlyError"), command


@pytest.mark.model
def test_a_model_runs_from_a_read_only_medium(tmp_path: Path, smollm2: Path) -> None:
    with give_home(tmp_path / "seeder") as seeder, give_home(tmp_path / "home") as store:
        made = Source.publish(seeder, smollm2)
        take_all(made, seeder, store)
    with _on_a_medium(tmp_path / "home", tmp_path) as cli:
        said = cli.json("run", format_record(made.release), "Hello", "--max-tokens", "4", "--temperature", "0")
        assert said["generated_tokens"] > 0
        assert Path(said["model"]).is_relative_to(cli.home)
