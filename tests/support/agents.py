"""Agents that hold keys: the real ssh-agent, and one that does what it is told, on sockets of their own."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from samara.protocol.dsse import SigningKey

__all__ = [
    "HostileAgent",
    "RealAgent",
    "hostile_agent",
    "identities",
    "needs_agent",
    "real_agent",
    "signature",
    "string",
]

needs_agent = pytest.mark.skipif(
    shutil.which("ssh-agent") is None or shutil.which("ssh-add") is None,
    reason="needs ssh-agent and ssh-add (Debian: openssh-client)",
)


@dataclass(frozen=True)
class RealAgent:
    """A running ssh-agent.

    Attributes:
        socket: Where it answers.
        folder: A place for files.
    """

    socket: str
    folder: Path

    def add(self, seed: bytes, comment: str = "key") -> None:
        """Add an Ed25519 key of this seed."""
        path = self.folder / comment
        private = Ed25519PrivateKey.from_private_bytes(seed)
        path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
        path.chmod(0o600)
        self._call("ssh-add", "-q", str(path))

    def make(self, kind: str, comment: str) -> None:
        """Make a key of a kind, and add it."""
        path = self.folder / comment
        self._call("ssh-keygen", "-q", "-t", kind, "-N", "", "-C", comment, "-f", str(path))
        self._call("ssh-add", "-q", str(path))

    def forget(self) -> None:
        """Let it have no keys any more."""
        self._call("ssh-add", "-q", "-D")

    def lines(self) -> str:
        """What `ssh-add -l` says."""
        return self._call("ssh-add", "-l")

    def _call(self, *command: str) -> str:
        done = subprocess.run(
            command, env={**os.environ, "SSH_AUTH_SOCK": self.socket}, capture_output=True, text=True, check=True,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return done.stdout


@contextlib.contextmanager
def real_agent() -> Iterator[RealAgent]:
    """Run an ssh-agent. Its socket lies in a short folder: paths of sockets have about a hundred bytes."""
    with tempfile.TemporaryDirectory(prefix="sa") as folder:
        path = str(Path(folder) / "agent")
        process = subprocess.Popen(
            ["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            for _ in range(500):
                if os.path.exists(path):
                    break
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.01)
            yield RealAgent(path, Path(folder))
        finally:
            process.terminate()
            process.wait(10)


def string(data: bytes) -> bytes:
    """A string as SSH writes it."""
    return struct.pack(">I", len(data)) + data


def message(kind: int, body: bytes = b"") -> bytes:
    """A message of an agent."""
    return string(bytes([kind]) + body)


def identities(*keys: tuple[SigningKey, bytes]) -> bytes:
    """An answer that lists Ed25519 keys with comments."""
    blobs = [string(string(b"ssh-ed25519") + string(key.public)) + string(comment) for key, comment in keys]
    return message(12, struct.pack(">I", len(blobs)) + b"".join(blobs))


def signature(sig: bytes, kind: bytes = b"ssh-ed25519") -> bytes:
    """An answer that is a signature."""
    return message(14, string(string(kind) + string(sig)))


Answer = Callable[[int, bytes], bytes | None]
"""From the kind and the body of a request to all that is sent; None never answers."""


class HostileAgent:
    """A socket on which answers are whatever a test wants.

    Attributes:
        socket: Where it is.
        asked: The kind of each request that came.
    """

    def __init__(self, path: str, answer: Answer) -> None:
        self.socket = path
        self.asked: list[int] = []
        self._answer = answer
        self._stop = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen(8)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        """Let all go."""
        self._stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(0.1)
            request = self._receive(connection)
            if request is None:
                return
            self.asked.append(request[0])
            answer = self._answer(request[0], request[1:])
            while answer and not self._stop.is_set():
                with contextlib.suppress(TimeoutError):
                    answer = answer[connection.send(answer[:65536]) :]
            while answer is None and not self._stop.is_set():
                with contextlib.suppress(TimeoutError):
                    if not connection.recv(1):
                        return

    def _receive(self, connection: socket.socket) -> bytes | None:
        data = b""
        while not self._stop.is_set():
            if len(data) >= 4 and len(data) >= 4 + struct.unpack(">I", data[:4])[0]:
                return data[4:]
            with contextlib.suppress(TimeoutError):
                more = connection.recv(65536)
                if not more:
                    return None
                data += more
        return None


@contextlib.contextmanager
def hostile_agent(answer: Answer) -> Iterator[HostileAgent]:
    """Run an agent that answers as a test says."""
    with tempfile.TemporaryDirectory(prefix="sa") as folder:
        agent = HostileAgent(str(Path(folder) / "agent"), answer)
        try:
            yield agent
        finally:
            agent.close()
