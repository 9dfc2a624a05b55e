"""The DHT without sockets: the routing table, the lookup against a naive one, and what a server keeps."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samara.protocol.addresses import Address
from samara.protocol.contacts import Contact
from samara.protocol.kad.lookup import Lookup
from samara.protocol.kad.messages import position
from samara.protocol.kad.store import ProviderStore, ValueStore
from samara.protocol.kad.table import RoutingTable
from samara.protocol.limits import (
    KAD_ALPHA,
    KAD_BUCKET,
    MAX_KAD_VALUE,
    MAX_KAD_VALUES,
    MAX_LOOKUP,
    MAX_PROVIDED_KEYS,
    PROVIDER_EXPIRY,
)
from samara.protocol.peers import parse_peer_id, peer_id_of

OWN = peer_id_of(bytes(32))


def contact(number: int, host: str | None = None) -> Contact:
    host = host or f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    return Contact(peer_id_of(number.to_bytes(32, "big")), (Address("ip4", host, 4001),))


def place(peer: str) -> int:
    return position(parse_peer_id(peer))


def far_half() -> Iterator[int]:
    """Numbers of peers that share no bit with us, so that they are in one bucket."""
    top = place(OWN) >> 255
    return (number for number in range(1, 10_000) if place(contact(number).peer) >> 255 != top)


# The table.


@settings(max_examples=30)
@given(st.sets(st.integers(1, 5000), min_size=1, max_size=200), st.integers(0, (1 << 256) - 1))
def test_closest_is_what_sorting_says(numbers: set[int], target: int) -> None:
    table = RoutingTable(OWN)
    held = [c for c in map(contact, sorted(numbers)) if table.add(c, 0.0)]
    expected = sorted(held, key=lambda c: place(c.peer) ^ target)[:KAD_BUCKET]
    assert table.closest(target) == expected
    assert len(table) == len(held)


def test_a_full_bucket_keeps_its_old_peers_until_they_fail() -> None:
    table = RoutingTable(OWN)
    numbers = far_half()
    old = [contact(next(numbers)) for _ in range(KAD_BUCKET)]
    assert all(table.add(c, 0.0) for c in old)
    flood = [contact(next(numbers)) for _ in range(100)]
    assert not any(table.add(c, 1.0) for c in flood)
    table.failed(old[0].peer)
    assert old[0].peer in table
    table.failed(old[0].peer)
    assert old[0].peer not in table
    assert len(table) == KAD_BUCKET, "one that waits moves up"
    assert sum(c.peer in table for c in flood) == 1


def test_an_answer_forgives_a_failure() -> None:
    table = RoutingTable(OWN)
    table.add(contact(1), 0.0)
    for now in range(5):
        table.failed(contact(1).peer)
        table.add(contact(1), float(now))
    assert contact(1).peer in table


def test_one_subnet_gets_two_places_of_a_bucket() -> None:
    table = RoutingTable(OWN)
    taken = [
        table.add(contact(number, f"8.8.8.{index}"), 0.0) for index, number in zip(range(20), far_half(), strict=False)
    ]
    assert sum(taken) == 2
    private = [
        table.add(contact(number), 0.0) for index, number in zip(range(10), far_half(), strict=False) if index > 1
    ]
    assert all(private), "a LAN is one subnet, and no attack"


def test_neither_ourselves_nor_a_peer_without_an_address_gets_in() -> None:
    table = RoutingTable(OWN)
    assert not table.add(Contact(OWN, contact(1).addresses), 0.0)
    assert not table.add(Contact(contact(1).peer), 0.0)
    assert len(table) == 0
    assert table.oldest() is None


def test_the_oldest_is_the_one_that_was_not_seen_longest() -> None:
    table = RoutingTable(OWN)
    for number, seen in ((1, 5.0), (2, 3.0), (3, 9.0)):
        table.add(contact(number), seen)
    assert table.oldest() == contact(2)


# The lookup.


def walk(lookup: Lookup, knows: dict[str, list[Contact]], rng: random.Random, dead: frozenset[str]) -> set[str]:
    """Run a lookup over a network in which each peer knows some others; answers come in any order."""
    asked: set[str] = set()
    under_way: list[str] = []
    while not lookup.done:
        while (following := lookup.next()) is not None:
            assert following.peer not in asked, "nobody is asked twice"
            asked.add(following.peer)
            under_way.append(following.peer)
        assert 0 < len(under_way) <= KAD_ALPHA
        peer = under_way.pop(rng.randrange(len(under_way)))
        if peer in dead:
            lookup.failed(peer)
        else:
            lookup.answered(peer, knows[peer])
    return asked


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 150), st.floats(0, 0.3))
def test_a_lookup_finds_the_closest_that_are_alive(seed: int, size: int, share_dead: float) -> None:
    rng = random.Random(seed)
    everybody = [contact(number) for number in range(1, size + 1)]
    dead = frozenset(c.peer for c in everybody[1:] if rng.random() < share_dead)
    # Everybody answers truthfully: the k closest that it knows, and all know all.
    target = rng.getrandbits(256)
    ordered = sorted(everybody, key=lambda c: place(c.peer) ^ target)
    knows = {c.peer: [x for x in ordered if x.peer != c.peer][: KAD_BUCKET * 2] for c in everybody}
    lookup = Lookup(OWN, target, everybody[:1])
    walk(lookup, knows, rng, dead)
    expected = [c.peer for c in ordered if c.peer not in dead][:KAD_BUCKET]
    found = [c.peer for c in lookup.closest()]
    reachable = {c.peer for c in ordered[: KAD_BUCKET * 2 + 1]} | {everybody[0].peer}
    assert found == [peer for peer in expected if peer in reachable][: len(found)]
    assert len(found) >= min(len(expected), KAD_BUCKET * 2 - len(dead & reachable), KAD_BUCKET) or size <= KAD_BUCKET


def test_a_liar_that_invents_peers_ends_too() -> None:
    lookup = Lookup(OWN, 0, [contact(1)])
    invented = iter(range(2, 1_000_000))
    asked = 0
    while not lookup.done:
        following = lookup.next()
        assert following is not None
        asked += 1
        lookup.answered(following.peer, [contact(next(invented)) for _ in range(KAD_BUCKET)])
    assert asked <= MAX_LOOKUP


def test_we_are_never_asked_ourselves() -> None:
    lookup = Lookup(OWN, 0, [Contact(OWN, contact(1).addresses)])
    assert lookup.done
    assert lookup.next() is None


def test_addresses_from_several_tellers_are_joined() -> None:
    far, near = sorted((contact(1), contact(2)), key=lambda c: place(c.peer), reverse=True)
    lookup = Lookup(OWN, 0, [near, Contact(far.peer, (Address("ip4", "10.9.9.9", 1),))])
    lookup.next()
    lookup.answered(near.peer, [far])
    following = lookup.next()
    assert following is not None
    assert {a.host for a in following.addresses} == {"10.9.9.9", far.addresses[0].host}


# What is kept.


def test_providers_come_back_newest_first_until_they_expire() -> None:
    store = ProviderStore()
    key = bytes(32)
    assert store.add(key, contact(1), 0.0)
    assert store.add(key, contact(2), 1.0)
    assert store.get(key, 2.0) == (contact(2), contact(1))
    assert store.get(key, PROVIDER_EXPIRY + 0.5) == (contact(2),)
    store.add(bytes([1]) * 32, contact(3), PROVIDER_EXPIRY + 5)
    assert len(store) == 1, "what has expired takes no room"


def test_a_key_has_k_providers_and_the_oldest_goes() -> None:
    store = ProviderStore()
    for number in range(1, KAD_BUCKET + 6):
        store.add(bytes(32), contact(number), float(number))
    assert len(store.get(bytes(32), 30.0)) == KAD_BUCKET
    assert contact(1) not in store.get(bytes(32), 30.0)


def test_one_peer_is_remembered_for_so_many_keys_only() -> None:
    store = ProviderStore()
    keys = [number.to_bytes(32, "big") for number in range(MAX_PROVIDED_KEYS + 1)]
    assert all(store.add(key, contact(1), 0.0) for key in keys[:-1])
    assert not store.add(keys[-1], contact(1), 0.0)
    assert store.add(keys[-1], contact(2), 0.0), "others are not refused for it"
    assert store.add(keys[0], contact(1), 1.0), "a renewal is no new record"


def test_when_the_store_is_full_the_greediest_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samara.protocol.kad.store.MAX_PROVIDER_RECORDS", 10)
    store = ProviderStore()
    for number in range(8):
        store.add(bytes([number]) * 32, contact(1), float(number))
    store.add(b"a" * 32, contact(2), 9.0)
    store.add(b"b" * 32, contact(3), 9.0)
    store.add(b"c" * 32, contact(4), 9.0)
    assert len(store) == 10
    assert store.get(bytes(32), 9.0) == ()
    assert all(store.get(letter * 32, 9.0) for letter in (b"a", b"b", b"c"))


def test_values_expire_and_are_replaced() -> None:
    store = ValueStore(OWN)
    assert store.put(b"/head/a", b"1", 0.0)
    assert store.put(b"/head/a", b"22", 1.0)
    assert store.get(b"/head/a", 2.0) == b"22"
    assert store.get(b"/head/a", PROVIDER_EXPIRY + 2) is None
    assert len(store) == 1


def test_a_full_store_keeps_what_is_near() -> None:
    store = ValueStore(OWN)
    value = bytes(MAX_KAD_VALUE)
    keys = [f"/head/{number}".encode() for number in range(MAX_KAD_VALUES // MAX_KAD_VALUE + 40)]
    for key in keys:
        store.put(key, value, 0.0)
    assert len(store) == MAX_KAD_VALUES // MAX_KAD_VALUE
    nearest = sorted(keys, key=lambda key: position(key) ^ place(OWN))[: len(store)]
    assert all(store.get(key, 1.0) is not None for key in nearest)
