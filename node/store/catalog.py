"""Records in the index: releases, roots and heads; pins, petnames, what peers did, and the queue of fetches.

Only verified records are added: `add_release` takes what `samara.protocol.records` has verified.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from samara.node.store.index import Index
from samara.protocol import limits
from samara.protocol.errors import NotFoundError
from samara.protocol.ids import ContentId, PublisherId, ReleaseId
from samara.protocol.ports import Records
from samara.protocol.records import VerifiedHead, VerifiedRelease

__all__ = ["Catalog", "HeldRelease", "QueuedFetch"]


@dataclass(frozen=True, slots=True)
class HeldRelease:
    """A release that the store knows.

    Attributes:
        id: Its id.
        publisher: Who published it.
        name: Its name.
        version: Its version.
        issued: When, as it says (RFC 3339).
        kind: model, dataset, adapter, collection or delta.
        license: SPDX expression or NOASSERTION.
        content: Its content.
        bytes: Size of all files.
        files: How many files.
        visibility: public, unlisted or private, as this holder keeps it.
        redistribute: Its publisher answered that it may be passed on.
        own: It was published from this home: by its own publisher, or as a delegate of another.
        condemned: Why it is not to be used; empty when it may.
        added: When it came here, seconds since 1970.
    """

    id: ReleaseId
    publisher: PublisherId
    name: str
    version: str
    issued: str
    kind: str
    license: str
    content: ContentId
    bytes: int
    files: int
    visibility: str
    redistribute: bool
    own: bool
    condemned: str
    added: float

    @property
    def shared(self) -> bool:
        """This node passes it on; its publisher may do so whatever others may."""
        return (self.redistribute or self.own) and not self.condemned


@dataclass(frozen=True, slots=True)
class QueuedFetch:
    """A fetch that was asked for.

    Attributes:
        no: Its number.
        request: What was asked, as the operation's JSON.
        state: queued, running, failed or done; a process that is killed leaves `running` behind.
        release: Which release it is, once known.
        error: Why it failed.
        added: When, seconds since 1970.
    """

    no: int
    request: bytes
    state: str
    release: ReleaseId | None
    error: str
    added: float


_AS_DELEGATE = 2
"""In the column `own`: signed here under another publisher's delegation. 1 is signed here by this home's publisher."""

_RELEASE = (
    "id, publisher, name, version, issued, kind, license, content, bytes, files, visibility, redistribute, own,"
    " condemned, added"
)


class Catalog:
    """Queries and writes on the index's record tables."""

    def __init__(self, index: Index) -> None:
        self._index = index

    # Releases

    def add_release(self, verified: VerifiedRelease, records: Records, *, own: bool) -> None:
        """Keep a verified release with its roots. Its head is for the ledger (`Store.add_release`)."""
        release = verified.release
        signed = 0 if not own else 1 if release.delegation is None else _AS_DELEGATE
        row = (
            verified.id, release.publisher, release.name, release.version, release.issued, release.kind.value,
            release.license, release.content, release.bytes, release.files, release.visibility.value,
            release.redistribute, signed, time.time(), records.release,
        )  # fmt: skip
        with self._index.write() as db:
            db.execute(
                "INSERT INTO release (id, publisher, name, version, issued, kind, license, content, bytes, files,"
                " visibility, redistribute, own, added, envelope) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
                " ON CONFLICT (id) DO UPDATE SET own = own | excluded.own",
                row,
            )
            db.executemany(
                "INSERT OR IGNORE INTO root (publisher, version, envelope) VALUES (?,?,?)",
                [(release.publisher, number, root) for number, root in enumerate(records.roots, 1)],
            )

    def release(self, release: ReleaseId) -> HeldRelease | None:
        """Return a release that is known here."""
        row = self._index.read.execute(f"SELECT {_RELEASE} FROM release WHERE id = ?", (release,)).fetchone()  # noqa: S608
        return _held(row) if row else None

    def releases(
        self,
        *,
        content: ContentId | None = None,
        publisher: PublisherId | None = None,
        name: str | None = None,
        kind: str | None = None,
    ) -> list[HeldRelease]:
        """Return the known releases that match, newest first."""
        given = {"content": content, "publisher": publisher, "name": name, "kind": kind}
        wanted = {column: value for column, value in given.items() if value is not None}
        where = " AND ".join(f"{column} = ?" for column in wanted) or "1"
        rows = self._index.read.execute(
            f"SELECT {_RELEASE} FROM release WHERE {where} ORDER BY issued DESC, added DESC, id",  # noqa: S608
            tuple(wanted.values()),
        )
        return [_held(row) for row in rows]

    def records(self, release: ReleaseId) -> Records | None:
        """Return the envelopes of a release, its root chain and its newest head."""
        db = self._index.read
        row = db.execute("SELECT envelope, publisher FROM release WHERE id = ?", (release,)).fetchone()
        if row is None:
            return None
        head = db.execute(
            "SELECT envelope FROM head WHERE release = ? ORDER BY sequence DESC LIMIT 1", (release,)
        ).fetchone()
        return Records(self.roots(row[1]), row[0], head[0] if head else None)

    def roots(self, publisher: PublisherId) -> tuple[bytes, ...]:
        """Return the root chain of a publisher, genesis first; empty when unknown."""
        rows = self._index.read.execute("SELECT envelope FROM root WHERE publisher = ? ORDER BY version", (publisher,))
        return tuple(row[0] for row in rows)

    def add_roots(self, publisher: PublisherId, roots: Sequence[bytes]) -> None:
        """Keep a verified root chain."""
        with self._index.write() as db:
            db.executemany(
                "INSERT OR IGNORE INTO root (publisher, version, envelope) VALUES (?,?,?)",
                [(publisher, number, root) for number, root in enumerate(roots, 1)],
            )

    def set_envelope(self, release: ReleaseId, envelope: bytes) -> None:
        """Keep another envelope of a release, verified: the same payload, with other signatures."""
        with self._index.write() as db:
            db.execute("UPDATE release SET envelope = ? WHERE id = ?", (envelope, release))

    def forget_release(self, release: ReleaseId) -> None:
        """Forget a release and its pin.

        Roots stay: they are needed to recognise the publisher again. Heads stay: without them an older one would be
        believed again, and our own next one would repeat a sequence number, which is the proof of a fork.
        """
        with self._index.write() as db:
            for table, column in (("release", "id"), ("pin", "release"), ("allow", "release")):
                db.execute(f"DELETE FROM {table} WHERE {column} = ?", (release,))  # noqa: S608

    def condemn(self, content: ContentId, why: str) -> None:
        """Mark every release of a content as not to be used."""
        with self._index.write() as db:
            db.execute("UPDATE release SET condemned = ? WHERE content = ?", (why, content))

    def tighten(self, release: ReleaseId, visibility: str) -> None:
        """Make a release less visible than its publisher said; never more."""
        order = ["public", "unlisted", "private"]
        held = self.release(release)
        if held is not None and order.index(visibility) > order.index(held.visibility):
            with self._index.write() as db:
                db.execute("UPDATE release SET visibility = ? WHERE id = ?", (visibility, release))

    # Heads

    def add_head(self, head: VerifiedHead) -> None:
        """Keep a head that its publisher's ledger has admitted: who is given its release, is given it too."""
        said = head.head
        with self._index.write() as db:
            db.execute(
                "INSERT OR IGNORE INTO head (id, publisher, name, sequence, release, envelope) VALUES (?,?,?,?,?,?)",
                (head.id, said.publisher, said.name, said.sequence, said.release, head.envelope),
            )

    def newest_heads(self) -> list[tuple[PublisherId, str, ReleaseId]]:
        """Return of each publisher and name the release that the head with the highest sequence names.

        It is where to begin: whether that head still counts, and is the newest, its publisher's ledger says.
        """
        query = "SELECT publisher, name, release, max(sequence) FROM head GROUP BY publisher, name"
        rows = self._index.read.execute(query)
        return [(PublisherId(publisher), name, ReleaseId(release)) for publisher, name, release, _ in rows]

    # Pins, petnames, peers

    def pin(self, release: ReleaseId, *, pinned: bool) -> None:
        """Pin or unpin a release.

        Raises:
            NotFoundError: It is not known here.
        """
        if self.release(release) is None:
            raise NotFoundError("there is no such release here", hint="See samara ls.")
        with self._index.write() as db:
            db.execute("DELETE FROM pin WHERE release = ?", (release,))
            if pinned:
                db.execute("INSERT INTO pin (release) VALUES (?)", (release,))

    def pin_instead(self, release: ReleaseId, old: ReleaseId | None) -> None:
        """Pin a release and unpin the one that it takes the place of, if there is one: both or neither.

        Raises:
            NotFoundError: The new one is not known here.
        """
        with self._index.write() as db:
            if old is not None:
                db.execute("DELETE FROM pin WHERE release = ?", (old,))
            self.pin(release, pinned=True)

    def pins(self) -> frozenset[ReleaseId]:
        """Return what is pinned."""
        return frozenset(ReleaseId(row[0]) for row in self._index.read.execute("SELECT release FROM pin"))

    def petnames(self) -> dict[PublisherId, str]:
        """Return the names that this home's user gave to publishers."""
        return {PublisherId(row[1]): row[0] for row in self._index.read.execute("SELECT name, publisher FROM petname")}

    def set_petname(self, publisher: PublisherId, name: str) -> None:
        """Call a publisher `name` from now on; an empty name forgets it."""
        with self._index.write() as db:
            db.execute("DELETE FROM petname WHERE publisher = ? OR name = ?", (publisher, name))
            if name:
                db.execute("INSERT INTO petname (name, publisher) VALUES (?,?)", (name, publisher))

    def count_wrong(self, peer: str, why: str) -> int:
        """Remember that a peer sent a wrong chunk; return how many times it did."""
        with self._index.write() as db:
            (wrong,) = db.execute(
                "INSERT INTO peer (id, wrong, why, seen) VALUES (?,1,?,?) ON CONFLICT (id) DO UPDATE SET"
                " wrong = wrong + 1, why = excluded.why, seen = excluded.seen RETURNING wrong",
                (peer, why, time.time()),
            ).fetchone()
            # Ids cost nothing: whoever invents them must not fill the disk. Those that nobody met for longest go.
            db.execute(
                "DELETE FROM peer WHERE id != ? AND id IN (SELECT id FROM peer ORDER BY seen DESC LIMIT -1 OFFSET ?)",
                (peer, limits.MAX_WRONG_PEERS),
            )
        return int(wrong)

    def wrong_counts(self) -> dict[str, int]:
        """Return how many wrong chunks each remembered peer sent."""
        return {row[0]: row[1] for row in self._index.read.execute("SELECT id, wrong FROM peer")}

    def banned(self) -> frozenset[str]:
        """Return the peers that are banned."""
        return frozenset(peer for peer, wrong in self.wrong_counts().items() if wrong >= limits.BAN_AFTER)

    def allow(self, release: ReleaseId, peers: Iterable[str]) -> None:
        """Let these peers have a private release."""
        with self._index.write() as db:
            db.executemany("INSERT OR IGNORE INTO allow (release, peer) VALUES (?,?)", [(release, p) for p in peers])

    def allowed(self, release: ReleaseId, peer: str) -> bool:
        """Whether a private release names this peer."""
        query = "SELECT 1 FROM allow WHERE release = ? AND peer = ?"
        return self._index.read.execute(query, (release, peer)).fetchone() is not None

    def allowed_peers(self, release: ReleaseId) -> frozenset[str]:
        """Return the peers that may have a private release."""
        rows = self._index.read.execute("SELECT peer FROM allow WHERE release = ?", (release,))
        return frozenset(row[0] for row in rows)

    # The queue of fetches

    def enqueue(self, request: bytes) -> QueuedFetch:
        """Queue a fetch; the same request that is not done is found again instead."""
        with self._index.write() as db:
            row = db.execute("SELECT no FROM fetch WHERE request = ? AND state != 'done'", (request,)).fetchone()
            if row is None:
                row = db.execute(
                    "INSERT INTO fetch (request, state, added) VALUES (?, 'queued', ?) RETURNING no",
                    (request, time.time()),
                ).fetchone()
            db.execute("UPDATE fetch SET state = 'queued', error = '' WHERE no = ? AND state = 'failed'", (row[0],))
        return next(fetch for fetch in self.queue() if fetch.no == row[0])

    def queue(self) -> list[QueuedFetch]:
        """Return the fetches that were asked for and are not done, oldest first."""
        rows = self._index.read.execute(
            "SELECT no, request, state, release, error, added FROM fetch WHERE state != 'done' ORDER BY no"
        )
        return [QueuedFetch(n, r, s, ReleaseId(i) if i else None, e, a) for n, r, s, i, e, a in rows]

    def done_fetches(self, release: ReleaseId) -> list[bytes]:
        """Return what was asked, as the operation's JSON, by the fetches that brought a release; oldest first."""
        query = "SELECT request FROM fetch WHERE release = ? AND state = 'done' ORDER BY no"
        return [bytes(row[0]) for row in self._index.read.execute(query, (release,))]

    def requeue_fetches(self) -> None:
        """Record that no fetch runs: whoever ran them is gone."""
        with self._index.write() as db:
            db.execute("UPDATE fetch SET state = 'queued' WHERE state = 'running'")

    def update_fetch(self, no: int, state: str, *, release: ReleaseId | None = None, error: str = "") -> None:
        """Record how a fetch stands."""
        with self._index.write() as db:
            db.execute(
                "UPDATE fetch SET state = ?, error = ?, release = coalesce(?, release) WHERE no = ?",
                (state, error, release, no),
            )

    def drop_fetch(self, no: int) -> None:
        """Take a fetch out of the queue."""
        with self._index.write() as db:
            db.execute("DELETE FROM fetch WHERE no = ?", (no,))


def _held(row: Sequence[object]) -> HeldRelease:
    values = list(row)
    values[11], values[12] = bool(values[11]), bool(values[12])
    return HeldRelease(*values)  # type: ignore[arg-type]  # the columns of _RELEASE, in its order
