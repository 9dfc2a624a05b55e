"""Files of one chunk on their way into a place: each is written whole, and many are synced and moved together.

A directory of 100,000 small files costs what its files cost the system, and little more: no file is opened twice, none
has blocks promised, one sync of the filesystem serves all where the system has that, and each folder is synced once.

Invariants: nothing is moved that was not synced; nothing is written through a link, or over a file at its path.

Source: specs/store.md, "Order of writes".
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import final

from samara.node.store.contents import Place
from samara.node.store.files import (
    create_for_writing,
    ensure_folder,
    move_into_place,
    sync_closed,
    sync_folder,
    write_at,
)
from samara.node.store.reader import progress_path
from samara.node.store.stamps import Stamp, StampTaker
from samara.protocol.paths import WORK_FOLDER
from samara.protocol.table import FileEntry

__all__ = ["SmallFiles"]


@final
class SmallFiles:
    """The small files of one place."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._stamps = StampTaker()

    def write(self, stream: int, data: memoryview) -> None:
        """Write all of a file; it is not opened again.

        Raises:
            StoreError: A link or something else than a file is in the way.
            OSError: As the system says.
        """
        path = progress_path(self._place, stream)
        try:
            fd = create_for_writing(path)
        except FileNotFoundError:  # somebody tidied up
            ensure_folder(self._place.root, [WORK_FOLDER])
            fd = create_for_writing(path)
        try:
            write_at(fd, data, 0)
        finally:
            os.close(fd)

    def sync(self, streams: Sequence[int]) -> None:
        """Bring what was written of files to the disk.

        Raises:
            OSError: As the system says; nothing of them may be believed then.
        """
        if streams:
            sync_closed(self._place.root, [progress_path(self._place, stream) for stream in streams])

    def finish(self, files: Iterable[tuple[int, FileEntry]]) -> dict[int, Stamp]:
        """Move synced files to their paths, sync the folders, and return their stamps by stream.

        Raises:
            StoreError: Something is in the way.
            OSError: As the system says.
        """
        stamps: dict[int, Stamp] = {}
        made: dict[str, Path] = {}
        for stream, entry in files:
            parent, _, name = entry.path.rpartition("/")
            if (folder := made.get(parent)) is None:
                folder = made[parent] = ensure_folder(self._place.root, parent.split("/") if parent else ())
            target = f"{folder}{os.sep}{name}"
            move_into_place(progress_path(self._place, stream), target)
            stamps[stream] = self._stamps.take(target)
        for synced in {above for path, folder in made.items() for above in _up_to_root(folder, path)}:
            sync_folder(synced)
        return stamps


def _up_to_root(folder: Path, path: str) -> list[Path]:
    """The folder and those above it, as far as the root of the place, `path` being its path from there."""
    depth = path.count("/") + 1 if path else 0
    return [folder, *folder.parents[:depth]]
