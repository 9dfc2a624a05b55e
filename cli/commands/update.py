"""update: the newest release of what is held, by difference."""

from __future__ import annotations

import click

from samara.cli.doors import call
from samara.cli.output import about, emit_json, human_bytes, json_option, say, show_events
from samara.cli.targets import absolute
from samara.node.operations.update import UPDATE, UPDATE_DRY_RUN, Updated, UpdateRequest, UpdateRow
from samara.protocol.errors import NotFoundError, class_named

__all__ = ["update_command"]


@click.command("update")
@click.argument("refs", metavar="[NAME|REF]...", nargs=-1)
@click.option("--to", metavar="DIR", default="", help="Put the one that is named into DIR instead of the home.")
@click.option("--peer", metavar="MULTIADDR", multiple=True, help="Ask this peer first: /ip4/…/tcp/…/p2p/…")
@click.option("--encode", type=click.Choice(["auto", "never"]), default="auto",
              help="Whether chunks may come encoded; never takes them as they are.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only say what is newer, and what it would cost.")
@click.option("--wait", "patience", default=30.0, metavar="SECONDS", show_default=True,
              help="Give one up when nobody knows it for so long.")  # fmt: skip
@json_option
def update_command(
    refs: tuple[str, ...],
    to: str,
    peer: tuple[str, ...],
    encode: str,
    dry_run: bool,
    patience: float,
    as_json: bool,
) -> None:
    """Fetch the newest release of what was fetched and is pinned, or of what is named.

    Only what differs from what is held comes over the line. The old one is kept until the new one is here and verified;
    then it is unpinned, and `samara gc` may take it. The new one goes into the home, wherever the old one lies.

    \b
    samara update
    samara update alice/tiny-chat --dry-run
    """  # noqa: D301 - click wants the character
    request = UpdateRequest(refs, absolute(to) if to else "", peer, patience, encode="" if encode == "auto" else encode)
    with show_events(quiet=as_json) as report:
        updated = call(UPDATE_DRY_RUN if dry_run else UPDATE, request, report)
    emit_json(updated) if as_json else _print(updated)
    if code := _exit_code(updated):
        raise SystemExit(code)


def _print(updated: Updated) -> None:
    if not updated.updates:
        say("Nothing that is held here is followed: fetch something first.")
    for row in updated.updates:
        _print_row(row)
    if any(row.state == "updated" for row in updated.updates):
        say("What was replaced is unpinned: samara gc deletes it from the home.")


def _print_row(row: UpdateRow) -> None:
    step = f"{row.name} {row.previous_version}"
    if row.state == "current":
        say(f"{step} is current")
    elif row.state == "updated":
        say(f"{step} → {row.version}, {human_bytes(row.bytes)}, every byte verified")
        say(f"  path      {row.path}")
        say(f"  moved     {human_bytes(row.moved)} for {human_bytes(row.received)}")
        say(f"  reused    {human_bytes(row.reused)} that were here already")
    elif row.state == "newer":
        line = f", {about(row.moved)} on the line" if row.moved < row.received else ""
        say(f"{step} → {row.version}: {human_bytes(row.received)} of {human_bytes(row.bytes)} would be fetched{line}")
    else:
        say(f"{step}: {row.state}: {row.message}")
        if row.hint:
            say(f"  {row.hint}")


def _exit_code(updated: Updated) -> int:
    """The code of the worst; that somebody could not be reached is the least."""
    codes = [class_named(row.error).exit_code for row in updated.updates if row.error]
    wrong = [code for code in codes if code != NotFoundError.exit_code]
    return max(wrong, default=max(codes, default=0))
