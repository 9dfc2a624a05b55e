"""Unmodified tools of others judge what Samara writes: model signatures, bills of materials, signed records.

They come from PyPI into an environment of their own, as requirements/judges.txt pins them. Samara runs as a person runs
it, in processes of its own.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.cli import Cli, Done
from support.environments import environment
from support.releases import made
from support.scripts import ROOT

from samara.node.operations.sbom import FORMATS
from samara.node.settings import StoreSettings
from samara.node.store.home import Home
from samara.node.store.store import Store
from samara.protocol.ids import ReleaseId, parse_did_key, parse_record
from samara.protocol.records import Kind

pytestmark = [pytest.mark.slow]

FOLDER = ROOT / "tests" / "interop" / "judges"
SAYS_YES = "Verification succeeded"


@dataclass(frozen=True, slots=True)
class Judges:
    """The environment of the judges."""

    python: Path

    def run(self, *command: str) -> Done:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        return Done(done.returncode, done.stdout, done.stderr)

    def model_signing(self, *arguments: str | Path) -> Done:
        return self.run(str(self.python), "-I", "-m", "model_signing", *map(str, arguments))

    def verify(self, folder: Path, signature: Path, key: Path, *more: str) -> Done:
        return self.model_signing("verify", "key", folder, "--signature", signature, "--public_key", key, *more)

    def judge(self, *arguments: str | Path) -> dict[str, Any]:
        return self.run(str(self.python), "-I", str(FOLDER / "judge.py"), *map(str, arguments)).ok()


@pytest.fixture(scope="module")
def judges() -> Judges:
    return Judges(environment("model-signing and others", FOLDER, "judges.txt"))


@dataclass(frozen=True, slots=True)
class Published:
    """A release that lies where it was published.

    Attributes:
        cli: Samara on its publisher's home.
        folder: Where its files lie.
        release: Its id.
        key: The OMS key's public half, as PEM.
    """

    cli: Cli
    folder: Path
    release: str
    key: Path

    def attest(self, *more: str) -> dict[str, Any]:
        return self.cli.json("attest", self.release, "--oms", *more)


def make_model(folder: Path) -> None:
    """Files as a repository of models has them, with names that sort otherwise as bytes than by their parts."""
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "ö.bin").write_bytes(os.urandom(1000))
    (folder / "sub-a.bin").write_bytes(os.urandom(3_000_000))
    (folder / "empty").write_bytes(b"")
    (folder / ".gitattributes").write_text("*.bin filter=lfs\n")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Tiny\n")


@pytest.fixture
def published(tmp_path: Path) -> Published:
    folder, cli, key = tmp_path / "model", Cli(tmp_path / "home"), tmp_path / "key.pem"
    make_model(folder)
    release = cli.json("publish", str(folder))["release"]
    cli.json("key", "show", "--oms", "--to", str(key))
    return Published(cli, folder, release, key)


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def test_model_signing_takes_what_we_sign(judges: Judges, published: Published) -> None:
    made = published.attest()
    assert (made["files"], made["left_out"], made["hashed"], made["links"]) == (4, 1, 0, False)
    signature = published.folder / "model.sig"
    assert made["path"] == str(signature)
    told = judges.verify(published.folder, signature, published.key)
    assert (told.code, told.out.strip()) == (0, SAYS_YES), told
    ours = published.cli.json("verify", str(published.folder))
    assert (ours["ok"], ours["release"], ours["oms"]["ok"], ours["oms"]["signer"]) == (
        True,
        published.release,
        True,
        "me",
    )
    again = published.attest()
    assert again == made | {"recorded": False}
    assert judges.verify(published.folder, signature, published.key).code == 0


@pytest.mark.parametrize("which", ["first byte", "a byte in the middle", "last byte"])
def test_one_flipped_byte_of_a_file_is_refused_by_both(judges: Judges, published: Published, which: str) -> None:
    published.attest()
    path = published.folder / "sub-a.bin"
    flip(path, {"first byte": 0, "a byte in the middle": 1_500_000, "last byte": -1}[which])
    told = judges.verify(published.folder, published.folder / "model.sig", published.key)
    assert told.code == 1
    assert "sub-a.bin" in told.err
    ours = published.cli.run("verify", str(published.folder), "--json")
    assert ours.code == 4
    assert (ours.json["ok"], ours.json["oms"]["bad"]) == (False, ["sub-a.bin"])
    refused = published.cli.run("attest", published.release, "--oms", "--json")
    assert (refused.code, refused.json["error"]) == (4, "ContentError")


def test_one_flipped_byte_of_the_signature_is_refused_by_both(judges: Judges, published: Published) -> None:
    published.attest()
    signature = published.folder / "model.sig"
    good = signature.read_bytes()
    for name in (b'"sig":"', b'"payload":"', b'"hint":"', b'"mediaType":"', b'"payloadType":"'):
        flip(signature, good.index(name) + len(name) + 20)
        told = judges.verify(published.folder, signature, published.key)
        assert told.code == 1, (name, told)
        ours = published.cli.run("verify", str(published.folder), "--json")
        assert ours.code == 4, (name, ours)
        assert ours.json["error"] in {"SignatureError", "EnvelopeError", "JsonError"}
        signature.write_bytes(good)
    assert judges.verify(published.folder, signature, published.key).code == 0


def test_a_file_more_or_less_is_refused_by_both(judges: Judges, published: Published) -> None:
    published.attest()
    signature, more = published.folder / "model.sig", published.folder / "evil.py"
    more.write_text("print('hello')")
    assert judges.verify(published.folder, signature, published.key).code == 1
    ours = published.cli.run("verify", str(published.folder), "--json")
    assert (ours.code, ours.json["oms"]["unsigned"]) == (4, ["evil.py"])
    more.unlink()
    (published.folder / "empty").unlink()
    assert judges.verify(published.folder, signature, published.key).code == 1
    ours = published.cli.run("verify", str(published.folder), "--json")
    assert (ours.code, ours.json["oms"]["bad"]) == (4, ["empty"])


def test_a_signature_elsewhere_and_a_key_in_the_hand(judges: Judges, published: Published, tmp_path: Path) -> None:
    signature = tmp_path / "apart.sig"
    published.attest("--to", str(signature))
    assert not (published.folder / "model.sig").exists()
    assert judges.verify(published.folder, signature, published.key).code == 0
    stranger = Cli(tmp_path / "other")
    named = ("--signature", str(signature), "--oms-key", str(published.key))
    ours = stranger.json("verify", str(published.folder), *named)
    assert (ours["ok"], ours["release"], ours["oms"]["signer"]) == (True, "", "")
    stranger.json("key", "show", "--oms", "--to", str(tmp_path / "theirs.pem"))
    refused = stranger.run(
        "verify",
        str(published.folder),
        "--signature",
        str(signature),
        "--oms-key",
        str(tmp_path / "theirs.pem"),
        "--json",
    )
    assert (refused.code, refused.json["error"]) == (4, "SignatureError")
    assert judges.verify(published.folder, signature, tmp_path / "theirs.pem").code == 1


def test_links_as_in_a_cache_of_hugging_face(judges: Judges, tmp_path: Path) -> None:
    cache, cli = tmp_path / "models--a--b", Cli(tmp_path / "home")
    snapshot, blob = cache / "snapshots" / "0123456789abcdef", cache / "blobs" / "1234"
    snapshot.mkdir(parents=True)
    blob.parent.mkdir()
    blob.write_bytes(os.urandom(10_000))
    (snapshot / "weights.bin").symlink_to("../../blobs/1234")
    release = cli.json("publish", str(snapshot), "--license", "MIT")["release"]
    made = cli.json("attest", release, "--oms")
    assert made["links"] is True
    key = tmp_path / "key.pem"
    cli.json("key", "show", "--oms", "--to", str(key))
    assert judges.verify(snapshot, snapshot / "model.sig", key, "--allow_symlinks").code == 0
    flip(blob, 77)
    assert judges.verify(snapshot, snapshot / "model.sig", key, "--allow_symlinks").code == 1


def test_one_file_among_others(judges: Judges, tmp_path: Path) -> None:
    folder, cli, key = tmp_path / "models", Cli(tmp_path / "home"), tmp_path / "key.pem"
    folder.mkdir()
    for name in ("one.bin", "other.bin"):
        (folder / name).write_bytes(os.urandom(10_000))
    release = cli.json("publish", str(folder / "one.bin"), "--license", "MIT")["release"]
    made = cli.json("attest", release, "--oms")
    assert (made["files"], made["others"]) == (1, True)
    cli.json("key", "show", "--oms", "--to", str(key))
    assert judges.verify(folder, folder / "model.sig", key).code == 1
    assert judges.verify(folder, folder / "model.sig", key, "--ignore_unsigned_files").code == 0


@pytest.mark.parametrize("curve", ["prime256v1", "secp384r1", "secp521r1"])
def test_we_take_what_model_signing_signs(judges: Judges, tmp_path: Path, curve: str) -> None:
    folder, secret, public = tmp_path / "model", tmp_path / "secret.pem", tmp_path / "public.pem"
    make_model(folder)
    (folder / ".gitattributes").unlink()
    make_key(secret, public, curve)
    signature = folder / "model.sig"
    told = judges.model_signing("sign", "key", folder, "--signature", signature, "--private_key", secret)
    assert told.code == 0, told
    cli = Cli(tmp_path / "home")
    ours = cli.json("verify", str(folder), "--oms-key", str(public))
    assert (ours["ok"], ours["oms"]["files"], ours["oms"]["unsigned"]) == (True, 4, [])
    unknown = cli.run("verify", str(folder), "--json")
    assert (unknown.code, unknown.json["error"]) == (3, "NotFoundError")
    assert "not known here" in unknown.err
    flip(folder / "sub" / "ö.bin", 5)
    wrong = cli.run("verify", str(folder), "--oms-key", str(public), "--json")
    assert (wrong.code, wrong.json["oms"]["bad"]) == (4, ["sub/ö.bin"])


def make_key(secret: Path, public: Path, curve: str) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    curves = {"prime256v1": ec.SECP256R1(), "secp384r1": ec.SECP384R1(), "secp521r1": ec.SECP521R1()}
    key = ec.generate_private_key(curves[curve])
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


@pytest.mark.parametrize("bare", [False, True], ids=["all that can be said", "no more than must be said"])
@pytest.mark.parametrize("kind", list(Kind), ids=[kind.value for kind in Kind])
def test_bills_of_materials_are_valid(judges: Judges, tmp_path: Path, kind: Kind, bare: bool) -> None:
    release, table = made(kind=kind, bare=bare)
    for name, build in FORMATS.items():
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(build(release, table, version="1")), encoding="ascii")
        told = judges.judge(name, path)
        if name == "spdx":
            assert told["missing"] == []
            assert told["types"].count("software_File") == len(table)
        else:
            assert told["components"] == len(table)


def test_the_judges_refuse_what_is_wrong(judges: Judges, published: Published, tmp_path: Path) -> None:
    wrong = {"cyclonedx": ('"SHA-256"', '"SHA-2560"'), "spdx": ('"specVersion"', '"specversion"')}
    for name, (right, changed) in wrong.items():
        path = tmp_path / f"{name}.json"
        assert published.cli.json("sbom", published.release, "--format", name, "--to", str(path))["files"] == 5
        judges.judge(name, path)
        path.write_text(path.read_text().replace(right, changed, 1))
        refused = judges.run(str(judges.python), "-I", str(FOLDER / "judge.py"), name, str(path))
        assert refused.code == 1
        assert "Error" in refused.err


def test_in_toto_reads_and_verifies_our_releases(judges: Judges, published: Published, tmp_path: Path) -> None:
    file = tmp_path / "release.json"
    file.write_bytes(envelope_of(published))
    key = published.cli.json("key", "show")["key"]
    told = judges.judge("envelope", file, key, parse_did_key(key).hex())
    shown = published.cli.json("show", published.release)
    assert told["keys"] == [key]
    assert told["type"] == "urn:samara:release:1"
    assert told["predicate"]["content"] == shown["content"]
    assert told["subject"].keys() == {"file-table"}
    assert set(told["subject"]["file-table"]) == {"blake3", "sha256"}
    changed = json.loads(file.read_bytes())
    payload = base64.b64decode(changed["payload"]).replace(b'"version":"1"', b'"version":"2"')
    changed["payload"] = base64.b64encode(payload).decode()
    file.write_text(json.dumps(changed))
    refused = judges.run(
        str(judges.python), "-I", str(FOLDER / "judge.py"), "envelope", str(file), key, parse_did_key(key).hex()
    )
    assert refused.code == 1
    assert "VerificationError" in refused.err


def envelope_of(published: Published) -> bytes:
    store = Store(Home(published.cli.home), StoreSettings(), writable=False)
    try:
        records = store.catalog.records(ReleaseId(parse_record(published.release)))
    finally:
        store.close()
    assert records is not None
    return records.release
