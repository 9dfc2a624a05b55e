"""What a ledger answers; what it refuses is in test_attacks.py."""

from __future__ import annotations

import contextlib
import itertools
import random
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from support.publishers import WHEN, Publisher, key

from samara.protocol import dsse
from samara.protocol.errors import (
    CriticalError,
    ForkError,
    JsonError,
    RecordError,
    RevokedError,
    RollbackError,
    StatementError,
)
from samara.protocol.ids import format_record
from samara.protocol.limits import MAX_COLLECTION, MAX_COLLECTION_PUBLISHERS
from samara.protocol.records import (
    Claim,
    Introduction,
    Listed,
    Place,
    PublisherChain,
    Standing,
    Unread,
    make_collection,
    make_genesis,
    make_key_binding,
    verify_entry,
)
from samara.protocol.records.entry import about_publisher, origin_of, seal_entry
from samara.protocol.trust import ForkKind, ForkProof, Ledger


def test_an_empty_ledger() -> None:
    ledger = Ledger(Publisher.of("anna").chain)
    assert ledger.newest is None
    assert ledger.next_place == Place.first() == ledger.place_after(0)
    for nothing in (ledger.missing(), ledger.forks, ledger.revocations(), ledger.history("tiny")):
        assert nothing == ()
    assert ledger.fork is None
    assert list(ledger.log()) == []
    assert ledger.head("tiny") is None
    assert ledger.key_binding() is None
    with pytest.raises(StatementError, match="no record at position 1"):
        ledger.place_after(1)


def test_a_log_is_read_in_order_from_any_position() -> None:
    anna = Publisher.of("anna")
    for number in range(5):
        anna.publish(str(number))
    ledger = anna.ledger()
    assert [entry.envelope for entry in ledger.log()] == anna.said
    assert [entry.envelope for entry in ledger.log(4)] == anna.said[3:]
    assert ledger.next_place == anna.place
    assert ledger.place_after(5) == anna.place
    assert [head.head.sequence for head in ledger.history("tiny")] == [1, 2, 3, 4, 5]
    assert set(ledger.heads) == {"tiny"}
    assert all(ledger.counts(entry.id) for entry in ledger.log())


def test_gaps_are_told_and_filled() -> None:
    anna = Publisher.of("anna")
    for number in range(12):
        anna.publish(str(number), f"name-{number}")
    ledger = Ledger(anna.chain)
    for position in (2, 5, 6, 11):
        ledger.admit(anna.said[position - 1])
    assert ledger.missing() == ((1, 1), (3, 4), (7, 10))
    assert ledger.missing(1) == ((1, 1),)
    assert ledger.heads.keys() == {"name-1", "name-4", "name-5", "name-10"}
    for envelope in anna.said:
        ledger.admit(envelope)
    assert ledger.missing() == ()
    assert len(ledger.heads) == 12


def test_keys_that_were_replaced_say_nothing_until_something_newer_follows() -> None:
    anna = Publisher.of("anna")
    head = anna.publish("1")
    ledger = anna.ledger()
    ledger.learn_roots(anna.rotate("ben"))
    assert ledger.head("tiny") is None
    assert not ledger.counts(head.id)
    assert ledger.newest is not None  # it is kept, and passed on
    assert ledger.newest.id == head.id
    assert ledger.newest.signers.standing is Standing.RETIRED
    anna.publish("1", "other")
    ledger.admit(anna.said[-1])
    assert ledger.head("tiny") is not None
    assert ledger.counts(head.id)


def test_a_record_in_a_gap_says_nothing_until_it_is_linked() -> None:
    """By a key that was replaced, and not revoked: the thief of it finds a place where nobody looks."""
    anna = Publisher.of("anna")
    anna.publish("1")
    thief = anna.copy()
    anna.publish("2")
    anna.rotate("ben")
    anna.publish("3", "other")
    thief.publish("evil")
    ledger = Ledger(anna.chain)
    ledger.admit(anna.said[2])
    ledger.admit(anna.said[0])
    assert ledger.head("tiny") is None
    with pytest.raises(RollbackError):  # what follows it says that it follows another
        ledger.admit(thief.said[-1])
    assert ledger.head("tiny") is None
    ledger.admit(anna.said[1])
    assert ledger.heads["tiny"].envelope == anna.said[1]


def test_retagging_is_seen_in_the_history() -> None:
    anna = Publisher.of("anna")
    first = anna.release("1")
    anna.head(first)
    anna.head(anna.release("1", issued="2026-05-07T00:00:00Z"))
    anna.head(first)
    releases = [head.head.release for head in anna.ledger().history("tiny")]
    assert releases[0] == releases[2] != releases[1]


def test_heads_outside_the_log_count_as_before() -> None:
    anna = Publisher.of("anna")
    old = anna.publish("1", place=None)
    ledger = Ledger(anna.chain)
    ledger.admit(old.envelope)
    assert ledger.head("tiny") == old
    assert ledger.newest is None
    new = anna.publish("2")  # the first with a place, after one without
    ledger.admit(new.envelope)
    assert ledger.head("tiny") == new
    assert ledger.next_place == anna.place


@pytest.mark.parametrize("place", [True, False], ids=["in the log", "outside"])
def test_a_key_that_is_revoked_loses_its_heads_outside_the_log(place: bool) -> None:
    anna = Publisher.of("anna", "ben")
    changes: dict[str, Any] = {} if place else {"place": None}
    head = anna.publish("1", **changes)
    ledger = Ledger(anna.chain)
    ledger.admit(head.envelope)
    anna.keys = [key("ben")]
    anna.revoke_key("anna", anna.place)
    ledger.admit(anna.said[-1])
    assert (ledger.head("tiny") is not None) is place


def test_a_second_signature_outlives_a_revoked_key() -> None:
    anna = Publisher.of("anna", "ben")
    anna.keys = [key("anna"), key("ben")]
    head = anna.publish("1")
    ledger = anna.ledger()
    anna.keys = [key("ben")]
    anna.revoke_key("anna", Place.first())
    ledger.admit(anna.said[-1])
    assert ledger.head("tiny") == head


def test_a_tighter_revocation_of_a_key_holds_and_a_looser_one_does_not() -> None:
    anna = Publisher.of("anna", "ben")
    anna.publish("1")
    after_first = anna.place
    anna.publish("2")
    after_second = anna.place
    anna.keys = [key("ben")]
    anna.revoke_key("anna", after_first)
    anna.revoke_key("anna", after_second)
    for order in itertools.permutations(anna.said):
        ledger = Ledger(anna.chain)
        for envelope in order:
            with contextlib.suppress(RevokedError):
                ledger.admit(envelope)
        found = ledger.key_revocation(key("anna").did)
        assert found is not None
        assert found.said.through == 1
        assert ledger.heads["tiny"].envelope == anna.said[0]


def binding() -> bytes:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_the_newest_of_each_kind_counts() -> None:
    anna = Publisher.of("anna")
    release = anna.release("1")
    anna.head(release)
    ledger = anna.ledger()
    more: dict[str, Any] = {"issued": WHEN, "keys": anna.keys}

    def admit(envelope: bytes) -> None:
        ledger.admit(envelope)

    listed = Listed(release.id, anna.chain.publisher, "tiny", "1", "a note")
    for title in ("First", "Second"):
        admit(
            make_collection(
                anna.chain,
                place=ledger.next_place,
                name="c",
                title=title,
                entries=[listed],
                publishers=[Introduction(anna.chain.publisher, "anna")],
                **more,
            ).envelope
        )
    assert ledger.collections["c"].said.title == "Second"
    assert ledger.collections["c"].said.entries == (listed,)

    first, second = binding(), binding()
    for public, revoked in ((first, False), (second, False)):
        made = make_key_binding(anna.chain, place=ledger.next_place, key=public, revoked=revoked, **more)
        admit(made.envelope)
    found = ledger.key_binding()
    assert found is not None
    assert found.said.key == second
    admit(make_key_binding(anna.chain, place=ledger.next_place, key=second, revoked=True, **more).envelope)
    assert ledger.key_binding() is None

    anna.place = ledger.next_place
    for claim, text in ((Claim.REVIEWED, None), (Claim.HARMFUL, "it is")):
        admit(anna.attest(release, claim=claim, text=text))
    assert [one.said.claim for one in ledger.attestations(release.id)] == [Claim.REVIEWED, Claim.HARMFUL]


def test_collections_are_bounded() -> None:
    anna = Publisher.of("anna")
    listed = [Listed(anna.release(str(number)).id, anna.chain.publisher, "tiny", str(number)) for number in range(2)]
    more: dict[str, Any] = {"place": Place.first(), "name": "c", "title": "t", "issued": WHEN, "keys": anna.keys}
    assert make_collection(anna.chain, entries=listed, **more)
    with pytest.raises(StatementError, match="entries"):
        make_collection(anna.chain, entries=listed[:1] * (MAX_COLLECTION + 1), **more)
    introduced = [Introduction(anna.chain.publisher, "anna")] * (MAX_COLLECTION_PUBLISHERS + 1)
    with pytest.raises(StatementError, match="publishers"):
        make_collection(anna.chain, entries=[], publishers=introduced, **more)


# What a later version writes.


def unknown(anna: Publisher, kind: str = "urn:samara:vote:1", **said: Any) -> bytes:
    origin = origin_of(anna.chain, anna.place, WHEN)
    return seal_entry(about_publisher(anna.chain), kind, origin, said, anna.keys)


def test_a_kind_that_is_not_known_is_a_link_of_the_log() -> None:
    anna = Publisher.of("anna")
    anna.publish("1")
    envelope = unknown(anna, says="yes")
    ledger = anna.ledger()
    taken = ledger.admit(envelope)
    assert isinstance(taken.entry.said, Unread)
    assert taken.entry.said.kind == "urn:samara:vote:1"
    anna._went_on(taken.entry.id, envelope)
    anna.publish("2")
    ledger.admit(anna.said[-1])
    assert ledger.missing() == ()
    assert ledger.heads["tiny"].head.sequence == 2


def test_a_critical_field_that_is_not_known_keeps_its_place_and_says_nothing() -> None:
    anna = Publisher.of("anna")
    head = anna.publish("1")
    payload = head.payload.replace(b'"critical":[]', b'"critical":["fee"],"fee":1')
    ledger = Ledger(anna.chain)
    assert isinstance(ledger.admit(dsse.sign(payload, anna.keys).encode()).entry.said, Unread)
    assert ledger.head("tiny") is None
    assert ledger.next_place.position == 2
    loose = anna.publish("2", "x", place=None).payload.replace(b'"critical":[]', b'"critical":["fee"],"fee":1')
    with pytest.raises(CriticalError):
        ledger.admit(dsse.sign(loose, anna.keys).encode())


def test_a_kind_that_is_not_known_needs_its_publisher_s_keys_too() -> None:
    anna = Publisher.of("anna")
    payload = dsse.Envelope.decode(unknown(anna)).payload
    with pytest.raises(RecordError, match="0 of the keys"):
        verify_entry(dsse.sign(payload, [key("mallory")]).encode(), anna.chain)


# Orders.


@settings(max_examples=40)
@given(seed=st.integers(0, 1 << 32))
def test_the_order_in_which_records_come_does_not_matter(seed: int) -> None:
    chance = random.Random(seed)
    anna = Publisher.of("k0")
    for step in range(chance.randint(2, 8)):
        match chance.randrange(5):
            case 0:
                anna.rotate(f"k{step + 1}")
            case 1 if anna.heads:
                anna.revoke(anna.heads["tiny"])
            case 2:
                anna.delegate("d", revoked=chance.random() < 0.5)
            case _:
                anna.publish(str(step))
    expected = anna.ledger()
    shuffled = chance.sample(anna.said, len(anna.said))
    ledger = Ledger(anna.chain)
    for envelope in shuffled:
        ledger.admit(envelope)
        assert ledger.missing(0) == ()  # a question between makes no difference
    assert [entry.id for entry in ledger.log()] == [entry.id for entry in expected.log()]
    assert ledger.heads == expected.heads
    assert {r.id for r in ledger.revocations()} == {r.id for r in expected.revocations()}


def test_a_restored_ledger_is_told_of_a_damaged_store() -> None:
    anna = Publisher.of("anna")
    anna.publish("1")
    anna.publish("2")
    proof = ForkProof(anna.said[0], anna.said[1])
    ledger = Ledger.restore(anna.chain, [anna.said[0][:-1], anna.said[1]], [proof])
    assert ledger.heads["tiny"].head.sequence == 2
    assert [(what, type(error)) for what, error in ledger.left_out] == [
        (anna.said[0][:-1], JsonError),
        (proof.encode(), StatementError),
    ]
    assert Ledger.restore(anna.chain, anna.said).left_out == []


def test_roots_of_another_publisher_are_no_roots_here() -> None:
    with pytest.raises(StatementError, match="two publishers"):
        Ledger(Publisher.of("anna").chain).learn_roots(Publisher.of("ben").chain)


def test_a_lifted_fork_stays_known_and_is_not_found_again() -> None:
    anna = Publisher.of("anna")
    other = anna.copy()
    anna.publish("1")
    other.publish("2")
    ledger = anna.ledger()
    with pytest.raises(ForkError):
        ledger.admit(other.said[0])
    (fork,) = ledger.forks
    assert fork.kind is ForkKind.LOG
    assert format_record(fork.id).startswith("b")
    again = Ledger.restore(anna.chain, anna.said, [fork.proof], lifted=[fork.id])
    assert again.fork is None
    assert again.forks == (fork,)
    assert again.admit(other.said[0]).new


def test_a_chain_of_many_keys_is_one_publisher() -> None:
    keys = [key(f"k{number}") for number in range(3)]
    chain = PublisherChain.verify([make_genesis(keys, 2)])
    assert Ledger(chain).publisher == chain.publisher
