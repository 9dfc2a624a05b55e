"""RPCs: what is written is read, what names somebody is left out, and nothing costs more than its bound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samara.protocol import limits
from samara.protocol.errors import RemoteProtocolError
from samara.protocol.gossip import Message, Rpc, decode_rpc, encode_rpc, message_id
from samara.protocol.wire import bytes_field, number_field

topics = st.text(max_size=30)
ids = st.binary(min_size=32, max_size=32)
rpcs = st.builds(
    Rpc,
    subscriptions=st.dictionaries(topics, st.booleans(), max_size=5),
    messages=st.lists(st.builds(Message, topics, st.binary(max_size=100)), max_size=5).map(tuple),
    ihave=st.lists(st.tuples(topics, st.lists(ids, min_size=1, max_size=5).map(tuple)), max_size=5).map(tuple),
    iwant=st.lists(ids, max_size=5).map(tuple),
    graft=st.lists(topics, max_size=5).map(tuple),
    prune=st.dictionaries(topics, st.integers(1, 3600).map(float), max_size=5),
)


def message(*parts: bytes) -> bytes:
    return bytes_field(2, b"".join(parts))


DATA, TOPIC = bytes_field(2, b"data"), bytes_field(4, b"topic")


@given(rpcs)
def test_what_is_written_is_read(rpc: Rpc) -> None:
    read = decode_rpc(encode_rpc(rpc))
    for name in ("subscriptions", "messages", "ihave", "iwant", "graft", "prune"):
        assert getattr(read, name) == getattr(rpc, name)
    assert read.named == 0


@given(st.binary(max_size=300))
def test_any_bytes_are_an_rpc_or_an_error_of_the_protocol(data: bytes) -> None:
    try:
        decode_rpc(data)
    except RemoteProtocolError:
        return


@pytest.mark.parametrize("field", [1, 3, 5, 6], ids=["from", "seqno", "signature", "key"])
@pytest.mark.parametrize("value", [b"", b"x"], ids=["empty", "full"])
def test_a_message_that_names_somebody_is_left_out(field: int, value: bytes) -> None:
    rpc = decode_rpc(message(bytes_field(field, value), DATA, TOPIC) + message(DATA, TOPIC))
    assert rpc.messages == (Message("topic", b"data"),)
    assert rpc.named == 1


@pytest.mark.parametrize("of", [(), (TOPIC, TOPIC)], ids=["none", "two"])
def test_a_message_has_one_topic(of: tuple[bytes, ...]) -> None:
    assert decode_rpc(message(DATA, *of)) == Rpc(named=1, parts=1 + len(of))


def test_what_is_not_known_is_skipped() -> None:
    later = bytes_field(5, bytes_field(1, bytes(32)))  # IDONTWANT of gossipsub 1.2
    graft = bytes_field(3, bytes_field(1, b"topic"))
    rpc = decode_rpc(bytes_field(3, later + graft) + bytes_field(9, b"x") + number_field(10, 5))
    assert rpc.graft == ("topic",)


def test_peers_of_a_prune_are_not_read_and_its_backoff_is_bounded() -> None:
    def prune(*parts: bytes) -> Rpc:
        return decode_rpc(bytes_field(3, bytes_field(4, bytes_field(1, b"topic") + b"".join(parts))))

    assert prune(bytes_field(2, b"peer") * 3).prune == {"topic": limits.GOSSIP_BACKOFF}
    assert prune(number_field(3, 7)).prune == {"topic": 7.0}
    assert prune(number_field(3, 2**63)).prune == {"topic": limits.GOSSIP_BACKOFF_MOST}


def test_an_older_peer_is_told_no_backoff() -> None:
    assert decode_rpc(encode_rpc(Rpc(prune={"topic": 10.0}), backoffs=False)).prune == {"topic": limits.GOSSIP_BACKOFF}


def test_topics_that_are_too_long_or_no_text_and_ids_of_another_length_are_left_out() -> None:
    long = b"x" * (limits.MAX_GOSSIP_TOPIC + 1)
    ihave = bytes_field(3, bytes_field(1, bytes_field(1, b"t") + bytes_field(2, bytes(31)) + bytes_field(2, bytes(32))))
    sub = [bytes_field(1, b"\x08\x01" + bytes_field(2, topic)) for topic in (long, b"\xff", b"ok")]
    rpc = decode_rpc(ihave + b"".join(sub) + message(DATA, bytes_field(4, long)))
    assert rpc.subscriptions == {"ok": True}
    assert rpc.ihave == (("t", (bytes(32),)),)
    assert (rpc.messages, rpc.named) == ((), 0)


@pytest.mark.parametrize(
    "part",
    [
        bytes_field(1, b""),
        message(TOPIC),
        bytes_field(3, bytes_field(3, b"")),
        bytes_field(3, bytes_field(2, bytes_field(1, b""))),
        bytes_field(3, bytes_field(4, bytes_field(2, b""))),
        number_field(99, 1),
    ],
    ids=["subscription", "message", "graft", "id", "peer", "unknown"],
)
def test_an_rpc_has_a_bound_of_parts(part: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="parts"):
        decode_rpc(part * (limits.MAX_GOSSIP_PARTS + 1))


@pytest.mark.parametrize("data", [number_field(1, 1), number_field(3, 1), bytes_field(2, number_field(4, 7)), b"\x0a"])
def test_what_is_of_the_wrong_type_or_cut_short_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_rpc(data)


def test_ids_tell_topic_and_data_apart() -> None:
    assert len({message_id("ab", b"c"), message_id("a", b"bc"), message_id("", b"abc")}) == 3
