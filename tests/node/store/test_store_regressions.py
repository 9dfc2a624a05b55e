"""Each of these went wrong once: folders that contents share, rot, crowds of small files, and gc at a bad moment."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trio
from support.contents import CrashableStore, Source, give_home, make_source, take_all

from samara.node import digests
from samara.node.network.service import _shared
from samara.node.operations.publish import PublishRequest, publish
from samara.node.store import room, unfinished
from samara.node.store.contents import Contents, _weight
from samara.node.store.files import sync_folder
from samara.node.store.publish import find_files
from samara.node.store.recent import Recent
from samara.node.store.scan import scan_file
from samara.node.store.store import Store
from samara.node.store.watch import PlaceWatch
from samara.protocol import limits
from samara.protocol.chunklist import ChunkList
from samara.protocol.errors import DiskFullError, StoreError
from samara.protocol.ids import ContentId
from samara.protocol.limits import MIB

HALF = 4 * MIB


def half(made: Source, source: Store, target: CrashableStore, to: Path | None = None) -> None:
    """Fetch half of the chunks of the first file, commit them, and die."""
    taking = target.open_intake(*made.opening(source), None, to)
    need = taking.needs()[0]
    if not need.listed:
        need = taking.add_list(need.stream, made.nodes(source, need.stream))
    for index in need.missing[::2]:
        taking.put(need.stream, index, made.chunk(source, need.stream, index))
    taking.commit()
    target.crash()


def state(store: Store, content: ContentId) -> list[str]:
    return [place.state for place in store.contents.places(content)]


def spoil(path: Path, at: int = 0) -> None:
    """Change a byte as a bad sector does: nothing else of the file changes."""
    before = path.stat()
    path.chmod(0o644)
    with open(path, "r+b") as file:
        file.seek(at)
        old = file.read(1)
        file.seek(at)
        file.write(bytes([old[0] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


# One folder, several contents


def test_two_cut_off_fetches_into_one_folder_do_not_write_into_each_others_files(tmp_path: Path) -> None:
    to = tmp_path / "models"
    with give_home(tmp_path / "a") as source:
        one = make_source(source, tmp_path / "one", {"one.bin": HALF})
        two = make_source(source, tmp_path / "two", {"two.bin": HALF})
        for made in (one, two):
            with give_home(tmp_path / "b") as target:
                half(made, source, target, to)
        with give_home(tmp_path / "b") as target:
            for made in (one, two):
                path = Path(take_all(made, source, target, to))
                assert path.read_bytes() == (made.root / path.name).read_bytes()


def test_two_contents_may_come_into_one_folder_at_once(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        one = make_source(source, tmp_path / "one", {"one.bin": MIB})
        two = make_source(source, tmp_path / "two", {"two.bin": MIB})
        first = target.open_intake(*one.opening(source), None, tmp_path / "to")
        take_all(two, source, target, tmp_path / "to")
        target.close_intake(first)
        take_all(one, source, target, tmp_path / "to")
        assert sorted(path.name for path in (tmp_path / "to").iterdir()) == ["one.bin", "two.bin"]


def test_one_folder_under_two_names_is_one_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "alias").symlink_to(tmp_path / "real")
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "model", {"w.bin": MIB})
        first = target.open_intake(*made.opening(source), None, tmp_path / "real")
        with pytest.raises(StoreError, match="another fetch"):
            target.open_intake(*made.opening(source), None, tmp_path / "alias")
        target.close_intake(first)


def test_of_two_that_open_the_same_intake_at_once_one_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2)
    real = Contents.add

    def add(self: Contents, *args: Any) -> int:
        with pytest.raises(threading.BrokenBarrierError):
            both.wait(0.3)  # nobody else may come this far
        return real(self, *args)

    monkeypatch.setattr(Contents, "add", add)
    with give_home(tmp_path / "a") as source:
        made = make_source(source, tmp_path / "model", {"w.bin": MIB})
        with give_home(tmp_path / "b") as target, ThreadPoolExecutor(2) as threads:
            opening = made.opening(source)
            tries = [threads.submit(target.open_intake, *opening, None) for _ in range(2)]
            assert sorted(type(done.exception()).__name__ for done in tries) == ["NoneType", "PlaceBusyError"]


# Room


def test_a_content_that_fits_the_quota_fits(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b", quota=3 * MIB) as target:
        small = make_source(source, tmp_path / "small", {"s.bin": MIB})
        other = make_source(source, tmp_path / "other", {"o.bin": 2 * MIB})
        large = make_source(source, tmp_path / "large", {"l.bin": 3 * MIB})
        take_all(small, source, target)
        with pytest.raises(DiskFullError, match="quota"):
            take_all(large, source, target)
        take_all(other, source, target)
        assert target.home_bytes() == 3 * MIB
        take_all(other, source, target)  # what is here needs nothing more


def test_two_fetches_at_once_keep_the_quota_and_the_floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b", quota=3 * MIB) as target:
        one = make_source(source, tmp_path / "one", {"one.bin": 2 * MIB})
        two = make_source(source, tmp_path / "two", {"two.bin": 2 * MIB})
        first = target.open_intake(*one.opening(source), None)
        with pytest.raises(DiskFullError, match="quota"):
            target.open_intake(*two.opening(source), None)
        monkeypatch.setattr(room, "free_bytes", lambda folder: 3 * MIB)
        with pytest.raises(DiskFullError, match="floor"):
            target.open_intake(*two.opening(source), None, tmp_path / "to")
        target.close_intake(first)
        target.close_intake(target.open_intake(*two.opening(source), None, tmp_path / "to"))


# Rot and edits


def test_a_file_that_rotted_in_the_home_is_mended_by_a_fetch(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "model", {"w.bin": HALF, "x.bin": 5})
        path = Path(take_all(made, source, target)) / "w.bin"
        spoil(path, 2 * MIB)
        assert target.read(made.content, 1, 0, 1000) is not None  # as far as the rot
        assert state(target, made.content) == ["edited"]
        taking = target.open_intake(*made.opening(source), None)
        (need,) = taking.needs()
        assert need.listed
        assert len(need.missing) == 1
        taking.put(1, need.missing[0], made.chunk(source, 1, need.missing[0]))
        taking.finish()
        target.close_intake(taking)
        assert path.read_bytes() == (made.root / "w.bin").read_bytes()
        assert state(target, made.content) == ["online"]


def test_what_a_person_changed_in_his_own_folder_is_not_mended(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "model", {"w.bin": MIB})
        path = Path(take_all(made, source, target, tmp_path / "to"))
        path.chmod(0o644)
        path.write_bytes(bytes(MIB))
        assert target.read(made.content, 1, 0, 1) is None
        with pytest.raises(StoreError, match="different file"):
            target.open_intake(*made.opening(source), None, tmp_path / "to")
        assert path.read_bytes() == bytes(MIB)


def test_an_edited_copy_condemns_nobody_while_another_copy_is_right(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "model", {"w.bin": MIB})
        take_all(made, source, target)
        copy = Path(take_all(made, source, target, tmp_path / "to"))
        there = target.contents.places(made.content)[1]
        spoil(copy)
        digests.check_files(target, deque([(there, 1)]), set())
        held = target.contents.file(there, 1)
        assert held is not None
        assert not held.checked
        copy.write_bytes(bytes(MIB))
        digests.check_files(target, deque([(there, 1)]), set())
        assert not target.catalog.releases()[0].condemned
        assert state(target, made.content) == ["online", "edited"]


async def test_a_file_that_cannot_be_read_keeps_no_other_from_being_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    real = scan_file

    def scan(fd: int, size: int, **more: Any) -> Any:
        looked.append(size)
        if size == 7:
            raise OSError(5, "Input/output error")
        return real(fd, size, **more)

    monkeypatch.setattr(digests, "scan_file", scan)
    monkeypatch.setattr(digests, "_PAUSE", 0.01)
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "model", {"bad": 7, "good": 8})
        take_all(made, source, target)
        target.contents.doubt(target.contents.places()[0], [1, 2])
        with trio.move_on_after(0.4):
            await digests.check_digests(target)
        assert target.contents.unchecked() == [(target.contents.places()[0], 1)]
        assert looked == [7, 8]


def test_a_bit_that_is_lost_takes_no_other_with_it(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "model", {"w.bin": HALF})
        taking = target.open_intake(*made.opening(source), None)
        need = taking.add_list(1, made.nodes(source, 1))
        taking.put(1, 0, made.chunk(source, 1, 0))
        taking.commit()
        seen = target.contents.file(taking.place, 1)
        assert seen is not None
        for index in need.missing[1:4]:
            taking.put(1, index, made.chunk(source, 1, index))
        taking.commit()
        target.reader._spoilt(seen, 0, "a reader that looked before the last commit")
        now = target.contents.file(taking.place, 1)
        assert now is not None
        assert [now.holds(index) for index in range(5)] == [False, True, True, True, False]
        target.close_intake(taking)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_in_the_place_of_a_file_blocks_nobody(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source:
        made = make_source(source, tmp_path / "model", {"w.bin": MIB})
        (made.root / "w.bin").unlink()
        os.mkfifo(made.root / "w.bin")
        reading = threading.Thread(target=source.read, args=(made.content, 1, 0, 1), daemon=True)
        reading.start()
        reading.join(5)
        assert not reading.is_alive()


# Media


def test_an_empty_mount_point_is_a_medium_that_is_away(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "model", {"w.bin": MIB})
        stick = tmp_path / "stick"
        take_all(made, source, target, stick)
        (tmp_path / "drawer").mkdir()
        (stick / "w.bin").rename(tmp_path / "drawer/w.bin")
        assert target.read(made.content, 1, 0, 1) is None
        assert state(target, made.content) == ["away"]
        PlaceWatch(target).look()
        assert state(target, made.content) == ["away"]
        (tmp_path / "drawer/w.bin").rename(stick / "w.bin")
        PlaceWatch(target).look()
        assert state(target, made.content) == ["online"]
        assert target.read(made.content, 1, 0, 1)


def test_a_folder_that_cannot_be_synced_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(fd: int) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "fsync", fsync)
    sync_folder(tmp_path)


# Many and large


def test_a_crowd_of_small_files_keeps_few_open_and_costs_few_syncs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unfinished, "_MAX_OPEN", 4)
    rng = random.Random(7)
    for number in range(300):
        path = tmp_path / f"shards/{number % 3}/{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(rng.choice((10, 1000, 70_000 + number))))
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = Source.publish(source, tmp_path / "shards")
        commits: list[str] = []
        target._index._writer.set_trace_callback(lambda said: commits.append(said) if said == "COMMIT" else None)
        taking = target.open_intake(*made.opening(source), None)
        assert len(commits) < 10
        needs = [n if n.listed else taking.add_list(n.stream, made.nodes(source, n.stream)) for n in taking.needs()]
        assert len(commits) < 10 + sum(need.chunks > 1 for need in needs)
        for need in needs:
            for index in need.missing:
                taking.put(need.stream, index, made.chunk(source, need.stream, index))
                assert len(taking._large._open) <= 4
        before = len(commits)
        root = Path(taking.finish())
        assert len(commits) < before + 10
        target.close_intake(taking)
        for name in made.files:
            assert (root / name).read_bytes() == (made.root / name).read_bytes()


def test_a_chunk_that_lies_everywhere_is_looked_up_in_few_places(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source:
        zeros = tmp_path / "model/zeros.bin"
        zeros.parent.mkdir()
        zeros.write_bytes(bytes(40 * MIB))
        for number in range(40):
            (zeros.parent / f"label-{number}").write_bytes(b"0\n")
        made = Source.publish(source, zeros.parent)
        chunks, label = source.contents.chunk_list(made.content, 41), source.contents.chunk_list(made.content, 1)
        assert chunks is not None
        assert label is not None
        assert len(chunks) >= 40
        ((number, places),) = source.contents.find_chunks(chunks, [3])
        assert (number, [index for _, _, index in places]) == (3, [0])
        ((_, places),) = source.contents.find_chunks(label, [0])
        assert len(places) == 16


def test_lists_in_memory_are_bounded_by_their_chunks() -> None:
    lists: Recent[ContentId, ChunkList] = Recent(1000, _weight)
    contents = [ContentId(bytes([n]) * 32) for n in range(50)]
    for content in contents:
        lists.put(content, ChunkList(b"".join(bytes(32) + (1).to_bytes(4, "little") for _ in range(92))))
    assert [lists.get(content) is not None for content in contents] == [False] * 40 + [True] * 10
    lists.put(contents[0], ChunkList((bytes(32) + (1).to_bytes(4, "little")) * 5000))
    assert lists.get(contents[0]) is not None
    assert lists.get(contents[-1]) is None
    lists.forget(lambda content: content == contents[0])
    assert lists.get(contents[0]) is None


# Deleting


def test_what_could_not_be_deleted_is_found_by_the_next_collection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "model", {"w.bin": MIB})
        path = Path(take_all(made, source, target))
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "rmtree", lambda *args, **more: None)
            assert target.remove(made.release).bytes == 0
        assert path.exists()
        assert target.read(made.content, 1, 0, 1) is None
        assert target.collect().bytes == MIB
        assert not path.parent.exists()
        assert target.contents.ids() == []


def test_gc_leaves_what_is_being_opened_or_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "model", {"w.bin": MIB})
        real = Contents.add_place

        def add_place(self: Contents, *args: Any) -> Any:
            place = real(self, *args)
            for store in (source, target):
                if store.contents is self:
                    store.collect()
            return place

        monkeypatch.setattr(Contents, "add_place", add_place)
        take_all(made, source, target)
        again = make_source(source, tmp_path / "other", {"o.bin": MIB})
        assert source.read(again.content, 1, 0, 1)


def test_a_removed_release_leaves_its_head_so_that_the_next_is_no_fork(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as store:
        first = make_source(store, tmp_path / "model", {"w.bin": 10})
        publisher = store.catalog.releases()[0].publisher
        store.remove(first.release)
        assert _shared(store) == (set(), {})
        (tmp_path / "model/w.bin").write_bytes(b"new")
        second = Source.publish(store, tmp_path / "model")
        head = store.ledgers.head(publisher, "model")
        assert head is not None
        assert (head.head.sequence, head.head.release) == (2, second.release)
        assert store.catalog.releases()[0].version == "2"


def test_two_publications_of_one_name_at_once_are_two_versions(tmp_path: Path) -> None:
    def one(store: Store, number: int) -> str:
        path = tmp_path / f"{number}.bin"
        path.write_bytes(random.Random(number).randbytes(1000))
        root, found = find_files(path)
        return publish(store, PublishRequest(str(path), name="m", license="MIT"), found, root).version

    with give_home(tmp_path / "a") as store, ThreadPoolExecutor(8) as threads:
        versions = list(threads.map(lambda number: one(store, number), range(12)))
        assert sorted(versions, key=int) == [str(n) for n in range(1, 13)]
        heads = store._index.read.execute("SELECT sequence FROM head ORDER BY sequence").fetchall()
        assert [row[0] for row in heads] == list(range(1, 13))


# Who may know what


def test_a_release_that_was_made_unlisted_here_is_not_given_for_its_name(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source:
        made = make_source(source, tmp_path / "model", {"w.bin": 10})
        publisher = source.catalog.releases()[0].publisher
        assert source.shelf.latest(publisher, "model", "anyone") is not None
        source.catalog.tighten(made.release, "unlisted")
        assert source.shelf.latest(publisher, "model", "anyone") is None
        assert source.shelf.records(made.release, "anyone") is not None


def test_invented_peers_do_not_fill_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_WRONG_PEERS", 10)
    with give_home(tmp_path / "a") as store:
        for number in range(50):
            assert store.catalog.count_wrong(f"peer-{number}", "lied") == 1
        assert store.catalog.count_wrong("peer-49", "lied") == 2
        assert set(store.catalog.wrong_counts()) == {f"peer-{number}" for number in range(40, 50)}


# The end


def test_an_index_that_is_closed_under_a_query_does_not_crash(tmp_path: Path) -> None:
    program = f"""
import threading
from pathlib import Path
from samara.node.store.index import Index

for number in range(60):
    index = Index(Path({str(tmp_path)!r}) / f"{{number}}.sqlite", writable=True)
    go = threading.Barrier(3)
    said = []

    def read():
        index.read
        go.wait()
        try:
            while True:
                index.read.execute("SELECT * FROM release WHERE id = ?", (b"x",)).fetchone()
        except Exception as error:
            said.append(type(error).__name__)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    go.wait()
    index.close()
    for thread in threads:
        thread.join()
    assert said == ["StoreError"] * 2, said
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_writing_to_an_index_that_was_closed_is_an_error_of_the_store(tmp_path: Path) -> None:
    with give_home(tmp_path) as store:
        store.close()
        with pytest.raises(StoreError, match="was closed"):
            store.catalog.requeue_fetches()
        with pytest.raises(StoreError, match="was closed"):
            store.catalog.queue()
