"""Publishing: a folder or a file becomes a content, where it lies.

Links are followed when their target lies inside the folder, or in the `blobs/` beside `snapshots/<hex>` of a Hugging
Face cache; others are refused, as are loops. What was hashed before and has not changed since is not hashed again.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from samara.node.store.contents import Contents
from samara.node.store.files import os_errors
from samara.node.store.scan import scan_file
from samara.node.store.stamps import Likeness, Stamp, stamp
from samara.protocol import limits
from samara.protocol.chunking.profile import Kind
from samara.protocol.errors import NotFoundError, PathError, UsageError
from samara.protocol.ids import ContentId
from samara.protocol.paths import check_path, check_set
from samara.protocol.table import FileEntry, FileTable, list_table

__all__ = ["Published", "SourceFile", "find_files", "publish_files"]

_LEFT_OUT: Final = frozenset({".git", ".DS_Store", "Thumbs.db", ".samara", ".cache/huggingface"})
_SNAPSHOT: Final = re.compile(r"[0-9a-f]{7,64}")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to publish.

    Attributes:
        path: Its path in the table.
        real: Where its bytes lie, links resolved.
        size: Bytes.
    """

    path: str
    real: Path
    size: int


@dataclass(frozen=True, slots=True)
class Published:
    """A content that lies where it was published.

    Attributes:
        content: Its id.
        table: Its file table.
        encoded: The table's bytes.
        chunks: How many chunks its files have.
        generic: Paths of model files whose header breaks the chunking rule, so that they are cut like any file.
        reused: Bytes that were hashed before.
    """

    content: ContentId
    table: FileTable
    encoded: bytes
    chunks: int
    generic: tuple[str, ...]
    reused: int


def find_files(path: Path) -> tuple[Path, list[SourceFile]]:
    """Return the folder that a publication's paths are relative to, and its files in table order.

    Raises:
        NotFoundError: There is nothing at `path`.
        UsageError: There is no file in it, or it is neither a file nor a folder.
        PathError: A name is unsafe on some system, or a link leads outside.
    """
    with os_errors(f"cannot read {path}"):
        there = path.exists()
    if not there:
        raise NotFoundError(f"there is no file or folder {path}", hint="Check the path.")
    if path.is_file():
        root, found = path.absolute().parent, [path.absolute()]
    elif path.is_dir():
        root = path.absolute()
        with os_errors(f"cannot list {path}"):
            # No more than are allowed: links to folders beside each other can make a handful of files a million.
            walk = _walk(root, _allowed_roots(root), [root.resolve()])
            found = sorted(itertools.islice(walk, limits.MAX_FILES + 1))
    else:
        raise UsageError(f"{path} is neither a file nor a folder", hint="Publish a file or a folder.")
    if not found:
        raise UsageError(f"there is no file in {path}", hint="An empty folder cannot be published.")
    if len(found) > limits.MAX_FILES:
        raise UsageError(f"{path} has more than {limits.MAX_FILES:,} files: they do not make one content")
    with os_errors(f"cannot read {path}"):
        files = [SourceFile(_table_path(root, f), real := f.resolve(strict=True), real.stat().st_size) for f in found]
    files.sort(key=lambda file: file.path.encode())
    check_set([file.path for file in files])
    return root, files


def publish_files(
    contents: Contents,
    root: Path,
    files: list[SourceFile],
    *,
    on_progress: Callable[[int, str], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Published:
    """Hash files and record them as a content in place.

    Args:
        contents: The index's contents.
        root: What the paths are relative to.
        files: In table order.
        on_progress: Is told bytes done so far, and the file in hand.
        cancelled: Is asked now and then.

    Raises:
        StoreError: A file cannot be read, or changed while it was read.
    """
    known = _known(contents, root)
    entries: list[FileEntry] = []
    lists: list[list[bytes]] = []
    stamps: list[Stamp] = []
    generic: list[str] = []
    chunks = reused = 0
    total = _Total(on_progress)
    for file in files:
        with os_errors(f"cannot read {file.real}"), open(file.real, "rb", buffering=0) as opened:
            now = stamp(opened.fileno())
            before = known.get(file.path)
            if before is not None and before[1].compare(os.fstat(opened.fileno())) is Likeness.SAME:
                entry, nodes, count = before[0], before[2], before[3]
                reused += entry.size
                total.add(file.path, entry.size)
            else:
                scanned = scan_file(
                    opened.fileno(),
                    now.size,
                    on_progress=functools.partial(total.add, file.path),
                    cancelled=cancelled,
                )
                entry = FileEntry(file.path, scanned.size, scanned.blake3, scanned.sha256, scanned.root)
                nodes, count = list(scanned.nodes), len(scanned.chunks)
                if scanned.kind is Kind.GENERIC and file.path.endswith((".gguf", ".safetensors")):
                    generic.append(file.path)
        entries.append(entry)
        lists.append(nodes)
        stamps.append(now)
        chunks += count
    table = FileTable.of(entries)
    encoded = table.encode()
    table_list = list_table(encoded)
    content = ContentId(table_list.root)
    contents.add(content, table, table_list.nodes)
    contents.add_lists(content, {stream: nodes for stream, nodes in enumerate(lists, 1) if nodes})
    contents.index_chunks(content, range(1, len(entries) + 1))
    place = contents.add_place(content, "inplace", root)
    contents.set_complete(place, dict(enumerate(stamps, 1)), checked=True)
    return Published(content, table, encoded, chunks, tuple(generic), reused)


class _Total:
    """Adds up the bytes of several files."""

    def __init__(self, on_progress: Callable[[int, str], None] | None) -> None:
        self._on_progress = on_progress
        self._done = 0

    def add(self, path: str, count: int) -> None:
        self._done += count
        if self._on_progress is not None:
            self._on_progress(self._done, path)


def _known(contents: Contents, root: Path) -> dict[str, tuple[FileEntry, Stamp, list[bytes], int]]:
    """What was hashed in this folder before: by path, the entry, the stamp it had, its list."""
    known: dict[str, tuple[FileEntry, Stamp, list[bytes], int]] = {}
    for place in contents.places():
        if place.root != root:
            continue
        table = contents.table(place.content)
        for stream, held in contents.files(place).items():
            chunks = contents.chunk_list(place.content, stream)
            if held.state == "complete" and held.checked and chunks is not None:
                entry = table[stream - 1]
                known[entry.path] = (entry, held.stamp, contents.nodes(place.content, stream), len(chunks))
    return known


def _table_path(root: Path, file: Path) -> str:
    path = unicodedata.normalize("NFC", file.relative_to(root).as_posix())  # macOS writes names decomposed
    try:
        check_path(path)
    except PathError as error:
        raise PathError(f"{file}: {error.message}", hint=error.hint or "Rename it and publish again.") from error
    return path


def _walk(folder: Path, allowed: list[Path], above: list[Path]) -> Iterator[Path]:
    for item in sorted(folder.iterdir()):
        if item.name in _LEFT_OUT or f"{folder.name}/{item.name}" in _LEFT_OUT:
            continue
        if item.is_symlink():
            _check_link(item, allowed)
        if item.is_dir():
            real = item.resolve()
            if real in above:
                raise PathError(f"{item} is a link to a folder that holds it", hint="Remove the link.")
            yield from _walk(item, allowed, [*above, real])
        elif item.is_file():
            yield item
        else:
            raise PathError(f"{item} is neither a file nor a folder", hint="Move it out of the folder.")


def _allowed_roots(root: Path) -> list[Path]:
    roots = [root.resolve()]
    if root.parent.name == "snapshots" and _SNAPSHOT.fullmatch(root.name):
        roots.append((root.parent.parent / "blobs").resolve())
    return roots


def _check_link(link: Path, allowed: list[Path]) -> None:
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise PathError(f"{link} is a link to nowhere or to itself", hint="Remove the link.") from error
    if not any(target.is_relative_to(root) for root in allowed):
        raise PathError(f"{link} leads outside, to {target}", hint="Copy the file into the folder, or remove the link.")
