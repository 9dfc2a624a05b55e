"""A stick as people have it: FAT32. Files go into a real image by mtools, and come back from it.

A FAT filesystem cannot be mounted everywhere without root or a kernel module, and some FUSE drivers lose files on a
rename. mtools reads and writes an image without mounting it, so what is tested is that nothing on a stick is beyond
FAT32: names, sizes, and that the bytes alone are enough. What a kernel's driver does while it is cut off is not.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.cli import Cli
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


def make_image(path: Path, size: int) -> Path:
    with open(path, "wb") as file:
        file.truncate(size)
    assert MKFS is not None
    run(MKFS, "-F", "32", path)
    return path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return make_image(tmp_path / "stick.img", 64 * MIB)


def over_fat(image: Path, there: Path, back: Path) -> Path:
    """Copy a stick into an image, and out of it into another folder."""
    run("mcopy", "-s", "-i", image, there / "samara", "::")
    back.mkdir()
    run("mcopy", "-s", "-i", image, "::samara", back)
    return back


def offline() -> tuple[str, ...]:
    """What to put before a command so that it has no network at all, not even loopback, where the system lets us."""
    command = ("unshare", "--user", "--map-root-user", "--net")
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return ()
    return command


def test_a_release_goes_over_fat32_and_comes_back(tmp_path: Path, image: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_model(source, tmp_path / "model")
        export(source, made, tmp_path / "there")
        over_fat(image, tmp_path / "there", tmp_path / "back")
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
        over_fat(image, tmp_path / "there", tmp_path / "back")
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


@pytest.mark.model
@pytest.mark.slow
def test_a_real_model_runs_where_a_stick_brought_it(tmp_path: Path, smollm2: Path) -> None:
    """The same content id, verified, and it runs, on a machine that never had a network."""
    alice, bob = Cli(tmp_path / "alice"), Cli(tmp_path / "bob", before=offline())
    published = alice.json("publish", str(smollm2))
    (tmp_path / "there").mkdir()
    (written,) = alice.json("export", str(tmp_path / "there"), published["release"])["releases"]
    assert (written["release"], written["moved"]) == (published["release"], smollm2.stat().st_size)

    image = make_image(tmp_path / "stick.img", 192 * MIB)
    over_fat(image, tmp_path / "there", tmp_path / "back")
    shutil.rmtree(tmp_path / "there")

    (brought,) = bob.json("import", str(tmp_path / "back"))["releases"]
    shutil.rmtree(tmp_path / "back")
    image.unlink()
    assert brought["release"] == published["release"]
    assert filecmp.cmp(brought["path"], smollm2, shallow=False)
    verified = bob.json("verify", published["release"])
    assert (verified["ok"], verified["content"]) == (True, published["content"])
    options = ("--raw", "--temperature", "0", "--max-tokens", "4")
    said = bob.json("run", published["release"], "The capital of France is", *options)
    assert said["text"].startswith(" Paris")
    assert said["model"] == brought["path"]
