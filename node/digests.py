"""Checks the whole-file digests of what was fetched, slowly and in the background.

Chunk verification proves that a file is what its chunk list says; it does not prove that the SHA-256 and BLAKE3 in
the table are those of the file. A mismatch means that the publisher signed a lie: the release is condemned
(specs/content.md).
"""

from __future__ import annotations

import logging
import os
from collections import deque
from typing import Final

import trio

from samara.node.store.contents import HeldFile, Place
from samara.node.store.files import open_for_reading
from samara.node.store.scan import scan_file
from samara.node.store.stamps import Likeness, Stamp, stamp
from samara.node.store.store import Store
from samara.node.threads import is_cancelled
from samara.protocol.errors import StoppedError, StoreError
from samara.protocol.limits import MIB

__all__ = ["check_digests", "check_files"]

_log = logging.getLogger(__name__)

_PAUSE: Final = 5.0
"""Seconds between two looks for new files."""

_FILES_AT_ONCE: Final = 1000
_BYTES_AT_ONCE: Final = 256 * MIB
"""Of the files that are recorded in one transaction: each is a sync, and what is not recorded is hashed again."""


async def check_digests(store: Store) -> None:
    """Check each file once, for ever."""
    tried: set[HeldFile] = set()  # what could not be read, or is wrong: not again until it has changed
    while True:
        waiting = deque(await trio.to_thread.run_sync(store.contents.unchecked))
        while waiting:
            await trio.to_thread.run_sync(check_files, store, waiting, tried)
        await trio.sleep(_PAUSE)


def check_files(store: Store, waiting: deque[tuple[Place, int]], tried: set[HeldFile]) -> None:
    """Hash some complete files, compare them with their tables, and record those that are right.

    In a thread of trio's it ends when its caller is cancelled; what was found right is recorded then, too.

    Args:
        store: Where they are.
        waiting: Files to check, by place and stream; those that were looked at are taken out.
        tried: What was found wrong or unreadable before, and is not looked at again; is added to.
    """
    right: list[tuple[HeldFile, Stamp]] = []
    hashed = 0
    try:
        while waiting and len(right) < _FILES_AT_ONCE and hashed < _BYTES_AT_ONCE:
            is_cancelled()
            place, stream = waiting.popleft()
            held = store.contents.file(place, stream)
            if held is None or held in tried:
                continue
            found = _check_file(store, held)
            hashed += held.stamp.size
            if found is None:
                tried.add(held)
            else:
                right.append((held, found))
    finally:
        if right:
            store.contents.confirm(right)


def _check_file(store: Store, held: HeldFile) -> Stamp | None:
    """Hash one file; return what it looks like when both digests are right."""
    place, stream = held.place, held.stream
    if held.state != "complete" or place.state != "online" or not store.contents.has(place.content):
        return None
    entry = store.contents.table(place.content)[stream - 1]
    try:
        fd = open_for_reading(store.reader.path(held))
    except OSError:
        return None  # gone: the reader and the watcher of places deal with it
    try:
        if held.stamp.compare(os.fstat(fd)) is Likeness.CHANGED:
            return None  # edited: whoever did it says nothing about the publisher
        now = stamp(fd)
        scanned = scan_file(fd, entry.size, cancelled=is_cancelled)
    except StoppedError:
        raise
    except (OSError, StoreError) as error:
        _log.warning("%s could not be checked: %s", store.reader.path(held), error)
        return None
    finally:
        os.close(fd)
    if (scanned.blake3, scanned.sha256) == (entry.blake3, entry.sha256):
        return now
    # It must be this very file that has the right chunks: another place may hold a good one.
    if not store.reader.is_right(held):
        return None  # the disk, not the publisher: the reader has noted it
    _log.error("%s: its digests are not what the table states", entry.path)
    store.catalog.condemn(place.content, f"the table states wrong digests for {entry.path}")
    return None
