"""peers, status, doctor."""

from __future__ import annotations

import click

from samara.cli.commands.limits import say_in_force
from samara.cli.doors import call
from samara.cli.output import emit_json, human_bytes, json_option, say, show_events, table
from samara.node.operations.network import DOCTOR, PEERS, STATUS, DoctorRequest, PeersRequest, StatusRequest

__all__ = ["doctor_command", "peers_command", "status_command"]


@click.command("peers")
@json_option
def peers_command(as_json: bool) -> None:
    """List the peers that the running node is connected to, and those that are banned."""
    with show_events(quiet=as_json) as report:
        found = call(PEERS, PeersRequest(), report)
    if as_json:
        emit_json(found)
        return
    rows = [(p.peer, p.address, "they dialled" if p.inbound else "we dialled", p.agent) for p in found.peers]
    table(("peer", "address", "direction", "agent"), rows) if rows else say("No peer is connected.")
    for peer in found.banned:
        say(f"banned: {peer}")


@click.command("status")
@json_option
def status_command(as_json: bool) -> None:
    """Show how the running node is."""
    with show_events(quiet=as_json) as report:
        status = call(STATUS, StatusRequest(), report)
    if as_json:
        emit_json(status)
        return
    say(f"home       {status.home}")
    say(f"node       {'running, ' if status.peer else 'not running; looked from '}process {status.pid}")
    if status.peer:
        say(f"peer       {status.peer}")
        say(f"up         {status.uptime:.0f} s, {status.peers} peers")
        saved = f", {human_bytes(status.saved)} saved by encoding" if status.saved else ""
        say(f"traffic    {human_bytes(status.sent)} sent, {human_bytes(status.received)} received{saved}")
        say_in_force(status.limits)
        for address in status.listening:
            say(f"listening  {address}" + ("  (reached by others)" if address in status.reachable else ""))
    say(f"holds      {status.releases} release{'s' * (status.releases != 1)}, {human_bytes(status.bytes)} in the home")
    say(f"fetches    {status.fetches} under way")
    for what in status.revoked:
        say(f"REVOKED    {what}")


@click.command("doctor")
@json_option
def doctor_command(as_json: bool) -> None:
    """Look for what is wrong with this node, and say what to do about it."""
    with show_events(quiet=as_json) as report:
        found = call(DOCTOR, DoctorRequest(), report)
    if as_json:
        emit_json(found)
    else:
        for check in found.checks:
            say(f"{'ok  ' if check.ok else 'BAD '} {check.name}: {check.message}")
            if check.hint:
                say(f"      {check.hint}")
    if not found.ok:
        raise SystemExit(1)
