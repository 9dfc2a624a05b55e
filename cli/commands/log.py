"""log: the signed history of a name."""

from __future__ import annotations

import click

from samara.cli.commands.library import delegated
from samara.cli.doors import ask
from samara.cli.output import emit_json, json_option, say
from samara.node.operations.history import LOG, HeadRow, Logged, LogRequest

__all__ = ["log_command"]


@click.command("log")
@click.argument("name")
@json_option
def log_command(name: str, as_json: bool) -> None:
    """Show all that NAME stood for, as its publisher signed it, and what was tagged anew or taken back.

    \b
    samara log alice/tiny-chat
    samara log my-model
    """  # noqa: D301 - click wants the character, not the two
    logged = ask(LOG, LogRequest(name))
    emit_json(logged) if as_json else _print(logged)


def _print(logged: Logged) -> None:
    say(f"{logged.publisher}/{logged.name}")
    for row in logged.heads:
        say(f"  {row.issued}  {row.version or '?':10} {row.release}{_remarks(row)}")
        say(f"    number {row.sequence}, {_place(row)}, signed by {', '.join(row.keys)}")
        if row.delegate is not None:
            say(f"    {delegated(row.delegate)}")
    for one in logged.seen:
        say(f"  Seen by {one.witness} at position {one.position} of the log, whose newest is {logged.newest}.")
    for first, last in logged.missing:
        say(f"  Records {first} to {last} of this publisher are not known here: what they say may matter.")
    if logged.frozen:
        say(f"  FROZEN: {logged.frozen} are signed by this publisher's keys. See samara trust show.")


def _place(row: HeadRow) -> str:
    return f"position {row.position} of the log" if row.position else "outside the log"


def _remarks(row: HeadRow) -> str:
    said = [
        *(["newest"] if row.newest else []),
        *(["tagged anew"] if row.retag else []),
        *(["does not count any more"] if not row.counts else []),
        *([f"REVOKED: {row.revoked}"] if row.revoked else []),
    ]
    return f"  ({', '.join(said)})" if said else ""
