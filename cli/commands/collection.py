"""collection: lists of releases, signed, for others to follow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from samara.cli.doors import ask, call
from samara.cli.output import emit_json, json_option, quoted, say, short, show_events
from samara.cli.targets import insist_option
from samara.node.operations.catalogues import (
    COLLECTION_LS,
    COLLECTION_SHOW,
    KNOWN,
    CollectionRequest,
    CollectionShown,
    CollectionsListed,
    CollectionsRequest,
    EntryRow,
)

if TYPE_CHECKING:
    from samara.node.operations.collecting import Changed

__all__ = ["collection_command"]


@click.group("collection")
def collection_command() -> None:
    """Lists of releases, by whomever, with notes; and of publishers whom a community knows.

    A list is signed and public: whoever follows you sees it. It recommends, and makes nothing believed.

    \b
    samara collection add best alice/tiny-chat bagaaihra… --note "fits into 4 GB"
    samara follow bob                     # somebody else's
    samara search chat
    """  # noqa: D301 - click wants the character, not the two


@collection_command.command("add")
@click.argument("name")
@click.argument("refs", metavar="REF...", nargs=-1, required=True)
@click.option("--note", default="", help="Why, for people; of each of these.")
@click.option("--title", default="", help="Title of the collection, for people.")
@insist_option
@json_option
def add_releases(
    name: str, refs: tuple[str, ...], note: str, title: str, insist: tuple[str, ...], as_json: bool
) -> None:
    """List public releases that are known here, of anybody's, in your collection NAME.

    All of it is signed anew with each change: add what belongs together at once.

    \b
    samara collection add best alice/tiny-chat@2 --note "fits into 4 GB" --title "What runs here"
    """  # noqa: D301 - click wants the character, not the two
    from samara.node.operations.collecting import COLLECTION_ADD, AddToCollectionRequest

    with show_events(quiet=as_json) as report:
        done = call(COLLECTION_ADD, AddToCollectionRequest(name, refs, note, title, insist), report)
    emit_json(done) if as_json else _print_changed(done)


@collection_command.command("remove")
@click.argument("name")
@click.argument("refs", metavar="REF...", nargs=-1, required=True)
@json_option
def remove_releases(name: str, refs: tuple[str, ...], as_json: bool) -> None:
    """Strike releases out of your collection NAME. Who has read it before has read it."""
    from samara.node.operations.collecting import COLLECTION_REMOVE, RemoveFromCollectionRequest

    with show_events(quiet=as_json) as report:
        done = call(COLLECTION_REMOVE, RemoveFromCollectionRequest(name, refs), report)
    emit_json(done) if as_json else _print_changed(done)


@collection_command.command("publishers")
@click.argument("name")
@click.argument("publishers", metavar="WHOSE...", nargs=-1, required=True)
@click.option("--as", "petname", metavar="PETNAME", default="", help="What to call the publisher; default: as here.")
@click.option("--remove", is_flag=True, help="Introduce them no more.")
@json_option
def introduce_publishers(name: str, publishers: tuple[str, ...], petname: str, remove: bool, as_json: bool) -> None:
    """Introduce publishers in your collection NAME: petnames, ids or me. So a community passes on whom it knows.

    Others take names from it with `samara trust import`, and see each one's check words first.

    \b
    samara collection publishers friends alice bob
    samara collection publishers friends me --as carol
    """  # noqa: D301 - click wants the character, not the two
    from samara.node.operations.collecting import COLLECTION_PUBLISHERS, IntroduceRequest

    with show_events(quiet=as_json) as report:
        done = call(COLLECTION_PUBLISHERS, IntroduceRequest(name, publishers, petname, remove), report)
    emit_json(done) if as_json else _print_changed(done)


@collection_command.command("show")
@click.argument("name", metavar="[WHOSE/]NAME")
@json_option
def show_collection(name: str, as_json: bool) -> None:
    """Show what a collection lists, and what is known here of each release."""
    shown = ask(COLLECTION_SHOW, CollectionRequest(name))
    emit_json(shown) if as_json else _print(shown)


@collection_command.command("ls")
@json_option
def list_collections(as_json: bool) -> None:
    """List your collections, and those of whom you follow."""
    listed = ask(COLLECTION_LS, CollectionsRequest())
    emit_json(listed) if as_json else _print_list(listed)


def _print_changed(done: Changed) -> None:
    if not done.changed:
        say(f"{done.name} says so already: {_contents(done.entries, done.publishers)}. Nothing was signed.")
        return
    say(f"{done.name} is signed: {_contents(done.entries, done.publishers)}")
    say(f"  record     {done.record}, position {done.position} of your log")
    say(f"  to follow  samara follow {done.publisher}/{done.name}")
    say("  Others hear of it when they meet this node, or by: samara records export")


def _contents(entries: int, publishers: int) -> str:
    found = f"{entries} release{'s' * (entries != 1)}"
    return found + (f", {publishers} publisher{'s' * (publishers != 1)}" if publishers else "")


def _print(shown: CollectionShown) -> None:
    old = f", STALE: {shown.publisher} stood for it until {shown.expires[:10]}" if shown.expired else ""
    say(f"{shown.publisher}/{shown.name}, signed {shown.issued[:10]}{old}")
    _say_title(shown.name, shown.title)
    if shown.frozen:
        say(f"  FROZEN: {shown.frozen} are signed by {shown.publisher}: nothing new of it is believed")
    for entry in shown.entries:
        say(f"{entry.name} {entry.version} of {short(entry.publisher)}: {_standing(entry)}")
        say(f"  {entry.release}" if entry.state != KNOWN else f"  samara fetch '{entry.ref}'")
        if entry.wrong:
            say(f"  WRONG: the release says another {', another '.join(entry.wrong)}: samara show {entry.release}")
        if entry.newer:
            say(f"  the name stands for another by now: {entry.newer}")
        if entry.note:
            say(quoted(entry.note))
    for one in shown.publishers:
        called = f", {one.name} here" if one.name and one.name != one.petname else "" if one.name else ", no name here"
        say(f"introduces {one.petname}{called}  {one.publisher}")
    if any(not one.name for one in shown.publishers):
        whose = shown.name if shown.own else f"{shown.publisher}/{shown.name}"
        say(f"To give them names here: samara trust import {whose}")


def _say_title(name: str, title: str) -> None:
    if title != name:  # whoever gave none
        say(quoted(title, "  "))


def _standing(entry: EntryRow) -> str:
    said = ["not here"] if entry.state == KNOWN else [entry.state, entry.verdict]
    if entry.revoked:
        said = [*(one for one in said if one != "REVOKED"), f"REVOKED ({entry.revoked})"]
    return ", ".join(said)


def _print_list(listed: CollectionsListed) -> None:
    if not listed.collections:
        say("None. Begin one: samara collection add NAME REF. Or follow somebody's: samara follow WHOSE")
    for one in listed.collections:
        when = f"signed {one.issued[:10]}" + ("" if one.searched else ", too long to be searched")
        say(f"{one.publisher}/{one.name}: {_contents(one.entries, one.publishers)}, {when}")
        _say_title(one.name, one.title)
