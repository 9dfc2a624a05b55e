"""fetch: a release from peers into place."""

from __future__ import annotations

import click

from samara.cli.doors import call
from samara.cli.output import about, emit_json, human_bytes, json_option, say, show_events, table
from samara.cli.targets import absolute, insist_option
from samara.node.operations.fetch import DRY_RUN, FETCH, DryRun, Fetched, FetchRequest

__all__ = ["fetch_command"]

_MUCH = 1_000_000
"""Bytes from which on a person wants to know that they take their room twice."""


@click.command("fetch")
@click.argument("ref")
@click.option(
    "--include", metavar="GLOB", multiple=True, help="Only files whose path or name matches; may be repeated."
)
@click.option("--quant", metavar="LABEL", default="", help="Only this quantization, with the files that belong to it.")
@click.option("--tensor", "tensors", metavar="GLOB", multiple=True,
              help="Of model files only these tensors, with the headers; may be repeated.")  # fmt: skip
@click.option("--encode", type=click.Choice(["auto", "never"]), default="auto",
              help="Whether chunks may come encoded; never takes them as they are.")  # fmt: skip
@click.option("--reuse", metavar="DIR", multiple=True,
              help="Take what is right in DIR, an older download for one, from there; may be repeated.")  # fmt: skip
@click.option("--to", metavar="DIR", default="", help="Put the files into DIR instead of the home.")
@click.option("--peer", metavar="MULTIADDR", multiple=True, help="Ask this peer first: /ip4/…/tcp/…/p2p/…")
@click.option("--dry-run", is_flag=True, help="Only say what it would cost, file by file.")
@click.option("--wait", "patience", default=30.0, metavar="SECONDS", show_default=True,
              help="Give up when nobody has it for so long; 0 never does.")  # fmt: skip
@insist_option
@json_option
def fetch_command(
    ref: str,
    include: tuple[str, ...],
    quant: str,
    tensors: tuple[str, ...],
    encode: str,
    reuse: tuple[str, ...],
    to: str,
    peer: tuple[str, ...],
    dry_run: bool,
    patience: float,
    insist: tuple[str, ...],
    as_json: bool,
) -> None:
    """Fetch the release that REF names; every byte is verified.

    Stopped, it goes on where it was with the same command. Nothing that is held here is fetched.

    \b
    samara fetch samara:bagaaihra…?p=/ip4/192.0.2.1/tcp/4001/p2p/12D3KooW…
    samara fetch alice/tiny-chat --to ./models
    samara fetch REF --quant Q4_K_M
    samara fetch REF --reuse ~/.cache/huggingface/hub
    samara fetch REF --include "*.gguf" --dry-run
    samara fetch REF --tensor "model.layers.0.*"
    """  # noqa: D301 - click wants the character, not the two
    request = FetchRequest(
        ref,
        absolute(to) if to else "",
        include,
        peer,
        patience,
        quantization=quant,
        encode="" if encode == "auto" else encode,
        reuse=tuple(map(absolute, reuse)),
        tensors=tensors,
        insist=insist,
    )
    if dry_run:
        with show_events(quiet=as_json) as report:
            cost = call(DRY_RUN, request, report)
        emit_json(cost) if as_json else _print_cost(cost)
        return
    with show_events(quiet=as_json) as report:
        fetched = call(FETCH, request, report)
    emit_json(fetched) if as_json else _print_fetched(fetched)


def _print_fetched(fetched: Fetched) -> None:
    speed = fetched.received / fetched.seconds if fetched.seconds else 0
    say(f"{fetched.name}, {human_bytes(fetched.bytes)}, every byte verified")
    say(f"  path      {fetched.path}")
    say(f"  received  {human_bytes(fetched.received)} in {fetched.seconds:.1f} s ({human_bytes(speed)}/s)")
    if fetched.moved < 0.97 * fetched.received:
        say(f"  encoded   as {human_bytes(fetched.moved)}, {fetched.moved / fetched.received:.0%} of it")
    if fetched.reused:
        say(f"  reused    {human_bytes(fetched.reused)} that were here already{_room(fetched)}")
    for share in fetched.peers:
        say(f"  from      {share.peer}  {human_bytes(share.bytes)}")
    if fetched.partial:
        say("  partial   what is missing comes with: samara fetch REF")
    if not fetched.seeded:
        say("  Its publisher did not allow passing it on, so this node does not seed it.")


def _room(fetched: Fetched) -> str:
    if not fetched.shared:
        return "" if fetched.reused < _MUCH else ", copied: they take their room again"
    if fetched.shared >= 0.9 * fetched.reused:
        return ", shared: they take no more room"
    return f", {human_bytes(fetched.shared)} of them shared, the rest copied"


def _print_cost(cost: DryRun) -> None:
    columns = ["file", "size", "to fetch"]
    rows = [[f.path, human_bytes(f.bytes), human_bytes(f.needed)] for f in cost.files]
    if cost.estimated is not None:
        columns.append("on the line")
        for row, file in zip(rows, cost.files, strict=True):
            row.append(about(file.estimated))
    table(columns, rows)
    encoded = "" if cost.estimated is None else f", {about(cost.estimated)} on the line"
    say(f"{cost.name}: {human_bytes(cost.needed)} of {human_bytes(cost.bytes)} would be fetched{encoded}")
