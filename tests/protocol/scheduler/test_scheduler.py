"""One test a rule of specs/scheduler.md that a state machine would meet too rarely to trust."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from samara.protocol.errors import LocalProtocolError
from samara.protocol.limits import (
    BAN_AFTER,
    GIVING_CHUNKS,
    MAX_CHUNK,
    MAX_RETRY_MS,
    MAX_RUN,
    MAX_RUN_BYTES,
    MAX_WINDOW,
    MIB,
    STALL_PATIENCE,
    UNPROVEN_CHUNKS,
)
from samara.protocol.scheduler import Failure, Outcome, Ready, Scheduler, Stalled, Standing, Verdict, Want
from samara.protocol.scheduler.pace import PATIENCE, REST, START_WINDOW, TRANSITIONS, Pace, Step

SMALL = 16 << 10


def scheduler_with(*peers: str, chunks: int = 1000, size: int = SMALL, rotate: int = 0) -> Scheduler:
    """Return a scheduler of one stream, and peers that hold all of it."""
    scheduler = Scheduler(rotate=rotate)
    scheduler.add_stream(1, range(chunks), lambda _: size)
    for peer in peers:
        scheduler.add_peer(peer, 0.0)
        scheduler.set_files(peer, None)
    return scheduler


def deliver(scheduler: Scheduler, peer: str, wants: list[Want], now: float, size: int = SMALL) -> None:
    for want in wants:
        for index in range(want.first, want.first + want.count):
            assert scheduler.received(peer, want.stream, index, size, now) is Outcome.ACCEPTED


def prove(scheduler: Scheduler, peer: str, now: float = 0.0, size: int = SMALL) -> None:
    deliver(scheduler, peer, scheduler.next_requests(peer, now), now, size)
    assert scheduler.look().peers[peer].standing is Standing.PROVEN


# Choice


def test_a_lone_seeder_is_read_forwards_and_in_whole_runs() -> None:
    scheduler = scheduler_with("ann")
    asked: list[int] = []
    counts: list[int] = []
    while not scheduler.done:
        wants = scheduler.next_requests("ann", 0.0)
        counts += [want.count for want in wants]
        asked += [want.first + n for want in wants for n in range(want.count)]
        deliver(scheduler, "ann", wants, 0.0)
    assert asked == list(range(1000))
    assert max(counts) == MAX_RUN
    assert len(counts) < 22, "the window is filled by runs, not chunk by chunk"


def small_files(count: int, *, joined: bool) -> Scheduler:
    scheduler = Scheduler()
    scheduler.add_peer("ann", 0.0)
    scheduler.set_files("ann", None)
    for stream in range(1, count + 1):
        scheduler.add_stream(stream, range(1), lambda _: SMALL, joined=joined)
    for want in scheduler.next_requests("ann", 0.0):
        scheduler.received_run("ann", want, 0, want.count, 0.0)
    return scheduler


@pytest.mark.parametrize("joined", [False, True])
def test_files_that_follow_each_other_are_one_run(joined: bool) -> None:
    scheduler = small_files(200, joined=joined)
    wants = scheduler.next_requests("ann", 0.0)
    assert max(want.count for want in wants) == (MAX_RUN if joined else 1)
    for want in wants:
        assert scheduler.spans(want, 0, want.count) == [(want.stream + n, 0, 1) for n in range(want.count)]


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("has", [None, b"\xff\xff\x0f", b"\x00\xf0\x01"])
def test_files_that_are_added_at_once_are_asked_for_as_one_by_one(joined: bool, has: bytes | None) -> None:
    singly, at_once = Scheduler(), Scheduler()
    for scheduler in (singly, at_once):
        scheduler.add_peer("ann", 0.0)
        scheduler.set_files("ann", has)
        scheduler.add_stream(1, range(3), lambda _: SMALL)
    for stream in range(2, 31):
        singly.add_stream(stream, range(1), [SMALL + stream].__getitem__, joined=joined or stream > 2)
    at_once.add_files(range(2, 31), [SMALL + stream for stream in range(2, 31)], joined=joined)
    assert at_once.look() == singly.look()
    asked = 0
    while wants := singly.next_requests("ann", 0.0):
        assert at_once.next_requests("ann", 0.0) == wants
        for want in wants:
            asked += want.count
            sizes = [scheduler.received_run("ann", want, 0, want.count, 0.0) for scheduler in (singly, at_once)]
            assert sizes[0] == sizes[1] > 0
    assert at_once.next_requests("ann", 0.0) == []
    assert asked == 2 + (30 if has is None else sum(map(int.bit_count, has)) - 2 * (not has[0]))
    with pytest.raises(LocalProtocolError):
        at_once.add_files([31, 5], [1, 1])


def test_a_run_is_received_in_pieces_and_counted_once() -> None:
    scheduler = small_files(200, joined=True)
    want = next(want for want in scheduler.next_requests("ann", 0.0) if want.count == MAX_RUN)
    owed = scheduler.look().peers["ann"].owed
    assert scheduler.received_run("ann", want, 0, 10, 1.0) == 10 * SMALL
    assert scheduler.received_run("ann", want, 5, 10, 1.0) == 5 * SMALL
    assert scheduler.received_run("bob", want, 15, MAX_RUN - 15, 1.0) == (MAX_RUN - 15) * SMALL
    assert scheduler.look().peers["ann"].owed == owed - MAX_RUN * SMALL
    assert [cancelled for _, cancelled in scheduler.cancelled()] == [want]
    with pytest.raises(LocalProtocolError):
        scheduler.received_run("ann", Want(999, 0, 1, 0), 0, 1, 1.0)


def test_a_seeder_is_spared_while_a_mate_is_quick() -> None:
    scheduler = scheduler_with("seed", chunks=40_000)
    scheduler.add_peer("mate", 0.0)
    scheduler.set_availability("mate", 1, b"\xff" * 4500)  # all but the end
    prove(scheduler, "seed")
    prove(scheduler, "mate")
    now = 0.0
    asked: dict[str, set[int]] = {"seed": set(), "mate": set()}

    def turn(*peers: str) -> None:
        for peer in peers:
            wants = scheduler.next_requests(peer, now)
            asked[peer] |= {want.first + n for want in wants for n in range(want.count)}
            scheduler.progress(peer, SMALL * sum(want.count for want in wants), now + 0.4)
            deliver(scheduler, peer, wants, now + 0.4)

    while len(asked["seed"]) < 1900:
        now += 0.5
        turn("mate", "seed")
    assert min(asked["seed"]) >= 36_000, "what the mate has too is left to it"
    assert len(asked["mate"]) < 36_000
    scheduler.next_requests("mate", now)  # and now it owes something, and falls silent
    while not scheduler.done and now < 60.0:
        now += 0.5
        scheduler.tick(now)
        turn("seed")
    assert scheduler.done
    assert min(asked["seed"]) < 36_000


def test_a_rotation_says_where_to_begin_and_goes_round() -> None:
    scheduler = scheduler_with("ann", rotate=1 << 31)
    asked: list[int] = []
    while not scheduler.done:
        wants = scheduler.next_requests("ann", 0.0)
        asked += [want.first + n for want in wants for n in range(want.count)]
        deliver(scheduler, "ann", wants, 0.0)
    assert asked == [*range(500, 1000), *range(500)]


def test_the_rarest_is_first_and_what_is_far_commoner_ends_its_run() -> None:
    scheduler = scheduler_with("ann", "bob", "cat", "dan", chunks=64)
    for peer in ("bob", "cat", "dan"):
        scheduler.set_files(peer, b"")
    scheduler.set_availability("bob", 1, bytes(8))
    for peer in ("cat", "dan"):  # chunks 40 and 41 are ann's alone; the others have three copies
        scheduler.set_availability(peer, 1, b"\xff" * 5 + b"\xfc" + b"\xff" * 2)
    (want,) = scheduler.next_requests("ann", 0.0)
    assert (want.first, want.count) == (40, 2)
    assert scheduler.next_requests("bob", 0.0) == []
    assert scheduler.next_requests("cat", 0.0)[0].first == 0


def test_no_run_crosses_a_stream_or_a_gap() -> None:
    scheduler = Scheduler()
    scheduler.add_stream(3, [0, 1, 2, 5, 6], lambda _: 1)
    scheduler.add_stream(1, [0, 1, 2], lambda _: 1)
    scheduler.add_peer("ann", 0.0)
    scheduler.set_files("ann", None)
    wants: list[Want] = []
    while more := scheduler.next_requests("ann", 0.0):
        wants += more
        deliver(scheduler, "ann", more, 0.0, size=1)
    assert [(want.stream, want.first, want.count) for want in wants] == [(3, 0, 2), (3, 2, 1), (3, 5, 2), (1, 0, 3)]


def test_claims_may_come_before_their_stream_and_who_lists_files_has_the_table() -> None:
    scheduler = Scheduler()
    scheduler.add_peer("ann", 0.0)
    scheduler.set_files("ann", b"\x02")
    scheduler.set_availability("ann", 3, b"\x04")
    for stream in (0, 1, 2, 3):
        scheduler.add_stream(stream, range(8), lambda _: 1)
    found = set()
    for _ in range(20):
        wants = scheduler.next_requests("ann", 0.0)
        found |= {(want.stream, want.first + n) for want in wants for n in range(want.count)}
        deliver(scheduler, "ann", wants, 0.0, size=1)
    assert found == {*((0, n) for n in range(8)), *((2, n) for n in range(8)), (3, 2)}
    assert scheduler.stuck


# Window


def test_an_unproven_peer_owes_two_chunks_and_a_proven_one_its_window() -> None:
    scheduler = scheduler_with("ann", size=MAX_CHUNK)
    assert [want.count for want in scheduler.next_requests("ann", 0.0)] == [1, 1]
    assert scheduler.next_requests("ann", 0.0) == []
    scheduler.received("ann", 1, 0, MAX_CHUNK, 0.1)
    assert scheduler.look().peers["ann"].window == START_WINDOW


def test_of_a_small_content_nobody_owes_more_than_two_chunks_at_first() -> None:
    scheduler = Scheduler()
    assert scheduler.add_peer("ann", 0.0, has_given=True)
    scheduler.set_files("ann", None)
    scheduler.add_stream(1, range(300), lambda _: SMALL)
    assert [want.count for want in scheduler.next_requests("ann", 0.0)] == [UNPROVEN_CHUNKS]


def test_who_has_given_right_nodes_of_the_lists_owes_more_from_the_start_by_small_wants() -> None:
    scheduler = Scheduler()
    assert scheduler.add_peer("ann", 0.0, has_given=True)
    scheduler.set_files("ann", None)
    scheduler.add_stream(1, range(128 * GIVING_CHUNKS), lambda _: SMALL)
    wants = scheduler.next_requests("ann", 0.0)
    assert [want.count for want in wants] == [UNPROVEN_CHUNKS] * (GIVING_CHUNKS // UNPROVEN_CHUNKS)
    assert scheduler.next_requests("ann", 0.0) == []
    scheduler.received_run("ann", wants[0], 0, UNPROVEN_CHUNKS, 0.1)
    assert sum(want.count for want in scheduler.next_requests("ann", 0.1)) > 10 * GIVING_CHUNKS, "it is proven"
    assert not scheduler.add_peer("bob", 0.0, wrong=BAN_AFTER, has_given=True), "it may have lied in another fetch"


@pytest.mark.parametrize(("rate", "window"), [(50e3, START_WINDOW), (10e6, 6 * MIB), (500e6, MAX_WINDOW)])
def test_the_window_follows_rate_and_round_trip(rate: float, window: int) -> None:
    pace = Pace(0.0)
    now, round_trip = 0.0, 0.1
    pace.asked(now)
    now += round_trip
    for _ in range(2000):
        now += SMALL / rate
        pace.delivered(SMALL, now)
    assert window * 0.85 <= pace.window <= window * 1.1
    assert pace.run_bytes <= min(rate * 1.1, MAX_RUN_BYTES)


def test_bytes_that_were_told_as_they_came_count_once() -> None:
    told, whole = Pace(0.0), Pace(0.0)
    for pace in (told, whole):
        pace.asked(0.0)
    for second in range(1, 5):
        for quarter in range(4):
            told.heard(SMALL // 4, second - 1 + quarter / 4)
        for pace in (told, whole):
            pace.delivered(SMALL, float(second))
    assert whole.rate == SMALL
    assert told.rate == pytest.approx(SMALL, rel=0.35)


def test_a_peer_is_asked_again_when_a_quarter_of_its_window_is_free() -> None:
    scheduler = scheduler_with("ann", chunks=5000)
    prove(scheduler, "ann")
    wants = scheduler.next_requests("ann", 0.0)
    first = wants[0]
    asked_again = 0
    for index in range(first.first, first.first + first.count):
        scheduler.received("ann", 1, index, SMALL, 0.0)
        asked_again += bool(scheduler.next_requests("ann", 0.0))
    assert asked_again <= 2


def test_a_session_gets_no_more_wants_than_it_takes() -> None:
    scheduler = Scheduler()
    for stream in range(1, 50):
        scheduler.add_stream(stream, [0], lambda _: 1)
    scheduler.add_peer("ann", 0.0, max_requests=5)
    scheduler.set_files("ann", None)
    deliver(scheduler, "ann", scheduler.next_requests("ann", 0.0), 0.0, size=1)
    assert len(scheduler.next_requests("ann", 0.0)) == 5


# End


def test_an_idle_peer_helps_with_the_end_of_what_is_owed_and_the_rest_is_cancelled() -> None:
    scheduler = scheduler_with("ann", "bob", chunks=4, size=MAX_CHUNK)
    wants = scheduler.next_requests("ann", 0.0)
    deliver(scheduler, "bob", scheduler.next_requests("bob", 0.0), 0.01, size=MAX_CHUNK)
    assert [want.first for want in wants] == [0, 1]
    assert scheduler.next_requests("bob", 0.1) == [], "ann may be quick: nothing is gained yet"
    assert (due := scheduler.timer()) is not None
    assert scheduler.tick(due) == [Ready("bob")]
    assert scheduler.next_requests("bob", due) == []

    (copy, *more) = scheduler.next_requests("bob", 5.0)
    assert (copy.first, copy.count, len(more)) == (1, 1, 1)
    assert scheduler.next_requests("ann", 5.0) == []
    deliver(scheduler, "bob", [copy], 5.1, size=MAX_CHUNK)
    assert scheduler.cancelled() == [("ann", wants[1])]
    assert scheduler.received("ann", 1, 1, MAX_CHUNK, 5.2) is Outcome.DUPLICATE
    assert scheduler.received("ann", 1, 0, MAX_CHUNK, 5.3) is Outcome.ACCEPTED
    assert scheduler.cancelled() == [("bob", more[0])]
    assert scheduler.done
    assert scheduler.look().bytes_wasted == MAX_CHUNK
    assert scheduler.look().received == {"ann": MAX_CHUNK, "bob": 3 * MAX_CHUNK}
    assert all(peer.owed == 0 for peer in scheduler.look().peers.values())


def test_a_helper_that_leaves_makes_room_for_another() -> None:
    scheduler = scheduler_with("ann", "bob", "cat", chunks=2)
    scheduler.next_requests("ann", 0.0)
    assert len(scheduler.next_requests("bob", 5.0)) == 1
    assert scheduler.next_requests("cat", 5.0) == [], "bob was asked just now"
    scheduler.remove_peer("bob")
    (want,) = scheduler.next_requests("cat", 5.25)
    assert (want.first, want.count) == (0, 2)
    scheduler.remove_peer("ann")
    scheduler.add_peer("dan", 5.25)
    scheduler.set_files("dan", None)
    assert scheduler.next_requests("dan", 5.25) == [], "cat owes them: nothing is free"
    deliver(scheduler, "cat", [want], 5.25)
    assert scheduler.done


def wait_for(
    scheduler: Scheduler, peer: str, since: float = 0.0, tell: Callable[[float], None] = lambda now: None
) -> float:
    """Return when a peer is next asked for something; a tenth of a second passes between two looks."""
    for tenth in range(1000):
        now = since + tenth / 10
        tell(now)
        assert all(isinstance(event, Ready) for event in scheduler.tick(now))
        if scheduler.next_requests(peer, now):
            return now
    raise AssertionError(f"{peer} is never asked")


def test_silent_peers_that_pair_up_keep_no_chunk_from_a_third() -> None:
    scheduler = scheduler_with("ann", "bob", "cat", "dan", chunks=1)
    scheduler.next_requests("ann", 0.0)
    second = wait_for(scheduler, "bob")
    third = wait_for(scheduler, "cat", second)
    fourth = wait_for(scheduler, "dan", third)
    # A helper of unknown rate is given a second; the gain doubles; it looks each quarter of a second.
    assert second == pytest.approx(1.25, abs=0.4)
    assert third - second == pytest.approx(1.5, abs=0.4)
    assert fourth - third == pytest.approx(2.0, abs=0.4)
    assert scheduler.received("dan", 1, 0, SMALL, fourth) is Outcome.ACCEPTED
    assert {name for name, _ in scheduler.cancelled()} == {"ann", "bob", "cat"}


def test_slow_peers_that_pair_up_keep_no_chunk_from_a_third() -> None:
    scheduler = scheduler_with("ann", "bob", chunks=1, size=MAX_CHUNK)
    scheduler.next_requests("ann", 0.0)

    def trickle(*peers: str) -> Callable[[float], None]:
        def tell(now: float) -> None:
            for peer in peers:
                scheduler.progress(peer, 1 << 10, now)

        return tell

    paired = wait_for(scheduler, "bob", 0.0, trickle("ann"))
    scheduler.add_peer("cat", paired)
    scheduler.set_files("cat", None)
    assert wait_for(scheduler, "cat", paired, trickle("ann", "bob")) < paired + 3.0, "they need 100 s, and never stall"


def test_what_a_peer_says_while_it_owes_nothing_does_not_make_it_slow() -> None:
    scheduler = scheduler_with("ann", chunks=3, size=MAX_CHUNK)
    prove(scheduler, "ann", size=MAX_CHUNK)
    assert scheduler.next_requests("ann", 0.1)
    scheduler.add_peer("bob", 0.1)
    scheduler.set_files("bob", None)
    for now in range(1, 30):
        scheduler.progress("ann", 16 << 10, float(now))
        scheduler.progress("bob", 20, float(now))  # what it has, which it is asked now and then
    assert scheduler.look().peers["bob"].rate is None
    assert [want.first for want in scheduler.next_requests("bob", 30.0)] == [2], "ann needs half a minute more"


def test_who_is_silent_helps_nobody() -> None:
    scheduler = scheduler_with("ann", "bob", chunks=5, size=MAX_CHUNK)
    deliver(scheduler, "bob", scheduler.next_requests("bob", 0.0)[:1], 0.01, size=MAX_CHUNK)
    scheduler.next_requests("ann", 0.1)
    scheduler.next_requests("bob", 0.1)
    assert len(scheduler.look().peers) == 2
    scheduler.received("bob", 1, 1, MAX_CHUNK, 0.2)
    assert scheduler.look().peers["bob"].owed == MAX_CHUNK
    for now in range(1, 12):
        assert scheduler.next_requests("bob", float(now)) == []


def test_what_is_moot_is_due_again_when_it_is_put_back() -> None:
    scheduler = scheduler_with("ann", "bob", chunks=2)
    (want,) = scheduler.next_requests("ann", 0.0)
    assert scheduler.received("bob", 1, 1, SMALL, 1.0) is Outcome.ACCEPTED
    assert scheduler.cancelled() == []
    scheduler.put_back(1, 1)
    assert scheduler.next_requests("bob", 1.0) == [], "ann owes it still"
    deliver(scheduler, "ann", [want], 1.0)
    assert scheduler.done
    assert scheduler.look().peers["ann"].owed == 0


def test_what_is_put_back_is_asked_again() -> None:
    scheduler = scheduler_with("ann", chunks=2)
    prove(scheduler, "ann")
    assert scheduler.done
    scheduler.put_back(1, 1)
    assert not scheduler.done
    (want,) = scheduler.next_requests("ann", 0.0)
    assert (want.first, want.count) == (1, 1)
    scheduler.put_back(1, 1)  # it is missing already
    deliver(scheduler, "ann", [want], 0.0)
    assert scheduler.done


# Stalls, failures and wrong chunks


def test_the_standings_are_those_of_the_table() -> None:
    assert not [step for step in Step if (Standing.DROPPED, step) in TRANSITIONS]
    assert {standing for standing, _ in TRANSITIONS} == set(PATIENCE) == set(Standing) - {Standing.DROPPED}
    assert all(TRANSITIONS[standing, step] for standing in PATIENCE for step in Step)


def test_a_silent_peer_loses_its_work_and_is_borne_longer_until_it_is_dropped() -> None:
    scheduler = scheduler_with("ann", chunks=2)
    now = 0.0
    for patience, is_dropped in [(STALL_PATIENCE, False), (2 * STALL_PATIENCE, False), (4 * STALL_PATIENCE, True)]:
        wants = scheduler.next_requests("ann", now)
        assert scheduler.timer() == now + patience
        assert scheduler.tick(now + patience - 0.1) == []
        now += patience
        assert scheduler.tick(now) == [Stalled("ann", tuple(wants), is_dropped)]
        if not is_dropped:
            assert scheduler.next_requests("ann", now) == []
            assert scheduler.timer() == now + REST
            now += REST
            assert scheduler.tick(now) == [Ready("ann")]
            assert scheduler.ready(now) == ["ann"]
    assert scheduler.stuck
    assert scheduler.timer() is None
    assert scheduler.received("ann", 1, 0, SMALL, now) is Outcome.ACCEPTED, "late, but right"
    assert scheduler.add_peer("ann", now), "a stall is no crime"


def test_a_trickle_is_a_stall_too() -> None:
    scheduler = scheduler_with("ann", chunks=2, size=MAX_CHUNK)
    scheduler.next_requests("ann", 0.0)
    now = 0.0
    while not (events := scheduler.tick(now)):
        now += 1.0
        scheduler.progress("ann", 4 << 10, now)
    assert isinstance(events[0], Stalled)
    assert now == pytest.approx(120.0, abs=2.0), "half the rate spends half a second each second"


def test_a_slow_peer_that_goes_on_has_not_stalled() -> None:
    scheduler = scheduler_with("ann", chunks=1, size=MAX_CHUNK)
    (want,) = scheduler.next_requests("ann", 0.0)
    for second in range(1, 127):
        scheduler.progress("ann", 8300, float(second))
        assert scheduler.tick(float(second)) == []
    deliver(scheduler, "ann", [want], 127.0, size=MAX_CHUNK)
    assert scheduler.done


def test_our_own_pause_is_no_stall() -> None:
    scheduler = scheduler_with("ann", chunks=1)
    scheduler.next_requests("ann", 0.0)
    for now in (14.0, 28.0, 42.0, 56.0, 70.0):
        scheduler.excuse("ann", now)
        assert scheduler.tick(now) == []
    assert scheduler.timer() == 70.0 + STALL_PATIENCE


def test_a_busy_peer_has_not_stalled_and_is_left_alone() -> None:
    scheduler = scheduler_with("ann", chunks=200, size=MAX_CHUNK)
    first, _second = scheduler.next_requests("ann", 0.0)
    scheduler.busy("ann", first, 40.0, 1.0)
    assert scheduler.next_requests("ann", 40.9) == []
    assert scheduler.tick(40.9) == []
    assert not scheduler.stuck
    assert scheduler.timer() == 41.0
    assert scheduler.tick(41.0) == [Ready("ann")]
    (again,) = scheduler.next_requests("ann", 41.0)
    assert (again.first, again.count) == (2, 1)
    assert scheduler.timer() == 41.0 + STALL_PATIENCE


def test_no_peer_is_busy_for_ever() -> None:
    scheduler = scheduler_with("ann", chunks=1)
    (want,) = scheduler.next_requests("ann", 0.0)
    scheduler.busy("ann", want, 1e300, 0.0)
    assert scheduler.timer() == MAX_RETRY_MS / 1000


def test_what_is_not_found_is_not_asked_again_of_the_same_peer() -> None:
    scheduler = scheduler_with("ann", chunks=3)
    prove(scheduler, "ann")
    (want,) = scheduler.next_requests("ann", 0.0)
    scheduler.failed("ann", want, Failure.NOT_FOUND, 0.0)
    assert scheduler.stuck
    scheduler.set_files("ann", None)
    assert scheduler.stuck, "to say the same again is no news"
    scheduler.add_peer("bob", 0.0)
    scheduler.set_availability("bob", 1, None)
    assert scheduler.next_requests("bob", 0.0)[0].first == want.first


def test_a_peer_that_claims_and_does_not_answer_is_not_believed() -> None:
    scheduler = scheduler_with("ann", chunks=1000)
    for _ in range(4):
        want = scheduler.next_requests("ann", 0.0)[0]
        scheduler.failed("ann", want, Failure.NOT_FOUND, 0.0)
    assert scheduler.stuck
    scheduler.set_files("ann", None)
    assert scheduler.next_requests("ann", 0.0), "a new claim is heard"


def test_what_is_refused_is_not_asked_again_and_what_is_lost_is() -> None:
    scheduler = scheduler_with("ann", chunks=100)
    (want,) = scheduler.next_requests("ann", 0.0)
    scheduler.failed("ann", want, Failure.LOST, 0.0)
    assert scheduler.next_requests("ann", 0.0)[0].first == 2, "the order goes on"
    scheduler.remove_peer("ann")
    scheduler.add_peer("ann", 0.0)
    scheduler.set_files("ann", None)
    (want,) = scheduler.next_requests("ann", 0.0)
    scheduler.failed("ann", want, Failure.REFUSED, 0.0)
    asked = set()
    while wants := scheduler.next_requests("ann", 0.0):
        asked |= {w.first + n for w in wants for n in range(w.count)}
        deliver(scheduler, "ann", wants, 0.0)
    assert asked == set(range(100)) - {want.first, want.first + 1}


def test_a_wrong_chunk_excludes_and_the_third_bans() -> None:
    scheduler = scheduler_with("ann", chunks=10)
    assert scheduler.add_peer("bob", 0.0, wrong=2)
    scheduler.next_requests("ann", 0.0)
    assert scheduler.wrong("ann", 1, 0, 0.0) == Verdict(1, banned=False)
    assert not scheduler.add_peer("ann", 0.0)
    assert scheduler.wrong("bob", 1, 0, 0.0) == Verdict(3, banned=True)
    assert not scheduler.add_peer("cat", 0.0, wrong=3)
    assert scheduler.look().peers == {}
    assert scheduler.stuck


def test_late_news_of_a_peer_that_is_gone_is_void() -> None:
    scheduler = scheduler_with("ann", chunks=10)
    (want,) = scheduler.next_requests("ann", 0.0)
    scheduler.remove_peer("ann")
    scheduler.remove_peer("ann")
    scheduler.set_files("ann", None)
    scheduler.set_availability("ann", 1, None)
    scheduler.progress("ann", 1, 0.0)
    scheduler.excuse("ann", 0.0)
    scheduler.failed("ann", want, Failure.NOT_FOUND, 0.0)
    scheduler.busy("ann", want, 1.0, 0.0)
    assert scheduler.next_requests("ann", 0.0) == []
    assert scheduler.timer() is None
    assert scheduler.look().peers == {}


def test_what_cannot_be_is_our_bug() -> None:
    scheduler = scheduler_with("ann", chunks=10)
    with pytest.raises(LocalProtocolError, match="added before"):
        scheduler.add_peer("ann", 0.0)
    with pytest.raises(LocalProtocolError, match="added before"):
        scheduler.add_stream(1, [0], lambda _: 1)
    with pytest.raises(LocalProtocolError, match="never wanted"):
        scheduler.received("ann", 1, 10, SMALL, 0.0)
    with pytest.raises(LocalProtocolError, match="bytes"):
        scheduler.received("ann", 1, 0, SMALL + 1, 0.0)
    with pytest.raises(LocalProtocolError, match="never wanted"):
        scheduler.wrong("ann", 2, 0, 0.0)
    with pytest.raises(LocalProtocolError, match="never wanted"):
        scheduler.put_back(1, 10)
    assert scheduler.look().chunks_missing == 10


def test_nothing_wanted_is_done_and_an_empty_stream_changes_nothing() -> None:
    scheduler = Scheduler()
    scheduler.add_peer("ann", 0.0)
    scheduler.set_files("ann", None)
    scheduler.add_stream(1, [], lambda _: 1)
    assert scheduler.done
    assert not scheduler.stuck
    assert scheduler.next_requests("ann", 0.0) == []


def test_a_helper_that_stalls_leaves_nothing_due() -> None:
    scheduler = scheduler_with("ann", "bob", "cat", chunks=3)
    scheduler.next_requests("ann", 0.0)
    scheduler.received("ann", 1, 0, SMALL, 0.0)
    scheduler.set_files("cat", b"")
    scheduler.set_availability("cat", 1, b"\x04")
    scheduler.next_requests("cat", 5.0)
    (help_for_ann,) = scheduler.next_requests("bob", 5.0)
    assert help_for_ann.first == 1
    assert scheduler.timer() == 5.25, "bob may help cat later"
    assert [type(event) for event in scheduler.tick(40.0)] == [Stalled] * 3
    assert scheduler.timer() == 40.0 + REST
