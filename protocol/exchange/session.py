"""The two machines of an exchange: `Opener` asks, `Acceptor` serves. Bytes in, events out; messages in, bytes out.

Rules:
1. `TRANSITIONS` is the machine of both sides. What it does not allow is the peer's violation, or our bug.
2. What an answer may be follows from its request: `Course` is the one way through, for both sides.
3. A header is judged before there is room for its payload.
4. After a `RemoteProtocolError` the machine is FAILED: it takes nothing more and says nothing more.
5. A request ends exactly once. A cancelled one is outstanding until its end arrives; what comes before is dropped.
6. What needs something of the peer's HELLO waits for it; a first question that does not goes out with ours.

A payload is handed on unread: who asked verifies it.

Source: specs/exchange.md.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, TypeAlias, final

from samara.protocol.errors import LocalProtocolError, RemoteProtocolError
from samara.protocol.exchange.course import Astray, Course
from samara.protocol.exchange.frames import Allocate, FrameReader, Payload, frame
from samara.protocol.exchange.headers import decode, encode
from samara.protocol.exchange.messages import (
    MAX_ID,
    Answer,
    Cancel,
    GetLog,
    GetRecords,
    Have,
    Hello,
    Message,
    Request,
    Unknown,
    Want,
)
from samara.protocol.limits import MAX_OUTSTANDING

__all__ = [
    "TRANSITIONS",
    "Acceptor",
    "Answered",
    "Ended",
    "Finished",
    "Opened",
    "Opener",
    "OpenerEvent",
    "Payload",
    "State",
    "Step",
]


class State(enum.Enum):
    """Where a session is."""

    IDLE = "nothing was said"
    SAID = "we said HELLO"
    HEARD = "the peer said HELLO"
    OPEN = "both said HELLO"
    FINISHING = "the opener asks no more"
    CLOSED = "nobody says anything more"
    FAILED = "the peer broke the rules"


class Step(enum.Enum):
    """What either side can do."""

    SAY_HELLO = "we say HELLO"
    HEAR_HELLO = "HELLO is heard"
    ASK = "the opener asks or cancels"
    ASK_EARLY = "the opener asks or cancels, and has not heard HELLO"
    ANSWER = "the acceptor answers"
    OPENER_ENDS = "the opener's bytes end"
    ACCEPTOR_ENDS = "the acceptor's bytes end"
    VIOLATION = "the peer breaks a rule"


_LIVE: Final = (State.IDLE, State.SAID, State.HEARD, State.OPEN, State.FINISHING)

TRANSITIONS: Final[Mapping[tuple[State, Step], State]] = {
    (State.IDLE, Step.SAY_HELLO): State.SAID,
    (State.IDLE, Step.HEAR_HELLO): State.HEARD,
    (State.SAID, Step.HEAR_HELLO): State.OPEN,
    (State.SAID, Step.ASK_EARLY): State.SAID,
    (State.HEARD, Step.SAY_HELLO): State.OPEN,
    (State.OPEN, Step.ASK): State.OPEN,
    (State.OPEN, Step.ANSWER): State.OPEN,
    (State.OPEN, Step.OPENER_ENDS): State.FINISHING,
    (State.FINISHING, Step.ANSWER): State.FINISHING,
    **{(state, Step.OPENER_ENDS): State.CLOSED for state in (State.IDLE, State.SAID, State.HEARD)},
    **{(state, Step.ACCEPTOR_ENDS): State.CLOSED for state in _LIVE},
    **{(state, Step.VIOLATION): State.FAILED for state in _LIVE},
}
"""The whole machine, of both sides. What is not here is not allowed."""


@final
@dataclass(frozen=True, slots=True)
class Opened:
    """Both sides have said HELLO.

    Attributes:
        version: The highest version that both speak.
        features: Extensions that both speak.
        max_outstanding: Requests that may be outstanding at a time.
        encodings: Chunk encodings that both can decode.
        peer: What the peer said.
    """

    version: int
    features: tuple[str, ...]
    max_outstanding: int
    encodings: tuple[int, ...]
    peer: Hello


@final
@dataclass(frozen=True, slots=True)
class Answered:
    """An answer to a request that is still wanted.

    Attributes:
        answer: The message; it carries the request's id.
        payload: Its payload, unverified.
        last: It ends the request.
    """

    answer: Answer
    payload: Payload
    last: bool


@final
@dataclass(frozen=True, slots=True)
class Ended:
    """A request that was cancelled has ended: its id is no longer outstanding."""

    id: int


@final
@dataclass(frozen=True, slots=True)
class Finished:
    """The peer's bytes have come to an orderly end."""


OpenerEvent: TypeAlias = Opened | Answered | Ended | Finished
AcceptorEvent: TypeAlias = Opened | Request | Unknown | Cancel | Finished


@dataclass(frozen=True, slots=True)
class _Heard:
    """A message that was judged; its payload may still be on its way."""

    message: Message
    last: bool


class _Session:
    """What both sides share: HELLO, the state, the outstanding requests, and the frames that come in."""

    _OUR_END: ClassVar[Step]
    _THEIR_END: ClassVar[Step]
    _THEIR_STEP: ClassVar[Step]

    def __init__(self, ours: Hello, allocate: Allocate = bytearray) -> None:
        self._ours = ours
        self._state = State.IDLE
        self._opened: Opened | None = None
        self._courses: dict[int, Course] = {}
        self._last_id = 0
        self._reader: FrameReader[_Heard] = FrameReader(self._judge, allocate)

    @property
    def state(self) -> State:
        """Where the session is."""
        return self._state

    @property
    def opened(self) -> Opened | None:
        """What was agreed, once both have said HELLO."""
        return self._opened

    @property
    def outstanding(self) -> int:
        """How many requests have not ended."""
        return len(self._courses)

    def hello(self) -> bytes:
        """Return our HELLO, to be sent now.

        Raises:
            LocalProtocolError: It was said before, or the session is over.
        """
        frame_bytes = frame(encode(self._ours))
        self._do(Step.SAY_HELLO)
        return frame_bytes

    def end(self) -> None:
        """Take note that we send nothing more.

        Raises:
            LocalProtocolError: The session is over, or our side of it.
        """
        self._do(self._OUR_END)

    def writable(self) -> memoryview | None:
        """Return where the rest of the current payload belongs, for a driver that can receive in place; else None."""
        return self._reader.writable()

    def _do(self, step: Step) -> None:
        if (self._state, step) not in TRANSITIONS:
            raise LocalProtocolError(f"not allowed now: {step.value} (so far: {self._state.value})")
        self._state = TRANSITIONS[self._state, step]

    def _hear(self, step: Step) -> None:
        if (self._state, step) not in TRANSITIONS:
            raise RemoteProtocolError(f"not allowed now: {step.value} (so far: {self._state.value})")
        self._state = TRANSITIONS[self._state, step]

    def _fail(self) -> None:
        self._state = TRANSITIONS.get((self._state, Step.VIOLATION), self._state)

    def _frames(self, data: bytes | bytearray | memoryview | int) -> list[tuple[_Heard, Payload]]:
        """Take bytes, or the number of bytes that were received in place."""
        if self._state in (State.FAILED, State.CLOSED):
            raise RemoteProtocolError("bytes came after the session was over")
        try:
            if isinstance(data, int):
                return self._reader.wrote(data)
            if data:
                return self._reader.receive(data)
            if self._reader.inside:
                raise RemoteProtocolError("the bytes ended inside a frame: it is short")
            self._hear(self._THEIR_END)
        except RemoteProtocolError:
            self._fail()
            raise
        return []

    def _judge(self, header: bytes) -> tuple[_Heard, int]:
        message, length = decode(header)
        if isinstance(message, Hello):
            self._hear(Step.HEAR_HELLO)
            self._opened = self._agree(message)
            return _Heard(message, last=False), length
        self._hear(self._THEIR_STEP)
        return _Heard(message, self._judge_message(message, length)), length

    def _judge_message(self, message: Message, length: int) -> bool:
        """Hold a message against what was said before; tell whether it ends its request."""
        raise NotImplementedError

    def _agree(self, theirs: Hello) -> Opened:
        versions = set(self._ours.versions) & set(theirs.versions)
        if not versions:
            raise RemoteProtocolError(f"no common version: we speak {self._ours.versions}, they {theirs.versions}")
        return Opened(
            version=max(versions),
            features=tuple(sorted(set(self._ours.features) & set(theirs.features))),
            max_outstanding=min(self._serves(theirs), MAX_OUTSTANDING),
            encodings=tuple(sorted(set(self._ours.encodings) & set(theirs.encodings))),
            peer=theirs,
        )

    def _serves(self, theirs: Hello) -> int:
        """Return how many requests the acceptor serves at a time."""
        raise NotImplementedError


@final
class Opener(_Session):
    """The side that asks.

    Args:
        ours: What we say of ourselves.
        allocate: Makes the buffers of payloads.
    """

    _OUR_END = Step.OPENER_ENDS
    _THEIR_END = Step.ACCEPTOR_ENDS
    _THEIR_STEP = Step.ANSWER

    @property
    def next_id(self) -> int:
        """The id that the next request must have."""
        return self._last_id + 1

    @property
    def _asking(self) -> Step:
        return Step.ASK_EARLY if self._opened is None else Step.ASK

    def may_ask(self, request: Request) -> bool:
        """Tell whether the peer takes one more request: before its HELLO one, of a kind that needs nothing of that."""
        if self._opened is None:
            return isinstance(request, GetRecords | GetLog) and not self._courses
        return len(self._courses) < self._opened.max_outstanding

    def ask(self, request: Request) -> bytes:
        """Return the frame that asks `request`.

        Raises:
            LocalProtocolError: Its id is not `next_id`, it may not be asked now, it is malformed, or the session is not
                open.
        """
        self._do(self._asking)
        if request.id != self.next_id or request.id > MAX_ID:
            raise LocalProtocolError(f"a request with the id {request.id}: the next is {self.next_id}")
        if not self.may_ask(request):
            why = "HELLO was not heard" if self._opened is None else "the peer serves no more"
            raise LocalProtocolError(f"{len(self._courses)} requests are outstanding, and {why}")
        spoken = () if self._opened is None else self._opened.encodings
        if isinstance(request, Want) and not set(request.encodings) <= set(spoken):
            raise LocalProtocolError(f"encodings {request.encodings} are asked, but not all are spoken by both sides")
        frame_bytes = frame(encode(request))
        self._last_id = request.id
        self._courses[request.id] = Course(request)
        return frame_bytes

    def cancel(self, id: int) -> bytes:  # noqa: A002 - the protocol's word
        """Return the frame that cancels a request, or b"" when it has ended or was cancelled before, or all is over."""
        course = self._courses.get(id)
        if course is None or course.cancelled or (self._state, self._asking) not in TRANSITIONS:
            return b""
        self._do(self._asking)
        course.cancelled = True
        return frame(encode(Cancel(id)))

    def receive(self, data: bytes | bytearray | memoryview) -> list[OpenerEvent]:
        """Take bytes as they arrived, in pieces of any size; an empty piece is the end of the acceptor's bytes.

        Raises:
            RemoteProtocolError: What arrived breaks the rules; the session is over.
        """
        events = self._events(self._frames(data))
        return events if data else [*events, Finished()]

    def wrote(self, count: int) -> list[OpenerEvent]:
        """Take note that `count` bytes, at least 1, were received into `writable()`.

        Raises:
            LocalProtocolError: There was no room for that many.
        """
        return self._events(self._frames(count))

    def _events(self, frames: list[tuple[_Heard, Payload]]) -> list[OpenerEvent]:
        try:
            return [event for heard, payload in frames if (event := self._event(heard, payload)) is not None]
        except RemoteProtocolError:
            self._fail()
            raise

    def _event(self, heard: _Heard, payload: Payload) -> OpenerEvent | None:
        message, last = heard.message, heard.last
        if isinstance(message, Hello):
            return self._opened
        assert isinstance(message, Answer)  # noqa: S101 - for the type checker: it was judged
        cancelled = self._courses[message.id].cancelled
        if last:  # Only now: while its payload was on its way the request was outstanding.
            del self._courses[message.id]
        if isinstance(message, Have) and message.first + 8 * len(payload) > message.total:
            _check_spare_bits(message, payload)
        if not cancelled:
            return Answered(message, payload, last)
        return Ended(message.id) if last else None

    def _judge_message(self, message: Message, length: int) -> bool:
        if not isinstance(message, Answer):
            raise RemoteProtocolError(f"the acceptor said {type(message).__name__}, which is no answer")
        course = self._courses.get(message.id)
        if course is None or course.ended:
            name = type(message).__name__
            raise RemoteProtocolError(f"{name} for the request {message.id}, which was not asked or has ended")
        try:
            course.walk(message, length)
        except Astray as astray:
            raise RemoteProtocolError(str(astray)) from None
        return course.ended

    def _serves(self, theirs: Hello) -> int:
        return theirs.max_outstanding


@final
class Acceptor(_Session):
    """The side that serves.

    Args:
        ours: What we say of ourselves.
    """

    _OUR_END = Step.ACCEPTOR_ENDS
    _THEIR_END = Step.OPENER_ENDS
    _THEIR_STEP = Step.ASK

    def __init__(self, ours: Hello) -> None:
        super().__init__(ours)
        self._cancels = 0

    def receive(self, data: bytes | bytearray | memoryview) -> list[AcceptorEvent]:
        """Take bytes as they arrived, in pieces of any size; an empty piece is the end of the opener's bytes.

        Raises:
            RemoteProtocolError: What arrived breaks the rules; the session is over.
        """
        events: list[AcceptorEvent] = []
        for heard, _ in self._frames(data):
            if isinstance(heard.message, Request | Unknown | Cancel):
                events.append(heard.message)
            elif self._opened is not None:
                events.append(self._opened)
        return events if data else [*events, Finished()]

    def is_outstanding(self, id: int) -> bool:  # noqa: A002 - the protocol's word
        """Tell whether a request has not been answered to its end."""
        return id in self._courses

    def is_cancelled(self, id: int) -> bool:  # noqa: A002
        """Tell whether an outstanding request was cancelled: it wants REFUSED, and nothing else any more."""
        course = self._courses.get(id)
        return course is not None and course.cancelled

    def answer(self, answer: Answer, payload_length: int = 0) -> bytes:
        """Return the frame of an answer up to its payload, which follows it on the wire.

        Raises:
            LocalProtocolError: It does not follow from the request, is malformed, or it is not the time.
        """
        course = self._courses.get(answer.id)
        if course is None:
            raise LocalProtocolError(f"an answer to the request {answer.id}, which is not outstanding")
        frame_bytes = frame(encode(answer, payload_length))
        self._do(Step.ANSWER)
        try:
            course.walk(answer, payload_length)
        except Astray as astray:
            raise LocalProtocolError(str(astray)) from None
        if course.ended:
            del self._courses[answer.id]
        return frame_bytes

    def _judge_message(self, message: Message, length: int) -> bool:
        if isinstance(message, Cancel):
            self._judge_cancel(message)
        elif isinstance(message, Request | Unknown):
            self._judge_request(message)
        else:
            raise RemoteProtocolError(f"the opener said {type(message).__name__}, which is no request")
        return False

    def _judge_request(self, request: Request | Unknown) -> None:
        assert self._opened is not None  # noqa: S101 - the table lets nobody ask before
        if request.id <= self._last_id:
            raise RemoteProtocolError(f"a request with the id {request.id} after {self._last_id}: ids ascend")
        if len(self._courses) >= self._opened.max_outstanding:
            raise RemoteProtocolError(f"more than {self._opened.max_outstanding} requests at a time")
        self._last_id = request.id
        self._courses[request.id] = Course(request)

    def _judge_cancel(self, cancel: Cancel) -> None:
        course = self._courses.get(cancel.id)
        self._cancels += 1
        # Of those that have ended only their number is known: it bounds a flood without remembering every id.
        if cancel.id > self._last_id or (course is not None and course.cancelled) or self._cancels > self._last_id:
            raise RemoteProtocolError(f"CANCEL of the request {cancel.id}, which cannot be cancelled")
        if course is not None:
            course.cancelled = True

    def _serves(self, theirs: Hello) -> int:
        return self._ours.max_outstanding


def _check_spare_bits(have: Have, payload: Payload) -> None:
    if payload and payload[-1] >> (have.total % 8):
        raise RemoteProtocolError(f"HAVE sets bits beyond the {have.total} that there are")
