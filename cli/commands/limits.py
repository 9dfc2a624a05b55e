"""limits: show or change what the node takes of the line; and the options of it that `node` and `seed` share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import click

from samara.cli.doors import call
from samara.cli.output import emit_json, human_bytes, json_option, say, show_events
from samara.node.network.timetable import Rate, parse_rate, parse_window
from samara.node.operations.limits import LIMITS, InForce, LimitsRequest
from samara.protocol.errors import UsageError

__all__ = ["limit_options", "limits_command", "limits_of", "say_in_force"]

_RATES = ("upload", "download", "peer_upload", "peer_download", "max_upload")


def limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options by which limits are set."""
    options = [
        click.option("--upload", metavar="RATE", help="Send so much a second at most: '2 MB', '20 Mbit', 0, off."),
        click.option("--download", metavar="RATE", help="Receive so much a second at most."),
        click.option("--peer-upload", metavar="RATE", help="Send one peer so much a second at most."),
        click.option("--peer-download", metavar="RATE", help="Receive so much a second of one peer at most."),
        click.option("--max-upload", metavar="SIZE", help="Give no more chunks when so much was sent: '50 GB', off."),
        click.option(
            "--schedule",
            metavar="WINDOW",
            multiple=True,
            help="Other rates in a part of the week: 'mon-fri 08:00-18:00 upload=200kB download=0'; off for none.",
        ),
        click.option(
            "--metered/--no-metered",
            default=None,
            help="The line is dear: give and announce nothing, fetch only while somebody waits for it.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def limits_of(options: dict[str, Any], *, save: bool = False) -> LimitsRequest | None:
    """Return the request for what `limit_options` found, and take it out; None when it found nothing.

    Raises:
        UsageError: A rate or a window is none.
    """
    rates: dict[str, Rate | None] = {
        name: parse_rate(value) for name in _RATES if (value := options.pop(name)) is not None
    }
    windows, metered = options.pop("schedule"), options.pop("metered")
    if not rates and not windows and metered is None:
        return None
    schedule = tuple(parse_window(text) for text in windows if text.strip().lower() != "off") if windows else None
    return LimitsRequest(**rates, metered=metered, schedule=schedule, save=save)


@click.command("limits")
@limit_options
@click.option("--save", is_flag=True, help="Write it into config.toml, so that it holds after the next start too.")
@json_option
def limits_command(save: bool, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - as click hands them over
    """Show what the node takes of the line, or change it while the node runs.

    \b
    samara limits
    samara limits --upload '2 MB' --peer-upload '500 kB'
    samara limits --schedule 'mon-fri 08:00-18:00 upload=200kB download=0' --save
    samara limits --upload off --download off --schedule off
    """  # noqa: D301 - click wants the character, not the two
    request = limits_of(options, save=save)
    with show_events(quiet=as_json) as report:
        found = call(LIMITS, request or LimitsRequest(), report)
    if request is not None and not save and not found.running:
        raise UsageError("no node runs here", hint="With --save it holds when one starts.")
    if as_json:
        emit_json(found)
        return
    say_in_force(found.in_force)
    for window in found.schedule:
        say(f"schedule   {window}")
    if found.schedule:
        say(f"otherwise  {_rate(found.upload)} up, {_rate(found.download)} down")
    if not found.running:
        say("No node runs; this holds when one starts.")


def say_in_force(limits: InForce) -> None:
    """Print what holds now."""
    say(f"upload     {_rate(limits.upload)}{_of_each(limits.peer_upload)}{'' if limits.gives else '; gives no chunks'}")
    say(f"download   {_rate(limits.download)}{_of_each(limits.peer_download)}")
    if limits.max_upload is not None:
        say(f"max upload {human_bytes(limits.given)} given of {human_bytes(limits.max_upload)}")
    if limits.metered:
        say("metered    gives and announces nothing, and fetches only while somebody waits for it")
    if limits.window or limits.until:
        until = f", until {datetime.fromisoformat(limits.until):%a %H:%M}" if limits.until else ""
        say(f"window     {limits.window or 'none'}{until}")


def _rate(rate: int | None) -> str:
    if rate is None:
        return "no cap"
    return f"{human_bytes(rate)}/s" if rate else "0, moves no chunks"


def _of_each(rate: int | None) -> str:
    return "" if rate is None else f", {_rate(rate)} for each peer"
