"""Key files on disk: read, opened, sealed and written, whatever keys they hold (specs/keys.md §1 and §2)."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from samara.node.store.files import os_errors
from samara.node.store.home import write_private
from samara.protocol.errors import KeyFileError, LockedKeyError
from samara.protocol.keyfile import (
    PUBLISHER_KEY,
    SALT_BYTES,
    AgentKey,
    KeyKind,
    PlainKey,
    SealedKey,
    decode_key_file,
    decode_publisher_file,
)

__all__ = [
    "KeyFile",
    "PublisherFile",
    "locked",
    "open_key",
    "read_key",
    "read_publisher_key",
    "read_some",
    "seal_key",
    "sweep",
    "write_key",
]

KeyFile = PlainKey | SealedKey
PublisherFile = PlainKey | SealedKey | AgentKey

_HOW: Final = "Call it from a terminal, set $SAMARA_PASSPHRASE_FILE, or give samara --passphrase-fd FD."


def read_key(path: Path, kind: KeyKind) -> KeyFile:
    """Read a key file with a seed; nothing is derived.

    Raises:
        KeyFileError: It is none.
        StoreError: It cannot be read.
    """
    with _naming(path):
        return decode_key_file(read_some(path, kind.sealed_bytes), kind)


def read_publisher_key(path: Path) -> PublisherFile:
    """Read the file of a publisher's key; nothing is derived, and no agent is asked.

    Raises:
        KeyFileError: It is none.
        StoreError: It cannot be read.
    """
    with _naming(path):
        return decode_publisher_file(read_some(path, PUBLISHER_KEY.sealed_bytes))


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except KeyFileError as error:
        raise KeyFileError(f"{path}: {error.message}", hint=error.hint) from None


def read_some(path: Path, most: int) -> bytes:
    """Return at most one byte more than a file may have: that it is too long, is its parser's to say."""
    with os_errors(f"cannot read {path}"), open(path, "rb") as file:
        return file.read(most + 1)


def open_key(key: KeyFile, passphrase: str) -> PlainKey:
    """Return a key with its seed.

    Raises:
        LockedKeyError: It is sealed, and the passphrase is empty.
        PassphraseError: The passphrase does not open it.
    """
    if isinstance(key, PlainKey):
        return key
    if not passphrase:
        raise locked()
    return key.open(passphrase)


def seal_key(plain: PlainKey, passphrase: str, kind: KeyKind = PUBLISHER_KEY) -> SealedKey:
    """Seal a key, and see that it opens again, before a file is replaced by it."""
    sealed = SealedKey.seal(plain.seed, passphrase, salt=secrets.token_bytes(SALT_BYTES), kind=kind)
    if SealedKey.open(sealed, passphrase) != plain:
        raise KeyFileError("a key that was just sealed does not open again", hint="This machine's memory may be bad.")
    return sealed


def write_key(path: Path, key: PublisherFile) -> None:
    """Write a key file, whole or not at all.

    Raises:
        ReadOnlyError: The home cannot be written.
    """
    with os_errors(f"cannot write the key {path}"):
        write_private(path, key.encode(), replace=True)


def sweep(folder: Path, pattern: str) -> None:
    """Delete what killed processes left of key files: a seed may lie open in one."""
    with os_errors(f"cannot look into {folder}"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def locked(what: str = "publisher's key") -> LockedKeyError:
    """Return the error of who needs the passphrase and has none."""
    return LockedKeyError(f"the {what} is protected by a passphrase, which is needed for this", hint=_HOW)
