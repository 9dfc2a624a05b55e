"""Key files: what is sealed opens again, and nothing that was changed does."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samara.protocol.dsse import SigningKey
from samara.protocol.errors import KeyFileError, PassphraseError
from samara.protocol.keyfile import MAX_KEY_FILE, PlainKey, SealedKey, check_new_passphrase, decode_key_file
from samara.protocol.limits import KEY_LOG_N, MAX_KEY_LOG_N, MIN_KEY_LOG_N

SEED, SALT = bytes(range(32)), bytes(range(16))
SEALED = SealedKey.seal(SEED, "several words in a row", salt=SALT, log_n=MIN_KEY_LOG_N).encode()


@settings(max_examples=25, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.text(min_size=1, max_size=40), st.binary(min_size=16, max_size=16))
def test_what_is_sealed_opens_again(seed: bytes, passphrase: str, salt: bytes) -> None:
    sealed = SealedKey.seal(seed, passphrase, salt=salt, log_n=MIN_KEY_LOG_N)
    assert len(sealed.encode()) == MAX_KEY_FILE
    assert seed not in sealed.encode()
    again = decode_key_file(sealed.encode())
    assert isinstance(again, SealedKey)
    assert again.did == SigningKey(seed).did
    assert again.open(passphrase).seed == seed
    with pytest.raises(PassphraseError):
        again.open(passphrase + "?")


def test_no_changed_byte_opens() -> None:
    for offset in range(len(SEALED)):
        there = bytearray(SEALED)
        there[offset] ^= 1
        with pytest.raises((KeyFileError, PassphraseError)):
            SealedKey.open(_sealed(bytes(there)), "several words in a row")


def test_no_cut_file_is_one() -> None:
    for length in (*range(32), *range(33, len(SEALED))):
        with pytest.raises(KeyFileError):
            decode_key_file(SEALED[:length])
    assert decode_key_file(SEALED[:32]) == PlainKey(SEALED[:32])  # any 32 bytes are a seed: there is no telling


@given(st.binary(max_size=200))
def test_any_bytes_are_a_key_or_a_typed_error(data: bytes) -> None:
    try:
        key = decode_key_file(data)
    except KeyFileError:
        return
    assert key.encode() == data


@pytest.mark.parametrize("log_n", [MIN_KEY_LOG_N - 1, MAX_KEY_LOG_N + 1, 26, 63, 255])
def test_a_hostile_cost_is_refused_before_anything_is_derived(log_n: int) -> None:
    with pytest.raises(KeyFileError, match=f"2\\^{log_n}:"):
        decode_key_file(SEALED[:10] + bytes([log_n]) + SEALED[11:])
    with pytest.raises(ValueError, match="within bounds"):
        SealedKey.seal(SEED, "long enough", salt=SALT, log_n=log_n)


def test_what_is_written_today_can_be_read_everywhere() -> None:
    """4 GB of memory are what a site has; scrypt takes 1 KiB for each of N."""
    assert (1 << KEY_LOG_N) * 1024 <= 4e9 / 8
    assert (1 << MAX_KEY_LOG_N) * 1024 <= 4e9 / 2
    key = SealedKey.seal(SEED, "long enough", salt=SALT)
    assert key.log_n == KEY_LOG_N
    assert key.open("long enough").seed == SEED


def test_a_secret_is_not_shown() -> None:
    assert SEED.hex() not in repr(PlainKey(SEED))
    assert repr(SEED) not in repr(PlainKey(SEED))


@pytest.mark.parametrize("passphrase", ["", "seven77", "x" * 2000, "lone \udc80 surrogate"])
def test_a_passphrase_that_is_none(passphrase: str) -> None:
    with pytest.raises(PassphraseError):
        check_new_passphrase(passphrase)


def test_a_salt_is_not_used_twice_by_chance() -> None:
    one, other = (SealedKey.seal(SEED, "long enough", salt=os.urandom(16), log_n=MIN_KEY_LOG_N) for _ in range(2))
    assert one.box != other.box


def _sealed(data: bytes) -> SealedKey:
    key = decode_key_file(data)
    assert isinstance(key, SealedKey)
    return key
