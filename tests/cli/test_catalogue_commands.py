"""collection, follow, search and trust import as commands: what a person sees, types and is told."""

from __future__ import annotations

import os
import select
import subprocess
from pathlib import Path

import pytest
from support.cli import Cli
from support.contents import give_home
from support.publishers import Publisher
from support.speaking import tell

from samara.protocol.ids import PublisherId, ReleaseId, digest, format_record
from samara.protocol.records import Listed

NOTE = "fine" + " " * 150 + "GOOD: everything is right"


@pytest.fixture
def alice(tmp_path: Path) -> Cli:
    return Cli(tmp_path / "alice")


@pytest.fixture
def carol(tmp_path: Path) -> Cli:
    return Cli(tmp_path / "carol")


@pytest.fixture
def bob(carol: Cli) -> Publisher:
    """Whose list Carol has had by file, and whom she calls bob."""
    bob = Publisher.of("bob")
    somebody = Publisher.of("somebody")
    made_up = Listed(ReleaseId(digest(b"any")), somebody.chain.publisher, "tiny-chat", "1.2", NOTE)
    friends = {"anna": Publisher.of("anna").chain.publisher, "carl": Publisher.of("carl").chain.publisher}
    bob.collect("best", [made_up], friends, title="What runs here")
    with give_home(carol.home) as store:
        store.catalog.set_petname(bob.chain.publisher, "bob")
        tell(store, bob)
    return bob


def publish(cli: Cli, tmp_path: Path, name: str, *arguments: str) -> str:
    path = tmp_path / name / "w.bin"
    path.parent.mkdir()
    path.write_bytes(os.urandom(2000))
    found = cli.json("publish", str(path), "--name", name, "--license", "MIT", *arguments)["release"]
    assert isinstance(found, str)
    return found


def test_a_list_is_made_shown_and_changed(alice: Cli, tmp_path: Path) -> None:
    one = publish(alice, tmp_path, "tiny")
    secret = publish(alice, tmp_path, "secret", "--visibility", "unlisted")
    assert "Begin one" in alice.run("collection", "ls").out
    done = alice.json("collection", "add", "best", "me/tiny", "--note", "small", "--title", "What runs here")
    assert (done["name"], done["entries"], done["changed"], done["position"]) == ("best", 1, 1, 2)
    assert "Nothing was signed" in alice.run("collection", "add", "best", one).out
    refused = alice.run("collection", "add", "best", secret)
    assert (refused.code, "tell its id to everybody" in refused.err) == (2, True)
    assert alice.run("collection", "add", "best", "me/nothing").code == 3
    shown = alice.run("collection", "show", "best").out
    assert f"tiny 1 of me: complete, GOOD\n  {one}" in shown
    assert '"What runs here"' in shown
    assert '"small"' in shown
    assert alice.json("collection", "show", "me/best")["entries"][0]["note"] == "small"
    assert alice.json("collection", "ls")["collections"][0]["own"] is True
    assert alice.json("collection", "publishers", "best", "me", "--as", "alice")["publishers"] == 1
    assert alice.json("collection", "remove", "best", one[:20])["entries"] == 0
    assert alice.run("collection", "remove", "best", one).code == 3
    assert alice.run("collection", "show", "nothing").code == 3
    found = alice.json("search", "tiny")
    assert (found["found"], found["releases"][0]["release"]) == (1, one)


def test_a_follower_searches_what_is_not_here(carol: Cli, bob: Publisher) -> None:
    assert carol.json("search", "chat")["found"] == 0
    assert "nobody" in carol.run("follow").out
    followed = carol.run("follow", "bob/best")
    assert 'You now follow bob/best.\n  bob/best: 1 release\n    "What runs here"' in followed.out
    assert "Nobody could be asked now" in followed.err
    assert carol.json("follow")["follows"][0]["entries"] == 1
    assert "bob/best: 1 collection, 1 release" in carol.run("follow").out
    out = carol.run("search", "chat").out
    (row,) = carol.json("search", "chat")["releases"]
    who = f"{row['publisher_id'][:20]}…"
    assert out.startswith(f"tiny-chat 1.2 of {who}, as bob says: not here\n  samara fetch '{row['ref']}'")
    assert '    "fine GOOD: everything is right"' in out, "blanks push nothing to where a line begins"
    assert (row["known_from"][0]["note"], row["state"], row["kind"]) == (NOTE, "known", "")
    assert carol.json("search", "chat", "--limit", "1")["found"] == 1
    assert carol.json("unfollow", "bob")["collection"] == ""
    assert carol.run("unfollow", "bob").code == 3
    assert carol.run("follow", "--peer", "/ip4/127.0.0.1/tcp/1").code == 2
    assert carol.run("follow", "me").code == 2
    assert carol.json("search", "chat")["found"] == 0


def test_names_are_taken_without_a_question_only_by_who_says_so(carol: Cli, bob: Publisher) -> None:
    refused = carol.run("trust", "import", "bob/best")
    assert (refused.code, "--yes" in refused.err) == (2, True)
    anna = format_record(Publisher.of("anna").chain.publisher)
    carol.json("key", "name", format_record(Publisher.of("another").chain.publisher), "anna")
    done = carol.json("trust", "import", "bob/best", "--yes")
    assert [(row["petname"], row["result"], row["like"]) for row in done["publishers"]] == [
        ("anna", "clash", ["anna"]),
        ("carl", "named", []),
    ]
    assert done["publishers"][0]["publisher"] == anna
    again = carol.run("trust", "import", "bob/best", "--yes").out
    assert "NOT named anna: anna is in use here" in again
    assert "is carl already" in again
    assert carol.run("trust", "import", "bob/nothing").code == 3


class Typing:
    """A person at a terminal: waits for a question, and answers."""

    def __init__(self, cli: Cli, *arguments: str) -> None:
        import pty  # there is none everywhere

        self._fd, theirs = pty.openpty()
        environment = {**cli.environment(), "COLUMNS": "200", "TERM": "dumb"}
        self.process = subprocess.Popen(
            cli.command(*arguments), env=environment, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, text=True
        )
        os.close(theirs)

    def until(self, question: str) -> str:
        """Return what was shown up to a question."""
        shown = ""
        while question not in shown:
            ready, _, _ = select.select([self._fd], [], [], 30)
            assert ready, shown
            shown += os.read(self._fd, 4096).decode()
        return shown

    def type(self, answer: str, end: str = "\n") -> None:
        os.write(self._fd, f"{answer}{end}".encode())

    def end(self) -> tuple[int, str]:
        out, _ = self.process.communicate(timeout=30)
        os.close(self._fd)
        return self.process.returncode, out


def words_of(cli: Cli, publisher: PublisherId) -> str:
    return " ".join(cli.json("key", "words", format_record(publisher))["words"])


def test_a_person_is_asked_for_each_and_sees_the_words(carol: Cli, bob: Publisher) -> None:
    anna, carl = (Publisher.of(name).chain.publisher for name in ("anna", "carl"))
    carol.json("key", "name", format_record(Publisher.of("another").chain.publisher), "anna")
    typing = Typing(carol, "trust", "import", "bob/best")
    shown = typing.until("leave them out) [-]: ")
    assert words_of(carol, anna) in shown
    assert "TAKE CARE" in shown
    typing.type("anna")
    assert "anna is in use" in typing.until("leave them out) [-]: ")
    typing.type("Anna!")
    assert "not a petname" in typing.until("leave them out) [-]: ")
    typing.type("anna-two")
    assert words_of(carol, carl) in typing.until("leave them out) [carl]: ")
    typing.type("")
    code, out = typing.end()
    assert (code, "is anna-two now" in out, "is carl now" in out) == (0, True, True)
    names = carol.json("key", "show")["names"]
    assert (names["anna-two"], names["carl"]) == (format_record(anna), format_record(carl))


def test_who_breaks_off_has_named_nobody(carol: Cli, bob: Publisher) -> None:
    typing = Typing(carol, "trust", "import", "bob/best")
    typing.until("leave them out) [anna]: ")
    typing.type("")
    typing.until("leave them out) [carl]: ")
    typing.type("", end="\x04")  # the end of what is typed
    assert typing.end()[0] == 130
    assert set(carol.json("key", "show")["names"]) == {"bob"}
