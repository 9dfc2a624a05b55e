"""The command line from outside: exit codes, JSON keys, errors, and what a command must not import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.cli import Cli, Done

from samara.cli.main import main
from samara.protocol.errors import SamaraError
from samara.protocol.ids import Digest, ReleaseId, format_record

ROW = {"release", "name", "version", "publisher", "kind", "license", "bytes", "files", "held", "visibility", "pinned",
       "state", "path"}  # fmt: skip
PUBLISHED = {"release", "link", "content", "name", "version", "files", "bytes", "chunks", "path"}
FETCHED = {"release", "name", "path", "bytes", "received", "reused", "seconds", "peers"}
VERIFIED = {"release", "content", "ok", "files", "bad", "signers"}
RUN = {"text", "prompt_tokens", "generated_tokens", "tokens_per_second", "load_seconds", "peak_rss"}
STATUS = {"peer", "pid", "home", "uptime", "listening", "reachable", "peers", "releases", "bytes", "sent", "received",
          "fetches", "limits"}  # fmt: skip
OF_NOBODY = format_record(ReleaseId(Digest(bytes(range(32)))))
"""A release id that is well formed, and nobody's; as a publisher id too."""


class Here:
    """The command line in this process: no less real, and quicker to begin."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def run(self, *arguments: str) -> Done:
        self._capsys.readouterr()
        self._monkeypatch.setattr(sys, "argv", ["samara", *arguments])
        try:
            main()
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        said = self._capsys.readouterr()
        return Done(code, said.out, said.err)

    def json(self, *arguments: str) -> dict[str, Any]:
        return self.run(*arguments, "--json").ok()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    for name, value in Cli(tmp_path / "home").environment().items():
        monkeypatch.setenv(name, value)
    return Here(monkeypatch, capsys)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    path.mkdir()
    (path / "w.bin").write_bytes(os.urandom(100_000))
    (path / "README.md").write_text("---\nlicense: mit\n---\n")
    return path


@pytest.fixture(scope="module")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cli, dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("alice")
    (folder / "w.bin").write_bytes(os.urandom(100_000))
    cli = Cli(folder / "home")
    with cli.running("seed", str(folder / "w.bin"), "--license", "MIT") as (_, said):
        yield cli, said


def test_what_is_here_is_told_as_json_with_the_promised_keys(here: Here, model: Path) -> None:
    assert here.json("ls") == {"releases": []}
    published = here.json("publish", str(model))
    release = published["release"]
    assert published.keys() >= PUBLISHED
    (row,) = here.json("ls")["releases"]
    assert row.keys() >= ROW
    assert (row["release"], row["state"], row["license"], row["held"]) == (release, "complete", "MIT", row["bytes"])
    (found,) = here.json("search", "model")["releases"]
    assert found | row == found
    assert here.json("search", "nothing-has-this")["releases"] == []
    shown = here.json("show", release)
    assert shown.items() >= row.items()
    assert shown.keys() >= {"publisher_id", "content", "issued", "redistribute", "link", "format", "places"}
    assert {file["path"] for file in shown["file_list"]} == {"README.md", "w.bin"}
    assert all(f.keys() >= {"path", "bytes", "blake3", "sha256", "root", "state"} for f in shown["file_list"])
    assert here.json("queue") == {"fetches": []}
    key = here.json("key", "show")
    assert key.keys() >= {"publisher", "key", "names"}
    assert key["publisher"] == shown["publisher_id"]
    assert here.json("show", release[:14])["release"] == release


def test_what_is_done_here_is_told_as_json_with_the_promised_keys(here: Here, model: Path) -> None:
    release = here.json("publish", str(model))["release"]
    verified = here.json("verify", release)
    assert verified.keys() >= VERIFIED
    assert (verified["ok"], verified["bad"]) == (True, [])
    assert all(signer.keys() >= {"key", "name", "trusted"} for signer in verified["signers"])
    assert [one["release"] for one in here.json("verify")["verified"]] == [release]
    assert here.json("verify", str(model))["release"] == release
    assert here.json("unpin", release)["release"] == release
    assert here.json("pin", release)["release"] == release
    assert here.json("key", "name", "me", "home")["name"] == "home"
    assert here.json("key", "show")["names"].keys() == {"home"}
    assert here.json("gc").items() >= {"contents": 0, "bytes": 0}.items()
    status = here.json("status")
    assert status.keys() >= STATUS
    assert (status["pid"], status["releases"], status["fetches"]) == (os.getpid(), 1, 0)
    assert here.json("rm", release).keys() >= {"contents", "bytes"}
    assert here.json("ls") == {"releases": []}
    assert (model / "w.bin").exists()


def test_the_network_is_told_as_json_with_the_promised_keys(tmp_path: Path, alice: tuple[Cli, dict[str, Any]]) -> None:
    cli, said = alice
    assert said.keys() >= {"published", "peer", "addresses"}
    (published,) = said["published"]
    assert published.keys() >= PUBLISHED
    bob = Cli(tmp_path / "bob")
    cost = bob.json("fetch", "--dry-run", published["link"])
    assert cost.keys() >= {"release", "name", "bytes", "needed", "held", "files"}
    assert (cost["needed"], cost["held"]) == (100_000, 0)
    assert all(file.keys() >= {"path", "bytes", "needed"} for file in cost["files"])
    fetched = bob.json("fetch", published["link"])
    assert fetched.keys() >= FETCHED
    assert fetched["received"] == 100_000
    assert all(share.keys() >= {"peer", "bytes"} for share in fetched["peers"])
    peers = cli.json("peers")
    assert peers.keys() >= {"peers", "banned"}
    assert all(peer.keys() >= {"peer", "address", "inbound", "agent"} for peer in peers["peers"])
    status = cli.json("status")
    assert status["peer"] == said["peer"]
    assert status["sent"] >= 100_000


def test_the_doctor_reports(tmp_path: Path) -> None:
    done = Cli(tmp_path / "home").run("doctor", "--json")
    assert done.code in {0, 1}  # this machine may lack what the engine needs
    assert done.json["ok"] is (done.code == 0)
    assert all(check.keys() >= {"name", "ok", "message", "hint"} for check in done.json["checks"])
    assert {"home", "engine", "listening"} <= {check["name"] for check in done.json["checks"]}


@pytest.mark.model
def test_run_answers_with_the_promised_keys(tmp_path: Path, smollm2: Path) -> None:
    options = ("--max-tokens", "4", "--temperature", "0", "--seed", "1")
    said = Cli(tmp_path / "home").json("run", str(smollm2), "Hello", *options)
    assert said.keys() >= RUN
    assert 0 < said["generated_tokens"] <= 4
    text = Cli(tmp_path / "home").run("run", str(smollm2), *options, stdin="Hello")
    assert text.code == 0
    assert said["text"].strip() in text.out


# Exit codes (specs/cli.md): 0 is everywhere above, 130 in tests/integration/test_doors.py.


def _check_error(done: Done, code: int, kind: str) -> None:
    """An error is one JSON object, with a class that belongs to the exit code."""
    assert done.code == code, done
    assert done.json.keys() == {"error", "message", "hint"}
    assert done.json["error"] == kind
    assert done.json["message"]
    errors = {cls.__name__: cls for cls in _all_errors(SamaraError)}
    assert errors[kind].exit_code == code


def _all_errors(root: type[SamaraError]) -> Iterator[type[SamaraError]]:
    yield root
    for cls in root.__subclasses__():
        yield from _all_errors(cls)


def test_1_is_what_could_not_be_done(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "open/samara").mkdir(mode=0o755, parents=True)
    with monkeypatch.context() as patched:
        patched.setenv("XDG_RUNTIME_DIR", str(tmp_path / "open"))
        _check_error(here.run("gc", "--json"), 1, "StoreError")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged/index.sqlite").write_bytes(b"no database" * 1000)
    monkeypatch.setenv("SAMARA_HOME", str(tmp_path / "damaged"))
    _check_error(here.run("ls", "--json"), 1, "StoreError")
    _check_error(here.run("gc", "--json"), 1, "StoreError")


MISUSED = {
    "an unknown option": (("ls", "--bogus"), "UsageError"),
    "an unknown command": (("bogus",), "UsageError"),
    "a missing argument": (("fetch",), "UsageError"),
    "no REF": (("fetch", "not a ref"), "LinkError"),
    "half an id": (("show", "bagaa"), "LinkError"),
    "a peer without an id": (("fetch", OF_NOBODY, "--peer", "/ip4/127.0.0.1/tcp/1"), "LinkError"),
    "a kind that is none": (("publish", ".", "--kind", "song"), "UsageError"),
    "a version that is none": (("publish", ".", "--version", "a b", "--license", "MIT"), "UsageError"),
}


@pytest.mark.parametrize("name", MISUSED)
def test_2_is_bad_usage(here: Here, name: str, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(model)
    arguments, kind = MISUSED[name]
    _check_error(here.run(*arguments, "--json"), 2, kind)
    done = here.run(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err


def test_2_is_also_a_missing_licence_and_a_wrong_setting(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "w.bin").write_bytes(b"x")
    done = here.run("publish", str(tmp_path / "w.bin"), "--json")
    _check_error(done, 2, "LicenseError")
    assert "--license" in done.json["hint"]
    monkeypatch.setenv("SAMARA_STORE_FLOOR", "a lot")
    _check_error(here.run("ls", "--json"), 2, "UsageError")


def test_2_is_what_is_both_a_path_and_a_ref(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / OF_NOBODY).write_text("a file with an odd name")
    _check_error(here.run("verify", OF_NOBODY, "--json"), 2, "UsageError")


def test_3_is_not_found(here: Here, tmp_path: Path) -> None:
    _check_error(here.run("show", OF_NOBODY, "--json"), 3, "NotFoundError")
    _check_error(here.run("pin", OF_NOBODY, "--json"), 3, "NotFoundError")
    _check_error(here.run("rm", "nobody/model", "--json"), 3, "NotFoundError")
    _check_error(here.run("publish", str(tmp_path / "nowhere"), "--license", "MIT", "--json"), 3, "NotFoundError")


def test_3_is_also_what_nobody_has(tmp_path: Path) -> None:
    _check_error(Cli(tmp_path / "home").run("fetch", OF_NOBODY, "--wait", "0.5", "--json"), 3, "NotFoundError")


def test_4_is_wrong_bytes(here: Here, model: Path) -> None:
    release = here.json("publish", str(model))["release"]
    (model / "w.bin").write_bytes(os.urandom(100_000))
    done = here.run("verify", release, "--json")
    assert done.code == 4
    assert (done.json["ok"], done.json["bad"]) == (False, ["w.bin"])
    assert here.json("ls")["releases"][0]["state"] == "edited"
    (model / "w.bin").unlink()
    assert here.run("verify", release, "--json").json["bad"] == ["w.bin"]


def test_4_is_also_a_link_that_names_another_publisher(tmp_path: Path, alice: tuple[Cli, dict[str, Any]]) -> None:
    link = alice[1]["published"][0]["link"]
    before, _, after = link.partition("k=")
    wrong = f"{before}k={OF_NOBODY}&{after.partition('&')[2]}"
    _check_error(Cli(tmp_path / "home").run("fetch", wrong, "--json"), 4, "VerificationError")


def test_a_name_that_is_no_utf_8_is_refused_by_name(tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/\xff.bin"
    try:
        with open(odd, "wb") as file:
            file.write(b"x")
    except OSError:
        pytest.skip("this filesystem refuses names that are no UTF-8")
    done = Cli(tmp_path / "home").run("publish", os.fsdecode(odd), "--license", "MIT", "--json")
    assert done.code in {2, 4}, done
    assert "bug" not in done.json["message"]


# What a command costs to begin


def _modules_after(*arguments: str, home: Path) -> set[str]:
    """The modules that a command has imported when it ends."""
    code = (
        "import atexit, json, sys\n"
        "atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))\n"
        "from samara.cli.main import main\n"
        f"sys.argv = {['samara', *arguments]!r}\n"
        "main()\n"
    )
    environment = Cli(home).environment()
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    loaded = _modules_after("--help", home=tmp_path / "home")
    assert not loaded & {"trio", "cryptography", "rich", "xllamacpp", "sqlite3", "asyncio"}


@pytest.mark.parametrize("command", ["ls", "search word", "follow", "collection ls"])
def test_what_only_looks_imports_no_loop_and_no_network(tmp_path: Path, command: str) -> None:
    assert Cli(tmp_path / "home").json("ls") == {"releases": []}
    loaded = _modules_after(*command.split(), home=tmp_path / "home")
    assert not loaded & {"trio", "rich", "xllamacpp", "asyncio", "samara.node.network.host"}


def test_every_command_has_help(here: Here) -> None:
    listed = here.run("--help").out.partition("Commands:")[2].split("\n")
    names = [line.split()[0] for line in listed if line.startswith("  ") and not line.startswith("   ")]
    assert len(names) >= 20
    for name in names:
        done = here.run(name, "--help")
        assert done.code == 0
        assert f"samara {name}" in done.out
