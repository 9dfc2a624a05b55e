"""Words: the same as everybody's BIP-39, and errors that help whoever reads from paper."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mnemonic import Mnemonic

from samara.node.wordlist import word_list
from samara.protocol.errors import OperationError, WordsError
from samara.protocol.ids import PublisherId
from samara.protocol.words import CHECK_BITS, SEED_WORDS, WordList

seeds = st.binary(min_size=32, max_size=32)
WORDS = Mnemonic("english").wordlist


@given(seeds)
def test_a_seed_is_spelled_as_bip_39_does(seed: bytes) -> None:
    words = word_list().of_seed(seed)
    assert " ".join(words) == Mnemonic("english").to_mnemonic(seed)
    assert word_list().seed_of(" ".join(words)) == seed


@given(seeds, st.integers(0, SEED_WORDS - 1), st.sampled_from(WORDS))
def test_another_word_is_noticed_or_is_a_key_by_its_checksum(seed: bytes, place: int, word: str) -> None:
    words = list(word_list().of_seed(seed))
    words[place] = word
    text = " ".join(words)
    try:
        found = word_list().seed_of(text)
    except WordsError:
        assert not Mnemonic("english").check(text)
    else:
        assert Mnemonic("english").check(text)
        assert word_list().of_seed(found) == tuple(words)


@given(st.text(max_size=300))
def test_any_text_is_a_seed_or_a_typed_error(text: str) -> None:
    with pytest.raises(WordsError):  # 24 words by chance do not come
        word_list().seed_of(text)


@pytest.mark.parametrize(
    ("typed", "near"), [("mapel", "maple"), ("zebr", "zebra"), ("abandom", "abandon"), ("acces", "access")]
)
def test_a_misread_word_is_named_with_those_near_it(typed: str, near: str) -> None:
    words = list(word_list().of_seed(bytes(32)))
    words[6] = typed
    with pytest.raises(WordsError, match=f"word 7, '{typed}'") as error:
        word_list().seed_of(" ".join(words))
    assert near in error.value.hint
    assert near in word_list().near(typed)


def test_a_long_word_is_not_repeated_whole() -> None:
    with pytest.raises(WordsError) as error:
        word_list().seed_of("x" * 100_000)
    assert len(error.value.message) < 100


@given(seeds, seeds)
def test_check_words_say_the_first_88_bits(one: bytes, other: bytes) -> None:
    assert CHECK_BITS == 88
    a, b = (word_list().of_publisher(PublisherId(value)) for value in (one, other))
    assert len(a) == 8
    assert (a == b) == (one[:11] == other[:11])
    positions = [WORDS.index(word) for word in a]
    number = sum(position << 11 * place for place, position in enumerate(reversed(positions)))
    assert number.to_bytes(11, "big") == one[:11]


@pytest.mark.parametrize("words", [[], WORDS[:-1], sorted(WORDS, reverse=True), Mnemonic("french").wordlist])
def test_another_list_is_refused(words: list[str]) -> None:
    with pytest.raises(OperationError, match="word list"):
        WordList(words)
