"""The IP addresses of this machine's interfaces: what `0.0.0.0` and `::` stand for."""

from __future__ import annotations

from collections.abc import Iterable

import ifaddr

from samara.protocol.addresses import Address, Scope, from_ip

__all__ = ["expand", "local_hosts"]


def local_hosts() -> tuple[Address, ...]:
    """Return the addresses of all interfaces (with port 0), those that reach farthest first, loopback last."""
    found: dict[Address, None] = {}
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            address = from_ip(ip.ip if isinstance(ip.ip, str) else ip.ip[0], 0)
            if address.scope is not Scope.NOWHERE:
                found[address] = None
    return tuple(sorted(found, key=lambda address: (-address.scope, address.kind)))


def expand(bound: Iterable[Address]) -> tuple[Address, ...]:
    """Return the concrete addresses of bound sockets: an unspecified one becomes those of the interfaces."""
    found: dict[Address, None] = {}
    for address in bound:
        if address.host in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
            hosts = (host.host for host in local_hosts() if host.kind == address.kind)
            found.update(dict.fromkeys(Address(address.kind, host, address.port) for host in hosts))
        else:
            found[address] = None
    return tuple(sorted(found, key=lambda address: -address.scope))
