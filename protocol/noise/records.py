"""Records: bytes sealed under a counter, after the handshake. A length, then the ciphertext with its tag.

Both halves work into buffers of the caller, so that bulk is copied by the cipher alone. A sealed record must be sent,
all of it and in order: the other end counts, too. After a record that does not open the half is dead.

Source: specs/transport.md, "Records"; Noise Protocol Framework, §5.1, §11.3.
"""

from __future__ import annotations

from typing import Final, final

from cryptography.exceptions import InvalidTag

from samara.protocol.errors import LocalProtocolError, RemoteProtocolError
from samara.protocol.limits import MAX_RECORDS_OF_A_KEY
from samara.protocol.noise.suites import TAG, Suite

__all__ = ["Opener", "Sealer"]

_REKEY_NONCE: Final = 2**64 - 1


class _Half:
    """One direction of a channel: a key and the number of the next record."""

    def __init__(self, suite: Suite, key: bytes, first: int = 0) -> None:
        self.suite = suite
        self.head = suite.length.size
        """Bytes of a record's length field."""
        self._key = key
        self._aead = suite.aead(key)
        self._number = first
        self._rekey_at = first + suite.rekey_after if suite.rekey_after else MAX_RECORDS_OF_A_KEY

    def _turn(self) -> None:
        """Replace the key, or end where it cannot be replaced: no key seals more than it safely can."""
        suite = self.suite
        if suite.rekey_after is None:
            raise LocalProtocolError("the secure channel has sealed all that one key may")
        # Noise's REKEY: the cipher's own output under the last nonce, which is never used otherwise.
        self._key = self._aead.encrypt(suite.nonce(_REKEY_NONCE), bytes(32), None)[:32]
        self._aead = suite.aead(self._key)
        self._rekey_at += suite.rekey_after


@final
class Sealer(_Half):
    """Seals what is sent.

    Args:
        suite: Of which channel.
        key: 32 bytes.
        first: Number of the first record.
    """

    def seal_into(self, data: memoryview, out: memoryview) -> int:
        """Seal one record into the beginning of `out`; return the bytes of it.

        Args:
            data: 0 to `suite.most` bytes.
            out: At least `head + len(data) + 16` bytes; no part of `data`.

        Raises:
            LocalProtocolError: More than fits into a record, or one key has sealed all that it may.
        """
        size = len(data) + TAG
        if len(data) > self.suite.most:
            raise LocalProtocolError(f"a record of {len(data)} bytes: at most {self.suite.most}")
        if self._number == self._rekey_at:
            self._turn()
        end = self.head + size
        self.suite.length.pack_into(out, 0, size)
        self._aead.encrypt_into(self.suite.nonce(self._number), data, None, out[self.head : end])
        self._number += 1
        return end


@final
class Opener(_Half):
    """Opens what was received.

    Args:
        suite: Of which channel.
        key: 32 bytes.
        first: Number of the first record.
    """

    def size(self, data: memoryview) -> int | None:
        """Return how many bytes the record at the beginning of `data` has, its length field included; None if unknown.

        Raises:
            RemoteProtocolError: It is too long, or too short to be one.
        """
        if len(data) < self.head:
            return None
        size: int = self.suite.length.unpack_from(data)[0]
        if not TAG <= size <= self.suite.most + TAG:
            raise RemoteProtocolError(f"a record of {size} bytes: {TAG} to {self.suite.most + TAG}")
        return self.head + size

    def open_into(self, record: memoryview, out: memoryview) -> int:
        """Open one whole record, as `size` says, into the beginning of `out`; return the bytes of plaintext.

        Raises:
            RemoteProtocolError: It was changed, or is not the next one. The channel must not be used any more.
        """
        if self._number == self._rekey_at:
            self._turn()
        plain = len(record) - self.head - TAG
        try:
            self._aead.decrypt_into(self.suite.nonce(self._number), record[self.head :], None, out[:plain])
        except InvalidTag:
            raise RemoteProtocolError("a record that does not open") from None
        self._number += 1
        return plain
