"""Which head the next one of a name follows, when several may sign it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.publishers import WHEN, Publisher, key

from samara.node.operations.delegating import previous_head
from samara.protocol.limits import MAX_FOLLOWED_SEQUENCE
from samara.protocol.records import Delegation, Verified, VerifiedHead, make_head
from samara.protocol.trust import Ledger


def lent(anna: Publisher, given: Verified[Delegation], previous: VerifiedHead | None, version: str) -> VerifiedHead:
    """A head of `tiny` by the delegate ben."""
    under: dict[str, Any] = {"delegation": given.id, "delegations": {given.id: given}}
    release = Publisher(anna.chain, [key("ben")]).release(version, **under)
    return make_head(
        anna.chain, name="tiny", release=release.payload, previous=previous, issued=WHEN, keys=[key("ben")], **under
    )


def at(head: VerifiedHead, sequence: int) -> VerifiedHead:
    """The same head, as one to be followed, at another sequence."""
    return replace(head, head=replace(head.head, sequence=sequence))


def heard(anna: Publisher, *heads: VerifiedHead) -> Ledger:
    ledger = anna.ledger()
    for head in heads:
        ledger.admit(head.envelope)
    return ledger


def test_a_delegate_goes_on_from_whoever_was_last_and_from_itself_where_that_would_be_a_fork() -> None:
    anna = Publisher.of("anna")
    given = anna.delegate("ben")
    assert previous_head(anna.ledger(), "tiny", given.id) is None
    own = anna.publish("1")
    assert previous_head(anna.ledger(), "tiny", given.id) == own
    mine = lent(anna, given, None, "1b")  # of the same sequence: neither had heard of the other
    ledger = heard(anna, mine)
    assert ledger.head("tiny") == own
    assert previous_head(ledger, "tiny", given.id) == mine
    following = lent(anna, given, mine, "2")
    assert ledger.admit(following.envelope).new
    assert ledger.forks == ()
    assert ledger.head("tiny") == following
    assert previous_head(ledger, "tiny", None) == following, "the publisher goes on from its delegate"


def test_the_publisher_goes_on_beyond_a_delegate_whose_delegation_has_ended() -> None:
    """So its head is the newer one for those, too, who have not heard of the end."""
    anna = Publisher.of("anna")
    given = anna.delegate("ben")
    anna.publish("1")
    far = lent(anna, given, at(lent(anna, given, None, "1"), 6), "7")
    ledger = heard(anna, far)
    anna.delegate("ben", revoked=True)
    ledger.admit(anna.said[-1])
    assert ledger.head("tiny") == anna.heads["tiny"]
    assert previous_head(ledger, "tiny", None) == far
    assert previous_head(ledger, "other", None) is None


@pytest.mark.parametrize("beyond", [1, 1 << 52])
def test_a_delegate_cannot_lead_a_name_to_its_last_sequence(beyond: int) -> None:
    anna = Publisher.of("anna")
    given = anna.delegate("ben")
    own = anna.publish("1")
    far = lent(anna, given, at(lent(anna, given, None, "1"), MAX_FOLLOWED_SEQUENCE + beyond - 1), "7")
    ledger = heard(anna, far)
    anna.delegate("ben", revoked=True)
    ledger.admit(anna.said[-1])
    assert previous_head(ledger, "tiny", None) == own
