"""Whose a chunk is: alike for all, each chunk one member's, and no more changes than must."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samara.protocol.scheduler import Scheduler
from samara.protocol.scheduler.board import Board
from samara.protocol.scheduler.division import _BLOCKS, Division
from samara.protocol.scheduler.hope import _MOST, _PART, Hope
from samara.protocol.scheduler.ledger import Ledger
from samara.protocol.scheduler.pages import PAGE

Chunk = tuple[int, int]
NAMES = [f"peer {number}" for number in range(8)]


def ledger_of(streams: dict[int, Sequence[int]]) -> Ledger:
    ledger = Ledger()
    for stream, missing in streams.items():
        list(ledger.add(stream, missing, lambda _: 1000))
    return ledger


def shares(names: Sequence[str], streams: dict[int, Sequence[int]]) -> dict[str, set[Chunk]]:
    """Return what each of these says that is its own, each with a ledger of its own."""
    found: dict[str, set[Chunk]] = {}
    for name in names:
        ledger = ledger_of(streams)
        division = Division(ledger)
        division.own = name
        division.share_with(set(names) - {name})
        mask = division.ours(0, len(ledger))
        found[name] = {ledger.place(position) for position in range(len(ledger)) if mask >> position & 1}
    return found


def block_of(chunk: Chunk) -> tuple[int, int, int]:
    """Return what names the block of a chunk, computed by counting."""
    stream, index = chunk
    tier = max(number for number, (begin, _) in enumerate(_BLOCKS) if index >= begin)
    return stream // 32, tier, index // _BLOCKS[tier][1]


@given(
    st.dictionaries(
        st.integers(0, 200), st.sets(st.integers(0, 9000), min_size=1, max_size=60), min_size=1, max_size=6
    ),
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=5, unique=True),
)
@settings(max_examples=50, deadline=None)
def test_each_chunk_is_one_members_and_whole_blocks_are(wanted: dict[int, set[int]], names: list[str]) -> None:
    streams: dict[int, Sequence[int]] = {stream: sorted(missing) for stream, missing in wanted.items()}
    found = shares(names, streams)
    chunks = Counter(chunk for share in found.values() for chunk in share)
    assert set(chunks) == {(stream, index) for stream, missing in wanted.items() for index in missing}
    assert set(chunks.values()) <= {1}
    owners: dict[tuple[int, int, int], set[str]] = {}
    for name, share in found.items():
        for chunk in share:
            owners.setdefault(block_of(chunk), set()).add(name)
    assert all(len(names) == 1 for names in owners.values())


def test_what_is_here_already_changes_nothing_for_the_rest() -> None:
    everything = shares(NAMES[:4], {1: range(6000), 2: range(700)})
    rest = {1: [*range(50, 60), *range(900, 5000, 7)], 2: range(300, 700)}
    for name, share in shares(NAMES[:4], rest).items():
        assert share == everything[name] & {(stream, index) for stream, missing in rest.items() for index in missing}


def test_who_comes_takes_only_what_becomes_its_own() -> None:
    streams: dict[int, Sequence[int]] = {1: range(20_000)}
    before, after = shares(NAMES[:4], streams), shares(NAMES[:5], streams)
    for name in NAMES[:4]:
        assert after[name] < before[name]
        assert before[name] - after[name] <= after[NAMES[4]]


@pytest.mark.parametrize("members", [2, 4, 8])
def test_shares_are_about_equal(members: int) -> None:
    total = 20_000
    for share in shares(NAMES[:members], {1: range(total)}).values():
        assert 0.5 * total / members < len(share) < 1.5 * total / members


# The board


def test_of_who_holds_everything_only_ours_is_found_and_what_a_mate_has_too() -> None:
    board = Board()
    seeder, mate = board.join(), board.join()
    board.claim_rest(seeder, everything=True)
    board.grow(0, 64)
    board.divide(lambda position, count: (0xFF00 >> position) & ((1 << count) - 1))
    assert board.find(seeder) == (8, 8)
    board.take(8, 8)
    assert board.find(seeder) is None
    board.claim(mate, 0, 0xF << 40, 0xF << 40)
    assert board.find(seeder) == (40, 4), "what a mate got is reserved no more"
    assert (found := board.find(mate)) is not None
    assert 40 <= found[0] < 44, "of a mate it is drawn"
    board.take(40, 4)
    assert board.find(seeder) is None
    assert board.is_free_somewhere()
    board.divide(None)
    assert board.find(seeder) is not None


def test_what_becomes_known_later_is_divided_too() -> None:
    board = Board()
    seeder = board.join()
    board.claim_rest(seeder, everything=True)
    board.grow(0, 10)
    board.divide(lambda position, count: ((1 << count) - 1) & ~0xFFFF if not position else 0)
    assert board.find(seeder) is None
    board.grow(10, 10)
    assert board.find(seeder) == (16, 4)
    board.grow(20, PAGE)
    assert board.find(seeder) == (16, 4)


# Hope


def test_waiting_in_vain_has_an_end() -> None:
    hope = Hope()
    hope.go_on(0.0)
    now = 100.0
    while not hope.is_lost(now):
        hope.wait(now, 1e6)
        now += 0.25
    assert now - 100.0 == pytest.approx(_MOST, abs=0.3)


def test_a_short_fetch_waits_for_a_part_of_its_time() -> None:
    hope = Hope()
    hope.go_on(0.0)
    assert hope.is_lost(0.0)
    assert not hope.is_lost(1.0)
    hope.wait(1.0, 1e6)
    hope.wait(1.0 + 2 * _PART, 1e6)
    assert hope.is_lost(1.0 + 2 * _PART)


def test_what_mates_bring_earns_what_the_seeder_would_have_taken_for_it() -> None:
    hope = Hope()
    hope.go_on(0.0)
    for second in range(100, 200):
        hope.wait(float(second), 1e6)
        assert not hope.is_lost(float(second))
        hope.brought(1_000_000)
    for second in range(200, 210):
        hope.wait(float(second), 1e6)
        hope.brought(100_000)
    assert hope.is_lost(210.0)


def test_what_is_no_waiting_is_not_counted() -> None:
    hope = Hope()
    hope.go_on(0.0)
    hope.wait(100.0, 1e6)
    hope.go_on(100.1)
    hope.wait(200.0, 1e6)
    assert not hope.is_lost(200.0)


SIZE = 64 << 10


@final
class Fetch:
    """A fetch of 1,024 chunks from a seeder that sends 40 MB/s and a mate that has what it is said to have."""

    def __init__(self) -> None:
        self.now = 0.0
        self.scheduler = Scheduler()
        self.scheduler.know_as("us")
        for peer in ("seeder", "mate"):
            assert self.scheduler.add_peer(peer, 0.0)
        self.scheduler.add_stream(1, range(1024), lambda _: SIZE)
        self.scheduler.set_files("seeder", None)
        self.scheduler.set_files("mate", bytes(1))
        self.mate_has(set())

    def mate_has(self, chunks: set[int]) -> None:
        bits = sum(1 << chunk for chunk in chunks)
        self.scheduler.set_availability("mate", 1, bits.to_bytes(128, "little"))

    def ask(self, peer: str, rounds: int = 1000) -> set[int]:
        """Let a peer send what it is asked for, again and again as long as there is something."""
        got: set[int] = set()
        for _ in range(rounds):
            wants = self.scheduler.next_requests(peer, self.now)
            for want in wants:
                self.now += want.count * SIZE / 4e7
                self.scheduler.received_run(peer, want, 0, want.count, self.now)
                got |= set(range(want.first, want.first + want.count))
            if not wants:
                break
        return got


def test_mates_that_were_given_up_are_relied_on_again_once_they_bring_what_is_missing() -> None:
    fetch = Fetch()
    ours = fetch.ask("seeder")
    theirs = set(range(1024)) - ours
    assert 256 < len(theirs) < 768, "they are the mate's to get"
    taken: set[int] = set()
    while not taken:  # the mate gets nothing
        fetch.now += 0.05
        assert fetch.now < 2, "a mate that gets nothing holds up nothing for long"
        taken = fetch.ask("seeder", rounds=1)
    assert taken <= theirs, "what was left to it is asked of the seeder"
    left = sorted(theirs - taken)
    fetch.mate_has(ours | set(left[:100]))
    assert fetch.ask("mate") == set(left[:100])
    fetch.now = 6.0
    assert fetch.ask("seeder") == set(), "the rest is left to the mate again"
    fetch.mate_has(ours | set(left))
    assert fetch.ask("mate") == set(left[100:])
    assert fetch.scheduler.done
