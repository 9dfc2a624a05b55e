"""The host over real sockets: streams, refusals, floods, failures. Everything on loopback."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import pytest
import trio
from support.hosts import ECHO, MIB, ask, at, echo, host, pair, receive_all, until

from samara.node.network import host as host_module
from samara.node.network.caps import Caps
from samara.node.network.host import Host
from samara.node.network.tcp import dial_tcp
from samara.node.network.transport import PeerAddress, Stream
from samara.node.network.upgrade import Upgrader
from samara.protocol.addresses import parse_address
from samara.protocol.errors import NetworkError, RemoteProtocolError
from samara.protocol.limits import PLACE_LASTS
from samara.protocol.multistream import line
from samara.protocol.noise import Identity
from samara.protocol.peers import peer_id_of
from samara.protocol.wire import number_field


@pytest.mark.parametrize("size", [0, 1, 70_000, 3 * MIB, pytest.param(64 * MIB, marks=pytest.mark.slow)])
async def test_bytes_go_both_ways_and_each_end_closes_for_itself(size: int) -> None:
    sent = bytes(range(256)) * (size // 256) + bytes(size % 256)
    served: list[bytes] = []

    async def swap(stream: Stream) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, sent)
            served.append(await receive_all(stream))
        await stream.send_all(b"end")

    async with pair() as (a, b):
        b.serve("/swap/1", swap)
        stream = await a.open_stream(at(b), "/swap/1", timeout=5)
        received: list[bytes] = []

        async def receive() -> None:
            received.append(await receive_all(stream))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await stream.send_all(memoryview(bytearray(sent)))
            await stream.aclose()
        assert served == [sent]
        assert received == [sent + b"end"]
        with pytest.raises(NetworkError):
            await stream.send_all(b"after the end")
        await stream.aclose()
        await stream.reset()


async def test_who_is_connected_is_told() -> None:
    async with pair(agent="samara/9") as (a, b):
        assert await ask(await a.open_stream(at(b), ECHO, timeout=5), b"hello") == b"hello"
        await until(lambda: bool(a.peers()[0].agent))
        assert [(p.peer, p.inbound, p.agent) for p in a.peers()] == [(b.peer, False, "samara/9")]
        assert a.peers()[0].address == b.listening()[0]
        assert [(p.peer, p.inbound) for p in b.peers()] == [(a.peer, True)]
        met = await anext(a.met())
        assert ECHO in met.identify.protocols
        assert [str(address) for address in met.identify.addresses] == list(b.listening())
        await a.disconnect(b.peer)
        await until(lambda: not a.peers() and not b.peers())


async def test_whoever_is_not_who_was_dialled_is_refused() -> None:
    async with pair() as (a, b):
        somebody = peer_id_of(bytes(32))
        with pytest.raises(NetworkError, match="another peer than the one that was dialled"):
            await a.open_stream(PeerAddress(somebody, b.listening()), ECHO, timeout=5)
        assert a.peers() == []
        with pytest.raises(NetworkError, match="this node itself"):
            await a.open_stream(at(a), ECHO, timeout=5)


async def test_a_protocol_that_is_not_spoken() -> None:
    async with pair() as (a, b):
        with pytest.raises(NetworkError, match="does not speak /other/1"):
            await (await a.open_stream(at(b), "/other/1", timeout=5)).receive_some(1)
        assert await ask(await a.open_stream(at(b), ECHO, timeout=5), b"still here") == b"still here"


@pytest.mark.parametrize(
    "error",
    [ValueError("a bug"), RemoteProtocolError("broken"), ExceptionGroup("of a nursery", [KeyError("x")]), EOFError()],
    ids=lambda error: type(error).__name__,
)
async def test_a_handler_that_fails_ends_its_stream_only(error: Exception) -> None:
    async def fail(stream: Stream) -> None:
        await stream.receive_some(1)
        raise error

    async with pair() as (a, b):
        b.serve("/fail/1", fail)
        steady = await a.open_stream(at(b), ECHO, timeout=5)
        stream = await a.open_stream(at(b), "/fail/1", timeout=5)
        await stream.send_all(b"x")
        with pytest.raises(NetworkError):
            await stream.receive_some(1)
        assert b.failures == {"/fail/1": 1}
        assert await ask(steady, b"unharmed") == b"unharmed"


async def test_a_handler_may_read_to_the_end_and_return() -> None:
    async def sink(stream: Stream) -> None:
        assert await receive_all(stream) == b"all"

    async with pair() as (a, b):
        b.serve("/sink/1", sink)
        assert await ask(await a.open_stream(at(b), "/sink/1", timeout=5), b"all") == b""
        assert not b.failures


async def test_the_banned_are_refused_both_ways() -> None:
    async with pair() as (a, b):
        stream = await a.open_stream(at(b), ECHO, timeout=5)
        b.set_banned(frozenset({a.peer}))
        with pytest.raises(NetworkError):
            await ask(stream, b"x")
        with pytest.raises(NetworkError):
            await a.open_stream(at(b), ECHO, timeout=5)
        with pytest.raises(NetworkError, match="is banned"):
            await b.open_stream(at(a), ECHO, timeout=5)
        await until(lambda: b.peers() == [])
        b.set_banned(frozenset())
        assert await ask(await a.open_stream(at(b), ECHO, timeout=5), b"again") == b"again"


@contextlib.contextmanager
def flood(target: Host, count: int) -> Any:
    """Open sockets that say nothing."""
    port = parse_address(target.listening()[0]).port
    with contextlib.ExitStack() as sockets:
        yield [sockets.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(count)]


async def test_a_flood_takes_no_place_of_who_is_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_module, "UPGRADE_TIMEOUT", 1.0)
    async with pair(connections=8, connections_per_ip=64) as (a, b), host(3) as c:
        stream = await a.open_stream(at(b), ECHO, timeout=5)
        with flood(b, 30):
            with pytest.raises(NetworkError):
                await c.open_stream(at(b), ECHO, timeout=0.5)
            assert await ask(stream, b"held") == b"held"
            # Places that are ours: a dial works while all of theirs are taken.
            c.serve(ECHO, echo)
            assert await ask(await b.open_stream(at(c), ECHO, timeout=5), b"out") == b"out"
            # Who says nothing is put out, and its place is free again.
            await c.disconnect(b.peer)
            await trio.sleep(1.2)
            assert await ask(await c.open_stream(at(b), ECHO, timeout=5), b"in") == b"in"


async def test_one_address_has_few_places() -> None:
    async with pair(connections_per_ip=3) as (a, b):
        with flood(b, 3), pytest.raises(NetworkError):
            await a.open_stream(at(b), ECHO, timeout=5)
        await trio.sleep(PLACE_LASTS + 0.1)
        assert await ask(await a.open_stream(at(b), ECHO, timeout=5), b"now") == b"now"


async def test_places_come_back_when_connections_end() -> None:
    async with pair(connections=4, connections_per_ip=12) as (a, b):
        for number in range(12):
            stream = await a.open_stream(at(b), ECHO, timeout=5)
            assert await ask(stream, bytes([number])) == bytes([number])
            await a.disconnect(b.peer)
            await until(lambda: not a._admission.used and not b._admission.used)


async def test_one_peer_has_so_many_streams() -> None:
    async with pair(streams_per_peer=4) as (a, b):
        assert await ask(await a.open_stream(at(b), ECHO, timeout=5), b"") == b""
        await until(lambda: bool(a.peers()[0].agent) and bool(b.peers()[0].agent) and not b._served)
        streams = [await a.open_stream(at(b), ECHO, timeout=5) for _ in range(4)]
        with pytest.raises(NetworkError, match="the stream was reset"):
            await (await a.open_stream(at(b), ECHO, timeout=5)).receive_some(1)
        assert [await ask(stream, b"x") for stream in streams] == [b"x"] * 4
        await until(lambda: not b._served)
        assert await ask(await a.open_stream(at(b), ECHO, timeout=5), b"y") == b"y"


async def test_the_address_that_works_is_found() -> None:
    async with pair() as (a, b):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            addresses = (
                "/ip4/127.0.0.1/tcp/1",  # nobody listens
                f"/ip4/127.0.0.1/tcp/{silent.getsockname()[1]}",  # somebody listens, and says nothing
                "/ip4/127.0.0.1/udp/1/quic-v1",  # no way for us
                "nonsense",
                *b.listening(),
            )
            assert await ask(await a.open_stream(PeerAddress(b.peer, addresses), ECHO, timeout=5), b"hi") == b"hi"


async def test_a_dial_takes_no_quarter_of_a_second() -> None:
    async with pair() as (a, b):
        times = []
        for _ in range(5):
            began = trio.current_time()
            await a.open_stream(at(b), ECHO, timeout=5)
            times.append(trio.current_time() - began)
            await a.disconnect(b.peer)
            await until(lambda: not a.peers())
        assert min(times) < 0.2


async def test_many_who_want_the_same_peer_share_a_connection() -> None:
    async with pair() as (a, b):
        answers: list[bytes] = []

        async def one() -> None:
            answers.append(await ask(await a.open_stream(at(b), ECHO, timeout=10), b"x"))

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(one)
        assert answers == [b"x"] * 10
        assert len(b._links[a.peer]) == 1


async def test_nobody_there() -> None:
    async with host(1) as a:
        nobody = PeerAddress(peer_id_of(bytes(32)), ("/ip4/127.0.0.1/tcp/1",))
        with pytest.raises(NetworkError, match="tcp/1: Connection refused"):
            await a.open_stream(nobody, ECHO, timeout=5)
        with pytest.raises(NetworkError, match="no address"):
            await a.open_stream(PeerAddress(nobody.peer), ECHO, timeout=5)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            address = f"/ip4/127.0.0.1/tcp/{silent.getsockname()[1]}"
            with pytest.raises(NetworkError, match="did not answer within"):
                await a.open_stream(PeerAddress(nobody.peer, (address,)), ECHO, timeout=0.3)


async def test_a_peer_that_goes_away_breaks_its_streams_and_can_come_back() -> None:
    async with host(1) as a:
        async with host(2) as b:
            b.serve(ECHO, echo)
            stream = await a.open_stream(at(b), ECHO, timeout=5)
            await stream.send_all(b"x")
            assert await stream.receive_some(1) == b"x"
        with pytest.raises(NetworkError):
            await stream.receive_some(1)
        async with host(2) as b:
            b.serve(ECHO, echo)
            assert await ask(await a.open_stream(at(b), ECHO, timeout=5), b"back") == b"back"


async def test_who_is_cancelled_while_sending_breaks_nobody_else() -> None:
    async def stubborn(stream: Stream) -> None:
        await trio.sleep_forever()

    async with pair() as (a, b):
        b.serve("/stubborn/1", stubborn)
        steady = await a.open_stream(at(b), ECHO, timeout=5)
        for _ in range(5):
            stream = await a.open_stream(at(b), "/stubborn/1", timeout=5)
            with trio.move_on_after(0.05) as moved_on:
                await stream.send_all(bytes(8 * MIB))
            assert moved_on.cancelled_caught
            await stream.reset()
        assert await ask(steady, b"unharmed") == b"unharmed"
        assert len(b._links[a.peer]) == 1


@pytest.mark.slow
async def test_a_receiver_may_pause_for_long() -> None:
    async def pause(stream: Stream) -> None:
        await trio.sleep(7)
        await stream.send_all(str(len(await receive_all(stream))).encode())

    async with pair() as (a, b):
        b.serve("/pause/1", pause)
        stream = await a.open_stream(at(b), "/pause/1", timeout=5)
        assert await ask(stream, bytes(2 * MIB)) == str(2 * MIB).encode()


async def say(target: Host, data: bytes) -> bytes:
    """Say something to a host over a bare socket, and return what it says until it hangs up, or for a moment."""
    address = parse_address(target.listening()[0])
    stream = await trio.open_tcp_stream(address.host, address.port)
    heard = b""
    async with stream:
        with trio.move_on_after(0.2), contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(data)
            while part := await stream.receive_some():
                heard += part
    return heard


HEADER = line("/multistream/1.0.0")


@pytest.mark.parametrize("proposal", ["/plaintext/2.0.0", "/secio/1.0.0", "/tls/1.0.0", "/mplex/6.7.0"])
async def test_nothing_but_noise_is_offered(proposal: str) -> None:
    async with host(1) as a:
        assert await say(a, HEADER + line(proposal)) == HEADER + line("na")
        assert HEADER + line("/noise") == await say(a, HEADER + line("/noise"))


@pytest.mark.parametrize(
    "junk",
    [b"", b"\n", b"\xff" * 5000, b"GET / HTTP/1.1\r\n\r\n", HEADER + line("/noise") + b"\xff\xff" + bytes(65535)],
    ids=["nothing", "newline", "ones", "http", "noise"],
)
async def test_junk_ends_its_connection_only(junk: bytes) -> None:
    async with pair() as (a, b):
        stream = await a.open_stream(at(b), ECHO, timeout=5)
        await say(b, junk)
        assert await ask(stream, b"unharmed") == b"unharmed"


async def test_a_host_says_where_it_really_listens() -> None:
    everywhere = parse_address("/ip4/0.0.0.0/tcp/0")
    async with host(1, listen=[everywhere]) as a:
        addresses = [parse_address(text) for text in a.listening()]
        assert addresses
        assert addresses[-1].host == "127.0.0.1", "loopback comes last"
        assert not any(address.host == "0.0.0.0" for address in addresses)
        assert len({address.port for address in addresses}) == 1
        assert addresses[0].port
        assert a.reachability().listening == a.listening()
        assert a.reachability().reachable == ()


async def test_a_port_that_is_taken_is_an_error_of_its_own() -> None:
    async with host(1) as a:
        taken = parse_address(a.listening()[0])
        with pytest.raises(NetworkError, match="cannot listen at"):
            async with host(2, listen=[taken]):
                pytest.fail("two hosts share a port")


async def test_what_the_block_raises_is_raised_as_it_is() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with host(1):
            raise KeyError("mine")


async def test_a_host_closes_at_once_with_streams_open() -> None:
    with trio.fail_after(5):
        async with pair() as (a, b):
            await a.open_stream(at(b), ECHO, timeout=5)
            stream = await a.open_stream(at(b), ECHO, timeout=5)
            await stream.send_all(bytes(100_000))
    assert a.peers() == []


async def test_ipv6() -> None:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("no IPv6 here")
    async with host(1) as a, host(2, listen=[parse_address("/ip6/::1/tcp/0")]) as b:
        b.serve(ECHO, echo)
        assert await ask(await a.open_stream(at(b), ECHO, timeout=5), b"six") == b"six"
        assert b.peers()[0].address.startswith("/ip6/::1/tcp/")


async def test_idle_connections_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_module, "IDLE_CONNECTION", 0.5)
    monkeypatch.setattr(host_module, "IDLE_CONNECTION_FULL", 0.3)
    async with pair() as (a, b):
        stream = await a.open_stream(at(b), ECHO, timeout=5)
        await trio.sleep(1)
        assert await ask(stream, b"used") == b"used"
        await until(lambda: not a.peers() and not b.peers())


class _OddIdentity(Identity):
    """Says its key in another form than everybody, with a right signature."""

    @property
    def public_key(self) -> bytes:
        return super().public_key + number_field(3, 5)


async def test_a_key_that_nobody_expects_ends_its_connection_and_not_the_node(caplog: pytest.LogCaptureFixture) -> None:
    async with pair() as (a, b):
        odd = Upgrader(bytes([9]) * 32, Caps())
        odd._identity = _OddIdentity(bytes([9]) * 32, ("/yamux/1.0.0",))
        tcp = await dial_tcp(parse_address(b.listening()[0]))
        connection = await odd.upgrade(tcp, b.peer)
        async with trio.open_nursery() as nursery:
            await nursery.start(connection.run)
            with pytest.raises(NetworkError):
                await (await connection.open()).receive_some(1)
        assert await ask(await a.open_stream(at(b), ECHO, timeout=5), b"still here") == b"still here"
    assert "a connection failed" not in caplog.text


async def test_a_bug_in_a_handshake_ends_its_connection_and_not_the_node(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with pair() as (a, b):

        async def fail(*said: object) -> None:
            raise ZeroDivisionError

        with monkeypatch.context() as broken:
            broken.setattr(b._upgrader, "upgrade", fail)
            with pytest.raises(NetworkError):
                await a.open_stream(at(b), ECHO, timeout=5)
        assert await ask(await a.open_stream(at(b), ECHO, timeout=5), b"still here") == b"still here"
    assert "ZeroDivisionError" in caplog.text
