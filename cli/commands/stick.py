"""export and import: releases on removable media."""

from __future__ import annotations

import click

from samara.cli.doors import call
from samara.cli.output import emit_json, human_bytes, json_option, say, show_events
from samara.cli.stick import EXPORT, IMPORT, Carried, ExportRequest, ImportRequest
from samara.cli.targets import absolute, insist_option
from samara.protocol.errors import NotFoundError, class_named

__all__ = ["export_command", "import_command"]


@click.command("export")
@click.argument("folder", metavar="DIR")
@click.argument("refs", metavar="REF...", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="You have the right to hand it on, although its publisher did not say so.")
@insist_option
@json_option
def export_command(folder: str, refs: tuple[str, ...], yes: bool, insist: tuple[str, ...], as_json: bool) -> None:
    """Write releases to DIR, as on a USB stick: plain files, and all that is needed to verify them.

    It goes into a folder "samara" below DIR. Files over 4 GB are written in parts, so that FAT32 can hold them. All is
    read back before it counts. Stopped, it goes on where it was with the same command.

    \b
    samara export /media/usb alice/tiny-chat
    samara export E:/ alice/tiny-chat@2 me/notes
    """  # noqa: D301 - click wants the character
    with show_events(quiet=as_json) as report:
        carried = call(EXPORT, ExportRequest(absolute(folder), refs, yes, insist), report)
    _finish(carried, as_json, "written and read back", "written now", "on it now")


@click.command("import")
@click.argument("folder", metavar="DIR")
@click.option("--to", metavar="DIR", default="", help="Put each release into a folder of its own below this one.")
@insist_option
@json_option
def import_command(folder: str, to: str, insist: tuple[str, ...], as_json: bool) -> None:
    """Take all releases from DIR, as from a USB stick, verifying every byte.

    What is wrong or cut off is named, and does not keep the rest from coming in. Stopped, it goes on where it was with
    the same command. What came in is kept and, if its publisher allows it, passed on.

    \b
    samara import /media/usb
    samara import E:/ --to ./models
    """  # noqa: D301 - click wants the character
    with show_events(quiet=as_json) as report:
        carried = call(IMPORT, ImportRequest(absolute(folder), absolute(to) if to else "", insist), report)
    _finish(carried, as_json, "every byte verified", "read from there", "new here")


def _finish(carried: Carried, as_json: bool, done: str, moved: str, recorded: str) -> None:
    if as_json:
        emit_json(carried)
    else:
        _print(carried, done, moved, recorded)
    if code := _exit_code(carried):
        raise SystemExit(code)


def _print(carried: Carried, done: str, moved: str, recorded: str) -> None:
    for row in carried.releases:
        say(f"{row.name} {row.version}, {human_bytes(row.bytes)}, {done}")
        say(f"  path     {row.path}")
        say(f"  by       {row.publisher}" + ("" if row.trusted else "  (somebody you have no name for)"))
        if row.verdict != "GOOD":
            say(f"  {row.verdict}: samara verify says why")
        if row.moved < row.bytes:
            say(f"  {human_bytes(row.moved)} {moved}; the rest was there already")
    if carried.records:
        say(f"{carried.records} records of what the publishers have said, {recorded}")
    for skip in carried.skipped:
        say(f"SKIPPED {skip.name}: {skip.message}")
        if skip.hint:
            say(f"  {skip.hint}")


def _exit_code(carried: Carried) -> int:
    """The code of the worst that was skipped; a cut-off export on a stick is no failure when something else came in."""
    codes = [class_named(skip.error).exit_code for skip in carried.skipped]
    wrong = [code for code in codes if code != NotFoundError.exit_code]
    return max(wrong, default=0 if carried.releases else max(codes, default=0))
