"""The real command line, in real processes or in this one, on loopback only."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from samara.cli import main as cli_main

__all__ = ["Cli", "Done", "Here", "Running", "eventually"]

_SRC = Path(__file__).resolve().parents[2] / "src"
_OURS = ("SAMARA_", "COV_", "PYTHONDONTWRITEBYTECODE")
"""What the tests' own environment has, and a user's has not."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended.

    Attributes:
        code: Its exit code.
        out: Its stdout.
        err: Its stderr.
    """

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Its stdout, which must be one JSON object and nothing else."""
        found = json.loads(self.out)
        assert isinstance(found, dict), self
        return found

    def ok(self) -> dict[str, Any]:
        """Its JSON, when it ended well."""
        assert self.code == 0, self
        return self.json


class Running:
    """A command that runs, with what it says first (JSON)."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    @property
    def pid(self) -> int:
        return self.process.pid

    def first_object(self) -> dict[str, Any]:
        """Wait for its first JSON object."""
        assert self.process.stdout is not None
        text = ""
        for line in self.process.stdout:
            text += line
            with contextlib.suppress(ValueError):
                found: dict[str, Any] = json.loads(text)
                return found
        raise AssertionError(f"it ended with {self.process.wait()} and said {text!r} {self._errors()}")

    def stop(self, how: int = signal.SIGTERM) -> Done:
        """Send a signal and wait for the end."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.wait()

    def wait(self, timeout: float = 30) -> Done:
        """Wait for the end."""
        out, err = self.process.communicate(timeout=timeout)
        return Done(self.process.returncode, out, err)

    def _errors(self) -> str:
        return self.process.stderr.read() if self.process.stderr is not None else ""


@dataclass(frozen=True, slots=True)
class Cli:
    """The command line on one home.

    Attributes:
        home: `$SAMARA_HOME`.
        settings: More of the environment.
        before: What stands before the command, as `setpriv …`.
    """

    home: Path
    settings: tuple[tuple[str, str], ...] = ()
    before: tuple[str, ...] = ()

    def having(self, **settings: str) -> Cli:
        """Return the same with more settings, by variable."""
        return Cli(self.home, (*self.settings, *settings.items()), self.before)

    def environment(self) -> dict[str, str]:
        """Return the environment of its processes. They may write their bytecode: what is installed has it."""
        runtime = self.home.parent / f"{self.home.name}.run"
        runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(_OURS)},
            "SAMARA_HOME": str(self.home),
            "SAMARA_NETWORK_LISTEN": "/ip4/127.0.0.1/tcp/0",
            "SAMARA_NETWORK_MDNS": "no",
            "SAMARA_NETWORK_DHT": "off",
            "SAMARA_STORE_FLOOR": "0",
            "XDG_RUNTIME_DIR": str(runtime),
            "PYTHONPATH": str(_SRC),
            **dict(self.settings),
        }

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of a command."""
        return [*self.before, sys.executable, "-m", "samara.cli.main", *arguments]

    def run(self, *arguments: str, stdin: str = "", timeout: float = 60) -> Done:
        """Run a command to its end."""
        done = subprocess.run(
            self.command(*arguments), env=self.environment(), input=stdin, capture_output=True, text=True,
            check=False, timeout=timeout,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    def json(self, *arguments: str, stdin: str = "") -> dict[str, Any]:
        """Run a command that ends well, and return its JSON."""
        return self.run(*arguments, "--json", stdin=stdin).ok()

    def start(self, *arguments: str) -> Running:
        """Start a command."""
        return Running(
            subprocess.Popen(
                self.command(*arguments), env=self.environment(), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
        )  # fmt: skip

    @contextlib.contextmanager
    def running(self, *arguments: str) -> Iterator[tuple[Running, dict[str, Any]]]:
        """Run a command that stays (`node`, `seed …`), with what it said first; it is stopped at the end."""
        started = self.start(*arguments, "--json")
        try:
            yield started, started.first_object()
        finally:
            if started.process.poll() is None:
                started.process.kill()
            with contextlib.suppress(ValueError):  # the test read to the end already
                started.process.communicate(timeout=30)

    def door(self) -> str:
        """Return the path of the socket on which the running node answers."""
        kind, _, path = json.loads((self.home / "lock").read_text())["door"].partition(":")
        assert kind == "unix"
        return str(path)


class Here:
    """Runs commands in this process, on one home."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def samara(self, *arguments: str | Path) -> tuple[int, str, str]:
        self._monkeypatch.setenv("SAMARA_HOME", str(self.path))
        self._monkeypatch.setenv("SAMARA_NETWORK_MDNS", "no")
        self._monkeypatch.setenv("SAMARA_NETWORK_DHT", "off")
        self._monkeypatch.setenv("SAMARA_NETWORK_LISTEN", "/ip4/127.0.0.1/tcp/0")
        self._monkeypatch.setattr("sys.argv", ["samara", *map(str, arguments)])
        code = 0
        try:
            cli_main.main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = self._capsys.readouterr()
        return code, out, err

    def json(self, *arguments: str | Path) -> tuple[int, dict[str, Any]]:
        code, out, _ = self.samara(*arguments, "--json")
        found: dict[str, Any] = json.loads(out)
        return code, found


def eventually(look: Callable[[], T], *, within: float = 15.0, every: float = 0.05) -> T:
    """Return what `look` finds, as soon as it is something."""
    deadline = time.monotonic() + within
    while not (found := look()):
        assert time.monotonic() < deadline, f"nothing within {within} s"
        time.sleep(every)
    return found


def children_of(pid: int) -> Sequence[int]:
    """Return the processes that a process has started and that live."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in path.read_text().split()] if path.exists() else []
