"""Heads as the DHT keeps them: what is refused, and which one is the newest."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samara.protocol.dsse import SigningKey
from samara.protocol.errors import SamaraError, VerificationError
from samara.protocol.ids import ReleaseId, digest
from samara.protocol.records import (
    Delegation,
    Place,
    PublisherChain,
    Verified,
    VerifiedHead,
    make_delegation,
    make_genesis,
    make_head,
    make_next_root,
)
from samara.protocol.records.announced import (
    decode_announced,
    decode_announced_head,
    encode_announced_head,
    newest_announced,
)
from samara.protocol.routing import head_key

KEY = SigningKey(bytes(range(32)))
CHAIN = PublisherChain.verify([make_genesis([KEY])])
PLACE = head_key(CHAIN.publisher, "tiny")


def head(previous: VerifiedHead | None = None, name: str = "tiny", release: bytes = b"{}") -> VerifiedHead:
    return make_head(CHAIN, name=name, release=release, previous=previous, issued="2026-11-01T00:00:00Z", keys=[KEY])


def value(of: VerifiedHead) -> bytes:
    return encode_announced_head(CHAIN.envelopes, of.envelope)


OTHER, DELEGATE = SigningKey(bytes([1] * 32)), SigningKey(bytes([2] * 32))


def delegated(names: Sequence[str] = ("tiny*",)) -> tuple[Verified[Delegation], dict[bytes, Verified[Delegation]]]:
    given = make_delegation(
        CHAIN,
        place=Place.first(),
        names=names,
        delegates=[DELEGATE.did],
        issued="2026-11-01T00:00:00Z",
        keys=[KEY],
    )
    return given, {given.id: given}


def delegates_head(under: dict[bytes, Verified[Delegation]], previous: VerifiedHead | None = None) -> VerifiedHead:
    return make_head(
        CHAIN, name="tiny", release=b"{}", previous=previous, issued="2026-11-01T00:00:00Z", keys=[DELEGATE],
        delegation=next(iter(under)), delegations=under,
    )  # fmt: skip


def test_what_was_announced_is_found() -> None:
    first = head()
    assert decode_announced_head(PLACE, value(first)).head.release == ReleaseId(digest(b"{}"))


def test_the_higher_sequence_is_the_newest_wherever_it_stands() -> None:
    first = head()
    second = head(first, release=b"[]")
    assert newest_announced(PLACE, [value(first), value(second)]) == 1
    assert newest_announced(PLACE, [value(second), value(first)]) == 0


def test_of_a_fork_the_first_stays() -> None:
    assert newest_announced(PLACE, [value(head()), value(head(release=b"[]"))]) == 0


def test_a_head_of_another_name_is_refused() -> None:
    with pytest.raises(VerificationError, match="another name"):
        decode_announced_head(PLACE, value(head(name="other")))


def test_a_head_without_its_roots_is_refused() -> None:
    with pytest.raises(VerificationError):
        decode_announced_head(PLACE, encode_announced_head([], head().envelope))


def test_a_delegate_s_head_comes_with_its_delegation() -> None:
    given, under = delegated()
    mine = delegates_head(under)
    kept = encode_announced_head(CHAIN.envelopes, mine.envelope, given.envelope)
    chain, found = decode_announced(PLACE, kept)
    assert (chain.publisher, found.id, found.signers.delegation) == (CHAIN.publisher, mine.id, given.id)
    other, _ = delegated(names=["tiny*", "x"])
    for wrong in (
        encode_announced_head(CHAIN.envelopes, mine.envelope),
        encode_announced_head([], mine.envelope, given.envelope),
        encode_announced_head(CHAIN.envelopes, mine.envelope, other.envelope),
        encode_announced_head(CHAIN.envelopes, mine.envelope, mine.envelope),
        encode_announced_head(CHAIN.envelopes, head().envelope, given.envelope),
        encode_announced_head([*CHAIN.envelopes, given.envelope], mine.envelope, given.envelope),
        *(kept[:end] for end in range(0, len(kept), 97)),
    ):
        with pytest.raises(VerificationError):
            decode_announced(PLACE, wrong)


def test_of_one_sequence_the_publisher_s_own_is_the_newest_and_no_fork() -> None:
    given, under = delegated()
    lent = encode_announced_head(CHAIN.envelopes, delegates_head(under).envelope, given.envelope)
    own = value(head(release=b"[]"))
    assert newest_announced(PLACE, [lent, own]) == 1
    assert newest_announced(PLACE, [own, lent]) == 0


def test_of_two_delegates_the_higher_sequence_is_the_newest_also_after_a_rotation() -> None:
    (given, under), (more, too) = delegated(), delegated(names=["tiny", "x"])
    first = delegates_head(under)
    second = delegates_head(too, previous=first)
    chain = PublisherChain.verify([*CHAIN.envelopes, make_next_root(CHAIN, [OTHER.did], [KEY, OTHER])])
    for roots in (CHAIN.envelopes, chain.envelopes):
        values = [
            encode_announced_head(roots, first.envelope, given.envelope),
            encode_announced_head(roots, second.envelope, more.envelope),
        ]
        assert newest_announced(PLACE, values) == 1
        assert newest_announced(PLACE, values[::-1]) == 0


def test_every_cut_is_refused() -> None:
    whole = value(head())
    for end in range(0, len(whole), 7):
        with pytest.raises(VerificationError):
            decode_announced_head(PLACE, whole[:end])


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_by_type(data: bytes) -> None:
    with pytest.raises(SamaraError):
        decode_announced_head(PLACE, data)
