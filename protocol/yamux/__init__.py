"""Yamux: many streams on one connection, each with a window of its own.

    frames     the header of twelve bytes
    session    both ends' machine: bytes in, events out; wishes in, bytes out

Source: specs/transport.md, "Streams"; the Yamux specification of HashiCorp and libp2p.
"""

from samara.protocol.yamux.session import (
    Body,
    Ended,
    Event,
    GoneAway,
    Ponged,
    Reset,
    Session,
    StreamOpened,
    Windowed,
)

__all__ = ["Body", "Ended", "Event", "GoneAway", "Ponged", "Reset", "Session", "StreamOpened", "Windowed"]
