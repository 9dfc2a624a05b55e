"""What publishers say spreads by gossip between real nodes, over real sockets; each attack on the way by its name."""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path

import pytest
import trio
from support.contents import give_home
from support.gossip import World, following, gossip_of, is_revoked, make_world, meet, newest, record, talking
from support.hosts import until
from support.nodes import Heard, fetch, published, up
from support.publishers import Publisher
from support.speaking import publisher_of, tell
from support.waiting import in_time

from samara.node.app import Node
from samara.node.fetch.news import checked, followed_topics, worth_telling
from samara.node.network import host as host_module
from samara.node.operations.records import RECORDS_EXPORT, RECORDS_IMPORT, RecordsExportRequest, RecordsImportRequest
from samara.node.operations.signing import REVOKE, RevokeRequest
from samara.protocol import limits
from samara.protocol.dsse import SigningKey, cosign
from samara.protocol.errors import NetworkError
from samara.protocol.gossip import Message, Rpc, Verdict, message_id
from samara.protocol.gossip.records import topic_of
from samara.protocol.gossip.standing import Standing
from samara.protocol.ids import PublisherId, ReleaseId, format_record
from samara.protocol.trust import ForkProof
from samara.protocol.trust.recordfile import Kind, encode_item
from samara.protocol.wire import bytes_field, varint

FILES = {"model.bin": 20_000}
SOON = 20.0


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def standing(node: Node, peer: str) -> Standing:
    return gossip_of(node).router.standings.of(peer, trio.current_time())


async def revoke(node: Node, release: ReleaseId) -> None:
    await node.run(REVOKE, RevokeRequest(ref=format_record(release), reason="security"), Heard())


# --- what it is for ---------------------------------------------------------------------------------------------------


@in_time
async def test_a_revocation_reaches_who_is_connected_through_another_only(world: World, tmp_path: Path) -> None:
    async with (
        up(world.home) as seeder,
        following(world, tmp_path / "b") as b,
        following(world, tmp_path / "c") as c,
    ):
        await meet(b, seeder, world.topic)
        await meet(c, b, world.topic)
        await revoke(seeder, world.made.release)
        await until(lambda: is_revoked(c, world.id, world.made.release), SOON)
        assert is_revoked(b, world.id, world.made.release)
        assert not c.news._asked, "nobody was asked"
        assert len((await c.network()).host.peers()) == 1


@in_time
async def test_news_out_of_a_file_cross_into_a_swarm(world: World, tmp_path: Path) -> None:
    gone = world.publisher.release("0", "gone")
    world.publisher.revoke(gone)
    with give_home(world.home) as store:
        tell(store, world.publisher, own=True)
    before = Publisher(world.publisher.chain, world.publisher.keys, said=world.publisher.said[:1])
    old = World(world.home, world.made, before)
    async with up(world.home) as seeder:
        file = str(tmp_path / "records")
        await seeder.run(RECORDS_EXPORT, RecordsExportRequest(file, (format_record(world.id),)), Heard())
    async with following(old, tmp_path / "b") as b, following(old, tmp_path / "c") as c:
        await meet(b, c, world.topic)
        await b.run(RECORDS_IMPORT, RecordsImportRequest(file), Heard())
        await until(lambda: is_revoked(c, world.id, gone.id), SOON)


@in_time
async def test_what_is_missing_before_the_news_is_asked_of_who_told_it(world: World, tmp_path: Path) -> None:
    async with up(world.home) as seeder, following(world, tmp_path / "b") as b:
        for version in range(5):
            world.publisher.publish(f"2.{version}", "more")
        tell(seeder.store, world.publisher, own=True)
        await meet(b, seeder, world.topic)
        await revoke(seeder, world.made.release)
        await until(lambda: is_revoked(b, world.id, world.made.release), SOON)
        await until(lambda: newest(b.store, world.id) == newest(seeder.store, world.id), SOON)
        await until(lambda: not b.store.ledgers.missing(world.id), SOON)
        assert len(b.news._asked) == 1


@in_time
async def test_a_new_key_and_what_it_signs_travel(world: World, tmp_path: Path) -> None:
    async with (
        up(world.home) as seeder,
        following(world, tmp_path / "b") as b,
        following(world, tmp_path / "c") as c,
    ):
        await meet(b, seeder, world.topic)
        await meet(c, b, world.topic)
        world.publisher.rotate("ben")
        world.publisher.publish("3", "safe")
        tell(seeder.store, world.publisher, own=True)
        await until(lambda: newest(c.store, world.id) == newest(seeder.store, world.id), SOON)


@in_time
async def test_a_fork_that_shows_at_one_node_freezes_the_publisher_at_all(world: World, tmp_path: Path) -> None:
    other = world.publisher.copy()
    other.publish("2", "theirs")
    world.publisher.publish("2", "mine")
    async with following(world, tmp_path / "b") as b, following(world, tmp_path / "c") as c:
        await meet(b, c, world.topic)
        async with talking(b, world.topic) as talker:
            await talker.tell(world.topic, record(other.said[-1]))

            def frozen(node: Node) -> bool:
                with node.store.ledgers.asking(world.id) as ledger:
                    return ledger is not None and ledger.fork is not None

            await until(lambda: frozen(b) and frozen(c), SOON)
            assert record(other.said[-1]) not in [message.data for message in talker.told]
            assert standing(b, talker.peer) is Standing.GOOD


@in_time
async def test_what_a_fetch_brings_is_followed_and_heard_of(world: World, tmp_path: Path) -> None:
    async with up(world.home) as seeder, up(tmp_path / "f") as b:
        await fetch(b, world.made.release, [seeder])
        await until(lambda: bool(gossip_of(b).router.mesh(world.topic)), SOON)
        await revoke(seeder, world.made.release)
        await until(lambda: is_revoked(b, world.id, world.made.release), SOON)


@in_time
async def test_nobody_hears_of_a_publisher_of_whom_all_is_secret(tmp_path: Path) -> None:
    with published(tmp_path / "a", tmp_path / "files", FILES, visibility="unlisted"):
        pass
    async with up(tmp_path / "a") as a:
        assert followed_topics(a.store) == {}
        (held,) = a.store.catalog.releases()
        async with talking(a) as talker:
            await talker.say(Rpc(subscriptions={topic_of(held.publisher): True}))
            publisher = publisher_of(a.store)
            publisher.publish("2", "more")
            assert tell(a.store, publisher, own=True).new
            await trio.sleep(1)
            assert talker.heard == []


@in_time
async def test_who_is_known_by_a_petname_alone_is_told_to_who_follows_the_same_only(
    world: World, tmp_path: Path
) -> None:
    async with following(world, tmp_path / "d") as d, talking(d) as curious:
        async with following(world, tmp_path / "e") as e:
            await meet(d, e)
            async with talking(d, world.topic) as follower:
                await until(lambda: any(world.topic in rpc.subscriptions for rpc in follower.heard), SOON)
                world.publisher.publish("2", "news")
                await follower.tell(world.topic, record(world.publisher.said[-1]))
                await until(lambda: newest(d.store, world.id) == world.publisher.heads["news"].id, SOON)
            peer = (await d.network()).host.peer
            assert peer not in gossip_of(e).router.followers(world.topic)
        assert curious.heard == []


@in_time
async def test_on_a_metered_line_nothing_is_followed_or_told(world: World, tmp_path: Path) -> None:
    async with following(world, tmp_path / "b", metered=True) as b, talking(b) as talker:
        world.publisher.publish("2", "more")
        tell(b.store, world.publisher)
        await trio.sleep(1)
        assert not gossip_of(b).router.topics
        assert talker.heard == []


@in_time
async def test_idle_connections_are_kept_for_a_mesh_and_for_nothing_else(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_module, "IDLE_CONNECTION", 2.0)
    monkeypatch.setattr(host_module, "IDLE_CONNECTION_FULL", 1.0)
    async with following(world, tmp_path / "b") as b, following(world, tmp_path / "c") as c, up(tmp_path / "d") as d:
        await meet(b, c, world.topic)
        await meet(d, b)
        service = await b.network()
        stranger, mate = (await d.network()).host.peer, (await c.network()).host.peer
        await until(lambda: stranger in gossip_of(b)._mouths, SOON)
        await until(lambda: [state.peer for state in service.host.peers()] == [mate], SOON)
        await trio.sleep(4)
        assert [state.peer for state in service.host.peers()] == [mate]


@in_time
async def test_a_stream_that_breaks_is_opened_anew(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("samara.node.network.gossip._AGAIN", 0.2)
    async with following(world, tmp_path / "b") as b, following(world, tmp_path / "c") as c:
        await meet(b, c, world.topic)
        peer = (await c.network()).host.peer
        gossip_of(b)._mouths[peer].scope.cancel()
        await until(lambda: not gossip_of(c).router.mesh(world.topic) or not gossip_of(b).router.mesh(world.topic))
        await until(lambda: peer in gossip_of(b).router.followers(world.topic), SOON)
        world.publisher.publish("2", "more")
        tell(b.store, world.publisher)
        await until(lambda: newest(c.store, world.id) == newest(b.store, world.id), SOON)


def test_of_much_that_came_in_one_go_little_is_told(world: World, tmp_path: Path) -> None:
    publisher = world.publisher
    gone = [publisher.publish(str(version), f"model-{version}") for version in range(20)]
    for head in gone[:6]:
        publisher.revoke(head)
    publisher.publish("9", "last")
    with give_home(tmp_path / "x") as store:
        taken = tell(store, publisher)
        told = list(worth_telling(store.ledgers, taken))
    assert told == [record(envelope) for envelope in (*publisher.said[-4:-1], publisher.said[-1])]
    assert len(told) == limits.MAX_GOSSIP_TOLD


# --- checking ---------------------------------------------------------------------------------------------------------


def test_what_only_other_roots_could_judge_is_never_rejected(world: World, tmp_path: Path) -> None:
    """A publisher who forks its roots cannot turn honest peers against each other."""
    publisher, other = world.publisher, world.publisher.copy()
    publisher.rotate("ben")
    other.rotate("carol")
    head = other.publish("2", "theirs")
    with give_home(tmp_path / "x") as store:
        tell(store, publisher)
        assert checked(store.ledgers, world.id, record(head.envelope)) == (Verdict.IGNORE, False)
        root = encode_item(Kind.ROOT, other.chain.envelopes[-1])
        assert checked(store.ledgers, world.id, root)[0] is Verdict.IGNORE
        with store.ledgers.asking(world.id) as ledger:
            assert ledger is not None
            assert ledger.fork is not None, "and the fork is known now"


def test_what_each_message_comes_to(world: World, tmp_path: Path) -> None:
    publisher = world.publisher
    publisher.publish("2", "more")
    stranger, thief = Publisher.of("stranger"), publisher.copy()
    thief.keys = [SigningKey(bytes(range(32)))]
    with pytest.raises(Exception, match="signed by 0"):
        thief.publish("3", "more")
    with give_home(tmp_path / "x") as store:
        assert checked(store.ledgers, world.id, record(publisher.said[0])) == (Verdict.LATER, True)
        tell(store, Publisher(publisher.chain, publisher.keys, said=publisher.said[:1]))
        store.catalog.set_petname(world.id, "anna")

        def verdict(kind: Kind, data: bytes) -> Verdict:
            return checked(store.ledgers, world.id, encode_item(kind, data))[0]

        assert verdict(Kind.RECORD, publisher.said[-1]) is Verdict.ACCEPT
        assert verdict(Kind.RECORD, publisher.said[-1]) is Verdict.IGNORE
        assert verdict(Kind.RECORD, cosign(publisher.said[-1], [SigningKey(bytes(32))])) is Verdict.IGNORE
        stranger_said = stranger.publish("1").envelope
        assert verdict(Kind.RECORD, stranger_said) is Verdict.REJECT
        assert verdict(Kind.RECORD, publisher.said[-1][:-9]) is Verdict.REJECT
        assert verdict(Kind.RECORD, publisher.said[-1].replace(b'"sig":"', b'"sig":"A', 1)) is Verdict.REJECT
        assert checked(store.ledgers, world.id, b"")[0] is Verdict.REJECT
        assert verdict(Kind.ROOT, publisher.said[-1]) is Verdict.REJECT
        assert verdict(Kind.ROOT, stranger.chain.envelopes[0]) is Verdict.REJECT
        assert verdict(Kind.ROOT, publisher.chain.envelopes[0]) is Verdict.IGNORE
        assert verdict(Kind.FORK, ForkProof(publisher.said[0], publisher.said[0]).encode()) is Verdict.REJECT
        assert verdict(Kind.FORK, ForkProof(publisher.said[0], publisher.said[1]).encode()) is Verdict.IGNORE
        assert verdict(Kind.FORK, ForkProof(publisher.said[0], stranger_said).encode()) is Verdict.REJECT
        branch = Publisher(publisher.chain, publisher.keys)
        branch.publish("1", "another")
        proof = ForkProof(publisher.said[0], branch.said[0]).encode()
        assert verdict(Kind.FORK, proof) is Verdict.ACCEPT
        assert verdict(Kind.FORK, proof) is Verdict.IGNORE
        publisher.rotate("ben")
        publisher.rotate("carol")
        later = publisher.publish("4", "later").envelope
        assert checked(store.ledgers, world.id, record(later)) == (Verdict.LATER, True)
        assert verdict(Kind.ROOT, publisher.chain.envelopes[2]) is Verdict.LATER
        assert verdict(Kind.ROOT, publisher.chain.envelopes[1]) is Verdict.ACCEPT
        assert verdict(Kind.ROOT, publisher.chain.envelopes[1]) is Verdict.IGNORE
        assert verdict(Kind.ROOT, publisher.chain.envelopes[2]) is Verdict.ACCEPT


# --- attacks ----------------------------------------------------------------------------------------------------------


def forged(envelope: bytes, number: int) -> bytes:
    """A record whose signature is another record's."""
    return record(envelope.replace(b'"payload":"', b'"payload":"' + b"AAAA" * (number + 1), 1))


@in_time
async def test_attack_messages_that_nobody_signed_are_not_forwarded_and_cost_the_peer(
    world: World, tmp_path: Path
) -> None:
    async with following(world, tmp_path / "b") as b, talking(b, world.topic) as honest:
        async with talking(b, world.topic) as liar:
            await until(lambda: {honest.peer, liar.peer} <= gossip_of(b).router.mesh(world.topic), SOON)
            await liar.tell(world.topic, *(forged(world.publisher.said[0], number) for number in range(6)))
            await until(lambda: b.store.catalog.wrong_counts() == {liar.peer: 1}, SOON)
            service = await b.network()
            await until(lambda: [state.peer for state in service.host.peers()] == [honest.peer], SOON)
        assert honest.told == []
        assert standing(b, honest.peer) is Standing.GOOD


@in_time
async def test_attack_a_flood_of_messages_holds_up_nobody_else(world: World, tmp_path: Path) -> None:
    """Each is another envelope of a record that is known, with a signature more: nothing that could be rejected."""
    old = world.publisher.said[0]
    world.publisher.publish("2", "news")
    async with (
        following(world, tmp_path / "b") as b,
        talking(b, world.topic) as flooder,
        talking(b, world.topic) as honest,
        trio.open_nursery() as nursery,
    ):
        sent = 0

        async def flood() -> None:
            nonlocal sent
            while True:
                datas = [record(cosign(old, [SigningKey(os.urandom(32))])) for _ in range(20)]
                await flooder.tell(world.topic, *datas)
                sent += len(datas)

        nursery.start_soon(flood)
        await until(lambda: sent > 200, SOON)
        world.publisher.publish("3", "news")
        await honest.tell(world.topic, record(world.publisher.said[-1]))
        await until(lambda: newest(b.store, world.id) == world.publisher.heads["news"].id, SOON)
        waiting = gossip_of(b).router._peers[flooder.peer].waiting
        assert len(waiting) <= limits.MAX_GOSSIP_UNCHECKED
        assert record(world.publisher.said[-1]) not in [message.data for message in honest.told]
        nursery.cancel_scope.cancel()


@in_time
async def test_attack_iwant_without_end_is_answered_within_bounds(world: World, tmp_path: Path) -> None:
    async with following(world, tmp_path / "b") as b, talking(b, world.topic) as greedy:
        world.publisher.publish("2", "news")
        tell(b.store, world.publisher)
        await until(lambda: len(greedy.told) == 1, SOON)
        one = message_id(world.topic, greedy.told[0].data)
        for _ in range(50):
            await greedy.say(Rpc(iwant=(one,) * 10))
        await until(lambda: gossip_of(b).router.counts["iwant"] >= 47, SOON)
        assert len(greedy.told) == 1 + limits.MAX_GOSSIP_RETRIES


@in_time
async def test_attack_graft_within_the_backoff_makes_an_outcast(world: World, tmp_path: Path) -> None:
    async with (
        following(world, tmp_path / "b") as b,
        talking(b, world.topic) as honest,
        talking(b, world.topic) as greedy,
    ):
        await greedy.say(Rpc(prune={world.topic: 60.0}))
        assert await greedy.until_refused(lambda: Rpc(graft=(world.topic,))) >= 1
        assert standing(b, greedy.peer) is Standing.OUTCAST
        assert sum(len(rpc.prune) for rpc in greedy.heard) <= limits.GOSSIP_BREACHES
        assert not b.store.catalog.wrong_counts(), "that is no crime: clients differ"
        await until(lambda: gossip_of(b).router.mesh(world.topic) == {honest.peer}, SOON)


@in_time
async def test_attack_ihave_of_what_does_not_exist_is_asked_for_within_bounds(world: World, tmp_path: Path) -> None:
    async with following(world, tmp_path / "b") as b, talking(b, world.topic) as liar:
        began = trio.current_time()
        await liar.until_refused(
            lambda: Rpc(ihave=((world.topic, tuple(os.urandom(32) for _ in range(100))),), graft=(world.topic,))
        )
        beats = trio.current_time() - began + 1
        assert sum(len(rpc.iwant) for rpc in liar.heard) <= limits.MAX_GOSSIP_ASKED * (beats + 1)
        assert gossip_of(b).router.counts["promise"] >= limits.GOSSIP_BREACHES / 4
        assert standing(b, liar.peer) < Standing.GOOD


@in_time
async def test_attack_topics_without_end_are_not_remembered(world: World, tmp_path: Path) -> None:
    async with following(world, tmp_path / "b") as b, talking(b, world.topic) as greedy:
        numbers = itertools.count()

        def more(count: int = 10) -> Rpc:
            ids = (next(numbers).to_bytes(32, "big") for _ in range(count))
            return Rpc(subscriptions={topic_of(PublisherId(one)): True for one in ids})

        await greedy.say(more(2 * limits.MAX_GOSSIP_PEER_TOPICS))
        assert await greedy.until_refused(more) >= limits.GOSSIP_BREACHES - 1
        peer = gossip_of(b).router._peers.get(greedy.peer)
        assert peer is None or len(peer.topics) == limits.MAX_GOSSIP_PEER_TOPICS
        assert standing(b, greedy.peer) is Standing.OUTCAST


@in_time
@pytest.mark.parametrize(
    "data",
    [
        varint(1 << 30) + bytes(100_000),
        varint(2 * 5000) + bytes_field(1, b"") * 5000,
        varint(3) + b"\x0b\x0b\x0b",
    ],
    ids=["a gigabyte", "parts", "groups"],
)
async def test_attack_an_rpc_beyond_its_bounds_resets_the_stream(data: bytes, world: World, tmp_path: Path) -> None:
    async with following(world, tmp_path / "b") as b, talking(b, world.topic) as broken:
        times = 0
        while standing(b, broken.peer) is not Standing.OUTCAST:
            times += 1
            await broken.open()
            with contextlib.suppress(NetworkError):
                await broken.say_raw(data)
            await broken.until_refused(Rpc)
        assert times == limits.GOSSIP_BREACHES / 4
        async with talking(b, world.topic) as honest:
            world.publisher.publish("2", "news")
            await honest.tell(world.topic, record(world.publisher.said[-1]))
            await until(lambda: newest(b.store, world.id) == world.publisher.heads["news"].id, SOON)


@in_time
async def test_attack_a_peer_that_does_not_read_holds_up_nobody(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_GOSSIP_QUEUE", 60_000)
    async with (
        following(world, tmp_path / "b") as b,
        talking(b, world.topic) as honest,
        talking(b, world.topic, reads=False) as deaf,
    ):
        for version in range(500):
            world.publisher.publish(str(version), "news", expires=None)
            tell(b.store, Publisher(world.publisher.chain, [], said=world.publisher.said[-1:]))
            await trio.sleep(0.01)
            if gossip_of(b).router.counts["queue"]:
                break
        last = record(world.publisher.said[-1])
        await until(lambda: last in [message.data for message in honest.told], SOON)
        assert gossip_of(b).router.counts["queue"]
        assert deaf.heard == []


@in_time
async def test_attack_a_record_in_the_topic_of_another_publisher(world: World, tmp_path: Path) -> None:
    stranger = Publisher.of("stranger")
    async with (
        following(world, tmp_path / "b") as b,
        talking(b, world.topic) as honest,
        talking(b, world.topic) as liar,
    ):
        await until(lambda: {honest.peer, liar.peer} <= gossip_of(b).router.mesh(world.topic), SOON)
        for version in range(4):
            stranger.publish(str(version))
        await liar.tell(world.topic, *map(record, stranger.said))
        await until(lambda: b.store.catalog.wrong_counts() == {liar.peer: 1}, SOON)
        assert honest.told == []
        with b.store.ledgers.asking(stranger.chain.publisher) as ledger:
            assert ledger is None


@in_time
async def test_attack_replay_of_old_records_is_not_forwarded(world: World, tmp_path: Path) -> None:
    """What is known, and what replaced keys wrote where their successors have written since."""
    old = world.publisher.copy()
    for version in range(5):
        old.publish(f"0.{version}", "stolen")
    place = world.publisher.place
    world.publisher.rotate("ben", place=place)
    world.publisher.publish("2", "safe")
    async with (
        following(world, tmp_path / "b") as b,
        talking(b, world.topic) as honest,
        talking(b, world.topic) as liar,
    ):
        await until(lambda: {honest.peer, liar.peer} <= gossip_of(b).router.mesh(world.topic), SOON)
        before = newest(b.store, world.id)
        await liar.tell(world.topic, *map(record, (*old.said, *world.publisher.said)))
        world.publisher.publish("3", "safe")
        await liar.tell(world.topic, record(world.publisher.said[-1]))  # and something true after all of it
        await until(lambda: newest(b.store, world.id) == world.publisher.heads["safe"].id, SOON)
        await until(lambda: bool(honest.told), SOON)
        assert [message.data for message in honest.told] == [record(world.publisher.said[-1])]
        assert before != newest(b.store, world.id)
        with b.store.ledgers.asking(world.id) as ledger:
            assert ledger is not None
            assert ledger.head("stolen") is None
            assert ledger.fork is None
        assert standing(b, liar.peer) is Standing.GOOD


@in_time
async def test_attack_a_message_that_names_its_sender_is_dropped(world: World, tmp_path: Path) -> None:
    async with (
        following(world, tmp_path / "b") as b,
        talking(b, world.topic) as honest,
        talking(b, world.topic) as naming,
    ):
        await until(lambda: {honest.peer, naming.peer} <= gossip_of(b).router.mesh(world.topic), SOON)
        world.publisher.publish("2", "news")
        body = bytes_field(2, record(world.publisher.said[-1])) + bytes_field(4, world.topic.encode())
        named = bytes_field(2, bytes_field(1, b"somebody") + body)
        await naming.say_raw(varint(len(named)) + named)
        await until(lambda: gossip_of(b).router.counts["named"] == 1, SOON)
        assert honest.told == []
        await naming.tell(world.topic, record(world.publisher.said[-1]))
        await until(lambda: honest.told == [Message(world.topic, record(world.publisher.said[-1]))], SOON)


def test_the_table_in_the_spec_names_every_attack_here() -> None:
    spec = (Path(__file__).parents[2] / "specs" / "gossip.md").read_text("utf-8")
    table = spec.split("## Attacks")[1].split("\n## ")[0]
    here = {name.removeprefix("test_attack_") for name in globals() if name.startswith("test_attack_")}
    assert {name for name in here if f"`{name}`" not in table} == set()
    routers = Path(__file__).parents[1] / "protocol" / "gossip"
    there = "".join((routers / f"test_{name}.py").read_text("utf-8") for name in ("network_of_routers", "router"))
    named = {row.split("`")[-2] for row in table.splitlines() if row.startswith("| ") and "`" in row}
    assert {name for name in named - here if f"def test_{name}(" not in there} == set()
