"""Headers of the exchange: messages to protobuf bytes, and back.

Nothing leaves here unchecked in either direction: `encode` refuses a wrong message as our bug, `decode` as the peer's
violation, by the same rules.

Source: specs/exchange.md, "Frames"; specs/exchange.proto.
"""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import DecodeError

from samara.protocol.errors import LocalProtocolError, RemoteProtocolError
from samara.protocol.exchange import exchange_pb2 as pb
from samara.protocol.exchange.messages import (
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
from samara.protocol.exchange.rules import WrongMessage, at_most, check, hash32, hash_or_none
from samara.protocol.ids import ContentId, Digest, PublisherId, ReleaseId
from samara.protocol.limits import (
    MAX_AHEAD_OBJECTS,
    MAX_BASES,
    MAX_ENCODINGS,
    MAX_FEATURES,
    MAX_LOG_ENTRIES,
    MAX_LOG_FORKS,
    MAX_LOG_REVOCATIONS,
    MAX_NODE_HASHES,
    MAX_ROOT_CHAIN,
    MAX_VERSIONS,
)

__all__ = ["decode", "encode"]


def encode(message: Message, payload_length: int = 0) -> bytes:
    """Return the header of `message`, without the length before it.

    Raises:
        LocalProtocolError: The message, or its payload's length, breaks a rule.
    """
    try:
        check(message, payload_length)
    except WrongMessage as wrong:
        raise LocalProtocolError(str(wrong)) from None
    header = pb.Header(payload_length=payload_length, id=0 if isinstance(message, Hello) else message.id)
    _fill(header, message)
    return header.SerializeToString(deterministic=True)


def decode(header: bytes) -> tuple[Message, int]:
    """Parse and check a header.

    Returns:
        The message, and the length in bytes of the payload that follows it.

    Raises:
        RemoteProtocolError: It is not the protobuf, or breaks a rule.
    """
    try:
        parsed = pb.Header.FromString(header)
    except DecodeError:
        raise RemoteProtocolError(f"a header of {len(header)} bytes that does not parse") from None
    try:
        message = _message(parsed)
        check(message, parsed.payload_length)
    except WrongMessage as wrong:
        raise RemoteProtocolError(str(wrong)) from None
    return message, parsed.payload_length


def _fill(header: pb.Header, message: Message) -> None:
    match message:
        case Chunk():
            chunk = header.chunk
            chunk.index, chunk.encoding, chunk.count = message.index, message.encoding, message.count
            chunk.base, chunk.payload_hash = message.base or b"", message.payload_hash or b""
            chunk.passed_on = message.passed_on
        case Want():
            header.want.CopyFrom(
                pb.Want(
                    content=message.content,
                    stream=message.stream,
                    first=message.first,
                    count=message.count,
                    encodings=message.encodings,
                    bases=message.bases,
                )
            )
        case HaveRequest(content=content, stream=stream, first=first, bases=bases):
            header.have_request.content = content
            header.have_request.first = first
            header.have_request.bases.extend(bases)
            if stream is None:
                header.have_request.files = True
            else:
                header.have_request.stream = stream
        case GetNodes(content=content, hashes=hashes):
            header.get_nodes.CopyFrom(pb.GetNodes(content=content, hashes=hashes))
        case GetRecords(release=release, publisher=publisher, name=name, ahead=most):
            header.get_records.CopyFrom(
                pb.GetRecords(release=release or b"", publisher=publisher or b"", name=name, ahead=most)
            )
        case GetLog(publisher=publisher, root=root, first=first):
            header.get_log.CopyFrom(pb.GetLog(publisher=publisher, root=root, first=first))
        case Hello():
            header.hello.CopyFrom(
                pb.Hello(
                    versions=message.versions,
                    features=message.features,
                    max_payload=message.max_payload,
                    max_outstanding=message.max_outstanding,
                    encodings=message.encodings,
                    agent=message.agent,
                )
            )
        case RecordsPart(index=index, roots=roots, head=head, sizes=sizes, ahead=ahead):
            header.records.CopyFrom(pb.Records(index=index, roots=roots, head=head, sizes=sizes, ahead=ahead))
        case Ahead(sizes=sizes, whole=whole):
            header.ahead.CopyFrom(pb.Ahead(sizes=sizes, whole=whole))
        case LogPart():
            header.log.CopyFrom(
                pb.Log(
                    index=message.index,
                    roots=message.roots,
                    forks=message.forks,
                    revocations=message.revocations,
                    entries=message.entries,
                    newest=message.newest,
                    sizes=message.sizes,
                )
            )
        case Node(index=index):
            header.node.SetInParent()
            header.node.index = index
        case Have(total=total, first=first, whole=whole):
            header.have.CopyFrom(pb.Have(total=total, first=first, whole=whole))
        case NotFound():
            header.not_found.SetInParent()
        case Cancel():
            header.cancel.SetInParent()
        case Busy(retry_ms=retry_ms):
            header.busy.SetInParent()
            header.busy.retry_ms = retry_ms
        case Refused(code=code):
            header.refused.SetInParent()
            header.refused.code = code
        case Unknown():  # A header without a message: what a later version's request looks like to this one.
            pass


def _message(header: pb.Header) -> Message:
    id = header.id  # noqa: A001 - the protocol's word
    match header.WhichOneof("message"):
        case "chunk":
            chunk = header.chunk
            base, payload_hash = hash_or_none(chunk.base), hash_or_none(chunk.payload_hash)
            return Chunk(id, chunk.index, chunk.encoding, base, payload_hash, chunk.count, chunk.passed_on)
        case "want":
            return _want(id, header.want)
        case "have_request":
            return _have_request(id, header.have_request)
        case "get_nodes":
            nodes = header.get_nodes
            at_most(len(nodes.hashes), MAX_NODE_HASHES, "hashes")
            return GetNodes(id, ContentId(hash32(nodes.content)), tuple(Digest(hash32(h)) for h in nodes.hashes))
        case "get_records":
            asked = header.get_records
            release, publisher = hash_or_none(asked.release), hash_or_none(asked.publisher)
            return GetRecords(
                id,
                None if release is None else ReleaseId(release),
                None if publisher is None else PublisherId(publisher),
                asked.name,
                asked.ahead,
            )
        case "get_log":
            wanted = header.get_log
            return GetLog(id, PublisherId(hash32(wanted.publisher)), wanted.root, wanted.first)
        case "cancel":
            return Cancel(id)
        case "hello":
            return _hello(id, header.hello)
        case "records":
            part = header.records
            at_most(len(part.sizes), MAX_ROOT_CHAIN + 2, "envelopes")
            return RecordsPart(id, part.index, part.roots, part.head, tuple(part.sizes), part.ahead)
        case "ahead":
            at_most(len(header.ahead.sizes), MAX_AHEAD_OBJECTS, "objects")
            return Ahead(id, tuple(header.ahead.sizes), header.ahead.whole)
        case "log":
            return _log(id, header.log)
        case "node":
            return Node(id, header.node.index)
        case "have":
            return Have(id, header.have.total, header.have.first, header.have.whole)
        case "not_found":
            return NotFound(id)
        case "busy":
            return Busy(id, header.busy.retry_ms)
        case "refused":
            return Refused(id, header.refused.code)
        case _:
            return Unknown(id)


def _want(id: int, want: pb.Want) -> Want:  # noqa: A002
    at_most(len(want.encodings), MAX_ENCODINGS, "encodings")
    return Want(
        id,
        ContentId(hash32(want.content)),
        want.stream,
        want.first,
        want.count,
        tuple(want.encodings),
        _bases(want.bases),
    )


def _have_request(id: int, asked: pb.HaveRequest) -> HaveRequest:  # noqa: A002
    subject = asked.WhichOneof("subject")
    if subject is None or (subject == "files" and not asked.files):
        raise WrongMessage("HAVE_REQUEST names neither the files nor a stream")
    stream = asked.stream if subject == "stream" else None
    return HaveRequest(id, ContentId(hash32(asked.content)), stream, asked.first, _bases(asked.bases))


def _log(id: int, log: pb.Log) -> LogPart:  # noqa: A002
    most = MAX_ROOT_CHAIN + 2 * MAX_LOG_FORKS + MAX_LOG_REVOCATIONS + MAX_LOG_ENTRIES
    at_most(len(log.sizes), most, "envelopes")
    return LogPart(id, log.index, log.roots, log.forks, log.revocations, log.entries, log.newest, tuple(log.sizes))


def _bases(bases: Sequence[bytes]) -> tuple[ContentId, ...]:
    at_most(len(bases), MAX_BASES, "bases")
    return tuple(ContentId(hash32(base)) for base in bases)


def _hello(id: int, hello: pb.Hello) -> Hello:  # noqa: A002
    if id:
        raise WrongMessage(f"HELLO with the id {id}")
    at_most(len(hello.versions), MAX_VERSIONS, "versions")
    at_most(len(hello.features), MAX_FEATURES, "features")
    at_most(len(hello.encodings), MAX_ENCODINGS, "encodings")
    return Hello(
        tuple(hello.versions),
        tuple(hello.features),
        hello.max_payload,
        hello.max_outstanding,
        tuple(hello.encodings),
        hello.agent,
    )
