"""A door that is a port on loopback, as on Windows: whoever is at it proves itself, or hears nothing."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from support.doors import Answered, Asked, a_node, ask, call_line, door_of

from samara.node.doors import client, local
from samara.node.doors.client import connect
from samara.node.doors.proof import Caller, Keeper
from samara.node.store.home import Holder, Home, HomeLock
from samara.protocol.errors import NotFoundError, UsageError

HELLO = b'{"type":"hello","samara":"0.1.0","pid":1}\n'
TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def _no_unix_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_UNIX", False)


def port_and_token(home: Home) -> tuple[int, str]:
    kind, port, token = door_of(home).split(":")
    assert kind == "tcp"
    return int(port), token


class Between:
    """Passes on what a caller and a node say to each other, and remembers it."""

    def __init__(self, port: int) -> None:
        self.said = bytearray()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._pass_on, args=(port,))
        self._thread.start()

    def _pass_on(self, port: int) -> None:
        caller, _ = self._listener.accept()
        with caller, socket.create_connection(("127.0.0.1", port)) as node:
            back = threading.Thread(target=self._copy, args=(node, caller))
            back.start()
            self._copy(caller, node)
            back.join()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.said += data
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._thread.join()
        self._listener.close()


async def test_a_node_answers_at_its_port_and_the_token_is_never_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_node(tmp_path) as node:
        port, token = port_and_token(node.home)
        assert await trio.to_thread.run_sync(ask, node.home, Asked("hello")) == Answered("hello")
        with pytest.raises(NotFoundError):
            await trio.to_thread.run_sync(ask, node.home, Asked("missing"))
        between = Between(port)
        monkeypatch.setattr(Home, "holder", lambda home: Holder(1, f"tcp:{between.port}:{token}"))
        assert await trio.to_thread.run_sync(ask, node.home, Asked("hello")) == Answered("hello")
        await trio.to_thread.run_sync(between.close)
    assert b'"result"' in between.said
    assert token.encode() not in between.said


# Whoever else is at the port


def _drip(sock: socket.socket) -> None:
    for letter in HELLO * 100:
        sock.sendall(bytes([letter]))
        threading.Event().wait(0.05)


def _answer_with(sock: socket.socket, line: bytes) -> None:
    sock.recv(4096)
    sock.sendall(line + HELLO)
    sock.recv(4096)


def _old_answer() -> bytes:
    """What the node answered to another caller, when it lived: anybody could hear that."""
    return Keeper(TOKEN).answer(Caller(TOKEN).challenge())


STRANGERS: dict[str, Callable[[socket.socket], object]] = {
    "says nothing": lambda sock: sock.recv(1) and sock.recv(4096) and threading.Event().wait(1),
    "leaves": lambda sock: sock.close(),
    "drips": _drip,
    "is another server": lambda sock: sock.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n"),
    "says hello": lambda sock: sock.sendall(HELLO),
    "says hello when asked": lambda sock: _answer_with(sock, b""),
    "answers without a proof": lambda sock: _answer_with(sock, b'{"type":"challenge","nonce":"00"}\n'),
    "answers with a wrong proof": lambda sock: _answer_with(sock, Keeper("guess").answer(Caller("guess").challenge())),
    "repeats an old answer": lambda sock: _answer_with(sock, _old_answer()),
    "sends the challenge back": lambda sock: sock.sendall(sock.recv(4096)),
    "answers in a strange script": lambda sock: _answer_with(
        sock, '{"type":"challenge","nonce":"\\ud800","proof":"ü"}\n'.encode()
    ),
    "answers without end": lambda sock: sock.sendall(b"x" * 1_000_000),
}


@contextlib.contextmanager
def stranger(behave: Callable[[socket.socket], object]) -> Iterator[tuple[int, bytearray]]:
    """Somebody at a port; yields it, and what the caller said there."""
    listener = socket.create_server(("127.0.0.1", 0))
    heard = bytearray()

    class Listening:
        """A socket that remembers what it heard."""

        def __init__(self, sock: socket.socket) -> None:
            self._sock = sock

        def __getattr__(self, name: str) -> Any:
            return getattr(self._sock, name)

        def recv(self, size: int) -> bytes:
            data = self._sock.recv(size)
            heard.extend(data)
            return data

    def serve() -> None:
        with contextlib.suppress(OSError):
            sock, _ = listener.accept()
            with sock, contextlib.suppress(OSError):
                behave(Listening(sock))  # type: ignore[arg-type]
                while data := sock.recv(4096):
                    heard.extend(data)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1], heard
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@pytest.mark.parametrize("name", STRANGERS)
def test_a_stranger_is_no_node_and_hears_neither_token_nor_request(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_HELLO_TIMEOUT", 0.5)
    home = Home(tmp_path)
    lock = HomeLock(home)
    with stranger(STRANGERS[name]) as (port, heard):
        lock.announce(f"tcp:{port}:{TOKEN}")
        with connect(home) as connection:
            assert connection is None
    lock.close()
    said = [json.loads(line) for line in heard.splitlines()]
    assert [line.keys() for line in said] in ([], [{"type", "nonce"}])
    assert TOKEN.encode() not in heard


def test_a_port_in_a_lock_file_that_a_killed_process_left_is_not_even_dialled(tmp_path: Path) -> None:
    """Neither the number of its process nor its port says anything: both may be somebody else's by now."""
    home = Home(tmp_path)
    home.create()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        home.lock.write_text(json.dumps({"pid": os.getpid(), "door": f"tcp:{listener.getsockname()[1]}:{TOKEN}"}))
        assert home.holder() is None
        with connect(home) as connection:
            assert connection is None
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    lock = HomeLock(home)
    assert home.holder() == Holder(os.getpid(), "")
    lock.close()


# Callers that are strangers


WRONG_CALLERS = {
    "nothing": b"",
    "a browser": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "a call without a word before": call_line(),
    "a token": call_line(token="guess"),
    "a nonce that is a number": b'{"type":"challenge","nonce":7}\n',
    "a nonce that is no text": b'{"type":"challenge","nonce":"\\ud800"}\n',
    "a line without an end": b"x" * 100_000,
    "deep nesting": b"[" * 1000 + b"\n",
}


async def _say(home: Home, *lines: bytes) -> dict[str, Any]:
    """Say lines to the node, each after an answer to the one before, and return the last answer."""
    stream = await trio.open_tcp_stream("127.0.0.1", port_and_token(home)[0])
    heard = b'{"type": "nothing"}'
    async with stream:
        for line in lines:
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(line)
                if line is lines[-1]:
                    await stream.send_eof()
                heard = await stream.receive_some() or heard
    found: dict[str, Any] = json.loads(heard)
    return found


@pytest.mark.parametrize("name", WRONG_CALLERS)
async def test_a_caller_that_proves_nothing_learns_nothing(tmp_path: Path, name: str) -> None:
    async with a_node(tmp_path) as node:
        heard = await _say(node.home, WRONG_CALLERS[name])
        lost = heard["type"] == "nothing" and name == "a line without an end"
        assert lost or (heard["type"], heard["error"]) == ("error", UsageError.__name__)
        assert "samara" not in heard
        assert await trio.to_thread.run_sync(ask, node.home, Asked("hello")) == Answered("hello")


@pytest.mark.parametrize("proof", [b"{}", b'{"type":"proof","proof":""}', b'{"type":"proof","proof":"\xc3\xbc"}'])
async def test_a_caller_with_a_wrong_proof_is_sent_away(tmp_path: Path, proof: bytes) -> None:
    async with a_node(tmp_path) as node:
        heard = await _say(node.home, Caller("guess").challenge(), proof + b"\n")
        assert (heard["type"], heard["error"]) == ("error", UsageError.__name__)
        assert await trio.to_thread.run_sync(ask, node.home, Asked("hello")) == Answered("hello")


async def test_a_proof_is_of_one_conversation_only(tmp_path: Path) -> None:
    async with a_node(tmp_path) as node:
        caller = Caller(port_and_token(node.home)[1])
        stream = await trio.open_tcp_stream("127.0.0.1", port_and_token(node.home)[0])
        async with stream:
            await stream.send_all(caller.challenge())
            proof = caller.answer(await stream.receive_some())
            assert proof is not None
            await stream.send_all(proof)
            assert json.loads(await stream.receive_some())["type"] == "hello"
        assert (await _say(node.home, caller.challenge(), proof))["error"] == UsageError.__name__


async def test_a_silent_caller_is_told_to_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_CALL_TIMEOUT", 0.1)
    async with a_node(tmp_path) as node:
        stream = await trio.open_tcp_stream("127.0.0.1", port_and_token(node.home)[0])
        async with stream:
            with trio.fail_after(20):
                assert json.loads(await stream.receive_some())["error"] == UsageError.__name__
