"""Root files: k of n devices sign one root in any order, and nobody signs what he cannot see."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samara.protocol.dsse import Envelope, SigningKey, sign
from samara.protocol.errors import RecordError, SignatureError, StatementError
from samara.protocol.ids import did_key
from samara.protocol.limits import MAX_ROOT_FILE
from samara.protocol.records import PublisherChain, Root, make_genesis, make_next_root
from samara.protocol.rootfile import RootFile, countersign, genesis_id, propose

KEYS = [SigningKey(bytes([n]) * 32) for n in range(1, 8)]


def chain_of(*keys: SigningKey, threshold: int = 1) -> PublisherChain:
    return PublisherChain.verify([make_genesis(keys, threshold)])


subsets = st.sets(st.sampled_from(range(len(KEYS))), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(subsets, subsets, st.data())
def test_a_root_is_complete_exactly_when_enough_of_both_have_signed(
    old: set[int], new: set[int], data: st.DataObject
) -> None:
    before = data.draw(st.integers(1, len(old)))
    after = data.draw(st.integers(1, len(new)))
    chain = chain_of(*(KEYS[n] for n in old), threshold=before)
    if (old, before) == (new, after):
        with pytest.raises(StatementError, match="another threshold or other keys"):
            propose(chain, [KEYS[n].did for n in new], after, [KEYS[n] for n in old])
        return
    order = data.draw(st.permutations(sorted(old | new)))
    file: RootFile | None = None
    for count, number in enumerate(order, 1):
        if file is None:
            file = propose(chain, [KEYS[n].did for n in new], after, [KEYS[number]])
        else:
            file = countersign(file, [KEYS[number]])
        signed = set(order[:count])
        enough = len(signed & old) >= before and len(signed & new) >= after
        assert (file.proposal is None) == enough
        assert RootFile.decode(file.encode()) == file
        if file.proposal is None:
            assert file.chain.current.keys == tuple(sorted(KEYS[n].did for n in new))
            assert len(file.chain.roots) == 2
            break
        assert file.proposal.old == max(0, before - len(signed & old))
        assert file.proposal.new == max(0, after - len(signed & new))
    else:
        raise AssertionError("all have signed, and it is not complete")


def test_it_writes_what_make_next_root_writes() -> None:
    chain = chain_of(KEYS[0], KEYS[1])
    wanted = [KEYS[1].did, KEYS[2].did]
    made = make_next_root(chain, wanted, [KEYS[1], KEYS[2]], 2)
    file = propose(chain, wanted, 2, [KEYS[2], KEYS[1]])
    expected = PublisherChain.verify([*chain.envelopes, made])
    assert [root.payload for root in file.chain.roots] == [root.payload for root in expected.roots]


@given(st.binary(min_size=32, max_size=32))
def test_a_publisher_id_is_known_without_signing(seed: bytes) -> None:
    key = SigningKey(seed)
    assert genesis_id(key.did) == chain_of(key).publisher


def test_a_key_that_signed_does_not_count_twice() -> None:
    file = propose(chain_of(*KEYS[:3], threshold=2), [KEYS[0].did, KEYS[3].did], 1, [KEYS[0]])
    assert countersign(countersign(file, [KEYS[0]]), [KEYS[0]]) == file


def test_a_stranger_cannot_sign_and_his_signatures_go() -> None:
    file = propose(chain_of(KEYS[0], KEYS[1], threshold=2), [KEYS[0].did], 1, [KEYS[0]])
    with pytest.raises(SignatureError, match="no key of this home"):
        countersign(file, [KEYS[5]])
    assert file.proposal is not None
    stuffed = sign(file.proposal.envelope.payload, [KEYS[0], *(SigningKey(bytes([n]) * 32) for n in range(20, 35))])
    taken = RootFile.decode(file.chain.envelopes[0] + b"\n" + stuffed.encode() + b"\n")
    done = countersign(taken, [KEYS[1]])
    assert done.proposal is None
    assert len(Envelope.decode(done.chain.envelopes[1]).signatures) == 2


@pytest.mark.parametrize(("keys", "threshold"), [(0, 1), (2, 3), (2, 0), (17, 1)])
def test_a_root_out_of_bounds_is_not_proposed(keys: int, threshold: int) -> None:
    many = [SigningKey(bytes([n]) * 32).did for n in range(1, keys + 1)]
    with pytest.raises(StatementError):
        propose(chain_of(KEYS[0]), many, threshold, [KEYS[0]])


@pytest.mark.parametrize("key", ["", "did:web:example.org", did_key((1).to_bytes(32, "little")), KEYS[0].did + "x"])
def test_a_key_that_is_none_is_not_proposed(key: str) -> None:
    with pytest.raises(StatementError):
        propose(chain_of(KEYS[0]), [KEYS[0].did, key], 1, [KEYS[0]])


def test_a_chain_that_is_full_has_no_next_root() -> None:
    chain = chain_of(KEYS[0])
    full = PublisherChain(
        chain.publisher, (*chain.roots, *[replace(chain.roots[0], root=Root(256, 1, (KEYS[0].did,)))])
    )
    with pytest.raises(StatementError, match="at most 256"):
        propose(full, [KEYS[1].did], 1, [KEYS[0], KEYS[1]])


def test_a_complete_file_has_nothing_to_sign() -> None:
    file = RootFile(chain_of(KEYS[0]))
    assert countersign(file, [KEYS[1]]) is file


def test_an_envelope_of_several_lines_is_written_on_one() -> None:
    envelope = make_genesis([KEYS[0]]).replace(b'"payloadType"', b'\n "payloadType"')
    chain = PublisherChain.verify([envelope])
    again = RootFile.decode(RootFile(chain).encode())
    assert again.chain.roots[0].payload == chain.roots[0].payload
    assert again.chain.envelopes == (make_genesis([KEYS[0]]),)


def test_a_file_that_is_too_long_is_not_parsed() -> None:
    with pytest.raises(RecordError, match="at most"):
        RootFile.decode(b"{}\n" * (MAX_ROOT_FILE // 3 + 1))


def test_every_cut_and_every_flip_is_refused_or_the_same_chain() -> None:
    good = propose(chain_of(KEYS[0], KEYS[1], threshold=2), [KEYS[0].did], 1, [KEYS[0]]).encode()
    first = good.index(b"\n") + 1
    for length in range(len(good)):
        if length == first:
            continue  # the genesis alone: a shorter chain, which a home that knows more joins with its own
        with pytest.raises(RecordError):
            RootFile.decode(good[:length])
    for offset in itertools.chain(range(0, len(good), 7), range(first - 3, first + 3)):
        there = bytearray(good)
        there[offset] ^= 1
        with pytest.raises(RecordError):
            RootFile.decode(bytes(there))
