"""Replay of every old signed object everywhere: whatever was ever signed, offered again at any time and in any order.

Two hundred stories in a check, each replayed twice; `SAMARA_REPLAY_RUNS=100000` by hand. Each is made of one integer,
which a failure says.
"""

from __future__ import annotations

import contextlib
import os
import random
from dataclasses import dataclass, field

import pytest
from support.publishers import Publisher, key

from samara.protocol.errors import RecordError, RevokedError, RollbackError, SamaraError
from samara.protocol.ids import ReleaseId
from samara.protocol.records import (
    KeyRevocation,
    PublisherChain,
    Standing,
    VerifiedRelease,
    verify_head,
    verify_release_envelope,
)
from samara.protocol.trust import Ledger

RUNS = int(os.environ.get("SAMARA_REPLAY_RUNS", "200"))
FIRST = int(os.environ.get("SAMARA_REPLAY_FIRST", "0"))
SLICES = 10


@dataclass
class Story:
    """What a publisher, its thief and a stranger signed, in order.

    Attributes:
        anna: The publisher, as she is at the end.
        chains: Her root chains, one after another.
        everything: All envelopes that anybody signed.
        revoked: Releases that she took back.
        releases: All releases by her keys, stolen or not.
        evil: Releases of the thief.
    """

    anna: Publisher
    chains: list[PublisherChain] = field(default_factory=list)
    everything: list[bytes] = field(default_factory=list)
    revoked: set[ReleaseId] = field(default_factory=set)
    releases: list[VerifiedRelease] = field(default_factory=list)
    evil: list[VerifiedRelease] = field(default_factory=list)


def tell(chance: random.Random) -> Story:
    """Make up a story in which the publisher does what is right, and all others what they can."""
    anna = Publisher.of("k0")
    story = Story(anna, [anna.chain])
    thief: Publisher | None = None
    keys = 0
    for _ in range(chance.randint(3, 9)):
        match chance.randrange(6):
            case 0 | 1:
                release = anna.release(str(len(story.releases)), chance.choice(["tiny", "large"]))
                story.releases.append(release)
                anna.head(release)
            case 2 if story.releases:
                release = chance.choice(story.releases)
                anna.revoke(release)
                story.revoked.add(release.id)
            case 3 if story.releases:
                anna.attest(chance.choice(story.releases))
            case 4 if thief is None:
                thief = anna.copy()
            case 5:
                good, last = keys, anna.place
                keys += 1
                story.chains.append(anna.rotate(f"k{keys}"))
                if thief is not None:
                    _steal(chance, story, thief)
                    anna.revoke_key(f"k{good}", last)
                    thief = None
            case _:
                anna.delegate("somebody", names=["d*"])
    _strange(story)
    story.everything += [*anna.said, *(envelope for chain in story.chains for envelope in chain.envelopes)]
    story.everything += [release.envelope for release in story.releases]
    return story


def _steal(chance: random.Random, story: Story, thief: Publisher) -> None:
    for _ in range(chance.randint(1, 3)):
        match chance.randrange(3):
            case 0:
                evil = thief.release(f"evil-{len(story.evil)}", chance.choice(["tiny", "large"]))
                story.evil.append(evil)
                thief.head(evil)
            case 1 if story.releases:
                thief.revoke(chance.choice(story.releases))
            case _:
                thief.delegate("mallory", names=["t*"])
    story.everything += thief.said


def _strange(story: Story) -> None:
    """A stranger signs what names the publisher, and the publisher's own words under a stranger's roots."""
    mallory = Publisher.of("mallory")
    mallory.publish("1")
    story.everything += [*mallory.said, *mallory.chain.envelopes]


def play(story: Story, chance: random.Random) -> Ledger:
    """Offer everything to somebody, again and again, in any order; roots when they come up."""
    ledger = Ledger(story.chains[0])
    offers: list[bytes | PublisherChain] = [*story.everything, *story.everything, *story.chains]
    chance.shuffle(offers)
    # At the end comes a peer who is honest and has all of it: roots first, and the log twice, since what a fork of the
    # thief's kept out is asked for again once it is over.
    for offer in (*offers, *story.chains, *story.anna.said, *story.anna.said):
        before = _never_forgotten(ledger)
        with contextlib.suppress(RecordError, RevokedError, RollbackError):
            if isinstance(offer, PublisherChain):
                ledger.learn_roots(offer)
            else:
                ledger.admit(offer)
        assert _never_forgotten(ledger) >= before
    return ledger


def _never_forgotten(ledger: Ledger) -> frozenset[object]:
    keys = (entry.said.key for entry in ledger.revocations() if isinstance(entry.said, KeyRevocation))
    return frozenset((*keys, *(root.id for root in ledger.chain.roots)))


def check(story: Story, ledger: Ledger, reference: Ledger) -> None:
    """Hold a ledger that heard everything against one that heard the publisher alone, in order."""
    assert ledger.fork is None
    assert ledger.newest == reference.newest
    assert [entry.id for entry in ledger.log()] == [entry.id for entry in reference.log()]
    assert ledger.missing() == ()
    assert {n: h.id for n, h in ledger.heads.items()} == {n: h.id for n, h in reference.heads.items()}
    assert {r.id for r in story.releases if ledger.revocation(r.id)} == story.revoked
    for release in story.evil:
        assert ledger.standing(release) is Standing.RETIRED
        with pytest.raises(RevokedError):
            ledger.check_release(release)
    for head in reference.history("tiny"):
        known = reference.head("tiny")
        if known is not None and head.id != known.id:
            with pytest.raises(RollbackError):
                ledger.check_offer(head)
    for release in story.releases:
        assert ledger.standing(release) is reference.standing(release)
        assert verify_release_envelope(release.envelope, ledger.chain).id == release.id


def run(number: int) -> None:
    """One story, replayed to two readers, of whom one starts anew afterwards."""
    chance = random.Random(number)
    story = tell(chance)
    reference = Ledger(story.chains[-1])
    for envelope in story.anna.said:
        reference.admit(envelope)
    for _ in range(2):
        ledger = play(story, chance)
        check(story, ledger, reference)
    stored = [*(entry.envelope for entry in ledger.revocations()), *(entry.envelope for entry in ledger.log())]
    check(story, Ledger.restore(ledger.chain, stored, [fork.proof for fork in ledger.forks]), reference)


@pytest.mark.parametrize("part", range(SLICES))
def test_replay_of_every_old_signed_object_everywhere(part: int) -> None:
    for number in range(FIRST + part, FIRST + RUNS, SLICES):
        try:
            run(number)
        except (AssertionError, SamaraError) as error:
            error.add_note(f"SAMARA_REPLAY_FIRST={number} SAMARA_REPLAY_RUNS=1 replays it")
            raise


def test_a_replayed_object_is_never_taken_for_another_publisher() -> None:
    for number in range(20):
        story = tell(random.Random(number))
        mallory = Publisher.of("mallory")
        ledger = mallory.ledger()
        for envelope in story.everything:
            try:
                ledger.admit(envelope)
            except RecordError:
                continue
        assert all(entry.said.origin.publisher == mallory.chain.publisher for entry in ledger.log())


def test_a_head_of_another_publisher_is_no_head_here() -> None:
    anna, mallory = Publisher.of("anna"), Publisher.of("mallory")
    head = anna.publish("1")
    with pytest.raises(RecordError):
        verify_head(head.envelope, mallory.chain)
    assert key("anna").did != key("mallory").did
