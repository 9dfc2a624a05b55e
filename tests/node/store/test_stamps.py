"""An edit is noticed whatever tool made it, and a medium that was taken out and put back is no edit."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.contents import Source, give_home, make_source, take_all
from support.mounts import image, mounted

from samara.node import digests
from samara.node.store import adopting, stamps
from samara.node.store.scan import scan_file
from samara.node.store.stamps import Likeness, Stamp, stamp
from samara.node.store.store import Store
from samara.node.store.watch import PlaceWatch
from samara.protocol.errors import StoreError
from samara.protocol.limits import MIB

needs_cp = pytest.mark.skipif(sys.platform != "linux", reason="needs GNU cp and a ctime that nobody sets")


def of(path: Path) -> Stamp:
    fd = os.open(path, os.O_RDONLY)
    try:
        return stamp(fd)
    finally:
        os.close(fd)


def copy_over(path: Path) -> None:
    """Other bytes, with size, mtime and inode as they were."""
    other = path.with_name("other")
    other.write_bytes(bytes(path.stat().st_size))
    os.utime(other, ns=(0, path.stat().st_mtime_ns))
    before = path.stat()
    subprocess.run(["cp", "-p", str(other), str(path)], check=True)
    other.unlink()
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def move_over(path: Path) -> None:
    """Other bytes, with size and mtime as they were."""
    other = path.with_name("other")
    other.write_bytes(bytes(path.stat().st_size))
    os.utime(other, ns=(0, path.stat().st_mtime_ns))
    other.rename(path)


each_edit = pytest.mark.parametrize("edit", [copy_over, move_over])


def check_all(store: Store) -> None:
    """Do what the node does in the background."""
    digests.check_files(store, deque(store.contents.unchecked()), set())


@needs_cp
@each_edit
def test_an_edit_that_keeps_size_and_time_is_found(tmp_path: Path, edit: Callable[[Path], None]) -> None:
    with give_home(tmp_path / "a") as store:
        made = make_source(store, tmp_path / "model", {"w.bin": MIB, "x.bin": MIB})
        assert store.contents.unchecked() == []
        edit(made.root / "x.bin")
        assert PlaceWatch(store).look() == []
        assert [stream for _, stream in store.contents.unchecked()] == [2]
        assert not store.read(made.content, 2, 0, 1)
        assert [place.state for place in store.contents.places()] == ["edited"]


@needs_cp
@each_edit
def test_an_edit_that_nobody_asks_for_is_found_in_the_background(tmp_path: Path, edit: Callable[[Path], None]) -> None:
    with give_home(tmp_path / "a") as store:
        made = make_source(store, tmp_path / "model", {"w.bin": MIB})
        edit(made.root / "w.bin")
        PlaceWatch(store).look()
        check_all(store)
        assert [place.state for place in store.contents.places()] == ["edited"]
        assert not store.catalog.releases()[0].condemned


@needs_cp
@each_edit
def test_an_edit_that_keeps_size_and_time_is_published_anew(tmp_path: Path, edit: Callable[[Path], None]) -> None:
    with give_home(tmp_path / "a") as store:
        made = make_source(store, tmp_path / "model", {"w.bin": MIB})
        edit(made.root / "w.bin")
        assert Source.publish(store, made.root).content != made.content


@needs_cp
@each_edit
def test_a_fetch_neither_believes_nor_overwrites_such_an_edit(tmp_path: Path, edit: Callable[[Path], None]) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "model", {"w.bin": MIB})
        path = Path(take_all(made, source, target, tmp_path / "to"))
        path.chmod(0o644)
        edit(path)
        with pytest.raises(StoreError, match="different file"):
            target.open_intake(*made.opening(source), None, tmp_path / "to")
        assert path.read_bytes() == bytes(MIB)


@needs_cp
def test_a_file_that_was_touched_or_put_back_is_served_and_checked_again(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as store:
        made = make_source(store, tmp_path / "model", {"link.bin": MIB, "mode.bin": MIB, "copy.bin": MIB})
        os.link(made.root / "link.bin", tmp_path / "second name")
        (made.root / "mode.bin").chmod(0o600)
        shutil.copy2(made.root / "copy.bin", tmp_path / "backup")
        (tmp_path / "backup").rename(made.root / "copy.bin")
        assert PlaceWatch(store).look() == []
        assert len(store.contents.unchecked()) == 3
        for stream in (1, 2, 3):
            assert store.read(made.content, stream, 0, 1)
        check_all(store)
        assert store.contents.unchecked() == []
        assert PlaceWatch(store).look() == []
        assert store.contents.unchecked() == []  # it is known as it looks now


def test_what_is_written_while_it_is_checked_is_not_confirmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "model", {"w.bin": MIB})
        take_all(made, source, target)
        (place,) = target.contents.places()

        def scan(*args: Any, **more: Any) -> Any:
            found = scan_file(*args, **more)
            target.contents.set_partial(place, {1: bytes(8)})  # a fetch took it back meanwhile
            return found

        monkeypatch.setattr(digests, "scan_file", scan)
        check_all(target)
        held = target.contents.file(place, 1)
        assert held is not None
        assert (held.state, held.checked) == ("partial", False)


def status(size: int, mtime_ns: int, inode: int, ctime_ns: int = 0) -> Any:
    real = os.stat(__file__)

    class Status:
        st_size, st_mtime_ns, st_ino, st_ctime_ns = size, mtime_ns, inode, ctime_ns
        st_mode = real.st_mode

    return Status


SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("size", "later", "expected"),
    [
        (5, 0, Likeness.SAME),
        (5, SECOND, Likeness.SAME),
        (5, -SECOND, Likeness.SAME),
        (5, 3 * SECOND, Likeness.CHANGED),
        (5, 3600 * SECOND, Likeness.DOUBTFUL),
        (5, -5 * 3600 * SECOND - 2700 * SECOND + SECOND, Likeness.DOUBTFUL),
        (5, 3600 * SECOND + 5 * SECOND, Likeness.CHANGED),
        (6, 0, Likeness.CHANGED),
        (6, 3600 * SECOND, Likeness.CHANGED),
    ],
)
def test_where_numbers_do_not_last_size_and_time_count(size: int, later: int, expected: Likeness) -> None:
    began = 1_700_000_000 * SECOND
    for inode in (1, 2, 2**64 - 1):
        assert Stamp(5, began, 0).compare(status(size, began + later, inode)) is expected


def test_where_numbers_last_any_other_time_is_a_change(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    known = of(path)
    assert known.mark
    assert known.compare(path.stat()) is Likeness.SAME
    os.utime(path, ns=(0, known.mtime_ns + 1000))
    assert known.compare(path.stat()) is Likeness.CHANGED
    os.utime(path, ns=(0, known.mtime_ns - 3600 * SECOND))
    assert known.compare(path.stat()) is Likeness.CHANGED


@pytest.mark.parametrize("inode", [0, 1, 2**63, 2**64 - 1, 2**128 - 1])
def test_any_inode_fits_the_index(inode: int) -> None:
    mark = stamps._mark(status(5, 0, inode))
    assert mark
    assert -(2**63) <= mark < 2**63


@contextlib.contextmanager
def remounting(tmp_path: Path, kind: str) -> Iterator[Callable[[], None]]:
    """Mount a small filesystem at `stick`; what is yielded takes it out, and puts it in again."""
    medium = image(tmp_path / "image", kind, 32 * MIB)
    arguments = ("-t", "exfat-fuse" if kind == "exfat" else kind, "-o", "loop", str(medium))
    with contextlib.ExitStack() as stack:
        stack.enter_context(mounted(tmp_path / "stick", *arguments))

        def again() -> None:
            stack.close()
            stack.enter_context(mounted(tmp_path / "stick", *arguments))

        yield again


@pytest.mark.parametrize("kind", ["exfat", "ext4"])
def test_a_stick_that_was_put_in_again_needs_no_second_look(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        remounting(tmp_path, kind) as again,
        give_home(tmp_path / "a") as source,
        give_home(tmp_path / "b") as target,
    ):
        made = make_source(source, tmp_path / "model", {f"{n}.bin": MIB for n in range(5)})
        take_all(made, source, target, tmp_path / "stick/to")
        check_all(target)
        before = [(tmp_path / f"stick/to/{n}.bin").stat().st_ino for n in range(5)]
        again()
        for n in reversed(range(5)):  # exfat-fuse numbers what it sees in the order in which it does
            (tmp_path / f"stick/to/{n}.bin").read_bytes()
        after = [(tmp_path / f"stick/to/{n}.bin").stat().st_ino for n in range(5)]
        assert (before == after) is (kind == "ext4")
        assert PlaceWatch(target).look() == []
        assert target.contents.unchecked() == []

        def scan(*args: object, **more: object) -> None:
            raise AssertionError("it is hashed again")

        monkeypatch.setattr(adopting, "scan_file", scan)
        taking = target.open_intake(*made.opening(source), None, tmp_path / "stick/to")
        assert taking.needs() == []
        target.close_intake(taking)
        assert target.read(made.content, 3, 0, 1)
