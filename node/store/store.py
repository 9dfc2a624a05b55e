"""The store of one home: the index, the contents in their places, and what may be deleted.

It blocks and never waits for a network; the node calls it in worker threads. See specs/store.md.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from samara.node.settings import StoreSettings
from samara.node.store.catalog import Catalog, HeldRelease
from samara.node.store.contents import Contents, Place
from samara.node.store.deltas import Deltas
from samara.node.store.encoder import Encoder
from samara.node.store.files import remove_folder
from samara.node.store.home import Home
from samara.node.store.index import Index
from samara.node.store.intake import Parts, StoreIntake
from samara.node.store.ledgers import Ledgers
from samara.node.store.omskeys import OmsKeys
from samara.node.store.publisherkeys import PublisherKeys
from samara.node.store.reader import Reader, progress_path
from samara.node.store.room import Room
from samara.node.store.shelf import PeerShelf
from samara.node.store.tensors import TensorMaps
from samara.node.store.times import Times
from samara.node.store.trust import Trust
from samara.node.store.witnessed import Witnessed
from samara.protocol import dsse
from samara.protocol.chunklist import ListVerifier, verify_list
from samara.protocol.errors import ForkError, NotFoundError, SamaraError, StoreError, VerificationError
from samara.protocol.ids import ContentId, PublisherId, ReleaseId, format_content
from samara.protocol.ports import Intake, Records
from samara.protocol.records import Kind, PublisherChain, VerifiedRelease, verify_release
from samara.protocol.table import FileTable, check_table

__all__ = ["Collected", "PlaceBusyError", "Store"]

_log = logging.getLogger(__name__)

_Key = tuple[str, ContentId]
"""An intake: the real path of its folder, and what it takes."""


class PlaceBusyError(StoreError):
    """Another intake writes to this place.

    Args:
        message: What is written.
        place: Its key, for `Store.is_busy`.
        release: What was to be taken into it.
    """

    def __init__(
        self, message: str, *, place: _Key | None = None, release: ReleaseId | None = None, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.place = place
        self.release = release


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection took away.

    Attributes:
        contents: How many contents.
        bytes: Bytes that were deleted.
    """

    contents: int
    bytes: int


class Store:
    """An open store.

    Args:
        home: Where.
        settings: How much it may take.
        writable: False opens a home that somebody else holds, or that cannot be written.

    Raises:
        NotFoundError: Not writable, and there is none.
        StoreError: It is damaged.
    """

    def __init__(self, home: Home, settings: StoreSettings, *, writable: bool) -> None:
        self.home = home
        self.keys = PublisherKeys(home)
        self.oms = OmsKeys(home, self.keys)
        self._settings = settings
        self._index = Index(home.index, writable=writable)
        self.catalog = Catalog(self._index)
        self.ledgers = Ledgers(self._index, self.catalog)
        self.catalogues = self.ledgers.catalogues
        self.times = Times(self._index)
        self.trust = Trust(home.trust, self.catalog, self.ledgers, self.times, self.verified)
        self.ledgers.witnesses = self.trust.kept
        self.witnessed = Witnessed(self._index)
        if writable:
            self.ledgers.told = self.trust.see
            self.times.see_clock()
        self.contents = Contents(self._index, home.content)
        self.reader = Reader(self.contents)
        self.tensors = TensorMaps(self.contents, self.reader)
        self.encoder = Encoder(self.contents, self.reader, self.tensors)
        self.deltas = Deltas(self.catalog, self.contents, self.reader, self._verify, self.add_release)
        self.shelf = PeerShelf(
            self.catalog, self.ledgers, self.witnessed, self.contents, self.reader, self.encoder, self.deltas,
            self.serves,
        )  # fmt: skip
        self._changing = threading.RLock()  # what is in flight does not change while something is deleted
        self._intakes: dict[_Key, StoreIntake] = {}
        self._opening: set[_Key] = set()
        self._publishing = 0

    @property
    def writable(self) -> bool:
        """It may be written by this process."""
        return self._index.writable

    def close(self) -> None:
        """Commit what is in flight and close."""
        try:
            for intake in list(self._intakes.values()):
                intake.close()
        finally:
            self._index.close()

    # The port of the stick (samara.protocol.ports.Library)

    def records(self, release: ReleaseId) -> Records | None:
        """Return the records of a held release."""
        return self.catalog.records(release)

    def nodes(self, content: ContentId, stream: int) -> Sequence[bytes] | None:
        """Return all chunk-list nodes of a stream, root first; None when they are not complete."""
        return self.contents.list_nodes(content, stream)

    def read(self, content: ContentId, stream: int, first: int, count: int) -> Sequence[memoryview] | None:
        """Return verified chunks from `first` on; at least one, perhaps fewer than `count`; None when none."""
        return self.reader.read(content, stream, first, count)

    def open_intake(
        self,
        records: Records,
        table_nodes: Sequence[bytes],
        table: FileTable,
        wanted: Sequence[int] | None,
        to: Path | None = None,
        *,
        parts: Parts | None = None,
        cancelled: Callable[[], bool] | None = None,
        insisted: bool = False,
    ) -> StoreIntake:
        """Begin, or go on with, the intake of a release.

        Args:
            records: Its records; they are verified here.
            table_nodes: The nodes of the file table's chunk list.
            table: The file table.
            wanted: Streams that are wanted, or None for all.
            to: The folder to put the files into; None is the home's own.
            parts: Which chunks of files are wanted; None for all (`StoreIntake`).
            cancelled: Is asked now and then while files that lie there already are hashed.
            insisted: The user named it, and wants it although it was taken back, or is not believed.

        Raises:
            VerificationError: Records or table are wrong, contradict the publisher's roots known here, or are
                condemned.
            UntrustedError: It was taken back, or a rule that is enforced does not believe it.
            PlaceBusyError: Another intake takes the same content to the same place.
            StoreError: A different file is in the way.
            StoppedError: `cancelled` said so.
        """
        verified = self._verify(records)
        self.trust.check(verified, insisted=insisted)
        release = verified.release
        verified.check_table(table.encode())
        check_table(table, release.content)
        verified.check_facts(content=release.content, total=table.size, files=len(table))
        verify_list(ListVerifier.for_table(release.content), table_nodes)
        root = (to or self.home.content / format_content(release.content)).absolute()
        streams = range(1, len(table) + 1) if wanted is None else wanted
        with self._reserved((os.path.realpath(root), release.content), verified.id) as key:
            self.add_release(verified, records)
            self.contents.add(release.content, table, table_nodes)
            doubted = any(p.state == "edited" for p in self.contents.places(release.content) if p.root == root)
            place = self.contents.add_place(release.content, "to" if to else "home", root)
            intake = StoreIntake(
                self.contents, self.reader, place, streams, self._room(place),
                parts=parts, doubted=doubted, cancelled=cancelled,
            )  # fmt: skip
            with self._changing:
                self._intakes[key] = intake
        return intake

    @contextlib.contextmanager
    def _reserved(self, key: _Key, release: ReleaseId) -> Iterator[_Key]:
        """Let nobody else open this intake, and nobody delete its content, while a block opens it."""
        with self._changing:
            if self.is_busy(key):
                raise PlaceBusyError(
                    f"{key[0]} is being written by another fetch or import",
                    place=key,
                    release=release,
                    hint="Wait for it: samara queue.",
                )
            self._opening.add(key)
        try:
            yield key
        finally:
            with self._changing:
                self._opening.discard(key)

    def is_busy(self, place: _Key | None) -> bool:
        """Whether the intake that was in the way of a `PlaceBusyError` is still open."""
        return place in self._intakes or place in self._opening

    def add_release(self, verified: VerifiedRelease, records: Records, *, own: bool = False) -> None:
        """Keep a verified release; its head counts, or contradicts what is known, as the ledger says.

        Args:
            verified: The release.
            records: Its records.
            own: It is signed here: both are kept, or nothing of it.

        Raises:
            ForkError: It is signed here, and the publisher is frozen.
        """
        if not own:
            self.catalog.add_release(verified, records, own=False)
            self.keep_signatures(verified.id, records.release)
            self.ledgers.take(records.roots, [records.head] if records.head is not None else ())
            return
        try:
            # The ledgers' lock first, as everywhere: a transaction never waits for a ledger.
            with self.ledgers.lock, self._index.write():
                self.catalog.add_release(verified, records, own=True)
                if records.head is not None:
                    delegate = verified.release.delegation is not None
                    self.ledgers.take_own(records.roots, records.head, delegate=delegate)
        except BaseException:
            self.ledgers.forget(verified.release.publisher)
            raise

    def transaction(self) -> contextlib.AbstractContextManager[object]:
        """Return a block in which all that is written is kept, or nothing of it; the ledgers' lock comes first."""
        return self._index.write()

    def keep_signatures(self, release: ReleaseId, envelope: bytes) -> None:
        """Keep what more keys of its publisher have signed a release that is known here than was known.

        Args:
            release: Which.
            envelope: It, verified, with other signatures.
        """
        with self._index.write():
            known = self.catalog.records(release)
            if known is None or known.release == envelope:
                return
            chain = PublisherChain.verify(known.roots)
            ours = {key for root in chain.roots for key in root.root.keys}
            joined = dsse.join(known.release, envelope, ours)
            if _signed(joined) & ours > _signed(known.release) & ours:
                self.catalog.set_envelope(release, joined)

    def verify_records(
        self, records: Records, *, expected: ReleaseId | None = None, publisher: PublisherId | None = None
    ) -> VerifiedRelease:
        """Verify a release with its roots and head, held against all that is known here of its publisher.

        Args:
            records: The envelopes as received.
            expected: The release that was asked for, or None.
            publisher: The publisher that was asked for, or None.

        Raises:
            RecordError: They are wrong, or contradict the roots that are known: then the publisher is frozen.
        """
        chain = PublisherChain.verify(records.roots, expected=publisher)
        with self.ledgers.asking(chain.publisher) as ledger:
            if ledger is None:
                return verify_release(records, expected=expected, publisher=publisher)
            try:
                return verify_release(
                    records,
                    expected=expected,
                    publisher=publisher,
                    known=ledger.chain,
                    delegations=ledger.delegations,
                )
            except ForkError:
                if self.writable:
                    self.ledgers.take(records.roots, ())  # two roots of one version are the proof
                raise

    def verified(self, release: ReleaseId) -> VerifiedRelease:
        """Return a release that is known here, verified by all that is known of its publisher.

        Raises:
            NotFoundError: Its records are gone.
        """
        records = self.catalog.records(release)
        if records is None:
            raise NotFoundError("the records of this release are gone", hint="Fetch it again.")
        return self.verify_records(records, expected=release)

    def serves(self, held: HeldRelease) -> bool:
        """Whether a release may be passed on: its publisher allows it, and took back neither it nor its key."""
        return held.shared and not self.trust.is_withdrawn(held)

    def _verify(self, records: Records) -> VerifiedRelease:
        verified = self.verify_records(records)
        for held in self.catalog.releases(content=verified.release.content):
            if held.condemned:
                raise VerificationError(f"this release is condemned: {held.condemned}", hint="Use another release.")
        return verified

    def close_intake(self, intake: Intake) -> None:
        """Commit what an intake took, and let its place go."""
        for key, ours in list(self._intakes.items()):
            if ours is intake:
                try:
                    ours.close()
                finally:
                    with self._changing:
                        self._intakes.pop(key, None)
                self._look_for_pack(ours.content)

    def _look_for_pack(self, content: ContentId) -> None:
        kinds = {held.kind for held in self.catalog.releases(content=content)}
        if Kind.DELTA.value not in kinds or self.complete_place(content) is None:
            return
        try:
            verified = self.deltas.take(content)
        except SamaraError as error:  # it stays what its publisher signed: a file
            _log.warning("a delta release that is of no use: %s", error)
        else:
            _log.info("a delta leads to %s", verified.release.name)

    def _room(self, place: Place) -> Room:
        """What is left for a place, after what is there and what other intakes still need."""
        with self._changing:
            others = list(self._intakes.values())
        floor = self._settings.floor + sum(other.unallocated for other in others if _same_disk(other.place, place))
        if self._settings.quota is None:
            return Room(floor, None)
        planned = {other.place.no: other.planned for other in others}
        homes = [p for p in self.contents.places() if p.kind == "home" and p.no != place.no]
        taken = sum(max(self._place_bytes(home), planned.get(home.no, 0)) for home in homes)
        return Room(floor, self._settings.quota - taken)

    # Where things are

    def home_bytes(self) -> int:
        """Return the bytes of all files under the home, of those in progress what they take of the disk."""
        return sum(self._place_bytes(place) for place in self.contents.places() if place.kind == "home")

    def _place_bytes(self, place: Place) -> int:
        total, begun = self.contents.place_bytes(place)
        for stream in begun:
            size = self.contents.table(place.content)[stream - 1].size
            with contextlib.suppress(OSError, AttributeError):  # where a system does not tell, it is the whole size
                size = min(size, os.lstat(progress_path(place, stream)).st_blocks * 512)
            total += size
        return total

    def complete_place(self, content: ContentId) -> Place | None:
        """Return a place where a content lies whole and online."""
        return self.contents.complete_place(content)

    # Deleting

    def remove(self, release: ReleaseId) -> Collected:
        """Forget a release, and delete its content from the home unless another release of it is kept.

        Raises:
            NotFoundError: It is not known here.
            StoreError: It is being fetched.
        """
        with self._changing:
            held = self.catalog.release(release)
            if held is None:
                raise NotFoundError("there is no such release here", hint="See samara ls.")
            if self._in_flight(held.content):
                raise StoreError("it is being fetched", hint="Stop the fetch first: samara queue.")
            self.catalog.forget_release(release)
            if self.catalog.releases(content=held.content):
                return Collected(0, 0)
            return Collected(1, self._drop(held.content))

    def collect(self) -> Collected:
        """Delete what is neither pinned nor in flight."""
        with self._changing:
            pins = self.catalog.pins()
            kept = {held.content for held in self.catalog.releases() if held.id in pins} | self.deltas.targets()
            contents = bytes_ = 0
            for content in set(self.contents.ids()) - kept:
                if not self._in_flight(content):
                    for held in self.catalog.releases(content=content):
                        self.catalog.forget_release(held.id)
                    bytes_ += self._drop(content)
                    contents += 1
            return Collected(contents, bytes_)

    @contextlib.contextmanager
    def publishing(self) -> Iterator[None]:
        """Let nobody collect what lies where it was published: in the block it is there and not pinned yet."""
        with self._changing:
            self._publishing += 1
        try:
            yield
        finally:
            with self._changing:
                self._publishing -= 1

    def _in_flight(self, content: ContentId) -> bool:
        if self._publishing and any(place.kind == "inplace" for place in self.contents.places(content)):
            return True
        return any(content == taken for _, taken in (*self._intakes, *self._opening))

    def _drop(self, content: ContentId) -> int:
        """Forget a content, and return the bytes that were deleted.

        Files go before their rows: when the process dies between, or they cannot be deleted, the next collection finds
        what is left.
        """
        freed = 0
        for place in self.contents.places(content):
            if place.kind == "home" and not place.root.is_symlink():  # else it is not ours to delete
                self.contents.set_place_state(place, "edited")
                freed += remove_folder(place.root)
                if os.path.lexists(place.root):
                    continue
            self.contents.forget_place(place)
        if not self.contents.places(content):
            self.contents.forget(content)
        return freed


def _signed(envelope: bytes) -> set[str]:
    return {signature.keyid for signature in dsse.Envelope.decode(envelope).signatures}


def _same_disk(one: Place, other: Place) -> bool:
    try:
        return one.root.stat().st_dev == other.root.stat().st_dev
    except OSError:
        return True
