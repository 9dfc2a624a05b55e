"""The verdict: one word, by what is worst, and all the reasons."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
from support.publishers import Publisher, key

from samara.protocol.errors import ForkError
from samara.protocol.records import Place, Reason, Standing, parse_time
from samara.protocol.trust import (
    DEFAULT_POLICY,
    Clock,
    Facts,
    Ground,
    Ledger,
    Moment,
    Policy,
    Verdict,
    gather,
    judge,
)

NOW = Moment(parse_time("2026-06-01T00:00:00Z"), Clock.BELIEVED)
ENFORCE = Policy.parse('[[rule]]\nmode = "enforce"\n')
OFF = Policy.parse('[[rule]]\nmode = "off"\n')


def facts(anna: Publisher, release: Any, ledger: Ledger | None = None, **changes: Any) -> Facts:
    decision = changes.pop("decision", DEFAULT_POLICY.decide(release, petname="anna"))
    found = gather(ledger or anna.ledger(), release, decision, NOW)
    return dataclasses.replace(found, **changes)


def test_good() -> None:
    anna = Publisher.of("anna")
    release = anna.release("1")
    anna.head(release, expires="2027-01-01T00:00:00Z")
    found = judge(facts(anna, release))
    assert found.verdict is Verdict.GOOD
    assert found.reasons == found.notes == ()
    assert found.keys == (key("anna").did,)
    assert found.age_days == 25
    assert found.newer is None
    assert not found.stops
    assert found.decision.ground is Ground.NAMED


def test_exit_codes() -> None:
    assert {verdict.value: verdict.exit_code for verdict in Verdict} == {
        "REVOKED": 5,
        "DAMAGED": 4,
        "UNTRUSTED": 5,
        "STALE": 0,
        "GOOD": 0,
    }


def all_that_is_wrong() -> dict[Verdict, dict[str, Any]]:
    anna = Publisher.of("anna")
    release = anna.release("1")
    anna.head(release)
    anna.revoke(release)
    stale = Publisher.of("anna")
    head = stale.publish("1", expires="2026-05-07T00:00:00Z")
    return {
        Verdict.REVOKED: {"revocation": anna.ledger().revocation(release.id)},
        Verdict.DAMAGED: {"damaged": ("model.gguf",)},
        Verdict.UNTRUSTED: {"standing": Standing.RETIRED},
        Verdict.STALE: {"head": head},
    }


@pytest.mark.parametrize("worst", list(Verdict)[:-1])
def test_the_worst_is_the_word_and_all_are_told(worst: Verdict) -> None:
    wrong = all_that_is_wrong()
    order = list(Verdict)
    anna = Publisher.of("anna")
    release = anna.release("1")
    anna.head(release)
    milder = order[order.index(worst) + 1 : -1]
    for count in range(len(milder) + 1):
        for others in itertools.combinations(milder, count):
            changes = {name: value for verdict in (worst, *others) for name, value in wrong[verdict].items()}
            found = judge(facts(anna, release, **changes))
            assert found.verdict is worst
            assert len(found.reasons) == 1 + count


def test_a_revoked_release_stops_and_names_what_takes_its_place() -> None:
    anna = Publisher.of("anna")
    bad, good = anna.release("1"), anna.release("2")
    anna.head(bad)
    anna.head(good)
    anna.revoke(bad, reason=Reason.BROKEN, text="wrong tokenizer", replacement=good.id)
    found = judge(facts(anna, bad))
    assert found.verdict is Verdict.REVOKED
    assert found.reasons == ("its publisher took it back on 2026-05-06: broken: wrong tokenizer",)
    assert found.replacement == found.newer == good.id
    assert found.stops
    assert judge(facts(anna, good)).verdict is Verdict.GOOD


def test_a_release_by_a_revoked_key_is_revoked() -> None:
    anna = Publisher.of("anna")
    release = anna.release("1")
    ledger = anna.ledger()
    ledger.learn_roots(anna.rotate("ben"))
    assert judge(facts(anna, release, ledger)).verdict is Verdict.UNTRUSTED
    ledger.admit(anna.revoke_key("anna", Place.first()).envelope)
    found = judge(facts(anna, release, ledger))
    assert found.verdict is Verdict.REVOKED
    assert key("anna").did in found.reasons[0]


def test_damage_stops_and_names_files() -> None:
    anna = Publisher.of("anna")
    found = judge(facts(anna, anna.release("1"), damaged=("a", "b", "c", "d")))
    assert found.verdict is Verdict.DAMAGED
    assert found.stops
    assert found.reasons == ("4 files are not what was signed: a, b, c, …",)


def test_what_is_untrusted_stops_only_where_the_rule_says_so() -> None:
    anna = Publisher.of("anna")
    release = anna.release("1")
    strict = judge(facts(anna, release, decision=ENFORCE.decide(release)))
    assert strict.verdict is Verdict.UNTRUSTED
    assert strict.stops
    assert "*/*: enforce" in strict.reasons[0]
    mild = judge(facts(anna, release, decision=Policy.parse("[[rule]]\n").decide(release)))
    assert mild.verdict is Verdict.UNTRUSTED
    assert not mild.stops
    assert judge(facts(anna, release, decision=OFF.decide(release))).verdict is Verdict.GOOD


def test_off_does_not_hide_a_revocation() -> None:
    anna = Publisher.of("anna")
    release = anna.release("1")
    anna.revoke(release)
    assert judge(facts(anna, release, decision=OFF.decide(release))).verdict is Verdict.REVOKED


def test_first_use_is_labelled() -> None:
    anna = Publisher.of("anna")
    release = anna.release("1")
    found = judge(facts(anna, release, decision=DEFAULT_POLICY.decide(release)))
    assert found.verdict is Verdict.GOOD
    assert "first sight" in found.notes[0]


def test_stale_says_how_old_and_stays_usable() -> None:
    anna = Publisher.of("anna")
    release = anna.release("1")
    anna.head(release, expires="2026-05-20T00:00:00Z")
    found = judge(facts(anna, release))
    assert found.verdict is Verdict.STALE
    assert found.reasons == ("25 days old, and something newer was to be expected by 2026-05-20",)
    assert not found.stops
    assert found.verdict.exit_code == 0
    rule = Policy.parse('[[rule]]\npublisher = "anna"\nmax-age-days = 24\n')
    again = Publisher.of("anna")
    again.head(release)
    old = judge(facts(again, release, decision=rule.decide(release, petname="anna")))
    assert old.verdict is Verdict.STALE
    assert "takes at most 24" in old.reasons[0]


def test_a_delegation_that_expired_makes_stale() -> None:
    anna = Publisher.of("anna")
    given = anna.delegate("ben", expires="2026-05-20T00:00:00Z")
    ben = Publisher(anna.chain, [key("ben")])
    release = ben.release("1", delegation=given.id, delegations={given.id: given})
    found = judge(facts(anna, release))
    assert found.verdict is Verdict.STALE
    assert "delegation" in found.reasons[0]
    anna.delegate("ben")
    assert judge(facts(anna, release)).verdict is Verdict.GOOD, "renewed, for the same delegate"
    anna.delegate("cleo")
    changed = judge(facts(anna, release))
    assert changed.verdict is Verdict.UNTRUSTED
    assert "went to other keys" in changed.reasons[0]


def test_what_is_held_of_a_frozen_publisher_stays_usable_and_what_is_new_does_not() -> None:
    anna = Publisher.of("anna")
    release = anna.release("1")
    anna.head(release)
    other = anna.copy()
    anna.publish("2")
    other.publish("3")
    ledger = anna.ledger()
    with pytest.raises(ForkError):
        ledger.admit(other.said[-1])
    held = judge(facts(anna, release, ledger, held=True))
    assert held.verdict is Verdict.STALE
    assert "frozen" in held.reasons[0]
    assert judge(facts(anna, release, ledger)).verdict is Verdict.UNTRUSTED


def test_a_newer_release_of_the_name_is_told() -> None:
    anna = Publisher.of("anna")
    old, new = anna.release("1"), anna.release("2")
    anna.head(old)
    anna.head(new)
    found = judge(facts(anna, old))
    assert found.verdict is Verdict.GOOD
    assert found.newer == new.id
    assert "newer" in found.notes[0]
