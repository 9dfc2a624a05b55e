"""records: what publishers have said, as a file, or by asking."""

from __future__ import annotations

import click

from samara.cli.doors import call
from samara.cli.output import emit_json, human_bytes, json_option, say, show_events
from samara.cli.targets import absolute
from samara.node.operations.records import (
    RECORDS_EXPORT,
    RECORDS_IMPORT,
    RECORDS_SYNC,
    ImportedRecords,
    RecordsExportRequest,
    RecordsImportRequest,
    RecordsSyncRequest,
    SyncedRecords,
)
from samara.protocol.errors import RecordError, class_named

__all__ = ["records_command"]


@click.group("records")
def records_command() -> None:
    """Carry what publishers have said: new keys, newest releases, what was taken back.

    It is small, and every record is verified wherever it comes in.
    """


@records_command.command("export")
@click.argument("file", metavar="FILE")
@click.argument("of", metavar="[PUBLISHER|REF]...", nargs=-1)
@json_option
def export_records_command(file: str, of: tuple[str, ...], as_json: bool) -> None:
    """Write what is known of publishers into FILE, for those whom no network reaches.

    Without a name: of all who have a name here, are followed, are listed by those, or of whom a public release is held.

    \b
    samara records export news.samara
    samara records export news.samara alice
    """  # noqa: D301 - click wants the character
    with show_events(quiet=as_json) as report:
        done = call(RECORDS_EXPORT, RecordsExportRequest(absolute(file), of), report)
    if as_json:
        emit_json(done)
        return
    records = f"{done.records} record{'s' * (done.records != 1)}"
    publishers = f"{len(done.publishers)} publisher{'s' * (len(done.publishers) != 1)}"
    say(f"{done.path}, {human_bytes(done.bytes)}: {records} of {publishers}")
    for publisher in done.publishers:
        say(f"  {publisher}")


@records_command.command("import")
@click.argument("file", metavar="FILE")
@json_option
def import_records_command(file: str, as_json: bool) -> None:
    """Take all records of FILE, verifying each. An old file takes nothing back.

    What is wrong or cut off does not keep the rest from coming in.

    \b
    samara records import news.samara
    """  # noqa: D301 - click wants the character
    with show_events(quiet=as_json) as report:
        done = call(RECORDS_IMPORT, RecordsImportRequest(absolute(file)), report)
    emit_json(done) if as_json else _say_imported(done)
    if code := _exit_code(done):
        raise SystemExit(code)


@records_command.command("sync")
@click.argument("of", metavar="[PUBLISHER|REF]...", nargs=-1)
@click.option("--peer", "peers", metavar="MULTIADDR", multiple=True, help="Ask this peer, and no others.")
@json_option
def sync_records_command(of: tuple[str, ...], peers: tuple[str, ...], as_json: bool) -> None:
    """Ask peers what publishers have said since. A running node does so every hour, and with every fetch.

    \b
    samara records sync
    samara records sync alice --peer /ip4/192.168.1.7/tcp/4001/p2p/12D3…
    """  # noqa: D301 - click wants the character
    with show_events(quiet=as_json) as report:
        done = call(RECORDS_SYNC, RecordsSyncRequest(of, peers), report)
    emit_json(done) if as_json else _say_synced(done)
    if not done.asked:
        raise SystemExit(1)


def _say_imported(done: ImportedRecords) -> None:
    for row in done.publishers:
        say(f"{row.publisher}: {_news(row.records, row.roots, row.forks)}, {row.known} known")
        _say_refused(row.refused)
    for skip in done.skipped:
        say(f"SKIPPED {skip.publisher or 'the rest of the file'}: {skip.message}")
        if skip.hint:
            say(f"  {skip.hint}")


def _say_synced(done: SyncedRecords) -> None:
    plural = "peer" if done.asked == 1 else "peers"
    say(f"{done.asked} {plural} asked: {_news(done.records, done.roots, done.forks)} ({human_bytes(done.bytes)})")
    _say_refused(done.refused)
    for failed in done.failed:
        say(f"  {failed.peer}: {failed.message}")


def _news(records: int, roots: int, forks: int) -> str:
    found = f"{records} new record{'s' * (records != 1)}"
    if roots:
        found += f", {roots} new root{'s' * (roots != 1)}"
    if forks:
        found += f", {forks} proof{'s' * (forks != 1)} that two logs were signed"
    return found


def _say_refused(refused: dict[str, int]) -> None:
    for error, count in sorted(refused.items()):
        say(f"  {count} refused: {error}")


def _exit_code(done: ImportedRecords) -> int:
    """The code of the worst: what was skipped, and records that are wrong by themselves."""
    named = [class_named(skip.error) for skip in done.skipped]
    wrong = [kind for row in done.publishers for kind in map(class_named, row.refused) if issubclass(kind, RecordError)]
    return max((kind.exit_code for kind in (*named, *wrong)), default=0)
