"""The key file: an Ed25519 seed at rest, plain or sealed with a passphrase (specs/keys.md §1).

A sealed file says whose key it is without being opened. What it asks its reader to compute is bounded before anything
is derived. Salts are handed in, and nothing here remembers a passphrase or a seed.
"""

from __future__ import annotations

import struct
import unicodedata
from dataclasses import dataclass, field
from typing import Final, final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from samara.protocol.dsse import SigningKey
from samara.protocol.errors import KeyFileError, PassphraseError
from samara.protocol.ids import did_key
from samara.protocol.limits import KEY_LOG_N, MAX_KEY_LOG_N, MAX_PASSPHRASE, MIN_KEY_LOG_N, MIN_PASSPHRASE

__all__ = ["MAX_KEY_FILE", "SALT_BYTES", "PlainKey", "SealedKey", "check_new_passphrase", "decode_key_file"]

SALT_BYTES: Final = 16
_SEED_BYTES: Final = 32
_MAGIC: Final = b"samaraKY"
_VERSION: Final = 1
_SCRYPT: Final = 1
_R: Final = 8
_P: Final = 1
_NONCE: Final = bytes(12)  # a wrapping key seals one seed: its salt is new each time
_HEADER: Final = struct.Struct(f">8sBBB{SALT_BYTES}s32s")
_BOX_BYTES: Final = _SEED_BYTES + 16
MAX_KEY_FILE: Final = _HEADER.size + _BOX_BYTES
"""Bytes of the longest key file."""
_RESTORE: Final = "Restore it from its words: samara key restore."


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
        public: The raw public key that the file states, 32 bytes. True only once it was opened.
        box: The sealed seed, 48 bytes.
    """

    log_n: int
    salt: bytes
    public: bytes
    box: bytes

    @classmethod
    def seal(cls, seed: bytes, passphrase: str, *, salt: bytes, log_n: int = KEY_LOG_N) -> SealedKey:
        """Seal a seed.

        Args:
            seed: 32 bytes.
            passphrase: Any that can be one; whether it is long enough, says `check_new_passphrase`.
            salt: 16 random bytes that no seed was sealed with before.
            log_n: log2 of scrypt's N; memory is 1 KiB · 2^log_n.

        Raises:
            PassphraseError: It is empty, too long or not text.
            ValueError: The salt, the seed or `log_n` is none.

        Source: specs/keys.md §1.
        """
        if len(salt) != SALT_BYTES or not MIN_KEY_LOG_N <= log_n <= MAX_KEY_LOG_N:
            raise ValueError("a salt of 16 bytes and a cost within bounds are needed")
        public = SigningKey(seed).public
        wrapping = _derive(passphrase, salt, log_n)
        return cls(log_n, salt, public, wrapping.encrypt(_NONCE, seed, _header(log_n, salt, public)))

    @property
    def did(self) -> str:
        """The stated public key as did:key."""
        return did_key(self.public)

    def encode(self) -> bytes:
        """Return the bytes of its file."""
        return _header(self.log_n, self.salt, self.public) + self.box

    def open(self, passphrase: str) -> PlainKey:
        """Open it. Takes 1 KiB · 2^log_n of memory.

        Raises:
            PassphraseError: It is another passphrase, or the file was changed.
            KeyFileError: It was sealed with the public key of another.
        """
        wrapping = _derive(passphrase, self.salt, self.log_n)
        try:
            seed = wrapping.decrypt(_NONCE, self.box, _header(self.log_n, self.salt, self.public))
        except InvalidTag:
            raise PassphraseError(
                f"the passphrase does not open the key {self.did}, or its file was changed",
                hint=f"Try again. If it is surely right, the file is damaged. {_RESTORE}",
            ) from None
        if SigningKey(seed).public != self.public:
            raise KeyFileError("the key file states another public key than its own", hint=_RESTORE)
        return PlainKey(seed)


def decode_key_file(data: bytes) -> PlainKey | SealedKey:
    """Parse a key file; nothing is derived.

    Raises:
        KeyFileError: It is none, of an unknown version, or asks for too much.

    Source: specs/keys.md §1.
    """
    if len(data) == _SEED_BYTES:
        return PlainKey(data)
    if not data.startswith(_MAGIC):
        raise KeyFileError(f"{len(data)} bytes that are no key file: a plain one has {_SEED_BYTES}", hint=_RESTORE)
    if data[len(_MAGIC) :][:1] not in {b"", bytes([_VERSION])}:
        raise KeyFileError(f"a key file of version {data[len(_MAGIC)]}", hint="A newer version of Samara may read it.")
    if len(data) != MAX_KEY_FILE:
        raise KeyFileError(f"a sealed key file of {len(data)} bytes: it has {MAX_KEY_FILE}", hint=_RESTORE)
    _, _, derivation, log_n, salt, public = _HEADER.unpack_from(data)
    if derivation != _SCRYPT:
        raise KeyFileError(f"a key file with key derivation {derivation}", hint="A newer version may read it.")
    if not MIN_KEY_LOG_N <= log_n <= MAX_KEY_LOG_N:
        raise KeyFileError(
            f"a key file that wants scrypt with N = 2^{log_n}: expected 2^{MIN_KEY_LOG_N} to 2^{MAX_KEY_LOG_N}",
            hint=_RESTORE,
        )
    return SealedKey(log_n, salt, public, data[_HEADER.size :])


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


def _header(log_n: int, salt: bytes, public: bytes) -> bytes:
    return _HEADER.pack(_MAGIC, _VERSION, _SCRYPT, log_n, salt, public)


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
