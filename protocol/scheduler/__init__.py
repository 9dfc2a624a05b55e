"""Which peer is asked for which chunks of one content, without IO or a clock (specs/scheduler.md)."""

from samara.protocol.scheduler.news import (
    Event,
    Failure,
    Outcome,
    PeerProgress,
    Progress,
    Ready,
    Stalled,
    Verdict,
    Want,
)
from samara.protocol.scheduler.pace import Standing
from samara.protocol.scheduler.scheduler import Scheduler

__all__ = [
    "Event",
    "Failure",
    "Outcome",
    "PeerProgress",
    "Progress",
    "Ready",
    "Scheduler",
    "Stalled",
    "Standing",
    "Verdict",
    "Want",
]
