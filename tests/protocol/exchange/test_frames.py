"""Frames: every split, the bounds of a length, and no room before a judgement."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samara.protocol.errors import LocalProtocolError, RemoteProtocolError
from samara.protocol.exchange.frames import FrameReader, frame
from samara.protocol.limits import MAX_HEADER, MAX_PAYLOAD


def judge(header: bytes) -> tuple[bytes, int]:
    """A header of this test: four bytes that say how long the payload is, and anything."""
    return header, int.from_bytes(header[:4], "big")


def wire(filler: bytes, payload: bytes) -> bytes:
    return frame(len(payload).to_bytes(4, "big") + filler) + payload


def naive(data: bytes) -> list[tuple[bytes, bytearray]]:
    """The frames of whole, right bytes, read the simple way."""
    frames = []
    while data:
        length = shift = 0
        while True:
            byte, data = data[0], data[1:]
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        header, data = data[:length], data[length:]
        size = int.from_bytes(header[:4], "big")
        frames.append((header, bytearray(data[:size])))
        data = data[size:]
    return frames


FRAMES = st.lists(st.tuples(st.binary(max_size=200), st.binary(max_size=300)), min_size=1, max_size=4)


@given(FRAMES, st.data())
def test_any_split_gives_the_same_frames(parts: list[tuple[bytes, bytes]], data: st.DataObject) -> None:
    whole = b"".join(wire(*part) for part in parts)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=20)))
    reader = FrameReader(judge)
    got = []
    for a, b in pairwise([0, *cuts, len(whole)]):
        got += reader.receive(whole[a:b])
    assert got == naive(whole)
    assert not reader.inside


@given(FRAMES, st.data())
def test_receiving_in_place_gives_the_same_frames(parts: list[tuple[bytes, bytes]], data: st.DataObject) -> None:
    whole = b"".join(wire(*part) for part in parts)
    reader = FrameReader(judge)
    got, rest = [], whole
    while rest:
        room = reader.writable()
        count = data.draw(st.integers(1, min(len(rest), 50 if room is None else len(room))))
        if room is None:
            got += reader.receive(rest[:count])
        else:
            room[:count] = rest[:count]
            got += reader.wrote(count)
        rest = rest[count:]
    assert got == naive(whole)


def test_payloads_lie_in_the_buffers_that_were_given() -> None:
    pool = bytearray(b"-" * 10)
    ((_, payload),) = FrameReader(judge, lambda size: memoryview(pool)[2 : 2 + size]).receive(wire(b"", b"abc"))
    assert bytes(payload) == b"abc"
    assert pool == b"--abc-----"


@pytest.mark.parametrize("size", [0, 127, 128, 16_383, 16_384, MAX_HEADER])
def test_headers_at_each_width_of_the_length(size: int) -> None:
    header = bytes(size)
    assert FrameReader(judge).receive(frame(header)) == [(header, bytearray())]


def test_a_header_that_no_peer_would_take_is_our_bug() -> None:
    with pytest.raises(LocalProtocolError):
        frame(bytes(MAX_HEADER + 1))


@pytest.mark.parametrize(
    "length",
    [
        pytest.param(b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", id="2^63"),
        pytest.param(b"\x81\x80\x04", id="one above the limit"),
        pytest.param(b"\xff\xff\x7f", id="all of three bytes"),
        pytest.param(b"\x80\x00", id="zero in two bytes"),
        pytest.param(b"\x81\x80\x00", id="one in three bytes"),
    ],
)
def test_a_wrong_length_is_refused_at_the_byte_that_shows_it(length: bytes) -> None:
    reader = FrameReader(judge)
    shows = min(len(length), 3)
    for byte in length[: shows - 1]:
        assert reader.receive(bytes([byte])) == []
    with pytest.raises(RemoteProtocolError):
        reader.receive(length[shows - 1 : shows])


def test_a_payload_is_judged_before_there_is_room_for_it() -> None:
    reader = FrameReader(judge)
    with pytest.raises(RemoteProtocolError):
        reader.receive(frame((MAX_PAYLOAD + 1).to_bytes(4, "big")))
    assert reader.writable() is None


@pytest.mark.parametrize("count", [0, 4])
def test_writing_where_there_is_no_room_is_our_bug(count: int) -> None:
    reader = FrameReader(judge)
    with pytest.raises(LocalProtocolError):
        reader.wrote(1)
    reader.receive(frame((3).to_bytes(4, "big")))
    with pytest.raises(LocalProtocolError):
        reader.wrote(count)
    assert reader.inside
