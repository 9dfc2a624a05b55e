"""Words for people: a seed as 24 words on paper, a publisher id as 8 words over the telephone (specs/keys.md §3).

The list itself is handed in (`WordList`), since it is data that others keep; its digest is checked, so that words mean
the same everywhere.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Final, final

from samara.protocol.errors import OperationError, WordsError
from samara.protocol.ids import PublisherId, sha256

__all__ = ["CHECK_BITS", "SEED_WORDS", "WordList"]

SEED_WORDS: Final = 24
_CHECK_WORDS: Final = 8
_BITS: Final = 11
CHECK_BITS: Final = _CHECK_WORDS * _BITS
"""Bits of a publisher id that its check words say."""
_ENGLISH: Final = bytes.fromhex("2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda")
_SHOWN: Final = 24
"""Characters of a word that is not in the list, as a message repeats it."""


@final
class WordList:
    """The English list of BIP-39.

    Args:
        words: Its 2,048 words, in order.

    Raises:
        OperationError: They are others.
    """

    __slots__ = ("_positions", "_words")

    def __init__(self, words: Iterable[str]) -> None:
        self._words = tuple(words)
        if sha256("".join(f"{word}\n" for word in self._words).encode()) != _ENGLISH:
            raise OperationError("the word list is not the English one of BIP-39", hint="Install Samara anew.")
        self._positions = {word: position for position, word in enumerate(self._words)}

    def of_seed(self, seed: bytes) -> tuple[str, ...]:
        """Return the 24 words of a seed (32 bytes): its bits, and 8 of its SHA-256.

        Source: specs/keys.md §3; BIP-39, "Generating the mnemonic".
        """
        return self._spell(seed + sha256(seed)[:1], SEED_WORDS)

    def seed_of(self, text: str) -> bytes:
        """Return the seed (32 bytes) of 24 words with white space between them, in any case.

        Raises:
            WordsError: A word is not in the list, there are not 24, or the checksum is wrong.
        """
        words = text.casefold().split()
        number = 0
        for place, word in enumerate(words[: SEED_WORDS + 1], 1):
            number = number << _BITS | self._position(word, place)
        if len(words) != SEED_WORDS:
            raise WordsError(f"{len(words)} words: a key has {SEED_WORDS}", hint="Give all of them, in their order.")
        raw = number.to_bytes(SEED_WORDS * _BITS // 8, "big")
        if sha256(raw[:-1])[:1] != raw[-1:]:
            raise WordsError(
                "these words are no key: at least one is wrong, or they are in another order",
                hint="Compare each with the paper; some words differ in a letter only.",
            )
        return raw[:-1]

    def of_publisher(self, publisher: PublisherId) -> tuple[str, ...]:
        """Return the 8 words by which people compare a publisher id: its first 88 bits."""
        return self._spell(publisher[: CHECK_BITS // 8], _CHECK_WORDS)

    def near(self, word: str) -> Sequence[str]:
        """Return at most three words of the list that look like `word`, nearest first."""
        return difflib.get_close_matches(word[:_SHOWN], self._words, n=3, cutoff=0.5)

    def _spell(self, data: bytes, count: int) -> tuple[str, ...]:
        number = int.from_bytes(data, "big")
        return tuple(self._words[number >> _BITS * left & (1 << _BITS) - 1] for left in reversed(range(count)))

    def _position(self, word: str, place: int) -> int:
        position = self._positions.get(word)
        if position is None:
            near = ", ".join(self.near(word))
            raise WordsError(
                f"word {place}, {word[:_SHOWN]!r}, is not in the list",
                hint=f"Near it are: {near}." if near else "Look at the paper again.",
            )
        return position
