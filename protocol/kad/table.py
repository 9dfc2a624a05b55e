"""The routing table: up to k peers for each distance from us, of which we know by our own dialling that they answer.

Invariants:
1. A peer gets in only when somebody who talked to it says so (`add`); what others tell of peers never does.
2. A full bucket keeps its old peers: those that stayed long stay longer, and a flood of new ids changes nothing. A
   newcomer waits in the bucket's line and moves up when an old peer fails.
3. At most two peers of one public /24 or /48 are in one bucket, and ten in the table: ids are cheap, addresses are not.

Pure: the caller passes the time in.

Source: Maymounkov and Mazières, "Kademlia", §2.4; specs/network.md, "Routing table".
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, final

from samara.protocol.addresses import Address, Scope
from samara.protocol.contacts import Contact
from samara.protocol.kad.messages import position
from samara.protocol.limits import KAD_BUCKET
from samara.protocol.peers import parse_peer_id

__all__ = ["RoutingTable"]

_PER_SUBNET_IN_BUCKET: Final = 2
_PER_SUBNET: Final = 10
_FAILURES: Final = 2
"""Failed requests in a row after which a peer leaves the table: one may be our own lost line."""


@dataclass(slots=True)
class _Entry:
    contact: Contact
    position: int
    subnet: str | None
    seen: float
    failures: int = 0


class _Bucket:
    """Peers of one distance, those seen last at the end, and newcomers that wait for a place."""

    def __init__(self) -> None:
        self.peers: OrderedDict[str, _Entry] = OrderedDict()
        self.line: OrderedDict[str, _Entry] = OrderedDict()


@final
class RoutingTable:
    """The peers that a node asks first.

    Args:
        own: Our own peer id, which never gets in.
    """

    def __init__(self, own: str) -> None:
        self._own = own
        self._own_position = position(parse_peer_id(own))
        self._buckets: dict[int, _Bucket] = {}

    def __len__(self) -> int:
        return sum(len(bucket.peers) for bucket in self._buckets.values())

    def __contains__(self, peer: str) -> bool:
        return any(peer in bucket.peers for bucket in self._buckets.values())

    def add(self, contact: Contact, now: float) -> bool:
        """Take a peer that answered us just now, or renew it.

        Args:
            contact: The peer, and addresses at which it was or may be reached; without any it is not taken.
            now: Seconds, monotonic.

        Returns:
            It is in the table.
        """
        if contact.peer == self._own or not contact.addresses:
            return False
        entry = _Entry(contact, position(parse_peer_id(contact.peer)), _subnet(contact.addresses), now)
        bucket = self._bucket(entry.position)
        if contact.peer in bucket.peers:
            bucket.peers[contact.peer] = entry
            bucket.peers.move_to_end(contact.peer)
            return True
        if len(bucket.peers) < KAD_BUCKET and self._has_room(bucket, entry.subnet):
            bucket.peers[contact.peer] = entry
            bucket.line.pop(contact.peer, None)
            return True
        bucket.line[contact.peer] = entry
        bucket.line.move_to_end(contact.peer)
        while len(bucket.line) > KAD_BUCKET:
            bucket.line.popitem(last=False)
        return False

    def failed(self, peer: str) -> None:
        """Note that a peer did not answer; after two failures in a row its place goes to who waits longest."""
        bucket = self._bucket(position(parse_peer_id(peer)))
        bucket.line.pop(peer, None)
        entry = bucket.peers.get(peer)
        if entry is None:
            return
        entry.failures += 1
        if entry.failures >= _FAILURES:
            self.remove(peer)

    def remove(self, peer: str) -> None:
        """Forget a peer, and let a waiting one move up."""
        bucket = self._bucket(position(parse_peer_id(peer)))
        bucket.line.pop(peer, None)
        if bucket.peers.pop(peer, None) is None:
            return
        for waiting, entry in bucket.line.items():
            if self._has_room(bucket, entry.subnet):
                bucket.peers[waiting] = entry
                del bucket.line[waiting]
                return

    def closest(self, target: int, count: int = KAD_BUCKET) -> list[Contact]:
        """Return the peers closest to a position, closest first."""
        entries = sorted(self._entries(), key=lambda entry: entry.position ^ target)
        return [entry.contact for entry in entries[:count]]

    def oldest(self) -> Contact | None:
        """Return the peer that was seen the longest ago, to be checked; None when the table is empty."""
        entry = min(self._entries(), key=lambda entry: entry.seen, default=None)
        return None if entry is None else entry.contact

    def _entries(self) -> Iterator[_Entry]:
        for bucket in self._buckets.values():
            yield from bucket.peers.values()

    def _bucket(self, place: int) -> _Bucket:
        return self._buckets.setdefault((place ^ self._own_position).bit_length(), _Bucket())

    def _has_room(self, bucket: _Bucket, subnet: str | None) -> bool:
        if subnet is None:
            return True
        near = sum(entry.subnet == subnet for entry in bucket.peers.values())
        return near < _PER_SUBNET_IN_BUCKET and sum(entry.subnet == subnet for entry in self._entries()) < _PER_SUBNET


def _subnet(addresses: tuple[Address, ...]) -> str | None:
    """Return the subnet of the first public IP address; peers on a LAN and those known by a name have none."""
    for address in addresses:
        if address.scope is Scope.PUBLIC and not address.is_name:
            prefix = 24 if address.kind == "ip4" else 48
            return str(ipaddress.ip_network(f"{address.host}/{prefix}", strict=False))
    return None
