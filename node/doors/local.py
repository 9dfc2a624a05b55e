"""The local door: a running node answers operations on a socket that only its user can open.

A Unix socket of mode 0600 in a folder of mode 0700, in the runtime directory since paths in a long home exceed the
system's limit; where there are none, a loopback port with a token that stands in the home's lock file, and that both
ends prove to know (`proof`). Each connection carries one operation. An operation that detaches goes on when its caller
leaves; any other is cancelled.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import socket
import stat
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import trio

from samara import __version__
from samara.node.doors.proof import MAX_PROOF_LINE, Keeper
from samara.node.doors.wire import MAX_CALL, Call, ErrorLine, EventLine, HelloLine, error_line, result_line
from samara.node.operations.base import AnyOperation, Event
from samara.node.store.files import os_errors
from samara.node.store.home import Home
from samara.protocol.errors import OperationError, SamaraError, StoreError, UsageError

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = ["open_door", "serve_door"]

_log = logging.getLogger(__name__)
_UNIX: Final = hasattr(socket, "AF_UNIX")
_EVENT_BACKLOG: Final = 256
_LONGEST_FOLDER: Final = 80
"""Bytes: with the socket's own name it stays below the 104 that macOS allows."""
_SOCKET: Final = re.compile(r"[0-9]+-[0-9a-f]{8}\.sock")
_CALL_TIMEOUT: Final = 10.0
"""Seconds in which a caller must have made its call: it is on this machine, and knows what it wants."""


@contextlib.asynccontextmanager
async def open_door(home: Home) -> AsyncIterator[tuple[trio.SocketListener, str]]:
    """Open the socket of a home's node; yields the listener and how callers find it.

    Raises:
        StoreError: There is no folder for it that is private.
    """
    if not _UNIX:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        async with listeners[0]:
            yield listeners[0], f"tcp:{port}:{secrets.token_hex(16)}"
        return
    folder = _runtime_folder(home)
    _sweep(folder)
    path = folder / f"{os.getpid()}-{secrets.token_hex(4)}.sock"
    draft = path.with_suffix(".new")  # so that what has its name answers: others sweep what does not
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            with os_errors(f"cannot open the local door {path}"):
                await sock.bind(str(draft))
                draft.chmod(0o600)  # the folder is private already; a umask would be the whole process's
                sock.listen(16)
                draft.rename(path)
            async with trio.SocketListener(sock) as listener:
                yield listener, f"unix:{path}"
        finally:
            draft.unlink(missing_ok=True)
            path.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Delete the sockets that nodes left behind which were killed: those of ours at which nobody answers."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for name in [entry.name for entry in entries if _SOCKET.fullmatch(entry.name)]:
            path = folder / name
            if _is_dead(path):
                path.unlink(missing_ok=True)


def _is_dead(path: Path) -> bool:
    try:
        status = os.lstat(path)
        if not stat.S_ISSOCK(status.st_mode) or status.st_uid != os.getuid():
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.setblocking(False)  # a node that is suspended, or has many callers, lets others wait
            sock.connect(str(path))
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def _runtime_folder(home: Home) -> Path:
    """Return a folder that only this user can enter.

    It is in the runtime directory. That may be another user's (after su), or its path too long: then it is in the
    temporary folder. That may have been taken by another user: then it is in the home.
    """
    base = os.environ.get("XDG_RUNTIME_DIR")
    folders = [Path(tempfile.gettempdir()) / f"samara-{os.getuid()}", home.root / "door"]
    for folder in [Path(base) / "samara", *folders] if base else folders:
        if len(os.fsencode(folder)) > _LONGEST_FOLDER or not _can_make(folder):
            continue
        status = os.lstat(folder)
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077:
            return folder
        if status.st_uid == os.getuid():  # ours to mend
            break
    raise StoreError(f"{folder} is not a private folder of yours", hint="Remove it, or set $XDG_RUNTIME_DIR.")


def _can_make(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return False
    return True


async def serve_door(node: Node, listener: trio.SocketListener, door: str) -> None:
    """Answer callers until cancelled."""
    token = door.rpartition(":")[2] if door.startswith("tcp:") else ""

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            try:
                await _Caller(node, stream, token).serve()
            except* (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # the caller left
            except* Exception:  # the border where a caller's task ends: the node goes on
                _log.exception("a caller of the local door was left without an answer")

    await trio.serve_listeners(answer, [listener])


class _Caller:
    """One connection: one operation."""

    def __init__(self, node: Node, stream: trio.SocketStream, token: str) -> None:
        self._node = node
        self._stream = stream
        self._token = token

    async def serve(self) -> None:
        try:
            if self._token:
                keeper = Keeper(self._token)
                await self._stream.send_all(keeper.answer(await self._read_line(MAX_PROOF_LINE)))
                keeper.check(await self._read_line(MAX_PROOF_LINE))
            await self._say(HelloLine(__version__, os.getpid()))
            call, operation, request = self._understand(await self._read_line(MAX_CALL))
        except SamaraError as error:
            await self._say(error_line(error))
            return
        _log.debug("door: %s", call.operation)
        await self._run(operation, request)

    def _understand(self, line: bytes) -> tuple[Call, AnyOperation, object]:
        try:
            call = msgspec.json.decode(line, type=Call)
            operation = self._node.operation(call.operation)
            return call, operation, msgspec.json.decode(call.request, type=operation.request)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise UsageError(f"the local door did not understand its caller: {error}") from error

    async def _run(self, operation: AnyOperation, request: object) -> None:
        # Events of a slow reader are dropped, not queued without end: each stands for itself.
        send, receive = trio.open_memory_channel[Event](_EVENT_BACKLOG)

        def report(event: Event) -> None:
            with contextlib.suppress(trio.WouldBlock, trio.ClosedResourceError, trio.BrokenResourceError):
                send.send_nowait(event)

        outcome: list[bytes] = []

        async def work() -> None:
            with send:
                try:
                    result = await self._node.run(operation, request, report)
                    outcome.append(result_line(operation.name, result))
                except SamaraError as error:
                    outcome.append(_encoded(error_line(error)))
                except Exception as error:
                    _log.exception("operation %s failed", operation.name)
                    outcome.append(_encoded(error_line(OperationError(f"{operation.name} failed: {error!r}"))))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cancel_when_left, nursery.cancel_scope)
            nursery.start_soon(work)
            async with receive:
                async for event in receive:
                    with contextlib.suppress(UnicodeEncodeError):  # a file's name that is not UTF-8: the next may be
                        await self._say(EventLine(event))
            nursery.cancel_scope.cancel()
        if outcome:
            await self._stream.send_all(outcome[0])

    async def _cancel_when_left(self, scope: trio.CancelScope) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while await self._stream.receive_some(1024):
                pass
        scope.cancel()

    async def _read_line(self, most: int) -> bytes:
        buffer = bytearray()
        with trio.move_on_after(_CALL_TIMEOUT):
            while not buffer.endswith(b"\n"):
                data = await self._stream.receive_some(65536)
                buffer += data
                if not data or len(buffer) > most:
                    break
            if len(buffer) > most:
                raise UsageError(f"the local door takes lines of at most {most} bytes here")
            return bytes(buffer)
        raise UsageError(f"nobody called within {_CALL_TIMEOUT:.0f} s at the local door")

    async def _say(self, line: HelloLine | EventLine | ErrorLine) -> None:
        await self._stream.send_all(_encoded(line))


def _encoded(line: HelloLine | EventLine | ErrorLine) -> bytes:
    return msgspec.json.encode(line) + b"\n"
