"""Parquet files of nothing but pages: as much of the format as tells how they were cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from samara.protocol.formats.parquet import Page

__all__ = ["binary", "i32", "i64", "parquet_file", "struct", "structs", "varint", "with_footer"]

Value = tuple[int, bytes]
"""A value's type in Thrift's compact protocol, and its bytes."""


def varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def i32(number: int) -> Value:
    return 5, varint(2 * number if number >= 0 else -2 * number - 1)


def i64(number: int) -> Value:
    return 6, i32(number)[1]


def binary(data: bytes) -> Value:
    return 8, varint(len(data)) + data


def struct(fields: Mapping[int, Value]) -> Value:
    """A struct, its fields by number."""
    out, last = bytearray(), 0
    for number, (kind, data) in sorted(fields.items()):
        step = number - last
        out += bytes([step << 4 | kind]) if step < 16 else bytes([kind]) + i32(number)[1]
        out += data
        last = number
    return 12, bytes(out) + b"\0"


def structs(items: Sequence[Value]) -> Value:
    """A list of structs."""
    count = bytes([len(items) << 4 | 12]) if len(items) < 15 else b"\xfc" + varint(len(items))
    return 9, count + b"".join(data for _, data in items)


def _page(page: Page, body: bytes, *, second_version: bool) -> bytes:
    inner = struct({1: i32(page.values), 4 if second_version else 2: i32(page.encoding)})
    kind, field = (3, 8) if second_version else (0, 5)
    return struct({1: i32(kind), 2: i32(page.size), 3: i32(len(body)), field: inner})[1] + body


def parquet_file(
    columns: Sequence[Sequence[Page]],
    *,
    metadata: Mapping[str, str] | None = None,
    second_version: bool = False,
    dictionary: bool = False,
    groups: int = 1,
    body: bytes = b"...",
    path: Sequence[str] = ("x",),
) -> bytes:
    """A file with these pages in each of its row groups; what they hold is `body`, as if it were compressed."""
    data = bytearray(b"PAR1")
    row_groups = []
    names = 9, bytes([len(path) << 4 | 8]) + b"".join(binary(name.encode())[1] for name in path)
    for _ in range(groups):
        chunks = []
        for pages in columns:
            start = len(data)
            if dictionary:
                data += struct({1: i32(2), 2: i32(9), 3: i32(len(body)), 7: struct({1: i32(3)})})[1] + body
            first = len(data)
            for page in pages:
                data += _page(page, body, second_version=second_version)
            found = {1: i32(1), 3: names, 7: i64(len(data) - start), 9: i64(first)}
            if dictionary:
                found[11] = i64(start)
            chunks.append(struct({2: i64(start), 3: struct(found)}))
        row_groups.append(struct({1: structs(chunks), 2: i64(9), 3: i64(9)}))
    named = [struct({1: binary(key.encode()), 2: binary(value.encode())}) for key, value in (metadata or {}).items()]
    footer = {1: i32(2), 2: structs([struct({4: binary(b"schema")})]), 3: i64(9), 4: structs(row_groups)}
    if named:
        footer[5] = structs(named)
    return with_footer(bytes(data), struct(footer)[1])


def with_footer(data: bytes, footer: bytes) -> bytes:
    """Put a footer behind data."""
    return data + footer + len(footer).to_bytes(4, "little") + b"PAR1"
