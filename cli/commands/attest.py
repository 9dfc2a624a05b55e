"""attest: say of a release what tools other than Samara can verify."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from samara.cli.doors import call
from samara.cli.output import emit_json, json_option, say, show_events
from samara.cli.targets import absolute
from samara.protocol.errors import UsageError

if TYPE_CHECKING:
    from samara.node.operations.oms import OmsAttested

__all__ = ["attest_command"]


@click.command("attest")
@click.argument("ref")
@click.option("--oms", is_flag=True, help="Write an OpenSSF Model Signing signature beside the files.")
@click.option("--to", metavar="FILE", default="", help="Write it there instead of model.sig beside the files.")
@json_option
def attest_command(ref: str, oms: bool, to: str, as_json: bool) -> None:
    """Sign the files of a release, as they lie here, so that tools other than Samara can verify them.

    With --oms it is a model.sig, which model_signing (from PyPI) verifies with the key that `samara key show --oms`
    writes. Nothing is hashed again that has not changed since it was published or fetched.

    \b
    samara attest me/tiny-llama --oms
    samara key show --oms --to key.pem
    """  # noqa: D301 - click wants the character, not the two
    from samara.node.operations.oms import ATTEST_OMS, AttestOmsRequest

    if not oms:
        raise UsageError("nothing was said that could be attested", hint="Say which kind: --oms.")
    with show_events(quiet=as_json) as report:
        made = call(ATTEST_OMS, AttestOmsRequest(ref, absolute(to) if to else ""), report)
    emit_json(made) if as_json else _print_made(made)


def _print_made(made: OmsAttested) -> None:
    files = "1 file" if made.files == 1 else f"{made.files} files"
    say(f"{made.path}: {files} signed by the OMS key {made.key}")
    command = ["model_signing", "verify", "key", made.folder, "--signature", made.path, "--public_key", "key.pem"]
    if made.links:
        command.append("--allow_symlinks")
    if made.others:
        command.append("--ignore_unsigned_files")
    say("Others verify it with:")
    say("  samara key show --oms --to key.pem")
    say(f"  {shlex.join(command)}")
