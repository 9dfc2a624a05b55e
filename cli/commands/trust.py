"""trust: whom this home believes, for which names; forks, and the floor of time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from samara.cli.doors import ask, call
from samara.cli.output import emit_json, json_option, say, show_events
from samara.node.operations.trusting import (
    TRUST_ADD,
    TRUST_LIFT,
    TRUST_REMOVE,
    TRUST_RESET_CLOCK,
    TRUST_SHOW,
    AddRuleRequest,
    FloorRow,
    LiftRequest,
    RemoveRuleRequest,
    ResetClockRequest,
    RuleRow,
    TrustRequest,
    TrustShown,
)

if TYPE_CHECKING:
    from samara.node.operations.introducing import Imported

__all__ = ["trust_command"]


@click.group("trust", invoke_without_command=True)
@click.pass_context
def trust_command(context: click.Context) -> None:
    """Show and change whom this home believes, for which names.

    The rules are in trust.toml, and the first that matches decides. Without any, strangers are taken at first sight,
    and that is said.

    \b
    samara trust add alice --mode enforce
    samara trust add alice/llama-* --key did:key:z6Mk… --max-age-days 90
    samara trust add '*' --mode enforce --last      # nobody else
    samara trust import bob/friends                 # names for those whom a collection introduces
    samara trust add alice --witness bob --witness carol --witnesses 1 --mode enforce
    """  # noqa: D301 - click wants the character, not the two
    if context.invoked_subcommand is None:
        _print(ask(TRUST_SHOW, TrustRequest()))


@trust_command.command("show")
@json_option
def show_trust(as_json: bool) -> None:
    """Show the rules, the publishers that are frozen, and what time it is at least."""
    shown = ask(TRUST_SHOW, TrustRequest())
    emit_json(shown) if as_json else _print(shown)


@trust_command.command("add")
@click.argument("whose", metavar="PUBLISHER[/NAME]")
@click.option("--mode", type=click.Choice(["off", "warn", "enforce"]), default="warn", show_default=True,
              help="What happens with what is not believed.")  # fmt: skip
@click.option("--key", "keys", metavar="DID", multiple=True, help="It must be signed by this key; may be repeated.")
@click.option("--threshold", type=click.IntRange(1), help="By so many of these keys; default: all.")
@click.option("--max-age-days", type=int, help="The newest is stale after so many days.")
@click.option("--witness", "witnesses", metavar="WHO", multiple=True,
              help="Petname, id or did:key of who must have seen it; may be repeated.")  # fmt: skip
@click.option("--witnesses", "enough", type=click.IntRange(1), help="So many of these; default: all.")
@click.option("--tofu", is_flag=True, help="Take strangers at first sight; only with '*'.")
@click.option("--last", is_flag=True, help="After the other rules, not before them.")
@json_option
def add_trust(
    whose: str, mode: str, keys: tuple[str, ...], threshold: int | None, max_age_days: int | None,
    witnesses: tuple[str, ...], enough: int | None, tofu: bool, last: bool, as_json: bool,
) -> None:  # fmt: skip
    """Add a rule for a publisher (its petname or id, '*' for anybody), and for all its names, one, or a beginning*."""
    publisher, _, name = whose.partition("/")
    request = AddRuleRequest(
        publisher, name or "*", mode, tofu, keys, threshold or 0, max_age_days, last, witnesses, enough or 0
    )
    with show_events(quiet=as_json) as report:
        shown = call(TRUST_ADD, request, report)
    emit_json(shown) if as_json else _print(shown)


@trust_command.command("remove")
@click.argument("number", type=int)
@json_option
def remove_trust(number: int, as_json: bool) -> None:
    """Take out the rule of this NUMBER, as `samara trust` shows it."""
    with show_events(quiet=as_json) as report:
        shown = call(TRUST_REMOVE, RemoveRuleRequest(number), report)
    emit_json(shown) if as_json else _print(shown)


@trust_command.command("import")
@click.argument("name", metavar="[WHOSE/]NAME")
@click.option("--yes", is_flag=True, help="Ask nothing: take all names that clash with nothing.")
@json_option
def import_trust(name: str, yes: bool, as_json: bool) -> None:
    """Give names to those whom a collection introduces: a community's list of keys.

    Whoever has a name here is believed. So each is shown with the 8 words of its key, which you compare with somebody
    who knows them. A name that is in use, or looks like one, is taken only when you type it.

    
    samara follow bob/friends
    samara trust import bob/friends
    """
    from samara.cli.introductions import answers_to
    from samara.node.operations.catalogues import CollectionRequest
    from samara.node.operations.introducing import PROPOSALS, TRUST_IMPORT, ImportRequest

    answers = () if yes else answers_to(ask(PROPOSALS, CollectionRequest(name)))
    with show_events(quiet=as_json) as report:
        done = call(TRUST_IMPORT, ImportRequest(name, answers, yes), report)
    emit_json(done) if as_json else _print_imported(done)


@trust_command.command("lift")
@click.argument("fork")
@json_option
def lift_trust(fork: str, as_json: bool) -> None:
    """Believe a publisher again in spite of FORK, when you know from the publisher what had happened."""
    with show_events(quiet=as_json) as report:
        lifted = call(TRUST_LIFT, LiftRequest(fork), report)
    emit_json(lifted) if as_json else say(f"{lifted.publisher} is believed again in spite of {lifted.fork[:16]}.")


@trust_command.command("reset-clock")
@click.argument("time", required=False)
@json_option
def reset_clock(time: str | None, as_json: bool) -> None:
    """Say what time it is: TIME (2026-05-31T12:00:00Z), or what the clock shows.

    What time it is at least is else never set back: it is for a clock that was wrong, and was believed.
    """
    with show_events(quiet=as_json) as report:
        floor = call(TRUST_RESET_CLOCK, ResetClockRequest(time or ""), report)
    emit_json(floor) if as_json else _print_time(floor)


def _print_imported(done: Imported) -> None:
    if done.expired:
        say(f"STALE: {done.collector} does not stand for this list any more.")
    for row in done.publishers:
        if row.result == "clash":
            said = f"NOT named {row.petname}: {', '.join(row.like)} is in use here"
        else:
            said = {"named": f"is {row.name} now", "kept": f"is {row.name} already", "left": "was left out"}[row.result]
        say(f"{row.publisher}  {said}")
    left = [row for row in done.publishers if row.result == "clash"]
    if left:
        say("To name one otherwise: samara key words PUBLISHER, and then samara key name PUBLISHER NAME")


def _print(shown: TrustShown) -> None:
    for rule in shown.rules:
        say(f"{rule.number or '-':>3}  {_rule(rule)}")
    for fork in shown.forks:
        say(f"{'FROZEN' if fork.freezes else 'over'}: {fork.publisher}: {fork.what}, seen {fork.seen[:10]}")
        if fork.freezes:
            say(f"  if you know better from the publisher: samara trust lift {fork.fork[:16]}")
        for witness in fork.both:
            say(f"  {witness} has witnessed both: believe them no more as a witness")
    _print_time(shown.time)


def _rule(rule: RuleRow) -> str:
    who = f"{rule.publisher}/{rule.name}" if (rule.publisher, rule.name) != ("*", "*") else "anybody"
    said = [who, rule.mode]
    if rule.keys:
        said.append(f"{rule.threshold} of {', '.join(rule.keys)}")
    if rule.tofu:
        said.append("strangers are taken at first sight")
    if rule.max_age_days is not None:
        said.append(f"at most {rule.max_age_days} days old")
    if rule.witnesses:
        said.append(f"seen by {rule.witness_threshold} of {', '.join(rule.witnesses)}")
    return ", ".join(said)


def _print_time(floor: FloorRow) -> None:
    say(f"It is at least {floor.floor} (by {floor.source}); the clock shows {floor.clock}, and is {_thought(floor)}.")


def _thought(floor: FloorRow) -> str:
    return (
        "believed" if floor.believed == "believed" else f"{floor.believed}: not believed, see samara trust reset-clock"
    )
