"""What lies here already is copied in runs, and what is wrong there harms nothing."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.contents import CrashableStore, Source, give_home
from support.weights import Weights, draw, write_safetensors

from samara.node.store.contents import Place
from samara.node.store.copying import HeldChunks
from samara.node.store.elsewhere import Elsewhere
from samara.node.store.intake import StoreIntake
from samara.protocol.chunklist import ChunkList
from samara.protocol.errors import DiskFullError
from samara.protocol.limits import MIB

PIECES = [random.Random(n).randbytes(300_000 + 1000 * n) for n in range(8)]


def publish(store: CrashableStore, root: Path, files: dict[str, bytes]) -> Source:
    """Publish files."""
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return Source.publish(store, root)


def held_by(*which: int) -> bytes:
    return b"".join(PIECES[n] for n in which)


def list_of(store: CrashableStore, made: Source, stream: int = 1) -> ChunkList:
    chunks = store.contents.chunk_list(made.content, stream)
    assert chunks is not None
    return chunks


def hashes(chunks: ChunkList) -> set[bytes]:
    return {bytes(chunks.hash(index)) for index in range(len(chunks))}


def begin(store: CrashableStore, made: Source, origin: CrashableStore, to: Path) -> StoreIntake:
    """Open an intake that has all its lists."""
    intake = store.open_intake(*made.opening(origin), None, to)
    for need in intake.unlisted():
        intake.add_list(need.stream, made.nodes(origin, need.stream))
    return intake


def lend_all(store: CrashableStore, chunks: ChunkList, indexes: list[int]) -> list[tuple[int, int]]:
    """Return the runs that are lent; each is what the list says, and lies where it is said to."""
    runs: list[tuple[int, int]] = []
    for lent in HeldChunks(store.contents, store.reader).lend(chunks, indexes):
        assert chunks.count_right(lent.data, lent.first, lent.count) == lent.count
        assert len(lent.data) == chunks.bytes_of(lent.first, lent.count)
        with open(lent.fd, "rb", closefd=False) as file:
            file.seek(lent.offset)
            assert file.read(len(lent.data)) == lent.data
        runs.append((lent.first, lent.count))
    return runs


def places(store: CrashableStore, made: Source) -> list[str]:
    return [place.state for place in store.contents.places(made.content)]


@pytest.mark.parametrize("seed", range(8))
def test_what_is_lent_is_what_a_naive_look_finds(tmp_path: Path, seed: int) -> None:
    pick = random.Random(seed)
    with give_home(tmp_path / "a") as store, give_home(tmp_path / "b") as origin:
        theirs: set[bytes] = set()
        for n in range(2):
            made = publish(store, tmp_path / f"m{n}", {"w.bin": held_by(*pick.choices(range(6), k=5))})
            theirs |= hashes(list_of(store, made))
        wanted = publish(origin, tmp_path / "wanted", {"w.bin": held_by(*pick.choices(range(8), k=7))})
        chunks = list_of(origin, wanted)
        indexes = [index for index in range(len(chunks)) if pick.random() < 0.9]
        runs = lend_all(store, chunks, indexes)
        lent = [index for first, count in runs for index in range(first, first + count)]
        assert lent == [index for index in indexes if bytes(chunks.hash(index)) in theirs]
        assert len(runs) < len(lent)


def test_a_resharded_model_is_copied_in_runs(tmp_path: Path) -> None:
    weights = draw(3, tensors=8, size=1_500_000)
    names = list(weights)

    def shards(root: Path, cuts: list[list[str]]) -> Path:
        for n, part in enumerate(cuts):
            some: Weights = {name: weights[name] for name in part}
            write_safetensors(root / f"model-{n}.safetensors", some, f"shard {n}")
        return root

    with give_home(tmp_path / "a") as store, give_home(tmp_path / "b") as origin:
        Source.publish(store, shards(tmp_path / "old", [names[:2], names[2:]]))
        new = Source.publish(origin, shards(tmp_path / "new", [names[:4], names[4:6], names[6:]]))
        intake = begin(store, new, origin, tmp_path / "to")
        size = sum((new.root / name).stat().st_size for name in new.files)
        steps = list(intake.reuse(intake.listed()))
        assert sum(steps) > 0.99 * size
        assert max(steps) > 3 * MIB
        assert len(steps) < 20
        store.close_intake(intake)


def test_a_run_never_goes_beyond_what_is_missing(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as store:
        made = publish(store, tmp_path / "m", {"w.bin": held_by(0, 1, 2)})
        chunks = list_of(store, made)
        count = len(chunks)
        assert lend_all(store, chunks, [1, 2, 3, 6, 7, count - 1]) == [(1, 3), (6, 2), (count - 1, 1)]
        assert lend_all(store, chunks, []) == []


def test_of_a_file_in_progress_only_what_is_committed_is_copied(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as store, give_home(tmp_path / "b") as origin:
        made = publish(origin, tmp_path / "m", {"w.bin": held_by(0, 1)})
        intake = begin(store, made, origin, tmp_path / "to")
        chunks = list_of(origin, made)
        for index in range(5):
            intake.put(1, index, made.chunk(origin, 1, index))
        intake.commit()
        intake.put(1, 6, made.chunk(origin, 1, 6))
        assert lend_all(store, chunks, list(range(len(chunks)))) == [(0, 5)]
        with open(tmp_path / f"to/.samara/{made.content.hex()[:16]}-1", "r+b") as file:
            file.seek(chunks.offset(2))
            file.write(b"rot")
        assert lend_all(store, chunks, list(range(len(chunks)))) == [(0, 2), (3, 2)]
        held = store.contents.file(intake.place, 1)
        assert held is not None
        assert [held.holds(index) for index in range(6)] == [True, True, False, True, True, False]
        store.close_intake(intake)


def test_a_place_with_a_wrong_byte_is_left_and_another_goes_on(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as store:
        rotten = publish(store, tmp_path / "one", {"w.bin": held_by(0, 1, 2)})
        sound = publish(store, tmp_path / "two", {"w.bin": held_by(1, 2, 3)})
        chunks = list_of(store, rotten)
        wrong = chunks.at(len(PIECES[0]) // 2)
        path = rotten.root / "w.bin"
        status = path.stat()
        with open(path, "r+b") as file:
            file.seek(chunks.offset(wrong))
            file.write(b"rot")
        os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))
        runs = lend_all(store, chunks, list(range(len(chunks))))
        lent = {index for first, count in runs for index in range(first, first + count)}
        assert wrong not in lent
        both = hashes(list_of(store, sound))
        assert lent == {*range(wrong), *(n for n in range(wrong, len(chunks)) if bytes(chunks.hash(n)) in both)}
        assert places(store, rotten) == ["edited"]
        assert places(store, sound) == ["online"]


def test_a_file_that_was_edited_or_went_away_is_left(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as store:
        edited = publish(store, tmp_path / "one", {"w.bin": held_by(0, 1)})
        gone = publish(store, tmp_path / "two", {"w.bin": held_by(2, 3), "x.bin": b"x"})
        away = publish(store, tmp_path / "three", {"w.bin": held_by(4, 5)})
        (edited.root / "w.bin").write_bytes(held_by(0, 1)[:-1])
        (gone.root / "w.bin").unlink()
        (away.root).rename(tmp_path / "elsewhere")
        for made in (edited, gone, away):
            chunks = list_of(store, made)
            assert lend_all(store, chunks, list(range(len(chunks)))) == []
        assert [places(store, made) for made in (edited, gone, away)] == [["edited"], ["edited"], ["away"]]


def test_a_hint_that_lies_costs_nobody_anything(tmp_path: Path) -> None:
    """Eight bytes of a hash are cheap to meet: who made another chunk with them must not spoil a place."""
    with give_home(tmp_path / "a") as store, give_home(tmp_path / "b") as origin:
        held = publish(store, tmp_path / "held", {"w.bin": held_by(0, 1)})
        wanted = publish(origin, tmp_path / "wanted", {"w.bin": held_by(2, 3)})
        chunks = list_of(origin, wanted)
        rows = [
            (int.from_bytes(chunks.hash(index)[:8], "big", signed=True), store.contents.number(held.content), 1, there)
            for index in range(len(chunks))
            for there in (0, 1, 1 << 30)
        ]
        store.contents._insert_chunks(rows)
        assert lend_all(store, chunks, list(range(len(chunks)))) == []
        assert places(store, held) == ["online"]


def test_what_the_store_has_is_not_looked_for_elsewhere(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as store, give_home(tmp_path / "b") as origin:
        publish(store, tmp_path / "held", {"w.bin": held_by(0, 1)})
        wanted = publish(origin, tmp_path / "wanted", {"w.bin": held_by(0, 1, 2), "note": b"hello"})
        folder = tmp_path / "old"
        folder.mkdir()
        (folder / "x").write_bytes(held_by(1, 2))
        (folder / "y").write_bytes(b"hello")
        elsewhere = Elsewhere([folder])
        assert list(elsewhere.look((), cancelled=lambda: False)) == [True, True]
        intake = begin(store, wanted, origin, tmp_path / "to")
        assert sum(intake.reuse(intake.listed(), elsewhere)) == len(held_by(0, 1, 2)) + 5
        assert Path(intake.finish()) == tmp_path / "to"
        store.close_intake(intake)
        elsewhere.close()
        assert (tmp_path / "to/w.bin").read_bytes() == held_by(0, 1, 2)
        assert (tmp_path / "to/note").read_bytes() == b"hello"


def test_a_full_disk_ends_the_copy_and_closes_what_was_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def descriptors() -> Iterator[str]:
        for fd in os.listdir("/proc/self/fd"):
            try:
                yield os.readlink(f"/proc/self/fd/{fd}")
            except OSError:
                continue

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    with give_home(tmp_path / "a") as store, give_home(tmp_path / "b") as origin:
        held = publish(store, tmp_path / "held", {"w.bin": held_by(0, 1)})
        wanted = publish(origin, tmp_path / "wanted", {"w.bin": held_by(0, 1, 2)})
        intake = begin(store, wanted, origin, tmp_path / "to")

        def full(*arguments: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", full)
            with pytest.raises(DiskFullError) as caught:
                list(intake.reuse(intake.listed()))
        assert caught.value.__traceback__ is not None
        assert str(held.root / "w.bin") not in set(descriptors())
        assert intake.pending_bytes == 0
        theirs, chunks = hashes(list_of(store, held)), list_of(origin, wanted)
        alike = [index for index in range(len(chunks)) if bytes(chunks.hash(index)) in theirs]
        assert sum(intake.reuse(intake.listed())) == sum(map(chunks.length, alike)) > 0
        store.close_intake(intake)


def test_a_copy_that_is_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as store, give_home(tmp_path / "b") as origin:
        held = publish(store, tmp_path / "held", {f"{n}.bin": held_by(n) for n in range(4)})
        wanted = publish(origin, tmp_path / "wanted", {"w.bin": held_by(3, 2, 1, 0)})
        place: Place | None = None
        total = 0
        for _ in range(3):
            intake = begin(store, wanted, origin, tmp_path / "to")
            assert place is None or intake.place == place
            place = intake.place
            copies = intake.reuse(intake.listed())
            total += next(copies)
            copies.close()
            store.close_intake(intake)
        intake = begin(store, wanted, origin, tmp_path / "to")
        total += sum(intake.reuse(intake.listed()))
        theirs = set().union(*(hashes(list_of(store, held, stream)) for stream in range(1, 5)))
        chunks = list_of(origin, wanted)
        left = [index for index in range(len(chunks)) if bytes(chunks.hash(index)) not in theirs]
        assert list(intake.missing(1)) == left
        assert total == chunks.size - sum(map(chunks.length, left))
        store.close_intake(intake)
