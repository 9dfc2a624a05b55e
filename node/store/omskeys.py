"""The OMS key of a home: made of the publisher's, or kept in a file of its own (specs/oms.md §1, specs/keys.md §2).

Without a file, the seed follows from that of the publisher's present key: no second backup is needed. Before that key
is replaced the seed is written into the file, so that the OMS key stays what it is. Where the publisher's key is in an
agent, a random seed is written there on first use. The file is sealed with the publisher's passphrase. Nothing is
deleted: a key that makes way is kept aside.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from pathlib import Path
from typing import Final

from samara.node.store.files import os_errors, sync_folder
from samara.node.store.home import Home, write_private
from samara.node.store.keyfiles import KeyFile, locked, open_key, read_key, seal_key, sweep, write_key
from samara.node.store.publisherkeys import PublisherKeys
from samara.protocol.errors import KeyFileError, LockedKeyError, PassphraseError, StoreError
from samara.protocol.keyfile import PlainKey, SealedKey
from samara.protocol.oms import OMS_KEY, OmsKey, OmsPublicKey, oms_seed

__all__ = ["OmsKeys"]

_SHORT_HINT: Final = 16


class OmsKeys:
    """The OMS key of a home.

    Args:
        home: Whose.
        publisher: Its publisher's keys.
    """

    def __init__(self, home: Home, publisher: PublisherKeys) -> None:
        self._home = home
        self._publisher = publisher
        self._opened: dict[bytes, bytes] = {}  # public key → seed
        self._lock = threading.Lock()

    # What is there

    @property
    def path(self) -> Path:
        """The file of the key, if it has one."""
        return self._home.root / "oms.key"

    def key(self) -> OmsKey:
        """Return the key, when it lies open or was unlocked.

        Raises:
            LockedKeyError: It is sealed, or is made of a key that is, and this process was not given the passphrase.
            KeyFileError: A file is damaged.
        """
        found = self._file() or self._made()
        if found is None:
            return OmsKey(oms_seed(self._publisher.opened()))
        if isinstance(found, PlainKey):
            return OmsKey(found.seed)
        with self._lock:
            seed = self._opened.get(found.public)
        if seed is None:
            raise locked("OMS key")
        return OmsKey(seed)

    def public(self) -> OmsPublicKey | None:
        """Return its public half; None where that takes a passphrase, or there is none yet, or another user's."""
        with contextlib.suppress(LockedKeyError, StoreError):
            found = self._file()
            if isinstance(found, SealedKey):
                return OmsPublicKey.from_point(found.public)
            if found is not None or (self._publisher.path.exists() and not self._publisher.is_in_agent()):
                return self.key().public
        return None

    def is_sealed(self) -> bool:
        """Whether it has a file that a passphrase opens."""
        with contextlib.suppress(KeyFileError):
            return isinstance(self._file(), SealedKey)
        return False

    def seed(self, passphrase: str) -> bytes:
        """Return its seed, 32 bytes.

        Raises:
            LockedKeyError: It is sealed, or is made of a key that is, and the passphrase is empty.
            PassphraseError: The passphrase does not open it.
        """
        found = self._file() or self._made()
        return oms_seed(self._publisher.seed(passphrase)) if found is None else open_key(found, passphrase).seed

    def is_apart(self, publisher: bytes) -> bool:
        """Whether it is another than follows from the seed of a publisher's key (32 bytes)."""
        public = self.public()
        return public is not None and public.point != OmsKey(oms_seed(publisher)).public.point

    # The passphrase

    def unlock(self, passphrase: str) -> None:
        """Keep it open in this process, if it is sealed with this passphrase: it may be sealed with an earlier one."""
        found = self._file()
        if isinstance(found, SealedKey):
            with contextlib.suppress(PassphraseError):
                seed = found.open(passphrase).seed
                with self._lock:
                    self._opened[found.public] = seed

    def lock(self) -> None:
        """Forget what was unlocked."""
        with self._lock:
            self._opened.clear()

    def seal(self, old: str, new: str) -> None:
        """Seal its file, if there is one, with the passphrase `new`.

        Raises:
            PassphraseError: Neither `old` opens it, nor does `new`, as after a process that was killed.
            ReadOnlyError: The home cannot be written.
        """
        found = self._file()
        if found is None:
            return
        sweep(self._home.root, ".oms*")
        try:
            plain = open_key(found, old)
        except (PassphraseError, LockedKeyError):
            plain = self._opened_by(found, new)
        write_key(self.path, seal_key(plain, new, OMS_KEY))
        self.lock()

    def unseal(self, passphrase: str) -> None:
        """Let its file lie open, if there is one.

        Raises:
            LockedKeyError: It is sealed, and the passphrase is empty.
            PassphraseError: The passphrase does not open it.
        """
        found = self._file()
        if isinstance(found, SealedKey):
            sweep(self._home.root, ".oms*")
            write_key(self.path, open_key(found, passphrase))
            self.lock()

    def _opened_by(self, found: KeyFile, passphrase: str) -> PlainKey:
        try:
            return open_key(found, passphrase)
        except PassphraseError:
            raise PassphraseError(
                f"{self.path} is sealed with another passphrase than the publisher's key",
                hint="Is it an earlier one? Let that be the new one. If it is lost, move the file away.",
            ) from None

    # Changing it

    def keep(self, passphrase: str) -> None:
        """Write it into its file, before the publisher's key of which it is made makes way for another.

        Args:
            passphrase: That of the publisher's key, where that is sealed; then the file is, too.

        Raises:
            LockedKeyError: The publisher's key is sealed, and the passphrase is empty.
            PassphraseError: The passphrase does not open it.
        """
        if self._file() is None and not self._publisher.is_in_agent():
            sealed = isinstance(self._publisher.present(), SealedKey)
            self._write(self.seed(passphrase), passphrase if sealed else "")

    def put(self, seed: bytes, passphrase: str) -> None:
        """Let a key be that of the home, sealed unless the passphrase is empty; another in the file is kept aside."""
        if self._of_file() != OmsKey(seed).public.point:
            self.set_aside()
        self._write(seed, passphrase)

    def set_aside(self) -> None:
        """Keep what the file holds under another name; the key follows from the publisher's again."""
        public = self.public() if self.path.exists() else None
        name = public.hint[:_SHORT_HINT] if public is not None else f"damaged-{secrets.token_hex(4)}"
        with os_errors(f"cannot move {self.path}"), contextlib.suppress(FileNotFoundError):
            os.replace(self.path, self._home.root / f"oms-{name}.key")
            sync_folder(self._home.root)

    def _of_file(self) -> bytes | None:
        with contextlib.suppress(KeyFileError):  # a damaged file makes way
            found = self._file()
            if isinstance(found, PlainKey):
                return OmsKey(found.seed).public.point
            return found.public if found is not None else None
        return None

    def _made(self) -> KeyFile | None:
        """Make a key where none follows from the publisher's, since that is in an agent."""
        if not self._publisher.is_in_agent():
            return None
        with contextlib.suppress(StoreError), os_errors(f"cannot make the key {self.path}"):
            write_private(self.path, secrets.token_bytes(32))  # where another process made one first, that one counts
        return read_key(self.path, OMS_KEY)

    def _file(self) -> KeyFile | None:
        return read_key(self.path, OMS_KEY) if self.path.exists() else None

    def _write(self, seed: bytes, passphrase: str) -> None:
        sweep(self._home.root, ".oms*")
        plain = PlainKey(seed)
        write_key(self.path, seal_key(plain, passphrase, OMS_KEY) if passphrase else plain)
