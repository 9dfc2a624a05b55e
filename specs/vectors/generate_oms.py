"""Writes the vectors of specs/oms.md: `python specs/vectors/generate_oms.py` (with `src` on the path).

Deterministic: keys are made from committed seeds, and their nonces of keys and messages. Negative vectors are built
from raw bytes and signed afterwards, so that each has the one failure that its name says, and no other.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from samara.protocol.dsse import PAYLOAD_TYPE, pae
from samara.protocol.ids import PublisherId, ReleaseId, digest, format_record
from samara.protocol.oms import Made, OmsKey, make_manifest, sign_manifest

FILE = Path(__file__).parent / "oms.json"

SEEDS = {name: hashlib.sha256(f"samara vector oms key {name}".encode()).digest() for name in ("anna", "mallory")}
KEYS = {name: OmsKey(seed) for name, seed in SEEDS.items()}
ANNA = KEYS["anna"]

MADE = Made(PublisherId(digest(b"samara vector publisher")), ReleaseId(digest(b"samara vector release")))
OTHERS = {
    "publisher": format_record(MADE.publisher),
    "release": format_record(MADE.release),
    "signer": format_record(PublisherId(digest(b"samara vector signer"))),
}
MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"

Vector = dict[str, Any]


def plain(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def sha(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


FILES = {name: sha(name) for name in ("README.md", "a-b", "a/b", "a/ö.bin", "weights.gguf")}


def statement(
    *,
    resources: list[Any] | None = None,
    serialization: dict[str, object] | None = None,
    predicate: dict[str, object] | None = None,
    **changes: object,
) -> dict[str, Any]:
    """A statement of two files, with other resources, or with changes of its parts."""
    if resources is None:
        resources = [resource("config.json"), resource("weights.gguf")]
    method = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": ["model.sig"]}
    found = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "tiny", "digest": {"sha256": root_of(resources)}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {"serialization": method | (serialization or {}), "resources": resources} | (predicate or {}),
    }
    return found | changes


def resource(path: str, **changes: object) -> dict[str, Any]:
    return {"name": path, "algorithm": "sha256", "digest": sha(path).hex()} | changes


def root_of(resources: list[Any]) -> str:
    digests = [str(each["digest"]) for each in resources if isinstance(each, dict) and "digest" in each]
    try:
        return hashlib.sha256(b"".join(map(bytes.fromhex, digests))).hexdigest()
    except ValueError:
        return "0" * 64


def without(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in names}


def bundle(
    payload: bytes,
    key: OmsKey = ANNA,
    *,
    envelope: dict[str, object] | None = None,
    material: dict[str, object] | None = None,
    **changes: object,
) -> dict[str, Any]:
    """A signature file of a payload, with changes of its parts."""
    signature = {"keyid": "", "sig": b64(key.sign(pae(PAYLOAD_TYPE, payload)))}
    right = {"payload": b64(payload), "payloadType": PAYLOAD_TYPE, "signatures": [signature]}
    found = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": key.public.hint}, "tlogEntries": []} | (material or {}),
        "dsseEnvelope": right | (envelope or {}),
    }
    return found | changes


def signed(found: dict[str, Any] | bytes, key: OmsKey = ANNA) -> str:
    """The signature file of a statement."""
    return plain(bundle(found if isinstance(found, bytes) else plain(found), key)).decode()


def keys() -> list[Vector]:
    return [
        {
            "name": name,
            "seed": SEEDS[name].hex(),
            "pem": key.public.pem.decode(),
            "hint": key.public.hint,
            "spki": b64(key.public.spki),
        }
        for name, key in KEYS.items()
    ]


def written() -> list[Vector]:
    rows = []
    for name, files, signature, symlinks in (
        ("one file", {"weights.gguf": FILES["weights.gguf"]}, "model.sig", False),
        ("the order is that of the parts of paths", FILES, "model.sig", False),
        ("the signature file lies elsewhere", FILES, None, False),
        ("files are links", FILES, "model.sig", True),
        (
            "what belongs to git is left out",
            {**FILES, ".gitattributes": sha("x"), ".git/config": sha("y")},
            "model.sig",
            False,
        ),
        ("a name that only begins like git's is kept", {".gitkeep": sha("x")}, "model.sig", False),
        ("a file where files of no model lie", {".cache/huggingface/x": sha("x")}, "model.sig", False),
    ):
        manifest = make_manifest("tiny-llama", files.items(), signature=signature, symlinks=symlinks, made=MADE)
        rows.append(
            {
                "name": name,
                "files": {path: found.hex() for path, found in files.items()},
                "signature": signature,
                "symlinks": symlinks,
                "key": "anna",
                "publisher": format_record(MADE.publisher),
                "release": format_record(MADE.release),
                "file": sign_manifest(manifest, ANNA).decode(),
            }
        )
    return rows


def accepted() -> list[Vector]:
    """What others write, and Samara takes."""
    tidy = json.dumps(statement(), indent=2).encode()
    backwards = [resource("b"), resource("a")]

    def naming(key: dict[str, object]) -> str:
        return plain(bundle(plain(statement()), material={"publicKey": key})).decode()

    bare = bundle(plain(statement())) | {"verificationMaterial": {"publicKey": {"hint": ANNA.public.hint}}}
    rows = [
        ("as the tool writes it", signed(statement())),
        ("white space between the tokens of the statement", signed(tidy)),
        ("resources in another order", signed(statement(resources=backwards))),
        ("no ignored paths", signed(statement(serialization={"ignore_paths": []}))),
        ("a model that is one file", signed(statement(resources=[resource(".")]))),
        ("somebody else's release", signed(statement(predicate={"samara": OTHERS}))),
        ("fields of a later version", signed(statement(predicate={"card": {"a": 1}}, later=True))),
        ("no hint", naming({})),
        ("an empty hint", naming({"hint": ""})),
        ("a hint of null", naming({"hint": None})),
        ("the key's bytes, as before 1.1", naming({"rawBytes": "AAAA", "keyDetails": "PKIX_ECDSA_P256_SHA_256"})),
        ("no log entries at all", plain(bare).decode()),
    ]
    return [{"name": name, "file": file} for name, file in rows]


def refused_files() -> list[tuple[str, str, str]]:
    payload = plain(statement())
    good = signed(payload)
    sig = base64.b64decode(json.loads(good)["dsseEnvelope"]["signatures"][0]["sig"])
    one = {"keyid": "", "sig": b64(sig)}
    mallory = KEYS["mallory"]

    def changed(
        envelope: dict[str, object] | None = None, material: dict[str, object] | None = None, **changes: object
    ) -> str:
        return plain(bundle(payload, envelope=envelope, material=material, **changes)).decode()

    def sealed(text: str) -> str:
        return changed({"payload": text})

    def by(signature: bytes) -> str:
        return changed({"signatures": [{"keyid": "", "sig": b64(signature)}]})

    def kept(**more: object) -> str:
        return changed({"signatures": [one | more]})

    def hinting(hint: object) -> str:
        return changed(material={"publicKey": {"hint": hint}})

    return [
        ("nothing", "", "JsonError"),
        ("cut off", good[:-1], "JsonError"),
        ("a line feed after it", good + "\n", "JsonError"),
        ("a byte-order mark", "\ufeff" + good, "JsonError"),
        ("a key twice", good[:-1] + f',"mediaType":"{MEDIA_TYPE}"}}', "JsonError"),
        ("a float", changed(material={"tlogEntries": [0.5]}), "JsonError"),
        ("too deep", changed(material={"tlogEntries": json.loads("[" * 20 + "]" * 20)}), "JsonError"),
        ("a list", "[]", "EnvelopeError"),
        ("another media type", changed(mediaType=MEDIA_TYPE.replace("0.3", "0.2")), "EnvelopeError"),
        ("no media type", plain(without(bundle(payload), "mediaType")).decode(), "EnvelopeError"),
        ("no material", plain(without(bundle(payload), "verificationMaterial")).decode(), "EnvelopeError"),
        ("no envelope", plain(without(bundle(payload), "dsseEnvelope")).decode(), "EnvelopeError"),
        ("a message signature beside the envelope", changed(messageSignature={}), "EnvelopeError"),
        ("a field that is not known", changed(extra=1), "EnvelopeError"),
        ("a certificate", changed(material={"certificate": {"rawBytes": "AAAA"}}), "EnvelopeError"),
        ("a chain of certificates", changed(material={"x509CertificateChain": {}}), "EnvelopeError"),
        ("a field of the material that is not known", changed(material={"extra": 1}), "EnvelopeError"),
        ("no key", changed(material={"publicKey": None}), "EnvelopeError"),
        ("a field of the key that is not known", changed(material={"publicKey": {"extra": 1}}), "EnvelopeError"),
        ("log entries", changed(material={"tlogEntries": [{}]}), "EnvelopeError"),
        ("log entries that are no list", changed(material={"tlogEntries": {}}), "EnvelopeError"),
        ("a hint in capitals", hinting(ANNA.public.hint.upper()), "EnvelopeError"),
        ("a hint that is too short", hinting(ANNA.public.hint[:-1]), "EnvelopeError"),
        ("a hint that is a number", hinting(7), "EnvelopeError"),
        ("another payload type", changed({"payloadType": "application/json"}), "EnvelopeError"),
        ("no payload", sealed(""), "EnvelopeError"),
        ("a payload in base64 for URLs", sealed("_-__"), "EnvelopeError"),
        ("a payload without its padding", sealed("eA"), "EnvelopeError"),
        ("a payload with stray bits", sealed("eB=="), "EnvelopeError"),
        ("white space in a payload", sealed(b64(payload)[:4] + "\n" + b64(payload)[4:]), "EnvelopeError"),
        ("a field of the envelope that is not known", changed({"extra": 1}), "EnvelopeError"),
        ("no signature", changed({"signatures": []}), "EnvelopeError"),
        ("two signatures", changed({"signatures": [one, one]}), "EnvelopeError"),
        ("signatures that are no list", changed({"signatures": one}), "EnvelopeError"),
        ("a signature that is a text", changed({"signatures": [b64(sig)]}), "EnvelopeError"),
        ("a field of the signature that is not known", kept(extra=1), "EnvelopeError"),
        ("a keyid that is no text", kept(keyid=1), "EnvelopeError"),
        ("a keyid that is too long", kept(keyid="a" * 257), "EnvelopeError"),
        ("an empty signature", kept(sig=""), "EnvelopeError"),
        ("a signature that is too long", by(sig + bytes(100)), "EnvelopeError"),
        ("the hint of another key", hinting(mallory.public.hint), "SignatureError"),
        ("the signature of another key", by(mallory.sign(pae(PAYLOAD_TYPE, payload))), "SignatureError"),
        ("a signature of the payload alone", by(ANNA.sign(payload)), "SignatureError"),
        ("a signature under another payload type", by(ANNA.sign(pae("text/plain", payload))), "SignatureError"),
        ("a signature that is no DER", by(bytes(64)), "SignatureError"),
        ("a signature with a byte after it", by(sig + b"\0"), "SignatureError"),
        ("a byte of the signature changed", by(sig[:-1] + bytes([sig[-1] ^ 1])), "SignatureError"),
        ("a byte of the payload changed", sealed(b64(payload.replace(b"tiny", b"tinz"))), "SignatureError"),
    ]


def refused_statements() -> list[tuple[str, dict[str, Any] | bytes, str]]:
    good = statement()
    about = good["subject"][0]
    twice = [resource("a"), resource("a", digest=sha("b").hex())]
    many = [f"d{number}" for number in range(257)]

    def one(**changes: object) -> dict[str, Any]:
        return statement(resources=[resource("a", **changes)])

    def ignoring(paths: object, *files: str) -> dict[str, Any]:
        resources = [resource(file) for file in files] or None
        return statement(resources=resources, serialization={"ignore_paths": paths})

    def about_a(digest: dict[str, object]) -> dict[str, Any]:
        return good | {"subject": [about | {"digest": digest}]}

    def by_method(**changes: object) -> dict[str, Any]:
        return statement(serialization=changes)

    release = {"publisher": "x", "release": "y"}

    return [
        ("the statement is no JSON", b"{", "JsonError"),
        ("the statement has a float", plain(good)[:-1] + b',"a":0.5}', "JsonError"),
        ("the statement has a key twice", plain(good)[:-1] + b',"_type":""}', "JsonError"),
        ("the statement is a list", b"[]", "StatementError"),
        ("another type of statement", good | {"_type": "https://in-toto.io/Statement/v0.1"}, "StatementError"),
        ("no type", without(good, "_type"), "StatementError"),
        ("a release of Samara", good | {"predicateType": "urn:samara:release:1"}, "StatementError"),
        ("the format before 1.0", good | {"predicateType": "https://model_signing/Digests/v0.1"}, "StatementError"),
        ("no subject", good | {"subject": []}, "StatementError"),
        ("two subjects", good | {"subject": [about, about]}, "StatementError"),
        ("a subject without a name", good | {"subject": [without(about, "name")]}, "StatementError"),
        ("a name that steers terminals", good | {"subject": [about | {"name": "\x1b[2J"}]}, "StatementError"),
        ("a subject without a digest", good | {"subject": [without(about, "digest")]}, "StatementError"),
        ("a subject with another digest", about_a({"sha256": "0" * 64}), "StatementError"),
        ("a subject with another algorithm", about_a({"sha512": "0" * 128}), "StatementError"),
        ("no predicate", without(good, "predicate"), "StatementError"),
        ("no serialization", good | {"predicate": without(good["predicate"], "serialization")}, "StatementError"),
        ("shards", by_method(method="shards", shard_size=1000), "StatementError"),
        ("another hash", by_method(hash_type="blake3"), "StatementError"),
        ("links that are neither allowed nor not", by_method(allow_symlinks="false"), "StatementError"),
        ("ignored paths that are no list", ignoring("model.sig"), "StatementError"),
        ("ignored paths of null", ignoring(None), "StatementError"),
        ("too many ignored paths", ignoring(many), "StatementError"),
        ("an ignored path that is a number", ignoring([1]), "StatementError"),
        ("an ignored path that is everything", ignoring(["."]), "StatementError"),
        ("an ignored path that is empty", ignoring([""]), "StatementError"),
        ("an ignored path above the folder", ignoring(["../x"]), "StatementError"),
        ("an ignored path out and in again", ignoring(["a/../.."]), "StatementError"),
        ("an ignored path that is absolute", ignoring(["/etc"]), "StatementError"),
        ("an ignored path that ends in a slash", ignoring([".git/"]), "StatementError"),
        ("a resource that is an ignored path", ignoring(["config.json"]), "StatementError"),
        ("a resource below an ignored path", ignoring(["a"], "a/b/c"), "StatementError"),
        ("no resources", statement(resources=[]), "StatementError"),
        ("resources that are no list", good | {"predicate": good["predicate"] | {"resources": {}}}, "StatementError"),
        ("a resource that is a text", statement(resources=["a"]), "StatementError"),
        ("a resource twice", statement(resources=twice), "StatementError"),
        ("a resource without a name", statement(resources=[without(resource("a"), "name")]), "StatementError"),
        ("a resource whose name is a number", one(name=1), "StatementError"),
        ("a resource with another algorithm", one(algorithm="blake2b"), "StatementError"),
        ("a digest that is too short", one(digest="00" * 31), "StatementError"),
        ("a digest in capitals", one(digest=sha("a").hex().upper()), "StatementError"),
        ("one file and another", statement(resources=[resource("."), resource("a")]), "StatementError"),
        ("a release that is no id", statement(predicate={"samara": release}), "StatementError"),
        ("a signer that is no id", statement(predicate={"samara": OTHERS | {"signer": "x"}}), "StatementError"),
        ("a signer of null", statement(predicate={"samara": OTHERS | {"signer": None}}), "StatementError"),
        ("a path above the folder", one(name="../a"), "PathError"),
        ("an absolute path", one(name="/a"), "PathError"),
        ("a path with an empty part", one(name="a//b"), "PathError"),
        ("a path with a backslash", one(name="a\\b"), "PathError"),
        ("a path with a shard's range", one(name="a:0:10"), "PathError"),
        ("a path that is a device", one(name="con"), "PathError"),
        ("a path that is not in normal form C", one(name="o\u0308"), "PathError"),
        ("two paths that differ in case", statement(resources=[resource("a"), resource("A")]), "PathError"),
        ("a file where a folder is", statement(resources=[resource("a"), resource("a/b")]), "PathError"),
    ]


def build() -> dict[str, Any]:
    refused = [{"name": name, "file": text, "error": error} for name, text, error in refused_files()]
    refused += [{"name": name, "file": signed(found), "error": error} for name, found, error in refused_statements()]
    return {"key": "anna", "keys": keys(), "written": written(), "accepted": accepted(), "refused": refused}


if __name__ == "__main__":
    FILE.write_text(json.dumps(build(), indent=1, ensure_ascii=True) + "\n", encoding="ascii")
