"""Trust: what is known of a publisher, whether it is believed, and how old that is (specs/trust.md)."""

from samara.protocol.trust.floor import Clock, Floor, Moment, age_days, check_fresh
from samara.protocol.trust.forks import Fork, ForkKind, ForkProof, contradict, verify_fork
from samara.protocol.trust.ledger import Admitted, Ledger
from samara.protocol.trust.names import lookalikes, skeleton
from samara.protocol.trust.policy import DEFAULT_POLICY, Decision, Ground, Mode, Policy, Rule
from samara.protocol.trust.verdict import Facts, Judgement, Verdict, gather, judge
from samara.protocol.trust.witnesses import Cosigned, Course, Seen, Witness, course, on_both_sides, saw, seen_by

__all__ = [
    "DEFAULT_POLICY",
    "Admitted",
    "Clock",
    "Cosigned",
    "Course",
    "Decision",
    "Facts",
    "Floor",
    "Fork",
    "ForkKind",
    "ForkProof",
    "Ground",
    "Judgement",
    "Ledger",
    "Mode",
    "Moment",
    "Policy",
    "Rule",
    "Seen",
    "Verdict",
    "Witness",
    "age_days",
    "check_fresh",
    "contradict",
    "course",
    "gather",
    "judge",
    "lookalikes",
    "on_both_sides",
    "saw",
    "seen_by",
    "skeleton",
    "verify_fork",
]
