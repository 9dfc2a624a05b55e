"""revoke, attest, log, trust and the verdicts, by real processes of the real command line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.cli import Cli


@pytest.fixture
def alice(tmp_path: Path) -> Cli:
    return Cli(tmp_path / "alice")


def write(tmp_path: Path, name: str = "model") -> Path:
    path = tmp_path / name / "w.bin"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(os.urandom(50_000))
    return path


def publish(cli: Cli, path: Path, *arguments: str) -> str:
    found = cli.json("publish", str(path), "--name", "tiny", "--license", "MIT", *arguments)["release"]
    assert isinstance(found, str)
    return found


def test_what_is_published_is_a_chain_and_a_retag_is_seen(alice: Cli, tmp_path: Path) -> None:
    one = publish(alice, write(tmp_path), "--version", "1")
    two = publish(alice, write(tmp_path), "--version", "2")
    again = publish(alice, write(tmp_path), "--version", "1")
    log = alice.json("log", "tiny")
    assert [row["release"] for row in log["heads"]] == [one, two, again]
    assert [(row["position"], row["sequence"]) for row in log["heads"]] == [(1, 1), (2, 2), (3, 3)]
    assert [row["retag"] for row in log["heads"]] == [False, False, True]
    assert [row["newest"] for row in log["heads"]] == [False, False, True]
    assert all(row["expires"] > row["issued"] and row["counts"] for row in log["heads"])
    assert "tagged anew" in alice.run("log", "me/tiny").out
    assert alice.run("log", "nothing").code == 3
    # After an unlisted one, whose head is nobody's business, the chain goes on where it was.
    publish(alice, write(tmp_path), "--version", "3", "--visibility", "unlisted")
    assert len(alice.json("log", "tiny")["heads"]) == 3


def test_a_revocation_names_the_reason_and_what_to_use_instead(alice: Cli, tmp_path: Path) -> None:
    one = publish(alice, write(tmp_path))
    two = publish(alice, write(tmp_path))
    assert alice.run("revoke", one).code == 2  # why?
    assert alice.run("revoke").code == 2
    done = alice.json("revoke", one, "--reason", "broken", "--text", "wrong tokenizer", "--replace", two)
    assert (done["release"], done["replacement"], done["position"]) == (one, two, 3)
    heads = alice.json("log", "tiny")["heads"]
    assert [row["revoked"] for row in heads] == ["broken", ""]
    # One that was removed can be taken back all the same.
    alice.json("rm", two)
    assert alice.json("revoke", two, "--reason", "security")["position"] == 4
    assert alice.run("revoke", "bagaaihrasomethingelse", "--reason", "broken").code == 3


def test_the_only_key_is_not_taken_back_before_it_is_replaced(alice: Cli, tmp_path: Path) -> None:
    publish(alice, write(tmp_path))
    key = alice.json("key", "show")["key"]
    refused = alice.run("revoke", "--key", key)
    assert (refused.code, "Replace it first" in refused.err) == (2, True)
    assert alice.run("revoke", "--key", "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK").code == 2
    assert alice.run("revoke", "--key", key, "--reason", "security").code == 2


def test_what_is_attested_is_whole(alice: Cli, tmp_path: Path) -> None:
    one = publish(alice, write(tmp_path))
    (tmp_path / "results.json").write_text("{}")
    assert alice.run("attest", one).code == 2
    assert alice.run("attest", one, "--claim", "evaluated").code == 2
    assert alice.run("attest", one, "--claim", "harmful").code == 2
    assert alice.run("attest", one, "--claim", "reviewed", "--score", "1e3", "--suite", "x").code == 2
    made = alice.json(
        "attest", one, "--claim", "evaluated", "--suite", "mmlu", "--score", "61.2",
        "--results", str(tmp_path / "results.json"), "--days", "30",
    )  # fmt: skip
    assert (made["claim"], made["position"], made["release"]) == ("evaluated", 2, one)
    # What is signed after it follows it.
    publish(alice, write(tmp_path))
    assert [row["position"] for row in alice.json("log", "tiny")["heads"]] == [1, 3]


# Rules


def test_rules_are_shown_added_and_taken_out(alice: Cli) -> None:
    (rule,) = alice.json("trust", "show")["rules"]
    assert (rule["number"], rule["mode"], rule["tofu"]) == (0, "warn", True)
    assert alice.run("trust", "add", "bob").code == 3  # nobody is called so
    me = alice.json("key", "show")["publisher"]
    alice.json("key", "name", me, "home")
    alice.json("trust", "add", "home/llama-*", "--mode", "enforce", "--max-age-days", "90")
    alice.json("trust", "add", "*", "--mode", "enforce", "--last")
    rules = alice.json("trust", "show")["rules"]
    assert [(r["number"], r["publisher"], r["name"], r["mode"], r["max_age_days"]) for r in rules] == [
        (1, "home", "llama-*", "enforce", 90),
        (2, "*", "*", "enforce", None),
    ]
    assert "home/llama-*, enforce, at most 90 days old" in alice.run("trust").out
    assert alice.run("trust", "add", "home", "--tofu").code == 2
    assert alice.run("trust", "add", "home", "--key", "nonsense").code == 2
    assert len(alice.json("trust", "remove", "2")["rules"]) == 2
    assert alice.run("trust", "remove", "7").code == 3
    assert alice.run("trust", "lift", "00").code == 3


def test_the_time_is_told_and_set_back_by_nobody_but_the_operator(alice: Cli) -> None:
    shown = alice.json("trust", "reset-clock", "2040-01-01T00:00:00Z")
    assert (shown["floor"], shown["believed"]) == ("2040-01-01T00:00:00Z", "behind")
    assert alice.json("trust", "show")["time"]["now"] == "2040-01-01T00:00:00Z"
    assert alice.json("trust", "reset-clock")["believed"] == "believed"
    assert alice.run("trust", "reset-clock", "yesterday").code == 2
