"""The handshake between two ends in memory: every split, every truncation, turns, muxers, and what is left over.

What it says byte for byte, and what is refused, is in the vectors (`test_transport_vectors.py`).
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samara.protocol.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from samara.protocol.limits import MAX_HANDSHAKE_MESSAGE
from samara.protocol.noise import AES, CHACHA, Handshake, Identity, Sealer, Secured, Suite

YAMUX = "/yamux/1.0.0"
suites = pytest.mark.parametrize("suite", [CHACHA, AES], ids=lambda suite: suite.protocol)


def ends(suite: Suite, ours: tuple[str, ...] = (YAMUX,), theirs: tuple[str, ...] = (YAMUX,)) -> list[Handshake]:
    return [
        Handshake(suite, Identity(bytes([1]) * 32, ours), bytes([2]) * 32, bytes([3]) * 32, initiator=True),
        Handshake(suite, Identity(bytes([4]) * 32, theirs), bytes([5]) * 32, bytes([6]) * 32, initiator=False),
    ]


def shake(initiator: Handshake, responder: Handshake) -> tuple[Secured, Secured]:
    assert responder.begin() == b""
    last = initiator.receive(responder.receive(initiator.begin()))
    assert responder.receive(last) == b""
    assert initiator.secured is not None
    assert responder.secured is not None
    return initiator.secured, responder.secured


def carry(sender: Secured, receiver: Secured, data: bytes) -> bytes:
    record = memoryview(bytearray(len(data) + sender.sealer.head + 16))
    out = memoryview(bytearray(len(data)))
    assert sender.sealer.seal_into(memoryview(data), record) == len(record)
    assert receiver.opener.open_into(record, out) == len(data)
    return bytes(out)


@suites
def test_both_know_each_other_and_share_two_keys(suite: Suite) -> None:
    one, two = shake(*ends(suite))
    assert one.peer == Identity(bytes([4]) * 32).peer
    assert two.peer == Identity(bytes([1]) * 32).peer
    assert one.rest == two.rest == b""
    for number in range(3):
        assert carry(one, two, b"question %d" % number) == b"question %d" % number
        assert carry(two, one, b"answer %d" % number) == b"answer %d" % number
    assert one.sealer._key != one.opener._key


@pytest.mark.parametrize(
    ("ours", "theirs", "spoken"),
    [
        ((YAMUX,), (YAMUX,), YAMUX),
        (("/a/1", "/b/1"), ("/b/1", "/a/1"), "/a/1"),
        (("/a/1", "/b/1"), ("/b/1",), "/b/1"),
        (("/a/1",), ("/b/1",), None),
        ((), (YAMUX,), None),
        ((YAMUX,), (), None),
        ((), (), None),
    ],
)
def test_the_first_muxer_of_the_initiator_that_both_speak(
    ours: tuple[str, ...], theirs: tuple[str, ...], spoken: str | None
) -> None:
    assert [secured.muxer for secured in shake(*ends(CHACHA, ours, theirs))] == [spoken, spoken]


@suites
@given(cuts=st.lists(st.integers(1, 100), min_size=1, max_size=12), tail=st.binary(max_size=30))
def test_pieces_of_any_size_and_bytes_that_follow(suite: Suite, cuts: list[int], tail: bytes) -> None:
    initiator, responder = ends(suite)

    def hear(end: Handshake, data: bytes) -> bytes:
        out, turn = b"", 0
        while data:
            size = cuts[turn % len(cuts)]
            piece, data, turn = data[:size], data[size:], turn + 1
            if end.secured is None:
                out += end.receive(piece)
            else:
                late.append(piece)
        return out

    late: list[bytes] = []
    last = hear(initiator, hear(responder, initiator.begin()))
    hear(responder, last + tail)
    assert responder.secured is not None
    assert responder.secured.rest + b"".join(late) == tail


@suites
def test_what_is_cut_short_waits_and_what_is_changed_is_refused(suite: Suite) -> None:
    initiator, responder = ends(suite)
    first = initiator.begin()
    answer = responder.receive(first)
    last = initiator.receive(answer)
    for message, side in ((first, 1), (answer, 0), (last, 1)):
        for place in range(len(message)):

            def ready(side: int = side, message: bytes = message) -> Handshake:
                end = ends(suite)[side]
                end.begin()
                if message is last:
                    end.receive(first)
                return end

            assert ready().receive(message[:place]) == b""
            changed = bytearray(message)
            changed[place] ^= 0x10
            if place < 2 or message is first:  # another length waits for more; another key of message 1 shows later
                continue
            with pytest.raises(RemoteProtocolError):
                ready().receive(bytes(changed))


def test_another_ephemeral_key_of_the_first_message_shows_in_the_answer() -> None:
    initiator, responder = ends(CHACHA)
    first = bytearray(initiator.begin())
    first[9] ^= 1
    with pytest.raises(RemoteProtocolError, match="does not open"):
        initiator.receive(responder.receive(bytes(first)))


@suites
def test_both_channels_of_one_peer_do_not_open_each_other(suite: Suite) -> None:
    initiator = ends(suite)[0]
    other = ends(AES if suite is CHACHA else CHACHA)[1]
    with pytest.raises(RemoteProtocolError, match="does not open"):
        initiator.receive(other.receive(initiator.begin()))


@pytest.mark.parametrize("size", [MAX_HANDSHAKE_MESSAGE, MAX_HANDSHAKE_MESSAGE + 1, 65_535])
def test_a_length_is_judged_before_its_message_is_here(size: int) -> None:
    responder = ends(CHACHA)[1]
    if size <= MAX_HANDSHAKE_MESSAGE:
        assert responder.receive(size.to_bytes(2, "big") + bytes(size - 1)) == b""
        return
    with pytest.raises(RemoteProtocolError, match=f"{size} bytes"):
        responder.receive(size.to_bytes(2, "big"))


def test_turns_that_are_not_ours() -> None:
    initiator, responder = ends(CHACHA)
    with pytest.raises(LocalProtocolError, match="not begun"):
        initiator.receive(bytes.fromhex("0000"))
    initiator, responder = ends(CHACHA)
    first = initiator.begin()
    with pytest.raises(LocalProtocolError, match="twice"):
        initiator.begin()
    initiator, responder = ends(CHACHA)
    shake(initiator, responder)
    for end in (initiator, responder):
        with pytest.raises(LocalProtocolError, match="over"):
            end.receive(first)


@suites
def test_a_handshake_that_failed_is_over(suite: Suite) -> None:
    initiator, responder = ends(suite)
    first = initiator.begin()
    answer = bytearray(responder.receive(first))
    answer[-1] ^= 1
    with pytest.raises(RemoteProtocolError):
        initiator.receive(bytes(answer))
    answer[-1] ^= 1
    with pytest.raises(ProtocolError):
        initiator.receive(bytes(answer))
    assert initiator.secured is None


def test_the_next_records_come_with_the_last_message() -> None:
    initiator, responder = ends(AES)
    last = initiator.receive(responder.receive(initiator.begin()))
    assert initiator.secured is not None
    sealer: Sealer = initiator.secured.sealer
    record = memoryview(bytearray(4 + 5 + 16))
    sealer.seal_into(memoryview(b"early"), record)
    responder.receive(last + bytes(record))
    assert responder.secured is not None
    assert responder.secured.rest == record
    out = memoryview(bytearray(5))
    responder.secured.opener.open_into(memoryview(responder.secured.rest), out)
    assert bytes(out) == b"early"
