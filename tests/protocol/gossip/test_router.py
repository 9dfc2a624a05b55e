"""The router by itself: meshes, backoffs, promises, the messages in between, and the bounds of what it remembers."""

from __future__ import annotations

import random

import pytest

from samara.protocol import limits
from samara.protocol.gossip import Message, Router, Rpc, Unchecked, Verdict, decode_rpc, message_id
from samara.protocol.gossip.standing import Standing

TOPIC, OTHER = "/samara/records/1/one", "/samara/records/1/other"


def router(*peers: str, topics: tuple[str, ...] = (TOPIC,), outbound: bool = True, follow: bool = True) -> Router:
    """A router that has met peers; with `follow` they follow the topics, too, and all of it was said."""
    made = Router(random.Random(7), lambda topic: topic.startswith("/samara/records/1/"))
    made.follow(dict.fromkeys(topics, True), 0.0)
    for peer in peers:
        made.meet(peer, 0.0, outbound=outbound)
        if follow:
            made.receive(peer, Rpc(subscriptions=dict.fromkeys(topics, True)), 0.0)
    made.drain()
    return made


def said(made: Router) -> dict[str, list[Rpc]]:
    return {peer: [decode_rpc(data) for data in rpcs] for peer, rpcs in made.drain()}


def names(count: int) -> list[str]:
    return [f"peer-{number:03}" for number in range(count)]


def take(made: Router, peer: str, data: bytes, verdict: Verdict, now: float = 1.0, topic: str = TOPIC) -> Unchecked:
    made.receive(peer, Rpc(messages=(Message(topic, data),)), now)
    unchecked = made.next_unchecked()
    assert unchecked is not None
    made.judge(unchecked, verdict, now)
    return unchecked


def told(rpcs: dict[str, list[Rpc]]) -> dict[str, list[bytes]]:
    found = {peer: [message.data for rpc in said for message in rpc.messages] for peer, said in rpcs.items()}
    return {peer: messages for peer, messages in found.items() if messages}


# --- topics and meshes ------------------------------------------------------------------------------------------------


def test_whoever_is_met_is_told_what_is_followed() -> None:
    made = router()
    made.meet("a", 0.0, outbound=True)
    assert said(made) == {"a": [Rpc(subscriptions={TOPIC: True}, parts=1)]}
    made.follow({OTHER: True}, 1.0)
    assert said(made)["a"][0].subscriptions == {OTHER: True, TOPIC: False}
    made.meet("a", 2.0, outbound=False)
    assert said(made) == {}, "and once only"


def test_what_is_followed_discreetly_is_told_to_those_who_follow_it_and_to_nobody_else() -> None:
    made = router("a", "b", follow=False)
    made.follow({TOPIC: True, OTHER: False}, 0.0)
    assert said(made) == {}
    made.receive("a", Rpc(subscriptions={OTHER: True}), 1.0)
    assert said(made)["a"][0].subscriptions == {OTHER: True}
    made.meet("c", 1.0, outbound=True)
    assert said(made)["c"][0].subscriptions == {TOPIC: True}
    made.publish(OTHER, b"news", 1.0, everyone=True)
    assert told(said(made)) == {"a": [b"news"]}
    made.receive("b", Rpc(iwant=(message_id(OTHER, b"news"),)), 1.0)
    assert said(made) == {}
    made.follow({TOPIC: True, OTHER: True}, 2.0)
    now = {peer: rpcs[0].subscriptions for peer, rpcs in said(made).items()}
    assert now == {peer: {OTHER: True} for peer in "abc"}
    made.follow({TOPIC: True}, 3.0)
    made.drain()
    made.follow({TOPIC: True, OTHER: False}, 4.0)
    made.drain()
    made.follow({TOPIC: True}, 5.0)
    assert set(said(made)) == {"a"}, "and so that it is no more"


def test_a_mesh_is_filled_up_to_its_size_and_not_beyond() -> None:
    made = router(*names(20))
    assert made.busy(0.0)
    made.tick(0.0)
    assert len(made.mesh(TOPIC)) == limits.GOSSIP_D
    assert {peer for peer, rpcs in said(made).items() if rpcs[0].graft} == made.mesh(TOPIC)
    assert not made.busy(1.0)


def test_a_mesh_that_is_too_large_lets_some_go_and_keeps_those_it_dialled() -> None:
    made = router(*names(20), outbound=False)
    for peer in ("x", "y", "z"):
        made.meet(peer, 0.0, outbound=True)
    for peer in ("x", "y", "z", *names(20)):
        made.receive(peer, Rpc(graft=(TOPIC,)), 0.0)
    # Beyond the most only those that we dialled come in; here they came first.
    assert len(made.mesh(TOPIC)) == limits.GOSSIP_D_HIGH
    made.meet("w", 0.0, outbound=True)
    made.receive("w", Rpc(graft=(TOPIC,)), 0.0)
    assert len(made.mesh(TOPIC)) == limits.GOSSIP_D_HIGH + 1
    made.drain()
    made.tick(1.0)
    assert len(made.mesh(TOPIC)) == limits.GOSSIP_D
    assert len(made.mesh(TOPIC) & {"w", "x", "y", "z"}) >= limits.GOSSIP_D_OUT
    pruned = {peer for peer, rpcs in said(made).items() if TOPIC in rpcs[0].prune}
    assert len(pruned) == limits.GOSSIP_D_HIGH + 1 - limits.GOSSIP_D


def test_a_mesh_of_those_who_dialled_takes_in_some_that_were_dialled() -> None:
    made = router(*names(6), outbound=False)
    made.tick(0.0)
    assert not made.busy(0.0)
    for peer in ("x", "y", "z"):
        made.meet(peer, 1.0, outbound=True)
        made.receive(peer, Rpc(subscriptions={TOPIC: True}), 1.0)
    assert made.busy(1.0)
    made.tick(1.0)
    assert len(made.mesh(TOPIC) & {"x", "y", "z"}) == limits.GOSSIP_D_OUT


def test_who_was_pruned_is_left_alone_for_the_backoff_and_a_little_longer() -> None:
    made = router("a")
    made.tick(0.0)
    made.receive("a", Rpc(prune={TOPIC: 100.0}), 1.0)
    assert made.mesh(TOPIC) == frozenset()
    made.tick(102.0)
    assert made.mesh(TOPIC) == frozenset()
    made.tick(103.5)
    assert made.mesh(TOPIC) == {"a"}


def test_who_unsubscribes_or_goes_leaves_the_mesh() -> None:
    made = router("a", "b")
    made.tick(0.0)
    made.receive("a", Rpc(subscriptions={TOPIC: False}), 1.0)
    made.part("b")
    made.part("b")
    assert (made.mesh(TOPIC), made.followers(TOPIC), set(made.peers)) == (frozenset(), frozenset(), {"a"})


def test_what_is_followed_no_more_is_left() -> None:
    made = router("a")
    made.tick(0.0)
    made.drain()
    made.follow({}, 1.0)
    (rpc,) = said(made)["a"]
    assert rpc.subscriptions == {TOPIC: False}
    assert rpc.prune == {TOPIC: 10.0}
    assert not made.topics


def test_a_graft_for_what_is_not_followed_is_not_answered() -> None:
    made = router("a")
    made.receive("a", Rpc(graft=(OTHER,)), 1.0)
    assert said(made) == {}


def test_a_graft_within_the_backoff_is_a_breach_that_makes_an_outcast() -> None:
    made = router("a")
    made.receive("a", Rpc(prune={TOPIC: 60.0}), 0.0)
    times = 0
    while made.standings.of("a", 1.0) is not Standing.OUTCAST:
        times += 1
        made.receive("a", Rpc(graft=(TOPIC,)), 1.0)
        assert said(made)["a"][0].prune == {TOPIC: limits.GOSSIP_BACKOFF}
    assert times == limits.GOSSIP_BREACHES / 2
    made.drain()
    made.receive("a", Rpc(graft=(TOPIC,)), 2.0)
    assert said(made) == {}, "an outcast is not answered"
    assert made.counts["outcast"] == 1


# --- messages ---------------------------------------------------------------------------------------------------------


def test_what_is_accepted_goes_to_the_mesh_and_not_back() -> None:
    made = router("a", "b", "c", "d")
    made.tick(0.0)
    made.drain()
    made.receive("a", Rpc(messages=(Message(TOPIC, b"news"),)), 1.0)
    assert said(made) == {}, "nothing is forwarded before it is checked"
    made.receive("b", Rpc(messages=(Message(TOPIC, b"news"),)), 1.0)
    unchecked = made.next_unchecked()
    assert unchecked == Unchecked(message_id(TOPIC, b"news"), TOPIC, b"news", "a")
    assert made.next_unchecked() is None, "who brings the same has it, and that is all"
    made.judge(unchecked, Verdict.ACCEPT, 1.0)
    assert told(said(made)) == {"c": [b"news"], "d": [b"news"]}


@pytest.mark.parametrize("verdict", [Verdict.IGNORE, Verdict.REJECT, Verdict.LATER])
def test_what_is_not_accepted_goes_nowhere(verdict: Verdict) -> None:
    made = router("a", "b")
    made.tick(0.0)
    made.drain()
    take(made, "a", b"news", verdict)
    assert said(made) == {}
    made.receive("b", Rpc(messages=(Message(TOPIC, b"news"),)), 1.0)
    assert (made.next_unchecked() is not None) is (verdict is Verdict.LATER)


def test_what_is_rejected_counts_against_all_who_brought_it() -> None:
    made = router("a", "b", "c")
    for number in range(limits.GOSSIP_REJECTED):
        wrong = Rpc(messages=(Message(TOPIC, bytes([number])),))
        made.receive("a", wrong, 1.0)
        made.receive("b", wrong, 1.0)
        unchecked = made.next_unchecked()
        assert unchecked is not None
        assert made.outcasts() == []
        made.judge(unchecked, Verdict.REJECT, 1.0)
    assert made.outcasts() == ["a", "b"]
    assert made.outcasts() == [], "each is told once"
    assert made.standings.of("c", 1.0) is Standing.GOOD
    made.tick(2.0)
    assert made.mesh(TOPIC) == {"c"}


def test_what_a_peer_did_is_remembered_when_it_comes_back_and_forgotten_in_time() -> None:
    made = router("a")
    for number in range(limits.GOSSIP_REJECTED):
        take(made, "a", bytes([number]), Verdict.REJECT)
    made.part("a")
    made.meet("a", 2.0, outbound=True)
    assert made.standings.of("a", 2.0) is Standing.OUTCAST
    assert made.standings.of("a", 2.0 + limits.GOSSIP_FORGIVES) is Standing.POOR
    assert made.standings.of("a", 2.0 + 4 * limits.GOSSIP_FORGIVES) is Standing.GOOD


def test_own_news_go_to_everybody_and_others_to_the_mesh() -> None:
    made = router(*names(20))
    made.tick(0.0)
    made.drain()
    assert made.publish(TOPIC, b"own", 1.0, everyone=True)
    assert set(told(said(made))) == set(names(20))
    assert made.publish(TOPIC, b"brought", 1.0, everyone=False)
    assert set(told(said(made))) == made.mesh(TOPIC)
    assert not made.publish(TOPIC, b"own", 2.0, everyone=True), "what was told is not told again"
    assert not made.publish(OTHER, b"own", 2.0, everyone=True)
    assert said(made) == {}


def test_what_came_by_gossip_is_not_told_as_news() -> None:
    made = router("a", "b")
    made.tick(0.0)
    made.drain()
    made.receive("a", Rpc(messages=(Message(TOPIC, b"news"),)), 1.0)
    assert not made.publish(TOPIC, b"news", 1.0, everyone=False)


def test_without_a_mesh_news_go_to_some_who_follow() -> None:
    made = router("a", "b")
    assert made.publish(TOPIC, b"news", 1.0, everyone=False)
    assert set(told(said(made))) == {"a", "b"}


def test_messages_wait_for_their_turn_and_those_of_others_come_between() -> None:
    made = router("a", "b")
    for number in range(100):
        made.receive("a", Rpc(messages=(Message(TOPIC, b"a%d" % number),)), 1.0)
    made.receive("b", Rpc(messages=(Message(TOPIC, b"b"),)), 1.0)
    order = [unchecked.data for unchecked in iter(made.next_unchecked, None)]
    assert order[:2] == [b"a0", b"b"]
    assert len(order) == limits.MAX_GOSSIP_UNCHECKED + 1
    assert made.counts["too many"] == 100 - limits.MAX_GOSSIP_UNCHECKED
    made.receive("b", Rpc(messages=(Message(TOPIC, b"a99"),)), 1.0)
    assert made.next_unchecked() is not None, "what was dropped is not remembered"


def test_messages_that_wait_are_bounded_in_bytes_and_go_with_who_brought_them() -> None:
    made = router("a", "b")
    big = bytes(limits.MAX_GOSSIP_DATA - 1)
    for number in range(10):
        made.receive("a", Rpc(messages=(Message(TOPIC, big + bytes([number])),)), 1.0)
    assert made.counts["too many"] == 10 - limits.MAX_GOSSIP_UNCHECKED_BYTES // limits.MAX_GOSSIP_DATA
    made.part("a")
    assert made.next_unchecked() is None
    made.receive("b", Rpc(messages=(Message(TOPIC, big + b"\0"),)), 1.0)
    assert made.next_unchecked() is not None


def test_a_message_that_is_too_long_counts_as_rejected() -> None:
    made = router("a")
    made.receive("a", Rpc(messages=(Message(TOPIC, bytes(limits.MAX_GOSSIP_DATA + 1)),)), 1.0)
    assert made.next_unchecked() is None
    assert made.standings.of("a", 1.0) is Standing.POOR


def test_a_message_of_what_is_not_followed_is_dropped() -> None:
    made = router("a")
    made.receive("a", Rpc(messages=(Message(OTHER, b"news"),)), 1.0)
    assert made.next_unchecked() is None
    assert made.counts["not followed"] == 1


# --- ids --------------------------------------------------------------------------------------------------------------


def test_ids_are_told_to_those_outside_the_mesh_for_three_heartbeats_and_given_for_five() -> None:
    made = router(*names(20))
    made.tick(0.0)
    made.drain()
    made.publish(TOPIC, b"news", 0.5, everyone=False)
    made.drain()
    one, outside = message_id(TOPIC, b"news"), set(names(20)) - made.mesh(TOPIC)
    for beat in range(1, 8):
        assert made.busy(beat) is (beat <= 5)
        made.tick(beat)
        ids = {peer: rpcs[0].ihave for peer, rpcs in said(made).items()}
        assert set(ids) <= outside
        assert len(ids) == (limits.GOSSIP_D_LAZY if beat <= 3 else 0)
        assert all(ihave == ((TOPIC, (one,)),) for ihave in ids.values())
        asker = names(20)[beat]
        made.receive(asker, Rpc(iwant=(one,)), beat)
        assert told(said(made)) == ({asker: [b"news"]} if beat < 5 else {})


def test_what_somebody_has_is_asked_for_and_a_broken_promise_is_a_breach() -> None:
    made = router("a", "b")
    ids = tuple(message_id(TOPIC, bytes([number])) for number in range(3))
    made.receive("a", Rpc(ihave=((TOPIC, ids), (OTHER, (bytes(32),)))), 1.0)
    assert sorted(said(made)["a"][0].iwant) == sorted(ids)
    made.receive("b", Rpc(ihave=((TOPIC, ids[:1]),)), 1.0)
    made.receive("b", Rpc(messages=tuple(Message(TOPIC, bytes([number])) for number in range(1))), 2.0)
    made.tick(1.0 + limits.GOSSIP_PROMISE)
    broken = made.counts["promise"]
    assert broken in (0, 1), "one of the ids is held against a peer; whoever brings it keeps the promise"
    made.receive("a", Rpc(ihave=((TOPIC, (bytes(32),)),)), 10.0)
    made.tick(10.0 + limits.GOSSIP_PROMISE)
    assert made.counts["promise"] == broken + 1
    assert not made._promises


def test_ihave_is_looked_at_within_the_bounds_of_a_heartbeat() -> None:
    made = router("a")
    asked = 0
    for number in range(50):
        ids = tuple(message_id(TOPIC, b"%d %d" % (number, one)) for one in range(100))
        made.receive("a", Rpc(ihave=((TOPIC, ids),)), 1.0)
        asked += sum(len(rpc.iwant) for rpcs in said(made).values() for rpc in rpcs)
    assert asked == limits.MAX_GOSSIP_ASKED
    assert made._peers["a"].listed == limits.MAX_GOSSIP_IHAVE_IDS
    made.receive("a", Rpc(ihave=((TOPIC, (bytes(32),)),)), 2.5)
    assert said(made)["a"][0].iwant == (bytes(32),), "the next heartbeat has its own"


def test_iwant_is_answered_within_the_bounds_of_a_heartbeat_and_of_a_message() -> None:
    made = router("a")
    ids = []
    for number in range(100):
        made.publish(TOPIC, bytes([number]), 1.0, everyone=True)
        ids.append(message_id(TOPIC, bytes([number])))
    made.drain()
    made.receive("a", Rpc(iwant=(*ids, *ids)), 1.0)
    assert len(told(said(made))["a"]) == limits.MAX_GOSSIP_ANSWERED
    given = 0
    for beat in range(2, 10):
        made.receive("a", Rpc(iwant=(ids[-1],)), beat)
        given += len(told(said(made)).get("a", ()))
    assert given == limits.MAX_GOSSIP_RETRIES


def test_the_poor_get_no_gossip_and_theirs_is_ignored() -> None:
    made = router("a", "b")
    take(made, "a", b"wrong", Verdict.REJECT)
    made.publish(TOPIC, b"news", 1.0, everyone=False)
    made.drain()
    made.receive("a", Rpc(iwant=(message_id(TOPIC, b"news"),), ihave=((TOPIC, (bytes(32),)),), graft=(TOPIC,)), 1.0)
    (rpc,) = said(made)["a"]
    assert rpc.prune
    assert not rpc.iwant
    assert not rpc.messages


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_topics_of_a_peer_are_bounded_and_those_of_another_form_are_nobodys() -> None:
    made = router("a", follow=False)
    made.receive("a", Rpc(subscriptions={f"/elsewhere/{number}": True for number in range(2000)}), 1.0)
    assert made._peers["a"].topics == set()
    assert made.standings.of("a", 1.0) is Standing.GOOD
    made.receive("a", Rpc(subscriptions={f"/samara/records/1/{number}": True for number in range(2000)}), 1.0)
    assert len(made._peers["a"].topics) == limits.MAX_GOSSIP_PEER_TOPICS
    assert made.counts["topics"] == 1
    made.receive("a", Rpc(graft=(TOPIC,)), 1.0)
    assert made.mesh(TOPIC) == frozenset(), "nor by the back door"


def test_a_publisher_who_signs_without_end_is_forwarded_within_bounds() -> None:
    made = router("a", "b", topics=(TOPIC, OTHER))
    made.tick(0.0)
    made.drain()
    accepted = 0
    for step in range(1000):
        now = 1.0 + step / 10
        made.receive("a", Rpc(messages=(Message(TOPIC, b"%d" % step),)), now)
        while (unchecked := made.next_unchecked()) is not None:
            made.judge(unchecked, Verdict.ACCEPT, now)
            accepted += 1
    assert accepted == limits.MAX_GOSSIP_BURST + 99.9 // limits.GOSSIP_SPACING
    assert len(told(said(made))["b"]) == accepted
    take(made, "a", b"news", Verdict.ACCEPT, 101.0, OTHER)
    assert told(said(made)) == {"b": [b"news"]}, "others have room of their own"
    for step in range(1000):
        take(made, "a", b"ignored %d" % step, Verdict.IGNORE, 102.0 + step, OTHER)
    take(made, "a", b"more", Verdict.ACCEPT, 2000.0, OTHER)
    assert told(said(made)) == {"b": [b"more"]}, "and what is not accepted takes none"


def test_no_more_topics_are_followed_than_there_may_be() -> None:
    made = router(topics=tuple(map(str, range(limits.MAX_GOSSIP_TOPICS + 10))))
    assert len(made.topics) == limits.MAX_GOSSIP_TOPICS


def test_messages_that_are_kept_are_bounded_in_bytes() -> None:
    made = router()
    for number in range(2 * limits.MAX_GOSSIP_CACHE // limits.MAX_GOSSIP_DATA):
        made.publish(TOPIC, number.to_bytes(4, "big") + bytes(limits.MAX_GOSSIP_DATA - 4), 1.0, everyone=True)
    assert 0 < made._cache.size <= limits.MAX_GOSSIP_CACHE


def test_ids_and_backoffs_and_scores_are_bounded() -> None:
    made = router()
    for number in range(limits.MAX_GOSSIP_IDS + 100):
        made._seen.add(number.to_bytes(32, "big"), 1.0)
    assert len(made._seen) == limits.MAX_GOSSIP_IDS
    assert not made._seen.has(bytes(32), 1.0)
    made._seen.add(b"later", 1.0 + limits.GOSSIP_SEEN)
    assert len(made._seen) == 1
    for number in range(limits.MAX_GOSSIP_BACKOFFS + 100):
        made._back_off(TOPIC, str(number), 60.0)
    assert len(made._backoffs) == limits.MAX_GOSSIP_BACKOFFS
    made.tick(70.0)
    assert not made._backoffs
    for number in range(limits.MAX_GOSSIP_SCORES + 100):
        made.breach(str(number), 1.0)
    assert len(made.standings) == limits.MAX_GOSSIP_SCORES
