"""Releases that are signed as they should be, and whose publisher lies about what they hold."""

from __future__ import annotations

import random
from typing import Final

from support.exchange import MemoryShelf

from samara.protocol.chunking.profile import PROFILE
from samara.protocol.chunklist import BuiltList, build_list
from samara.protocol.dsse import SigningKey
from samara.protocol.ids import ContentId, Digest, ReleaseId, digest, sha256
from samara.protocol.limits import MIB
from samara.protocol.ports import Records
from samara.protocol.records import Kind, PublisherChain, Release, make_genesis, make_release
from samara.protocol.table import FileEntry, FileTable, list_table

__all__ = ["LIES", "TRUTH", "WRONG_DIGEST", "publish_lie"]

TRUTH: Final = "nothing but the truth"
WRONG_DIGEST: Final = "the whole file has another digest"
LIES: Final = (
    "the list is no list",
    "the list is of another length",
    "the list's root contradicts the size",
    "the release states other totals",
    "the release is about another table",
    "the table names a path outside",
    "the table is no table",
    "the table is cut otherwise",
)
"""What can be found out before a file is in place."""

_KEY: Final = SigningKey(b"\x05" * 32)


def publish_lie(lie: str, *, redistribute: bool = True) -> tuple[MemoryShelf, ReleaseId]:
    """Return the shelf of a publisher who tells this lie (or `TRUTH`), and the release."""
    data = random.Random(lie).randbytes(2 * MIB + 99)
    pieces = [data[at : at + MIB] for at in range(0, len(data), MIB)]
    built = build_list([(digest(piece), len(piece)) for piece in pieces], profile=PROFILE)
    node, root = _node(lie, built)
    whole = digest(b"another") if lie == WRONG_DIGEST else digest(data)
    if lie == "the list's root contradicts the size":
        whole = root
    size = len(data) if whole != root else MIB + 1
    table = _table(lie, FileEntry("xx/model.bin", size, whole, sha256(data), root))
    listed = _list_of(lie, table)
    content = ContentId(listed.root)
    subject = FileTable.of([FileEntry("other", 1, digest(b"1"), sha256(b"1"), digest(b"1"))]).encode()
    chain = PublisherChain.verify([make_genesis([_KEY])])
    said = Release(
        Kind.MODEL, chain.publisher, 1, "lie", "1", "2026-01-02T03:04:05Z", content,
        size + (lie == "the release states other totals"), 1, "MIT", redistribute=redistribute,
    )  # fmt: skip
    release = make_release(said, subject if lie == "the release is about another table" else table, chain, [_KEY])
    shelf = MemoryShelf(content, {0: _cut(table, listed), 1: pieces})
    shelf.release = release.id, Records(chain.envelopes, release.envelope)
    for each in (*listed.nodes, node):
        shelf.add_node(each)
    return shelf, release.id


def _node(lie: str, built: BuiltList) -> tuple[bytes, Digest]:
    """Return the node of the file's list, and the root that the table states."""
    node = built.nodes[0]
    if lie == "the list is no list":
        node = b"samaraXX" + node[8:]
    if lie == "the list is of another length":
        node = build_list([(built.chunks.hash(0), MIB), (built.chunks.hash(1), MIB)], profile=PROFILE).nodes[0]
    return node, digest(node)


def _table(lie: str, entry: FileEntry) -> bytes:
    if lie == "the list's root contradicts the size":  # no honest program makes such a table
        honest = FileEntry(entry.path, entry.size, digest(b"a digest of its own"), entry.sha256, entry.root)
        return FileTable.of([honest]).encode().replace(honest.blake3, entry.blake3)
    table = FileTable.of([entry]).encode()
    if lie == "the table names a path outside":
        return table.replace(b"xx/model.bin", b"../model.bin")
    if lie == "the table is no table":
        return b"samaraXX" + table[8:]
    return table


def _list_of(lie: str, table: bytes) -> BuiltList:
    if lie != "the table is cut otherwise":
        return list_table(table)
    halves = table[: len(table) // 2], table[len(table) // 2 :]
    return build_list([(digest(half), len(half)) for half in halves], profile=PROFILE, table=True)


def _cut(table: bytes, listed: BuiltList) -> list[bytes]:
    chunks = listed.chunks
    return [table[chunks.offset(i) : chunks.offset(i) + chunks.length(i)] for i in range(len(chunks))]
