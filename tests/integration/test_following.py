"""Who is followed is asked for, over real sockets; and what a collector can have a follower ask for has its bounds."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest
import trio
from support.contents import give_home, make_source, take_all
from support.hostile import lying
from support.hostile_logs import Telling
from support.nodes import Heard, address, fetch, published, up
from support.publishers import Publisher
from support.speaking import publisher_of, release_of, tell
from support.waiting import in_time

from samara.node.app import Node
from samara.node.fetch.finder import parse_peer
from samara.node.fetch.rounds import listed_to_ask_for, may_be_asked_for, to_ask_for
from samara.node.operations.catalogues import COLLECTION_SHOW, CollectionRequest
from samara.node.operations.collecting import COLLECTION_ADD, AddToCollectionRequest, Changed
from samara.node.operations.fetch import FETCH, FetchRequest
from samara.node.operations.follows import FOLLOW, UNFOLLOW, Followed, FollowRequest, UnfollowRequest
from samara.node.operations.records import RECORDS_SYNC, RecordsSyncRequest, SyncedRecords
from samara.node.operations.refs import own_publisher
from samara.node.operations.searching import SEARCH, SearchFound, SearchRequest
from samara.node.store.store import Store
from samara.protocol import limits
from samara.protocol.errors import UsageError, VerificationError
from samara.protocol.exchange.messages import GetLog
from samara.protocol.ids import PublisherId, ReleaseId, digest, format_record
from samara.protocol.ports import LogPage
from samara.protocol.records import Listed

FILES = {"model.bin": 50_000}


async def follow(node: Node, whom: PublisherId | str, *peers: Node | str, heard: Heard | None = None) -> Followed:
    text = whom if isinstance(whom, str) else format_record(whom)
    named = tuple(peer if isinstance(peer, str) else address(peer) for peer in peers)
    done: Followed = await node.run(FOLLOW, FollowRequest(text, named), heard or Heard())
    return done


async def sync(node: Node, *peers: Node | str) -> SyncedRecords:
    named = tuple(peer if isinstance(peer, str) else address(peer) for peer in peers)
    done: SyncedRecords = await node.run(RECORDS_SYNC, RecordsSyncRequest((), named), Heard())
    return done


def search(store: Store, *words: str) -> SearchFound:
    return SEARCH.answer(store, SearchRequest(words))


def own(node: Node) -> PublisherId:
    return own_publisher(node.store).publisher


def anna_s(tmp_path: Path) -> tuple[Path, ReleaseId]:
    """A home of somebody who publishes."""
    with published(tmp_path / "anna", tmp_path / "annas" / "tiny-chat", FILES) as made:
        return tmp_path / "anna", made.release


@in_time
async def test_a_collection_a_release_in_it_and_its_revocation_reach_a_follower(tmp_path: Path) -> None:
    """Bob holds Anna's release and lists it. Carl follows Bob, finds it, fetches it; then Anna takes it back."""
    home, release = anna_s(tmp_path)
    async with up(home) as anna, up(tmp_path / "bob") as bob, up(tmp_path / "carl") as carl:
        await fetch(bob, release, [anna])
        request = AddToCollectionRequest("best", (format_record(release),), note="fits into 4 GB")
        signed: Changed = await bob.run(COLLECTION_ADD, request, Heard())
        assert (signed.entries, signed.position) == (1, 1)
        done = await follow(carl, own(bob), bob)
        assert (done.new, done.asked) == (True, 1)
        assert [(one.name, one.entries) for one in done.collections] == [("best", 1)]
        (row,) = search(carl.store, "chat").releases
        assert (row.state, row.claimed, row.publisher_id) == ("known", True, format_record(own(anna)))
        assert row.known_from[-1].note == "fits into 4 GB"
        await fetch(carl, row.ref, [bob])
        assert search(carl.store, "chat").releases[0].state == "complete"
        # Anna takes it back while Bob is there, and Carl hears it of Bob.
        publisher = publisher_of(anna.store)
        publisher.revoke(release_of(anna.store, release))
        tell(anna.store, publisher, own=True)
        await sync(bob, anna)
        await sync(carl, bob)
        assert search(carl.store, "chat").releases[0].revoked == "security"
        (entry,) = COLLECTION_SHOW.answer(carl.store, CollectionRequest(f"{format_record(own(bob))}/best")).entries
        assert entry.verdict == "REVOKED"


@in_time
async def test_a_revocation_of_what_is_listed_arrives_with_the_first_question(tmp_path: Path) -> None:
    home, release = anna_s(tmp_path)
    async with up(home) as anna, up(tmp_path / "bob") as bob, up(tmp_path / "carl") as carl:
        await fetch(bob, release, [anna])
        await bob.run(COLLECTION_ADD, AddToCollectionRequest("best", (format_record(release),)), Heard())
        publisher = publisher_of(anna.store)
        publisher.revoke(release_of(anna.store, release))
        tell(anna.store, publisher, own=True)
        done = await follow(carl, own(bob), anna, bob)
        assert done.asked == 2
        assert search(carl.store, "chat").releases[0].revoked == "security"
        # Whose log came only since it is listed there, is nobody whom this home has a name for.
        assert not carl.store.trust.is_trusted(own(anna))
        assert not carl.store.trust.is_trusted(own(bob))


@in_time
async def test_who_follows_passes_on_and_who_has_no_release_signs_for_all(tmp_path: Path) -> None:
    """Bob's own releases are secret; his collection is not. Carl tells Dora when Bob is away."""
    home, release = anna_s(tmp_path)
    async with up(home) as anna, up(tmp_path / "carl") as carl, up(tmp_path / "dora") as dora:
        async with up(tmp_path / "bob") as bob:
            await fetch(bob, release, [anna])
            make_source(bob.store, tmp_path / "secret", FILES, visibility="unlisted")
            assert bob.store.shelf.log(own(bob), 0, 1, "anybody") is None
            await bob.run(COLLECTION_ADD, AddToCollectionRequest("best", (format_record(release),)), Heard())
            assert bob.store.shelf.log(own(bob), 0, 1, "anybody") is not None
            who = own(bob)
            await follow(carl, f"{format_record(who)}/best", bob)
        assert [one.name for one in (await follow(dora, who, carl)).collections] == ["best"]
        await carl.run(UNFOLLOW, UnfollowRequest(f"{format_record(who)}/best"), Heard())
        assert carl.store.shelf.log(who, 0, 1, "anybody") is None
        with pytest.raises(UsageError):
            await follow(anna, own(anna))


@in_time
async def test_a_log_that_is_followed_is_found_by_the_dht(tmp_path: Path) -> None:
    """Nobody names a peer: Bob, who has no release of his own, announces his log, and a follower finds it."""
    home, release = anna_s(tmp_path)
    async with up(home) as anna, up(tmp_path / "bob", dht="server") as bob, up(tmp_path / "carl", dht="server") as carl:
        await fetch(bob, release, [anna])
        await bob.run(COLLECTION_ADD, AddToCollectionRequest("best", (format_record(release),)), Heard())
        service = await carl.network()
        async with service.connect(parse_peer(address(bob))):
            pass
        await follow(carl, own(bob))
        with trio.fail_after(60):
            while not search(carl.store, "chat").found:  # the announcement takes its time
                await trio.sleep(0.5)
                await follow(carl, own(bob))


@in_time
async def test_without_a_network_it_is_kept_and_said_so(tmp_path: Path) -> None:
    who = Publisher.of("bob").chain.publisher
    async with up(tmp_path / "carl") as carl:
        done = await follow(carl, who)
        assert (done.new, done.asked, done.collections) == (True, 0, ())
        heard = Heard()
        nobody = "/ip4/127.0.0.1/tcp/9/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"
        assert (await follow(carl, who, nobody, heard=heard)).asked == 0
        assert len(heard.notices) == 1
        assert [one.publisher for one in carl.store.catalogues.follows()] == [who]
        assert who in may_be_asked_for(carl.store)


@in_time
async def test_the_link_of_a_lying_entry_fetches_nothing(tmp_path: Path) -> None:
    home, release = anna_s(tmp_path)
    bob = Publisher.of("bob")
    somebody = Publisher.of("somebody whom Carl trusts").chain.publisher
    bob.collect("best", [Listed(release, somebody, "tiny-chat", "1")])
    async with up(home) as anna, up(tmp_path / "carl") as carl:
        tell(carl.store, bob)
        await follow(carl, bob.chain.publisher)
        (row,) = search(carl.store, "chat").releases
        with pytest.raises(VerificationError):
            await carl.run(FETCH, FetchRequest(row.ref, peers=(address(anna),), patience=5), Heard())
        assert carl.store.catalog.release(release) is None


# --- attacks ----------------------------------------------------------------------------------------------------------


def follow_here(store: Store, publisher: Publisher) -> None:
    tell(store, publisher)
    with store.ledgers.asking(publisher.chain.publisher) as ledger:
        store.catalogues.follow(publisher.chain.publisher, "", ledger.collections if ledger is not None else {})


def of_many(mark: str, many: int) -> list[Listed]:
    """As many releases as publishers, none of which there is."""
    ids = [digest(f"{mark} {number}".encode()) for number in range(many)]
    return [Listed(ReleaseId(one), PublisherId(one), "model", "1") for one in ids]


@in_time
async def test_attack_a_collection_has_its_followers_ask_for_few(tmp_path: Path) -> None:
    """A thousand publishers in one list, who are all somewhere else: a peer is asked for a part of them in a round."""

    class Counting(Telling):
        asked: ClassVar[list[PublisherId]] = []

        def page(self, asked: GetLog) -> LogPage | None:
            self.asked.append(asked.publisher)
            return super().page(asked)

    home, release = anna_s(tmp_path)
    bob = Publisher.of("bob")
    bob.collect("many", of_many("somebody", 1000))
    async with up(tmp_path / "carl") as carl:
        async with lying(Counting, home) as peer:
            await fetch(carl, release, [peer.address])
            Counting.asked.clear()
            follow_here(carl.store, bob)
            assert (await sync(carl, peer.address)).asked == 1
            first = set(Counting.asked)
            assert len(first) == len(Counting.asked) == 2 + limits.MAX_LISTED_ASKED
            Counting.asked.clear()
            await sync(carl, peer.address)
        assert set(Counting.asked) - first, "others have their turn in another round"


def test_attack_what_is_listed_is_asked_for_after_all_others(tmp_path: Path) -> None:
    bob = Publisher.of("bob")
    bob.collect("many", of_many("somebody", 1000))
    with give_home(tmp_path / "carl") as store:
        make_source(store, tmp_path / "mine", FILES)
        store.catalog.set_petname(Publisher.of("anna").chain.publisher, "anna")
        follow_here(store, bob)
        mine = may_be_asked_for(store)
        assert len(mine) == 3
        asked = to_ask_for(store)
        assert set(asked[:3]) == mine
        assert len(set(asked)) == len(asked) == 3 + limits.MAX_LISTED_ASKED <= limits.MAX_LOGS_OF_A_PEER


def test_attack_a_long_list_takes_no_turn_of_a_short_one(tmp_path: Path) -> None:
    """Nor do many lists: it is the collector who has a turn, whatever they sign."""
    bob, carl = Publisher.of("bob"), Publisher.of("carl")
    for number in range(7):
        bob.collect(f"list-{number}", of_many(f"list {number}", 1000))
    honest = of_many("honest", 40)
    carl.collect("best", honest)
    with give_home(tmp_path / "dora") as store:
        follow_here(store, bob)
        follow_here(store, carl)
        for _ in range(5):
            assert {one.publisher for one in honest} <= set(listed_to_ask_for(store))


@pytest.mark.parametrize("seen", [False, True])
def test_attack_a_collection_draws_out_no_secret(tmp_path: Path, seen: bool) -> None:
    """Bob guesses that Carl has something unlisted of Anna's: listing anything of hers has nobody asked for her."""
    with give_home(tmp_path / "anna") as anna, give_home(tmp_path / "carl") as carl:
        kinds = ["unlisted", "public"] if seen else ["unlisted"]
        for visibility in kinds:
            made = make_source(anna, tmp_path / visibility, {visibility: 100}, visibility=visibility)
            take_all(made, anna, carl)
        whom = own_publisher(anna).publisher
        bob = Publisher.of("bob")
        bob.collect("best", [Listed(ReleaseId(digest(b"any")), whom, "any", "1")])
        follow_here(carl, bob)
        assert (whom in to_ask_for(carl)) is seen


def test_the_table_in_the_spec_names_every_attack_here() -> None:
    spec = (Path(__file__).parents[2] / "specs" / "network.md").read_text("utf-8")
    table = spec.split("Those that a followed collector tries")[1].split("\n## ")[0]
    here = {name.removeprefix("test_attack_") for name in globals() if name.startswith("test_attack_")}
    assert here
    assert {name for name in here if f"`{name}`" not in table} == set()
