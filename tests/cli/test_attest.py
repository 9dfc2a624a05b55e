"""attest, sbom, key show --oms and verify --oms-key from outside: JSON keys, exit codes, what is never written over."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from support.cli import Cli


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cli, Path, str]:
    """A home, a folder that was published from it, and the release."""
    base = tmp_path_factory.mktemp("alice")
    folder, cli = base / "model", Cli(base / "home")
    folder.mkdir()
    (folder / "w.bin").write_bytes(os.urandom(10_000))
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    return cli, folder, cli.json("publish", str(folder), "--name", "tiny")["release"]


Model = tuple[Cli, Path, str]


def test_what_is_signed_is_told_as_json_with_the_promised_keys(model: Model, tmp_path: Path) -> None:
    cli, folder, release = model
    made = cli.json("attest", "me/tiny", "--oms")
    assert made.keys() >= {"release", "path", "folder", "files", "left_out", "hashed", "key", "links", "others"}
    assert (made["release"], made["path"]) == (release, str(folder / "model.sig"))
    key = cli.json("key", "show", "--oms", "--to", str(tmp_path / "key.pem"))
    assert key.keys() >= {"publisher", "key", "pem"}
    assert (tmp_path / "key.pem").read_text() == key["pem"]
    assert key["key"] == made["key"]
    verified = cli.json("verify", str(folder))
    assert verified["oms"].keys() >= {"signature", "ok", "key", "signer", "files", "ignored", "bad", "unsigned"}
    assert (verified["ok"], verified["oms"]["key"]) == (True, made["key"])
    assert cli.json("verify", release)["oms"] is None
    told = cli.run("verify", str(folder), "--oms-key", str(tmp_path / "key.pem"))
    assert told.code == 0
    assert "every signed file is right (2 files)" in told.out
    said = cli.run("attest", release, "--oms")
    assert f"model_signing verify key {folder} --signature {folder}/model.sig --public_key key.pem" in said.out


@pytest.mark.parametrize("name", ["cyclonedx", "spdx"])
def test_a_bill_of_materials_is_printed_or_written(model: Model, tmp_path: Path, name: str) -> None:
    cli, _, release = model
    printed = cli.run("sbom", release, "--format", name)
    assert printed.code == 0
    document = json.loads(printed.out)
    assert ("@graph" if name == "spdx" else "bomFormat") in document
    told = cli.json("sbom", release, "--format", name)
    assert told.keys() >= {"release", "format", "files", "document"}
    assert (told["format"], told["files"], json.loads(told["document"])) == (name, 2, document)
    path = tmp_path / "bom.json"
    for _ in range(2):  # the same text may be there
        assert cli.run("sbom", release, "--format", name, "--to", str(path)).code == 0
        assert path.read_text() == printed.out


def refused(cli: Cli, *arguments: str) -> tuple[int, str]:
    done = cli.run(*arguments, "--json")
    found: dict[str, Any] = done.json
    return done.code, found["error"]


def test_bad_usage_is_said_so(model: Model, tmp_path: Path) -> None:
    cli, folder, release = model
    other = tmp_path / "other"
    other.write_text("mine")
    assert refused(cli, "attest", release) == (2, "UsageError")
    assert refused(cli, "attest", release, "--oms", "--to", str(other)) == (2, "UsageError")
    assert refused(cli, "attest", release, "--oms", "--to", str(tmp_path)) == (2, "UsageError")
    assert refused(cli, "key", "show", "--to", str(other)) == (2, "UsageError")
    assert refused(cli, "key", "show", "--oms", "--to", str(other)) == (2, "UsageError")
    assert refused(cli, "sbom", release, "--to", str(other)) == (2, "UsageError")
    assert refused(cli, "sbom", release, "--format", "docx") == (2, "UsageError")
    assert refused(cli, "verify", release, "--oms-key", str(other)) == (2, "UsageError")
    assert refused(cli, "verify", "--oms-key", str(other)) == (2, "UsageError")
    assert refused(cli, "verify", str(folder), "--oms-key", str(other)) == (2, "UsageError")
    assert other.read_text() == "mine"
    assert refused(cli, "attest", "me/nothing", "--oms") == (3, "NotFoundError")
    assert refused(cli, "sbom", "me/nothing") == (3, "NotFoundError")


def test_a_running_node_signs_for_its_callers(model: Model, tmp_path: Path) -> None:
    cli, folder, release = model
    (folder / "model.sig").write_text("of an earlier version, which is passed over")
    with cli.running("node"):
        made = cli.json("attest", release, "--oms", "--to", str(tmp_path / "model.sig"))
        found = cli.json("verify", str(folder), "--signature", str(tmp_path / "model.sig"))
    assert (found["ok"], found["oms"]["key"], made["others"]) == (True, made["key"], False)
