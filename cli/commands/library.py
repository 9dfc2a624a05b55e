"""ls, show, queue, verify, pin, unpin, rm, gc."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
import msgspec

from samara.cli.doors import ask, call
from samara.cli.output import emit_json, human_bytes, json_option, printable, say, show_events, table
from samara.cli.targets import absolute, target_of
from samara.node.operations.queries import (
    LIST,
    QUEUE,
    SHOW,
    AttestationRow,
    ListRequest,
    QueueRequest,
    ReleaseRow,
    Shown,
    ShowRequest,
)
from samara.node.store.home import Home
from samara.protocol.errors import UsageError

if TYPE_CHECKING:
    from samara.node.operations.delegating import DelegateRow
    from samara.node.operations.judging import SeenRow
    from samara.node.operations.library import Verified
    from samara.node.operations.oms import OmsFound

__all__ = [
    "delegated",
    "gc_command",
    "ls_command",
    "pin_command",
    "queue_command",
    "rm_command",
    "show_command",
    "unpin_command",
    "verify_command",
]


@click.command("ls")
@json_option
def ls_command(as_json: bool) -> None:
    """List the releases that are known here."""
    listed = ask(LIST, ListRequest())
    emit_json(listed) if as_json else _print_rows(listed.releases, "Nothing yet. Try: samara demo")


@click.command("show")
@click.argument("ref")
@click.option("--said-by", metavar="WHO", multiple=True, help="Of what is said of it, only what WHO says.")
@click.option("--trusted", is_flag=True, help="Of what is said of it, only what those say who have names here.")
@json_option
def show_command(ref: str, said_by: tuple[str, ...], trusted: bool, as_json: bool) -> None:
    """Show a release, what is said of it, its files and their digests (as b3sum and sha256sum print them)."""
    shown = ask(SHOW, ShowRequest(ref, said_by, trusted))
    emit_json(shown) if as_json else _print_shown(shown)


@click.command("queue")
@click.option("--drop", type=int, metavar="NO", help="Stop this fetch and take it out; what it committed stays.")
@json_option
def queue_command(drop: int | None, as_json: bool) -> None:
    """List the fetches that are not done."""
    if drop is not None:
        from samara.node.operations.fetch import DROP, DropRequest

        with show_events(quiet=as_json) as report:
            call(DROP, DropRequest(drop), report)
    queued = ask(QUEUE, QueueRequest())
    if as_json:
        emit_json(queued)
    elif queued.fetches:
        rows = [(str(f.number), f.state, f.ref, f.error) for f in queued.fetches]
        table(("no", "state", "what", "error"), rows)
        if not Home.find().is_held() and any(f.state == "queued" for f in queued.fetches):
            print("Nothing runs now. What is queued goes on when you start: samara node", file=sys.stderr)
    else:
        say("No fetch is under way.")


@click.command("verify")
@click.argument("targets", metavar="[PATH|REF]...", nargs=-1)
@click.option("--oms-key", metavar="FILE", default="", help="The public key (PEM) by which an OMS signature must be.")
@click.option("--signature", metavar="FILE", default="", help="The OMS signature; else model.sig in the folder.")
@json_option
def verify_command(targets: tuple[str, ...], oms_key: str, signature: str, as_json: bool) -> None:
    """Hash again what is here, and say who signed it; without arguments, all that is held.

    One word says what to think of it: GOOD, STALE (intact, and something newer was to be expected), REVOKED (its
    publisher took it back), UNTRUSTED (nobody whom you believe has signed it), DAMAGED. Exits with 5 when one is
    REVOKED or UNTRUSTED, with 4 when a byte is wrong or a file is missing.
    A model.sig (OpenSSF Model Signing) in a folder is checked, too, if this home made it, a publisher's record that is
    known here says whose key it is, or --oms-key names the key.

    \b
    samara verify
    samara verify ./models/tiny.gguf
    samara verify ./tiny-llama --oms-key alice.pem
    """  # noqa: D301 - click wants the character, not the two
    from samara.node.operations.library import VERIFY, VerifyRequest

    files = (absolute(oms_key) if oms_key else "", absolute(signature) if signature else "")
    if any(files) and (len(targets) != 1 or not target_of(targets[0]).is_path):
        raise UsageError("--oms-key and --signature go with one PATH", hint="Name the folder in which the model lies.")
    if targets:
        requests = [VerifyRequest(t.text, t.is_path, *files) for t in map(target_of, targets)]
    else:
        held = ask(LIST, ListRequest()).releases
        requests = [VerifyRequest(row.release) for row in held if row.state in {"complete", "edited"}]
    found: list[Verified] = []
    for request in requests:
        with show_events(quiet=as_json) as report:
            found.append(call(VERIFY, request, report))
    if as_json:
        emit_json(found[0] if len(targets) == 1 else {"verified": msgspec.to_builtins(found)})
    elif not found:
        say("Nothing is held here whole.")
    else:
        for one in found:
            _print_verified(one)
    if code := max((_exit_code(one) for one in found), default=0):
        raise SystemExit(code)


def _ref_command(name: str, text: str) -> click.Command:
    @click.command(name, help=text)
    @click.argument("ref")
    @json_option
    def command(ref: str, as_json: bool) -> None:
        from samara.node.operations.library import PIN, UNPIN, RefRequest

        with show_events(quiet=as_json) as report:
            result = call(PIN if name == "pin" else UNPIN, RefRequest(ref), report)
        emit_json(result) if as_json else say(f"{name}ned {result.release}")

    return command


pin_command = _ref_command("pin", "Keep a release: gc leaves it.")
unpin_command = _ref_command("unpin", "Let gc take a release.")


@click.command("rm")
@click.argument("ref")
@json_option
def rm_command(ref: str, as_json: bool) -> None:
    """Forget a release, and delete its files from the home; files elsewhere stay."""
    from samara.node.operations.library import REMOVE, RefRequest

    with show_events(quiet=as_json) as report:
        gone = call(REMOVE, RefRequest(ref), report)
    emit_json(gone) if as_json else say(f"Forgotten; {human_bytes(gone.bytes)} deleted.")


@click.command("gc")
@json_option
def gc_command(as_json: bool) -> None:
    """Delete from the home what is neither pinned nor being fetched."""
    from samara.node.operations.library import GC, CollectRequest

    with show_events(quiet=as_json) as report:
        gone = call(GC, CollectRequest(), report)
    emit_json(gone) if as_json else say(f"{gone.contents} contents gone, {human_bytes(gone.bytes)} deleted.")


def _print_rows(rows: Sequence[ReleaseRow], otherwise: str) -> None:
    if not rows:
        say(otherwise)
        return
    cells = [
        (row.name, row.version, human_bytes(row.bytes), _state(row), row.license, row.publisher[:20], row.release[:20])
        for row in rows
    ]
    table(("name", "version", "size", "state", "licence", "publisher", "release"), cells)


def _exit_code(one: Verified) -> int:
    """The code of the verdict; of several releases the highest counts: who does not believe it need not repair it."""
    if one.judged is not None and one.judged.verdict in {"REVOKED", "UNTRUSTED"}:
        return 5
    if one.ok and not one.release and one.oms is not None and not one.oms.trusted:
        return 5
    return 0 if one.ok else 4


def _files(count: int) -> str:
    return f"{count} file" if count == 1 else f"{count} files"


def _fact(name: str, value: str | int) -> str:
    if isinstance(value, int):
        return human_bytes(value) if name.endswith("_bytes") else f"{value:,}"
    return printable(value)


def _state(row: ReleaseRow) -> str:
    state = f"{100 * row.held // max(row.bytes, 1)} %" if row.state == "partial" else row.state
    return state + (", pinned" if row.pinned else "") + (", REVOKED" if row.revoked else "")


def _print_shown(shown: Shown) -> None:
    facts = [
        ("release", shown.release),
        ("content", shown.content),
        (
            "publisher",
            f"{shown.publisher} ({shown.publisher_id})"
            if shown.publisher != shown.publisher_id
            else shown.publisher_id,
        ),
        ("issued", shown.issued),
        *(("signed by", delegated(one)) for one in (shown.delegate,) if one),
        ("verdict", "; ".join([shown.verdict, *shown.reasons])),
        *(("use instead", one) for one in (shown.replacement,) if one),
        ("licence", shown.license + ("" if shown.redistribute else " (not passed on)")),
        ("size", f"{human_bytes(shown.bytes)} in {_files(shown.files)}"),
        ("state", _state(shown)),
        *(("lies at", place) for place in shown.places),
        *((name.replace("_", " ").removesuffix(" bytes"), _fact(name, value)) for name, value in shown.format.items()),
        ("link", shown.link),
    ]
    say(f"{shown.name} {shown.version} ({shown.kind}, {shown.visibility})")
    for name, value in facts:
        say(f"  {name:14} {value}")
    for seen in shown.seen:
        say(f"  {_seen(seen)}")
    for note in shown.notes:
        say(f"  {note}")
    for one in shown.attestations:
        say(f"  {_attested(one)}")
    for file in shown.file_list:
        say(f"{file.path}  {human_bytes(file.bytes)}  {file.state}")
        say(f"  blake3  {file.blake3}")
        say(f"  sha256  {file.sha256}")


def _print_verified(one: Verified) -> None:
    if one.release:
        _print_release(one)
    if one.oms is not None:
        _print_oms(one.name, one.oms)


def _print_oms(name: str, oms: OmsFound) -> None:
    whose = "this home's OMS key" if oms.signer == "me" else f"the OMS key of {oms.signer or 'the file you named'}"
    if oms.signer and oms.signer == oms.publisher:
        whose += ", somebody you have no name for"
    passed_over = f", {oms.ignored} passed over" if oms.ignored else ""
    say(f"{name}: {'every signed file is right' if oms.ok else 'WRONG'} ({_files(oms.files)}{passed_over})")
    for path in oms.bad:
        say(f"  wrong or missing: {path}")
    for path in oms.unsigned:
        say(f"  not signed: {path}")
    say(f"  signed by {whose}, {oms.key}, in {oms.signature}")
    for note in oms.notes:
        say(f"  {note}")


def _print_release(one: Verified) -> None:
    judged = one.judged
    bytes_ = "every byte is right" if one.ok else "WRONG"
    what = f"{one.name} {one.version}: {bytes_} ({_files(one.files)}, {human_bytes(one.bytes)})"
    if judged is None:
        say(what)
    else:
        old = f", {judged.age_days} days old" if judged.verdict == "STALE" else ""
        say(f"{judged.verdict}{old}: {what}")
        for reason in judged.reasons:
            say(f"  {reason}")
        if judged.replacement:
            say(f"  in its place: {judged.replacement}")
    for path in one.bad:
        say(f"  wrong or missing: {path}")
    for signer in one.signers:
        who = signer.name if signer.trusted else "somebody you have no name for"
        who = f"a delegate of {who}" if judged is not None and judged.delegate is not None else who
        when = f" on {judged.issued[:10]}" if judged is not None else ""
        say(f"  signed by {who}{when}, {signer.key}" + ("" if one.standing == "current" else f" ({one.standing} key)"))
    if judged is not None:
        if judged.delegate is not None:
            say(f"  {delegated(judged.delegate)}")
        for seen in judged.seen:
            say(f"  {_seen(seen)}")
        say(f"  rule {judged.rule}, on the ground: {judged.ground}")
        for note in judged.notes:
            say(f"  {note}")


def _seen(one: SeenRow) -> str:
    return f"seen by {one.witness} at position {one.position} of its publisher's log"


def delegated(one: DelegateRow) -> str:
    """Return in words how it stands with delegates who have signed something."""
    names = " ".join(one.names) or "names that are not known here"
    until = f" until {one.expires}" if one.expires else ""
    states = {
        "in force": f"a delegate for {names}{until}",
        "expired": f"a delegate for {names}, whose delegation expired on {one.expires}",
        "changed": f"a delegate for {names}, which are delegated to other keys now",
    }
    return states.get(one.state, f"a delegate for {names}, whose delegation has ended")


def _attested(one: AttestationRow) -> str:
    who = one.publisher if one.trusted else f"{one.publisher[:20]}… (somebody you have no name for)"
    score = f" {one.suite}" * bool(one.suite) + f" {one.score}" * bool(one.score)
    text = f": {one.text}" if one.text else ""
    old = f", and stood for it until {one.expires[:10]}" if one.expired else ""
    return f"{one.claim}{score} by {who} on {one.issued[:10]}{old}{text}"
