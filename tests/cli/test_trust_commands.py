"""revoke, attest, log, trust and the verdicts, by real processes of the real command line."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from support.cli import Cli, Done
from support.contents import give_home

from samara.protocol.ids import PublisherId, ReleaseId, digest, format_record, parse_record


@pytest.fixture
def alice(tmp_path: Path) -> Cli:
    for stick in ("one", "two"):
        (tmp_path / stick).mkdir()
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


# Verdicts


def carry(source: Cli, target: Cli, release: str, stick: Path) -> Done:
    """Bring a release from one home to another, and nothing else."""
    stick.mkdir(exist_ok=True)
    source.json("export", str(stick), release, "--insist", "tiny")
    return target.run("import", str(stick), "--json")


def tell(source: Cli, target: Cli) -> None:
    """Bring what the source's publisher signed, as whoever meets it does."""
    publisher = PublisherId(parse_record(source.json("key", "show")["publisher"]))
    with give_home(source.home) as store, store.ledgers.asking(publisher) as ledger:
        assert ledger is not None
        roots, records = ledger.chain.envelopes, [entry.envelope for entry in ledger.log()]
    with give_home(target.home) as store:
        store.ledgers.take(roots, records)


def verdict(cli: Cli, *targets: str) -> tuple[int, str]:
    done = cli.run("verify", *targets, "--json")
    return done.code, done.json["verdict"]


@pytest.fixture
def bob(tmp_path: Path) -> Cli:
    return Cli(tmp_path / "bob")


@pytest.fixture
def held(alice: Cli, bob: Cli, tmp_path: Path) -> str:
    """A release of Alice's that Bob holds, and did not hear of since."""
    release = publish(alice, write(tmp_path))
    assert carry(alice, bob, release, tmp_path / "stick").code == 0
    return release


def test_good_says_who_and_that_nobody_vouches(alice: Cli, bob: Cli, held: str) -> None:
    assert verdict(alice, held) == (0, "GOOD")
    done = bob.run("verify", held)
    assert (done.code, done.out.splitlines()[0].split(":")[0]) == (0, "GOOD")
    assert "taken at first sight" in done.out
    judged = bob.json("verify", held)["judged"]
    assert (judged["ground"], judged["reasons"], judged["age_days"]) == ("first use", [], 0)
    bob.json("key", "name", judged["publisher_id"], "anna")
    assert bob.json("verify", held)["judged"]["ground"] == "named"
    assert bob.json("show", held)["verdict"] == "GOOD"


def test_revoked_is_told_everywhere_and_stops_what_uses_it(alice: Cli, bob: Cli, held: str, tmp_path: Path) -> None:
    better = publish(alice, write(tmp_path, "better"))
    alice.json("revoke", held, "--reason", "broken", "--text", "wrong tokenizer", "--replace", better)
    assert verdict(bob, held) == (0, "GOOD")  # he did not hear of it
    tell(alice, bob)
    done = bob.run("verify", held)
    assert (done.code, done.out.splitlines()[0].split(":")[0]) == (5, "REVOKED")
    assert better in done.out
    assert "wrong tokenizer" in done.out
    shown = bob.json("show", held)
    assert (shown["verdict"], shown["replacement"], shown["newer"]) == ("REVOKED", better, better)
    assert [row["revoked"] for row in bob.json("ls")["releases"]] == ["broken: wrong tokenizer"]
    assert "REVOKED" in bob.run("ls").out
    assert bob.json("status")["revoked"] == ["tiny 1: broken: wrong tokenizer"]
    path = shown["path"]
    for use in (
        ("run", held, "hello"), ("run", path, "hello"), ("fetch", held), ("seed", held),
        ("export", str(tmp_path / "two"), held),
    ):  # fmt: skip
        refused = bob.run(*use, "--json")
        assert (refused.code, refused.json["error"]) == (5, "RevokedError"), use
        assert "--insist tiny" in refused.json["hint"]
    # By its name, and by no other.
    assert bob.run("fetch", held, "--insist", "other").code == 5
    assert bob.json("fetch", held, "--insist", "tiny")["release"] == held
    bob.json("export", str(tmp_path / "two"), held, "--insist", "tiny")
    assert bob.run("run", held, "hello", "--insist", "tiny").code == 3  # there is no GGUF in it
    with bob.running("seed", held, "--insist", "tiny"):
        pass
    assert verdict(bob, held) == (5, "REVOKED")


def test_a_stick_older_than_the_site_brings_nothing_back(alice: Cli, bob: Cli, held: str, tmp_path: Path) -> None:
    site = Cli(tmp_path / "site")
    alice.json("revoke", held, "--reason", "security")
    site.json("ls")
    tell(alice, site)
    refused = site.run("import", str(tmp_path / "stick"), "--json")
    assert (refused.code, refused.json["error"]) == (5, "RevokedError")
    assert site.json("ls") == {"releases": []}
    site.json("import", str(tmp_path / "stick"), "--insist", "tiny")
    assert verdict(site, held) == (5, "REVOKED")


def test_a_revocation_outlives_a_kill_right_after_it(alice: Cli, tmp_path: Path) -> None:
    release = publish(alice, write(tmp_path))
    with alice.running("node") as (node, _):
        alice.json("revoke", release, "--reason", "security")
        node.stop(signal.SIGKILL)
    assert verdict(alice, release) == (5, "REVOKED")
    with alice.running("node"):
        assert verdict(alice, release) == (5, "REVOKED")
        assert alice.run("export", str(tmp_path / "stick"), release).code == 5


def test_publishing_again_what_was_taken_back_is_refused(alice: Cli, tmp_path: Path) -> None:
    path = write(tmp_path)
    release = publish(alice, path)
    alice.json("revoke", release, "--reason", "withdrawn")
    refused = alice.run("publish", str(path), "--name", "tiny", "--license", "MIT", "--json")
    assert (refused.code, refused.json["error"]) == (5, "RevokedError")
    # Other bytes under the name are another release.
    assert verdict(alice, publish(alice, write(tmp_path))) == (0, "GOOD")


def test_stale_is_usable_and_says_how_old_it_is(bob: Cli, held: str, tmp_path: Path) -> None:
    bob.json("trust", "reset-clock", "2031-01-01T00:00:00Z")
    done = bob.run("verify", held)
    assert (done.code, done.out.startswith("STALE, ")) == (0, True)
    assert "days old" in done.out
    assert verdict(bob, held) == (0, "STALE")
    bob.json("export", str(tmp_path / "two"), held)
    doctor = {check["name"]: check for check in bob.run("doctor", "--json").json["checks"]}
    assert not doctor["time"]["ok"]
    assert "2031-01-01T00:00:00Z" in doctor["time"]["message"]
    bob.json("trust", "reset-clock")
    assert verdict(bob, held) == (0, "GOOD")


def test_untrusted_stops_where_a_rule_is_enforced(alice: Cli, bob: Cli, held: str, tmp_path: Path) -> None:
    bob.json("trust", "add", "*", "--mode", "warn")
    assert verdict(bob, held) == (5, "UNTRUSTED")
    bob.json("export", str(tmp_path / "one"), held)  # it is said, and goes on
    bob.json("trust", "remove", "1")
    bob.json("trust", "add", "*", "--mode", "enforce")
    assert verdict(bob, held) == (5, "UNTRUSTED")
    refused = bob.run("export", str(tmp_path / "two"), held, "--json")
    assert (refused.code, refused.json["error"]) == (5, "UntrustedError")
    bob.json("export", str(tmp_path / "two"), held, "--insist", "tiny")
    site = Cli(tmp_path / "site")
    site.json("trust", "add", "*", "--mode", "enforce")
    assert site.run("import", str(tmp_path / "stick")).code == 5
    bob.json("trust", "add", "*/tiny", "--mode", "enforce", "--key", alice.json("key", "show")["key"])
    assert bob.json("verify", held)["judged"]["ground"] == "keys"
    (bob.home / "trust.toml").write_text("[[rule]]\nmode = 'strict'\n")
    assert bob.run("verify", held).code == 2  # never a rule less
    assert not {c["name"]: c["ok"] for c in bob.run("doctor", "--json").json["checks"]}["trust"]


def test_damaged_names_the_file_and_gives_way_to_revoked(alice: Cli, bob: Cli, held: str) -> None:
    path = Path(bob.json("show", held)["path"])
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[7] ^= 1
    path.write_bytes(data)
    done = bob.run("verify", held)
    assert (done.code, done.out.startswith("DAMAGED")) == (4, True)
    assert "w.bin" in done.out
    alice.json("revoke", held, "--reason", "other")
    tell(alice, bob)
    assert verdict(bob, held) == (5, "REVOKED")


def test_what_is_said_of_a_release_is_shown_and_filtered(alice: Cli, bob: Cli, held: str) -> None:
    alice.json("attest", held, "--claim", "evaluated", "--suite", "mmlu", "--score", "61.2")
    bob.json("attest", held, "--claim", "harmful", "--text", "it lies")
    tell(alice, bob)
    claims = bob.json("show", held)["attestations"]
    assert [(c["claim"], c["publisher"], c["trusted"]) for c in claims] == [
        ("harmful", "me", True),
        ("evaluated", claims[1]["publisher_id"], False),
    ]
    assert [c["claim"] for c in bob.json("show", held, "--trusted")["attestations"]] == ["harmful"]
    bob.json("key", "name", claims[1]["publisher_id"], "anna")
    assert [c["score"] for c in bob.json("show", held, "--said-by", "anna")["attestations"]] == ["61.2"]
    assert "evaluated mmlu 61.2 by anna" in bob.run("show", held).out
    assert bob.run("attest", held, "--claim", "reviewed").code == 0
    assert alice.json("show", held)["attestations"][0]["claim"] == "evaluated"
    refused = bob.run("revoke", held, "--reason", "broken")
    assert (refused.code, "--claim harmful" in refused.err) == (2, True)


def test_a_name_that_looks_like_another_is_warned_of(bob: Cli) -> None:
    one, two = (format_record(ReleaseId(digest(word))) for word in (b"one", b"two"))
    assert bob.run("key", "name", one, "mistra1").err == ""
    warned = bob.run("key", "name", two, "mistral")
    assert (warned.code, "looks like mistra1" in warned.err) == (0, True)


def test_a_fork_freezes_its_publisher_until_the_operator_lifts_it(
    alice: Cli, bob: Cli, held: str, tmp_path: Path
) -> None:
    """Alice goes on from an old copy of her home: both logs are hers, and both cannot be true."""
    shutil.copytree(alice.home, tmp_path / "copy")
    copy = Cli(tmp_path / "copy")
    new = publish(alice, write(tmp_path, "new"))
    publish(copy, write(tmp_path, "another"))
    tell(alice, bob)
    tell(copy, bob)
    assert verdict(bob, held) == (0, "STALE")  # held before: usable, and marked
    (fork,) = bob.json("trust", "show")["forks"]
    assert fork["freezes"]
    assert carry(alice, bob, new, tmp_path / "late").code == 0  # warned of, as the default rule says
    assert verdict(bob, new) == (5, "UNTRUSTED")
    assert not {c["name"]: c["ok"] for c in bob.run("doctor", "--json").json["checks"]}["trust"]
    # Who signed both learns it, too, and signs nothing more.
    tell(copy, alice)
    refused = alice.run("publish", str(write(tmp_path, "third")), "--name", "tiny", "--license", "MIT", "--json")
    assert (refused.code, refused.json["error"]) == (5, "ForkError")
    bob.json("trust", "lift", fork["fork"][:16])
    assert verdict(bob, held) == (0, "GOOD")
    assert not bob.json("trust", "show")["forks"][0]["freezes"]
