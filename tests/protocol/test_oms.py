"""OMS signature files: the vectors of specs/oms.md, and that no byte of one can change."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from support.vectors import FOLDER, generator, vectors

from samara.protocol import limits
from samara.protocol.errors import (
    EnvelopeError,
    JsonError,
    SamaraError,
    SignatureError,
    StatementError,
    UsageError,
    VerificationError,
    class_named,
    name_of,
)
from samara.protocol.ids import PublisherId, ReleaseId, parse_record
from samara.protocol.oms import (
    Bundle,
    ByCertificateError,
    Made,
    Manifest,
    OmsKey,
    OmsPublicKey,
    compare,
    make_manifest,
    sign_manifest,
)

VECTORS = vectors("oms.json")
KEYS = {row["name"]: OmsKey(bytes.fromhex(row["seed"])) for row in VECTORS["keys"]}
KEY = KEYS[VECTORS["key"]]


def rows(kind: str) -> pytest.MarkDecorator:
    assert VECTORS[kind]
    return pytest.mark.parametrize("row", VECTORS[kind], ids=[row["name"] for row in VECTORS[kind]])


def digests(*names: str) -> dict[str, bytes]:
    return {name: hashlib.sha256(name.encode()).digest() for name in names}


def test_the_generator_makes_these_vectors() -> None:
    assert generator("oms").build() == VECTORS
    assert (FOLDER / "oms.json").read_bytes().isascii()


def test_every_refusal_is_there_once_and_names_an_error() -> None:
    names = [row["name"] for row in VECTORS["refused"]]
    assert len(names) == len(set(names))
    assert all(issubclass(class_named(row["error"]), VerificationError) for row in VECTORS["refused"])


@rows("keys")
def test_a_key_is_what_its_seed_makes(row: dict[str, Any]) -> None:
    public = OmsKey(bytes.fromhex(row["seed"])).public
    assert (public.pem.decode(), public.hint) == (row["pem"], row["hint"])
    assert public.spki == base64.b64decode(row["spki"])
    assert OmsPublicKey.from_pem(row["pem"].encode()).hint == OmsPublicKey.from_spki(public.spki).hint == public.hint
    assert hashlib.sha256(row["pem"].encode()).hexdigest() == row["hint"]


@rows("written")
def test_what_is_written(row: dict[str, Any]) -> None:
    made = Made(PublisherId(parse_record(row["publisher"])), ReleaseId(parse_record(row["release"])))
    files = {path: bytes.fromhex(text) for path, text in row["files"].items()}
    manifest = make_manifest(
        "tiny-llama", files.items(), signature=row["signature"], symlinks=row["symlinks"], made=made
    )
    assert sign_manifest(manifest, KEYS[row["key"]]) == row["file"].encode()
    opened = Bundle.decode(row["file"].encode()).open(KEYS[row["key"]].public)
    assert opened == manifest
    assert opened.made == made
    compared = compare(opened, files)
    assert compared.ok
    assert compared.ignored == len(files) - len(opened.resources)


@rows("accepted")
def test_what_others_write_is_taken(row: dict[str, Any]) -> None:
    opened = Bundle.decode(row["file"].encode()).open(KEY.public)
    assert Manifest.decode(opened.encode()) == opened


@rows("refused")
def test_what_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(SamaraError) as told:
        Bundle.decode(row["file"].encode()).open(KEY.public)
    assert name_of(told.value) == row["error"]


def test_a_signature_by_a_certificate_is_told_apart() -> None:
    (row,) = [row for row in VECTORS["refused"] if row["name"] == "a certificate"]
    with pytest.raises(ByCertificateError, match="certificate"):
        Bundle.decode(row["file"].encode())


def test_no_byte_of_a_signature_file_can_change() -> None:
    file = VECTORS["written"][0]["file"].encode()
    Bundle.decode(file).open(KEY.public)
    for at in range(len(file)):
        for flip in (1, 0x20, 0x80):
            changed = bytearray(file)
            changed[at] ^= flip
            with pytest.raises(VerificationError):
                Bundle.decode(bytes(changed)).open(KEY.public)


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_no_part_of_a_signature_file_can_be_missing(start: int, length: int) -> None:
    file = VECTORS["written"][1]["file"].encode()
    start %= len(file)
    cut = file[:start] + file[start + 1 + length % len(file) :]
    with pytest.raises(VerificationError):
        Bundle.decode(cut).open(KEY.public)


def test_the_order_is_that_of_the_parts_of_paths_and_not_of_their_bytes() -> None:
    manifest = make_manifest("x", digests("a-b", "a/b", "a", "b/c/d").items())
    assert list(manifest.resources) == ["a", "a/b", "a-b", "b/c/d"]


def test_a_release_of_nothing_but_git_files_has_no_signature() -> None:
    with pytest.raises(StatementError):
        make_manifest("x", digests(".gitattributes", ".github/x").items())


def test_a_manifest_that_is_too_long_is_not_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samara.protocol.oms.bundle.MAX_OMS_PAYLOAD", 1000)
    with pytest.raises(EnvelopeError, match="too many files"):
        sign_manifest(make_manifest("x", digests(*map(str, range(100))).items()), KEY)


def test_a_file_that_is_too_long_is_not_parsed() -> None:
    with pytest.raises(JsonError, match="at most"):
        Bundle.decode(b"[" * (limits.MAX_OMS_SIGNATURE + 1))


def test_a_folder_is_held_against_what_was_signed() -> None:
    manifest = make_manifest("x", digests("a", "b", "c/d").items(), signature="model.sig")
    found = digests("a", "b", "c/d", ".git/config", "model.sig")
    assert compare(manifest, found).ok
    assert compare(manifest, found).ignored == 2
    compared = compare(manifest, found | {"b": bytes(32), "e": bytes(32)} | digests("a"))
    assert (compared.wrong, compared.missing, compared.unsigned) == (("b",), (), ("e",))
    del found["c/d"]
    assert compare(manifest, found).missing == ("c/d",)


def test_a_model_that_is_one_file_may_be_called_anything() -> None:
    manifest = Manifest("x", {".": bytes(32)})
    assert compare(manifest, {"tiny.gguf": bytes(32)}).ok
    assert not compare(manifest, digests("tiny.gguf")).ok
    assert not compare(manifest, {"a": bytes(32), "b": bytes(32)}).ok


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_signatures_on_all_curves_of_oms_verify(curve: ec.EllipticCurve) -> None:
    hashed = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}[curve.key_size]
    secret = ec.derive_private_key(7, curve)
    public = OmsPublicKey.from_pem(pem_of(secret.public_key()))
    signature = secret.sign(b"message", ec.ECDSA(hashed))
    assert len(signature) <= limits.MAX_OMS_SIG
    assert public.made(signature, b"message")
    assert not public.made(signature, b"messagf")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no key",
        KEY.public.pem + b" " * limits.MAX_OMS_KEY,
        KEY.public.pem.replace(b"PUBLIC", b"PRIVATE"),
        KEY.public.spki,
    ],
    ids=["nothing", "text", "too long", "another label", "DER"],
)
def test_a_file_that_holds_no_key_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError):
        OmsPublicKey.from_pem(data)


def test_keys_of_other_kinds_are_refused() -> None:
    others: list[ed25519.Ed25519PublicKey | rsa.RSAPublicKey | ec.EllipticCurvePublicKey] = [
        ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key(),
        rsa.RSAPublicNumbers(65537, (1 << 2047) + 1).public_key(),
        ec.derive_private_key(7, ec.SECP256K1()).public_key(),
    ]
    for key in others:
        with pytest.raises(UsageError):
            OmsPublicKey.from_pem(pem_of(key))
        with pytest.raises(SignatureError):
            OmsPublicKey.from_spki(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def test_a_key_shows_nothing_of_its_seed() -> None:
    assert repr(KEY) == f"OmsKey({KEY.public.hint})"
    with pytest.raises(ValueError, match="31 bytes"):
        OmsKey(bytes(31))


@given(st.binary(min_size=32, max_size=32))
def test_any_seed_makes_a_key_and_the_same_signature_each_time(seed: bytes) -> None:
    key = OmsKey(seed)
    signature = key.sign(b"message")
    assert OmsKey(seed).sign(b"message") == signature
    assert key.public.made(signature, b"message")


def pem_of(key: Any) -> bytes:
    data: bytes = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return data
