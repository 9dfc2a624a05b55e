"""attest: say something of a release: to whoever asks, or so that tools other than Samara can verify it."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING

import click

from samara.cli.doors import call
from samara.cli.output import emit_json, json_option, say, show_events
from samara.cli.targets import absolute
from samara.node.operations.signing import ATTEST, Attested, AttestRequest
from samara.protocol.errors import UsageError
from samara.protocol.records import format_time

if TYPE_CHECKING:
    from samara.node.operations.oms import OmsAttested

__all__ = ["attest_command"]

_DAY = 86_400


@click.command("attest")
@click.argument("ref")
@click.option(
    "--claim",
    type=click.Choice(["reviewed", "evaluated", "reproduced", "harmful"]),
    help="What you say of it, to whoever asks.",
)
@click.option("--suite", default="", help="What it was evaluated with.")
@click.option("--score", default="", help="What came out: a decimal number.")
@click.option("--results", metavar="FILE", default="", help="A file of results, whose digests are signed.")
@click.option("--text", default="", help="In words, for people.")
@click.option("--days", type=click.IntRange(1, 36_525), help="After so many days you do not stand for it any more.")
@click.option("--tell-its-id", is_flag=True, help="Also of an unlisted or private release: your log tells its id.")
@click.option("--oms", is_flag=True, help="Write an OpenSSF Model Signing signature beside the files.")
@click.option("--to", metavar="FILE", default="", help="Write that there instead of model.sig beside the files.")
@json_option
def attest_command(
    ref: str, claim: str | None, suite: str, score: str, results: str, text: str, days: int | None, tell_its_id: bool,
    oms: bool, to: str, as_json: bool,
) -> None:  # fmt: skip
    """Say something of a release, whoever published it, under this home's own name; or sign its files for other tools.

    A --claim is public: it goes into your log, and to whoever asks for that. `samara show` tells what was said.

    With --oms it is a model.sig, which model_signing (from PyPI) verifies with the key that `samara key show --oms`
    writes, and `samara verify` with what your log says: that the key is yours is signed into it the first time. Nothing
    is hashed again that has not changed since it was published or fetched.

    \b
    samara attest alice/tiny-chat --claim evaluated --suite mmlu --score 61.2 --results mmlu.json
    samara attest alice/tiny-chat --claim harmful --text "its tokenizer runs code"
    samara attest me/tiny-llama --oms
    samara key show --oms --to key.pem
    """  # noqa: D301 - click wants the character, not the two
    if oms and claim is None:
        _attest_oms(ref, to, as_json)
        return
    if oms or claim is None:
        what = "both" if oms else "nothing"
        raise UsageError(f"{what} was said that could be attested", hint="Say which kind: --claim or --oms.")
    expires = format_time(int(time.time()) + days * _DAY) if days is not None else ""
    request = AttestRequest(ref, claim, suite, score, absolute(results) if results else "", text, expires, tell_its_id)
    with show_events(quiet=as_json) as report:
        made = call(ATTEST, request, report)
    emit_json(made) if as_json else _print_claim(made)


def _print_claim(made: Attested) -> None:
    say(f"{made.publisher}/{made.name}: {made.claim}")
    say(f"  release  {made.release}")
    say(f"  record   {made.record}, position {made.position} of your log")


def _attest_oms(ref: str, to: str, as_json: bool) -> None:
    from samara.node.operations.oms import ATTEST_OMS, AttestOmsRequest

    with show_events(quiet=as_json) as report:
        made = call(ATTEST_OMS, AttestOmsRequest(ref, absolute(to) if to else ""), report)
    emit_json(made) if as_json else _print_made(made)


def _print_made(made: OmsAttested) -> None:
    files = "1 file" if made.files == 1 else f"{made.files} files"
    say(f"{made.path}: {files} signed by the OMS key {made.key}")
    if made.recorded:
        say(f"Your log says now that this key is yours: record {made.record}")
        say("Whoever hears of it (a peer, or a file: samara records export) verifies with: samara verify FOLDER")
    command = ["model_signing", "verify", "key", made.folder, "--signature", made.path, "--public_key", "key.pem"]
    if made.links:
        command.append("--allow_symlinks")
    if made.others:
        command.append("--ignore_unsigned_files")
    say("Others verify it with:")
    say("  samara key show --oms --to key.pem")
    say(f"  {shlex.join(command)}")
