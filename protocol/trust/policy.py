"""Policy: whom the operator of this machine believes, for which names (specs/trust.md, "Policy").

`trust.toml` is a list of rules; the first that matches decides. A rule says which keys must have signed, or only whose
release it must be, and what happens when they did not. Without a file there is one rule: warn, and take strangers at
first sight.
"""

from __future__ import annotations

import enum
import re
import tomllib
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Final, final

from samara.protocol.errors import LinkError, UsageError
from samara.protocol.ids import format_record, parse_did_key, parse_record
from samara.protocol.limits import MAX_KEYS, MAX_TRUST_FILE, MAX_TRUST_RULES
from samara.protocol.records.fields import PETNAME
from samara.protocol.records.release import VerifiedRelease

__all__ = ["DEFAULT_POLICY", "Decision", "Ground", "Mode", "Policy", "Rule"]

_NAME: Final = re.compile(r"\*|[A-Za-z0-9][A-Za-z0-9._-]{0,95}\*?")
_FIELDS: Final = frozenset(
    {"publisher", "name", "mode", "tofu", "keys", "threshold", "max-age-days", "witnesses", "witness-threshold"}
)
_ANYBODY: Final = "*"


class Mode(enum.Enum):
    """What a rule does with what it does not believe."""

    OFF = "off"
    """Nothing: who signed it is not asked."""
    WARN = "warn"
    """It is said, and goes on."""
    ENFORCE = "enforce"
    """It is neither fetched nor run, unless the user insists by name."""


class Ground(enum.Enum):
    """Why a release is believed, or not."""

    OWN = "own"
    """It is this home's own."""
    KEYS = "keys"
    """Enough of the keys that the rule names have signed it."""
    NAMED = "named"
    """Its publisher has a petname here, or the rule names it."""
    FIRST_USE = "first use"
    """Nobody vouches for its publisher, who was taken at first sight."""
    OFF = "off"
    """The rule does not ask."""
    NOBODY = "nobody"
    """None of these: it is not believed."""


@final
@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        publisher: A petname, a publisher id as text, or `*`: anybody.
        name: A name, the beginning of names and `*`, or `*`.
        mode: What happens with what is not believed.
        tofu: Strangers are taken at first sight; only where `publisher` is `*` and there are no `keys`.
        keys: did:keys of which `threshold` must have signed, whosever they are; empty: the publisher's will do.
        threshold: How many of `keys`, 0 when there are none.
        max_age_days: After how many days what is newest here counts as stale, or None: only when it expired.
        witnesses: did:keys, petnames and publisher ids, of which `witness_threshold` must have co-signed the log at or
            after what names the release; empty: nobody must.
        witness_threshold: How many of `witnesses`, 0 when there are none.
    """

    publisher: str = _ANYBODY
    name: str = _ANYBODY
    mode: Mode = Mode.WARN
    tofu: bool = False
    keys: tuple[str, ...] = ()
    threshold: int = 0
    max_age_days: int | None = None
    witnesses: tuple[str, ...] = ()
    witness_threshold: int = 0

    def __str__(self) -> str:
        return f"{self.publisher}/{self.name}: {self.mode.value}"

    def covers(self, publisher: str, petname: str | None, name: str) -> bool:
        """Return whether the rule is for this release: its publisher's id as text, its petname here, its name."""
        if self.publisher not in (_ANYBODY, publisher, petname):
            return False
        return name.startswith(self.name[:-1]) if self.name.endswith("*") else name == self.name


@final
@dataclass(frozen=True, slots=True)
class Decision:
    """What a policy says of a release.

    Attributes:
        rule: The rule that decided.
        ground: Why it is believed, or not.
    """

    rule: Rule
    ground: Ground

    @property
    def believed(self) -> bool:
        """Whether it is believed."""
        return self.ground is not Ground.NOBODY

    @property
    def moves_time(self) -> bool:
        """Whether records of its publisher may raise the floor of time: somebody here vouches for them."""
        return self.ground in (Ground.OWN, Ground.KEYS, Ground.NAMED)


@final
@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator says: rules, of which the first that matches decides.

    Attributes:
        rules: In order. What none of them matches, the default rule decides.
    """

    rules: tuple[Rule, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Policy:
        """Parse `trust.toml`.

        Raises:
            UsageError: It is no TOML, or a rule is not one; the message says which.

        Source: specs/trust.md, "Policy".
        """
        if len(text) > MAX_TRUST_FILE:
            raise UsageError(f"trust.toml has {len(text)} characters: at most {MAX_TRUST_FILE}")
        try:
            found = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise UsageError(f"trust.toml is not TOML: {error}", hint="see specs/trust.md for an example") from None
        rules = found.pop("rule", [])
        if found or not isinstance(rules, list) or len(rules) > MAX_TRUST_RULES:
            raise UsageError(f"trust.toml: expected at most {MAX_TRUST_RULES} [[rule]] tables and nothing else")
        return cls(tuple(_rule(item, number) for number, item in enumerate(rules, 1)))

    def rule_for(self, publisher: str, petname: str | None, name: str) -> Rule:
        """Return the rule that decides: of the publisher's id as text, its petname here, and a release's name."""
        for rule in self.rules:
            if rule.covers(publisher, petname, name):
                return rule
        return _DEFAULT

    def is_privileged(self, publisher: str, petname: str | None) -> bool:
        """Return whether a rule names a publisher: it is never taken at first sight."""
        return any(rule.publisher in (publisher, petname) for rule in self.rules)

    def decide(
        self,
        release: VerifiedRelease,
        *,
        petname: str | None = None,
        own: bool = False,
        revoked: Container[str] = (),
    ) -> Decision:
        """Return what the policy says of a release whose records are right.

        Args:
            release: The release, verified; with a head that names it, if there is one that counts.
            petname: What the publisher is called here, or None.
            own: It is this home's own publisher.
            revoked: did:keys that were revoked: they count for no rule.

        Source: specs/trust.md, "Policy".
        """
        publisher = format_record(release.release.publisher)
        rule = self.rule_for(publisher, petname, release.release.name)
        if rule.keys and rule.mode is not Mode.OFF:
            good = sum(1 for key in rule.keys if key in _signers(release) and key not in revoked)
            return Decision(rule, Ground.KEYS if good >= rule.threshold else Ground.NOBODY)
        return Decision(rule, self._ground(rule, publisher, petname, own=own))

    def _ground(self, rule: Rule, publisher: str, petname: str | None, *, own: bool) -> Ground:
        if rule.mode is Mode.OFF:
            return Ground.OFF
        if own:
            return Ground.OWN
        if petname is not None or rule.publisher == publisher:
            return Ground.NAMED
        if rule.tofu and not self.is_privileged(publisher, petname):
            return Ground.FIRST_USE
        return Ground.NOBODY


_DEFAULT: Final = Rule(tofu=True)
DEFAULT_POLICY: Final = Policy()
"""What holds without a `trust.toml`: warn, and take strangers at first sight."""


def _signers(release: VerifiedRelease) -> frozenset[str]:
    """Who signed a release, or a head that names it, which says no less."""
    head = release.head
    return release.signers.everyone | (head.signers.everyone if head is not None else frozenset())


def _rule(item: object, number: int) -> Rule:
    where = f"trust.toml, rule {number}"
    if not isinstance(item, dict) or not item.keys() <= _FIELDS:
        raise UsageError(f"{where}: expected some of {', '.join(sorted(_FIELDS))}")
    keys = _keys(item.get("keys", []), where)
    witnesses = _witnesses(item.get("witnesses", []), where)
    age = item.get("max-age-days")
    if age is not None and (not _is_number(age) or not 1 <= age <= 36_525):
        raise UsageError(f"{where}: max-age-days: expected a number of days, up to a hundred years")
    rule = Rule(
        publisher=_publisher(item.get("publisher", _ANYBODY), where),
        name=_name(item.get("name", _ANYBODY), where),
        mode=_mode(item.get("mode", Mode.WARN.value), where),
        tofu=_tofu(item.get("tofu", False), where),
        keys=keys,
        threshold=_threshold(item, "threshold", len(keys), where),
        max_age_days=age,
        witnesses=witnesses,
        witness_threshold=_threshold(item, "witness-threshold", len(witnesses), where),
    )
    if rule.tofu and (rule.keys or rule.publisher != _ANYBODY):
        raise UsageError(f"{where}: tofu is for strangers: not with keys, and not where a publisher is named")
    return rule


def _threshold(item: Mapping[str, object], field: str, count: int, where: str) -> int:
    found = item.get(field, count)
    if not isinstance(found, int) or isinstance(found, bool) or not min(1, count) <= found <= count:
        raise UsageError(f"{where}: {field}: expected a number from 1 to that of those who are named")
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _publisher(value: object, where: str) -> str:
    if isinstance(value, str):
        if value == _ANYBODY or PETNAME.fullmatch(value):
            return value
        try:
            parse_record(value)
        except LinkError:
            pass
        else:
            return value
    raise UsageError(f"{where}: publisher: expected a petname, a publisher id, or *")


def _name(value: object, where: str) -> str:
    if isinstance(value, str) and _NAME.fullmatch(value):
        return value
    raise UsageError(f"{where}: name: expected a name, of which a * may be the end")


def _mode(value: object, where: str) -> Mode:
    for mode in Mode:
        if mode.value == value:
            return mode
    raise UsageError(f"{where}: mode: expected one of {', '.join(mode.value for mode in Mode)}")


def _tofu(value: object, where: str) -> bool:
    if isinstance(value, bool):
        return value
    raise UsageError(f"{where}: tofu: expected true or false")


def _keys(value: object, where: str) -> tuple[str, ...]:
    if isinstance(value, list) and len(value) <= MAX_KEYS and all(isinstance(key, str) for key in value):
        try:
            for key in value:
                parse_did_key(key)
        except LinkError as error:
            raise UsageError(f"{where}: keys: {error.message}") from None
        if len(set(value)) == len(value):
            return tuple(sorted(value))
    raise UsageError(f"{where}: keys: expected at most {MAX_KEYS} different did:keys")


def _witnesses(value: object, where: str) -> tuple[str, ...]:
    if (
        isinstance(value, list)
        and len(value) <= MAX_KEYS
        and all(isinstance(one, str) and _is_somebody(one) for one in value)
        and len(set(value)) == len(value)
    ):
        return tuple(sorted(value))
    raise UsageError(f"{where}: witnesses: expected at most {MAX_KEYS} different did:keys, petnames or publisher ids")


def _is_somebody(text: str) -> bool:
    if PETNAME.fullmatch(text):
        return True
    try:
        parse_did_key(text) if text.startswith("did:key:") else parse_record(text)
    except LinkError:
        return False
    return True
