"""Generate specs/vectors/content/*.json, the vectors of specs/content.md.

    python specs/vectors/generate_content.py

Deterministic: all bytes come from BLAKE3's extended output under the seeds below. Expected cuts and roots come from the
slow reference in tests/support/reference.py, not from the code under test. Each negative vector has one failure.
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from blake3 import blake3

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from support import reference  # noqa: E402
from support.recipes import (  # noqa: E402
    Recipe,
    build,
    gguf,
    gguf_kv,
    gguf_tensor,
    raw,
    repeat,
    safetensors,
    string,
    xof,
)

FOLDER = Path(__file__).parent / "content"
KIB, MIB = 1 << 10, 1 << 20
EMPTY = blake3(b"").digest()
EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def tensors(*sizes: int) -> dict[str, Any]:
    """A safetensors header for tensors of these sizes, one after the other."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for number, size in enumerate(sizes):
        header[f"t{number}"] = {"dtype": "U8", "shape": [size], "data_offsets": [at, at + size]}
        at += size
    return header


def entry(a: int, b: int) -> dict[str, Any]:
    return {"dtype": "U8", "shape": [1], "data_offsets": [a, b]}


def model(*sizes: int) -> Recipe:
    return safetensors(tensors(*sizes), [xof("weights", sum(sizes))])


def generic_streams() -> Iterator[tuple[str, Recipe]]:
    yield "empty", []
    for size in (1, 16 * KIB, 64 * KIB, 256 * KIB):
        for length in sorted({max(size - 1, 1), size, size + 1}):
            yield f"generic, {length} bytes", [xof("generic", length)]
    yield "generic, 700,001 bytes", [xof("generic", 700_001)]
    for size in (256 * KIB - 1, 256 * KIB, 256 * KIB + 1):
        yield f"zeros, {size} bytes", [repeat(b"\0", size)]


def safetensors_streams() -> Iterator[tuple[str, Recipe]]:
    for size in (64 * KIB - 1, 64 * KIB, 64 * KIB + 1, MIB - 1, MIB, MIB + 1):
        yield f"safetensors, one tensor of {size} bytes", model(size)
    yield "safetensors, small tensors share a chunk", model(*[60_000] * 9)
    yield "safetensors, small tensors of exactly the cap", model(*[32 * KIB] * 17)
    yield "safetensors, a small one between large ones", model(70_000, 5, 70_000, 5, 5)
    yield "safetensors, an empty tensor", model(70_000, 0, 70_000)
    yield "safetensors, no tensor", safetensors({})
    yield "safetensors, no tensor and data", safetensors({}, [xof("weights", 1000)])
    yield "safetensors, a gap at the start", safetensors({"a": entry(100_000, 200_000)}, [xof("weights", 200_000)])
    yield (
        "safetensors, overlapping tensors",
        safetensors({"a": entry(0, 150_000), "b": entry(70_000, 150_000)}, [xof("weights", 150_000)]),
    )
    yield (
        "safetensors, tensors out of order",
        safetensors({"a": entry(90_000, 180_000), "b": entry(0, 90_000)}, [xof("weights", 180_000)]),
    )
    yield (
        "safetensors, spaces after the object",
        safetensors(json.dumps(tensors(70_000)).encode() + b" " * 77, [xof("weights", 70_000)]),
    )
    yield "safetensors, a header of several chunks", model(*[70] * 1300)
    yield (
        "safetensors, metadata of any kind",
        safetensors(
            b'{"__metadata__":[1,-0.5e+3,true,false,null,"\\n\\u00e9",{"a":{}}],"t":{"data_offsets":[0,70000]}}',
            [xof("weights", 70_000)],
        ),
    )


def broken_safetensors() -> Iterator[tuple[str, Recipe]]:
    data = [xof("weights", 70_000)]
    good = b'{"t":{"data_offsets":[0,70000]}'
    yield "a header length past the end", [raw(struct.pack("<Q", 70_001) + b"{"), xof("weights", 69_999)]
    yield "a header that claims 100 MB", [raw(struct.pack("<Q", 100_000_000) + b"{"), xof("weights", 69_999)]
    yield "a header that claims 2**63 bytes", [raw(struct.pack("<Q", 1 << 63) + b"{"), xof("weights", 69_999)]
    yield "a header of one byte", [raw(struct.pack("<Q", 1) + b"{"), *data]
    yield "a space before the object", safetensors(b" " + good + b"}", data)
    for name, text in {
        "a tensor twice": good + b',"t":{"data_offsets":[0,70000]}}',
        "data_offsets twice": b'{"t":{"data_offsets":[0,70000],"data_offsets":[0,70000]}}',
        "a name twice in the metadata": b'{"__metadata__":{"a":"b","a":"b"}}',
        "no data_offsets": b'{"t":{"dtype":"U8","shape":[1]}}',
        "one offset": b'{"t":{"data_offsets":[0]}}',
        "three offsets": b'{"t":{"data_offsets":[0,1,2]}}',
        "a negative offset": b'{"t":{"data_offsets":[-1,2]}}',
        "an offset with a fraction": b'{"t":{"data_offsets":[0.0,2]}}',
        "an offset with an exponent": b'{"t":{"data_offsets":[0,2e0]}}',
        "an offset as text": b'{"t":{"data_offsets":["0",2]}}',
        "an offset that begins with 0": b'{"t":{"data_offsets":[00,2]}}',
        "offsets in the wrong order": b'{"t":{"data_offsets":[2,1]}}',
        "an offset past the end": b'{"t":{"data_offsets":[0,70001]}}',
        "an offset of 2**64": b'{"t":{"data_offsets":[0,18446744073709551616]}}',
        "an offset of 5,000 digits": b'{"t":{"data_offsets":[0,' + b"1" * 5000 + b"]}}",
        "a tensor that is a list": b'{"t":[0,1]}',
        "bytes after the object": good + b"}x",
        "a second object": good + b"}{}",
        "no end": good,
        "a comma too many": good + b",}",
        "NaN": b'{"__metadata__":NaN}',
        "a bare word": b'{"__metadata__":nul}',
        "a number of 65 characters": b'{"__metadata__":' + b"1" * 65 + b"}",
        "an escaped name": b'{"\\u0074":{"data_offsets":[0,70000]}}',
        "a name of 1,025 bytes": b'{"' + b"t" * 1025 + b'":{"data_offsets":[0,70000]}}',
        "a control character in a string": b'{"__metadata__":"\x01"}',
        "an unknown escape": b'{"__metadata__":"\\x41"}',
        "not UTF-8": b'{"__metadata__":"\xff"}',
        "17 levels": b'{"__metadata__":' + b"[" * 16 + b"]" * 16 + b"}",
    }.items():
        yield name, safetensors(text, data)
    deep = b'{"__metadata__":'
    length = struct.pack("<Q", len(deep) + 200_001)
    yield "100,000 levels", [raw(length + deep), repeat(b"[", 100_000), repeat(b"]", 100_000), raw(b"}"), *data]


def gguf_streams() -> Iterator[tuple[str, Recipe]]:
    data = [xof("weights", 200_000)]
    alignment = gguf_kv(b"general.alignment", 4, struct.pack("<I", 4096))
    words = gguf_kv(b"tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 3) + string(b"a") + string(b"") + string(b"bc"))
    scores = gguf_kv(b"tokenizer.ggml.scores", 9, struct.pack("<IQ", 6, 2) + bytes(8))
    name = gguf_kv(b"general.name", 8, string(b"model"))
    two = [gguf_tensor(b"a", [4, 4], 0), gguf_tensor(b"b", [4, 4], 65536 + 4096)]
    yield "gguf 3, two tensors", gguf([name, words, scores], two, data)
    yield "gguf 2, two tensors", gguf([name], two, data, version=2)
    yield "gguf, an alignment of 4096", gguf([alignment], two, data, align=4096)
    yield (
        "gguf, an alignment of 1",
        gguf([gguf_kv(b"general.alignment", 4, struct.pack("<I", 1))], [gguf_tensor(b"a", [1], 7)], data, align=1),
    )
    yield (
        "gguf, every type of value",
        gguf([gguf_kv(b"k%d" % kind, kind, bytes(width)) for kind, width in reference.WIDTHS.items()], two, data),
    )
    yield "gguf, no tensor and no padding", gguf([name], [], align=1)
    yield "gguf, a tensor name twice", gguf([], [two[0], two[0]], data)
    yield "gguf, a tensor at the end of the file", gguf([], [gguf_tensor(b"a", [0], 200_000)], data)
    for size in (64 * KIB - 32, 64 * KIB, MIB, MIB + 32):
        yield (
            f"gguf, tensors of {size} bytes",
            gguf([], [gguf_tensor(b"a", [size], 0), gguf_tensor(b"b", [size], size)], [xof("weights", 2 * size)]),
        )


def broken_gguf() -> Iterator[tuple[str, Recipe]]:
    data = [xof("weights", 70_000)]
    one = [gguf_tensor(b"a", [4], 0)]
    yield "gguf 1", gguf([], one, data, version=1)
    yield "gguf 4", gguf([], one, data, version=4)
    yield "gguf of the other byte order", gguf([], one, data, version=3 << 24)
    yield "2**63 tensors", gguf([], one, data, counts=(1 << 63, 0))
    yield "2**63 keys", gguf([], one, data, counts=(1, 1 << 63))
    yield "131,073 tensors", gguf([], one, data, counts=(131_073, 0))
    yield "65,537 keys", gguf([], one, data, counts=(1, 65_537))
    yield "a key of 2**63 bytes", gguf([struct.pack("<Q", 1 << 63)], one, data)
    long = struct.pack("<Q", 65_536)
    yield (
        "a key of 65,536 bytes",
        [raw(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + long), repeat(b"k", 65_536), raw(bytes(5))],
    )
    yield "a string past the end", gguf([gguf_kv(b"k", 8, struct.pack("<Q", 1 << 40))], one, data)
    yield "an unknown type", gguf([gguf_kv(b"k", 13, bytes(8))], one, data)
    yield "an array of arrays", gguf([gguf_kv(b"k", 9, struct.pack("<IQ", 9, 0))], one, data)
    yield "an array of an unknown type", gguf([gguf_kv(b"k", 9, struct.pack("<IQ", 99, 0))], one, data)
    # 49 bytes: one key, whose value is an array of 2**63 − 1 empty things.
    yield (
        "49 bytes that claim an endless array",
        [raw(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + gguf_kv(b"k", 9, struct.pack("<IQ", 8, (1 << 63) - 1)))],
    )
    yield "2**63 numbers", gguf([gguf_kv(b"k", 9, struct.pack("<IQ", 0, 1 << 63))], one, data)
    yield "an alignment of 0", gguf([gguf_kv(b"general.alignment", 4, bytes(4))], one, data)
    yield "an alignment of 24", gguf([gguf_kv(b"general.alignment", 4, struct.pack("<I", 24))], one, data, align=24)
    yield "an alignment of type u64", gguf([gguf_kv(b"general.alignment", 10, struct.pack("<Q", 32))], one, data)
    yield "an alignment twice", gguf([gguf_kv(b"general.alignment", 4, struct.pack("<I", 32))] * 2, one, data)
    yield "five dimensions", gguf([], [gguf_tensor(b"a", [1] * 5, 0)], data)
    yield "2**32 - 1 dimensions", gguf([], [string(b"a") + b"\xff" * 4], data)
    yield "a tensor that is not aligned", gguf([], [gguf_tensor(b"a", [4], 8)], data)
    yield "a tensor past the end", gguf([], [gguf_tensor(b"a", [4], 70_016)], data)
    yield "a tensor at 2**63", gguf([], [gguf_tensor(b"a", [4], 1 << 63)], data)
    yield "an end in the middle of a tensor", [raw(b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + one[0][:-1])]


def layouts() -> list[dict[str, Any]]:
    streams = [*generic_streams(), *safetensors_streams(), *gguf_streams()]
    broken = [(f"broken: {name}", recipe) for name, recipe in (*broken_safetensors(), *broken_gguf())]
    vectors = []
    for name, recipe in (*streams, *broken):
        data = build(recipe)
        kind, _, _ = reference.layout(data)
        if name.startswith("broken") and kind != "generic":
            raise SystemExit(f"{name}: the rule holds")
        vectors.append({"name": name, "stream": recipe, "kind": kind, "ends": reference.ends(data)})
    return vectors


def chunk(number: int, length: int = MIB) -> tuple[bytes, int]:
    return blake3(b"chunk %d" % number).digest(), length


def positive_list(name: str, chunks: list[tuple[bytes, int]], *, table: bool = False) -> dict[str, Any]:
    root, nodes = reference.tree(chunks, table=table)
    names = [blake3(node).hexdigest() for node in nodes]
    return {"name": name, "count": len(chunks), "table": table, "root": root.hex(), "nodes": names}


def node(
    entries: list[tuple[bytes, int]],
    *,
    magic: bytes = b"samaraCL",
    version: int = 1,
    level: int = 0,
    profile: int = 1,
    count: int | None = None,
    length: int | None = None,
    end: bytes = b"",
) -> bytes:
    """A node with any field as it should not be."""
    stated = sum(size for _, size in entries) if length is None else length
    head = struct.pack("<8sBBHIQ", magic, version, level, profile, len(entries) if count is None else count, stated)
    return head + b"".join(struct.pack("<32sQ" if level else "<32sI", *item) for item in entries) + end


def negative_node(name: str, data: bytes) -> dict[str, Any]:
    return {"name": name, "node": data.hex(), "error": "NodeError"}


def lists() -> dict[str, Any]:
    two = [chunk(0), chunk(1, 5)]
    positive = [positive_list(f"{n} chunks", [chunk(i) for i in range(n)]) for n in (0, 1, 2, 8191, 8192, 8193, 16385)]
    positive += [positive_list(f"{n} chunks of a table", [chunk(i) for i in range(n)], table=True) for n in (1, 2)]
    nodes = [
        negative_node("nothing", b""),
        negative_node("half a head", node(two)[:23]),
        negative_node("another magic", node(two, magic=b"samaraFT")),
        negative_node("version 0", node(two, version=0)),
        negative_node("version 2", node(two, version=2)),
        negative_node("level 2", node(two, level=2)),
        negative_node("level 255", node(two, level=255)),
        negative_node("profile 0", node(two, profile=0)),
        negative_node("no entry", node([])),
        negative_node("an inner node of one entry", node(two[:1], level=1)),
        negative_node("a count below the entries", node(two, count=1)),
        negative_node("a count above the entries", node(two, count=3)),
        negative_node("a count of 2**32 - 1", node(two, count=(1 << 32) - 1)),
        negative_node("a byte too many", node(two, end=b"\0")),
        negative_node("a byte too few", node(two)[:-1]),
        negative_node("a chunk of no bytes", node([chunk(0), chunk(1, 0)])),
        negative_node("a chunk of 1 MiB and 1 byte", node([chunk(0), chunk(1, MIB + 1)])),
        negative_node("a subtree of no bytes", node([chunk(0), chunk(1, 0)], level=1)),
        negative_node("a subtree of 8 GiB and 1 byte", node([chunk(0), chunk(1, 8192 * MIB + 1)], level=1)),
        negative_node("a length below the sum", node(two, length=MIB + 4)),
        negative_node("a length above the sum", node(two, length=MIB + 6)),
    ]
    return {
        "chunks": "chunk i is (BLAKE3 of the text 'chunk i', 1 MiB)",
        "positive": positive,
        "negative_nodes": nodes,
    }


def record(path: str, size: int, seed: str = "") -> dict[str, Any]:
    """A file of `size` bytes of the stream `seed`, with hashes as only an honest publisher has them."""
    data = build([xof(seed or path, size)])
    ends = reference.ends(data)
    chunks = [(blake3(data[a:b]).digest(), b - a) for a, b in zip([0, *ends], ends, strict=False)]
    return {
        "path": path,
        "size": size,
        "blake3": blake3(data).hexdigest(),
        "sha256": hashlib.sha256(data).hexdigest(),
        "root": reference.tree(chunks)[0].hex(),
    }


def table(
    files: list[dict[str, Any]],
    *,
    magic: bytes = b"samaraFT",
    version: int = 1,
    reserved: int = 0,
    count: int | None = None,
    total: int | None = None,
    end: bytes = b"",
    order: bool = True,
) -> bytes:
    """A table with any field as it should not be."""
    ordered = sorted(files, key=lambda f: f["path"].encode("utf-8", "surrogatepass")) if order else files
    stated = sum(f["size"] for f in files) if total is None else total
    data = struct.pack("<8sHHIQ", magic, version, reserved, len(files) if count is None else count, stated)
    for file in ordered:
        name = file["path"].encode("utf-8", "surrogatepass")
        data += struct.pack("<H", len(name)) + name + struct.pack("<Q", file["size"])
        data += b"".join(bytes.fromhex(file[key]) for key in ("blake3", "sha256", "root"))
    return data + end


def content(data: bytes) -> str:
    ends = reference.cut_header(data)
    chunks = [(blake3(data[a:b]).digest(), b - a) for a, b in zip([0, *ends], ends, strict=False)]
    return reference.tree(chunks, table=True)[0].hex()


def tables() -> dict[str, Any]:
    one = record("config.json", 700)
    two = record("model-00001-of-00002.safetensors", 300_000)
    empty = record("empty", 0)
    sets = {
        "one file": [one],
        "three files, one empty": [two, empty, one],
        "folders": [record("a/b/c", 5), record("a-b", 6), record("a/b.c", 7), record("b/a", 8)],
        "names in Unicode": [record("模型.gguf", 5), record("modèle.gguf", 6), record("Ω/модель", 7)],
        "2,000 files, several chunks": [record(f"shard-{i:05}.parquet", 50, "shard") for i in range(2000)],
    }
    positive = []
    for name, files in sets.items():
        data = table(files)
        vector = {"name": name, "table_blake3": blake3(data).hexdigest(), "content": content(data)}
        positive.append(vector | ({"files": files} if len(files) < 10 else {"shards": len(files), "first": files[0]}))
    negative = [
        ("nothing", b"", "TableError"),
        ("half a head", table([one])[:20], "TableError"),
        ("another magic", table([one], magic=b"samaraCL"), "TableError"),
        ("version 2", table([one], version=2), "TableError"),
        ("reserved is not 0", table([one], reserved=1), "TableError"),
        ("no file", table([]), "TableError"),
        ("a count below the entries", table([one, two], count=1, total=one["size"]), "TableError"),
        ("a count above the entries", table([one, two], count=3), "TableError"),
        ("a count of 2**32 - 1", table([one], count=(1 << 32) - 1), "TableError"),
        ("a total below the sum", table([one], total=699), "TableError"),
        ("a total above the sum", table([one], total=701), "TableError"),
        ("a total of 2**53", table([one], total=1 << 53), "TableError"),
        ("a file of 2**53 bytes", table([one | {"size": 1 << 53, "root": two["root"]}], total=0), "TableError"),
        ("a byte too many", table([one], end=b"\0"), "TableError"),
        ("a byte too few", table([one])[:-1], "TableError"),
        ("not sorted", table([two, one], order=False), "TableError"),
        ("a path twice", table([one, one]), "TableError"),
        ("a path of no bytes", table([one | {"path": ""}]), "PathError"),
        ("a path of 1,025 bytes", table([one | {"path": "/".join(["a" * 204] * 5) + "a"}]), "PathError"),
        ("a path that is not UTF-8", table([one]).replace(b"config", b"conf\xffg"), "PathError"),
        ("a path with a surrogate", table([one | {"path": "a\ud800"}]), "PathError"),
        ("a path that leaves", table([one | {"path": "../config.json"}]), "PathError"),
        ("two cases of a name", table([one, two | {"path": "CONFIG.json"}]), "PathError"),
        ("a file and a folder", table([one | {"path": "a"}, two | {"path": "a/b"}]), "PathError"),
        ("an empty file with another hash", table([empty | {"blake3": one["blake3"]}]), "TableError"),
        ("an empty file with another SHA-256", table([empty | {"sha256": one["sha256"]}]), "TableError"),
        ("an empty file with another root", table([empty | {"root": one["root"]}]), "TableError"),
        ("a file with the hash of nothing", table([two | {"blake3": EMPTY.hex()}]), "TableError"),
        ("a file with the SHA-256 of nothing", table([two | {"sha256": EMPTY_SHA256}]), "TableError"),
        ("a file with the root of nothing", table([two | {"root": EMPTY.hex()}]), "TableError"),
        ("a large file of one chunk", table([one | {"size": MIB + 1}]), "TableError"),
    ]
    named = [{"name": name, "table": data.hex(), "error": error} for name, data, error in negative]
    return {"positive": positive, "negative": named}


def paths() -> dict[str, Any]:
    """Text in the vectors is JSON; what is not a character is escaped there."""
    good = [
        "a",
        "config.json",
        "a/b/c.d",
        ".gitattributes",
        " a",
        "a b",
        "-rf",
        "~",
        "com10",
        "cons",
        "con-a",
        "nul_",
        "COM0",
    ]
    good += ["modèle", "模型", "😀", "a" * 255, "/".join(["a"] * 32), "/".join(["a" * 204] * 4) + "/" + "a" * 204]
    good += ["samara", ".samara2", "a/.samara", "$a", "a'b", "{}", "%2e%2e"]
    bad = {
        "nothing": "",
        "absolute": "/a",
        "a slash at the end": "a/",
        "an empty part": "a//b",
        "a dot": "a/./b",
        "two dots": "a/../b",
        "only two dots": "..",
        "a backslash": "a\\b",
        "a drive": "c:",
        "a stream of NTFS": "a:b",
        "a question mark": "a?",
        "a star": "*",
        "a pipe": "a|b",
        "a quote": 'a"b',
        "less": "a<b",
        "greater": "a>b",
        "NUL": "a\0b",
        "a line feed": "a\nb",
        "DEL": "a\x7f",
        "C1": "a\x85",
        "a line separator": "a\u2028b",
        "text turned around": "a\u202egpj.exe",
        "a dot at the end": "a.",
        "a dot at the end of a folder": "a./b",
        "a space at the end": "a ",
        "a device": "CON",
        "a device in another case": "nUl",
        "a device with an extension": "aux.tar.gz",
        "a device and a space": "prn .txt",
        "a device with a number": "a/com1",
        "a device with a superscript": "LPT².txt",
        "the console": "conin$",
        "256 bytes": "a" * 256,
        "256 bytes, 128 characters": "é" * 128,
        "33 parts": "/".join(["a"] * 33),
        "1,025 bytes": "/".join(["a" * 204] * 5) + "a",
        "not NFC": "mode\u0300le",
        "a Hangul syllable in parts": "\u1100\u1161",
        "not assigned": "a\u0378",
        "assigned in Unicode 15": "a\U0001fae8",
        "assigned in Unicode 15.1": "\u2ffc",
        "not a character": "\ufffe",
        "private use": "\uf03a",
        "the folder of work": ".samara/1",
        "the folder of work in another case": ".SAMARA",
    }
    sets = {
        "a path twice": ["a", "a"],
        "two cases": ["README", "readme"],
        "two cases of a folder": ["A/x", "a/y"],
        "two cases of a folder below": ["m/A/x", "m/a/y"],
        "sharp s": ["straße", "STRASSE"],
        "sigma at the end": ["ς", "σ"],
        "a ligature": ["ﬁle", "file"],
        "a file and a folder": ["a", "a/b"],
        "a file and a folder in two cases": ["A", "a/b"],
        "a file and a folder far above": ["a/b", "a/b/c/d/e"],
    }
    beside = [
        ["a", "ab", "b"],
        ["a/b", "a/c", "a-b", "a.b"],
        ["a/x", "b/x"],
        ["e", "é"],
        ["i", "ı"],
        ["m/a/x", "m/b/x"],
    ]
    return {
        "good": good,
        "bad": [{"name": name, "path": path, "error": "PathError"} for name, path in bad.items()],
        "good_sets": beside,
        "bad_sets": [{"name": name, "paths": both, "error": "PathError"} for name, both in sets.items()],
    }


def generate() -> dict[str, str]:
    """Return the text of each file, by name."""
    parts = {"layouts.json": layouts(), "lists.json": lists(), "tables.json": tables(), "paths.json": paths()}
    return {name: json.dumps(part, indent=1) + "\n" for name, part in parts.items()}


if __name__ == "__main__":
    for filename, text in generate().items():
        (FOLDER / filename).write_text(text)
