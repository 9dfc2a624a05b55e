"""Releases over a stick: there and back, cut off at any moment, and going on."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.contents import Source, give_home, make_source, take_all
from support.sticks import (
    PullError,
    all_files,
    export,
    flip,
    import_only,
    make_model,
    only_entry,
    pull_after,
    same_files,
)

from samara.protocol import limits
from samara.protocol.errors import (
    DiskFullError,
    LicenseError,
    NotFoundError,
    StickError,
    StoppedError,
    StoreError,
    UsageError,
    VerificationError,
)
from samara.protocol.ids import ReleaseId
from samara.protocol.limits import KIB, MIB
from samara.protocol.ports import Records
from samara.protocol.records import VerifiedRelease, verify_release
from samara.sneakernet.exporting import export_release
from samara.sneakernet.importing import import_release, list_releases
from samara.sneakernet.media import Stick, StickFile
from samara.sneakernet.steps import Step

SMALL = {"w.bin": 150 * KIB, "sub/b.bin": 40_000, "empty": 0}


def test_what_is_carried_is_the_same_content_byte_for_byte(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_model(source, tmp_path / "model")
        done = export(source, made, tmp_path / "stick")
        assert done.written == done.bytes == sum(path.stat().st_size for path in made.root.rglob("*") if path.is_file())
        entry = only_entry(tmp_path / "stick")
        assert (entry.release, entry.content, entry.bytes) == (made.release, made.content, done.bytes)
        brought = import_only(target, tmp_path / "stick")
        assert same_files(made, Path(brought.path))
        assert (brought.read, brought.reused) == (done.bytes, 0)
        held = target.catalog.release(made.release)
        assert held is not None
        assert (held.content, held.own) == (made.content, False)
        for stream in range(len(made.files) + 1):
            assert target.nodes(made.content, stream) == source.nodes(made.content, stream)


def test_it_goes_on_from_the_second_home_to_a_third(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as second, give_home(tmp_path / "c") as third:
        made = make_model(source, tmp_path / "model")
        export(source, made, tmp_path / "one")
        import_only(second, tmp_path / "one")
        export(second, made, tmp_path / "two")
        files = all_files(tmp_path / "two/samara/files")
        assert files == all_files(tmp_path / "one/samara/files")
        assert same_files(made, Path(import_only(third, tmp_path / "two").path))


def test_files_on_a_stick_are_plain_and_parts_join(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source:
        made = make_model(source, tmp_path / "model")
        folder = export(source, made, tmp_path / "stick").path
        assert (folder / "one-chunk.json").read_bytes() == (made.root / "one-chunk.json").read_bytes()
        joined = b"".join(part.read_bytes() for part in sorted(folder.glob("big.bin.*")))
        assert joined == (made.root / "big.bin").read_bytes()
        assert not (folder / "big.bin").exists()
        text = (tmp_path / "stick/samara/README.txt").read_bytes().decode("ascii")
        assert "samara import" in text
        assert text.count("\r\n") == text.count("\n") > 10


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not here")
def test_who_has_no_samara_checks_with_sha256sum(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source:
        made = make_model(source, tmp_path / "model")
        done = export(source, made, tmp_path / "stick", part_size=limits.STICK_PART)
    command = ["sha256sum", "-c", f"../../releases/{done.label}/sha256.txt"]
    good = subprocess.run(command, cwd=done.path, capture_output=True, text=True, check=False)
    assert good.returncode == 0, good.stderr
    assert good.stdout.count(": OK\n") == len(made.files)
    flip(done.path / "big.bin", 5)
    assert subprocess.run(command, cwd=done.path, capture_output=True, check=False).returncode == 1


def test_releases_on_one_stick_share_nothing(tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = [make_source(source, tmp_path / name, {"w.bin": 300 * KIB, name: 10}) for name in ("one", "two")]
        for one in made:
            export(source, one, stick)
        assert {entry.release for entry in list_releases(stick).entries} == {one.release for one in made}
        spoilt = next(path for path in stick.rglob("w.bin.000") if "/one-1-" in str(path))
        flip(spoilt, 7)
        for entry in list_releases(stick).entries:
            if entry.release == made[0].release:
                with pytest.raises(VerificationError):
                    import_release(target, stick, entry)
            else:
                assert same_files(made[1], Path(import_release(target, stick, entry).path))


def test_nodes_are_split_like_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MIN_STICK_PART", 100)
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "m", {"w.bin": 150_000})
        done = export(source, made, tmp_path / "stick", part_size=150)
        assert len(list(done.path.iterdir())) == 1000
        assert len(list((tmp_path / "stick/samara/releases" / done.label).glob("nodes.*"))) > 1
        assert same_files(made, Path(import_only(target, tmp_path / "stick").path))


def test_a_second_export_writes_nothing_and_reads_everything(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source:
        made = make_model(source, tmp_path / "model")
        export(source, made, tmp_path / "stick")
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / "stick").rglob("*")}
        steps: list[Step] = []
        assert export(source, made, tmp_path / "stick", on_progress=steps.append).written == 0
        assert {path: path.stat().st_mtime_ns for path in (tmp_path / "stick").rglob("*")} == before
        assert steps[-1].done == steps[-1].total
        assert {step.phase for step in steps} == {"writing"}


def test_only_what_is_wrong_is_written_again(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_model(source, tmp_path / "model")
        folder = export(source, made, tmp_path / "stick").path
        chunks = source.contents.chunk_list(made.content, made.files.index("big.bin") + 1)
        assert chunks is not None
        flip(folder / "big.bin.011", 100)
        wrong = chunks.length(chunks.at(11 * limits.MIN_STICK_PART + 100))
        (folder / "one-chunk.json").unlink()
        with open(folder / "sub/deeper/w.bin.010", "ab") as file:
            file.write(b"longer than it should be")
        assert export(source, made, tmp_path / "stick").written == wrong + 10_000
        assert same_files(made, Path(import_only(target, tmp_path / "stick").path))
        assert (folder / "sub/deeper/w.bin.010").stat().st_size == 700 * KIB - 10 * limits.MIN_STICK_PART


def test_progress_ends_at_the_whole_in_both_phases(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_model(source, tmp_path / "model")
        steps: list[Step] = []
        total = export(source, made, tmp_path / "stick", on_progress=steps.append).bytes
        import_only(target, tmp_path / "stick", on_progress=steps.append)
    for phase in ("writing", "reading back", "importing"):
        mine = [step for step in steps if step.phase == phase]
        assert [step.done for step in mine] == sorted(step.done for step in mine)
        assert (mine[0].done, mine[-1].done, mine[-1].total) == (0, total, total)


# Cut off


def test_an_export_that_is_cut_off_at_any_step_is_not_there_and_goes_on(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source:
        made = make_source(source, tmp_path / "m", SMALL)
        steps: list[Step] = []
        whole = all_files(export(source, made, tmp_path / "whole", on_progress=steps.append).path.parents[2])
        for number in range(len(steps)):
            stick = tmp_path / f"stick{number}"
            with pytest.raises(PullError):
                export(source, made, stick, on_progress=pull_after(number))
            assert nothing_complete(stick)
            there = sum(len(data) for path, data in all_files(stick).items() if path.startswith("samara/files"))
            again = export(source, made, stick)
            assert again.written == again.bytes - there
            assert all_files(stick) == whole


class Cutter:
    """Lets some writes to a stick through, then one by half, and then none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
        self.left = writes
        real = StickFile.write

        def write(file: StickFile, data: bytes, offset: int) -> None:
            if self.left == 0:
                real(file, bytes(data)[: len(data) // 2], offset)
                raise PullError
            self.left -= 1
            real(file, data, offset)

        monkeypatch.setattr(StickFile, "write", write)


def test_an_export_that_is_cut_off_in_any_write_is_not_there_and_goes_on(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "m", SMALL)
        whole = all_files(export(source, made, tmp_path / "whole").path.parents[2])
        number = 0
        while True:
            stick = tmp_path / f"stick{number}"
            with pytest.MonkeyPatch.context() as patch:
                Cutter(patch, number)
                try:
                    export(source, made, stick)
                    break
                except PullError:
                    pass
            assert nothing_complete(stick)
            export(source, made, stick)
            assert all_files(stick) == whole
            number += 1
        assert number > 12  # marker, README, 3 records, table, nodes with lengths, sums, chunks, commit record
        assert same_files(made, Path(import_only(target, stick).path))


def test_a_repair_that_is_cut_off_is_not_there(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source:
        made = make_source(source, tmp_path / "m", SMALL)
        folder = export(source, made, tmp_path / "stick").path
        flip(folder / "w.bin.000", 3)
        with pytest.MonkeyPatch.context() as patch:
            Cutter(patch, 0)
            with pytest.raises(PullError):
                export(source, made, tmp_path / "stick")
        assert nothing_complete(tmp_path / "stick")


def test_the_user_may_stop_an_export_and_an_import(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "m", SMALL)
        with pytest.raises(StoppedError):
            export(source, made, tmp_path / "stick", cancelled=lambda: True)
        assert nothing_complete(tmp_path / "stick")
        export(source, made, tmp_path / "stick")
        with pytest.raises(StoppedError):
            import_only(target, tmp_path / "stick", cancelled=lambda: True)
        assert same_files(made, Path(import_only(target, tmp_path / "stick").path))


def test_an_import_that_is_cut_off_at_any_step_goes_on(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source:
        made = make_model(source, tmp_path / "model")
        export(source, made, tmp_path / "stick", part_size=MIB)
    with give_home(tmp_path / "count") as target:
        steps: list[Step] = []
        import_only(target, tmp_path / "stick", on_progress=steps.append)
    for number in range(len(steps)):
        home = tmp_path / f"home{number}"
        with give_home(home) as target, pytest.raises(PullError):
            import_only(target, tmp_path / "stick", on_progress=pull_after(number))
        with give_home(home) as target:
            brought = import_only(target, tmp_path / "stick")
            assert same_files(made, Path(brought.path))
            assert brought.read <= brought.bytes - steps[number].done


def test_a_killed_import_believes_only_what_was_committed(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source:
        made = make_source(source, tmp_path / "m", {"w.bin": 30 * MIB})
        export(source, made, tmp_path / "stick", part_size=4 * MIB)
    with give_home(tmp_path / "b") as target:

        def kill(step: Step) -> None:
            if step.done > 10 * MIB:
                target.crash()
                raise PullError

        with pytest.raises(PullError):
            import_only(target, tmp_path / "stick", on_progress=kill)
    with give_home(tmp_path / "b") as target:
        brought = import_only(target, tmp_path / "stick")
        assert same_files(made, Path(brought.path))
        assert brought.read > 0


def test_what_is_held_is_not_read_from_the_stick(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        first = make_source(source, tmp_path / "v1", {"w.bin": 3 * MIB})
        shutil.copytree(tmp_path / "v1", tmp_path / "v2")
        with open(tmp_path / "v2/w.bin", "ab") as file:
            file.write(bytes(100))
        second = Source.publish(source, tmp_path / "v2")
        take_all(first, source, target)
        export(source, second, tmp_path / "stick")
        brought = import_only(target, tmp_path / "stick")
        assert same_files(second, Path(brought.path))
        assert 0 < brought.read < MIB
        assert brought.read + brought.reused == brought.bytes


# What an export refuses


def test_what_may_not_be_passed_on_needs_a_clear_yes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(records: Records, *, expected: ReleaseId | None) -> VerifiedRelease:
        verified = verify_release(records, expected=expected)
        return dataclasses.replace(verified, release=dataclasses.replace(verified.release, redistribute=False))

    with give_home(tmp_path / "a") as source:
        monkeypatch.setattr(source, "verify_records", forbid)
        made = make_source(source, tmp_path / "m", SMALL)
        with pytest.raises(LicenseError, match="passed on") as caught:
            export(source, made, tmp_path / "stick")
        assert "--yes" in caught.value.hint
        assert list((tmp_path / "stick").iterdir()) == []
        export(source, made, tmp_path / "stick", yes=True)
        assert only_entry(tmp_path / "stick").release == made.release


@pytest.mark.parametrize("visibility", ["unlisted", "private"])
def test_the_holder_may_hand_on_what_is_not_public(tmp_path: Path, visibility: str) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "m", SMALL, visibility=visibility)
        export(source, made, tmp_path / "stick")
        import_only(target, tmp_path / "stick")
        held = target.catalog.release(made.release)
        assert held is not None
        assert held.visibility == visibility
        assert (target.shelf.records(made.release, "anyone") is None) is (visibility == "private")


def test_an_unknown_release_or_folder_is_not_found(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source:
        with pytest.raises(NotFoundError):
            export_release(source, ReleaseId(bytes(32)), tmp_path)
        made = make_source(source, tmp_path / "m", SMALL)
        with pytest.raises(NotFoundError, match="no folder"):
            export_release(source, made.release, tmp_path / "nowhere")
        assert not (tmp_path / "nowhere").exists()
        with pytest.raises(UsageError):
            export_release(source, made.release, tmp_path, part_size=100)


def test_a_file_that_was_edited_is_not_exported(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source:
        made = make_source(source, tmp_path / "m", SMALL)
        flip(made.root / "w.bin", 9)
        with pytest.raises(StoreError, match="not whole"):
            export(source, made, tmp_path / "stick")
        assert nothing_complete(tmp_path / "stick")


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "stick/samara"
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_bytes(b"mine")
    with give_home(tmp_path / "a") as source:
        made = make_source(source, tmp_path / "m", SMALL)
        for marker in (None, b"", b"{}", b'{"format": "something-else", "version": 1}'):
            if marker is not None:
                (folder / "stick.json").write_bytes(marker)
            before = all_files(tmp_path / "stick")
            with pytest.raises(StoreError, match="no stick of Samara"):
                export(source, made, tmp_path / "stick")
            assert all_files(tmp_path / "stick") == before
            with pytest.raises(NotFoundError):
                list_releases(tmp_path / "stick")


def test_a_stick_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source:
        made = make_source(source, tmp_path / "m", SMALL)
        done = export(source, made, tmp_path / "stick")
        for path in (
            tmp_path / "stick/samara/releases" / done.label / "complete.json",
            tmp_path / "stick/samara/stick.json",
        ):
            path.write_bytes(path.read_bytes().replace(b'"version":1', b'"version":2'))
            before = all_files(tmp_path / "stick")
            with pytest.raises(StickError, match="version 2"):
                export(source, made, tmp_path / "stick")
            assert all_files(tmp_path / "stick") == before


def test_another_release_at_the_label_is_left_alone(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source:
        one, two = (make_source(source, tmp_path / name, {name: 100}) for name in ("one", "two"))
        mine, other = export(source, one, tmp_path / "stick"), export(source, two, tmp_path / "stick")
        releases = tmp_path / "stick/samara/releases"
        shutil.copytree(releases / other.label, releases / mine.label, dirs_exist_ok=True)
        with pytest.raises(StoreError, match="another release"):
            export(source, one, tmp_path / "stick")


def test_what_others_put_on_a_stick_stays(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "m", SMALL)
        done = export(source, made, tmp_path / "stick")
        others = [
            "samara/wants/a.json",
            "samara/.DS_Store",
            "samara/releases/._x",
            f"samara/releases/{done.label}/parity/0",
        ]
        for name in [*others, f"samara/files/{done.label}/note.txt", "photo.jpg"]:
            path = tmp_path / "stick" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"theirs")
        assert export(source, made, tmp_path / "stick").written == 0
        assert (tmp_path / "stick/photo.jpg").exists()
        assert same_files(made, Path(import_only(target, tmp_path / "stick").path))


# Media that fail


def test_a_stick_that_is_too_small_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with give_home(tmp_path / "a") as source:
        made = make_source(source, tmp_path / "m", {"w.bin": 2 * MIB})
        monkeypatch.setattr(Stick, "room", lambda stick: (2 * MIB, 4096))
        with pytest.raises(DiskFullError):
            export(source, made, tmp_path / "stick")
        assert list((tmp_path / "stick").iterdir()) == []
        monkeypatch.undo()

        def pull(step: Step) -> None:
            if step.done > 1.5 * MIB:
                raise PullError

        with pytest.raises(PullError):
            export(source, made, tmp_path / "stick", on_progress=pull)
        monkeypatch.setattr(Stick, "room", lambda stick: (2 * MIB, 4096))
        export(source, made, tmp_path / "stick")  # what is there already needs no room


@pytest.mark.skipif(not hasattr(os, "pwrite"), reason="os.pwrite is not here")
def test_a_full_stick_is_said_and_what_was_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    written = 0

    def pwrite(fd: int, data: memoryview, offset: int) -> int:
        nonlocal written
        written += len(data)
        if written > MIB:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data, offset)

    with give_home(tmp_path / "a") as source:
        made = make_source(source, tmp_path / "m", {"w.bin": 2 * MIB})
        monkeypatch.setattr(os, "pwrite", pwrite)
        with pytest.raises(DiskFullError, match="No space"):
            export(source, made, tmp_path / "stick")
        monkeypatch.undo()
        assert nothing_complete(tmp_path / "stick")
        assert MIB // 2 < export(source, made, tmp_path / "stick").written < 2 * MIB


@pytest.mark.parametrize("victim", ["w.bin.001", "empty", "release.json", "nodes", "table"])
def test_a_stick_that_loses_what_was_written_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, victim: str
) -> None:
    real = Stick.sync

    def sync(stick: Stick, paths: list[str]) -> None:
        real(stick, paths)
        for path in paths:
            if path.endswith(f"/{victim}"):
                where = stick.where(path)
                flip(where, 1) if where.stat().st_size else where.unlink()

    with give_home(tmp_path / "a") as source:
        made = make_source(source, tmp_path / "m", SMALL)
        monkeypatch.setattr(Stick, "sync", sync)
        with pytest.raises(StickError, match=victim.partition(".0")[0]) as caught:
            export(source, made, tmp_path / "stick")
        assert "failing" in caught.value.hint
        assert nothing_complete(tmp_path / "stick")


def nothing_complete(stick: Path) -> bool:
    """Whether an import finds nothing that it believes."""
    try:
        listing = list_releases(stick)
    except NotFoundError:
        return True
    assert all(isinstance(skip.error, NotFoundError) for skip in listing.skipped)
    return not listing.entries
