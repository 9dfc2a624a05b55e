"""Yamux: every split, every state with every frame, two ends in memory, a naive reference, and all bounds."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.naive_yamux import Broken, NaiveYamux, joined, plain

from samara.protocol import limits
from samara.protocol.errors import LocalProtocolError, RemoteProtocolError
from samara.protocol.yamux import Body, Ended, Event, GoneAway, Ponged, Reset, Session, StreamOpened, Windowed
from samara.protocol.yamux.frames import ACK, FIN, HEADER, RST, SYN, Kind, header

WINDOW = limits.STREAM_WINDOW
DATA, GROW, PING, AWAY = Kind.DATA, Kind.WINDOW, Kind.PING, Kind.GO_AWAY


def data(stream: int, body: bytes, flags: int = 0) -> bytes:
    return header(DATA, flags, stream, len(body)) + body


def grow(stream: int, length: int = 0, flags: int = 0) -> bytes:
    return header(GROW, flags, stream, length)


def hear(session: Session, raw: bytes, cuts: Sequence[int] = ()) -> list[Event]:
    """Let a session hear bytes in pieces; what bodies hold is copied, since the pieces go away."""
    events: list[Event] = []
    for start, end in pairwise([0, *cuts, len(raw)]):
        for event in session.receive(memoryview(raw)[start:end]):
            events.append(Body(event.stream, memoryview(bytes(event.data))) if isinstance(event, Body) else event)
    return events


# Against the reference.

STREAMS = st.integers(0, 7)
FRAMES = st.one_of(
    st.builds(data, STREAMS, st.binary(max_size=40), st.integers(0, 15)),
    st.builds(data, STREAMS, st.integers(WINDOW - 2, WINDOW + 1).map(bytes), st.sampled_from([0, FIN, RST])),
    st.builds(grow, STREAMS, st.sampled_from([0, 1, 1 << 31, 2**32 - 1]), st.integers(0, 15)),
    st.builds(lambda flags, number: header(PING, flags, 0, number), st.integers(0, 3), st.integers(0, 5)),
    st.builds(lambda code: header(AWAY, 0, 0, code), st.integers(0, 3)),
    st.builds(HEADER.pack, st.sampled_from([0, 0, 1]), st.integers(1, 5), st.just(0), STREAMS, st.integers(0, 9)),
)
WISHES = st.one_of(
    st.tuples(st.just("open")),
    st.tuples(st.sampled_from(["finish", "reset"]), STREAMS),
    st.tuples(st.just("grant"), STREAMS, st.integers(1, WINDOW)),
)


@given(
    st.booleans(),
    st.integers(0, 3),
    st.lists(st.tuples(st.one_of(FRAMES, WISHES), st.sets(st.integers(1, 30), max_size=4)), max_size=30),
)
def test_it_hears_what_the_reference_hears(initiator: bool, inbound: int, steps: list[tuple[Any, set[int]]]) -> None:
    naive, session = NaiveYamux(initiator, inbound), Session(initiator=initiator, inbound=inbound)
    heard: list[tuple[Any, ...]] = []
    for step, where in steps:
        if isinstance(step, tuple):
            name, *said = step
            if name == "open":
                if session.can_open:
                    naive.open(session.open())
            else:
                getattr(naive, name)(*said)
                getattr(session, name)(*said)
            continue
        cuts = sorted(cut for cut in where if cut < len(step))
        try:
            naive.hear(step)
        except Broken:
            with pytest.raises(RemoteProtocolError):
                hear(session, step, cuts)
            with pytest.raises(LocalProtocolError):
                hear(session, step)
            return
        heard += plain(hear(session, step, cuts))
        assert joined(heard) == joined(naive.events)
        for number in range(8):
            known = naive.streams.get(number)
            assert session.is_open(number) == (known is not None)
            assert session.sendable(number) == (0 if known is None or known.we_closed else known.sends)


def test_every_split_of_a_conversation_gives_the_same_events_and_answers() -> None:
    raw = b"".join(
        [
            grow(1, 5, SYN), data(1, b"hello"), header(PING, SYN, 0, 7), data(3, b"at once", SYN | FIN),
            data(9, b"x", SYN), data(9, b"", RST), data(9, b"to nobody"), grow(1, 100),
            data(1, b"end", FIN), data(3, b"", RST), header(PING, ACK, 0, 9), header(AWAY, 0, 0, 0),
        ]
    )  # fmt: skip
    whole = Session(initiator=False)
    expected = joined(plain(hear(whole, raw)))
    assert [event[0] for event in expected] == [
        "opened", "windowed", "body", "opened", "body", "ended", "opened", "body", "reset", "windowed", "body", "ended",
        "reset", "ponged", "gone away",
    ]  # fmt: skip
    answers = whole.take_out()
    for first in range(1, len(raw)):
        for second in range(first, len(raw), 7):
            session = Session(initiator=False)
            assert joined(plain(hear(session, raw, (first, second)))) == expected
            assert session.take_out() == answers
    session = Session(initiator=False)
    assert joined(plain(hear(session, raw, range(1, len(raw))))) == expected


@given(st.integers(0, 2**32))
def test_two_ends_carry_what_is_sent_whatever_the_pieces(seed: int) -> None:
    """Both ends open streams, send, grant, finish and reset; bytes go between them in pieces of any size."""
    chance = random.Random(seed)
    ends = [Session(initiator=True, inbound=4), Session(initiator=False, inbound=4)]
    wires: list[bytearray] = [bytearray(), bytearray()]  # towards each of them
    sent: list[dict[int, bytearray]] = [{}, {}]
    received: list[dict[int, bytearray]] = [{}, {}]
    dropped: set[int] = set()

    def flush(one: int) -> None:
        wires[1 - one] += ends[one].take_out()

    def wish(one: int) -> None:
        end = ends[one]
        streams = [number for number in sent[one] if end.is_open(number)]
        match chance.choice(["open", "send", "send", "send", "finish", "reset"]):
            case "open" if len(sent[one]) < 8:
                number = end.open()
                sent[one][number] = bytearray()
            case "send" if streams:
                number = chance.choice(streams)
                count = min(end.sendable(number), chance.choice([1, 100, 70_000]))
                if count:
                    flush(one)  # what opens a stream goes before its data
                    body = chance.randbytes(count)
                    wires[1 - one] += end.send(number, count) + body
                    sent[one][number] += body
            case "finish" if streams:
                end.finish(chance.choice(streams))
            case "reset" if streams and chance.random() < 0.2:
                number = chance.choice(streams)
                dropped.add(number)
                end.reset(number)
        flush(one)

    def deliver(one: int) -> None:
        piece = bytes(wires[one][: chance.choice([1, 11, 12, 5000, 1 << 20])])
        del wires[one][: len(piece)]
        for event in ends[one].receive(memoryview(piece)):
            match event:
                case StreamOpened(number):
                    sent[one].setdefault(number, bytearray())
                case Body(number, part):
                    received[one].setdefault(number, bytearray()).extend(part)
                    ends[one].grant(number, len(part))
                case Reset(number):
                    dropped.add(number)
                case Ended() | Windowed() | Ponged() | GoneAway():
                    pass
        flush(one)

    for _ in range(150):
        one = chance.randrange(2)
        chance.choice([wish, deliver])(one)
    for _ in range(2):  # the second time for streams whose opening was still on its way
        for one in (0, 1):
            for number in list(sent[one]):
                ends[one].finish(number)
            flush(one)
        while any(wires):
            deliver(0)
            deliver(1)
    for one in (0, 1):
        for number, body in sent[one].items():
            got = bytes(received[1 - one].get(number, b""))
            assert body.startswith(got)
            if number not in dropped:
                assert got == body
        assert not any(ends[one].is_open(number) for number in sent[one] if number not in dropped)


# Every state with every frame.


def opened() -> Session:
    session = Session(initiator=False)
    hear(session, grow(1, 0, SYN))
    session.take_out()
    return session


def after(*steps: Callable[[Session], Any]) -> Callable[[], Session]:
    def make() -> Session:
        session = opened()
        for step in steps:
            step(session)
        session.take_out()
        return session

    return make


STATES: dict[str, Callable[[], Session]] = {
    "unknown": lambda: Session(initiator=False),
    "open": opened,
    "we closed": after(lambda session: session.finish(1)),
    "they closed": after(lambda session: hear(session, grow(1, 0, FIN))),
    "both closed": after(lambda session: session.finish(1), lambda session: hear(session, grow(1, 0, FIN))),
    "we reset": after(lambda session: session.reset(1)),
    "they reset": after(lambda session: hear(session, grow(1, 0, RST))),
}
GONE = ("both closed", "we reset", "they reset")
INPUTS: dict[str, bytes] = {
    "SYN": grow(1, 0, SYN),
    "SYN and body": data(1, b"x", SYN),
    "SYN and FIN": grow(1, 0, SYN | FIN),
    "SYN and RST": grow(1, 0, SYN | RST),
    "ACK": grow(1, 0, ACK),
    "body": data(1, b"x"),
    "no body": data(1, b""),
    "body and FIN": data(1, b"x", FIN),
    "body and RST": data(1, b"x", RST),
    "window": grow(1, 9),
    "window and FIN": grow(1, 9, FIN),
    "FIN": grow(1, 0, FIN),
    "FIN on data": data(1, b"", FIN),
    "RST": grow(1, 0, RST),
    "RST on data": data(1, b"", RST),
    "FIN and RST": grow(1, 0, FIN | RST),
}
OPENED, BODY, ENDED, RESET, WINDOWED = ("opened", 1), ("body", 1, b"x"), ("ended", 1), ("reset", 1), ("windowed", 1)
BROKEN = None
FRESH: dict[str, list[tuple[Any, ...]] | None] = {
    "SYN": [OPENED],
    "SYN and body": [OPENED, BODY],
    "SYN and FIN": [OPENED, ENDED],
    "SYN and RST": [OPENED, RESET],
}
"""What opens a stream opens one of that number again, too, once it is gone; all else to such a stream is void."""
STANDING: dict[str, list[tuple[Any, ...]] | None] = {
    **dict.fromkeys(FRESH, BROKEN),
    "body": [BODY],
    "body and FIN": [BODY, ENDED],
    "body and RST": [BODY, RESET],
    "window": [WINDOWED],
    "window and FIN": [WINDOWED, ENDED],
    "FIN": [ENDED],
    "FIN on data": [ENDED],
    "RST": [RESET],
    "RST on data": [RESET],
    "FIN and RST": [RESET],
}
STRAYS: dict[str, list[tuple[Any, ...]] | None] = {
    **FRESH,
    **dict.fromkeys(("body", "body and FIN", "body and RST"), BROKEN),
}
"""Where nothing can be on its way, body comes from nowhere."""
EXPECTED: dict[str, dict[str, list[tuple[Any, ...]] | None]] = {
    "unknown": STRAYS,
    "open": STANDING,
    "we closed": STANDING,
    "they closed": {
        **STANDING,
        **dict.fromkeys(("body", "body and FIN", "body and RST"), BROKEN),
        "window and FIN": [WINDOWED],
        "FIN": [],
        "FIN on data": [],
    },
    **dict.fromkeys(GONE, FRESH),
    "both closed": STRAYS,
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("given_", INPUTS)
def test_a_frame_in_a_state(state: str, given_: str) -> None:
    session = STATES[state]()
    expected = EXPECTED[state].get(given_, [])
    if expected is BROKEN:
        with pytest.raises(RemoteProtocolError):
            hear(session, INPUTS[given_])
        with pytest.raises(LocalProtocolError, match="failed"):
            hear(session, b"")
        return
    assert plain(hear(session, INPUTS[given_])) == expected
    ended = bool({ENDED, RESET} & set(expected)) or state == "they closed"
    if ended and session.is_open(1):
        with pytest.raises(RemoteProtocolError):
            hear(session, data(1, b"more"))


def test_a_reset_on_an_empty_data_frame_after_the_end_resets_its_stream_alone() -> None:
    """So rust-yamux resets a stream that it had closed; it once ended the whole connection."""
    session = opened()
    hear(session, grow(3, 0, SYN))
    assert plain(hear(session, data(1, b"all", FIN) + data(1, b"", RST))) == [("body", 1, b"all"), ENDED, RESET]
    assert plain(hear(session, data(3, b"x"))) == [("body", 3, b"x")]


# What we wish.


def test_what_is_opened_is_told_with_its_window_and_numbers_go_on() -> None:
    for initiator, numbers in ((True, (1, 3, 5)), (False, (2, 4, 6))):
        session = Session(initiator=initiator)
        assert [session.open(), session.open(2 * WINDOW), session.open()] == list(numbers)
        expected = grow(numbers[0], 0, SYN) + grow(numbers[1], WINDOW, SYN) + grow(numbers[2], 0, SYN)
        assert session.take_out(10) + session.take_out() == expected
        assert not session.has_out
        assert plain(hear(session, data(numbers[1], bytes(2 * WINDOW)))) == [("body", numbers[1], bytes(2 * WINDOW))]


def test_numbers_run_out_once() -> None:
    session = Session(initiator=True)
    session._next = 2**32 - 1
    assert session.open() == 2**32 - 1
    assert not session.can_open
    with pytest.raises(LocalProtocolError, match="no more streams"):
        session.open()


def test_we_send_no_more_than_we_may() -> None:
    session = Session(initiator=True)
    stream = session.open()
    assert session.send(stream, WINDOW - 1) == header(DATA, 0, stream, WINDOW - 1)
    assert session.sendable(stream) == 1
    for count in (0, 2, -1):
        with pytest.raises(LocalProtocolError):
            session.send(stream, count)
    assert hear(session, grow(stream, 10)) == [Windowed(stream)]
    assert session.sendable(stream) == 11
    session.finish(stream)
    assert session.sendable(stream) == 0
    with pytest.raises(LocalProtocolError):
        session.send(stream, 1)
    with pytest.raises(LocalProtocolError):
        session.send(77, 1)


def test_what_is_said_twice_or_of_a_stream_that_is_gone_says_nothing() -> None:
    session = opened()
    session.finish(1)
    assert session.take_out() == grow(1, 0, FIN)
    session.finish(1)
    hear(session, grow(1, 0, FIN))
    for _ in range(2):
        session.finish(1)
        session.reset(1)
        session.grant(1, 5)
    assert session.take_out() == b""
    session = opened()
    session.grant(1, 5)
    session.grant(1, 0)
    session.reset(1)
    assert session.take_out() == grow(1, 5) + grow(1, 0, RST)


def test_pings_and_go_away() -> None:
    session = Session(initiator=True)
    session.ping(2**32 - 1)
    session.go_away(2)
    assert session.take_out() == header(PING, SYN, 0, 2**32 - 1) + header(AWAY, 0, 0, 2)
    assert hear(session, header(PING, SYN, 0, 5)) == []
    assert session.take_out() == header(PING, ACK, 0, 5)
    stream = session.open()
    assert hear(session, header(PING, ACK, 0, 6) + header(AWAY, 0, 0, 1)) == [Ponged(6), GoneAway(1)]
    assert not session.can_open
    with pytest.raises(LocalProtocolError):
        session.open()
    assert hear(session, grow(stream, 0, FIN) + grow(2, 0, SYN)) == [Ended(stream), StreamOpened(2)]


# Bounds.


def test_the_window_is_kept_to_the_byte() -> None:
    for over in (0, 1):
        session = opened()
        hear(session, data(1, bytes(WINDOW)))
        session.grant(1, 10)
        if not over:
            assert hear(session, data(1, bytes(10))) == [Body(1, memoryview(bytes(10)))]
            continue
        with pytest.raises(RemoteProtocolError, match="11 bytes on stream 1 beyond its window"):
            hear(session, header(DATA, 0, 1, 11))  # before a byte of the body is here


def test_a_window_of_all_32_bits_and_no_more() -> None:
    session = opened()
    assert hear(session, grow(1, 2**32 - 1 - WINDOW)) == [Windowed(1)]
    assert session.sendable(1) == 2**32 - 1
    with pytest.raises(RemoteProtocolError, match="a window of 4294967296 bytes"):
        hear(session, grow(1, 1))


def test_streams_beyond_the_limit_are_reset_and_a_place_is_free_again() -> None:
    session = Session(initiator=True)
    streams = [2 * number for number in range(1, limits.MAX_STREAMS_PER_PEER + 1)]
    for stream in streams:
        assert hear(session, grow(stream, 0, SYN)) == [StreamOpened(stream)]
    session.take_out()
    assert hear(session, data(1000, b"never to be seen", SYN)) == []
    assert session.take_out() == grow(1000, 0, RST)
    session.open()  # ours do not count
    session.take_out()
    session.reset(2)
    assert hear(session, grow(1002, 0, SYN) + grow(1004, 0, SYN)) == [StreamOpened(1002)]
    hear(session, grow(4, 0, RST))
    assert hear(session, grow(1006, 0, SYN) + grow(1008, 0, SYN)) == [StreamOpened(1006)]
    session.finish(6)
    assert hear(session, grow(6, 0, FIN) + grow(1010, 0, SYN)) == [Ended(6), StreamOpened(1010)]


def test_who_asks_and_never_listens_is_ended() -> None:
    session = Session(initiator=True)
    session.passed(1e9)
    ping = header(PING, SYN, 0, 0)
    with pytest.raises(RemoteProtocolError, match="does not read the answers"):
        hear(session, ping * limits.FRAME_CREDIT)
    assert len(session.take_out(1 << 30)) <= limits.MAX_CONTROL_BACKLOG + len(ping)
    session = Session(initiator=True)
    session.passed(1e9)
    for _ in range(limits.FRAME_CREDIT):
        hear(session, ping)
        assert session.take_out() == header(PING, ACK, 0, 0)


def test_frames_must_carry_something() -> None:
    left = limits.FRAME_CREDIT_AT_FIRST - limits.STREAM_CREDIT - 1  # the stream was opened
    session = opened()
    hear(session, data(1, b"") * left)
    with pytest.raises(RemoteProtocolError, match="carry nothing"):
        hear(session, data(1, b""))
    session = opened()
    for _ in range(3 * limits.FRAME_CREDIT):  # as many as one likes, when each brings its due
        hear(session, data(1, bytes(limits.FRAME_BYTES)))
        session.grant(1, limits.FRAME_BYTES)
        session.take_out()
    session = opened()
    hear(session, data(1, b"") * left)
    session.passed(2.0)
    hear(session, data(1, b"") * 2 * limits.FRAME_CREDIT_A_SECOND)
    with pytest.raises(RemoteProtocolError, match="carry nothing"):
        hear(session, data(1, b""))
    session = opened()
    session.passed(1e9)
    with pytest.raises(RemoteProtocolError, match="carry nothing"):
        hear(session, data(1, b"") * (limits.FRAME_CREDIT + 1))


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (HEADER.pack(1, 0, 0, 1, 0), "version 1"),
        (HEADER.pack(255, 255, 0, 1, 0), "version 255"),
        (HEADER.pack(0, 4, 0, 0, 0), "type 4"),
        (HEADER.pack(0, 2, 0, 1, 0), "of a stream"),
        (HEADER.pack(0, 3, 0, 1, 0), "of a stream"),
        (HEADER.pack(0, 9, 0, 1, 0), "of a stream"),
        (grow(0, 0, SYN), "stream 0"),
        (grow(2, 0, SYN), "stream 2"),
        (data(2, b"x", SYN), "stream 2"),
        (grow(1, 0, SYN), "stream 1"),
    ],
)
def test_what_no_peer_may_send(frame: bytes, why: str) -> None:
    session = opened()
    with pytest.raises(RemoteProtocolError, match=why):
        hear(session, frame)


# Bodies that are put in their place.


def test_a_body_can_be_taken_without_being_handed_in() -> None:
    session = opened()
    hear(session, header(DATA, 0, 1, 10))
    assert session.body == (1, 10)
    session.took(4)
    assert session.body == (1, 6)
    assert hear(session, b"abcdef") == [Body(1, memoryview(b"abcdef"))]
    assert session.body is None
    with pytest.raises(LocalProtocolError):
        session.took(1)
    hear(session, header(DATA, FIN, 1, 3))
    assert session.body is None, "its end comes with it, so it must be handed in"
    assert plain(hear(session, b"end")) == [("body", 1, b"end"), ENDED]


def test_what_was_reset_amid_a_body_brings_no_more_of_it() -> None:
    session = opened()
    hear(session, header(DATA, FIN, 1, 10) + b"abc")
    session.reset(1)
    assert hear(session, b"defghij" + header(PING, ACK, 0, 1)) == [Ponged(1)]
