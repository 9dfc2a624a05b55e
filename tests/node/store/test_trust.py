"""The floor of time and the rules as a home keeps them: clocks that lie, restarts, and who may say what time it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.contents import CrashableStore, give_home, make_source
from support.publishers import WHEN, Publisher
from support.speaking import publisher_of

from samara.node.settings import StoreSettings
from samara.node.store.home import Home
from samara.node.store.store import Store
from samara.node.store.times import Times
from samara.node.trustfile import add_rule, remove_rule, text_of
from samara.protocol.errors import FutureError, NotFoundError, UntrustedError, UsageError
from samara.protocol.ids import ReleaseId
from samara.protocol.records import Place, VerifiedRelease, make_key_revocation, parse_time
from samara.protocol.trust import DEFAULT_POLICY, Clock, Ground, Mode, Rule, Verdict

YEAR = 366 * 86_400
NOW = parse_time("2026-12-24T00:00:00Z")


class Turned:
    """A clock that a test sets."""

    def __init__(self, now: int = NOW) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


def times_of(store: CrashableStore, clock: Turned) -> Times:
    """Give a store another clock."""
    store.times = store.trust._times = Times(store._index, clock)
    return store.times


@pytest.mark.parametrize("years", [-10, 10])
def test_a_clock_that_is_ten_years_off_is_not_believed_and_leaves_no_mark(tmp_path: Path, years: int) -> None:
    clock = Turned()
    with give_home(tmp_path / "a") as store:
        times_of(store, clock).reset()
        store.crash()
    clock.now = NOW + years * YEAR
    with give_home(tmp_path / "a") as store:
        times = times_of(store, clock)
        times.see_clock()
        moment = times.moment()
        assert moment.clock is (Clock.BEHIND if years < 0 else Clock.FAR_AHEAD)
        assert moment.now == NOW
        store.crash()
    clock.now = NOW + 86_400
    with give_home(tmp_path / "a") as store:
        times = times_of(store, clock)
        times.see_clock()
        assert times.moment().clock is Clock.BELIEVED
        store.crash()
    with give_home(tmp_path / "a") as store:
        assert times_of(store, clock).floor.seconds == NOW + 86_400


def test_a_home_that_is_only_read_keeps_its_floor(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as store:
        times_of(store, Turned()).reset()
    looking = Store(Home(tmp_path / "a"), StoreSettings(), writable=False)
    assert looking.times.floor.seconds == NOW
    looking.close()


def test_records_of_trusted_publishers_alone_raise_the_floor(tmp_path: Path) -> None:
    stranger, known = Publisher.of("a stranger"), Publisher.of("anna")
    later = "2027-06-01T00:00:00Z"
    clock = Turned(0)  # an empty battery: records are all that there is
    with give_home(tmp_path / "a") as store:
        times_of(store, clock).reset(NOW)
        store.ledgers.take(stranger.chain.envelopes, [stranger.publish("1", issued=later).envelope])
        assert store.times.floor.seconds == NOW
        store.catalog.set_petname(known.chain.publisher, "anna")
        store.ledgers.take(known.chain.envelopes, [known.publish("1", issued=later).envelope])
        assert store.times.floor.seconds == parse_time(later)
        assert store.times.floor.source == "a record of anna"
        # Not even those may say that it is far ahead: what comes is kept, and the floor stays.
        taken = store.ledgers.take(known.chain.envelopes, [known.publish("1", issued="2100-01-01T00:00:00Z").envelope])
        assert len(taken.new) == 1
        assert store.times.floor.seconds == parse_time(later)
        with pytest.raises(FutureError):
            store.times.see_record("2100-01-01T00:00:00Z", "anna")
        store.crash()
    with give_home(tmp_path / "a") as store:
        assert times_of(store, clock).floor.seconds == parse_time(later)
        assert store.times.reset(NOW).seconds == NOW  # the operator says so


def test_what_replaced_keys_sign_raises_no_floor(tmp_path: Path) -> None:
    """A thief of a key that was replaced goes on where its successors said nothing yet: it is kept, and no word."""
    anna = Publisher.of("anna")
    anna.publish("1")
    thief = anna.copy()
    anna.rotate("ben")
    with give_home(tmp_path / "a") as store:
        times_of(store, Turned(0)).reset(NOW)
        store.catalog.set_petname(anna.chain.publisher, "anna")
        store.ledgers.take(anna.chain.envelopes, anna.said)
        thief.publish("2", issued="2027-06-01T00:00:00Z")
        assert len(store.ledgers.take((), thief.said[-1:], publisher=anna.chain.publisher).new) == 1
        assert store.times.floor.seconds == NOW
        # As soon as present keys go on from there, it is the publisher's word.
        anna.place = thief.place
        anna.publish("3", issued="2027-06-02T00:00:00Z")
        store.ledgers.take((), anna.said[-1:], publisher=anna.chain.publisher)
        assert store.times.floor.seconds == parse_time("2027-06-02T00:00:00Z")


def test_a_publisher_that_a_rule_names_raises_the_floor_too(tmp_path: Path) -> None:
    from samara.protocol.ids import format_record

    named = Publisher.of("anna")
    with give_home(tmp_path / "a") as store:
        times_of(store, Turned(0)).reset(NOW)
        add_rule(store.home.trust, Rule(format_record(named.chain.publisher)), last=False)
        store.ledgers.take(named.chain.envelopes, [named.publish("1", issued="2027-01-01T00:00:00Z").envelope])
        assert store.times.floor.seconds == parse_time("2027-01-01T00:00:00Z")


# The rules


def release_of(store: CrashableStore, tmp_path: Path) -> VerifiedRelease:
    made = make_source(store, tmp_path / "model", {"w.bin": 100})
    records = store.catalog.records(made.release)
    assert records is not None
    return store.verify_records(records, expected=made.release)


def test_without_rules_strangers_are_taken_at_first_sight_and_it_is_said(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as store:
        release = release_of(source, tmp_path)
        assert store.trust.policy() is DEFAULT_POLICY
        found = store.trust.check(release)
        assert (found.verdict, found.decision.ground, found.stops) == (Verdict.GOOD, Ground.FIRST_USE, False)
        assert any("first sight" in note for note in found.notes)
        assert source.trust.check(release).decision.ground is Ground.OWN
        store.catalog.set_petname(release.release.publisher, "anna")
        assert store.trust.check(release).decision.ground is Ground.NAMED


def test_a_rule_that_is_enforced_stops_what_it_does_not_believe(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as store:
        release = release_of(source, tmp_path)
        add_rule(store.home.trust, Rule(mode=Mode.ENFORCE), last=True)
        with pytest.raises(UntrustedError, match="UNTRUSTED"):
            store.trust.check(release)
        assert store.trust.check(release, insisted=True).verdict is Verdict.UNTRUSTED
        add_rule(store.home.trust, Rule(name="model", keys=release.signers.keys, threshold=1), last=False)
        assert store.trust.check(release).decision.ground is Ground.KEYS
        assert remove_rule(store.home.trust, 1).keys == release.signers.keys
        with pytest.raises(UntrustedError):
            store.trust.check(release)


def test_rules_that_cannot_be_read_are_an_error_and_never_fewer_rules(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as store:
        release = release_of(store, tmp_path)
        for wrong in (b"[[rule]]\nmode = 'enforced'\n", b"rule = 1\n", b"\xff", b"[[rule]\n"):
            store.home.trust.write_bytes(wrong)
            with pytest.raises(UsageError):
                store.trust.judge(release)
            with pytest.raises(UsageError):
                add_rule(store.home.trust, Rule(), last=True)
            assert store.home.trust.read_bytes() == wrong


def test_rules_are_edited_and_the_rest_of_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "trust.toml"
    path.write_text('# whom we know\n[[rule]]\npublisher = "anna"  # from school\n\n# nobody else\n[[ rule ]]\n')
    add_rule(path, Rule("ben", "llama-*", Mode.ENFORCE, max_age_days=9), last=False)
    add_rule(path, Rule(tofu=True), last=True)
    text = path.read_text()
    assert text.startswith('[[rule]]\npublisher = "ben"\nname = "llama-*"\nmode = "enforce"\nmax-age-days = 9\n')
    assert text.index("# whom we know") < text.index("# from school") < text.index("# nobody else")
    assert text.endswith("tofu = true\n")
    assert remove_rule(path, 2).publisher == "anna"
    assert "anna" not in path.read_text()
    with pytest.raises(NotFoundError):
        remove_rule(path, 4)
    path.write_text('rule = [{publisher = "anna"}]\n')
    with pytest.raises(UsageError, match="cannot be edited"):
        remove_rule(path, 1)
    with pytest.raises(UsageError):
        add_rule(path, Rule(), last=True)
    assert path.read_text() == 'rule = [{publisher = "anna"}]\n'
    assert text_of(Rule()) == '[[rule]]\nmode = "warn"\n'


# What is passed on


def test_what_is_bad_only_through_its_key_is_neither_served_nor_announced(tmp_path: Path) -> None:
    """A release that a stolen key signed: nobody revoked it, and nothing that counts names it."""
    with give_home(tmp_path / "a") as store:
        made = make_source(store, tmp_path / "model", {"w.bin": 100}, visibility="unlisted")
        held = store.catalog.release(made.release)
        assert held is not None
        publisher = publisher_of(store)
        (key,) = publisher.keys
        assert store.serves(held)
        assert store.shelf.records(made.release, "anyone") is not None
        publisher.rotate("the new key")
        publisher.place = Place.first()
        revocation = make_key_revocation(
            publisher.chain, place=publisher.place, key=key.did, last=Place.first(), issued=WHEN, keys=publisher.keys
        )
        store.ledgers.take(publisher.chain.envelopes, ())
        assert store.serves(held)  # the key was replaced; it is retired, and not revoked
        store.ledgers.take(publisher.chain.envelopes, [revocation.envelope])
        assert store.trust.judge(store.verified(made.release)).verdict is Verdict.REVOKED
        assert not store.serves(held)
        assert store.shelf.records(made.release, "anyone") is None
        assert store.shelf.files(made.content, "anyone") is None
        assert key.did in store.trust.taken_back(held)
        store.crash()
    with give_home(tmp_path / "a") as store:
        assert not store.serves(held)
        # A head that counts vouches for it: it is good again, and served.
        publisher.place = publisher.place.next(revocation.id)
        head = publisher.head(store.verified(made.release))
        store.ledgers.take(publisher.chain.envelopes, [head.envelope])
        assert store.trust.judge(store.verified(made.release)).verdict is not Verdict.REVOKED
        assert store.serves(held)


def test_what_the_user_insists_on_is_served_though_its_key_was_revoked(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as store:
        made = make_source(store, tmp_path / "model", {"w.bin": 100}, visibility="unlisted")
        held = store.catalog.release(made.release)
        assert held is not None
        publisher = publisher_of(store)
        (key,) = publisher.keys
        publisher.rotate("the new key")
        revocation = make_key_revocation(
            publisher.chain, place=Place.first(), key=key.did, last=Place.first(), issued=WHEN, keys=publisher.keys
        )
        store.ledgers.take(publisher.chain.envelopes, [revocation.envelope])
        assert not store.serves(held)
        store.trust.seed(held.id)
        assert store.serves(held)


def test_what_revoked_keys_do_to_a_release_is_found_out_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with give_home(tmp_path / "a") as store:
        made = make_source(store, tmp_path / "model", {"w.bin": 100}, visibility="unlisted")
        held = store.catalog.release(made.release)
        assert held is not None
        publisher = publisher_of(store)
        publisher.rotate("the new key")
        revocation = make_key_revocation(
            publisher.chain, place=Place.first(), key=publisher_of(store).keys[0].did, last=Place.first(), issued=WHEN,
            keys=publisher.keys,
        )  # fmt: skip
        verified: list[ReleaseId] = []
        once = store.trust._verified

        def counting(release: ReleaseId) -> VerifiedRelease:
            verified.append(release)
            return once(release)

        monkeypatch.setattr(store.trust, "_verified", counting)
        assert store.serves(held)
        assert verified == []  # no key was revoked: nothing is verified for that
        store.ledgers.take(publisher.chain.envelopes, [revocation.envelope])
        for _ in range(3):
            assert not store.serves(held)
        assert verified == [held.id]
