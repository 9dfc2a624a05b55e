"""Pages, board and ledger held against naive references that look at every chunk."""

from __future__ import annotations

import itertools
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samara.protocol.errors import LocalProtocolError
from samara.protocol.limits import MAX_CHUNK, MAX_RUN, MAX_STREAM_CHUNKS
from samara.protocol.scheduler import board as board_module
from samara.protocol.scheduler.board import Board, Claims
from samara.protocol.scheduler.ledger import Ledger
from samara.protocol.scheduler.pages import FULL, PAGE, Page

WIDE = st.integers(0, (1 << 100) - 1)


@given(st.lists(WIDE, max_size=12), st.data())
def test_a_page_counts_as_counting_one_by_one_does(claims: list[int], data: st.DataObject) -> None:
    page = Page()
    for mask in claims:
        page.add(mask)
    gone = data.draw(st.sets(st.sampled_from(range(len(claims))))) if claims else set()
    for number in gone:
        page.subtract(claims[number])
    counts = [sum(mask >> bit & 1 for n, mask in enumerate(claims) if n not in gone) for bit in range(100)]

    assert page.claimed() == sum(1 << bit for bit, count in enumerate(counts) if count)
    if among := data.draw(WIDE):
        fewest = min(count for bit, count in enumerate(counts) if among >> bit & 1)
        rarest = sum(1 << bit for bit, count in enumerate(counts) if among >> bit & 1 and count == fewest)
        assert page.rarest(among) == (rarest, fewest)
    offset, most = data.draw(st.integers(0, 90)), data.draw(st.integers(0, 20))
    few = sum(1 << bit for bit, count in enumerate(counts[offset:]) if count <= most and among >> (offset + bit) & 1)
    assert page.at_most(offset, among >> offset, most) == few


def page_size() -> int:
    """Return the positions of a page, which a test may have made smaller."""
    return int(vars(board_module)["PAGE"])


class NaiveBoard:
    """Sets of positions instead of bits."""

    def __init__(self, starts: list[int], size: int) -> None:
        self.starts, self.size = set(starts), size
        self.free = set(range(size))
        self.claims: dict[Claims, set[int]] = {}

    def copies(self, position: int) -> int:
        return sum(position in held for held in self.claims.values())

    def check(self, board: Board, who: Claims) -> None:
        found = board.find(who)
        candidates = self.free & self.claims[who]
        if not candidates:
            assert found is None
            return
        assert found is not None
        first, count = found
        fewest = min(map(self.copies, candidates))
        assert first in candidates
        assert self.copies(first) == fewest

        def goes_on(position: int) -> bool:
            is_same_page = position // page_size() == first // page_size()
            return position in candidates and is_same_page and self.copies(position) <= 2 * fewest

        run = itertools.takewhile(lambda p: p == first or (goes_on(p) and p not in self.starts), itertools.count(first))
        assert count == min(MAX_RUN, len(list(itertools.islice(run, MAX_RUN))))


class BoardAndNaive:
    """A board and its reference, through the same steps."""

    def __init__(self, widths: list[int], rotate: int) -> None:
        self.board = Board(rotate)
        self.starts = [sum(widths[:n]) for n in range(len(widths))]
        self.size = sum(widths)
        self.naive = NaiveBoard(self.starts, self.size)
        everything = self.board.join()
        self.board.claim_rest(everything, everything=True)
        for start, width in zip(self.starts, widths, strict=True):
            self.board.grow(start, width)
        self.naive.claims[everything] = set(range(self.size))

    def step(self, data: st.DataObject) -> None:
        """Do one thing to both."""
        naive, size = self.naive, self.size
        places = st.one_of(st.integers(0, size - 1), st.sampled_from(self.starts), st.just(size - 1))
        who = data.draw(st.sampled_from(list(naive.claims)))
        match data.draw(st.sampled_from(["join", "claim", "claim", "leave", "take", "take", "give back"])):
            case "join":
                naive.claims[self.board.join()] = set()
            case "claim":
                self._claim(who, data.draw(places), data.draw(st.integers(1, 80)), is_held=data.draw(st.booleans()))
            case "leave" if len(naive.claims) > 1:
                self.board.leave(who)
                del naive.claims[who]
            case "take" if found := self.board.find(who):
                self.board.take(*found)
                self.board.move_on(who, sum(found))
                naive.free -= set(range(found[0], sum(found)))
            case "give back" if taken := sorted(set(range(size)) - naive.free):
                position = data.draw(st.sampled_from(taken))
                self.board.give_back(position, 1)
                naive.free.add(position)

    def _claim(self, who: Claims, position: int, width: int, *, is_held: bool) -> None:
        positions = set(range(position, min(position + width, self.size)))
        for number in {p // page_size() for p in positions}:
            mask = sum(1 << p % page_size() for p in positions if p // page_size() == number)
            self.board.claim(who, number, mask, mask if is_held else 0)
        held = self.naive.claims[who]
        self.naive.claims[who] = held | positions if is_held else held - positions

    def check(self) -> None:
        for who in self.naive.claims:
            self.naive.check(self.board, who)
        somewhere = any(self.naive.free & held for held in self.naive.claims.values())
        assert self.board.is_free_somewhere() == somewhere


@settings(max_examples=30)
@given(st.lists(st.sampled_from([1, 60, 4090, 4096, 5000]), min_size=1, max_size=3), st.integers(0, 1 << 33), st.data())
def test_the_board_finds_what_looking_at_every_chunk_finds(widths: list[int], rotate: int, data: st.DataObject) -> None:
    both = BoardAndNaive(widths, rotate)
    for _ in range(data.draw(st.integers(1, 12))):
        both.step(data)
        both.check()


@settings(max_examples=100)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.integers(0, 1 << 32), st.data())
def test_the_board_finds_the_same_over_many_pages(widths: list[int], rotate: int, data: st.DataObject) -> None:
    with patch.multiple(board_module, SHIFT=3, PAGE=8, FULL=255, _OFFSET=7):
        both = BoardAndNaive(widths, rotate)
        for _ in range(data.draw(st.integers(1, 30))):
            both.step(data)
            both.check()


def test_what_is_to_come_is_claimed_by_those_who_hold_everything_alone() -> None:
    board = Board()
    everything, part = board.join(), board.join()
    board.claim_rest(everything, everything=True)
    board.grow(0, 10)
    board.claim(part, 0, FULL, 0b111)
    board.claim(everything, 0, 0b1000, 0)
    board.grow(10, PAGE)
    assert board.holds(everything, 0, 12) == 0b1111_1111_0111
    assert board.holds(part, 0, 12) == 0b111
    board.claim_rest(everything, everything=False)
    board.grow(10 + PAGE, 3)
    assert board.holds(everything, 10 + PAGE, 3) == 0
    assert board.find(part) == (0, 3)


@given(st.lists(st.sets(st.integers(0, 60), max_size=20), max_size=6))
def test_the_ledger_is_a_list_of_chunks(streams: list[set[int]]) -> None:
    ledger = Ledger()
    row: list[tuple[int, int]] = []
    for stream, wanted in enumerate(streams):
        first = len(row)
        row += [(stream, index) for index in sorted(wanted)]
        segments = list(ledger.add(stream, sorted(wanted), lambda index: index + 1))
        assert sum(segment.width for segment in segments) == len(wanted)
        assert list(ledger.segments(stream)) == segments
        assert ledger.extent(stream) == ((first, len(wanted)) if wanted else (0, 0))
    assert [ledger.place(position) for position in range(len(ledger))] == row
    assert [ledger.position(*chunk) for chunk in row] == list(range(len(row)))
    assert list(ledger.lengths) == [index + 1 for _, index in row]
    for chunk in set(itertools.product(range(7), range(61))) - set(row):
        with pytest.raises(LocalProtocolError, match="never wanted"):
            ledger.position(*chunk)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5)), max_size=6), st.data())
def test_files_of_one_chunk_are_added_as_one_by_one(groups: list[tuple[int, int]], data: st.DataObject) -> None:
    at_once, singly = Ledger(), Ledger()
    streams = itertools.count(1)
    for wide, small in groups:  # a stream of several chunks, if any, then some of one
        number = next(streams)
        for ledger in (at_once, singly):
            list(ledger.add(number, range(2, 2 + wide), lambda index: index))
        files = list(itertools.islice(streams, small))
        assert at_once.add_files(files, [10 + stream for stream in files]) == len(singly)
        for stream in files:
            list(singly.add(stream, [0], [10 + stream].__getitem__))
        assert [at_once.extent(stream) for stream in files] == [singly.extent(stream) for stream in files]
    assert (at_once.bytes, at_once.lengths) == (singly.bytes, singly.lengths)
    row = [at_once.place(position) for position in range(len(at_once))]
    assert row == [singly.place(position) for position in range(len(singly))]
    if row:
        first = data.draw(st.integers(0, len(row) - 1))
        count = data.draw(st.integers(1, len(row) - first))
        spans = at_once.spans(first, count)
        assert [(s, index) for s, i, width in spans for index in range(i, i + width)] == row[first : first + count]
        assert len({stream for stream, _, _ in spans}) == len(spans)  # what lies together is one span


@pytest.mark.parametrize(
    ("streams", "sizes"), [([2, 1], [1, 1]), ([2, 2], [1, 1]), ([2], [1, 1]), ([2], [0]), ([2], [MAX_CHUNK + 1])]
)
def test_files_that_cannot_be_added_change_nothing(streams: list[int], sizes: list[int]) -> None:
    ledger = Ledger()
    ledger.add_files([1], [5])
    with pytest.raises(LocalProtocolError):
        ledger.add_files(streams, sizes)
    assert (len(ledger), ledger.bytes, 2 in ledger) == (1, 5, False)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_range_is_what_its_list_is(stride: int) -> None:
    wanted = range(5, 50, stride)
    short, long = Ledger(), Ledger()
    assert list(short.add(1, wanted, lambda _: 1)) == list(long.add(1, list(wanted), lambda _: 1))


@pytest.mark.parametrize(
    ("missing", "length"),
    [
        ([1, 1], 1),
        ([2, 1], 1),
        ([-1], 1),
        (range(-1, 3), 1),
        ([MAX_STREAM_CHUNKS], 1),
        (range(MAX_STREAM_CHUNKS, MAX_STREAM_CHUNKS + 1), 1),
        ([0], 0),
        ([0], MAX_CHUNK + 1),
    ],
)
def test_what_is_no_chunk_is_our_bug_and_adds_nothing(missing: list[int] | range, length: int) -> None:
    ledger = Ledger()
    with pytest.raises(LocalProtocolError):
        ledger.add(1, missing, lambda _: length)
    assert len(ledger) == 0
    assert 1 not in ledger
