"""Text from strangers on a terminal, arguments that are no names, and paths that no index can hold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from samara.cli import output
from samara.cli.failures import fail
from samara.cli.targets import absolute, target_of
from samara.node.operations.base import Notice
from samara.protocol.errors import StoreError, UsageError

HOSTILE = "m\x1b[2J\x9b31m\u202egpj\u2066.exe\r"


def steers(text: str) -> bool:
    return any(letter in text for letter in "\x1b\x9b\u202e\u2066\r")


@pytest.mark.parametrize("way", ["say", "table", "notice", "error", "json"])
def test_what_a_stranger_wrote_does_not_steer_the_terminal(way: str, capsys: pytest.CaptureFixture[str]) -> None:
    if way == "say":
        output.say(HOSTILE)
    elif way == "table":
        output.table(("name", "size"), [(HOSTILE + "\n\tfake row", "1")])
    elif way == "notice":
        with output.show_events() as report:
            report(Notice(HOSTILE))
    elif way == "error":
        fail(StoreError(HOSTILE, hint=HOSTILE), as_json=False)
    else:
        output.emit_json({"name": HOSTILE})
    said = capsys.readouterr()
    assert said.out or said.err
    assert not steers(said.out + said.err)
    if way == "json":
        assert json.loads(said.out) == {"name": HOSTILE}
    if way == "table":
        assert len(said.out.splitlines()) == 1
        assert said.out.count("\t") == 1


def test_a_link_is_no_name_of_a_file_however_long_it_is() -> None:
    link = "samara:" + "a" * 59 + "?p=" + "x" * 400
    assert not target_of(link).is_path


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_path_that_is_not_utf8_is_refused_in_words() -> None:
    with pytest.raises(UsageError, match="UTF-8"):
        absolute(os.fsdecode(b"/tmp/caf\xe9"))
    with pytest.raises(UsageError, match="cannot be a path"):
        absolute("~nobody-of-that-name/x")


def run(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "samara.cli.main", *arguments],
        env={**os.environ, "SAMARA_HOME": str(home), **environment},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_a_terminal_that_lacks_letters_ends_no_command(tmp_path: Path) -> None:
    model = tmp_path / "größe-…"
    model.mkdir()
    (model / "weights.txt").write_text("1")
    done = run("publish", str(model), "--license", "MIT", "--json", home=tmp_path / "h", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()
    done = run("show", "me/gr-e", home=tmp_path / "h", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "lies at" in done.stdout
