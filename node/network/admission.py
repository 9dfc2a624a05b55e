"""How many connections there may be, and of whom: decided before a byte of a handshake is read.

Invariants:
1. There are never more connections than `total`, dials and handshakes under way included.
2. Others open at most `MAX_INBOUND_SHARE` of them, few from one address and one subnet; the rest stays for our dials.
   So a flood from one place takes some of the places, and never all; who is connected stays so.
3. Who came and went has a place less at its address for a moment, who broke the rules for longer, and the node none:
   else it would come back at once.
4. Who has not shown who it is makes way, when there is no place else: who holds the most of them for one who holds
   fewer, or who has been at it for `HALF_OPEN_PATIENCE`. So to hold places takes more than to connect.
"""

from __future__ import annotations

import contextlib
import functools
import heapq
import ipaddress
import math
from collections import Counter
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import final

import trio

from samara.protocol.addresses import Address, Scope
from samara.protocol.errors import NetworkError
from samara.protocol.limits import (
    HALF_OPEN_PATIENCE,
    MAX_CONNECTIONS_PER_SUBNET,
    MAX_INBOUND_SHARE,
    PENALTY,
    PLACE_LASTS,
)

__all__ = ["Admission", "Place"]


@final
class Place:
    """The place of a connection that somebody opens; given back at the end of its block. Made by `Admission`.

    Attributes:
        names: What it counts for: an address, and its subnet when that is public.
        since: When it was taken, on the clock of the admission.
        broke_rules: Whether its peer did.
    """

    def __init__(
        self, admission: Admission, names: tuple[str, ...], since: float, make_way: Callable[[], None]
    ) -> None:
        self._admission = admission
        self._make_way = make_way
        self._held = True
        self.names = names
        self.since = since
        self.broke_rules = False

    def __enter__(self) -> Place:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._give_back()

    def settle(self) -> None:
        """Take note that the peer has shown who it is: it stays.

        Raises:
            NetworkError: The place is another's by now.
        """
        if not self._held:  # a handshake that ends in this very moment is not cancelled any more
            raise NetworkError("it made way for another")
        self._admission.settled(self)

    def make_way(self) -> None:
        """Give it back, with nothing held against its address, and let its holder know."""
        self.since = -math.inf
        self._give_back()
        self._make_way()

    def _give_back(self) -> None:
        if self._held:
            self._held = False
            self._admission.given_back(self)


@final
class Admission:
    """The places for connections.

    Args:
        total: Connections at most.
        per_ip: Inbound connections of one IP address at most.
        per_subnet: Inbound connections of one public IPv4 /24 or IPv6 /56 at most.
        clock: Returns the time in seconds.
    """

    def __init__(
        self,
        total: int,
        per_ip: int,
        per_subnet: int = MAX_CONNECTIONS_PER_SUBNET,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self._total = total
        self._most_inbound = max(1, int(total * MAX_INBOUND_SHARE))
        self._most_of = (per_ip, per_subnet)
        self._clock = clock
        self._used = 0
        self._inbound = 0
        self._places: Counter[str] = Counter()
        self._half_open: dict[Place, None] = {}  # the oldest first
        self._held_against: list[tuple[float, tuple[str, ...]]] = []  # until when, of whom; a heap

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

    def inbound(self, remote: Address, make_way: Callable[[], None] = lambda: None) -> Place:
        """Take a place for a connection that somebody opens; it is given back at the end of its block.

        Args:
            remote: Who.
            make_way: Is called when the place is needed for another, before it is settled; it is given back already.

        Raises:
            NetworkError: There is none for this address.
        """
        self._forgive()
        names = _names(remote.host)
        scarce = next(
            (name for name, most in zip(names, self._most_of, strict=False) if self._places[name] >= most), None
        )
        if scarce is not None or self._used >= self._total or self._inbound >= self._most_inbound:
            other = self._whose_turn_it_is_to_go(scarce, names)
            if other is None:
                raise NetworkError(f"no place left for {remote.host}")
            other.make_way()
        place = Place(self, names, self._clock(), make_way)
        self._used += 1
        self._inbound += 1
        self._places.update(names)
        self._half_open[place] = None
        return place

    # What its places ask.

    def settled(self, place: Place) -> None:
        """Let a place make way no more."""
        self._half_open.pop(place, None)

    def given_back(self, place: Place) -> None:
        """Let another have a place; its address may have to wait for it."""
        self._half_open.pop(place, None)
        self._used -= 1
        self._inbound -= 1
        until = self._clock() + PENALTY if place.broke_rules else place.since + PLACE_LASTS
        heapq.heappush(self._held_against, (until, place.names))
        self._forgive()

    def _whose_turn_it_is_to_go(self, scarce: str | None, newcomer: tuple[str, ...]) -> Place | None:
        """Return the place that makes way, if one does.

        Who has two more than the newcomer goes at once: so this comes to an end, whoever dials and however often. Of
        those who have as many, it takes `HALF_OPEN_PATIENCE`: else a flood would drive out all who shake hands.

        Args:
            scarce: The address or subnet that has no place left; None when the node has none.
            newcomer: What who comes counts for.
        """
        may_go = [place for place in self._half_open if scarce is None or scarce in place.names]
        if not may_go:
            return None
        which = -1 if scarce is None else 0
        greedy = max(may_go, key=lambda place: self._places[place.names[which]])  # of several the oldest
        if self._places[greedy.names[which]] >= self._places[newcomer[which]] + 2:
            return greedy
        return may_go[0] if self._clock() - may_go[0].since >= HALF_OPEN_PATIENCE else None

    def _forgive(self) -> None:
        """Give addresses back what was held against them for long enough."""
        while self._held_against and self._held_against[0][0] <= self._clock():
            _, names = heapq.heappop(self._held_against)
            self._places.subtract(names)
            for name in names:
                if not self._places[name]:
                    del self._places[name]


@functools.lru_cache(maxsize=1024)
def _names(host: str) -> tuple[str, ...]:
    """Return what is counted for an IP address: itself, and its subnet when it is public."""
    ip = ipaddress.ip_address(host)
    if Address(f"ip{ip.version}", host, 0).scope is not Scope.PUBLIC:
        return (host,)
    return host, str(ipaddress.ip_network(f"{host}/{24 if ip.version == 4 else 56}", strict=False))
