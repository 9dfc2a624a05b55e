"""From what a person typed to a release, and this home's own publisher."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from samara.node.store.catalog import HeldRelease
from samara.node.store.contents import Place
from samara.node.store.store import Store
from samara.protocol import limits
from samara.protocol.dsse import Signer
from samara.protocol.errors import (
    ForkError,
    LinkError,
    NotFoundError,
    OperationError,
    StoreError,
    UsageError,
    VerificationError,
)
from samara.protocol.ids import PublisherId, ReleaseId, format_record, parse_record
from samara.protocol.links import Address, Link, LinkRef, NameRef, ReleaseRef, check_name, parse_ref
from samara.protocol.records import Kind, PublisherChain, format_time, make_genesis
from samara.protocol.records import Place as PlaceInLog
from samara.protocol.rootfile import genesis_id
from samara.protocol.trust import Ledger

__all__ = [
    "OwnPublisher",
    "best_place",
    "check_place",
    "collection_named",
    "enough_keys",
    "find_release",
    "link_of",
    "next_place",
    "no_release",
    "now_text",
    "own_publisher",
    "publisher_named",
    "publisher_of",
    "publisher_text",
    "signing",
    "signing_keys",
    "use_of_delta",
]

_SHORT_ID: Final = 12
"""Characters of a release id that are enough to look it up here; all begin with the same 9."""

_LONGEST_PETNAME: Final = 32
"""Characters; an id has 61 (specs/records.md §8)."""

signing = threading.Lock()
"""Held by what signs: two releases of one name must not get the same version, nor two heads or two roots the same
number: that is a fork."""


@dataclass(frozen=True, slots=True)
class OwnPublisher:
    """Who publishes from this home.

    Attributes:
        key: did:key of this home's present key.
        chain: The publisher's root chain, the longest that is known here.
    """

    key: str
    chain: PublisherChain

    @property
    def publisher(self) -> PublisherId:
        """Its publisher id."""
        return self.chain.publisher


def own_publisher(store: Store) -> OwnPublisher:
    """Return this home's publisher; its key is made on first use, and so is its genesis root.

    Raises:
        ReadOnlyError: There is none yet, and the home cannot be written.
        LockedKeyError: The key is sealed, and its root chain is neither in its file nor in the index.
        StatementError: Two roots of one version are known: a fork.

    Source: specs/keys.md §2, 1.
    """
    present = store.keys.present()
    kept = store.keys.roots()
    chain = kept.chain if kept else _chain_of_keys(store, present.did)
    known = store.catalog.roots(chain.publisher)
    if known:
        chain = chain.join(PublisherChain.verify(known, expected=chain.publisher))
    if len(chain.roots) > len(known) and store.writable:
        store.ledgers.take(chain.envelopes, (), own=True)
    return OwnPublisher(present.did, chain)


def _chain_of_keys(store: Store, present: str) -> PublisherChain:
    """The chain of a home that keeps none in a file: one in the index that a key of this home began and that lists the
    present one, or the present key's genesis.
    """
    for key in store.keys.all().values():
        publisher = genesis_id(key.did)
        known = store.catalog.roots(publisher)
        chain = PublisherChain.verify(known, expected=publisher) if known else None
        if chain is not None and present in chain.current.keys:
            return chain
    return PublisherChain.verify([make_genesis(store.keys.signing([present]))])


def signing_keys(store: Store, own: OwnPublisher) -> list[Signer]:
    """Return the keys of this home that sign for its publisher: enough of the current root.

    Raises:
        LockedKeyError: They are sealed, and this process was not given the passphrase.
        AgentError: One is in an agent, which does not have it now.
        OperationError: Too few of them are here.
    """
    return enough_keys(own, store.keys.signing(own.chain.current.keys))


def enough_keys(own: OwnPublisher, keys: list[Signer]) -> list[Signer]:
    """Return keys of the current root, when they are as many as must sign.

    Raises:
        OperationError: They are not.
    """
    threshold = own.chain.current.threshold
    if not keys:
        raise OperationError(
            f"this home's key {own.key} does not speak for its publisher any more",
            hint="Restore the key that does (samara key restore), or let a device whose key does add this one.",
        )
    if len(keys) < threshold:
        raise OperationError(
            f"{threshold} keys must sign for this publisher, and {len(keys)} of them is here",
            hint="Propose a lower threshold (samara key threshold 1), and let the other devices sign that.",
        )
    return keys


def next_place(ledger: Ledger | None) -> PlaceInLog:
    """Return the place of what this home's publisher signs next.

    Raises:
        ForkError: The publisher is frozen: whatever it signs now, nobody believes.
    """
    if ledger is None:
        return PlaceInLog.first()
    if ledger.fork is not None:
        raise ForkError(
            f"this home's own publisher is frozen: {ledger.fork.what} are signed",
            hint="Was this home restored from an old copy, or does another device sign with its keys?"
            " Replace the key, which ends the fork: samara key rotate.",
        )
    return ledger.next_place


def check_place(ledger: Ledger | None, place: PlaceInLog) -> None:
    """Check that a record which was signed in the meantime still has its place.

    Who signs may wait for a person at a device, and does not keep the ledger from others while it does.

    Raises:
        ForkError: The publisher was frozen in the meantime.
        OperationError: Another device of this publisher has written the log.
    """
    if next_place(ledger) != place:
        raise OperationError("another device of this publisher wrote its log in the meantime", hint="Do it again.")


def link_of(held: HeldRelease, addresses: Sequence[str] = ()) -> str:
    """Return the link of a release, with addresses (multiaddrs with `/p2p/…`) at which it can be had."""
    peers = tuple(Address.parse(address) for address in addresses[: limits.MAX_LINK_PEERS])
    return Link(held.id, held.name, held.publisher, peers, public=held.visibility == "public").encode()


def use_of_delta(store: Store, held: HeldRelease) -> str:
    """Return what a person can do with a delta that came, or nothing when it is none."""
    pack = store.deltas.pack(held.content) if held.kind == Kind.DELTA.value else None
    targets = store.catalog.releases(content=pack.target) if pack is not None else []
    if pack is None or not targets:
        return ""
    new = f"{targets[0].name} {targets[0].version}"
    command = f"samara fetch {format_record(targets[0].id)}"
    if store.contents.has(pack.base) and store.complete_place(pack.base) is not None:
        return f"{new} can be made of it and of what is here, without a line: {command}"
    return f"It leads to {new}: whoever holds what it starts from needs it alone. {command}"


def find_release(store: Store, text: str) -> HeldRelease:
    """Return the release, known here, that a REF or the beginning of an id names.

    Raises:
        LinkError: It is no REF.
        NotFoundError: It is not known here.
        UsageError: It names several.
        VerificationError: It is a link that states another publisher.
    """
    if "/" not in text and not text.startswith("samara:") and len(text) < 59:
        return _by_beginning(store, text)
    ref = parse_ref(text)
    if isinstance(ref, NameRef):
        return _by_name(store, ref)
    release = ref.release if isinstance(ref, ReleaseRef) else ref.link.release
    held = store.catalog.release(release)
    if held is None:
        raise NotFoundError(f"release {format_record(release)} is not known here", hint="Fetch it: samara fetch REF")
    if isinstance(ref, LinkRef) and ref.link.publisher not in {None, held.publisher}:
        raise VerificationError(
            f"the link names another publisher than release {format_record(release)} has",
            hint="Do not trust this link: ask whom you have it from.",
        )
    return held


def publisher_of(store: Store, ref: NameRef) -> PublisherId:
    """Return the publisher that a name REF means.

    Raises:
        NotFoundError: Nobody has this petname here.
    """
    if not isinstance(ref.publisher, str):
        return ref.publisher
    return publisher_named(store, ref.publisher)


def publisher_named(store: Store, text: str) -> PublisherId:
    """Return the publisher that a person means by a petname, `me` or a publisher id.

    Raises:
        NotFoundError: Nobody has this petname here.
        LinkError: It is none of them.
    """
    if len(text) > _LONGEST_PETNAME:
        return PublisherId(parse_record(text))
    for publisher, name in store.catalog.petnames().items():
        if name == text:
            return publisher
    if text == "me":
        return own_publisher(store).publisher
    raise NotFoundError(
        f"nobody is called {text!r} here", hint="Give the publisher a name: samara key name PUBLISHER-ID NAME"
    )


def no_release(store: Store, publisher: PublisherId) -> PublisherId:
    """Return a publisher that a person named, unless its id is that of a release that is known here: both look alike.

    Raises:
        UsageError: It is.
    """
    held = store.catalog.release(ReleaseId(publisher))
    if held is not None:
        raise UsageError(
            f"{format_record(publisher)} is a release", hint=f"Its publisher is {publisher_text(store, held.publisher)}"
        )
    return publisher


def collection_named(store: Store, text: str) -> tuple[PublisherId, str]:
    """Return whose and which collection a person means by `WHOSE/NAME`, or by the NAME of one of their own.

    Raises:
        NotFoundError: Nobody has this petname here.
        LinkError: It is neither.
    """
    whose, slash, name = text.rpartition("/")
    return publisher_named(store, whose if slash else "me"), check_name(name)


def publisher_text(store: Store, publisher: PublisherId) -> str:
    """Return a publisher's petname, or its id."""
    return store.catalog.petnames().get(publisher) or format_record(publisher)


def best_place(store: Store, held: HeldRelease) -> Place:
    """Return the place with the most whole files whose medium is there.

    Raises:
        NotFoundError: No file is here.
        StoreError: They lie on a medium that is away.
    """
    places = [(len(store.contents.complete_streams(place)), place) for place in store.contents.places(held.content)]
    whole = [(count, place) for count, place in places if count]
    if not whole:
        raise NotFoundError(f"no whole file of {held.name} is here", hint="Fetch it: samara fetch REF")
    here = [(count, place) for count, place in whole if place.is_there()]
    if not here:
        raise StoreError(f"{whole[0][1].root} is away", hint="Put its medium in, or fetch it again: samara fetch REF")
    return max(here, key=lambda pair: pair[0])[1]


def now_text() -> str:
    """Return the present time as records write it."""
    return format_time(int(time.time()))


def _by_beginning(store: Store, text: str) -> HeldRelease:
    if len(text) < _SHORT_ID:
        raise LinkError(f"{text!r} is too short for a release id", hint=f"Give at least {_SHORT_ID} characters of it.")
    found = [held for held in store.catalog.releases() if format_record(held.id).startswith(text)]
    if not found:
        raise NotFoundError(f"no release known here begins with {text!r}", hint="See samara ls.")
    if len(found) > 1:
        raise UsageError(f"{len(found)} releases begin with {text!r}", hint="Give more of the id.")
    return found[0]


def _by_name(store: Store, ref: NameRef) -> HeldRelease:
    publisher = publisher_of(store, ref)
    found = store.catalog.releases(publisher=publisher, name=ref.name)
    if ref.version is not None:
        found = [held for held in found if held.version == ref.version]
    else:
        head = store.ledgers.head(publisher, ref.name)
        found = [held for held in found if head is not None and held.id == head.head.release] or found
    if not found:
        raise NotFoundError(f"no release {ref.name!r} of that publisher is known here", hint="See samara ls.")
    return found[0]
