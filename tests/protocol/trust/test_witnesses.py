"""Witnesses: how far they have seen a log, and what that says of a release."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from support.publishers import Publisher, key

from samara.protocol import dsse
from samara.protocol.dsse import Envelope
from samara.protocol.errors import EnvelopeError, UsageError
from samara.protocol.ids import format_record
from samara.protocol.limits import MAX_LOG_SEEN, MAX_SIGNATURES
from samara.protocol.trust import Ledger, Policy, Seen, Witness, saw, seen_by
from samara.protocol.trust.passing import page_of, put_together, whole_log
from samara.protocol.trust.recordfile import Item, Kind
from samara.protocol.trust.witnesses import newest_cosigned


def witness(*names: str, threshold: int = 1) -> Witness:
    return Witness(names[0], frozenset(key(name).did for name in names), threshold)


BOB, CAROL = witness("bob"), witness("carol")
KEPT = BOB.keys | CAROL.keys


def cosigned(envelope: bytes, *names: str) -> bytes:
    return dsse.cosign(envelope, [key(name) for name in names])


def positions(seen: Sequence[Seen]) -> dict[str, int]:
    return {one.witness.name: one.position for one in seen}


def ledger_of(anna: Publisher, without: Sequence[int] = (), **signed: Sequence[int]) -> Ledger:
    """A ledger of a log of which witnesses have co-signed the records at some positions, and some are missing."""
    ledger = Ledger(anna.chain, witnesses=KEPT)
    for position, envelope in enumerate(anna.said, 1):
        names = [name for name, signs in signed.items() if position in signs]
        if position not in without:
            ledger.admit(cosigned(envelope, *names) if names else envelope)
    return ledger


def busy(count: int) -> Publisher:
    anna = Publisher.of("anna")
    for number in range(1, count + 1):
        anna.publish(str(number))
    return anna


def test_a_witness_has_seen_all_before_what_it_signed_and_nothing_after() -> None:
    anna = busy(5)
    ledger = ledger_of(anna, bob=[1, 3], carol=[5])
    assert positions(seen_by(ledger, [BOB, CAROL, witness("dora")])) == {"bob": 3, "carol": 5}
    expected = {"1": {"bob": 3, "carol": 5}, "3": {"bob": 3, "carol": 5}, "4": {"carol": 5}, "5": {"carol": 5}}
    found = {version: positions(saw(ledger, "tiny", anna.release(version).id, [BOB, CAROL])) for version in expected}
    assert found == expected
    assert saw(ledger, "tiny", anna.release("6").id, [BOB, CAROL]) == ()


def test_over_a_gap_nothing_is_seen() -> None:
    """What is missing between could lead anywhere; where it leads to the record, it is seen at once."""
    anna = busy(6)
    ledger = ledger_of(anna, without=[4], bob=[6], carol=[3, 6])
    release = anna.release("2").id
    assert positions(saw(ledger, "tiny", release, [BOB, CAROL])) == {"carol": 3}
    ledger.admit(anna.said[3])
    assert positions(saw(ledger, "tiny", release, [BOB, CAROL])) == {"bob": 6, "carol": 6}


def test_of_a_witness_with_a_threshold_enough_keys_must_have_seen_it() -> None:
    anna = busy(4)
    pair = Witness("pair", KEPT, 2)
    ledger = ledger_of(anna, bob=[4], carol=[2])
    assert positions(seen_by(ledger, [pair])) == {"pair": 2}
    assert positions(saw(ledger, "tiny", anna.release("2").id, [pair])) == {"pair": 2}
    assert saw(ledger, "tiny", anna.release("3").id, [pair]) == ()


def test_what_no_head_of_the_log_names_is_not_seen() -> None:
    anna = busy(1)
    unlisted, loose = anna.release("8"), anna.release("9", "other")
    head = anna.head(loose, place=None)
    anna.publish("2")
    ledger = ledger_of(anna, bob=[2])
    ledger.admit(head.envelope)
    assert ledger.head("other") == head
    assert saw(ledger, "tiny", unlisted.id, [BOB]) == ()
    assert saw(ledger, "other", loose.id, [BOB]) == ()


def test_a_release_that_a_name_was_given_back_to_was_seen_when_it_was_new() -> None:
    anna = busy(2)
    anna.head(anna.release("1"))
    ledger = ledger_of(anna, bob=[1])
    assert positions(saw(ledger, "tiny", anna.release("1").id, [BOB])) == {"bob": 1}
    assert saw(ledger, "tiny", anna.release("2").id, [BOB]) == ()


# Signatures of several copies.


def test_witnesses_sign_each_for_itself_and_are_put_together() -> None:
    anna = busy(1)
    (bare,) = anna.said
    ledger = Ledger(anna.chain, witnesses=KEPT)
    ledger.admit(bare)
    assert ledger.admit(cosigned(bare, "bob")).cosigned
    together = ledger.admit(cosigned(bare, "carol", "stranger"))
    assert together.cosigned
    assert frozenset(together.entry.signers.cosigners) == KEPT
    assert together.entry.id == ledger.heads["tiny"].id
    assert Envelope.decode(together.entry.envelope).payload == Envelope.decode(bare).payload
    assert not ledger.admit(cosigned(bare, "bob")).cosigned


def test_joining_two_envelopes() -> None:
    one = dsse.sign(b"payload", [key("a"), key("b")]).encode()
    two = dsse.sign(b"payload", [key("b"), key("c"), key("d")]).encode()
    names = [s.keyid for s in Envelope.decode(dsse.join(one, two, {key("c").did})).signatures]
    assert names == [key(name).did for name in "abc"]
    assert dsse.join(one, two, ()) == one
    with pytest.raises(EnvelopeError, match="different payloads"):
        dsse.join(one, dsse.sign(b"another", [key("a")]).encode(), ())
    full = dsse.sign(b"payload", [key(f"{number}") for number in range(MAX_SIGNATURES)]).encode()
    kept = {key("0").did, key("c").did}
    assert {s.keyid for s in Envelope.decode(dsse.join(full, two, kept)).signatures} == kept
    # Those that were there stay, where all are worth keeping and there is no room.
    everyone = {key(f"{number}").did for number in range(MAX_SIGNATURES)} | {key("c").did}
    assert dsse.join(full, two, everyone) == full


# How they travel.


def test_a_page_brings_the_signatures_that_who_asks_may_not_know() -> None:
    anna = busy(6)
    theirs = ledger_of(anna, bob=[1, 3], carol=[6])
    mine = ledger_of(anna)
    page = page_of(theirs, 1, 7)
    assert [Envelope.decode(e).payload for e in page.entries] == [
        Envelope.decode(anna.said[place]).payload for place in (2, 5)
    ]
    for envelope in page.entries:
        assert mine.admit(envelope).cosigned
    assert positions(seen_by(mine, [BOB, CAROL])) == {"bob": 3, "carol": 6}
    # Beside what was asked for; never what comes anyway, and nothing of those whom nobody there names.
    assert [len(page_of(theirs, 1, first).entries) for first in (1, 3, 4, 6)] == [6, 4, 4, 2]
    strangers = Ledger(anna.chain)
    for envelope in anna.said:
        strangers.admit(cosigned(envelope, "bob"))
    assert page_of(strangers, 1, 7).entries == (cosigned(anna.said[5], "bob"),)


def test_a_page_brings_few_of_them() -> None:
    names = [f"witness-{number}" for number in range(MAX_LOG_SEEN + 4)]
    anna = busy(len(names) + 1)
    ledger = Ledger(anna.chain, witnesses={key(name).did for name in names})
    for name, envelope in zip(names, anna.said, strict=False):
        ledger.admit(cosigned(envelope, name))
    ledger.admit(anna.said[-1])
    assert len(page_of(ledger, 1, len(names) + 2).entries) == MAX_LOG_SEEN + 1
    assert len(newest_cosigned(ledger, 3, 16)) == 2


def test_a_file_keeps_the_signatures_that_its_carrier_does_not_know() -> None:
    """Bob's signature lies on a stick; a carrier who knows no bob writes that stick again."""
    anna = busy(2)
    theirs = whole_log(ledger_of(anna, bob=[2]))
    items = [Item(anna.chain.publisher, Kind.RECORD, envelope) for envelope in theirs.entries]
    carrier = Ledger(anna.chain)
    for envelope in anna.said:
        carrier.admit(envelope)
    put = put_together(anna.chain.publisher, whole_log(carrier), items)
    mine = Ledger(anna.chain, witnesses=KEPT)
    for envelope in put.entries:
        mine.admit(envelope)
    assert positions(seen_by(mine, [BOB])) == {"bob": 2}


# Rules.


def test_a_rule_names_witnesses() -> None:
    ident = format_record(Publisher.of("anna").chain.publisher)
    (rule,) = Policy.parse(f'[[rule]]\nwitnesses = ["bob", "{key("x").did}", "{ident}"]\n').rules
    assert set(rule.witnesses) == {"bob", key("x").did, ident}
    assert rule.witness_threshold == 3
    (rule,) = Policy.parse('[[rule]]\nwitnesses = ["bob", "carol"]\nwitness-threshold = 1\ntofu = true\n').rules
    assert rule.witness_threshold == 1


@pytest.mark.parametrize(
    "fields",
    [
        'witnesses = "bob"',
        'witnesses = ["Bob"]',
        'witnesses = ["*"]',
        'witnesses = [""]',
        "witnesses = [1]",
        'witnesses = ["bob", "bob"]',
        'witnesses = ["did:key:z6Mkx"]',
        'witnesses = ["bob"]\nwitness-threshold = 0',
        'witnesses = ["bob"]\nwitness-threshold = 2',
        'witnesses = ["bob"]\nwitness-threshold = true',
        "witness-threshold = 1",
        f"witnesses = {[f'bob-{number}' for number in range(17)]}",
    ],
)
def test_a_rule_with_wrong_witnesses_is_an_error(fields: str) -> None:
    with pytest.raises(UsageError, match="witness"):
        Policy.parse(f"[[rule]]\n{fields}\n")
