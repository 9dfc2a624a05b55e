"""The attacks that a ledger is to refuse, one named test each; the table in specs/trust.md names them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from support.publishers import WHEN, Publisher, key, released

from samara.protocol import dsse
from samara.protocol.dsse import PAYLOAD_TYPE, Envelope, Signature, pae
from samara.protocol.errors import (
    CriticalError,
    EnvelopeError,
    ForkError,
    FutureError,
    LinkError,
    RevokedError,
    RollbackError,
    SignatureError,
    StaleError,
    StatementError,
)
from samara.protocol.limits import MAX_POSITION
from samara.protocol.links import check_name, check_petname
from samara.protocol.records import (
    Place,
    PublisherChain,
    Standing,
    make_head,
    make_next_root,
    verify_release_envelope,
)
from samara.protocol.trust import (
    DEFAULT_POLICY,
    Clock,
    Cosigned,
    Course,
    Decision,
    Floor,
    ForkKind,
    ForkProof,
    Ground,
    Ledger,
    Rule,
    Verdict,
    Witness,
    check_fresh,
    course,
    gather,
    judge,
    lookalikes,
    on_both_sides,
    seen_by,
    verify_fork,
)

YEAR = 365 * 86_400
BUILT = 1_772_000_000  # February 2026


def restarted(ledger: Ledger) -> Ledger:
    """The same ledger, made anew of what a node would have stored of it."""
    envelopes = [entry.envelope for entry in ledger.log()]
    return Ledger.restore(
        ledger.chain,
        [*(entry.envelope for entry in ledger.revocations()), *envelopes],
        [fork.proof for fork in ledger.forks],
    )


def verdict(ledger: Ledger, release: Any, clock: int = BUILT + 86_400 * 90, **changes: Any) -> Verdict:
    moment = Floor.of_build(BUILT).moment(clock)
    return judge(gather(ledger, release, DEFAULT_POLICY.decide(release, own=True), moment, **changes)).verdict


# Old things shown as new.


def test_rollback_by_an_old_head() -> None:
    anna = Publisher.of("anna")
    first, second = anna.publish("1"), anna.publish("2")
    ledger = anna.ledger()
    with pytest.raises(RollbackError):
        ledger.check_offer(first)
    ledger.check_offer(second)
    assert not ledger.admit(first.envelope).new
    assert ledger.head("tiny") == second
    with pytest.raises(RollbackError):
        restarted(ledger).check_offer(first)


def test_rollback_of_the_log_to_a_shorter_one() -> None:
    """Who shows the beginning of a log shows nothing false; it changes nothing for who knows more."""
    anna = Publisher.of("anna")
    release = anna.release("1")
    anna.head(release)
    old = list(anna.said)
    anna.revoke(release)
    ledger = anna.ledger()
    for envelope in old:
        assert not ledger.admit(envelope).new
    assert ledger.revocation(release.id) is not None
    assert ledger.newest is not None
    assert ledger.newest.envelope == anna.said[-1]


def test_rollback_of_roots() -> None:
    anna = Publisher.of("anna")
    before = anna.chain
    anna.rotate("ben")
    ledger = Ledger(anna.chain)
    assert not ledger.learn_roots(before)
    assert ledger.chain == anna.chain


def test_freeze_with_a_state_that_has_expired() -> None:
    anna = Publisher.of("anna")
    release = anna.release("1")
    head = anna.head(release, expires="2026-08-01T00:00:00Z")
    ledger = anna.ledger()
    assert verdict(ledger, release, BUILT + 90 * 86_400) is Verdict.GOOD
    assert verdict(ledger, release, BUILT + 180 * 86_400) is Verdict.STALE
    with pytest.raises(StaleError, match="175 days old"):
        check_fresh(head.head.issued, head.head.expires, 1_778_051_289 + 175 * 86_400)


def test_freeze_by_a_clock_that_is_set_back() -> None:
    """The clock says that nothing has expired. The floor, which a newer record has raised, knows better."""
    anna = Publisher.of("anna")
    release = anna.release("1")
    anna.head(release, expires="2026-08-01T00:00:00Z")
    floor = Floor.of_build(BUILT).raised_by_record("2026-09-01T00:00:00Z", BUILT - YEAR, "ben")
    moment = floor.moment(BUILT - YEAR)
    assert moment.clock is Clock.BEHIND
    found = judge(gather(anna.ledger(), release, DEFAULT_POLICY.decide(release, own=True), moment))
    assert found.verdict is Verdict.STALE
    assert found.age_days == 117


def test_a_stick_older_than_the_site() -> None:
    """A stick of last year brings records and roots that all verify; the site keeps what it knows."""
    anna = Publisher.of("anna")
    first = anna.publish("1")
    stick, stick_roots = list(anna.said), anna.chain
    anna.rotate("ben")
    second, release = anna.publish("2"), anna.release("3")
    anna.head(release)
    anna.revoke(second)
    site = anna.ledger()
    newest = site.newest
    site.learn_roots(stick_roots)
    for envelope in stick:
        site.admit(envelope)
    with pytest.raises(RollbackError):
        site.check_offer(first)
    assert site.newest == newest
    assert site.revocation(second.head.release) is not None
    assert verdict(site, release) is Verdict.GOOD


# Things of different times and people together.


def test_mix_and_match_of_two_states_of_one_log() -> None:
    """The newest record over a past that is not its own: what it commits to gives it away."""
    anna = Publisher.of("anna")
    anna.publish("1")
    other = anna.copy()
    anna.publish("2")
    other.publish("2-other")
    other.publish("3-other")
    ledger = anna.ledger()
    with pytest.raises(ForkError):
        ledger.admit(other.said[-1])


def test_mix_and_match_of_two_publishers() -> None:
    anna, ben = Publisher.of("anna"), Publisher.of("ben")
    ben.publish("1")
    with pytest.raises(StatementError, match="publisher"):
        Ledger(anna.chain).admit(ben.said[0])


def test_a_publisher_cannot_revoke_what_is_another_s() -> None:
    anna, ben = Publisher.of("anna"), Publisher.of("ben")
    release = anna.release("1")
    anna.head(release)
    ben.revoke(release)
    assert ben.ledger().revocation(release.id) is not None
    assert anna.ledger().revocation(release.id) is None
    assert verdict(anna.ledger(), release) is Verdict.GOOD


def test_a_record_over_one_of_another_position() -> None:
    anna = Publisher.of("anna")
    head = anna.publish("1")
    anna.publish("2")
    ledger = anna.ledger()
    anna.place = Place(4, head.id)
    anna.publish("3")
    with pytest.raises(StatementError, match="position 4 follows one at position 1"):
        ledger.admit(anna.said[-1])


def test_fast_forward_to_the_last_place_and_sequence() -> None:
    """A thief goes to the end, so that nothing could ever be newer. A new root goes on from before."""
    anna = Publisher.of("anna")
    anna.publish("1")
    good = anna.place
    thief = anna.copy()
    thief.place = Place(MAX_POSITION, bytes(32))
    thief.heads = {"tiny": dataclasses.replace(anna.heads["tiny"], head=_far(anna.heads["tiny"]))}
    thief.publish("evil")
    ledger = anna.ledger()
    ledger.admit(thief.said[-1])
    assert ledger.heads["tiny"].head.sequence == MAX_POSITION
    assert ledger.missing() == ((2, MAX_POSITION - 1),)
    with pytest.raises(StatementError, match="no place left"):
        assert ledger.next_place
    ledger.learn_roots(anna.rotate("ben", place=good))
    mended = anna.publish("2")
    ledger.admit(mended.envelope)
    assert ledger.newest == mended
    assert ledger.head("tiny") == mended
    assert ledger.missing() == ()
    with pytest.raises(RollbackError):
        ledger.check_offer(thief.heads["tiny"])
    assert restarted(ledger).head("tiny") == mended


def _far(head: Any) -> Any:
    return dataclasses.replace(head.head, sequence=MAX_POSITION - 1)


# Stolen keys.


def test_one_key_of_k_stolen() -> None:
    anna = Publisher.of("anna", "ben", "cleo", threshold=2)
    anna.publish("1")
    ledger = anna.ledger()
    payload = Envelope.decode(anna.publish("2").envelope).payload
    for signers in (["anna"], ["anna", "mallory"], ["mallory"]):
        alone = dsse.sign(payload, [key(name) for name in signers]).encode()
        with pytest.raises(SignatureError):
            ledger.admit(alone)
    with pytest.raises(SignatureError):
        make_next_root(anna.chain, [key("mallory").did], [key("anna"), key("mallory")])
    assert len(ledger.heads) == 1
    assert ledger.admit(dsse.sign(payload, [key("ben"), key("cleo")]).encode()).new


def test_all_online_keys_stolen_and_the_root_saves_it() -> None:
    """The keys that release are delegates'. They are stolen, all of them; the publisher's own were never online."""
    anna = Publisher.of("anna")
    given = anna.delegate("online-1", "online-2", names=["tiny*"], threshold=2)
    ledger = anna.ledger()
    delegate = Publisher(anna.chain, [key("online-1"), key("online-2")])
    under: dict[str, Any] = {"delegation": given.id, "delegations": ledger.delegations}
    honest = delegate.release("1", **under)
    ledger.admit(delegate.head(honest, place=None, **under).envelope)
    assert ledger.standing(honest) is Standing.CURRENT

    evil = delegate.release("666", **under)
    stolen = delegate.head(evil, place=None, **under)
    ledger.admit(stolen.envelope)
    assert ledger.head("tiny") == stolen

    # The publisher takes the keys back, vouches for what was honest, and names new ones.
    anna.revoke_key("online-1", Place.first())
    anna.heads = {}
    vouched = anna.head(honest)
    again = anna.delegate("online-3", names=["tiny*"])
    for envelope in anna.said[1:]:
        ledger.admit(envelope)
    for known in (ledger, restarted(ledger)):
        assert known.head("tiny") == vouched
        assert known.standing(honest) is Standing.VOUCHED
        assert known.standing(evil) is Standing.RETIRED
        with pytest.raises(RevokedError, match="key that was revoked"):
            known.check_release(evil)
        assert verdict(known, evil) is Verdict.REVOKED
        with pytest.raises(RevokedError):
            known.admit(delegate.head(evil, place=None, **under).envelope)
        for names in (given, again):
            assert known.delegation_in_force(names.id) == again, "the same names, and other keys"


def test_a_delegation_that_ended_lets_nothing_stand() -> None:
    anna = Publisher.of("anna")
    given = anna.delegate("ben")
    ledger = anna.ledger()
    ben = Publisher(anna.chain, [key("ben")])
    under: dict[str, Any] = {"delegation": given.id, "delegations": ledger.delegations}
    release = ben.release("1", **under)
    ledger.admit(ben.head(release, place=None, **under).envelope)
    assert ledger.head("tiny") is not None
    anna.delegate("ben", revoked=True)
    ledger.admit(anna.said[-1])
    assert ledger.head("tiny") is None
    assert ledger.standing(release) is Standing.RETIRED
    assert verdict(ledger, release) is Verdict.UNTRUSTED


def test_a_delegate_cannot_leave_its_names() -> None:
    anna = Publisher.of("anna")
    given = anna.delegate("ben", names=["tiny*"])
    ben = Publisher(anna.chain, [key("ben")])
    under: dict[str, Any] = {"delegation": given.id, "delegations": {given.id: given}}
    assert ben.release("1", "tiny-chat", **under)
    with pytest.raises(StatementError, match="does not cover"):
        ben.release("1", "large", **under)


def test_what_a_delegate_signs_is_refused_by_who_does_not_know_delegations() -> None:
    anna = Publisher.of("anna")
    given = anna.delegate("ben")
    under: dict[str, Any] = {"delegation": given.id, "delegations": {given.id: given}}
    release = Publisher(anna.chain, [key("ben")]).release("1", **under)
    assert b'"critical":["delegation"]' in release.payload
    unknown = release.payload.replace(b'"delegation"', b'"delegatiox"')
    with pytest.raises(CriticalError):
        verify_release_envelope(dsse.sign(unknown, [key("ben")]).encode(), anna.chain)
    with pytest.raises(StatementError, match="not known here"):
        verify_release_envelope(release.envelope, anna.chain)


def test_a_stolen_key_that_was_revoked_signs_nothing_more() -> None:
    anna = Publisher.of("anna")
    good = anna.release("1")
    anna.head(good)
    thief, last = anna.copy(), anna.place
    evil = thief.release("evil")
    thief.head(evil)
    ledger = anna.ledger()
    ledger.admit(thief.said[-1])
    assert ledger.heads["tiny"].head.release == evil.id
    ledger.learn_roots(anna.rotate("ben", place=last))
    anna.revoke_key("anna", last)
    anna.head(good)
    for envelope in anna.said[1:]:
        ledger.admit(envelope)
    thief.revoke(good)
    for known in (ledger, restarted(ledger)):
        assert known.heads["tiny"].head.release == good.id
        assert known.standing(good) is Standing.VOUCHED
        assert known.revoked_key(evil) is not None
        with pytest.raises(RevokedError):
            known.check_release(evil)
        # Nor can the thief take back what is good: it comes too late, wherever it is put.
        with pytest.raises(RevokedError):
            known.admit(thief.said[-1])
        assert known.revocation(good.id) is None


def test_a_thief_cannot_revoke_the_keys_that_replaced_his() -> None:
    anna = Publisher.of("anna")
    anna.publish("1")
    thief, last = anna.copy(), anna.place
    anna.rotate("ben", place=last)
    anna.revoke_key("anna", last)
    anna.publish("2")
    thief.revoke_key("ben", Place.first())
    early = Ledger(anna.chain)  # hears the thief first
    for envelope in (thief.said[-1], *anna.said):
        early.admit(envelope)
    assert early.key_revocation(key("ben").did) is None
    assert early.heads["tiny"] == anna.heads["tiny"]
    with pytest.raises(RevokedError):
        anna.ledger().admit(thief.said[-1])


def test_a_revocation_by_a_replaced_key_counts_unless_the_key_was_revoked() -> None:
    """It was made in good faith before a rotation, and is withheld until after it: it must not be lost."""
    anna = Publisher.of("anna")
    release = anna.release("1")
    anna.head(release)
    before = anna.copy()
    before.revoke(release)
    anna.rotate("ben")
    anna.publish("2")
    ledger = anna.ledger()
    ledger.admit(before.said[-1])
    assert ledger.revocation(release.id) is not None
    assert verdict(ledger, release) is Verdict.REVOKED


def test_a_replaced_key_writes_at_its_successors_places() -> None:
    anna = Publisher.of("anna")
    anna.publish("1")
    thief = anna.copy()
    anna.rotate("ben")
    anna.publish("2")
    ledger = anna.ledger()
    for _ in range(3):  # at the place of the successor's record, and twice beyond
        thief.publish("evil")
        with pytest.raises(RollbackError):
            ledger.admit(thief.said[-1])
        with pytest.raises(RollbackError):
            restarted(ledger).admit(thief.said[-1])
    assert ledger.heads["tiny"] == anna.heads["tiny"]


# Forks.


def forked() -> tuple[Publisher, Publisher, Ledger]:
    anna = Publisher.of("anna")
    anna.publish("1")
    other = anna.copy()
    anna.publish("2")
    other.publish("2-other")
    return anna, other, anna.ledger()


def test_fork_by_one_publisher() -> None:
    anna, other, ledger = forked()
    with pytest.raises(ForkError) as caught:
        ledger.admit(other.said[-1])
    assert caught.value.exit_code == 5
    assert caught.value.pair == (anna.said[-1], other.said[-1])
    for known in (ledger, restarted(ledger)):
        assert known.fork is not None
        assert known.fork.kind is ForkKind.LOG
        # What is held stays as it was; nothing new is believed.
        assert known.heads["tiny"] == anna.heads["tiny"]
        anna.copy().publish("3")
        later = anna.copy()
        later.publish("3")
        with pytest.raises(ForkError):
            known.admit(later.said[-1])


def test_a_fork_proof_convinces_who_saw_neither() -> None:
    anna, other, _ = forked()
    proof = ForkProof(anna.said[-1], other.said[-1])
    far = Ledger(anna.chain)
    far.admit(anna.said[0])
    fork = far.admit_fork(ForkProof.decode(proof.encode()))
    assert far.fork == fork
    assert verify_fork(ForkProof(proof.second, proof.first), anna.chain)[0].id == fork.id
    with pytest.raises(ForkError):
        far.admit(anna.said[1])
    far.lift(fork.id)
    assert far.fork is None
    assert far.admit(anna.said[1]).new
    assert far.forks == (fork,)


def test_what_does_not_contradict_proves_no_fork() -> None:
    anna, _, ledger = forked()
    for proof in (ForkProof(*anna.said), ForkProof(anna.said[0], anna.said[0])):
        with pytest.raises(StatementError, match="no fork"):
            ledger.admit_fork(proof)
    stranger = Publisher.of("mallory")
    stranger.publish("1")
    twin = Publisher.of("mallory")
    twin.publish("2")
    with pytest.raises(StatementError, match="publisher"):
        ledger.admit_fork(ForkProof(stranger.said[0], twin.said[0]))
    root = anna.chain.envelopes[0]
    with pytest.raises(StatementError):
        ledger.admit_fork(ForkProof(root, root))
    assert ledger.fork is None


@pytest.mark.parametrize("branch", ["mine", "theirs"])
def test_a_new_root_goes_on_from_one_branch_of_a_fork(branch: str) -> None:
    anna, other, ledger = forked()
    with pytest.raises(ForkError):
        ledger.admit(other.said[-1])
    goes_on = anna if branch == "mine" else other
    ledger.learn_roots(goes_on.rotate("ben"))
    assert ledger.fork is not None
    third = goes_on.publish("3")
    assert ledger.admit(third.envelope).new
    assert ledger.fork is None
    assert len(ledger.forks) == 1
    for envelope in goes_on.said:
        ledger.admit(envelope)
    assert [entry.envelope for entry in ledger.log()] == goes_on.said
    assert ledger.heads["tiny"] == third
    # Who does not know the new root is frozen by the proof.
    behind = forked()[2]
    behind.admit_fork(ledger.forks[0].proof)
    assert behind.fork is not None


def test_a_fork_is_healed_by_revoking_the_key_of_the_thief() -> None:
    anna = Publisher.of("anna", "ben")
    anna.publish("1")
    thief, last = anna.copy(), anna.place
    anna.keys = [key("ben")]
    anna.publish("2")
    thief.publish("evil")
    ledger = anna.ledger()
    with pytest.raises(ForkError):
        ledger.admit(thief.said[-1])
    assert ledger.fork is not None
    anna.revoke_key("anna", last)
    assert ledger.admit(anna.said[-1]).new
    assert ledger.fork is None
    assert ledger.heads["tiny"] == anna.heads["tiny"]


def test_a_frozen_publisher_can_still_revoke() -> None:
    anna = Publisher.of("anna")
    release = anna.release("1")
    anna.head(release)
    other = anna.copy()
    anna.publish("2")
    other.revoke(release)
    ledger = anna.ledger()
    with pytest.raises(ForkError):
        ledger.admit(other.said[-1])
    assert ledger.fork is not None
    assert ledger.revocation(release.id) is not None
    second = anna.copy()
    second.revoke(second.heads["tiny"])
    assert ledger.admit(second.said[-1]).new
    assert ledger.revocation(second.heads["tiny"].head.release) is not None


def test_a_fork_of_roots_freezes_all() -> None:
    anna = Publisher.of("anna")
    anna.publish("1")
    thief = anna.copy()
    anna.rotate("ben")
    thief.rotate("mallory")
    ledger = anna.ledger()
    with pytest.raises(ForkError, match="two different roots"):
        ledger.learn_roots(thief.chain)
    anna.publish("2")
    for known in (ledger, restarted(ledger)):
        assert known.fork is not None
        assert known.fork.kind is ForkKind.ROOT
        with pytest.raises(ForkError):
            known.admit(anna.said[-1])
        known.lift(known.fork.id)
        assert known.admit(anna.said[-1]).new


def test_a_fork_of_roots_is_over_with_the_next_root() -> None:
    """A thief of keys that were replaced makes a fork with their successors; one more root, and he is too late."""
    anna = Publisher.of("anna")
    anna.publish("1")
    thief = anna.copy()
    anna.rotate("ben")
    thief.rotate("mallory")
    ledger = anna.ledger()
    with pytest.raises(ForkError):
        ledger.learn_roots(thief.chain)
    assert ledger.learn_roots(anna.rotate("cleo"))
    assert ledger.fork is None
    anna.publish("2")
    assert ledger.admit(anna.said[-1]).new
    with pytest.raises(ForkError):
        ledger.learn_roots(thief.rotate("mallory-2"))
    for known in (ledger, restarted(ledger)):
        assert known.fork is None
        assert known.chain == anna.chain
        assert known.heads["tiny"] == anna.heads["tiny"]


def test_a_thief_of_replaced_keys_signs_forks_without_end() -> None:
    """They freeze nobody who knows the new root, and one of them is kept."""
    anna = Publisher.of("anna")
    anna.publish("1")
    thief = anna.copy()
    anna.rotate("ben")
    anna.publish("2")
    ledger = anna.ledger()
    for number in range(5):
        one, other = thief.copy(), thief.copy()
        one.publish(f"a{number}")
        other.publish(f"b{number}")
        ledger.admit_fork(ForkProof(one.said[-1], other.said[-1]))
        assert ledger.fork is None
    assert len(ledger.forks) == 1


def test_a_fork_of_heads_outside_the_log() -> None:
    anna = Publisher.of("anna")
    other = anna.copy()
    first, second = anna.publish("1", place=None), other.publish("2", place=None)
    ledger = Ledger(anna.chain)
    ledger.admit(first.envelope)
    with pytest.raises(ForkError):
        ledger.admit(second.envelope)
    assert ledger.fork is not None
    assert ledger.fork.kind is ForkKind.NAME


def test_a_fork_by_a_delegate_ends_its_delegation_and_freezes_nobody() -> None:
    anna = Publisher.of("anna")
    given = anna.delegate("ben")
    ledger = anna.ledger()
    under: dict[str, Any] = {"delegation": given.id, "delegations": ledger.delegations}
    ben = Publisher(anna.chain, [key("ben")])
    other = ben.copy()
    ledger.admit(ben.head(ben.release("1", **under), place=None, **under).envelope)
    with pytest.raises(ForkError):
        ledger.admit(other.head(other.release("2", **under), place=None, **under).envelope)
    assert ledger.fork is None
    assert not ledger.delegation_in_force(given.id)
    assert ledger.head("tiny") is None
    anna.publish("1", "other")
    assert ledger.admit(anna.said[-1]).new
    # Under whichever root it says that it signs, and however often.
    ledger.learn_roots(anna.rotate("cleo"))
    anna.publish("2", "other")
    ledger.admit(anna.said[-1])
    with pytest.raises(ForkError):
        ledger.admit(ben.head(ben.release("3", **under), place=None, **under).envelope)
    assert len(ledger.forks) == 1
    assert not restarted(ledger).delegation_in_force(given.id)
    # Delegated anew, the names are the delegate's again, and what was signed before the fork is not.
    again = anna.delegate("ben")
    ledger.admit(anna.said[-1])
    assert ledger.delegation_in_force(again.id) == again
    for known in (ledger, restarted(ledger)):
        assert not known.delegation_in_force(given.id)
        assert known.head("tiny") is None


# Witnesses.


def seen_rule(*witnesses: Witness, threshold: int = 0, **fields: Any) -> Decision:
    """What a rule says that believes the publisher when witnesses have seen it."""
    names = tuple(one.name for one in witnesses)
    return Decision(Rule(witnesses=names, witness_threshold=threshold or len(names), **fields), Ground.NAMED)


def seen_verdict(ledger: Ledger, release: Any, *witnesses: Witness, threshold: int = 0) -> Verdict:
    moment = Floor.of_build(BUILT).moment(BUILT + 86_400 * 90)
    decision = seen_rule(*witnesses, threshold=threshold)
    return judge(gather(ledger, release, decision, moment, witnesses=witnesses)).verdict


def witness(*names: str, called: str = "bob", threshold: int = 1) -> Witness:
    return Witness(called, frozenset(key(name).did for name in names), threshold)


def cosigned(envelope: bytes, *names: str) -> bytes:
    return dsse.cosign(envelope, [key(name) for name in names])


def test_a_split_view_of_which_a_witness_saw_one_side() -> None:
    """What the witness was not shown is not believed; what it has signed proves the fork to whoever was shown it."""
    anna, bob = Publisher.of("anna"), witness("bob")
    anna.publish("1")
    shown, hidden = anna.copy(), anna.copy()
    good, bad = shown.release("2"), hidden.release("2", bytes=6666)
    shown.head(good)
    hidden.head(bad)
    seen = cosigned(shown.said[-1], "bob")
    victim, other = (Ledger(anna.chain, witnesses=bob.keys) for _ in range(2))
    for ledger, branch in ((victim, hidden), (other, shown)):
        for envelope in branch.said:
            ledger.admit(envelope)
    assert seen_verdict(victim, bad, bob) is Verdict.UNTRUSTED
    assert seen_verdict(other, good, bob) is Verdict.UNTRUSTED  # nobody has seen it yet
    assert other.admit(seen).cosigned
    assert seen_verdict(other, good, bob) is Verdict.GOOD
    with pytest.raises(ForkError):
        victim.admit(seen)
    assert victim.fork is not None
    assert seen_verdict(restarted(victim), bad, bob) is Verdict.UNTRUSTED


def test_a_witness_is_not_led_to_sign_the_other_side() -> None:
    """It may have forgotten all but what it signed itself; with that the other side is the proof of a fork."""
    anna = Publisher.of("anna")
    anna.publish("1")
    one, other = anna.copy(), anna.copy()
    head = one.publish("2")
    last = Cosigned(1, 2, head.id, cosigned(head.envelope, "bob"))
    for more in range(3):  # at the same place, and with more and more after it
        other.publish(f"3.{more}")
        ledger = other.ledger()
        found, proof = course(ledger, last)
        assert found is Course.FORKS
        assert proof is not None
        assert verify_fork(proof, anna.chain)[0].kind is ForkKind.LOG
    # Its own side, however far it went, and an older state of it.
    assert course(one.ledger(), last) == (Course.FOLLOWS, None)
    one.publish("4")
    one.publish("5")
    assert course(one.ledger(), last) == (Course.FOLLOWS, None)
    assert course(anna.ledger(), last) == (Course.BEHIND, None)
    assert course(Ledger(anna.chain), last) == (Course.FOLLOWS, None)
    # Keys that replaced the old ones may drop what was signed: that is for a person to say.
    anna.rotate("ben")
    anna.publish("6")
    anna.publish("7")
    assert course(anna.ledger(), last) == (Course.LEFT, None)
    # What went on from it under new keys is no question.
    one.rotate("ben")
    one.publish("8")
    assert course(one.ledger(), last) == (Course.FOLLOWS, None)


def test_a_witness_that_signs_both_sides_is_told_with_the_fork() -> None:
    anna, bob = Publisher.of("anna"), witness("bob")
    one, other = anna.copy(), anna.copy()
    one.publish("1")
    other.publish("2")
    ledger = Ledger(anna.chain, witnesses=bob.keys)
    ledger.admit(cosigned(one.said[-1], "bob", "carol"))
    with pytest.raises(ForkError):
        ledger.admit(cosigned(other.said[-1], "bob"))
    (fork,) = restarted(ledger).forks
    # Not carol, who signed one, nor anna, whose fork it is.
    assert on_both_sides(ledger, fork) == bob.keys


def test_a_witness_s_signature_stripped() -> None:
    anna, bob = Publisher.of("anna"), witness("bob")
    release = anna.release("1")
    anna.head(release)
    ledger = Ledger(anna.chain, witnesses=bob.keys)
    ledger.admit(anna.said[0])
    assert seen_verdict(ledger, release, bob) is Verdict.UNTRUSTED
    assert ledger.admit(cosigned(anna.said[0], "bob")).cosigned
    for _ in range(2):
        assert seen_verdict(ledger, release, bob) is Verdict.GOOD
        assert not ledger.admit(anna.said[0]).cosigned  # the stripped copy again
    assert seen_verdict(restarted(ledger), release, bob) is Verdict.GOOD


def test_a_witness_s_key_counted_twice() -> None:
    anna, bob = Publisher.of("anna"), witness("bob", "bob-2")
    again = Witness(key("bob").did, frozenset({key("bob").did}))
    twin = witness("bob", called="bob-at-work")
    release = anna.release("1")
    head = anna.head(release)
    ledger = Ledger(anna.chain, witnesses=bob.keys)
    ledger.admit(cosigned(head.envelope, "bob"))
    for both in ((bob, again), (again, bob), (twin, again), (bob, twin)):
        assert seen_verdict(ledger, release, *both) is Verdict.UNTRUSTED
        assert seen_verdict(ledger, release, *both, threshold=1) is Verdict.GOOD
    assert seen_verdict(ledger, release, Witness("bob", bob.keys, 2)) is Verdict.UNTRUSTED
    twice = Envelope.decode(cosigned(head.envelope, "bob"))
    with pytest.raises(EnvelopeError, match="twice"):
        ledger.admit(Envelope(twice.payload, (*twice.signatures, twice.signatures[-1])).encode())


def test_a_stranger_or_the_publisher_itself_is_no_witness() -> None:
    anna, bob = Publisher.of("anna"), witness("bob")
    given = anna.delegate("dora")
    release = anna.release("1")
    head = anna.head(release)
    anna.rotate("ben")
    ledger = Ledger(anna.chain, witnesses={key(name).did for name in ("anna", "ben", "dora", "bob")})
    ledger.admit(given.envelope)
    ledger.admit(cosigned(head.envelope, "stranger", "ben", "dora"))
    for name in ("bob", "ben", "anna", "dora"):
        assert seen_verdict(ledger, release, witness(name)) is Verdict.UNTRUSTED
    assert seen_verdict(ledger, release, Witness("nobody known", frozenset())) is Verdict.UNTRUSTED
    assert seen_by(ledger, [bob, witness("ben")]) == ()


def test_a_witness_kept_out_by_other_signatures() -> None:
    """A publisher fills the envelope with signatures of keys that it made; they make way for those that count."""
    anna, bob = Publisher.of("anna"), witness("bob")
    release = anna.release("1")
    head = anna.head(release)
    full = cosigned(head.envelope, *(f"junk-{number}" for number in range(15)))
    ledger = Ledger(anna.chain, witnesses=bob.keys)
    ledger.admit(full)
    added = ledger.admit(cosigned(head.envelope, "bob"))
    assert added.cosigned
    assert set(added.entry.signers.everyone) == {key("anna").did, key("bob").did}
    assert seen_verdict(ledger, release, bob) is Verdict.GOOD
    assert restarted(ledger).heads["tiny"].signers.cosigners == (key("bob").did,)


# Signatures.


def test_signature_stripping() -> None:
    anna = Publisher.of("anna", "ben", threshold=2)
    head = anna.publish("1")
    whole = Envelope.decode(head.envelope)
    ledger = Ledger(anna.chain, witnesses=[key("witness").did, key("another").did])
    for kept in ((), whole.signatures[:1], whole.signatures[1:]):
        with pytest.raises(SignatureError):
            ledger.admit(Envelope(whole.payload, kept).encode())
    witnessed = dsse.cosign(head.envelope, [key("witness"), key("anna")])
    assert ledger.admit(witnessed).entry.signers.cosigners == (key("witness").did,)
    # A copy without the witness takes nothing away, and one with a second witness adds to it.
    assert not ledger.admit(head.envelope).cosigned
    assert ledger.heads["tiny"].signers.cosigners == (key("witness").did,)
    assert ledger.admit(dsse.cosign(witnessed, [key("another")])).cosigned
    assert len(ledger.heads["tiny"].signers.cosigners) == 2
    # Nobody fills it with signatures of keys that nobody asked for.
    junk = dsse.cosign(witnessed, [key("another"), *(key(f"junk-{number}") for number in range(10))])
    assert not ledger.admit(junk).cosigned
    assert len(ledger.heads["tiny"].signers.cosigners) == 2


def test_duplicate_signatures_of_one_key_counted_twice() -> None:
    anna = Publisher.of("anna", "ben", threshold=2)
    payload = Envelope.decode(anna.publish("1").envelope).payload
    one = dsse.sign(payload, [key("anna")]).signatures[0]
    ledger = Ledger(anna.chain)
    with pytest.raises(EnvelopeError, match="twice"):
        ledger.admit(Envelope(payload, (one, one)).encode())
    # Neither does the same signature under another spelling of the same key.
    upper = Signature(one.keyid.replace("did:key:", "DID:KEY:"), one.sig)
    with pytest.raises(SignatureError, match="1 of the keys"):
        ledger.admit(Envelope(payload, (one, upper)).encode())


@pytest.mark.parametrize("keyid", ["did:key:zDnae" + "x" * 43, "kid-1", "did:web:anna", "none"])
def test_algorithm_confusion(keyid: str) -> None:
    """A signature of a kind that is not known counts for nothing, whatever it says it is."""
    anna = Publisher.of("anna")
    whole = Envelope.decode(anna.publish("1").envelope)
    ledger = Ledger(anna.chain)
    alone = Envelope(whole.payload, (Signature(keyid, whole.signatures[0].sig),))
    with pytest.raises(SignatureError, match="no signature by an Ed25519 key"):
        ledger.admit(alone.encode())


def test_payload_type_confusion() -> None:
    anna = Publisher.of("anna")
    payload = Envelope.decode(anna.publish("1").envelope).payload
    ledger = Ledger(anna.chain)
    with pytest.raises(EnvelopeError, match="payload type"):
        ledger.admit(dsse.sign(payload, anna.keys, payload_type="text/plain").encode())
    for message in (pae("text/plain", payload), payload, pae(PAYLOAD_TYPE, payload)[:-1]):
        forged = Envelope(payload, (Signature(key("anna").did, key("anna").sign(message)),))
        with pytest.raises(SignatureError):
            ledger.admit(forged.encode())


def test_a_record_of_one_kind_as_another() -> None:
    anna = Publisher.of("anna")
    release = anna.release("1")
    ledger = Ledger(anna.chain)
    for envelope in (release.envelope, anna.chain.envelopes[0]):
        with pytest.raises(StatementError, match="predicateType"):
            ledger.admit(envelope)
    with pytest.raises(StatementError, match="predicateType"):
        PublisherChain.verify([anna.publish("1").envelope])


# What is withheld.


def test_a_revocation_withheld_by_one_peer_and_carried_by_another() -> None:
    anna = Publisher.of("anna")
    release = anna.release("1")
    anna.head(release)
    revocation = anna.revoke(release)
    anna.publish("2")
    lying = Ledger(anna.chain)
    for envelope in anna.said:
        if envelope != revocation.envelope:
            lying.admit(envelope)
    # The gap is seen: what comes after commits to what is missing.
    assert lying.missing() == ((2, 2),)
    facts = gather(lying, release, DEFAULT_POLICY.decide(release), Floor.of_build(BUILT).moment(BUILT))
    assert any("missing" in note for note in judge(facts).notes)
    lying.admit(revocation.envelope)
    assert lying.missing() == ()
    assert verdict(lying, release) is Verdict.REVOKED
    with pytest.raises(RevokedError, match="security"):
        lying.check_release(release)


def test_a_revocation_that_travels_alone() -> None:
    """Of a publisher of whom nothing else is known but the roots."""
    anna = Publisher.of("anna")
    release = anna.release("1")
    anna.head(release)
    anna.publish("2")
    revocation = anna.revoke(release)
    ledger = Ledger(anna.chain)
    assert ledger.admit(revocation.envelope).new
    assert verdict(ledger, release) is Verdict.REVOKED
    assert ledger.missing() == ((1, 2),)


def test_a_split_view_is_seen_when_partitions_meet() -> None:
    _, other, here = forked()
    there = other.ledger()
    assert here.fork is None
    assert there.fork is None
    for ours, theirs in ((here, list(there.log())), (there, list(here.log()))):
        assert not ours.admit(theirs[0].envelope).new
        with pytest.raises(ForkError) as caught:
            ours.admit(theirs[1].envelope)
        assert caught.value.pair is not None
    assert here.fork is not None
    assert there.fork is not None
    assert here.fork.id == there.fork.id


# Names.


@pytest.mark.parametrize(
    "name", ["аnna", "ann\u200da", "ａnna", "anna\u0301", "ınna", "anna\u200b", "Ꭺnna", "a\u00adnna"]
)
def test_unicode_confusables_cannot_occur_in_names(name: str) -> None:
    for check in (check_petname, check_name):
        with pytest.raises(LinkError):
            check(name)
    anna = Publisher.of("anna")
    with pytest.raises(StatementError):
        anna.release("1", name)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("rnodel", "model"),
        ("a1ice", "alice"),
        ("aIice", "alice"),
        ("g00gle", "google"),
        ("Model", "model"),
        ("tiny-llama", "tiny_llama"),
        ("tiny.llama", "tinyllama"),
        ("vvhisper", "whisper"),
        ("clata", "data"),
        ("q5", "qs"),
    ],
)
def test_look_alike_names_in_ascii_are_warned_of(name: str, known: str) -> None:
    assert lookalikes(name, [known, "something-else"]) == (known,)
    assert lookalikes(known, [name, "something-else"]) == (name,)


def test_one_name_is_no_look_alike_of_itself() -> None:
    assert lookalikes("alice", ["alice", "bob"]) == ()
    assert lookalikes("alice", []) == ()
    assert lookalikes("llama-3.1", ["llama-3.2"]) == ()


# Clocks.


@pytest.mark.parametrize("years", [-10, 10])
def test_a_clock_ten_years_off_trusts_nothing_and_leaves_no_mark(years: int) -> None:
    anna = Publisher.of("anna")
    release = anna.release("1")
    anna.head(release, expires="2026-08-01T00:00:00Z")
    ledger = anna.ledger()
    floor = Floor.of_build(BUILT)
    wrong = BUILT + years * YEAR
    assert floor.moment(wrong).clock is (Clock.BEHIND if years < 0 else Clock.FAR_AHEAD)
    assert floor.raised_by_clock(wrong) == floor
    # What is here stays usable; a record of the next decade is not believed.
    assert verdict(ledger, release, wrong) is Verdict.GOOD
    with pytest.raises(FutureError):
        floor.raised_by_record("2035-01-01T00:00:00Z", wrong, "anna")
    future = released(anna.chain, anna.keys, version="2", issued="2035-01-01T00:00:00Z")
    anna.head(future)
    assert verdict(ledger, future, wrong) is Verdict.UNTRUSTED
    # The clock is right again, and all is as it was.
    right = BUILT + 30 * 86_400
    assert floor.raised_by_clock(wrong).raised_by_clock(right).seconds == right
    assert verdict(ledger, release, right + 60 * 86_400) is Verdict.GOOD


def test_a_record_dated_to_come_is_not_believed_and_moves_nothing() -> None:
    floor = Floor.of_build(BUILT)
    now = BUILT + 60 * 86_400
    with pytest.raises(FutureError):
        floor.raised_by_record("2099-01-01T00:00:00Z", now, "mallory")


def test_a_head_in_the_log_that_counts_its_name_back() -> None:
    """The position is new, the sequence is not: the name stays where it was, and the two heads are a fork."""
    anna = Publisher.of("anna")
    anna.publish("1")
    anna.publish("2")
    anna.heads = {}
    back = make_head(
        anna.chain,
        name="tiny",
        release=anna.release("evil").payload,
        previous=None,
        issued=WHEN,
        keys=anna.keys,
        place=anna.place,
    )
    with pytest.raises(ForkError, match="two heads of 'tiny'"):
        anna.ledger().admit(back.envelope)
