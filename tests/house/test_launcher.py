"""`./samara` and `./check`: a real set-up from packages that the tests make, and what is said when it cannot be."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.scripts import ROOT, load_script
from support.wheels import only_index, pin, write_wheel

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the launchers are shell scripts")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose only dependency is a package of ours, and an index that has it."""
    root, index = tmp_path / "a checkout", tmp_path / "index"
    for folder in (index, root / "scripts", root / "requirements", root / "src/samara"):
        folder.mkdir(parents=True)
    for name in ("samara", "scripts/start", "scripts/bootstrap.py"):
        shutil.copy2(ROOT / name, root / name)
    (root / "src/samara/__main__.py").write_text("import sys, tiny\nprint(tiny.SAYS, *sys.argv[1:])\nsys.exit(7)\n")
    write_lock(root, index, "1.0", b"SAYS = 'one'")
    only_index(monkeypatch, index)
    monkeypatch.setenv("SAMARA_NO_ENGINE", "1")
    return root


def write_lock(root: Path, index: Path, version: str, source: bytes) -> None:
    wheel = write_wheel(index, "tiny", version, {"tiny.py": source})
    (root / "requirements/run.txt").write_text(pin(wheel))


def begin(root: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start samara from a folder where a stranger left a module of a name that it imports."""
    away = root.parent / "away"
    away.mkdir(exist_ok=True)
    (away / "tiny.py").write_text("raise SystemExit('a stranger was imported')")
    command: list[str | Path] = [root / "samara", *arguments]
    return subprocess.Popen(command, cwd=away, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def start(root: Path, *arguments: str) -> tuple[int, str, str]:
    """Run samara; return its exit code and what it printed on stdout and stderr."""
    with begin(root, *arguments) as process:
        out, err = process.communicate()
    return process.returncode, out, err


@pytest.mark.slow
def test_it_sets_up_once_and_again_when_the_lock_changes(checkout: Path) -> None:
    with begin(checkout, "demo", "--two words") as one, begin(checkout) as other:
        (out, err), (other_out, other_err) = one.communicate(), other.communicate()
    assert (one.returncode, out) == (7, "one demo --two words\n"), err
    assert (other.returncode, other_out) == (7, "one\n"), other_err
    assert (err + other_err).count("Setting up") == 1
    assert list((checkout / "src/samara/__pycache__").iterdir()), "each start would compile it all"

    began = time.monotonic()
    assert start(checkout) == (7, "one\n", "")
    assert time.monotonic() - began < 2

    write_lock(checkout, checkout.parent / "index", "2.0", b"SAYS = 'two'")
    assert start(checkout)[:2] == (7, "two\n")

    # A package that is not what the lock says: nothing is installed, and it is not believed later either.
    lock = checkout / "requirements/run.txt"
    lock.write_text(lock.read_text().replace("tiny==2.0", "tiny==1.0"))
    for _ in range(2):
        code, out, err = start(checkout)
        assert (code, out) == (1, "")
        assert "could not be installed" in err
        assert "DO NOT MATCH THE HASHES" in err


@pytest.mark.parametrize("there", ["an old python3", "no python3"])
def test_a_machine_without_a_usable_python_is_told_so(tmp_path: Path, there: str) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "dirname", "readlink"):
        (tools / name).symlink_to(str(shutil.which(name)))
    if there == "an old python3":
        (tools / "python3").write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2\nexit 1\n')
        (tools / "python3").chmod(0o755)
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "samara", tmp_path / "samara")
    done = subprocess.run([tmp_path / "samara"], env={"PATH": str(tools)}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "needs Python 3.11 to 3.14" in done.stderr
    assert ("Python 3.9.2" if there == "an old python3" else "missing") in done.stderr


@pytest.mark.parametrize("version", [(3, 10, 13), (3, 15, 0)])
def test_an_unsupported_python_is_named(monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...]) -> None:
    bootstrap = load_script("bootstrap")
    monkeypatch.setattr(sys, "version_info", version)
    with pytest.raises(bootstrap.SetupError, match=r"3\.11 to 3\.14"):
        bootstrap.check_python()


@pytest.mark.skipif(sys.platform != "linux", reason="the engine brings its own elsewhere")
def test_all_that_a_machine_lacks_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bootstrap = load_script("bootstrap")

    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ensurepip" else name)
    monkeypatch.setattr(ctypes, "CDLL", missing)
    monkeypatch.delenv("SAMARA_NO_ENGINE", raising=False)
    with pytest.raises(bootstrap.SetupError, match="apt install python3-venv libgomp1 "):
        bootstrap.check_machine()
    monkeypatch.setenv("SAMARA_NO_ENGINE", "1")
    with pytest.raises(bootstrap.SetupError, match="apt install python3-venv ") as caught:
        bootstrap.check_machine()
    assert "libgomp" not in str(caught.value)


def test_a_checkout_without_links_imports_all_the_same(tmp_path: Path) -> None:
    package = tmp_path / "src/samara"
    package.mkdir(parents=True)
    shutil.copy2(ROOT / "src/samara/__init__.py", package)
    (package / "protocol").write_text("../../protocol")
    (tmp_path / "protocol").mkdir()
    (tmp_path / "protocol/__init__.py").write_text("HERE = True\n")
    code = "import samara.protocol; print(samara.protocol.HERE)"
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "src")}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "True\n", done.stderr


@pytest.mark.parametrize("name", ["samara", "check", "scripts/start", ".ci/run"])
def test_the_launchers_can_be_started_and_parse(name: str) -> None:
    assert os.access(ROOT / name, os.X_OK)
    shell = (ROOT / name).read_text().splitlines()[0].split()[-1].split("/")[-1]
    assert subprocess.run([shell, "-n", ROOT / name], check=False).returncode == 0
