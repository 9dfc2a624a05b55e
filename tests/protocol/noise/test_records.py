"""Records: what is sealed opens at the other end, in order and whole, and nothing else does; a naive reference beside.

The reference is the one that makes the vectors: it seals record n from nothing but the first key, each time anew.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.vectors import generator

from samara.protocol.errors import LocalProtocolError, RemoteProtocolError
from samara.protocol.limits import MAX_RECORDS_OF_A_KEY
from samara.protocol.noise import AES, CHACHA, Opener, Sealer, Suite
from samara.protocol.noise.suites import TAG

KEY = bytes(range(32))
naive: Any = generator("transport")
suites = pytest.mark.parametrize("suite", [CHACHA, AES], ids=lambda suite: suite.protocol)


def seal(sealer: Sealer, data: bytes) -> bytes:
    out = memoryview(bytearray(sealer.head + len(data) + TAG))
    assert sealer.seal_into(memoryview(data), out) == len(out)
    return bytes(out)


def unseal(opener: Opener, record: bytes) -> bytes:
    assert opener.size(memoryview(record)) == len(record)
    out = memoryview(bytearray(len(record)))
    return bytes(out[: opener.open_into(memoryview(record), out)])


@suites
@given(parts=st.lists(st.binary(max_size=200), max_size=20), every=st.integers(1, 5))
def test_it_seals_as_the_reference_does(suite: Suite, parts: list[bytes], every: int) -> None:
    channel = naive.CHANNELS[suite.protocol]
    if suite.rekey_after:
        suite = replace(suite, rekey_after=every)
        naive.REKEY_AFTER = every
    sealer, opener = Sealer(suite, KEY), Opener(suite, KEY)
    for number, part in enumerate(parts):
        record = seal(sealer, part)
        assert record == naive.record(channel, KEY, number, part)
        assert unseal(opener, record) == part


@suites
def test_sizes_at_the_edges(suite: Suite) -> None:
    sealer, opener = Sealer(suite, KEY), Opener(suite, KEY)
    for size in (0, 1, suite.most - 1, suite.most):
        assert unseal(opener, seal(sealer, bytes(size))) == bytes(size)
    with pytest.raises(LocalProtocolError, match=f"a record of {suite.most + 1} bytes"):
        seal(sealer, bytes(suite.most + 1))
    assert unseal(opener, seal(sealer, b"nothing was sealed in between")) == b"nothing was sealed in between"


@suites
def test_a_record_is_as_long_as_its_length_says_and_no_longer_than_may_be(suite: Suite) -> None:
    opener = Opener(suite, KEY)
    for known in range(opener.head):
        assert opener.size(memoryview(bytes(known))) is None
    most = (1 << 8 * opener.head) - 1
    for size in (0, 15, 16, suite.most + TAG, suite.most + TAG + 1, most):
        length = memoryview(min(size, most).to_bytes(opener.head, "big"))
        if TAG <= min(size, most) <= suite.most + TAG:
            assert opener.size(length) == opener.head + min(size, most)
        else:
            with pytest.raises(RemoteProtocolError, match=f"a record of {size} bytes"):
                opener.size(length)


@suites
def test_every_byte_of_a_record_is_held(suite: Suite) -> None:
    record = seal(Sealer(suite, KEY), b"all of it")
    head = Sealer(suite, KEY).head
    for place in range(head, len(record)):
        changed = bytearray(record)
        changed[place] ^= 0x80
        with pytest.raises(RemoteProtocolError, match="does not open"):
            unseal(Opener(suite, KEY), bytes(changed))


@suites
def test_records_open_in_their_order_only(suite: Suite) -> None:
    sealer = Sealer(suite, KEY)
    first, second = seal(sealer, b"first"), seal(sealer, b"second")
    for wrong in ([second], [first, first], [first, second, first]):
        opener = Opener(suite, KEY)
        for record in wrong[:-1]:
            unseal(opener, record)
        with pytest.raises(RemoteProtocolError, match="does not open"):
            unseal(opener, wrong[-1])


def test_directions_have_keys_of_their_own() -> None:
    with pytest.raises(RemoteProtocolError):
        unseal(Opener(AES, KEY), seal(Sealer(AES, KEY[::-1]), b"x"))


def test_a_key_is_replaced_when_it_has_sealed_its_share() -> None:
    suite = replace(AES, rekey_after=3)
    sealer, opener = Sealer(suite, KEY), Opener(suite, KEY)
    keys = []
    for number in range(10):
        assert unseal(opener, seal(sealer, b"%d" % number)) == b"%d" % number
        assert sealer._key == opener._key
        keys.append(sealer._key)
    assert [keys.index(key) for key in keys] == [0, 0, 0, 3, 3, 3, 6, 6, 6, 9]
    stale = Sealer(replace(AES, rekey_after=None), KEY)
    for _ in range(3):
        seal(stale, b"")
    opener, fresh = Opener(suite, KEY), Sealer(suite, KEY)
    for _ in range(3):
        unseal(opener, seal(fresh, b""))
    with pytest.raises(RemoteProtocolError):
        unseal(opener, seal(stale, b"under the old key"))


def test_a_key_that_cannot_be_replaced_seals_no_more_than_it_may() -> None:
    for half in (Sealer(CHACHA, KEY), Opener(CHACHA, KEY)):
        half._number = MAX_RECORDS_OF_A_KEY
        with pytest.raises(LocalProtocolError, match="all that one key may"):
            seal(half, b"x") if isinstance(half, Sealer) else half.open_into(memoryview(bytes(20)), memoryview(b""))
    sealer = Sealer(CHACHA, KEY, first=MAX_RECORDS_OF_A_KEY - 1)
    seal(sealer, b"the last")
    with pytest.raises(LocalProtocolError):
        seal(sealer, b"one more")
