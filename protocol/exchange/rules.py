"""The rules that a message and its payload's length must keep, whoever said it.

One set for both directions: a wrong message of ours is our bug, a wrong one of the peer is its violation; `headers`
knows whose it is. What depends on what was asked is in `session`.

Source: specs/exchange.md, "HELLO" and "Requests and answers".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from samara.protocol.exchange.messages import (
    MAX_ID,
    RAW,
    Ahead,
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
    Message,
    Node,
    NotFound,
    RecordsPart,
    Refused,
    Unknown,
    Want,
)
from samara.protocol.ids import Digest
from samara.protocol.limits import (
    MAX_AGENT,
    MAX_AHEAD,
    MAX_AHEAD_OBJECTS,
    MAX_BASES,
    MAX_BITS_PAGE,
    MAX_CHUNK,
    MAX_ENCODINGS,
    MAX_ENVELOPE,
    MAX_FEATURES,
    MAX_FILES,
    MAX_LOG_ENTRIES,
    MAX_LOG_FORKS,
    MAX_LOG_REVOCATIONS,
    MAX_NODE_ENTRIES,
    MAX_NODE_HASHES,
    MAX_PAYLOAD,
    MAX_POSITION,
    MAX_RETRY_MS,
    MAX_ROOT_CHAIN,
    MAX_RUN,
    MAX_STREAM_CHUNKS,
    MAX_VERSIONS,
)

__all__ = ["WrongMessage", "at_most", "check", "hash32", "hash_or_none", "payload_bounds", "within"]

_U16: Final = (1 << 16) - 1
_MAX_INDEX: Final = MAX_STREAM_CHUNKS - 1
_NODE_BYTES: Final = (24 + 36, 24 + 40 * MAX_NODE_ENTRIES)
"""The smallest and the largest chunk-list node (specs/content.md)."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_FEATURE: Final = re.compile(r"[a-z0-9._/-]{1,64}")
_AGENT: Final = re.compile(rf"[ -~]{{0,{MAX_AGENT}}}")


class WrongMessage(Exception):  # noqa: N818 - never leaves this package: `headers` says whose error it is
    """A message breaks a rule; whose fault it is, the caller knows."""


def payload_bounds(message: Message) -> tuple[int, int]:
    """Return the smallest and the largest payload, in bytes, that may follow `message`."""
    match message:
        case Chunk(encoding=encoding, count=count):
            return count, min(count * MAX_CHUNK, MAX_PAYLOAD) if encoding == RAW else MAX_PAYLOAD
        case Node():
            return _NODE_BYTES
        case RecordsPart(sizes=sizes) | LogPart(sizes=sizes) | Ahead(sizes=sizes):
            return sum(sizes), sum(sizes)
        case Have(whole=False, total=total, first=first):
            page = (min(total - first, MAX_BITS_PAGE) + 7) // 8
            return page, page
        case _:
            return 0, 0


def check(message: Message, payload_length: int) -> None:
    """Hold a message and the length of its payload (bytes) against the rules.

    Raises:
        WrongMessage: It breaks one.
    """
    if not isinstance(message, Hello):
        within(message.id, 1, MAX_ID, "the id of a message")
    match message:
        case Chunk():
            _check_chunk(message)
        case Want():
            _check_want(message)
        case HaveRequest():
            _check_have_request(message)
        case GetNodes(content=content, hashes=hashes):
            hash32(content)
            within(len(hashes), 1, MAX_NODE_HASHES, "hashes in GET_NODES")
            for value in hashes:
                hash32(value)
        case GetRecords():
            _check_get_records(message)
        case GetLog(publisher=publisher, root=root, first=first):
            hash32(publisher)
            within(root, 0, MAX_ROOT_CHAIN, "the root of GET_LOG")
            within(first, 1, MAX_POSITION, "the first position of GET_LOG")
        case Hello():
            _check_hello(message)
        case RecordsPart():
            _check_records(message)
        case Ahead(sizes=sizes):
            within(len(sizes), 1, MAX_AHEAD_OBJECTS, "the objects of AHEAD")
            for size in sizes:
                within(size, 1, MAX_AHEAD, "bytes of an object")
            at_most(sum(sizes), MAX_AHEAD, "bytes of objects")
        case LogPart():
            _check_log(message)
        case Node(index=index):
            within(index, 0, MAX_NODE_HASHES - 1, "the index of a NODE")
        case Have():
            _check_have(message)
        case Busy(retry_ms=retry_ms):
            within(retry_ms, 0, MAX_RETRY_MS, "milliseconds in BUSY")
        case Refused(code=code):
            within(code, 1, _U16, "the code of REFUSED")
        case NotFound() | Cancel() | Unknown():
            pass
    low, high = payload_bounds(message)
    if not low <= payload_length <= high:
        raise WrongMessage(
            f"{type(message).__name__} with a payload of {payload_length} bytes: may have {low} to {high}"
        )


def _check_hello(hello: Hello) -> None:
    _ascending(hello.versions, 1, MAX_VERSIONS, "versions")
    within(hello.versions[0], 1, _U16, "a version")
    within(hello.max_payload, MAX_PAYLOAD, (1 << 64) - 1, "the largest payload of a HELLO")
    within(hello.max_outstanding, 1, _U16, "outstanding requests of a HELLO")
    _check_encodings(hello.encodings)
    at_most(len(hello.features), MAX_FEATURES, "features")
    if any(_FEATURE.fullmatch(name) is None for name in hello.features):
        raise WrongMessage("HELLO with a feature that is no name")
    if any(a >= b for a, b in pairwise(hello.features)):
        raise WrongMessage("HELLO with features out of order: only strictly ascending is canonical")
    if _AGENT.fullmatch(hello.agent) is None:
        raise WrongMessage(f"HELLO with an agent that is not at most {MAX_AGENT} bytes of printable ASCII")


def _check_get_records(asked: GetRecords) -> None:
    at_most(asked.ahead, MAX_AHEAD, "bytes ahead of GET_RECORDS")
    if asked.release is not None:
        hash32(asked.release)
        if asked.publisher is not None or asked.name:
            raise WrongMessage("GET_RECORDS names a release and a publisher or name: exactly one of the two")
        return
    if asked.publisher is None:
        raise WrongMessage("GET_RECORDS names neither a release nor a publisher")
    hash32(asked.publisher)
    if _NAME.fullmatch(asked.name) is None:
        raise WrongMessage("GET_RECORDS with a name that no release can have")


def _check_have_request(asked: HaveRequest) -> None:
    hash32(asked.content)
    if asked.stream is not None:
        within(asked.stream, 0, MAX_FILES, "the stream of HAVE_REQUEST")
    within(asked.first, 0, _MAX_INDEX, "the first bit of HAVE_REQUEST")
    if asked.first % 8:
        raise WrongMessage(f"HAVE_REQUEST from bit {asked.first} on: only multiples of 8 can be asked")
    _check_bases(asked.bases)


def _check_want(want: Want) -> None:
    hash32(want.content)
    within(want.stream, 0, MAX_FILES, "the stream of WANT")
    within(want.first, 0, _MAX_INDEX, "the first chunk of WANT")
    within(want.count, 1, MAX_RUN, "the chunks of WANT")
    _check_encodings(want.encodings)
    _check_bases(want.bases)


def _check_records(part: RecordsPart) -> None:
    within(part.roots, 1, MAX_ROOT_CHAIN, "the roots of RECORDS")
    within(part.index, 0, part.total - 1, "the index of RECORDS")
    within(len(part.sizes), 1, part.total - part.index, "the envelopes of RECORDS")
    _check_sizes(part.sizes)


def _check_log(part: LogPart) -> None:
    at_most(part.roots, MAX_ROOT_CHAIN, "the roots of LOG")
    at_most(part.forks, MAX_LOG_FORKS, "the proofs of LOG")
    at_most(part.revocations, MAX_LOG_REVOCATIONS, "the revocations of LOG")
    at_most(part.newest, MAX_POSITION, "the newest position of LOG")
    within(part.entries, min(part.newest, 1), min(part.newest, MAX_LOG_ENTRIES), "the entries of LOG")
    within(part.index, 0, max(part.total - 1, 0), "the index of LOG")
    within(len(part.sizes), min(part.total, 1), part.total - part.index, "the envelopes of LOG")
    _check_sizes(part.sizes)


def _check_sizes(sizes: Sequence[int]) -> None:
    for size in sizes:
        within(size, 1, MAX_ENVELOPE, "bytes of an envelope")
    at_most(sum(sizes), MAX_PAYLOAD, "bytes of envelopes in one payload")


def _check_have(have: Have) -> None:
    within(have.total, 1, MAX_STREAM_CHUNKS, "the bits of HAVE")
    within(have.first, 0, have.total - 1, "the first bit of HAVE")
    if have.first % 8:
        raise WrongMessage(f"HAVE from bit {have.first} on: only multiples of 8 can be asked")


def _check_chunk(chunk: Chunk) -> None:
    within(chunk.index, 0, MAX_RUN - 1, "the index of a CHUNK")
    within(chunk.count, 1, MAX_RUN - chunk.index, "the chunks of a CHUNK")
    if chunk.encoding == RAW:
        if chunk.base is not None or chunk.payload_hash is not None or chunk.passed_on:
            raise WrongMessage("a raw CHUNK with a base or a payload hash, or passed on: it has nothing of these")
        return
    within(chunk.encoding, 0, _U16, "the encoding of a CHUNK")
    within(chunk.count, 1, 1, "the chunks of an encoded CHUNK")
    if chunk.payload_hash is None:
        raise WrongMessage("an encoded CHUNK without its payload's hash")
    hash32(chunk.payload_hash)
    if chunk.base is not None:
        hash32(chunk.base)


def _check_bases(bases: Sequence[bytes]) -> None:
    at_most(len(bases), MAX_BASES, "bases")
    for base in bases:
        hash32(base)


def _check_encodings(encodings: Sequence[int]) -> None:
    _ascending(encodings, 1, MAX_ENCODINGS, "encodings")
    within(encodings[-1], 0, _U16, "an encoding")
    if encodings[0] != RAW:
        raise WrongMessage("encodings without raw (0), which everyone speaks")


def _ascending(values: Sequence[int], low: int, high: int, what: str) -> None:
    within(len(values), low, high, what)
    if any(a >= b for a, b in pairwise(values)):
        raise WrongMessage(f"{what} out of order: only strictly ascending is canonical")
    at_most(values[-1], _U16, what)


def within(value: int, low: int, high: int, what: str) -> None:
    """Refuse a value that is not within `low` … `high`."""
    if not low <= value <= high:
        raise WrongMessage(f"{what}: {value} is not within {low} to {high}")


def at_most(value: int, high: int, what: str) -> None:
    """Refuse a number that is above `high`."""
    within(value, 0, high, what)


def hash32(value: bytes) -> bytes:
    """Return `value`, refused unless it has the 32 bytes of an id or hash."""
    if len(value) != 32:
        raise WrongMessage(f"an id or hash of {len(value)} bytes: it has 32")
    return value


def hash_or_none(value: bytes) -> Digest | None:
    """Return an id or hash, or None for the empty bytes that stand for its absence."""
    return Digest(hash32(value)) if value else None
