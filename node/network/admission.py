"""How many connections there may be, and of whom: decided before a byte of a handshake is read.

Invariants:
1. There are never more connections than `total`, dials and handshakes under way included.
2. Others open at most `MAX_INBOUND_SHARE` of them, few from one address and one subnet; the rest stays for our dials.
   So a flood from one place takes some of the places, and never all; who is connected stays so.
3. Who broke the rules has a place less at its address for a while, and the node none: else it would come back at once.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections import Counter
from collections.abc import Iterator
from typing import final

from samara.protocol.addresses import Address, Scope
from samara.protocol.errors import NetworkError
from samara.protocol.limits import MAX_CONNECTIONS_PER_SUBNET, MAX_INBOUND_SHARE

__all__ = ["Admission"]


@final
class Admission:
    """The places for connections.

    Args:
        total: Connections at most.
        per_ip: Inbound connections of one IP address at most.
        per_subnet: Inbound connections of one public IPv4 /24 or IPv6 /56 at most.
    """

    def __init__(self, total: int, per_ip: int, per_subnet: int = MAX_CONNECTIONS_PER_SUBNET) -> None:
        self._total = total
        self._most_inbound = max(1, int(total * MAX_INBOUND_SHARE))
        self._per_ip = per_ip
        self._per_subnet = per_subnet
        self._used = 0
        self._inbound = 0
        self._places: Counter[str] = Counter()

    @property
    def used(self) -> int:
        """How many places are taken."""
        return self._used

    @property
    def crowded(self) -> bool:
        """Most places are taken: idle connections should go."""
        return self._inbound >= self._most_inbound * 3 // 4 or self._used >= self._total * 3 // 4

    @contextlib.contextmanager
    def outbound(self) -> Iterator[None]:
        """Hold a place for a connection that we open.

        Raises:
            NetworkError: There is none.
        """
        if self._used >= self._total:
            raise NetworkError(f"all {self._total} connections are in use", hint="Raise network.connections.")
        self._used += 1
        try:
            yield
        finally:
            self._used -= 1

    @contextlib.contextmanager
    def inbound(self, remote: Address) -> Iterator[None]:
        """Hold a place for a connection that somebody opens.

        Raises:
            NetworkError: There is none for this address.
        """
        limits = dict(zip(_places(remote), (self._per_ip, self._per_subnet), strict=False))
        if self._used >= self._total or self._inbound >= self._most_inbound:
            raise NetworkError(f"no place left for {remote}")
        if any(self._places[place] >= limit for place, limit in limits.items()):
            raise NetworkError(f"too many connections from {remote.host}")
        self._used += 1
        self._inbound += 1
        try:
            with self.held_against(remote):
                yield
        finally:
            self._used -= 1
            self._inbound -= 1

    @contextlib.contextmanager
    def held_against(self, remote: Address) -> Iterator[None]:
        """Take one of the places of an address, and none of the node's."""
        places = _places(remote)
        self._places.update(places)
        try:
            yield
        finally:
            self._places.subtract(places)
            for place in places:
                if not self._places[place]:
                    del self._places[place]


def _places(remote: Address) -> tuple[str, ...]:
    """Return what is counted for an address: itself, and its subnet when it is public."""
    if remote.scope is not Scope.PUBLIC:
        return (remote.host,)
    prefix = 24 if remote.kind == "ip4" else 56
    return remote.host, str(ipaddress.ip_network(f"{remote.host}/{prefix}", strict=False))
