"""The key commands from outside: real processes, real passphrases, a real terminal, and deaths in the middle."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from support.cli import Cli, Done

SECRET, OTHER = "winged seeds of maple", "and the wind takes them"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "w.bin"
    path.write_bytes(random.Random(1).randbytes(50_000))
    return path


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path / "home")


def knowing(cli: Cli, passphrase: str, new: str = "") -> Cli:
    """The same with a passphrase in a file, and perhaps a new one."""
    folder = cli.home.parent
    (folder / "passphrase").write_text(passphrase + "\nnot this line\n")
    (folder / "new").write_text(new)
    more = {"SAMARA_NEW_PASSPHRASE_FILE": str(folder / "new")} if new else {}
    return cli.having(SAMARA_PASSPHRASE_FILE=str(folder / "passphrase"), **more)


def fails(done: Done, error: str, code: int) -> dict[str, Any]:
    assert (done.code, done.json["error"]) == (code, error), done
    return done.json


# The passphrase


@pytest.mark.slow
def test_what_signs_needs_the_passphrase_and_nothing_else_does(cli: Cli, model: Path, tmp_path: Path) -> None:
    before = cli.json("publish", str(model), "--license", "MIT")
    shown = cli.json("key", "show")
    assert shown["protected"] is False
    knows = knowing(cli, SECRET)
    assert knows.json("key", "protect")["protected"] is True
    assert len((cli.home / "publisher.key").read_bytes()) == 107
    assert cli.json("key", "show") == shown | {"protected": True}
    # What does not sign.
    assert cli.json("publish", str(model), "--license", "MIT") == before | {"new": False}
    (signer,) = cli.json("verify", before["release"])["signers"]
    assert signer == {"key": shown["key"], "name": "me", "trusted": True}
    assert cli.json("show", "me/w.bin")["release"] == before["release"]
    with cli.running("seed", str(model), "--license", "MIT") as (_, said):
        assert said["published"][0]["release"] == before["release"]
        link = cli.json("show", before["release"])["link"]
        other = Cli(tmp_path / "other")
        assert other.json("fetch", link, "--peer", said["addresses"][0])["release"] == before["release"]
    # What does.
    (tmp_path / "new.bin").write_bytes(b"new")
    publish = ("publish", str(tmp_path / "new.bin"), "--license", "MIT", "--json")
    said = fails(cli.run(*publish), "LockedKeyError", 1)
    assert "SAMARA_PASSPHRASE_FILE" in said["hint"]
    wrong = knowing(Cli(cli.home), SECRET + "?")
    assert "does not open" in fails(wrong.run(*publish), "PassphraseError", 1)["message"]
    assert knowing(cli, SECRET).run(*publish).ok()["new"] is True
    fails(cli.run("key", "backup", "--json"), "LockedKeyError", 1)
    fails(cli.run("key", "unprotect", "--json"), "LockedKeyError", 1)
    assert knowing(cli, SECRET).json("key", "unprotect")["protected"] is False
    assert cli.json("key", "show") == shown


def test_a_locked_key_is_told_before_anything_is_hashed(cli: Cli, tmp_path: Path) -> None:
    knowing(cli, SECRET).json("key", "protect")
    (tmp_path / "large.bin").write_bytes(bytes(30_000_000))
    done = cli.run("publish", str(tmp_path / "large.bin"), "--license", "MIT", "--json")
    fails(done, "LockedKeyError", 1)
    assert cli.json("ls") == {"releases": []}
    assert list((cli.home / "content").rglob("*")) == []


@pytest.mark.skipif(os.name == "nt", reason="descriptors are handed on by a shell")
def test_the_passphrase_comes_from_a_descriptor(cli: Cli, model: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(SECRET.encode() + b"\r\n")
    handed = Cli(cli.home, before=("sh", "-c", 'exec 7<"$0"; exec "$@"', str(tmp_path / "secret")))
    assert handed.run("--passphrase-fd", "7", "key", "protect", "--json").ok()["protected"] is True
    assert handed.run("--passphrase-fd", "7", "publish", str(model), "--license", "MIT", "--json").ok()["new"] is True
    fails(cli.run("--passphrase-fd", "7", "key", "backup", "--json"), "PassphraseError", 1)


@pytest.mark.parametrize("content", [b"", b"\n" + SECRET.encode(), b"\xff\xfe1234567890\n", b"short\n", b"x" * 3000])
def test_a_passphrase_file_that_has_none(cli: Cli, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    done = cli.having(SAMARA_PASSPHRASE_FILE=str(tmp_path / "file")).run("key", "protect", "--json")
    fails(done, "PassphraseError", 1)
    assert cli.json("key", "show")["protected"] is False


def test_another_passphrase_takes_the_old_one(cli: Cli) -> None:
    knowing(cli, SECRET).json("key", "protect")
    words = knowing(cli, SECRET).json("key", "backup")["words"]
    fails(knowing(cli, OTHER, OTHER).run("key", "protect", "--json"), "PassphraseError", 1)
    fails(knowing(cli, SECRET).run("key", "protect", "--json"), "PassphraseError", 1)  # nobody says the new one
    knowing(cli, SECRET, OTHER).json("key", "protect")
    fails(knowing(Cli(cli.home), SECRET).run("key", "backup", "--json"), "PassphraseError", 1)
    assert knowing(Cli(cli.home), OTHER).json("key", "backup")["words"] == words


@pytest.mark.slow
def test_a_running_node_asks_its_caller_and_keeps_nothing_on_disk(cli: Cli, model: Path, tmp_path: Path) -> None:
    knowing(cli, SECRET).json("key", "protect")
    sealed = (cli.home / "publisher.key").read_bytes()
    with cli.running("node"):
        fails(cli.run("publish", str(model), "--license", "MIT", "--json"), "LockedKeyError", 1)
        fails(
            knowing(Cli(cli.home), OTHER).run("publish", str(model), "--license", "MIT", "--json"), "PassphraseError", 1
        )
        assert knowing(cli, SECRET).json("publish", str(model), "--license", "MIT")["new"] is True
        # It is unlocked for as long as it runs, or until it is told.
        (tmp_path / "b.bin").write_bytes(b"b")
        assert cli.json("publish", str(tmp_path / "b.bin"), "--license", "MIT")["new"] is True
        fails(cli.run("key", "backup", "--json"), "LockedKeyError", 1)  # what shows the key asks anew
        fails(cli.run("key", "rotate", "--json"), "LockedKeyError", 1)
        assert cli.json("key", "lock")["protected"] is True
        (tmp_path / "c.bin").write_bytes(b"c")
        fails(cli.run("publish", str(tmp_path / "c.bin"), "--license", "MIT", "--json"), "LockedKeyError", 1)
    assert (cli.home / "publisher.key").read_bytes() == sealed
    for path in cli.home.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
def test_a_person_types_it_unseen(cli: Cli, model: Path) -> None:
    shown = _at_a_terminal(cli, ["key", "protect"], [("New passphrase: ", SECRET), ("The same again: ", SECRET)])
    assert "is protected now" in shown
    assert SECRET not in shown
    shown = _at_a_terminal(cli, ["key", "protect"], [("key: ", SECRET), ("New pass", OTHER), ("again: ", OTHER + "?")])
    assert "differ" in shown
    shown = _at_a_terminal(cli, ["publish", str(model), "--license", "MIT"], [("key: ", SECRET)])
    assert "signed now" in shown
    assert SECRET not in shown


def _at_a_terminal(cli: Cli, arguments: list[str], says: list[tuple[str, str]]) -> str:
    """Run a command at a terminal of its own, answer its questions, and return all that the terminal shows."""
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        cli.command(*arguments), env=cli.environment(), stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    shown, said = "", 0
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            data = os.read(ours, 4096)
        except OSError:  # Linux: the other end is gone
            break
        if not data:
            break
        shown += data.decode(errors="replace")
        if says and says[0][0] in shown[said:]:
            said = len(shown)
            os.write(ours, says.pop(0)[1].encode() + b"\n")
    process.wait(30)
    os.close(ours)
    assert not says, shown
    return shown


# Words


def test_words_there_and_back(cli: Cli, tmp_path: Path) -> None:
    shown = cli.json("key", "show")
    backup = cli.json("key", "backup")
    assert len(backup["words"]) == 24
    assert backup["publisher"] == shown["publisher"]
    printed = cli.run("key", "backup").out
    assert all(f"{n}. {word}" in printed for n, word in enumerate(backup["words"], 1))
    other = Cli(tmp_path / "other")
    restored = other.json("key", "restore", stdin="\n".join(backup["words"]))
    assert (restored["publisher"], restored["key"], restored["speaks"]) == (shown["publisher"], shown["key"], True)
    assert other.json("key", "restore", stdin=" ".join(backup["words"]).upper())["key"] == shown["key"]
    assert other.json("key", "backup")["words"] == backup["words"]


def test_wrong_words_are_named(cli: Cli, tmp_path: Path) -> None:
    words = cli.json("key", "backup")["words"]
    other = Cli(tmp_path / "other")

    def restore(*said: str) -> dict[str, Any]:
        return fails(other.run("key", "restore", "--json", stdin=" ".join(said)), "WordsError", 2)

    assert "word 3, 'mapel'" in restore(*words[:2], "mapel", *words[3:])["message"]
    assert "maple" in restore(*words[:2], "mapel", *words[3:])["hint"]
    assert "23 words" in restore(*words[1:])["message"]
    assert "0 words" in restore()["message"]
    last = "zoo" if words[0] != "zoo" else "zone"
    assert "another order" in restore(*words[1:], last)["message"] or words[1:] == words[:-1]
    assert not (other.home / "publisher.key").exists()


def test_a_different_key_is_replaced_only_by_name(cli: Cli, tmp_path: Path) -> None:
    words = " ".join(cli.json("key", "backup")["words"])
    other = Cli(tmp_path / "other")
    before = other.json("key", "show")
    said = fails(other.run("key", "restore", "--json", stdin=words), "UsageError", 2)
    assert before["key"] in said["hint"]
    fails(other.run("key", "restore", "--replace", "did:key:z6Mk", "--json", stdin=words), "UsageError", 2)
    assert other.json("key", "show") == before
    knows = knowing(other, SECRET)
    restored = knows.json("key", "restore", "--replace", before["key"], "--protect", stdin=words)
    assert restored["key"] == cli.json("key", "show")["key"]
    assert restored["protected"] is True
    assert (other.home / f"publisher-{before['key'].removeprefix('did:key:')}.key").exists()


def test_both_sides_see_the_same_words(cli: Cli, tmp_path: Path) -> None:
    mine = cli.json("key", "words")
    assert mine["bits"] == 88
    assert len(mine["words"]) == 8
    other = Cli(tmp_path / "other")
    assert other.json("key", "words", mine["publisher"]) == mine
    other.json("key", "name", mine["publisher"], "anna")
    assert other.json("key", "words", "anna") == mine | {"name": "anna"}
    assert other.json("key", "words")["words"] != mine["words"]
    fails(other.run("key", "words", "nobody", "--json"), "NotFoundError", 3)
    fails(other.run("key", "words", mine["publisher"][:-1], "--json"), "LinkError", 2)


# The card


@pytest.mark.parametrize("kind", ["svg", "html"])
def test_a_card_says_who_and_how_to_check(cli: Cli, tmp_path: Path, kind: str) -> None:
    mine = cli.json("key", "words")
    path = tmp_path / f"card.{kind}"
    assert cli.json("key", "card", "--name", "anna", "--to", str(path))["path"] == str(path)
    text = path.read_text(encoding="utf-8")
    drawn = ET.fromstring(text[text.index("<svg") : text.index("</svg>") + len("</svg>")])
    said = ["".join(each.itertext()) for each in drawn.iter() if each.tag.endswith("text")]
    assert mine["publisher"] in "".join(said)
    assert [f"{n}  {word}" for n, word in enumerate(mine["words"], 1)] == said[4:12]
    assert any("samara key name ID anna" in line for line in said)
    assert "http" not in text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "<script" not in text
    assert not any("href" in name for each in drawn.iter() for name in each.attrib)


def test_a_card_in_the_terminal_and_no_other_kind(cli: Cli, tmp_path: Path) -> None:
    mine = cli.json("key", "words")
    said = cli.run("key", "card", "me").out
    assert mine["publisher"] in said
    assert all(f"{n}. {word}" in said for n, word in enumerate(mine["words"], 1))
    assert "\u2588" in said  # the code
    fails(cli.run("key", "card", "--to", str(tmp_path / "card.pdf"), "--json"), "UsageError", 2)
    fails(cli.run("key", "card", "--name", "<b>", "--json"), "LinkError", 2)


# Rotation and several devices


def test_a_rotation_keeps_the_publisher_and_what_it_published(cli: Cli, model: Path, tmp_path: Path) -> None:
    before = cli.json("key", "show")
    release = cli.json("publish", str(model), "--license", "MIT")["release"]
    other = Cli(tmp_path / "other")
    made = cli.json("key", "rotate")
    assert made.items() >= {"version": 2, "complete": True, "kept": True, "heads": 1}.items()
    after = cli.json("key", "show")
    assert (after["publisher"], after["root"], after["old_heads"]) == (before["publisher"], 2, [])
    assert after["key"] != before["key"]
    assert cli.json("publish", str(model), "--license", "MIT")["release"] == release
    assert cli.json("verify", release)["standing"] == "vouched"
    (tmp_path / "new.bin").write_bytes(b"new")
    new = cli.json("publish", str(tmp_path / "new.bin"), "--license", "MIT")
    assert cli.json("show", new["release"])["publisher_id"] == before["publisher"]
    with cli.running("node") as (_, said):
        for wanted, standing in ((release, "vouched"), (new["release"], "current")):
            link = cli.json("show", wanted)["link"]
            other.json("fetch", link, "--peer", said["addresses"][0])
            assert other.json("verify", wanted)["standing"] == standing


def test_a_protected_key_is_rotated_into_a_protected_one(cli: Cli) -> None:
    knows = knowing(cli, SECRET)
    knows.json("key", "protect")
    made = knows.json("key", "rotate")
    assert made["complete"] is True
    assert {len(path.read_bytes()) for path in cli.home.glob("publisher*.key")} == {107}
    assert knows.json("key", "backup")["key"] == made["key"]


def test_two_devices_sign_one_root(cli: Cli, tmp_path: Path) -> None:
    other = Cli(tmp_path / "other")
    key, publisher = other.json("key", "show")["key"], cli.json("key", "show")["publisher"]
    file = tmp_path / "root.jsonl"
    made = cli.json("key", "add-key", key, "--threshold", "2", "--to", str(file))
    assert (made["complete"], made["old"], made["new"]) == (False, 0, 1)
    assert file.read_text() == made["file"]
    shown = other.run("key", "sign", str(file), "--become", publisher, "--yes")
    assert shown.code == 0, shown
    for part in (publisher, f"+ {key}", "proposed: 2 of 2", "is complete"):
        assert part in shown.out
    assert other.json("key", "show")["publisher"] == publisher
    assert cli.json("key", "sign", str(file))["kept"] is True  # it is complete: nothing is signed, nobody is asked
    both = cli.json("key", "show"), other.json("key", "show")
    assert [each["threshold"] for each in both] == [2, 2]
    assert both[0]["keys"] == both[1]["keys"] == sorted([both[0]["key"], both[1]["key"]])
    (tmp_path / "x.bin").write_bytes(b"x")
    done = cli.run("publish", str(tmp_path / "x.bin"), "--license", "MIT", "--json")
    assert "2 keys must sign" in fails(done, "OperationError", 1)["message"]
    # Back to one, by both.
    made = other.json("key", "threshold", "1", "--to", str(file))
    assert (made["complete"], made["old"]) == (False, 1)
    assert cli.json("key", "sign", str(file), "--yes")["kept"] is True
    assert cli.json("publish", str(tmp_path / "x.bin"), "--license", "MIT")["new"] is True


def test_a_change_that_cannot_be_is_refused_and_changes_nothing(cli: Cli) -> None:
    before = cli.json("key", "show")
    fails(cli.run("key", "add-key", "nonsense", "--json"), "LinkError", 2)
    fails(cli.run("key", "add-key", before["key"], "--json"), "UsageError", 2)
    fails(cli.run("key", "remove-key", "did:key:z6Mk", "--json"), "UsageError", 2)
    fails(cli.run("key", "remove-key", before["key"], "--json"), "UsageError", 2)
    fails(cli.run("key", "threshold", "2", "--json"), "UsageError", 2)
    assert cli.json("key", "show") == before
    assert cli.json("key", "roots")["version"] == 1
    assert cli.json("key", "renew")["names"] == []


def test_a_person_is_asked_before_a_strange_root_is_signed(cli: Cli, tmp_path: Path) -> None:
    other = Cli(tmp_path / "other")
    file = tmp_path / "root.jsonl"
    made = cli.json("key", "add-key", other.json("key", "show")["key"], "--threshold", "2", "--to", str(file))
    done = other.run("key", "sign", str(file), stdin="n\n")
    assert done.code == 130
    assert f"+ {other.json('key', 'show')['key']}" in done.out
    assert "asked" in fails(other.run("key", "sign", str(file), "--json"), "UsageError", 2)["message"]
    assert file.read_text() == made["file"]
    file.write_text(made["file"].replace('"sig"', '"sign"'))
    fails(other.run("key", "sign", str(file), "--yes", "--json"), "EnvelopeError", 4)
    file.write_bytes(b"\xff\n")
    fails(other.run("key", "sign", str(file), "--yes", "--json"), "UsageError", 2)
    fails(other.run("key", "sign", str(tmp_path / "nothing"), "--yes", "--json"), "StoreError", 1)


# Deaths


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_killed_at_any_moment_a_key_works_and_none_is_lost(cli: Cli, tmp_path: Path) -> None:
    moments = random.Random(20)
    knows = knowing(cli, SECRET, SECRET)
    shown = cli.json("key", "show")
    publisher, known, killed = shown["publisher"], {shown["key"]}, 0
    for number in range(15):
        running = knows.start("key", ("protect", "rotate", "unprotect")[number % 3], "--json")
        time.sleep(moments.uniform(0.2, 1.4))
        killed += running.process.poll() is None
        running.stop(signal.SIGKILL)
        shown = cli.json("key", "show")
        assert shown["publisher"] == publisher
        known.add(shown["key"])
        (tmp_path / f"{number}.bin").write_bytes(str(number).encode())
        made = knows.json("publish", str(tmp_path / f"{number}.bin"), "--license", "MIT")
        assert cli.json("verify", made["release"])["standing"] == "current"
    assert killed
    files = [path.name for path in cli.home.glob("publisher*.key")]
    for key in known - {shown["key"]}:
        assert f"publisher-{key.removeprefix('did:key:')}.key" in files


def test_a_query_of_the_key_starts_no_loop(cli: Cli) -> None:
    cli.json("key", "show")
    code = (
        "import json, sys\nfrom samara.cli.main import main\n"
        "sys.argv = ['samara', 'key', 'words', '--json']\nmain()\n"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=cli.environment(), capture_output=True, text=True, check=True
    )
    assert not set(json.loads(done.stderr.splitlines()[-1])) & {"trio", "xllamacpp", "samara.node.network.host"}
