"""Where the passphrase of the key comes from: a descriptor, a file, or the person at the terminal.

Never an argument, which other users of a machine can see; and never a terminal that would show it (specs/keys.md §2).
"""

from __future__ import annotations

import functools
import getpass
import os
import sys
from collections.abc import Callable
from typing import IO, Final, TypeVar

from samara.protocol.errors import LockedKeyError, PassphraseError
from samara.protocol.keyfile import check_new_passphrase
from samara.protocol.limits import MAX_PASSPHRASE

__all__ = ["current_passphrase", "new_passphrase", "take_from", "with_passphrase"]

_VARIABLE: Final = "SAMARA_PASSPHRASE_FILE"
_NEW_VARIABLE: Final = "SAMARA_NEW_PASSPHRASE_FILE"
_descriptors: list[int] = []

Result = TypeVar("Result")


def take_from(descriptor: int) -> None:
    """Let the passphrase come from an open descriptor of this process."""
    _descriptors.append(descriptor)


def with_passphrase(attempt: Callable[[str], Result]) -> Result:
    """Return what `attempt` does without a passphrase, or with it, when it ends with a locked key.

    Raises:
        LockedKeyError: The key is locked, and there is nowhere to have the passphrase from.
    """
    try:
        return attempt("")
    except LockedKeyError:
        passphrase = current_passphrase()
    return attempt(passphrase)


def current_passphrase() -> str:
    """Return the passphrase that the key has.

    Raises:
        LockedKeyError: There is nowhere to have it from.
        PassphraseError: What was named has none.
    """
    found = _given() or _ask("Passphrase of the publisher's key: ")
    if not found:
        raise LockedKeyError(
            "the publisher's key is protected by a passphrase, which is needed for this",
            hint=f"Call it from a terminal, set ${_VARIABLE}, or give samara --passphrase-fd FD.",
        )
    return found


def new_passphrase(*, replaces: bool) -> str:
    """Return a passphrase with which the key is to be sealed; a person types it twice.

    Args:
        replaces: The key has one already, which the first source tells.

    Raises:
        PassphraseError: There is none, it is too short, or it was typed in two ways.
    """
    named = os.environ.get(_NEW_VARIABLE)
    given = _first_line_of(named) if named else None if replaces else _given()
    if given is not None:
        return check_new_passphrase(given)
    typed = _ask("New passphrase: ")
    if typed is None:
        raise PassphraseError(
            "there is no new passphrase",
            hint=f"Call it from a terminal, or set ${_NEW_VARIABLE if replaces else _VARIABLE} to a file that has it.",
        )
    check_new_passphrase(typed)
    if _ask("The same again: ") != typed:
        raise PassphraseError("the two passphrases differ", hint="Nothing was changed. Try again.")
    return typed


def _given() -> str | None:
    """The passphrase from a descriptor or a file, when one is named."""
    if _descriptors:
        return _first_line_from(_descriptors[-1])
    named = os.environ.get(_VARIABLE)
    return _first_line_of(named) if named else None


def _ask(prompt: str) -> str | None:
    """Ask the person, without echo; None when nobody is there, or it would be seen."""
    if not sys.stdin or not sys.stdin.isatty():
        return None
    return getpass.getpass(prompt, stream=sys.stderr)


@functools.cache  # it may be a pipe: what was read is gone
def _first_line_from(descriptor: int) -> str:
    try:
        with open(descriptor, "rb", closefd=False) as file:
            return _first_line(file, f"descriptor {descriptor}")
    except OSError as error:
        raise PassphraseError(f"cannot read descriptor {descriptor}: {error.strerror}") from error


@functools.cache
def _first_line_of(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return _first_line(file, path)
    except OSError as error:
        raise PassphraseError(f"cannot read the passphrase file {path}: {error.strerror}") from error


def _first_line(file: IO[bytes], where: str) -> str:
    line = file.readline(MAX_PASSPHRASE + 2).rstrip(b"\r\n")
    if not line:
        raise PassphraseError(f"the first line of {where} is empty", hint="It must be the passphrase.")
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise PassphraseError(f"the first line of {where} is not UTF-8") from None
