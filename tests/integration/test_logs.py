"""What publishers say travels with every fetch and by asking, over real sockets; each attack on the way by its name."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import trio
from support import hostile_logs
from support.contents import Source, give_home
from support.hostile import Plain, lying
from support.hostile_logs import OneByOne, Telling
from support.nodes import Heard, address, fetch, published, seeding, up
from support.publishers import Publisher
from support.speaking import publisher_of, tell
from support.waiting import in_time

from samara.node.app import Node
from samara.node.fetch.finder import parse_peer
from samara.node.operations.judging import seen_rows
from samara.node.operations.records import RECORDS_SYNC, RecordsSyncRequest, SyncedRecords
from samara.node.operations.refs import find_release, link_of, own_publisher
from samara.node.operations.roots import ROTATE, RotateRequest
from samara.node.operations.update import UPDATE, Updated, UpdateRequest
from samara.node.operations.witnessing import WITNESS, WitnessedLogs, WitnessRequest
from samara.node.store.store import Store
from samara.protocol import limits
from samara.protocol.errors import NetworkError, NotFoundError
from samara.protocol.exchange.messages import GetLog
from samara.protocol.ids import PublisherId, ReleaseId, format_record
from samara.protocol.ports import LogPage
from samara.protocol.records import Place
from samara.protocol.routing import log_key
from samara.protocol.trust import ForkKind, Verdict
from samara.protocol.trust.announced import decode_announced_log, encode_announced_log
from samara.protocol.trust.recordfile import RecordFileWriter

KB = 1 << 10
FILES = {"model.bin": 300 * KB}


async def sync(node: Node, *peers: Node | str, of: Sequence[PublisherId] = ()) -> SyncedRecords:
    request = RecordsSyncRequest(
        tuple(map(format_record, of)), tuple(p if isinstance(p, str) else address(p) for p in peers)
    )
    found: SyncedRecords = await node.run(RECORDS_SYNC, request, Heard())
    return found


def newest(store: Store, publisher: PublisherId) -> bytes | None:
    with store.ledgers.asking(publisher) as ledger:
        return None if ledger is None or ledger.newest is None else ledger.newest.id


def is_revoked(store: Store, publisher: PublisherId, release: ReleaseId) -> bool:
    with store.ledgers.asking(publisher) as ledger:
        return ledger is not None and ledger.revocation(release) is not None


@dataclass(frozen=True)
class World:
    """A publisher's home that nobody holds now, what lies in it, and what its publisher has taken back."""

    home: Path
    made: Source
    publisher: Publisher
    gone: ReleaseId

    @property
    def id(self) -> PublisherId:
        return self.publisher.chain.publisher


@pytest.fixture
def revoked(tmp_path: Path) -> World:
    """A publisher of a release, who has then taken another one back."""
    home = tmp_path / "publisher"
    with published(home, tmp_path / "files", FILES) as made:
        pass
    with give_home(home) as store:
        publisher = publisher_of(store)
        gone = publisher.release("0", "gone")
        publisher.revoke(gone)
        tell(store, publisher, own=True)
    return World(home, made, publisher, gone.id)


@contextlib.asynccontextmanager
async def knowing(world: World, home: Path) -> AsyncIterator[Node]:
    """A node that fetched the release when nothing had been taken back yet."""
    async with up(home) as node:
        async with lying(Plain, world.home) as plain:
            await fetch(node, world.made.release, [plain.address])
        assert not is_revoked(node.store, world.id, world.gone)
        yield node


@in_time
async def test_a_fetch_brings_what_its_publisher_has_said(revoked: World, tmp_path: Path) -> None:
    async with up(revoked.home) as seeder, up(tmp_path / "b") as node:
        await fetch(node, revoked.made.release, [seeder])
        assert is_revoked(node.store, revoked.id, revoked.gone)
        assert newest(node.store, revoked.id) == newest(seeder.store, revoked.id)


@in_time
async def test_who_holds_a_release_hears_by_asking_and_passes_it_on(revoked: World, tmp_path: Path) -> None:
    async with knowing(revoked, tmp_path / "b") as b, knowing(revoked, tmp_path / "c") as c:
        async with up(revoked.home) as seeder:
            heard = await sync(b, seeder)
            assert (heard.asked, heard.records, heard.refused) == (1, 1, {})
        # The publisher is gone. Whoever heard it tells others.
        again = await sync(c, b)
        assert again.records == 1
        assert is_revoked(c.store, revoked.id, revoked.gone)
        once_more = await sync(c, b)
        assert once_more.records == 0
        assert once_more.bytes < 2 * KB, "who knows all of it is told the checkpoint, and nothing else"


@in_time
async def test_an_update_brings_what_its_publisher_has_said(revoked: World, tmp_path: Path) -> None:
    async with knowing(revoked, tmp_path / "b") as node, up(revoked.home) as seeder:
        request = UpdateRequest((format_record(revoked.made.release),), peers=(address(seeder),))
        done: Updated = await node.run(UPDATE, request, Heard())
        assert [row.state for row in done.updates] == ["current"]
        assert is_revoked(node.store, revoked.id, revoked.gone)


@in_time
async def test_a_node_that_runs_asks_by_itself(revoked: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samara.protocol.limits.LOGS_FIRST", 0.5)
    monkeypatch.setattr("samara.protocol.limits.LOGS_EVERY", 0.5)
    monkeypatch.setattr("samara.node.fetch.rounds._LOOK", 0.1)
    async with up(revoked.home, dht="server") as seeder, up(tmp_path / "b", dht="server") as node:
        node.store.catalog.set_petname(revoked.id, "anna")
        service = await node.network()
        async with service.connect(parse_peer(address(seeder))):
            pass
        while not is_revoked(node.store, revoked.id, revoked.gone):  # noqa: ASYNC110 - the ledger tells nobody
            await trio.sleep(0.1)


@in_time
async def test_a_peer_that_is_older_than_the_question_is_no_worse_for_it(revoked: World, tmp_path: Path) -> None:
    async with knowing(revoked, tmp_path / "b") as node, lying(Plain, revoked.home) as old:
        found = await sync(node, old.address)
        assert (found.asked, found.records, found.failed) == (1, 0, ())
        assert not node.store.catalog.wrong_counts()


@in_time
async def test_a_log_is_found_by_the_dht(revoked: World, tmp_path: Path) -> None:
    """Who has a name for a publisher, and nothing of it, learns from whoever announces its log."""
    async with up(revoked.home, dht="server") as seeder, up(tmp_path / "b", dht="server") as node:
        service = await node.network()
        async with service.connect(parse_peer(address(seeder))):
            pass
        node.store.catalog.set_petname(revoked.id, "anna")
        with trio.fail_after(60):
            while not (await sync(node)).records:  # noqa: ASYNC110 - the announcement takes its time
                await trio.sleep(0.5)
        assert newest(node.store, revoked.id) == newest(seeder.store, revoked.id)


@in_time
async def test_nobody_is_asked_for_a_publisher_of_whom_all_is_secret(tmp_path: Path) -> None:
    how = {"visibility": "unlisted"}
    async with seeding(tmp_path / "a", tmp_path / "files", FILES, how=how) as (a, made), up(tmp_path / "b") as b:
        await fetch(b, made.release, [a])
        b.store.catalog.set_petname(a.store.catalog.releases()[0].publisher, "anna")
        with pytest.raises(NotFoundError):
            await sync(b)
        assert (await sync(b, a)).records == 0, "who is named may be asked, and shows nothing"


# --- witnesses ---


def seen(node: Node, publisher: PublisherId) -> dict[str, int]:
    return {row.witness: row.position for row in seen_rows(node.store, publisher)}


async def witness(node: Node, publisher: PublisherId) -> int:
    done: WitnessedLogs = await node.run(WITNESS, WitnessRequest((format_record(publisher),)), Heard())
    assert done.skipped == ()
    return done.witnessed[0].position


def introduce(node: Node, bob: Node) -> None:
    """Give the witness a name; it has nothing to say but its roots."""
    own = own_publisher(bob.store)
    node.store.catalog.set_petname(own.publisher, "bob")
    node.store.ledgers.take(own.chain.envelopes, [], publisher=own.publisher)


@in_time
async def test_a_witness_s_signature_comes_to_who_knows_the_record_already(revoked: World, tmp_path: Path) -> None:
    async with up(tmp_path / "bob") as bob, up(tmp_path / "b") as b, up(tmp_path / "c") as c:
        async with up(revoked.home) as seeder:
            for node in (bob, b, c):
                await fetch(node, revoked.made.release, [seeder])
            assert newest(b.store, revoked.id) == newest(seeder.store, revoked.id)
        assert await witness(bob, revoked.id) == 2
        introduce(b, bob)
        introduce(c, bob)
        assert seen(b, revoked.id) == {}
        found = await sync(b, bob)
        assert (found.records, found.refused) == (0, {}), "no record that is new"
        assert seen(b, revoked.id) == {"bob": 2}
        await sync(c, b)
        assert seen(c, revoked.id) == {"bob": 2}, "also by way of others"


@in_time
async def test_a_witness_s_signature_comes_though_the_log_went_on(revoked: World, tmp_path: Path) -> None:
    """Who passes it on has a newer record without it, and so has who asks."""
    async with up(tmp_path / "bob") as bob, up(tmp_path / "b") as b, up(tmp_path / "c") as c:
        async with up(revoked.home) as seeder:
            for node in (bob, b, c):
                await fetch(node, revoked.made.release, [seeder])
        introduce(b, bob)
        introduce(c, bob)
        await witness(bob, revoked.id)
        await sync(b, bob)
        for version in "34":
            revoked.publisher.publish(version, "other")
        for node in (b, c):
            tell(node.store, revoked.publisher)
        assert (seen(b, revoked.id), seen(c, revoked.id)) == ({"bob": 2}, {})
        found = await sync(c, b)
        assert found.records == 0
        assert seen(c, revoked.id) == {"bob": 2}


@in_time
async def test_who_has_witnessed_a_log_shows_it_though_it_holds_nothing_of_it(revoked: World, tmp_path: Path) -> None:
    async with up(tmp_path / "bob") as bob, up(tmp_path / "b") as b:
        tell(bob.store, revoked.publisher)
        b.store.catalog.set_petname(revoked.id, "anna")
        assert (await sync(b, bob)).records == 0
        await witness(bob, revoked.id)
        b.store.catalog.set_petname(own_publisher(bob.store).publisher, "bob")
        found = await sync(b, bob)
        assert (found.records, found.roots) == (2, 2), "her log, and the roots that say whose signature it is"
        assert seen(b, revoked.id) == {} or seen(b, revoked.id) == {"bob": 2}
        await sync(b, bob)  # his roots may have come after it
        assert seen(b, revoked.id) == {"bob": 2}


@in_time
async def test_who_has_the_link_gets_the_signatures_of_new_keys_by_fetching_again(tmp_path: Path) -> None:
    how = {"visibility": "unlisted"}
    async with seeding(tmp_path / "a", tmp_path / "files", FILES, how=how) as (a, made), up(tmp_path / "b") as b:
        link = link_of(find_release(a.store, format_record(made.release)), (await a.network()).link_addresses())
        await fetch(b, link, [])
        await a.run(ROTATE, RotateRequest(), Heard())
        own = own_publisher(a.store)
        b.store.ledgers.take(own.chain.envelopes, ())
        assert b.store.trust.judge(b.store.verified(made.release)).verdict is Verdict.UNTRUSTED
        got = await fetch(b, link, [])
        assert got.received == 0
        assert b.store.trust.judge(b.store.verified(made.release)).verdict is Verdict.GOOD


# --- attacks ----------------------------------------------------------------------------------------------------------


@in_time
async def test_attack_a_revocation_withheld_by_one_peer_is_carried_by_another(revoked: World, tmp_path: Path) -> None:
    async with (
        knowing(revoked, tmp_path / "b") as node,
        lying(hostile_logs.Withholding, revoked.home) as liar,
        lying(Telling, revoked.home) as honest,
    ):
        await sync(node, liar.address)
        assert liar.lied.is_set()
        assert not is_revoked(node.store, revoked.id, revoked.gone), "nobody has told it yet"
        await sync(node, liar.address, honest.address)
        assert is_revoked(node.store, revoked.id, revoked.gone)
        # And nothing takes it away again.
        await sync(node, liar.address)
        assert is_revoked(node.store, revoked.id, revoked.gone)


@contextlib.asynccontextmanager
async def in_the_dht(home: Path, *others: Node) -> AsyncIterator[Node]:
    """A node that serves the DHT and that others know."""
    async with up(home, dht="server") as node:
        for other in others:
            async with (await other.network()).connect(parse_peer(address(node))):
                pass
        yield node


async def values_now(node: Node, publisher: PublisherId) -> Sequence[bytes]:
    routing = (await node.network()).routing
    assert routing is not None
    found: Sequence[bytes] = await routing.get_values(log_key(publisher))
    return found


async def values(node: Node, publisher: PublisherId, count: int = 1) -> Sequence[bytes]:
    """Wait until so many values of a log are in the DHT."""
    with trio.fail_after(60):
        while len(found := await values_now(node, publisher)) < count:  # noqa: ASYNC110 - others put it
            await trio.sleep(0.2)
    return found


@in_time
async def test_attack_a_revocation_withheld_by_all_peers_is_in_the_dht(revoked: World, tmp_path: Path) -> None:
    """The publisher was seen once, by somebody who holds nothing of it; whoever is asked since says nothing."""
    async with up(tmp_path / "b", dht="server") as node, in_the_dht(tmp_path / "stranger", node) as stranger:
        async with up(revoked.home, dht="server", bootstrap=(address(stranger),)):
            await values(stranger, revoked.id)
        async with lying(hostile_logs.Withholding, revoked.home) as liar:
            await fetch(node, revoked.made.release, [liar.address])
            assert liar.lied.is_set()
        assert is_revoked(node.store, revoked.id, revoked.gone)
        # Who only has a name for the publisher hears of it, too.
        async with up(tmp_path / "c", dht="server", bootstrap=(address(stranger),)) as named:
            named.store.catalog.set_petname(revoked.id, "anna")
            with trio.fail_after(60):
                while not is_revoked(named.store, revoked.id, revoked.gone):
                    await sync(named)


@in_time
async def test_attack_a_stripped_value_in_the_dht_is_set_right(revoked: World, tmp_path: Path) -> None:
    writer = RecordFileWriter()
    page = LogPage(revoked.publisher.chain.envelopes, (), (), (revoked.publisher.said[0],))
    stripped = writer.begin() + writer.publisher(revoked.id, page) + writer.end()
    async with up(tmp_path / "b", dht="server") as node, in_the_dht(tmp_path / "stranger", node) as stranger:
        routing = (await stranger.network()).routing
        assert routing is not None
        with trio.fail_after(60):
            while not await values_now(node, revoked.id):
                await routing.get_values(log_key(revoked.id), stripped)
        async with up(tmp_path / "c", dht="server", bootstrap=(address(stranger),)) as holder:
            async with lying(Telling, revoked.home) as honest:
                await fetch(holder, revoked.made.release, [honest.address])
            with trio.fail_after(60):
                while (best := (await values(stranger, revoked.id))[0]) == stripped:
                    await sync(holder)
        assert decode_announced_log(log_key(revoked.id), best).page.newest == 2
        # And it is not put back.
        with pytest.raises(NetworkError):
            await routing.put_value(log_key(revoked.id), stripped)


@in_time
async def test_attack_a_split_view_is_found_in_the_dht(revoked: World, tmp_path: Path) -> None:
    other = revoked.publisher.copy()
    other.publish("2", "theirs")
    revoked.publisher.publish("2", "mine")
    both = [encode_announced_log(publisher.ledger()) for publisher in (revoked.publisher, other)]
    async with up(tmp_path / "b", dht="server") as b, up(tmp_path / "c", dht="server") as c:
        for node, value in zip((b, c), both, strict=True):
            routing = (await node.network()).routing
            assert routing is not None
            assert value is not None
            with contextlib.suppress(NetworkError):
                await routing.put_value(log_key(revoked.id), value)
        async with up(tmp_path / "d", dht="client", bootstrap=(address(b), address(c))) as node:
            await values(node, revoked.id, 2)
            node.store.catalog.set_petname(revoked.id, "anna")
            assert (await sync(node)).forks == 1
            with node.store.ledgers.asking(revoked.id) as ledger:
                assert ledger is not None
                assert ledger.fork is not None


@in_time
async def test_attack_slow_retrieval_holds_up_no_fetch(revoked: World, tmp_path: Path) -> None:
    async with up(tmp_path / "b") as node, lying(hostile_logs.MuteAtLogs, revoked.home) as mute:
        got = await fetch(node, revoked.made.release, [mute.address])
        assert mute.lied.is_set()
        assert got.received == 300 * KB
        assert not is_revoked(node.store, revoked.id, revoked.gone)


@in_time
@pytest.mark.parametrize("vice", [hostile_logs.MuteAtLogs, hostile_logs.Trickling], ids=lambda vice: vice.__name__)
async def test_attack_slow_retrieval_holds_up_nothing_that_others_tell(
    vice: type[Plain], revoked: World, tmp_path: Path
) -> None:
    async with (
        knowing(revoked, tmp_path / "b") as node,
        lying(vice, revoked.home) as slow,
        lying(Telling, revoked.home) as honest,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(sync, node, slow.address)
        await slow.lied.wait()  # it has its turn, and does not end it
        assert (await sync(node, honest.address)).records == 1
        assert is_revoked(node.store, revoked.id, revoked.gone)
        nursery.cancel_scope.cancel()


@in_time
async def test_attack_endless_data_in_one_answer_ends_at_its_bound(revoked: World, tmp_path: Path) -> None:
    async with knowing(revoked, tmp_path / "b") as node, lying(hostile_logs.EndlessLog, revoked.home) as liar:
        found = await sync(node, liar.address)
        assert found.asked == 0
        assert found.bytes == 0
        assert node.store.catalog.wrong_counts() == {liar.host.peer: 1}


@in_time
async def test_attack_endless_answers_end_at_their_bound(
    revoked: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A publisher who writes records without end, in league with a peer who says that there are always more."""
    monkeypatch.setattr("samara.protocol.trust.catchup.MAX_LOG_PAGES", 5)
    with give_home(revoked.home) as store:
        for version in range(20):
            revoked.publisher.publish(f"9.{version}", "more")
        tell(store, revoked.publisher, own=True)
    OneByOne.questions = 0
    async with knowing(revoked, tmp_path / "b") as node, lying(OneByOne, revoked.home) as liar:
        found = await sync(node, liar.address)
        assert (found.asked, found.records) == (1, 5)
        assert OneByOne.questions == 5


@in_time
async def test_attack_more_bytes_than_one_peer_may_send(
    revoked: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with give_home(revoked.home) as store:
        for version in range(60):
            revoked.publisher.publish(f"9.{version}", "more")
        tell(store, revoked.publisher, own=True)
    monkeypatch.setattr("samara.protocol.trust.passing.MAX_LOG_ENTRIES", 10)
    async with knowing(revoked, tmp_path / "b") as node, up(revoked.home) as seeder:
        service = await node.network()
        async with service.connect(parse_peer(address(seeder))) as client:
            heard = await node.logs.hear(client, [revoked.id], most_bytes=20 * KB)
        assert 20 * KB <= heard.bytes < 40 * KB
        assert newest(node.store, revoked.id) != newest(seeder.store, revoked.id)
        # What came stays, and the rest comes the next time.
        await sync(node, seeder)
        assert newest(node.store, revoked.id) == newest(seeder.store, revoked.id)


@in_time
@pytest.mark.parametrize("vice", [hostile_logs.Unsigned, hostile_logs.ForgedLog], ids=lambda vice: vice.__name__)
async def test_attack_records_that_nobody_signed_cost_the_peer_that_passes_them_on(
    vice: type[Plain], revoked: World, tmp_path: Path
) -> None:
    async with knowing(revoked, tmp_path / "b") as node, lying(vice, revoked.home) as liar:
        found = await sync(node, liar.address)
        assert found.asked == 0
        assert [failed.peer for failed in found.failed] == [liar.host.peer]
        assert node.store.catalog.wrong_counts() == {liar.host.peer: 1}
        with node.store.ledgers.asking(revoked.id) as ledger:
            assert ledger is not None
            assert ledger.fork is None


@in_time
async def test_attack_replay_of_old_records_changes_nothing(revoked: World, tmp_path: Path) -> None:
    """The keys were replaced, and the log goes on from before what the old ones wrote: to replay it brings nothing."""
    old = revoked.publisher.copy()
    for version in range(5):
        old.publish(f"0.{version}", "stolen")
    publisher = revoked.publisher
    with give_home(revoked.home) as store:
        with store.ledgers.asking(revoked.id) as ledger:
            assert ledger is not None
            after = ledger.place_after(2)
        publisher.rotate("ben", place=Place(3, after.after))
        publisher.publish("2", "safe")
        tell(store, publisher, own=True)

    class Replaying(Telling):
        def page(self, asked: GetLog) -> LogPage | None:
            self.lied.set()
            return LogPage(entries=tuple(old.said), newest=len(old.said))

    async with knowing(revoked, tmp_path / "b") as node, up(revoked.home) as seeder:
        await sync(node, seeder)
        tip = newest(node.store, revoked.id)
        assert tip == newest(seeder.store, revoked.id)
        async with lying(Replaying, revoked.home) as liar:
            found = await sync(node, liar.address)
            assert liar.lied.is_set()
            assert found.records == 0
            assert found.refused["RollbackError"] == 5
        assert newest(node.store, revoked.id) == tip
        with node.store.ledgers.asking(revoked.id) as ledger:
            assert ledger is not None
            assert ledger.head("stolen") is None
            assert ledger.head("safe") is not None
            assert ledger.fork is None, "what a newer root outranks is no fork"


@in_time
async def test_attack_a_split_view_is_found_when_both_sides_meet(revoked: World, tmp_path: Path) -> None:
    other = revoked.publisher.copy()
    other.publish("2", "theirs")
    mine = revoked.publisher
    mine.publish("2", "mine")
    with give_home(revoked.home) as store:
        tell(store, mine, own=True)
    async with up(revoked.home) as seeder, knowing(revoked, tmp_path / "b") as b, knowing(revoked, tmp_path / "c") as c:
        tell(b.store, other)
        await sync(c, seeder)
        with c.store.ledgers.asking(revoked.id) as ledger:
            assert ledger is not None
            assert ledger.fork is None
        found = await sync(c, b)
        assert found.forks == 1
        # The proof goes on to who has seen neither.
        async with knowing(revoked, tmp_path / "d") as d:
            assert (await sync(d, c)).forks == 1
            with d.store.ledgers.asking(revoked.id) as ledger:
                assert ledger is not None
                assert ledger.fork is not None


@pytest.mark.parametrize("longer", [False, True])
@in_time
async def test_attack_forked_roots_turn_nobody_against_anybody(revoked: World, tmp_path: Path, *, longer: bool) -> None:
    """Two sides have other second roots of one publisher, and records under them: both are honest, and find it out."""
    other = revoked.publisher.copy()
    for publisher, key in ((other, "theirs"), (revoked.publisher, "mine")):
        publisher.rotate(key)
        publisher.publish("2", key)
    if longer:
        other.rotate("theirs too")
        other.publish("3", "theirs")
    async with knowing(revoked, tmp_path / "b") as b, knowing(revoked, tmp_path / "c") as c:
        tell(b.store, other)
        tell(c.store, revoked.publisher)
        await sync(c, b)
        assert not c.store.catalog.wrong_counts(), "nobody is blamed"
        with c.store.ledgers.asking(revoked.id) as ledger:
            assert ledger is not None
            assert ledger.fork is not None
            assert ledger.fork.kind is ForkKind.ROOT


@in_time
async def test_a_node_that_was_away_for_a_year_catches_up_in_one_pass(revoked: World, tmp_path: Path) -> None:
    """A head a day, a key a month, and some that were taken back, in a few questions and bounded bytes."""
    publisher = revoked.publisher
    taken_back = []

    class Counting(Telling):
        asked: ClassVar[list[GetLog]] = []

        def page(self, asked: GetLog) -> LogPage | None:
            self.asked.append(asked)
            return super().page(asked)

    async with knowing(revoked, tmp_path / "b") as node:
        for day in range(365):
            if day % 30 == 29:
                publisher.rotate(f"key {day}")
            release = publisher.release(str(day), f"model-{day % 7}")
            publisher.head(release)
            if day % 50 == 0:
                publisher.revoke(release)
                taken_back.append(release.id)
        with give_home(revoked.home) as store:
            assert tell(store, publisher, own=True).refused == {}
        async with lying(Counting, revoked.home) as peer:
            found = await sync(node, peer.address)
        assert len(Counting.asked) == 1
        assert (found.roots, found.records) == (12, len(publisher.said) - 1), "the first head came with the release"
        assert found.bytes <= limits.MAX_RECORDS
        with node.store.ledgers.asking(revoked.id) as ledger:
            assert ledger is not None
            assert [entry.envelope for entry in ledger.log()] == publisher.said
            assert all(ledger.revocation(one) is not None for one in taken_back)
            assert not ledger.missing()


def test_the_table_in_the_spec_names_every_attack_here() -> None:
    spec = (Path(__file__).parents[2] / "specs" / "network.md").read_text("utf-8")
    here = {name.removeprefix("test_attack_") for name in globals() if name.startswith("test_attack_")}
    assert here
    assert {name for name in here if f"`{name}`" not in spec} == set()
