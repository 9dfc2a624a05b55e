"""follow, unfollow: whose collections this home wants to hear of."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from samara.cli.doors import ask, call
from samara.cli.output import emit_json, json_option, quoted, say, show_events
from samara.node.operations.catalogues import FOLLOWS, FollowRow, FollowsListed, FollowsRequest
from samara.protocol.errors import UsageError

if TYPE_CHECKING:
    from samara.node.operations.follows import Followed

__all__ = ["follow_command", "unfollow_command"]


@click.command("follow")
@click.argument("whose", metavar="[WHOSE[/NAME]]", required=False)
@click.option("--peer", "peers", metavar="MULTIADDR", multiple=True, help="Ask this peer, and no others.")
@json_option
def follow_command(whose: str | None, peers: tuple[str, ...], as_json: bool) -> None:
    """Follow the collections of a publisher, or one: WHOSE is a petname, a publisher id, or a link of a release.

    `samara search` looks through what they list. It gives nobody a name and makes nothing believed. Their log is asked
    for at once, and then every hour while a node runs; whom you follow others can see. Without a name: say who is
    followed.

    \b
    samara follow alice
    samara follow bagaaihra…/best
    samara follow
    """  # noqa: D301 - click wants the character, not the two
    if whose is None:
        if peers:
            raise UsageError("--peer goes with whom to follow", hint="samara follow WHOSE --peer MULTIADDR")
        listed = ask(FOLLOWS, FollowsRequest())
        emit_json(listed) if as_json else _print_list(listed)
        return
    from samara.node.operations.follows import FOLLOW, FollowRequest

    with show_events(quiet=as_json) as report:
        done = call(FOLLOW, FollowRequest(whose, peers), report)
    emit_json(done) if as_json else _print(done)


@click.command("unfollow")
@click.argument("whose", metavar="WHOSE[/NAME]")
@json_option
def unfollow_command(whose: str, as_json: bool) -> None:
    """Follow the collections of a publisher no more, or one of them. What is held stays."""
    from samara.node.operations.follows import UNFOLLOW, UnfollowRequest

    with show_events(quiet=as_json) as report:
        done = call(UNFOLLOW, UnfollowRequest(whose), report)
    emit_json(done) if as_json else say(f"You do not follow {_what(done.publisher, done.collection)} any more.")


def _what(publisher: str, collection: str) -> str:
    return f"{publisher}/{collection}" if collection else publisher


def _print(done: Followed) -> None:
    say(f"You {'now' if done.new else 'already'} follow {_what(done.publisher, done.collection)}.")
    for one in done.collections:
        say(f"  {done.publisher}/{one.name}: {one.entries} release{'s' * (one.entries != 1)}")
        if one.title != one.name:
            say(quoted(one.title))
    if not done.collections:
        say("  Nothing of it is known here yet.")
    for error, count in sorted(done.refused.items()):
        say(f"  {count} refused: {error}")
    if done.asked:
        peers = f"{done.asked} peer{'s' * (done.asked != 1)}"
        print(f"{peers} asked: {done.records} new record{'s' * (done.records != 1)}.", file=sys.stderr)
    else:
        print("Nobody could be asked now. A running node asks every hour; samara records sync asks.", file=sys.stderr)


def _print_list(listed: FollowsListed) -> None:
    if not listed.follows:
        say("You follow nobody. To begin: samara follow WHOSE")
    for one in listed.follows:
        say(f"{_what(one.publisher, one.collection)}: {_known(one)}")


def _known(one: FollowRow) -> str:
    if not one.collections:
        return "nothing known yet"
    frozen = f", FROZEN: {one.frozen}" if one.frozen else ""
    collections = f"{one.collections} collection{'s' * (one.collections != 1)}"
    return f"{collections}, {one.entries} release{'s' * (one.entries != 1)}, signed {one.issued[:10]}{frozen}"
