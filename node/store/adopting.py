"""What lies already where a content is to go: files that are right are taken, those of ours that rotted are mended.

Invariant: what a person changed in a folder of his own is never touched.

Source: specs/store.md, "Order of writes".
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import final

from samara.node.store.bits import row, set_run
from samara.node.store.contents import Contents, HeldFile, Place
from samara.node.store.files import ensure_folder, open_for_reading, os_errors, read_at, remove_file
from samara.node.store.reader import progress_path
from samara.node.store.scan import scan_file
from samara.node.store.stamps import Likeness, stamp
from samara.protocol.errors import StoppedError, StoreError
from samara.protocol.paths import WORK_FOLDER
from samara.protocol.table import FileEntry

__all__ = ["Adopter"]


@final
class Adopter:
    """Looks at what lies in one place.

    Args:
        contents: The index's contents.
        place: The place.
        cancelled: Is asked now and then while files are hashed.
    """

    def __init__(self, contents: Contents, place: Place, cancelled: Callable[[], bool] | None) -> None:
        self._contents = contents
        self._place = place
        self._cancelled = cancelled
        self._bare: dict[str, bool] = {}

    def is_free(self, path: str) -> bool:
        """Say whether nothing lies at a path; where nothing lies in its folder, it is not looked for."""
        parent = path.rpartition("/")[0]
        if (bare := self._bare.get(parent)) is None:
            bare = self._bare[parent] = self._is_bare(parent)
        return bare or not os.path.lexists(self._place.root.joinpath(*path.split("/")))

    def _is_bare(self, folder: str) -> bool:
        """Say whether a folder has nothing but files in progress, or cannot be looked into."""
        try:
            with os.scandir(self._place.root.joinpath(*folder.split("/"))) as entries:
                return all(entry.name == WORK_FOLDER for entry in entries)
        except OSError:
            return True

    def adopt(self, stream: int, entry: FileEntry, known: HeldFile | None) -> bytearray | None:
        """Take the file that lies at a stream's path.

        Args:
            stream: Its number.
            entry: What it must be.
            known: How it is recorded, when it is as a complete one.

        Returns:
            None when it is right and recorded as complete; else one bit for each of its chunks, set when that is right:
            it is one in progress again.

        Raises:
            StoreError: It is a different file, and not ours.
            StoppedError: `cancelled` said so.
        """
        target = self._place.root.joinpath(*entry.path.split("/"))
        different = StoreError(
            f"{target} exists and is a different file", hint="Move it away, or choose another folder with --to."
        )
        if target.is_symlink() or not target.is_file():
            raise different
        progress = progress_path(self._place, stream)
        with os_errors(f"cannot read {target}"), open(target, "rb", buffering=0) as file:
            if progress.exists() and progress.samefile(target):  # a process died in the middle of its rename
                remove_file(progress)  # before its stamp is taken: a link that goes changes the ctime
            untouched = known is not None and known.stamp.compare(os.fstat(file.fileno())) is Likeness.SAME
            now = stamp(file.fileno())
            scanned = None
            if now.size == entry.size:
                scanned = scan_file(file.fileno(), entry.size, cancelled=self._cancelled)
        if scanned is None or scanned.blake3 != entry.blake3:
            # What a person changed in a folder of his own is his; what only rotted, or lies in the home, is ours.
            if known is None or not (self._place.kind == "home" or (self._place.kind == "to" and untouched)):
                raise different
            return self._take_back(stream, target)
        if scanned.nodes and scanned.root == entry.root:
            self._contents.add_nodes(self._place.content, stream, scanned.nodes)
        self._contents.set_complete(self._place, {stream: now}, checked=True)
        self._contents.index_chunks(self._place.content, [stream])
        remove_file(progress)
        return None

    def _take_back(self, stream: int, target: Path) -> bytearray:
        """Make a complete file one in progress again, and return what is right of it."""
        path = progress_path(self._place, stream)
        with os_errors(f"cannot mend {target}"):
            ensure_folder(self._place.root, [WORK_FOLDER])
            os.replace(target, path)
            bits = self._right_chunks(path, stream)
        self._contents.set_partial(self._place, {stream: bytes(bits)})
        return bits

    def _right_chunks(self, path: Path, stream: int) -> bytearray:
        chunks = self._contents.chunk_list(self._place.content, stream)
        if chunks is None:
            return bytearray()
        bits = row(len(chunks))
        fd = open_for_reading(path)
        try:
            for index in range(len(chunks)):
                if self._cancelled is not None and self._cancelled():
                    raise StoppedError("looking for what is right of a file was stopped")
                data = memoryview(bytearray(chunks.length(index)))
                if read_at(fd, data, chunks.offset(index)) == len(data) and chunks.count_right(data, index, 1):
                    set_run(bits, index)
        finally:
            os.close(fd)
        return bits
