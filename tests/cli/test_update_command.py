"""samara update from outside: what it prints, its keys, its exit codes."""

from __future__ import annotations

from pathlib import Path

from support.cli import Cli

ROW = {
    "name", "publisher", "state", "previous", "previous_version", "release", "version", "path", "bytes", "received",
    "moved", "reused", "shared", "error", "message", "hint",
}  # fmt: skip


def write(folder: Path, text: str) -> str:
    folder.mkdir()
    (folder / "notes.txt").write_text(text)
    (folder / "same.txt").write_text("the same\n" * 1000)
    return str(folder)


def test_from_the_first_version_to_the_second_and_what_is_said_meanwhile(tmp_path: Path) -> None:
    alice, bob = Cli(tmp_path / "alice"), Cli(tmp_path / "bob")
    how = ("--name", "notes", "--license", "MIT")
    first, second = write(tmp_path / "1", "first"), write(tmp_path / "2", "second")
    assert bob.json("update") == {"updates": []}
    assert "fetch something first" in bob.run("update").out
    with alice.running("seed", first, *how) as (_, said):
        bob.json("fetch", said["published"][0]["link"])
        (row,) = bob.json("update")["updates"]
        assert (row["state"], row.keys()) == ("current", ROW)
        assert "notes 1 is current" in bob.run("update").out

    gone = bob.run("update", "--wait", "1", "--json")
    (row,) = gone.json["updates"]
    assert (gone.code, row["state"], row["error"]) == (3, "unreachable", "NotFoundError")
    told = bob.run("update", "--wait", "1")
    assert told.code == 3
    assert "notes 1: unreachable: nobody" in told.out
    assert bob.run("update", "--wait", "0").code == 2
    assert bob.run("update", "alice/nothing").code == 3

    with alice.running("seed", second, *how) as (_, said):
        peer = ("--peer", said["addresses"][0])
        dry = bob.run("update", *peer, "--dry-run")
        assert (dry.code, "notes 1 → 2: 6 B of 9.0 kB would be fetched" in dry.out) == (0, True)
        done = bob.run("update", *peer)
        assert done.code == 0
        assert "notes 1 → 2, 9.0 kB, every byte verified" in done.out
        assert "samara gc" in done.out
        (row,) = bob.json("update", *peer)["updates"]
        assert (row["state"], row["version"]) == ("current", "2")
    assert {row["version"]: row["pinned"] for row in bob.json("ls")["releases"]} == {"1": False, "2": True}
    assert bob.json("gc")["contents"] == 1
