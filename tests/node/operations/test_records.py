"""Files of records: what goes into them, what comes out of them, whatever somebody has done to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.contents import CrashableStore, give_home, make_source
from support.publishers import Publisher
from support.speaking import publisher_of, tell

from samara.node.fetch.rounds import followed, may_be_asked_for
from samara.node.operations.records import (
    ImportedRecords,
    RecordsExportRequest,
    RecordsImportRequest,
    export_records,
    import_records,
)
from samara.node.store.store import Store
from samara.protocol import limits
from samara.protocol.errors import ForkError, LinkError, NotFoundError, RecordFileError, StoppedError, StoreError
from samara.protocol.ids import PublisherId, format_record
from samara.protocol.ports import LogPage
from samara.protocol.records import Listed
from samara.protocol.trust import Ledger
from samara.protocol.trust.passing import whole_log
from samara.protocol.trust.recordfile import RecordFileWriter


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CrashableStore]:
    with give_home(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def other(tmp_path: Path) -> Iterator[CrashableStore]:
    with give_home(tmp_path / "other") as opened:
        yield opened


@pytest.fixture
def anna(store: Store) -> Publisher:
    """Somebody with a name here, and a log."""
    anna = Publisher.of("anna")
    release = anna.release("1")
    anna.head(release)
    anna.publish("2")
    anna.revoke(release)
    store.catalog.set_petname(anna.chain.publisher, "anna")
    tell(store, anna)
    return anna


def export(store: Store, path: Path, *of: str) -> list[str]:
    return list(export_records(store, RecordsExportRequest(str(path), of)).publishers)


def bring(store: Store, path: Path) -> ImportedRecords:
    return import_records(store, RecordsImportRequest(str(path)))


def written(*logs: tuple[PublisherId, LogPage]) -> bytes:
    writer = RecordFileWriter()
    parts = [writer.publisher(publisher, log) for publisher, log in sorted(logs, key=lambda pair: pair[0])]
    return writer.begin() + b"".join(parts) + writer.end()


def log_of(publisher: Publisher) -> tuple[PublisherId, LogPage]:
    return publisher.chain.publisher, whole_log(publisher.ledger())


def known(store: Store, publisher: Publisher) -> list[bytes]:
    with store.ledgers.asking(publisher.chain.publisher) as ledger:
        return [] if ledger is None else [entry.envelope for entry in ledger.log()]


# --- what goes in -----------------------------------------------------------------------------------------------------


def test_what_was_written_is_what_comes_in(store: Store, other: Store, anna: Publisher, tmp_path: Path) -> None:
    path = tmp_path / "news"
    done = export_records(store, RecordsExportRequest(str(path)))
    assert (done.publishers, done.records, done.bytes) == (("anna",), 3, path.stat().st_size)
    (row,) = bring(other, path).publishers
    assert row.publisher == row.publisher_id == format_record(anna.chain.publisher)
    assert (row.roots, row.records, row.known, row.forks, row.refused) == (1, 3, 0, 0, {})
    assert known(other, anna) == anna.said
    (again,) = bring(other, path).publishers
    assert (again.roots, again.records, again.known) == (0, 0, 3)
    assert not list(tmp_path.glob("*.part"))


def test_a_publisher_is_named_by_petname_by_id_and_by_release(store: Store, anna: Publisher, tmp_path: Path) -> None:
    made = make_source(store, tmp_path / "public", {"p": 10})
    mine = format_record(store.catalog.releases()[0].publisher)
    path = tmp_path / "news"
    assert export(store, path, "anna") == ["anna"]
    assert export(store, path, format_record(anna.chain.publisher)) == ["anna"]
    assert export(store, path, "anna/whatever") == ["anna"]
    assert export(store, path, "me") == [mine]
    assert export(store, path, format_record(made.release)) == [mine]
    assert sorted(export(store, path, "anna", "me")) == sorted(["anna", mine])
    for nobody in ("ben", format_record(b"\0" * 32)):
        with pytest.raises(NotFoundError):
            export(store, path, nobody)
    with pytest.raises((NotFoundError, LinkError)):
        export(store, path, "ben/model")
    assert not list(tmp_path.glob("*.part"))


def test_without_a_name_nobody_goes_in_of_whom_all_is_secret(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "news"
    with pytest.raises(NotFoundError):
        export(store, path)
    make_source(store, tmp_path / "unlisted", {"u": 10}, visibility="unlisted")
    mine = store.catalog.releases()[0].publisher
    store.catalog.set_petname(mine, "myself")
    assert followed(store) == {mine}
    assert may_be_asked_for(store) == frozenset()
    with pytest.raises(NotFoundError):
        export(store, path)
    assert not path.exists()
    assert export(store, path, "me") == ["myself"], "whoever names it, means it"
    make_source(store, tmp_path / "public", {"p": 10})
    assert may_be_asked_for(store) == {mine}
    assert export(store, path) == ["myself"]


def test_strangers_do_not_go_in_unless_they_are_named(store: Store, anna: Publisher, tmp_path: Path) -> None:
    ben = Publisher.of("ben")
    ben.publish("1")
    tell(store, ben)
    who = format_record(ben.chain.publisher)
    assert export(store, tmp_path / "news") == ["anna"]
    assert export(store, tmp_path / "news", who) == [who]


def test_a_courier_carries_what_those_have_said_who_are_listed(store: Store, anna: Publisher, tmp_path: Path) -> None:
    """Whoever follows the same lists hears what was taken back of what they list, also by file."""
    bob, ben, carl = Publisher.of("bob"), Publisher.of("ben"), Publisher.of("carl")
    bad = ben.release("1")
    ben.revoke(bad)
    bob.collect("best", [Listed(bad.id, ben.chain.publisher, "tiny", "1")])
    store.catalogues.follow(bob.chain.publisher, "", {})
    for publisher in (bob, ben, carl):
        tell(store, publisher)
    names = {format_record(one.chain.publisher) for one in (bob, ben)}
    assert set(export(store, tmp_path / "news")) == {"anna", *names}, "and nobody whom nobody lists"


def test_what_is_no_file_of_records_is_not_overwritten(store: Store, anna: Publisher, tmp_path: Path) -> None:
    path = tmp_path / "thesis.txt"
    path.write_text("years of work")
    with pytest.raises(StoreError):
        export(store, path)
    assert path.read_text() == "years of work"
    with pytest.raises(StoreError):
        export(store, tmp_path)
    with pytest.raises(StoreError):
        export(store, tmp_path / "no such folder" / "news")


# --- what comes out ---------------------------------------------------------------------------------------------------


def test_an_old_file_takes_nothing_back(store: Store, other: Store, anna: Publisher, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    export(store, old)
    anna.rotate("ben")
    anna.publish("3")
    tell(store, anna)
    export(store, new)
    bring(other, new)
    before = known(other, anna)
    (row,) = bring(other, old).publishers
    assert (row.roots, row.records, row.refused) == (0, 0, {})
    assert known(other, anna) == before == anna.said


def test_a_file_that_was_cut_off_gives_what_it_has(store: Store, other: Store, anna: Publisher, tmp_path: Path) -> None:
    path = tmp_path / "news"
    export(store, path)
    path.write_bytes(path.read_bytes()[:-100])
    done = bring(other, path)
    assert [(skip.publisher, skip.error) for skip in done.skipped] == [("", "RecordFileError")]
    assert [row.records for row in done.publishers] == [2]
    with other.ledgers.asking(anna.chain.publisher) as ledger:
        assert ledger is not None
        assert ledger.revocations(), "they come first"
        assert ledger.missing(), "and it is known that something is missing"


def test_what_is_wrong_of_one_publisher_keeps_no_other_out(other: Store, tmp_path: Path) -> None:
    anna, ben, cleo = (Publisher.of(name) for name in ("anna", "ben", "cleo"))
    for one in (anna, ben, cleo):
        one.publish("1")
    roots = LogPage(roots=anna.chain.envelopes, entries=tuple(ben.said))  # records of another
    wrong = LogPage(roots=ben.chain.envelopes, entries=tuple(ben.said))  # under another's name
    path = tmp_path / "news"
    path.write_bytes(written((anna.chain.publisher, roots), (PublisherId(b"\x01" * 32), wrong), log_of(cleo)))
    done = bring(other, path)
    assert {row.publisher_id for row in done.publishers} == {format_record(one.chain.publisher) for one in (anna, cleo)}
    assert sum(row.records for row in done.publishers) == 1
    assert [skip.publisher for skip in done.skipped] == [format_record(b"\x01" * 32)]
    assert known(other, cleo) == cleo.said
    assert known(other, ben) == []


def test_a_proof_of_a_fork_comes_after_the_records(other: Store, tmp_path: Path) -> None:
    anna = Publisher.of("anna")
    anna.publish("1")
    thief = anna.copy()
    anna.publish("2")
    stolen = thief.publish("3")
    ledger: Ledger = anna.ledger()
    with pytest.raises(ForkError):
        ledger.admit(stolen.envelope)
    path = tmp_path / "news"
    path.write_bytes(written((anna.chain.publisher, whole_log(ledger))))
    (row,) = bring(other, path).publishers
    assert (row.records, row.forks, row.refused) == (2, 1, {})
    with other.ledgers.asking(anna.chain.publisher) as found:
        assert found is not None
        assert found.fork is not None
    (again,) = bring(other, path).publishers
    assert (again.records, again.forks) == (0, 0)


def test_a_proof_that_proves_nothing_is_refused(other: Store, tmp_path: Path) -> None:
    anna = Publisher.of("anna")
    anna.publish("1")
    log = LogPage(anna.chain.envelopes, ((anna.said[0], anna.said[0]),), (), tuple(anna.said), 1)
    path = tmp_path / "news"
    path.write_bytes(written((anna.chain.publisher, log)))
    (row,) = bring(other, path).publishers
    assert (row.records, row.forks, row.refused) == (1, 0, {"StatementError": 1})
    with other.ledgers.asking(anna.chain.publisher) as ledger:
        assert ledger is not None
        assert ledger.fork is None


def test_a_stranger_fills_nothing(other: Store, tmp_path: Path) -> None:
    anna = Publisher.of("anna")
    release = anna.release("1")
    for number in range(limits.MAX_RECORDS_STRANGER + 40):
        anna.attest(release, text=str(number))
    path = tmp_path / "news"
    path.write_bytes(written(log_of(anna)))
    bring(other, path)
    assert len(known(other, anna)) <= limits.MAX_RECORDS_STRANGER
    other.catalog.set_petname(anna.chain.publisher, "anna")
    bring(other, path)
    assert known(other, anna) == anna.said, "who has a name may say more"


def test_large_logs_are_taken_in_batches(other: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    anna = Publisher.of("anna")
    release = anna.release("1")
    for number in range(30):
        anna.attest(release, text=str(number))
    other.catalog.set_petname(anna.chain.publisher, "anna")
    monkeypatch.setattr("samara.node.operations.records._BATCH", 5000)
    path = tmp_path / "news"
    path.write_bytes(written(log_of(anna)))
    (row,) = bring(other, path).publishers
    assert (row.roots, row.records) == (1, 30)
    assert known(other, anna) == anna.said


def test_what_is_no_file_of_records_is_refused(other: Store, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0" * 100)
    with pytest.raises(RecordFileError):
        bring(other, path)
    with pytest.raises(NotFoundError):
        bring(other, tmp_path / "nothing")
    with pytest.raises(StoreError):
        bring(other, tmp_path)


def test_an_import_that_is_stopped_keeps_what_it_took(
    store: Store, other: Store, anna: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "news"
    export(store, path)
    monkeypatch.setattr("samara.node.operations.records._READ", 1000)
    asked = iter(range(100))
    with pytest.raises(StoppedError):
        import_records(other, RecordsImportRequest(str(path)), cancelled=lambda: next(asked) > 3)
    (row,) = bring(other, path).publishers
    assert row.records + row.known == 3


def test_the_publisher_of_a_home_learns_what_it_said_elsewhere(store: Store, tmp_path: Path) -> None:
    """Who restores an old copy of a home asks others first, and forks nothing."""
    make_source(store, tmp_path / "public", {"p": 10})
    newer = publisher_of(store)
    newer.publish("2", "elsewhere")
    path = tmp_path / "news"
    path.write_bytes(written(log_of(newer)))
    (row,) = bring(store, path).publishers
    assert row.records == 1
    assert publisher_of(store).place == newer.place
