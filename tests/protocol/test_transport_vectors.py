"""The vectors of specs/transport.md, replayed; and the generator writes what is committed."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from support.naive_yamux import joined, plain
from support.vectors import FOLDER, generator, unrun, vectors

from samara.protocol import errors
from samara.protocol.errors import LocalProtocolError
from samara.protocol.noise import SUITES, Handshake, Identity, Opener, Sealer
from samara.protocol.yamux import Session

VECTORS: dict[str, list[dict[str, Any]]] = vectors("transport.json")


def rows(part: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", VECTORS[part], ids=lambda row: row["name"])


def error_of(row: dict[str, Any]) -> type[Exception]:
    kind: type[Exception] = getattr(errors, row["error"])
    return kind


def test_the_generator_writes_what_is_committed() -> None:
    assert generator("transport").make() == (FOLDER / "transport.json").read_text("utf-8")


# Handshakes.


def end(row: dict[str, Any], side: dict[str, Any], *, initiator: bool) -> Handshake:
    identity = Identity(bytes.fromhex(side["node"]), tuple(side["muxers"]))
    assert identity.peer == side["peer"]
    static, ephemeral = bytes.fromhex(side["static"]), bytes.fromhex(side["ephemeral"])
    return Handshake(SUITES[row["protocol"]], identity, static, ephemeral, initiator=initiator)


def whole(data: bytes) -> list[bytes]:
    return [data]


def one_by_one(data: bytes) -> list[bytes]:
    return [data[place : place + 1] for place in range(len(data))]


def hear(handshake: Handshake, data: bytes, cut: Callable[[bytes], list[bytes]]) -> bytes:
    return b"".join(handshake.receive(piece) for piece in cut(data))


@rows("handshakes")
@pytest.mark.parametrize("cut", [whole, one_by_one])
def test_both_ends_of_a_handshake(row: dict[str, Any], cut: Callable[[bytes], list[bytes]]) -> None:
    first, answer, last = (bytes.fromhex(message) for message in row["messages"])
    initiator, responder = end(row, row["initiator"], initiator=True), end(row, row["responder"], initiator=False)
    if not row["payloads"][0]:
        assert initiator.begin() == first
    else:  # we never send a payload there, but hear one
        initiator.begin()
    assert responder.begin() == b""
    plain_answer = (
        row["payloads"][1]
        == Identity(bytes.fromhex(row["responder"]["node"]), tuple(row["responder"]["muxers"]))
        .payload(bytes(responder._static.public_key().public_bytes_raw()))
        .hex()
    )
    heard = hear(responder, first, cut)
    assert (heard == answer) == plain_answer
    if not row["payloads"][0]:
        assert hear(initiator, answer, cut) == last
        assert initiator.secured is not None
        assert initiator._state._hash.hex() == row["hash"]
        assert initiator.secured.peer == row["responder"]["peer"]
        assert initiator.secured.muxer == row["muxer"]
        assert initiator.secured.sealer._key.hex() == row["initiator_key"]
        assert initiator.secured.opener._key.hex() == row["responder_key"]
        with pytest.raises(LocalProtocolError, match="over"):
            initiator.receive(b"")
    if plain_answer:
        assert hear(responder, last, cut) == b""
        assert responder.secured is not None
        assert responder._state._hash.hex() == row["hash"]
        assert responder.secured.peer == row["initiator"]["peer"]
        assert responder.secured.muxer == row["muxer"]
        assert responder.secured.sealer._key.hex() == row["responder_key"]
        assert responder.secured.opener._key.hex() == row["initiator_key"]


@rows("handshake_violations")
@pytest.mark.parametrize("cut", [whole, one_by_one])
def test_a_handshake_that_is_refused(row: dict[str, Any], cut: Callable[[bytes], list[bytes]]) -> None:
    handshake = end(row, row["own"], initiator=row["side"] == "initiator")
    handshake.begin()
    *right, wrong = map(bytes.fromhex, row["hears"])
    for message in right:
        handshake.receive(message)
    with pytest.raises(error_of(row)):
        hear(handshake, wrong, cut)
    assert handshake.secured is None
    with pytest.raises(errors.ProtocolError):
        handshake.receive(right[0] if right else b"\0\0")
    assert handshake.secured is None


# Records.


@rows("records")
def test_a_record(row: dict[str, Any]) -> None:
    suite, key = SUITES[row["protocol"]], bytes.fromhex(row["key"])
    sealer, opener = Sealer(suite, key), Opener(suite, key)
    data = memoryview(unrun(row["plaintext"]))
    out, room = memoryview(bytearray(len(data) + sealer.head + 16)), memoryview(bytearray(len(data)))
    for _ in range(row["number"]):  # the other halves are not looked at: no counter can be set from outside
        sealer.seal_into(data[:0], out)
    assert sealer.seal_into(data, out) == len(out)
    assert sha256(out).hexdigest() == row["sha256"]
    assert out.hex().startswith(row.get("record") or row["begins"])
    if row["number"] < 10:
        halves = generator("transport")
        for number in range(row["number"]):
            before = memoryview(halves.record(halves.CHANNELS[row["protocol"]], key, number, b""))
            opener.open_into(before, room)
        assert opener.size(out) == len(out)
        assert opener.open_into(out, room) == len(data)
        assert room == data


@rows("record_violations")
def test_a_record_that_does_not_open(row: dict[str, Any]) -> None:
    raw = memoryview(bytes.fromhex(row["hears"]))
    opener = Opener(SUITES[row["protocol"]], bytes.fromhex(row["key"]))
    room = memoryview(bytearray(100))
    with pytest.raises(error_of(row)):  # noqa: PT012 - its length says it, or else its tag
        assert opener.size(raw) == len(raw)
        opener.open_into(raw, room)


# Frames.


def session_of(row: dict[str, Any]) -> Session:
    session = Session(initiator=row["initiator"])
    for _ in range(row["opens"]):
        session.open()
    session.take_out()
    return session


@rows("conversations")
@pytest.mark.parametrize("size", [1, 7, 12, 1 << 20])
def test_a_conversation(row: dict[str, Any], size: int) -> None:
    session = session_of(row)
    raw = b"".join(unrun(part) for part in row["hears"])
    told: list[tuple[Any, ...]] = []
    size = size if len(raw) < 10_000 else 4096 + size
    for place in range(0, len(raw), size):
        told += plain(session.receive(memoryview(raw[place : place + size])))
    expected = [(*event[:2], unrun(event[2])) if event[0] == "body" else (*event,) for event in row["events"]]
    assert joined(told) == expected
    assert session.take_out().hex() == row["answers"]


@rows("frame_violations")
def test_a_frame_that_ends_the_connection(row: dict[str, Any]) -> None:
    session = session_of(row)
    *right, wrong = map(unrun, row["hears"])
    for part in right:
        session.receive(memoryview(part))

    def receive_wrong() -> None:  # where it is for want of credit, half a frame is as much as a whole one
        session.receive(memoryview(wrong[:-1]))
        session.receive(memoryview(wrong[-1:]))

    with pytest.raises(error_of(row)):
        receive_wrong()
    with pytest.raises(LocalProtocolError, match="failed"):
        session.receive(memoryview(b""))
