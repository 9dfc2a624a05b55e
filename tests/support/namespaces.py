"""Machines on one LAN, for tests: network namespaces on a bridge, with or without a bandwidth.

Each machine is a namespace with one interface `eth0`, the address 10.77.0.(index + 1), loopback, and no route anywhere
else: no internet, no multicast route. The bridge is in a namespace of its own, so the machine that runs the tests is
not touched. All is torn down when the block ends, also after a failure.

    with lan(3) as (a, b, c):
        process = a.start([sys.executable, "-c", "…"])
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

__all__ = ["Machine", "lan"]

_ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Machine:
    """One namespace."""

    name: str
    address: str
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, command: Sequence[str], *, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a process here, with more in its environment; it is killed when the LAN is torn down."""
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.name, *command],
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                **(env or {}),
                "PYTHONPATH": os.pathsep.join((str(_ROOT / "src"), str(_ROOT / "tests"))),
            },
            cwd=_ROOT,
        )
        self.processes.append(process)
        return process

    def run(self, command: Sequence[str]) -> str:
        """Run a command here and return what it prints."""
        return _run("ip", "netns", "exec", self.name, *command)

    def start_python(self, module: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a Python module of the tests or of Samara here."""
        return self.start([sys.executable, "-m", module, *arguments])


@contextlib.contextmanager
def lan(machines: int, *, mbit: float | None = None) -> Iterator[list[Machine]]:
    """Make machines on one LAN; the test is skipped where that cannot be.

    Args:
        machines: How many.
        mbit: Megabits a second that each can send; None for as fast as it goes.
    """
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("network namespaces need root on Linux")
    label = f"samara-{secrets.token_hex(3)}"
    switch = f"{label}-switch"
    made: list[Machine] = []
    try:
        try:
            _run("ip", "netns", "add", switch)
        except (subprocess.CalledProcessError, FileNotFoundError) as error:
            pytest.skip(f"network namespaces cannot be made here: {error}")
        _run("ip", "-n", switch, "link", "add", "br0", "type", "bridge")
        _run("ip", "-n", switch, "link", "set", "br0", "up")
        for index in range(machines):
            machine = Machine(f"{label}-{index}", f"10.77.0.{index + 1}")
            _run("ip", "netns", "add", machine.name)
            made.append(machine)
            _plug(machine, switch, f"port{index}", mbit)
        yield made
    finally:
        for machine in made:
            _stop(machine)
        for name in (*(machine.name for machine in made), switch):
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def _plug(machine: Machine, switch: str, port: str, mbit: float | None) -> None:
    _run("ip", "link", "add", "eth0", "netns", machine.name, "type", "veth", "peer", "name", port, "netns", switch)
    _run("ip", "-n", switch, "link", "set", port, "master", "br0", "up")
    _run("ip", "-n", machine.name, "link", "set", "lo", "up")
    _run("ip", "-n", machine.name, "address", "add", f"{machine.address}/24", "dev", "eth0")
    _run("ip", "-n", machine.name, "link", "set", "eth0", "up")
    if mbit is not None:
        shape = ("root", "tbf", "rate", f"{mbit}mbit", "burst", "32kbit", "latency", "400ms")
        _run("tc", "-n", machine.name, "qdisc", "add", "dev", "eth0", *shape)


def _stop(machine: Machine) -> None:
    for process in machine.processes:
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdout, process.stdin, process.stderr):
            if pipe is not None:
                pipe.close()


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
