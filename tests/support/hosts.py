"""Hosts on loopback that speak to each other."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import trio

from samara.node.network.host import Host, open_host
from samara.node.network.transport import PeerAddress, Stream
from samara.protocol.addresses import parse_address

HERE = parse_address("/ip4/127.0.0.1/tcp/0")
ECHO = "/echo/1"
MIB = 1 << 20


def host(number: int, **options: Any) -> contextlib.AbstractAsyncContextManager[Host]:
    return open_host(seed=bytes([number]) * 32, listen=options.pop("listen", [HERE]), **options)


@contextlib.asynccontextmanager
async def pair(**options: Any) -> AsyncIterator[tuple[Host, Host]]:
    """Two hosts; the second serves `ECHO`, and has the options."""
    async with host(1) as a, host(2, **options) as b:
        b.serve(ECHO, echo)
        yield a, b


def at(other: Host) -> PeerAddress:
    return PeerAddress(other.peer, other.listening())


async def echo(stream: Stream) -> None:
    while data := await stream.receive_some(65536):
        await stream.send_all(data)


async def receive_all(stream: Stream) -> bytes:
    received = bytearray()
    while data := await stream.receive_some(65536):
        received += data
    return bytes(received)


async def ask(stream: Stream, data: bytes) -> bytes:
    await stream.send_all(data)
    await stream.aclose()
    return await receive_all(stream)


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - the host has no events for tests
            await trio.sleep(0.01)
