"""The publisher's keys of a home: in which files they lie, which of them are open, and how one is replaced by another.

Which key signs is not decided by a file's name but by the publisher's current root: so a rotation that was interrupted
between two files leaves a home that works. Nothing is deleted but what a killed process left half written. See
specs/keys.md §2. Seeds that a passphrase has opened are kept in memory, and nowhere else.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import threading
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

from samara.node.store.files import os_errors
from samara.node.store.home import Home, write_private
from samara.protocol.dsse import SigningKey
from samara.protocol.errors import KeyFileError, LockedKeyError, PassphraseError, RecordError
from samara.protocol.ids import PublisherId, format_record
from samara.protocol.keyfile import MAX_KEY_FILE, SALT_BYTES, PlainKey, SealedKey, decode_key_file
from samara.protocol.limits import MAX_ROOT_FILE
from samara.protocol.rootfile import RootFile

__all__ = ["PublisherKeys"]

_ASIDE: Final = re.compile(r"publisher-z6Mk[1-9A-HJ-NP-Za-km-z]+\.key")
_DID: Final = "did:key:"
_LOCKED: Final = "the publisher's key is protected by a passphrase, which is needed for this"
_HOW: Final = "Call it from a terminal, set $SAMARA_PASSPHRASE_FILE, or give samara --passphrase-fd FD."

KeyFile = PlainKey | SealedKey


class PublisherKeys:
    """The keys by which a home publishes.

    Args:
        home: Whose.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._opened: dict[bytes, bytes] = {}  # public key → seed
        self._lock = threading.Lock()

    # What is there

    @property
    def path(self) -> Path:
        """The key file of the present key."""
        return self._home.root / "publisher.key"

    def present(self) -> KeyFile:
        """Return the present key, made now when there is none.

        Raises:
            KeyFileError: The file is damaged.
            ReadOnlyError: There is none, and it cannot be made; or it is another user's.
        """
        if not self.path.exists():
            self._home.key("publisher")
        return _read_key(self.path)

    def present_did(self) -> str | None:
        """Return the present key as did:key; None when its file is damaged or not there."""
        return _did_or_none(self.path) if self.path.exists() else None

    def seed(self, passphrase: str) -> bytes:
        """Return the seed of the present key, 32 bytes.

        Raises:
            LockedKeyError: It is sealed, and the passphrase is empty.
            PassphraseError: The passphrase does not open it.
        """
        return _open(self.present(), passphrase).seed

    def all(self) -> dict[Path, KeyFile]:
        """Return every key that can be read, by its file, the present one first.

        Raises:
            KeyFileError: The present one is damaged.
        """
        found: dict[Path, KeyFile] = {self.path: self.present()}
        for path in self._asides():
            with contextlib.suppress(KeyFileError):  # a key that was; the present one counts
                found[path] = _read_key(path)
        return found

    def is_sealed(self, keys: Collection[str]) -> bool:
        """Whether signing with these keys (did:keys) takes a passphrase, of those that are here."""
        return any(isinstance(key, SealedKey) for key in self._among(keys))

    # Signing

    def signing(self, keys: Collection[str]) -> list[SigningKey]:
        """Return those of these keys (did:keys) that are here and open.

        Raises:
            LockedKeyError: One of them is here, sealed, and was not unlocked.
        """
        found = self._among(keys)
        with self._lock:
            seeds = [key.seed if isinstance(key, PlainKey) else self._opened.get(key.public) for key in found]
        if None in seeds:
            raise LockedKeyError(_LOCKED, hint=_HOW)
        return [SigningKey(seed) for seed in seeds if seed is not None]

    def open(self, keys: Collection[str], passphrase: str) -> list[SigningKey]:
        """Return those of these keys (did:keys) that are here, opened with a passphrase where they are sealed.

        Raises:
            LockedKeyError: One is sealed, and the passphrase is empty.
            PassphraseError: It does not open one of them.
        """
        return [SigningKey(_open(key, passphrase).seed) for key in self._among(keys)]

    def unlock(self, keys: Collection[str], passphrase: str) -> None:
        """Keep those of these keys that are here open in this process.

        Raises:
            PassphraseError: It does not open one of them.
        """
        opened = {key.public: _open(key, passphrase).seed for key in self._among(keys) if isinstance(key, SealedKey)}
        with self._lock:
            self._opened.update(opened)

    def lock(self) -> None:
        """Forget every seed that a passphrase opened."""
        with self._lock:
            self._opened.clear()

    # Changing them

    def seal(self, old: str, new: str) -> None:
        """Seal every key that lies open, and those that `old` opens, with the passphrase `new`.

        Raises:
            LockedKeyError: The present key is sealed, and `old` is empty.
            PassphraseError: `old` does not open the present key.
            ReadOnlyError: The home cannot be written.
        """
        self._sweep()
        for path, key in reversed(self.all().items()):  # the present one last: it says that all are sealed
            try:
                plain = _open(key, old)
            except (PassphraseError, LockedKeyError):
                if path == self.path:
                    raise
                continue  # one of an earlier passphrase, sealed as it is
            self._write(path, _sealed(plain, new))
        self.lock()

    def unseal(self, passphrase: str) -> None:
        """Let the present key lie open.

        Raises:
            LockedKeyError: It is sealed, and the passphrase is empty.
            PassphraseError: The passphrase does not open it.
            ReadOnlyError: The home cannot be written.
        """
        self._sweep()
        self._write(self.path, _open(self.present(), passphrase))

    def keep(self, seed: bytes, passphrase: str) -> str:
        """Keep a key beside the present one, sealed unless the passphrase is empty; return its did:key."""
        plain = PlainKey(seed)
        self._sweep()
        self._write(self._aside(plain.did), _sealed(plain, passphrase) if passphrase else plain)
        return plain.did

    def put(self, seed: bytes, passphrase: str) -> None:
        """Let a key be the present one, sealed unless the passphrase is empty; another that was, is kept aside."""
        plain = PlainKey(seed)
        self._sweep()
        if self.present_did() != plain.did:
            self._keep_present()
        self._write(self.path, _sealed(plain, passphrase) if passphrase else plain)

    def promote(self, keys: Collection[str]) -> None:
        """Let one of these keys (did:keys), which is here, be the present one; what was, is kept aside."""
        if self.present_did() in keys:
            return
        found = next((path for path in self._asides() if _did_or_none(path) in keys), None)
        if found is not None:
            self._keep_present()
            self._write(self.path, _read_key(found))
            with os_errors(f"cannot remove {found}"):
                found.unlink()  # it lies at its new place

    def _keep_present(self) -> None:
        if self.path.exists():
            kept = self._aside(self.present_did() or f"damaged-{secrets.token_hex(4)}")
            with os_errors(f"cannot write the key {kept}"):
                write_private(kept, self.path.read_bytes(), replace=True)

    # The chain

    def roots(self) -> RootFile | None:
        """Return the chain of this home's publisher, if it is kept in a file.

        Raises:
            RecordError: The file is damaged.
        """
        return _read_roots(self._roots)

    def keep_roots(self, file: RootFile) -> None:
        """Keep a chain as that of this home's publisher; another publisher's is kept under its own name."""
        before = self.roots()
        with os_errors(f"cannot write {self._roots}"):
            if before is not None and before.chain.publisher != file.chain.publisher:
                self._keep_aside(before)
            write_private(self._roots, RootFile(file.chain).encode(), replace=True)

    def proposed(self) -> RootFile | None:
        """Return the proposal that was last signed here, with its chain."""
        return _read_roots(self._proposed)

    def keep_proposed(self, file: RootFile | None) -> None:
        """Remember a proposal that was signed here; None forgets it."""
        with os_errors(f"cannot write {self._proposed}"):
            if file is None:
                self._proposed.unlink(missing_ok=True)
            else:
                write_private(self._proposed, file.encode(), replace=True)

    @property
    def _roots(self) -> Path:
        return self._home.root / "publisher.roots"

    @property
    def _proposed(self) -> Path:
        return self._home.root / "publisher.proposed"

    def _keep_aside(self, file: RootFile) -> None:
        name = f"publisher-{_short(file.chain.publisher)}.roots"
        write_private(self._home.root / name, RootFile(file.chain).encode(), replace=True)

    def _among(self, keys: Collection[str]) -> Sequence[KeyFile]:
        """Those of these keys that are here, each once."""
        return tuple({key.did: key for key in reversed(self.all().values()) if key.did in keys}.values())

    def _asides(self) -> Iterator[Path]:
        with os_errors(f"cannot look into {self._home.root}"):
            names = sorted(path.name for path in self._home.root.iterdir() if _ASIDE.fullmatch(path.name))
        return (self._home.root / name for name in names)

    def _aside(self, did: str) -> Path:
        return self._home.root / f"publisher-{did.removeprefix(_DID)}.key"

    def _write(self, path: Path, key: KeyFile) -> None:
        with os_errors(f"cannot write the key {path}"):
            write_private(path, key.encode(), replace=True)

    def _sweep(self) -> None:
        """Delete what killed processes left of key files: a seed may lie open in one."""
        with os_errors(f"cannot look into {self._home.root}"):
            for path in self._home.root.glob(".publisher*"):
                path.unlink(missing_ok=True)


def _read_key(path: Path) -> KeyFile:
    try:
        return decode_key_file(_read(path, MAX_KEY_FILE))
    except KeyFileError as error:
        raise KeyFileError(f"{path}: {error.message}", hint=error.hint) from None


def _read_roots(path: Path) -> RootFile | None:
    if not path.exists():
        return None
    try:
        return RootFile.decode(_read(path, MAX_ROOT_FILE))
    except RecordError as error:
        raise type(error)(
            f"{path}: {error.message}", hint="Move it away; if the index has the chain, the publisher stays the same."
        ) from None


def _read(path: Path, most: int) -> bytes:
    """Return at most one byte more than a file may have: that it is too long, is its parser's to say."""
    with os_errors(f"cannot read {path}"), open(path, "rb") as file:
        return file.read(most + 1)


def _did_or_none(path: Path) -> str | None:
    with contextlib.suppress(KeyFileError):
        return _read_key(path).did
    return None


def _open(key: KeyFile, passphrase: str) -> PlainKey:
    if isinstance(key, PlainKey):
        return key
    if not passphrase:
        raise LockedKeyError(_LOCKED, hint=_HOW)
    return key.open(passphrase)


def _sealed(plain: PlainKey, passphrase: str) -> SealedKey:
    """Seal a key, and see that it opens again, before a file is replaced by it."""
    sealed = SealedKey.seal(plain.seed, passphrase, salt=secrets.token_bytes(SALT_BYTES))
    if SealedKey.open(sealed, passphrase) != plain:
        raise KeyFileError("a key that was just sealed does not open again", hint="This machine's memory may be bad.")
    return sealed


def _short(publisher: PublisherId) -> str:
    return format_record(publisher)[-16:]
