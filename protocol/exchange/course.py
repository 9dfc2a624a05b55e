"""The course of one request: which answers may come, in which order, and which is the last.

The opener holds the acceptor's answers against it, and the acceptor its own. It sees headers, never payloads.

Source: specs/exchange.md, "Requests and answers".
"""

from __future__ import annotations

from typing import final

from samara.protocol.exchange.messages import (
    Ahead,
    Answer,
    Busy,
    Chunk,
    GetLog,
    GetNodes,
    GetRecords,
    Have,
    HaveRequest,
    LogPart,
    Node,
    NotFound,
    RecordsPart,
    Refused,
    Request,
    Unknown,
    Want,
)
from samara.protocol.limits import MAX_RECORDS, MAX_ROOT_CHAIN

__all__ = ["Astray", "Course"]


class Astray(Exception):  # noqa: N818 - never leaves this package: `session` says whose error it is
    """An answer does not follow from its request; whose fault it is, the caller knows."""


@final
class Course:
    """The way of one request to its end, the same on both sides.

    Attributes:
        request: What was asked.
        cancelled: The opener has said that it does not want it any more.
        ended: The last answer was given.
    """

    __slots__ = ("_ahead", "_bytes", "_done", "_parts", "cancelled", "ended", "request")

    def __init__(self, request: Request | Unknown) -> None:
        self.request = request
        self.cancelled = False
        self.ended = False
        self._done = 0  # answers, or envelopes
        self._bytes = 0
        self._parts: tuple[int, ...] | None = None
        self._ahead = False  # all envelopes are here, and what comes ahead is due

    def walk(self, answer: Answer, payload_length: int) -> None:
        """Take the next answer; `ended` says afterwards whether it was the last.

        Raises:
            Astray: It is not one that may come now.
        """
        match self.request, answer:
            case _, NotFound() | Busy() | Refused():
                self.ended = True
            case Want() as want, Chunk():
                self._chunk(want, answer)
            case GetNodes(hashes=hashes), Node(index=index):
                self._in_order(index, self._done, "node")
                self._done += 1
                self.ended = self._done == len(hashes)
            case HaveRequest(first=first), Have() as have:
                self._in_order(have.first, first, "first bit")
                self.ended = True
            case GetRecords(ahead=most), RecordsPart() as part:
                if part.ahead and not most:
                    raise Astray("RECORDS says that something comes ahead, for which nobody asked")
                self._records(part, (part.roots, part.head, part.ahead), payload_length)
                self._ahead, self.ended = self.ended and part.ahead, self.ended and not part.ahead
            case GetRecords(ahead=most), Ahead() if self._ahead:
                if payload_length > most:
                    raise Astray(f"{payload_length} bytes came ahead where {most} were asked for")
                self.ended = True
            case GetLog(root=root), LogPart() as part:
                if part.roots > MAX_ROOT_CHAIN - root:
                    raise Astray(f"{part.roots} roots after {root}: there are at most {MAX_ROOT_CHAIN}")
                self._records(part, part.counts, payload_length)
            case _:
                asked, said = type(self.request).__name__, type(answer).__name__
                raise Astray(f"{said} answers {asked} {answer.id}, which has no such answer")

    def _chunk(self, want: Want, chunk: Chunk) -> None:
        self._in_order(chunk.index, self._done, "chunk")
        if chunk.count > want.count - self._done:
            raise Astray(f"{chunk.count} chunks came where {want.count - self._done} are due")
        if chunk.encoding not in want.encodings:
            raise Astray(f"chunk {chunk.index} came in the encoding {chunk.encoding}, which was not asked for")
        if (chunk.base is not None or chunk.passed_on) and not want.bases:
            raise Astray(f"chunk {chunk.index} came as a delta or was passed on, and no base was named")
        self._done += chunk.count
        self.ended = self._done == want.count

    def _records(self, part: RecordsPart | LogPart, said: tuple[int, ...], payload_length: int) -> None:
        if self._parts not in (None, said):
            raise Astray(f"{type(part).__name__} changed its mind about how many envelopes there are")
        self._parts = said
        self._in_order(part.index, self._done, "envelope")
        self._done += len(part.sizes)
        self._bytes += payload_length
        if self._bytes > MAX_RECORDS:
            raise Astray(f"records of {self._bytes} bytes and more: at most {MAX_RECORDS}")
        self.ended = self._done == part.total

    def _in_order(self, index: int, expected: int, what: str) -> None:
        if index != expected:
            raise Astray(f"{what} {index} came where {what} {expected} is due")
