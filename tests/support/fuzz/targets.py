"""What is fuzzed: each target takes any bytes, and judges how the code took them.

A target passes when nothing but its own errors comes out, and its invariants hold: bytes that come in pieces mean what
they mean whole, what was parsed is written as it was read, and nothing grows beyond its bound. An error that is not
the target's is a finding, also when it is one of Samara's: who calls that code does not expect it.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from support import naive_encodings
from support.naive_yamux import Broken, NaiveYamux, joined, plain

from samara.node.wordlist import word_list
from samara.protocol import deltapack, dsse, gossip, limits, links, strictjson
from samara.protocol.addresses import Address, Scope, decode_address, parse_address
from samara.protocol.chunking.cutter import Cutter
from samara.protocol.chunking.gguf import layout_gguf
from samara.protocol.chunking.layout import Layout, generic
from samara.protocol.chunking.safetensors import layout_safetensors
from samara.protocol.chunklist import ListVerifier, Node
from samara.protocol.encodings import codec, delta, planes, text
from samara.protocol.encodings.layout import WordLayout, Words
from samara.protocol.errors import (
    AddressError,
    DataHeaderError,
    DeltaError,
    EncodingError,
    ForkError,
    KeyFileError,
    LinkError,
    ModelHeaderError,
    NodeError,
    PathError,
    RecordError,
    RecordFileError,
    RemoteProtocolError,
    SamaraError,
    StickError,
    TableError,
    UsageError,
    VerificationError,
    WordsError,
)
from samara.protocol.exchange import messages as say
from samara.protocol.exchange.messages import Hello, Request
from samara.protocol.exchange.session import Acceptor as ExchangeAcceptor
from samara.protocol.exchange.session import Answered
from samara.protocol.exchange.session import Opener as ExchangeOpener
from samara.protocol.formats.facts import read_facts
from samara.protocol.formats.parquet import Cut, how_cut, read_parquet
from samara.protocol.gossip.records import is_topic, look_at, publisher_of, topic_of
from samara.protocol.identify import decode_identify, encode_identify
from samara.protocol.ids import ContentId, Digest, PublisherId, ReleaseId, digest
from samara.protocol.kad import messages as kad
from samara.protocol.keyfile import MAX_KEY_FILE, SealedKey, decode_key_file, decode_publisher_file
from samara.protocol.licenses import judge, license_of_card, license_of_text, normalise
from samara.protocol.mates import (
    decode_mates,
    decode_mates_request,
    encode_mates,
    encode_mates_request,
    to_believe,
    to_tell,
)
from samara.protocol.multistream import Acceptor, Opener
from samara.protocol.noise import AES, CHACHA, Handshake, Identity, Sealer
from samara.protocol.noise import Opener as RecordOpener
from samara.protocol.noise.identity import verify_payload
from samara.protocol.oms import OMS_KEY, Bundle, Manifest, OmsKey, OmsPublicKey, compare
from samara.protocol.peers import format_peer_id, parse_peer_id
from samara.protocol.ports import LogPage
from samara.protocol.reach import decode_answer, decode_request, encode_answer, encode_request, to_dial
from samara.protocol.records.announced import decode_announced_head
from samara.protocol.records.entry import Place
from samara.protocol.records.head import make_head, verify_head
from samara.protocol.records.log import verify_entry
from samara.protocol.records.release import verify_release_envelope
from samara.protocol.records.root import PublisherChain, make_genesis
from samara.protocol.rootfile import RootFile
from samara.protocol.routing import log_key
from samara.protocol.table import FileTable
from samara.protocol.trust import ForkProof, Ledger, Policy, verify_fork
from samara.protocol.trust.announced import best_announced_log, decode_announced_log
from samara.protocol.trust.recordfile import Item, RecordFileReader, RecordFileWriter, decode_item, encode_item
from samara.protocol.trust.recordfile import Kind as ItemKind
from samara.protocol.yamux import Session
from samara.sneakernet.layout import Commit, is_mark

__all__ = ["TARGETS", "Target", "check"]


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that is fuzzed.

    Attributes:
        name: What it is.
        run: Takes any bytes; raises when they show something wrong.
        errors: What may be raised of bytes that are refused.
    """

    name: str
    run: Callable[[bytes], None]
    errors: tuple[type[SamaraError], ...]


TARGETS: Final[dict[str, Target]] = {}


def check(name: str, data: bytes) -> None:
    """Run a target on some bytes; whatever comes out is a finding."""
    target = TARGETS[name]
    with contextlib.suppress(*target.errors):
        target.run(data)


def _target(*errors: type[SamaraError]) -> Callable[[Callable[[bytes], None]], Callable[[bytes], None]]:
    def add(run: Callable[[bytes], None]) -> Callable[[bytes], None]:
        name = run.__name__.strip("_").replace("_", "-")
        TARGETS[name] = Target(name, run, errors)
        return run

    return add


# Pieces.


def _first(data: bytes) -> tuple[int, bytes]:
    return (data[0], data[1:]) if data else (0, b"")


def _cut(data: bytes) -> tuple[list[int], bytes]:
    """Return the sizes of pieces, which go round, and what is to be cut into them."""
    count, rest = _first(data)
    sizes = [max(1, size) for size in rest[: count % 8]]
    return sizes or [1], rest[count % 8 :]


def _pieces(sizes: list[int], data: bytes) -> Iterator[memoryview]:
    view, turn = memoryview(data), 0
    while view:
        size = sizes[turn % len(sizes)]
        yield view[:size]
        view, turn = view[size:], turn + 1


Heard = tuple[list[Any], bytes | None, type[SamaraError] | None]


def _hear(parts: Iterator[memoryview], hear: Callable[[memoryview], list[Any]], out: Callable[[], bytes]) -> Heard:
    """Return the events, what is to be sent, and the error that ended it; nothing but the error when there is one."""
    events: list[Any] = []
    try:
        for part in parts:
            events += hear(part)
    except RemoteProtocolError as error:
        return [], None, type(error)
    return events, out(), None


# The transport.

_SEED, _STATIC, _EPHEMERAL = b"\1" * 32, b"\2" * 32, b"\3" * 32
_ALICE: Final = Identity(_SEED, ("/yamux/1.0.0",))


class _Claims(Identity):
    """Says in the handshake whatever it is told to."""

    said: bytes = b""

    def payload(self, static: bytes) -> bytes:
        return self.said


@_target(RemoteProtocolError)
def _noise(data: bytes) -> None:
    """Raw bytes to both sides; payloads that are sealed right and say anything; records, changed and unchanged."""
    mode, rest = _first(data)
    suite = AES if mode & 1 else CHACHA
    match mode >> 1 & 3:
        case 0:
            _handshake_of_pieces(data[:1] + rest)
        case 1:
            verify_payload(rest, _STATIC)
        case 2:
            claims = _Claims(b"\4" * 32)
            object.__setattr__(claims, "said", rest[: limits.MAX_HANDSHAKE_MESSAGE - 200])
            theirs = Handshake(suite, claims, b"\5" * 32, b"\6" * 32, initiator=bool(mode & 8))
            ours = Handshake(suite, _ALICE, _STATIC, _EPHEMERAL, initiator=not mode & 8)
            to_us, to_them = theirs.begin(), ours.begin()
            while to_us or to_them:
                to_them += ours.receive(to_us) if to_us else b""
                to_us = theirs.receive(to_them) if to_them else b""
                to_them = b""
            assert ours.secured is not None
        case _:
            _records(mode, rest)


def _handshake_of_pieces(data: bytes) -> None:
    mode, rest = _first(data)
    sizes, rest = _cut(rest)
    suite = AES if mode & 1 else CHACHA

    def heard(parts: Iterator[memoryview]) -> Heard:
        side = Handshake(suite, _ALICE, _STATIC, _EPHEMERAL, initiator=bool(mode & 8))
        side.begin()
        sent = bytearray()

        def hear(part: memoryview) -> list[Any]:
            sent.extend(side.receive(bytes(part)))
            assert side.secured is None, "nobody can finish a handshake without its keys"
            return []

        return _hear(parts, hear, lambda: bytes(sent))

    whole, cut = heard(_pieces([len(rest) or 1], rest)), heard(_pieces(sizes, rest))
    assert whole == cut
    assert whole[1] is None or len(whole[1]) <= 2 * limits.MAX_HANDSHAKE_MESSAGE


def _records(mode: int, rest: bytes) -> None:
    suite = AES if mode & 1 else CHACHA
    opener, key = RecordOpener(suite, _STATIC), _STATIC
    if mode & 8:  # what comes right from the peer, with one bit turned
        place, rest = int.from_bytes(rest[:2], "big"), rest[2:]
        out = memoryview(bytearray(len(rest) + opener.head + 16))
        Sealer(suite, key).seal_into(memoryview(rest), out)
        at = opener.head + place % (len(out) - opener.head)
        room = memoryview(bytearray(len(rest)))
        if mode & 16:
            out[at] ^= 1 + (place & 0x7F)
            try:
                opener.open_into(out, room)
            except RemoteProtocolError:
                return
            raise AssertionError("a record that was changed has opened")
        assert opener.open_into(out, room) == len(rest)
        assert bytes(room) == rest
        return
    view = memoryview(rest)
    while (size := opener.size(view)) is not None and size <= len(view):
        opener.open_into(view[:size], memoryview(bytearray(size)))
        raise AssertionError("a record that nobody sealed has opened")


@_target(RemoteProtocolError)
def _yamux(data: bytes) -> None:
    """Both roles, with streams of ours and wishes in between, whole and in pieces, and the naive reference beside."""
    mode, rest = _first(data)
    sizes, rest = _cut(rest)
    inbound = mode >> 4

    def make() -> Session:
        session = Session(initiator=bool(mode & 1), inbound=inbound)
        for _ in range(mode >> 1 & 3):
            session.open()
        if mode & 8:
            session.finish(1 if mode & 1 else 2)
        return session

    def heard(parts: Iterator[memoryview]) -> Heard:
        session = make()
        events, out, error = _hear(parts, lambda part: plain(session.receive(part)), lambda: session.take_out(1 << 30))
        assert len(session.take_out(1 << 30) if out is None else out) <= limits.MAX_CONTROL_BACKLOG + 24 + 12 * 4
        assert sum(session.is_open(stream) for stream in list(session._streams)) <= inbound + 3
        return joined(events), out, error

    whole, cut = heard(_pieces([len(rest) or 1], rest)), heard(_pieces(sizes, rest))
    assert whole == cut
    _compare_with_naive(mode, inbound, rest, whole)


def _compare_with_naive(mode: int, inbound: int, data: bytes, heard: Heard) -> None:
    end = frames = 0
    while len(data) >= end + 12:
        length = int.from_bytes(data[end + 8 : end + 12], "big") if data[end + 1] == 0 else 0
        if len(data) < end + 12 + length:
            return  # it has heard part of a body that the reference has not
        end, frames = end + 12 + length, frames + 1
    if frames > limits.MAX_CONTROL_BACKLOG // 12:
        return  # the reference knows no bounds on what is asked
    naive = NaiveYamux(bool(mode & 1), inbound)
    for number in range(mode >> 1 & 3):
        naive.open(2 * number + (1 if mode & 1 else 2))
    if mode & 8:
        naive.finish(1 if mode & 1 else 2)
    try:
        naive.hear(data[:end])
    except Broken:
        assert heard[2] is RemoteProtocolError
    else:
        assert heard[2] is None
        assert heard[0] == joined(naive.events)


@_target(RemoteProtocolError)
def _multistream(data: bytes) -> None:
    mode, rest = _first(data)
    sizes, rest = _cut(rest)

    def heard(parts: Iterator[memoryview]) -> Heard:
        side = Opener("/a/1", "/b/1") if mode & 1 else Acceptor(lambda text: text.startswith("/a"))
        sent = bytearray(side.begin())

        def hear(part: memoryview) -> list[Any]:
            if side.protocol is None:
                sent.extend(side.receive(bytes(part)))
            else:
                late.extend(part)
            return []

        late = bytearray()
        events, out, error = _hear(parts, hear, lambda: bytes(sent))
        assert len(sent) <= (limits.MAX_NEGOTIATIONS + 3) * (limits.MAX_NEGOTIATION + 2)
        if error is None:
            events = [side.protocol, side.rest + bytes(late)]
            assert side.protocol is None or side.protocol.startswith(("/a", "/b"))
            assert side.protocol is not None or len(side.rest) <= limits.MAX_NEGOTIATION + 2
        return events, out, error

    assert heard(_pieces([len(rest) or 1], rest)) == heard(_pieces(sizes, rest))


# The exchange.

_A, _B = Digest(b"\xaa" * 32), Digest(b"\xbb" * 32)
_HELLO: Final = ExchangeAcceptor(Hello()).hello()


def _asked() -> list[Request]:
    content = ContentId(_A)
    return [
        say.Want(id=1, content=content, stream=1, first=4, count=3, encodings=(0,)),
        say.GetNodes(id=2, content=content, hashes=(_A, _B)),
        say.HaveRequest(id=3, content=content, stream=1),
        say.GetRecords(id=4, release=ReleaseId(_A), ahead=100),
        say.GetLog(id=5, publisher=PublisherId(_A), root=1, first=5),
    ]


@_target(RemoteProtocolError)
def _exchange_opener(data: bytes) -> None:
    mode, rest = _first(data)
    sizes, rest = _cut(rest)

    def heard(parts: Iterator[memoryview], *, in_place: bool = False) -> Heard:
        side = ExchangeOpener(Hello())
        side.hello()
        if mode & 1:
            side.receive(_HELLO)
            for request in _asked():
                side.ask(request)
            if mode & 2:
                side.cancel(1 + (mode >> 2) % 5)
        elif mode & 2:  # before HELLO
            side.ask(say.GetRecords(id=1, release=ReleaseId(_A)))
            if mode & 4:
                side.cancel(1)

        def hear(part: memoryview) -> list[Any]:
            events: list[Any] = []
            while part:
                room = side.writable() if in_place else None
                if room is None:
                    taken = part[:1] if in_place else part
                    events += side.receive(taken)
                else:
                    taken = part[: len(room)]
                    room[: len(taken)] = taken
                    events += side.wrote(len(taken))
                part = part[len(taken) :]
            return [
                (event.answer, bytes(event.payload), event.last) if isinstance(event, Answered) else event
                for event in events
            ]

        told = _hear(parts, hear, lambda: b"")
        assert side.outstanding <= limits.MAX_OUTSTANDING
        return told

    whole = heard(_pieces([len(rest) or 1], rest))
    assert whole == heard(_pieces(sizes, rest))
    assert whole == heard(_pieces(sizes, rest), in_place=True)


@_target(RemoteProtocolError)
def _exchange_acceptor(data: bytes) -> None:
    mode, rest = _first(data)
    sizes, rest = _cut(rest)

    def heard(parts: Iterator[memoryview]) -> Heard:
        side = ExchangeAcceptor(Hello(max_outstanding=2 if mode & 2 else limits.MAX_OUTSTANDING))
        side.hello()
        if mode & 1:
            side.receive(_HELLO)

        def hear(part: memoryview) -> list[Any]:
            events = side.receive(part)
            if mode & 4:  # what is asked is answered at once
                for event in events:
                    if isinstance(event, Request) and side.is_outstanding(event.id) and not side.is_cancelled(event.id):
                        answers.extend(side.answer(say.NotFound(event.id)))
            return list(events)

        answers = bytearray()
        told = _hear(parts, hear, lambda: b"" if mode & 4 else bytes(answers))
        assert side.outstanding <= (2 if mode & 2 else limits.MAX_OUTSTANDING)
        return told

    if mode & 4:  # when answers go out depends on the pieces, and with them what is refused
        heard(_pieces(sizes, rest))
    else:
        assert heard(_pieces([len(rest) or 1], rest)) == heard(_pieces(sizes, rest))


# Messages of the network.

_FOLLOWED: Final = (topic_of(PublisherId(_A)), topic_of(PublisherId(_B)))
_HERE: Final = (parse_address("/ip4/10.0.0.1/tcp/4001"), parse_address("/ip4/10.0.0.2/tcp/4001"))


@_target(RemoteProtocolError)
def _kad(data: bytes) -> None:
    message = kad.decode(data)
    assert len(message.closer) <= limits.KAD_BUCKET >= len(message.providers)
    assert all(len(contact.addresses) <= limits.MAX_PEER_ADDRESSES for contact in (*message.closer, *message.providers))
    assert kad.decode(kad.encode(message)) == message


@_target(RemoteProtocolError)
def _identify(data: bytes) -> None:
    told = decode_identify(data)
    assert len(told.agent) <= limits.MAX_AGENT
    assert len(told.protocols) <= limits.MAX_PROTOCOLS
    assert len(told.addresses) <= limits.MAX_PEER_ADDRESSES
    again = decode_identify(encode_identify(told, b""))
    assert (again.agent, again.addresses, again.observed) == (told.agent, told.addresses, told.observed)
    assert again.protocols == told.protocols


@_target(RemoteProtocolError)
def _reach(data: bytes) -> None:
    mode, rest = _first(data)
    if mode & 1:
        answer = decode_answer(rest, _HERE)
        assert answer.address is None or answer.address in _HERE
        assert decode_answer(encode_answer(answer), _HERE) == answer
    else:
        asked = decode_request(rest)
        assert decode_request(encode_request(asked)) == asked
        assert len(to_dial(asked, _HERE[0])) <= limits.REACH_DIALS


@_target(RemoteProtocolError)
def _gossip(data: bytes) -> None:
    """RPCs one after another, of one peer and of another, to a router that follows some topics."""
    router = gossip.Router(random.Random(1), is_topic)
    router.follow(dict(zip(_FOLLOWED, (True, False), strict=True)), 0.0)
    for now in itertools.count():
        size, data = int.from_bytes(data[:2], "little"), data[2:]
        part, data = data[:size], data[size:]
        if not part:
            return
        said = gossip.decode_rpc(part)
        again = gossip.decode_rpc(gossip.encode_rpc(said))
        assert (again.subscriptions, again.messages, again.graft) == (said.subscriptions, said.messages, said.graft)
        assert (again.ihave, again.iwant) == (said.ihave, said.iwant)
        assert all(len(topic.encode()) <= limits.MAX_GOSSIP_TOPIC for topic in said.subscriptions)
        peer = "ab"[now % 2]
        router.meet(peer, now, outbound=True)
        router.receive(peer, said, now)
        while (unchecked := router.next_unchecked()) is not None:
            assert unchecked.topic in _FOLLOWED
            look = look_at(publisher_of(unchecked.topic), unchecked.data)
            assert bool(look.wrong) == (look.item is None)
            router.judge(unchecked, gossip.Verdict.REJECT if look.wrong else gossip.Verdict.ACCEPT, now)
        for _, rpcs in router.drain():
            assert all(len(rpc) <= limits.MAX_GOSSIP_RPC and gossip.decode_rpc(rpc).parts for rpc in rpcs)
        router.tick(now)
        assert router.mesh(_FOLLOWED[0]) <= {"a", "b"}
        assert router.held < 2000


@_target(RecordFileError)
def _gossip_item(data: bytes) -> None:
    item = decode_item(PublisherId(_A), data)
    assert encode_item(item.kind, item.data) == data
    assert look_at(PublisherId(_A), data).item in (None, item)


@_target(RemoteProtocolError)
def _mates(data: bytes) -> None:
    mode, rest = _first(data)
    if mode & 1:
        content = decode_mates_request(rest)
        assert decode_mates_request(encode_mates_request(content)) == content
        return
    told = decode_mates(rest)
    assert len(told) <= limits.MAX_MATES
    assert decode_mates(encode_mates(told)) == told
    for contact in told:
        assert (
            len(to_tell(contact.addresses, _HERE[0], Scope.PRIVATE, dialled=bool(mode & 2)))
            <= limits.MAX_MATE_ADDRESSES
        )
        assert len(to_believe(contact.addresses, Scope.PRIVATE)) <= limits.MAX_MATE_ADDRESSES


@_target(AddressError)
def _addresses(data: bytes) -> None:
    binary = decode_address(data)
    if binary is not None:
        assert decode_address(binary.encode()) == binary
        assert parse_address(str(binary)) == binary
    if 0 < len(data) < 64:
        try:
            peer = format_peer_id(data)
        except AddressError:
            pass
        else:
            assert parse_peer_id(peer) == data
    _text_address(data.decode("utf-8", "surrogateescape"))


def _text_address(text: str) -> None:
    try:
        peer = parse_peer_id(text)
    except AddressError:
        pass
    else:
        assert format_peer_id(peer) == text
    address: Address = parse_address(text)
    assert parse_address(str(address)) == address
    assert decode_address(address.encode()) == address


# Records and content.

_KEY: Final = dsse.SigningKey(b"\7" * 32)
_CHAIN: Final = PublisherChain.verify([make_genesis([_KEY])])
_OMS_KEY: Final = OmsKey(hashlib.sha256(b"samara vector oms key anna").digest()).public
"""The key of specs/vectors/oms.json: some of its files are right, until a mutation."""
_HEAD: Final = make_head(
    _CHAIN,
    name="tiny-llama",
    release=b"{}",
    previous=None,
    issued="2026-01-01T00:00:00Z",
    keys=[_KEY],
    place=Place.first(),
)


@_target(RecordError)
def _json(data: bytes) -> None:
    value = strictjson.loads(data, max_bytes=limits.MAX_ENVELOPE)
    assert json.loads(data) == value
    assert strictjson.loads(strictjson.dumps(value), max_bytes=limits.MAX_ENVELOPE) == value


@_target(RecordError)
def _envelope(data: bytes) -> None:
    envelope = dsse.Envelope.decode(data)
    assert dsse.Envelope.decode(envelope.encode()) == envelope
    signed = dsse.signers(envelope)
    assert signed <= {signature.keyid for signature in envelope.signatures}


@_target(RecordError)
def _records_of_a_publisher(data: bytes) -> None:
    """A payload that the publisher's own key has signed, as each kind of record."""
    mode, rest = _first(data)
    if not rest:
        return
    envelope = dsse.sign(rest, [_KEY]).encode()
    match mode % 4:
        case 0:
            chain = PublisherChain.verify([*_CHAIN.envelopes, envelope])
            assert chain.publisher == _CHAIN.publisher
        case 1:
            PublisherChain.verify([envelope])
        case 2:
            verified = verify_release_envelope(envelope, _CHAIN)
            assert verified.payload == rest
        case _:
            head = verify_head(envelope, _CHAIN)
            assert head.payload == rest


@_target(RecordError, PathError)
def _oms(data: bytes) -> None:
    """A signature file, a statement that the right key has signed, or a key as a record holds it."""
    mode, rest = _first(data)
    if mode % 3 == 2:
        public = OmsPublicKey.from_spki(rest)
        assert OmsPublicKey.from_pem(public.pem).spki == OmsPublicKey.from_spki(public.spki).spki == public.spki
    elif mode % 3:
        manifest = Manifest.decode(rest)
        assert Manifest.decode(manifest.encode()) == manifest
        found = {path: digest for path, digest in manifest.resources.items() if path != "."}
        assert compare(manifest, found).ok == bool(found)
    else:
        bundle = Bundle.decode(rest)
        assert Bundle.decode(bundle.encode()) == bundle
        bundle.open(_OMS_KEY)


@_target(RecordError)
def _records_of_a_log(data: bytes) -> None:
    """A payload that the publisher's own key has signed, as a record of its log: alone, and after one that is known."""
    mode, rest = _first(data)
    if not rest:
        return
    envelope = dsse.sign(rest, [_KEY]).encode()
    entry = verify_entry(envelope, _CHAIN)
    assert entry.envelope == envelope
    assert entry.id == digest(rest)
    ledger = Ledger(_CHAIN)
    if mode & 1:
        ledger.admit(_HEAD.envelope)
    try:
        assert ledger.admit(envelope).new or entry.id == _HEAD.id
    except ForkError:
        fork = ledger.fork
        assert fork is not None
        assert verify_fork(ForkProof.decode(fork.proof.encode()), _CHAIN)[0] == fork
    assert not ledger.admit(envelope).new if ledger.fork is None else ledger.forks
    assert len(ledger.missing()) <= 2
    assert sum(1 for _ in ledger.log()) <= 2


@_target(RecordError)
def _fork_proof(data: bytes) -> None:
    proof = ForkProof.decode(data)
    assert proof.encode() == data
    fork, *_ = verify_fork(proof, _CHAIN)
    assert verify_fork(ForkProof(proof.second, proof.first), _CHAIN)[0].id == fork.id


@_target(UsageError)
def _trust_toml(data: bytes) -> None:
    policy = Policy.parse(data.decode("utf-8", "surrogateescape"))
    assert len(policy.rules) <= limits.MAX_TRUST_RULES
    decided = policy.rule_for("b" * 61, "anna", "tiny")
    assert not (decided.tofu and decided.keys)
    assert 0 <= decided.threshold <= len(decided.keys)


@_target(RecordError)
def _record_file(data: bytes) -> None:
    sizes, rest = _cut(data)

    def read(parts: Iterator[memoryview]) -> tuple[list[Item], bool]:
        reader, items = RecordFileReader(), list[Item]()
        try:
            for part in parts:
                items += reader.receive(part)
            reader.finish()
        except RecordFileError:
            return items, False
        return items, True

    items, whole = read(_pieces([len(rest) or 1], rest))
    # Whole or in pieces, the same is refused, and what came before the place where it is wrong stands.
    assert read(_pieces(sizes, rest)) == (items, whole)
    if whole:
        assert _written(items) == rest
    for item in items:
        if item.kind is ItemKind.FORK:
            ForkProof.decode(item.data)


def _written(items: list[Item]) -> bytes:
    """Write anew what was read."""
    writer = RecordFileWriter()
    data = writer.begin()
    for publisher, group in itertools.groupby(items, lambda item: item.publisher):
        of = {kind: [item.data for item in given] for kind, given in itertools.groupby(group, lambda item: item.kind)}
        proofs = [ForkProof.decode(proof) for proof in of.get(ItemKind.FORK, [])]
        log = LogPage(
            roots=tuple(of[ItemKind.ROOT]),
            forks=tuple((proof.first, proof.second) for proof in proofs),
            entries=tuple(of.get(ItemKind.RECORD, [])),
        )
        data += writer.publisher(publisher, log)
    return data + writer.end()


@_target(VerificationError)
def _announced_head(data: bytes) -> None:
    decode_announced_head("/head/" + "0" * 64, data)


@_target(VerificationError)
def _announced_log(data: bytes) -> None:
    whole = data + b"\0" + (32).to_bytes(4, "little") + digest(data)  # what has another end is not looked at
    key = log_key(data[17:49])
    found = decode_announced_log(key, whole)
    assert best_announced_log(key, [whole, whole]) == 0
    assert found.page.roots


@_target(NodeError)
def _chunk_list(data: bytes) -> None:
    node = Node.decode(data)
    assert node.encode() == data
    assert sum(length for _, length in node.children()) == node.length
    for verifier in (
        ListVerifier.for_table(ContentId(digest(data))),
        ListVerifier.for_file(digest(data), node.length, Digest(bytes(32))),
    ):
        verifier.add(data)
        assert len(verifier.wanted()) <= limits.MAX_NODE_ENTRIES
        if verifier.complete:
            assert verifier.chunks().size == node.length


@_target(TableError, PathError)
def _file_table(data: bytes) -> None:
    table = FileTable.decode(data)
    entries = list(table)
    assert table.encode() == data
    assert FileTable.of(reversed(entries)) == table
    assert [table.find(entry.path) for entry in entries] == list(range(len(entries)))
    assert sum(entry.size for entry in entries) == table.size


@_target(StickError, RecordError)
def _stick(data: bytes) -> None:
    commit = Commit.decode(data)
    if commit is not None:
        assert Commit.decode(commit.encode()) == commit
    is_mark(data)


# Model files.

_MOST_SPARSE: Final = 1 << 22
_MOST_CUT: Final = 1 << 16


def _sparse(data: bytes) -> tuple[int, Callable[[int, int], bytes], bytes]:
    """Return the size of a file that begins with these bytes and goes on with zeros, and how it is read."""
    more, rest = int.from_bytes(data[:3], "big") % _MOST_SPARSE, data[3:]
    size = len(rest) + more
    return size, lambda offset, length: rest[offset : offset + length].ljust(min(length, size - offset), b"\0"), rest


@_target(ModelHeaderError)
def _model_header(data: bytes) -> None:
    size, read_at, _ = _sparse(data)

    def read(offset: int, length: int) -> bytes:
        assert 0 <= offset <= size
        assert 0 <= length <= size - offset + 16
        return read_at(offset, length)

    facts = read_facts(read, size)
    if facts is not None:
        assert 0 < facts.header_bytes <= size
        assert 0 <= facts.tensor_bytes <= size
        assert facts.name is None or len(facts.name) <= 12 * limits.MAX_SHOWN_TEXT


@_target(DataHeaderError)
def _parquet(data: bytes) -> None:
    reads = 0

    def read(offset: int, length: int) -> bytes:
        nonlocal reads
        assert 0 <= offset <= offset + length <= len(data)
        reads += 1
        return data[offset : offset + length]

    found = read_parquet(read, len(data))
    assert reads <= 3 + 2 * limits.MAX_PARQUET_COLUMNS * limits.MAX_PARQUET_PAGES
    assert all(len(column.pages) <= limits.MAX_PARQUET_PAGES for column in found.columns)
    assert how_cut(found) in Cut


@_target()
def _layout(data: bytes) -> None:
    """A file of any bytes has chunks, the same ones however it is read."""
    size, read_at, rest = _sparse(data)
    for find in (layout_safetensors, layout_gguf):
        layout = find(size, read_at)
        if layout is not None:
            assert 0 < layout.header <= size
            starts = list(layout.starts)
            assert starts == sorted(set(starts))
            assert not starts or (starts[0] == layout.header and starts[-1] < size)
            _check_ends(size, list(layout.data_ends()), layout.header)
            _check_cuts(layout, rest)
    _check_cuts(generic(size), rest)


def _check_ends(size: int, ends: list[int], before: int) -> None:
    for end in ends:
        assert 0 < end - before <= limits.MAX_CHUNK
        before = end
    assert before == size


def _check_cuts(layout: Layout, rest: bytes) -> None:
    if layout.size > _MOST_CUT:
        return
    whole = rest.ljust(layout.size, b"\0")
    sizes = [max(1, byte) << 6 for byte in rest[:4]] or [1]
    told: list[list[int]] = []
    for parts in ([memoryview(whole)], _pieces(sizes, whole)):
        cutter, ends = Cutter(layout), list[int]()
        for part in parts:
            ends += cutter.feed(part)
        told.append(ends + cutter.finish())
    assert told[0] == told[1]
    _check_ends(layout.size, told[0], 0)


# Chunks in transfer.

_MOST_NAIVE: Final = 4096
"""Bytes of a chunk up to which the reference is asked, too, which takes a microsecond a byte."""


def _chunk(encoding: codec.Encoding, length: int, payload: bytes) -> None:
    """Decode a payload, as the reference does; the base, if there is one, is the payload again and again."""
    base = (payload * (length // max(1, len(payload)) + 1))[:length] if encoding is codec.Encoding.DELTA else None
    try:
        raw = bytes(codec.decode(encoding, payload, length, base))
    except EncodingError:
        if length <= _MOST_NAIVE:
            with contextlib.suppress(naive_encodings.Broken):
                naive_encodings.decode(encoding, payload, length, base)
                raise AssertionError("the reference takes what was refused") from None
        raise
    assert len(raw) == length
    if length <= _MOST_NAIVE:
        assert raw == naive_encodings.decode(encoding, payload, length, base)


def _words(data: bytes) -> tuple[WordLayout, bytes]:
    kind, rest = _first(data)
    start, rest = _first(rest)
    words = Words(1 + kind % 5)
    fields = tuple(1 + byte % 40 for byte in rest[: 1 + kind // 16]) or (1,)
    return WordLayout(words, start % 64, fields if words is Words.BLOCKS else ()), rest


def _length(data: bytes) -> tuple[int, bytes]:
    return int.from_bytes(data[:3], "big") % (limits.MAX_CHUNK + 2), data[3:]


@_target(DeltaError)
def _delta_pack(data: bytes) -> None:
    """The head of a pack, in a file of the size that it states, or of any."""
    mode, rest = _first(data)
    size = deltapack.head_size(rest[: deltapack.FIXED])
    assert size <= limits.MAX_DELTA_HEAD
    head, after = rest[:size], len(rest) - size
    if mode & 1 and len(head) == size:
        count = int.from_bytes(head[deltapack.FIXED - 4 : deltapack.FIXED], "little")
        after = sum(int.from_bytes(head[at + 8 : at + 12], "little") for at in range(size - 77 * count, size, 77))
    pack = deltapack.decode(head, size + after)
    assert pack.entries.end == size + after
    assert deltapack.encode(pack.target, pack.base, pack.records, pack.table, pack.nodes, pack.entries) == head


@_target(EncodingError)
def _encodings_planes(data: bytes) -> None:
    """A payload of any bytes, and a chunk of any bytes there and back."""
    mode, rest = _first(data)
    if mode & 1:
        layout, raw = _words(rest)
        payload = planes.encode(raw, layout)
        assert payload is None or planes.decode(memoryview(payload), len(raw)) == raw
        return
    _chunk(codec.Encoding.PLANES, *_length(rest))


@_target(EncodingError)
def _encodings_delta(data: bytes) -> None:
    mode, rest = _first(data)
    if mode & 1:
        layout, both = _words(rest)
        half = len(both) // 2
        base, raw = both[:half], both[half : 2 * half]
        payload = delta.encode(raw, layout, base)
        assert payload is None or delta.decode(memoryview(payload), half, base) == raw
        return
    _chunk(codec.Encoding.DELTA, *_length(rest))


@_target(EncodingError)
def _encodings_text(data: bytes) -> None:
    mode, rest = _first(data)
    if mode & 1:
        assert not rest or text.decode(memoryview(text.encode(rest)), len(rest)) == rest
        return
    _chunk(codec.Encoding.TEXT, *_length(rest))


# Keys, their words and their roots.


@_target(KeyFileError)
def _key_file(data: bytes) -> None:
    """What is refused, is refused before anything is derived: this is quick."""
    with contextlib.suppress(KeyFileError):
        oms = decode_key_file(data, OMS_KEY)
        assert oms.encode() == data
    key = decode_publisher_file(data)
    assert key.encode() == data
    assert len(data) <= MAX_KEY_FILE
    if isinstance(key, SealedKey):
        assert limits.MIN_KEY_LOG_N <= key.log_n <= limits.MAX_KEY_LOG_N


@_target(WordsError)
def _seed_words(data: bytes) -> None:
    seed = word_list().seed_of(data.decode("utf-8", "surrogateescape"))
    assert word_list().seed_of(" ".join(word_list().of_seed(seed))) == seed


@_target(RecordError)
def _root_file(data: bytes) -> None:
    file = RootFile.decode(data)
    again = RootFile.decode(file.encode())
    assert [root.payload for root in again.chain.roots] == [root.payload for root in file.chain.roots]
    assert (again.proposal is None) == (file.proposal is None)
    if file.proposal is not None:
        assert file.proposal.old or file.proposal.new


# What people type, and what they write.


@_target(LinkError)
def _ref(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    links.looks_like_path(text)
    ref = links.parse_ref(text)
    if isinstance(ref, links.LinkRef):
        assert links.Link.decode(ref.link.encode()) == ref.link


@_target()
def _license(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    told = normalise(text)
    assert judge(normalise(told)) is judge(told)
    for found in (license_of_card(data), license_of_text(data)):
        judge(normalise(found))
