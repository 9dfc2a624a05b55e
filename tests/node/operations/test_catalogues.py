"""Collections, who is followed, what a search finds, whom a list introduces; each attack by its name (trust.md)."""

from __future__ import annotations

import random
import re
import sqlite3
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from support.contents import Source, give_home, make_source, take_all
from support.publishers import Publisher
from support.speaking import publisher_of, release_of, tell

from samara.cli.output import quoted
from samara.node.operations import catalogues, collecting, introducing
from samara.node.operations.base import Event, Notice
from samara.node.operations.catalogues import CollectionRequest, CollectionShown, CollectionsRequest, FollowsRequest
from samara.node.operations.collecting import (
    AddToCollectionRequest,
    Changed,
    IntroduceRequest,
    RemoveFromCollectionRequest,
    add_to_collection,
    introduce,
    remove_from_collection,
)
from samara.node.operations.follows import whose
from samara.node.operations.introducing import PROPOSALS, Answer, Imported, ImportRequest
from samara.node.operations.judging import check_held, judge_held
from samara.node.operations.queries import LIST, ListRequest
from samara.node.operations.records import (
    RecordsExportRequest,
    RecordsImportRequest,
    export_records,
    import_records,
)
from samara.node.operations.refs import find_release, own_publisher
from samara.node.operations.searching import SEARCH, FoundRow, SearchFound, SearchRequest
from samara.node.settings import StoreSettings
from samara.node.store import ledgers as ledgers_module
from samara.node.store.home import Home
from samara.node.store.store import Store
from samara.node.trustfile import add_rule
from samara.protocol import limits
from samara.protocol.errors import (
    ForkError,
    LinkError,
    NotFoundError,
    RevokedError,
    StoreError,
    UntrustedError,
    UsageError,
    VerificationError,
)
from samara.protocol.ids import PublisherId, ReleaseId, digest, format_record
from samara.protocol.links import Link
from samara.protocol.records import Listed, VerifiedRelease, is_displayable
from samara.protocol.trust import Ground, Mode, Rule, Verdict

HERE = Path(__file__)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with give_home(tmp_path / "home") as store:
        yield store


@pytest.fixture
def bob() -> Publisher:
    """A collector, whom nobody has a name for."""
    return Publisher.of("bob")


def entry(release: VerifiedRelease, note: str | None = None) -> Listed:
    """What an honest collector says of a release."""
    said = release.release
    return Listed(release.id, said.publisher, said.name, said.version, note)


def made_up(number: int, of: PublisherId | None = None, name: str = "model") -> Listed:
    """A release that there is not."""
    mark = digest(b"%d" % number)
    return Listed(ReleaseId(mark), of or PublisherId(mark), name, f"{number}")


def follow(store: Store, publisher: Publisher, name: str = "") -> bool:
    with store.ledgers.asking(publisher.chain.publisher) as ledger:
        known = ledger.collections if ledger is not None else {}
        return store.catalogues.follow(publisher.chain.publisher, name, known)


def search(store: Store, *words: str, most: int = 0) -> SearchFound:
    return SEARCH.answer(store, SearchRequest(words, most))


def names(found: SearchFound) -> list[tuple[str, str, str]]:
    return [(row.name, row.version, row.state) for row in found.releases]


def only(found: SearchFound) -> FoundRow:
    (row,) = found.releases
    return row


def show(store: Store, name: str) -> CollectionShown:
    return catalogues.COLLECTION_SHOW.answer(store, CollectionRequest(name))


def add(store: Store, *refs: ReleaseId, name: str = "best", note: str = "", title: str = "") -> Changed:
    return add_to_collection(store, AddToCollectionRequest(name, tuple(map(format_record, refs)), note, title))


def newest(store: Store) -> bytes | None:
    with store.ledgers.asking(own_publisher(store).publisher) as ledger:
        return None if ledger is None or ledger.newest is None else ledger.newest.id


def fetched(store: Store, tmp_path: Path, whose: str, **how: str) -> tuple[Source, PublisherId]:
    """Somebody else's release, taken into a store; and whose it is."""
    with give_home(tmp_path / whose) as theirs:
        made = make_source(theirs, tmp_path / f"{whose}'s" / f"{whose}-model", {"w.bin": 100}, **how)
        take_all(made, theirs, store)
        return made, own_publisher(theirs).publisher


# Signing


def test_a_collection_is_signed_anew_with_each_change_and_not_without_one(store: Store, tmp_path: Path) -> None:
    one = make_source(store, tmp_path / "one", {"a": 10}).release
    two, ben = fetched(store, tmp_path, "ben")
    done = add(store, one, note="small", title="What runs here")
    assert (done.position, done.entries, done.changed, done.title) == (2, 1, 1, "What runs here")
    again = add(store, two.release)
    assert (again.position, again.entries, again.changed) == (3, 2, 1)
    shown = show(store, "best")
    assert [(row.name, row.note, row.publisher_id) for row in shown.entries] == [
        ("one", "small", format_record(own_publisher(store).publisher)),
        ("ben-model", "", format_record(ben)),
    ]
    assert (shown.own, shown.title, [row.verdict for row in shown.entries]) == (True, "What runs here", ["GOOD"] * 2)
    # What says the same is not signed; another note is something else.
    assert add(store, one, two.release) == replace(again, changed=0)
    assert add(store, one, note="tiny").changed == 1
    assert [row.note for row in show(store, "me/best").entries] == ["tiny", ""]
    # An entry is struck out by its name, though the release is not here any more.
    store.remove(two.release)
    gone = remove_from_collection(store, RemoveFromCollectionRequest("best", (f"{format_record(ben)}/ben-model",)))
    assert (gone.entries, gone.changed) == (1, 1)
    for absent in (format_record(two.release), "me/two"):
        with pytest.raises(NotFoundError):
            remove_from_collection(store, RemoveFromCollectionRequest("best", (absent,)))
    beginning = format_record(one)[:20]
    assert remove_from_collection(store, RemoveFromCollectionRequest("best", (beginning,))).entries == 0
    assert catalogues.COLLECTION_LS.answer(store, CollectionsRequest()).collections[0].entries == 0


def test_what_cannot_be_signed_is_said_before_it_is(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = make_source(store, tmp_path / "one", {"a": 10}).release
    two = make_source(store, tmp_path / "two", {"b": 10}).release
    before = newest(store)
    with pytest.raises(NotFoundError):
        remove_from_collection(store, RemoveFromCollectionRequest("best", (format_record(one),)))
    with pytest.raises(NotFoundError):
        add(store, made_up(1).release)
    with pytest.raises(LinkError):
        add(store, one, name="no name")
    for text in ("two\nlines", " blank", "\u202egnp.exe", "\x1b[2Jclear", "x" * 257):
        with pytest.raises(UsageError, match="--note"):
            add(store, one, note=text)
        with pytest.raises(UsageError, match="--title"):
            add(store, one, title=text)
    monkeypatch.setattr(limits, "MAX_COLLECTION", 1)
    with pytest.raises(UsageError, match="at most 1"):
        add(store, one, two)
    assert newest(store) == before


@pytest.mark.parametrize("visibility", ["unlisted", "private", "tightened"])
def test_attack_what_is_not_public_gets_into_no_collection(store: Store, tmp_path: Path, visibility: str) -> None:
    """Else whoever has the list knows the id, and an id is all that it takes to ask for what is unlisted."""
    said = "public" if visibility == "tightened" else visibility
    public = make_source(store, tmp_path / "public", {"p": 10}).release
    secret = make_source(store, tmp_path / "secret", {"s": 10}, visibility=said).release
    if visibility == "tightened":
        store.catalog.tighten(secret, "unlisted")
    before = newest(store)
    with pytest.raises(UsageError, match="tell its id to everybody"):
        add(store, public, secret)
    assert newest(store) == before, "not even the public one was signed: nothing happened"


def test_what_was_taken_back_is_listed_only_by_who_insists(store: Store, tmp_path: Path) -> None:
    made, _ = fetched(store, tmp_path, "ben")
    with give_home(tmp_path / "ben") as theirs:
        ben = publisher_of(theirs)
        ben.revoke(release_of(theirs, made.release))
        tell(store, ben)
    with pytest.raises(RevokedError):
        add(store, made.release)
    refs = (format_record(made.release),)
    done = add_to_collection(store, AddToCollectionRequest("worst", refs, insist=("ben-model",)))
    assert done.entries == 1
    (row,) = show(store, "worst").entries
    assert (row.verdict, row.revoked) == ("REVOKED", "security")


def test_publishers_are_introduced_by_the_names_that_they_have_here(store: Store, bob: Publisher) -> None:
    anna, carl = Publisher.of("anna").chain.publisher, Publisher.of("carl").chain.publisher
    said: list[str] = []

    def report(event: Event) -> None:
        assert isinstance(event, Notice)
        said.append(event.notice)

    def put(*who: str, **how: object) -> Changed:
        return introduce(store, IntroduceRequest("friends", who, **how), report)  # type: ignore[arg-type]

    with pytest.raises(UsageError, match="to be called"):
        put(format_record(anna))
    store.catalog.set_petname(anna, "anna")
    assert put("anna").publishers == 1
    with pytest.raises(UsageError, match="to be called"):
        put("me")
    assert put("me", petname="dora").publishers == 2
    with pytest.raises(UsageError, match="another publisher anna"):
        put(format_record(carl), petname="anna")
    with pytest.raises(UsageError, match="one publisher"):
        put("anna", "me", petname="both")
    assert put(format_record(carl), petname="corn").publishers == 3
    assert not said
    assert put(format_record(bob.chain.publisher), petname="com").publishers == 4
    assert said == ["com looks like corn, whom this collection introduces, too"]
    assert put("anna", remove=True).publishers == 3
    with pytest.raises(NotFoundError):
        put("anna", remove=True)
    shown = show(store, "friends")
    assert [(row.petname, row.name) for row in shown.publishers] == [("dora", "me"), ("corn", ""), ("com", "")]


# Following


def test_what_is_followed_is_searched_and_kept_over_a_restart(tmp_path: Path, bob: Publisher) -> None:
    anna = Publisher.of("anna")
    release = anna.release("1.5", "tiny-chat")
    bob.collect("best", [entry(release, "fits into 4 GB")], title="What runs on old laptops")
    bob.collect("other", [made_up(7, name="never")])
    with give_home(tmp_path / "a") as store:
        tell(store, bob)
        assert search(store, "tiny").found == 0, "what strangers list is not looked through"
        assert follow(store, bob, "best")
        assert not follow(store, bob, "best")
        for words in (["tiny"], ["TINY", "4 gb"], ["1.5"], ["laptops"], ["best", "chat"]):
            assert names(search(store, *words)) == [("tiny-chat", "1.5", "known")], words
        assert search(store, "never").found == 0
        store.crash()
    with give_home(tmp_path / "a") as store:
        row = only(search(store, "tiny"))
        assert (row.claimed, row.publisher, row.held) == (True, format_record(anna.chain.publisher), 0)
        assert Link.decode(row.ref) == Link(release.id, "tiny-chat", anna.chain.publisher)
        (source,) = row.known_from
        assert (source.how, source.who_id) == ("collection", format_record(bob.chain.publisher))
        assert (source.collection, source.title, source.note) == ("best", "What runs on old laptops", "fits into 4 GB")
        # What the collector signs next is what counts, and nothing of before.
        bob.collect("best", [made_up(8, name="other-chat")])
        tell(store, bob)
        assert names(search(store, "chat")) == [("other-chat", "8", "known")]
        follow(store, bob)
        assert search(store, "never").found == 1
        (one, all_of_them) = catalogues.FOLLOWS.answer(store, FollowsRequest()).follows
        assert (one.collection, one.collections, one.entries) == ("best", 1, 1)
        assert (all_of_them.collection, all_of_them.collections, all_of_them.entries) == ("", 2, 2)
        with store.ledgers.asking(bob.chain.publisher) as ledger:
            assert ledger is not None
            store.catalogues.unfollow(bob.chain.publisher, "", ledger.collections, own=False)
            with pytest.raises(NotFoundError):
                store.catalogues.unfollow(bob.chain.publisher, "best", ledger.collections, own=False)
        assert search(store, "never").found == search(store, "chat").found == 0
        assert not store.catalogues.collections()


def test_what_could_not_be_listed_was_not_taken(store: Store, bob: Publisher) -> None:
    """Records and what is searched of them are committed together, or not at all."""
    follow(store, bob)
    bob.collect("best", [made_up(1)])
    with store._index.write() as db:
        db.execute("CREATE TRIGGER full BEFORE INSERT ON listed BEGIN SELECT raise(ABORT, 'no room'); END")
    with pytest.raises(StoreError):
        tell(store, bob)
    assert store.ledgers.ledger(bob.chain.publisher) is None
    assert not store.catalogues.collections()
    with store._index.write() as db:
        db.execute("DROP TRIGGER full")
    tell(store, bob)
    assert search(store, "model").found == 1


def test_an_index_of_before_there_were_collections_is_read_and_grows(tmp_path: Path, bob: Publisher) -> None:
    bob.collect("best", [made_up(1)])
    with give_home(tmp_path / "a") as store:
        tell(store, bob)
        make_source(store, tmp_path / "model", {"w.bin": 100})
    with sqlite3.connect(tmp_path / "a/index.sqlite") as old:
        for table in ("follow", "catalogue", "listed"):
            old.execute(f"DROP TABLE {table}")
    old.close()
    looking = Store(Home(tmp_path / "a"), StoreSettings(), writable=False)
    assert names(search(looking, "model")) == [("model", "1", "complete")]
    assert catalogues.FOLLOWS.answer(looking, FollowsRequest()).follows == ()
    assert catalogues.COLLECTION_LS.answer(looking, CollectionsRequest()).collections == ()
    assert show(looking, f"{format_record(bob.chain.publisher)}/best").entries[0].state == "known"
    assert not looking.catalogues.is_followed(bob.chain.publisher)
    assert looking.catalogues.collectors() == frozenset()
    assert looking.catalogues.publishers() == []
    looking.close()
    with give_home(tmp_path / "a") as store:
        assert follow(store, bob)
        assert search(store, "model").found == 2


def test_a_collection_comes_by_file_to_whom_no_network_reaches(tmp_path: Path, store: Store) -> None:
    """Bob at a site follows Anna before anything of hers has come; a courier brings a file."""
    with give_home(tmp_path / "anna") as theirs:
        made = make_source(theirs, tmp_path / "tiny-chat", {"w.bin": 10}).release
        add(theirs, made, note="fits into 4 GB")
        anna = own_publisher(theirs).publisher
        export_records(theirs, RecordsExportRequest(str(tmp_path / "news")))
    store.catalogues.follow(anna, "best", {})
    assert import_records(store, RecordsImportRequest(str(tmp_path / "news"))).publishers[0].records == 2
    row = only(search(store, "4 gb"))
    assert (row.name, row.release, row.state) == ("tiny-chat", format_record(made), "known")
    assert [one.how for one in row.known_from] == ["collection"], "she has no name here: her head is a stranger's"
    store.catalog.set_petname(anna, "anna")
    assert [one.how for one in only(search(store, "4 gb")).known_from] == ["head", "collection"]


def test_whom_to_follow_is_a_name_an_id_or_a_link(store: Store, tmp_path: Path, bob: Publisher) -> None:
    who, text = bob.chain.publisher, format_record(bob.chain.publisher)
    store.catalog.set_petname(who, "bob")
    peer = "/ip4/127.0.0.1/tcp/9/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"
    assert whose(store, "bob") == whose(store, text) == (who, "", ())
    assert whose(store, "bob/best") == whose(store, f"{text}/best") == (who, "best", ())
    link = bob.release("1").id
    found, name, peers = whose(store, f"samara:{format_record(link)}?k={text}&p={peer}")
    assert (found, name, [one.peer for one in peers]) == (who, "", [peer.rpartition("/")[2]])
    with pytest.raises(UsageError, match="not say who"):
        whose(store, f"samara:{format_record(link)}")
    with pytest.raises(UsageError, match="not for everybody"):
        whose(store, f"samara:{format_record(link)}?k={text}&v=unlisted")
    with pytest.raises(LinkError):
        whose(store, "bob/no name")
    with pytest.raises(NotFoundError):
        whose(store, "nobody")
    made = make_source(store, tmp_path / "model", {"w.bin": 10}).release
    with pytest.raises(UsageError, match="is a release"):  # the ids of both look alike
        whose(store, format_record(made))


def test_no_more_are_followed_than_can_be(store: Store, bob: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_FOLLOWS", 2)
    assert follow(store, bob, "one")
    assert follow(store, bob, "two")
    with pytest.raises(UsageError, match="no more can be"):
        follow(store, bob, "three")
    assert not follow(store, bob, "two"), "what is followed already is no more"
    assert [one.name for one in store.catalogues.follows()] == ["one", "two"]


# Searching


def test_what_is_here_comes_first_then_what_those_tell_whom_one_knows(
    store: Store, tmp_path: Path, bob: Publisher
) -> None:
    made = make_source(store, tmp_path / "my-chat-model", {"w.bin": 100}).release
    anna, stranger = Publisher.of("anna"), Publisher.of("a stranger")
    newest_of_anna = anna.release("2", "chat")
    anna.publish("1", "chat")
    anna.head(newest_of_anna)
    stranger.publish("1", "chat")
    bob.collect("best", [made_up(1, name="chatty"), made_up(2, name="prattle")], title="All for a chat")
    bob.collect("twice", [entry(newest_of_anna, "really")])
    store.catalog.set_petname(anna.chain.publisher, "anna")
    for publisher in (anna, bob, stranger):
        tell(store, publisher)
    follow(store, bob)
    found = search(store, "chat")
    assert [(row.name, row.state) for row in found.releases] == [
        ("my-chat-model", "complete"),
        ("chat", "known"),  # anna's: the word is all of the name
        ("chatty", "known"),  # the name begins with it
        ("prattle", "known"),  # only the title has it
        ("chat", "known"),  # whoever that is
    ]
    of_anna, of_stranger = found.releases[1], found.releases[4]
    assert found.releases[0].ref == format_record(made)
    assert (of_anna.publisher, of_anna.release) == ("anna", format_record(newest_of_anna.id))
    assert not of_anna.claimed
    assert [(one.how, one.who, one.note) for one in of_anna.known_from] == [
        ("head", "anna", ""),
        ("collection", format_record(bob.chain.publisher), "really"),
    ]
    assert of_stranger.publisher_id == format_record(stranger.chain.publisher)
    assert search(store, "anna").found == 1
    assert search(store, "chat", "nothing").found == 0
    # What is here says the same as lists do, and where else it is known from.
    (row,) = LIST.answer(store, ListRequest()).releases
    assert all(getattr(found.releases[0], name) == getattr(row, name) for name in type(row).__slots__)
    limited = search(store, "chat", most=2)
    assert (len(limited.releases), limited.found) == (2, 5)


@pytest.mark.parametrize("seed", range(5))
def test_a_search_finds_what_reading_the_signed_lists_finds(store: Store, seed: int) -> None:
    rng = random.Random(seed)
    words = ["chat", "Tiny", "llama", "CODE", "small", "q4", "Ärger", "straße"]
    collectors = [Publisher.of(f"collector {number}") for number in range(4)]
    for number in range(20):
        size = rng.randrange(6)
        listed = [
            Listed(
                ReleaseId(digest(b"%d" % rng.randrange(60))),
                PublisherId(digest(b"%d" % rng.randrange(5))),
                "-".join(rng.choices(words[:6], k=2)),
                rng.choice("123"),
                rng.choice([None, " ".join(rng.choices(words, k=3))]),
            )
            for _ in range(size)
        ]
        entries = {one.release: one for one in listed}.values()
        rng.choice(collectors).collect(f"list-{number % 5}", entries, title=" ".join(rng.choices(words, k=2)))
    naive: list[tuple[ReleaseId, str]] = []
    for whom in collectors:
        tell(store, whom)
        name = rng.choice(["", "list-1"])
        follow(store, whom, name)
        for one in whom.ledger().collections.values():
            if name in {"", one.said.name}:
                about = f"{one.said.name} {one.said.title}"
                naive += [(e.release, f"{e.name} {e.version} {e.note or ''} {about}") for e in one.said.entries]
    for _ in range(20):
        wanted = rng.choices(words, k=rng.randrange(1, 3))
        found = {row.release for row in search(store, *wanted).releases}
        folded = [word.casefold() for word in wanted]
        assert found == {format_record(one) for one, text in naive if all(w in text.casefold() for w in folded)}


def test_what_was_taken_back_is_marked_though_it_is_not_here(store: Store, bob: Publisher) -> None:
    anna = Publisher.of("anna")
    bad, good = anna.release("1", "chat"), anna.release("2", "chat")
    anna.head(bad)
    anna.head(good)
    anna.revoke(bad, text="wrong tokenizer")
    bob.collect("best", [entry(bad), entry(good)])
    tell(store, anna)
    tell(store, bob)
    follow(store, bob)
    found = search(store, "chat")
    assert [(row.version, row.revoked) for row in found.releases] == [("2", ""), ("1", "security: wrong tokenizer")]
    rows = show(store, f"{format_record(bob.chain.publisher)}/best").entries
    assert [(row.version, row.revoked, row.newer) for row in rows] == [
        ("1", "security: wrong tokenizer", format_record(good.id)),
        ("2", "", ""),
    ]


def test_attack_strangers_push_nothing_out_of_a_search(store: Store, tmp_path: Path, bob: Publisher) -> None:
    made = make_source(store, tmp_path / "a-chat-model", {"w.bin": 100}).release
    bob.collect("best", [made_up(1, name="some-chat")])
    for number in range(30):
        stranger = Publisher.of(f"number {number}")
        stranger.publish("1", "chat")
        stranger.publish("1", f"chat-{number}")
        tell(store, stranger)
    tell(store, bob)
    follow(store, bob)
    found = search(store, "chat", most=10)
    assert (len(found.releases), found.found) == (10, 62)
    assert found.releases[0].release == format_record(made)
    assert found.releases[1].name == "some-chat"


def test_attack_a_head_by_a_revoked_key_is_not_found(store: Store) -> None:
    """The thief's sequence is the highest: where heads lie, it comes first, and only the ledger knows better."""
    anna = Publisher.of("anna")
    anna.publish("1")
    last, thief = anna.place, anna.copy()
    for version in ("6", "66", "666"):
        thief.publish(version)
    tell(store, thief)
    store.catalog.set_petname(anna.chain.publisher, "anna")
    evil = thief.heads["tiny"].head.release
    assert only(search(store, "tiny")).release == format_record(evil)
    anna.rotate("ben", place=last)
    anna.revoke_key("anna", last)
    good = anna.release("2")
    anna.head(good)
    tell(store, anna)
    row = only(search(store, "tiny"))
    assert row.release == format_record(good.id)
    assert format_record(evil) not in {one.release for one in search(store, "").releases}


# Lies


def test_attack_what_is_listed_under_anothers_name_is_not_believed(
    store: Store, tmp_path: Path, bob: Publisher
) -> None:
    anna = Publisher.of("anna")
    store.catalog.set_petname(anna.chain.publisher, "anna")
    add_rule(store.home.trust, Rule(publisher="anna", mode=Mode.ENFORCE), last=False)
    add_rule(store.home.trust, Rule(mode=Mode.ENFORCE), last=True)
    with give_home(tmp_path / "mallory") as theirs:
        made = make_source(theirs, tmp_path / "m" / "tiny", {"w.bin": 100})
        evil = release_of(theirs, made.release)
        with pytest.raises(UntrustedError):
            take_all(made, theirs, store)
        # A list that says that it is Anna's, by somebody who is followed, with a name for good measure: as before.
        bob.collect("best", [Listed(evil.id, anna.chain.publisher, "tiny", "1", "by anna, I swear")])
        tell(store, bob)
        follow(store, bob)
        floor = store.times.floor
        with pytest.raises(UntrustedError):
            take_all(made, theirs, store)
        assert store.times.floor == floor
        assert not store.trust.is_trusted(bob.chain.publisher), "to follow is not to believe"
        # What is listed right of a stranger is no more believed.
        bob.collect("right", [entry(evil)])
        tell(store, bob)
        with pytest.raises(UntrustedError):
            take_all(made, theirs, store)
    assert only(search(store, "swear")).claimed


def test_attack_an_entry_that_lies_is_shown_as_such(store: Store, tmp_path: Path, bob: Publisher) -> None:
    made, ben = fetched(store, tmp_path, "ben")
    anna = Publisher.of("anna").chain.publisher
    store.catalog.set_petname(anna, "anna")
    (held,) = store.catalog.releases()
    before = judge_held(store, held)
    assert before.decision.ground is Ground.FIRST_USE
    bob.collect("best", [Listed(made.release, anna, "llama", "9")])
    bob.collect("true", [Listed(made.release, ben, held.name, held.version)])
    tell(store, bob)
    follow(store, bob)
    row = only(search(store, "llama"))
    assert (row.name, row.version, row.publisher_id, row.claimed) == (held.name, "1", format_record(ben), False)
    said = {one.collection: one for one in row.known_from}
    assert (said[""].wrong, said["true"].wrong, said["best"].wrong) == ((), (), ("publisher", "name", "version"))
    assert said["best"].publisher == "anna"
    (shown,) = show(store, f"{format_record(bob.chain.publisher)}/best").entries
    assert shown.wrong == ("publisher", "name", "version")
    assert judge_held(store, held) == before
    # Nor does the link that was given before it was here lead to it: it names whose it was said to be.
    store.remove(made.release)
    bob.collect("true", [])
    tell(store, bob)
    link = only(search(store, "llama")).ref
    with give_home(tmp_path / "ben") as theirs:
        take_all(made, theirs, store)
    with pytest.raises(VerificationError):
        find_release(store, link)


def test_attack_a_revoked_release_is_not_made_good_by_a_wrong_entry(
    store: Store, tmp_path: Path, bob: Publisher
) -> None:
    """Whose revocation is looked for is decided by the release, and not by who lists it."""
    made, _ = fetched(store, tmp_path, "ben")
    with give_home(tmp_path / "ben") as theirs:
        ben = publisher_of(theirs)
        ben.revoke(release_of(theirs, made.release))
        tell(store, ben)
    bob.collect("best", [Listed(made.release, bob.chain.publisher, "safe", "1")])
    tell(store, bob)
    follow(store, bob)
    (held,) = store.catalog.releases()
    (row,) = show(store, f"{format_record(bob.chain.publisher)}/best").entries
    assert (row.verdict, row.revoked) == ("REVOKED", "security")
    assert only(search(store, "safe")).revoked == "security"
    assert judge_held(store, held).verdict is Verdict.REVOKED
    with pytest.raises(RevokedError):
        check_held(store, held, ["safe"])  # insisting on the name in the list is insisting on another


# Floods


def test_attack_a_collector_fills_no_store(store: Store, bob: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each version of a list is a record; those that were replaced make room, and the newest is always there."""
    monkeypatch.setattr(ledgers_module, "_KNOWN", ledgers_module._KNOWN._replace(records=16))
    monkeypatch.setattr(limits, "MAX_LISTED_KEPT", 10)
    follow(store, bob)
    for version in range(60):
        bob.collect("best", [made_up(version)])
        taken = store.ledgers.take(bob.chain.envelopes, bob.said[-1:])
        assert taken.refused == {}
    (kept,) = store._index.read.execute("SELECT count(*) FROM entry").fetchone()
    assert kept <= 16
    assert names(search(store, "model")) == [("model", "59", "known")]
    # What made room is not taken again, and not asked for.
    assert store.ledgers.take(bob.chain.envelopes, bob.said[:1]).refused == {"DiskFullError": 1}
    assert all(first > 40 for first, _ in store.ledgers.missing(bob.chain.publisher))
    # Lists that are longer than what is searched of one collector: those signed last are, and the others are shown.
    bob.collect("long", [made_up(number, name="long") for number in range(8)])
    bob.collect("short", [made_up(100 + number, name="short") for number in range(2)])
    tell(store, bob)
    assert (search(store, "long").found, search(store, "short").found, search(store, "59").found) == (8, 2, 0)
    rows = catalogues.COLLECTION_LS.answer(store, CollectionsRequest()).collections
    assert [(row.name, row.searched) for row in rows] == [("best", False), ("long", True), ("short", True)]
    (count,) = store._index.read.execute("SELECT count(*) FROM listed").fetchone()
    assert count == 10


def test_attack_collections_without_end_push_nothing_out(
    store: Store, bob: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers_module, "_KNOWN", ledgers_module._KNOWN._replace(records=16))
    honest = Publisher.of("honest")
    honest.collect("best", [made_up(1)])
    tell(store, honest)
    follow(store, honest)
    follow(store, bob)
    bob.revoke(bob.release("1"))
    for number in range(40):
        bob.collect(f"list-{number}", [made_up(number, name="spam")])
    taken = tell(store, bob)
    assert (len(taken.new), taken.refused) == (16, {"DiskFullError": 25})
    with store.ledgers.asking(bob.chain.publisher) as ledger:
        assert ledger is not None
        assert ledger.revocation(bob.release("1").id) is not None
    assert (search(store, "spam").found, search(store, "model").found) == (15, 1)


def test_a_stranger_with_one_long_list_is_kept_once_he_is_followed(
    store: Store, bob: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers_module, "_STRANGER", ledgers_module._STRANGER._replace(bytes=4_000))
    bob.collect("best", [made_up(number) for number in range(50)])
    assert tell(store, bob).refused == {"DiskFullError": 1}
    follow(store, bob)
    assert tell(store, bob).refused == {}
    assert search(store, "model").found == 50


# Introductions


@pytest.fixture
def friends(store: Store, bob: Publisher) -> Callable[..., Imported]:
    """A list of Bob's that was signed; takes names from it."""

    def take(answers: dict[str, str] | None = None, **introduced: PublisherId) -> Imported:
        if introduced:
            bob.collect("friends", [], introduced)
            tell(store, bob)
        name = f"{format_record(bob.chain.publisher)}/friends"
        proposed = PROPOSALS.answer(store, CollectionRequest(name))
        said = {row.petname: row.publisher for row in proposed.publishers}
        given = tuple(Answer(said[petname], answer) for petname, answer in (answers or {}).items())
        return introducing._import(store, ImportRequest(name, given, all=answers is None))

    return take


def results(done: Imported) -> dict[str, tuple[str, str]]:
    return {row.petname: (row.result, row.name) for row in done.publishers}


def test_names_are_taken_one_by_one_or_all_that_clash_with_nothing(
    store: Store, bob: Publisher, friends: Callable[..., Imported]
) -> None:
    anna, carl, dora = (Publisher.of(name).chain.publisher for name in ("anna", "carl", "dora"))
    done = friends({"anna": "anna", "carl": "charlie"}, anna=anna, carl=carl, dora=dora)
    assert results(done) == {"anna": ("named", "anna"), "carl": ("named", "charlie"), "dora": ("left", "")}
    assert store.catalog.petnames() == {anna: "anna", carl: "charlie"}
    assert all(len(row.words) == 8 for row in done.publishers)
    assert done.collector_id == format_record(bob.chain.publisher)
    # The rest without a question; who has a name keeps it, whatever the list says.
    again = friends()
    assert results(again) == {"anna": ("kept", "anna"), "carl": ("kept", "charlie"), "dora": ("named", "dora")}
    assert store.trust.is_trusted(dora)
    me = own_publisher(store).publisher
    store.ledgers.take(own_publisher(store).chain.envelopes, (), own=True)
    assert results(friends(boss=me)) == {"boss": ("kept", "me")}
    bob.collect("friends", [])
    tell(store, bob)
    with pytest.raises(NotFoundError):
        friends()


def test_a_list_for_which_nobody_stands_any_more_is_marked(
    store: Store, bob: Publisher, friends: Callable[..., Imported]
) -> None:
    anna = Publisher.of("anna").chain.publisher
    assert not friends({}, anna=anna).expired
    bob.collect("friends", [], {"anna": anna}, expires="2026-05-06T08:00:00Z")
    tell(store, bob)
    assert friends({}).expired
    assert show(store, f"{format_record(bob.chain.publisher)}/friends").expired


def test_attack_a_suggested_name_takes_nobodys_place(store: Store, friends: Callable[..., Imported]) -> None:
    anna, mallory = Publisher.of("anna").chain.publisher, Publisher.of("mallory").chain.publisher
    store.catalog.set_petname(anna, "anna")
    for answers in (None, {"anna": "anna"}):
        done = friends(answers, anna=mallory)
        assert results(done) == {"anna": ("clash", "")}
        assert done.publishers[0].like == ("anna",)
        assert store.catalog.petnames() == {anna: "anna"}
    assert results(friends(None, me=mallory)) == {"me": ("clash", "")}
    assert results(friends({"me": "anna"}, me=mallory)) == {"me": ("clash", "")}
    assert store.catalog.petnames() == {anna: "anna"}


def test_attack_a_suggested_name_that_looks_like_one_in_use(store: Store, friends: Callable[..., Imported]) -> None:
    anna, mallory, trent = (Publisher.of(name).chain.publisher for name in ("anna", "mallory", "trent"))
    store.catalog.set_petname(anna, "modern-ai")
    done = friends(None, **{"modem-ai": mallory, "tr3nt": trent})
    assert results(done) == {"modem-ai": ("clash", ""), "tr3nt": ("named", "tr3nt")}
    assert done.publishers[0].like == ("modern-ai",)
    # Two in one list, too; and the person who types it has seen what it looks like.
    done = friends(None, **{"corn": mallory, "com": PublisherId(digest(b"another"))})
    assert results(done) == {"corn": ("named", "corn"), "com": ("clash", "")}
    done = friends({"com": "com"})
    assert results(done) == {"corn": ("kept", "corn"), "com": ("named", "com")}


def test_attack_a_collector_who_is_frozen_introduces_nobody(
    store: Store, bob: Publisher, friends: Callable[..., Imported]
) -> None:
    thief = bob.copy()
    anna = Publisher.of("anna").chain.publisher
    assert results(friends({}, anna=anna)) == {"anna": ("left", "")}
    thief.collect("friends", [], {"anna": Publisher.of("mallory").chain.publisher})
    tell(store, thief)
    with pytest.raises(ForkError):
        friends()
    assert store.catalog.petnames() == {}
    shown = show(store, f"{format_record(bob.chain.publisher)}/friends")
    assert shown.frozen
    assert [row.publisher for row in shown.publishers] == [format_record(anna)], "what was known stays"


# What a terminal shows


def test_attack_texts_of_a_collection_forge_no_lines() -> None:
    evil = "fine" + " " * 200 + "GOOD: tiny 1: every byte is right"
    assert quoted(evil, "    ", width=60) == '    "fine GOOD: tiny 1: every byte is right"'
    assert quoted('good" by anna, "trusted', "  ", width=60) == "  \"good' by anna, 'trusted\""
    assert quoted("\u3000\u2800\u00a0x\u1160\u3164y", "", width=60) == '"x y"'
    assert quoted("a\x1b[2J\u202eb\r\nc", "", width=60).isprintable()
    assert quoted("e" + "\u0301" * 50, "", width=60) == '"e\u0301\u0301"'
    wide = quoted("漢" * 100, "  ", width=44).split("\n")
    assert [len(line) for line in wide[:2]] == [2 + 1 + 19, 2 + 2 + 19]
    assert quoted("a note of some words", "", width=24) == '"a note of some words"'
    assert quoted("a note of some more words", "", width=24) == '"a note of some more\n| words"'


@given(st.text(st.characters(), max_size=256).filter(is_displayable), st.integers(26, 120))
def test_no_text_gets_out_of_its_quotation(text: str, width: int) -> None:
    first, *others = quoted(text, "  ", width=width).split("\n")
    assert first.startswith('  "')
    assert all(line.startswith("  | ") for line in others)
    whole = " ".join([first[3:], *(line[4:] for line in others)])
    assert whole.endswith('"')
    assert '"' not in whole[:-1]
    assert not re.search(r"\s\s|[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", whole)
    assert all(wcswidth(line) <= width for line in (first, *others))


def wcswidth(text: str) -> int:
    """Columns of a terminal, as rich counts them, which knows of no marks but those without a width."""
    return sum(0 if unicodedata.combining(one) else cell_len(one) for one in text)


# The table


def test_the_table_in_the_spec_names_every_attack_here_and_no_other() -> None:
    table = (HERE.parents[3] / "specs" / "trust.md").read_text("utf-8").split("What a collector tries")[1]
    named = set(re.findall(r"`attack_(\w+)`", table.split("\n## ")[0]))
    here = {name.removeprefix("test_attack_") for name in globals() if name.startswith("test_attack_")}
    assert named == here


def test_all_is_one_operation_of_a_node_each() -> None:
    from samara.cli.operations import Operations

    known = set(Operations())
    here = {collecting.COLLECTION_ADD.name, collecting.COLLECTION_REMOVE.name, collecting.COLLECTION_PUBLISHERS.name}
    assert here | {"follow", "unfollow", "follows", "search", "trust import", "trust proposals"} <= known


def test_it_takes_its_turns_at_random_but_fairly() -> None:
    from samara.node.fetch.rounds import share

    rng = random.Random(7)
    lists = [[PublisherId(digest(rng.randbytes(4))) for _ in range(many)] for many in (500, 3, 0, 50)]
    taken = share(lists, 60)
    assert len(taken) == len(set(taken)) == 60
    counts = [sum(one in taken for one in each) for each in lists]
    assert counts[1:3] == [3, 0]
    assert abs(counts[0] - counts[3]) <= 1
    assert share([], 5) == share([[]], 5) == []
    assert share([lists[1], lists[1]], 9) == lists[1]
