"""Witnessing, in a real home: what is signed, what is refused and by which error, and what outlives a restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.contents import CrashableStore, give_home, make_source, take_all
from support.publishers import Publisher
from support.speaking import publisher_of, tell

from samara.node.network.service import shared_logs
from samara.node.operations.judging import seen_rows
from samara.node.operations.refs import own_publisher
from samara.node.operations.roots import RotateRequest, _rotate
from samara.node.operations.witnessing import WitnessRequest, _witness_all, witness
from samara.node.store import ledgers as ledgers_module
from samara.node.trustfile import add_rule
from samara.protocol import dsse, limits
from samara.protocol.errors import (
    ForkError,
    NotFoundError,
    OperationError,
    RollbackError,
    UntrustedError,
    UsageError,
)
from samara.protocol.ids import format_record
from samara.protocol.records import Place
from samara.protocol.trust import Mode, Rule, Verdict


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CrashableStore]:
    with give_home(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def anna(store: CrashableStore) -> Publisher:
    """Somebody with a name here, and a log of two records."""
    anna = Publisher.of("anna")
    anna.publish("1")
    anna.publish("2")
    store.catalog.set_petname(anna.chain.publisher, "anna")
    tell(store, anna)
    return anna


def positions(store: CrashableStore, anna: Publisher) -> dict[str, int]:
    return {row.witness: row.position for row in seen_rows(store, anna.chain.publisher)}


def test_the_newest_record_is_signed_once_and_the_signature_is_kept(
    store: CrashableStore, anna: Publisher, tmp_path: Path
) -> None:
    row = witness(store, anna.chain.publisher)
    assert (row.publisher, row.position, row.root, row.new) == ("anna", 2, 1, True)
    assert not witness(store, anna.chain.publisher).new
    assert positions(store, anna) == {"me": 2}
    with store.ledgers.asking(anna.chain.publisher) as ledger:
        assert ledger is not None
        assert format_record(ledger.heads["tiny"].id) == row.record
        assert ledger.heads["tiny"].signers.cosigners == (own_publisher(store).key,)
    store.crash()
    with give_home(tmp_path / "home") as again:
        assert not witness(again, anna.chain.publisher).new
        anna.publish("3")
        tell(again, anna)
        assert positions(again, anna) == {"me": 2}
        assert witness(again, anna.chain.publisher).position == 3


def test_who_is_read_by_the_witness_reads_it_too(store: CrashableStore, anna: Publisher, tmp_path: Path) -> None:
    """The co-signed record comes to a home that knows the record; a rule that names the witness believes it then."""
    witness(store, anna.chain.publisher)
    own = own_publisher(store)
    with store.ledgers.asking(anna.chain.publisher) as ledger:
        assert ledger is not None
        seen = ledger.heads["tiny"].envelope
    release, old = anna.release("2"), anna.release("1")
    with give_home(tmp_path / "reader") as reader:
        tell(reader, anna)
        reader.catalog.set_petname(own.publisher, "bob")
        rule = Rule(witnesses=("bob",), witness_threshold=1, mode=Mode.ENFORCE, tofu=True)
        add_rule(reader.home.trust, rule, last=False)
        with pytest.raises(UntrustedError, match="0 of the witnesses"):
            reader.trust.check(release)
        reader.ledgers.take((), [seen], publisher=anna.chain.publisher)
        assert positions(reader, anna) == {}  # nothing is known of bob but a name: his roots never came
        reader.ledgers.take(own.chain.envelopes, (), publisher=own.publisher)
        reader.ledgers.take((), [seen], publisher=anna.chain.publisher)
        assert positions(reader, anna) == {"bob": 2}
        assert [reader.trust.check(one).verdict for one in (release, old)] == [Verdict.GOOD, Verdict.GOOD]
        # The next one, nobody has seen; and what was seen stays seen.
        new = anna.release("3")
        anna.head(new)
        tell(reader, anna)
        with pytest.raises(UntrustedError):
            reader.trust.check(new)
        assert reader.trust.check(release).verdict is Verdict.GOOD
        assert reader.trust.check(new, insisted=True).verdict is Verdict.UNTRUSTED


def test_a_witness_that_replaced_its_key_signs_again(store: CrashableStore, anna: Publisher) -> None:
    witness(store, anna.chain.publisher)
    _rotate(store, RotateRequest())
    assert positions(store, anna) == {}
    assert witness(store, anna.chain.publisher).new
    assert positions(store, anna) == {"me": 2}


def test_its_own_log_and_one_of_which_nothing_is_known_are_not_witnessed(store: CrashableStore) -> None:
    with pytest.raises(UsageError, match="your own log"):
        witness(store, own_publisher(store).publisher)
    nobody = Publisher.of("nobody")
    with pytest.raises(NotFoundError):
        witness(store, nobody.chain.publisher)
    store.ledgers.take(nobody.chain.envelopes, [nobody.head(nobody.release("1"), place=None).envelope])
    with pytest.raises(NotFoundError, match="no log"):
        witness(store, nobody.chain.publisher)


def test_with_records_missing_nothing_is_signed(store: CrashableStore) -> None:
    anna = Publisher.of("anna")
    for number in range(6):
        anna.publish(str(number))
    store.ledgers.take(anna.chain.envelopes, [*anna.said[:2], anna.said[3]])
    with pytest.raises(NotFoundError, match="records 3 to 3"):
        witness(store, anna.chain.publisher)
    assert store.witnessed.last(anna.chain.publisher) is None
    store.ledgers.take((), [anna.said[2]], publisher=anna.chain.publisher)
    assert witness(store, anna.chain.publisher).position == 4
    store.ledgers.take((), [anna.said[5]], publisher=anna.chain.publisher)
    with pytest.raises(NotFoundError, match="records 5 to 5"):
        witness(store, anna.chain.publisher)


def test_a_frozen_publisher_is_not_witnessed(store: CrashableStore, anna: Publisher) -> None:
    other = anna.copy()
    anna.publish("3")
    other.publish("4")
    tell(store, anna)
    tell(store, other)
    with pytest.raises(ForkError, match="frozen"):
        witness(store, anna.chain.publisher)


def test_what_replaced_keys_signed_last_is_not_witnessed(store: CrashableStore, anna: Publisher) -> None:
    thief = anna.copy()
    anna.rotate("ben")
    thief.publish("3")
    store.ledgers.take(anna.chain.envelopes, thief.said)
    with pytest.raises(UntrustedError, match="replaced"):
        witness(store, anna.chain.publisher)


def test_attack_a_forgotten_publisher_who_comes_back_with_another_log(
    store: CrashableStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A stranger is forgotten for others, as ids cost nothing; then it shows the witness the other side."""
    monkeypatch.setattr(limits, "MAX_STRANGERS", 2)
    mallory = Publisher.of("mallory")
    mallory.publish("1")
    other = mallory.copy()
    mallory.publish("2")
    tell(store, mallory)
    witness(store, mallory.chain.publisher)
    for number in range(4):
        stranger = Publisher.of(f"stranger-{number}")
        stranger.publish("1")
        tell(store, stranger)
    assert store.ledgers.ledger(mallory.chain.publisher) is None
    for version in "34":
        other.publish(version)
    store.crash()
    with give_home(tmp_path / "home") as again:
        assert not tell(again, other).errors
        with pytest.raises(ForkError) as refused:
            witness(again, mallory.chain.publisher)
        assert refused.value.pair is not None
        ((publisher, fork, freezes, _),) = again.ledgers.forks()
        assert (publisher, freezes) == (mallory.chain.publisher, True)
        again.crash()
    with give_home(tmp_path / "home") as again:
        with pytest.raises(ForkError, match="frozen"):
            witness(again, mallory.chain.publisher, anew=True)
        # The proof travels, and convinces who saw one side alone.
        with give_home(tmp_path / "reader") as reader:
            tell(reader, other)
            reader.ledgers.take_fork(mallory.chain.publisher, fork.proof)
            assert reader.ledgers.forks()[0][2]


def test_an_older_state_than_was_witnessed_is_not_signed(
    store: CrashableStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_STRANGERS", 1)
    mallory = Publisher.of("mallory")
    mallory.publish("1")
    old = mallory.copy()
    mallory.publish("2")
    tell(store, mallory)
    witness(store, mallory.chain.publisher)
    stranger = Publisher.of("stranger")
    stranger.publish("1")
    tell(store, stranger)
    tell(store, old)
    for anew in (False, True):
        with pytest.raises(RollbackError, match="up to before position 2"):
            witness(store, mallory.chain.publisher, anew=anew)
    tell(store, mallory)
    assert witness(store, mallory.chain.publisher).position == 2


def test_what_a_newer_root_dropped_is_a_question_for_a_person(store: CrashableStore, anna: Publisher) -> None:
    thief = anna.copy()
    thief.publish("6")
    store.ledgers.take((), thief.said[-1:], publisher=anna.chain.publisher)
    assert witness(store, anna.chain.publisher).position == 3
    anna.rotate("ben")
    anna.publish("3")
    tell(store, anna)
    with pytest.raises(RollbackError, match="has left") as refused:
        witness(store, anna.chain.publisher)
    assert "--anew" in refused.value.hint
    row = witness(store, anna.chain.publisher, anew=True)
    assert (row.position, row.root, row.new) == (3, 2, True)
    assert not witness(store, anna.chain.publisher).new


def test_a_log_of_which_old_records_made_room_goes_on_being_witnessed(
    store: CrashableStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers_module, "_STRANGER", ledgers_module._STRANGER._replace(records=16))
    anna = Publisher.of("anna")
    for number in range(80):
        anna.publish(str(number))
        tell_one = store.ledgers.take(anna.chain.envelopes, anna.said[-1:])
        assert not tell_one.errors
        assert witness(store, anna.chain.publisher).position == number + 1
    with store.ledgers.asking(anna.chain.publisher) as ledger:
        assert ledger is not None
        assert ledger.missing()


def test_where_the_publisher_leaves_no_room_it_is_said_and_nothing_is_remembered(store: CrashableStore) -> None:
    names = [f"anna-{number}" for number in range(16)]
    anna = Publisher.of(*names, threshold=16)
    anna.publish("1")
    tell(store, anna)
    with pytest.raises(OperationError, match="no room"):
        witness(store, anna.chain.publisher)
    assert store.witnessed.last(anna.chain.publisher) is None


def test_a_crash_before_the_signature_is_kept_leaves_no_memory_of_it(
    store: CrashableStore, anna: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> None:
        raise OSError("the disk is gone")

    with monkeypatch.context() as patched:
        patched.setattr(ledgers_module.Ledgers, "_write_entries", die)
        with pytest.raises(OSError, match="gone"):
            witness(store, anna.chain.publisher)
    assert store.witnessed.last(anna.chain.publisher) is None
    assert positions(store, anna) == {}
    assert witness(store, anna.chain.publisher).new


def test_own_releases_need_no_witness_and_what_no_log_names_has_none(store: CrashableStore, tmp_path: Path) -> None:
    public = make_source(store, tmp_path / "public", {"w": 100})
    hidden = make_source(store, tmp_path / "hidden", {"x": 100}, visibility="unlisted")
    with give_home(tmp_path / "reader") as reader:
        for made in (public, hidden):
            take_all(made, store, reader)
        reader.catalog.set_petname(own_publisher(store).publisher, "anna")
        for one in (store, reader):
            add_rule(one.home.trust, Rule(witnesses=("me",), witness_threshold=1, mode=Mode.ENFORCE), last=True)
            found = [one.trust.judge(one.verified(made.release)).verdict for made in (public, hidden)]
            assert found == ([Verdict.GOOD] * 2 if one is store else [Verdict.UNTRUSTED] * 2)
        witness(reader, own_publisher(store).publisher)
        assert reader.trust.judge(reader.verified(public.release)).verdict is Verdict.GOOD
        assert reader.trust.judge(reader.verified(hidden.release)).verdict is Verdict.UNTRUSTED


# All of them.


def test_everybody_who_has_a_name_is_witnessed_and_what_cannot_be_is_said(
    store: CrashableStore, anna: Publisher
) -> None:
    ben, cleo, silent = Publisher.of("ben"), Publisher.of("cleo"), Publisher.of("silent")
    ben.publish("1")
    ben.publish("2")
    store.ledgers.take(ben.chain.envelopes, ben.said[1:])
    cleo.publish("1")
    tell(store, cleo)  # she has no name here
    for name, publisher in (("ben", ben), ("silent", silent)):
        store.catalog.set_petname(publisher.chain.publisher, name)
    store.catalog.set_petname(own_publisher(store).publisher, "home")
    done = _witness_all(store, WitnessRequest(all=True))
    assert [(row.publisher, row.position) for row in done.witnessed] == [("anna", 2)]
    assert [(skip.publisher, skip.error) for skip in done.skipped] == [("ben", "NotFoundError")]
    for request in (WitnessRequest(), WitnessRequest(("anna",), all=True)):
        with pytest.raises(UsageError, match="whose"):
            _witness_all(store, request)


def test_who_holds_only_secrets_of_a_publisher_names_it_himself(
    store: CrashableStore, anna: Publisher, tmp_path: Path
) -> None:
    """A signature tells everybody whom the witness follows: not by --all of those of whom nobody else shall know it."""
    with give_home(tmp_path / "source") as source:
        made = make_source(source, tmp_path / "files", {"w": 100}, visibility="unlisted")
        hidden = own_publisher(source)
        take_all(made, source, store)
    secret = Publisher(hidden.chain, [])
    store.catalog.set_petname(secret.chain.publisher, "secret")
    with give_home(tmp_path / "source") as source:
        speaker = publisher_of(source)
        speaker.publish("1")
        tell(store, speaker)
    assert shared_logs(store) == frozenset()
    assert [row.publisher for row in _witness_all(store, WitnessRequest(all=True)).witnessed] == ["anna"]
    assert secret.chain.publisher not in shared_logs(store)
    assert store.shelf.log(secret.chain.publisher, 0, 1, "anyone") is None
    done = _witness_all(store, WitnessRequest(("secret",)))
    assert [row.publisher for row in done.witnessed] == ["secret"]
    # From now on it is announced, with this home's own log, whose roots say whose the signature is.
    assert {secret.chain.publisher, own_publisher(store).publisher} <= shared_logs(store)
    assert store.shelf.log(secret.chain.publisher, 0, 1, "anyone") is not None


def test_signatures_of_those_who_have_a_name_are_kept_and_others_are_not(
    store: CrashableStore, anna: Publisher
) -> None:
    bob, stranger = Publisher.of("bob"), Publisher.of("a stranger")
    for publisher in (bob, stranger):
        store.ledgers.take(publisher.chain.envelopes, [publisher.publish("1").envelope])
    store.catalog.set_petname(bob.chain.publisher, "bob")
    for publisher, seen in ((stranger, {}), (bob, {"bob": 2})):
        store.ledgers.take((), [dsse.cosign(anna.said[-1], publisher.keys)], publisher=anna.chain.publisher)
        assert positions(store, anna) == seen
    # As soon as he has a name here, without a restart; and no more once he is frozen, or revoked his key.
    store.catalog.set_petname(stranger.chain.publisher, "carol")
    store.ledgers.take((), [dsse.cosign(anna.said[-1], stranger.keys)], publisher=anna.chain.publisher)
    assert positions(store, anna) == {"bob": 2, "carol": 2}
    one, other = bob.copy(), bob.copy()
    one.publish("2")
    other.publish("3")
    tell(store, one)
    tell(store, other)
    assert positions(store, anna) == {"carol": 2}
    stranger.rotate("new key")
    stranger.revoke_key("a stranger", Place.first())
    tell(store, stranger)
    assert positions(store, anna) == {}
