"""Tells from the pages of a parquet file whether its writer cut them where the content says so.

A row that is inserted moves all that follows in its column. Where pages end by size or by count, every later page is
another one then; where they end by content (content-defined chunking: pyarrow's `use_content_defined_chunking`, from 21
on), the next pages are the same again, and a fetch of the new version finds their bytes.

No field of the format says which. The `datasets` library leaves a word in the metadata; of other writers only the pages
tell: those that are cut by size or count are alike, or a multiple of the writer's batch, and among those that are cut
by content some end early. So this is a judgement, and it may be that none can be made.

The footer is a hostile claim, in Thrift's compact protocol: it is read with bounds on its length and depth, in time
linear in its bytes, and what it says of the file is held against the file's size.

Source: Apache Parquet, parquet.thrift and "File Format"; Apache Thrift, "Compact protocol".
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, final

from samara.protocol.errors import DataHeaderError
from samara.protocol.formats.header import ReadAt
from samara.protocol.limits import (
    KIB,
    MAX_PARQUET_COLUMNS,
    MAX_PARQUET_DEPTH,
    MAX_PARQUET_FOOTER,
    MAX_PARQUET_PAGE_HEADER,
    MAX_PARQUET_PAGES,
)

__all__ = ["Column", "Cut", "Page", "ParquetPages", "how_cut", "read_parquet"]

_MAGIC: Final = b"PAR1"
_TAIL: Final = 8
_DECLARED: Final = b"content_defined_chunking"
_UNDECLARED: Final = frozenset({b"", b"null", b"false", b"0"})
_FIRST_READ: Final = KIB
"""Bytes of a page's header that are read at first: statistics may be in it."""

_ENOUGH: Final = 4
"""Pages of one column chunk on which a judgement may rest."""

_ALIKE: Final = 0.05
"""Pages are alike when they differ from their median by no more: a page that is full ends with the next batch."""

_EXCEPTIONS: Final = 10
"""Of so many pages one may be another: a few rows may be much larger. Of those that are cut by content it is one in
seven at least where pyarrow fills pages of 20,000 rows between two cuts."""

_BATCH: Final = 64
"""Values of the smallest batch of a writer that is recognised; pyarrow's have 1,024. That four pages which end by
content all have a multiple of as many is less likely than one in a million."""


class Cut(enum.Enum):
    """Where the pages of a file end."""

    CONTENT = "by content"
    FIXED = "by size or count"
    UNKNOWN = "it cannot be told"


@final
class Page(NamedTuple):
    """A data page.

    Attributes:
        values: How many values it holds.
        size: Bytes before compression.
        encoding: How they are encoded.
    """

    values: int
    size: int
    encoding: int


@final
@dataclass(frozen=True, slots=True)
class ParquetPages:
    """What was found in a file.

    Attributes:
        declared: Its metadata says that it was cut by content.
        columns: Some of the largest columns.
    """

    declared: bool
    columns: Sequence[Column]


@final
class Column(NamedTuple):
    """A column.

    Attributes:
        flat: It is no part of a list or a struct: its values are rows.
        pages: The first data pages of its largest chunk.
    """

    flat: bool
    pages: Sequence[Page]


def how_cut(found: ParquetPages) -> Cut:
    """Judge where pages end.

    Of each column chunk the pages of its most frequent encoding are looked at, but for the last: a dictionary that is
    full, and the end, cut for reasons of their own. They are fixed when nearly all have about the same size, or the
    same number of values, or all a multiple of some number of rows; else they are cut by content, and so is the file.
    """
    if found.declared:
        return Cut.CONTENT
    alike = [(column.flat, _comparable(column.pages)) for column in found.columns]
    judged = [_is_fixed(pages, flat=flat) for flat, pages in alike if len(pages) >= _ENOUGH]
    if not judged:
        return Cut.UNKNOWN
    return Cut.FIXED if all(judged) else Cut.CONTENT


def _comparable(pages: Sequence[Page]) -> Sequence[Page]:
    by_encoding: dict[int, list[Page]] = {}
    for page in pages:
        by_encoding.setdefault(page.encoding, []).append(page)
    return max(by_encoding.values(), key=len, default=[])[:-1]


def _is_fixed(pages: Sequence[Page], *, flat: bool) -> bool:
    values = [page.values for page in pages]
    if _are_alike(values) or _are_alike([page.size for page in pages]):
        return True
    return flat and math.gcd(*values) >= _BATCH  # of lists of one length all pages are a multiple of it


def _are_alike(numbers: Sequence[int]) -> bool:
    median = sorted(numbers)[len(numbers) // 2]
    others = sum(abs(number - median) > _ALIKE * median for number in numbers)
    return others <= len(numbers) // _EXCEPTIONS


def read_parquet(read_at: ReadAt, size: int) -> ParquetPages:
    """Read a parquet file's footer, and the headers of some pages.

    Args:
        read_at: Reads the file.
        size: Its bytes.

    Raises:
        DataHeaderError: It is no parquet file, lies, or is outside the bounds.
    """
    tail = read_at(size - _TAIL, _TAIL) if size >= len(_MAGIC) + _TAIL else b""
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or read_at(0, len(_MAGIC)) != _MAGIC:
        raise DataHeaderError("it does not begin and end as a parquet file does")
    end = size - _TAIL - length
    if length > MAX_PARQUET_FOOTER or end < len(_MAGIC):
        raise DataHeaderError(
            f"a footer of {length} bytes in a file of {size}: at most {MAX_PARQUET_FOOTER}, inside it"
        )
    footer = _Footer(end)
    footer.read(_Compact(read_at(end, length)))
    columns = [
        Column(flat, list(_pages(read_at, start, start + size)))
        for size, start, flat in sorted(footer.chunks.values(), reverse=True)[:MAX_PARQUET_COLUMNS]
    ]
    return ParquetPages(footer.declared, columns)


def _pages(read_at: ReadAt, start: int, end: int) -> Iterator[Page]:
    """Yield the first data pages of a column chunk; what its headers say is held against its bytes."""
    for _ in range(MAX_PARQUET_PAGES):
        if start >= end:
            return
        header, length = _page_header(read_at, start, end)
        start += length + header.compressed
        if start > end:
            raise DataHeaderError(f"a page of {header.compressed} bytes runs past the end of its column at {end}")
        if header.page is not None:
            yield header.page


def _page_header(read_at: ReadAt, start: int, end: int) -> tuple[_Header, int]:
    """Return a page's header and its length."""
    room = _FIRST_READ
    while True:
        data = read_at(start, min(room, end - start))
        try:
            compact = _Compact(data)
            return _header(compact), compact.position
        except _ShortError:
            if room >= MAX_PARQUET_PAGE_HEADER or room >= end - start:
                raise
            room = MAX_PARQUET_PAGE_HEADER


class _Header(NamedTuple):
    """What a page's header says; without a page it is no data page."""

    compressed: int
    page: Page | None


def _header(compact: _Compact) -> _Header:
    size = compressed = values = -1
    encoding = 0
    for field, kind in compact.fields():
        if field == 2:
            size = compact.integer(kind)
        elif field == 3:
            compressed = compact.integer(kind)
        elif field in _DATA_PAGE and kind == _STRUCT:
            for inner, inner_kind in compact.fields():
                if inner == 1:
                    values = compact.integer(inner_kind)
                elif inner == _DATA_PAGE[field]:
                    encoding = compact.integer(inner_kind)
                else:
                    compact.skip(inner_kind)
        else:
            compact.skip(kind)
    if size < 0 or compressed < 0:
        raise DataHeaderError("a page without its sizes")
    return _Header(compressed, Page(values, size, encoding) if values >= 0 else None)


_DATA_PAGE: Final = {5: 2, 8: 4}
"""The fields of both kinds of data pages in a page's header, and in each the field of its encoding."""


@final
class _Footer:
    """What is needed of a footer.

    Args:
        end: Where it begins: what it speaks of lies before.
    """

    def __init__(self, end: int) -> None:
        self.declared = False
        self.chunks: dict[int, tuple[int, int, bool]] = {}
        """By number of the column, its largest chunk: bytes, where it begins, and whether it is flat."""
        self._end = end

    def read(self, compact: _Compact) -> None:
        for field, kind in compact.fields():
            if field == 4:
                compact.each(kind, self._row_group)
            elif field == 5:
                compact.each(kind, self._key_value)
            else:
                compact.skip(kind)

    def _key_value(self, compact: _Compact) -> None:
        key = value = b""
        for field, kind in compact.fields():
            if field == 1:
                key = compact.binary(kind)
            elif field == 2:
                value = compact.binary(kind)
            else:
                compact.skip(kind)
        self.declared = self.declared or (key == _DECLARED and value not in _UNDECLARED)

    def _row_group(self, compact: _Compact) -> None:
        for field, kind in compact.fields():
            if field != 1:
                compact.skip(kind)
                continue
            column = 0

            def take(compact: _Compact) -> None:
                nonlocal column
                self._column_chunk(compact, column)
                column += 1

            compact.each(kind, take)

    def _column_chunk(self, compact: _Compact, column: int) -> None:
        elsewhere = False
        for field, kind in compact.fields():
            if field == 1:
                elsewhere = bool(compact.binary(kind))
            elif field == 3 and kind == _STRUCT and not elsewhere:
                self._column_metadata(compact, column)
            else:
                compact.skip(kind)

    def _column_metadata(self, compact: _Compact, column: int) -> None:
        size = data = dictionary = 0
        path = 1
        for field, kind in compact.fields():
            if field == 3:
                path = compact.each(kind)
            elif field == 7:
                size = compact.integer(kind)
            elif field == 9:
                data = compact.integer(kind)
            elif field == 11:
                dictionary = compact.integer(kind)
            else:
                compact.skip(kind)
        start = min(data, dictionary) if dictionary > 0 else data
        if not len(_MAGIC) <= start <= start + size <= self._end:
            raise DataHeaderError(f"a column of {size} bytes at {start}, in a file whose data end at {self._end}")
        self.chunks[column] = max(self.chunks.get(column, (0, 0, False)), (size, start, path == 1))


# Thrift's compact protocol

_STOP, _TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT, _UUID = 0, 1, 2, 3, 7, 8, 9, 10, 11, 12, 13
_INTEGERS: Final = frozenset({4, 5, 6})
_FIXED_BYTES: Final = {_TRUE: 1, _FALSE: 1, _BYTE: 1, _DOUBLE: 8, _UUID: 16}
"""Bytes of an element of a list or a map; as a field a boolean has none, since its type says it."""

_LONGEST_VARINT: Final = 10


class _ShortError(DataHeaderError):
    """The bytes end inside of something."""


@final
class _Compact:
    """Reads values from front to back. Whatever is read takes a byte at least, so time is linear in the bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._depth = 0
        self.position = 0
        """Bytes that were read."""

    def fields(self) -> Iterator[tuple[int, int]]:
        """Yield the fields of the struct that comes next, number and type; whoever iterates takes each one's value."""
        self._deeper()
        number = 0
        while (head := self._byte()) != _STOP:
            number = number + (head >> 4) if head >> 4 else self.varint(signed=True)
            yield number, head & 15
        self._depth -= 1

    def each(self, kind: int, take: Callable[[_Compact], None] | None = None) -> int:
        """Let a function take each struct of the list that comes next, and pass over anything else.

        Returns:
            How many elements the list has; 0 when it is none.
        """
        if kind != _LIST:
            self.skip(kind)
            return 0
        element, count = self._list()
        self._deeper()
        for _ in range(count):
            if element == _STRUCT and take is not None:
                take(self)
            else:
                self.skip(element, element=True)
        self._depth -= 1
        return count

    def integer(self, kind: int) -> int:
        """Return the integer that comes next.

        Raises:
            DataHeaderError: It is none.
        """
        if kind not in _INTEGERS:
            raise DataHeaderError(f"a value of type {kind} where an integer should be")
        return self.varint(signed=True)

    def binary(self, kind: int) -> bytes:
        """Return the bytes that come next.

        Raises:
            DataHeaderError: It is something else.
        """
        if kind != _BINARY:
            raise DataHeaderError(f"a value of type {kind} where bytes should be")
        return self._take(self.varint())

    def skip(self, kind: int, *, element: bool = False) -> None:
        """Pass over the value that comes next: a field's, or an element's of a list or a map."""
        if kind in {_TRUE, _FALSE} and not element:
            return
        if kind in _FIXED_BYTES:
            self._take(_FIXED_BYTES[kind])
        elif kind in _INTEGERS:
            self.varint()
        elif kind == _BINARY:
            self._take(self.varint())
        elif kind in {_LIST, _SET}:
            inner, count = self._list()
            self._skip_all([inner], count)
        elif kind == _MAP:
            self._skip_map()
        elif kind == _STRUCT:
            for _, inner in self.fields():
                self.skip(inner)
        else:
            raise DataHeaderError(f"a value of the unknown type {kind}")

    def varint(self, *, signed: bool = False) -> int:
        """Return the varint that comes next, as it is or zigzag."""
        value = 0
        for shift in range(0, 7 * _LONGEST_VARINT, 7):
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return (value >> 1) ^ -(value & 1) if signed else value
        raise DataHeaderError("a number of more than 64 bits")

    def _skip_map(self) -> None:
        if count := self._counted(self.varint()):
            kinds = self._byte()
            self._skip_all([kinds >> 4, kinds & 15], count)

    def _skip_all(self, kinds: Sequence[int], count: int) -> None:
        self._deeper()
        for _ in range(count):
            for kind in kinds:
                self.skip(kind, element=True)
        self._depth -= 1

    def _list(self) -> tuple[int, int]:
        head = self._byte()
        return head & 15, self._counted(head >> 4 if head >> 4 < 15 else self.varint())

    def _counted(self, count: int) -> int:
        if count > len(self._data) - self.position:
            raise _ShortError(f"{count} elements in the {len(self._data) - self.position} bytes that are left")
        return count

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_PARQUET_DEPTH:
            raise DataHeaderError(f"more than {MAX_PARQUET_DEPTH} things inside each other")

    def _byte(self) -> int:
        if self.position >= len(self._data):
            raise _ShortError("it ends inside of a value")
        self.position += 1
        return self._data[self.position - 1]

    def _take(self, length: int) -> bytes:
        if length > len(self._data) - self.position:
            raise _ShortError(f"{length} bytes where {len(self._data) - self.position} are left")
        self.position += length
        return self._data[self.position - length : self.position]
