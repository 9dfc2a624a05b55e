"""Checks the whole-file digests of what was fetched, slowly and in the background.

Chunk verification proves that a file is what its chunk list says; it does not prove that the SHA-256 and BLAKE3 in
the table are those of the file. A mismatch means that the publisher signed a lie: the release is condemned
(specs/content.md).
"""

from __future__ import annotations

import logging
import os
from typing import Final

import trio

from samara.node.store.contents import Place
from samara.node.store.scan import scan_file
from samara.node.store.store import Store
from samara.protocol.errors import StoreError

__all__ = ["check_digests", "check_file"]

_log = logging.getLogger(__name__)

_PAUSE: Final = 5.0
"""Seconds between two looks for new files."""


async def check_digests(store: Store) -> None:
    """Check each file once, for ever."""
    while True:
        for place, stream in await trio.to_thread.run_sync(lambda: list(store.contents.unchecked())):
            await trio.to_thread.run_sync(check_file, store, place, stream, abandon_on_cancel=True)
        await trio.sleep(_PAUSE)


def check_file(store: Store, place: Place, stream: int) -> bool:
    """Hash one complete file and compare it with its table; return whether both digests are right."""
    held = store.contents.file(place, stream)
    if held is None or held.state != "complete" or place.state != "online":
        return False
    entry = store.contents.table(place.content)[stream - 1]
    try:
        fd = os.open(store.reader.path(held), os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except OSError:
        return False  # gone: the reader and the watcher of places deal with it
    try:
        scanned = scan_file(fd, entry.size)
    except StoreError:
        return False
    finally:
        os.close(fd)
    if (scanned.blake3, scanned.sha256) == (entry.blake3, entry.sha256):
        store.contents.set_checked(place, stream)
        return True
    if not _chunks_are_right(store, place, stream):
        return False  # the disk, not the publisher: the reader has noted it
    _log.error("%s: its digests are not what the table states", entry.path)
    store.catalog.condemn(place.content, f"the table states wrong digests for {entry.path}")
    return False


def _chunks_are_right(store: Store, place: Place, stream: int) -> bool:
    chunks = store.contents.chunk_list(place.content, stream)
    at = 0
    while chunks is not None and at < len(chunks):
        found = store.reader.read(place.content, stream, at, len(chunks) - at)
        if not found:
            return False
        at += len(found)
    return chunks is not None
