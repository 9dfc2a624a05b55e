"""What the scheduler says: wants, outcomes, verdicts, events, and how far it is. Frozen values, no behaviour."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

from samara.protocol.scheduler.pace import Standing

__all__ = ["Event", "Failure", "Outcome", "PeerProgress", "Progress", "Ready", "Stalled", "Verdict", "Want"]


@final
@dataclass(frozen=True, slots=True)
class Want:
    """Ask one peer for a run of chunks, in order.

    Attributes:
        stream: The stream in which it begins.
        first: The first chunk.
        count: How many, 1 to `MAX_RUN`; beyond the end of the stream it goes on in the next one that has chunks.
        ticket: Different for each want of a scheduler: news of a want that was taken back never touches a later one.
    """

    stream: int
    first: int
    count: int
    ticket: int = field(repr=False)


@final
class Outcome(enum.Enum):
    """What to do with a chunk that arrived and is right."""

    ACCEPTED = enum.auto()
    """It was missing: keep it."""
    DUPLICATE = enum.auto()
    """It came from elsewhere before: drop it."""


@final
class Failure(enum.Enum):
    """Why a want ended before all its chunks came."""

    LOST = enum.auto()
    """The connection is gone, or we gave up the request ourselves: says nothing about what the peer holds."""
    NOT_FOUND = enum.auto()
    """The first chunk that is still owed is not there, though it was claimed; also an answer that was too short."""
    REFUSED = enum.auto()
    """Asking this again is of no use."""


@final
@dataclass(frozen=True, slots=True)
class Verdict:
    """What a wrong chunk means. The peer is excluded from this fetch already: end its session.

    Attributes:
        wrong: Wrong chunks of this peer so far, those before this fetch included; to be remembered.
        banned: They are `BAN_AFTER` or more: refuse its connections from now on.
    """

    wrong: int
    banned: bool


@final
@dataclass(frozen=True, slots=True)
class Stalled:
    """A peer sent nothing, or too little, for too long.

    Attributes:
        peer: Who.
        wants: What it owed, and owes no more: cancel these.
        dropped: It is forgotten: end its session.
    """

    peer: str
    wants: tuple[Want, ...]
    dropped: bool


@final
@dataclass(frozen=True, slots=True)
class Ready:
    """A peer's rest is over, or it may now help with what others owe: call `next_requests` for it."""

    peer: str


Event = Stalled | Ready


@final
@dataclass(frozen=True, slots=True)
class PeerProgress:
    """One peer, for people to see.

    Attributes:
        standing: How far it is relied on.
        received: Bytes of chunks kept from it.
        rate: Bytes a second, measured; None until there is a measure.
        window: Bytes that it may owe.
        owed: Bytes that it owes.
    """

    standing: Standing
    received: int
    rate: float | None
    window: int
    owed: int


@final
@dataclass(frozen=True, slots=True)
class Progress:
    """How far a fetch is.

    Attributes:
        chunks: Chunks that were added.
        chunks_missing: Those that are not kept.
        bytes_missing: Their bytes.
        bytes_received: Bytes of chunks that were accepted, whoever sent them (put back ones included).
        bytes_wasted: Bytes of right chunks that came twice.
        received: Bytes that were accepted, by peer; those that have gone are included.
        peers: The peers that are known now.
    """

    chunks: int
    chunks_missing: int
    bytes_missing: int
    bytes_received: int
    bytes_wasted: int
    received: Mapping[str, int]
    peers: Mapping[str, PeerProgress]
