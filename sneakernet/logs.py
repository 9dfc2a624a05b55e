"""What publishers have said, beside their releases on a stick (specs/stick.md §3.5).

Export puts what the store knows together with what lies there already, so that an older home takes nothing off a newer
stick. Import hands on what is there, unverified: it is for the ledger, which an older stick takes nothing from either.

A file that is damaged loses what is damaged, and is written anew by the next export. It keeps no release from coming
in or going out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from samara.protocol import limits
from samara.protocol.errors import LinkError, RecordFileError, SamaraError, StickError, StoppedError
from samara.protocol.ids import PublisherId, format_record, parse_record
from samara.protocol.ports import LogPage
from samara.protocol.trust.passing import put_together
from samara.protocol.trust.recordfile import Item, RecordFileReader, RecordFileWriter
from samara.sneakernet.layout import LOGS, MARK, Part, is_mark
from samara.sneakernet.media import Stick
from samara.sneakernet.steps import Cancelled

__all__ = ["Damage", "export_logs", "read_logs"]

_PIECE: Final = limits.MIB
"""Bytes that are read at a time, between two looks whether to stop."""


@dataclass(frozen=True, slots=True)
class Damage:
    """What could not be read to its end; what came of it before stands.

    Attributes:
        publisher: Whose records.
        error: Why.
    """

    publisher: PublisherId
    error: SamaraError


def export_logs(
    folder: Path, logs: Iterable[tuple[PublisherId, LogPage]], *, cancelled: Cancelled | None = None
) -> int:
    """Write what is known of publishers beside their releases, which are there already. Blocks.

    Args:
        folder: The stick.
        logs: Of each publisher all that is passed on.
        cancelled: Says whether to stop.

    Returns:
        How many records lie there now, besides roots and proofs.

    Raises:
        DiskFullError: No room.
        StickError: Bytes do not come back as they were written, or something is in the way.
        StoreError: The stick failed.
        StoppedError: `cancelled` said so.

    Source: specs/stick.md §4.
    """
    stick = Stick(folder)
    count = 0
    for publisher, ours in logs:
        path = _path(publisher)
        theirs: list[Item] = []
        try:
            for item in _items(stick, path, publisher, cancelled):
                theirs.append(item)
        except StoppedError:
            raise
        except SamaraError:
            pass  # what is wrong there is written anew
        log = put_together(publisher, ours, theirs)
        writer = RecordFileWriter()
        data = writer.begin() + writer.publisher(publisher, log) + writer.end()
        if len(data) > limits.MAX_STICK_LOG:
            raise RecordFileError(f"the records of {format_record(publisher)} take more than a reader of sticks takes")
        _write(stick, path, data)
        count += len(log.revocations) + len(log.entries)
    return count


def read_logs(folder: Path, *, cancelled: Cancelled | None = None) -> Iterator[Item | Damage]:
    """Yield all records on a stick, publisher by publisher; nothing of them is verified. Blocks.

    Raises:
        StickError: There are more files than there may be, or no folder where one must be.
        StoreError: The stick was pulled out.
        StoppedError: `cancelled` said so.

    Source: specs/stick.md §5.
    """
    stick = Stick(folder, forgiving=True)
    mark = stick.read(MARK, most=limits.MAX_STICK_MARK) if folder.is_dir() else None
    if mark is None or not is_mark(mark):
        return
    for name in stick.names(LOGS, most=limits.MAX_STICK_RELEASES) or ():
        publisher = _named(name)
        if publisher is None:
            continue
        try:
            yield from _items(stick, _path(publisher), publisher, cancelled)
        except StoppedError:
            raise
        except SamaraError as error:
            yield Damage(publisher, error)


def _path(publisher: PublisherId) -> str:
    return f"{LOGS}/{format_record(publisher)}"


def _named(name: str) -> PublisherId | None:
    """The publisher whose records a file holds; None for a file that is none of these."""
    try:
        return PublisherId(parse_record(name.lower()))  # FAT keeps short names in one case
    except LinkError:
        return None


def _items(stick: Stick, path: str, publisher: PublisherId, cancelled: Cancelled | None) -> Iterator[Item]:
    size = stick.size(path)
    if size is None:
        return
    if size > limits.MAX_STICK_LOG:
        raise StickError(f"{stick.where(path)} has {size} bytes: at most {limits.MAX_STICK_LOG} are possible")
    reader = RecordFileReader()
    with stick.open([Part(path, size)]) as file:
        for at in range(0, size, _PIECE):
            if cancelled is not None and cancelled():
                raise StoppedError("reading records was stopped", hint="The same command goes on where it was.")
            data = file.read(at, min(_PIECE, size - at))
            yield from _of_whom(reader.receive(data), publisher)
    reader.finish()


def _of_whom(items: Iterable[Item], publisher: PublisherId) -> Iterator[Item]:
    for item in items:
        if item.publisher != publisher:
            raise RecordFileError("a file with the records of another publisher than its name says")
        yield item


def _write(stick: Stick, path: str, data: bytes) -> None:
    """Write a file unless it is there as it should be, and read it back."""
    with stick.open([Part(path, len(data))]) as file:
        if file.unfit() is None and file.read(0, len(data)) == data:
            return
        file.write(data, 0)
        file.fit()
    stick.sync([path])
    with stick.open([Part(path, len(data))]) as file:
        if file.unfit() is not None or file.read(0, len(data)) != data:
            raise StickError(
                f"{stick.where(path)}: what comes back is not what was written",
                hint="This stick is failing, or smaller than it says. Do not trust it: use another.",
            )
