"""Whatever anybody signs and offers: nothing but its own errors, and what is kept up step by step is what is read anew.

Here keys are stolen and used under the same root, publishers fork, delegates fork, witnesses sign, operators lift.
"""

from __future__ import annotations

import contextlib
import itertools
import random
from typing import Any

import pytest
from support.publishers import Publisher, key

from samara.protocol import dsse
from samara.protocol.errors import RecordError, SamaraError, UntrustedError
from samara.protocol.records import PublisherChain, VerifiedHead
from samara.protocol.trust import ForkProof, Ledger, verify_fork
from samara.protocol.trust.reading import Reading

STORIES = 120


def act(chance: random.Random, one: Publisher, said: list[bytes], releases: list[Any]) -> None:
    """Let somebody who holds some of the keys say something."""
    match chance.randrange(9):
        case 0 | 1 | 2:
            said.append(one.publish(str(chance.randrange(3)), chance.choice(["tiny", "d-x"])).envelope)
        case 3:
            release = one.release(str(chance.randrange(3)))
            releases.append(release)
            said.append(one.revoke(release).envelope)
        case 4:
            name = chance.choice(["k0", "k1", "d0"])
            last = chance.choice([one.place, one.place, type(one.place).first()])
            said.append(one.revoke_key(name, last).envelope)
        case 5:
            given = one.delegate("d0", names=["d*"], revoked=chance.random() < 0.3)
            said.append(given.envelope)
            if not given.said.revoked:
                delegate = Publisher(one.chain, [key("d0")])
                under: dict[str, Any] = {"delegation": given.id, "delegations": {given.id: given}}
                for version in chance.sample("12", chance.randint(1, 2)):
                    delegate.heads = {}
                    release = delegate.release(version, "d-x", **under)
                    said.append(delegate.head(release, place=None, **under).envelope)
        case 6:
            said.append(one.publish("loose", "tiny", place=None).envelope)
        case 7:
            said.append(one.attest(one.release("1")))
        case _:
            one.keys = [key(chance.choice(["k0", "k1"]))] if len(one.chain.roots) == 1 else one.keys


def story(chance: random.Random) -> tuple[list[PublisherChain], list[bytes], list[Any]]:
    """Return chains, envelopes and releases of a publisher whose keys are in several hands."""
    anna = Publisher.of("k0", "k1")
    hands, chains, said, releases = [anna], [anna.chain], list[bytes](), list[Any]()
    for _ in range(chance.randint(4, 14)):
        one = chance.choice(hands)
        if chance.random() < 0.15:
            hands.append(one.copy())
        elif chance.random() < 0.12:
            chains.append(one.rotate(chance.choice(["k1", "k2", "k3"]), "k0"))
        else:
            with contextlib.suppress(SamaraError):  # a head after one of another root, signed by whom it does not know
                act(chance, one, said, releases)
    return chains, said, releases


def told(reading: Reading) -> dict[str, Any]:
    """All that a reading says, in a form that can be compared."""
    return {
        "tip": reading.tip and reading.tip.id,
        "line": {position: entry.id for position, entry in reading.line.items()},
        "counted": reading.counted,
        "heads": {name: head.id for name, head in reading.heads.items()},
        "named": {release: head.head.release for release, head in reading.named.items()},
        "revoked": {release: entry.id for release, entry in reading.revoked.items()},
        "keys": {name: entry.id for name, entry in reading.keys.items()},
        "delegations": {names: entry.id for names, entry in reading.delegations.items()},
        "attestations": {release: [one.id for one in found] for release, found in reading.attestations.items()},
        "top": reading.top,
    }


def offer(chance: random.Random, ledger: Ledger, thing: bytes | PublisherChain | ForkProof) -> None:
    with contextlib.suppress(RecordError, UntrustedError):
        if isinstance(thing, PublisherChain):
            ledger.learn_roots(thing)
        elif isinstance(thing, ForkProof):
            ledger.admit_fork(thing)
        else:
            if chance.random() < 0.1:
                with contextlib.suppress(RecordError):
                    thing = dsse.cosign(thing, [key("witness")])
            ledger.admit(thing)


@pytest.mark.parametrize("part", range(4))
def test_a_ledger_stays_whole_whatever_is_offered(part: int) -> None:
    for number in range(part, STORIES, 4):
        try:
            play(number)
        except (AssertionError, SamaraError) as error:
            error.add_note(f"story {number}")
            raise


def play(number: int) -> None:
    chance = random.Random(number)
    chains, said, releases = story(chance)
    ledger = Ledger(chains[0], witnesses=[key("witness").did])
    pairs = [ForkProof(*chance.sample(said, 2)) for _ in range(4)] if len(said) > 1 else []
    offers: list[bytes | PublisherChain | ForkProof] = [*said, *said, *chains, *pairs]
    chance.shuffle(offers)
    for thing in offers:
        offer(chance, ledger, thing)
        if not ledger._stale:
            assert told(ledger._reading) == told(ledger._read())
        fork = ledger.fork
        if fork is not None:
            assert verify_fork(fork.proof, ledger.chain, ledger.delegations)[0] == fork
            if chance.random() < 0.05:
                ledger.lift(fork.id)
                assert ledger.fork is None or ledger.fork.id != fork.id
        check(ledger, releases)


def check(ledger: Ledger, releases: list[Any]) -> None:
    """What holds of each ledger at any time."""
    log = list(ledger.log())
    positions = [entry.said.origin.place.position for entry in log]
    assert positions == sorted(set(positions))
    roots = [entry.said.origin.root for entry in log]
    assert roots == sorted(roots)
    for before, after in itertools.pairwise(log):
        if after.said.origin.place.position == before.said.origin.place.position + 1:
            assert after.said.origin.place.after == before.id
    for name, head in ledger.heads.items():
        assert isinstance(head, VerifiedHead)
        assert head.head.name == name
        assert head in ledger.history(name)
        ledger.check_offer(head)
    for release in releases:
        ledger.standing(release)
    kinds = [(fork.kind, fork.root, fork.delegation) for fork in ledger.forks]
    assert len(set(kinds)) == len(kinds)
