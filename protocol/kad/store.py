"""What a DHT server keeps for others: who provides a key, and small values. Bounded whatever anybody sends.

Invariants:
1. A provider record is kept only as its provider itself sent it, at most k of a key, and a limited number of one peer.
   When the store is full, the peer with the most records loses its oldest one: who floods it pays first.
2. When the store of values is full, what is farthest from us goes: others are nearer to it and keep it.
3. Nothing outlives `PROVIDER_EXPIRY` without being sent anew.

Values come here validated; that is the caller's work. Pure: the caller passes the time in.

Source: specs/network.md, "What a server keeps".
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import final

from samara.protocol.contacts import Contact
from samara.protocol.kad.messages import position
from samara.protocol.limits import (
    KAD_BUCKET,
    MAX_KAD_VALUES,
    MAX_PROVIDED_KEYS,
    MAX_PROVIDER_RECORDS,
    PROVIDER_EXPIRY,
)
from samara.protocol.peers import parse_peer_id

__all__ = ["ProviderStore", "ValueStore"]


@dataclass(slots=True)
class _Provided:
    contact: Contact
    expires: float


@final
class ProviderStore:
    """Who provides which key."""

    def __init__(self) -> None:
        self._keys: OrderedDict[bytes, OrderedDict[str, _Provided]] = OrderedDict()
        self._by_peer: dict[str, OrderedDict[bytes, None]] = {}  # the keys of a peer, those heard last at the end
        self._records = 0

    def __len__(self) -> int:
        return self._records

    def add(self, key: bytes, provider: Contact, now: float) -> bool:
        """Keep that `provider` has `key`.

        Returns:
            It is kept; False when this peer has too many records here.
        """
        self._expire(now)
        if provider.peer not in self._keys.get(key, ()):
            if len(self._by_peer.get(provider.peer, ())) >= MAX_PROVIDED_KEYS:
                return False
            self._make_room(key)
            self._records += 1
        providers = self._keys.setdefault(key, OrderedDict())
        providers[provider.peer] = _Provided(provider, now + PROVIDER_EXPIRY)
        providers.move_to_end(provider.peer)
        self._keys.move_to_end(key)
        provided = self._by_peer.setdefault(provider.peer, OrderedDict())
        provided[key] = None
        provided.move_to_end(key)
        return True

    def get(self, key: bytes, now: float) -> tuple[Contact, ...]:
        """Return who provides a key, those heard last first."""
        providers = self._keys.get(key, OrderedDict())
        return tuple(kept.contact for kept in reversed(providers.values()) if kept.expires > now)

    def _make_room(self, key: bytes) -> None:
        if len(self._keys.get(key, ())) >= KAD_BUCKET:
            self._drop(key, next(iter(self._keys[key])))
        if self._records >= MAX_PROVIDER_RECORDS:
            heaviest = max(self._by_peer, key=lambda peer: len(self._by_peer[peer]))
            self._drop(next(iter(self._by_peer[heaviest])), heaviest)

    def _expire(self, now: float) -> None:
        # Keys are in the order of their last record, so the oldest come first and the walk ends at the first fresh one.
        while self._keys:
            key, providers = next(iter(self._keys.items()))
            stale = [peer for peer, kept in providers.items() if kept.expires <= now]
            for peer in stale:
                self._drop(key, peer)
            if not stale or key in self._keys:
                return

    def _drop(self, key: bytes, peer: str) -> None:
        providers = self._keys[key]
        del providers[peer]
        self._records -= 1
        del self._by_peer[peer][key]
        if not self._by_peer[peer]:
            del self._by_peer[peer]
        if not providers:
            del self._keys[key]


@dataclass(slots=True)
class _Kept:
    value: bytes
    distance: int
    expires: float


@final
class ValueStore:
    """Values by key.

    Args:
        own: Our own peer id: what is near to it is kept longest.
    """

    def __init__(self, own: str) -> None:
        self._own = position(parse_peer_id(own))
        self._values: dict[bytes, _Kept] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: bytes, now: float) -> bytes | None:
        """Return the value of a key, or None."""
        kept = self._values.get(key)
        return kept.value if kept is not None and kept.expires > now else None

    def put(self, key: bytes, value: bytes, now: float) -> bool:
        """Keep a validated value, in place of an older one.

        Returns:
            It is kept; False when the store is full of values that are nearer to us.
        """
        for stale in [key for key, kept in self._values.items() if kept.expires <= now]:
            self._drop(stale)
        kept = _Kept(value, position(key) ^ self._own, now + PROVIDER_EXPIRY)
        room = MAX_KAD_VALUES - self._bytes + (len(self._values[key].value) if key in self._values else 0)
        leaving: list[bytes] = []
        for far in sorted(self._values, key=lambda key: self._values[key].distance, reverse=True):
            if room >= len(value) or self._values[far].distance <= kept.distance:
                break
            if far != key:
                leaving.append(far)
                room += len(self._values[far].value)
        if room < len(value):
            return False
        for far in (*leaving, key):
            self._drop(far)
        self._values[key] = kept
        self._bytes += len(value)
        return True

    def _drop(self, key: bytes) -> None:
        kept = self._values.pop(key, None)
        if kept is not None:
            self._bytes -= len(kept.value)
