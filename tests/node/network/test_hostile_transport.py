"""Peers that are hostile to the transport, by name, against a real host over loopback: it costs them, and nobody else.

Attackers come from 127.0.0.2 and beyond, the honest peer from 127.0.0.1: they are different addresses to the host.
"""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from support.attacked_node import AttackedNode
from support.hosts import ECHO, MIB, ask, at, host, pair, receive_all, until
from support.raw_attacks import ATTACKS, Target
from support.raw_peer import HEADER_LINE, RawPeer, bare, data, negotiation, opening

from samara.node.network import admission as admission_module
from samara.node.network import effort as effort_module
from samara.node.network import host as host_module
from samara.node.network import tcp as tcp_module
from samara.node.network import upgrade as upgrade_module
from samara.node.network.host import Host
from samara.node.network.transport import PeerAddress, Stream
from samara.protocol import limits
from samara.protocol.multistream import line
from samara.protocol.noise import AES, CHACHA, Suite
from samara.protocol.yamux.frames import FIN, RST, SYN, Kind, header

FOREIGN = "127.0.0.2"
PING = "/ipfs/ping/1.0.0"
IDENTIFY = "/ipfs/id/1.0.0"
ENDED = 30.0
"""Seconds within which an attack has ended on any machine; those that go on until they are refused would never."""


@contextlib.asynccontextmanager
async def attacked(**options: Any) -> AsyncIterator[tuple[Host, str]]:
    """A host and its address, with an honest peer that sees to the end that it is served, byte for byte."""
    async with pair(**options) as (a, b):
        stream = await a.open_stream(at(b), ECHO, timeout=5)
        yield b, b.listening()[0]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(echoed, stream, 1 * MIB)
        await stream.reset()
        assert await ask(await a.open_stream(at(b), ECHO, timeout=5), b"unharmed") == b"unharmed"
        assert len(b._links[a.peer]) == 1


async def echoed(stream: Stream, count: int) -> None:
    """Send so many bytes and have them back, right."""
    sent = random.Random(count).randbytes(count)
    received = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, sent)
        while len(received) < count:
            received += await stream.receive_some(65536)
    assert received == sent


def others(target: Host) -> int:
    """Places that are held by others than one honest peer."""
    return target._admission.used - 1


@pytest.mark.parametrize("name", ATTACKS)
async def test_an_attack_ends_and_the_honest_are_served_meanwhile(name: str) -> None:
    """Eight at once from one address, eight from as many others."""
    async with pair() as (a, b):
        stream = await a.open_stream(at(b), ECHO, timeout=5)
        with trio.fail_after(ENDED):
            async with trio.open_nursery() as nursery:
                for number in range(8):
                    nursery.start_soon(ATTACKS[name], Target(b.listening()[0], FOREIGN, 0.5))
                    nursery.start_soon(ATTACKS[name], Target(b.listening()[0], f"127.0.0.{number + 3}", 0.5))
                nursery.start_soon(echoed, stream, 4 * MIB)
        await until(lambda: others(b) == 0, 20)
        await echoed(stream, 100_000)


# Sockets and handshakes.


async def test_400_silent_sockets_of_one_address_hold_8_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_module, "UPGRADE_TIMEOUT", 2.0)
    async with attacked() as (target, address), contextlib.AsyncExitStack() as sockets:
        for _ in range(400):
            await sockets.enter_async_context(await bare(address, FOREIGN))
            assert others(target) <= limits.MAX_CONNECTIONS_PER_IP
        await until(lambda: others(target) == 0)


async def test_400_silent_sockets_of_50_addresses_leave_the_places_that_are_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(host_module, "UPGRADE_TIMEOUT", 4.0)
    most = int(limits.MAX_CONNECTIONS * limits.MAX_INBOUND_SHARE)
    async with attacked() as (target, address), contextlib.AsyncExitStack() as sockets, host(3) as c:
        for number in range(400):
            await sockets.enter_async_context(await bare(address, f"127.0.1.{1 + number % 50}"))
        await until(lambda: target._admission.used == most)
        link = await target.open_stream(at(c), PING, timeout=5)
        await link.reset()
        await until(lambda: others(target) == 1)


async def pinged(address: str, source: str) -> bool:
    """Whether a newcomer is let in, does its handshake, and is answered."""
    with contextlib.suppress(EOFError, trio.BrokenResourceError):
        async with RawPeer.dial(address, source=source) as peer:
            await peer.send(header(Kind.PING, SYN, 0, 6))
            return await pong(peer) == 6
    return False


async def test_400_silent_sockets_of_50_addresses_make_way_for_another_address_at_once() -> None:
    async with attacked() as (target, address), contextlib.AsyncExitStack() as sockets:
        for number in range(400):
            await sockets.enter_async_context(await bare(address, f"127.0.1.{1 + number % 50}"))
        await until(lambda: target._admission.used == int(limits.MAX_CONNECTIONS * limits.MAX_INBOUND_SHARE))
        for number in range(20):
            assert await pinged(address, f"127.0.2.{1 + number}")


async def test_silent_sockets_make_way_after_a_while_for_one_of_their_own_address() -> None:
    """And 400 of as many addresses for anybody: long before their time for the handshake is over."""
    for flood in ([FOREIGN] * 400, [f"127.0.{1 + number // 200}.{1 + number % 200}" for number in range(400)]):
        async with attacked() as (_, address), contextlib.AsyncExitStack() as sockets:
            for source in flood:
                await sockets.enter_async_context(await bare(address, source))
            began = trio.current_time()
            while not await pinged(address, flood[0]):  # noqa: ASYNC110 - it is refused until it is let in
                await trio.sleep(0.1)
            assert trio.current_time() - began < limits.UPGRADE_TIMEOUT - 1


async def test_a_handshake_that_made_way_is_hung_up_on() -> None:
    async with attacked() as (_, address), contextlib.AsyncExitStack() as sockets:
        silent = [await sockets.enter_async_context(await bare(address, FOREIGN)) for _ in range(8)]
        await trio.sleep(limits.HALF_OPEN_PATIENCE + 0.1)
        assert await pinged(address, FOREIGN)
        with trio.fail_after(5):
            while await silent[0].receive_some():
                pass


@pytest.mark.parametrize("suite", [AES, CHACHA], ids=lambda suite: suite.protocol)
async def test_what_is_cut_off_at_any_byte_ends_and_leaves_nothing(suite: Suite) -> None:
    """A whole visit, hung up on after each of its bytes in turn: negotiation, handshake, records, frames, a stream."""

    async def visit(cut: int) -> bool:
        try:
            async with RawPeer.dial(address, source=f"127.0.0.{2 + cut % 200}", suite=suite, cut=cut) as peer:
                await peer.send(negotiation(1, ECHO))
                await peer.send(data(1, b"hello", FIN))
                while b"hello" not in (await peer.frame())[-1]:
                    pass
        except EOFError:
            return False
        return True

    async with attacked() as (target, address):
        cut = 1
        while not await visit(cut):
            cut += 1
        assert cut > 300
        await until(lambda: others(target) == 0 and sum(target._served.values()) == 1)  # the honest one


@pytest.mark.parametrize("begun", ["", "negotiation", "message"])
async def test_a_handshake_at_a_byte_a_moment_is_given_up(begun: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_module, "UPGRADE_TIMEOUT", 0.5)
    said = HEADER_LINE + line(AES.protocol)
    before = {"": b"", "negotiation": said[:25], "message": said + b"\x20\x00"}[begun]
    slow = {"": said[:1], "negotiation": said[25:], "message": bytes(8000)}[begun]
    async with attacked() as (target, address), await bare(address, FOREIGN) as stream:
        await stream.send_all(before)
        with trio.fail_after(5), contextlib.suppress(trio.BrokenResourceError):
            for byte in slow:
                await stream.send_all(bytes([byte]))
                await trio.sleep(0.05)
            while await stream.receive_some():
                pass
        await until(lambda: others(target) == 0)


async def test_who_breaks_the_rules_has_a_place_less_and_its_neighbours_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admission_module, "PENALTY", 1.5)
    async with attacked() as (target, address):
        for _ in range(limits.MAX_CONNECTIONS_PER_IP):
            async with RawPeer.dial(address, source=FOREIGN) as peer:
                await peer.send(b"\xff" * 12)
                await peer.until_refused()
        await until(lambda: others(target) == 0)
        with pytest.raises(EOFError):
            async with RawPeer.dial(address, source=FOREIGN):
                pytest.fail("it is back at once")
        async with RawPeer.dial(address, source="127.0.0.3"):
            assert others(target) == 1
        await trio.sleep(1.6)
        async with RawPeer.dial(address, source=FOREIGN) as peer:
            await peer.send(header(Kind.PING, SYN, 0, 3))
            assert await pong(peer) == 3


@pytest.mark.parametrize("junk", [b"\xff" * 100, HEADER_LINE + line(CHACHA.protocol) + b"\xff\xff" + bytes(65_535)])
async def test_so_has_who_breaks_those_of_the_handshake(junk: bytes) -> None:
    async with attacked() as (_, address):
        for _ in range(limits.MAX_CONNECTIONS_PER_IP):
            async with await bare(address, FOREIGN) as stream:
                with contextlib.suppress(trio.BrokenResourceError):
                    await stream.send_all(junk)
                    while await stream.receive_some():
                        pass
        with pytest.raises(EOFError):
            async with RawPeer.dial(address, source=FOREIGN):
                pytest.fail("it is back at once")


async def test_handshakes_are_answered_at_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_module, "HANDSHAKES_A_SECOND", 10.0)
    async with attacked() as (_, address):
        began = trio.current_time()
        for number in range(10):
            async with RawPeer.dial(address, source=f"127.0.0.{2 + number}"):
                pass
        assert trio.current_time() - began >= 0.8  # one tenth of a second's may come at once


async def test_a_bug_in_a_handshake_ends_it_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with attacked() as (target, address):
        with monkeypatch.context() as bug:
            bug.setattr(target, "_admit_inbound", lambda peer: 1 / 0)
            async with RawPeer.dial(address, source=FOREIGN) as peer:
                assert await peer.until_refused() == []
        await until(lambda: others(target) == 0)
    assert "ZeroDivisionError" in caplog.text


# Records and frames.


async def pong(peer: RawPeer) -> int:
    """Return the number of the next pong."""
    while True:
        kind, _, _, length, _ = await peer.frame()
        if kind == Kind.PING:
            return length


@pytest.mark.parametrize(
    "frames",
    [
        opening(1) + header(Kind.DATA, 0, 1, limits.STREAM_WINDOW + 1),
        opening(1) + data(1, bytes(1000)) * 300,
        opening(1) + header(Kind.WINDOW, 0, 1, 2**32 - 1) * 2,
        opening(1) + opening(1),
        opening(2),
        opening(0),
        opening(1) + data(1, b"", FIN) + data(1, b"more"),
        header(Kind.PING, SYN, 1, 0),
        header(Kind.GO_AWAY, 0, 1, 0),
        b"\1" + bytes(11),
        b"\0\4" + bytes(10),
    ],
    ids=[
        "beyond the window", "beyond it in parts", "a window of 2^33", "open twice", "not its parity", "stream 0",
        "after its end", "ping of a stream", "go away of a stream", "version 1", "type 4",
    ],
)  # fmt: skip
@pytest.mark.parametrize("record", [0, 1, 5])
async def test_a_frame_that_breaks_the_rules_ends_the_connection(frames: bytes, record: int) -> None:
    async with attacked() as (target, address), RawPeer.dial(address, source=FOREIGN) as peer:
        with trio.fail_after(ENDED), contextlib.suppress(trio.BrokenResourceError):
            await peer.send(frames[:2000] if record else frames, record)
            if record and len(frames) > 2000:
                await peer.send(frames[2000:])
            await peer.until_refused()
        await until(lambda: others(target) == 0)


@pytest.mark.parametrize("suite", [AES, CHACHA], ids=lambda suite: suite.protocol)
@pytest.mark.parametrize("what", ["empty records", "records of a byte", "frames of nothing"])
async def test_what_carries_nothing_has_an_end(what: str, suite: Suite) -> None:
    async with attacked() as (target, address), RawPeer.dial(address, source=FOREIGN, suite=suite) as peer:
        sent = 0
        with trio.fail_after(ENDED), contextlib.suppress(trio.BrokenResourceError):
            await peer.send(opening(1) + (header(Kind.DATA, 0, 1, 200_000) if what == "records of a byte" else b""))
            while True:
                piece = peer.seal({"empty records": b"", "records of a byte": b"x"}.get(what, data(1, b"")))
                await peer.stream.send_all(piece)
                sent += 1
        assert sent > limits.FRAME_CREDIT_AT_FIRST / 2
        await until(lambda: others(target) == 0)


async def test_small_frames_that_carry_something_have_none() -> None:
    """What the same number of frames may do when they are an honest peer's."""
    async with attacked() as (_, address), RawPeer.dial(address, source=FOREIGN) as peer:
        await peer.send(negotiation(1, ECHO))
        got = 0
        for _ in range(40):
            for _ in range(100):
                await peer.send(data(1, bytes(limits.FRAME_BYTES)))
            while got < 40 * 100 * limits.FRAME_BYTES // 80:  # keep up with it
                got += len((await peer.frame())[-1])
        await peer.send(header(Kind.PING, SYN, 0, 5))
        assert await pong(peer) == 5


@pytest.fixture
def little_effort(monkeypatch: pytest.MonkeyPatch) -> float:
    """A node with little time for small frames; return its units a second."""
    monkeypatch.setattr(upgrade_module, "EFFORT_A_SECOND", 1000)
    monkeypatch.setattr(effort_module, "EFFORT_FREE", 400)
    return 1000.0


async def test_small_frames_are_read_as_fast_as_there_is_time_for_them(little_effort: float) -> None:
    """And the bulk of an honest peer, of which `attacked` sees the end, is not."""
    async with attacked() as (_, address), RawPeer.dial(address, source=FOREIGN) as peer:
        await peer.send(opening(1))
        began = trio.current_time()
        await peer.send(header(Kind.WINDOW, 0, 1, 1) * 1600)
        for number in (8, 9):  # the first may have been read with the rest
            await peer.send(header(Kind.PING, SYN, 0, number))
            assert await pong(peer) == number
        seconds = trio.current_time() - began
        assert seconds >= (1600 - 400 - seconds * limits.EFFORT_FREE_A_SECOND) / little_effort - 0.2


async def test_who_drips_is_read_seldom_and_served(little_effort: float) -> None:
    """Byte by byte, each a write of its own: what comes while the node rests is one read."""
    async with attacked() as (target, address), RawPeer.dial(address, source=FOREIGN) as peer:
        await peer.send(negotiation(1, ECHO))
        reads = 0
        await until(lambda: len(target._links) == 2)
        (link,) = (link for links in target._links.values() for link in links if link.remote.host == FOREIGN)
        receive = link.muxed.tcp.receive_into

        async def counted(buffer: memoryview) -> int:
            nonlocal reads
            reads += 1
            return await receive(buffer)

        link.muxed.tcp.receive_into = counted  # type: ignore[method-assign]
        began = trio.current_time()
        dripping = peer.seal(data(1, bytes(1000) + b"the end", FIN))
        for byte in dripping:
            await peer.stream.send_all(bytes([byte]))
            await trio.lowlevel.checkpoint()
        while not (await peer.frame())[-1].endswith(b"the end"):
            pass
        most = 400 + (trio.current_time() - began) * (little_effort + limits.EFFORT_FREE_A_SECOND)
        assert reads < most / limits.EFFORT_OF_A_FEW_BYTES + 10 < len(dripping)


async def test_streams_are_given_as_fast_as_there_is_time_for_them(little_effort: float) -> None:
    async with attacked() as (_, address), RawPeer.dial(address, source=FOREIGN) as peer:
        began = trio.current_time()
        for number in range(1, 20, 2):
            await peer.send(negotiation(number, ECHO) + data(number, b"one after the other"))
            while (await peer.frame())[-1] != b"one after the other":
                pass
        seconds = trio.current_time() - began
        most = 400 + little_effort * 0.1 + seconds * (little_effort + limits.EFFORT_FREE_A_SECOND)
        assert most >= 9 * limits.EFFORT_OF_A_STREAM


async def test_a_handshake_that_drips_is_read_seldom(little_effort: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes to its end all the same: nobody is refused for a slow line."""
    reads = 0
    receive = tcp_module.TcpStream.receive_some

    async def counted(self: tcp_module.TcpStream, most: int) -> bytes:
        nonlocal reads
        reads += 1
        return await receive(self, most)

    async with attacked() as (_, address):
        monkeypatch.setattr(tcp_module.TcpStream, "receive_some", counted)
        began = trio.current_time()
        async with RawPeer.dial(address, source=FOREIGN, drip=0.001) as peer:
            seconds = trio.current_time() - began
            await peer.send(header(Kind.PING, SYN, 0, 4))
            assert await pong(peer) == 4
        most = 400 + seconds * (little_effort + limits.EFFORT_FREE_A_SECOND)
        assert reads < most / limits.EFFORT_OF_A_FEW_BYTES + 10


async def test_pings_whose_answers_nobody_reads_have_an_end() -> None:
    async with attacked() as (target, address), RawPeer.dial(address, source=FOREIGN) as peer:
        with trio.fail_after(ENDED), contextlib.suppress(trio.BrokenResourceError):
            while True:
                await peer.send(header(Kind.PING, SYN, 0, 7) * 500)
        await until(lambda: others(target) == 0)


async def test_a_storm_of_go_aways_and_one_go_away() -> None:
    async with attacked() as (target, address), RawPeer.dial(address, source=FOREIGN) as peer:
        await peer.send(negotiation(1, ECHO) + header(Kind.GO_AWAY, 0, 0, 0))
        await peer.send(data(1, b"still open"))
        while (await peer.frame())[-1] != b"still open":
            pass
        with contextlib.suppress(trio.BrokenResourceError):
            await peer.send(header(Kind.GO_AWAY, 0, 0, 0) * 2 * limits.FRAME_CREDIT_AT_FIRST)
        await until(lambda: others(target) == 0)


# Streams.


async def test_of_10000_streams_32_are_opened() -> None:
    async with attacked() as (target, address), RawPeer.dial(address, source=FOREIGN) as peer:
        count = limits.FRAME_CREDIT_AT_FIRST // (2 * limits.STREAM_CREDIT)
        await peer.send(b"".join(map(opening, range(1, 2 * count, 2))))
        await peer.send(header(Kind.PING, SYN, 0, 9))
        opened = refused = 0
        while True:
            kind, flags, stream, length, _ = await peer.frame()
            if kind == Kind.PING and length == 9:
                break
            opened += bool(flags & 2 and stream & 1)
            refused += bool(flags & RST)
        assert (opened, refused) == (limits.MAX_STREAMS_PER_PEER, count - limits.MAX_STREAMS_PER_PEER)
        assert len(target._served) <= 2
        with contextlib.suppress(trio.BrokenResourceError):
            await peer.send(b"".join(map(opening, range(1 + 2 * count, 20_001, 2))))
        await until(lambda: others(target) == 0)


async def test_negotiations_that_do_not_end_give_back_their_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_module, "UPGRADE_TIMEOUT", 1.0)
    async with attacked() as (target, address), RawPeer.dial(address, source=FOREIGN) as peer:
        numbers = range(1, 2 * limits.MAX_STREAMS_PER_PEER, 2)
        for number in numbers:
            await peer.send(opening(number) + data(number, HEADER_LINE))
        await until(lambda: sum(target._served.values()) >= limits.MAX_STREAMS_PER_PEER)
        for _ in range(12):  # a byte of a line of 100 for each of them, every moment
            for number in numbers:
                await peer.send(data(number, b"d"))
            await trio.sleep(0.1)
        await until(lambda: sum(target._served.values()) <= 1)
        await peer.send(negotiation(101, ECHO) + data(101, b"there is room again"))
        while (await peer.frame())[-1] != b"there is room again":
            pass


async def test_a_number_that_is_used_again_after_its_end_is_another_stream() -> None:
    async with attacked() as (_, address), RawPeer.dial(address, source=FOREIGN) as peer:
        for word in (b"one", b"two", b"three"):
            await peer.send(negotiation(1, ECHO) + data(1, word))
            while (await peer.frame())[-1] != word:
                pass
            await peer.send(header(Kind.WINDOW, RST, 1, 0))


async def test_data_for_closed_streams_is_dropped_as_far_as_it_may_have_been_on_its_way() -> None:
    async with attacked() as (target, address), RawPeer.dial(address, source=FOREIGN) as peer:
        for number in range(1, 20, 2):
            await peer.send(negotiation(number, ECHO) + header(Kind.WINDOW, RST, number, 0))
            await peer.send(data(number, bytes(limits.STREAM_WINDOW - 100)))
        await peer.send(header(Kind.PING, SYN, 0, 1))
        assert await pong(peer) == 1
        (link,) = (link for links in target._links.values() for link in links if link.remote.host == FOREIGN)
        assert link.muxed._unread == 0
        await peer.send(data(1, bytes(1000)))
        await peer.until_refused()
        await until(lambda: others(target) == 0)


async def test_so_is_data_for_streams_that_were_refused() -> None:
    numbers = range(1, 2 * limits.MAX_STREAMS_PER_PEER + 20, 2)
    async with attacked() as (_, address), RawPeer.dial(address, source=FOREIGN) as peer:
        for number in numbers:
            await peer.send(opening(number) + data(number, HEADER_LINE))
        for number in numbers[limits.MAX_STREAMS_PER_PEER :]:
            await peer.send(data(number, bytes(200_000)))
        await peer.send(header(Kind.PING, SYN, 0, 1))
        assert await pong(peer) == 1


async def test_a_reader_that_stopped_holds_what_fits_and_is_put_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp_module, "STALLED_WRITE", 1.0)
    async with attacked() as (target, address), RawPeer.dial(address, source=FOREIGN) as peer:
        for number in range(1, 12, 2):
            await peer.send(negotiation(number, ECHO) + header(Kind.WINDOW, 0, number, 64 * MIB))

        async def feed() -> None:
            with contextlib.suppress(trio.BrokenResourceError):
                while True:
                    for number in range(1, 12, 2):
                        await peer.send(data(number, bytes(16_000)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed)
            await until(lambda: others(target) == 0, 20)
            nursery.cancel_scope.cancel()


async def test_a_peer_that_never_closes_what_we_opened_is_idle_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_module, "IDLE_CONNECTION", 1.0)
    monkeypatch.setattr(host_module, "IDLE_CONNECTION_FULL", 1.0)
    async with host(2) as target, RawPeer.dial(target.listening()[0], source=FOREIGN) as peer:
        while (asked := await peer.frame())[-1] != HEADER_LINE + line(IDENTIFY):
            pass
        await peer.send(data(asked[2], HEADER_LINE + line(IDENTIFY) + b"\0"))
        with trio.fail_after(ENDED):
            heard = await peer.until_refused()
        assert [frame[2] for frame in heard if frame[1] & RST] == [asked[2]]
        await until(lambda: target._admission.used == 0)


async def test_what_we_closed_can_be_read_as_long_as_somebody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_module, "IDLE_CONNECTION_FULL", 0.3)

    async def late(stream: Stream) -> None:
        await receive_all(stream)
        for word in (b"late", b"later"):
            await trio.sleep(0.6)
            await stream.send_all(word)

    async with pair() as (a, b):
        b.serve("/late/1", late)
        assert await ask(await a.open_stream(at(b), "/late/1", timeout=5), b"?") == b"latelater"


# Memory.


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at a process in /proc")
async def test_all_places_taken_by_the_worst_leave_memory_within_256_mib() -> None:
    """What holds most, from 96 connections, twice; and an honest peer, to whom all bytes are right meanwhile."""
    worst = ("a reader that stopped", "half a record", "libp2p pings as fast as they go", "negotiations that never end")
    with AttackedNode() as node:
        idle, most = node.memory(), 0.0
        async with host(1, listen=[]) as honest, trio.open_nursery() as nursery:
            to = PeerAddress(node.peer, (node.address,))
            stream = await honest.open_stream(to, ECHO, timeout=5)

            async def keep_asking() -> None:
                nonlocal most
                while True:
                    await echoed(stream, MIB)
                    most = max(most, node.memory())

            nursery.start_soon(keep_asking)
            for attacks in ((worst[0],), worst):
                async with trio.open_nursery() as attackers:
                    for number in range(96):
                        target = Target(node.address, f"127.0.0.{2 + number // 8}", 3.0)
                        attackers.start_soon(ATTACKS[attacks[number % len(attacks)]], target)
                    await trio.sleep(2.5)
                    most = max(most, node.memory())
            nursery.cancel_scope.cancel()
        assert idle < most < idle + 256
