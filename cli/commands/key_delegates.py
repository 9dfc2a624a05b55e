"""key delegate, delegations: who else releases under names of this publisher."""

from __future__ import annotations

import click

from samara.cli.doors import ask, call
from samara.cli.output import emit_json, json_option, say, show_events
from samara.node.operations.delegating import (
    DELEGATE,
    DELEGATIONS,
    Delegated,
    DelegateRequest,
    DelegationRow,
    DelegationsRequest,
)

__all__ = ["delegate_names", "show_delegations"]


@click.command("delegate")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--to", metavar="DID", multiple=True, help="A key that may release under these names.")
@click.option(
    "--threshold", metavar="K", type=click.IntRange(1), default=1, help="How many of the keys must sign; default: 1."
)
@click.option("--expires", metavar="TIME", default="", help="Until when, as in 2027-05-31T12:00:00Z; default: no end.")
@click.option("--end", is_flag=True, help="Delegate these names no more, to nobody.")
@json_option
def delegate_names(
    names: tuple[str, ...], to: tuple[str, ...], threshold: int, expires: str, end: bool, as_json: bool
) -> None:
    """Let other keys release under NAME: a name, the beginning of names and *, or * for all.

    The delegate calls `samara publish PATH --as YOU`, and the release is yours: its name and its links are. Your own
    keys need not be where that is done. The same names given anew change the delegation: other keys, another end.
    Ended, nothing that was released under it is believed any more but what you name yourself.

    \b
    samara key delegate 'night-*' --to did:key:z6Mk… --expires 2027-05-31T00:00:00Z
    samara key delegate 'night-*' --end
    """  # noqa: D301 - click wants the character, not the two
    with show_events(quiet=as_json) as report:
        made = call(DELEGATE, DelegateRequest(names, to, threshold, expires, end), report)
    emit_json(made) if as_json else _print_made(made)


@click.command("delegations")
@click.argument("publisher", default="me")
@json_option
def show_delegations(publisher: str, as_json: bool) -> None:
    """Show what PUBLISHER (its id, its petname, or me) has delegated, as far as its log is known here.

    \b
    samara key delegations
    samara key delegations alice
    """  # noqa: D301 - click wants the character, not the two
    shown = ask(DELEGATIONS, DelegationsRequest(publisher))
    if as_json:
        emit_json(shown)
        return
    if not shown.delegations:
        say(f"{shown.publisher} has delegated nothing, as far as is known here.")
    for row in shown.delegations:
        say(f"{' '.join(row.names)}  ({row.state}{_until(row)})")
        if row.threshold > 1:
            say(f"  {row.threshold} of {len(row.keys)} keys must sign")
        for key in row.keys:
            say(f"  {key}")
        when = "ended" if row.state == "ended" else "since"
        say(f"  {when} {row.issued[:10]}, position {row.position} of the log, {row.record}")
        if row.here and row.state == "in force" and publisher != "me":
            say(f"  This home's key is among them: samara publish PATH --name NAME --as {publisher}")


def _until(row: DelegationRow) -> str:
    return f", until {row.expires}" if row.expires and row.state == "in force" else ""


def _print_made(made: Delegated) -> None:
    names = " ".join(made.names)
    if not made.new:
        say(f"{names} is delegated so already; nothing was signed.")
        return
    if made.state == "ended":
        say(f"{names} is delegated no more. Who holds what was released under it hears so with your log.")
    else:
        must = f"{made.threshold} of {len(made.keys)} keys" if len(made.keys) > 1 else made.keys[0]
        say(f"{names} is delegated to {must}{_until(made)}")
        say("The delegate hears your log (samara records sync, or import), and calls: samara publish PATH --as YOU")
    say(f"  record   {made.record}, position {made.position} of your log")
