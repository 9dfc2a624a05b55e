"""Publishers of real stores, who say more than `samara publish` does: what they sign goes into a ledger, or two."""

from __future__ import annotations

from support.publishers import Publisher

from samara.node.operations.refs import own_publisher, signing_keys
from samara.node.store.ledgers import Taken
from samara.node.store.store import Store
from samara.protocol.ids import ReleaseId
from samara.protocol.records import VerifiedRelease, verify_release
from samara.protocol.trust.forks import place_of

__all__ = ["publisher_of", "release_of", "tell"]


def publisher_of(store: Store) -> Publisher:
    """Return the publisher of a home, with its keys and the log that it has so far."""
    own = own_publisher(store)
    publisher = Publisher(own.chain, signing_keys(store, own))
    with store.ledgers.asking(own.publisher) as ledger:
        if ledger is not None:
            publisher.place = ledger.next_place
            publisher.heads = dict(ledger.heads)
            publisher.said = [entry.envelope for entry in ledger.log() if place_of(entry) is not None]
    return publisher


def release_of(store: Store, release: ReleaseId) -> VerifiedRelease:
    """Return a release that a store knows."""
    records = store.catalog.records(release)
    assert records is not None
    return verify_release(records, expected=release)


def tell(store: Store, publisher: Publisher, *, own: bool = False) -> Taken:
    """Have a store hear all that a publisher has said."""
    return store.ledgers.take(publisher.chain.envelopes, publisher.said, own=own)
