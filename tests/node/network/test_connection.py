"""A connection over real sockets: bytes arrive as they were sent, and nobody can stop, fill or tear it for others."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio

from samara.node.network import connection as connection_module
from samara.node.network.caps import Caps, TokenBucket
from samara.node.network.connection import MuxedConnection
from samara.node.network.muxed_stream import MuxedStream
from samara.node.network.tcp import TcpStream
from samara.node.network.upgrade import Upgrader
from samara.protocol import limits
from samara.protocol.errors import NetworkError, RemoteProtocolError
from samara.protocol.yamux.frames import SYN, Kind, header

MIB = limits.MIB


@contextlib.asynccontextmanager
async def connected(
    *, aes: tuple[bool, bool] = (True, True), caps: tuple[Caps, Caps] | None = None
) -> AsyncIterator[tuple[MuxedConnection, MuxedConnection]]:
    """Two ends of one connection over loopback, both running: who dialled, and who was dialled."""
    ours, theirs = caps or (Caps(), Caps())
    alice, bob = Upgrader(b"\1" * 32, ours, aes=aes[0]), Upgrader(b"\2" * 32, theirs, aes=aes[1])
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    ends: dict[str, MuxedConnection] = {}

    async def answer() -> None:
        ends["bob"] = await bob.upgrade(TcpStream(await listener.accept()), None)

    async def dial() -> None:
        stream = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        ends["alice"] = await alice.upgrade(TcpStream(stream), bob.peer)

    with trio.fail_after(60):
        async with listener, trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            nursery.start_soon(dial)
        assert (ends["alice"].peer, ends["bob"].peer) == (bob.peer, alice.peer)
        async with trio.open_nursery() as nursery:
            await nursery.start(ends["alice"].run)
            await nursery.start(ends["bob"].run)
            yield ends["alice"], ends["bob"]
            await ends["alice"].close()
            await ends["bob"].close()


async def stream_pair(alice: MuxedConnection, bob: MuxedConnection) -> tuple[MuxedStream, MuxedStream]:
    ours = await alice.open()
    theirs = await bob.accept()
    assert theirs is not None
    return ours, theirs


async def receive_all(stream: MuxedStream) -> bytes:
    data = bytearray()
    while piece := await stream.receive_some(MIB):
        data += piece
    return bytes(data)


@dataclass
class Collector:
    """A sink with buffers of a size, that also says what was put in place and what was fed."""

    size: int
    data: bytearray = field(default_factory=bytearray)
    placed: int = 0
    fed: int = 0
    fail_at: int | None = None

    def __post_init__(self) -> None:
        self._buffer = memoryview(bytearray(self.size))
        self._filled = 0

    def room(self, count: int) -> memoryview | None:
        left = self._buffer[self._filled :]
        return left[:count] if len(left) >= count else None

    def filled(self, count: int) -> None:
        self.placed += count
        self.data += self._buffer[self._filled : self._filled + count]
        self._filled = (self._filled + count) % self.size
        self._look()

    def feed(self, data: memoryview) -> None:
        self.fed += len(data)
        self.data += data
        self._look()

    def _look(self) -> None:
        if self.fail_at is not None and len(self.data) >= self.fail_at:
            raise RemoteProtocolError("enough of that")


@pytest.mark.parametrize("aes", [(True, True), (True, False), (False, True)])
async def test_what_is_sent_arrives_both_ways_at_once(aes: tuple[bool, bool]) -> None:
    data = {name: random.Random(name).randbytes(5 * MIB + 1) for name in ("up", "down")}
    got: dict[str, bytes] = {}
    async with connected(aes=aes) as (alice, bob):
        ours, theirs = await stream_pair(alice, bob)

        async def take(name: str, stream: MuxedStream) -> None:
            got[name] = await receive_all(stream)

        async def send(name: str, stream: MuxedStream) -> None:
            rest = memoryview(data[name])
            pieces = random.Random(1)
            while rest:
                size = pieces.choice([1, 100, 8192, 8193, 65_519, 65_520, 262_144, 300_000])
                await stream.send_parts((rest[: size // 2], b"", rest[size // 2 : size]))
                rest = rest[size:]
            await stream.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take, "up", theirs)
            nursery.start_soon(take, "down", ours)
            nursery.start_soon(send, "up", ours)
            nursery.start_soon(send, "down", theirs)
        assert got == data
        assert ours.ended
        assert theirs.ended


@pytest.mark.parametrize("size", [1000, 65_519, MIB])
async def test_a_sink_gets_the_same_bytes_and_bulk_in_place(size: int) -> None:
    data = random.Random(size).randbytes(3 * MIB)
    async with connected() as (alice, bob):
        ours, theirs = await stream_pair(alice, bob)
        sink = Collector(size)

        async def send() -> None:
            for start in range(0, len(data), size):
                await ours.send_all(data[start : start + size])
            await ours.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await theirs.receive_to(sink)
        assert sink.data == data
        if size > connection_module._SMALL:
            assert sink.placed > len(data) * 0.9


async def test_what_a_sink_refuses_resets_its_stream_and_no_other() -> None:
    async with connected() as (alice, bob):
        bad, theirs = await stream_pair(alice, bob)
        good, also = await stream_pair(alice, bob)

        async def refuse() -> None:
            with pytest.raises(RemoteProtocolError, match="enough of that"):
                await theirs.receive_to(Collector(1000, fail_at=100_000))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(refuse)
            with contextlib.suppress(NetworkError):
                while True:
                    await bad.send_all(bytes(10_000))
        assert bad.ended
        await good.send_all(b"still here")
        assert await also.receive_some(100) == b"still here"


async def test_a_reader_that_stops_holds_up_its_own_stream_only() -> None:
    async with connected() as (alice, bob):
        stuck, unread = await stream_pair(alice, bob)
        free, read = await stream_pair(alice, bob)
        sent = 0
        with trio.move_on_after(0.5) as waiting:
            while True:
                await stuck.send_all(bytes(10_000))
                sent += 10_000
        assert waiting.cancelled_caught
        assert sent <= limits.STREAM_WINDOW
        await free.send_all(b"go on")
        assert await read.receive_some(100) == b"go on"
        # What was cut off is lost to that stream alone; what had gone is there.
        await stuck.close()
        assert limits.STREAM_WINDOW >= len(await receive_all(unread)) >= sent


async def test_a_socket_is_not_read_while_too_much_lies_unread() -> None:
    async with connected() as (alice, bob):
        pairs = [await stream_pair(alice, bob) for _ in range(8)]
        async with trio.open_nursery() as nursery:
            for ours, _ in pairs:
                nursery.start_soon(ours.send_all, bytes(limits.STREAM_WINDOW))
            await trio.sleep(0.5)
            assert bob._unread <= limits.MAX_UNREAD + connection_module._RECEIVE
            lengths: list[int] = []

            async def take(theirs: MuxedStream) -> None:
                lengths.append(len(await receive_all(theirs)))

            for ours, theirs in pairs:
                await ours.close()
                nursery.start_soon(take, theirs)
        assert lengths == [limits.STREAM_WINDOW] * len(pairs)


async def test_a_reset_is_heard_by_both_ends() -> None:
    async with connected() as (alice, bob):
        ours, theirs = await stream_pair(alice, bob)
        await theirs.reset()
        with pytest.raises(NetworkError, match="reset"):
            await ours.receive_some(1)
        with pytest.raises(NetworkError):
            await theirs.send_all(b"x")
        assert ours.ended
        assert theirs.ended


async def test_half_closed_it_still_brings_something() -> None:
    async with connected() as (alice, bob):
        ours, theirs = await stream_pair(alice, bob)
        await ours.send_all(b"question")
        await ours.close()
        assert await receive_all(theirs) == b"question"
        await theirs.send_all(b"answer")
        await theirs.close()
        assert await receive_all(ours) == b"answer"
        with pytest.raises(NetworkError, match="closed"):
            await ours.send_all(b"more")


async def test_the_end_of_a_connection_is_the_end_of_its_streams() -> None:
    async with connected() as (alice, bob):
        ours, theirs = await stream_pair(alice, bob)
        await alice.close()
        with pytest.raises(NetworkError):
            await theirs.receive_some(1)
        with pytest.raises(NetworkError):
            await ours.send_all(b"x")
        with pytest.raises(NetworkError):
            await alice.open()
        assert await bob.accept() is None


async def test_streams_that_come_after_the_end_are_nothing() -> None:
    async with connected() as (_, bob):
        bob._scope.cancel()
        bob._close(NetworkError("the writer failed"))
        bob._heed_all(memoryview(header(Kind.WINDOW, SYN, 1, 0)))
        assert await bob.accept() is None


async def test_streams_beyond_the_limit_are_reset() -> None:
    async with connected() as (alice, bob):
        streams = [await alice.open() for _ in range(limits.MAX_STREAMS_PER_PEER + 5)]
        refused = 0
        for stream in streams:
            with trio.move_on_after(0.2), contextlib.suppress(NetworkError):
                await stream.receive_some(1)
            refused += stream.ended
        assert refused == 5
        assert not bob.closed


async def test_silence_is_asked_about_and_a_living_peer_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KEEP_ALIVE", 0.1)
    async with connected() as (alice, bob):
        ours, theirs = await stream_pair(alice, bob)
        await trio.sleep(0.6)
        await ours.send_all(b"there?")
        assert await theirs.receive_some(10) == b"there?"


async def test_a_peer_that_is_gone_without_a_word_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KEEP_ALIVE", 0.1)
    async with connected() as (alice, bob):
        ours, _theirs = await stream_pair(alice, bob)

        async def deaf(buffer: memoryview) -> int:
            await trio.sleep_forever()
            raise AssertionError

        monkeypatch.setattr(bob.tcp, "receive_into", deaf, raising=False)
        await ours.send_all(b"the last that it reads")
        with pytest.raises(NetworkError):
            await ours.receive_some(1)


@pytest.mark.no_cover
@pytest.mark.parametrize("way", ["upload", "download"])
async def test_a_cap_is_kept_and_counts_every_byte_of_the_socket(way: str) -> None:
    rate, seconds = 1_000_000, 3.0
    capped = Caps(TokenBucket(rate)) if way == "upload" else Caps(download=TokenBucket(rate))
    async with connected(caps=(capped, Caps()) if way == "upload" else (Caps(), capped)) as (alice, bob):
        ours, theirs = await stream_pair(alice, bob)
        sink = Collector(MIB)

        async def send() -> None:
            with contextlib.suppress(NetworkError):
                while True:
                    await ours.send_all(bytes(50_000))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            nursery.start_soon(theirs.receive_to, sink)
            await trio.sleep(0.5)
            began, before = trio.current_time(), len(sink.data)
            await trio.sleep(seconds)
            moved, took = len(sink.data) - before, trio.current_time() - began
            assert moved <= rate * took * 1.05 + 110_000  # never faster; a bucket holds a tenth of a second
            assert moved >= rate * took * 0.5  # a loaded machine may be late, and what is late is not lost
            assert (alice if way == "upload" else bob).held_back > 0
            nursery.cancel_scope.cancel()


async def test_every_byte_of_the_sockets_counts_from_the_handshake_on() -> None:
    ours, theirs = Caps(), Caps()
    async with connected(caps=(ours, theirs)) as (alice, bob):
        shaken = ours.upload.passed, ours.download.passed
        assert min(shaken) > 100  # keys, signatures, names of protocols
        stream, other = await stream_pair(alice, bob)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, bytes(MIB))
            sink = Collector(MIB)
            nursery.start_soon(other.receive_to, sink)
            while len(sink.data) < MIB:  # noqa: ASYNC110 - a sink has no event
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        assert ours.upload.passed - shaken[0] > MIB  # headers and tags, too
        for caps, end in ((ours, alice), (theirs, bob)):
            while caps.upload.passed != end.tcp.sent:  # noqa: ASYNC110 - what is counted is on its way
                await trio.sleep(0.01)
            assert caps.download.passed == end.tcp.received


@pytest.mark.no_cover
async def test_a_node_at_zero_answers_pings_and_moves_no_bulk() -> None:
    stopped = Caps(TokenBucket(0), TokenBucket(0))
    async with connected(caps=(Caps(), stopped)) as (alice, bob):
        ours, theirs = await stream_pair(alice, bob)
        began, before = trio.current_time(), bob.tcp.sent
        await ours.send_all(b"how are you")
        assert await theirs.receive_some(100) == b"how are you"
        await theirs.send_all(b"well")
        assert await ours.receive_some(100) == b"well"
        with trio.move_on_after(2):
            await theirs.send_all(bytes(MIB))
        took = trio.current_time() - began
        assert bob.tcp.sent - before <= limits.TRICKLE * (took + 0.2) + 2 * limits.KIB


async def test_a_bug_in_a_sink_ends_its_stream_alone(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Collector):
        def feed(self, data: memoryview) -> None:
            raise ZeroDivisionError

        def room(self, count: int) -> Any:
            return None

    async with connected() as (alice, bob):
        ours, theirs = await stream_pair(alice, bob)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours.send_all, b"x")
            with pytest.raises(NetworkError, match="failed here"):
                await theirs.receive_to(Broken(10))
        free, read = await stream_pair(alice, bob)
        await free.send_all(b"go on")
        assert await read.receive_some(100) == b"go on"
    assert "ZeroDivisionError" in caplog.text
