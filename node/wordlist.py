"""The word list of specs/keys.md §3, out of the package that keeps it."""

from __future__ import annotations

import functools

from mnemonic import Mnemonic

from samara.protocol.words import WordList

__all__ = ["word_list"]


@functools.cache
def word_list() -> WordList:
    """Return the English list of BIP-39, checked.

    Raises:
        OperationError: The package has another one.
    """
    return WordList(Mnemonic("english").wordlist)
