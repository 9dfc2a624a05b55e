"""Canonical base64: one text for some bytes, and one only.

The standard alphabet with padding, no white space, no stray bits: encoding what was decoded gives the same text, so
nobody can write one signed thing in two ways.

Source: RFC 4648 §4; specs/records.md §2, 1.
"""

from __future__ import annotations

import base64
import binascii

from samara.protocol.errors import EnvelopeError

__all__ = ["decode_base64", "encode_base64"]


def encode_base64(raw: bytes) -> str:
    """Return the base64 of some bytes."""
    return base64.b64encode(raw).decode("ascii")


def decode_base64(value: object, what: str, limit: int) -> bytes:
    """Return the bytes that a text is the canonical base64 of.

    Args:
        value: What is to be such a text.
        what: Its name in messages.
        limit: The most bytes that it may have, ≥ 1.

    Raises:
        EnvelopeError: No text, not canonical, of no bytes, or of too many.
    """
    if not isinstance(value, str) or not value or len(value) > (limit + 2) // 3 * 4:
        raise EnvelopeError(f"{what}: expected base64 of 1 to {limit} bytes")
    try:
        raw = binascii.a2b_base64(value, strict_mode=True)
    except ValueError:
        raw = b""
    # Encoding again is the check for canonical form: alphabet, padding and stray bits.
    if not raw or len(raw) > limit or encode_base64(raw) != value:
        raise EnvelopeError(f"{what}: expected canonical base64 of 1 to {limit} bytes")
    return raw
