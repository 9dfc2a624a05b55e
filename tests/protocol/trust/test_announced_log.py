"""Logs as the DHT keeps them: what a value tells, what is refused, and which one is the best."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.publishers import Publisher

from samara.protocol.errors import SamaraError, VerificationError
from samara.protocol.ids import PublisherId, ReleaseId, digest
from samara.protocol.limits import MAX_ANNOUNCED_LOG, MAX_KAD_VALUE
from samara.protocol.ports import LogPage
from samara.protocol.records import Listed
from samara.protocol.routing import log_key
from samara.protocol.trust import ForkProof, Ledger
from samara.protocol.trust.announced import best_announced_log, decode_announced_log, encode_announced_log
from samara.protocol.trust.recordfile import RecordFileWriter


def value(publisher: Publisher | Ledger) -> bytes:
    found = encode_announced_log(publisher if isinstance(publisher, Ledger) else publisher.ledger())
    assert found is not None
    return found


def place(publisher: Publisher) -> str:
    return log_key(publisher.chain.publisher)


def written(publisher: Publisher, page: LogPage) -> bytes:
    writer = RecordFileWriter()
    whole = dataclasses.replace(page, roots=publisher.chain.envelopes)
    return writer.begin() + writer.publisher(publisher.chain.publisher, whole) + writer.end()


def heard(publisher: Publisher, data: bytes) -> Ledger:
    """What somebody knows who was told nothing else."""
    found = decode_announced_log(place(publisher), data)
    ledger = Ledger(publisher.chain)
    for envelope in found.page.revocations:
        ledger.admit(envelope)
    for pair in found.page.forks:
        ledger.admit_fork(ForkProof(*pair))
    return ledger


def test_it_tells_what_was_taken_back_and_the_checkpoint() -> None:
    anna = Publisher.of("anna")
    bad = anna.release("1")
    anna.head(bad)
    anna.revoke(bad)
    anna.publish("2")
    last = anna.publish("3")
    told = heard(anna, value(anna))
    assert told.revocation(bad.id) is not None
    assert told.newest is not None
    assert told.newest.id == last.id
    assert told.missing() == ((1, 1), (3, 3)), "what is not told is seen to be missing"


def test_it_tells_a_fork() -> None:
    anna = Publisher.of("anna")
    thief = anna.copy()
    anna.publish("1", "mine")
    thief.publish("1", "theirs")
    ledger = anna.ledger()
    with pytest.raises(SamaraError):
        ledger.admit(thief.said[-1])
    assert heard(anna, value(ledger)).fork is not None


def test_it_survives_a_rotation_and_a_revoked_key() -> None:
    anna = Publisher.of("anna")
    bad = anna.release("1")
    anna.head(bad)
    anna.revoke(bad)
    last = anna.place
    anna.rotate("anna2")
    anna.revoke_key("anna", last)
    told = heard(anna, value(anna))
    assert told.revocation(bad.id) is not None
    assert told.key_revocation(told.chain.roots[0].root.keys[0]) is not None


def test_nothing_was_said_is_no_value() -> None:
    assert encode_announced_log(Publisher.of("anna").ledger()) is None


def test_of_many_revocations_the_newest_are_told_and_it_fits() -> None:
    anna = Publisher.of("anna")
    bad = [anna.release(str(number)) for number in range(MAX_ANNOUNCED_LOG + 40)]
    for release in bad:
        anna.revoke(release, text="x" * 250)
    data = value(anna)
    assert len(data) <= MAX_KAD_VALUE
    told = heard(anna, data)
    known = [told.revocation(release.id) is not None for release in bad]
    assert known == sorted(known), "the oldest are left out"
    assert 40 <= sum(known) <= MAX_ANNOUNCED_LOG


@pytest.mark.parametrize("entries", [300, 1000])
def test_a_long_collection_takes_no_place_of_what_was_taken_back(entries: int) -> None:
    anna = Publisher.of("anna")
    bad = [anna.release(str(number)) for number in range(MAX_ANNOUNCED_LOG - 1)]
    for release in bad:
        anna.revoke(release)
    before = value(anna)
    ids = [digest(b"%d" % number) for number in range(entries)]
    listed = [Listed(ReleaseId(one), PublisherId(one), "a-model", "1.0", "a note " * 20 + ".") for one in ids]
    anna.collect("best", listed)
    told = heard(anna, value(anna))
    assert all(told.revocation(release.id) is not None for release in bad)
    assert best_announced_log(place(anna), [before, value(anna)]) == 0, "what says no more replaces nothing"
    last = anna.publish("1")
    told = heard(anna, value(anna))
    assert told.newest is not None
    assert told.newest.id == last.id


def test_newer_outranks_older_and_more_outranks_less() -> None:
    anna = Publisher.of("anna")
    bad = anna.release("1")
    anna.head(bad)
    first = value(anna)
    anna.revoke(bad)
    second = value(anna)
    anna.publish("2")
    third = value(anna)
    tip = anna.said[-1]
    stripped = written(anna, LogPage(entries=(tip,)))
    anna.rotate("anna2")
    fourth = value(anna)
    ranked = [first, second, stripped, third, fourth]
    for index, worse in enumerate(ranked):
        for better in ranked[index + 1 :]:
            assert best_announced_log(place(anna), [worse, better]) == 1
            assert best_announced_log(place(anna), [better, worse]) == 0
    assert best_announced_log(place(anna), [first, first]) == 0


def test_a_thief_of_replaced_keys_outranks_nothing() -> None:
    anna = Publisher.of("anna")
    anna.publish("1")
    thief = anna.copy()
    anna.rotate("anna2")
    anna.publish("2")
    mine = value(anna)
    for number in range(5):
        thief.publish(str(number))
    theirs = written(anna, LogPage(entries=(thief.said[-1],)))
    assert best_announced_log(place(anna), [theirs, mine]) == 1


def test_another_publisher_s_place_is_refused() -> None:
    anna, ben = Publisher.of("anna"), Publisher.of("ben")
    anna.publish("1")
    with pytest.raises(VerificationError, match="another publisher"):
        decode_announced_log(place(ben), value(anna))


def test_what_is_too_much_too_little_or_contradicts_itself_is_refused() -> None:
    anna = Publisher.of("anna")
    thief = anna.copy()
    anna.publish("1", "mine")
    thief.publish("1", "theirs")
    key = place(anna)
    for page in (
        LogPage(),
        LogPage(entries=(anna.said[0], thief.said[0])),
        LogPage(forks=((anna.said[0], anna.said[0]),)),
        LogPage(forks=((anna.said[0], thief.said[0]),) * 17),
        LogPage(entries=(anna.chain.envelopes[0],)),
    ):
        with pytest.raises(VerificationError):
            decode_announced_log(key, written(anna, page))
    for _ in range(MAX_ANNOUNCED_LOG):
        anna.attest(anna.release("1"))
    with pytest.raises(VerificationError, match="too much"):
        decode_announced_log(key, written(anna, LogPage(entries=tuple(anna.said))))


def test_every_cut_and_every_changed_byte_is_refused() -> None:
    anna = Publisher.of("anna")
    anna.revoke(anna.release("1"))
    whole = value(anna)
    for at in range(0, len(whole), 5):
        changed = bytearray(whole)
        changed[at] ^= 1
        for wrong in (whole[:at], bytes(changed)):
            with pytest.raises(VerificationError):
                decode_announced_log(place(anna), wrong)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_by_type(data: bytes) -> None:
    with pytest.raises(VerificationError):
        decode_announced_log(place(Publisher.of("anna")), data)
