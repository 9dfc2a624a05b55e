"""Two ends of an exchange in memory: what arrives, what is refused, who is given up, with a clock that jumps."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import trio
from blake3 import blake3
from support.exchange import CappedStream, InPlaceStream, MemoryShelf, MemoryStream, OneStream, at_once, stream_pair
from support.publishers import Publisher
from trio.testing import MockClock

from samara.node.network.background import open_background
from samara.node.network.caps import TokenBucket
from samara.node.network.exchange.client import ExchangeClient
from samara.node.network.exchange.giving import Giving
from samara.node.network.exchange.patience import Patience
from samara.node.network.exchange.server import Service, serve_stream
from samara.node.network.exchange.slots import Credit, UploadSlots
from samara.node.network.transport import PeerAddress
from samara.protocol import limits
from samara.protocol.errors import (
    LocalProtocolError,
    NetworkError,
    NotFoundError,
    PeerBusyError,
    PeerRefusedError,
    RemoteProtocolError,
    StoreError,
)
from samara.protocol.exchange.frames import frame
from samara.protocol.exchange.headers import encode
from samara.protocol.exchange.messages import (
    PROTOCOL,
    Ahead,
    Answer,
    Busy,
    Cancel,
    Chunk,
    GetLog,
    GetRecords,
    Have,
    HaveRequest,
    Hello,
    Message,
    Node,
    NotFound,
    RecordsPart,
    Refusal,
    Refused,
    Unknown,
    Want,
)
from samara.protocol.exchange.session import Acceptor, AcceptorEvent, Answered, Ended, Opened, Opener, OpenerEvent
from samara.protocol.ids import ContentId, Digest, PublisherId, ReleaseId
from samara.protocol.ports import Availability, Beginning, LogPage, Records

CONTENT = ContentId(b"c" * 32)
RELEASE = ReleaseId(b"r" * 32)
PUBLISHER = PublisherId(b"p" * 32)
RECORDS = Records((b"genesis", b"second root"), b"release", b"head")


def blob(seed: int, size: int) -> bytes:
    return blake3(seed.to_bytes(8, "little")).digest(length=size)


def shelf(**changes: Any) -> MemoryShelf:
    streams = {0: [blob(0, 500)], 1: [blob(i, 1000 + i) for i in range(150)], 2: [blob(9, 1 << 20)] * 3 + [b"end"]}
    return MemoryShelf(CONTENT, streams, release=(RELEASE, RECORDS), heads={(PUBLISHER, "tiny"): RECORDS}, **changes)


@asynccontextmanager
async def connected(
    held: MemoryShelf,
    *,
    service: Service | None = None,
    window: int = 1 << 20,
    kind: type[MemoryStream] = MemoryStream,
    rate: float | None = None,
    **options: Any,
) -> AsyncIterator[tuple[ExchangeClient, MemoryStream, MemoryStream]]:
    ours, theirs = stream_pair(window, kind)
    ours.incoming.rate = rate
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_stream, theirs, held, service or Service(blocking=at_once))
        async with connect(ours, **options) as client:
            yield client, ours, theirs


def connect(stream: MemoryStream, **options: Any) -> Any:
    return ExchangeClient.connect(OneStream(stream), PeerAddress("server"), **options)  # type: ignore[arg-type]


def refuse(data: memoryview) -> None:
    raise AssertionError(f"{len(data)} bytes came ahead")


async def take(client: ExchangeClient, stream: int, first: int, count: int) -> list[tuple[int, bytes]]:
    got: list[tuple[int, bytes]] = []
    await client.chunks(
        CONTENT, stream, first, count, lambda chunk, data: got.append((first + chunk.index, bytes(data)))
    )
    return got


# --- what arrives -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [MemoryStream, InPlaceStream])
@pytest.mark.parametrize("window", [1000, 4 << 20])
async def test_chunks_arrive_as_they_are_held(kind: type[MemoryStream], window: int) -> None:
    held = shelf()
    async with connected(held, kind=kind, window=window) as (client, ours, theirs):
        assert await take(client, 1, 3, 64) == list(enumerate(held.streams[1]))[3:67]
        assert await take(client, 2, 0, 4) == list(enumerate(held.streams[2]))
        assert await take(client, 0, 0, 1) == [(0, held.streams[0][0])]
        assert (await client.opened()).max_outstanding == 32
        assert client.peer == "server"
    assert ours.was_closed
    assert not ours.was_reset
    assert not theirs.was_reset


async def test_who_gets_chunks_is_noted_once_a_request_and_who_gets_none_is_not() -> None:
    gave: list[tuple[ContentId, str]] = []
    service = Service(blocking=at_once, gave=lambda content, peer: gave.append((content, peer)))
    async with connected(shelf(), service=service) as (client, _, theirs):
        with pytest.raises(NotFoundError):
            await client.chunks(ContentId(b"?" * 32), 1, 0, 1, lambda chunk, data: None)
        await client.files_bits(CONTENT)
        assert gave == []
        await take(client, 1, 0, 64)
        assert gave == [(CONTENT, theirs.peer)]
        await take(client, 0, 0, 1)
        assert len(gave) == 2


async def test_many_requests_at_once_are_all_answered() -> None:
    held = shelf()
    got: dict[int, list[tuple[int, bytes]]] = {}
    async with connected(held) as (client, _, _):

        async def fetch(first: int) -> None:
            got[first] = await take(client, 1, first, 2)

        async with trio.open_nursery() as nursery:
            for first in range(0, 150, 2):  # more than may be outstanding: the rest waits its turn
                nursery.start_soon(fetch, first)
    assert [chunk for first in sorted(got) for chunk in got[first]] == list(enumerate(held.streams[1]))


async def test_records_arrive_by_id_and_by_name() -> None:
    async with connected(shelf()) as (client, _, _):
        assert await client.records(RELEASE) == RECORDS
        assert await client.latest(PUBLISHER, "tiny") == RECORDS
        with pytest.raises(NotFoundError):
            await client.latest(PUBLISHER, "other")


async def test_with_records_comes_as_much_ahead_as_was_asked_for() -> None:
    objects = [blob(1, 60), blob(2, 500), blob(3, 100)]
    async with connected(shelf(objects=objects)) as (client, _, _):
        for most, fit in ((0, 0), (59, 0), (60, 1), (659, 2), (660, 3), (limits.MAX_AHEAD, 3)):
            for ask in (partial(client.records, RELEASE), partial(client.latest, PUBLISHER, "tiny")):
                took: list[bytes] = []
                assert await ask(most, lambda data: took.append(bytes(data))) == RECORDS  # noqa: B023 - called here
                assert took == objects[:fit]
        with pytest.raises(NotFoundError):
            await client.records(ReleaseId(b"x" * 32), 660)
        with pytest.raises(LocalProtocolError):
            await client.records(RELEASE, limits.MAX_AHEAD + 1)
        assert await client.records(RELEASE) == RECORDS


@pytest.mark.parametrize("count", [1, limits.MAX_AHEAD_OBJECTS])
async def test_all_that_may_come_ahead_comes_after_records_in_parts(count: int) -> None:
    large = Records(tuple(blob(i, 1000) for i in range(200)), blob(1, 1 << 20), None)
    objects = [blob(i, limits.MAX_AHEAD // count) for i in range(count)]
    took: list[bytes] = []
    held = shelf(objects=objects)
    held.release = (RELEASE, large)
    async with connected(held, kind=InPlaceStream) as (client, _, _):
        assert await client.records(RELEASE, limits.MAX_AHEAD, lambda data: took.append(bytes(data))) == large
    assert took == objects


@pytest.mark.parametrize("missing", [set(), {(1, 0)}])
async def test_who_sends_something_ahead_says_whether_it_holds_all(missing: set[tuple[int, int]]) -> None:
    async with connected(shelf(objects=[blob(1, 60)], missing=missing)) as (client, _, _):
        await client.records(RELEASE, 59, refuse)
        assert not client.has_all  # nothing came, so nothing was said
        await client.records(RELEASE, 60)
        assert client.has_all is not bool(missing)


async def test_records_above_one_payload_come_in_parts() -> None:
    large = Records(tuple(blob(i, 1000) for i in range(200)), blob(1, 1 << 20), None)
    async with connected(shelf(), service=Service()) as (client, _, theirs):
        assert theirs.peer == "client"
        held = shelf()
        held.release = (RELEASE, large)
    async with connected(held) as (client, _, _):
        assert await client.records(RELEASE) == large


@pytest.mark.parametrize(
    "records",
    [
        Records((), b"release"),
        Records((b"",), b"release"),
        Records((b"root",), bytes((1 << 20) + 1)),
        Records((b"root",) * 257, b"release"),
        Records((bytes(1 << 20),) * 4, b"release"),
    ],
)
async def test_records_that_no_peer_would_take_are_refused(records: Records) -> None:
    held = shelf()
    held.release = (RELEASE, records)
    async with connected(held) as (client, _, _):
        with pytest.raises(PeerRefusedError) as refused:
            await client.records(RELEASE)
        assert refused.value.code == Refusal.LIMIT
        assert await client.latest(PUBLISHER, "tiny") == RECORDS


async def test_a_log_arrives_and_what_is_beyond_it_is_its_checkpoint() -> None:
    anna = Publisher.of("anna")
    for version in range(3):
        anna.publish(str(version))
    publisher = anna.chain.publisher
    async with connected(shelf(ledgers={publisher: anna.ledger()})) as (client, _, _):
        everything = LogPage(roots=anna.chain.envelopes, entries=tuple(anna.said), newest=3)
        assert await client.log(publisher, 0, 1) == everything
        assert await client.log(publisher, 1, 4) == LogPage(entries=(anna.said[2],), newest=3)
        with pytest.raises(NotFoundError):
            await client.log(PUBLISHER, 0, 1)


async def test_a_log_with_all_parts_comes_in_pages_and_their_parts_in_order() -> None:
    page = LogPage(
        roots=(b"root 2", b"root 3"),
        forks=((b"one side", b"the other"),),
        revocations=(b"gone" * 1000,),
        entries=tuple(blob(n, 500_000) for n in range(5)),
        newest=(1 << 53) - 1,
    )
    held = shelf()
    held.log = lambda publisher, root, first, peer: page  # type: ignore[method-assign]
    async with connected(held) as (client, _, _):
        assert await client.log(PUBLISHER, 1, 7) == page


async def test_a_log_of_which_there_is_nothing_is_no_error() -> None:
    anna = Publisher.of("anna")
    async with connected(shelf(ledgers={anna.chain.publisher: anna.ledger()})) as (client, _, _):
        assert await client.log(anna.chain.publisher, 1, 1) == LogPage()


@pytest.mark.parametrize(
    "roots",
    [(b"x" * (limits.MAX_ENVELOPE + 1),), (b"x" * limits.MAX_ENVELOPE,) * 5, (b"",)],
    ids=["an envelope that is too long", "too many bytes", "an empty envelope"],
)
async def test_a_log_that_no_peer_would_take_is_refused(roots: tuple[bytes, ...]) -> None:
    held = shelf()
    held.log = lambda publisher, root, first, peer: LogPage(roots=roots)  # type: ignore[method-assign]
    async with connected(held) as (client, _, _):
        with pytest.raises(PeerRefusedError) as refused:
            await client.log(PUBLISHER, 0, 1)
        assert refused.value.code == Refusal.LIMIT


async def test_nodes_arrive_in_order() -> None:
    held = shelf()
    hashes = [held.add_node(blob(i, 60 + i)) for i in range(150)]
    async with connected(held) as (client, _, _):
        assert not client.has_given
        assert await client.nodes(CONTENT, hashes[::-1]) == [held.nodes[value] for value in hashes[::-1]]
        assert client.has_given
        assert await client.nodes(CONTENT, []) == []
        with pytest.raises(NotFoundError):
            await client.nodes(CONTENT, [*hashes[:70], Digest(bytes(32))])


async def test_availability_arrives() -> None:
    held = shelf(missing={(1, 0), (1, 149)})
    async with connected(held) as (client, _, _):
        assert await client.files_bits(CONTENT) == b"\x02"
        assert await client.files_bits(CONTENT, files=2) == b"\x02"
        assert await client.availability(CONTENT, 1) == Availability(150, b"\xfe" + b"\xff" * 17 + b"\x1f")
        assert await client.availability(CONTENT, 2, chunks=4) == Availability(4, None)
        with pytest.raises(NotFoundError):
            await client.availability(CONTENT, 3)


async def test_availability_above_one_page_comes_in_pages() -> None:
    chunks = (2 << 20) + 13
    bits = bytearray(blob(5, (chunks + 7) // 8))
    bits[-1] &= 0x1F

    class Wide(MemoryShelf):
        def availability(
            self, content: ContentId, stream: int, peer: str, bases: Sequence[ContentId] = ()
        ) -> Availability | None:
            return Availability(chunks, bytes(bits))

    async with connected(Wide(CONTENT)) as (client, _, _):
        assert await client.availability(CONTENT, 1, chunks=chunks) == Availability(chunks, bytes(bits))


async def test_what_a_stranger_may_not_see_looks_like_nothing() -> None:
    anna = Publisher.of("anna")

    async def answers(held: MemoryShelf, content: ContentId, release: ReleaseId) -> list[tuple[type[Exception], str]]:
        node = held.add_node(blob(1, 60))
        async with connected(held) as (client, _, _):
            asks: Sequence[Callable[[], Awaitable[object]]] = (
                lambda: client.records(release),
                lambda: client.nodes(content, [node]),
                lambda: client.log(anna.chain.publisher, 0, 1),
                lambda: client.files_bits(content),
                lambda: client.availability(content, 1),
                lambda: client.chunks(content, 1, 0, 2, lambda chunk, data: None),
            )
            errors: list[tuple[type[Exception], str]] = []
            for ask in asks:
                with pytest.raises(NotFoundError) as error:
                    await ask()
                errors.append((error.type, error.value.message))
            return errors

    private = await answers(shelf(stranger="client", ledgers={anna.chain.publisher: anna.ledger()}), CONTENT, RELEASE)
    assert private == await answers(shelf(), ContentId(b"x" * 32), ReleaseId(b"x" * 32))


async def test_a_run_ends_at_the_first_chunk_that_is_missing() -> None:
    async with connected(shelf(missing={(1, 20)})) as (client, _, _):
        got: list[int] = []
        with pytest.raises(NotFoundError):
            await client.chunks(CONTENT, 1, 10, 64, lambda chunk, data: got.append(10 + chunk.index))
        assert got == list(range(10, 20))
        assert await take(client, 1, 0, 1)


async def test_a_shelf_that_fails_has_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="samara")

    def broken(first: int) -> None:
        raise StoreError("the disk is gone")

    async with connected(shelf(before_read=broken)) as (client, _, _):
        with pytest.raises(NotFoundError):
            await take(client, 1, 0, 1)
        assert await client.records(RELEASE) == RECORDS
    assert "the disk is gone" in caplog.text


async def test_a_shelf_that_fails_when_something_is_to_go_ahead_gives_the_records(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", logger="samara")

    class Broken(MemoryShelf):
        def ahead(self, records: Records, most: int, peer: str) -> Beginning | None:
            raise StoreError("the disk is gone")

    async with connected(Broken(CONTENT, release=(RELEASE, RECORDS))) as (client, _, _):
        assert await client.records(RELEASE, 1000, refuse) == RECORDS
    assert "the disk is gone" in caplog.text


async def test_the_next_batch_is_read_while_one_is_sent() -> None:
    held = shelf()
    async with connected(held, window=64 << 10) as (client, ours, _), trio.open_nursery() as nursery:
        await client.opened()
        ours.incoming.window = 0  # the line stands still
        nursery.start_soon(take, client, 2, 0, 3)
        await trio.testing.wait_all_tasks_blocked(0.05)  # else who asks first is left to chance
        nursery.start_soon(take, client, 1, 0, 64)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert sorted(held.reads) == [(1, 0, 64), (2, 0, 3)]  # in the order in which trio began them
        ours.incoming.window = 1 << 20
        ours.incoming.wake()


# --- cancelling -------------------------------------------------------------------------------------------------------


async def test_a_run_that_is_left_early_is_cancelled_at_the_peer() -> None:
    held = shelf()
    async with connected(held, window=4096) as (client, ours, _):
        with trio.CancelScope() as leaving:
            await client.chunks(CONTENT, 2, 0, 4, lambda chunk, data: leaving.cancel())
        assert leaving.cancelled_caught
        before = ours.incoming.moved
        assert await take(client, 0, 0, 1) == [(0, held.streams[0][0])]
        assert ours.incoming.moved - before < 2 << 20  # the chunk that was under way, not all four


async def test_what_the_block_raises_comes_out_as_it_is_when_all_is_cancelled_too() -> None:
    ours, theirs = stream_pair(4096)

    async def fail(cancelled: trio.CancelScope) -> None:
        async with connect(ours):
            cancelled.cancel()
            raise NotFoundError("it is gone")

    async with open_background() as nursery:
        nursery.start_soon(serve_stream, theirs, shelf(), Service(blocking=at_once))
        with trio.CancelScope() as cancelled, pytest.raises(NotFoundError, match="it is gone"):
            await fail(cancelled)


async def test_a_cancelled_task_leaves_the_session_whole(autojump_clock: MockClock) -> None:
    held = shelf()
    async with connected(held, window=1000, rate=10_000) as (client, _, _):
        with trio.move_on_after(5) as scope:
            await take(client, 2, 0, 4)
        assert scope.cancelled_caught
        assert await client.records(RELEASE) == RECORDS
        assert client.is_open


async def test_the_whole_of_it_can_be_cancelled() -> None:
    with trio.move_on_after(0.2) as scope:
        async with connected(shelf(), rate=1000) as (client, ours, theirs):
            await take(client, 2, 0, 4)
    assert scope.cancelled_caught
    assert ours.was_reset
    assert theirs.was_reset


async def test_an_error_of_the_caller_comes_out_as_it_is() -> None:
    ours, theirs = stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_stream, theirs, shelf(), Service())
        with pytest.raises(KeyError):
            async with connect(ours):
                raise KeyError


async def test_after_the_block_nothing_can_be_asked() -> None:
    async with connected(shelf()) as (client, _, _):
        pass
    assert not client.is_open
    with pytest.raises(NetworkError):
        await client.records(RELEASE)


async def test_a_run_that_is_too_long_is_our_bug() -> None:
    async with connected(shelf()) as (client, _, _):
        with pytest.raises(LocalProtocolError):
            await take(client, 1, 0, 65)
        assert await take(client, 1, 0, 1)


# --- a peer by hand: the acceptor's violations, and its silence -------------------------------------------------------


Script = Callable[[MemoryStream, Acceptor], Awaitable[None]]


def raw(message: Message, payload: bytes = b"", length: int | None = None) -> bytes:
    return frame(encode(message, len(payload) if length is None else length)) + payload


@asynccontextmanager
async def against(script: Script, **options: Any) -> AsyncIterator[tuple[ExchangeClient, MemoryStream]]:
    """A client whose peer says HELLO, waits for the first request, and then follows a script."""
    ours, theirs = stream_pair()

    async def peer() -> None:
        acceptor = Acceptor(Hello())
        await theirs.send_all(acceptor.hello())
        while not acceptor.outstanding:
            acceptor.receive(await theirs.receive_some(1 << 16))
        await script(theirs, acceptor)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer)
        async with connect(ours, **options) as client:
            yield client, ours
        nursery.cancel_scope.cancel()


VIOLATIONS: dict[str, bytes] = {
    "a length of 2^63": bytes.fromhex("80808080808080808001"),
    "a payload of another length than a chunk may have": frame(b"\x08\x81\x80\x80\x02\x10\x01\x9a\x01\x02\x08\x00"),
    "a chunk that was not asked": raw(Chunk(9, 0), b"x"),
    "the second chunk first": raw(Chunk(1, 1), b"x"),
    "a chunk after the last": b"".join(raw(Chunk(1, i), b"x") for i in range(5)),
    "another kind of answer": raw(Node(1, 0), bytes(60)),
    "a request": raw(Want(1, CONTENT, 1, 0, 1)),
    "a second HELLO": raw(Hello()),
    "a flood of headers": raw(NotFound(1)) * 1000,
    "bytes that are no header": b"\x05hello",
}


@pytest.mark.parametrize("name", VIOLATIONS)
async def test_a_violation_resets_the_stream_and_reaches_all(name: str) -> None:
    async def violate(theirs: MemoryStream, acceptor: Acceptor) -> None:
        await theirs.send_all(VIOLATIONS[name])

    failed: list[type[BaseException]] = []
    async with against(violate) as (client, ours):

        async def fetch(first: int) -> None:
            try:
                await take(client, 1, first, 4)
                await client.records(RELEASE)
            except (RemoteProtocolError, NotFoundError) as error:
                failed.append(type(error))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fetch, 0)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(fetch, 4)
        assert RemoteProtocolError in failed
        assert len(failed) == 2
        assert not client.is_open
        with pytest.raises(RemoteProtocolError):
            await client.files_bits(CONTENT)
        await trio.testing.wait_all_tasks_blocked()
        assert ours.was_reset


@pytest.mark.parametrize(
    "end", [NotFound(1), Busy(1, 1000), Refused(1, Refusal.LIMIT)], ids=lambda end: type(end).__name__
)
async def test_records_count_when_what_was_to_come_ahead_does_not(end: Answer) -> None:
    part = RecordsPart(1, 0, 1, False, (7, 7), ahead=True)

    async def change_its_mind(theirs: MemoryStream, acceptor: Acceptor) -> None:
        await theirs.send_all(raw(part, b"genesisrelease") + raw(end))

    async with against(change_its_mind) as (client, _):
        assert await client.records(RELEASE, 1000, refuse) == Records((b"genesis",), b"release")
        assert client.is_open


AHEAD: dict[str, tuple[int, bytes]] = {
    "nobody asked": (0, raw(RecordsPart(1, 0, 1, False, (7, 7), ahead=True), b"genesisrelease")),
    "more than was asked": (
        100,
        raw(RecordsPart(1, 0, 1, False, (7, 7), ahead=True), b"genesisrelease") + raw(Ahead(1, (101,)), bytes(101)),
    ),
    "not promised": (100, raw(RecordsPart(1, 0, 1, False, (7, 7)), b"genesisrelease") + raw(Ahead(1, (9,)), bytes(9))),
    "before the records": (100, raw(Ahead(1, (9,)), bytes(9))),
    "within the records": (
        100,
        raw(RecordsPart(1, 0, 1, False, (7,), ahead=True), b"genesis") + raw(Ahead(1, (9,)), bytes(9)),
    ),
}


@pytest.mark.parametrize("name", AHEAD)
async def test_what_may_not_come_ahead_is_a_violation(name: str) -> None:
    most, said = AHEAD[name]

    async def violate(theirs: MemoryStream, acceptor: Acceptor) -> None:
        await theirs.send_all(said)

    async with against(violate) as (client, ours):
        with contextlib.suppress(RemoteProtocolError):  # of some the records were all here before
            await client.records(RELEASE, most, refuse)
        with pytest.raises(RemoteProtocolError):
            await client.records(RELEASE)
        await trio.testing.wait_all_tasks_blocked()
        assert ours.was_reset


async def test_who_sends_records_and_not_what_is_to_follow_stalls(autojump_clock: MockClock) -> None:
    async def fall_silent(theirs: MemoryStream, acceptor: Acceptor) -> None:
        await theirs.send_all(raw(RecordsPart(1, 0, 1, False, (7, 7), ahead=True), b"genesisrelease"))
        await trio.sleep_forever()

    async with against(fall_silent, patience=20.0) as (client, _):
        with pytest.raises(NetworkError, match="stalls"):
            await client.records(RELEASE, 1000, refuse)
        assert trio.current_time() == pytest.approx(20, abs=2)


async def test_short_bytes_at_the_end_are_a_violation() -> None:
    async def end(theirs: MemoryStream, acceptor: Acceptor) -> None:
        await theirs.send_all(raw(Chunk(1, 0), b"only these", length=100))
        await theirs.aclose()

    async with against(end) as (client, _):
        with pytest.raises(RemoteProtocolError, match="short"):
            await take(client, 1, 0, 1)


async def test_an_orderly_end_with_a_debt_is_a_loss() -> None:
    async def end(theirs: MemoryStream, acceptor: Acceptor) -> None:
        await theirs.send_all(raw(Chunk(1, 0), b"whole"))
        await theirs.aclose()

    async with against(end) as (client, _):
        got: list[bytes] = []
        with pytest.raises(NetworkError):
            await client.chunks(CONTENT, 1, 0, 2, lambda chunk, data: got.append(bytes(data)))
        assert got == [b"whole"]


async def test_a_drop_in_the_middle_is_a_loss() -> None:
    async def drop(theirs: MemoryStream, acceptor: Acceptor) -> None:
        await theirs.send_all(raw(Chunk(1, 0), b"x" * 50, length=100))
        await trio.testing.wait_all_tasks_blocked()
        await theirs.reset()

    async with against(drop) as (client, _):
        with pytest.raises(NetworkError):
            await take(client, 1, 0, 1)


async def test_a_node_with_another_hash_is_a_violation() -> None:
    async def lie(theirs: MemoryStream, acceptor: Acceptor) -> None:
        await theirs.send_all(raw(Node(1, 0), blob(1, 60)))

    async with against(lie) as (client, ours):
        with pytest.raises(RemoteProtocolError):
            await client.nodes(CONTENT, [Digest(blake3(blob(2, 60)).digest())])
        assert not client.has_given
        await trio.testing.wait_all_tasks_blocked()
        assert ours.was_reset


@pytest.mark.parametrize("total", [7, 9, 16])
async def test_another_number_of_chunks_is_a_violation(total: int) -> None:
    async def lie(theirs: MemoryStream, acceptor: Acceptor) -> None:
        await theirs.send_all(raw(Have(1, total, 0, whole=True)))

    async with against(lie) as (client, _):
        with pytest.raises(RemoteProtocolError):
            await client.availability(CONTENT, 1, chunks=8)


async def test_all_files_held_is_all_bits_set() -> None:
    async def whole(theirs: MemoryStream, acceptor: Acceptor) -> None:
        await theirs.send_all(raw(Have(1, 16, 0, whole=True)))

    async with against(whole) as (client, _):
        assert await client.files_bits(CONTENT, files=11) == b"\xff\xff"


async def test_busy_says_when_to_come_back() -> None:
    async def busy(theirs: MemoryStream, acceptor: Acceptor) -> None:
        await theirs.send_all(raw(Busy(1, 1500)))

    async with against(busy) as (client, _):
        with pytest.raises(PeerBusyError) as error:
            await take(client, 1, 0, 1)
        assert error.value.retry_after == 1.5
        assert client.is_open


async def test_a_refusal_of_a_later_version_is_a_refusal() -> None:
    async def refuse(theirs: MemoryStream, acceptor: Acceptor) -> None:
        await theirs.send_all(raw(Refused(1, 999)))

    async with against(refuse) as (client, _):
        with pytest.raises(PeerRefusedError) as error:
            await take(client, 1, 0, 1)
        assert error.value.code == 999


# --- time -------------------------------------------------------------------------------------------------------------


async def quiet(theirs: MemoryStream, acceptor: Acceptor) -> None:
    await trio.sleep_forever()


@pytest.mark.parametrize("asked", ["records", "a log", "chunks", "what it holds", "what was agreed", "nothing"])
async def test_a_peer_without_hello_is_given_up(asked: str, autojump_clock: MockClock) -> None:
    ours, _ = stream_pair()
    async with connect(ours, timeout=10) as client:
        if asked == "nothing":
            await trio.sleep(10.1)
            assert not client.is_open
            assert ours.was_reset
        for _ in range(2):
            with pytest.raises(NetworkError, match="no HELLO within 10 s"):
                await ask_for(client, asked)
        assert trio.current_time() == pytest.approx(10, abs=0.2)
    assert ours.was_reset


async def ask_for(client: ExchangeClient, what: str) -> object:
    match what:
        case "records":
            return await client.records(RELEASE)
        case "a log":
            return await client.log(PUBLISHER, 0, 1)
        case "chunks":
            return await take(client, 1, 0, 1)
        case "what it holds":
            return await client.files_bits(CONTENT)
        case _:
            return await client.opened()


@pytest.mark.parametrize("asked", ["records", "what it holds", "what was agreed"])
async def test_a_peer_of_another_version_is_told_apart(asked: str) -> None:
    ours, theirs = stream_pair()
    async with connect(ours) as client:
        await trio.testing.wait_all_tasks_blocked()
        await theirs.send_all(Acceptor(Hello(versions=(2,))).hello())
        with pytest.raises(RemoteProtocolError, match="no common version"):
            await ask_for(client, asked)
    assert ours.was_reset


# --- before HELLO -----------------------------------------------------------------------------------------------------


async def hear(theirs: MemoryStream, acceptor: Acceptor, count: int) -> list[AcceptorEvent]:
    got: list[AcceptorEvent] = []
    while len(got) < count:
        got += acceptor.receive(await theirs.receive_some(1 << 16))
    return got


@pytest.mark.parametrize("asked", ["records", "a log"])
async def test_the_first_question_goes_out_with_our_hello(asked: str) -> None:
    ours, theirs = stream_pair()
    acceptor = Acceptor(Hello(max_outstanding=1))
    said = acceptor.hello()  # and does not go out yet
    failed: list[str] = []

    async def ask() -> None:
        with pytest.raises(NotFoundError):
            await ask_for(client, asked)
        failed.append(asked)

    async with connect(ours) as client, trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        opened, request = await hear(theirs, acceptor, 2)
        assert isinstance(opened, Opened)
        assert isinstance(request, GetRecords | GetLog)
        nursery.start_soon(ask)
        nursery.start_soon(client.opened)
        await trio.testing.wait_all_tasks_blocked()
        assert not theirs.incoming.held, "a second one waits for HELLO"
        await theirs.send_all(said + acceptor.answer(NotFound(1)))
        assert await hear(theirs, acceptor, 1) == [replace(request, id=2)]
        await theirs.send_all(acceptor.answer(NotFound(2)))
    assert failed == [asked, asked]


@pytest.mark.parametrize("asked", ["chunks", "what it holds"])
async def test_what_needs_hello_waits_for_it(asked: str) -> None:
    ours, theirs = stream_pair()
    acceptor = Acceptor(Hello())
    async with connect(ours) as client, trio.open_nursery() as nursery:
        nursery.start_soon(ask_for, client, asked)
        await trio.testing.wait_all_tasks_blocked()
        await hear(theirs, acceptor, 1)
        assert not theirs.incoming.held
        await theirs.send_all(acceptor.hello())
        assert len(await hear(theirs, acceptor, 1)) == 1
        nursery.cancel_scope.cancel()


async def test_a_first_question_that_nobody_wants_any_more_is_cancelled() -> None:
    ours, theirs = stream_pair()
    acceptor = Acceptor(Hello())
    said = acceptor.hello()
    async with connect(ours) as client:
        with trio.move_on_after(0.05):
            await client.records(RELEASE)
        assert [type(event) for event in await hear(theirs, acceptor, 3)] == [Opened, GetRecords, Cancel]
        await theirs.send_all(said + acceptor.answer(Refused(1, Refusal.CANCELLED)))
        await client.opened()
        await trio.testing.wait_all_tasks_blocked()
        assert client.is_open
    assert ours.was_closed
    assert not ours.was_reset


async def test_an_answer_before_hello_is_a_violation() -> None:
    ours, theirs = stream_pair()
    await theirs.send_all(raw(NotFound(1)))
    async with connect(ours) as client:
        with pytest.raises(RemoteProtocolError):
            await client.records(RELEASE)
    assert ours.was_reset


async def test_who_says_hello_and_asks_at_once_is_answered() -> None:
    for _ in range(20):  # who of the server's tasks is first is left to chance
        async with serving(Service(blocking=at_once)) as (ours, ended):
            opener = Opener(Hello())
            await ours.send_all(opener.hello() + opener.ask(GetRecords(1, release=RELEASE)))
            (answered,) = (event for event in await events(ours, opener, 1) if not isinstance(event, Opened))
            assert isinstance(answered, Answered)
            assert answered.last
            assert ended == []


async def test_a_peer_that_owes_an_answer_stalls(autojump_clock: MockClock) -> None:
    async with against(quiet, patience=60) as (client, ours):
        await trio.sleep(1000)  # nothing is owed: no hurry
        began = trio.current_time()
        with pytest.raises(NetworkError, match="stalls"):
            await take(client, 1, 0, 1)
        assert trio.current_time() - began == pytest.approx(60)
    assert ours.was_reset


@pytest.mark.parametrize(("rate", "stalls"), [(7 << 10, True), (9 << 10, False)])
async def test_a_peer_must_move_at_some_rate(rate: int, stalls: bool, autojump_clock: MockClock) -> None:
    size = 1 << 20

    async def trickle(theirs: MemoryStream, acceptor: Acceptor) -> None:
        for index in range(5):
            whole = raw(Chunk(1, index), bytes(size))
            for start in range(0, len(whole), rate):
                await trio.sleep(1)
                await theirs.send_all(whole[start : start + rate])

    async with against(trickle, patience=60) as (client, _):
        if stalls:
            with pytest.raises(NetworkError, match="stalls"):
                await take(client, 1, 0, 5)
            assert 60 < trio.current_time() < 600
        else:
            assert len(await take(client, 1, 0, 5)) == 5


async def test_our_own_cap_is_no_stall(autojump_clock: MockClock) -> None:
    async with connected(shelf(), kind=CappedStream, window=1000, rate=2000, patience=60) as (client, _, _):
        began = trio.current_time()
        assert len(await take(client, 2, 0, 1)) == 1
        assert trio.current_time() - began == pytest.approx((1 << 20) / 2000, rel=0.3)


@asynccontextmanager
async def serving(service: Service, held: MemoryShelf | None = None) -> AsyncIterator[tuple[MemoryStream, list[Any]]]:
    """A server whose opener is played by hand; what `serve_stream` raised is in the list when it has ended."""
    ours, theirs = stream_pair(1 << 16)
    ended: list[Any] = []

    async def serve() -> None:
        try:
            await serve_stream(theirs, held or shelf(), service)
        except RemoteProtocolError as error:
            ended.append(error)
        else:
            ended.append(None)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        yield ours, ended
        nursery.cancel_scope.cancel()


async def open_by_hand(ours: MemoryStream) -> Opener:
    opener = Opener(Hello())
    await ours.send_all(opener.hello())
    while opener.opened is None:
        opener.receive(await ours.receive_some(1 << 16))
    return opener


async def test_the_server_gives_up_silence(autojump_clock: MockClock) -> None:
    async with serving(Service(handshake=10, blocking=at_once)) as (ours, ended):
        await trio.sleep(9.9)
        assert ended == []
        await trio.sleep(0.2)
        assert ended == [None]
        assert ours.incoming.broken


async def test_the_server_closes_what_is_idle(autojump_clock: MockClock) -> None:
    async with serving(Service(idle=30, blocking=at_once)) as (ours, ended):
        opener = await open_by_hand(ours)
        await trio.sleep(29)
        await ours.send_all(opener.ask(HaveRequest(1, CONTENT, None)))
        await trio.sleep(29)
        await ours.send_all(b"\x05")  # a byte that begins a frame is no request
        await trio.sleep(0.9)
        assert ended == []
        await trio.sleep(0.2)
        assert ended == [None]
        assert not ours.incoming.broken


async def test_the_server_gives_up_who_does_not_read(autojump_clock: MockClock) -> None:
    async with serving(Service(window=60, blocking=at_once)) as (ours, ended):
        opener = await open_by_hand(ours)
        await ours.send_all(opener.ask(Want(1, CONTENT, 2, 0, 4)))
        await trio.sleep(60 + 128 - 1)  # the window, and the time that 1 MiB may take at the least rate
        assert ended == []
        await trio.sleep(10)
        assert ended == [None]
        assert ours.incoming.broken


async def test_the_server_waits_for_who_reads_slowly(autojump_clock: MockClock) -> None:
    async with serving(Service(window=60, blocking=at_once)) as (ours, ended):
        opener = await open_by_hand(ours)
        began = trio.current_time()
        await ours.send_all(opener.ask(Want(1, CONTENT, 2, 0, 4)))
        heard = 0
        while opener.outstanding:
            data = await ours.receive_some(9 << 10)
            opener.receive(data)
            heard += len(data)
            await trio.sleep_until(began + heard / (9 << 10))
        assert ended == []


async def test_a_flood_of_requests_is_refused_and_counts_against_the_peer() -> None:
    async with serving(Service()) as (ours, ended):
        await open_by_hand(ours)
        await ours.send_all(b"".join(raw(HaveRequest(i, CONTENT, None)) for i in range(1, 1000)))
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert [type(error) for error in ended] == [RemoteProtocolError]
        assert ours.incoming.broken


async def events(ours: MemoryStream, opener: Opener, until: int) -> list[OpenerEvent]:
    got: list[OpenerEvent] = []
    while sum(isinstance(event, Ended) or (isinstance(event, Answered) and event.last) for event in got) < until:
        got += opener.receive(await ours.receive_some(1 << 16))
    return got


async def test_the_server_ends_what_was_cancelled() -> None:
    async with serving(Service()) as (ours, ended):
        opener = await open_by_hand(ours)
        mail = opener.ask(Want(1, CONTENT, 2, 0, 4)) + opener.ask(Want(2, CONTENT, 2, 0, 4)) + opener.cancel(2)
        await ours.send_all(mail + opener.cancel(1))
        assert {type(event) for event in await events(ours, opener, 2)} == {Ended}
        assert opener.outstanding == 0
        assert ended == []


async def test_the_server_refuses_what_it_does_not_know() -> None:
    async with serving(Service()) as (ours, _):
        await open_by_hand(ours)
        await ours.send_all(raw(Unknown(7)) + raw(HaveRequest(8, CONTENT, 1, first=1 << 20)))
        answers = raw(Refused(7, Refusal.UNKNOWN)) + raw(Refused(8, Refusal.OUT_OF_RANGE))
        heard = b""
        while len(heard) < len(answers):
            heard += await ours.receive_some(1 << 16)
        assert heard == answers


async def test_the_server_answers_to_the_end_when_the_opener_has_ended() -> None:
    async with serving(Service()) as (ours, ended):
        opener = await open_by_hand(ours)
        await ours.send_all(opener.ask(Want(1, CONTENT, 1, 0, 64)) + opener.ask(HaveRequest(2, CONTENT, 1)))
        ours.outgoing.ended = True
        ours.outgoing.wake()
        got = await events(ours, opener, 2)
        assert sum(isinstance(event, Answered) for event in got) == 65
        assert await ours.receive_some(1) == b""
        await trio.testing.wait_all_tasks_blocked()
        assert ended == [None]


async def test_who_gets_no_slot_hears_busy() -> None:
    service = Service(slots=UploadSlots(1), busy_retry=3, blocking=at_once)
    async with serving(service) as (first, _), serving(service) as (second, _):
        one, other = await open_by_hand(first), await open_by_hand(second)
        await first.send_all(one.ask(Want(1, CONTENT, 2, 0, 4)))
        await trio.testing.wait_all_tasks_blocked(0.05)
        await second.send_all(other.ask(Want(1, CONTENT, 1, 0, 1)) + other.ask(HaveRequest(2, CONTENT, 1)))
        answers = await events(second, other, 2)
        assert [getattr(event, "answer", None) for event in answers] == [Busy(1, 3000), Have(2, 150, 0, whole=True)]
        await events(first, one, 1)
        await trio.testing.wait_all_tasks_blocked(0.05)
        await second.send_all(other.ask(Want(3, CONTENT, 1, 0, 1)))
        assert isinstance((await events(second, other, 1))[0], Answered)
        assert service.slots.held <= 1
    assert service.slots.held == 0


async def test_who_gives_nothing_now_says_when_and_answers_all_else() -> None:
    service = Service(blocking=at_once)
    service.giving.set_closed(True, trio.current_time() + 90)
    async with connected(shelf(), service=service) as (client, _, _):
        for _ in range(2):
            with pytest.raises(PeerBusyError) as caught:
                await take(client, 1, 0, 1)
            assert caught.value.retry_after == pytest.approx(90, abs=1)
        assert await client.records(RELEASE) == RECORDS
        assert (await client.availability(CONTENT, 1, chunks=150)).chunks == 150
        service.giving.set_closed(False)
        assert len(await take(client, 1, 0, 3)) == 3


async def test_who_has_given_all_that_it_may_is_busy_in_the_middle_of_a_run() -> None:
    upload = TokenBucket()
    service = Service(blocking=at_once, upload=upload, giving=Giving(upload))
    service.giving.most = (2 << 20) + 500
    got: list[int] = []
    async with connected(shelf(), service=service) as (client, _, _):
        with pytest.raises(PeerBusyError) as caught:
            await client.chunks(CONTENT, 2, 0, 4, lambda chunk, data: got.append(chunk.index))
        assert caught.value.retry_after == 3600
        upload.charge(2 << 20)  # as the transport does, which is not here
        assert got == [0, 1]
        with pytest.raises(PeerBusyError):
            await take(client, 2, 2, 1)
        assert await take(client, 0, 0, 1)  # what fits is given
        assert await client.records(RELEASE) == RECORDS


async def test_who_gives_no_chunks_now_sends_nothing_ahead() -> None:
    service = Service(slots=UploadSlots(1), blocking=at_once)
    objects = [blob(1, 600), blob(2, 400)]
    async with connected(shelf(objects=objects), service=service) as (client, _, _):
        took: list[int] = []
        service.giving.set_closed(True)
        assert await client.records(RELEASE, 1000, refuse) == RECORDS
        service.giving.set_closed(False)
        service.giving.most = 999
        assert await client.records(RELEASE, 1000, refuse) == RECORDS
        service.giving.most = 1000
        for _ in range(3):  # what was promised is let go of when it went out: the transport counts it then
            assert await client.records(RELEASE, 1000, lambda data: took.append(len(data))) == RECORDS
            await trio.testing.wait_all_tasks_blocked()
        assert took == [600, 400] * 3
        assert service.slots.held == 0
        assert service.slots.take("another", None, trio.current_time())
        assert await client.records(RELEASE, 1000, refuse) == RECORDS


async def test_what_was_promised_to_who_left_is_given_to_others() -> None:
    service = Service(blocking=at_once)
    service.giving.most = 3 << 20
    with trio.CancelScope() as leaving:
        async with connected(shelf(), service=service, window=4096) as (client, _, _):
            await client.chunks(CONTENT, 2, 0, 4, lambda chunk, data: leaving.cancel())
    async with connected(shelf(), service=service) as (client, ours, _):
        ours.incoming.window = 0
        with trio.move_on_after(0.05):
            await take(client, 2, 0, 3)
        ours.incoming.window = 1 << 30
        ours.incoming.wake()
        await trio.testing.wait_all_tasks_blocked(0.05)
    async with connected(shelf(), service=service) as (client, _, _):
        assert len(await take(client, 2, 0, 3)) == 3


async def test_a_session_that_sends_chunks_is_reset_when_no_more_are_given() -> None:
    service = Service(blocking=at_once)
    async with connected(shelf(), service=service, window=4096) as (client, _, theirs):
        with pytest.raises(NetworkError):
            await client.chunks(CONTENT, 2, 0, 3, lambda chunk, data: service.giving.set_closed(True))
        assert theirs.was_reset
    assert service.slots.held == 0


async def test_a_session_that_only_asks_stays_when_no_more_are_given() -> None:
    service = Service(blocking=at_once)
    async with connected(shelf(), service=service) as (client, _, _):
        await take(client, 1, 0, 1)
        await trio.testing.wait_all_tasks_blocked(0.01)
        service.giving.set_closed(True)
        assert await client.records(RELEASE) == RECORDS


async def test_a_shelf_that_hands_out_too_much_is_our_bug() -> None:
    held = shelf()
    held.streams[1][0] = bytes((1 << 20) + 1)
    ours, theirs = stream_pair()

    async def ask() -> None:
        async with connect(ours) as client:
            with pytest.raises(NetworkError):
                await take(client, 1, 0, 1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        with pytest.raises(LocalProtocolError):
            await serve_stream(theirs, held, Service())


async def test_the_stream_is_opened_for_the_protocol() -> None:
    ours, theirs = stream_pair()
    network = OneStream(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_stream, theirs, shelf(), Service(agent="samara test"))
        async with ExchangeClient.connect(network, PeerAddress("server")) as client:  # type: ignore[arg-type]
            assert (await client.opened()).peer.agent == "samara test"
    assert network.opened == [(PeerAddress("server"), PROTOCOL)]
    assert PROTOCOL == "/samara/exchange/1"


# --- slots ------------------------------------------------------------------------------------------------------------


def test_slots_are_few_when_the_upload_is_capped() -> None:
    for rate, most in ((None, 4), (1e9, 4), (48 << 10, 3), (1, 1)):
        slots = UploadSlots(4)
        assert [slots.take(session, rate, 0) for session in range(5)] == [True] * most + [False] * (5 - most)
        assert slots.held == most


def test_who_holds_a_slot_for_long_gives_way() -> None:
    slots = UploadSlots(1, turn=60)
    assert slots.take("a", None, 0)
    assert slots.take("a", None, 1000)  # nobody else wants it
    assert not slots.take("b", None, 1001)
    assert not slots.take("a", None, 1002)
    assert slots.take("b", None, 1003)
    assert not slots.take("a", None, 1004)
    assert slots.take("b", None, 1062)  # its turn is not over
    assert not slots.take("b", None, 1063)
    slots.give_back("b")
    assert slots.take("a", None, 1064)


def test_a_giver_takes_the_slot_of_who_only_takes() -> None:
    slots = UploadSlots(8)
    assert all(slots.take(f"leech {n}", None, 0.0) for n in range(8))
    assert not slots.take("giver", None, 1.0, 100.0)  # nobody loses a slot that was just taken
    taken = [slots.take(f"giver {n}", None, 10.0, 100.0 + n) for n in range(8)]
    assert taken == [True] * 6 + [False] * 2  # a quarter is left to those who gave nothing yet
    assert [slots.take(f"leech {n}", None, 10.0) for n in range(8)] == [False] * 6 + [True] * 2
    assert slots.take("great giver", None, 20.0, 1000.0)
    assert not slots.take("giver 0", None, 20.0, 100.0)  # who gave least made room


def test_a_lone_slot_goes_to_who_gives() -> None:
    slots = UploadSlots(1)
    assert slots.take("leech", None, 0.0)
    assert slots.take("giver", None, 6.0, 1.0)
    assert not slots.take("leech", None, 12.0)


def test_credit_fades_and_is_bounded() -> None:
    credit = Credit()
    credit.note("ann", 1000, 0.0)
    credit.note("ann", 1000, 600.0)
    assert credit.of("ann", 600.0) == 1500
    assert credit.of("ann", 1800.0) == 375
    assert credit.of("bob", 0.0) == 0
    for number in range(limits.MAX_CREDITS_KEPT):
        credit.note(f"peer {number}", 1, 2000.0)
    assert credit.of("ann", 2000.0) == 0


# --- patience ---------------------------------------------------------------------------------------------------------


def test_patience_is_spent_and_earned_back() -> None:
    patience = Patience(60, 1000)
    assert patience.allow() == 60
    patience.spend(40, 0)
    assert patience.allow() == 20
    patience.spend(10, 5000)
    assert patience.allow() == 15
    assert patience.allow(3000) == 18
    patience.spend(0, 10**9)
    assert patience.allow() == 60
    patience.spend(100, 0)
    assert patience.allow() == 0
    patience.renew()
    assert patience.allow() == 60
