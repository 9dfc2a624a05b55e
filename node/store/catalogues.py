"""Whose collections are followed, and what these and this home's own list (specs/store.md, "The index").

What is kept here says nothing that the records do not: it is there so that a search need not read thousands of signed
lists. `refresh` holds it against a ledger, in the transaction that changes either. Nothing in it is a reason to believe
anything: an entry is what its collector says, and its release may be another's or none at all.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

from samara.node.store.index import Index
from samara.protocol import limits
from samara.protocol.errors import NotFoundError, UsageError
from samara.protocol.ids import PublisherId, ReleaseId
from samara.protocol.records import Collection, Listed, Verified

__all__ = ["Catalogue", "Catalogues", "Follow"]

_ENTRY: Final = "listed.release, listed.publisher, listed.name, listed.version, listed.note"

Signed = Mapping[str, Verified[Collection]]
"""The newest collection of each name of one publisher, as its ledger has them."""


@final
@dataclass(frozen=True, slots=True)
class Follow:
    """Somebody who is followed.

    Attributes:
        publisher: Whom.
        name: The collection; empty: all of them.
        since: When the user began to, seconds since 1970.
    """

    publisher: PublisherId
    name: str
    since: float


@final
@dataclass(frozen=True, slots=True)
class Catalogue:
    """A collection that is followed, or of this home's own.

    Attributes:
        no: Its number in the index.
        collector: Who signed it.
        name: Its name.
        title: Its title.
        record: The record that counts.
        searched: Its entries are in the index; of a collector with very many, they are not.
    """

    no: int
    collector: PublisherId
    name: str
    title: str
    record: bytes
    searched: bool


@final
class Catalogues:
    """Queries and writes on the index's tables of collections. Thread-safe.

    Args:
        index: Where they are kept.
    """

    def __init__(self, index: Index) -> None:
        self._index = index

    # Who is followed.

    def follows(self) -> list[Follow]:
        """Return who is followed, in the order in which the user began to."""
        if not self._index.has("follow"):
            return []
        rows = self._index.read.execute("SELECT publisher, name, since FROM follow ORDER BY since, publisher, name")
        return [Follow(PublisherId(publisher), name, since) for publisher, name, since in rows]

    def is_followed(self, publisher: PublisherId) -> bool:
        """Return whether collections of a publisher are followed."""
        query = "SELECT 1 FROM follow WHERE publisher = ? LIMIT 1"
        return self._index.has("follow") and bool(self._index.read.execute(query, (publisher,)))

    def follow(self, publisher: PublisherId, name: str, signed: Signed) -> bool:
        """Follow a publisher's collections; return whether that is new.

        Args:
            publisher: Whose.
            name: Of one collection; empty: all of them.
            signed: What is known of them; hold the ledgers' lock.

        Raises:
            UsageError: As many are followed as can be.
        """
        with self._index.write() as db:
            (count,) = db.execute("SELECT count(*) FROM follow").fetchone()
            done = db.execute("INSERT OR IGNORE INTO follow VALUES (?,?,?)", (publisher, name, time.time()))
            if done.rowcount and count >= limits.MAX_FOLLOWS:
                raise UsageError(
                    f"{count} are followed already, and no more can be", hint="Let one go: samara unfollow WHOSE"
                )
            self._rewrite(db, publisher, signed, own=False)
            return bool(done.rowcount)

    def unfollow(self, publisher: PublisherId, name: str, signed: Signed, *, own: bool) -> None:
        """Follow a publisher's collections no more.

        Args:
            publisher: Whose.
            name: Of one collection; empty: all of them, and each that was followed by its name.
            signed: What is known of them; hold the ledgers' lock.
            own: They are this home's own.

        Raises:
            NotFoundError: They are not followed.
        """
        with self._index.write() as db:
            done = db.execute(
                "DELETE FROM follow WHERE publisher = ? AND (name = ? OR ? = '')", (publisher, name, name)
            )
            if not done.rowcount:
                raise NotFoundError("this is not followed", hint="See who is: samara follow")
            self._rewrite(db, publisher, signed, own=own)

    # What they list.

    def collections(self) -> list[Catalogue]:
        """Return all collections that are followed, and this home's own."""
        if not self._index.has("catalogue"):
            return []
        query = "SELECT no, publisher, name, title, record, searched FROM catalogue ORDER BY publisher, name"
        rows = self._index.read.execute(query)
        return [Catalogue(no, PublisherId(p), name, title, r, bool(s)) for no, p, name, title, r, s in rows]

    def entries(self) -> list[tuple[int, ReleaseId, PublisherId, str, str, str]]:
        """Return all entries that can be searched: number of the collection, release, publisher, name, version, note.

        They are many, and plain on purpose.
        """
        if not self._index.has("listed"):
            return []
        query = f"SELECT listed.catalogue, {_ENTRY} FROM listed ORDER BY listed.catalogue, listed.no"  # noqa: S608
        return self._index.read.execute(query)

    def publishers(self, of: PublisherId | None = None) -> list[list[PublisherId]]:
        """Return of each collector, or of one, the publishers of what is listed, each once."""
        found: dict[bytes, list[PublisherId]] = {}
        if self._index.has("listed"):
            query = (
                "SELECT DISTINCT catalogue.publisher, listed.publisher FROM listed JOIN catalogue"
                " ON catalogue.no = listed.catalogue WHERE ? IS NULL OR catalogue.publisher = ?"
            )
            for collector, publisher in self._index.read.execute(query, (of, of)):
                found.setdefault(collector, []).append(PublisherId(publisher))
        return list(found.values())

    def collectors(self) -> frozenset[PublisherId]:
        """Return those whose log this home passes on for its collections: who is followed, and who signs here."""
        if not self._index.has("follow"):
            return frozenset()
        rows = self._index.read.execute("SELECT publisher FROM follow UNION SELECT publisher FROM catalogue")
        return frozenset(PublisherId(row[0]) for row in rows)

    def refresh(self, publisher: PublisherId, signed: Signed, *, own: bool) -> None:
        """Keep what a publisher's collections list, if they are followed or this home's own, and nothing else of it.

        Call it in the transaction in which what the ledger knows is committed.
        """
        with self._index.write() as db:
            self._rewrite(db, publisher, signed, own=own)

    # Within.

    def _rewrite(self, db: sqlite3.Connection, publisher: PublisherId, signed: Signed, *, own: bool) -> None:
        wanted = self._wanted(db, publisher, signed, own=own)
        known = db.execute("SELECT no, name, record, searched FROM catalogue WHERE publisher = ?", (publisher,))
        there: set[str] = set()
        for no, name, record, searched in known.fetchall():
            if (found := wanted.get(name)) is not None and (found[0].id, found[1]) == (record, bool(searched)):
                there.add(name)
                continue
            db.execute("DELETE FROM listed WHERE catalogue = ?", (no,))
            db.execute("DELETE FROM catalogue WHERE no = ?", (no,))
        for name, (collection, searched) in wanted.items():
            if name not in there:
                self._write(db, publisher, collection, searched=searched)

    def _wanted(
        self, db: sqlite3.Connection, publisher: PublisherId, signed: Signed, *, own: bool
    ) -> dict[str, tuple[Verified[Collection], bool]]:
        """Return the collections to keep, and whether their entries are: of those signed last, while there is room."""
        followed = {name for (name,) in db.execute("SELECT name FROM follow WHERE publisher = ?", (publisher,))}
        wanted: dict[str, tuple[Verified[Collection], bool]] = {}
        room = None if own else limits.MAX_LISTED_KEPT
        for name, one in sorted(signed.items(), key=lambda item: item[1].said.origin.place.position, reverse=True):
            if not (own or followed & {"", name}):
                continue
            fits = room is None or len(one.said.entries) <= room
            room = room - len(one.said.entries) if room is not None and fits else room
            wanted[name] = (one, fits)
        return wanted

    @staticmethod
    def _write(
        db: sqlite3.Connection, publisher: PublisherId, collection: Verified[Collection], *, searched: bool
    ) -> None:
        said = collection.said
        (no,) = db.execute(
            "INSERT INTO catalogue (publisher, name, title, record, searched) VALUES (?,?,?,?,?) RETURNING no",
            (publisher, said.name, said.title, collection.id, searched),
        ).fetchone()
        db.executemany(
            "INSERT INTO listed (catalogue, no, release, publisher, name, version, note) VALUES (?,?,?,?,?,?,?)",
            [(no, place, *_row(entry)) for place, entry in enumerate(said.entries)] if searched else (),
        )


def _row(entry: Listed) -> tuple[bytes, bytes, str, str, str]:
    return entry.release, entry.publisher, entry.name, entry.version, entry.note or ""
