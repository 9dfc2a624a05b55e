"""What a peer may have: the sharing rules in front of the reader (implements `samara.protocol.ports.Shelf`).

A content is shared when a release of it is: its publisher answered that it may be passed on and did not take it back,
it is not condemned, and it is public, unlisted, or private with this peer on the list. Everything else looks the same
from outside: not found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from samara.node.store.bits import set_run
from samara.node.store.catalog import Catalog, HeldRelease
from samara.node.store.contents import Contents
from samara.node.store.deltas import Deltas, HeldPack
from samara.node.store.encoder import Encoder
from samara.node.store.ledgers import Ledgers
from samara.node.store.reader import Reader
from samara.node.store.witnessed import Witnessed
from samara.protocol.dsse import Envelope
from samara.protocol.ids import ContentId, Digest, PublisherId, ReleaseId, digest
from samara.protocol.ports import RAW_ALONE, Accepts, Availability, Beginning, LogPage, Piece, Records, Run
from samara.protocol.trust.passing import page_of

__all__ = ["PeerShelf"]


class PeerShelf:
    """Answers peers from the store."""

    def __init__(
        self,
        catalog: Catalog,
        ledgers: Ledgers,
        witnessed: Witnessed,
        contents: Contents,
        reader: Reader,
        encoder: Encoder,
        deltas: Deltas,
        serves: Callable[[HeldRelease], bool],
    ) -> None:
        self._catalog = catalog
        self._ledgers = ledgers
        self._witnessed = witnessed
        self._contents = contents
        self._reader = reader
        self._encoder = encoder
        self._deltas = deltas
        self._serves = serves

    def records(self, release: ReleaseId, peer: str) -> Records | None:
        """Return the records of a release that this peer may know."""
        held = self._catalog.release(release)
        return self._catalog.records(release) if held and self._may(held, peer) else None

    def latest(self, publisher: PublisherId, name: str, peer: str) -> Records | None:
        """Return the records of the head's release, else of the newest release of that name."""
        held = self._catalog.releases(publisher=publisher, name=name)
        # Unlisted releases are given to who names their id; a name alone is no link.
        listed = [r.id for r in held if r.visibility != "unlisted" and self._may(r, peer)]
        head = self._ledgers.head(publisher, name)
        if head is not None and head.head.release in listed:
            records = self._catalog.records(head.head.release)
            return None if records is None else replace(records, head=head.envelope)
        return self._catalog.records(listed[0]) if listed else None

    def log(self, publisher: PublisherId, root: int, first: int, peer: str) -> LogPage | None:
        """Return a page of a publisher's log, when a release of it is no secret to this peer, when this home follows or
        signs its collections, when it was witnessed here, or when it is this home's own and has delegates.

        Whether the files are passed on does not matter: that they are to be used no more must get about, too.
        """
        shown = any(
            (held.redistribute or held.own)
            and (held.visibility == "public" or (held.visibility == "private" and self._catalog.allowed(held.id, peer)))
            for held in self._catalog.releases(publisher=publisher)
        )
        told = self._ledgers.catalogues.collectors() | self._ledgers.delegating()
        if not shown and publisher not in told and not self._is_witnessed(publisher):
            return None
        with self._ledgers.asking(publisher) as ledger:
            return None if ledger is None else page_of(ledger, root, first)

    def _is_witnessed(self, publisher: PublisherId) -> bool:
        """Whether our own signatures tell of a log: it was witnessed here, or is ours, of whoever knows us by these."""
        witnessed = self._witnessed.publishers()
        return publisher in witnessed or (bool(witnessed) and self._ledgers.is_own(publisher))

    def ahead(self, records: Records, most: int, peer: str) -> Beginning | None:
        """Return what a fetch of a shared release asks for before its first chunk of a file, at most `most` bytes."""
        held = self._catalog.release(ReleaseId(digest(Envelope.decode(records.release).payload)))
        if held is None or not self._shares(held.content, peer):
            return None
        whole = self._contents.complete_place(held.content) is not None
        return Beginning(self._reader.ahead(held.content, most), whole)

    def node(self, content: ContentId, node: Digest, peer: str) -> bytes | None:
        """Return a chunk-list node of a shared content."""
        return self._contents.node(content, node) if self._shares(content, peer) else None

    def files(self, content: ContentId, peer: str, bases: Sequence[ContentId] = ()) -> bytes | None:
        """Return one bit a file: set when it is held whole, or packs for who holds one of `bases` have all of it."""
        if not self._shares(content, peer):
            return None
        bits = bytearray((len(self._contents.table(content)) + 7) // 8)
        for place in self._contents.places(content):
            if place.state == "online":
                for stream in self._contents.complete_streams(place):
                    set_run(bits, stream - 1)
        for stream in self._deltas.whole_files(self._packs(content, bases, peer)):
            set_run(bits, stream - 1)
        return bytes(bits)

    def availability(
        self, content: ContentId, stream: int, peer: str, bases: Sequence[ContentId] = ()
    ) -> Availability | None:
        """Return which chunks of a stream of a shared content are held, or packs for who holds one of `bases` have."""
        held = self._reader.availability(content, stream) if self._shares(content, peer, stream) else None
        if held is None or held.bits is None or not (packs := self._packs(content, bases, peer)):
            return held
        bits = int.from_bytes(held.bits, "little") | self._deltas.bits(packs, stream, held.chunks)
        return Availability(held.chunks, bits.to_bytes(len(held.bits), "little"))

    def read(
        self,
        content: ContentId,
        stream: int,
        first: int,
        count: int,
        peer: str,
        room: memoryview | None = None,
        accepts: Accepts = RAW_ALONE,
        *,
        least: int | None = 0,
    ) -> Run | None:
        """Return a verified run of a shared content, or one that packs have of what is not held."""
        if not self._shares(content, peer, stream):
            return None
        packs = self._packs(content, accepts.bases, peer) if stream else []
        run = self._reader.run(content, stream, first, count, room)
        if run is None:
            return self._deltas.run(packs, content, stream, first, count) if packs else None
        if least is None or accepts.encodings == RAW_ALONE.encodings or not stream:
            return run
        # A delta to what this peer may not have would tell that it is here.
        bases = tuple(base for base in accepts.bases if self._shares(base, peer))
        ready = partial(self._ready, packs) if packs else None
        return self._encoder.encode(content, stream, first, run, replace(accepts, bases=bases), ready, least)

    def shows(self, content: ContentId, peer: str) -> bool:
        """Return whether this content is passed on to a peer by a public release: then who takes part is no secret."""
        return self._contents.has(content) and any(
            held.visibility == "public" and self._may(held, peer) for held in self._catalog.releases(content=content)
        )

    def _ready(self, packs: Sequence[HeldPack], stream: int, index: int) -> Piece | None:
        return next((piece for pack in packs if (piece := self._deltas.piece(pack, stream, index)) is not None), None)

    def _packs(self, content: ContentId, bases: Sequence[ContentId], peer: str) -> list[HeldPack]:
        """Return the packs from one of some bases to a content that this peer may have."""
        if not bases:
            return []
        return [p for p in self._deltas.of(content) if p.base in bases and self._shares(p.content, peer)]

    def _shares(self, content: ContentId, peer: str, stream: int = 0) -> bool:
        if not self._contents.has(content) or not 0 <= stream <= len(self._contents.table(content)):
            return False
        return any(self._may(held, peer) for held in self._catalog.releases(content=content))

    def _may(self, held: HeldRelease, peer: str) -> bool:
        return self._serves(held) and (held.visibility != "private" or self._catalog.allowed(held.id, peer))
