"""Writes the vectors of specs/records.md: `python specs/vectors/generate_records.py` (with `src` on the path).

Deterministic: keys are made from committed seeds, nothing depends on time. Negative vectors are built from raw bytes
and signed afterwards, so that each has the one failure that its name says, and no other.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from blake3 import blake3

from samara.protocol import ids
from samara.protocol.dsse import PAYLOAD_TYPE, SigningKey, pae
from samara.protocol.limits import MAX_POSITION
from samara.protocol.records import (
    Delegation,
    Place,
    PublisherChain,
    Reason,
    Revocation,
    Subject,
    Verified,
    VerifiedHead,
    make_delegation,
    make_genesis,
    make_head,
    make_key_revocation,
    make_next_root,
    make_release_revocation,
)

FOLDER = Path(__file__).parent / "records"

SEEDS = {
    name: hashlib.sha256(f"samara vector key {name}".encode()).digest() for name in ("anna", "ben", "cleo", "mallory")
}
KEYS = {name: SigningKey(seed) for name, seed in SEEDS.items()}
ANNA, BEN, CLEO, MALLORY = KEYS.values()

TABLE = b"these bytes stand for a file table: records only know its digests"
CONTENT = blake3(b"samara vector content").digest()

Vector = dict[str, Any]


# Raw building: nothing here checks anything.


def plain(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def envelope(payload: bytes, *keys: SigningKey, **changes: object) -> str:
    signatures = [{"keyid": k.did, "sig": b64(k.sign(pae(PAYLOAD_TYPE, payload)))} for k in keys]
    return plain({"payload": b64(payload), "payloadType": PAYLOAD_TYPE, "signatures": signatures} | changes).decode()


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def payload_of(text: str | bytes) -> bytes:
    return base64.b64decode(json.loads(text)["payload"])


def subject(name: str, data: bytes) -> dict[str, Any]:
    return {"name": name, "digest": {"blake3": blake3(data).hexdigest(), "sha256": hashlib.sha256(data).hexdigest()}}


def statement(kind: str, about: dict[str, Any], predicate: dict[str, Any]) -> dict[str, Any]:
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [about],
        "predicateType": kind,
        "predicate": predicate,
    }


def without(values: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != name}


# Chains.

GENESIS = make_genesis([ANNA])
ANNA_ONLY = PublisherChain.verify([GENESIS])
PUBLISHER = ids.format_record(ANNA_ONLY.publisher)
BEN_TAKES_OVER = make_next_root(ANNA_ONLY, [BEN.did], [ANNA, BEN])
ANNA_THEN_BEN = PublisherChain.verify([GENESIS, BEN_TAKES_OVER])
TWO_OF_THREE = make_genesis([ANNA, BEN, CLEO], threshold=2)
MALLORYS = make_genesis([MALLORY])

CHAINS = {
    "anna": [GENESIS.decode()],
    "anna, then ben": [GENESIS.decode(), BEN_TAKES_OVER.decode()],
    "two of anna, ben, cleo": [TWO_OF_THREE.decode()],
    "mallory": [MALLORYS.decode()],
}


def root_predicate(version: int, keys: list[SigningKey], **changes: object) -> dict[str, Any]:
    dids = sorted(key.did for key in keys)
    return {"critical": [], "version": version, "threshold": 1, "keys": dids} | changes


def genesis(predicate: dict[str, Any], *keys: SigningKey, about: dict[str, Any] | None = None) -> str:
    found = about or subject(ANNA.did, ANNA.public)
    return envelope(plain(statement("urn:samara:root:1", found, predicate)), *keys)


def second(predicate: dict[str, Any], *keys: SigningKey, about: dict[str, Any] | None = None) -> str:
    found = about or subject("root", payload_of(GENESIS))
    return envelope(plain(statement("urn:samara:root:1", found, predicate)), *keys)


def weak_did(y: int) -> str:
    return ids.did_key(y.to_bytes(32, "little"))


def release_predicate(**changes: object) -> dict[str, Any]:
    return {
        "critical": [],
        "kind": "model",
        "publisher": PUBLISHER,
        "root": 1,
        "name": "tiny-llama",
        "version": "1.0",
        "issued": "2026-01-02T03:04:05Z",
        "content": ids.format_content(CONTENT),
        "bytes": 123456789,
        "files": 3,
        "license": "Apache-2.0",
        "redistribute": True,
        "visibility": "public",
        "format": {"container": "gguf", "architecture": "llama", "parameters": 1100048384, "context_length": 2048},
        "lineage": {"bases": [], "datasets": ["https://example.org/data"], "code": []},
        "contributors": ["Anna Ávila", "بهرام"],
    } | changes


def release_payload(said: dict[str, Any] | None = None, **changes: object) -> bytes:
    about = subject("file-table", TABLE)
    return plain(statement("urn:samara:release:1", about, said or release_predicate()) | changes)


def release(predicate: dict[str, Any], *keys: SigningKey) -> str:
    return envelope(release_payload(predicate), *(keys or (ANNA,)))


def head_predicate(payload: bytes, **changes: object) -> dict[str, Any]:
    return {
        "critical": [],
        "publisher": PUBLISHER,
        "root": 1,
        "name": "tiny-llama",
        "sequence": 1,
        "previous": None,
        "release": ids.format_record(blake3(payload).digest()),
        "issued": "2026-01-03T00:00:00Z",
    } | changes


def head(payload: bytes, *keys: SigningKey, about: dict[str, Any] | None = None, **changes: object) -> str:
    found = about or subject("release", payload)
    return envelope(
        plain(statement("urn:samara:head:1", found, head_predicate(payload, **changes))), *(keys or (ANNA,))
    )


# The vectors.


def json_vectors() -> list[Vector]:
    deep = 16
    good = {
        "an empty object": b"{}",
        "white space between tokens": b'{ "a" :\n[ 1 ,\t2 ] }',
        "the largest integers": b"[9007199254740991,-9007199254740991,0]",
        "escapes": rb'"\u00e9\ud83c\udf41\n\"\\"',
        "brackets in strings": b'["' + b"[{" * 40 + b'"]',
        "as deep as allowed": b"[" * deep + b"]" * deep,
    }
    bad = {
        "no bytes": b"",
        "a duplicate key": b'{"a":1,"a":1}',
        "a duplicate key, escaped": rb'{"a":1,"\u0061":1}',
        "a float": b"[1.5]",
        "an exponent": b"[1e3]",
        "a float that is whole": b"[1.0]",
        "NaN": b"[NaN]",
        "Infinity": b"[Infinity]",
        "minus Infinity": b"[-Infinity]",
        "an integer of 2^53": b"[9007199254740992]",
        "an integer of -2^53": b"[-9007199254740992]",
        "an integer of 5000 digits": b"[" + b"9" * 5000 + b"]",
        "minus zero": b"[-0]",
        "a leading zero": b"[01]",
        "a leading plus": b"[+1]",
        "a byte-order mark": b"\xef\xbb\xbf{}",
        "invalid UTF-8": b'"\xff"',
        "an overlong slash": b'"\xc0\xaf"',
        "a surrogate in UTF-8": b'"\xed\xa0\x80"',
        "a lone surrogate": rb'"\ud800"',
        "a lone surrogate as a key": rb'{"\udfff":1}',
        "surrogates in the wrong order": rb'"\udc00\ud800"',
        "a control character in a string": b'"\x01"',
        "a trailing newline": b"{}\n",
        "a leading space": b" {}",
        "a second value": b"{}{}",
        "trailing bytes": b"{}\x00",
        "a trailing comma": b"[1,]",
        "a comment": b"[1/*x*/]",
        "single quotes": b"{'a':1}",
        "an unclosed string": b'"abc',
        "an unclosed object": b'{"a":1',
        "one level too deep": b"[" * (deep + 1) + b"]" * (deep + 1),
        "one level too deep, of objects": b'{"a":' * deep + b"{}" + b"}" * deep,
        "a hundred thousand open brackets": b"[" * 100_000,
        "too long": b'"' + b"a" * 200_000 + b'"',
    }
    rows: list[Vector] = [{"name": name, "hex": data.hex()} for name, data in good.items()]
    for name, data in bad.items():
        # Long inputs are one byte repeated: written short, so that people can read the file.
        rows.append({"name": name, **_short(data), "error": "JsonError"})
    return rows


def _short(data: bytes) -> dict[str, Any]:
    if len(data) < 10_000:
        return {"hex": data.hex()}
    middle = data[1:-1]
    return {"first": data[:1].hex(), "repeat": middle[:1].hex(), "times": len(middle), "last": data[-1:].hex()}


def envelope_vectors() -> list[Vector]:
    payload = release_payload()
    good = envelope(payload, ANNA)
    found = json.loads(good)
    signature = found["signatures"][0]

    def changed(**fields: object) -> str:
        return plain(found | fields).decode()

    def signed(**fields: object) -> str:
        return changed(signatures=[signature | fields])

    def unknown(keyid: str, sig: bytes) -> dict[str, str]:
        return {"keyid": keyid, "sig": b64(sig)}

    raw_sig = base64.b64decode(signature["sig"])
    order = 2**252 + 27742317777372353535851937790883648493
    high_s = raw_sig[:32] + (int.from_bytes(raw_sig[32:], "little") + order).to_bytes(32, "little")
    weak = unknown(weak_did(1), b"\x01" + bytes(63))
    anna, ben = [ANNA.did], sorted([ANNA.did, BEN.did])
    rows: list[Vector] = [
        {"name": "one signature", "envelope": good, "signers": anna},
        {"name": "two signatures", "envelope": envelope(payload, ANNA, BEN), "signers": ben},
        {"name": "unknown fields", "envelope": changed(later={"a": [1]}), "signers": anna},
        {"name": "unknown field of a signature", "envelope": signed(later="x"), "signers": anna},
        {
            "name": "a signature of an unknown kind beside a good one",
            "envelope": changed(signatures=[unknown("did:key:zUnknownKind", b"x" * 4627), signature]),
            "signers": anna,
        },
    ]
    off_by_one = bytes([payload[0], payload[1] ^ 1]) + payload[2:]
    bad: list[tuple[str, str, str]] = [
        ("a changed byte", "SignatureError", changed(payload=b64(off_by_one))),
        ("no signature", "SignatureError", changed(signatures=[])),
        ("a signature of an unknown kind only", "SignatureError", changed(signatures=[unknown("kid-1", b"x" * 64)])),
        (
            "a signature by another key under this key's id",
            "SignatureError",
            signed(sig=b64(BEN.sign(pae(PAYLOAD_TYPE, payload)))),
        ),
        (
            "a wrong signature beside a good one",
            "SignatureError",
            changed(signatures=[signature, unknown(BEN.did, bytes(64))]),
        ),
        ("a signature over the bare payload", "SignatureError", signed(sig=b64(ANNA.sign(payload)))),
        (
            "a signature over another payload type",
            "SignatureError",
            signed(sig=b64(ANNA.sign(pae("text/plain", payload)))),
        ),
        ("a malleable signature", "SignatureError", signed(sig=b64(high_s))),
        ("a weak key", "SignatureError", changed(signatures=[weak])),
        ("a wrong payload type", "EnvelopeError", changed(payloadType="application/json")),
        ("a payload type that is a number", "EnvelopeError", changed(payloadType=1)),
        ("no payload type", "EnvelopeError", plain(without(found, "payloadType")).decode()),
        ("no payload", "EnvelopeError", plain(without(found, "payload")).decode()),
        ("an empty payload", "EnvelopeError", changed(payload="")),
        ("a payload that is not base64", "EnvelopeError", changed(payload="!!!!")),
        ("a payload in URL-safe base64", "EnvelopeError", changed(payload="-_-_")),
        ("a payload without padding", "EnvelopeError", changed(payload="YQ")),
        ("a payload with stray bits", "EnvelopeError", changed(payload="YR==")),
        ("a payload with a line break", "EnvelopeError", changed(payload="YWFh\nYWFh")),
        ("a payload that is not ASCII", "EnvelopeError", changed(payload="ÄÄÄÄ")),
        ("signatures that are no list", "EnvelopeError", changed(signatures={})),
        ("no signatures field", "EnvelopeError", plain(without(found, "signatures")).decode()),
        ("seventeen signatures", "EnvelopeError", changed(signatures=[unknown(f"kid-{i}", b"x") for i in range(17)])),
        ("a signature that is no object", "EnvelopeError", changed(signatures=["x"])),
        ("a key that signs twice", "EnvelopeError", changed(signatures=[signature, signature])),
        ("no key id", "EnvelopeError", changed(signatures=[without(signature, "keyid")])),
        ("an empty key id", "EnvelopeError", signed(keyid="")),
        ("a key id of 257 characters", "EnvelopeError", signed(keyid="k" * 257)),
        ("a key id with an escape sequence", "EnvelopeError", signed(keyid="\x1b[2J")),
        ("a did:key with a wrong letter", "EnvelopeError", signed(keyid=ANNA.did[:-1] + "0")),
        ("a did:key that is too short", "EnvelopeError", signed(keyid=ANNA.did[:-1])),
        ("a signature of 63 bytes", "EnvelopeError", signed(sig=b64(raw_sig[:-1]))),
        ("no sig", "EnvelopeError", changed(signatures=[without(signature, "sig")])),
        ("a list", "EnvelopeError", "[]"),
        ("a duplicate key", "JsonError", good[:-1] + ',"payloadType":"application/vnd.in-toto+json"}'),
        ("a trailing byte", "JsonError", good + " "),
        ("a float", "JsonError", good[:-1] + ',"later":1.5}'),
    ]
    return rows + [{"name": name, "envelope": text, "error": error} for name, error, text in bad]


def publisher_vectors() -> list[Vector]:
    one, two = GENESIS.decode(), BEN_TAKES_OVER.decode()
    take_over = root_predicate(2, [BEN])
    third = make_next_root(ANNA_THEN_BEN, [BEN.did, CLEO.did], [BEN, CLEO], threshold=2).decode()
    rows: list[Vector] = [
        {"name": "a genesis", "roots": [one], "publisher": PUBLISHER, "keys": [ANNA.did], "threshold": 1},
        {"name": "a replaced key", "roots": [one, two], "publisher": PUBLISHER, "keys": [BEN.did], "threshold": 1},
        {
            "name": "three roots",
            "roots": [one, two, third],
            "publisher": PUBLISHER,
            "keys": sorted([BEN.did, CLEO.did]),
            "threshold": 2,
        },
        {
            "name": "unknown fields",
            "roots": [genesis(root_predicate(1, [ANNA], later=1), ANNA)],
            "keys": [ANNA.did],
            "threshold": 1,
        },
        {
            "name": "a critical field that is known",
            "roots": [genesis(root_predicate(1, [ANNA], critical=["threshold"]), ANNA)],
            "keys": [ANNA.did],
            "threshold": 1,
        },
    ]
    a = root_predicate(1, [ANNA])
    pair = root_predicate(1, [ANNA, BEN], threshold=2)
    first_of_pair = min(ANNA, BEN, key=lambda key: key.did)
    about_pair = subject(first_of_pair.did, first_of_pair.public)
    p = 2**255 - 19
    far = ids.did_key((p + 2).to_bytes(32, "little"))
    wrong_digest = subject(ANNA.did, ANNA.public)
    wrong_digest["digest"]["sha256"] = "00" * 32
    bad: list[tuple[str, str, list[str]]] = [
        ("no root", "StatementError", []),
        ("a chain that begins with the second root", "StatementError", [two]),
        ("a genesis of version 2", "StatementError", [genesis(a | {"version": 2}, ANNA)]),
        ("a version of 0", "StatementError", [genesis(a | {"version": 0}, ANNA)]),
        ("a version that is true", "StatementError", [genesis(a | {"version": True}, ANNA)]),
        ("a genesis about another key", "StatementError", [genesis(a, ANNA, about=subject(BEN.did, BEN.public))]),
        ("a genesis whose SHA-256 is wrong", "StatementError", [genesis(a, ANNA, about=wrong_digest)]),
        ("a genesis signed by another key", "SignatureError", [genesis(a, BEN)]),
        ("one signature where two must", "SignatureError", [genesis(pair, ANNA, about=about_pair)]),
        ("a threshold of 0", "StatementError", [genesis(a | {"threshold": 0}, ANNA)]),
        ("a threshold above the keys", "StatementError", [genesis(a | {"threshold": 2}, ANNA)]),
        ("no key", "StatementError", [genesis(a | {"keys": []}, ANNA)]),
        ("a key twice", "StatementError", [genesis(a | {"keys": [ANNA.did, ANNA.did], "threshold": 2}, ANNA)]),
        (
            "keys out of order",
            "StatementError",
            [genesis(pair | {"keys": pair["keys"][::-1], "threshold": 1}, ANNA, BEN)],
        ),
        ("a key that is no did:key", "StatementError", [genesis(a | {"keys": ["anna"]}, ANNA)]),
        ("a key that is a number", "StatementError", [genesis(a | {"keys": [1]}, ANNA)]),
        ("a weak key of order 1", "StatementError", [genesis(a | {"keys": sorted([ANNA.did, weak_did(1)])}, ANNA)]),
        ("a weak key of order 4", "StatementError", [genesis(a | {"keys": sorted([ANNA.did, weak_did(0)])}, ANNA)]),
        ("a key that is not canonical", "StatementError", [genesis(a | {"keys": sorted([ANNA.did, far])}, ANNA)]),
        ("no critical", "StatementError", [genesis(without(a, "critical"), ANNA)]),
        (
            "a critical field that is not known",
            "CriticalError",
            [genesis(a | {"critical": ["expires"], "expires": 1}, ANNA)],
        ),
        ("the same root twice", "StatementError", [one, one]),
        ("a version skipped", "StatementError", [one, second(root_predicate(3, [BEN]), ANNA, BEN)]),
        ("a second root after another genesis", "StatementError", [MALLORYS.decode(), two]),
        (
            "a second root about nothing known",
            "StatementError",
            [one, second(take_over, ANNA, BEN, about=subject("root", b"?"))],
        ),
        (
            "a second root with another name",
            "StatementError",
            [one, second(take_over, ANNA, BEN, about=subject("genesis", payload_of(one)))],
        ),
        ("a second root by the new key only", "SignatureError", [one, second(take_over, BEN)]),
        ("a second root by the old key only", "SignatureError", [one, second(take_over, ANNA)]),
        ("a second root by a stranger", "SignatureError", [one, second(root_predicate(2, [MALLORY]), MALLORY)]),
        ("a release in place of a root", "StatementError", [release(release_predicate(), ANNA)]),
    ]
    rows += [{"name": name, "roots": roots, "error": error} for name, error, roots in bad]
    rows.append({"name": "257 roots", "roots": [one], "times": 257, "error": "StatementError"})
    rows.append(
        {
            "name": "another publisher's chain",
            "roots": [one],
            "expected": ids.format_record(ids.digest(payload_of(MALLORYS))),
            "error": "StatementError",
        }
    )
    return rows


def release_vectors() -> list[Vector]:
    good = release_predicate()
    text = release(good)
    identity = ids.format_record(blake3(payload_of(text)).digest())
    later = head(payload_of(text), BEN, root=2)
    base: Vector = {"chain": "anna", "release": text}
    rows: list[Vector] = [
        {"name": "a release", **base, "id": identity, "standing": "current"},
        {"name": "the release that was asked for", **base, "expected": identity, "id": identity, "standing": "current"},
        {
            "name": "the publisher that was asked for",
            **base,
            "publisher": PUBLISHER,
            "id": identity,
            "standing": "current",
        },
        {
            "name": "a release with its head",
            **base,
            "head": head(payload_of(text)),
            "id": identity,
            "standing": "current",
        },
        {
            "name": "a release by a key retired since",
            **base,
            "chain": "anna, then ben",
            "id": identity,
            "standing": "retired",
        },
        {
            "name": "a retired key with an old head",
            **base,
            "chain": "anna, then ben",
            "head": head(payload_of(text)),
            "id": identity,
            "standing": "retired",
        },
        {
            "name": "a retired key, vouched for by a current head",
            **base,
            "chain": "anna, then ben",
            "head": later,
            "id": identity,
            "standing": "vouched",
        },
        {"name": "a cosigner", **base, "release": release(good, ANNA, CLEO), "id": identity, "standing": "current"},
        {
            "name": "an older root whose keys still sign",
            **base,
            "chain": "anna, then ben",
            "release": release(good, ANNA, BEN),
            "id": identity,
            "standing": "current",
        },
    ]
    accepted = {
        "unknown fields at every level": good
        | {"later": {"x": 1}, "format": {"later": []}, "lineage": good["lineage"] | {"later": 1}},
        "a critical field that is known": good | {"critical": ["redistribute", "visibility"]},
        "no format facts": good | {"format": {}},
        "an empty content": good | {"bytes": 0, "files": 1},
        "the longest name and version": good | {"name": "n" * 96, "version": "1" * 64},
        "no licence": good | {"license": "NOASSERTION", "redistribute": False},
        "a licence expression": good | {"license": "(MIT OR Apache-2.0) AND LicenseRef-x"},
        "a text of 256 characters": good | {"contributors": ["ä" * 256]},
        "zero-width joiners in a name": good | {"contributors": ["نام\u200cخانوادگی"]},
        "a leap day": good | {"issued": "2024-02-29T23:59:59Z"},
    }
    for name, predicate in accepted.items():
        found = release(predicate)
        rows.append(
            {
                "name": name,
                "chain": "anna",
                "release": found,
                "id": ids.format_record(blake3(payload_of(found)).digest()),
                "standing": "current",
            }
        )
    rows += [
        {"name": name, "chain": "anna", "release": release(predicate), "error": "StatementError"}
        for name, predicate in _bad_fields(good)
    ]
    rows += _bad_releases(good)
    return rows


def _bad_fields(good: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    lineage = good["lineage"]
    missing = [(f"{name} is missing", without(good, name)) for name in good if name not in ("critical",)]
    changes: dict[str, dict[str, Any]] = {
        "critical is missing": {},
        "critical is no list": {"critical": {}},
        "critical has a number": {"critical": [1]},
        "critical names one field twice": {"critical": ["name", "name"]},
        "critical names an empty text": {"critical": [""]},
        "critical has 17 names": {"critical": [f"x{i}" for i in range(17)]},
        "an unknown kind": {"kind": "virus"},
        "a kind of null": {"kind": None},
        "a publisher that is no id": {"publisher": "anna"},
        "a publisher in upper case": {"publisher": PUBLISHER.upper()},
        "a content id where a record id belongs": {"publisher": good["content"]},
        "a record id where a content id belongs": {"content": PUBLISHER},
        "another publisher": {"publisher": ids.format_record(ids.digest(payload_of(MALLORYS)))},
        "a root of 0": {"root": 0},
        "a root that is not in the chain": {"root": 2},
        "a root in a text": {"root": "1"},
        "an empty name": {"name": ""},
        "a name of 97 characters": {"name": "n" * 97},
        "a name with a slash": {"name": "a/b"},
        "a name that begins with a dot": {"name": ".hidden"},
        "a name with a newline at its end": {"name": "model\n"},
        "a name that is not ASCII": {"name": "modèle"},
        "an empty version": {"version": ""},
        "a version of 65 characters": {"version": "1" * 65},
        "a version with an at sign": {"version": "1@2"},
        "a time with an offset": {"issued": "2026-01-02T03:04:05+00:00"},
        "a time with fractions": {"issued": "2026-01-02T03:04:05.5Z"},
        "a month of 13": {"issued": "2026-13-02T03:04:05Z"},
        "a leap day in a common year": {"issued": "2026-02-29T00:00:00Z"},
        "a leap second": {"issued": "2016-12-31T23:59:60Z"},
        "a time before 1970": {"issued": "1969-12-31T23:59:59Z"},
        "a time in other digits": {"issued": "٢٠٢٦-01-02T03:04:05Z"},
        "a time that is a number": {"issued": 1767322800},
        "negative bytes": {"bytes": -1},
        "bytes that are true": {"bytes": True},
        "no files": {"files": 0},
        "too many files": {"files": 1_000_001},
        "a licence with a newline": {"license": "MIT\nApache-2.0"},
        "a licence with a quote": {"license": 'MIT"'},
        "an empty licence": {"license": ""},
        "a licence of 257 characters": {"license": "M" * 257},
        "a licence that begins with a space": {"license": " MIT"},
        "redistribute in a text": {"redistribute": "true"},
        "redistribute of 1": {"redistribute": 1},
        "an unknown visibility": {"visibility": "friends"},
        "a format that is a list": {"format": []},
        "an architecture that is a number": {"format": {"architecture": 1}},
        "an architecture of null": {"format": {"architecture": None}},
        "an architecture with an escape sequence": {"format": {"architecture": "\x1b]0;owned\x07"}},
        "negative parameters": {"format": {"parameters": -1}},
        "a lineage without bases": {"lineage": without(lineage, "bases")},
        "a base that is an object": {"lineage": lineage | {"bases": [{}]}},
        "a dataset twice": {"lineage": lineage | {"datasets": ["x", "x"]}},
        "65 bases": {"lineage": lineage | {"bases": [f"b{i}" for i in range(65)]}},
        "an empty base": {"lineage": lineage | {"bases": [""]}},
        "1025 contributors": {"contributors": [f"c{i}" for i in range(1025)]},
        "a contributor of 257 characters": {"contributors": ["ä" * 257]},
        "a contributor with a newline": {"contributors": ["Anna\nsigned by: you"]},
        "a contributor with a C1 control": {"contributors": ["Anna\x9b2J"]},
        "a contributor written right to left": {"contributors": ["Anna\u202egpj.exe"]},
        "a contributor in an isolate": {"contributors": ["Anna\u2066x"]},
        "a contributor with a zero-width space": {"contributors": ["An\u200bna"]},
        "a contributor with a tag character": {"contributors": ["Anna\U000e0041"]},
        "a contributor with a noncharacter": {"contributors": ["Anna\U0010ffff"]},
        "a contributor that ends with a space": {"contributors": ["Anna "]},
    }
    changed = [(name, good | change) for name, change in changes.items() if change]
    return [("critical is missing", without(good, "critical")), *missing, *changed]


def _bad_releases(good: dict[str, Any]) -> list[Vector]:
    text = release(good)
    payload = payload_of(text)
    about = subject("file-table", TABLE)
    other = release_payload(good | {"version": "2.0"})

    def sealed(**changes: object) -> str:
        return envelope(release_payload(good, **changes), ANNA)

    upper = subject("file-table", TABLE)
    upper["digest"]["blake3"] = upper["digest"]["blake3"].upper()
    no_sha = {"name": "file-table", "digest": {"blake3": blake3(TABLE).hexdigest()}}
    duplicate = payload.replace(b'"files":3', b'"files":3,"files":3')
    bad: list[tuple[str, str, Vector]] = [
        ("a release signed by another key", "SignatureError", {"release": release(good, MALLORY)}),
        (
            "one signature where two must",
            "SignatureError",
            {
                "chain": "two of anna, ben, cleo",
                "release": release(good | {"publisher": ids.format_record(ids.digest(payload_of(TWO_OF_THREE)))}),
            },
        ),
        ("a release shown with another publisher's chain", "StatementError", {"chain": "mallory", "release": text}),
        (
            "a key that is only in a later root",
            "SignatureError",
            {"chain": "anna, then ben", "release": release(good, BEN)},
        ),
        (
            "a retired key under the new root",
            "SignatureError",
            {"chain": "anna, then ben", "release": release(good | {"root": 2}, ANNA)},
        ),
        (
            "a critical field that is not known",
            "CriticalError",
            {"release": release(good | {"critical": ["price"], "price": 5})},
        ),
        (
            "a critical field that is not there",
            "StatementError",
            {"release": release(without(good, "format") | {"critical": ["format"]})},
        ),
        ("a payload with a duplicate key", "JsonError", {"release": envelope(duplicate, ANNA)}),
        (
            "a payload with a float",
            "JsonError",
            {"release": envelope(payload.replace(b'"files":3', b'"files":3.0'), ANNA)},
        ),
        ("a payload with NaN", "JsonError", {"release": envelope(payload.replace(b'"files":3', b'"files":NaN'), ANNA)}),
        ("a payload with a trailing newline", "JsonError", {"release": envelope(payload + b"\n", ANNA)}),
        ("a payload that is a list", "StatementError", {"release": envelope(b"[]", ANNA)}),
        ("another _type", "StatementError", {"release": sealed(_type="https://in-toto.io/Statement/v0.1")}),
        ("another predicateType", "StatementError", {"release": sealed(predicateType="urn:samara:release:2")}),
        ("a predicateType that is a list", "StatementError", {"release": sealed(predicateType=[])}),
        ("a predicate that is null", "StatementError", {"release": sealed(predicate=None)}),
        ("no subject", "StatementError", {"release": sealed(subject=[])}),
        ("two subjects", "StatementError", {"release": sealed(subject=[about, about])}),
        ("a subject that is a text", "StatementError", {"release": sealed(subject=["x"])}),
        ("a subject of another name", "StatementError", {"release": sealed(subject=[subject("table", TABLE)])}),
        ("a subject without SHA-256", "StatementError", {"release": sealed(subject=[no_sha])}),
        ("a digest in upper case", "StatementError", {"release": sealed(subject=[upper])}),
        ("a head in place of a release", "StatementError", {"release": head(payload)}),
        (
            "another release than was asked for",
            "StatementError",
            {"release": text, "expected": ids.format_record(blake3(other).digest())},
        ),
        (
            "another publisher than was asked for",
            "StatementError",
            {"release": text, "publisher": ids.format_record(ids.digest(payload_of(MALLORYS)))},
        ),
        ("a head of another release", "StatementError", {"release": text, "head": head(other)}),
        ("a head of another name", "StatementError", {"release": text, "head": head(payload, name="other")}),
        (
            "a head whose release is not its subject",
            "StatementError",
            {"release": text, "head": head(payload, release=PUBLISHER)},
        ),
        (
            "a head with a subject of another name",
            "StatementError",
            {"release": text, "head": head(payload, about=subject("file-table", payload))},
        ),
        ("a head signed by another key", "SignatureError", {"release": text, "head": head(payload, MALLORY)}),
        (
            "a head of another publisher",
            "StatementError",
            {"release": text, "head": head(payload, publisher=ids.format_record(bytes(32)))},
        ),
        ("a head of sequence 0", "StatementError", {"release": text, "head": head(payload, sequence=0)}),
        (
            "a first head with a previous one",
            "StatementError",
            {"release": text, "head": head(payload, previous=PUBLISHER)},
        ),
        (
            "a second head without a previous one",
            "StatementError",
            {"release": text, "head": head(payload, sequence=2)},
        ),
        ("a head under a root that is not there", "StatementError", {"release": text, "head": head(payload, root=2)}),
        (
            "a head with an unknown critical field",
            "CriticalError",
            {"release": text, "head": head(payload, critical=["until"], until=1)},
        ),
        ("a release in place of a head", "StatementError", {"release": text, "head": text}),
    ]
    return [{"name": name, "chain": "anna", **found, "error": error} for name, error, found in bad]


def ref_vectors() -> list[Vector]:
    identity = ids.format_record(blake3(b"samara vector release").digest())
    peer = "12D3KooWGjx1vT7dAnL1bXDvR2vK9wYcVZ6wUuBJj6gq5o8bX7Wq"
    tcp = f"/ip4/192.0.2.1/tcp/4001/p2p/{peer}"
    link = f"samara:{identity}"

    def ok(what: str, text: str, /, **value: object) -> Vector:
        if value["kind"] == "link":
            value.setdefault("public", True)
        return {"name": what, "text": text, "value": value}

    def address(text: str, dialable: bool) -> dict[str, Any]:
        return {"text": text, "dialable": dialable}

    rows = [
        ok("a release id", identity, kind="release", release=identity),
        ok("a petname and a name", "anna/tiny-llama", kind="name", publisher="anna", name="tiny-llama", version=None),
        ok("a version", "anna/tiny-llama@1.0+cpu", kind="name", publisher="anna", name="tiny-llama", version="1.0+cpu"),
        ok("a publisher id and a name", f"{PUBLISHER}/x", kind="name", publisher=PUBLISHER, name="x", version=None),
        ok("a bare link", link, kind="link", release=identity, n=None, k=None, p=[]),
        ok(
            "a full link",
            f"{link}?n=tiny-llama&k={PUBLISHER}&p={tcp}&p=/ip6/2001:db8::1/tcp/1/p2p/{peer}",
            kind="link",
            release=identity,
            n="tiny-llama",
            k=PUBLISHER,
            p=[address(tcp, True), address(f"/ip6/2001:db8::1/tcp/1/p2p/{peer}", True)],
        ),
        ok(
            "parameters in another order",
            f"{link}?p={tcp}&n=x",
            kind="link",
            release=identity,
            n="x",
            k=None,
            p=[address(tcp, True)],
        ),
        ok(
            "percent-encoding",
            f"{link}?n=%74iny&p=%2Fdns4%2Fexample.org%2ftcp%2F443%2Fp2p%2F{peer}",
            kind="link",
            release=identity,
            n="tiny",
            k=None,
            p=[address(f"/dns4/example.org/tcp/443/p2p/{peer}", True)],
        ),
        ok(
            "an unlisted link",
            f"{link}?v=unlisted&p={tcp}",
            kind="link",
            release=identity,
            n=None,
            k=None,
            public=False,
            p=[address(tcp, True)],
        ),
        ok(
            "a visibility of another version",
            f"{link}?v=x",
            kind="link",
            release=identity,
            n=None,
            k=None,
            public=False,
            p=[],
        ),
        ok(
            "a public link that says so",
            f"{link}?v=public",
            kind="link",
            release=identity,
            n=None,
            k=None,
            p=[],
        ),
        ok("unknown parameters", f"{link}?z=1&z=2&w=%C3%A9&n=x", kind="link", release=identity, n="x", k=None, p=[]),
        ok(
            "an address of an unknown kind",
            f"{link}?p=/ip4/192.0.2.1/udp/1/quic-v1/p2p/{peer}",
            kind="link",
            release=identity,
            n=None,
            k=None,
            p=[address(f"/ip4/192.0.2.1/udp/1/quic-v1/p2p/{peer}", False)],
        ),
        ok(
            "an address without a peer",
            f"{link}?p=/ip4/192.0.2.1/tcp/1",
            kind="link",
            release=identity,
            n=None,
            k=None,
            p=[address("/ip4/192.0.2.1/tcp/1", False)],
        ),
        ok(
            "sixteen addresses",
            link + "?" + "&".join(["p=/ip4/192.0.2.1/tcp/1"] * 16),
            kind="link",
            release=identity,
            n=None,
            k=None,
            p=[address("/ip4/192.0.2.1/tcp/1", False)] * 16,
        ),
    ]
    bad = {
        "nothing": "",
        "a word": "llama",
        "a content id": ids.format_content(CONTENT),
        "a release id in upper case": identity.upper(),
        "a release id with a letter missing": identity[:-1],
        "a release id with stray bits": identity[:-1] + ("b" if identity[-1] == "a" else chr(ord(identity[-1]) + 1)),
        "a space at the end": identity + " ",
        "an empty publisher": "/x",
        "an empty name": "anna/",
        "a petname in upper case": "Anna/x",
        "a petname of 33 characters": "a" * 33 + "/x",
        "a name with a slash": "anna/a/b",
        "an empty version": "anna/x@",
        "a version with an at sign": "anna/x@1@2",
        "a name that begins with a dot": "anna/.x",
        "a link without an id": "samara:",
        "a link with slashes": f"samara://{identity}",
        "a scheme in upper case": f"SAMARA:{identity}",
        "an empty query": f"{link}?",
        "a fragment": f"{link}#x",
        "a fragment in a parameter": f"{link}?n=x#y",
        "two names": f"{link}?n=x&n=y",
        "two visibilities": f"{link}?v=unlisted&v=public",
        "two publishers": f"{link}?k={PUBLISHER}&k={PUBLISHER}",
        "a parameter without a value": f"{link}?n",
        "an empty parameter": f"{link}?n=x&",
        "an empty name in a link": f"{link}?n=",
        "a key with a space": f"{link}?a b=1",
        "a percent sign alone": f"{link}?n=x%",
        "a percent sign with one digit": f"{link}?n=x%4",
        "a percent sign with letters": f"{link}?z=%zz",
        "percent-encoding that is not UTF-8": f"{link}?z=%ff",
        "a character that must be encoded": f"{link}?z=é",
        "a control character": f"{link}?z=\x1b",
        "a name with an encoded newline": f"{link}?n=x%0a",
        "a publisher that is no id": f"{link}?k=anna",
        "seventeen addresses": link + "?" + "&".join(["p=/ip4/192.0.2.1/tcp/1"] * 17),
        "a link of 2049 characters": f"{link}?z=".ljust(2049, "a"),
        "an address without a slash": f"{link}?p=192.0.2.1:4001",
        "an address with an empty part": f"{link}?p=/ip4//tcp/1",
        "an address that ends with a slash": f"{link}?p=/ip4/192.0.2.1/tcp/1/",
        "an address with an encoded space": f"{link}?p=/memory/a%20b",
        "an address of 257 characters": f"{link}?p=/" + "a" * 256,
        "an IPv4 address that cannot be": f"{link}?p=/ip4/192.0.2.256/tcp/1",
        "an IPv4 address with leading zeros": f"{link}?p=/ip4/192.0.2.01/tcp/1",
        "an IPv6 address that cannot be": f"{link}?p=/ip6/2001:db8:::1/tcp/1",
        "an IPv6 address with a scope": f"{link}?p=/ip6/fe80::1%25eth0/tcp/1",
        "a host name that cannot be": f"{link}?p=/dns/-x.example/tcp/1",
        "a port of 0": f"{link}?p=/ip4/192.0.2.1/tcp/0",
        "a port of 65536": f"{link}?p=/ip4/192.0.2.1/tcp/65536",
        "a peer id that is not base58": f"{link}?p=/ip4/192.0.2.1/tcp/1/p2p/0OIl",
    }
    return rows + [{"name": name, "text": text, "error": "LinkError"} for name, text in bad.items()]


# Records of a log.

P256 = bytes.fromhex(
    "3059301306072a8648ce3d020106082a8648ce3d030107034200"
    # The base point of the curve (SEC 2, 2.4.2), uncompressed: a public key of which everybody knows the secret.
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)
FAKE = blake3(b"samara vector record").digest()
"""A record id of which no record is known."""

ISSUED = "2026-02-01T00:00:00Z"


def log_predicate(**changes: object) -> dict[str, Any]:
    return {
        "critical": [],
        "publisher": PUBLISHER,
        "root": 1,
        "position": 2,
        "after": ids.format_record(FAKE),
        "issued": ISSUED,
    } | changes


def about_release() -> dict[str, Any]:
    return subject("release", release_payload())


def release_id() -> str:
    return ids.format_record(blake3(release_payload()).digest())


def record(kind: str, about: dict[str, Any], predicate: dict[str, Any], *keys: SigningKey) -> str:
    return envelope(plain(statement(f"urn:samara:{kind}:1", about, predicate)), *(keys or (ANNA,)))


def about_genesis() -> dict[str, Any]:
    return subject("publisher", payload_of(GENESIS))


def good_records() -> dict[str, tuple[str, dict[str, Any], dict[str, Any]]]:
    """Return for each kind of record a good one: its name, what it is about, its predicate."""
    other = ids.format_record(FAKE)
    mallory = ids.format_record(ids.digest(payload_of(MALLORYS)))
    listed = {"release": release_id(), "publisher": PUBLISHER, "name": "tiny-llama", "version": "1.0"}
    return {
        "a revoked release": (
            "revocation",
            about_release(),
            log_predicate(
                of="release", release=release_id(), reason="security", text="it phones home", replacement=other
            ),
        ),
        "a revoked key": (
            "revocation",
            subject(BEN.did, BEN.public),
            log_predicate(of="key", key=BEN.did, through=1, last=other, text="a stolen laptop"),
        ),
        "an evaluation": (
            "attestation",
            about_release(),
            log_predicate(
                release=release_id(),
                claim="evaluated",
                suite="arc-easy, 0 shots",
                score="0.7125",
                results={"blake3": FAKE.hex(), "sha256": hashlib.sha256(b"results").hexdigest()},
                text="on a CPU",
                expires="2027-02-01T00:00:00Z",
            ),
        ),
        "a collection": (
            "collection",
            about_genesis(),
            log_predicate(
                name="small-and-free",
                title="Small models that are free",
                entries=[listed | {"note": "the smallest that speaks"}, listed | {"release": other}],
                publishers=[{"publisher": PUBLISHER, "petname": "anna"}, {"publisher": mallory, "petname": "mal"}],
                expires="2027-02-01T00:00:00Z",
            ),
        ),
        "a delegation": (
            "delegation",
            about_genesis(),
            log_predicate(
                names=["nightly", "tiny-*"],
                keys=sorted([BEN.did, CLEO.did]),
                threshold=1,
                expires="2027-02-01T00:00:00Z",
            ),
        ),
        "a key binding": (
            "key-binding",
            subject("key", P256),
            log_predicate(key=b64(P256), purpose="oms", expires="2027-02-01T00:00:00Z"),
        ),
        "a head": (
            "head",
            about_release(),
            head_predicate(release_payload())
            | {"position": 2, "after": ids.format_record(FAKE), "expires": "2027-02-01T00:00:00Z"},
        ),
    }


def log_vectors() -> list[Vector]:
    rows: list[Vector] = []
    goods = good_records()

    def good(name: str, base: str, about: dict[str, Any] | None = None, **changes: object) -> None:
        kind, subject_, predicate = goods[base]
        text = record(kind, about or subject_, {k: v for k, v in (predicate | changes).items() if v is not ...})
        identity = ids.format_record(blake3(payload_of(text)).digest())
        rows.append({"name": name, "kind": kind, "chain": "anna", "record": text, "id": identity})

    for base in goods:
        good(base, base)
        good(f"{base} with unknown fields", base, later={"x": [1]})
        none_before = {"through": 0, "last": None} if base == "a revoked key" else {}
        good(f"{base} where a log begins", base, position=1, after=None, **none_before)
        good(f"{base} at the last place", base, position=2**53 - 1)
        good(f"{base} with a critical field that is known", base, critical=["issued"])
    good("a revoked release, without words", "a revoked release", text=..., replacement=...)
    for reason in ("broken", "licence", "withdrawn", "other"):
        good(f"a revoked release: {reason}", "a revoked release", reason=reason)
    good("a revoked key that never counted", "a revoked key", through=0, last=None)
    good("a review", "an evaluation", claim="reviewed", suite=..., score=..., results=..., text=..., expires=...)
    good("a reproduction", "an evaluation", claim="reproduced", suite=..., score=...)
    good("a warning", "an evaluation", claim="harmful", suite=..., score=..., text="it leaks its training data")
    for score in ("0", "-1", "-0.5", "100", "123456789012345.123456789012345"):
        good(f"a score of {score}", "an evaluation", score=score)
    good("an empty collection", "a collection", entries=[], publishers=...)
    good("a delegation of all names", "a delegation", names=["*"])
    good("a delegation that ends", "a delegation", revoked=True)
    good("a key binding that ends", "a key binding", revoked=True)
    good("a key binding for another purpose", "a key binding", purpose="x509-code")
    good("a head outside the log", "a head", position=..., after=..., expires=...)
    for name, (kind, about, predicate) in goods.items():
        for what, error, text in _bad_entries(kind, about, predicate):
            rows.append({"name": f"{name}: {what}", "kind": kind, "chain": "anna", "record": text, "error": error})
    for name, base, changes in _bad_log_fields():
        kind, about, predicate = goods[base]
        changed = {key: value for key, value in (predicate | changes).items() if value is not ...}
        rows.append(
            {
                "name": f"{base}: {name}",
                "kind": kind,
                "chain": "anna",
                "record": record(kind, changes.get("about", about), without(changed, "about")),
                "error": "StatementError",
            }
        )
    return rows


def _bad_entries(kind: str, about: dict[str, Any], good: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What is wrong of every kind alike: whose it is, its place, its subject."""
    made = functools.partial(record, kind)
    payload = plain(statement(f"urn:samara:{kind}:1", about, good))
    other = subject("x", b"another thing")
    first: dict[str, Any] = {"through": 0, "last": None} if "through" in good else {}
    changed: dict[str, dict[str, Any]] = {
        "a position of 0": {"position": 0} | first,
        "a position in a text": {"position": "2"},
        "a position that is true": {"position": True},
        "a position of 1 after another": {"position": 1} | first,
        "a position of 2 after nothing": {"after": None},
        "an after that is no id": {"after": "x"},
        "an after that is a content id": {"after": ids.format_content(FAKE)},
        "another publisher": {"publisher": ids.format_record(ids.digest(payload_of(MALLORYS)))},
        "a root that is not in the chain": {"root": 2},
        "a time without seconds": {"issued": "2026-02-01T00:00Z"},
    }
    needed = ("publisher", "root", "position", "after", "issued")
    bad = [(name, "StatementError", made(about, good | change)) for name, change in changed.items()]
    bad += [(f"{name} is missing", "StatementError", made(about, without(good, name))) for name in needed]
    if "expires" in good:
        for name, expires in (("expires when issued", good["issued"]), ("expires before", "2026-01-01T00:00:00Z")):
            bad.append((name, "StatementError", made(about, good | {"expires": expires})))
        bad.append(("expires that is null", "StatementError", made(about, good | {"expires": None})))
    return [
        *bad,
        ("critical is missing", "StatementError", made(about, without(good, "critical"))),
        ("a critical field that is not known", "CriticalError", made(about, good | {"critical": ["fee"], "fee": 1})),
        ("a critical field that is not there", "StatementError", made(about, good | {"critical": ["fee"]})),
        ("another subject", "StatementError", made(other, good)),
        ("a subject with a wrong SHA-256", *_wrong_sha256(kind, about, good)),
        ("signed by another key", "SignatureError", made(about, good, MALLORY)),
        (
            "another kind of record",
            "StatementError",
            envelope(plain(statement("urn:samara:vote:1", about, good)), ANNA),
        ),
        (
            "a later version of it",
            "StatementError",
            envelope(plain(statement(f"urn:samara:{kind}:2", about, good)), ANNA),
        ),
        ("another payload type", "EnvelopeError", envelope(payload, ANNA, payloadType="application/json")),
        ("no signature", "SignatureError", envelope(payload)),
        ("one key twice", "EnvelopeError", envelope(payload, ANNA, ANNA)),
        ("a signature over the bare payload", "SignatureError", _signed_bare(payload)),
        ("a field twice", "JsonError", envelope(payload.replace(b'"root":1', b'"root":1,"root":1'), ANNA)),
        ("a float", "JsonError", envelope(payload.replace(b'"root":1', b'"root":1.0'), ANNA)),
    ]


def _wrong_sha256(kind: str, about: dict[str, Any], good: dict[str, Any]) -> tuple[str, str]:
    # Of a release that is not at hand, nobody can say what its SHA-256 is: there it is a text that is wrong.
    wrong = "0" * 64 if about["name"] not in ("release",) else "0" * 63
    return "StatementError", record(kind, about | {"digest": about["digest"] | {"sha256": wrong}}, good)


def _signed_bare(payload: bytes) -> str:
    return envelope(payload, signatures=[{"keyid": ANNA.did, "sig": b64(ANNA.sign(payload))}])


def _bad_log_fields() -> list[tuple[str, str, dict[str, Any]]]:
    other = ids.format_record(FAKE)
    listed = {"release": release_id(), "publisher": PUBLISHER, "name": "tiny-llama", "version": "1.0"}
    one, two = {"publisher": PUBLISHER, "petname": "anna"}, {"publisher": other, "petname": "ben"}
    flipped = P256[:-1] + bytes([P256[-1] ^ 1])
    compressed = P256[:26] + b"\x03" + P256[27:59]
    rows: dict[str, dict[str, dict[str, Any]]] = {
        "a revoked release": {
            "of is missing": {"of": ...},
            "of something else": {"of": "publisher"},
            "release is missing": {"release": ...},
            "another release than the subject": {"release": other},
            "reason is missing": {"reason": ...},
            "a reason of null": {"reason": None},
            "another reason": {"reason": "bored"},
            "words with an escape sequence": {"text": "\x1b[2J"},
            "words of 257 characters": {"text": "x" * 257},
            "words of null": {"text": None},
            "a replacement by itself": {"replacement": release_id()},
            "a replacement that is no id": {"replacement": "soon"},
            "a replacement of null": {"replacement": None},
        },
        "a revoked key": {
            "key is missing": {"key": ...},
            "a key that is no did:key": {"key": "ben"},
            "another key than the subject": {"key": CLEO.did},
            "a weak key": {"key": weak_did(1)},
            "through is missing": {"through": ...},
            "through a negative place": {"through": -1},
            "through its own place": {"through": 2},
            "through a place after it": {"through": 3},
            "last is missing": {"last": ...},
            "through a place, and no last": {"last": None},
            "through nothing, and a last": {"through": 0},
            "a last that is no id": {"last": "x"},
            "words that run from right to left": {"text": "\u202ex"},
        },
        "an evaluation": {
            "claim is missing": {"claim": ...},
            "another claim": {"claim": "perfect"},
            "an evaluation without a suite": {"suite": ..., "score": ...},
            "a score without a suite": {"suite": ..., "claim": "reviewed"},
            "a score that is a number": {"score": 1},
            "a score with an exponent": {"score": "1e3"},
            "a score with a leading zero": {"score": "01"},
            "a score with a comma": {"score": "0,7"},
            "a score without digits after the point": {"score": "1."},
            "a score of 16 digits": {"score": "1234567890123456"},
            "a score in other digits": {"score": "٧"},
            "an empty suite": {"suite": ""},
            "results that are a text": {"results": FAKE.hex()},
            "results without SHA-256": {"results": {"blake3": FAKE.hex()}},
            "results in upper case": {"results": {"blake3": FAKE.hex(), "sha256": "AB" * 32}},
            "harmful, without saying why": {"claim": "harmful", "text": ...},
            "another release than the subject": {"release": other},
        },
        "a collection": {
            "name is missing": {"name": ...},
            "a name with a slash": {"name": "a/b"},
            "title is missing": {"title": ...},
            "an empty title": {"title": ""},
            "entries is missing": {"entries": ...},
            "entries that are an object": {"entries": {}},
            "an entry that is a text": {"entries": [release_id()]},
            "an entry without a publisher": {"entries": [without(listed, "publisher")]},
            "an entry without a name": {"entries": [without(listed, "name")]},
            "an entry without a version": {"entries": [without(listed, "version")]},
            "an entry with a version that is a number": {"entries": [listed | {"version": 1}]},
            "a note of null": {"entries": [listed | {"note": None}]},
            "a note with a newline": {"entries": [listed | {"note": "a\nb"}]},
            "a release twice": {"entries": [listed, listed | {"name": "other"}]},
            "publishers of null": {"publishers": None},
            "a publisher that is a text": {"publishers": [PUBLISHER]},
            "a publisher twice": {"publishers": [one, one | {"petname": "ben"}]},
            "a petname twice": {"publishers": [one, two | {"petname": "anna"}]},
            "a petname in upper case": {"publishers": [one | {"petname": "Anna"}]},
            "a petname in Cyrillic": {"publishers": [one | {"petname": "аnna"}]},
            "a petname of 33 characters": {"publishers": [one | {"petname": "a" * 33}]},
        },
        "a delegation": {
            "names is missing": {"names": ...},
            "no names": {"names": []},
            "65 names": {"names": sorted(f"n{i}" for i in range(65))},
            "names out of order": {"names": ["tiny-*", "nightly"]},
            "a name twice": {"names": ["nightly", "nightly"]},
            "a star in the middle": {"names": ["a*b"]},
            "two stars": {"names": ["a**"]},
            "a star at the beginning": {"names": ["*a"]},
            "an empty name": {"names": [""]},
            "a name that is a number": {"names": [1]},
            "a name in Cyrillic": {"names": ["tinу-*"]},
            "keys is missing": {"keys": ...},
            "no keys": {"keys": []},
            "a key twice": {"keys": [BEN.did, BEN.did]},
            "keys out of order": {"keys": sorted([BEN.did, CLEO.did], reverse=True)},
            "a weak key": {"keys": [weak_did(1)]},
            "17 keys": {"keys": [BEN.did] * 17},
            "threshold is missing": {"threshold": ...},
            "a threshold of 0": {"threshold": 0},
            "a threshold above the keys": {"threshold": 3},
            "revoked of false": {"revoked": False},
            "revoked in a text": {"revoked": "true"},
        },
        "a key binding": {
            "key is missing": {"key": ...},
            "a key that is no base64": {"key": "!"},
            "a key that is a number": {"key": 1},
            "an Ed25519 key": {"key": b64(ANNA.public), "about": subject("key", ANNA.public)},
            "a point that is not on the curve": {"key": b64(flipped), "about": subject("key", flipped)},
            "a compressed point": {"key": b64(compressed), "about": subject("key", compressed)},
            "a point of which a byte is missing": {"key": b64(P256[:-1]), "about": subject("key", P256[:-1])},
            "a key with a byte too many": {"key": b64(P256 + b"x"), "about": subject("key", P256 + b"x")},
            "purpose is missing": {"purpose": ...},
            "an empty purpose": {"purpose": ""},
            "a purpose in upper case": {"purpose": "OMS"},
            "a purpose of 33 characters": {"purpose": "a" * 33},
            "revoked of false": {"revoked": False},
        },
        "a head": {
            "a delegate with a place": {"delegation": other, "critical": ["delegation"]},
            "a delegation that is not critical": {
                "delegation": other,
                "position": ...,
                "after": ...,
            },
            "a delegation that is not known": {
                "delegation": other,
                "critical": ["delegation"],
                "position": ...,
                "after": ...,
            },
            "a delegation of null": {"delegation": None, "position": ..., "after": ...},
        },
    }
    return [(name, base, changes) for base, found in rows.items() for name, changes in found.items()]


def delegated_vectors() -> list[Vector]:
    """Heads by delegates, beside the delegation that they name."""
    kind, about, predicate = good_records()["a delegation"]
    given = record(kind, about, predicate)
    names = {
        "given": given,
        "both": record(kind, about, predicate | {"threshold": 2}),
        "ended": record(kind, about, predicate | {"revoked": True}),
        "mallory's": record(
            kind,
            subject("publisher", payload_of(MALLORYS)),
            predicate | {"publisher": ids.format_record(ids.digest(payload_of(MALLORYS)))},
            MALLORY,
        ),
    }

    def delegated(which: str, *keys: SigningKey, **changes: object) -> str:
        identity = ids.format_record(blake3(payload_of(names[which])).digest())
        said = head_predicate(release_payload(), **{"delegation": identity, "critical": ["delegation"]} | changes)
        return record("head", about_release(), said, *keys)

    good = [
        ("a head by a delegate", delegated("given", BEN)),
        ("a head by two delegates", delegated("both", BEN, CLEO)),
        ("a head on the last day of a delegation", delegated("given", CLEO, issued="2027-02-01T00:00:00Z")),
    ]
    bad = [
        ("signed by the publisher and by no delegate", "SignatureError", delegated("given", ANNA)),
        ("signed by a stranger", "SignatureError", delegated("given", MALLORY)),
        ("one signature where two must", "SignatureError", delegated("both", BEN)),
        ("a name that is not delegated", "StatementError", delegated("given", BEN, name="large")),
        ("the beginning of a name that is", "StatementError", delegated("given", BEN, name="night")),
        ("a delegation that ends", "StatementError", delegated("ended", BEN)),
        ("another publisher's delegation", "StatementError", delegated("mallory's", BEN)),
        ("after the delegation", "SignatureError", delegated("given", BEN, issued="2027-02-01T00:00:01Z")),
        ("under a root that is not in the chain", "StatementError", delegated("given", BEN, root=2)),
        (
            "a record of another kind in place of a delegation",
            "StatementError",
            delegated("given", BEN, delegation=release_id()),
        ),
    ]
    known = list(names.values())
    base: Vector = {"kind": "head", "chain": "anna", "delegations": known}
    return [
        *({"name": name, **base, "record": text} for name, text in good),
        *({"name": f"delegated: {name}", **base, "record": text, "error": error} for name, error, text in bad),
    ]


# Logs: records that are each intact, and what they say together.


class Log:
    """A publisher's log as it grows; `copy` is a second one with the same beginning."""

    def __init__(self, chain: PublisherChain, key: SigningKey) -> None:
        self.chain, self.key = chain, key
        self.place = Place.first()
        self.heads: dict[str, VerifiedHead] = {}
        self.said: list[str] = []

    def copy(self) -> Log:
        other = Log(self.chain, self.key)
        other.place, other.heads, other.said = self.place, dict(self.heads), list(self.said)
        return other

    def head(self, release: bytes, name: str = "tiny-llama", **changes: object) -> str:
        said: dict[str, Any] = {"previous": self.heads.get(name), "issued": ISSUED, "place": self.place} | changes
        found = make_head(self.chain, name=name, release=release, keys=[self.key], **said)
        self.heads[name] = found
        return self.took(found) if found.head.place is not None else found.envelope.decode()

    def revoke(self, release: bytes) -> str:
        about = Subject.of("release", release)
        more: dict[str, Any] = {"place": self.place, "issued": ISSUED, "keys": [self.key]}
        return self.took(make_release_revocation(self.chain, release=about, reason=Reason.BROKEN, **more))

    def revoke_key(self, key: SigningKey, last: Place) -> str:
        more: dict[str, Any] = {"place": self.place, "issued": ISSUED, "keys": [self.key]}
        return self.took(make_key_revocation(self.chain, key=key.did, last=last, **more))

    def delegate(self, *keys: SigningKey, **changes: object) -> Verified[Delegation]:
        more: dict[str, Any] = {"place": self.place, "issued": ISSUED, "keys": [self.key], "names": ["tiny*"]} | changes
        given = make_delegation(self.chain, delegates=[key.did for key in keys], **more)
        self.took(given)
        return given

    def lent(self, given: Verified[Delegation], key: SigningKey, release: bytes, **changes: object) -> str:
        """A head by a delegate; it has no place in the log."""
        more: dict[str, Any] = {"name": "tiny-llama", "previous": None, "issued": ISSUED} | changes
        under = {"delegation": given.id, "delegations": {given.id: given}}
        return make_head(self.chain, release=release, keys=[key], **more, **under).envelope.decode()

    def took(self, found: VerifiedHead | Verified[Revocation] | Verified[Delegation]) -> str:
        self.place = self.place.next(found.id) if self.place.position < MAX_POSITION else self.place
        self.said.append(found.envelope.decode())
        return self.said[-1]

    def rotate(self, place: Place | None = None) -> list[str]:
        """Ben takes over from Anna; his heads begin anew."""
        self.chain, self.key, self.heads = ANNA_THEN_BEN, BEN, {}
        self.place = place or self.place
        return [text.decode() for text in ANNA_THEN_BEN.envelopes]


def ledger_vectors() -> list[Vector]:
    rows: list[Vector] = []

    def row(
        name: str, steps: list[Vector], *, error: str | None = None, roots: str = "anna", **expected: object
    ) -> None:
        rows.append({"name": name, "chain": roots, "steps": steps} | ({"error": error} if error else expected))

    def records(*texts: str) -> list[Vector]:
        return [{"record": text} for text in texts]

    def named(text: str) -> str:
        return ids.format_record(blake3(payload_of(text)).digest())

    def release(data: bytes) -> str:
        return ids.format_record(blake3(data).digest())

    def tip(text: str, **heads: bytes) -> dict[str, Any]:
        found = {"tiny-llama": heads.pop("tiny")} if "tiny" in heads else {}
        return {"tip": named(text), "heads": {name: release(data) for name, data in found.items()}}

    def log() -> Log:
        return Log(ANNA_ONLY, ANNA)

    # What is taken.
    a = log()
    a.head(b"1")
    a.head(b"2")
    row("two heads", records(*a.said), **tip(a.said[-1], tiny=b"2"), missing=[], revoked=[], frozen=False)
    row("in the other order", records(*a.said[::-1]), **tip(a.said[-1], tiny=b"2"), missing=[], frozen=False)
    row("the second alone", records(a.said[1]), **tip(a.said[-1], tiny=b"2"), missing=[[1, 1]], frozen=False)
    row("each twice", records(*a.said, *a.said), **tip(a.said[-1], tiny=b"2"), missing=[], frozen=False)
    a.revoke(b"1")
    row("a revocation", records(*a.said), **tip(a.said[-1], tiny=b"2"), revoked=[release(b"1")], frozen=False)
    row("a revocation alone", records(a.said[2]), tip=named(a.said[2]), missing=[[1, 2]], revoked=[release(b"1")])
    b = a.copy()
    roots = b.rotate()
    row(
        "roots that were replaced, and nothing since",
        [*records(*a.said), {"roots": roots}],
        tip=named(a.said[-1]),
        heads={},
        revoked=[release(b"1")],
    )
    b.head(b"3", "other")
    row(
        "roots that were replaced, and a record since",
        [*records(*a.said), {"roots": roots}, *records(b.said[-1])],
        tip=named(b.said[-1]),
        heads={"tiny-llama": release(b"2"), "other": release(b"3")},
        revoked=[release(b"1")],
    )
    row(
        "a record of a kind that is not known",
        records(record("vote", about_genesis(), log_predicate(position=1, after=None, says="yes"))),
        heads={},
        missing=[],
    )

    # Forks.
    c, d = log(), log()
    for each in (c, d):
        each.head(b"1")
    c.head(b"2")
    d.head(b"3")
    d.head(b"4")
    row("two records of one position", records(*c.said, d.said[1]), error="ForkError")
    row("a record that follows another", records(*c.said, d.said[2]), error="ForkError")
    row("a record that another does not follow", records(c.said[0], d.said[2], c.said[1]), error="ForkError")
    frozen = [*records(*c.said), {"fork": [c.said[1], d.said[1]]}]
    row("a proof of a fork", frozen, **tip(c.said[-1], tiny=b"2"), frozen=True)
    e = c.copy()
    e.head(b"5")
    row("a record after a fork", [*frozen, *records(e.said[-1])], error="ForkError")
    e = c.copy()
    e.revoke(b"2")
    row("a revocation after a fork", [*frozen, *records(e.said[-1])], revoked=[release(b"2")], frozen=True)
    for name, branch in (("one", c), ("the other", d)):
        f = branch.copy()
        roots = f.rotate()
        f.head(b"6", "other")
        row(
            f"a new root that goes on from {name} branch",
            [*frozen, {"roots": roots}, *records(*f.said[::-1])],
            tip=named(f.said[-1]),
            frozen=False,
            missing=[],
        )
    row("what proves no fork", [*records(*c.said), {"fork": c.said}], error="StatementError")
    row("a record and itself", [*records(*c.said), {"fork": [c.said[0], c.said[0]]}], error="StatementError")
    g = log()
    g.head(b"1")
    g.heads = {}
    row("a sequence again at another position", records(g.said[0], g.head(b"2")), error="ForkError")
    h = log()
    loose = [h.head(b"1", place=None), h.copy().head(b"2", place=None, previous=None)]
    row("two heads outside the log", records(*loose), error="ForkError")
    other_root = make_next_root(ANNA_ONLY, [CLEO.did], [ANNA, CLEO])
    row(
        "two roots of one version",
        [{"roots": [GENESIS.decode(), other_root.decode()]}],
        error="ForkError",
        roots="anna, then ben",
    )

    # Keys that were replaced, or revoked.
    i = log()
    i.head(b"1")
    thief, last = i.copy(), i.place
    roots = i.rotate()
    i.revoke_key(ANNA, last)
    i.head(b"2")
    evil = thief.head(b"evil")
    base = [*records(thief.said[0]), {"roots": roots}]
    row(
        "what a thief signed, and then the key was revoked",
        [*records(thief.said[0], evil), {"roots": roots}, *records(*i.said[1:])],
        **tip(i.said[-1], tiny=b"2"),
        frozen=False,
    )
    row("what a revoked key signs", [*base, *records(i.said[1], evil)], error="RevokedError")
    row(
        "what a revoked key signs further on", [*base, *records(*i.said[1:], thief.head(b"more"))], error="RevokedError"
    )
    row("what a revoked key revokes", [*base, *records(*i.said[1:], thief.revoke(b"1"))], error="RevokedError")
    thief_key = thief.revoke_key(BEN, Place.first())
    row(
        "a replaced key revokes its successor",
        [*base, *records(thief_key, *i.said[1:])],
        **tip(i.said[-1], tiny=b"2"),
        revoked_keys=[ANNA.did],
    )
    j = log()
    j.head(b"1")
    old = j.copy()
    roots = j.rotate()
    j.head(b"2")
    base = [*records(old.said[0]), {"roots": roots}, *records(j.said[1])]
    row("a replaced key at its successor's place", [*base, *records(old.head(b"x"))], error="RollbackError")
    row("a replaced key beyond its successor's place", [*base, *records(old.head(b"y"))], error="RollbackError")
    row("a replaced key revokes", [*base, *records(old.revoke(b"1"))], revoked=[release(b"1")], frozen=False)
    j.chain, j.key = ANNA_ONLY, ANNA
    row("an older root after a newer one", [*base, *records(j.head(b"z", "other"))], error="RollbackError")
    k = log()
    k.head(b"1")
    k.place = Place(4, k.heads["tiny-llama"].id)
    row("a record after one of another position", records(*k.said, k.head(b"2")), error="StatementError")
    far = log()
    far.head(b"1")
    good = far.copy()
    far.place = Place(MAX_POSITION, FAKE)
    far.head(b"evil")
    roots = good.rotate()
    good.head(b"2")
    row("the last place of the log", records(*far.said), missing=[[2, MAX_POSITION - 1]], tip=named(far.said[1]))
    row(
        "a new root after the last place",
        [*records(*far.said), {"roots": roots}, *records(good.said[1])],
        **tip(good.said[1], tiny=b"2"),
        missing=[],
    )

    # Delegates.
    lending = log()
    given = lending.delegate(BEN)
    (delegation,) = lending.said
    lent = lending.lent(given, BEN, b"1")
    row("a delegate's head", records(delegation, lent), **tip(delegation, tiny=b"1"), missing=[], frozen=False)
    row("a delegate's head before its delegation", records(lent), error="StatementError")
    ended = lending.copy()
    ended.delegate(BEN, revoked=True)
    row("a delegation that ended", records(*ended.said, lent), **tip(ended.said[-1]), frozen=False)
    renewed = lending.copy()
    renewed.delegate(BEN, expires="2030-01-01T00:00:00Z")
    row("a delegation that was renewed", records(*renewed.said, lent), **tip(renewed.said[-1], tiny=b"1"))
    changed = lending.copy()
    changed.delegate(CLEO)
    row("a delegation that went to another key", records(*changed.said, lent), **tip(changed.said[-1]))
    two = lending.copy()
    two.delegate(BEN, names=["tiny-*"])
    row("other names, delegated to the same key", records(*two.said, lent), **tip(two.said[-1], tiny=b"1"))
    own = lending.copy()
    own.head(b"2")
    row("the publisher's own head at a delegate's sequence", records(*own.said, lent), **tip(own.said[-1], tiny=b"2"))
    twice = lending.lent(given, BEN, b"3")
    row("a fork by a delegate", records(delegation, lent, twice), error="ForkError")
    row(
        "a proof of it, which freezes nobody",
        [*records(delegation, lent), {"fork": [lent, twice]}],
        **tip(delegation),
        frozen=False,
    )
    saved = log()
    to_cleo = saved.delegate(CLEO)
    lent = saved.lent(to_cleo, CLEO, b"1")
    before = [*records(*saved.said, lent), {"roots": saved.rotate()}]
    row("a delegation under a root that was replaced, and nothing since", before, **tip(saved.said[-1]))
    saved.delegate(CLEO)
    row(
        "a delegation that was signed anew under a new root",
        [*before, *records(saved.said[-1])],
        **tip(saved.said[-1], tiny=b"1"),
    )

    mallory = Log(PublisherChain.verify([MALLORYS]), MALLORY)
    row("another publisher's record", records(mallory.head(b"1")), error="StatementError")
    row("a release in a log", records(envelope(release_payload(), ANNA)), error="StatementError")
    row("a root in a log", records(GENESIS.decode()), error="StatementError")
    return rows


def license_vectors() -> list[Vector]:
    rows = [
        (None, "NOASSERTION", "unclear"),
        ("", "NOASSERTION", "unclear"),
        ("other", "NOASSERTION", "unclear"),
        ("unknown", "NOASSERTION", "unclear"),
        ("mit", "MIT", "allowed"),
        ("MIT License", "MIT", "allowed"),
        ("apache-2.0", "Apache-2.0", "allowed"),
        ("Apache License, Version 2.0", "Apache-2.0", "allowed"),
        ("cc0-1.0", "CC0-1.0", "allowed"),
        ("cc-by-4.0", "CC-BY-4.0", "allowed"),
        ("cc-by-nd-4.0", "CC-BY-ND-4.0", "allowed"),
        ("cc-by-nc-4.0", "CC-BY-NC-4.0", "unclear"),
        ("cc-by-nc-sa-4.0", "CC-BY-NC-SA-4.0", "unclear"),
        ("gpl-3.0", "GPL-3.0-only", "allowed"),
        ("GPL-3.0+", "GPL-3.0-or-later", "allowed"),
        ("odc-by", "ODC-By-1.0", "allowed"),
        ("openrail++", "LicenseRef-CreativeML-OpenRAIL-plus-plus-M", "allowed"),
        ("bigscience-openrail-m", "LicenseRef-BigScience-OpenRAIL-M", "allowed"),
        ("llama2", "LicenseRef-Llama-2-Community", "allowed"),
        ("llama3.1", "LicenseRef-Llama-3.1-Community", "allowed"),
        ("llama3.2", "LicenseRef-Llama-3.2-Community", "unclear"),
        ("gemma", "LicenseRef-Gemma", "allowed"),
        ("qwen-research", "LicenseRef-qwen-research", "unclear"),
        ("LicenseRef-mine", "LicenseRef-mine", "unclear"),
        ("proprietary", "LicenseRef-Proprietary", "forbidden"),
        ("All rights reserved", "LicenseRef-Proprietary", "forbidden"),
        ("mit or apache-2.0", "MIT OR Apache-2.0", "allowed"),
        ("MIT AND CC-BY-NC-4.0", "MIT AND CC-BY-NC-4.0", "unclear"),
        ("MIT OR proprietary AND mit", "MIT OR LicenseRef-Proprietary AND MIT", "allowed"),
        (
            "(MIT OR proprietary) AND proprietary",
            "(MIT OR LicenseRef-Proprietary) AND LicenseRef-Proprietary",
            "forbidden",
        ),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "GPL-2.0-only WITH Classpath-exception-2.0", "allowed"),
        ("Apache-2.0 WITH Commons-Clause", "Apache-2.0 WITH Commons-Clause", "unclear"),
        ("MIT AND", "LicenseRef-MIT-AND", "unclear"),
    ]
    return [{"said": said, "license": license_id, "redistribution": verdict} for said, license_id, verdict in rows]


def build() -> dict[str, str]:
    """Return the text of each file by its name."""
    files: dict[str, object] = {
        "keys.json": {name: {"seed": SEEDS[name].hex(), "did": KEYS[name].did} for name in SEEDS},
        "json.json": {"max_bytes": 150_000, "vectors": json_vectors()},
        "envelope.json": {"vectors": envelope_vectors()},
        "publisher.json": {"vectors": publisher_vectors()},
        "release.json": {"table": TABLE.decode(), "chains": CHAINS, "vectors": release_vectors()},
        "log.json": {"chains": CHAINS, "vectors": [*log_vectors(), *delegated_vectors()]},
        "ledger.json": {"chains": CHAINS, "vectors": ledger_vectors()},
        "ref.json": {"vectors": ref_vectors()},
        "license.json": {"vectors": license_vectors()},
    }
    return {name: json.dumps(value, indent=1, ensure_ascii=True) + "\n" for name, value in files.items()}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, text in build().items():
        (FOLDER / name).write_text(text, encoding="ascii", newline="\n")


if __name__ == "__main__":
    main()
