"""key agent, use-agent: a key whose seed is in an agent, a card or another device, and never here."""

from __future__ import annotations

import os
from typing import Final

import click

from samara.cli.commands.key_roots import settle
from samara.cli.doors import ask, call
from samara.cli.output import emit_json, json_option, printable, say, show_events
from samara.cli.passphrase import with_passphrase
from samara.node.operations.keys import AGENT_KEYS, AgentKeyRow, AgentKeysRequest
from samara.node.operations.roots import USE_AGENT, UseAgentRequest
from samara.protocol.errors import AgentKeyError, UsageError

__all__ = ["list_agent", "use_agent"]

_SECURITY_KEY: Final = "sk-"
_WHY_NOT: Final = "only ssh-ed25519 keys can sign records"
_WHY_NOT_SK: Final = "what a FIDO key signs, is another thing than was asked; a key in its OpenPGP part can be used"


@click.command("agent")
@json_option
def list_agent(as_json: bool) -> None:
    """List the keys of your agent (ssh-agent, gpg-agent, …, at $SSH_AUTH_SOCK), and which can be this home's.

    \b
    ssh-keygen -t ed25519 -f ~/.ssh/samara -C samara && ssh-add -c ~/.ssh/samara
    samara key agent
    samara key use-agent samara
    """  # noqa: D301 - click wants the character, not the two
    found = ask(AGENT_KEYS, AgentKeysRequest())
    if as_json:
        emit_json(found)
        return
    count = len(found.keys)
    where = printable(found.socket) or "its usual place"
    say(f"The agent at {where} has {count or 'no'} key{'s' * (count != 1)}{':' * bool(count)}")
    for row in found.keys:
        say(f"{printable(row.comment) or row.fingerprint}{', the key of this home' if row.present else ''}")
        say(f"  {row.key}" if row.usable else f"  {printable(row.kind)}: {_why_not(row)}")
        say(f"  {row.fingerprint}")


@click.command("use-agent")
@click.argument("key", metavar="DID|COMMENT|FINGERPRINT")
@click.option("--to", metavar="FILE", default="", help="Where the root file goes when other devices must sign.")
@click.option("--anew", is_flag=True, help="Give up a root that was proposed before and is lost.")
@json_option
def use_agent(key: str, to: str, anew: bool, as_json: bool) -> None:
    """Let a key of your agent sign for this home: ssh-agent, or gpg-agent with an OpenPGP card, a YubiKey, a Nitrokey.

    In an empty home it is the publisher's first key. Where there is one, it takes its place, as with `samara key
    rotate`: the publisher's id stays, and the key that was here is kept aside. Its seed never comes here, so it is
    backed up where it was made. Whoever can use the agent can sign: take a key that is for nothing else, let the agent
    ask you (ssh-add -c, or a touch), and do not forward it.

    \b
    samara key use-agent samara
    samara key use-agent SHA256:FLj1…
    """  # noqa: D301 - click wants the character, not the two
    found = ask(AGENT_KEYS, AgentKeysRequest())
    row = _named(found.keys, key)
    socket = os.path.abspath(found.socket) if found.socket else ""

    def attempt(passphrase: str) -> None:
        with show_events(quiet=as_json) as report:
            made = call(USE_AGENT, UseAgentRequest(row.key, socket, passphrase, anew), report)
        settle(made, to, as_json)

    with_passphrase(attempt)
    if not as_json:
        say(
            "Its seed is in the agent and nowhere here: back it up there, or let a second key speak: samara key add-key"
        )


def _named(rows: tuple[AgentKeyRow, ...], key: str) -> AgentKeyRow:
    found = [row for row in rows if key in {row.key, row.comment, row.fingerprint} and key]
    if not found:
        raise AgentKeyError(f"the agent has no key {key!a}", hint="See samara key agent.")
    if len(found) > 1:
        raise UsageError(f"{len(found)} keys are called {key!a}", hint="Name it by its fingerprint.")
    if not found[0].usable:
        raise UsageError(f"this key is a {found[0].kind}: {_why_not(found[0])}", hint="See samara key agent.")
    return found[0]


def _why_not(row: AgentKeyRow) -> str:
    return _WHY_NOT_SK if row.kind.startswith(_SECURITY_KEY) else _WHY_NOT
