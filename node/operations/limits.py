"""limits: what the node takes of the line, shown and changed while it runs."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import trio

from samara.node.config import save_settings
from samara.node.network.allowance import Allowance
from samara.node.network.timetable import Rate, Window
from samara.node.operations.base import Notice, Operation, Report
from samara.protocol.errors import UsageError
from samara.protocol.limits import MAX_WINDOWS

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = ["LIMITS", "InForce", "LimitsRequest", "LimitsResult", "in_force"]


@dataclass(frozen=True, slots=True)
class LimitsRequest:
    """What to change; None leaves it as it is, "off" is no cap.

    Attributes:
        upload: Bytes a second.
        download: Bytes a second.
        peer_upload: Bytes a second, above 0.
        peer_download: Bytes a second, above 0.
        max_upload: Bytes.
        metered: The line is dear.
        schedule: The windows, in place of those before.
        save: Write it into `config.toml` too.
    """

    upload: Rate | None = None
    download: Rate | None = None
    peer_upload: Rate | None = None
    peer_download: Rate | None = None
    max_upload: Rate | None = None
    metered: bool | None = None
    schedule: tuple[Window, ...] | None = None
    save: bool = False


@dataclass(frozen=True, slots=True)
class InForce:
    """What holds now (specs/cli.md).

    Attributes:
        upload: Bytes a second; None for no cap, as with the others.
        download: Bytes a second.
        peer_upload: Bytes a second.
        peer_download: Bytes a second.
        max_upload: Bytes.
        given: Bytes that were sent since the start, which `max_upload` counts.
        metered: The line is dear.
        gives: Chunks are given now.
        window: The window of the schedule that decides; empty when none does.
        until: Local time of the next change by the schedule; empty when there is none.
    """

    upload: int | None
    download: int | None
    peer_upload: int | None
    peer_download: int | None
    max_upload: int | None
    given: int
    metered: bool
    gives: bool
    window: str
    until: str


@dataclass(frozen=True, slots=True)
class LimitsResult:
    """What was set, and what holds now (specs/cli.md).

    Attributes:
        upload: Bytes a second outside of all windows; None for no cap, as with the others.
        download: Bytes a second outside of all windows.
        peer_upload: Bytes a second.
        peer_download: Bytes a second.
        max_upload: Bytes.
        metered: The line is dear.
        schedule: The windows.
        running: A node with a network runs here.
        in_force: What holds now.
    """

    upload: int | None
    download: int | None
    peer_upload: int | None
    peer_download: int | None
    max_upload: int | None
    metered: bool
    schedule: tuple[Window, ...]
    running: bool
    in_force: InForce


def in_force(allowance: Allowance) -> InForce:
    """Return what holds now."""
    settings, rates, until = allowance.settings, allowance.rates, allowance.until()
    return InForce(
        rates.upload,
        rates.download,
        settings.peer_upload,
        settings.peer_download,
        settings.max_upload,
        allowance.giving.given,
        settings.metered,
        allowance.giving.open,
        str(rates.window or ""),
        until.isoformat(timespec="minutes") if until is not None else "",
    )


async def _limits(node: Node, request: LimitsRequest, report: Report) -> LimitsResult:
    changes = _changes(request)
    if request.save:
        await trio.to_thread.run_sync(save_settings, node.home, "network", changes)
        for name in changes:
            if (variable := f"SAMARA_NETWORK_{name}".upper()) in os.environ:
                report(Notice(f"{variable} is set, and wins over the file when the node starts."))
    if changes:
        node.allowance.set(replace(node.allowance.settings, **changes))
        node.library_changed()  # what is announced depends on whether the line is metered
    settings = node.allowance.settings
    return LimitsResult(
        settings.upload,
        settings.download,
        settings.peer_upload,
        settings.peer_download,
        settings.max_upload,
        settings.metered,
        settings.schedule,
        node.network_if_started is not None,
        in_force(node.allowance),
    )


def _changes(request: LimitsRequest) -> dict[str, Any]:
    """Return the settings that a request changes, with their values.

    Raises:
        UsageError: One has a value that it cannot have.
    """
    said = {field.name: getattr(request, field.name) for field in fields(request)}
    changes = {name: value for name, value in said.items() if value is not None and name != "save"}
    for name in ("peer_upload", "peer_download"):
        if changes.get(name) == 0:
            raise UsageError(f"{name} must be above 0", hint="To stop a direction altogether, set upload or download.")
    if len(changes.get("schedule", ())) > MAX_WINDOWS:
        raise UsageError(f"a schedule has at most {MAX_WINDOWS} windows")
    return {name: None if value == "off" else value for name, value in changes.items()}


LIMITS = Operation("limits", LimitsRequest, LimitsResult, _limits, looks=True)
