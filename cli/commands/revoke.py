"""revoke: take back a release, or a key."""

from __future__ import annotations

import click

from samara.cli.doors import call
from samara.cli.output import emit_json, json_option, say, show_events
from samara.node.operations.signing import REVOKE, Revoked, RevokeRequest

__all__ = ["revoke_command"]


@click.command("revoke")
@click.argument("ref", required=False)
@click.option("--key", metavar="DID", default="", help="Take back this key instead: did:key:z6Mk…")
@click.option(
    "--reason",
    type=click.Choice(["security", "broken", "licence", "withdrawn", "other"]),
    help="Why a release is taken back.",
)
@click.option("--text", default="", help="Why, in words, for people.")
@click.option("--replace", metavar="REF", default="", help="What to use in its place.")
@click.option("--through", type=int, metavar="POSITION", help="Believe the key up to this position of the log.")
@click.option("--tell-its-id", is_flag=True, help="Also of an unlisted or private release: your log tells its id.")
@json_option
def revoke_command(
    ref: str | None, key: str, reason: str | None, text: str, replace: str, through: int | None, tell_its_id: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Take back a release of yours, or a key. It holds for ever, and nothing undoes it.

    Whoever hears of it is told, wherever the release is shown, and cannot run, fetch or pass it on without saying so.

    \b
    samara revoke me/tiny-chat@1 --reason broken --text "wrong tokenizer" --replace me/tiny-chat@2
    samara revoke --key did:key:z6Mk…
    """  # noqa: D301 - click wants the character, not the two
    with show_events(quiet=as_json) as report:
        request = RevokeRequest(ref or "", key, reason or "", text, replace, through, tell_its_id)
        done = call(REVOKE, request, report)
    emit_json(done) if as_json else _print(done)


def _print(done: Revoked) -> None:
    if done.key:
        say(f"The key {done.key} is taken back: what it signed after position {done.through} of the log is void.")
    else:
        say(f"{done.name or done.release} is taken back: {done.reason}.")
        if done.replacement:
            say(f"  in its place  {done.replacement}")
    say(f"  record        {done.record}, position {done.position} of your log")
    say("  Others hear of it when they meet this node, or by: samara records export")
