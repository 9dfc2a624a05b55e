"""What publishers have said, on a stick: it comes in, takes nothing back, and what lies there instead does no harm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.contents import CrashableStore, Source, give_home, make_source
from support.publishers import Publisher
from support.speaking import publisher_of, tell
from support.sticks import all_files, flip

from samara.cli.stick import Carried, ExportRequest, ImportRequest, export_all, import_all
from samara.node.store.store import Store
from samara.protocol.errors import StoppedError
from samara.protocol.ids import PublisherId, ReleaseId, format_record
from samara.protocol.ports import LogPage
from samara.protocol.trust.recordfile import RecordFileWriter
from samara.sneakernet.logs import read_logs

SIZES = {"model.bin": 30_000}


@pytest.fixture
def source(tmp_path: Path) -> Iterator[CrashableStore]:
    with give_home(tmp_path / "source") as store:
        yield store


@pytest.fixture
def target(tmp_path: Path) -> Iterator[CrashableStore]:
    with give_home(tmp_path / "target") as store:
        yield store


@pytest.fixture
def made(source: CrashableStore, tmp_path: Path) -> Source:
    return make_source(source, tmp_path / "files", SIZES)


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    path = tmp_path / "stick"
    path.mkdir()
    return path


def export(store: Store, made: Source, stick: Path) -> Carried:
    return export_all(store, ExportRequest(str(stick), (format_record(made.release),)))


def bring(stick: Path, store: Store) -> Carried:
    return import_all(store, ImportRequest(str(stick)))


def revoke(store: Store) -> tuple[Publisher, ReleaseId]:
    """Take back another release than the one that is carried, which could not be any more."""
    publisher = publisher_of(store)
    gone = publisher.release("0", "gone")
    publisher.revoke(gone)
    tell(store, publisher, own=True)
    return publisher, gone.id


def file_of(stick: Path, publisher: PublisherId) -> Path:
    return stick / "samara" / "records" / format_record(publisher)


def is_revoked(store: Store, publisher: PublisherId, release: ReleaseId) -> bool:
    with store.ledgers.asking(publisher) as ledger:
        return ledger is not None and ledger.revocation(release) is not None


def newest(store: Store, publisher: PublisherId) -> bytes | None:
    with store.ledgers.asking(publisher) as ledger:
        return ledger.newest.id if ledger is not None and ledger.newest is not None else None


def test_a_revocation_comes_by_stick(source: Store, target: Store, made: Source, stick: Path) -> None:
    export(source, made, stick)
    bring(stick, target)
    publisher, gone = revoke(source)
    who = publisher.chain.publisher
    assert not is_revoked(target, who, gone)
    assert export(source, made, stick).records == len(publisher.said)
    assert bring(stick, target).records == 1
    assert is_revoked(target, who, gone)
    assert newest(target, who) == newest(source, who)
    assert bring(stick, target).records == 0


def test_attack_a_stick_older_than_the_site_takes_nothing_back(
    source: Store, target: Store, made: Source, stick: Path
) -> None:
    export(source, made, stick)
    old = all_files(stick)
    publisher, gone = revoke(source)
    publisher.publish("9", "later")
    tell(source, publisher, own=True)
    export(source, made, stick)
    bring(stick, target)
    who = publisher.chain.publisher
    tip = newest(target, who)
    for path, data in old.items():
        (stick / path).write_bytes(data)
    assert bring(stick, target).skipped == ()
    assert newest(target, who) == tip
    assert is_revoked(target, who, gone)


def test_an_older_home_takes_nothing_off_a_newer_stick(
    source: Store, target: Store, made: Source, stick: Path, tmp_path: Path
) -> None:
    export(source, made, stick)
    bring(stick, target)
    publisher, gone = revoke(source)
    export(source, made, stick)
    newer = file_of(stick, publisher.chain.publisher).read_bytes()
    export(target, made, stick)  # knows nothing of the revocation
    assert file_of(stick, publisher.chain.publisher).read_bytes() == newer
    with give_home(tmp_path / "third") as third:
        bring(stick, third)
        assert is_revoked(third, publisher.chain.publisher, gone)


def test_two_logs_that_meet_on_a_stick_prove_the_fork(
    source: Store, target: Store, made: Source, stick: Path, tmp_path: Path
) -> None:
    export(source, made, stick)
    bring(stick, target)
    mine = publisher_of(source)
    other = mine.copy()
    mine.publish("2", "mine")
    other.publish("2", "theirs")
    tell(source, mine, own=True)
    tell(target, other)
    export(source, made, stick)
    export(target, made, stick)
    with give_home(tmp_path / "third") as third:
        bring(stick, third)
        with third.ledgers.asking(mine.chain.publisher) as ledger:
            assert ledger is not None
            assert ledger.fork is not None


def test_a_stick_without_records_is_as_it_was(source: Store, target: Store, made: Source, stick: Path) -> None:
    export(source, made, stick)
    for path in (stick / "samara" / "records").iterdir():
        path.unlink()
    (stick / "samara" / "records").rmdir()
    done = bring(stick, target)
    assert (len(done.releases), done.skipped, done.records) == (1, (), 0)


def test_an_export_that_finds_all_of_it_writes_nothing(source: Store, made: Source, stick: Path) -> None:
    publisher, _ = revoke(source)
    export(source, made, stick)
    path = file_of(stick, publisher.chain.publisher)
    before = path.stat().st_mtime_ns
    export(source, made, stick)
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize("where", [0, 20, 200, -1])
def test_a_damaged_file_keeps_no_release_out_and_is_written_anew(
    where: int, source: Store, target: Store, made: Source, stick: Path
) -> None:
    publisher, gone = revoke(source)
    export(source, made, stick)
    path = file_of(stick, publisher.chain.publisher)
    whole = path.read_bytes()
    flip(path, where % len(whole))
    done = bring(stick, target)
    assert len(done.releases) == 1
    assert {skip.name for skip in done.skipped} == {"records"}
    export(source, made, stick)
    assert path.read_bytes() == whole
    bring(stick, target)
    assert is_revoked(target, publisher.chain.publisher, gone)


def test_a_file_that_was_cut_off_gives_what_it_has(source: Store, target: Store, made: Source, stick: Path) -> None:
    publisher, gone = revoke(source)
    export(source, made, stick)
    path = file_of(stick, publisher.chain.publisher)
    path.write_bytes(path.read_bytes()[:-50])
    done = bring(stick, target)
    assert [skip.error for skip in done.skipped] == ["RecordFileError"]
    assert is_revoked(target, publisher.chain.publisher, gone), "revocations come first"


def foreign(publisher: PublisherId) -> bytes:
    anna = Publisher.of("anna")
    anna.publish("1")
    writer = RecordFileWriter()
    log = LogPage(roots=anna.chain.envelopes, entries=tuple(anna.said))
    return writer.begin() + writer.publisher(anna.chain.publisher, log) + writer.end()


@pytest.mark.parametrize("what", ["another publisher's", "a folder", "a link", "endless", "a foreign name", "too many"])
def test_what_lies_there_instead_does_no_harm(
    what: str, source: Store, target: Store, made: Source, stick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, gone = revoke(source)
    export(source, made, stick)
    path = file_of(stick, publisher.chain.publisher)
    secret = tmp_path / "secret"
    secret.write_bytes(path.read_bytes())
    if what == "another publisher's":
        path.write_bytes(foreign(publisher.chain.publisher))
    elif what == "a folder":
        path.unlink()
        path.mkdir()
    elif what == "a link":
        path.unlink()
        path.symlink_to(secret)
    elif what == "endless":
        monkeypatch.setattr("samara.protocol.limits.MAX_STICK_LOG", 100)
    elif what == "a foreign name":
        path.rename(path.with_name("notes.txt"))
    else:
        monkeypatch.setattr("samara.protocol.limits.MAX_STICK_RELEASES", 2)
        for number in range(3):
            path.with_name(f"{number}").write_bytes(b"")
    done = bring(stick, target)
    assert len(done.releases) == 1
    assert not is_revoked(target, publisher.chain.publisher, gone)
    assert bool(done.skipped) is (what != "a foreign name")
    assert secret.read_bytes()


def test_reading_can_be_stopped(source: Store, made: Source, stick: Path) -> None:
    revoke(source)
    export(source, made, stick)
    with pytest.raises(StoppedError):
        list(read_logs(stick, cancelled=lambda: True))
