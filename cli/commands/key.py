"""key: this home's key, and names for publishers; what shows the key, what replaces it and what delegates names is in
`key_secrets`, `key_roots` and `key_delegates`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from samara.cli.commands.key_agent import list_agent, use_agent
from samara.cli.commands.key_delegates import delegate_names, show_delegations
from samara.cli.commands.key_roots import (
    add_key,
    remove_key,
    renew_heads,
    rotate_key,
    set_threshold,
    show_roots,
    sign_root,
)
from samara.cli.commands.key_secrets import backup_key, lock_key, protect_key, restore_key, unprotect_key
from samara.cli.doors import ask, call
from samara.cli.files import write_new
from samara.cli.output import emit_json, json_option, say, show_events
from samara.cli.passphrase import with_passphrase
from samara.node.operations.queries import KEY_SHOW, KeyShown, KeyShowRequest
from samara.protocol.errors import UsageError

if TYPE_CHECKING:
    from samara.node.operations.oms import OmsKeyShown

__all__ = ["key_command"]


@click.group("key")
def key_command() -> None:
    """This home's key: protect, back up, replace and share it; name publishers, and compare them by voice."""


@key_command.command("show")
@click.option("--oms", is_flag=True, help="Show the public OMS key (PEM) that `samara attest --oms` signs with.")
@click.option("--to", metavar="FILE", default="", help="Write that key into a file.")
@json_option
def show_key(oms: bool, to: str, as_json: bool) -> None:
    """Show who publishes from this home, and which publishers have names here."""
    if oms:
        _show_oms_key(to, as_json=as_json)
        return
    if to:
        raise UsageError("--to goes with --oms", hint="The publisher's key is shown as text: samara key show.")
    shown = ask(KEY_SHOW, KeyShowRequest())
    if as_json:
        emit_json(shown)
        return
    say(f"publisher  {shown.publisher}")
    say(f"key        {shown.key}{_kept(shown)}")
    if shown.root > 1 or len(shown.keys) > 1:
        say(f"root {shown.root:<5} {shown.threshold} of {len(shown.keys)} keys must sign")
        for key in shown.keys:
            say(f"           {key}{' (here)' if key == shown.key else ''}")
    if shown.key not in shown.keys:
        say("           The key that is here does not speak for the publisher any more.")
    old = (*shown.old_heads, *shown.old_releases)
    if old:
        how = "samara key renew does it" if shown.threshold == 1 else f"that takes {shown.threshold} keys"
        say(f"           Not signed under this root yet: {', '.join(old)}; {how}.")
    for name, publisher in sorted(shown.names.items()):
        say(f"{name:10} {publisher}")


def _kept(shown: KeyShown) -> str:
    if shown.where == "agent":
        return ", in an agent: see samara key agent"
    return ", protected by a passphrase" if shown.protected else ""


def _show_oms_key(to: str, *, as_json: bool) -> None:
    from samara.node.operations.oms import OMS_KEY, OmsKeyRequest

    shown = with_passphrase(lambda passphrase: ask(OMS_KEY, OmsKeyRequest(passphrase)))
    if to:
        write_new(to, shown.pem)
    if as_json:
        emit_json(shown)
    else:
        say(f"The OMS key {shown.key} is in {to}." if to else shown.pem.rstrip())
        print(_bound(shown), file=sys.stderr)


def _bound(shown: OmsKeyShown) -> str:
    """Whether others can tell whose key it is; not on stdout, where the key itself may be wanted alone."""
    if shown.bound == shown.key:
        return f"Your log says that it is yours: record {shown.record}"
    other = (
        f"Your log names another key, {shown.bound}" if shown.bound else "Your log does not say yet that it is yours"
    )
    return f"{other}; samara attest REF --oms signs that it is this one."


@key_command.command("name")
@click.argument("publisher")
@click.argument("name")
@json_option
def name_key(publisher: str, name: str, as_json: bool) -> None:
    """Call PUBLISHER (its id) NAME from now on: `samara verify` then says that NAME signed.

    An empty NAME ("") forgets it.
    """
    from samara.node.operations.library import KEY_NAME, NameRequest

    with show_events(quiet=as_json) as report:
        named = call(KEY_NAME, NameRequest(publisher, name), report)
    emit_json(named) if as_json else say(f"{named.publisher} is {named.name or 'nameless again'}")


@key_command.command("words")
@click.argument("publisher", default="me")
@json_option
def show_words(publisher: str, as_json: bool) -> None:
    """Show 8 words that stand for PUBLISHER (its id, its petname, or me), to be compared by voice.

    Both sides see the same words for the same publisher. All 8 must agree: they say 88 bits of its id.
    """
    from samara.node.operations.keys import WORDS, WordsRequest

    found = ask(WORDS, WordsRequest(publisher))
    if as_json:
        emit_json(found)
        return
    say(f"publisher  {found.publisher}{f' ({found.name})' if found.name else ''}")
    say(f"words      {' '.join(found.words[:4])}")
    say(f"           {' '.join(found.words[4:])}")
    say(f"           {found.bits} bits. Compare all of them, by voice or on paper, with what the publisher sees.")


@key_command.command("card")
@click.argument("publisher", default="me")
@click.option("--to", metavar="FILE", help="Write it to FILE: .svg, or .html to print it from a browser.")
@click.option("--name", metavar="NAME", default="", help="Who it is, as the card says; default: the petname here.")
@json_option
def make_card(publisher: str, to: str | None, name: str, as_json: bool) -> None:
    """Make a card of PUBLISHER (its id, its petname, or me) to print and hand over: who holds it can check the key.

    \b
    samara key card --name anna --to card.html
    """  # noqa: D301 - click wants the character, not the two
    from samara.cli.card import Card, write_card
    from samara.cli.targets import absolute
    from samara.node.operations.keys import WORDS, WordsRequest
    from samara.protocol.links import check_petname

    found = ask(WORDS, WordsRequest(publisher))
    card = Card(found.publisher, check_petname(name) if name else found.name, found.words)
    path = write_card(card, Path(absolute(to))) if to else None
    if as_json:
        emit_json({"publisher": card.publisher, "name": card.name, "words": card.words, "path": str(path or "")})
    elif path is None:
        say(card.text())
    else:
        say(f"The card is in {path}")


for command in (
    protect_key,
    unprotect_key,
    lock_key,
    backup_key,
    restore_key,
    list_agent,
    use_agent,
    rotate_key,
    add_key,
    remove_key,
    set_threshold,
    sign_root,
    show_roots,
    renew_heads,
    delegate_names,
    show_delegations,
):
    key_command.add_command(command)
