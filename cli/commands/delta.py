"""delta: what one release needs beyond another, as a release of its own."""

from __future__ import annotations

import click

from samara.cli.doors import call
from samara.cli.output import emit_json, human_bytes, json_option, say, show_events
from samara.cli.targets import absolute
from samara.node.operations.delta import DELTA, DeltaRequest

__all__ = ["delta_command"]


@click.command("delta")
@click.argument("new")
@click.option("--base", metavar="REF", required=True, help="The release that whoever takes it holds.")
@click.option("--to", metavar="PATH", default=".", show_default=True, help="The file to write, or its folder.")
@click.option("--name", default="", help="Name of the delta's release; default: of both names.")
@json_option
def delta_command(new: str, base: str, to: str, name: str, as_json: bool) -> None:
    """Make what the release NEW needs beyond another one, as a release of its own.

    Both must be here whole. Who holds the base needs the delta alone: samara fetch NEW then makes the new release
    of both, without a line. Who holds neither can carry it, seed it and write it to a stick.

    \b
    samara delta alice/tiny-chat@2 --base alice/tiny-chat@1
    samara export /media/usb alice/tiny-chat-2-from-1
    """  # noqa: D301 - click wants the character, not the two
    with show_events(quiet=as_json) as report:
        made = call(DELTA, DeltaRequest(new, base, absolute(to), name), report)
    if as_json:
        emit_json(made)
        return
    say(f"{made.name}, {human_bytes(made.bytes)}, {made.bytes / max(made.whole, 1):.1%} of {human_bytes(made.whole)}")
    say(f"  path     {made.path}")
    say(f"  link     {made.link}")
    say(f"  release  {made.release}")
