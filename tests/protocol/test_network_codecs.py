"""Codecs of the network: there and back, and against bytes that nobody means well with."""

from __future__ import annotations

import contextlib
import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samara.protocol.addresses import Address, Scope, decode_address, from_ip, meant_for, parse_address
from samara.protocol.contacts import Contact
from samara.protocol.errors import AddressError, RemoteProtocolError
from samara.protocol.identify import Identify, decode_identify, encode_identify
from samara.protocol.ids import ContentId
from samara.protocol.kad.messages import Kind, Message, decode, encode
from samara.protocol.limits import (
    MAX_AGENT,
    MAX_MATE_ADDRESSES,
    MAX_MATES,
    MAX_MATES_MESSAGE,
    MAX_NEGOTIATION,
    MAX_NEGOTIATIONS,
    MAX_PEER_ADDRESSES,
)
from samara.protocol.mates import (
    decode_mates,
    decode_mates_request,
    encode_mates,
    encode_mates_request,
    to_believe,
    to_tell,
)
from samara.protocol.multistream import Acceptor, Opener, line
from samara.protocol.peers import format_peer_id, parse_peer_id, peer_id_of, public_key_bytes
from samara.protocol.reach import decode_answer, decode_request, to_dial
from samara.protocol.wire import fields, read_varint, varint

ips = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
ports = st.integers(1, 65535)
addresses = st.builds(lambda ip, port: from_ip(str(ip), port), ips, ports)
peers = st.binary(min_size=32, max_size=32).map(peer_id_of)
contacts = st.builds(Contact, peers, st.lists(addresses, max_size=8, unique=True).map(tuple))
messages = st.builds(
    Message,
    st.sampled_from(Kind),
    st.binary(min_size=1, max_size=128),
    st.none() | st.binary(max_size=200),
    st.lists(contacts, max_size=4).map(tuple),
    st.lists(contacts, max_size=4).map(tuple),
)


@given(st.integers(0, (1 << 64) - 1))
def test_varints_round_trip(number: int) -> None:
    assert read_varint(varint(number) + b"rest") == (number, len(varint(number)))


@given(st.binary(max_size=300))
def test_no_bytes_surprise_a_decoder(data: bytes) -> None:
    decoders = (decode, decode_identify, decode_request, decode_mates, decode_mates_request)
    for decoder in (*decoders, lambda raw: decode_answer(raw, ())):
        with contextlib.suppress(RemoteProtocolError):
            decoder(data)
    decode_address(data)
    with contextlib.suppress(AddressError):
        format_peer_id(data)


@given(messages)
def test_dht_messages_round_trip(message: Message) -> None:
    assert decode(encode(message)) == message


@given(st.binary(min_size=32, max_size=32), st.lists(contacts, max_size=MAX_MATES).map(tuple))
def test_mates_round_trip(content: bytes, mates: tuple[Contact, ...]) -> None:
    assert decode_mates_request(encode_mates_request(ContentId(content))) == content
    assert decode_mates(encode_mates(mates)) == mates


@given(st.lists(contacts, max_size=4).map(tuple), st.data())
def test_a_changed_byte_of_an_answer_breaks_the_rules_or_tells_others(
    mates: tuple[Contact, ...], data: st.DataObject
) -> None:
    raw = bytearray(encode_mates(mates))
    if raw:
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(RemoteProtocolError):
        told = decode_mates(bytes(raw))
        assert len(told) <= MAX_MATES
        assert all(len(mate.addresses) <= MAX_PEER_ADDRESSES and parse_peer_id(mate.peer) for mate in told)


def test_the_longest_answer_is_within_its_limit_and_no_more_is_taken() -> None:
    where = tuple(parse_address(f"/ip6/2606:4700:1111:1111:1111:1111:1111:{n + 1}/tcp/4001") for n in range(2))
    assert len(where) == MAX_MATE_ADDRESSES
    mates = [Contact(peer_id_of(bytes([n]) * 32), where) for n in range(MAX_MATES + 1)]
    assert MAX_MATES_MESSAGE / 2 < len(encode_mates(mates[:-1])) <= MAX_MATES_MESSAGE
    assert decode_mates(encode_mates(mates)) == tuple(mates[:-1])


@given(ips, ports)
def test_addresses_round_trip(ip: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> None:
    address = from_ip(str(ip), port)
    assert decode_address(address.encode()) == address
    assert parse_address(str(address)) == address


@given(peers)
def test_peer_ids_round_trip(peer: str) -> None:
    assert format_peer_id(parse_peer_id(peer)) == peer


def test_identify_round_trips() -> None:
    here, there = parse_address("/ip4/10.0.0.1/tcp/4001"), parse_address("/ip4/10.0.0.2/tcp/5")
    message = Identify("samara/1", frozenset({"/b/1", "/a/1"}), (here,), there)
    assert decode_identify(encode_identify(message, public_key_bytes(bytes(32)))) == message


def test_identify_keeps_little_of_a_peer_that_tells_much() -> None:
    many = tuple(Address("ip4", f"10.0.{n // 250}.{n % 250 + 1}", 4001) for n in range(100))
    raw = encode_identify(Identify("\x1b[2Jevil" + "x" * 200, frozenset(), many, None), b"")
    told = decode_identify(raw)
    assert len(told.addresses) == MAX_PEER_ADDRESSES
    assert len(told.agent) == MAX_AGENT
    assert told.agent.startswith("[2Jevil")


def test_an_address_is_told_only_where_it_means_something() -> None:
    loopback, private, public, nowhere = (
        parse_address(f"/ip4/{host}/tcp/4001") for host in ("127.0.0.1", "10.0.0.1", "8.8.8.8", "224.0.0.1")
    )
    everything = (loopback, private, public, nowhere)
    assert meant_for(everything, Scope.LOOPBACK) == (loopback, private, public)
    assert meant_for(everything, Scope.PRIVATE) == (private, public)
    assert meant_for(everything, Scope.PUBLIC) == (public,)
    assert meant_for(everything, Scope.NOWHERE) == (public,)


def test_only_the_asker_itself_is_dialled_back() -> None:
    asked = [
        parse_address(f"/ip4/10.0.0.{host}/tcp/{port}") for host, port in ((1, 4001), (2, 4001), (1, 22), (1, 443))
    ]
    asked.append(parse_address("/dns4/router.lan/tcp/4001"))
    seen = parse_address("/ip4/10.0.0.1/tcp/50000")
    assert [str(address) for address in to_dial(asked, seen)] == ["/ip4/10.0.0.1/tcp/4001", "/ip4/10.0.0.1/tcp/443"]
    assert to_dial(asked, parse_address("/ip6/::1/tcp/1")) == ()


@given(st.lists(addresses, max_size=10), addresses, st.sampled_from(Scope), st.booleans())
def test_a_peer_is_told_at_its_own_ip_only(said: list[Address], seen: Address, asker: Scope, dialled: bool) -> None:
    here = [Address(seen.kind, seen.host, address.port) for address in said[::2]]
    told = to_tell([*said, *here], seen, asker, dialled=dialled)
    assert len(told) <= MAX_MATE_ADDRESSES
    for address in told:
        assert (address.kind, address.host) == (seen.kind, seen.host)
        assert address.scope >= (asker or Scope.PUBLIC)
        assert address.port >= 1024 or address.port == 443
        assert address in said or address in here or (dialled and address == seen)


def test_where_a_peer_was_dialled_is_told_and_where_it_came_from_is_not() -> None:
    seen, said = parse_address("/ip4/8.8.8.8/tcp/50000"), [parse_address("/ip4/8.8.8.8/tcp/4001")]
    assert to_tell([], seen, Scope.PUBLIC, dialled=True) == (seen,)
    assert to_tell([], seen, Scope.PUBLIC, dialled=False) == ()
    assert to_tell(said, seen, Scope.PUBLIC, dialled=False) == tuple(said)
    assert to_tell(said, seen, Scope.PUBLIC, dialled=True) == (seen, *said)


def test_a_lan_is_told_to_itself_only() -> None:
    seen = parse_address("/ip4/10.0.0.1/tcp/4001")
    assert to_tell([], seen, Scope.LOOPBACK, dialled=True) == to_tell([], seen, Scope.PRIVATE, dialled=True) == (seen,)
    assert to_tell([], seen, Scope.PUBLIC, dialled=True) == ()
    here = parse_address("/ip4/127.0.0.1/tcp/4001")
    assert to_tell([], here, Scope.LOOPBACK, dialled=True) == (here,)
    assert to_tell([], here, Scope.PRIVATE, dialled=True) == ()


def test_little_is_believed_of_who_tells_of_others() -> None:
    said = [
        parse_address(text)
        for text in (
            "/dns4/victim.example/tcp/4001", "/ip4/8.8.8.8/tcp/25", "/ip4/127.0.0.1/tcp/4001", "/ip4/10.0.0.1/tcp/4001",
            "/ip4/224.0.0.1/tcp/4001", "/ip4/8.8.8.8/tcp/443", "/ip4/8.8.8.8/tcp/4001", "/ip4/8.8.4.4/tcp/4001",
        )
    ]  # fmt: skip
    assert to_believe(said, Scope.PUBLIC) == tuple(said[5:7])
    assert to_believe(said, Scope.PRIVATE) == (said[3], said[5])
    assert to_believe(said, Scope.LOOPBACK) == tuple(said[2:4])
    assert to_believe(said, Scope.NOWHERE) == tuple(said[5:7])


def test_mapped_addresses_are_the_same_host() -> None:
    assert from_ip("::ffff:10.0.0.1", 7) == parse_address("/ip4/10.0.0.1/tcp/7")
    assert from_ip("fe80::1%eth0", 7).host == "fe80::1"
    with pytest.raises(AddressError):
        from_ip("somewhere", 7)


@settings(max_examples=50)
@given(st.data())
def test_negotiation_in_pieces_of_any_size(data: st.DataObject) -> None:
    protocol = data.draw(st.sampled_from(["/a/1", "/b/" + "x" * 200]))
    after = data.draw(st.binary(max_size=20))
    opener, acceptor = Opener(protocol), Acceptor(lambda text: text == protocol)
    to_acceptor, to_opener = opener.begin() + after, acceptor.begin()
    place = 0
    while place < len(to_acceptor):
        step = data.draw(st.integers(1, 40))
        if acceptor.protocol is None:
            to_opener += acceptor.receive(to_acceptor[place : place + step])
        else:  # what follows the agreement is not the negotiation's
            break
        place += step
    assert acceptor.protocol == protocol
    assert acceptor.rest + to_acceptor[place:] == after
    for index in range(len(to_opener)):
        assert opener.receive(to_opener[index : index + 1]) == b""
    assert (opener.protocol, opener.rest) == (protocol, b"")


def test_an_opener_that_went_on_hears_the_agreement_at_every_split() -> None:
    whole = line("/multistream/1.0.0") + line("/b/" + "x" * 200) + b"answer"
    for first in range(len(whole)):
        for second in (first + 1, (first + len(whole)) // 2, len(whole)):
            opener, late = Opener("/b/" + "x" * 200), b""
            for piece in (whole[:first], whole[first:second], whole[second:]):
                if opener.protocol is None:
                    assert opener.receive(piece) == b""
                else:
                    late += piece
            assert opener.proposed == opener.protocol
            assert opener.rest + late == b"answer"


def test_an_acceptor_says_no_and_goes_on() -> None:
    acceptor = Acceptor(lambda text: text == "/b/1")
    assert acceptor.receive(line("/multistream/1.0.0") + line("/a/1")) == line("na")
    assert acceptor.receive(line("/b/1") + b"hello") == line("/b/1")
    assert (acceptor.protocol, acceptor.rest) == ("/b/1", b"hello")


def test_proposals_end() -> None:
    acceptor = Acceptor(lambda text: False)
    acceptor.receive(line("/multistream/1.0.0"))
    for _ in range(MAX_NEGOTIATIONS):
        acceptor.receive(line("/a/1"))
    with pytest.raises(RemoteProtocolError, match="without end"):
        acceptor.receive(line("/a/1"))


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (line("/http/1.1"), "opened a stream with"),
        (varint(MAX_NEGOTIATION + 1), "at most"),
        (b"\x00", "at most"),
        (b"\x03abc", "newline"),
    ],
)
def test_what_is_no_negotiation_is_refused(data: bytes, match: str) -> None:
    with pytest.raises(RemoteProtocolError, match=match):
        Acceptor(lambda text: True).receive(data)


def test_an_opener_takes_no_for_an_answer() -> None:
    opener = Opener("/a/1")
    assert opener.receive(line("/multistream/1.0.0")) == b""
    assert opener.protocol is None
    with pytest.raises(RemoteProtocolError, match="does not speak /a/1"):
        opener.receive(line("na"))
    with pytest.raises(RemoteProtocolError, match="answered"):
        Opener("/a/1").receive(line("/a/1"))


def test_an_opener_proposes_the_next_after_a_no() -> None:
    opener = Opener("/a/1", "/b/1")
    assert opener.begin() == line("/multistream/1.0.0") + line("/a/1")
    assert opener.receive(line("/multistream/1.0.0") + line("na")) == line("/b/1")
    assert opener.receive(line("/b/1") + b"rest") == b""
    assert (opener.protocol, opener.rest) == ("/b/1", b"rest")
    with pytest.raises(RemoteProtocolError, match="does not speak /a/1 or /b/1"):
        Opener("/a/1", "/b/1").receive(line("/multistream/1.0.0") + line("na") + line("na"))


def test_fields_of_all_types_are_walked() -> None:
    raw = varint(1 << 3) + varint(7) + varint(2 << 3 | 1) + bytes(8) + varint(3 << 3 | 5) + bytes(4)
    raw += varint(4 << 3 | 2) + varint(2) + b"ab"
    assert list(fields(raw)) == [(1, 7), (4, b"ab")]
