"""What a fetch is to bring, and what it brought."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field
from pathlib import Path

from samara.node.fetch.finder import parse_peer
from samara.node.network.transport import PeerAddress
from samara.node.operations.refs import find_release, publisher_of
from samara.node.store.store import Store
from samara.protocol.errors import NotFoundError, UsageError
from samara.protocol.ids import PublisherId, ReleaseId
from samara.protocol.links import LinkRef, NameRef, ReleaseRef, parse_ref
from samara.protocol.table import FileTable

__all__ = ["FetchOutcome", "Goal", "goal_of"]


@dataclass(frozen=True, slots=True)
class Goal:
    """What is to be fetched.

    Attributes:
        release: Its id; None when it is asked for by name.
        publisher: Whose it must be; None when any will do.
        name: Its name, when it is asked for by name.
        version: The version it must have; None for the newest.
        peers: Who was named by the user or the link.
        include: Patterns of paths that are wanted; empty for all.
        to: Folder to put it into; None for the home.
        discreet: Nobody but `peers` is to be asked: the link says that the release is not public.
    """

    release: ReleaseId | None
    publisher: PublisherId | None
    name: str | None
    version: str | None
    peers: tuple[PeerAddress, ...]
    include: tuple[str, ...]
    to: Path | None
    discreet: bool = False

    def wanted(self, table: FileTable) -> list[int]:
        """Return the streams that are wanted.

        Raises:
            UsageError: No path matches.
        """
        if not self.include:
            return list(range(1, len(table) + 1))
        found = [n for n, entry in enumerate(table, 1) if any(_matches(entry.path, p) for p in self.include)]
        if not found:
            raise UsageError(
                f"no file matches {' '.join(self.include)}", hint="See the names with samara fetch REF --dry-run."
            )
        return found


def _matches(path: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(path.rpartition("/")[2], pattern)


@dataclass(slots=True)
class FetchOutcome:
    """What a fetch did.

    Attributes:
        release: The release's id.
        path: Where it lies.
        received: Bytes of chunks that came from peers and were kept.
        reused: Bytes that were copied from what was held.
        seconds: How long it took.
        peers: Bytes by peer.
    """

    release: ReleaseId
    path: str
    received: int
    reused: int
    seconds: float
    peers: dict[str, int] = field(default_factory=dict)


def goal_of(store: Store, ref: str, peers: tuple[str, ...], include: tuple[str, ...], to: str) -> Goal:
    """Return what a REF asks for.

    Raises:
        LinkError: The REF or an address is malformed.
        NotFoundError: Nobody has this petname here.
    """
    named = tuple(parse_peer(peer) for peer in peers)
    folder = Path(to) if to else None
    try:
        # A name says "the newest", which only peers know; an id, or the beginning of one, may be known here.
        known = None if "/" in ref else find_release(store, ref)
    except NotFoundError:
        known = None
    if known is not None and not ref.startswith("samara:"):
        return Goal(known.id, None, None, None, named, include, folder)
    parsed = parse_ref(ref)
    if isinstance(parsed, NameRef):
        return Goal(None, publisher_of(store, parsed), parsed.name, parsed.version, named, include, folder)
    if isinstance(parsed, ReleaseRef):
        return Goal(parsed.release, None, None, None, named, include, folder)
    if not isinstance(parsed, LinkRef):
        raise UsageError(f"{ref!r} names no release")
    link = parsed.link
    in_link = tuple(parse_peer(address.text) for address in link.peers if address.dialable)
    return Goal(link.release, link.publisher, link.name, None, named + in_link, include, folder, not link.public)
