"""What trust costs: a store of records verified from its bytes, and one head that is checked again and again.

Nearly all of it is Ed25519: so the same run verifies as many bare signatures with `cryptography`, and prints the ratio.
CPU seconds of one core. Usage: python bench/trust.py [records] [publishers]
"""

from __future__ import annotations

import functools
import platform
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: E402 - the path is added above
from measuring import cpu  # noqa: E402
from support.publishers import Publisher, key  # noqa: E402

from samara.protocol import dsse  # noqa: E402
from samara.protocol.ids import parse_did_key  # noqa: E402
from samara.protocol.records import PublisherChain  # noqa: E402
from samara.protocol.trust import DEFAULT_POLICY, Floor, Ledger, gather, judge  # noqa: E402

COLD_GOAL = 2.0
"""Seconds for a store of 10,000 records."""

WARM_GOAL = 1e-3
"""Seconds for one head."""

TIMES = 2000


def story(records: int, publishers: int) -> list[Publisher]:
    """Return publishers whose logs have so many records together: heads mostly, and some of each other kind."""
    found = [Publisher.of(f"bench-{number}", f"bench-{number}-b") for number in range(publishers)]
    for publisher in found:
        release = publisher.release("0")
        for number in range(records // publishers):
            match number % 10:
                case 7:
                    publisher.attest(release)
                case 8:
                    publisher.revoke(release)
                case 9:
                    publisher.delegate("somebody", names=[f"d{number % 50}*"])
                case _:
                    publisher.publish(str(number), f"name-{number % 20}", expires="2030-01-01T00:00:00Z")
    return found


def bare(envelopes: list[bytes]) -> Callable[[], None]:
    """Return what verifies the signatures alone: keys, messages and signatures lie ready."""
    ready = []
    for envelope in envelopes:
        decoded = dsse.Envelope.decode(envelope)
        message = dsse.pae(decoded.payload_type, decoded.payload)
        ready += [(parse_did_key(one.keyid), one.sig, message) for one in decoded.signatures]

    def verify() -> None:
        for public, signature, message in ready:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, message)

    return verify


def cold(publishers: list[Publisher]) -> list[Ledger]:
    """Verify everything from its bytes, as after a start."""
    return [
        Ledger.restore(PublisherChain.verify(publisher.chain.envelopes), publisher.said) for publisher in publishers
    ]


def backwards(publisher: Publisher) -> Ledger:
    """A log that comes from its end: every record fills a gap."""
    ledger = Ledger(publisher.chain)
    for envelope in reversed(publisher.said):
        ledger.admit(envelope)
    assert ledger.missing() == ()
    return ledger


def revoked_first(publisher: Publisher, last: Publisher) -> Ledger:
    """A log whose key was revoked, of which the revocation came first."""
    ledger = Ledger(last.chain)
    ledger.admit(last.said[-1])
    for envelope in publisher.said:
        ledger.admit(envelope)
    assert ledger.missing() == ()
    return ledger


def main() -> None:
    """Measure, and print."""
    records, count = ([int(argument) for argument in sys.argv[1:]] + [10_000, 20][len(sys.argv) - 1 :])[:2]
    print(f"{platform.machine()}, Python {platform.python_version()}; {records} records of {count} publishers")
    publishers = story(records, count)
    envelopes = [envelope for publisher in publishers for envelope in publisher.said]
    alone = cpu(bare(envelopes))
    print(f"bare Ed25519             {alone:8.3f} s   {alone / len(envelopes) * 1e6:7.1f} us each")
    whole = cpu(lambda: cold(publishers))
    print(
        f"a store, cold            {whole:8.3f} s   {whole / len(envelopes) * 1e6:7.1f} us each   "
        f"{whole / alone:5.2f} times bare; goal {COLD_GOAL * records / 10_000:.1f} s"
    )
    (one,) = story(min(records, 10_000), 1)
    spent = cpu(lambda: backwards(one))
    print(f"one log, from its end    {spent:8.3f} s   {spent / len(one.said) * 1e6:7.1f} us each")
    last = one.copy()
    place = last.place
    last.rotate("bench-new")
    last.revoke_key("bench-0", place)
    spent = cpu(lambda: revoked_first(one, last))
    print(f"one log, revoked first   {spent:8.3f} s   {spent / len(one.said) * 1e6:7.1f} us each")

    ledger = cold(publishers[:1])[0]
    known = publishers[0].heads["name-1"]
    again = dsse.cosign(known.envelope, [key("witness")])
    release = publishers[0].release("judged", "name-1")
    moment = Floor.of_build(1_772_000_000).moment(1_780_000_000)
    decision = DEFAULT_POLICY.decide(release, own=True)
    bare_one = alone / len(envelopes)
    acts: dict[str, Callable[[], object]] = {
        "a head that is known": lambda: ledger.admit(known.envelope),
        "a head, other bytes": lambda: Ledger(ledger.chain).admit(again),
        "a verdict": lambda: judge(gather(ledger, release, decision, moment)),
    }
    for name, act in acts.items():
        each = cpu(functools.partial(repeat, act)) / TIMES
        print(f"{name:24} {each * 1e6:8.1f} us   {each / bare_one:5.2f} times bare; goal {WARM_GOAL * 1e6:.0f} us")


def repeat(act: Callable[[], object]) -> None:
    for _ in range(TIMES):
        act()


if __name__ == "__main__":
    main()
