"""What kills and several peers at once do to an intake, one moment at a time; the kill harness meets them by chance."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.contents import Source, give_home, make_source
from support.kills import as_a_user

from samara.node.store import smallfiles, unfinished
from samara.node.store.files import open_for_writing, write_at
from samara.node.store.home import Home
from samara.node.store.index import Index
from samara.node.store.intake import StoreIntake
from samara.node.store.store import Store
from samara.protocol.errors import ChunkError, DiskFullError, NotFoundError, ReadOnlyError, StoreError
from samara.protocol.limits import MIB
from samara.protocol.table import FileTable


def _listed(made: Source, source: Store, target: Store) -> tuple[StoreIntake, list[int]]:
    intake = target.open_intake(*made.opening(source), None)
    return intake, list(intake.add_list(1, made.nodes(source, 1)).missing)


def test_the_second_of_two_equal_chunks_touches_nothing(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "model", {"w.bin": 100, "x.bin": MIB})
        intake = target.open_intake(*made.opening(source), None)
        intake.put(1, 0, made.chunk(source, 1, 0))
        intake.commit()
        final = intake.place.root / "w.bin"
        before = final.stat().st_mtime_ns
        intake.put(1, 0, made.chunk(source, 1, 0))
        assert intake.pending_bytes == 0
        assert final.stat().st_mtime_ns == before
        assert not (intake.place.root / ".samara/1").exists()
        with pytest.raises(ChunkError):
            intake.put(1, 0, bytes(100))
        with pytest.raises(StoreError, match="not wanted"):
            intake.put(1, 5, b"")
        target.close_intake(intake)


def test_a_chunk_that_two_peers_send_at_once_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "model", {"w.bin": 300_000})
        intake = target.open_intake(*made.opening(source), None)
        need = intake.add_list(1, made.nodes(source, 1))
        assert need.chunks > 1
        for index in range(1, need.chunks):
            intake.put(1, index, made.chunk(source, 1, index))
        slow, go_on, writes = threading.Event(), threading.Event(), []

        def writing(fd: int, data: memoryview, offset: int) -> None:
            slow.set()
            assert go_on.wait(10)
            writes.append(offset)
            write_at(fd, data, offset)

        monkeypatch.setattr(unfinished, "write_at", writing)
        data = made.chunk(source, 1, 0)
        first = _Thread(lambda: intake.put(1, 0, data))
        assert slow.wait(10)
        second = _Thread(lambda: intake.put(1, 0, data))
        intake.commit()
        final = intake.place.root / "w.bin"
        assert not final.exists()
        go_on.set()
        first.result()
        second.result()
        intake.commit()
        assert writes == [0]
        assert final.read_bytes() == (made.root / "w.bin").read_bytes()
        held = target.contents.file(intake.place, 1)
        assert held is not None
        assert held.stamp.mtime_ns == final.stat().st_mtime_ns
        target.close_intake(intake)


def test_a_small_file_that_two_peers_send_is_written_once(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "model", {"w.bin": 100, "x.bin": 100})
        intake = target.open_intake(*made.opening(source), None)
        for _ in range(2):
            intake.put(1, 0, made.chunk(source, 1, 0))
        assert intake.pending_bytes == 100
        intake.put(2, 0, made.chunk(source, 2, 0))
        intake.commit()
        for name in ("w.bin", "x.bin"):
            final = intake.place.root / name
            assert final.read_bytes() == (made.root / name).read_bytes()
            assert not final.stat().st_mode & 0o222
        target.close_intake(intake)


def test_what_a_killed_process_left_of_a_small_file_is_replaced(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "model", {"w.bin": 100, "x.bin": 100})
        intake = target.open_intake(*made.opening(source), None)
        left = intake.place.root / ".samara/1"
        left.write_bytes(b"half of somethi")
        left.chmod(0o444)
        outside = tmp_path / "outside"
        outside.write_bytes(b"mine")
        (intake.place.root / ".samara/2").symlink_to(outside)
        intake.put(1, 0, made.chunk(source, 1, 0))
        with pytest.raises(StoreError, match="not a plain file"):
            intake.put(2, 0, made.chunk(source, 2, 0))
        intake.commit()
        assert (intake.place.root / "w.bin").read_bytes() == (made.root / "w.bin").read_bytes()
        assert outside.read_bytes() == b"mine"
        target.close_intake(intake)


def test_many_small_files_are_moved_after_one_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []

    def fail(root: Path, paths: list[Path]) -> None:
        synced.append(len(paths))
        raise OSError(errno.EIO, "the disk failed")

    sizes = {f"d{n % 3}/f{n}": 100 + n for n in range(20)}
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "model", sizes)
        intake = target.open_intake(*made.opening(source), None)
        streams = range(1, len(sizes) + 1)
        with monkeypatch.context() as broken:
            broken.setattr(smallfiles, "sync_closed", fail)
            for stream in streams:
                intake.put(stream, 0, made.chunk(source, stream, 0))
            with pytest.raises(StoreError, match="the disk failed"):
                intake.commit()
        assert synced == [len(sizes)]
        assert not any(path.is_file() for path in intake.place.root.glob("d*/*"))
        assert all(list(intake.missing(stream)) == [0] for stream in streams)
        for stream in streams:
            intake.put(stream, 0, made.chunk(source, stream, 0))
        intake.commit()
        for name in sizes:
            assert (intake.place.root / name).read_bytes() == (made.root / name).read_bytes()
        target.close_intake(intake)


def test_a_small_file_is_recorded_when_it_is_complete_and_needs_no_second_look(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "model", {"a/empty": 0, "a/w.bin": 100, "b/x.bin": 100, "c.bin": MIB})
        intake = target.open_intake(*made.opening(source), None)
        assert list(target.contents.files(intake.place)) == [1]  # there is nothing to wait for
        assert list(intake.listed()) == [2, 3]
        assert [need.stream for need in intake.unlisted()] == [4]
        assert [(need.stream, list(need.missing)) for need in intake.needs()] == [(2, [0]), (3, [0]), (4, [])]
        assert intake.bytes_left == intake.unallocated == MIB + 200
        intake.put(3, 0, made.chunk(source, 3, 0))
        assert (intake.bytes_left, intake.unallocated) == (MIB + 200, MIB + 100)
        assert (intake.small([2, 3, 4]), intake.missing_files([2, 3, 4])) == ([2, 3], [2])
        assert list(target.contents.files(intake.place)) == [1]
        intake.commit()
        assert (intake.bytes_left, list(intake.listed())) == (MIB + 100, [2])
        held = target.contents.file(intake.place, 3)
        assert held is not None
        assert (held.state, held.checked) == ("complete", True)
        assert target.contents.unchecked() == []
        target.close_intake(intake)


def test_a_small_file_about_which_the_table_lies_is_looked_at_again(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "model", {"w.bin": 100, "x.bin": 100})
        intake = target.open_intake(*made.opening(source), None)
        honest = intake._small._table
        entries = list(honest)
        lie = FileTable.of([entries[0], replace(entries[1], sha256=bytes(32))])
        intake._small._table = lie
        for stream in (1, 2):
            intake.put(stream, 0, made.chunk(source, stream, 0))
        intake.commit()
        assert [stream for _, stream in target.contents.unchecked()] == [2]
        target.close_intake(intake)


def test_small_files_are_copied_from_wherever_they_are_held(tmp_path: Path) -> None:
    sizes = {f"d{n % 2}/f{n:02}": 1000 + n for n in range(30)}
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "model", {**sizes, "new": 77, "w.bin": MIB})
        older = {name: size for name, size in sizes.items() if name != "d1/f05"}
        make_source(target, tmp_path / "older", older)
        intake = target.open_intake(*made.opening(source), None)
        streams = intake.listed()
        copied = list(intake.reuse(streams))
        assert sum(copied) == sum(older.values())
        left = intake.missing_files(streams)
        assert [made.files[stream - 1] for stream in left] == ["d1/f05", "new"]
        intake.commit()
        for name in older:
            assert (intake.place.root / name).read_bytes() == (made.root / name).read_bytes()
        target.close_intake(intake)


def test_what_lies_in_the_way_of_a_small_file_is_seen_before_anything_is_fetched(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "model", {"d/w.bin": 100, "e/x.bin": 100})
        (tmp_path / "to/e").mkdir(parents=True)
        (tmp_path / "to/e/x.bin").symlink_to(tmp_path / "nowhere")
        with pytest.raises(StoreError, match="different file"):
            target.open_intake(*made.opening(source), None, tmp_path / "to")
        (tmp_path / "to/e/x.bin").unlink()
        (tmp_path / "to/e/other").write_bytes(b"mine")
        shutil.copy(made.root / "d/w.bin", tmp_path / "to")
        (tmp_path / "to/d").mkdir()
        (tmp_path / "to/w.bin").rename(tmp_path / "to/d/w.bin")
        intake = target.open_intake(*made.opening(source), None, tmp_path / "to")
        assert list(intake.listed()) == [2]  # the other one was adopted
        target.close_intake(intake)


class _Thread(threading.Thread):
    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__()
        self._work = work
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error

    def result(self) -> None:
        self.join(10)
        assert not self.is_alive()
        if self._error is not None:
            raise self._error


def test_a_chunk_that_rots_before_its_file_is_whole_is_missing_again(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "model", {"w.bin": MIB})
        intake, missing = _listed(made, source, target)
        for index in missing[:4]:
            intake.put(1, index, made.chunk(source, 1, index))
        intake.commit()
        with open(intake.place.root / ".samara/1", "r+b") as file:
            file.write(b"rot")
        assert not target.read(made.content, 1, 0, 1)
        for index in missing[4:]:
            intake.put(1, index, made.chunk(source, 1, index))
        with pytest.raises(StoreError, match="not complete"):
            intake.finish()
        assert list(intake.missing(1)) == [0]
        intake.put(1, 0, made.chunk(source, 1, 0))
        path = Path(intake.finish())
        assert path.read_bytes() == (made.root / "w.bin").read_bytes()
        target.close_intake(intake)


def test_threads_that_end_leave_no_file_open(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as store:
        store.catalog.releases()
        before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
        for _ in range(20):
            _Thread(store.catalog.releases).result()
        after = len(os.listdir("/proc/self/fd")) if before else 0
        assert after <= before + 2


def test_an_index_without_tables_is_a_home_that_was_never_made(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "index.sqlite") as db:  # whoever made it died right after
        db.execute("PRAGMA journal_mode = WAL")
    db.close()
    with pytest.raises(NotFoundError):
        Index(tmp_path / "index.sqlite", writable=False)
    Index(tmp_path / "index.sqlite", writable=True).close()
    Index(tmp_path / "index.sqlite", writable=False).close()


def test_two_processes_may_make_the_same_index(tmp_path: Path) -> None:
    threads = [_Thread(lambda: Index(tmp_path / "index.sqlite", writable=True).close()) for _ in range(8)]
    for thread in threads:
        thread.result()


def test_an_index_that_cannot_grow_says_that_the_disk_is_full(tmp_path: Path) -> None:
    index = Index(tmp_path / "index.sqlite", writable=True)
    with index.write() as db:
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute("INSERT INTO pin VALUES (?)", (b"kept",))
    index._writer.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(DiskFullError), index.write() as db:
        db.executemany("INSERT INTO petname VALUES (?,?)", [(f"{n}", bytes(4096)) for n in range(100)])
    assert index.read.execute("SELECT count(*) FROM petname").fetchone() == (0,)
    assert index.read.execute("SELECT release FROM pin").fetchall() == [(b"kept",)]
    index.close()


def test_a_key_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path)

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        patched.setattr(os, "fdatasync", full, raising=False)
        with pytest.raises(DiskFullError):
            home.key("node")
    assert list(tmp_path.iterdir()) == []
    key = home.key("node")
    assert len(key) == 32
    assert home.key("node") == key
    assert (tmp_path / "node.key").stat().st_mode & 0o777 == 0o600


_REOPEN = """
import sys
from pathlib import Path
from samara.node.store.files import open_for_writing
open_for_writing(Path(sys.argv[1]))
"""


def test_a_file_that_was_made_read_only_before_its_rename_opens_again(tmp_path: Path) -> None:
    path = tmp_path / "1"
    path.write_bytes(b"x")
    path.chmod(0o444)
    command = [*as_a_user(), sys.executable, "-c", _REOPEN, str(path)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})


def test_an_index_that_turned_read_only_says_so(tmp_path: Path) -> None:
    index = Index(tmp_path / "index.sqlite", writable=True)
    index._writer.execute("PRAGMA query_only = ON")
    with pytest.raises(ReadOnlyError), index.write() as db:
        db.execute("INSERT INTO pin VALUES (?)", (b"x",))
    index.close()


def test_a_folder_in_the_way_of_a_file_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not a plain file"):
        open_for_writing(tmp_path)
