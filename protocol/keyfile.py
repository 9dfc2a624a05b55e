"""The key file: a seed at rest, plain or sealed with a passphrase (specs/keys.md §1).

The seed is that of a publisher's Ed25519 key, or of another kind that is kept in the same way: see `KeyKind`.

A sealed file says whose key it is without being opened. What it asks its reader to compute is bounded before anything
is derived. Salts are handed in, and nothing here remembers a passphrase or a seed.
"""

from __future__ import annotations

import struct
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from samara.protocol.dsse import SigningKey, is_weak_key
from samara.protocol.errors import KeyFileError, PassphraseError
from samara.protocol.ids import did_key
from samara.protocol.limits import KEY_LOG_N, MAX_KEY_LOG_N, MAX_PASSPHRASE, MIN_KEY_LOG_N, MIN_PASSPHRASE

__all__ = [
    "AGENT_MAGIC",
    "MAX_KEY_FILE",
    "PUBLISHER_KEY",
    "SALT_BYTES",
    "AgentKey",
    "KeyKind",
    "PlainKey",
    "SealedKey",
    "check_new_passphrase",
    "decode_key_file",
    "decode_publisher_file",
]

SALT_BYTES: Final = 16
_SEED_BYTES: Final = 32
_MAGIC_BYTES: Final = 8
AGENT_MAGIC: Final = b"samaraKA"
"""What the file of a publisher's key begins with that is in an agent."""
_AGENT_HEAD: Final = AGENT_MAGIC + b"\x01"
_VERSION: Final = 1
_SCRYPT: Final = 1
_R: Final = 8
_P: Final = 1
_NONCE: Final = bytes(12)  # a wrapping key seals one seed: its salt is new each time
_BOX_BYTES: Final = _SEED_BYTES + 16
_RESTORE: Final = "Restore it from its words: samara key restore."


@final
@dataclass(frozen=True, slots=True)
class KeyKind:
    """What a seed is the seed of.

    Attributes:
        magic: 8 bytes with which a sealed file of this kind begins.
        public_bytes: Bytes of a public key in it.
        public_of: Returns the public key of a seed.
        name_of: Returns the name of a public key; `KeyFileError` when it cannot be one.
    """

    magic: bytes
    public_bytes: int
    public_of: Callable[[bytes], bytes]
    name_of: Callable[[bytes], str]

    @property
    def header(self) -> struct.Struct:
        """Layout of a sealed file up to the sealed seed."""
        return struct.Struct(f">{_MAGIC_BYTES}sBBB{SALT_BYTES}s{self.public_bytes}s")

    @property
    def sealed_bytes(self) -> int:
        """Bytes of a sealed file: no key file is longer."""
        return self.header.size + _BOX_BYTES


def _public(seed: bytes) -> bytes:
    return SigningKey(seed).public


PUBLISHER_KEY: Final = KeyKind(b"samaraKY", 32, _public, did_key)
"""The Ed25519 key of a publisher, named by its did:key."""

MAX_KEY_FILE: Final = PUBLISHER_KEY.sealed_bytes
"""Bytes of a publisher's longest key file."""


@final
@dataclass(frozen=True, slots=True)
class PlainKey:
    """A seed that lies open.

    Attributes:
        seed: 32 secret bytes.
    """

    seed: bytes = field(repr=False)

    @property
    def public(self) -> bytes:
        """The raw public key, 32 bytes."""
        return SigningKey(self.seed).public

    @property
    def did(self) -> str:
        """The public key as did:key."""
        return SigningKey(self.seed).did

    def encode(self) -> bytes:
        """Return the bytes of its file."""
        return self.seed


@final
@dataclass(frozen=True, slots=True)
class SealedKey:
    """A seed that a passphrase opens.

    Attributes:
        log_n: log2 of scrypt's N; within bounds.
        salt: 16 bytes.
        public: The public key that the file states. True only once it was opened.
        box: The sealed seed, 48 bytes.
        kind: What it is the seed of.
    """

    log_n: int
    salt: bytes
    public: bytes
    box: bytes
    kind: KeyKind = PUBLISHER_KEY

    @classmethod
    def seal(
        cls, seed: bytes, passphrase: str, *, salt: bytes, log_n: int = KEY_LOG_N, kind: KeyKind = PUBLISHER_KEY
    ) -> SealedKey:
        """Seal a seed.

        Args:
            seed: 32 bytes.
            passphrase: Any that can be one; whether it is long enough, says `check_new_passphrase`.
            salt: 16 random bytes that no seed was sealed with before.
            log_n: log2 of scrypt's N; memory is 1 KiB · 2^log_n.
            kind: What it is the seed of.

        Raises:
            PassphraseError: It is empty, too long or not text.
            ValueError: The salt, the seed or `log_n` is none.

        Source: specs/keys.md §1.
        """
        if len(salt) != SALT_BYTES or not MIN_KEY_LOG_N <= log_n <= MAX_KEY_LOG_N:
            raise ValueError("a salt of 16 bytes and a cost within bounds are needed")
        public = kind.public_of(seed)
        wrapping = _derive(passphrase, salt, log_n)
        return cls(log_n, salt, public, wrapping.encrypt(_NONCE, seed, _header(kind, log_n, salt, public)), kind)

    @property
    def did(self) -> str:
        """The name of the stated public key: of a publisher's its did:key."""
        return self.kind.name_of(self.public)

    def encode(self) -> bytes:
        """Return the bytes of its file."""
        return _header(self.kind, self.log_n, self.salt, self.public) + self.box

    def open(self, passphrase: str) -> PlainKey:
        """Open it. Takes 1 KiB · 2^log_n of memory.

        Raises:
            PassphraseError: It is another passphrase, or the file was changed.
            KeyFileError: It was sealed with the public key of another.
        """
        wrapping = _derive(passphrase, self.salt, self.log_n)
        try:
            seed = wrapping.decrypt(_NONCE, self.box, _header(self.kind, self.log_n, self.salt, self.public))
        except InvalidTag:
            raise PassphraseError(
                f"the passphrase does not open the key {self.did}, or its file was changed",
                hint=f"Try again. If it is surely right, the file is damaged. {_RESTORE}",
            ) from None
        if self.kind.public_of(seed) != self.public:
            raise KeyFileError("the key file states another public key than its own", hint=_RESTORE)
        return PlainKey(seed)


def decode_key_file(data: bytes, kind: KeyKind = PUBLISHER_KEY) -> PlainKey | SealedKey:
    """Parse a key file; nothing is derived.

    Args:
        data: The bytes of the file.
        kind: What it must be the seed of.

    Raises:
        KeyFileError: It is none, of an unknown version, or asks for too much.

    Source: specs/keys.md §1.
    """
    if len(data) == _SEED_BYTES:
        return PlainKey(data)
    if not data.startswith(kind.magic):
        raise KeyFileError(f"{len(data)} bytes that are no key file: a plain one has {_SEED_BYTES}", hint=_RESTORE)
    if data[_MAGIC_BYTES:][:1] not in {b"", bytes([_VERSION])}:
        raise KeyFileError(f"a key file of version {data[_MAGIC_BYTES]}", hint="A newer version of Samara may read it.")
    if len(data) != kind.sealed_bytes:
        raise KeyFileError(f"a sealed key file of {len(data)} bytes: it has {kind.sealed_bytes}", hint=_RESTORE)
    _, _, derivation, log_n, salt, public = kind.header.unpack_from(data)
    if derivation != _SCRYPT:
        raise KeyFileError(f"a key file with key derivation {derivation}", hint="A newer version may read it.")
    if not MIN_KEY_LOG_N <= log_n <= MAX_KEY_LOG_N:
        raise KeyFileError(
            f"a key file that wants scrypt with N = 2^{log_n}: expected 2^{MIN_KEY_LOG_N} to 2^{MAX_KEY_LOG_N}",
            hint=_RESTORE,
        )
    kind.name_of(public)
    return SealedKey(log_n, salt, public, data[kind.header.size :], kind)


@final
@dataclass(frozen=True, slots=True)
class AgentKey:
    """A publisher's key whose seed is not here: an agent signs with it.

    Attributes:
        public: The raw public key, 32 bytes.
    """

    public: bytes

    @property
    def did(self) -> str:
        """The public key as did:key."""
        return did_key(self.public)

    def encode(self) -> bytes:
        """Return the bytes of its file."""
        return _AGENT_HEAD + self.public


def decode_publisher_file(data: bytes) -> PlainKey | SealedKey | AgentKey:
    """Parse the file of a publisher's key, which may be in an agent.

    Raises:
        KeyFileError: It is none.

    Source: specs/keys.md §1 and §7.
    """
    if not data.startswith(AGENT_MAGIC):
        return decode_key_file(data)
    public = data[len(_AGENT_HEAD) :]
    if data[_MAGIC_BYTES:][:1] not in {b"", _AGENT_HEAD[-1:]}:
        raise KeyFileError(
            f"a key file of an agent, of version {data[_MAGIC_BYTES]}", hint="A newer version may read it."
        )
    if len(public) != _SEED_BYTES or is_weak_key(public):
        raise KeyFileError("the key file of an agent states no key", hint="Name it again: samara key use-agent KEY")
    return AgentKey(public)


def check_new_passphrase(passphrase: str) -> str:
    """Return a passphrase with which a key may be sealed.

    Raises:
        PassphraseError: It is too short, too long or not text.
    """
    if len(passphrase) < MIN_PASSPHRASE:
        raise PassphraseError(
            f"a passphrase needs {MIN_PASSPHRASE} characters or more",
            hint="Several words that nobody would say in a row are good.",
        )
    _passphrase_bytes(passphrase)
    return passphrase


def _header(kind: KeyKind, log_n: int, salt: bytes, public: bytes) -> bytes:
    return kind.header.pack(kind.magic, _VERSION, _SCRYPT, log_n, salt, public)


def _derive(passphrase: str, salt: bytes, log_n: int) -> ChaCha20Poly1305:
    secret = _passphrase_bytes(passphrase)
    return ChaCha20Poly1305(Scrypt(salt, length=32, n=1 << log_n, r=_R, p=_P).derive(secret))


def _passphrase_bytes(passphrase: str) -> bytes:
    try:
        secret = unicodedata.normalize("NFC", passphrase).encode()
    except UnicodeEncodeError:
        raise PassphraseError("the passphrase is not UTF-8") from None
    if not 1 <= len(secret) <= MAX_PASSPHRASE:
        raise PassphraseError(f"a passphrase has 1 to {MAX_PASSPHRASE} bytes in UTF-8, this one {len(secret)}")
    return secret
