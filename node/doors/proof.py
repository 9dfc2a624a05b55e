"""How the two ends of a loopback door prove that they know its token, before either says anything else.

    caller:  {"type": "challenge", "nonce": A}
    node:    {"type": "challenge", "nonce": B, "proof": HMAC(token, "node A B")}
    caller:  {"type": "proof", "proof": HMAC(token, "caller A B")}

A port belongs to whoever binds it first: after a crash the one in a lock file may be a stranger's. So the token itself
is never sent, the caller says nothing before the node has proved itself, and an old answer is of no use.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Final

import msgspec

from samara.protocol.errors import UsageError

__all__ = ["MAX_PROOF_LINE", "Caller", "Keeper"]

MAX_PROOF_LINE: Final = 1024
"""Bytes of one of these lines; ours have 200."""


class _Challenge(msgspec.Struct, frozen=True, tag="challenge", omit_defaults=True):
    nonce: str
    proof: str = ""


class _Proof(msgspec.Struct, frozen=True, tag="proof"):
    proof: str


class Caller:
    """The caller's side.

    Args:
        token: As the lock file has it.
    """

    def __init__(self, token: str) -> None:
        self._token = token
        self._nonce = secrets.token_hex(16)

    def challenge(self) -> bytes:
        """Return the first line."""
        return msgspec.json.encode(_Challenge(self._nonce)) + b"\n"

    def answer(self, line: bytes) -> bytes | None:
        """Return the last line; None when whoever answered does not know the token."""
        try:
            theirs = msgspec.json.decode(line, type=_Challenge)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        if not _is_right(theirs.proof, self._token, "node", self._nonce, theirs.nonce):
            return None
        return msgspec.json.encode(_Proof(_prove(self._token, "caller", self._nonce, theirs.nonce))) + b"\n"


class Keeper:
    """The node's side.

    Args:
        token: As it wrote into the lock file.
    """

    def __init__(self, token: str) -> None:
        self._token = token
        self._nonce = secrets.token_hex(16)
        self._theirs = ""

    def answer(self, line: bytes) -> bytes:
        """Return the answer to a caller's first line.

        Raises:
            UsageError: It is no challenge.
        """
        try:
            self._theirs = msgspec.json.decode(line, type=_Challenge).nonce
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise UsageError(f"the local door wants a challenge first: {error}") from error
        proof = _prove(self._token, "node", self._theirs, self._nonce)
        return msgspec.json.encode(_Challenge(self._nonce, proof)) + b"\n"

    def check(self, line: bytes) -> None:
        """Check a caller's last line.

        Raises:
            UsageError: The caller does not know the token.
        """
        try:
            said = msgspec.json.decode(line, type=_Proof).proof
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise UsageError(f"the local door wants a proof: {error}") from error
        if not _is_right(said, self._token, "caller", self._theirs, self._nonce):
            raise UsageError("the local door was called without its token")


def _prove(token: str, who: str, callers: str, nodes: str) -> str:
    return hmac.digest(token.encode(), f"{who} {callers} {nodes}".encode(), "sha256").hex()


def _is_right(proof: str, token: str, who: str, callers: str, nodes: str) -> bool:
    return hmac.compare_digest(proof.encode(), _prove(token, who, callers, nodes).encode())
