"""Heads as the DHT keeps them: what is refused, and which one is the newest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samara.protocol.dsse import SigningKey
from samara.protocol.errors import SamaraError, VerificationError
from samara.protocol.ids import ReleaseId, digest
from samara.protocol.records import PublisherChain, VerifiedHead, make_genesis, make_head
from samara.protocol.records.announced import decode_announced_head, encode_announced_head, newest_announced
from samara.protocol.routing import head_key

KEY = SigningKey(bytes(range(32)))
CHAIN = PublisherChain.verify([make_genesis([KEY])])
PLACE = head_key(CHAIN.publisher, "tiny")


def head(previous: VerifiedHead | None = None, name: str = "tiny", release: bytes = b"{}") -> VerifiedHead:
    return make_head(CHAIN, name=name, release=release, previous=previous, issued="2026-11-01T00:00:00Z", keys=[KEY])


def value(of: VerifiedHead) -> bytes:
    return encode_announced_head(CHAIN.envelopes, of.envelope)


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


def test_every_cut_is_refused() -> None:
    whole = value(head())
    for end in range(0, len(whole), 7):
        with pytest.raises(VerificationError):
            decode_announced_head(PLACE, whole[:end])


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_by_type(data: bytes) -> None:
    with pytest.raises(SamaraError):
        decode_announced_head(PLACE, data)
