"""tensors: what tensors a release has."""

from __future__ import annotations

import click

from samara.cli.models import open_model
from samara.cli.output import emit_json, human_bytes, json_option, say, show_events, table

__all__ = ["tensors_command"]


@click.command("tensors")
@click.argument("ref")
@click.option("--peer", metavar="MULTIADDR", multiple=True, help="Ask this peer first: /ip4/…/tcp/…/p2p/…")
@click.option("--wait", "patience", default=30.0, metavar="SECONDS", show_default=True,
              help="Give up when nobody has it for so long; 0 never does.")  # fmt: skip
@json_option
def tensors_command(ref: str, peer: tuple[str, ...], patience: float, as_json: bool) -> None:
    """List the tensors of a release. Of its model files only the headers are fetched.

    \b
    samara tensors alice/tiny-chat
    samara fetch alice/tiny-chat --tensor "model.layers.0.*"
    """  # noqa: D301 - click wants the character, not the two
    with show_events(quiet=as_json) as report:
        model = open_model(ref, peers=peer, patience=patience, report=report)
    found = model.look()
    if as_json:
        emit_json(found)
        return
    rows = [
        (each.name, each.dtype, "×".join(map(str, each.shape)), human_bytes(each.bytes), "here" if each.held else "")
        for each in found.tensors
    ]
    table(("tensor", "dtype", "shape", "size", ""), rows)
    for path in found.unread:
        say(f"  {path}: its header is not here")
