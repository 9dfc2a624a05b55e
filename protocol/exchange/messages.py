"""What the two sides of an exchange say, as typed values.

A value here is a claim until `headers.encode` or `headers.decode` has held it against `rules`. What may be said when is
decided in `session`. Payloads are never part of a message: they follow it.

Source: specs/exchange.md; specs/exchange.proto.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, TypeAlias

from samara.protocol.ids import ContentId, Digest, PublisherId, ReleaseId
from samara.protocol.limits import MAX_OUTSTANDING, MAX_PAYLOAD

__all__ = [
    "MAX_ID",
    "PROTOCOL",
    "RAW",
    "VERSION",
    "Ahead",
    "Answer",
    "Busy",
    "Cancel",
    "Chunk",
    "GetLog",
    "GetNodes",
    "GetRecords",
    "Have",
    "HaveRequest",
    "Hello",
    "LogPart",
    "Message",
    "Node",
    "NotFound",
    "RecordsPart",
    "Refusal",
    "Refused",
    "Request",
    "Unknown",
    "Want",
]

PROTOCOL: Final = "/samara/exchange/1"
VERSION: Final = 1
RAW: Final = 0
"""The encoding of a chunk that is sent as it is."""

SPOKEN: Final = (RAW, 1, 2, 3)
"""The encodings that this version can decode (specs/encodings.md)."""

MAX_ID: Final = (1 << 32) - 1


class Refusal(enum.IntEnum):
    """Why a request is REFUSED. A peer may name others: they are a plain refusal."""

    UNKNOWN = 1
    CANCELLED = 2
    OUT_OF_RANGE = 3
    LIMIT = 4


@dataclass(frozen=True, slots=True)
class Hello:
    """What one side says of itself.

    Attributes:
        versions: Minor versions of `/samara/exchange/1` that it speaks, ascending.
        features: Extensions that it speaks, ascending.
        max_payload: The largest payload that it accepts, in bytes.
        max_outstanding: Requests that it serves at a time.
        encodings: Chunk encodings that it can decode, ascending; raw is always there.
        agent: What it runs: a claim, for people.
    """

    versions: tuple[int, ...] = (VERSION,)
    features: tuple[str, ...] = ()
    max_payload: int = MAX_PAYLOAD
    max_outstanding: int = MAX_OUTSTANDING
    encodings: tuple[int, ...] = (RAW,)
    agent: str = ""


@dataclass(frozen=True, slots=True)
class GetRecords:
    """Asks for a release's records, by its id, or by publisher and name (then `release` is None).

    With `ahead`, at most so many bytes of its content's table and lists may follow them.
    """

    id: int
    release: ReleaseId | None = None
    publisher: PublisherId | None = None
    name: str = ""
    ahead: int = 0


@dataclass(frozen=True, slots=True)
class GetLog:
    """Asks for a publisher's roots beyond version `root` (0: all), and its log from the position `first` on."""

    id: int
    publisher: PublisherId
    root: int
    first: int


@dataclass(frozen=True, slots=True)
class GetNodes:
    """Asks for chunk-list nodes of a content, by hash."""

    id: int
    content: ContentId
    hashes: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class HaveRequest:
    """Asks what is held: of the chunks of `stream`, or, when that is None, of the files; from the bit `first` on.

    With `bases`, contents that the opener holds, also what can be given to it as a delta alone.
    """

    id: int
    content: ContentId
    stream: int | None
    first: int = 0
    bases: tuple[ContentId, ...] = ()


@dataclass(frozen=True, slots=True)
class Want:
    """Asks for a run: `count` chunks from chunk `first` of a stream on, in any of `encodings`, perhaps on `bases`.

    A run that goes beyond the end of a file goes on in the next one of the table that has chunks.
    """

    id: int
    content: ContentId
    stream: int
    first: int
    count: int
    encodings: tuple[int, ...] = (RAW,)
    bases: tuple[ContentId, ...] = ()


@dataclass(frozen=True, slots=True)
class Cancel:
    """Says that the request `id` is no longer wanted."""

    id: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """A request that this version does not know; it is answered REFUSED."""

    id: int


@dataclass(frozen=True, slots=True)
class RecordsPart:
    """Envelopes of an answer to `GetRecords`, whole, one after another in the payload.

    Attributes:
        id: The request.
        index: Number of the first envelope of this part within the answer.
        roots: Root envelopes of the whole answer; they come first, the release follows.
        head: A head's envelope comes last.
        sizes: Bytes of each envelope of this part.
        ahead: `Ahead` follows the last envelope.
    """

    id: int
    index: int
    roots: int
    head: bool
    sizes: tuple[int, ...]
    ahead: bool = False

    @property
    def total(self) -> int:
        """Envelopes of the whole answer."""
        return self.roots + 1 + self.head


@dataclass(frozen=True, slots=True)
class Ahead:
    """The payload is objects that belong to the release whose records came: nodes of lists, chunks of its table.

    Attributes:
        id: The request.
        sizes: Bytes of each object.
        whole: The acceptor holds all files of the content.
    """

    id: int
    sizes: tuple[int, ...]
    whole: bool = False


@dataclass(frozen=True, slots=True)
class LogPart:
    """Envelopes of an answer to `GetLog`, whole, one after another in the payload.

    Attributes:
        id: The request.
        index: Number of the first envelope of this part within the answer.
        roots: Roots of the whole answer; they come first.
        forks: Proofs of forks that follow, two envelopes each.
        revocations: Revocations that follow, which are not among the entries.
        entries: Records of the log that follow, by position.
        newest: Position of the newest record that the peer has; 0 when it has none.
        sizes: Bytes of each envelope of this part.
    """

    id: int
    index: int
    roots: int
    forks: int
    revocations: int
    entries: int
    newest: int
    sizes: tuple[int, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """What every part of an answer says alike."""
        return self.roots, self.forks, self.revocations, self.entries, self.newest

    @property
    def total(self) -> int:
        """Envelopes of the whole answer."""
        return self.roots + 2 * self.forks + self.revocations + self.entries


@dataclass(frozen=True, slots=True)
class Node:
    """The payload is node number `index` of those that `GetNodes` named."""

    id: int
    index: int


@dataclass(frozen=True, slots=True)
class Have:
    """The payload is a page of bits from `first` on, of `total`; when `whole`, all are set and there is no payload."""

    id: int
    total: int
    first: int
    whole: bool


@dataclass(frozen=True, slots=True)
class Chunk:
    """The payload is `count` chunks from number `index` of the run on, or one in another encoding than raw.

    Attributes:
        id: The request.
        index: Number of the first chunk, counted from 0 within the run that was asked for.
        encoding: How the payload is encoded; 0 is raw.
        base: Hash of the chunk that the payload is a delta to, or None.
        payload_hash: BLAKE3 of the payload; None exactly when it is raw.
        count: Chunks in the payload, one after another; 1 unless raw.
        passed_on: The acceptor did not make the payload, and cannot tell whether it leads to the chunk.
    """

    id: int
    index: int
    encoding: int = RAW
    base: Digest | None = None
    payload_hash: Digest | None = None
    count: int = 1
    passed_on: bool = False


@dataclass(frozen=True, slots=True)
class NotFound:
    """What was asked (the rest of it) is not here for this peer."""

    id: int


@dataclass(frozen=True, slots=True)
class Busy:
    """Not now; ask again after `retry_ms` milliseconds."""

    id: int
    retry_ms: int


@dataclass(frozen=True, slots=True)
class Refused:
    """No; `code` is a `Refusal`, or a number that this version does not know."""

    id: int
    code: int


Request: TypeAlias = GetRecords | GetLog | GetNodes | HaveRequest | Want
Answer: TypeAlias = RecordsPart | Ahead | LogPart | Node | Have | Chunk | NotFound | Busy | Refused
Message: TypeAlias = Hello | Request | Cancel | Unknown | Answer
