"""A stick as people have it: FAT32. Files go into a real image by mtools, and come back from it.

A FAT filesystem cannot be mounted everywhere without root or a kernel module, and some FUSE drivers lose files on a
rename. mtools reads and writes an image without mounting it, so what is tested is that nothing on a stick is beyond
FAT32: names, sizes, and that the bytes alone are enough. What a kernel's driver does while it is cut off is not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.contents import give_home, make_source
from support.sticks import all_files, export, import_only, make_model, same_files

from samara.protocol.limits import MIB
from samara.protocol.paths import fold
from samara.sneakernet.importing import import_release, list_releases

MKFS = shutil.which("mkfs.vfat", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")

pytestmark = pytest.mark.skipif(
    MKFS is None or shutil.which("mcopy") is None, reason="mkfs.vfat (dosfstools) or mcopy (mtools) is not here"
)


def run(*command: str | Path) -> None:
    """Run a tool; mtools wants a UTF-8 locale to write long names."""
    environ = {**os.environ, "LC_ALL": "C.UTF-8", "MTOOLS_SKIP_CHECK": "1"}
    done = subprocess.run([str(part) for part in command], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "too big" not in done.stdout + done.stderr, done.stderr  # which mcopy says with exit code 0


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "stick.img"
    with open(path, "wb") as file:
        file.truncate(64 * MIB)
    assert MKFS is not None
    run(MKFS, "-F", "32", path)
    return path


def test_a_release_goes_over_fat32_and_comes_back(tmp_path: Path, image: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_model(source, tmp_path / "model")
        export(source, made, tmp_path / "there")
        run("mcopy", "-s", "-i", image, tmp_path / "there/samara", "::")
        (tmp_path / "back").mkdir()
        run("mcopy", "-s", "-i", image, "::samara", tmp_path / "back")
        there, back = all_files(tmp_path / "there"), all_files(tmp_path / "back")
        assert {fold(name): data for name, data in back.items()} == {fold(name): data for name, data in there.items()}
        brought = import_only(target, tmp_path / "back")
        assert same_files(made, Path(brought.path))
        held = target.catalog.release(made.release)
        assert held is not None
        assert held.content == made.content


def test_names_that_differ_in_case_alone_cannot_meet(tmp_path: Path, image: Path) -> None:
    """Two releases whose names differ in case get labels that FAT keeps apart."""
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        upper = make_source(source, tmp_path / "1/Tiny", {"a": 100})
        lower = make_source(source, tmp_path / "2/tiny", {"a": 100, "b": 5})
        for made in (upper, lower):
            export(source, made, tmp_path / "there")
        run("mcopy", "-s", "-i", image, tmp_path / "there/samara", "::")
        (tmp_path / "back").mkdir()
        run("mcopy", "-s", "-i", image, "::samara", tmp_path / "back")
        listing = list_releases(tmp_path / "back")
        assert {entry.release for entry in listing.entries} == {upper.release, lower.release}
        for entry in listing.entries:
            import_release(target, tmp_path / "back", entry)


def test_a_stick_whose_names_came_back_in_capitals_is_read(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_model(source, tmp_path / "model")
        export(source, made, tmp_path / "stick")
        for path in sorted((tmp_path / "stick").rglob("*"), key=lambda path: len(path.parts), reverse=True):
            path.rename(path.with_name(path.name.upper()))
        assert same_files(made, Path(import_only(target, tmp_path / "stick").path))
