"""Writes the vectors of specs/deltas.md §3: `python specs/vectors/generate_deltas.py`.

Deterministic, and without Samara's code. Each row is the head of a pack in hexadecimal and the size of the whole file;
payloads have no part in it. Each negative row has the one failure that its name says.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "deltas.json"

Row = dict[str, Any]

TARGET, BASE, CHUNK, HASH, NOTHING = (bytes([value]) * 32 for value in (0x11, 0x22, 0x33, 0x44, 0))
NODE = b"node" * 15
MAX_CHUNK = 1 << 20
MAX_HEAD = 256 << 20


def piece(data: bytes, length: int | None = None) -> bytes:
    return struct.pack("<I", len(data) if length is None else length) + data


def records(
    roots: int = 2, head: int = 1, *, envelopes: tuple[bytes, ...] = (b"root", b"next", b"release", b"head")
) -> bytes:
    return struct.pack("<II", roots, head) + b"".join(map(piece, envelopes))


def entry(
    stream: int, index: int, length: int = 100, encoding: int = 2, base: bytes | None = None, payload: bytes = HASH
) -> bytes:
    if base is None:
        base = CHUNK if encoding == 2 else NOTHING
    return struct.pack("<IIIB", stream, index, length, encoding) + base + payload


def head(
    *entries: bytes,
    magic: bytes = b"samaraDP",
    version: int = 1,
    target: bytes = TARGET,
    base: bytes = BASE,
    told: bytes | None = None,
    table: bytes = b"table",
    nodes: bytes | None = None,
    lengths: tuple[int, ...] = (),
    rest: bytes = b"",
) -> bytes:
    told = records() if told is None else told
    nodes = piece(NODE) if nodes is None else nodes
    stated = lengths or (len(told), len(table), len(nodes), len(entries))
    fixed = magic + struct.pack("<I", version) + target + base + struct.pack("<4I", *stated)
    return fixed + told + table + nodes + b"".join(entries) + rest


TWO = (entry(1, 0), entry(1, 2, 50, 1))


def taken() -> list[Row]:
    def row(
        name: str, data: bytes, entries: list[list[int]], roots: int = 2, headed: bool = True, nodes: int = 1
    ) -> Row:
        size = len(data) + sum(length for _, _, length, _ in entries)
        return {
            "name": name, "head": data.hex(), "size": size,
            "says": {"roots": roots, "head": headed, "nodes": nodes, "entries": entries},
        }  # fmt: skip

    all_of_them = [
        entry(1, 0, 1, 0),
        entry(1, 1, 2, 1),
        entry(2, 0, MAX_CHUNK, 2),
        entry(1_000_000, (1 << 22) - 1, 3, 3),
    ]
    return [
        row("two entries", head(*TWO), [[1, 0, 100, 2], [1, 2, 50, 1]]),
        row(
            "every encoding, the last file and chunk that there can be",
            head(*all_of_them),
            [[1, 0, 1, 0], [1, 1, 2, 1], [2, 0, MAX_CHUNK, 2], [1_000_000, (1 << 22) - 1, 3, 3]],
        ),
        row(
            "no head of a name",
            head(*TWO, told=records(2, 0, envelopes=(b"root", b"next", b"release"))),
            [[1, 0, 100, 2], [1, 2, 50, 1]],
            headed=False,
        ),
        row("no nodes: files of one chunk", head(entry(1, 0), nodes=b""), [[1, 0, 100, 2]], nodes=0),
        row("no entries", head(), []),
    ]


def refused() -> list[Row]:
    much = MAX_HEAD // 77 + 1
    faults = {
        "another magic": head(*TWO, magic=b"samaraDQ"),
        "another version": head(*TWO, version=2),
        "target and base are the same": head(*TWO, base=TARGET),
        "a head above its limit": head(*TWO, lengths=(48, 5, 64, much)),
        "records above their limit": head(*TWO, lengths=((4 << 20) + 1, 5, 64, 2)),
        "records that end in an envelope": head(*TWO, told=records()[:-1]),
        "records that end in a length": head(*TWO, told=records() + b"\x01\x00"),
        "no records": head(*TWO, told=b""),
        "no roots": head(*TWO, told=records(0, 1, envelopes=(b"release", b"head"))),
        "257 roots": head(*TWO, told=records(257, 0, envelopes=(b"root",) * 257 + (b"release",))),
        "fewer roots than are stated": head(*TWO, told=records(3)),
        "a head of a name that is stated and not there": head(
            *TWO, told=records(2, 1, envelopes=(b"root", b"next", b"release"))
        ),
        "a head of a name that is there and not stated": head(*TWO, told=records(2, 0)),
        "two heads of a name": head(
            *TWO, told=records(2, 2, envelopes=(b"root", b"next", b"release", b"head", b"head"))
        ),
        "an envelope of nothing": head(*TWO, told=records(envelopes=(b"root", b"", b"release", b"head"))),
        "a node of 59 bytes": head(*TWO, nodes=piece(NODE[:59])),
        "a node that ends after its part": head(*TWO, nodes=piece(NODE, 61)),
        "a byte after the last node": head(*TWO, nodes=piece(NODE) + b"\0"),
        "an entry of stream 0": head(entry(0, 1)),
        "an entry of a file beyond the last that there can be": head(entry(1_000_001, 0)),
        "an entry of a chunk beyond the last that there can be": head(entry(1, 1 << 22)),
        "streams out of order": head(entry(2, 0), entry(1, 1)),
        "chunks out of order": head(entry(1, 1), entry(1, 0)),
        "a chunk twice": head(entry(1, 1), entry(1, 1)),
        "a payload of nothing": head(entry(1, 0, 0)),
        "a payload of 1 MiB and a byte": head(entry(1, 0, MAX_CHUNK + 1)),
        "an encoding that is unknown": head(entry(1, 0, encoding=4)),
        "a delta without a base": head(entry(1, 0, base=NOTHING)),
        "planes with a base": head(entry(1, 0, encoding=1, base=CHUNK)),
        "raw with a base": head(entry(1, 0, encoding=0, base=CHUNK)),
        "cut in its fixed part": head(*TWO)[:91],
        "a byte less": head(*TWO)[:-1],
        "a byte more": head(*TWO, rest=b"\0"),
    }
    rows = []
    for name, data in faults.items():
        lengths = [struct.unpack_from("<I", data, at)[0] for at in _rows(data)]
        rows.append({"name": name, "head": data.hex(), "size": len(data) + sum(lengths), "error": "DeltaError"})
    good = head(*TWO)
    for name, size in (("ends before the last payload", 149), ("goes on after the last payload", 151)):
        rows.append(
            {"name": f"a file that {name}", "head": good.hex(), "size": len(good) + size, "error": "DeltaError"}
        )
    return rows


def _rows(data: bytes) -> range:
    """Where the lengths of the payloads stand, in a head that states how many entries it has."""
    if len(data) < 92:
        return range(0)
    count = min(struct.unpack_from("<I", data, 88)[0], (len(data) - 92) // 77)
    end = len(data)
    return range(end - 77 * count + 8, end, 77)


def make() -> str:
    rows = ",\n".join("  " + json.dumps(row) for row in taken() + refused())
    return f'{{\n "vectors": [\n{rows}\n ]\n}}\n'


if __name__ == "__main__":
    FILE.write_text(make(), encoding="utf-8")
