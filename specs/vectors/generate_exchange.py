"""Write exchange.json: frames of `/samara/exchange/1` with what they say, and rows of frames that break one rule each.

Headers are built from the protobuf alone, so that the vectors do not repeat a mistake of the code that they test.
Hexadecimal throughout; a run of one byte is written `[byte, count]` to keep payloads short.
Usage: PYTHONPATH=src python specs/vectors/generate_exchange.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from samara.protocol.exchange import exchange_pb2 as pb

OUT = Path(__file__).resolve().parent / "exchange.json"

A, B, C = bytes([0xAA]) * 32, bytes([0xBB]) * 32, bytes([0xCC]) * 32

Run = list[Any]


def varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def header(id: int = 0, payload_length: int = 0, **message: Any) -> bytes:  # noqa: A002, ANN401
    built = pb.Header(id=id, payload_length=payload_length, **message)
    return built.SerializeToString(deterministic=True)


def frame(head: bytes) -> str:
    return (varint(len(head)) + head).hex()


def say(id: int = 0, payload_length: int = 0, **message: Any) -> str:  # noqa: A002, ANN401
    return frame(header(id, payload_length, **message))


def hello(**changes: Any) -> str:  # noqa: ANN401
    fields: dict[str, Any] = {"versions": [1], "max_payload": 1 << 20, "max_outstanding": 32, "encodings": [0]}
    return say(hello=pb.Hello(**{**fields, **changes}))


HELLO = hello()
WANT = say(1, want=pb.Want(content=A, stream=1, first=4, count=2, encodings=[0]))
NODES = say(1, get_nodes=pb.GetNodes(content=A, hashes=[B, C]))
HAVE = say(1, have_request=pb.HaveRequest(content=A, stream=1))
RECORDS = say(1, get_records=pb.GetRecords(release=A))
AHEAD = say(1, get_records=pb.GetRecords(release=A, ahead=100))
LOG = say(1, get_log=pb.GetLog(publisher=A, root=2, first=5))


def chunk(index: int, length: int, id: int = 1, **fields: Any) -> str:  # noqa: A002, ANN401
    return say(id, length, chunk=pb.Chunk(**{"index": index, "count": 1, **fields}))


def messages() -> list[dict[str, Any]]:
    """One frame each, its payload's length, and what it says: the class of the message and its fields."""

    def row(name: str, frame: str, message: str, payload: int = 0, /, **fields: Any) -> dict[str, Any]:  # noqa: ANN401
        return {"name": name, "frame": frame, "payload_length": payload, "message": message, "fields": fields}

    a, b, c = A.hex(), B.hex(), C.hex()
    want = pb.Want(content=A, stream=2, first=7, count=64, encodings=[0, 2], bases=[B])
    coded = pb.Chunk(index=3, encoding=2, base=B, payload_hash=C, count=1)
    agreed = {"versions": [1, 3], "max_payload": 1 << 21, "max_outstanding": 8, "encodings": [0, 1]}
    return [
        row(
            "the least HELLO",
            HELLO,
            "Hello",
            versions=[1],
            features=[],
            max_payload=1 << 20,
            max_outstanding=32,
            encodings=[0],
            agent="",
        ),
        row(
            "a HELLO with all there is",
            hello(**agreed, features=["a", "b/1"], agent="samara 1"),
            "Hello",
            **agreed,
            features=["a", "b/1"],
            agent="samara 1",
        ),
        row("records by release", RECORDS, "GetRecords", id=1, release=a, publisher=None, name="", ahead=0),
        row(
            "records by name",
            say(9, get_records=pb.GetRecords(publisher=B, name="tiny-model")),
            "GetRecords",
            id=9,
            release=None,
            publisher=b,
            name="tiny-model",
            ahead=0,
        ),
        row(
            "records by release, and all that may come ahead",
            say(1, get_records=pb.GetRecords(release=A, ahead=1 << 20)),
            "GetRecords",
            id=1,
            release=a,
            publisher=None,
            name="",
            ahead=1 << 20,
        ),
        row("a log", LOG, "GetLog", id=1, publisher=a, root=2, first=5),
        row(
            "a log from its beginning, of a publisher that is not known",
            say(1, get_log=pb.GetLog(publisher=B, first=1)),
            "GetLog",
            id=1,
            publisher=b,
            root=0,
            first=1,
        ),
        row("nodes", NODES, "GetNodes", id=1, content=a, hashes=[b, c]),
        row("have, of a stream", HAVE, "HaveRequest", id=1, content=a, stream=1, first=0, bases=[]),
        row(
            "have, of the file table",
            say(1, have_request=pb.HaveRequest(content=A, stream=0)),
            "HaveRequest",
            id=1,
            content=a,
            stream=0,
            first=0,
            bases=[],
        ),
        row(
            "have, of a stream, with two bases",
            say(1, have_request=pb.HaveRequest(content=A, stream=1, bases=[B, C])),
            "HaveRequest",
            id=1,
            content=a,
            stream=1,
            first=0,
            bases=[b, c],
        ),
        row(
            "have, of the files, the second page",
            say(1, have_request=pb.HaveRequest(content=A, files=True, first=1 << 20)),
            "HaveRequest",
            id=1,
            content=a,
            stream=None,
            first=1 << 20,
            bases=[],
        ),
        row("want", WANT, "Want", id=1, content=a, stream=1, first=4, count=2, encodings=[0], bases=[]),
        row(
            "want with encodings and a base",
            say((1 << 32) - 1, want=want),
            "Want",
            id=(1 << 32) - 1,
            content=a,
            stream=2,
            first=7,
            count=64,
            encodings=[0, 2],
            bases=[b],
        ),
        row("cancel", say(1, cancel=pb.Cancel()), "Cancel", id=1),
        row(
            "records",
            say(1, 60, records=pb.Records(index=0, roots=1, head=True, sizes=[10, 20, 30])),
            "RecordsPart",
            60,
            id=1,
            index=0,
            roots=1,
            head=True,
            sizes=[10, 20, 30],
            ahead=False,
        ),
        row(
            "records after which objects come ahead",
            say(1, 10, records=pb.Records(index=1, roots=1, sizes=[10], ahead=True)),
            "RecordsPart",
            10,
            id=1,
            index=1,
            roots=1,
            head=False,
            sizes=[10],
            ahead=True,
        ),
        row(
            "objects ahead",
            say(1, 396, ahead=pb.Ahead(sizes=[96, 300])),
            "Ahead",
            396,
            id=1,
            sizes=[96, 300],
            whole=False,
        ),
        row(
            "the largest object ahead, from who holds all files",
            say(1, 1 << 20, ahead=pb.Ahead(sizes=[1 << 20], whole=True)),
            "Ahead",
            1 << 20,
            id=1,
            sizes=[1 << 20],
            whole=True,
        ),
        row(
            "a page of a log with all there is",
            say(1, 28, log=pb.Log(index=0, roots=1, forks=1, revocations=1, entries=3, newest=9, sizes=range(1, 8))),
            "LogPart",
            28,
            id=1,
            index=0,
            roots=1,
            forks=1,
            revocations=1,
            entries=3,
            newest=9,
            sizes=[1, 2, 3, 4, 5, 6, 7],
        ),
        row(
            "a log of which there is nothing",
            say(1, log=pb.Log()),
            "LogPart",
            id=1,
            index=0,
            roots=0,
            forks=0,
            revocations=0,
            entries=0,
            newest=0,
            sizes=[],
        ),
        row("the largest node", say(1, 327_704, node=pb.Node(index=63)), "Node", 327_704, id=1, index=63),
        row("have, nine bits", say(1, 2, have=pb.Have(total=9)), "Have", 2, id=1, total=9, first=0, whole=False),
        row("have, whole", say(1, have=pb.Have(total=9, whole=True)), "Have", id=1, total=9, first=0, whole=True),
        row(
            "the largest chunk",
            chunk(0, 1 << 20),
            "Chunk",
            1 << 20,
            id=1,
            index=0,
            encoding=0,
            base=None,
            payload_hash=None,
            count=1,
            passed_on=False,
        ),
        row(
            "the last three chunks of a run",
            chunk(61, 9, count=3),
            "Chunk",
            9,
            id=1,
            index=61,
            encoding=0,
            base=None,
            payload_hash=None,
            count=3,
            passed_on=False,
        ),
        row(
            "a chunk that is a delta",
            say(1, 5, chunk=coded),
            "Chunk",
            5,
            id=1,
            index=3,
            encoding=2,
            base=b,
            payload_hash=c,
            count=1,
            passed_on=False,
        ),
        row(
            "planes that another made",
            chunk(0, 5, encoding=1, payload_hash=C, passed_on=True),
            "Chunk",
            5,
            id=1,
            index=0,
            encoding=1,
            base=None,
            payload_hash=c,
            count=1,
            passed_on=True,
        ),
        row("not found", say(1, not_found=pb.NotFound()), "NotFound", id=1),
        row("busy", say(1, busy=pb.Busy(retry_ms=3_600_000)), "Busy", id=1, retry_ms=3_600_000),
        row("refused", say(1, refused=pb.Refused(code=3)), "Refused", id=1, code=3),
        row("a request of a later version", frame(header(5) + bytes.fromhex("52021801")), "Unknown", id=5),
        row("an unknown field", frame(header(1, cancel=pb.Cancel()) + bytes.fromhex("f80701")), "Cancel", id=1),
    ]


def violations() -> list[dict[str, Any]]:
    """Rows of bytes that a side hears; the last part breaks one rule.

    `asked` is what the opener has asked after the first part, HELLO; `early` is what it had asked before.
    """

    def acceptor(name: str, *hears: str | Run) -> dict[str, Any]:
        return {"name": name, "side": "acceptor", "asked": [], "hears": list(hears), "error": "RemoteProtocolError"}

    def opener(name: str, asked: str, *hears: str | Run) -> dict[str, Any]:
        return {
            "name": name,
            "side": "opener",
            "asked": [asked],
            "hears": [HELLO, *hears],
            "error": "RemoteProtocolError",
        }

    def early(name: str, asked: str, *hears: str | Run) -> dict[str, Any]:
        return {
            "name": name,
            "side": "opener",
            "early": [asked],
            "asked": [],
            "hears": list(hears),
            "error": "RemoteProtocolError",
        }

    def want(**changes: Any) -> str:  # noqa: ANN401
        fields: dict[str, Any] = {"content": A, "stream": 1, "first": 0, "count": 1, "encodings": [0]}
        return say(1, want=pb.Want(**{**fields, **changes}))

    def page(index: int, sizes: list[int], roots: int = 1, **more: bool) -> str:
        return say(1, sum(sizes), records=pb.Records(index=index, roots=roots, sizes=sizes, **more))

    def objects(*sizes: int) -> str:
        return say(1, sum(sizes), ahead=pb.Ahead(sizes=sizes))

    def log(index: int, sizes: list[int], **counts: int) -> str:
        return say(1, sum(sizes), log=pb.Log(index=index, sizes=sizes, **counts))

    of_base = pb.HaveRequest(content=A, stream=1, bases=[A[1:]])
    many = [say(i, have_request=pb.HaveRequest(content=A, files=True)) for i in range(1, 34)]
    return [
        # frames
        acceptor("a length of 2^63", "8080808080808080 8001".replace(" ", "")),
        acceptor("a length above the limit", varint((64 << 10) + 1).hex()),
        acceptor("a length that is not in its shortest form", "8100"),
        acceptor("a header that is not protobuf", "03ffffff"),
        acceptor("a header with text that is not UTF-8", frame(bytes.fromhex("1a03320180"))),
        acceptor("an empty header", "00"),
        acceptor("the end inside a length", "80", ""),
        acceptor("the end inside a header", HELLO[:-2], ""),
        opener("the end inside a payload", WANT, chunk(0, 100), ["00", 99], ""),
        # HELLO
        acceptor("a request before HELLO", WANT),
        acceptor("a second HELLO", HELLO, HELLO),
        acceptor("no common version", hello(versions=[2])),
        acceptor("no version", hello(versions=[])),
        acceptor("versions out of order", hello(versions=[2, 1])),
        acceptor("a version twice", hello(versions=[1, 1])),
        acceptor("version 0", hello(versions=[0, 1])),
        acceptor("too many versions", hello(versions=list(range(1, 18)))),
        acceptor("a feature that is no name", hello(features=["A"])),
        acceptor("features out of order", hello(features=["b", "a"])),
        acceptor("payloads below 1 MiB", hello(max_payload=(1 << 20) - 1)),
        acceptor("no outstanding request", hello(max_outstanding=0)),
        acceptor("no raw encoding", hello(encodings=[1])),
        acceptor("an agent that is too long", hello(agent="x" * 65)),
        acceptor("an agent with a control character", hello(agent="a\n")),
        acceptor("HELLO with an id", say(1, hello=pb.Hello(versions=[1], max_payload=1 << 20, max_outstanding=1,
                                                           encodings=[0]))),
        early("records before HELLO", RECORDS, page(0, [9])),
        early("a log before HELLO", LOG, log(0, [])),
        early("NOT_FOUND before HELLO", RECORDS, say(1, not_found=pb.NotFound())),
        early("no common version after a request", RECORDS, hello(versions=[2])),
        early("a second HELLO after a request", RECORDS, HELLO, HELLO),
        early("a chunk for an early request", RECORDS, HELLO, chunk(0, 1)),
        # requests
        acceptor("a request without an id", HELLO, say(0, want=pb.Want(content=A, count=1, encodings=[0]))),
        acceptor("an id above 32 bits", HELLO, say(1 << 32, cancel=pb.Cancel())),
        acceptor("an id twice", HELLO, WANT, WANT),
        acceptor("more requests than are served", HELLO, *many),
        acceptor("a request with a payload", HELLO, say(1, 1, get_records=pb.GetRecords(release=A))),
        acceptor("an unknown request with a payload", HELLO, frame(header(1, 1) + bytes.fromhex("5200"))),
        acceptor("an answer from the opener", HELLO, chunk(0, 1)),
        acceptor("CANCEL of what was never asked", HELLO, say(1, cancel=pb.Cancel())),
        acceptor("CANCEL twice", HELLO, WANT, say(1, cancel=pb.Cancel()), say(1, cancel=pb.Cancel())),
        acceptor("a content id of 31 bytes", HELLO, want(content=A[1:])),
        acceptor("a run of no chunk", HELLO, want(count=0)),
        acceptor("a run of 65 chunks", HELLO, want(count=65)),
        acceptor("a run far outside of any file", HELLO, want(first=1 << 22)),
        acceptor("a stream beyond the last file", HELLO, want(stream=1_000_001)),
        acceptor("a want without raw", HELLO, want(encodings=[1])),
        acceptor("encodings out of order", HELLO, want(encodings=[0, 2, 1])),
        acceptor("17 bases", HELLO, want(bases=[A] * 17)),
        acceptor("a base of 33 bytes", HELLO, want(bases=[A + b"\0"])),
        acceptor("no node", HELLO, say(1, get_nodes=pb.GetNodes(content=A))),
        acceptor("65 nodes", HELLO, say(1, get_nodes=pb.GetNodes(content=A, hashes=[B] * 65))),
        acceptor("a release and a publisher", HELLO, say(1, get_records=pb.GetRecords(release=A, publisher=B))),
        acceptor("a release and a name", HELLO, say(1, get_records=pb.GetRecords(release=A, name="n"))),
        acceptor("neither release nor publisher", HELLO, say(1, get_records=pb.GetRecords())),
        acceptor("a name that no release can have", HELLO, say(1, get_records=pb.GetRecords(publisher=B, name="-n"))),
        acceptor("more than 1 MiB ahead", HELLO, say(1, get_records=pb.GetRecords(release=A, ahead=(1 << 20) + 1))),
        acceptor("AHEAD from the opener", HELLO, objects(1)),
        acceptor("a log of a publisher of 31 bytes", HELLO, say(1, get_log=pb.GetLog(publisher=A[1:], first=1))),
        acceptor("a log from position 0", HELLO, say(1, get_log=pb.GetLog(publisher=A))),
        acceptor("a log from a position beyond 2^53", HELLO, say(1, get_log=pb.GetLog(publisher=A, first=1 << 53))),
        acceptor("a log after root 257", HELLO, say(1, get_log=pb.GetLog(publisher=A, root=257, first=1))),
        acceptor("LOG from the opener", HELLO, log(0, [])),
        acceptor("17 bases of have", HELLO, say(1, have_request=pb.HaveRequest(content=A, stream=1, bases=[A] * 17))),
        acceptor("a base of have of 31 bytes", HELLO, say(1, have_request=of_base)),
        acceptor("have of nothing", HELLO, say(1, have_request=pb.HaveRequest(content=A))),
        acceptor("have of no files", HELLO, say(1, have_request=pb.HaveRequest(content=A, files=False))),
        acceptor("have from within a byte", HELLO, say(1, have_request=pb.HaveRequest(content=A, stream=1, first=4))),
        # answers
        opener("a request from the acceptor", WANT, WANT),
        opener("a chunk that was not asked for", WANT, chunk(0, 1, id=2)),
        opener("the second chunk first", WANT, chunk(1, 1)),
        opener("the first chunk twice", WANT, chunk(0, 1), ["00", 1], chunk(0, 1)),
        opener("a chunk after the last", WANT, chunk(0, 1), ["00", 1], chunk(1, 1), ["00", 1], chunk(2, 1)),
        opener("a chunk after NOT_FOUND", WANT, say(1, not_found=pb.NotFound()), chunk(0, 1)),
        opener("an empty chunk", WANT, chunk(0, 0)),
        opener("a chunk of 1 MiB and a byte", WANT, chunk(0, (1 << 20) + 1)),
        opener("a payload of 2^63", WANT, chunk(0, 1 << 63)),
        opener("an encoding that was not asked for", WANT, chunk(0, 1, encoding=1, payload_hash=B)),
        opener("an encoded chunk without its hash", WANT, chunk(0, 1, encoding=1)),
        opener("a raw chunk with a base", WANT, chunk(0, 1, base=B)),
        opener("a raw chunk with a payload hash", WANT, chunk(0, 1, payload_hash=B)),
        opener("a raw chunk that is passed on", WANT, chunk(0, 1, passed_on=True)),
        opener("a chunk that is none", WANT, chunk(0, 1, count=0)),
        opener("three chunks where two were asked for", WANT, chunk(0, 3, count=3)),
        opener("two chunks in one byte", WANT, chunk(0, 1, count=2)),
        opener("two chunks of more than a payload", WANT, chunk(0, (1 << 20) + 1, count=2)),
        opener("two chunks in one encoded payload", WANT, chunk(0, 2, count=2, encoding=1, payload_hash=B)),
        opener("a node for a want", WANT, say(1, 60, node=pb.Node())),
        opener("an unknown answer", WANT, frame(header(1) + bytes.fromhex("c20100"))),
        opener("nodes out of order", NODES, say(1, 60, node=pb.Node(index=1))),
        opener("a node that is too short", NODES, say(1, 59, node=pb.Node())),
        opener("a node that is too long", NODES, say(1, 327_705, node=pb.Node())),
        opener("bits of another page", HAVE, say(1, 1, have=pb.Have(total=24, first=16))),
        opener("no bits", HAVE, say(1, have=pb.Have(total=0))),
        opener("more bits than there are", HAVE, say(1, 3, have=pb.Have(total=9))),
        opener("whole, and bits", HAVE, say(1, 2, have=pb.Have(total=9, whole=True))),
        opener("spare bits that are set", HAVE, say(1, 2, have=pb.Have(total=9)), "ff02"),
        opener("more bits than any stream has", HAVE, say(1, 1 << 17, have=pb.Have(total=(1 << 22) + 1))),
        opener("records without a root", RECORDS, page(0, [9], roots=0)),
        opener("257 roots", RECORDS, page(0, [9], roots=257)),
        opener("an empty envelope", RECORDS, page(0, [9, 0])),
        opener("records that skip one", RECORDS, page(1, [9])),
        opener("more envelopes than there are", RECORDS, page(0, [9, 9, 9])),
        opener("sizes that do not add up",
               RECORDS, say(1, 17, records=pb.Records(roots=1, sizes=[9, 9]))),
        opener("records that change their mind", RECORDS, page(0, [9], roots=2), ["00", 9], page(1, [9], roots=3)),
        opener("records above 4 MiB", RECORDS,
               *(part for i in range(4) for part in (page(i, [1 << 20], roots=9), ["00", 1 << 20])),
               page(4, [1], roots=9)),
        opener("records that promise more, for which nobody asked", RECORDS, page(0, [9, 9], ahead=True)),
        opener("records that promise more and then do not",
               AHEAD, page(0, [9], ahead=True), ["00", 9], page(1, [9])),
        opener("objects for which nobody asked", RECORDS, page(0, [9]), ["00", 9], objects(1)),
        opener("objects that were not promised", AHEAD, page(0, [9]), ["00", 9], objects(1)),
        opener("objects before the first envelope", AHEAD, objects(1)),
        opener("objects before the last envelope", AHEAD, page(0, [9], ahead=True), ["00", 9], objects(1)),
        opener("records after the last envelope", AHEAD, page(0, [9, 9], ahead=True), ["00", 18], page(1, [9])),
        opener("objects after records that promised none", AHEAD, page(0, [9, 9]), ["00", 18], objects(1)),
        opener("more bytes ahead than were asked for", AHEAD, page(0, [9, 9], ahead=True), ["00", 18], objects(50, 51)),
        opener("objects twice",
               AHEAD, page(0, [9, 9], ahead=True), ["00", 18], objects(50), ["00", 50], objects(50)),
        opener("no object ahead", AHEAD, page(0, [9, 9], ahead=True), ["00", 18], say(1, ahead=pb.Ahead())),
        opener("an empty object ahead", AHEAD, page(0, [9, 9], ahead=True), ["00", 18], objects(9, 0)),
        opener("4097 objects ahead", say(1, get_records=pb.GetRecords(release=A, ahead=1 << 20)),
               page(0, [9, 9], ahead=True), ["00", 18], objects(*[1] * 4097)),
        opener("an object ahead of 2^63 bytes", AHEAD, page(0, [9, 9], ahead=True), ["00", 18],
               say(1, 1, ahead=pb.Ahead(sizes=[1 << 63]))),
        opener("sizes ahead that do not add up", AHEAD, page(0, [9, 9], ahead=True), ["00", 18],
               say(1, 17, ahead=pb.Ahead(sizes=[9, 9]))),
        opener("objects for a log", LOG, objects(1)),
        opener("objects for nodes", NODES, objects(96)),
        opener("records for a log", LOG, page(0, [9])),
        opener("a log for records", RECORDS, log(0, [9], entries=1, newest=1)),
        opener("255 roots after root 2", LOG, log(0, [9], roots=255)),
        opener("17 proofs of forks", LOG, log(0, [9], forks=17)),
        opener("257 revocations", LOG, log(0, [9], revocations=257)),
        opener("4097 entries", LOG, log(0, [9], entries=4097, newest=4097)),
        opener("more entries than the log has", LOG, log(0, [9], entries=2, newest=1)),
        opener("a newest record, and no entry", LOG, log(0, [9], roots=1, newest=1)),
        opener("a newest position beyond 2^53", LOG, log(0, [9], entries=1, newest=1 << 53)),
        opener("a log that skips an envelope", LOG, log(1, [9], entries=2, newest=2)),
        opener("a log with an empty envelope", LOG, log(0, [0], entries=1, newest=1)),
        opener("a log with an envelope above 1 MiB", LOG, log(0, [(1 << 20) + 1], entries=1, newest=1)),
        opener("a log without the envelopes that it has", LOG, log(0, [], entries=1, newest=1)),
        opener("a log with an envelope that it has not", LOG, log(0, [9])),
        opener("more envelopes of a log than there are", LOG, log(0, [9, 9], entries=1, newest=1)),
        opener("sizes of a log that do not add up",
               LOG, say(1, 17, log=pb.Log(entries=2, newest=2, sizes=[9, 9]))),
        opener("a log that changes its mind",
               LOG, log(0, [9], entries=2, newest=2), ["00", 9], log(1, [9], entries=2, newest=3)),
        opener("a log after its end",
               LOG, log(0, [9], entries=1, newest=1), ["00", 9], log(1, [9], entries=2, newest=2)),
        opener("a log after it was empty", LOG, log(0, []), log(0, [])),
        opener("a log above 4 MiB", LOG,
               *(part for i in range(4) for part in (log(i, [1 << 20], entries=5, newest=5), ["00", 1 << 20])),
               log(4, [1], entries=5, newest=5)),
        opener("busy for more than an hour", WANT, say(1, busy=pb.Busy(retry_ms=3_600_001))),
        opener("refused without a code", WANT, say(1, refused=pb.Refused())),
    ]  # fmt: skip


def build() -> str:
    """Return the text of the file."""
    rows = {"protocol": "/samara/exchange/1", "messages": messages(), "violations": violations()}
    return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    OUT.write_text(build(), encoding="utf-8")
