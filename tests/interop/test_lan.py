"""Machines on a LAN without an internet: they find each other, prove that they can be reached, and find content."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from queue import Empty, Queue
from typing import Any

import pytest
from support.namespaces import Machine, lan

pytestmark = [pytest.mark.network, pytest.mark.slow]


class Told:
    """What a node process tells."""

    def __init__(self, machine: Machine, **said: Any) -> None:
        self.events: list[dict[str, Any]] = []
        self._lines: Queue[str] = Queue()
        self.process = machine.start_python("support.node_process", json.dumps(said))
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._lines.put(line)

    def wait(self, event: str, seconds: float = 20.0, **facts: Any) -> dict[str, Any]:
        """Return the first event of that name with these facts."""
        deadline = time.monotonic() + seconds
        while True:
            for told in self.events:
                if told["event"] == event and all(told[name] == fact for name, fact in facts.items()):
                    return told
            try:
                self.events.append(json.loads(self._lines.get(timeout=max(0.01, deadline - time.monotonic()))))
            except Empty:
                pytest.fail(f"no {event} with {facts} in {seconds} s; told: {self.events}")


def test_two_machines_find_each_other_without_a_server() -> None:
    with lan(2) as (a, b):
        first = Told(a, seed=1, mdns=True, dht="off")
        second = Told(b, seed=2, mdns=True, dht="off")
        peers = {told.wait("listening")["peer"] for told in (first, second)}
        found = first.wait("nearby")
        assert found["peer"] in peers
        assert [address.split("/")[2] for address in found["addresses"]] == [b.address]
        assert [address.split("/")[2] for address in second.wait("nearby")["addresses"]] == [a.address]


def test_a_provider_is_found_through_a_bootstrap_that_does_not_hold_it() -> None:
    with lan(3) as (a, b, c):
        server = Told(a, seed=1)
        told = server.wait("listening")
        address = next(text for text in told["addresses"] if a.address in text)
        bootstrap = [f"{address}/p2p/{told['peer']}"]
        holder = Told(b, seed=2, bootstrap=bootstrap, provide=["model"])
        peer = holder.wait("listening")["peer"]
        reachable = holder.wait("reachable")["addresses"]
        assert [text.split("/")[2] for text in reachable] == [b.address]
        holder.wait("provided")
        fetcher = Told(c, seed=3, bootstrap=bootstrap, dht="client", find=["model"])
        assert fetcher.wait("found")["providers"] == [[peer, reachable]]


def test_a_shaped_line_is_as_slow_as_it_says() -> None:
    with lan(2, mbit=20) as (a, b):
        serve = "import socket; s=socket.create_server(('0.0.0.0', 7)); c,_=s.accept(); c.sendall(bytes(2_500_000))"
        a.start(["python3", "-c", serve])
        fetch = (
            "import socket,time\n"
            "for _ in range(100):\n"
            "    try: s=socket.create_connection(('10.77.0.1', 7)); break\n"
            "    except OSError: time.sleep(0.05)\n"
            "t=time.monotonic(); n=0\n"
            "while d:=s.recv(65536): n+=len(d)\n"
            "print(n*8/1e6/(time.monotonic()-t))\n"
        )
        assert 15 < float(b.run(["python3", "-c", fetch])) < 23
