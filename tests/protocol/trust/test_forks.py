"""Proofs of forks as bytes, and which pairs are one."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.publishers import Publisher, key

from samara.protocol.errors import EnvelopeError, RecordError, RevokedError, StatementError
from samara.protocol.limits import MAX_FORK_PROOF
from samara.protocol.records import Place
from samara.protocol.trust import ForkKind, ForkProof, Ledger, contradict, verify_fork


@given(st.binary(min_size=1, max_size=60), st.binary(min_size=1, max_size=60))
def test_a_proof_is_read_as_it_was_written(first: bytes, second: bytes) -> None:
    assert ForkProof.decode(ForkProof(first, second).encode()) == ForkProof(first, second)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\1\0\0",
        b"\0\0\0\0\0\0\0\0",
        b"\2\0\0\0a",
        b"\1\0\0\0a",
        b"\1\0\0\0a\1\0\0\0",
        b"\1\0\0\0a\1\0\0\0bc",
        b"\xff\xff\xff\xffa",
        b"a" * (MAX_FORK_PROOF + 1),
    ],
)
def test_what_is_no_proof_is_refused(data: bytes) -> None:
    with pytest.raises(EnvelopeError):
        ForkProof.decode(data)


def test_which_pairs_are_a_fork() -> None:
    anna = Publisher.of("anna")
    one = anna.publish("1")
    first, second, third = anna.copy(), anna.copy(), anna.copy()
    two = first.publish("2")
    twin = second.publish("2b")
    other_name = third.publish("2c", "other")
    three = second.publish("3")
    assert contradict(two, twin) is ForkKind.LOG
    assert contradict(two, other_name) is ForkKind.LOG
    assert contradict(two, three) is contradict(three, two) is ForkKind.LOG
    assert contradict(one, two) is contradict(two, one) is None
    assert contradict(two, two) is None
    assert contradict(one, three) is None  # what lies between is not here
    # Under another root one outranks the other.
    anna.rotate("ben")
    assert contradict(two, anna.publish("2d")) is None


def test_each_side_of_a_proof_is_verified() -> None:
    anna = Publisher.of("anna")
    other = anna.copy()
    one, two = anna.publish("1"), other.publish("2")
    assert verify_fork(ForkProof(one.envelope, two.envelope), anna.chain)[0].kind is ForkKind.LOG
    broken = two.envelope.replace(b'"sig":"', b'"sig":"A', 1)
    for proof in (ForkProof(one.envelope, broken), ForkProof(broken, one.envelope)):
        with pytest.raises(RecordError):
            verify_fork(proof, anna.chain)


def test_a_fork_of_roots_needs_the_root_before_both() -> None:
    anna = Publisher.of("anna")
    first = anna.chain
    other = anna.copy()
    anna.rotate("ben")
    other.rotate("mallory")
    proof = ForkProof(anna.chain.envelopes[1], other.chain.envelopes[1])
    fork, *sides = verify_fork(proof, first)
    assert fork.kind is ForkKind.ROOT
    assert fork.root == 2
    assert sides == []
    later = anna.copy()
    anna.rotate("cleo")
    later.rotate("dora")
    deep = ForkProof(anna.chain.envelopes[2], later.chain.envelopes[2])
    assert verify_fork(deep, anna.chain)[0].root == 3
    with pytest.raises(StatementError, match="only roots"):
        verify_fork(deep, first)
    with pytest.raises(StatementError):  # roots of different versions
        verify_fork(ForkProof(anna.chain.envelopes[1], anna.chain.envelopes[2]), anna.chain)
    with pytest.raises(StatementError):
        verify_fork(ForkProof(anna.chain.envelopes[1], anna.publish("1").envelope), anna.chain)


def test_a_root_that_comes_next_is_verified_alone() -> None:
    anna = Publisher.of("anna")
    before = anna.chain
    after = anna.rotate("ben")
    assert before.followed_by(after.envelopes[1]) == after
    assert after.up_to(1) == before
    with pytest.raises(StatementError):
        before.followed_by(before.envelopes[0])
    with pytest.raises(RecordError):
        before.followed_by(Publisher.of("mallory").rotate("ben").envelopes[1])


def test_two_revoked_keys_of_one_log_share_its_path() -> None:
    """Which record is on the way down from which, for keys revoked at different places, whatever comes first."""
    anna = Publisher.of("anna", "ben", "cleo")
    places: dict[str, Place] = {}
    for name in ("anna", "ben", "anna", "ben", "anna"):
        anna.keys = [key(name)]
        anna.publish(name, name)
        places.setdefault(name, anna.place)
    anna.keys = [key("cleo")]
    anna.revoke_key("ben", places["ben"])
    anna.revoke_key("anna", places["anna"])
    expected = {"anna": 1, "ben": 1}
    for order in itertools.islice(itertools.permutations(anna.said), 0, None, 97):
        ledger = _heard(anna, order)
        assert {name: head.head.sequence for name, head in ledger.heads.items()} == expected


def _heard(anna: Publisher, order: Sequence[bytes]) -> Ledger:
    ledger = Ledger(anna.chain)
    for envelope in order:
        with contextlib.suppress(RevokedError):
            ledger.admit(envelope)
    return ledger
