"""Every error that Samara raises on purpose, under one root.

An error says what happened, to what, and what to do next (`hint`). Its class decides the exit code of a command
(specs/cli.md), and its class name is what negative test vectors name. Errors of a remote peer and errors of our own are
apart: a `RemoteProtocolError` ends the session and counts against the peer, a `LocalProtocolError` is a bug here.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "AddressError",
    "AgentAnswerError",
    "AgentAwayError",
    "AgentError",
    "AgentKeyError",
    "AgentRefusedError",
    "AgentTimeoutError",
    "ChunkError",
    "ContentError",
    "CriticalError",
    "DeltaError",
    "DiskFullError",
    "EncodingError",
    "EngineError",
    "EnvelopeError",
    "ForkError",
    "FutureError",
    "HomeBusyError",
    "JsonError",
    "KeyFileError",
    "LicenseError",
    "LinkError",
    "LocalProtocolError",
    "LockedKeyError",
    "ModelHeaderError",
    "NetworkError",
    "NodeError",
    "NotFoundError",
    "OperationError",
    "PassphraseError",
    "PathError",
    "PeerBusyError",
    "PeerRefusedError",
    "ProtocolError",
    "ReadOnlyError",
    "RecordError",
    "RecordFileError",
    "RemoteProtocolError",
    "RevokedError",
    "RollbackError",
    "SamaraError",
    "SignatureError",
    "StaleError",
    "StatementError",
    "StickError",
    "StoppedError",
    "StoreError",
    "TableError",
    "UntrustedError",
    "UsageError",
    "VerificationError",
    "WordsError",
    "class_named",
    "name_of",
]


class SamaraError(Exception):
    """Root of all that Samara raises on purpose.

    Every class below it can be made of a message and a hint alone: that is what passes a door.

    Args:
        message: What happened, and to what.
        hint: What the person at the keyboard can do next; empty when there is nothing to say.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(SamaraError):
    """The command or call was given something that it cannot mean."""

    exit_code = 2


class LinkError(UsageError):
    """A REF or a `samara:` link is malformed (specs/records.md, "REF and link")."""


class AddressError(UsageError):
    """A multiaddr or a peer id is malformed, or of a kind that cannot be dialled (specs/network.md, "Addresses")."""


class LicenseError(UsageError):
    """A licence is missing or forbids redistribution, and nobody said a clear yes."""


class WordsError(UsageError):
    """Words are not those of a key: one is unknown, some are missing, or the checksum is wrong (specs/keys.md §3)."""


class NotFoundError(SamaraError):
    """Nobody who could be asked has it."""

    exit_code = 3


class VerificationError(SamaraError):
    """Bytes are not what a trusted hash or signature says, or are not in canonical form."""

    exit_code = 4


class ContentError(VerificationError):
    """Bytes of a content are wrong (specs/content.md)."""


class ChunkError(ContentError):
    """A chunk's bytes do not have the hash or the length that its list states."""


class EncodingError(ContentError):
    """A payload is not that of any chunk of its length in its encoding (specs/encodings.md)."""


class DeltaError(ContentError):
    """A delta pack that breaks its rules."""


class NodeError(ContentError):
    """A chunk-list node is malformed, not canonical, or not the one that was asked for."""


class TableError(ContentError):
    """A file table is malformed, not canonical, or not the one that its release names."""


class PathError(ContentError):
    """A file name is unsafe on some system that Samara supports."""


class RecordError(VerificationError):
    """A signed record is wrong (specs/records.md)."""


class JsonError(RecordError):
    """JSON outside the strict subset: duplicate keys, floats, depth, size, trailing bytes."""


class EnvelopeError(RecordError):
    """A DSSE envelope is malformed, or of a wrong payload type."""


class StatementError(RecordError):
    """A statement's fields are missing, of a wrong type, or contradict each other."""


class ForkError(StatementError):
    """Two records of one place are signed by one publisher's keys: neither is believed (specs/trust.md, "Forks").

    Each of them alone is intact, so the exit code is that of `UntrustedError`.

    Args:
        message: Whose records, and which place.
        pair: The two envelopes, which prove it to anybody; None where they are not at hand.
    """

    exit_code = 5

    def __init__(self, message: str, *, pair: tuple[bytes, bytes] | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.pair = pair


class RecordFileError(RecordError):
    """A file of records is cut off, damaged, or not laid out as it must be (specs/records.md §16)."""


class CriticalError(RecordError):
    """A record names a critical field that this version does not know."""


class SignatureError(RecordError):
    """A signature is missing, wrong, or by a key that may not sign this."""


class ModelHeaderError(VerificationError):
    """The header of a model file lies, or is outside the bounds that a loader can take."""


class DataHeaderError(VerificationError):
    """The footer of a data file lies, or is outside the bounds; nothing but advice is made from it."""


class StickError(VerificationError):
    """A stick is not laid out as it must be, holds what it must not, or does not keep what was written (stick.md)."""


class UntrustedError(SamaraError):
    """It verified, but by nobody whom you trust for it."""

    exit_code = 5


class RevokedError(UntrustedError):
    """Its publisher took it back, or took back the key that signed it."""


class RollbackError(UntrustedError):
    """It is older than what is known, or keys that were replaced want to add to what their successors wrote."""


class StaleError(UntrustedError):
    """It is intact, and older than was asked for: nobody here can say that nothing newer exists."""


class FutureError(UntrustedError):
    """It says that it was signed later than now: a wrong clock, or a wrong signer."""


class ProtocolError(SamaraError):
    """Root of what can go wrong in a conversation with a peer."""


class LocalProtocolError(ProtocolError):
    """We broke the protocol: a bug of ours, and nothing was sent."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol: the session ends and it counts against the peer."""


class OperationError(SamaraError):
    """An operation could not be done on this machine."""


class StoppedError(OperationError):
    """Whoever asked for an operation stopped it; what was done so far stays valid."""


class StoreError(OperationError):
    """The store cannot do this: damaged index, edited file, place away."""


class DiskFullError(StoreError):
    """No room: the disk, the quota or the floor of free space says no."""


class ReadOnlyError(StoreError):
    """The home, or the place that was named, cannot be written."""


class HomeBusyError(StoreError):
    """Another process holds this home."""


class KeyFileError(StoreError):
    """A key file is malformed, of a version that is not known, or asks for more than is given (specs/keys.md §1)."""


class PassphraseError(OperationError):
    """A passphrase does not open a key file, or cannot be one."""


class LockedKeyError(OperationError):
    """Something has to be signed, and the key is sealed with a passphrase that this process was not given."""


class AgentError(OperationError):
    """A key is in an agent, which cannot sign this with it (specs/keys.md §7)."""


class AgentAwayError(AgentError):
    """No agent can be reached, or it hung up."""


class AgentKeyError(AgentError):
    """An agent answers, and does not have the key."""


class AgentRefusedError(AgentError):
    """An agent was asked to sign, and said no."""


class AgentTimeoutError(AgentError):
    """An agent did not answer in time; it may have waited for a person."""


class AgentAnswerError(AgentError):
    """An agent answered with what is no answer, or with a wrong signature."""


class NetworkError(OperationError):
    """A peer cannot be reached, or went away."""


class PeerBusyError(NetworkError):
    """A peer has it, and asks to be asked again later. It has not stalled.

    Args:
        message: Who is busy.
        retry_after: Seconds to wait before asking it again; 0 when it did not say.
    """

    def __init__(self, message: str, *, retry_after: float = 0.0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class PeerRefusedError(NetworkError):
    """A peer will not answer this request, however often it is asked.

    Args:
        message: Who refused what.
        code: The reason it gave (specs/exchange.md, "NOT_FOUND, BUSY, REFUSED"); 0 when it gave none.
    """

    def __init__(self, message: str, *, code: int = 0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code


class EngineError(OperationError):
    """The inference engine cannot run here, or failed."""


def name_of(error: SamaraError) -> str:
    """Return the class that an error is told as: its own, or the nearest above it that stands in this file."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == __name__)


def class_named(name: str) -> type[SamaraError]:
    """Return the class of that name; `OperationError` for one that this version does not know."""
    kind = globals().get(name)
    return kind if isinstance(kind, type) and issubclass(kind, SamaraError) else OperationError
