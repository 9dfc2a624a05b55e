"""follow and unfollow: whose collections this home wants to hear of.

To follow gives nobody a name and makes nothing believed. It says whose lists `search` looks through, and whose logs are
asked for and passed on (specs/network.md, "Logs").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from samara.node.fetch.finder import parse_peer
from samara.node.fetch.rounds import LogRounds, Round, listed_to_ask_for
from samara.node.network.transport import PeerAddress
from samara.node.operations.base import Notice, Operation, Progress, Report
from samara.node.operations.refs import no_release, publisher_named, publisher_text
from samara.node.store.store import Store
from samara.protocol.errors import NetworkError, UsageError
from samara.protocol.ids import PublisherId, format_record
from samara.protocol.links import Link, check_name

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = [
    "FOLLOW",
    "UNFOLLOW",
    "FollowRequest",
    "Followed",
    "FollowedCollection",
    "UnfollowRequest",
    "Unfollowed",
    "whose",
]


@dataclass(frozen=True, slots=True)
class FollowRequest:
    """Whom to follow.

    Attributes:
        whose: `WHOSE` or `WHOSE/NAME` with a petname or a publisher id, or a link that names a publisher.
        peers: Multiaddrs of the peers to ask; empty: those who announce the log, and who is nearby.
    """

    whose: str
    peers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FollowedCollection:
    """A collection that is followed, and known here."""

    name: str
    title: str
    entries: int


@dataclass(frozen=True, slots=True)
class Followed:
    """Who is followed now, and what asking at once has brought (specs/cli.md).

    Attributes:
        publisher: Petname or id.
        publisher_id: Its id.
        collection: The collection that is followed; empty: all of them.
        new: It was not followed before.
        collections: Those of them that are known here now.
        asked: How many peers answered.
        records: Records that were not known, of the publisher and of those of whom its collections list.
        forks: Forks that were not known.
        refused: How many records were refused, by the error's class.
    """

    publisher: str
    publisher_id: str
    collection: str
    new: bool
    collections: tuple[FollowedCollection, ...]
    asked: int
    records: int
    forks: int
    refused: dict[str, int]


@dataclass(frozen=True, slots=True)
class UnfollowRequest:
    """Whom to follow no more; as in `FollowRequest`."""

    whose: str


@dataclass(frozen=True, slots=True)
class Unfollowed:
    """Who is followed no more, and of whom which collection; empty: all of them."""

    publisher: str
    publisher_id: str
    collection: str


def whose(store: Store, text: str) -> tuple[PublisherId, str, tuple[PeerAddress, ...]]:
    """Return whom a person means to follow, which collection of theirs, and who may be asked according to a link.

    Raises:
        LinkError: It is neither.
        NotFoundError: Nobody has this petname here.
        UsageError: A link that names no publisher, or may be known to nobody else.
    """
    if not text.startswith("samara:"):
        publisher, slash, name = text.partition("/")
        return no_release(store, publisher_named(store, publisher)), check_name(name) if slash else "", ()
    link = Link.decode(text)
    if link.publisher is None:
        raise UsageError("this link does not say who the publisher is", hint="Give the publisher's id.")
    if not link.public:
        raise UsageError(
            "this link is not for everybody, and whom you follow others see",
            hint=f"If that is no secret: samara follow {format_record(link.publisher)}",
        )
    peers = tuple(parse_peer(address.text) for address in link.peers if address.dialable)
    return link.publisher, "", peers


def _keep(store: Store, publisher: PublisherId, name: str) -> bool:
    if store.ledgers.is_own(publisher):
        raise UsageError("this is this home's own publisher", hint="Your own: samara collection ls")
    with store.ledgers.asking(publisher) as ledger:
        return store.catalogues.follow(publisher, name, ledger.collections if ledger is not None else {})


def _let_go(store: Store, request: UnfollowRequest) -> Unfollowed:
    publisher, name, _ = whose(store, request.whose)
    with store.ledgers.asking(publisher) as ledger:
        known = ledger.collections if ledger is not None else {}
        store.catalogues.unfollow(publisher, name, known, own=store.ledgers.is_own(publisher))
    return Unfollowed(publisher_text(store, publisher), format_record(publisher), name)


def _known(store: Store, publisher: PublisherId, name: str) -> tuple[FollowedCollection, ...]:
    with store.ledgers.asking(publisher) as ledger:
        known = ledger.collections if ledger is not None else {}
        said = [one.said for one in known.values() if name in {"", one.said.name}]
    return tuple(FollowedCollection(one.name, one.title, len(one.entries)) for one in said)


async def _follow(node: Node, request: FollowRequest, report: Report) -> Followed:
    publisher, name, told = await trio.to_thread.run_sync(whose, node.store, request.whose)
    named = [*map(parse_peer, request.peers), *told]
    new = await trio.to_thread.run_sync(_keep, node.store, publisher, name)
    node.library_changed()
    heard = await _ask_at_once(node, publisher, named, report)
    node.library_changed()  # now that something of it is known, it is announced
    return Followed(
        publisher=await trio.to_thread.run_sync(publisher_text, node.store, publisher),
        publisher_id=format_record(publisher),
        collection=name,
        new=new,
        collections=await trio.to_thread.run_sync(_known, node.store, publisher, name),
        asked=heard.asked,
        records=heard.heard.records,
        forks=heard.heard.forks,
        refused=dict(heard.heard.refused),
    )


async def _ask_at_once(node: Node, publisher: PublisherId, named: Sequence[PeerAddress], report: Report) -> Round:
    """Ask for the log, and then for those of whom it lists; without a network nothing is lost but time."""
    report(Progress("asking", 0, None, unit="peers"))
    try:
        network, rounds = await node.network(), LogRounds(node)
        found = await rounds.ask(network, [publisher], named)
        listed = await trio.to_thread.run_sync(lambda: listed_to_ask_for(node.store, of=publisher))
        if listed and found.asked:
            report(Progress("asking", 0, None, unit="peers", note=f"for {len(listed)} whom the collections list"))
            found.heard.add((await rounds.ask(network, listed, named)).heard)
    except NetworkError as error:
        report(Notice(f"Nobody could be asked: {error.message}"))
        return Round()
    for peer, message in sorted(found.failed.items()):
        report(Notice(f"{peer}: {message}"))
    return found


async def _unfollow(node: Node, request: UnfollowRequest, report: Report) -> Unfollowed:
    done = await trio.to_thread.run_sync(_let_go, node.store, request)
    node.library_changed()
    return done


FOLLOW = Operation("follow", FollowRequest, Followed, _follow)
UNFOLLOW = Operation("unfollow", UnfollowRequest, Unfollowed, _unfollow)
