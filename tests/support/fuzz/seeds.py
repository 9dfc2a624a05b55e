"""Where fuzzing begins: a few inputs for each target, made from the vectors of the specs, good rows and bad ones."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from typing import Any, Final

from support.fuzz.targets import TARGETS
from support.model_headers import safetensors_file, tiny_llama
from support.parquet import parquet_file
from support.vectors import unrun, vectors

from samara.protocol.addresses import parse_address
from samara.protocol.chunklist import Node, build_list
from samara.protocol.dsse import Envelope, SigningKey
from samara.protocol.errors import RecordError
from samara.protocol.exchange.frames import frame
from samara.protocol.exchange.headers import encode
from samara.protocol.exchange.messages import Ahead, RecordsPart
from samara.protocol.formats.parquet import Page
from samara.protocol.gossip import Message, Rpc, encode_rpc
from samara.protocol.gossip.records import topic_of
from samara.protocol.identify import Identify, encode_identify
from samara.protocol.ids import Digest, PublisherId, digest, format_record, sha256
from samara.protocol.keyfile import AgentKey
from samara.protocol.multistream import line
from samara.protocol.noise import Identity
from samara.protocol.oms import Bundle
from samara.protocol.records import Place, PublisherChain, make_genesis, make_head, make_next_root
from samara.protocol.table import FileEntry, FileTable
from samara.protocol.trust import ForkProof

__all__ = ["FUZZED", "seeds"]

FUZZED: Final = PublisherChain.verify([make_genesis([SigningKey(b"\7" * 32)])])
"""The publisher whose records the targets take."""

WHEN: Final = "2026-01-01T00:00:00Z"
_LONGEST: Final = 4096
_MOST: Final = 16
"""Inputs of one target: a fuzzer finds the rest."""


def seeds(target: str) -> list[bytes]:
    """Return the inputs with which a target begins, each once."""
    made = dict.fromkeys(data for data in _SEEDS[target]() if 0 < len(data) <= _LONGEST)
    known = list(made)
    step = max(1, -(-len(known) // _MOST))
    return known[::step]


def _noise() -> Iterable[bytes]:
    transport = vectors("transport.json")
    for row in transport["handshakes"]:
        aes = row["protocol"] != "/noise"
        first, answer, last = map(bytes.fromhex, row["messages"])
        yield bytes([aes, 3, 1, 2, 30]) + first + last
        yield bytes([8 | aes, 3, 1, 2, 30]) + answer
        for payload in row["payloads"][1:]:
            yield bytes([4 | aes]) + bytes.fromhex(payload)
            yield bytes([4 | 8 | aes]) + bytes.fromhex(payload)
    own = Identity(b"\4" * 32, ("/yamux/1.0.0",)).payload(b"\2" * 32)
    yield b"\2" + own
    yield b"\4" + own
    for row in transport["record_violations"]:
        yield bytes([6 | (row["protocol"] != "/noise")]) + bytes.fromhex(row["hears"])
    for mode in (0x0E, 0x0F, 0x1E, 0x1F):
        yield bytes([mode, 0, 5]) + b"what is sealed"


def _yamux() -> Iterable[bytes]:
    transport = vectors("transport.json")
    for row in (*transport["conversations"], *transport["frame_violations"]):
        mode = row["initiator"] | row["opens"] << 1 | 0xF0
        yield bytes([mode, 3, 1, 12, 5]) + b"".join(map(unrun, row["hears"]))


def _multistream() -> Iterable[bytes]:
    hello = line("/multistream/1.0.0")
    for rest in (
        b"",
        line("/a/1"),
        line("na") + line("/b/1"),
        line("/c/1") + line("/a/1") + b"more",
        line("ls"),
        b"\x80\x01",
    ):
        for mode in (0, 1):
            yield bytes([mode, 2, 1, 7]) + hello + rest


def _exchange(side: str) -> Iterable[bytes]:
    exchange = vectors("exchange.json")
    if side == "opener":  # an answer to the end, to the request for records that the target makes
        said = (RecordsPart(4, 0, 1, False, (5, 7), ahead=True), b"genesis more"), (Ahead(4, (60, 40)), bytes(100))
        yield bytes([1, 2, 1, 50]) + b"".join(frame(encode(part, len(data))) + data for part, data in said)
    for row in exchange["violations"]:
        if row["side"] == side:
            hears = [unrun(part) for part in row["hears"]]
            if "early" in row:
                yield bytes([2, 2, 1, 50]) + b"".join(hears)
            else:
                yield bytes([0 if side == "acceptor" else 1, 2, 1, 50]) + b"".join(
                    hears if side == "acceptor" else hears[1:]
                )
    for row in exchange["messages"]:
        yield bytes([1, 2, 3, 60]) + bytes.fromhex(row["frame"]) + bytes(min(row["payload_length"], 100))


def _said(row: dict[str, Any], name: str = "bytes") -> bytes:
    said = row[name]
    return bytes.fromhex(said) if isinstance(said, str) else bytes.fromhex(said["prefix"]) + bytes(200)


def _kad() -> Iterable[bytes]:
    return [_said(row) for row in vectors("network.json")["kad"]]


def _identify() -> Iterable[bytes]:
    here = parse_address("/ip4/10.0.0.1/tcp/4001")
    yield encode_identify(Identify("samara/1", frozenset({"/a/1", "/b/1"}), (here,), here), b"key")
    yield encode_identify(Identify("", frozenset(), (), None), b"")
    yield bytes.fromhex("3205ff00c3a9e2") + bytes(4)


def _reach() -> Iterable[bytes]:
    for row in vectors("network.json")["reach"]:
        yield b"\0" + bytes.fromhex(row["request"]) if "request" in row else b"\1" + bytes.fromhex(row["answer"])


def _gossip() -> Iterable[bytes]:
    """RPCs of the vectors, alone and one after another, in a topic that the target follows."""
    found = vectors("gossip.json")
    named, followed = found["topics"][0]["topic"].encode(), topic_of(PublisherId(b"\xaa" * 32)).encode()
    rpcs = [bytes.fromhex(row["bytes"]).replace(named, followed) for row in found["rpcs"]]
    items = [bytes.fromhex(row["data"]) for row in found["items"]]
    rpcs += [encode_rpc(Rpc(messages=(Message(followed.decode(), item),))) for item in items]
    framed = [len(rpc).to_bytes(2, "little") + rpc for rpc in rpcs if len(rpc) < 1000]
    return [b"".join(framed[:8]), b"".join(framed[-8:]), *framed]


def _gossip_item() -> Iterable[bytes]:
    return [bytes.fromhex(row["data"]) for row in vectors("gossip.json")["items"]]


def _mates() -> Iterable[bytes]:
    for row in vectors("network.json")["mates"]:
        if "request" in row:
            yield b"\1" + bytes.fromhex(row["request"])
        else:
            yield b"\0" + bytes.fromhex(row.get("answer") or row.get("read", ""))


def _addresses() -> Iterable[bytes]:
    network = vectors("network.json")
    for row in (*network["addresses"], *network["peers"]):
        yield row["text"].encode()
        if "bytes" in row:
            yield bytes.fromhex(row["bytes"])


def _json() -> Iterable[bytes]:
    for row in vectors("records/json.json")["vectors"]:
        if "hex" in row:
            yield bytes.fromhex(row["hex"])


def _envelope() -> Iterable[bytes]:
    return [row["envelope"].encode() for row in vectors("records/envelope.json")["vectors"]]


def _envelopes() -> Iterable[bytes]:
    for row in vectors("records/publisher.json")["vectors"]:
        yield from (text.encode() for text in row["roots"][:2])
    release = vectors("records/release.json")
    for row in release["vectors"]:
        yield row["release"].encode()
        if "head" in row:
            yield row["head"].encode()


def _oms() -> Iterable[bytes]:
    oms = vectors("oms.json")
    for row in oms["keys"]:
        yield b"\2" + base64.b64decode(row["spki"])
    for row in (*oms["written"], *oms["accepted"], *oms["refused"]):
        file = row["file"].encode()
        yield b"\0" + file
        try:
            yield b"\1" + Bundle.decode(file).payload
        except RecordError:  # a row that breaks the bundle
            continue


def _records() -> Iterable[bytes]:
    for envelope in dict.fromkeys(_envelopes()):
        try:
            payload = Envelope.decode(envelope).payload
        except RecordError:  # a row that breaks the envelope: another target's
            continue
        kinds = (b"urn:samara:head:1", b"urn:samara:release:1", b"urn:samara:root:1")
        mode = next((3 - place for place, kind in enumerate(kinds) if kind in payload), 0)
        yield bytes([mode]) + payload


def _log() -> Iterable[bytes]:
    """The good records of each kind, as if the publisher of the targets had said so."""
    log = vectors("records/log.json")
    theirs = PublisherChain.verify([log["chains"]["anna"][0].encode()])
    said = {format_record(theirs.publisher): format_record(FUZZED.publisher)}
    for kind in (digest, sha256):
        said[kind(theirs.roots[0].payload).hex()] = kind(FUZZED.roots[0].payload).hex()
    for number, row in enumerate(row for row in log["vectors"] if "error" not in row):
        text = Envelope.decode(row["record"].encode()).payload.decode()
        for old, new in said.items():
            text = text.replace(old, new)
        yield bytes([number % 2]) + text.encode()


def _fork_proof() -> Iterable[bytes]:
    key = SigningKey(b"\7" * 32)
    heads = [
        make_head(FUZZED, name="x", release=said, previous=None, issued=WHEN, keys=[key], place=place)
        for said in (b"1", b"2")
        for place in (Place.first(), Place(2, bytes(32)), None)
    ]
    for first in heads:
        for second in heads:
            yield ForkProof(first.envelope, second.envelope).encode()
    genesis = FUZZED.envelopes[0]
    roots = [make_next_root(FUZZED, [key.did, SigningKey(seed * 32).did], [key]) for seed in (b"\1", b"\2")]
    yield ForkProof(*roots).encode()
    yield ForkProof(genesis, genesis).encode()
    yield ForkProof(genesis, roots[0]).encode()[:-1]


def _trust_toml() -> Iterable[bytes]:
    did = SigningKey(b"\7" * 32).did
    yield b'[[rule]]\npublisher = "anna"\nname = "llama-*"\nmode = "enforce"\nmax-age-days = 90\n'
    yield b"[[rule]]\ntofu = true\n"
    yield f'[[rule]]\nkeys = ["{did}"]\nthreshold = 1\n'.encode()
    yield f'[[rule]]\npublisher = "{format_record(FUZZED.publisher)}"\nmode = "off"\n'.encode()
    yield b'rule = [{name = "*"}, {mode = "warn"}]\n'
    yield b'[[rule]]\ntofu = true\nkeys = []\n[[rule]]\nmode = "on"\n'


def _announced_log() -> Iterable[bytes]:
    for row in vectors("record-file.json")["vectors"]:
        yield bytes.fromhex(row["hex"])[:-37]


def _announced_head() -> Iterable[bytes]:
    release = vectors("records/release.json")
    for row in release["vectors"]:
        if "head" in row:
            items = [*release["chains"][row["chain"]], row["head"]]
            yield b"".join(len(item).to_bytes(4, "little") + item.encode() for item in items)


def _chunk_list() -> Iterable[bytes]:
    for count in (1, 2, 3, 100):
        chunks = [(digest(b"chunk %d" % index), 1 + index) for index in range(count)]
        yield from build_list(chunks, profile=1, table=True).nodes
    yield Node(1, 1, 9, digest(b"a") + (4).to_bytes(8, "little") + digest(b"b") + (5).to_bytes(8, "little")).encode()
    yield from (bytes.fromhex(row["node"]) for row in vectors("content/lists.json")["negative_nodes"])


def _file_table() -> Iterable[bytes]:
    tables = vectors("content/tables.json")
    yield from (bytes.fromhex(row["table"]) for row in tables["negative"])
    for row in tables["positive"]:
        files = [
            FileEntry(
                file["path"],
                file["size"],
                Digest(bytes.fromhex(file["blake3"])),
                bytes.fromhex(file["sha256"]),
                Digest(bytes.fromhex(file["root"])),
            )
            for file in row.get("files", [])[:10]
        ]
        if files:
            yield FileTable.of(files).encode()


def _stick() -> Iterable[bytes]:
    for stick in vectors("stick.json")["sticks"].values():
        yield from (said.encode() for said in stick["files"].values() if isinstance(said, str))
    for row in vectors("stick.json")["vectors"]:
        yield from (said.encode() for said in row["change"].values() if isinstance(said, str) and len(said) < 500)


def _model_header() -> Iterable[bytes]:
    header = {
        "__metadata__": {"license": "mit"},
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]},
    }
    for file in (tiny_llama().build(), safetensors_file(header, 32)):
        yield bytes(3) + file
        yield b"\0\1\0" + file[: len(file) // 2]


def _parquet() -> Iterable[bytes]:
    pages = [[Page(1024, 1 << 20, 0)] * 6, [Page(100 + 37 * n, 1 << 19, 8) for n in range(7)]]
    for metadata in ({}, {"content_defined_chunking": "{}"}, {"pandas": "x" * 200}):
        yield parquet_file(pages, metadata=metadata)
    yield parquet_file(pages[:1], second_version=True, dictionary=True, groups=3)


def _encodings(encoding: int) -> Iterable[bytes]:
    for row in vectors("encodings.json")["vectors"]:
        if row["encoding"] == encoding:
            yield b"\0" + row["length"].to_bytes(3, "big") + unrun(row["payload"])
    for kind in range(5):
        yield bytes([1, kind + 32, kind]) + b"\1\1\x10" * 20 + b"\1\1\x11" * 20


def _record_file() -> Iterable[bytes]:
    for row in vectors("record-file.json")["vectors"]:
        yield bytes([3, 1, 7, 30]) + bytes.fromhex(row["hex"])


def _delta_pack() -> Iterable[bytes]:
    for row in vectors("deltas.json")["vectors"]:
        if len(row["head"]) < 1 << 13:
            yield b"\1" + bytes.fromhex(row["head"])
            yield b"\0" + bytes.fromhex(row["head"])


def _key_file() -> Iterable[bytes]:
    found = vectors("keys.json")
    rows = [*found["key_files"], *(row for row in found["oms_key_files"] if "file" in row)]
    return [*(bytes.fromhex(row["file"]) for row in rows), AgentKey(bytes(range(32))).encode()]


def _seed_words() -> Iterable[bytes]:
    return [row.get("read", row.get("words")).encode() for row in vectors("keys.json")["seed_words"]]


def _root_file() -> Iterable[bytes]:
    return [row["file"].encode() for row in vectors("keys.json")["root_files"]]


def _ref() -> Iterable[bytes]:
    return [row["text"].encode("utf-8", "surrogatepass") for row in vectors("records/ref.json")["vectors"]]


def _license() -> Iterable[bytes]:
    for row in vectors("records/license.json")["vectors"]:
        if row["said"]:
            yield row["said"].encode()
    yield b"---\nlicense: apache-2.0\nlicense_name: x\n---\n# A card\n"
    yield b"Apache License\nVersion 2.0, January 2004\n"


_SEEDS: Final[dict[str, Callable[[], Iterable[bytes]]]] = {
    "noise": _noise,
    "yamux": _yamux,
    "multistream": _multistream,
    "exchange-opener": lambda: _exchange("opener"),
    "exchange-acceptor": lambda: _exchange("acceptor"),
    "kad": _kad,
    "identify": _identify,
    "reach": _reach,
    "gossip": _gossip,
    "gossip-item": _gossip_item,
    "mates": _mates,
    "addresses": _addresses,
    "json": _json,
    "envelope": _envelope,
    "records-of-a-publisher": _records,
    "oms": _oms,
    "records-of-a-log": _log,
    "fork-proof": _fork_proof,
    "trust-toml": _trust_toml,
    "record-file": _record_file,
    "announced-head": _announced_head,
    "announced-log": _announced_log,
    "chunk-list": _chunk_list,
    "file-table": _file_table,
    "stick": _stick,
    "model-header": _model_header,
    "parquet": _parquet,
    "layout": _model_header,
    "encodings-planes": lambda: _encodings(1),
    "encodings-delta": lambda: _encodings(2),
    "encodings-text": lambda: _encodings(3),
    "delta-pack": _delta_pack,
    "key-file": _key_file,
    "seed-words": _seed_words,
    "root-file": _root_file,
    "ref": _ref,
    "license": _license,
}
assert _SEEDS.keys() == TARGETS.keys()
