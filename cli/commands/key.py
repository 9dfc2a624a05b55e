"""key: this home's keys, and names for publishers."""

from __future__ import annotations

import click

from samara.cli.doors import ask, call
from samara.cli.files import write_new
from samara.cli.output import emit_json, json_option, say, show_events
from samara.node.operations.queries import KEY_SHOW, KeyShowRequest
from samara.protocol.errors import UsageError

__all__ = ["key_command"]


@click.group("key")
def key_command() -> None:
    """Show this home's keys; give publishers names."""


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
    say(f"key        {shown.key}")
    for name, publisher in sorted(shown.names.items()):
        say(f"{name:10} {publisher}")


def _show_oms_key(to: str, *, as_json: bool) -> None:
    from samara.node.operations.oms import OMS_KEY, OmsKeyRequest

    shown = ask(OMS_KEY, OmsKeyRequest())
    if to:
        write_new(to, shown.pem)
    if as_json:
        emit_json(shown)
    else:
        say(f"The OMS key {shown.key} is in {to}." if to else shown.pem.rstrip())


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
