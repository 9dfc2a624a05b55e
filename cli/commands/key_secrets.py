"""key protect, unprotect, lock, backup, restore: what has to do with the secret itself."""

from __future__ import annotations

import sys

import click

from samara.cli.doors import ask, call
from samara.cli.output import emit_json, json_option, say, show_events
from samara.cli.passphrase import current_passphrase, new_passphrase, with_passphrase
from samara.node.operations.keys import (
    BACKUP,
    LOCK,
    PROTECT,
    RESTORE,
    UNPROTECT,
    BackupRequest,
    KeyState,
    LockRequest,
    ProtectRequest,
    RestoreRequest,
    UnprotectRequest,
)
from samara.node.operations.queries import KEY_SHOW, KeyShowRequest
from samara.protocol.errors import UsageError
from samara.protocol.words import SEED_WORDS

__all__ = ["backup_key", "lock_key", "protect_key", "restore_key", "unprotect_key"]

_LONGEST_INPUT = 4096
"""Characters of typed words: 24 of at most 8 letters are 215."""


@click.command("protect")
@json_option
def protect_key(as_json: bool) -> None:
    """Seal the key with a passphrase, or change the passphrase.

    Then it is asked for when something is to be signed, and never else. Forgotten, only the words of `samara key
    backup` bring the key back.
    """
    replaces = ask(KEY_SHOW, KeyShowRequest()).protected
    old = current_passphrase() if replaces else ""
    new = new_passphrase(replaces=replaces)
    with show_events(quiet=as_json) as report:
        state = call(PROTECT, ProtectRequest(new, old), report)
    if state.where == "agent" and not as_json:
        say(f"The key {state.key} is in an agent, which guards it. What else is here, the OMS key, is protected now.")
        return
    _tell(state, as_json, "is protected now. Without the passphrase or its words nobody can sign with it; nor can you.")


@click.command("unprotect")
@json_option
def unprotect_key(as_json: bool) -> None:
    """Let the key lie open again: whoever can read the home can sign."""
    with show_events(quiet=as_json) as report:
        state = with_passphrase(lambda passphrase: call(UNPROTECT, UnprotectRequest(passphrase), report))
    _tell(state, as_json, "lies open now.")


@click.command("lock")
@json_option
def lock_key(as_json: bool) -> None:
    """Let the running node forget the passphrase; it is asked for again when something is to be signed."""
    with show_events(quiet=as_json) as report:
        state = call(LOCK, LockRequest(), report)
    _tell(state, as_json, "is locked." if state.protected else "is not protected: there is nothing to forget.")


@click.command("backup")
@click.option("--oms", is_flag=True, help="The words of the OMS key, where those of the key do not bring it back.")
@json_option
def backup_key(oms: bool, as_json: bool) -> None:
    """Show the key as 24 words, to be written on paper. Who has them is you.

    They bring back the key of `samara attest --oms`, too, unless it is older than the key or was put in by itself: then
    that is said, and --oms shows its words.
    """
    found = with_passphrase(lambda passphrase: ask(BACKUP, BackupRequest(passphrase, oms)))
    if as_json:
        emit_json(found)
        return
    say(f"The {'OMS ' * oms}key {found.key}")
    say(f"of publisher {found.publisher}")
    say()
    for row in range(0, SEED_WORDS, 4):
        say("".join(f"{row + n + 1:>4}. {word:<9}" for n, word in enumerate(found.words[row : row + 4])).rstrip())
    say()
    say("Write them on paper, in this order, and keep that where you keep your passport. They are no wallet's words.")
    if found.oms:
        say("They do not bring back the OMS key, which is not made of this one: samara key backup --oms")
    if found.root > 1 and not oms:
        say("The key is not the publisher's first: keep the chain, too, which is no secret: samara key roots --to FILE")


@click.command("restore")
@click.option("--replace", metavar="DID", default="", help="The key that is here now and makes way; it is kept aside.")
@click.option("--protect", is_flag=True, help="Seal it with a passphrase at once.")
@click.option("--oms", is_flag=True, help="They are those of an OMS key: samara key backup --oms.")
@json_option
def restore_key(replace: str, protect: bool, oms: bool, as_json: bool) -> None:
    """Bring a key back from its 24 words, which are read from the terminal or from standard input."""
    if oms and protect:
        raise UsageError("an OMS key is protected as the publisher's is", hint="Leave --protect out.")
    words = _read_words()
    if oms:
        _restore_oms(words, replace, as_json)
        return
    new = new_passphrase(replaces=False) if protect else ""
    with show_events(quiet=as_json) as report:
        state = call(RESTORE, RestoreRequest(words, replace, new), report)
    if as_json:
        emit_json(state)
        return
    say(f"The key {state.key} is here again, of publisher")
    say(f"  {state.publisher}")
    say("Compare its words with your card: samara key words")
    if state.speaks:
        say("If it is another publisher than you expect, the key was not its first one: bring its chain, too:")
        say("  samara key sign ROOT-FILE --become PUBLISHER-ID")
    else:
        say("This key was replaced: it does not speak for that publisher any more.")


def _restore_oms(words: str, replace: str, as_json: bool) -> None:
    with show_events(quiet=as_json) as report:
        state = with_passphrase(
            lambda passphrase: call(RESTORE, RestoreRequest(words, replace, passphrase, oms=True), report)
        )
    emit_json(state) if as_json else say("The OMS key is here again. See samara key show --oms")


def _read_words() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.read(_LONGEST_INPUT)
    print(f"Type the {SEED_WORDS} words, as many on a line as you like.", file=sys.stderr)
    found: list[str] = []
    while len(found) < SEED_WORDS:
        line = sys.stdin.readline(_LONGEST_INPUT)
        if not line:
            break
        found += line.split()
        if len(found) < SEED_WORDS:
            print(f"{len(found)} of {SEED_WORDS}", file=sys.stderr)
    return " ".join(found)


def _tell(state: KeyState, as_json: bool, text: str) -> None:
    emit_json(state) if as_json else say(f"The key {state.key} {text}")
