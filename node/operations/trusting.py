"""trust: the rules by which publishers are believed, the forks that were found out, and the floor of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from samara.node.operations.base import Operation, Query, Report
from samara.node.operations.refs import publisher_text
from samara.node.store.store import Store
from samara.node.trustfile import add_rule, remove_rule
from samara.protocol.errors import LinkError, NotFoundError, StatementError, UsageError
from samara.protocol.ids import PublisherId, format_record, parse_did_key, parse_record
from samara.protocol.records import format_time, parse_time
from samara.protocol.trust import Floor as FloorOfTime
from samara.protocol.trust import Fork, Mode, Policy, Rule, on_both_sides

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = [
    "TRUST_ADD",
    "TRUST_LIFT",
    "TRUST_REMOVE",
    "TRUST_RESET_CLOCK",
    "TRUST_SHOW",
    "AddRuleRequest",
    "FloorRow",
    "ForkRow",
    "LiftRequest",
    "Lifted",
    "RemoveRuleRequest",
    "ResetClockRequest",
    "RuleRow",
    "TrustRequest",
    "TrustShown",
    "floor_row",
    "show_trust",
]


@dataclass(frozen=True, slots=True)
class TrustRequest:
    """All of it."""


@dataclass(frozen=True, slots=True)
class RuleRow:
    """A rule of `trust.toml` (specs/trust.md, "Policy").

    Attributes:
        number: By which it can be taken out; 0 for the rule that decides what no other matches.
        publisher: Petname, publisher id or `*`.
        name: A name, the beginning of names and `*`, or `*`.
        mode: off, warn or enforce.
        tofu: Strangers are taken at first sight.
        keys: did:keys of which `threshold` must have signed.
        threshold: How many.
        max_age_days: How old the newest may be; None: until it expires.
        witnesses: did:keys, petnames and publisher ids, of which `witness_threshold` must have co-signed the log.
        witness_threshold: How many.
    """

    number: int
    publisher: str
    name: str
    mode: str
    tofu: bool
    keys: tuple[str, ...]
    threshold: int
    max_age_days: int | None
    witnesses: tuple[str, ...]
    witness_threshold: int


@dataclass(frozen=True, slots=True)
class ForkRow:
    """A fork that was found out.

    Attributes:
        fork: Its id, by which it is lifted.
        publisher: Whose: petname or id.
        publisher_id: Whose.
        kind: root, log or name.
        what: What there are two of.
        records: Ids of both.
        seen: When it was found out, RFC 3339, by the clock of then.
        freezes: The publisher is frozen by it now.
        both: Witnesses that have co-signed both of its records.
    """

    fork: str
    publisher: str
    publisher_id: str
    kind: str
    what: str
    records: tuple[str, ...]
    seen: str
    freezes: bool
    both: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FloorRow:
    """The floor of time.

    Attributes:
        floor: What time it is at least.
        source: What raised it last.
        clock: What the machine's clock shows.
        believed: believed, behind or far ahead.
        now: What is taken for now.
    """

    floor: str
    source: str
    clock: str
    believed: str
    now: str


@dataclass(frozen=True, slots=True)
class TrustShown:
    """What is trusted, and why (specs/cli.md)."""

    file: str
    rules: tuple[RuleRow, ...]
    forks: tuple[ForkRow, ...]
    time: FloorRow


@dataclass(frozen=True, slots=True)
class AddRuleRequest:
    """A new rule; as `RuleRow`.

    Attributes:
        publisher: Petname, publisher id or `*`.
        name: A name, the beginning of names and `*`, or `*`.
        mode: off, warn or enforce.
        tofu: Strangers are taken at first sight.
        keys: did:keys.
        threshold: How many of them; 0: all.
        max_age_days: How old the newest may be, or None.
        witnesses: did:keys, petnames, "me" and publisher ids of those who must have co-signed the log.
        witness_threshold: How many of them; 0: all.
        last: Put it after the others, not before.
    """

    publisher: str = "*"
    name: str = "*"
    mode: str = "warn"
    tofu: bool = False
    keys: tuple[str, ...] = ()
    threshold: int = 0
    max_age_days: int | None = None
    last: bool = False
    witnesses: tuple[str, ...] = ()
    witness_threshold: int = 0


@dataclass(frozen=True, slots=True)
class RemoveRuleRequest:
    """Take out the rule of this number."""

    number: int


@dataclass(frozen=True, slots=True)
class LiftRequest:
    """Go on in spite of a fork: its id, or the beginning of it."""

    fork: str


@dataclass(frozen=True, slots=True)
class Lifted:
    """The fork that was lifted, and its publisher."""

    fork: str
    publisher: str


@dataclass(frozen=True, slots=True)
class ResetClockRequest:
    """Set the floor of time: to `time`, or, when empty, to what the clock shows."""

    time: str = ""


def show_trust(store: Store, request: TrustRequest | None = None) -> TrustShown:
    """Return whom this home believes, and why.

    Raises:
        UsageError: The rules cannot be read.
    """
    policy = store.trust.policy()
    default = policy.rules[-1] if policy.rules else None
    rules = [_row(number, rule) for number, rule in enumerate(policy.rules, 1)]
    if default is None or (default.publisher, default.name) != ("*", "*"):
        rules.append(_row(0, Policy().rule_for("", None, "")))
    return TrustShown(str(store.home.trust), tuple(rules), _forks(store), floor_row(store))


def _both(store: Store, publisher: PublisherId, fork: Fork) -> tuple[str, ...]:
    """The witnesses known here that have lied: they have seen two records of one place, and signed both."""
    with store.ledgers.asking(publisher) as ledger:
        keys = on_both_sides(ledger, fork) if ledger is not None else frozenset()
    witnesses = store.trust.all_witnesses() if keys else ()
    return tuple(one.name for one in witnesses if len(one.keys & keys) >= one.threshold)


def _forks(store: Store) -> tuple[ForkRow, ...]:
    return tuple(
        ForkRow(
            fork=fork.id.hex(),
            publisher=publisher_text(store, publisher),
            publisher_id=format_record(publisher),
            kind=fork.kind.value,
            what=fork.what,
            records=tuple(map(format_record, fork.records)),
            seen=format_time(int(seen)),
            freezes=freezes,
            both=_both(store, publisher, fork),
        )
        for publisher, fork, freezes, seen in store.ledgers.forks()
    )


def floor_row(store: Store) -> FloorRow:
    """Return how it stands with the time here."""
    floor, moment = store.times.floor, store.times.moment()
    return FloorRow(
        format_time(floor.seconds),
        floor.source,
        format_time(max(0, store.times.clock)),
        moment.clock.value,
        format_time(moment.now),
    )


def _row(number: int, rule: Rule) -> RuleRow:
    return RuleRow(
        number, rule.publisher, rule.name, rule.mode.value, rule.tofu, rule.keys, rule.threshold, rule.max_age_days,
        rule.witnesses, rule.witness_threshold,
    )  # fmt: skip


def _add(store: Store, request: AddRuleRequest) -> TrustShown:
    try:
        mode = Mode(request.mode)
    except ValueError as error:
        raise UsageError(str(error), hint="A mode is off, warn or enforce.") from error
    _check_publisher(store, request.publisher)
    for witness in request.witnesses:
        _check_witness(store, witness)
    threshold = request.threshold or len(request.keys)
    rule = Rule(
        request.publisher, request.name, mode, request.tofu, tuple(sorted(request.keys)), threshold,
        request.max_age_days, tuple(sorted(set(request.witnesses))),
        request.witness_threshold or len(set(request.witnesses)),
    )  # fmt: skip
    add_rule(store.home.trust, rule, last=request.last)
    return show_trust(store)


def _check_publisher(store: Store, text: str) -> None:
    """A rule for a name that nobody has would protect nobody."""
    if text in {"*", "me", *store.catalog.petnames().values()}:
        return
    try:
        parse_record(text)
    except LinkError:
        raise NotFoundError(
            f"nobody is called {text!r} here", hint="Give the publisher a name first: samara key name PUBLISHER-ID NAME"
        ) from None


def _check_witness(store: Store, text: str) -> None:
    """A witness that nobody is would make that nothing is ever believed."""
    if text == "*":
        raise UsageError("anybody is no witness", hint="Name one: --witness bob")
    if text.startswith("did:key:"):
        parse_did_key(text)
        return
    _check_publisher(store, text)


def _lift(store: Store, request: LiftRequest) -> Lifted:
    found = [
        (p, fork) for p, fork, *_ in store.ledgers.forks() if request.fork and fork.id.hex().startswith(request.fork)
    ]
    if len(found) != 1:
        raise NotFoundError(f"{len(found)} forks begin with {request.fork!r}", hint="See samara trust show.")
    publisher, fork = found[0]
    store.ledgers.lift(publisher, fork.id)
    return Lifted(fork.id.hex(), format_record(PublisherId(publisher)))


def _reset_clock(store: Store, request: ResetClockRequest) -> FloorRow:
    seconds: int | None = None
    if request.time:
        try:
            seconds = parse_time(request.time)
        except StatementError as error:
            raise UsageError(error.message, hint="As in 2026-05-31T12:00:00Z.") from error
    _: FloorOfTime = store.times.reset(seconds)
    return floor_row(store)


async def _add_rule(node: Node, request: AddRuleRequest, report: Report) -> TrustShown:
    return await trio.to_thread.run_sync(_add, node.store, request)


async def _remove_rule(node: Node, request: RemoveRuleRequest, report: Report) -> TrustShown:
    await trio.to_thread.run_sync(remove_rule, node.store.home.trust, request.number)
    return await trio.to_thread.run_sync(show_trust, node.store)


async def _lift_fork(node: Node, request: LiftRequest, report: Report) -> Lifted:
    return await trio.to_thread.run_sync(_lift, node.store, request)


async def _reset(node: Node, request: ResetClockRequest, report: Report) -> FloorRow:
    return await trio.to_thread.run_sync(_reset_clock, node.store, request)


TRUST_SHOW = Query("trust show", TrustRequest, TrustShown, show_trust)
TRUST_ADD = Operation("trust add", AddRuleRequest, TrustShown, _add_rule)
TRUST_REMOVE = Operation("trust remove", RemoveRuleRequest, TrustShown, _remove_rule)
TRUST_LIFT = Operation("trust lift", LiftRequest, Lifted, _lift_fork)
TRUST_RESET_CLOCK = Operation("trust reset-clock", ResetClockRequest, FloorRow, _reset)
