"""How a parquet file's pages were cut, and what a footer may not say."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.parquet import binary, i32, i64, parquet_file, struct, structs, varint, with_footer

from samara.protocol.errors import DataHeaderError
from samara.protocol.formats.parquet import Column, Cut, Page, ParquetPages, how_cut, read_parquet
from samara.protocol.limits import (
    MAX_PARQUET_COLUMNS,
    MAX_PARQUET_DEPTH,
    MAX_PARQUET_FOOTER,
    MAX_PARQUET_PAGE_HEADER,
    MAX_PARQUET_PAGES,
)

MIB = 1 << 20
BY_SIZE = [Page(values, MIB + values % 977, 0) for values in (9100, 8700, 9444, 8901, 9003, 812)]
BY_COUNT = [Page(20_000, size, 0) for size in (310_000, 290_000, 401_000, 330_000, 280_000)]
IN_BATCHES = [Page(1024 * batches, 700_000 * batches, 0) for batches in (1, 2, 1, 3, 2, 1, 2)]
BY_CONTENT = [Page(size // 8, size, 0) for size in (401_832, 612_736, 550_104, 702_968, 498_256, 12_000)]


def read(data: bytes) -> ParquetPages:
    return read_parquet(lambda offset, length: data[offset : offset + length], len(data))


def cut(*columns: Sequence[Page], **how: object) -> Cut:
    return how_cut(read(parquet_file(columns, **how)))  # type: ignore[arg-type]


@pytest.mark.parametrize("second_version", [False, True])
@pytest.mark.parametrize("dictionary", [False, True])
@pytest.mark.parametrize("body", [b"", b"..."])
def test_pages_are_found_as_they_were_written(second_version: bool, dictionary: bool, body: bytes) -> None:
    data = parquet_file(
        [BY_SIZE, BY_CONTENT], second_version=second_version, dictionary=dictionary, body=body, groups=2
    )
    assert sorted(list(column.pages) for column in read(data).columns) == sorted((BY_SIZE, BY_CONTENT))


@pytest.mark.parametrize("pages", [BY_SIZE, BY_COUNT, IN_BATCHES])
def test_pages_that_end_by_size_or_count(pages: list[Page]) -> None:
    assert cut(pages) is Cut.FIXED
    assert cut(pages, BY_COUNT) is Cut.FIXED


def test_pages_that_end_by_content() -> None:
    assert cut(BY_CONTENT) is Cut.CONTENT
    assert cut(BY_SIZE, BY_CONTENT) is Cut.CONTENT  # a column of one value has full pages, however they are cut


def test_few_pages_tell_nothing() -> None:
    assert cut() is Cut.UNKNOWN
    assert cut([]) is Cut.UNKNOWN
    assert cut(BY_SIZE[:4], BY_CONTENT[:4]) is Cut.UNKNOWN
    assert cut(BY_SIZE[:5]) is Cut.FIXED


def test_a_dictionary_that_became_full_is_no_variance() -> None:
    first = [Page(131_072, 280_000, 8), Page(40_000, 70_000, 8)]
    assert cut([*first, *BY_SIZE]) is Cut.FIXED


@pytest.mark.parametrize(
    ("value", "found"), [("{}", Cut.CONTENT), ("true", Cut.CONTENT), ("false", Cut.FIXED), ("", Cut.FIXED)]
)
def test_the_word_of_a_writer_counts(value: str, found: Cut) -> None:
    assert cut(BY_SIZE, metadata={"pandas": "x", "content_defined_chunking": value}) is found


def test_full_pages_between_two_cuts() -> None:
    full = Page(20_000, 160_000, 0)
    pages = [
        full,
        full,
        full,
        Page(13_402, 107_216, 0),
        full,
        full,
        full,
        full,
        full,
        Page(2_001, 16_008, 0),
        full,
        full,
    ]
    assert cut(pages) is Cut.CONTENT
    assert cut([full] * 11 + [Page(13_402, 107_216, 0)] + [full] * 3) is Cut.FIXED  # one may be another


def test_lists_of_one_length_are_no_batches() -> None:
    pages = [Page(1024 * rows, 4096 * rows, 0) for rows in (102, 96, 89, 127, 97, 3)]
    assert cut(pages, path=("e", "list", "element")) is Cut.CONTENT
    assert cut(pages) is Cut.FIXED


@given(st.integers(0, 10**6))
def test_pages_that_end_anywhere_are_not_taken_for_fixed(seed: int) -> None:
    chance = random.Random(seed)
    sizes = [int(min(max(chance.gauss(640 * 1024, 130 * 1024), 256 * 1024), 1024 * 1024)) for _ in range(16)]
    assert cut([Page(size // 8, size, 0) for size in sizes]) is Cut.CONTENT


def test_of_many_columns_the_largest_are_looked_at_and_of_many_pages_some() -> None:
    columns = [[Page(number, 100, 0)] * (number + 1) for number in range(20)]
    found = read(parquet_file(columns)).columns
    assert len(found) == MAX_PARQUET_COLUMNS
    assert [len(column.pages) for column in found] == [MAX_PARQUET_PAGES] * MAX_PARQUET_COLUMNS
    assert [column.pages[0].values for column in found] == [19, 18, 17, 16]


def test_a_column_in_another_file_is_passed_over() -> None:
    away = struct({1: binary(b"other.parquet"), 2: i64(0), 3: struct({7: i64(10**9), 9: i64(4)})})
    footer = struct({4: structs([struct({1: structs([away])})])})[1]
    assert read(with_footer(b"PAR1", footer)).columns == []


def footer_of(**column: int) -> bytes:
    numbers = {"size": 7, "data": 9, "dictionary": 11}
    metadata = struct({numbers[name]: i64(value) for name, value in column.items()})
    return struct({4: structs([struct({1: structs([struct({3: metadata})])})])})[1]


def nested(depth: int) -> bytes:
    return b"\x1c" * depth + b"\0" * depth


def a_page(header: bytes, size: int | None = None) -> bytes:
    """A file of one column that begins with this."""
    return with_footer(b"PAR1" + header, footer_of(size=len(header) if size is None else size, data=4))


LONG = struct(
    {1: i32(0), 2: i32(9), 3: i32(0), 5: struct({1: i32(1), 5: struct({1: binary(bytes(MAX_PARQUET_PAGE_HEADER))})})}
)[1]
LIES = {
    "empty": b"",
    "short": b"PAR1PAR1",
    "another beginning": b"XXXX" + parquet_file([BY_SIZE])[4:],
    "another end": parquet_file([BY_SIZE])[:-1] + b"E",
    "a footer longer than the file": b"PAR1" + (100).to_bytes(4, "little") + b"PAR1",
    "a footer longer than its limit": with_footer(b"PAR1", bytes(MAX_PARQUET_FOOTER + 1)),
    "a footer that ends inside": with_footer(b"PAR1", struct({4: structs([])})[1][:-1]),
    "a column before the file's beginning": with_footer(b"PAR1....", footer_of(size=2, data=0)),
    "a column of a negative size": with_footer(b"PAR1....", footer_of(size=-2, data=8)),
    "a column that runs into the footer": with_footer(b"PAR1....", footer_of(size=9, data=4)),
    "a column at a huge offset": with_footer(b"PAR1....", footer_of(size=1, data=2**62)),
    "a dictionary behind the file": with_footer(b"PAR1....", footer_of(size=1, data=2**62, dictionary=2**61)),
    "an offset that is no integer": with_footer(
        b"PAR1....", struct({4: structs([struct({1: structs([struct({3: struct({9: binary(b"x")})})])})])})[1]
    ),
    "a key that is no text": with_footer(b"PAR1", struct({5: structs([struct({1: i32(1)})])})[1]),
    "a type that does not exist": with_footer(b"PAR1", b"\x1e\0"),
    "more elements than bytes": with_footer(b"PAR1", b"\x19\xfc" + varint(2**40) + b"\0"),
    "a map of more entries than bytes": with_footer(b"PAR1", b"\x1b" + varint(2**40) + b"\x55\0"),
    "a text longer than the footer": with_footer(b"PAR1", b"\x18" + varint(2**40) + b"x\0"),
    "a number without an end": with_footer(b"PAR1", b"\x15" + b"\xff" * 11 + b"\0"),
    "too deep": with_footer(b"PAR1", nested(MAX_PARQUET_DEPTH + 1)),
    "a list in lists": with_footer(b"PAR1", b"\x19" + b"\x19" * 100_000),
    "a page that is longer than its column": a_page(struct({2: i32(9), 3: i32(10)})[1]),
    "a page of a negative size": a_page(struct({2: i32(9), 3: i32(-1)})[1]),
    "a page without a size": a_page(struct({1: i32(0)})[1]),
    "a header that ends inside": a_page(struct({2: i32(9), 3: i32(0)})[1][:-1]),
    "a header longer than its limit": a_page(LONG),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_refused(lie: str) -> None:
    with pytest.raises(DataHeaderError):
        read(LIES[lie])


def test_statistics_make_a_header_long_and_unknown_fields_are_passed_over() -> None:
    statistics = struct({1: binary(b"z" * 5000), 6: binary(b"")})
    more = {
        20: (1, b""), 21: (3, b"\7"), 22: (7, bytes(8)), 23: (13, bytes(16)), 24: (9, b"\x21\1\2"), 25: (10, b"\x08"),
        26: (11, b"\0"), 27: (11, b"\1\x85" + binary(b"k")[1] + i32(-4)[1]), 300: i64(-9),
    }  # fmt: skip
    page = struct({1: i32(0), 2: i32(900), 3: i32(0), 5: struct({1: i32(7), 2: i32(3), 5: statistics}), **more})[1]
    assert read(a_page(page)).columns == [Column(True, [Page(7, 900, 3)])]


@given(st.binary(max_size=300))
def test_any_footer_is_read_or_refused(footer: bytes) -> None:
    with contextlib.suppress(DataHeaderError):
        assert how_cut(read(with_footer(b"PAR1....", footer))) in Cut


def test_the_deepest_that_is_allowed() -> None:
    assert read(with_footer(b"PAR1", nested(MAX_PARQUET_DEPTH - 1) + b"\0")).columns == []
