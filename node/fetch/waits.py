"""How long a fetch waits for what."""

from __future__ import annotations

from dataclasses import dataclass

from samara.protocol.limits import HANDSHAKE_TIMEOUT, PROGRESS_WINDOW

__all__ = ["Waits"]


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds; the defaults are for people, tests have less time.

    Attributes:
        connect: For a connection, and again for HELLO.
        answer: For a peer that owes an answer and moves nothing.
        gain: For anything new at all, while peers that have it are connected: they may be busy, but not for ever.
        pause: Until a peer that could not be reached, or was lost, is tried again; it doubles each time.
        help: Until a second peer is asked for what a first one has not brought.
    """

    connect: float = HANDSHAKE_TIMEOUT
    answer: float = PROGRESS_WINDOW
    gain: float = 600.0
    pause: float = 2.0
    help: float = 2.0
