"""Sticks in temporary folders, and what may happen to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from support.contents import CrashableStore, Source, make_source

from samara.node.store.store import Store
from samara.protocol.limits import KIB, MIB, MIN_STICK_PART
from samara.sneakernet.exporting import Exported, export_release
from samara.sneakernet.importing import Entry, Imported, import_release, list_releases
from samara.sneakernet.steps import Step

__all__ = [
    "SIZES",
    "PullError",
    "all_files",
    "export",
    "flip",
    "import_only",
    "make_model",
    "only_entry",
    "pull_after",
    "same_files",
]

SIZES = {
    "big.bin": 2 * MIB + 12_345,
    "empty": 0,
    "naïve/résumé (日本).txt": 3000,
    "one-chunk.json": 10_000,
    "sub/deeper/w.bin": 700 * KIB,
}
"""A content with every kind of file: split, several chunks, one chunk, empty, nested, with a name in Unicode."""


class PullError(Exception):
    """The stick was pulled out, or the program was killed, in the middle of the work."""


def make_model(store: Store, root: Path) -> Source:
    """Publish a content with every kind of file."""
    return make_source(store, root, SIZES)


def export(store: Store, made: Source, stick: Path, **options: object) -> Exported:
    """Export with parts so small that the large file is split."""
    stick.mkdir(exist_ok=True)
    return export_release(store, made.release, stick, **{"part_size": MIN_STICK_PART, **options})  # type: ignore[arg-type]


def only_entry(stick: Path) -> Entry:
    """The one release on a stick."""
    listing = list_releases(stick)
    assert not listing.skipped
    (entry,) = listing.entries
    return entry


def import_only(store: CrashableStore, stick: Path, **options: object) -> Imported:
    """Import the one release on a stick."""
    return import_release(store, stick, only_entry(stick), **options)  # type: ignore[arg-type]


def pull_after(steps: int) -> Callable[[Step], None]:
    """Return a watcher that raises `PullError` at the step of that number, counted from 0."""
    left = iter(range(steps))

    def watch(step: Step) -> None:
        if next(left, None) is None:
            raise PullError

    return watch


def flip(path: Path, offset: int) -> None:
    """Flip one bit of a file."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x10
    path.write_bytes(data)


def all_files(folder: Path) -> dict[str, bytes]:
    """The bytes of all files below a folder, by relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in _files(folder)}


def same_files(made: Source, folder: Path) -> bool:
    """Whether a folder holds exactly the published files; a content of one file is given by that file's path."""
    if len(made.files) == 1:
        folder = folder.parents[made.files[0].count("/")]
    return all_files(folder) == {name: (made.root / name).read_bytes() for name in made.files}


def _files(folder: Path) -> Iterator[Path]:
    yield from (path for path in sorted(folder.rglob("*")) if path.is_file())
