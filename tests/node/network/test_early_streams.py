"""Streams that are used before the peer has agreed on them, against a peer by hand that answers as it likes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import trio
from support.hosts import ECHO, ask, at, host, pair, receive_all, until
from support.raw_peer import HEADER_LINE, RawPeer, data

from samara.node.network import host as host_module
from samara.node.network import mates as mates_module
from samara.node.network import reachability, streams
from samara.node.network.exchange.client import ExchangeClient
from samara.node.network.host import Host
from samara.node.network.mates import Mates
from samara.node.network.reachability import Reach
from samara.node.network.transport import PeerAddress, Stream
from samara.protocol import limits
from samara.protocol.errors import NetworkError, NotFoundError, RemoteProtocolError
from samara.protocol.exchange.messages import PROTOCOL, SPOKEN, GetRecords, Hello, NotFound
from samara.protocol.exchange.session import Acceptor, Opener
from samara.protocol.identify import IDENTIFY
from samara.protocol.ids import ContentId, ReleaseId
from samara.protocol.multistream import line
from samara.protocol.yamux.frames import FIN, RST, Kind, header
from samara.protocol.yamux.session import Event

PROPOSAL = HEADER_LINE + line(ECHO)
YES = PROPOSAL  # the answer is the same text as the question


@dataclass
class Meeting:
    """A host, a peer by hand that has dialled it, and what the host says on its streams."""

    host: Host
    peer: RawPeer
    said: dict[int, bytearray] = field(default_factory=dict)
    ended: dict[int, int] = field(default_factory=dict)

    @property
    def where(self) -> PeerAddress:
        return PeerAddress(self.host.peers()[0].peer)

    async def open(self, protocol: str = ECHO) -> Stream:
        return await self.host.open_stream(self.where, protocol, timeout=5)

    async def hear(self, protocol: str, count: int) -> int:
        """Read until so many bytes came after the proposal of a protocol; return the number of its stream."""
        while True:
            for number, said in self.said.items():
                if said.startswith(proposal := HEADER_LINE + line(protocol)) and len(said) >= len(proposal) + count:
                    return number
            await self._more()

    async def hear_end(self, number: int) -> int:
        """Read until a stream is ended or reset; return the flag that did."""
        while number not in self.ended:
            await self._more()
        return self.ended[number]

    async def _more(self) -> None:
        kind, flags, number, _, body = await self.peer.frame()
        if kind == Kind.DATA:
            self.said.setdefault(number, bytearray()).extend(body)
        if flags & (FIN | RST):
            self.ended[number] = flags & (FIN | RST)

    async def answer(self, number: int, *parts: bytes) -> None:
        """Say something on a stream, each part in a frame and a record of its own."""
        for part in parts:
            await self.peer.send(data(number, part))


@contextlib.asynccontextmanager
async def met() -> AsyncIterator[Meeting]:
    with trio.fail_after(20):
        async with host(1) as a, RawPeer.dial(a.listening()[0]) as peer:
            await until(lambda: bool(a.peers()))
            yield Meeting(a, peer)


# --- in one flight ----------------------------------------------------------------------------------------------------


async def test_what_is_said_first_goes_out_with_the_proposal() -> None:
    async with met() as meeting:
        stream = await meeting.open()
        await stream.send_all(b"a question")
        number = await meeting.hear(ECHO, 10)  # and not a word was said to it
        assert meeting.said[number] == PROPOSAL + b"a question"
        await meeting.answer(number, YES + b"its answer")
        assert await stream.receive_some(100) == b"its answer"
        await stream.send_all(b" more")
        await meeting.hear(ECHO, 15)
        assert meeting.said[number] == PROPOSAL + b"a question more"


async def test_a_session_of_the_exchange_begins_with_its_first_question() -> None:
    acceptor, release = Acceptor(Hello()), ReleaseId(bytes(32))
    said = acceptor.hello()
    whole = Opener(Hello(encodings=SPOKEN))
    asked = whole.hello() + whole.ask(GetRecords(1, release=release))
    async with met() as meeting, trio.open_nursery() as nursery:

        async def ask() -> None:
            async with ExchangeClient.connect(meeting.host, meeting.where) as client:
                with pytest.raises(NotFoundError):
                    await client.records(release)

        nursery.start_soon(ask)
        number = await meeting.hear(PROTOCOL, len(asked))  # and not a word was said to it
        assert bytes(meeting.said[number]).endswith(asked)
        acceptor.receive(asked)
        await meeting.answer(number, HEADER_LINE + line(PROTOCOL) + said + acceptor.answer(NotFound(1)))
        assert await meeting.hear_end(number) == FIN


async def test_who_says_nothing_proposes_at_once_all_the_same() -> None:
    async with met() as meeting:
        await meeting.hear(IDENTIFY, 0)  # the host asks who it is, without a word of its own
        await meeting.open()
        await meeting.hear(ECHO, 0)


async def test_who_closes_first_hears_the_agreement_first() -> None:
    async with met() as meeting, trio.open_nursery() as nursery:
        stream = await meeting.open()
        await stream.send_all(b"all")
        nursery.start_soon(stream.aclose)
        number = await meeting.hear(ECHO, 3)
        with trio.move_on_after(0.1):
            pytest.fail(f"it was ended before it was agreed on: {await meeting.hear_end(number)}")
        await meeting.answer(number, YES + b"the ")
        assert await meeting.hear_end(number) == FIN
        await meeting.peer.send(data(number, b"answer", FIN))
        assert await receive_all(stream) == b"the answer"


async def test_a_stream_is_closed_also_when_the_agreement_comes_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_GOODBYE", 0.1)
    async with met() as meeting:
        stream = await meeting.open()
        await stream.send_all(b"all")
        await stream.aclose()
        number = await meeting.hear(ECHO, 3)
        assert await meeting.hear_end(number) == FIN
        await meeting.peer.send(data(number, YES + b"the answer", FIN))
        assert await receive_all(stream) == b"the answer"


async def test_one_may_close_while_another_waits_to_read() -> None:
    heard: list[bytes] = []

    async def read(stream: Stream) -> None:
        heard.append(await receive_all(stream))

    async with met() as meeting:
        stream = await meeting.open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, stream)
            nursery.start_soon(stream.aclose)
            number = await meeting.hear(ECHO, 0)
            await meeting.answer(number, *(bytes([byte]) for byte in YES + b"data"))
            assert await meeting.hear_end(number) == FIN
            await meeting.peer.send(data(number, b"", FIN))
    assert heard == [b"data"]


async def test_hosts_speak_early_to_each_other_also_when_they_close_first() -> None:
    async with pair() as (a, b):
        for size in (0, 1, 100_000):
            assert await ask(await a.open_stream(at(b), ECHO, timeout=5), bytes(size)) == bytes(size)


async def test_what_nobody_reads_is_ended_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_module, "IDLE_CONNECTION_FULL", 0.3)
    monkeypatch.setattr(streams, "_GOODBYE", 0.1)
    async with met() as meeting:
        stream = await meeting.open()
        await stream.send_all(b"?")
        await stream.aclose()
        number = await meeting.hear(ECHO, 1)
        assert await meeting.hear_end(number) == FIN
        del meeting.ended[number]
        assert await meeting.hear_end(number) == RST


# --- what a peer may answer -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", range(len(YES) + 4))
async def test_an_agreement_may_come_in_any_two_pieces(cut: int) -> None:
    whole = YES + b"data"
    async with met() as meeting:
        stream = await meeting.open()
        number = await meeting.hear(ECHO, 0)
        await meeting.answer(number, whole[:cut], whole[cut:])
        heard = b""
        while len(heard) < 4:
            heard += await stream.receive_some(100)
        assert heard == b"data"


async def test_an_agreement_may_come_byte_by_byte() -> None:
    async with met() as meeting:
        stream = await meeting.open()
        number = await meeting.hear(ECHO, 0)
        await meeting.answer(number, *(bytes([byte]) for byte in YES + b"data"))
        heard = b""
        while len(heard) < 4:
            heard += await stream.receive_some(1)
        assert heard == b"data"


class Heap:
    """A sink without room of its own."""

    def __init__(self) -> None:
        self.data = b""

    def room(self, count: int) -> memoryview | None:
        return None

    def filled(self, count: int) -> None:
        raise AssertionError("it has no room")

    def feed(self, data: memoryview) -> None:
        self.data += data


@pytest.mark.parametrize("pieces", [[YES + b"data"], [YES, b"data"], [YES[:7], YES[7:] + b"d", b"ata"]])
async def test_a_sink_is_fed_from_after_the_agreement(pieces: list[bytes]) -> None:
    async with met() as meeting:
        stream, heap = await meeting.open(), Heap()
        number = await meeting.hear(ECHO, 0)
        await meeting.answer(number, *pieces)
        await meeting.peer.send(data(number, b"", FIN))
        await stream.receive_to(heap)
        assert heap.data == b"data"


REFUSALS: dict[str, tuple[bytes, str]] = {
    "no": (HEADER_LINE + line("na"), f"does not speak {ECHO}"),
    "no, and what else it could be": (HEADER_LINE + line("na") + line("/other/1"), f"does not speak {ECHO}"),
    "another protocol": (HEADER_LINE + line("/other/1"), "answered '/other/1'"),
    "no header": (line(ECHO), f"answered '{ECHO}'"),
    "the header twice": (HEADER_LINE * 2, "answered '/multistream/1.0.0'"),
    "garbage": (b"\xff" * 100, "at most"),
    "a line without an end": (b"\x80\x02" + bytes(256), "newline"),
    "http": (b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(100), "newline"),
}


@pytest.mark.parametrize("reads", ["some", "to a sink"])
@pytest.mark.parametrize("name", REFUSALS)
async def test_what_is_no_agreement_is_raised_by_who_reads(name: str, reads: str) -> None:
    said, why = REFUSALS[name]
    async with met() as meeting:
        stream = await meeting.open()
        await stream.send_all(b"a question")
        number = await meeting.hear(ECHO, 10)
        await meeting.answer(number, said)
        heap = Heap()
        with pytest.raises(NetworkError, match=why):
            await (stream.receive_some(100) if reads == "some" else stream.receive_to(heap))
        assert heap.data == b""
        assert await meeting.hear_end(number) == RST
        for use in (stream.receive_some, lambda count: stream.send_all(bytes(count))):
            with pytest.raises(NetworkError, match=why):  # and by who comes later
                await use(100)
        assert meeting.host.peers(), "the connection stays"


async def test_who_sends_much_to_who_says_no_does_not_wait_for_ever() -> None:
    raised: list[str] = []

    async def send(stream: Stream) -> None:
        with pytest.raises(NetworkError) as caught:
            await stream.send_all(bytes(4 * limits.STREAM_WINDOW))
        raised.append(caught.value.message)

    async with met() as meeting, trio.open_nursery() as nursery:
        stream = await meeting.open()
        nursery.start_soon(send, stream)
        number = await meeting.hear(ECHO, limits.STREAM_WINDOW - len(PROPOSAL))
        await meeting.answer(number, HEADER_LINE + line("na"))
        with pytest.raises(NetworkError, match=f"does not speak {ECHO}"):
            await stream.receive_some(1)
        nursery.cancel_scope.deadline = trio.current_time() + 5
    assert raised == [f"the peer does not speak {ECHO}"]


@pytest.mark.parametrize("said", [b"", HEADER_LINE, YES[:-1]])
@pytest.mark.parametrize(
    ("flag", "why"), [(FIN, "closed the stream before it agreed"), (RST, "the stream was reset")], ids=["end", "reset"]
)
async def test_a_stream_that_ends_before_it_is_agreed_on(said: bytes, flag: int, why: str) -> None:
    async with met() as meeting:
        stream = await meeting.open()
        number = await meeting.hear(ECHO, 0)
        if said:
            await meeting.answer(number, said)
        await meeting.peer.send(header(Kind.WINDOW, flag, number, 0))
        with pytest.raises(NetworkError, match=f"did not agree on {ECHO}: .*{why}"):
            await stream.receive_some(1)
        if flag == FIN:
            assert await meeting.hear_end(number) == RST


async def test_a_connection_that_breaks_before_a_stream_is_agreed_on() -> None:
    async with met() as meeting:
        stream = await meeting.open()
        await meeting.hear(ECHO, 0)
        await meeting.peer.stream.send_all(bytes(64))  # no record of anybody's
        with pytest.raises(NetworkError, match=f"did not agree on {ECHO}"):
            await stream.receive_some(1)


# --- silence ----------------------------------------------------------------------------------------------------------


async def test_a_reader_that_loses_patience_may_come_back() -> None:
    async with met() as meeting:
        stream = await meeting.open()
        number = await meeting.hear(ECHO, 0)
        for piece in (b"", YES[:25], YES[25:-1]):
            if piece:
                await meeting.answer(number, piece)
            with trio.move_on_after(0.05) as waiting:
                await stream.receive_some(100)
            assert waiting.cancelled_caught
        await meeting.answer(number, YES[-1:] + b"late")
        assert await stream.receive_some(100) == b"late"


async def test_who_reads_bounds_the_time_of_the_agreement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mates_module, "UPGRADE_TIMEOUT", 0.3)
    monkeypatch.setattr(reachability, "_PATIENCE", 0.3)
    async with met() as meeting:
        mates, reach = Mates(meeting.host, lambda content, peer: True), Reach(meeting.host)
        with pytest.raises(NetworkError, match="said no HELLO"):
            async with ExchangeClient.connect(meeting.host, meeting.where, timeout=0.3) as client:
                await client.files_bits(ContentId(bytes(32)))
        with pytest.raises(NetworkError, match="did not tell of its mates"):
            await mates.ask(meeting.where.peer, ContentId(bytes(32)))
        with pytest.raises(NetworkError, match="did not say whether"):
            await reach.ask(meeting.where.peer, ())


async def test_over_a_connection_that_was_silent_the_agreement_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_module, "HEARD_LATELY", 0.1)
    async with met() as meeting:
        number = await meeting.hear(IDENTIFY, 0)
        await trio.sleep(0.2)
        with trio.fail_after(5), pytest.raises(NetworkError, match="did not answer within"):
            await meeting.host.open_stream(meeting.where, ECHO, timeout=0.2)
        number = await meeting.hear(ECHO, 0)
        assert await meeting.hear_end(number) == RST, "nobody is left who would read it"


async def test_a_connection_that_died_in_silence_is_replaced_before_anything_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(host_module, "HEARD_LATELY", 0.1)
    async with pair() as (a, b):
        assert await ask(await a.open_stream(at(b), ECHO, timeout=5), b"x") == b"x"
        (link,) = a._links[b.peer]
        await trio.sleep(0.2)
        monkeypatch.setattr(link.muxed.session, "receive", _lose)  # what comes next ends it
        assert await ask(await a.open_stream(at(b), ECHO, timeout=5), b"again") == b"again"
        assert a._links[b.peer] != [link]


def _lose(said: memoryview) -> list[Event]:
    raise RemoteProtocolError("nothing is left of it")
