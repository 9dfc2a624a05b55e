"""search: what is known here, held or not, and who tells of it (specs/cli.md, "Search").

It asks nobody, and looks through all of it in one pass; only of the few that are shown more is asked: of the store how
they stand, of their publisher's ledger whether they are still what they were. So a search takes no longer for what
strangers have signed.
"""

from __future__ import annotations

from collections.abc import Collection as AnyOf
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

from samara.node.operations.base import Query
from samara.node.operations.catalogues import KNOWN, Names, link_to, wrong_in
from samara.node.operations.queries import ReleaseRow, release_rows, why_taken_back
from samara.node.store.catalog import HeldRelease
from samara.node.store.catalogues import Catalogue
from samara.node.store.store import Store
from samara.protocol.ids import PublisherId, ReleaseId, format_record, parse_record
from samara.protocol.records import Listed

__all__ = ["SEARCH", "FoundRow", "KnownFrom", "SearchFound", "SearchRequest"]

_MOST_SOURCES: Final = 16
"""Who tells of one release: more are no news, and a hundred collections may list it."""


_Name = tuple[PublisherId, str]
"""A publisher, and a name of its."""


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What to look for.

    Attributes:
        words: Each must occur in what somebody says of a release.
        most: How many releases to return; 0: all.
    """

    words: tuple[str, ...]
    most: int = 0


@dataclass(frozen=True, slots=True)
class KnownFrom:
    """Who tells of a release, and what.

    Attributes:
        how: `here`: its records are here; `head`: a newest head names it; `collection`: it is listed.
        who: Petname or id of who says it: its publisher, or the collector.
        who_id: Its id.
        collection: Name of the collection; else empty.
        title: Title of the collection; else empty.
        note: The collector's note; may be empty.
        name: What it is called there.
        version: Its version there; a head says none.
        publisher: Petname or id of whose it is, as it says there.
        publisher_id: Id of whose it is, as it says there.
        wrong: Which of `publisher`, `name` and `version` is another than the release says, which is here.
    """

    how: str
    who: str
    who_id: str
    collection: str
    title: str
    note: str
    name: str
    version: str
    publisher: str
    publisher_id: str
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FoundRow(ReleaseRow):
    """A release that was found; of one that is only known of, most of it is empty, and its state is `known`.

    Attributes:
        publisher_id: Whose it is.
        claimed: Only a collector says whose it is, and what it is called.
        ref: What `fetch` takes.
        known_from: Who tells of it, best known first.
    """

    publisher_id: str
    claimed: bool
    ref: str
    known_from: tuple[KnownFrom, ...]


@dataclass(frozen=True, slots=True)
class SearchFound:
    """What was found, best first.

    Attributes:
        releases: As many as were asked for.
        found: How many there are.
    """

    releases: tuple[FoundRow, ...]
    found: int


@dataclass(slots=True)
class _Hit:
    """A release that matches, and who tells of it.

    Attributes:
        group: 0: it is here; 1: a publisher with a name tells of it, or a collection; 2: anybody else.
        score: How well it matches.
        issued: When it was signed, as far as that is known.
        name: Its name.
        heads: Names of strangers that stand for it, and whose.
    """

    group: int
    score: int
    issued: str
    name: str
    heads: list[_Name] = field(default_factory=list)


class _Search:
    """One search.

    Args:
        store: The home's.
        words: What is looked for.
    """

    def __init__(self, store: Store, words: Iterable[str]) -> None:
        self._store = store
        self._words = [word.casefold() for word in words]
        self._names = Names(store)
        self._held = {held.id: held for held in store.catalog.releases()}
        self._catalogues = {one.no: one for one in store.catalogues.collections()}
        self._entries = store.catalogues.entries()
        self._heads = store.catalog.newest_heads()
        self._hits: dict[ReleaseId, _Hit] = {}

    def run(self, most: int) -> SearchFound:
        """Look for it, and return at most so many; 0: all."""
        self._look_at_home()
        self._look_at_entries()
        self._look_at_heads()
        ranked = sorted(self._hits.items(), key=lambda item: (item[1].name, item[0]))
        ranked.sort(key=lambda item: item[1].issued, reverse=True)
        ranked.sort(key=lambda item: (item[1].group, -item[1].score))
        chosen = dict(ranked[:most] if most else ranked)
        listed, named = self._listing(chosen.keys()), self._naming(chosen.keys())
        rows: list[tuple[int, FoundRow]] = []
        for release, hit in chosen.items():
            row = self._row(release, hit, listed.get(release, []), named.get(release, []))
            rows += [(hit.group, row)] if row is not None else []
        rows.sort(key=lambda pair: (pair[0], bool(pair[1].revoked)))
        return SearchFound(tuple(row for _, row in rows), len(self._hits) - len(chosen) + len(rows))

    # All of it, in one pass.

    def _look_at_home(self) -> None:
        for held in self._held.values():
            text = f"{held.name} {held.version} {held.kind} {held.license} {self._names.name(held.publisher)}"
            if self._matches(text):
                self._hit(held.id, 1, held.name)

    def _look_at_entries(self) -> None:
        about = {
            no: f"{one.name} {one.title} {self._names.name(one.collector)}".casefold()
            for no, one in self._catalogues.items()
        }
        for no, release, publisher, name, version, note in self._entries:
            if no in about and self._matches(f"{name} {version} {note} {self._names.name(publisher)} {about[no]}"):
                self._hit(release, 1, name)

    def _look_at_heads(self) -> None:
        for publisher, name, release in self._heads:
            who = self._names.name(publisher)
            if self._matches(f"{name} {who}"):
                hit = self._hit(release, 1 if who else 2, name)
                hit.heads += [] if who else [(publisher, name)]

    def _matches(self, text: str) -> bool:
        text = text.casefold()
        return all(word in text for word in self._words)

    def _hit(self, release: ReleaseId, group: int, name: str) -> _Hit:
        held = self._held.get(release)
        if held is not None:
            group, name = 0, held.name
        score = sum(_score(word, name.casefold()) for word in self._words)
        hit = self._hits.get(release)
        if hit is None:
            hit = self._hits[release] = _Hit(group, score, held.issued if held is not None else "", name)
        elif (group, -score) < (hit.group, -hit.score):
            hit.group, hit.score, hit.name = group, score, name
        return hit

    # More, of the few that are shown.

    def _listing(self, shown: AnyOf[ReleaseId]) -> dict[ReleaseId, list[KnownFrom]]:
        """What collections say of releases, those of collectors with a name first."""
        entries = [entry for entry in self._entries if entry[1] in shown and entry[0] in self._catalogues]
        entries.sort(key=lambda entry: not self._names.name(self._catalogues[entry[0]].collector))
        found: dict[ReleaseId, list[KnownFrom]] = {}
        for no, release, publisher, name, version, note in entries:
            mine = found.setdefault(release, [])
            if len(mine) < _MOST_SOURCES:
                mine.append(self._listed(self._catalogues[no], Listed(release, publisher, name, version, note)))
        return found

    def _naming(self, shown: AnyOf[ReleaseId]) -> dict[ReleaseId, list[_Name]]:
        """Which names of publishers who have one here may stand for releases."""
        found: dict[ReleaseId, list[_Name]] = {}
        for publisher, name, release in self._heads:
            if release in shown and self._names.name(publisher):
                found.setdefault(release, []).append((publisher, name))
        return found

    def _row(self, release: ReleaseId, hit: _Hit, listed: list[KnownFrom], named: list[_Name]) -> FoundRow | None:
        """How a release stands; None when nobody tells of it any more."""
        held = self._held.get(release)
        if held is not None:
            return self._held_row(held, listed)
        sources = [*self._said_now(release, named), *listed]
        if not sources:
            sources = self._said_now(release, hit.heads)
        if not sources:  # the name stands for another by now
            release = self._instead((*named, *hit.heads)) or release
            sources = self._said_now(release, (*named, *hit.heads))
        return self._known_row(release, sources[:_MOST_SOURCES]) if sources else None

    def _said_now(self, release: ReleaseId, heads: Sequence[_Name]) -> list[KnownFrom]:
        """What publishers say whose names stand for a release now, by all that they have signed."""
        newest = [(publisher, name, self._newest(publisher, name)) for publisher, name in heads[:_MOST_SOURCES]]
        return [self._said("head", publisher, name) for publisher, name, found in newest if found == release]

    def _instead(self, heads: Iterable[_Name]) -> ReleaseId | None:
        """What names stand for now, if nothing else tells of that."""
        newest = (self._newest(publisher, name) for publisher, name in heads)
        return next(
            (one for one in newest if one is not None and one not in self._hits and one not in self._held), None
        )

    def _newest(self, publisher: PublisherId, name: str) -> ReleaseId | None:
        head = self._store.ledgers.head(publisher, name)
        return head.head.release if head is not None else None

    def _held_row(self, held: HeldRelease, listed: list[KnownFrom]) -> FoundRow:
        (row,) = release_rows(self._store, [held])
        here = self._said("here", held.publisher, held.name, held.version)
        return FoundRow(
            **asdict(row),
            publisher_id=format_record(held.publisher),
            claimed=False,
            ref=row.release,
            known_from=(here, *listed),
        )

    def _known_row(self, release: ReleaseId, sources: Sequence[KnownFrom]) -> FoundRow:
        best = sources[0]
        publisher = PublisherId(parse_record(best.publisher_id))
        return FoundRow(
            release=format_record(release),
            name=best.name,
            version=best.version,
            publisher=best.publisher,
            kind="",
            license="",
            bytes=0,
            files=0,
            held=0,
            visibility="",
            pinned=False,
            state=KNOWN,
            path="",
            revoked=why_taken_back(self._store, publisher, release),
            publisher_id=best.publisher_id,
            claimed=best.how == "collection",
            ref=link_to(release, best.name, publisher),
            known_from=tuple(sources),
        )

    def _listed(self, catalogue: Catalogue, entry: Listed) -> KnownFrom:
        held = self._held.get(entry.release)
        return KnownFrom(
            how="collection",
            who=self._names.text(catalogue.collector),
            who_id=format_record(catalogue.collector),
            collection=catalogue.name,
            title=catalogue.title,
            note=entry.note or "",
            name=entry.name,
            version=entry.version,
            publisher=self._names.text(entry.publisher),
            publisher_id=format_record(entry.publisher),
            wrong=wrong_in(entry, held) if held is not None else (),
        )

    def _said(self, how: str, publisher: PublisherId, name: str, version: str = "") -> KnownFrom:
        """What a publisher says of a release of its own."""
        who, who_id = self._names.text(publisher), format_record(publisher)
        return KnownFrom(how, who, who_id, "", "", "", name, version, who, who_id)


def _score(word: str, name: str) -> int:
    """How well a word matches a name: all of it, the beginning of it or of a part, something in it, or not at all."""
    if word not in name:  # so it is of most
        return 0
    if word == name:
        return 3
    begins = name.startswith(word) or f"-{word}" in name or f".{word}" in name or f"_{word}" in name
    return 2 if begins else 1


def _search(store: Store, request: SearchRequest) -> SearchFound:
    return _Search(store, request.words).run(request.most)


SEARCH = Query("search", SearchRequest, SearchFound, _search)
