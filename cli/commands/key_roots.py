"""key rotate, add-key, remove-key, threshold, sign, roots, renew: which keys speak for the publisher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import click

from samara.cli.doors import ask, call
from samara.cli.output import emit_json, json_option, say, show_events
from samara.cli.passphrase import with_passphrase
from samara.cli.targets import absolute
from samara.node.operations.base import Report
from samara.node.operations.keys import WORDS, WordsRequest
from samara.node.operations.queries import KEY_SHOW, KeyShowRequest
from samara.node.operations.roots import (
    CHANGE_KEYS,
    RENEW,
    ROOTS,
    ROTATE,
    SIGN_ROOT,
    ChangeRequest,
    RenewRequest,
    RootMade,
    RootsRequest,
    RotateRequest,
    SignRequest,
)
from samara.node.store.files import os_errors
from samara.node.store.home import write_private
from samara.protocol.errors import UsageError
from samara.protocol.ids import format_record
from samara.protocol.limits import MAX_ROOT_FILE
from samara.protocol.rootfile import RootFile

__all__ = [
    "add_key",
    "remove_key",
    "renew_heads",
    "rotate_key",
    "set_threshold",
    "settle",
    "show_roots",
    "sign_root",
]

_ANEW: Final = "Give up a root that was proposed before and is not complete: it is lost, and nobody completed it."
_TO: Final = "Where the root file goes when other devices must sign; default: publisher-root-N.jsonl here."

_to = click.option("--to", metavar="FILE", default="", help=_TO)
_anew = click.option("--anew", is_flag=True, help=_ANEW)
_threshold = click.option(
    "--threshold", metavar="K", type=click.IntRange(1), help="How many keys must sign from now on; default: as now."
)


@click.command("rotate")
@_to
@_anew
@click.option("--oms", is_flag=True, help="Replace the OMS key instead, and bind the new one.")
@json_option
def rotate_key(to: str, anew: bool, oms: bool, as_json: bool) -> None:
    """Put a new key in place of this home's. The publisher's id, names and links stay; the old key is kept aside.

    Do it when the key may have been seen by others, and then write down the words of the new one. The key of `samara
    attest --oms` stays: --oms replaces that one. Then sign anew what shall be believed; what it had signed is not.
    """
    if oms:
        _rotate_oms(as_json)
        return
    was = ask(KEY_SHOW, KeyShowRequest()).where
    made = _signed(lambda report, given: call(ROTATE, RotateRequest(given, anew), report), as_json)
    settle(made, to, as_json)
    if was == "agent" and made.complete and not as_json:
        say("It is no key of the agent any more: it lies open in a file here. To seal it: samara key protect")
    if made.complete and not as_json:
        say("Write down the words of the new key: samara key backup. The old key lies beside it, in publisher-….key")


def _rotate_oms(as_json: bool) -> None:
    from samara.node.operations.oms import OMS_ROTATE, OmsRotateRequest

    with show_events(quiet=as_json) as report:
        made = with_passphrase(lambda passphrase: call(OMS_ROTATE, OmsRotateRequest(passphrase), report))
    if as_json:
        emit_json(made)
        return
    say(f"The OMS key is {made.key} now, and your log says so: record {made.record}")
    say("Write down its words: samara key backup --oms. Sign anew what shall be believed: samara attest REF --oms")


@click.command("add-key")
@click.argument("did")
@_threshold
@_to
@_anew
@json_option
def add_key(did: str, threshold: int | None, to: str, anew: bool, as_json: bool) -> None:
    """Let the key DID (as another device's `samara key show` says it) speak for this publisher, too.

    \b
    samara key add-key did:key:z6Mk… --threshold 2
    """  # noqa: D301 - click wants the character, not the two
    _change(ChangeRequest(add=(did,), threshold=threshold or 0, anew=anew), to, as_json)


@click.command("remove-key")
@click.argument("did")
@_threshold
@_to
@_anew
@json_option
def remove_key(did: str, threshold: int | None, to: str, anew: bool, as_json: bool) -> None:
    """Let the key DID not speak for this publisher any more: a device was lost."""
    _change(ChangeRequest(remove=(did,), threshold=threshold or 0, anew=anew), to, as_json)


@click.command("threshold")
@click.argument("count", metavar="K", type=click.IntRange(1))
@_to
@_anew
@json_option
def set_threshold(count: int, to: str, anew: bool, as_json: bool) -> None:
    """Say how many of the publisher's keys must sign. Above 1, no home alone can publish."""
    _change(ChangeRequest(threshold=count, anew=anew), to, as_json)


@click.command("sign")
@click.argument("file")
@click.option("--become", metavar="PUBLISHER-ID", default="", help="Let this home be that publisher from now on.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_anew
@json_option
def sign_root(file: str, become: str, yes: bool, anew: bool, as_json: bool) -> None:
    """Sign the root that FILE proposes, after showing what it changes; take it, when it is complete.

    FILE is written anew with the signature, for the next device or back to the first.
    """
    path = Path(absolute(file))
    text = _read(path)
    found = RootFile.decode(text.encode())
    if not as_json:
        _show(found)
    if found.proposal is not None and not yes:
        _confirm(as_json)
    made = _signed(lambda report, given: call(SIGN_ROOT, SignRequest(text, become, given, anew), report), as_json)
    if made.file != text:
        _write(path, made.file)
    settle(made, str(path), as_json, written=True)


@click.command("roots")
@click.option("--to", metavar="FILE", default="", help="Write them to FILE instead.")
@json_option
def show_roots(to: str, as_json: bool) -> None:
    """Show this publisher's root chain: what its other devices, and a restored home, need. It is no secret."""
    found = ask(ROOTS, RootsRequest())
    if to:
        _write(Path(absolute(to)), found.file)
    if as_json:
        emit_json(found)
    else:
        say(f"The chain is in {absolute(to)}") if to else say(found.file.rstrip("\n"))


@click.command("renew")
@json_option
def renew_heads(as_json: bool) -> None:
    """Sign again what was signed before the current root, so that its readers believe it.

    That is the newest heads, what is delegated, and unlisted and private releases of this home, which no head names.
    """
    with show_events(quiet=as_json) as report:
        made = with_passphrase(lambda passphrase: call(RENEW, RenewRequest(passphrase), report))
    lent = (f"the delegation of {' '.join(names)}" for names in made.delegated)
    signed = ", ".join((*made.names, *made.releases, *lent))
    emit_json(made) if as_json else say(f"Signed anew: {signed or 'nothing; all are'}")


def _change(request: ChangeRequest, to: str, as_json: bool) -> None:
    made = _signed(lambda report, given: call(CHANGE_KEYS, replace(request, passphrase=given), report), as_json)
    settle(made, to, as_json)


def _signed(attempt: Callable[[Report, str], RootMade], as_json: bool) -> RootMade:
    with show_events(quiet=as_json) as report:
        return with_passphrase(lambda passphrase: attempt(report, passphrase))


def settle(made: RootMade, to: str, as_json: bool, *, written: bool = False) -> None:
    """Say what became of it; write the file that goes to the other devices, unless it lies there already."""
    path = Path(absolute(to or f"publisher-root-{made.version}.jsonl"))
    if not written and (to or not made.complete):
        _write(path, made.file)
        written = True
    if as_json:
        emit_json(made)
        return
    if not made.complete:
        say(f"Root {made.version} is signed here, and not complete: {_missing(made)} must sign it yet.")
        say(f"Carry {path} to them, and call there: samara key sign {path.name}")
        return
    say(f"Root {made.version} is complete: {made.threshold} of {len(made.keys)} keys speak for {made.publisher}")
    if made.threshold > 1:
        say("No home alone can publish for it from now on.")
    if made.heads:
        say(f"Signed anew under it: {made.heads} head{'s' * (made.heads != 1)}")
    if made.releases:
        what = f"{made.releases} release{'s' * (made.releases != 1)}"
        say(f"Signed by the new keys, too: {what} that no head names. Who has the link gets that by fetching again.")
    for names in made.delegated:
        say(f"Signed anew, too: the delegation of {' '.join(names)}")
    if made.delegated:
        say("Was the old key stolen? Then see whom these are for (samara key delegations), and end what is not yours.")
    if made.left and made.threshold == 1:
        say(f"Not signed under it yet: {', '.join(made.left)}. To do it: samara key renew")
    if not made.kept:
        say("This home publishes as another one. To let it be this publisher: samara key sign FILE --become ID")
    if len(made.keys) > 1:
        say("The other devices need it, too: samara key roots --to FILE here, samara key sign FILE there.")


def _confirm(as_json: bool) -> None:
    if as_json:
        raise UsageError("nobody is asked with --json", hint="Look at the file without it first; then give --yes.")
    click.confirm("Sign this?", abort=True, err=True)


def _missing(made: RootMade) -> str:
    parts = [f"{count} of the {which} keys" for count, which in ((made.old, "old"), (made.new, "new")) if count]
    return " and ".join(parts)


def _show(file: RootFile) -> None:
    current = file.chain.current
    say(f"publisher  {format_record(file.chain.publisher)}")
    words = ask(WORDS, WordsRequest(format_record(file.chain.publisher)))
    say(f"           {' '.join(words.words)}{f' ({words.name})' if words.name else ''}")
    if file.proposal is None:
        say(f"root       {current.version}, complete: {current.threshold} of {len(current.keys)} keys")
        return
    root = file.proposal.root
    say(f"root       {root.version}, proposed: {root.threshold} of {len(root.keys)} keys must sign from then on")
    say(f"           now it is {current.threshold} of {len(current.keys)}")
    for key in sorted({*root.keys, *current.keys}):
        mark = " " if key in root.keys and key in current.keys else "+" if key in root.keys else "-"
        say(f"         {mark} {key}")


def _read(path: Path) -> str:
    with os_errors(f"cannot read {path}"), open(path, "rb") as file:
        data = file.read(MAX_ROOT_FILE + 1)
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no root file", hint="It is made by samara key rotate, add-key or roots.") from None


def _write(path: Path, text: str) -> None:
    with os_errors(f"cannot write {path}"):
        write_private(path, text.encode(), replace=True)
