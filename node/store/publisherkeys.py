"""The publisher's keys of a home: in which files they lie, which of them are open, and how one is replaced by another.

Which key signs is not decided by a file's name but by the publisher's current root: so a rotation that was interrupted
between two files leaves a home that works. Nothing is deleted but what a killed process left half written. See
specs/keys.md §2. Seeds that a passphrase has opened are kept in memory, and nowhere else. A key may also be in an
agent, which is asked for each signature (§7).
"""

from __future__ import annotations

import contextlib
import re
import secrets
import threading
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

from samara.node.keyagent import KeyAgent
from samara.node.store.files import os_errors
from samara.node.store.home import Home, write_private
from samara.node.store.keyfiles import (
    PublisherFile,
    locked,
    open_key,
    read_publisher_key,
    read_some,
    seal_key,
    sweep,
    write_key,
)
from samara.protocol.dsse import Signer, SigningKey
from samara.protocol.errors import KeyFileError, LockedKeyError, OperationError, PassphraseError, RecordError
from samara.protocol.ids import PublisherId, format_record
from samara.protocol.keyfile import AgentKey, PlainKey, SealedKey
from samara.protocol.limits import MAX_ROOT_FILE
from samara.protocol.rootfile import RootFile

__all__ = ["PublisherKeys"]

_ASIDE: Final = re.compile(r"publisher-z6Mk[1-9A-HJ-NP-Za-km-z]+\.key")
_DID: Final = "did:key:"


class PublisherKeys:
    """The keys by which a home publishes.

    Args:
        home: Whose.

    Attributes:
        agent: Signs with those keys that are not here.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self.agent: Final = KeyAgent()
        self._opened: dict[bytes, bytes] = {}  # public key → seed
        self._lock = threading.Lock()

    # What is there

    @property
    def path(self) -> Path:
        """The key file of the present key."""
        return self._home.root / "publisher.key"

    def present(self) -> PublisherFile:
        """Return the present key, made now when there is none.

        Raises:
            KeyFileError: The file is damaged.
            ReadOnlyError: There is none, and it cannot be made; or it is another user's.
        """
        if not self.path.exists():
            self._home.key("publisher")
        return read_publisher_key(self.path)

    def present_did(self) -> str | None:
        """Return the present key as did:key; None when its file is damaged or not there."""
        return _did_or_none(self.path) if self.path.exists() else None

    def seed(self, passphrase: str) -> bytes:
        """Return the seed of the present key, 32 bytes.

        Raises:
            OperationError: It is in an agent.
            LockedKeyError: It is sealed, and the passphrase is empty.
            PassphraseError: The passphrase does not open it.
        """
        return open_key(_with_seed(self.present()), passphrase).seed

    def opened(self) -> bytes:
        """Return the seed of the present key, when it lies open or was unlocked.

        Raises:
            OperationError: It is in an agent.
            LockedKeyError: It is sealed, and this process was not given the passphrase.
        """
        present = _with_seed(self.present())
        with self._lock:
            seed = present.seed if isinstance(present, PlainKey) else self._opened.get(present.public)
        if seed is None:
            raise locked()
        return seed

    def is_in_agent(self) -> bool:
        """Whether the present key is in an agent. Makes none."""
        with contextlib.suppress(KeyFileError):
            return self.path.exists() and isinstance(self.present(), AgentKey)
        return False

    def all(self) -> dict[Path, PublisherFile]:
        """Return every key that can be read, by its file, the present one first.

        Raises:
            KeyFileError: The present one is damaged.
        """
        found: dict[Path, PublisherFile] = {self.path: self.present()}
        for path in self._asides():
            with contextlib.suppress(KeyFileError):  # a key that was; the present one counts
                found[path] = read_publisher_key(path)
        return found

    def is_sealed(self, keys: Collection[str]) -> bool:
        """Whether signing with these keys (did:keys) takes a passphrase, of those that are here."""
        return any(isinstance(key, SealedKey) for key in self._among(keys))

    # Signing

    def signing(self, keys: Collection[str]) -> list[Signer]:
        """Return those of these keys (did:keys) that are here and open, or that the agent has.

        Raises:
            LockedKeyError: One of them is here, sealed, and was not unlocked.
            AgentError: One of them is in an agent, and that does not have it now.
        """
        found = self._among(keys)
        with self._lock:
            seeds = {key.did: self._seed_of(key) for key in found if not isinstance(key, AgentKey)}
        if None in seeds.values():
            raise locked()
        return [self._signer(key, seeds.get(key.did)) for key in found]

    def open(self, keys: Collection[str], passphrase: str) -> list[Signer]:
        """Return those of these keys (did:keys) that are here, opened with a passphrase where they are sealed.

        Raises:
            LockedKeyError: One is sealed, and the passphrase is empty.
            PassphraseError: It does not open one of them.
            AgentError: One is in an agent, and that does not have it now.
        """
        found = self._among(keys)
        seeds = {key.did: open_key(key, passphrase).seed for key in found if not isinstance(key, AgentKey)}
        return [self._signer(key, seeds.get(key.did)) for key in found]

    def unlock(self, keys: Collection[str], passphrase: str) -> None:
        """Keep those of these keys that are here open in this process.

        Raises:
            PassphraseError: It does not open one of them.
        """
        opened = {key.public: open_key(key, passphrase).seed for key in self._among(keys) if isinstance(key, SealedKey)}
        with self._lock:
            self._opened.update(opened)

    def _seed_of(self, key: PlainKey | SealedKey) -> bytes | None:
        return key.seed if isinstance(key, PlainKey) else self._opened.get(key.public)

    def _signer(self, key: PublisherFile, seed: bytes | None) -> Signer:
        return SigningKey(seed) if seed is not None else self.agent.signer(key.public)

    def lock(self) -> None:
        """Forget every seed that a passphrase opened."""
        with self._lock:
            self._opened.clear()

    # Changing them

    def seal(self, old: str, new: str) -> None:
        """Seal every key that lies open, and those that `old` opens, with the passphrase `new`; not what an agent has.

        Raises:
            LockedKeyError: The present key is sealed, and `old` is empty.
            PassphraseError: `old` does not open the present key.
            ReadOnlyError: The home cannot be written.
        """
        self._sweep()
        for path, key in reversed(self.all().items()):  # the present one last: it says that all are sealed
            if isinstance(key, AgentKey):
                continue
            try:
                plain = open_key(key, old)
            except (PassphraseError, LockedKeyError):
                if path == self.path:
                    raise
                continue  # one of an earlier passphrase, sealed as it is
            write_key(path, seal_key(plain, new))
        self.lock()

    def unseal(self, passphrase: str) -> None:
        """Let the present key lie open.

        Raises:
            OperationError: It is in an agent.
            LockedKeyError: It is sealed, and the passphrase is empty.
            PassphraseError: The passphrase does not open it.
            ReadOnlyError: The home cannot be written.
        """
        self._sweep()
        write_key(self.path, open_key(_with_seed(self.present()), passphrase))

    def keep(self, seed: bytes, passphrase: str) -> str:
        """Keep a key beside the present one, sealed unless the passphrase is empty; return its did:key."""
        plain = PlainKey(seed)
        self._sweep()
        write_key(self._aside(plain.did), seal_key(plain, passphrase) if passphrase else plain)
        return plain.did

    def put(self, seed: bytes, passphrase: str) -> None:
        """Let a key be the present one, sealed unless the passphrase is empty; another that was, is kept aside."""
        plain = PlainKey(seed)
        self._sweep()
        if self.present_did() != plain.did:
            self._keep_present()
        write_key(self.path, seal_key(plain, passphrase) if passphrase else plain)

    def keep_agent(self, public: bytes) -> None:
        """Keep beside the present key that the agent has one; `public` is its raw public key, 32 bytes."""
        key = AgentKey(public)
        write_key(self._aside(key.did), key)

    def put_agent(self, public: bytes) -> None:
        """Let a key that the agent has be the present one; another that was, is kept aside."""
        key = AgentKey(public)
        if self.present_did() != key.did:
            self._keep_present()
        write_key(self.path, key)

    def promote(self, keys: Collection[str]) -> None:
        """Let one of these keys (did:keys), which is here, be the present one; what was, is kept aside."""
        if self.present_did() in keys:
            return
        found = next((path for path in self._asides() if _did_or_none(path) in keys), None)
        if found is not None:
            self._keep_present()
            write_key(self.path, read_publisher_key(found))
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

    def _among(self, keys: Collection[str]) -> Sequence[PublisherFile]:
        """Those of these keys that are here, each once."""
        return tuple({key.did: key for key in reversed(self.all().values()) if key.did in keys}.values())

    def _asides(self) -> Iterator[Path]:
        with os_errors(f"cannot look into {self._home.root}"):
            names = sorted(path.name for path in self._home.root.iterdir() if _ASIDE.fullmatch(path.name))
        return (self._home.root / name for name in names)

    def _aside(self, did: str) -> Path:
        return self._home.root / f"publisher-{did.removeprefix(_DID)}.key"

    def _sweep(self) -> None:
        sweep(self._home.root, ".publisher*")


def _read_roots(path: Path) -> RootFile | None:
    if not path.exists():
        return None
    try:
        return RootFile.decode(read_some(path, MAX_ROOT_FILE))
    except RecordError as error:
        raise type(error)(
            f"{path}: {error.message}", hint="Move it away; if the index has the chain, the publisher stays the same."
        ) from None


def _did_or_none(path: Path) -> str | None:
    with contextlib.suppress(KeyFileError):
        return read_publisher_key(path).did
    return None


def _with_seed(key: PublisherFile) -> PlainKey | SealedKey:
    if isinstance(key, AgentKey):
        raise OperationError(
            f"the key {key.did} is in an agent: its seed is not here",
            hint="Back it up and protect it there, as the device or the agent does it.",
        )
    return key


def _short(publisher: PublisherId) -> str:
    return format_record(publisher)[-16:]
