"""The verdict: one word for a release, and what it rests on (specs/trust.md, "Verdict").

Of several things that are wrong, the worst for whoever would use it is the word: REVOKED, since its publisher says that
it must not be used, and repairing it would be in vain; then DAMAGED, since nobody signed these bytes; then UNTRUSTED,
since nobody who is believed signed them; then STALE. All are in `reasons`, the word's first.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

from samara.protocol.ids import ReleaseId, format_record
from samara.protocol.records.entry import Verified
from samara.protocol.records.fields import parse_time
from samara.protocol.records.head import VerifiedHead
from samara.protocol.records.release import VerifiedRelease
from samara.protocol.records.revocation import KeyRevocation, ReleaseRevocation
from samara.protocol.records.signers import Standing
from samara.protocol.trust.floor import Moment, age_days
from samara.protocol.trust.forks import Fork
from samara.protocol.trust.ledger import Ledger
from samara.protocol.trust.policy import Decision, Ground, Mode
from samara.protocol.trust.witnesses import Seen, Witness, saw

__all__ = ["Facts", "Judgement", "Verdict", "gather", "judge"]


class Verdict(enum.Enum):
    """What to think of a release, the worst first."""

    REVOKED = "REVOKED"
    DAMAGED = "DAMAGED"
    UNTRUSTED = "UNTRUSTED"
    STALE = "STALE"
    GOOD = "GOOD"

    @property
    def exit_code(self) -> int:
        """The exit code of `samara verify`."""
        return _EXIT_CODES[self]


_EXIT_CODES: Final = {
    Verdict.REVOKED: 5,
    Verdict.DAMAGED: 4,
    Verdict.UNTRUSTED: 5,
    Verdict.STALE: 0,
    Verdict.GOOD: 0,
}


@final
@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a release when it is judged.

    Attributes:
        release: The release, verified.
        standing: How it stands with the keys that signed it, by all that is known.
        decision: What the policy says.
        moment: What time it is.
        head: The newest head of its name, whichever release that names; None when none is known.
        revocation: The release was taken back.
        key_revocation: A key was taken back without which the release would be believed.
        fork: The publisher is frozen.
        held: It was believed and held here before the publisher was frozen.
        expires: When the keys that signed it stop counting: its delegation's end, or None.
        damaged: Paths whose bytes are not what was signed.
        missing: Records of the publisher's log are missing here, a revocation may be among them.
        seen: Which of the witnesses that the rule asks for have seen in the log that it names the release.
    """

    release: VerifiedRelease
    standing: Standing
    decision: Decision
    moment: Moment
    head: VerifiedHead | None = None
    revocation: Verified[ReleaseRevocation] | None = None
    key_revocation: Verified[KeyRevocation] | None = None
    fork: Fork | None = None
    held: bool = False
    expires: str | None = None
    damaged: tuple[str, ...] = ()
    missing: bool = False
    seen: tuple[Seen, ...] = ()


@final
@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, and what it rests on.

    Attributes:
        verdict: The word.
        reasons: Why, a sentence each without a full stop; empty when all is well.
        notes: What else a person should know.
        keys: did:keys that signed the release.
        issued: When the release was signed, `YYYY-MM-DDTHH:MM:SSZ`.
        age_days: How old the newest is that is known here of this name: whole days.
        newer: The release that the newest head of this name names, when it is another.
        replacement: What its publisher says to use in its place.
        decision: The rule that decided, and on what ground.
        stops: It is not to be run or fetched, unless the user insists by name.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    keys: tuple[str, ...]
    issued: str
    age_days: int
    newer: ReleaseId | None
    replacement: ReleaseId | None
    decision: Decision
    stops: bool


def gather(
    ledger: Ledger,
    release: VerifiedRelease,
    decision: Decision,
    moment: Moment,
    *,
    held: bool = False,
    damaged: tuple[str, ...] = (),
    witnesses: Sequence[Witness] = (),
) -> Facts:
    """Return what a ledger knows of a release of its publisher.

    Args:
        ledger: Of the release's publisher.
        release: The release, verified.
        decision: What the policy says.
        moment: What time it is.
        held: It was believed and held here before the publisher was frozen, if it is.
        damaged: Paths whose bytes are not what was signed.
        witnesses: Those whom the rule that decided names.
    """
    delegation = release.signers.delegation
    delegated = None
    if delegation is not None:
        delegated = ledger.delegation_in_force(delegation) or ledger.delegations.get(delegation)
    return Facts(
        release=release,
        standing=ledger.standing(release),
        decision=decision,
        moment=moment,
        head=ledger.head(release.release.name),
        revocation=ledger.revocation(release.id),
        key_revocation=ledger.revoked_key(release),
        fork=ledger.fork,
        held=held,
        expires=None if delegated is None else delegated.said.expires,
        damaged=damaged,
        missing=bool(ledger.missing(1)),
        seen=saw(ledger, release.release.name, release.id, witnesses) if witnesses else (),
    )


def judge(facts: Facts) -> Judgement:
    """Return the verdict on a release.

    Source: specs/trust.md, "Verdict".
    """
    found: dict[Verdict, list[str]] = {verdict: [] for verdict in Verdict}
    _judge_revocations(facts, found[Verdict.REVOKED])
    if facts.damaged:
        found[Verdict.DAMAGED].append(f"{len(facts.damaged)} files are not what was signed: {_some(facts.damaged)}")
    _judge_trust(facts, found[Verdict.UNTRUSTED])
    _judge_age(facts, found[Verdict.STALE])
    verdict = next((word for word in Verdict if found[word]), Verdict.GOOD)
    said, head = facts.release.release, facts.head
    newest = said.issued if head is None else head.head.issued
    revocation = facts.revocation
    return Judgement(
        verdict=verdict,
        reasons=tuple(reason for word in Verdict for reason in found[word]),
        notes=tuple(_notes(facts)),
        keys=facts.release.signers.keys,
        issued=said.issued,
        age_days=age_days(newest, facts.moment.now),
        newer=None if head is None or head.head.release == facts.release.id else head.head.release,
        replacement=None if revocation is None else revocation.said.replacement,
        decision=facts.decision,
        stops=verdict in (Verdict.REVOKED, Verdict.DAMAGED)
        or (verdict is Verdict.UNTRUSTED and facts.decision.rule.mode is Mode.ENFORCE),
    )


def _judge_revocations(facts: Facts, reasons: list[str]) -> None:
    if facts.revocation is not None:
        said = facts.revocation.said
        text = f": {said.text}" if said.text else ""
        reasons.append(f"its publisher took it back on {said.origin.issued[:10]}: {said.reason.value}{text}")
    if facts.key_revocation is not None:
        key = facts.key_revocation.said
        reasons.append(f"its publisher took back the key {key.key} that signed it, on {key.origin.issued[:10]}")


def _judge_trust(facts: Facts, reasons: list[str]) -> None:
    if facts.decision.ground is Ground.OFF:
        return
    if not facts.decision.believed:
        reasons.append(f"nobody whom the rule {facts.decision.rule} believes has signed it")
    if facts.standing is Standing.RETIRED and facts.key_revocation is None:
        delegate = facts.release.signers.delegation is not None
        reasons.append(
            "a delegate signed it whose delegation has ended, or went to other keys, and nothing newer names it"
            if delegate
            else "keys signed it that do not speak for its publisher any more, and nothing newer names it"
        )
    if facts.fork is not None and not facts.held:
        reasons.append(f"its publisher is frozen: {facts.fork.what} are signed")
    rule = facts.decision.rule
    if rule.witnesses and facts.decision.ground is not Ground.OWN and len(facts.seen) < rule.witness_threshold:
        who = f"{len(facts.seen)} of the witnesses of the rule {rule} have"
        reasons.append(f"{who} seen in its publisher's log that it was published: {rule.witness_threshold} must")
    if _is_future(facts):
        reasons.append(f"it says that it was signed on {facts.release.release.issued[:10]}, which is to come")


def _judge_age(facts: Facts, reasons: list[str]) -> None:
    now, head, most = facts.moment.now, facts.head, facts.decision.rule.max_age_days
    issued = facts.release.release.issued if head is None else head.head.issued
    age = age_days(issued, now)
    if head is not None and head.head.expires is not None and now > parse_time(head.head.expires):
        reasons.append(f"{age} days old, and something newer was to be expected by {head.head.expires[:10]}")
    elif most is not None and age > most:
        reasons.append(f"{age} days old, and the rule {facts.decision.rule} takes at most {most}")
    if facts.expires is not None and now > parse_time(facts.expires):
        reasons.append(f"the delegation under which it is signed expired on {facts.expires[:10]}")
    if facts.fork is not None and facts.held:
        reasons.append(f"its publisher is frozen since it was fetched: {facts.fork.what} are signed")


def _notes(facts: Facts) -> list[str]:
    notes: list[str] = []
    if facts.decision.ground is Ground.FIRST_USE:
        notes.append("its publisher was taken at first sight: nobody here vouches for them")
    if facts.missing:
        notes.append("records of its publisher are missing here, a revocation may be among them")
    if facts.head is not None and facts.head.head.release != facts.release.id:
        notes.append(f"a newer one of this name is known: {format_record(facts.head.head.release)}")
    return notes


def _is_future(facts: Facts) -> bool:
    return parse_time(facts.release.release.issued) > facts.moment.latest


def _some(paths: tuple[str, ...]) -> str:
    return ", ".join(paths[:3]) + (", …" if len(paths) > 3 else "")
