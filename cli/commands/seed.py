"""seed and node: the node in the foreground."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import click
import msgspec
import trio

from samara.cli.commands.limits import limit_options, limits_of
from samara.cli.commands.publish import print_published, publish_options, request_of
from samara.cli.doors import hold
from samara.cli.importing import importing
from samara.cli.operations import Operations
from samara.cli.output import emit_json, json_option, say, show_events
from samara.cli.targets import target_of
from samara.node.app import Node
from samara.node.doors.client import Connection, call_node
from samara.node.operations.limits import LIMITS
from samara.node.operations.publish import PUBLISH, PublishedRow, PublishRequest
from samara.node.operations.seeding import SEED, SeedRequest
from samara.node.store.home import Home
from samara.protocol.errors import HomeBusyError, UsageError

__all__ = ["node_command", "seed_command"]


@click.command("seed")
@click.argument("targets", metavar="[PATH|REF]...", nargs=-1, required=True)
@publish_options
@limit_options
@click.option("--qr", is_flag=True, help="Draw the link as a QR code.")
@json_option
def seed_command(targets: tuple[str, ...], qr: bool, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - as click hands them over
    """Publish what is a path, then serve to others until Ctrl-C.

    Beside a running node it publishes, prints the link, and returns.

    \b
    samara seed model.gguf
    samara seed ./my-dataset --license CC-BY-4.0 --qr
    """  # noqa: D301 - click wants the character, not the two
    limits = limits_of(options)
    requests: list[PublishRequest] = []
    refs: list[str] = []
    for text in targets:
        target = target_of(text)
        if target.is_path:
            requests.append(request_of(target.text, options))
        else:
            refs.append(target.text)
    seeded = SeedRequest(tuple(refs), tuple(options["insist"]))
    with show_events(quiet=as_json) as report:

        def beside(connection: Connection) -> None:
            if limits is not None:
                raise UsageError("a node runs already", hint="Change its limits with samara limits.")
            if len(requests) > 1:
                raise UsageError("beside a running node, one path at a time", hint="Call samara seed once for each.")
            if refs:
                call_node(connection, SEED, seeded, report)
            for request in requests:
                _print([call_node(connection, PUBLISH, request, report)], qr, as_json, "", ())

        async def work(node: Node) -> None:
            if limits is not None:
                await node.run(LIMITS, limits, report)
            if refs:
                await node.run(SEED, seeded, report)
            service = await node.network()
            rows = [await node.run(PUBLISH, request, report) for request in requests]
            _print(rows, qr, as_json, service.host.peer, service.link_addresses())
            await node.fetches.take_up()
            if not as_json:
                say("Seeding. Leave this running; Ctrl-C stops it.")
            await trio.sleep_forever()

        _stay(work, beside)


@click.command("node")
@limit_options
@json_option
def node_command(as_json: bool, **options: Any) -> None:  # noqa: ANN401 - as click hands them over
    """Run the node until Ctrl-C: serve what is held, and go on with queued fetches.

    \b
    samara node
    samara node --upload '2 MB' --max-upload '50 GB'
    """  # noqa: D301 - click wants the character, not the two
    limits = limits_of(options)

    def beside(_: Connection) -> None:
        holder = Home.find().holder()
        raise HomeBusyError(
            f"{Home.find().root} is held by process {holder.pid if holder else '?'}",
            hint="A node runs already: its commands work beside it. Stop it first, or use another $SAMARA_HOME.",
        )

    async def work(node: Node) -> None:
        if limits is not None:
            await node.run(LIMITS, limits, lambda event: None)
        service = await node.network()
        await node.fetches.take_up()
        _print([], False, as_json, service.host.peer, service.link_addresses())
        await trio.sleep_forever()

    _stay(work, beside)


def _stay(work: Callable[[Node], Awaitable[None]], beside: Callable[[Connection], None]) -> None:
    async def all_here(node: Node) -> None:
        with importing():
            Operations().load()
        await work(node)

    try:
        hold(all_here, beside)
    except KeyboardInterrupt:
        say("Stopped; nothing is lost.") if not _json() else None


def _json() -> bool:
    context = click.get_current_context(silent=True)
    return bool(context and context.params.get("as_json"))


def _print(rows: list[PublishedRow], qr: bool, as_json: bool, peer: str, addresses: tuple[str, ...]) -> None:
    if as_json:
        emit_json({"published": msgspec.to_builtins(rows), "peer": peer, "addresses": list(addresses)})
    else:
        for row in rows:
            print_published(row)
            if qr:
                _draw(row.link)
        if peer:
            say(f"This node is {peer}")
        for address in addresses:
            say(f"  at {address}")
    sys.stdout.flush()


def _draw(link: str) -> None:
    import segno

    segno.make_qr(link, error="l").terminal(out=sys.stdout, compact=True)
