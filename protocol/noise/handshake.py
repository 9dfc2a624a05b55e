"""The handshake Noise XX: three messages, after which both ends know whom they talk to and share two keys.

    initiator                              responder
    1  e                          ──►
                                  ◄──      2  e, ee, s, es, payload
    3  s, se, payload             ──►

Bytes in, bytes out: the caller sends what is returned, and hands in what came. Each message is preceded by its length
(u16, big-endian). The keys of one handshake are drawn by the caller, who has the randomness.

Source: the Noise Protocol Framework, revision 34, §5, §7; specs/transport.md, "Handshake".
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from samara.protocol.errors import LocalProtocolError, RemoteProtocolError
from samara.protocol.limits import MAX_HANDSHAKE_MESSAGE
from samara.protocol.noise.identity import Identity, Peer, verify_payload
from samara.protocol.noise.records import Opener, Sealer
from samara.protocol.noise.suites import TAG, Suite

__all__ = ["Handshake", "Secured"]

_KEY: Final = 32
_HEAD: Final = 2


@final
@dataclass(frozen=True, slots=True)
class Secured:
    """What a handshake has made.

    Attributes:
        peer: The authenticated peer id.
        muxer: What is spoken from here on, if both said in the handshake what they can; else it is agreed on now.
        sealer: For what is sent.
        opener: For what is received.
        rest: Bytes that came after the handshake.
        opened: Bytes that were opened already.
    """

    peer: str
    muxer: str | None
    sealer: Sealer
    opener: Opener
    rest: bytes
    opened: bytes = b""


class _Symmetric:
    """Noise's symmetric state: what both ends have hashed, and the key that they have by now (§5.2)."""

    def __init__(self, suite: Suite) -> None:
        self._suite = suite
        self._hash = suite.noise.ljust(_KEY, b"\0") if len(suite.noise) <= _KEY else sha256(suite.noise).digest()
        self._chain = self._hash
        self._key: bytes | None = None
        self._number = 0
        self.mix_hash(suite.prologue)

    def mix_hash(self, data: bytes) -> None:
        self._hash = sha256(self._hash + data).digest()

    def mix_key(self, shared: bytes) -> None:
        self._chain, self._key = _hkdf(self._chain, shared)
        self._number = 0

    def encrypt(self, data: bytes) -> bytes:
        sealed = data
        if self._key is not None:
            sealed = self._suite.aead(self._key).encrypt(self._suite.nonce(self._number), data, self._hash)
            self._number += 1
        self.mix_hash(sealed)
        return sealed

    def decrypt(self, sealed: bytes) -> bytes:
        data = sealed
        if self._key is not None:
            try:
                data = self._suite.aead(self._key).decrypt(self._suite.nonce(self._number), sealed, self._hash)
            except InvalidTag:
                raise RemoteProtocolError("a handshake message that does not open") from None
            self._number += 1
        self.mix_hash(sealed)
        return data

    def split(self) -> tuple[bytes, bytes]:
        return _hkdf(self._chain, b"")


@final
class Handshake:
    """One handshake.

    Args:
        suite: Which channel.
        identity: Who we are.
        static: The seed of our static Noise key, 32 random bytes; may serve many handshakes.
        ephemeral: The seed of the key of this handshake, 32 random bytes that serve no other.
        initiator: Whether we dialled.
    """

    def __init__(self, suite: Suite, identity: Identity, static: bytes, ephemeral: bytes, *, initiator: bool) -> None:
        self._suite = suite
        self._identity = identity
        self._static = X25519PrivateKey.from_private_bytes(static)
        self._ephemeral = X25519PrivateKey.from_private_bytes(ephemeral)
        self._initiator = initiator
        self._state = _Symmetric(suite)
        self._held = bytearray()
        self._turn = 1
        self.secured: Secured | None = None
        """What it has made, once it is over."""

    def begin(self) -> bytes:
        """Return what is sent before anything is received: message 1, or nothing."""
        if not self._initiator:
            return b""
        self._next(1)
        return self._message(self._own_ephemeral() + self._state.encrypt(b""))

    def receive(self, data: bytes) -> bytes:
        """Take bytes of the peer; return what is to be sent. Once `secured` is set, it is over.

        Raises:
            RemoteProtocolError: The peer does not keep to the handshake, or cannot prove who it is.
        """
        if self.secured is not None:
            raise LocalProtocolError("the handshake is over")
        self._held += data
        out = b""
        while self.secured is None and (message := self._take()) is not None:
            match self._turn:
                case 1 if not self._initiator:
                    self._next(1)
                    out += self._answer(self._hear_ephemeral(message))
                case 2 if self._initiator:
                    self._next(2)
                    out += self._hear_answer(message)
                case 3 if not self._initiator:
                    self._next(3)
                    self._hear_last(message)
                case _:
                    raise LocalProtocolError("the handshake was not begun")
        return out

    # The messages.

    def _hear_ephemeral(self, message: bytes) -> X25519PublicKey:
        theirs, rest = self._take_ephemeral(message)
        self._state.decrypt(rest)  # a payload that nobody has proved: it is hashed, and not looked at
        return theirs

    def _answer(self, theirs: X25519PublicKey) -> bytes:
        self._next(2)
        out = self._own_ephemeral()
        self._state.mix_key(self._agree(self._ephemeral, theirs))
        static = self._static.public_key().public_bytes_raw()
        out += self._state.encrypt(static)
        self._state.mix_key(self._agree(self._static, theirs))
        return self._message(out + self._state.encrypt(self._identity.payload(static)))

    def _hear_answer(self, message: bytes) -> bytes:
        ephemeral, rest = self._take_ephemeral(message)
        self._state.mix_key(self._agree(self._ephemeral, ephemeral))
        peer = self._hear_static(rest)
        self._next(3)
        own = self._static.public_key().public_bytes_raw()
        out = self._state.encrypt(own)
        self._state.mix_key(self._agree(self._static, ephemeral))
        out += self._state.encrypt(self._identity.payload(own))
        self._finish(peer)
        return self._message(out)

    def _hear_last(self, message: bytes) -> None:
        self._finish(self._hear_static(message))

    def _hear_static(self, message: bytes) -> Peer:
        sealed, rest = self._cut(message, _KEY + TAG)
        static = self._state.decrypt(sealed)
        theirs = X25519PublicKey.from_public_bytes(static)
        self._state.mix_key(self._agree(self._ephemeral, theirs))
        return verify_payload(self._state.decrypt(rest), static)

    # Its parts.

    def _next(self, turn: int) -> None:
        if self._turn != turn:
            raise LocalProtocolError("the handshake was begun twice")
        self._turn = turn + 1

    def _own_ephemeral(self) -> bytes:
        key = self._ephemeral.public_key().public_bytes_raw()
        self._state.mix_hash(key)
        return key

    def _take_ephemeral(self, message: bytes) -> tuple[X25519PublicKey, bytes]:
        key, rest = self._cut(message, _KEY)
        self._state.mix_hash(key)
        return X25519PublicKey.from_public_bytes(key), rest

    def _agree(self, ours: X25519PrivateKey, theirs: X25519PublicKey) -> bytes:
        try:
            return ours.exchange(theirs)
        except ValueError:  # a point of low order: the shared secret would be no secret
            raise RemoteProtocolError("a handshake key that gives no secret") from None

    def _finish(self, peer: Peer) -> None:
        first, second = self._state.split()
        ours, theirs = (first, second) if self._initiator else (second, first)
        suite, rest = self._suite, bytes(self._held)
        firsts, seconds = (self._identity.muxers, peer.muxers)[:: 1 if self._initiator else -1]
        muxer = next((muxer for muxer in firsts if muxer in seconds), None)
        self.secured = Secured(peer.id, muxer, Sealer(suite, ours), Opener(suite, theirs), rest)

    def _message(self, body: bytes) -> bytes:
        return len(body).to_bytes(_HEAD, "big") + body

    def _take(self) -> bytes | None:
        if len(self._held) < _HEAD:
            return None
        size = int.from_bytes(self._held[:_HEAD], "big")
        if size > MAX_HANDSHAKE_MESSAGE:
            raise RemoteProtocolError(f"a handshake message of {size} bytes: at most {MAX_HANDSHAKE_MESSAGE}")
        if len(self._held) < _HEAD + size:
            return None
        message = bytes(self._held[_HEAD : _HEAD + size])
        del self._held[: _HEAD + size]
        return message

    def _cut(self, message: bytes, length: int) -> tuple[bytes, bytes]:
        if len(message) < length:
            raise RemoteProtocolError("a handshake message that is cut short")
        return message[:length], message[length:]


def _hkdf(chain: bytes, shared: bytes) -> tuple[bytes, bytes]:
    """Noise's HKDF with two outputs (§4.3)."""
    secret = hmac.digest(chain, shared, "sha256")
    first = hmac.digest(secret, b"\x01", "sha256")
    return first, hmac.digest(secret, first + b"\x02", "sha256")
