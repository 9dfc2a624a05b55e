"""Writes record-file.json: files of records (specs/records.md §16), and files that break one rule each.

Built from bytes alone, so that the vectors do not repeat a mistake of the code that they test. What a file holds is not
looked at by its layout: a few letters stand for envelopes.
Usage: python specs/vectors/generate_record_file.py
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from blake3 import blake3

OUT = Path(__file__).resolve().parent / "record-file.json"

A, B = b"\xaa" * 32, b"\xbb" * 32
END, PUBLISHER, ROOT, FORK, RECORD = range(5)
PROOF = b"\1\0\0\0a\1\0\0\0b"

Item = tuple[int, bytes]


def item(kind: int, data: bytes) -> bytes:
    return struct.pack("<BI", kind, len(data)) + data


def begun(*items: Item, magic: bytes = b"samaraRF", version: int = 1) -> bytes:
    return magic + struct.pack("<I", version) + b"".join(item(kind, data) for kind, data in items)


def ended(data: bytes) -> bytes:
    return data + item(END, blake3(data).digest())


def good(name: str, *items: Item) -> dict[str, Any]:
    return {"name": name, "hex": ended(begun(*items)).hex(), "items": held(*items)}


def held(*items: Item) -> list[list[Any]]:
    """What a reader gives, in the order of the file: publisher, kind, bytes."""
    rows: list[list[Any]] = []
    publisher = b""
    for kind, data in items:
        if kind == PUBLISHER:
            publisher = data
        else:
            rows.append([publisher.hex(), kind, data.hex()])
    return rows


def bad(name: str, data: bytes, *before: Item) -> dict[str, Any]:
    """A file that is refused; `before` is what a reader has given until then."""
    return {"name": name, "hex": data.hex(), "items": held(*before), "error": "RecordFileError"}


def build() -> str:
    """Return the text of the file."""
    one: list[Item] = [(PUBLISHER, A), (ROOT, b"r1")]
    full: list[Item] = [*one, (ROOT, b"r2"), (FORK, PROOF), (RECORD, b"first"), (RECORD, b"second")]
    whole = ended(begun(*full))
    many: list[Item] = [*one, *[(ROOT, b"r")] * 255]
    vectors = [
        good("no publisher"),
        good("a publisher that has nothing but a root", *one),
        good("all there is", *full),
        good("two publishers", *full, (PUBLISHER, B), (ROOT, b"r1"), (RECORD, b"x")),
        good("256 roots", *many),
        good("a record without a proof", *one, (RECORD, b"x")),
        bad("no bytes", b""),
        bad("another magic", ended(begun(magic=b"samaraFR"))),
        bad("version 2", ended(begun(version=2))),
        bad("a kind that is none", ended(begun(*one, (5, b"x"))), *one),
        bad("a publisher of 31 bytes", ended(begun((PUBLISHER, A[1:]), (ROOT, b"r1")))),
        bad("an empty root", ended(begun((PUBLISHER, A), (ROOT, b"")))),
        bad("a root above 1 MiB", begun((PUBLISHER, A)) + struct.pack("<BI", ROOT, (1 << 20) + 1)),
        bad("a record above 1 MiB", begun(*one) + struct.pack("<BI", RECORD, (1 << 20) + 1), *one),
        bad("a record of 4 GiB", begun(*one) + struct.pack("<BI", RECORD, (1 << 32) - 1), *one),
        bad("an empty record", ended(begun(*one, (RECORD, b""))), *one),
        bad("a proof of 9 bytes", ended(begun(*one, (FORK, PROOF[1:]))), *one),
        bad("a proof above two envelopes", begun(*one) + struct.pack("<BI", FORK, (2 << 20) + 9), *one),
        bad("a root without a publisher", ended(begun((ROOT, b"r1")))),
        bad("a record without a publisher", ended(begun((RECORD, b"x")))),
        bad("a publisher without a root", ended(begun((PUBLISHER, A), (PUBLISHER, B), (ROOT, b"r1")))),
        bad("a record before any root", ended(begun((PUBLISHER, A), (RECORD, b"x")))),
        bad("the end before any root", ended(begun((PUBLISHER, A)))),
        bad("a root after a record", ended(begun(*one, (RECORD, b"x"), (ROOT, b"r2"))), *one, (RECORD, b"x")),
        bad("a root after a proof", ended(begun(*one, (FORK, PROOF), (ROOT, b"r2"))), *one, (FORK, PROOF)),
        bad("a proof after a record", ended(begun(*one, (RECORD, b"x"), (FORK, PROOF))), *one, (RECORD, b"x")),
        bad("a publisher twice", ended(begun(*one, *one)), *one),
        bad(
            "publishers out of order", ended(begun((PUBLISHER, B), (ROOT, b"r1"), *one)), (PUBLISHER, B), (ROOT, b"r1")
        ),
        bad("257 roots", ended(begun(*many, (ROOT, b"r"))), *many),
        bad("no end", begun(*full), *full),
        bad("cut off in the end", whole[:-1], *full),
        bad("cut off in a record", begun(*full)[:-1], *full[:-1]),
        bad("cut off in the head of an item", begun(*full, (RECORD, b""))[:-1], *full),
        bad("a changed byte", whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:], *full[:-1], (RECORD, b"secnnd")),
        bad("an end of 31 bytes", begun(*full) + item(END, bytes(31)), *full),
        bad("a byte after the end", whole + b"\0", *full),
        bad("a second file after the first", whole + whole, *full),
    ]
    return json.dumps({"vectors": vectors}, indent=1) + "\n"


if __name__ == "__main__":
    OUT.write_text(build(), encoding="ascii")
