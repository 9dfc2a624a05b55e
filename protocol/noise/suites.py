"""The two channels that are spoken: the one of every libp2p peer, and a faster one between processors that have AES.

They differ in the cipher, the size of a record and the prologue, and in nothing of the handshake.

Source: specs/transport.md, "Secure channel".
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from samara.protocol.limits import MAX_NOISE_RECORD, MAX_RECORD, REKEY_AFTER

__all__ = ["AES", "CHACHA", "SUITES", "TAG", "Suite"]

TAG: Final = 16
"""Bytes by which a sealed record is longer than what is in it."""

_Aead: TypeAlias = type[AESGCM] | type[ChaCha20Poly1305]


@dataclass(frozen=True, slots=True)
class Suite:
    """One secure channel.

    Attributes:
        protocol: Its name in multistream-select.
        noise: Its name in Noise, which both ends hash first.
        prologue: What both ends hash next.
        aead: The cipher, made of a key of 32 bytes.
        nonce: The 12 bytes of nonce number n.
        length: The record's length field.
        most: Bytes of plaintext in one record at most.
        rekey_after: Records of one direction after which its key is replaced; None for never.
    """

    protocol: str
    noise: bytes
    prologue: bytes
    aead: _Aead = field(repr=False)
    nonce: Callable[[int], bytes] = field(repr=False)
    length: struct.Struct = field(repr=False)
    most: int
    rekey_after: int | None


CHACHA: Final = Suite(
    protocol="/noise",
    noise=b"Noise_XX_25519_ChaChaPoly_SHA256",
    prologue=b"",
    aead=ChaCha20Poly1305,
    nonce=struct.Struct("<4xQ").pack,
    length=struct.Struct(">H"),
    most=MAX_NOISE_RECORD - TAG,
    rekey_after=None,
)
"""What libp2p calls `/noise`."""

AES: Final = Suite(
    protocol="/samara/noise-aes/1",
    noise=b"Noise_XX_25519_AESGCM_SHA256",
    prologue=b"/samara/noise-aes/1",
    aead=AESGCM,
    nonce=struct.Struct(">4xQ").pack,
    length=struct.Struct(">I"),
    most=MAX_RECORD,
    rekey_after=REKEY_AFTER,
)
"""Samara's own: AES-256-GCM, and records of up to `MAX_RECORD` bytes."""

SUITES: Final = {suite.protocol: suite for suite in (AES, CHACHA)}
"""All of them by name, the faster one on processors with AES first."""
