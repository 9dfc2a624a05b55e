"""The local door from the other side: callers that are hostile, silent, gone or slow, and a node that goes on."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.doors import ERRORS, Answered, Asked, a_node, ask, call_line, door_of

from samara.node.app import Node
from samara.node.doors import local
from samara.node.doors.client import connect
from samara.node.doors.wire import MAX_CALL, ErrorLine, error_of
from samara.node.fetch.swarm import WrongChunkError
from samara.node.operations.base import Event, Progress
from samara.node.store.home import Home, HomeLock
from samara.protocol import errors
from samara.protocol.errors import NotFoundError, OperationError, SamaraError, UsageError

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs Unix sockets")


@pytest.fixture(autouse=True)
def _runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))


async def _say(node: Node, data: bytes) -> dict[str, Any]:
    """Say something to the door, and return the last line of its answer."""
    stream = await trio.open_unix_socket(door_of(node.home).removeprefix("unix:"))
    async with stream:
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(data)
            await stream.send_eof()
        heard = bytearray()
        with contextlib.suppress(trio.BrokenResourceError):
            async for piece in stream:
                heard += piece
    found: dict[str, Any] = json.loads(heard.splitlines()[-1])
    return found


async def test_the_socket_is_private_and_goes_with_the_node(tmp_path: Path) -> None:
    async with a_node(tmp_path) as node:
        door = Path(door_of(node.home).removeprefix("unix:"))
        assert stat.S_IMODE(os.stat(door).st_mode) == 0o600
        assert stat.S_IMODE(os.stat(door.parent).st_mode) == 0o700
    assert not await trio.Path(door).exists()
    assert node.home.holder() is None


async def test_a_runtime_folder_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run/samara").mkdir(parents=True)
    (tmp_path / "run/samara").chmod(0o755)
    with pytest.raises(Exception, match="not a private folder"):
        async with a_node(tmp_path):
            pass


async def test_an_operation_answers_with_its_events_and_its_result(tmp_path: Path) -> None:
    events: list[Event] = []
    async with a_node(tmp_path) as node:
        asked = Asked("hello", 3)
        assert await trio.to_thread.run_sync(ask, node.home, asked, events.append) == Answered("hello")
    assert events == [Progress("echoing", n, 3) for n in range(3)]


@pytest.mark.parametrize(
    ("what", "kind"), [("missing", NotFoundError), ("bug", OperationError)], ids=["its own", "a bug"]
)
async def test_an_error_reaches_the_caller_as_its_own_class(tmp_path: Path, what: str, kind: type[Exception]) -> None:
    async with a_node(tmp_path) as node:
        with pytest.raises(kind) as raised:
            await trio.to_thread.run_sync(ask, node.home, Asked(what))
        assert type(raised.value) is kind


async def test_every_error_passes_the_door(tmp_path: Path) -> None:
    assert {errors.PeerBusyError, errors.PeerRefusedError, WrongChunkError} <= set(ERRORS.values())
    async with a_node(tmp_path) as node:
        for name, kind in ERRORS.items():
            with pytest.raises(SamaraError) as raised:
                await trio.to_thread.run_sync(ask, node.home, Asked(name))
            heard = raised.value
            told = kind if kind.__module__ == errors.__name__ else kind.__base__
            assert type(heard) is told
            assert (heard.message, heard.hint) == (f"what happened to \\udcff, {name}", "What to do next.")
            assert heard.exit_code == kind.exit_code


def test_an_error_of_a_newer_node_is_an_operation_error() -> None:
    for name in ("QuantumError", "ClassVar", "name_of", "__name__", ""):
        heard = error_of(ErrorLine(name, "what happened", "what to do"))
        assert (type(heard), heard.message, heard.hint) == (OperationError, "what happened", "what to do")


async def test_an_event_that_is_no_text_is_left_out(tmp_path: Path) -> None:
    heard: list[Event] = []
    async with a_node(tmp_path) as node:
        asked = Asked("odd note")
        assert await trio.to_thread.run_sync(ask, node.home, asked, heard.append) == Answered("odd note")
    assert [event.note for event in heard if isinstance(event, Progress)] == ["", "after it"]


async def test_a_request_that_is_no_text_is_bad_usage(tmp_path: Path) -> None:
    async with a_node(tmp_path) as node:
        with pytest.raises(UsageError, match=r"'\\udcff' is not UTF-8"):
            await trio.to_thread.run_sync(ask, node.home, Asked("\udcff"))
        assert (await _say_and_wait(node))["type"] == "result"


HOSTILE = {
    "nothing": b"",
    "an empty line": b"\n",
    "no JSON": b"GET / HTTP/1.1\r\n\r\n",
    "no UTF-8": b'{"type":"call","operation":"\xff\xfe","request":{}}\n',
    "a list": b"[]\n",
    "a number": b"17\n",
    "half a line": call_line()[:20],
    "another type": b'{"type":"result","result":{}}\n',
    "no request": b'{"type":"call","operation":"echo"}\n',
    "an unknown operation": call_line(operation="rm -rf"),
    "an operation that is a number": call_line(operation=7),
    "a request without its field": call_line(request={}),
    "a request with a wrong type": call_line(request={"what": 5}),
    "a request that is no object": call_line(request=[1]),
    "a request that is null": call_line(request=None),
    "a lone surrogate": b'{"type":"call","operation":"\\ud800","request":{}}\n',
    "deep nesting": b'{"type":"call","operation":"echo","request":' + b"[" * 50_000 + b"]" * 50_000 + b"}\n",
    "deep nesting in a field": b'{"x":' + b"[" * 50_000 + b"]" * 50_000 + b',"type":"call"}\n',
    "a huge number": b'{"type":"call","operation":"echo","request":{"what":"x","times":' + b"9" * 9000 + b"}}\n",
    "two lines": call_line() + call_line(),
    "a line without an end": b"x" * (MAX_CALL + 100_000),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_bytes_get_a_typed_error_and_the_node_goes_on(tmp_path: Path, name: str) -> None:
    async with a_node(tmp_path) as node:
        heard = await _say(node, HOSTILE[name])
        # A caller that sends more than is read may lose the answer, and gets the greeting alone.
        lost = heard["type"] == "hello" and name == "a line without an end"
        assert lost or (heard["type"], heard["error"]) == ("error", "UsageError")
        assert (await _say_and_wait(node))["result"] == {"what": "x"}


async def test_an_unknown_field_is_ignored(tmp_path: Path) -> None:
    async with a_node(tmp_path) as node:
        assert (await _say_and_wait(node, call_line(later=1, request={"what": "x", "later": [1]})))["type"] == "result"


async def _say_and_wait(node: Node, data: bytes = call_line()) -> dict[str, Any]:
    """A caller that behaves: it leaves when it has its answer."""
    stream = await trio.open_unix_socket(door_of(node.home).removeprefix("unix:"))
    async with stream:
        await stream.send_all(data)
        heard = bytearray()
        with trio.fail_after(10):
            while b'"result"' not in heard and b'"error"' not in heard:
                piece = await stream.receive_some()
                assert piece, heard
                heard += piece
    found: dict[str, Any] = json.loads(heard.splitlines()[-1])
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200) | st.text(max_size=200).map(str.encode), cut=st.integers(0, 100))
def test_no_bytes_end_the_node(tmp_path: Path, data: bytes, cut: int) -> None:
    call = call_line()

    async def main() -> None:
        async with a_node(tmp_path) as node:
            with contextlib.suppress(trio.BrokenResourceError):
                await _say(node, call[:cut] + data + call[cut:])
            assert (await _say_and_wait(node))["type"] == "result"

    trio.run(main)


async def test_a_silent_caller_is_told_to_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_CALL_TIMEOUT", 0.1)
    async with a_node(tmp_path) as node:
        stream = await trio.open_unix_socket(door_of(node.home).removeprefix("unix:"))
        async with stream:
            heard = b""
            with trio.fail_after(5):
                while b"\n" not in heard.partition(b"\n")[2]:
                    heard += await stream.receive_some()
        assert json.loads(heard.splitlines()[-1])["error"] == UsageError.__name__
        assert (await _say_and_wait(node))["type"] == "result"


async def test_callers_that_vanish_while_events_come_do_not_end_the_node(tmp_path: Path) -> None:
    async with a_node(tmp_path) as node:
        for n in range(40):
            stream = await trio.open_unix_socket(door_of(node.home).removeprefix("unix:"))
            await stream.send_all(call_line(request={"what": "x", "times": 2000}))
            for _ in range(n % 4):
                await stream.receive_some(100)
            await stream.aclose()
        assert (await _say_and_wait(node))["type"] == "result"
        with trio.fail_after(5):
            await node.wait_idle()


async def test_an_operation_that_does_not_detach_ends_when_its_caller_leaves(tmp_path: Path) -> None:
    async with a_node(tmp_path) as node:
        stream = await trio.open_unix_socket(door_of(node.home).removeprefix("unix:"))
        await stream.send_all(call_line(request={"what": "wait"}))
        await stream.receive_some()
        await trio.sleep(0.05)
        with trio.move_on_after(0.1) as waited:
            await node.wait_idle()
        assert waited.cancelled_caught
        await stream.aclose()
        with trio.fail_after(5):
            await node.wait_idle()


async def test_a_caller_that_never_reads_holds_nothing_up(tmp_path: Path) -> None:
    async with a_node(tmp_path) as node:
        stream = await trio.open_unix_socket(door_of(node.home).removeprefix("unix:"))
        async with stream:
            await stream.send_all(call_line(request={"what": "x", "times": 50_000}))
            with trio.fail_after(10):
                assert (await _say_and_wait(node))["type"] == "result"
                await node.wait_idle()


def test_a_door_that_nobody_opens_any_more_is_no_door(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    lock = HomeLock(home)
    for door in ("unix:/nowhere", "unix:\0", "tcp:1:token", "tcp:99999:token", "tcp:no:token", "", "odd"):
        lock.announce(door)
        with connect(home) as connection:
            assert connection is None
    lock.close()


def test_a_node_that_has_no_place_for_callers_is_none(tmp_path: Path) -> None:
    """As one that is suspended, and that others have called before."""
    home = Home(tmp_path / "home")
    lock = HomeLock(home)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(tmp_path / "s"))
        listener.listen(0)
        lock.announce(f"unix:{tmp_path / 's'}")
        with contextlib.suppress(BlockingIOError):
            while True:
                waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
                waiting.setblocking(False)
                waiting.connect(str(tmp_path / "s"))
        with connect(home) as connection:
            assert connection is None
    lock.close()


# What killed nodes leave behind


def leave(path: Path) -> Path:
    """Leave a socket behind, as a process does that is killed."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    return path


async def test_sockets_of_killed_nodes_are_swept(tmp_path: Path) -> None:
    folder = tmp_path / "run/samara"
    folder.mkdir(parents=True, mode=0o700)
    left = [leave(folder / f"{n}-0123abcd.sock") for n in (1, os.getpid(), 4194304)]
    strangers = [leave(folder / name) for name in ("other.sock", "1-0123abcd.sock.bak", "1-0123ABCD.sock", "engine")]
    plain, folder_of_that_name = folder / "2-0123abcd.sock", folder / "3-0123abcd.sock"
    plain.write_text("no socket")
    folder_of_that_name.mkdir()
    link = folder / "5-0123abcd.sock"
    link.symlink_to(leave(tmp_path / "elsewhere"))
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(str(folder / "6-0123abcd.sock"))
        alive.listen(1)
        async with a_node(tmp_path) as node:
            assert not any(map(os.path.lexists, left))
            kept = [*strangers, plain, folder_of_that_name, link, tmp_path / "elsewhere", folder / "6-0123abcd.sock"]
            assert all(map(os.path.lexists, kept))
            assert (await _say_and_wait(node))["type"] == "result"


async def test_a_node_that_runs_keeps_its_socket(tmp_path: Path) -> None:
    """Also one that is suspended and has many callers: its system says nothing for it, but does not refuse."""
    async with a_node(tmp_path / "a") as first, a_node(tmp_path / "b") as second:
        assert (await _say_and_wait(first))["type"] == "result"
        with socket.socket(socket.AF_UNIX) as busy, contextlib.ExitStack() as stack:
            path = Path(door_of(first.home).removeprefix("unix:")).with_name("9-0123abcd.sock")
            busy.bind(str(path))
            busy.listen(0)
            with contextlib.suppress(BlockingIOError):
                while True:
                    waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
                    waiting.setblocking(False)
                    waiting.connect(str(path))
            async with a_node(tmp_path / "c"):
                assert path.exists()
        for node in (first, second):
            assert (await _say_and_wait(node))["type"] == "result"


def test_a_sweep_that_may_not_look_is_none(tmp_path: Path) -> None:
    local._sweep(tmp_path / "nowhere")
