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

from samara.node.store.contents import HeldFile, Place
from samara.node.store.files import open_for_reading
from samara.node.store.scan import scan_file
from samara.node.store.stamps import Likeness, stamp
from samara.node.store.store import Store
from samara.node.threads import is_cancelled
from samara.protocol.errors import StoppedError, StoreError

__all__ = ["check_digests", "check_file"]

_log = logging.getLogger(__name__)

_PAUSE: Final = 5.0
"""Seconds between two looks for new files."""


async def check_digests(store: Store) -> None:
    """Check each file once, for ever."""
    tried: set[HeldFile] = set()  # what could not be read, or is wrong: not again until it has changed
    while True:
        for place, stream in await trio.to_thread.run_sync(store.contents.unchecked):
            held = store.contents.file(place, stream)
            if held is None or held in tried:
                continue
            tried.add(held)
            if await trio.to_thread.run_sync(check_file, store, place, stream):
                tried.discard(held)
        await trio.sleep(_PAUSE)


def check_file(store: Store, place: Place, stream: int) -> bool:
    """Hash one complete file and compare it with its table; return whether both digests are right.

    In a thread of trio's it ends when its caller is cancelled.
    """
    held = store.contents.file(place, stream)
    if held is None or held.state != "complete" or place.state != "online" or not store.contents.has(place.content):
        return False
    entry = store.contents.table(place.content)[stream - 1]
    try:
        fd = open_for_reading(store.reader.path(held))
    except OSError:
        return False  # gone: the reader and the watcher of places deal with it
    try:
        if held.stamp.compare(os.fstat(fd)) is Likeness.CHANGED:
            return False  # edited: whoever did it says nothing about the publisher
        now = stamp(fd)
        scanned = scan_file(fd, entry.size, cancelled=is_cancelled)
    except StoppedError:
        raise
    except (OSError, StoreError) as error:
        _log.warning("%s could not be checked: %s", store.reader.path(held), error)
        return False
    finally:
        os.close(fd)
    if (scanned.blake3, scanned.sha256) == (entry.blake3, entry.sha256):
        store.contents.confirm([(held, now)])
        return True
    # It must be this very file that has the right chunks: another place may hold a good one.
    if not store.reader.is_right(held):
        return False  # the disk, not the publisher: the reader has noted it
    _log.error("%s: its digests are not what the table states", entry.path)
    store.catalog.condemn(place.content, f"the table states wrong digests for {entry.path}")
    return False
