"""peers, status, doctor: the network, the node, and what is wrong with either."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from samara.node.inference.engine import XllamaCpp
from samara.node.operations.base import Notice, Operation, Report
from samara.node.operations.limits import InForce, in_force
from samara.node.operations.trusting import floor_row, show_trust
from samara.node.store.files import free_bytes
from samara.protocol.errors import SamaraError

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = ["DOCTOR", "PEERS", "STATUS", "Check", "Diagnosis", "PeerRow", "PeersResult", "StatusResult"]


@dataclass(frozen=True, slots=True)
class PeersRequest:
    """Who is connected."""


@dataclass(frozen=True, slots=True)
class PeerRow:
    """A connected peer."""

    peer: str
    address: str
    inbound: bool
    agent: str


@dataclass(frozen=True, slots=True)
class PeersResult:
    """Connected peers, and those that are banned."""

    peers: tuple[PeerRow, ...]
    banned: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """How the node is."""


@dataclass(frozen=True, slots=True)
class StatusResult:
    """How the node is (specs/cli.md).

    Attributes:
        peer: Its peer id; empty while it has no network.
        pid: Its process.
        home: Its home.
        uptime: Seconds.
        listening: Addresses that sockets are bound to.
        reachable: Those at which another host has reached it.
        peers: How many are connected.
        releases: How many are known here.
        bytes: Bytes of contents in the home.
        sent: Bytes of payload sent since the start.
        received: Bytes of payload received since the start.
        saved: Bytes of chunks that were not sent, since chunks went encoded.
        fetches: How many are under way.
        limits: What it takes of the line now.
        revoked: Names and versions of what is held here and was taken back, with the reason.
    """

    peer: str
    pid: int
    home: str
    uptime: float
    listening: tuple[str, ...]
    reachable: tuple[str, ...]
    peers: int
    releases: int
    bytes: int
    sent: int
    received: int
    saved: int
    fetches: int
    limits: InForce
    revoked: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DoctorRequest:
    """What is wrong."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All that was looked at; `ok` when nothing is wrong that keeps Samara from working."""

    ok: bool
    checks: tuple[Check, ...]


async def _peers(node: Node, request: PeersRequest, report: Report) -> PeersResult:
    service = node.network_if_started
    rows = [PeerRow(p.peer, p.address, p.inbound, p.agent) for p in service.host.peers()] if service else []
    return PeersResult(tuple(rows), tuple(sorted(node.store.catalog.banned())))


async def _status(node: Node, request: StatusRequest, report: Report) -> StatusResult:
    service = node.network_if_started
    reach = service.host.reachability() if service else None
    return StatusResult(
        service.host.peer if service else "",
        os.getpid(),
        str(node.home.root),
        round(trio.current_time() - node.started, 1),
        reach.listening if reach else (),
        reach.reachable if reach else (),
        len(service.host.peers()) if service else 0,
        len(node.store.catalog.releases()),
        await trio.to_thread.run_sync(node.store.home_bytes),
        int(service.upload.passed) if service else 0,
        int(service.download.passed) if service else 0,
        node.store.encoder.saved,
        node.fetches.running(),
        in_force(node.allowance),
        await trio.to_thread.run_sync(_revoked, node),
    )


def _revoked(node: Node) -> tuple[str, ...]:
    found = ((held, node.store.trust.taken_back(held)) for held in node.store.catalog.releases())
    return tuple(f"{held.name} {held.version}: {why}" for held, why in found if why)


async def _doctor(node: Node, request: DoctorRequest, report: Report) -> Diagnosis:
    checks = []
    for look in (_home, _time, _trust, _engine, _listening, _reachability):
        report(Notice(f"looking at the {look.__name__.strip('_')}"))
        checks.append(await _guarded(look, node))
    return Diagnosis(all(check.ok for check in checks), tuple(checks))


async def _guarded(look: Callable[[Node], Awaitable[Check]], node: Node) -> Check:
    try:
        return await look(node)
    except SamaraError as error:
        return Check(look.__name__.strip("_"), ok=False, message=error.message, hint=error.hint)


async def _home(node: Node) -> Check:
    free = free_bytes(node.home.root) - node.settings.store.floor
    if free <= 0:
        hint = "Free some room, or lower store.floor in config.toml."
        return Check("home", ok=False, message=f"{node.home.root}: the floor of free space is reached", hint=hint)
    return Check("home", ok=True, message=f"{node.home.root}: {free:,} bytes may be used")


async def _time(node: Node) -> Check:
    found = await trio.to_thread.run_sync(floor_row, node.store)
    said = f"it is at least {found.floor}, by {found.source}; the clock shows {found.clock}"
    if found.believed == "believed":
        return Check("time", ok=True, message=said)
    hint = "Set the clock. If it is right, say so: samara trust reset-clock"
    return Check("time", ok=False, message=f"{said}, which is {found.believed} and not believed", hint=hint)


async def _trust(node: Node) -> Check:
    shown = await trio.to_thread.run_sync(show_trust, node.store)
    frozen = [fork.publisher for fork in shown.forks if fork.freezes]
    if frozen:
        message = f"{', '.join(sorted(set(frozen)))}: frozen, since two things were signed for one place"
        return Check("trust", ok=False, message=message, hint="See samara trust show.")
    rules = sum(1 for rule in shown.rules if rule.number)
    what = (
        f"{rules} rule{'s' * (rules != 1)} in {shown.file}" if rules else "no rules: strangers are taken at first sight"
    )
    return Check("trust", ok=True, message=what)


async def _engine(node: Node) -> Check:
    engine = XllamaCpp()
    await trio.to_thread.run_sync(engine.check)
    return Check("engine", ok=True, message=f"{engine.name} can run on this CPU")


async def _listening(node: Node) -> Check:
    service = await node.network()
    listening = service.host.listening()
    if not listening:
        return Check(
            "listening", ok=False, message="no socket could be bound", hint="See network.listen in config.toml."
        )
    return Check("listening", ok=True, message=" ".join(listening))


async def _reachability(node: Node) -> Check:
    service = await node.network()
    reach = await service.probe_reachability()
    if reach.reachable:
        return Check("reachability", ok=True, message="others reach this node at " + " ".join(reach.reachable))
    if not reach.asked:
        message = "nobody could be asked whether this node can be reached"
        hint = "Start a second node on this LAN, or name one in network.bootstrap in config.toml."
        return Check("reachability", ok=True, message=message, hint=hint)
    message = f"{reach.asked} peers tried to reach this node, and none could"
    hint = "Fetching works all the same. To seed to others, open the listening port in your router or firewall."
    return Check("reachability", ok=False, message=message, hint=hint)


PEERS = Operation("peers", PeersRequest, PeersResult, _peers)
STATUS = Operation("status", StatusRequest, StatusResult, _status)
DOCTOR = Operation("doctor", DoctorRequest, Diagnosis, _doctor)
