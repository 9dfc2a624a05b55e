"""Asks a person at a terminal for each publisher whom a collection introduces: is it they, and what to call them?

All is asked on stderr, so that `--json` stays one object. Nothing that a stranger wrote is shown but petnames, which
are ASCII by their grammar.
"""

from __future__ import annotations

import sys

import click

from samara.cli.output import printable
from samara.node.operations.introducing import CLASH, KEPT, Answer, Imported, ImportedRow
from samara.protocol.errors import LinkError, UsageError
from samara.protocol.links import check_petname

__all__ = ["answers_to"]

_NOBODY = "-"
"""What a person types to leave somebody out: no petname begins so."""


def answers_to(proposed: Imported) -> tuple[Answer, ...]:
    """Ask for each who has no name here yet; return what to call those whom the person takes.

    Raises:
        UsageError: There is no terminal to ask at.
        click.Abort: The person broke off; nothing is changed.
    """
    new = [row for row in proposed.publishers if row.result != KEPT]
    if new and not sys.stdin.isatty():
        raise UsageError(
            "there is nobody to ask",
            hint="At a terminal you are asked for each. Or take what clashes with nothing: --yes",
        )
    _say(f"{proposed.collector}/{proposed.collection} introduces {len(proposed.publishers)}, {len(new)} new here.")
    if proposed.expired:
        _say(f"STALE: {proposed.collector} does not stand for this list any more.")
    _say("Compare the 8 words of each with somebody who knows them. Who has a name here is believed.")
    taken: dict[str, str] = {}
    answers: list[Answer] = []
    for row in new:
        petname = _ask(row, taken)
        if petname:
            taken[petname] = row.publisher
            answers.append(Answer(row.publisher, petname))
    return tuple(answers)


def _ask(row: ImportedRow, taken: dict[str, str]) -> str:
    """Ask what to call one publisher; empty: nothing."""
    _say("")
    _say(row.publisher)
    _say(f"  {' '.join(row.words)}")
    if row.result == CLASH:
        _say(f"  The list calls them {row.petname}, and {', '.join(row.like)} is in use here: TAKE CARE who this is.")
    default = _NOBODY if row.result == CLASH else row.petname
    while True:
        answer = click.prompt(
            f"  Name ({_NOBODY}: leave them out)", default=default, show_default=True, err=True, type=str
        ).strip()
        if answer in {_NOBODY, ""}:
            return ""
        try:
            check_petname(answer)
        except LinkError as error:
            _say(f"  {error.message}: {error.hint}")
            continue
        if answer in taken or answer == "me" or (row.result == CLASH and answer in row.like):
            _say(f"  {answer} is in use: a name is one publisher's alone.")
            continue
        return answer


def _say(text: str) -> None:
    print(printable(text), file=sys.stderr)
