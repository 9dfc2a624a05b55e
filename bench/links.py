"""Slow links between two network namespaces, on this machine only: a bandwidth, and a delay if wanted.

netem is not everywhere, so a delay is made by a process of ours (delay.py) between two TUN devices. Nothing outside of
the namespaces is touched, and all goes when the block ends.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from peers.base import End, Skipped, Wire, absent, ending

__all__ = ["Count", "counted", "delayed", "shaped"]

_NEAR, _FAR = "10.77.0.1", "10.77.0.2"
_DELAY = Path(__file__).with_name("delay.py")
_HEADERS = 14 + 20 + 32
"""Bytes of Ethernet, IPv4 and TCP with its time stamps in front of what a packet of TCP carries."""


@dataclass(frozen=True, slots=True)
class Count:
    """What an interface has seen, both ways together.

    Attributes:
        wire: Bytes of packets, with their headers.
        packets: How many. One that the kernel cuts to size only later is one.
    """

    wire: int
    packets: int

    @property
    def carried(self) -> int:
        """Bytes that TCP carried: independent of how large the packets are."""
        return self.wire - self.packets * _HEADERS

    def __sub__(self, before: Count) -> Count:
        return Count(self.wire - before.wire, self.packets - before.packets)


def counted(end: End) -> Count:
    """Return what the interface at an end of a link has seen until now."""
    lines = _run(*end.before, "cat", "/proc/net/dev").splitlines()
    found = next(line.partition(":")[2].split() for line in lines if line.strip().startswith("eth0:"))
    return Count(int(found[0]) + int(found[8]), int(found[1]) + int(found[9]))


@contextlib.contextmanager
def shaped(mbit: float) -> Iterator[Wire]:
    """Give a veth pair on which each end sends with a bandwidth.

    Raises:
        Skipped: This machine cannot.
    """
    with _namespaces("near", "far") as (near, far):
        _run("ip", "link", "add", "eth0", "netns", near, "type", "veth", "peer", "name", "eth0", "netns", far)
        yield _wire(near, far, mbit)


@contextlib.contextmanager
def delayed(mbit: float, round_trip: float) -> Iterator[Wire]:
    """Give a link with a bandwidth and a round trip, in seconds.

    Raises:
        Skipped: This machine cannot.
    """
    if not Path("/dev/net/tun").exists():
        raise Skipped("there is no /dev/net/tun")
    with _namespaces("near", "far", "between") as (near, far, between):
        command = ["ip", "netns", "exec", between, sys.executable, str(_DELAY), str(round_trip / 2)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        with ending(process):
            assert process.stdout is not None
            if not process.stdout.readline():
                raise Skipped("TUN devices cannot be made here")
            for name, device in ((near, "tun0"), (far, "tun1")):
                _run("ip", "-n", between, "link", "set", device, "netns", name, "name", "eth0")
                # The queue in front of the process that delays: it must not drop what comes in a burst.
                _run("ip", "-n", name, "link", "set", "eth0", "txqueuelen", "5000")
            yield _wire(near, far, mbit)


@contextlib.contextmanager
def _namespaces(*names: str) -> Iterator[list[str]]:
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        raise Skipped("network namespaces need root on Linux")
    if gone := absent("ip", "tc"):
        raise Skipped(f"not installed: {gone}")
    label = f"bench-{secrets.token_hex(3)}"
    made = [f"{label}-{name}" for name in names]
    try:
        for name in made:
            try:
                _run("ip", "netns", "add", name)
            except subprocess.CalledProcessError as error:
                raise Skipped(f"network namespaces cannot be made here: {error.stderr.strip()}") from error
            _run("ip", "-n", name, "link", "set", "lo", "up")
        yield made
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True, timeout=30)


def _wire(near: str, far: str, mbit: float) -> Wire:
    """Give both ends their addresses and the bandwidth."""
    for name, address, other in ((near, _NEAR, _FAR), (far, _FAR, _NEAR)):
        _run("ip", "-n", name, "address", "add", address, "peer", other, "dev", "eth0")
        _run("ip", "-n", name, "link", "set", "eth0", "up")
        burst = "32kbit" if mbit < 50 else "256kbit"  # at least what a tick of the clock lets through
        shape = ("root", "tbf", "rate", f"{mbit}mbit", "burst", burst, "latency", "400ms")
        _run("tc", "-n", name, "qdisc", "add", "dev", "eth0", *shape)
    return Wire(*(End(address, ("ip", "netns", "exec", name)) for name, address in ((near, _NEAR), (far, _FAR))))


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
