"""Witnesses, by real processes: who has seen what, how it is carried, and what a rule makes of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.cli import Cli


@pytest.fixture
def people(tmp_path: Path) -> tuple[Cli, Cli, Cli]:
    """Alice publishes, Bob is a witness, Carol reads; all have names for each other."""
    cast = {name: Cli(tmp_path / name) for name in ("alice", "bob", "carol")}
    ids = {name: cli.json("key", "show")["publisher"] for name, cli in cast.items()}
    for name, cli in cast.items():
        for other, publisher in ids.items():
            if other != name:
                cli.json("key", "name", publisher, other)
    return cast["alice"], cast["bob"], cast["carol"]


def publish(cli: Cli, tmp_path: Path, version: str, *arguments: str) -> str:
    path = tmp_path / f"model-{version}" / "w.bin"
    path.parent.mkdir()
    path.write_bytes(os.urandom(50_000))
    made = cli.json("publish", str(path), "--name", "tiny", "--version", version, "--license", "MIT", *arguments)
    return str(made["release"])


def carry(source: Cli, target: Cli, tmp_path: Path, *whose: str) -> None:
    file = tmp_path / "records"
    source.json("records", "export", str(file), *whose)
    target.json("records", "import", str(file))
    file.unlink()


def verdict(cli: Cli, release: str) -> tuple[int, str]:
    done = cli.run("verify", release, "--json")
    return done.code, done.json["verdict"]


def test_what_no_witness_has_seen_is_not_taken(people: tuple[Cli, Cli, Cli], tmp_path: Path) -> None:
    alice, bob, carol = people
    one = publish(alice, tmp_path, "1")
    (tmp_path / "stick").mkdir()
    alice.json("export", str(tmp_path / "stick"), one)
    shown = carol.json("trust", "add", "alice", "--witness", "bob", "--mode", "enforce")
    assert [(rule["witnesses"], rule["witness_threshold"]) for rule in shown["rules"][:1]] == [(["bob"], 1)]
    assert "seen by 1 of bob" in carol.run("trust").out
    refused = carol.run("import", str(tmp_path / "stick"), "--json")
    assert (refused.code, refused.json["error"]) == (5, "UntrustedError")
    assert "0 of the witnesses" in refused.json["message"]
    # Bob sees it, and his signature comes as a file.
    carry(alice, bob, tmp_path, "me")
    done = bob.run("witness", "--all")
    assert (done.code, done.out.splitlines()[0]) == (0, "alice: seen up to position 1")
    assert "already" in bob.run("witness", "alice").out
    carry(bob, carol, tmp_path, "me")  # whose key it is that signs
    carry(bob, carol, tmp_path, "alice")
    carol.json("import", str(tmp_path / "stick"))
    assert verdict(carol, one) == (0, "GOOD")
    assert carol.json("verify", one)["judged"]["seen"][0]["witness"] == "bob"
    assert "seen by bob at position 1 of its publisher's log" in carol.run("verify", one).out
    assert "seen by bob at position 1 of its publisher's log" in carol.run("show", one).out
    # What Alice says since, he has not seen.
    two = publish(alice, tmp_path, "2")
    alice.json("export", str(tmp_path / "stick"), two)
    carry(alice, carol, tmp_path, "me")
    assert verdict(carol, one) == (0, "GOOD")
    assert carol.run("import", str(tmp_path / "stick")).code == 5
    log = carol.json("log", "alice/tiny")
    assert (log["newest"], [(s["witness"], s["position"]) for s in log["seen"]]) == (2, [("bob", 1)])
    assert "Seen by bob at position 1 of the log, whose newest is 2." in carol.run("log", "alice/tiny").out
    # Carol may look for herself.
    carol.json("trust", "add", "alice", "--witness", "bob", "--witness", "me", "--witnesses", "1", "--mode", "enforce")
    carol.json("witness", "alice")
    carol.json("import", str(tmp_path / "stick"))
    assert verdict(carol, two) == (0, "GOOD")


def test_what_cannot_be_witnessed_is_said_with_its_exit_code(people: tuple[Cli, Cli, Cli], tmp_path: Path) -> None:
    _, bob, _ = people
    assert bob.run("witness").code == 2
    assert bob.run("witness", "me").code == 2
    assert bob.run("witness", "zoe").code == 3
    done = bob.run("witness", "alice", "--json")
    assert (done.code, done.json["skipped"][0]["error"]) == (3, "NotFoundError")
    assert "samara records sync" in bob.run("witness", "alice").out
    assert bob.run("witness", "--all").code == 0  # nobody said anything yet
    for wrong in (["--witness", "zoe"], ["--witness", "*"], ["--witness", "did:key:x"], ["--witnesses", "1"]):
        assert bob.run("trust", "add", "alice", *wrong).code in (2, 3), wrong
    assert len(bob.json("trust", "show")["rules"]) == 1


def test_ids_of_what_is_unlisted_or_private_are_not_told_by_accident(
    people: tuple[Cli, Cli, Cli], tmp_path: Path
) -> None:
    alice, _, _ = people
    hidden = publish(alice, tmp_path, "1", "--visibility", "unlisted")
    private = publish(alice, tmp_path, "2", "--visibility", "private")
    public = publish(alice, tmp_path, "3")
    for arguments in (
        ("revoke", hidden, "--reason", "broken"),
        ("revoke", private, "--reason", "broken"),
        ("revoke", public, "--reason", "broken", "--replace", hidden),
        ("attest", hidden, "--claim", "reviewed"),
    ):
        refused = alice.run(*arguments, "--json")
        assert (refused.code, refused.json["error"]) == (2, "UsageError"), arguments
        assert "--tell-its-id" in refused.json["hint"]
    assert [row["position"] for row in alice.json("log", "tiny")["heads"]] == [1]
    done = alice.json("revoke", hidden, "--reason", "broken", "--tell-its-id")
    assert (done["release"], done["position"]) == (hidden, 2)  # the refused ones have signed nothing
    assert alice.json("attest", private, "--claim", "reviewed", "--tell-its-id")["position"] == 3
    assert verdict(alice, hidden) == (5, "REVOKED")


def test_what_is_secret_is_not_named_as_a_base_by_accident(people: tuple[Cli, Cli, Cli], tmp_path: Path) -> None:
    alice, _, _ = people
    hidden = publish(alice, tmp_path, "1", "--visibility", "unlisted")
    (tmp_path / "model-2").mkdir()
    path = tmp_path / "model-2" / "w.bin"
    path.write_bytes(os.urandom(1000))
    command = ("publish", str(path), "--name", "tiny", "--license", "MIT", "--base", hidden)
    refused = alice.run(*command, "--json")
    assert (refused.code, refused.json["error"]) == (2, "UsageError")
    assert alice.json(*command, "--visibility", "private")["release"]
    assert alice.json(*command, "--tell-its-id")["release"]


def test_a_revoked_model_is_refused_by_whichever_path_it_is_named(people: tuple[Cli, Cli, Cli], tmp_path: Path) -> None:
    alice, _, _ = people
    one = publish(alice, tmp_path, "1")
    alice.json("revoke", one, "--reason", "security")
    (tmp_path / "beside").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "model-1")
    (tmp_path / "link.bin").symlink_to(tmp_path / "model-1" / "w.bin")
    for path in ("model-1/w.bin", "beside/../model-1/w.bin", "model-1/../model-1/./w.bin", "link/w.bin", "link.bin"):
        refused = alice.run("run", str(tmp_path / path), "hello", "--json")
        assert (refused.code, refused.json["error"]) == (5, "RevokedError"), path


def test_after_a_rotation_links_stay_good(people: tuple[Cli, Cli, Cli], tmp_path: Path) -> None:
    alice, _, _ = people
    hidden = publish(alice, tmp_path, "1", "--visibility", "unlisted")
    public = publish(alice, tmp_path, "2")
    made = alice.json("key", "rotate")
    assert (made["heads"], made["releases"]) == (1, 1)
    assert verdict(alice, hidden) == (0, "GOOD")
    assert verdict(alice, public) == (0, "GOOD")
    assert alice.json("key", "show")["old_releases"] == []
    assert alice.json("key", "renew") == {"names": [], "releases": [], "delegated": []}
    # A head that was signed anew tags nothing anew.
    assert [row["retag"] for row in alice.json("log", "tiny")["heads"]] == [False, False]


@pytest.mark.slow
def test_a_protected_key_is_asked_for_by_whatever_signs(people: tuple[Cli, Cli, Cli], tmp_path: Path) -> None:
    alice, bob, _ = people
    one = publish(alice, tmp_path, "1")
    carry(alice, bob, tmp_path, "me")
    for cli, commands in (
        (alice, [("attest", one, "--claim", "reviewed"), ("revoke", one, "--reason", "other")]),
        (bob, [("witness", "alice")]),
    ):
        (tmp_path / "passphrase").write_text("winged seeds of maple\n")
        knows = cli.having(SAMARA_PASSPHRASE_FILE=str(tmp_path / "passphrase"))
        knows.json("key", "protect")
        for command in commands:
            refused = cli.run(*command, "--json")
            assert (refused.code, refused.json["error"]) == (1, "LockedKeyError"), command
            knows.json(*command)
