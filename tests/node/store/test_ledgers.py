"""The store of signed records: what is taken stays taken, whoever dies when, and nobody fills it."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from support.contents import give_home, make_source
from support.publishers import Publisher, key

from samara.node.settings import StoreSettings
from samara.node.store import ledgers as ledgers_module
from samara.node.store.home import Home
from samara.node.store.ledgers import Ledgers
from samara.node.store.store import Store
from samara.node.trustfile import add_rule
from samara.protocol import limits
from samara.protocol.dsse import Envelope, sign
from samara.protocol.errors import DiskFullError, NotFoundError, SignatureError, StatementError, StoreError
from samara.protocol.trust import ForkKind, Rule


def said(ledgers: Ledgers, signer: Publisher) -> tuple[int, int, bool]:
    """The newest position, how many records there are in all, and whether anything was taken back."""
    with ledgers.asking(signer.chain.publisher) as ledger:
        assert ledger is not None
        newest = ledger.newest
        position = newest.said.origin.place.position if newest is not None else 0
        return position, sum(1 for _ in ledger.log()), bool(ledger.revocations())


@pytest.fixture
def signer() -> Publisher:
    made = Publisher.of("anna")
    made.publish("1")
    made.attest(made.release("2"))
    made.publish("2")
    made.revoke(made.release("1"))
    return made


def test_what_was_taken_is_known_in_any_order_and_after_a_restart(tmp_path: Path, signer: Publisher) -> None:
    with give_home(tmp_path / "a") as store:
        taken = store.ledgers.take(signer.chain.envelopes, signer.said[::-1])
        assert (len(taken.new), taken.known, taken.roots, taken.refused) == (4, 0, 1, {})
        again = store.ledgers.take(signer.chain.envelopes, signer.said)
        assert (len(again.new), again.known, again.roots) == (0, 4, 0)
        assert said(store.ledgers, signer) == (4, 4, True)
        store.crash()
    with give_home(tmp_path / "a") as store:
        assert said(store.ledgers, signer) == (4, 4, True)
        assert store.ledgers.known() == {signer.chain.publisher: (1, 4)}
        head = store.ledgers.head(signer.chain.publisher, "tiny")
        assert head is not None
        assert head.head.release == signer.release("2").id


def test_a_home_that_is_only_read_knows_the_same(tmp_path: Path, signer: Publisher) -> None:
    with give_home(tmp_path / "a") as store:
        store.ledgers.take(signer.chain.envelopes, signer.said)
    looking = Store(Home(tmp_path / "a"), StoreSettings(), writable=False)
    assert said(looking.ledgers, signer) == (4, 4, True)
    looking.close()


def test_an_index_of_before_there_were_logs_is_read_and_grows(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as store:
        make_source(store, tmp_path / "model", {"w.bin": 100})
        (held,) = store.catalog.releases()
    with sqlite3.connect(tmp_path / "a/index.sqlite") as old:
        for table in ("entry", "log", "fork", "floor"):
            old.execute(f"DROP TABLE {table}")
    old.close()
    looking = Store(Home(tmp_path / "a"), StoreSettings(), writable=False)
    with looking.ledgers.asking(held.publisher) as ledger:
        assert ledger is not None
        assert ledger.heads["model"].head.release == held.id
    assert looking.ledgers.known()[held.publisher][0] == 1
    assert looking.ledgers.is_own(held.publisher)
    looking.close()
    with give_home(tmp_path / "a") as store, store.ledgers.asking(held.publisher) as ledger:
        assert ledger is not None
        assert ledger.heads["model"].head.release == held.id


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_in_the_middle_leaves_all_of_a_batch_or_nothing(tmp_path: Path, signer: Publisher, moment: str) -> None:
    with give_home(tmp_path / "a") as store:
        store.ledgers.take(signer.chain.envelopes, signer.said[:1])
    pid = os.fork()
    if not pid:
        _take_and_die(tmp_path / "a", signer, moment)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    with give_home(tmp_path / "a") as store:
        assert said(store.ledgers, signer) == ((4, 4, True) if moment == "after" else (1, 1, False))
        store.ledgers.take(signer.chain.envelopes, signer.said)
        assert said(store.ledgers, signer) == (4, 4, True)


def _take_and_die(home: Path, signer: Publisher, moment: str) -> None:
    """Take the records in a child, which dies when all are written and not committed, or right after it."""
    try:
        store = Store(Home(home), StoreSettings(floor=0), writable=True)
        with store._index.write() as db:
            store.ledgers.take(signer.chain.envelopes, signer.said)
            assert db.execute("SELECT count(*) FROM entry").fetchone() == (4,)
            if moment == "before":
                os.kill(os.getpid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
    finally:
        os._exit(1)


def test_what_could_not_be_written_is_not_known(tmp_path: Path, signer: Publisher) -> None:
    with give_home(tmp_path / "a") as store:
        store.ledgers.take(signer.chain.envelopes, signer.said[:1])
        with store._index.write() as db:
            db.execute("CREATE TRIGGER full BEFORE INSERT ON entry BEGIN SELECT raise(ABORT, 'no room'); END")
        with pytest.raises(StoreError):
            store.ledgers.take(signer.chain.envelopes, signer.said)
        assert said(store.ledgers, signer) == (1, 1, False)


def test_a_wrong_record_keeps_no_other_out(tmp_path: Path, signer: Publisher) -> None:
    wrong = Publisher.of("ben").publish("1").envelope
    broken = signer.said[2].replace(b'"sig":"', b'"sig":"AAAA', 1)
    with give_home(tmp_path / "a") as store:
        taken = store.ledgers.take(signer.chain.envelopes, [broken, wrong, b"{}", *signer.said])
        assert len(taken.new) == 4
        assert sum(taken.refused.values()) == 3
        assert taken.refused["StatementError"] == 1  # another publisher's
        assert len(taken.errors) == len(taken.refused)


def test_records_without_roots_are_taken_of_who_is_known_alone(tmp_path: Path, signer: Publisher) -> None:
    publisher = signer.chain.publisher
    with give_home(tmp_path / "a") as store:
        with pytest.raises(NotFoundError):
            store.ledgers.take((), signer.said, publisher=publisher)
        with pytest.raises(StatementError):
            store.ledgers.take(signer.chain.envelopes, signer.said, publisher=Publisher.of("ben").chain.publisher)
        genesis = Envelope.decode(signer.chain.envelopes[0]).payload
        with pytest.raises(SignatureError):
            store.ledgers.take([sign(genesis, [key("thief")]).encode()], ())
        store.ledgers.take(signer.chain.envelopes, signer.said[:1])
        assert len(store.ledgers.take((), signer.said, publisher=publisher).new) == 3


def test_a_fork_freezes_and_its_proof_outlives_a_restart(tmp_path: Path) -> None:
    signer = Publisher.of("anna")
    signer.publish("1")
    signer.publish("2")
    other = signer.copy()
    signer.publish("3")
    signer.revoke(signer.release("1"))
    other.publish("4")
    publisher = signer.chain.publisher
    with give_home(tmp_path / "a") as store:
        store.ledgers.take(signer.chain.envelopes, signer.said[:3])
        taken = store.ledgers.take(other.chain.envelopes, other.said)
        assert taken.refused == {"ForkError": 1}
        (fork,) = taken.forks
        store.crash()
    with give_home(tmp_path / "a") as store:
        with store.ledgers.asking(publisher) as ledger:
            assert ledger is not None
            assert ledger.fork is not None
            assert ledger.fork.id == fork.id
        more = signer.copy().publish("1", "more").envelope
        assert store.ledgers.take(signer.chain.envelopes, [more]).refused == {"ForkError": 1}
        # A revocation is taken all the same, and counts after a restart.
        assert len(store.ledgers.take(signer.chain.envelopes, signer.said[3:4]).new) == 1
        store.crash()
    with give_home(tmp_path / "a") as store, give_home(tmp_path / "b") as elsewhere:
        assert said(store.ledgers, signer)[2]
        elsewhere.ledgers.take(signer.chain.envelopes, ())
        with pytest.raises(NotFoundError):
            elsewhere.ledgers.take_fork(publisher, fork.proof)
        elsewhere.ledgers.take(signer.chain.envelopes, signer.said[:1])
        assert elsewhere.ledgers.take_fork(publisher, fork.proof).kind is ForkKind.LOG
        store.ledgers.lift(publisher, fork.id)
        with pytest.raises(NotFoundError):
            store.ledgers.lift(publisher, b"\0" * 32)
    for home, frozen in (("a", False), ("b", True)):
        with give_home(tmp_path / home) as store, store.ledgers.asking(publisher) as ledger:
            assert ledger is not None
            assert (ledger.fork is not None) is frozen


def test_two_roots_of_one_version_freeze_for_good(tmp_path: Path, signer: Publisher) -> None:
    one = signer.copy()
    one.rotate("one")
    other = signer.copy()
    other.rotate("other")
    with give_home(tmp_path / "a") as store:
        store.ledgers.take(one.chain.envelopes, signer.said)
        (fork,) = store.ledgers.take(other.chain.envelopes, ()).forks
        assert fork.kind is ForkKind.ROOT
    with give_home(tmp_path / "a") as store:
        taken = store.ledgers.take(one.chain.envelopes, [one.publish("3").envelope])
        assert taken.refused == {"ForkError": 1}


def test_a_newer_root_outlives_a_restart_and_outranks_the_old_keys(tmp_path: Path, signer: Publisher) -> None:
    thief = signer.copy()
    signer.rotate("new")
    with give_home(tmp_path / "a") as store:
        store.ledgers.take(thief.chain.envelopes, signer.said)
        assert store.ledgers.take(signer.chain.envelopes, [signer.publish("3").envelope]).roots == 1
    with give_home(tmp_path / "a") as store:
        assert store.ledgers.take(thief.chain.envelopes, [thief.publish("4").envelope]).refused == {"RollbackError": 1}
        assert store.ledgers.known() == {signer.chain.publisher: (2, 5)}


def test_what_is_not_committed_is_told_to_nobody_who_asks_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signer: Publisher
) -> None:
    """Who serves a peer asks without waiting, also in the middle of a batch: of a ledger that is being changed."""
    release = signer.release("9")
    signer.head(release)
    revocation = signer.revoke(release)
    asked: list[bool] = []
    with give_home(tmp_path / "a") as store:
        store.ledgers.take(signer.chain.envelopes, signer.said[:-1])
        commit = ledgers_module.Ledgers._commit

        def asking(self: ledgers_module.Ledgers, *given: Any, **more: Any) -> None:
            asked.append(self.revocation(signer.chain.publisher, release.id) is not None)
            commit(self, *given, **more)

        monkeypatch.setattr(ledgers_module.Ledgers, "_commit", asking)
        store.ledgers.take((), [revocation.envelope], publisher=signer.chain.publisher)
        assert asked == [False]
        assert store.ledgers.revocation(signer.chain.publisher, release.id) is not None


def test_signatures_of_those_whom_a_rule_names_are_kept(tmp_path: Path, signer: Publisher) -> None:
    witness = sign(Envelope.decode(signer.said[0]).payload, [*signer.keys, key("witness")]).encode()
    with give_home(tmp_path / "a") as store:
        store.ledgers.take(signer.chain.envelopes, signer.said)
        assert store.ledgers.take(signer.chain.envelopes, [witness]).known == 1  # of somebody whom nobody asked
        add_rule(store.home.trust, Rule(keys=(key("witness").did,), threshold=1), last=True)
        store.crash()
    with give_home(tmp_path / "a") as store:
        assert store.ledgers.take(signer.chain.envelopes, [witness]).known == 0
    with give_home(tmp_path / "a") as store, store.ledgers.asking(signer.chain.publisher) as ledger:
        assert ledger is not None
        assert ledger.heads["tiny"].head.release == signer.release("2").id
        assert next(ledger.log()).envelope == witness


# Quotas


def strangers(monkeypatch: pytest.MonkeyPatch, *, records: int = 16, publishers: int = 1000) -> None:
    """Make quotas small: real ones take minutes to fill."""
    monkeypatch.setattr(ledgers_module, "_STRANGER", ledgers_module._STRANGER._replace(records=records))
    monkeypatch.setattr(limits, "MAX_STRANGERS", publishers)


def test_a_stranger_who_signs_and_signs_is_kept_the_newest_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signer: Publisher
) -> None:
    strangers(monkeypatch)
    for number in range(60):
        signer.publish(f"{number + 3}")
    with give_home(tmp_path / "a") as store:
        store.ledgers.take(signer.chain.envelopes, signer.said[:40])
        store.ledgers.take(signer.chain.envelopes, signer.said[40:])
        (count,) = store._index.read.execute("SELECT count(*) FROM entry").fetchone()
        assert count <= 16
        newest, _, revoked = said(store.ledgers, signer)
        assert (newest, revoked) == (64, True)
        # What made room is not taken again, and not asked for.
        assert store.ledgers.take(signer.chain.envelopes, signer.said[20:21]).refused == {"DiskFullError": 1}
        assert all(first > 40 for first, _ in store.ledgers.missing(signer.chain.publisher))
        # A known record is known however full it is.
        assert store.ledgers.take(signer.chain.envelopes, signer.said[-1:]).known == 1
    with give_home(tmp_path / "a") as store:
        assert said(store.ledgers, signer)[0] == 64
        # One who gets a name is a stranger no more: all that was refused may come now.
        store.catalog.set_petname(signer.chain.publisher, "anna")
        assert store.ledgers.missing(signer.chain.publisher)[0] == (1, 3)
        store.ledgers.take(signer.chain.envelopes, signer.said)
        assert said(store.ledgers, signer) == (64, 64, True)
        assert store.ledgers.missing(signer.chain.publisher) == ()


def test_revocations_make_no_room_for_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strangers(monkeypatch)
    signer = Publisher.of("anna")
    for number in range(16):
        signer.revoke(signer.release(f"{number + 3}"))
    signer.revoke(signer.release("1"))
    signer.publish("1")
    with give_home(tmp_path / "a") as store:
        taken = store.ledgers.take(signer.chain.envelopes, signer.said)
        assert (len(taken.new), taken.refused) == (16, {"DiskFullError": 2})
    with give_home(tmp_path / "a") as store, store.ledgers.asking(signer.chain.publisher) as ledger:
        assert ledger is not None
        assert all(ledger.revocation(signer.release(f"{number + 3}").id) for number in range(16))


def test_a_revocation_finds_room_where_anything_else_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strangers(monkeypatch)
    signer = Publisher.of("anna")
    for number in range(16):
        signer.attest(signer.release(f"{number + 3}"))
    signer.revoke(signer.release("1"))
    with give_home(tmp_path / "a") as store:
        store.ledgers.take(signer.chain.envelopes, signer.said[:16])
        assert len(store.ledgers.take(signer.chain.envelopes, signer.said[16:]).new) == 1
        assert said(store.ledgers, signer)[2]


def test_a_thief_with_names_without_end_keeps_no_revocation_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strangers(monkeypatch)
    anna = Publisher.of("anna")
    bad = anna.release("1")
    anna.head(bad)
    thief = anna.copy()
    for number in range(40):
        thief.publish("1", f"name{number}")
    with give_home(tmp_path / "a") as store:
        store.ledgers.take(anna.chain.envelopes, thief.said)
        with pytest.raises(DiskFullError):
            raise store.ledgers.take((), [thief.publish("1", "more").envelope], publisher=anna.chain.publisher).errors[
                0
            ]
        revocation = thief.revoke(bad)
        taken = store.ledgers.take((), [revocation.envelope], publisher=anna.chain.publisher)
        assert [entry.id for entry in taken.new] == [revocation.id]
        assert store.ledgers.revocation(anna.chain.publisher, bad.id) is not None
        (count,) = store._index.read.execute("SELECT count(*) FROM entry").fetchone()
        assert count <= 16


def test_a_delegate_that_fills_the_store_keeps_no_revocation_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of its names is a newest head, which makes no room; its publisher ends it all the same."""
    strangers(monkeypatch)
    signer = Publisher.of("anna")
    given, few = signer.delegate("ben", names=["*"]), signer.delegate("cleo", names=["c*"])
    heads = [
        delegate.head(delegate.release("1", name, **under), place=None, **under).envelope
        for by, given_, names in (("cleo", few, ["c1"]), ("ben", given, [f"b{n}" for n in range(40)]))
        for delegate in (Publisher(signer.chain, [key(by)]),)
        for under in ({"delegation": given_.id, "delegations": {given_.id: given_}},)
        for name in names
    ]
    with give_home(tmp_path / "a") as store:
        store.ledgers.take(signer.chain.envelopes, [*signer.said, *heads])
        (count,) = store._index.read.execute("SELECT count(*) FROM entry").fetchone()
        assert count <= 16
        signer.delegate("ben", names=["*"], revoked=True)
        signer.revoke(signer.release("1"))
        taken = store.ledgers.take(signer.chain.envelopes, signer.said[2:])
        assert (len(taken.new), taken.refused) == (2, {})
    with give_home(tmp_path / "a") as store, store.ledgers.asking(signer.chain.publisher) as ledger:
        assert ledger is not None
        assert ledger.delegation_in_force(given.id) is None
        assert ledger.revocation(signer.release("1").id) is not None
        assert set(ledger.heads) == {"c1"}, "what another delegate signed has not made room"


def test_of_many_strangers_those_who_took_something_back_go_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strangers(monkeypatch, publishers=4)
    revoking, forking = Publisher.of("anna"), Publisher.of("ben")
    revoking.revoke(revoking.release("1"))
    fork = forking.copy()
    forking.publish("1")
    fork.publish("2")
    with give_home(tmp_path / "a") as store:
        store.ledgers.take(revoking.chain.envelopes, revoking.said)
        store.ledgers.take(forking.chain.envelopes, forking.said)
        assert store.ledgers.take(fork.chain.envelopes, fork.said).forks
        named, *others = [Publisher.of(f"number {seed}") for seed in range(3, 12)]
        for other in (named, *others):
            other.publish("1")
            store.ledgers.take(other.chain.envelopes, other.said)
            if other is named:
                store.catalog.set_petname(named.chain.publisher, "anna")
        kept = set(store.ledgers.known())
        newest = {other.chain.publisher for other in others[-2:]}
        assert kept == {revoking.chain.publisher, forking.chain.publisher, named.chain.publisher} | newest
        with store.ledgers.asking(forking.chain.publisher) as ledger:
            assert ledger is not None
            assert ledger.fork is not None


def test_what_this_home_signs_knows_no_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strangers(monkeypatch, records=8, publishers=1)
    signer = Publisher.of("anna")
    with give_home(tmp_path / "a") as store:
        for number in range(12):
            store.ledgers.take(signer.chain.envelopes, [signer.attest(signer.release(f"{number + 3}"))], own=True)
        other = Publisher.of("ben")
        store.ledgers.take(other.chain.envelopes, [other.publish("1").envelope])
        assert said(store.ledgers, signer)[:2] == (12, 12)
        assert store.ledgers.is_own(signer.chain.publisher)
        assert not store.ledgers.is_own(other.chain.publisher)


def test_a_stranger_with_endless_roots_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers_module, "_STRANGER", ledgers_module._STRANGER._replace(bytes=20_000))
    names = [f"number {number}" for number in range(16)]
    signer = Publisher.of(*names, threshold=16)
    for _ in range(6):
        signer.rotate(*names, threshold=16)
    assert sum(map(len, signer.chain.envelopes)) > 20_000
    with give_home(tmp_path / "a") as store:
        with pytest.raises(DiskFullError):
            store.ledgers.take(signer.chain.envelopes, [signer.publish("3").envelope])
        assert store.ledgers.known() == {}


# What is damaged


def test_a_damaged_record_in_the_index_is_told_and_the_others_count(
    tmp_path: Path, signer: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    with give_home(tmp_path / "a") as store:
        store.ledgers.take(signer.chain.envelopes, signer.said)
        with store._index.write() as db:
            db.execute("UPDATE entry SET envelope = substr(envelope, 2) WHERE position = 2")
    with give_home(tmp_path / "a") as store, caplog.at_level(logging.WARNING, logger="samara"):
        assert said(store.ledgers, signer) == (4, 3, True)
        assert "of no use" in caplog.text
        assert store.ledgers.missing(signer.chain.publisher) == ((2, 2),)
        # The same record comes again, and is whole.
        store.ledgers.take(signer.chain.envelopes, signer.said)
        store.crash()
    with give_home(tmp_path / "a") as store:
        assert said(store.ledgers, signer) == (4, 4, True)


def test_damaged_roots_are_an_error(tmp_path: Path, signer: Publisher) -> None:
    with give_home(tmp_path / "a") as store:
        store.ledgers.take(signer.chain.envelopes, signer.said)
        with store._index.write() as db:
            db.execute("UPDATE root SET envelope = substr(envelope, 2)")
    with give_home(tmp_path / "a") as store, pytest.raises(StoreError, match="damaged"):
        store.ledgers.ledger(signer.chain.publisher)
