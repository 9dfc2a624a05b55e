"""Rules: whom the operator believes, and for which names."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.publishers import Publisher, key

from samara.protocol.errors import UsageError
from samara.protocol.ids import format_record
from samara.protocol.records import VerifiedRelease, attach_head
from samara.protocol.trust import DEFAULT_POLICY, Ground, Mode, Policy

ANNA = Publisher.of("anna")
ID = format_record(ANNA.chain.publisher)
RELEASE = ANNA.release("1", "llama-chat")


def ground(text: str, release: VerifiedRelease = RELEASE, **known: object) -> Ground:
    return Policy.parse(text).decide(release, **known).ground  # type: ignore[arg-type]


def rule(**fields: object) -> str:
    return "[[rule]]\n" + "".join(f"{name.replace('_', '-')} = {json.dumps(value)}\n" for name, value in fields.items())


def test_without_rules_strangers_are_taken_at_first_sight_and_it_is_said() -> None:
    decision = DEFAULT_POLICY.decide(RELEASE)
    assert decision.ground is Ground.FIRST_USE
    assert decision.believed
    assert decision.rule.mode is Mode.WARN
    assert DEFAULT_POLICY.decide(RELEASE, petname="anna").ground is Ground.NAMED
    assert DEFAULT_POLICY.decide(RELEASE, own=True).ground is Ground.OWN
    assert Policy.parse("") == DEFAULT_POLICY


def test_strangers_never_move_the_floor_of_time() -> None:
    grounds = {
        DEFAULT_POLICY.decide(RELEASE, petname="anna").moves_time,
        DEFAULT_POLICY.decide(RELEASE, own=True).moves_time,
        Policy.parse(rule(keys=[key("anna").did])).decide(RELEASE).moves_time,
    }
    assert grounds == {True}
    for policy in (DEFAULT_POLICY, Policy.parse(rule(mode="off")), Policy.parse(rule(mode="enforce"))):
        assert not policy.decide(RELEASE).moves_time


def test_the_first_rule_that_matches_decides() -> None:
    text = rule(name="llama-*", mode="enforce") + rule(publisher="anna", mode="off") + rule(tofu=True)
    assert ground(text) is Ground.NOBODY
    assert ground(text, ANNA.release("1"), petname="anna") is Ground.OFF
    assert ground(text, ANNA.release("1")) is Ground.FIRST_USE


@pytest.mark.parametrize(
    ("pattern", "covers"),
    [("*", True), ("llama-*", True), ("llama-chat", True), ("llama-chat*", True), ("llama", False), ("Llama-*", False)],
)
def test_patterns_of_names(pattern: str, covers: bool) -> None:
    expected = Ground.OFF if covers else Ground.FIRST_USE
    assert ground(rule(name=pattern, mode="off")) is expected


def test_a_publisher_is_named_by_id_or_by_petname() -> None:
    for publisher in (ID, "anna"):
        text = rule(publisher=publisher, mode="enforce") + rule(mode="enforce")
        assert ground(text, petname="anna") is Ground.NAMED
    assert ground(rule(publisher=ID, mode="enforce")) is Ground.NAMED
    assert ground(rule(publisher="anna", mode="enforce") + rule(mode="enforce")) is Ground.NOBODY


def test_first_use_is_never_for_a_publisher_whom_a_rule_names() -> None:
    """A publisher with keys of its own to meet for some names is not taken at first sight for the others."""
    text = rule(publisher=ID, name="other", keys=[key("ben").did]) + rule(tofu=True)
    assert ground(text) is Ground.NOBODY
    assert Policy.parse(text).is_privileged(ID, None)


def test_keys_must_have_signed_whosever_they_are() -> None:
    one, two = key("anna").did, key("ben").did
    assert ground(rule(keys=[one])) is Ground.KEYS
    assert ground(rule(keys=[two])) is Ground.NOBODY
    assert ground(rule(keys=[one, two])) is Ground.NOBODY  # all of them, if nothing else is said
    assert ground(rule(keys=[one, two], threshold=1)) is Ground.KEYS
    both = ANNA.copy()
    both.keys = [key("anna"), key("ben")]
    assert ground(rule(keys=[one, two]), both.release("1")) is Ground.KEYS
    # A petname, or that it is our own, takes the place of no key.
    assert ground(rule(keys=[two]), petname="anna", own=True) is Ground.NOBODY


def test_a_head_that_names_a_release_counts_as_its_signature() -> None:
    anna = ANNA.copy()
    release = anna.release("1")
    anna.keys = [key("anna"), key("ben")]
    headed = attach_head(release, anna.head(release))
    assert ground(rule(keys=[key("ben").did]), release) is Ground.NOBODY
    assert ground(rule(keys=[key("ben").did]), headed) is Ground.KEYS


def test_a_revoked_key_counts_for_no_rule() -> None:
    policy = Policy.parse(rule(keys=[key("anna").did]))
    assert policy.decide(RELEASE, revoked={key("anna").did}).ground is Ground.NOBODY


@pytest.mark.parametrize(
    "text",
    [
        "rule = 1",
        "[[rule]\n",
        "[rule]\nmode = 'off'",
        "[other]\n",
        "rule = [1]",
        rule(modus="off"),
        rule(mode="on"),
        rule(mode=1),
        rule(publisher="Anna"),
        rule(publisher=""),
        rule(publisher="an*"),
        rule(publisher=1),
        rule(publisher=ID.upper()),
        rule(name="a*b"),
        rule(name=""),
        rule(name="mödel"),
        rule(name=1),
        rule(tofu="yes"),
        rule(tofu=True, publisher="anna"),
        rule(tofu=True, keys=[key("anna").did]),
        rule(keys="x"),
        rule(keys=[1]),
        rule(keys=["did:key:zX"]),
        rule(keys=[key("anna").did] * 2),
        rule(keys=[key(f"k{n}").did for n in range(17)]),
        rule(keys=[key("anna").did], threshold=0),
        rule(keys=[key("anna").did], threshold=2),
        rule(keys=[key("anna").did], threshold=True),
        rule(threshold=1),
        rule(max_age_days=0),
        rule(max_age_days=1.5),
        rule(max_age_days=True),
        rule() * 1025,
        "#" * (256 * 1024 + 1),
        "rule = " + "[" * 5000,
    ],
)
def test_a_file_that_is_not_as_it_must_be_is_an_error_and_never_a_policy(text: str) -> None:
    with pytest.raises(UsageError, match=r"trust\.toml"):
        Policy.parse(text)


def test_a_rule_says_what_it_is_in_few_words() -> None:
    policy = Policy.parse(rule(publisher="anna", name="llama-*", mode="enforce", max_age_days=90))
    assert str(policy.rules[0]) == "anna/llama-*: enforce"
    assert policy.rules[0].max_age_days == 90


@given(st.text(max_size=200))
def test_any_text_is_a_policy_or_a_usage_error(text: str) -> None:
    try:
        policy = Policy.parse(text)
    except UsageError:
        return
    assert policy.decide(RELEASE).rule is not None
