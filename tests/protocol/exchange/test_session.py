"""The machines: every split of a whole conversation, every state × step, requests to their end, our own mistakes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samara.protocol.errors import LocalProtocolError, RemoteProtocolError
from samara.protocol.exchange.frames import frame
from samara.protocol.exchange.headers import encode
from samara.protocol.exchange.messages import (
    SPOKEN,
    Ahead,
    Answer,
    Busy,
    Cancel,
    Chunk,
    GetLog,
    GetNodes,
    GetRecords,
    Have,
    HaveRequest,
    Hello,
    LogPart,
    Node,
    NotFound,
    RecordsPart,
    Refusal,
    Refused,
    Request,
    Unknown,
    Want,
)
from samara.protocol.exchange.session import (
    TRANSITIONS,
    Acceptor,
    AcceptorEvent,
    Answered,
    Ended,
    Finished,
    Opened,
    Opener,
    OpenerEvent,
    State,
    Step,
)
from samara.protocol.ids import ContentId, Digest, PublisherId, ReleaseId, digest
from samara.protocol.limits import MAX_AHEAD, MAX_OUTSTANDING

CONTENT = ContentId(b"c" * 32)
HASHES = (Digest(b"1" * 32), Digest(b"2" * 32))
NODE = bytes(60)
PUBLISHER = PublisherId(b"p" * 32)

REQUESTS: list[Request] = [
    GetRecords(1, release=ReleaseId(b"r" * 32)),
    GetRecords(2, publisher=PUBLISHER, name="tiny"),
    GetNodes(3, CONTENT, HASHES),
    HaveRequest(4, CONTENT, None),
    HaveRequest(5, CONTENT, 1),
    Want(6, CONTENT, 1, 10, 2),
    Want(7, CONTENT, 0, 0, 1),
    GetLog(8, PUBLISHER, 1, 5),
    GetLog(9, PUBLISHER, 0, 1),
    GetRecords(10, release=ReleaseId(b"r" * 32), ahead=12),
    GetRecords(11, publisher=PUBLISHER, name="tiny", ahead=1 << 20),
    GetRecords(12, publisher=PUBLISHER, name="tiny", ahead=1 << 20),
]
ANSWERS: list[tuple[Answer, bytes, bool]] = [
    (RecordsPart(1, 0, 2, True, (3, 4)), b"gengrow", False),
    (RecordsPart(1, 2, 2, True, (2, 5)), b"rehead!", True),
    (NotFound(2), b"", True),
    (Node(3, 0), NODE, False),
    (Chunk(6, 0), b"x" * 300, False),  # answers of different requests may be interleaved
    (Node(3, 1), NODE, True),
    (LogPart(8, 0, 1, 1, 1, 2, 9, (1, 2, 3, 4)), b"root" + b"proofs", False),
    (Have(4, 16, 0, whole=False), b"\xff\x03", True),
    (LogPart(8, 4, 1, 1, 1, 2, 9, (2,)), b"e1", False),
    (LogPart(8, 5, 1, 1, 1, 2, 9, (2,)), b"e2", True),
    (LogPart(9, 0, 0, 0, 0, 0, 0, ()), b"", True),
    (Have(5, 9, 0, whole=True), b"", True),
    (RecordsPart(10, 0, 1, False, (3,), ahead=True), b"gen", False),
    (RecordsPart(11, 0, 1, False, (3, 2), ahead=True), b"genre", False),
    (Busy(6, 1500), b"", True),
    (RecordsPart(10, 1, 1, False, (2,), ahead=True), b"re", False),
    (RecordsPart(12, 0, 1, False, (3, 2)), b"genre", True),  # it was asked for more, and has none
    (Ahead(10, (5, 4, 3)), b"tablelistend", True),
    (NotFound(11), b"", True),  # what was promised cannot be had
    (Chunk(7, 0), b"y", True),
]


def opened() -> tuple[Opener, Acceptor]:
    opener, acceptor = Opener(Hello()), Acceptor(Hello())
    acceptor.receive(opener.hello())
    opener.receive(acceptor.hello())
    return opener, acceptor


def split(whole: bytes, data: st.DataObject) -> list[bytes]:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=30)))
    return [whole[a:b] for a, b in pairwise([0, *cuts, len(whole)])]


@settings(max_examples=60)
@given(st.data())
def test_any_split_of_both_directions_gives_the_same_events(data: st.DataObject) -> None:
    opener, acceptor = Opener(Hello(agent="o")), Acceptor(Hello(agent="a", max_outstanding=15))
    said, hello = opener.hello(), acceptor.hello()
    assert opener.receive(hello) == [Opened(1, (), 15, (0,), Hello(agent="a", max_outstanding=15))]
    said += b"".join(opener.ask(request) for request in REQUESTS) + opener.cancel(7)

    heard: list[AcceptorEvent] = []
    for piece in [*split(said, data), b""]:
        heard += acceptor.receive(piece)
    assert heard == [Opened(1, (), 15, (0,), Hello(agent="o")), *REQUESTS, Cancel(7), Finished()]

    answers = b"".join(acceptor.answer(answer, len(payload)) + payload for answer, payload, _ in ANSWERS)
    got: list[OpenerEvent] = []
    for piece in [*split(answers, data), b""]:
        got += opener.receive(piece)
    expected: list[OpenerEvent] = [Answered(a, bytearray(p), last) for a, p, last in ANSWERS[:-1]]
    assert got == [*expected, Ended(7), Finished()]
    assert opener.outstanding == acceptor.outstanding == 0
    assert (opener.state, acceptor.state) == (State.CLOSED, State.FINISHING)


@settings(max_examples=60)
@given(st.data())
def test_any_split_of_a_violation_is_refused(data: st.DataObject) -> None:
    opener, acceptor = opened()
    opener.ask(Want(1, CONTENT, 1, 0, 2))
    acceptor.receive(_asked_frame())  # as if three had been asked
    whole = acceptor.answer(Chunk(1, 0), 5) + b"first" + acceptor.answer(Chunk(1, 1), 6) + b"second"
    third = acceptor.answer(Chunk(1, 2), 5) + b"third"
    pieces = split(whole + third, data)

    def receive_all() -> None:
        for piece in pieces:
            opener.receive(piece)

    with pytest.raises(RemoteProtocolError):
        receive_all()
    assert opener.state is State.FAILED


def _asked_frame() -> bytes:
    opener, _ = opened()
    return opener.ask(Want(1, CONTENT, 1, 0, 3))


# --- states -----------------------------------------------------------------------------------------------------------


def test_no_step_leaves_an_end_and_all_states_are_reached() -> None:
    assert not [state for state in (State.CLOSED, State.FAILED) for step in Step if (state, step) in TRANSITIONS]
    assert {State.IDLE, *TRANSITIONS.values()} == set(State)


def in_state(side: type[Opener] | type[Acceptor], state: State) -> Opener | Acceptor:
    opener, acceptor = Opener(Hello()), Acceptor(Hello())
    machine, other = (opener, acceptor) if side is Opener else (acceptor, opener)
    if state is State.SAID:
        machine.hello()
    elif state is State.HEARD:
        machine.receive(other.hello())
    elif state in (State.OPEN, State.FINISHING):
        machine.hello()
        machine.receive(other.hello())
    if state is State.FINISHING:
        if isinstance(machine, Opener):
            machine.end()
        else:
            machine.receive(b"")
    elif state is State.CLOSED:
        machine.receive(b"")
        if machine.state is not State.CLOSED:
            machine.end()
    elif state is State.FAILED:
        with pytest.raises(RemoteProtocolError):
            machine.receive(b"\xff\xff\xff")
    assert machine.state is state
    return machine


@pytest.mark.parametrize("side", [Opener, Acceptor])
@pytest.mark.parametrize("state", State)
def test_what_we_do_follows_the_table(side: type[Opener] | type[Acceptor], state: State) -> None:
    def ask(machine: Opener | Acceptor) -> None:
        assert isinstance(machine, Opener)
        machine.ask(Want(1, CONTENT, 1, 0, 1))

    end = Step.OPENER_ENDS if side is Opener else Step.ACCEPTOR_ENDS
    doings: dict[Step, Callable[[Opener | Acceptor], object]] = {
        Step.SAY_HELLO: lambda machine: machine.hello(),
        end: lambda machine: machine.end(),
    }
    if side is Opener:
        doings[Step.ASK] = ask
    for step, do in doings.items():
        machine = in_state(side, state)
        target = TRANSITIONS.get((state, step))
        if target is None:
            with pytest.raises(LocalProtocolError):
                do(machine)
            assert machine.state is state
        else:
            do(machine)
            assert machine.state is target


@pytest.mark.parametrize("side", [Opener, Acceptor])
@pytest.mark.parametrize("state", State)
def test_what_the_peer_does_follows_the_table(side: type[Opener] | type[Acceptor], state: State) -> None:
    end = Step.ACCEPTOR_ENDS if side is Opener else Step.OPENER_ENDS
    for step, data in ((Step.HEAR_HELLO, Opener(Hello()).hello()), (end, b"")):
        machine = in_state(side, state)
        target = TRANSITIONS.get((state, step))
        if target is None:
            with pytest.raises(RemoteProtocolError):
                machine.receive(data)
            assert machine.state is (state if state in (State.CLOSED, State.FAILED) else State.FAILED)
        else:
            machine.receive(data)
            assert machine.state is target


# --- before HELLO -----------------------------------------------------------------------------------------------------


EARLY: list[Request] = [
    GetRecords(1, release=ReleaseId(b"r" * 32)),
    GetRecords(1, publisher=PUBLISHER, name="tiny"),
    GetLog(1, PUBLISHER, 1, 5),
]


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("request_", EARLY, ids=lambda request: type(request).__name__)
def test_who_has_said_hello_may_ask_for_records_before_it_hears_one(state: State, request_: Request) -> None:
    machine = in_state(Opener, state)
    assert isinstance(machine, Opener)
    if state in (State.SAID, State.OPEN):
        assert machine.ask(request_) == frame(encode(request_))
        assert machine.outstanding == 1
    else:
        with pytest.raises(LocalProtocolError):
            machine.ask(request_)
    assert machine.state is state


@pytest.mark.parametrize(
    "request_",
    [request for request in REQUESTS if not isinstance(request, GetRecords | GetLog)],
    ids=lambda r: str(r.id),
)
def test_all_else_waits_for_hello(request_: Request) -> None:
    opener, first = Opener(Hello()), replace(request_, id=1)
    opener.hello()
    assert not opener.may_ask(first)
    with pytest.raises(LocalProtocolError):
        opener.ask(first)
    assert (opener.state, opener.outstanding, opener.next_id) == (State.SAID, 0, 1)
    opener.receive(Acceptor(Hello()).hello())
    assert opener.may_ask(first)
    opener.ask(first)


def test_one_request_may_be_outstanding_before_hello() -> None:
    opener, acceptor = Opener(Hello()), Acceptor(Hello(max_outstanding=1))
    said = opener.hello() + opener.ask(GetLog(1, PUBLISHER, 1, 5))
    with pytest.raises(LocalProtocolError):
        opener.ask(GetLog(2, PUBLISHER, 1, 5))
    opener.receive(acceptor.hello())
    with pytest.raises(LocalProtocolError):  # one that serves one request serves that
        opener.ask(GetLog(2, PUBLISHER, 1, 5))
    acceptor.receive(said)
    opener.receive(acceptor.answer(NotFound(1)))
    acceptor.receive(opener.ask(GetLog(2, PUBLISHER, 1, 5)))
    assert acceptor.is_outstanding(2)


@settings(max_examples=60)
@given(st.data(), st.booleans())
def test_any_split_of_a_session_that_begins_with_a_question(data: st.DataObject, cancelled: bool) -> None:
    opener, acceptor = Opener(Hello(agent="o")), Acceptor(Hello(agent="a"))
    said = opener.hello() + opener.ask(EARLY[0])
    if cancelled:
        said += opener.cancel(1)
        assert opener.cancel(1) == b""
    answers = acceptor.hello()
    heard: list[AcceptorEvent] = []
    for piece in split(said, data):
        heard += acceptor.receive(piece)
    assert heard == [Opened(1, (), 32, (0,), Hello(agent="o")), EARLY[0], *([Cancel(1)] if cancelled else [])]
    part = RecordsPart(1, 0, 1, False, (3, 4))
    answers += acceptor.answer(part, 7) + b"genrele"
    got: list[OpenerEvent] = []
    for piece in split(answers, data):
        got += opener.receive(piece)
    last = Ended(1) if cancelled else Answered(part, bytearray(b"genrele"), last=True)
    assert got == [Opened(1, (), 32, (0,), Hello(agent="a")), last]
    assert opener.state is acceptor.state is State.OPEN


def test_an_answer_before_hello_is_refused() -> None:
    opener = Opener(Hello())
    opener.hello()
    opener.ask(EARLY[0])
    with pytest.raises(RemoteProtocolError, match="not allowed now"):
        opener.receive(frame(encode(NotFound(1))))
    assert opener.state is State.FAILED
    assert opener.cancel(1) == b""


def test_a_peer_of_another_version_ends_a_session_that_began_with_a_question() -> None:
    opener = Opener(Hello())
    opener.hello()
    opener.ask(EARLY[0])
    with pytest.raises(RemoteProtocolError, match="no common version"):
        opener.receive(Acceptor(Hello(versions=(2,))).hello())
    assert opener.state is State.FAILED


# --- requests ---------------------------------------------------------------------------------------------------------


def test_a_cancelled_request_is_outstanding_until_its_end() -> None:
    opener, acceptor = opened()
    acceptor.receive(opener.ask(Want(1, CONTENT, 1, 0, 3)))
    first = acceptor.answer(Chunk(1, 0), 4) + b"zero"
    acceptor.receive(opener.cancel(1))
    assert acceptor.is_cancelled(1)
    assert opener.cancel(1) == b""
    assert opener.receive(first) == []
    assert opener.outstanding == 1
    assert opener.receive(acceptor.answer(Refused(1, Refusal.CANCELLED))) == [Ended(1)]
    assert opener.outstanding == acceptor.outstanding == 0
    assert not acceptor.is_outstanding(1)
    assert opener.cancel(1) == b""


def test_a_cancel_within_a_payload_drops_it() -> None:
    opener, acceptor = opened()
    acceptor.receive(opener.ask(Want(1, CONTENT, 1, 0, 1)))
    whole = acceptor.answer(Chunk(1, 0), 4) + b"zero"
    assert opener.receive(whole[:-1]) == []
    late = opener.cancel(1)
    assert opener.receive(whole[-1:]) == [Ended(1)]
    assert acceptor.receive(late) == [Cancel(1)]  # it crossed the end, and is void
    assert not acceptor.is_cancelled(1)


def test_cancels_of_what_has_ended_are_counted() -> None:
    opener, acceptor = opened()
    acceptor.receive(opener.ask(Want(1, CONTENT, 1, 0, 1)))
    cancel = opener.cancel(1)
    acceptor.answer(NotFound(1))
    acceptor.receive(cancel)
    with pytest.raises(RemoteProtocolError):
        acceptor.receive(cancel)


def test_the_peer_decides_how_many_requests_it_serves() -> None:
    opener, acceptor = Opener(Hello()), Acceptor(Hello(max_outstanding=2))
    acceptor.receive(opener.hello())
    opener.receive(acceptor.hello())
    for id in (1, 2):  # noqa: A001
        acceptor.receive(opener.ask(HaveRequest(id, CONTENT, None)))
    with pytest.raises(LocalProtocolError):
        opener.ask(HaveRequest(3, CONTENT, None))
    opener.receive(acceptor.answer(NotFound(1)))
    assert acceptor.receive(opener.ask(HaveRequest(3, CONTENT, None))) == [HaveRequest(3, CONTENT, None)]


def test_nobody_serves_more_than_the_limit() -> None:
    opener, acceptor = Opener(Hello()), Acceptor(Hello(max_outstanding=65_535))
    opener.hello()
    (agreed,) = opener.receive(acceptor.hello())
    assert isinstance(agreed, Opened)
    assert agreed.max_outstanding == MAX_OUTSTANDING


def test_what_both_speak_is_in_force() -> None:
    opener = Opener(Hello(versions=(1, 2, 4), features=("a", "c"), encodings=(0, 1, 3)))
    opener.hello()
    theirs = Hello(versions=(2, 3, 4), features=("b", "c"), encodings=(0, 2, 3), max_outstanding=5)
    assert opener.receive(Acceptor(theirs).hello()) == [Opened(4, ("c",), 5, (0, 3), theirs)]
    opener.ask(Want(1, CONTENT, 1, 0, 1, encodings=(0, 3)))
    with pytest.raises(LocalProtocolError):
        opener.ask(Want(2, CONTENT, 1, 0, 1, encodings=(0, 1)))


def test_an_unknown_request_waits_for_a_refusal() -> None:
    _, acceptor = opened()
    assert acceptor.receive(bytes.fromhex("0210 05".replace(" ", ""))) == [Unknown(5)]
    with pytest.raises(LocalProtocolError):
        acceptor.answer(Have(5, 1, 0, whole=True))
    acceptor.answer(Refused(5, Refusal.UNKNOWN))
    assert acceptor.outstanding == 0


@pytest.mark.parametrize(
    ("request_", "answer", "length"),
    [
        pytest.param(Want(1, CONTENT, 1, 4, 2), Chunk(1, 1), 1, id="chunk out of order"),
        pytest.param(Want(1, CONTENT, 1, 4, 2), Chunk(1, 0), 0, id="empty chunk"),
        pytest.param(Want(1, CONTENT, 1, 4, 2), Chunk(1, 0, count=2), (1 << 20) + 1, id="chunk too large"),
        pytest.param(Want(1, CONTENT, 1, 4, 2), Chunk(2, 0), 1, id="nothing asked"),
        pytest.param(Want(1, CONTENT, 1, 4, 2), Chunk(1, 0, count=3), 3, id="more chunks than were asked"),
        pytest.param(Want(1, CONTENT, 1, 4, 2), Chunk(1, 0, count=0), 1, id="no chunk"),
        pytest.param(Want(1, CONTENT, 1, 4, 2), Chunk(1, 0, count=2), 1, id="chunks of less than a byte"),
        pytest.param(Want(1, CONTENT, 1, 4, 2), Node(1, 0), 60, id="another kind"),
        pytest.param(GetNodes(1, CONTENT, HASHES), Node(1, 1), 60, id="node out of order"),
        pytest.param(HaveRequest(1, CONTENT, 1, 8), Have(1, 16, 0, whole=False), 2, id="another page"),
        pytest.param(GetRecords(1, release=ReleaseId(bytes(32))), RecordsPart(1, 1, 1, False, (1,)), 1, id="skipped"),
        pytest.param(
            GetRecords(1, release=ReleaseId(bytes(32))), RecordsPart(1, 0, 1, False, (1, 1), True), 2, id="not asked"
        ),
        pytest.param(GetRecords(1, release=ReleaseId(bytes(32)), ahead=9), Ahead(1, (1,)), 1, id="ahead of records"),
        pytest.param(GetLog(1, PUBLISHER, 0, 1), LogPart(1, 1, 0, 0, 0, 2, 2, (1,)), 1, id="a log that skips"),
        pytest.param(GetLog(1, PUBLISHER, 200, 1), LogPart(1, 0, 57, 0, 0, 0, 0, (1,)), 1, id="more roots than can be"),
        pytest.param(GetLog(1, PUBLISHER, 0, 1), LogPart(1, 0, 1, 0, 0, 0, 1, (1,)), 1, id="no newest record"),
        pytest.param(GetLog(1, PUBLISHER, 0, 1), RecordsPart(1, 0, 1, False, (1,)), 1, id="records for a log"),
    ],
)
def test_a_wrong_answer_of_ours_is_our_bug(request_: Request, answer: Answer, length: int) -> None:
    opener, acceptor = opened()
    acceptor.receive(opener.ask(request_))
    with pytest.raises(LocalProtocolError):
        acceptor.answer(answer, length)
    assert acceptor.is_outstanding(1)


@pytest.mark.parametrize(
    ("sizes", "told"),
    [((100,), "fits"), ((60, 40), "fits"), ((60, 41), "more than was asked for"), ((101,), "more than was asked for")],
)
def test_as_much_comes_ahead_as_was_asked_for_to_the_byte(sizes: tuple[int, ...], told: str) -> None:
    opener, acceptor = opened()
    acceptor.receive(opener.ask(GetRecords(1, release=ReleaseId(bytes(32)), ahead=100)))
    opener.receive(acceptor.answer(RecordsPart(1, 0, 1, False, (1, 1), ahead=True), 2) + b"gr")
    said = frame(encode(Ahead(1, sizes), sum(sizes)))
    if told != "fits":
        with pytest.raises(RemoteProtocolError, match="ahead where 100 were asked for"):
            opener.receive(said)  # before there is room for it
        with pytest.raises(LocalProtocolError):
            acceptor.answer(Ahead(1, sizes), sum(sizes))
        return
    assert acceptor.answer(Ahead(1, sizes), sum(sizes)) == said
    assert opener.receive(said + bytes(sum(sizes))) == [Answered(Ahead(1, sizes), bytearray(sum(sizes)), last=True)]
    assert opener.outstanding == acceptor.outstanding == 0


def test_a_request_of_ours_with_another_id_is_our_bug() -> None:
    opener, _ = opened()
    with pytest.raises(LocalProtocolError):
        opener.ask(Want(2, CONTENT, 1, 0, 1))
    with pytest.raises(LocalProtocolError):
        opener.ask(Want(1, CONTENT, 1, 0, 0))
    with pytest.raises(LocalProtocolError):
        opener.ask(GetRecords(1, release=ReleaseId(bytes(32)), ahead=MAX_AHEAD + 1))
    assert opener.next_id == 1


@given(st.binary(max_size=200), st.sampled_from([Opener, Acceptor]))
def test_arbitrary_bytes_raise_nothing_else(data: bytes, side: type[Opener] | type[Acceptor]) -> None:
    machine = in_state(side, State.OPEN)
    if isinstance(machine, Opener):
        machine.ask(Want(1, CONTENT, 1, 0, 1))
    try:
        machine.receive(data or b"\0")
    except RemoteProtocolError:
        assert machine.state is State.FAILED


@pytest.mark.parametrize("chunk", [{"encoding": 2, "base": Digest(bytes(32))}, {"encoding": 1, "passed_on": True}])
def test_what_needs_a_base_comes_only_where_one_was_named(chunk: dict[str, Any]) -> None:
    for bases in ((), (CONTENT,)):
        opener, acceptor = Opener(Hello(encodings=SPOKEN)), Acceptor(Hello(encodings=SPOKEN))
        opener.receive(acceptor.hello())
        acceptor.receive(opener.hello())
        acceptor.receive(opener.ask(Want(1, CONTENT, 1, 0, 1, SPOKEN, bases)))
        said = Chunk(1, 0, payload_hash=digest(b"x"), **chunk)
        if bases:
            opener.receive(acceptor.answer(said, 1) + b"x")
            continue
        with pytest.raises(RemoteProtocolError, match="no base was named"):
            opener.receive(frame(encode(said, 1)) + b"x")
