"""witness: sign that what another publisher has said was seen here."""

from __future__ import annotations

import click

from samara.cli.doors import call
from samara.cli.output import emit_json, json_option, say, show_events
from samara.node.operations.witnessing import WITNESS, WitnessedLogs, WitnessRequest
from samara.protocol.errors import class_named

__all__ = ["witness_command"]


@click.command("witness")
@click.argument("whose", metavar="[PUBLISHER|REF]...", nargs=-1)
@click.option("--all", "everybody", is_flag=True, help="Everybody who has a name here.")
@click.option("--anew", is_flag=True, help="Also where the publisher left, under new keys, what you witnessed before.")
@json_option
def witness_command(whose: tuple[str, ...], everybody: bool, anew: bool, as_json: bool) -> None:
    """Sign that you have seen what another publisher has said, up to the newest that is known here.

    It says nothing of whether that is true. Who trusts you as a witness (samara trust add … --witness) takes nothing
    for that publisher's that you have not seen: so nobody is shown what others are not. You say in public that you
    follow them, and never sign what contradicts what you have signed before.

    \b
    samara records sync && samara witness alice
    samara witness --all
    """  # noqa: D301 - click wants the character, not the two
    with show_events(quiet=as_json) as report:
        done = call(WITNESS, WitnessRequest(whose, everybody, anew), report)
    emit_json(done) if as_json else _print(done)
    if code := max((class_named(skip.error).exit_code for skip in done.skipped), default=0):
        raise SystemExit(code)


def _print(done: WitnessedLogs) -> None:
    for row in done.witnessed:
        say(f"{row.publisher}: seen up to position {row.position}{'' if row.new else ', which you had signed already'}")
    for skip in done.skipped:
        say(f"NOT WITNESSED {skip.publisher}: {skip.message}")
        if skip.hint:
            say(f"  {skip.hint}")
    if not done.witnessed and not done.skipped:
        say("Nobody who has a name here has said anything that is known here. Ask for it: samara records sync")
    elif any(row.new for row in done.witnessed):
        names = " ".join(row.publisher for row in done.witnessed)
        say("Others get your signature when they ask this node for the log, or by a file:")
        say(f"  samara records export FILE {names} me")
