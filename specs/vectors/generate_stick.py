"""Writes the vectors of specs/stick.md: `python specs/vectors/generate_stick.py`.

Deterministic: keys and bytes come from committed seeds. Every vector is a whole stick, one of four good ones with some
files replaced, so that it can be read as any other stick is. The good ones are put together from raw bytes as the page
says; neither the export nor the import that is to be tested takes part. Each negative vector has one failure.
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from pathlib import Path
from typing import Any

from blake3 import blake3

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests"), str(Path(__file__).parent)]

import generate_content as contents  # noqa: E402
import generate_record_file as logs  # noqa: E402
import generate_records as records  # noqa: E402
from support import reference  # noqa: E402
from support.recipes import Recipe, build, raw, repeat, xof  # noqa: E402

from samara.protocol.ids import format_record  # noqa: E402

FILE = Path(__file__).parent / "stick.json"

WHOLE_PART = 4_293_918_720
SMALL_PART = 65_536

Vector = dict[str, Any]
Files = dict[str, Any]
"""By path: a text, a recipe, a run of bytes of a recipe, a link, or None for a file that is not there."""


class Stick:
    """A good stick with one release, made by hand.

    Args:
        name: Name of the release.
        streams: Its files: path → recipe and lengths of its chunks.
        part_size: Bytes of a part.
        roots: The publisher's chain.
        keys: Who signs.
        head: It has a head.
    """

    def __init__(
        self,
        name: str,
        streams: dict[str, tuple[Recipe, list[int]]],
        *,
        part_size: int,
        roots: list[bytes],
        keys: list[Any],
        head: bool,
    ) -> None:
        self.part_size = part_size
        rows, self.nodes = [], {}
        for path, (recipe, lengths) in sorted(streams.items()):
            row, self.nodes[path] = file_row(path, build(recipe), lengths)
            rows.append(row)
        self.table = contents.table(rows)
        self.table_nodes = table_nodes(self.table)
        said = records.release_predicate(
            name=name, version="1", root=len(roots), content=content_text(self.table),
            bytes=sum(row["size"] for row in rows), files=len(rows),
        )  # fmt: skip
        about = records.subject("file-table", self.table)
        self.payload = records.plain(records.statement("urn:samara:release:1", about, said))
        self.release = format_record(blake3(self.payload).digest())
        self.label = f"{name}-1-{self.release[-16:]}"
        self.folder = f"samara/releases/{self.label}"
        self.sizes = {row["path"]: row["size"] for row in rows}
        blobs = {f"{self.folder}/nodes": framed(self.all_nodes())}
        blobs |= {f"samara/files/{self.label}/{path}": recipe for path, (recipe, _) in streams.items()}
        self.files: Files = {"samara/stick.json": text({"critical": [], "format": "samara-stick", "version": 1})}
        for number, root in enumerate(roots, 1):
            self.files[f"{self.folder}/root-{number:03}.json"] = root.decode()
        self.files[f"{self.folder}/release.json"] = records.envelope(self.payload, *keys)
        if head:
            self.files[f"{self.folder}/head.json"] = records.head(self.payload, *keys, name=name)
        self.files[f"{self.folder}/table"] = [raw(self.table)]
        for path, recipe in blobs.items():
            self.files |= parts(path, recipe, part_size)
        self.commit = {
            "critical": [],
            "format": "samara-release",
            "version": 1,
            "release": self.release,
            "roots": len(roots),
            "head": head,
            "nodes": len(build(blobs[f"{self.folder}/nodes"])),
            "part_size": part_size,
        }
        self.files[f"{self.folder}/complete.json"] = text(self.commit)

    def all_nodes(self) -> list[bytes]:
        return [*self.table_nodes, *self.file_nodes()]

    def file_nodes(self) -> list[bytes]:
        return [node for path in sorted(self.nodes) for node in self.nodes[path]]

    def with_commit(self, value: object) -> Files:
        """The stick with another commit record: fields to change, or a text."""
        return {f"{self.folder}/complete.json": value if isinstance(value, str) else text(self.commit | value)}

    def with_nodes(self, nodes: bytes | Recipe) -> Files:
        """The stick with other nodes, whose length the commit record states."""
        recipe = [raw(nodes)] if isinstance(nodes, bytes) else nodes
        path = f"{self.folder}/nodes"
        old = dict.fromkeys(name for name in self.files if name.startswith(path))
        return self.with_commit({"nodes": len(build(recipe))}) | old | parts(path, recipe, self.part_size)


def file_row(path: str, data: bytes, lengths: list[int]) -> tuple[dict[str, Any], list[bytes]]:
    """A row of the table and the nodes of a file that its publisher cut into chunks of these lengths."""
    chunks, at = [], 0
    for length in lengths:
        chunks.append((blake3(data[at : at + length]).digest(), length))
        at += length
    assert at == len(data)
    root, nodes = reference.tree(chunks)
    digests = {"blake3": blake3(data).hexdigest(), "sha256": hashlib.sha256(data).hexdigest()}
    return {"path": path, "size": len(data), "root": root.hex(), **digests}, nodes


def table_nodes(data: bytes) -> list[bytes]:
    ends = reference.cut_header(data)
    chunks = [(blake3(data[a:b]).digest(), b - a) for a, b in zip([0, *ends], ends, strict=False)]
    return reference.tree(chunks, table=True)[1]


def content_text(data: bytes) -> str:
    return records.ids.format_content(bytes.fromhex(contents.content(data)))


def framed(nodes: list[bytes]) -> Recipe:
    """Nodes as they stand in `nodes`: each after its length."""
    return [piece for node in nodes for piece in (raw(struct.pack("<I", len(node)) + node[:24]), *entries(node[24:]))]


def entries(data: bytes) -> Recipe:
    """The entries of a node, said in few words where all of a leaf are the same."""
    times = len(data) // 36
    return [repeat(data[:36], times)] if data == data[:36] * times else [raw(data)]


def parts(path: str, recipe: Recipe, part_size: int) -> Files:
    size = len(build(recipe))
    if size <= part_size:
        return {path: recipe}
    return {f"{path}.{n:03}": run(recipe, n * part_size, part_size) for n in range(-(-size // part_size))}


def run(recipe: Recipe, offset: int, most: int) -> dict[str, Any]:
    """Some bytes of a recipe."""
    return {"recipe": recipe, "offset": offset, "length": min(most, len(build(recipe)) - offset)}


def text(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def generic(length: int, seed: str) -> tuple[Recipe, list[int]]:
    """A stream that has no structure, cut as §5 of content.md says."""
    ends = reference.ends(build([xof(seed, length)]))
    return [xof(seed, length)], [b - a for a, b in zip([0, *ends], ends, strict=False)]


SMALL = Stick(
    "tiny",
    {
        "w.bin": generic(150_000, "w"),
        "again/w.bin": generic(150_000, "w"),
        "note.txt": ([raw(b"a samara flies")], [14]),
        "empty": ([], []),
    },
    part_size=WHOLE_PART,
    roots=[records.GENESIS],
    keys=[records.ANNA],
    head=True,
)

# 16,385 chunks of one byte: two equal leaves, a third one, and a root above them; together more than one part.
SPLIT = Stick(
    "split",
    {
        "zeros.bin": ([repeat(b"\0", 16_385)], [1] * 16_385),
        "w.bin": generic(70_000, "split"),
    },
    part_size=SMALL_PART,
    roots=[records.GENESIS, records.BEN_TAKES_OVER],
    keys=[records.BEN],
    head=False,
)

# The parts of one file would meet another file: they lie beside the records.
ASIDE = Stick(
    "aside",
    {"w.bin": generic(70_000, "aside"), "W.BIN.001": ([raw(b"in the way")], [10])},
    part_size=SMALL_PART,
    roots=[records.GENESIS],
    keys=[records.ANNA],
    head=False,
)


def move_aside(stick: Stick) -> None:
    stream = sorted(stick.sizes).index("w.bin") + 1
    for number in (0, 1):
        data = stick.files.pop(f"samara/files/{stick.label}/w.bin.{number:03}")
        stick.files[f"{stick.folder}/parts/{stream}.{number:03}"] = data


move_aside(ASIDE)

TOLD = Stick(
    "told",
    {"note.txt": ([raw(b"a samara flies")], [14]), "empty": ([], [])},
    part_size=WHOLE_PART,
    roots=[records.GENESIS],
    keys=[records.ANNA],
    head=False,
)

STICKS = {"small": SMALL, "split": SPLIT, "aside": ASIDE, "told": TOLD}


# What the publisher of TOLD has said: it named the release, took another one back, and named a third.

TEXTS: dict[str, str] = {}
"""Envelopes, by what a recipe calls them."""


def say(name: str, envelope: str) -> str:
    TEXTS[name] = envelope
    return name


def other_release(version: str) -> bytes:
    """The payload of a release that is not on the stick."""
    return records.release_payload(records.release_predicate(name="told", version=version))


def id_of(name: str) -> str:
    """The id of a record."""
    return format_record(blake3(records.payload_of(TEXTS[name])).digest())


def release_id(payload: bytes) -> str:
    return format_record(blake3(payload).digest())


ANNA_ID = records.ANNA_ONLY.publisher
MALLORY_ID = records.PublisherChain.verify([records.MALLORYS]).publisher
GONE, LATER, BAD = (other_release(version) for version in ("0", "2", "3"))

GENESIS = say("genesis", records.GENESIS.decode())
TAKEOVER = say("ben takes over", records.BEN_TAKES_OVER.decode())
STRANGER = say("mallory's genesis", records.MALLORYS.decode())

LOG = records.Log(records.ANNA_ONLY, records.ANNA)
FIRST = say("1", LOG.head(TOLD.payload, "told"))
AFTER_FIRST = LOG.copy()
SECOND = say("2: a revocation", LOG.revoke(GONE))
AFTER_SECOND = LOG.copy()
THIRD = say("3", LOG.head(LATER, "told"))
OTHER_THIRD = say("another 3", AFTER_SECOND.copy().head(BAD, "told"))
ITSELF = say("4: a revocation of what lies there", LOG.copy().revoke(TOLD.payload))

BENS = AFTER_SECOND.copy()
BENS.rotate()
BENS_THIRD = say("3 by ben", BENS.copy().revoke(BAD))
NO_MORE_ANNA = say("3 by ben: anna's key is revoked", BENS.copy().revoke_key(records.ANNA, BENS.place))

MALLORYS = say("mallory's 1", records.Log(records.PublisherChain.verify([records.MALLORYS]), records.MALLORY).head(BAD))


def of_another_key(name: str) -> str:
    """The same record with a signature of somebody else."""
    return records.envelope(records.payload_of(TEXTS[name]), records.MALLORY)


FORGED = say("3, signed by mallory", of_another_key(THIRD))
BARE = say("3, signed by nobody", records.envelope(records.payload_of(TEXTS[THIRD])))
CHANGED = say(
    "3, of another release",
    records.plain(json.loads(TEXTS[OTHER_THIRD]) | {"signatures": json.loads(TEXTS[THIRD])["signatures"]}).decode(),
)
FORGED_ROOT = say("ben takes over, signed by mallory", of_another_key(TAKEOVER))

Item = tuple[int, bytes] | tuple[int, str] | tuple[int, str, str]
"""Of a file of records: its kind, and bytes, an envelope by its name, or the two of a proof."""


def whose(publisher: bytes, *roots: str) -> list[Item]:
    return [(logs.PUBLISHER, publisher), *((logs.ROOT, root) for root in roots)]


def said(*names: str) -> list[Item]:
    return [(logs.RECORD, name) for name in names]


def begun(*items: Item) -> Recipe:
    """A file of records without its end."""
    recipe = [raw(logs.begun())]
    for kind, *held in items:
        pieces: Recipe = []
        for what in held:
            piece = raw(what) if isinstance(what, bytes) else {"text": what}
            size = raw(struct.pack("<I", len(build(spelled([piece]))))) if kind == logs.FORK else raw(b"")
            pieces += [size, piece]
        pieces = [piece for piece in pieces if piece != raw(b"")]
        recipe += [raw(struct.pack("<BI", kind, len(build(spelled(pieces))))), *pieces]
    return recipe


def ended(recipe: Recipe) -> Recipe:
    return [*recipe, raw(logs.item(logs.END, blake3(build(spelled(recipe))).digest()))]


def log(*items: Item) -> Recipe:
    """A file of records."""
    return ended(begun(*items))


def spelled(recipe: Recipe) -> Recipe:
    """A recipe with its texts spelled out."""
    return [raw(TEXTS[piece["text"]].encode()) if "text" in piece else piece for piece in recipe]


def cut(recipe: Recipe, less: int) -> dict[str, Any]:
    """A file without its last bytes."""
    return {"recipe": recipe, "offset": 0, "length": len(build(spelled(recipe))) - less}


RECORDS = "samara/records"
ANNAS = f"{RECORDS}/{format_record(ANNA_ID)}"
ROOTED = whose(ANNA_ID, GENESIS)
WHOLE = log(*ROOTED, *said(SECOND, FIRST, THIRD))
TOLD.files[ANNAS] = WHOLE


# The vectors.


def good() -> list[tuple[str, str, Files]]:
    unknown = {"parity": "rs-16-20"}
    named = {"critical": ["critical", "format", "version", "release", "roots", "head", "nodes", "part_size"]}
    return [
        *((f"as it was written: {name}", name, {}) for name in STICKS),
        ("a field that is not known", "small", SMALL.with_commit(unknown)),
        ("critical fields that are known", "small", SMALL.with_commit(named)),
        ("white space in the commit record", "small", SMALL.with_commit(json.dumps(SMALL.commit, indent=1))),
        ("a head that the commit record does not name", "small", SMALL.with_commit({"head": False})),
        ("a smaller part size that no file exceeds", "small", SMALL.with_commit({"part_size": 1 << 20})),
        ("bytes after the last node", "small", SMALL.with_nodes([*framed(SMALL.all_nodes()), raw(b"and more")])),
        ("a mark with a field that is not known", "small", mark(later=1)),
        ("a mark with white space", "small", {"samara/stick.json": json.dumps(json.loads(mark()["samara/stick.json"]),
                                                                              indent=2)}),
        ("a file and a folder that nobody knows", "small", {"samara/wants/x": "?", "samara/later": "?",
                                                            f"{SMALL.folder}/parity/0": "?"}),
    ]  # fmt: skip


def mark(**changes: object) -> Files:
    return {"samara/stick.json": text({"critical": [], "format": "samara-stick", "version": 1} | changes)}


def bad_marks() -> list[tuple[str, str, Files, str]]:
    none = {
        "no mark": None,
        "an empty mark": "",
        "a mark that is cut short": text({"critical": [], "format": "samara-stick", "version": 1})[:-1],
        "a mark that is no object": "[]",
        "a mark of another format": mark(format="samara-release")["samara/stick.json"],
        "a mark of version 0": mark(version=0)["samara/stick.json"],
    }
    return [
        *((name, "small", {"samara/stick.json": data}, "NotFoundError") for name, data in none.items()),
        ("a mark of version 2", "small", mark(version=2), "StickError"),
        ("a mark whose critical is no list", "small", mark(critical="later"), "StickError"),
        ("a mark of 4,097 bytes", "small", mark(later="x" * (4097 - len(text({"critical": [], "format": "samara-stick",
            "later": "", "version": 1})))), "StickError"),
        ("a mark with a critical field that is not known", "small", mark(critical=["later"], later=1), "CriticalError"),
    ]  # fmt: skip


def bad_commits() -> list[tuple[str, str, Files, str]]:
    whole = text(SMALL.commit)
    none = {
        "an empty commit record": "",
        "a commit record that is cut short": whole[:-1],
        "a commit record that is cut in the middle": whole[: len(whole) // 2],
        "a commit record followed by zeros": whole + "\0" * 8,
        "a commit record that is no JSON": "complete",
        "a commit record that is a list": f"[{whole}]",
        "a commit record that states a field twice": whole[:-1] + ',"version":1}',
        "a commit record of another format": text(SMALL.commit | {"format": "samara-stick"}),
        "a commit record without a version": text(records.without(SMALL.commit, "version")),
        "a commit record of version 0": text(SMALL.commit | {"version": 0}),
        "a commit record whose version is true": text(SMALL.commit | {"version": True}),
    }
    wrong: dict[str, dict[str, Any]] = {
        "version 2": {"version": 2},
        "critical that is a text": {"critical": "head"},
        "critical that names a number": {"critical": [1]},
        "a release that is a number": {"release": 1},
        "a release in capitals": {"release": SMALL.release.upper()},
        "a release that is a content id": {"release": content_text(SMALL.table)},
        "a head that is a number": {"head": 1},
        "no root": {"roots": 0},
        "257 roots": {"roots": 257},
        "roots that are true": {"roots": True},
        "roots that are a text": {"roots": "1"},
        "more roots than there are": {"roots": 2},
        "no node": {"nodes": 0},
        "a negative length of the nodes": {"nodes": -1},
        "nodes of 2^53 bytes": {"nodes": 1 << 53},
        "a part size of 65,535": {"part_size": 65_535},
        "a part size of 2^32": {"part_size": 1 << 32},
        "a part size that is a text": {"part_size": "4293918720"},
    }
    none_such = {name: text(records.without(SMALL.commit, name)) for name in ("critical", "release", "roots", "head",
                                                                               "nodes", "part_size")}  # fmt: skip
    # Of a number of 2^53 records.md says that it is no strict JSON: then it is no commit record at all.
    errors = {"nodes of 2^53 bytes": "NotFoundError"}
    filler = 4097 - len(text(SMALL.commit | {"later": ""}))
    return [
        ("no commit record", "small", {f"{SMALL.folder}/complete.json": None}, "NotFoundError"),
        *((name, "small", SMALL.with_commit(data), "NotFoundError") for name, data in none.items()),
        *((f"a commit record with {name}", "small", SMALL.with_commit(change), errors.get(name, "StickError"))
          for name, change in wrong.items()),
        *((f"a commit record without {name}", "small", SMALL.with_commit(data), "StickError")
          for name, data in none_such.items()),
        ("a commit record of 4,097 bytes", "small", SMALL.with_commit({"later": "x" * filler}), "StickError"),
        ("a commit record with a head that is not there", "split", SPLIT.with_commit({"head": True}), "StickError"),
        ("a critical field that is not known", "small",
         SMALL.with_commit({"critical": ["parity"], "parity": "rs-16-20"}), "CriticalError"),
        ("a commit record of another release", "small", SMALL.with_commit({"release": SPLIT.release}),
         "StatementError"),
        ("fewer roots than the release needs", "split", SPLIT.with_commit({"roots": 1}), "StatementError"),
        ("a part size that the files were not cut by", "small", SMALL.with_commit({"part_size": SMALL_PART}),
         "ChunkError"),
        ("a larger part size than the nodes were cut by", "split", SPLIT.with_commit({"part_size": WHOLE_PART}),
         "NodeError"),
    ]  # fmt: skip


def bad_nodes() -> list[tuple[str, str, Files, str]]:
    nodes, data = SMALL.all_nodes(), build(framed(SMALL.all_nodes()))
    first = 4 + len(nodes[0])
    flipped = bytearray(data)
    flipped[first + 4 + 40] ^= 1
    small: dict[str, bytes | Recipe] = {
        "a length that is cut short": data[:3],
        "a length and nothing else": data[:4],
        "a node that is cut short": data[: first - 1],
        "those of the table alone": data[:first],
        "those of the last file missing": framed(nodes[:-1]),
        "a length of 0": data[:first] + bytes(4) + data[first:],
        "a length one too small": struct.pack("<I", len(nodes[0]) - 1) + data[4:],
        "a length one too large": struct.pack("<I", len(nodes[0]) + 1) + data[4:],
        "a length that goes beyond the end": struct.pack("<I", len(data)) + data[4:],
        "a length of 2^32 - 1": b"\xff" * 4 + data[4:],
        "a length in the other order of bytes": struct.pack(">I", len(nodes[0])) + data[4:],
        "a node of 1 MiB and a byte": [raw(struct.pack("<I", (1 << 20) + 1)), repeat(b"\0", (1 << 20) + 1)],
        "those of the table at the end": framed([*SMALL.file_nodes(), *SMALL.table_nodes]),
        "the table of another release": framed([*SPLIT.table_nodes, *SMALL.file_nodes()]),
        "a flipped bit": bytes(flipped),
        "those of equal files once": framed([*SMALL.table_nodes, *SMALL.nodes["w.bin"]]),
    }
    root, same, last = SPLIT.nodes["zeros.bin"]
    (other,) = SPLIT.nodes["w.bin"]
    split = {
        "a leaf that is not there": [other, root, same],
        "equal leaves twice": [other, root, same, same, last],
        "a leaf before its root": [other, same, root, last],
        "a node of another file between": [root, other, same, last],
        "two files in the wrong order": [root, same, last, other],
    }
    path, whole = f"{SPLIT.folder}/nodes", framed(SPLIT.all_nodes())
    return [
        ("no file of nodes", "small", {f"{SMALL.folder}/nodes": None}, "NodeError"),
        ("an empty file of nodes", "small", {f"{SMALL.folder}/nodes": ""}, "NodeError"),
        *((f"nodes: {name}", "small", SMALL.with_nodes(bad), "NodeError") for name, bad in small.items()),
        ("nodes: fewer bytes stated than there are", "small", SMALL.with_commit({"nodes": len(data) - 1}), "NodeError"),
        *((f"nodes: {name}", "split", SPLIT.with_nodes(framed([*SPLIT.table_nodes, *bad])), "NodeError")
          for name, bad in split.items()),
        ("nodes: a part that is not there", "split", {f"{path}.001": None}, "NodeError"),
        ("nodes: a part that is cut short", "split", {f"{path}.001": run(whole, SMALL_PART, 30_000)}, "NodeError"),
        ("nodes: a part in the place of another", "split", {f"{path}.001": run(whole, 0, SMALL_PART)}, "NodeError"),
    ]  # fmt: skip


def bad_tables() -> list[tuple[str, str, Files, str]]:
    path = f"{SMALL.folder}/table"
    flipped = bytearray(SMALL.table)
    flipped[-1] ^= 1
    return [
        ("no table", "small", {path: None}, "TableError"),
        ("a table that is cut short", "small", {path: [raw(SMALL.table[:-1])]}, "TableError"),
        ("a table with a byte more", "small", {path: [raw(SMALL.table + b"\0")]}, "TableError"),
        ("a table with a flipped bit", "small", {path: [raw(bytes(flipped))]}, "TableError"),
    ]


def of_records(name: str, change: Files | Recipe, **known: object) -> Vector:
    """A vector of what is in `records/`: without more words, all of the log is known in the end."""
    files = {ANNAS: change} if isinstance(change, list) else change
    known = {"publisher": format_record(ANNA_ID), "release": TOLD.release, "tip": THIRD, "revoked": [GONE], **known}
    known["tip"] = id_of(known["tip"]) if known["tip"] is not None else None
    known["revoked"] = sorted(map(release_id, known["revoked"]))
    found = {"name": name, "stick": "told", "change": files} | {"frozen": False} | known
    return {name: value for name, value in found.items() if value is not None or name == "tip"}


def good_records() -> list[Vector]:
    nothing: Vector = {"tip": None, "revoked": []}
    mallory = {"publisher": format_record(MALLORY_ID), "tip": MALLORYS, "revoked": []}
    hers = f"{RECORDS}/{format_record(MALLORY_ID)}"
    gone = {ANNAS: None}
    short = log(*ROOTED, *said(FIRST))
    bens = log(*whose(ANNA_ID, GENESIS, TAKEOVER), *said(SECOND, BENS_THIRD, FIRST))
    proof: Item = (logs.FORK, THIRD, OTHER_THIRD)
    return [
        of_records("as it was written", {}),
        of_records("no records", gone, **nothing),
        of_records("no record but a root", log(*ROOTED), **nothing),
        of_records("by position", log(*ROOTED, *said(FIRST, SECOND, THIRD))),
        of_records("in the wrong order, and twice", log(*ROOTED, *said(THIRD, FIRST, THIRD, SECOND))),
        of_records("with a gap", log(*ROOTED, *said(FIRST, THIRD)), revoked=[]),
        of_records("its name in capitals", gone | {ANNAS.replace(ANNAS[15:], ANNAS[15:].upper()): WHOLE}),
        of_records("its folder in capitals", gone | {ANNAS.replace("records", "RECORDS"): WHOLE}),
        of_records("names that nobody knows", {f"{RECORDS}/README.txt": "?", f"{RECORDS}/.hidden": "?",
                                               f"{RECORDS}/{TOLD.release[:-1]}": "?", f"{RECORDS}/later/x": "?"}),
        of_records("a publisher of whom nothing else is there",
                   {hers: log(*whose(MALLORY_ID, STRANGER), *said(MALLORYS))}, **mallory),
        of_records("older than what is known", short, held=WHOLE),
        of_records("newer than what is known", {}, held=short),
        of_records("the same as what is known", {}, held=WHOLE),
        of_records("another part than what is known", log(*ROOTED, *said(FIRST, THIRD)),
                   held=log(*ROOTED, *said(SECOND))),
        of_records("a root that the release does not need", bens, tip=BENS_THIRD, revoked=[GONE, BAD]),
        of_records("a root older than the one known", short, held=bens, tip=BENS_THIRD, revoked=[GONE, BAD]),
        of_records("a proof of a fork", log(*ROOTED, proof, *said(SECOND, FIRST, THIRD)), frozen=True),
        of_records("a proof of a fork, and none of its records", log(*ROOTED, proof, *said(FIRST)), tip=FIRST,
                   revoked=[], frozen=True),
    ]  # fmt: skip


def bad_records() -> list[Vector]:
    nothing: Vector = {"tip": None, "revoked": []}
    first_two: Vector = {"tip": SECOND}
    hers = f"{RECORDS}/{format_record(MALLORY_ID)}"
    mallory = {"publisher": format_record(MALLORY_ID), **nothing}
    whole = build(spelled(WHOLE))
    body = begun(*ROOTED, *said(SECOND, FIRST, THIRD))
    last = len(TEXTS[THIRD]) + len(logs.item(logs.END, bytes(32)))
    bens = log(*whose(ANNA_ID, GENESIS, TAKEOVER), *said(SECOND, BENS_THIRD, FIRST))
    revoked = log(*whose(ANNA_ID, GENESIS, TAKEOVER), *said(SECOND, NO_MORE_ANNA, FIRST))
    wrong_end = [*begun(*ROOTED, *said(SECOND, FIRST, THIRD)), raw(logs.item(logs.END, bytes(32)))]
    rows: list[tuple[str, str, Files | Recipe, Vector]] = [
        # The file.
        ("cut off before its end", "RecordFileError", {ANNAS: cut(body, 0)}, {}),
        ("cut off in its end", "RecordFileError", {ANNAS: cut(WHOLE, 1)}, {}),
        ("cut off in its last record", "RecordFileError", {ANNAS: cut(WHOLE, last)}, first_two),
        ("cut off in a root", "RecordFileError", {ANNAS: cut(begun(*ROOTED), 1)}, nothing),
        ("cut off in its first bytes", "RecordFileError", {ANNAS: cut(WHOLE, len(whole) - 11)}, nothing),
        ("no bytes", "RecordFileError", {ANNAS: ""}, nothing),
        ("a text", "RecordFileError", {ANNAS: "what they said"}, nothing),
        ("a later version", "RecordFileError",
         ended([raw(logs.begun(version=2)), *begun(*ROOTED, *said(FIRST))[1:]]), nothing),
        ("an end that is not the hash", "RecordFileError", wrong_end, {}),
        ("a byte after the end", "RecordFileError", [*WHOLE, raw(b"\0")], {}),
        ("twice in one file", "RecordFileError", WHOLE + WHOLE, {}),
        ("a byte more than 80 MiB", "StickError", {ANNAS: [repeat(b"\0", (80 << 20) + 1)]}, nothing),
        # Whose it is.
        ("another publisher's than its name says", "RecordFileError", {ANNAS: None, hers: WHOLE}, nothing),
        ("another publisher's under a name that nobody has", "RecordFileError", {hers: WHOLE}, mallory),
        ("two publishers in one file", "RecordFileError",
         log(*sorted_by_id(ROOTED + said(SECOND, FIRST, THIRD), whose(MALLORY_ID, STRANGER) + said(MALLORYS))),
         {} if ANNA_ID < MALLORY_ID else nothing),
        ("another publisher's roots", "StatementError", log(*whose(ANNA_ID, STRANGER), *said(MALLORYS)), nothing),
        ("another publisher's record", "StatementError", log(*ROOTED, *said(SECOND, FIRST, MALLORYS)), first_two),
        # Who signed it.
        ("a record that nobody signed", "SignatureError", log(*ROOTED, *said(SECOND, FIRST, BARE)), first_two),
        ("a record that a stranger signed", "SignatureError", log(*ROOTED, *said(SECOND, FIRST, FORGED)), first_two),
        ("a record that was changed", "SignatureError", log(*ROOTED, *said(SECOND, FIRST, CHANGED)), first_two),
        ("a root that a stranger signed", "SignatureError",
         log(*whose(ANNA_ID, GENESIS, FORGED_ROOT), *said(SECOND, FIRST, THIRD)), nothing),
        ("a root after one that is missing", "StatementError",
         log(*whose(ANNA_ID, TAKEOVER), *said(SECOND, FIRST)), nothing),
        # What is known already says otherwise.
        ("a fork on the stick", "ForkError", log(*ROOTED, *said(SECOND, FIRST, THIRD, OTHER_THIRD)), {"frozen": True}),
        ("a fork of what is known", "ForkError", log(*ROOTED, *said(SECOND, FIRST, OTHER_THIRD)),
         {"held": WHOLE, "frozen": True}),
        ("a proof that proves nothing", "StatementError",
         log(*ROOTED, (logs.FORK, FIRST, THIRD), *said(SECOND, FIRST, THIRD)), {}),
        ("keys that were replaced since", "RollbackError", {},
         {"held": bens, "tip": BENS_THIRD, "revoked": [GONE, BAD]}),
        ("a key that was revoked since", "RevokedError", {}, {"held": revoked, "tip": NO_MORE_ANNA}),
        ("the release was taken back", "RevokedError", log(*ROOTED, *said(SECOND, ITSELF, FIRST, THIRD)),
         {"tip": ITSELF, "revoked": [GONE, TOLD.payload], "release": None}),
        # What lies there instead.
        ("a link", "StickError", {ANNAS: {"link": "../elsewhere"}, "samara/elsewhere": WHOLE}, nothing),
        ("a link out of the stick", "StickError", {ANNAS: {"link": "../../../elsewhere"}, "../elsewhere": WHOLE},
         nothing),
        ("a folder that is a link", "StickError", {ANNAS: None, RECORDS: {"link": "elsewhere"},
                                                   ANNAS.replace("records", "elsewhere"): WHOLE}, nothing),
        ("a folder that is a link out of the stick", "StickError",
         {ANNAS: None, RECORDS: {"link": "../../elsewhere"}, ANNAS.replace(RECORDS, "../elsewhere"): WHOLE}, nothing),
        ("a folder in place of the file", "StickError", {ANNAS: None, f"{ANNAS}/x": "?"}, nothing),
        ("a file in place of the folder", "StickError", {ANNAS: None, RECORDS: WHOLE}, nothing),
    ]  # fmt: skip
    return [of_records(name, change, **{"error": error, **known}) for name, error, change, known in rows]


def sorted_by_id(*publishers: list[Item]) -> list[Item]:
    """The items of publishers in the order in which a file has them."""
    return [item for items in sorted(publishers, key=lambda items: items[0][1]) for item in items]


def make() -> str:
    sticks = {
        name: {"release": stick.release, "label": stick.label, "sizes": stick.sizes, "files": stick.files}
        for name, stick in STICKS.items()
    }
    vectors: list[Vector] = [
        {"name": name, "stick": stick, "change": change, "release": STICKS[stick].release}
        for name, stick, change in good()
    ]
    for name, stick, change, error in [*bad_marks(), *bad_commits(), *bad_nodes(), *bad_tables()]:
        vectors.append({"name": name, "stick": stick, "change": change, "error": error})
    found = {"sticks": sticks, "vectors": vectors, "texts": TEXTS, "records": [*good_records(), *bad_records()]}
    return json.dumps(found, indent=1, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(make(), encoding="ascii", newline="\n")
