"""OMS signatures between homes: the folder and the records travel, and the reader is told who signed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from support.cli import Cli
from support.contents import give_home
from support.publishers import WHEN
from support.speaking import publisher_of

from samara.node.operations.signing import sign_record
from samara.protocol.oms import OmsPublicKey
from samara.protocol.records import make_key_binding


@pytest.mark.slow
def test_a_signature_and_its_record_travel_and_who_claims_the_key_gets_nothing(tmp_path: Path) -> None:
    anna, mallory, reader = (Cli(tmp_path / name) for name in ("anna", "mallory", "reader"))
    folder, there = tmp_path / "model", tmp_path / "there"
    folder.mkdir()
    (folder / "w.bin").write_bytes(os.urandom(10_000))
    anna.json("publish", str(folder), "--name", "tiny", "--license", "MIT")
    made = anna.json("attest", "me/tiny", "--oms")
    assert made["recorded"] is True
    pem = anna.json("key", "show", "--oms")
    assert (pem["bound"], pem["record"]) == (made["key"], made["record"])
    anna.json("records", "export", str(tmp_path / "anna.records"))

    # Mallory says that Anna's key is hers, and is known and believed where the folder goes.
    her = mallory.json("key", "show")["publisher"]
    with give_home(mallory.home) as store:
        key = OmsPublicKey.from_pem(pem["pem"].encode()).spki
        sign_record(
            store,
            lambda chain, _, place, keys: make_key_binding(chain, place=place, key=key, issued=WHEN, keys=keys),
        )
        assert publisher_of(store).place.position == 2
    mallory.json("records", "export", str(tmp_path / "mallory.records"), her)

    shutil.copytree(folder, there)
    reader.json("records", "import", str(tmp_path / "mallory.records"))
    reader.json("key", "name", her, "mallory")
    done = reader.run("verify", str(there), "--json")
    assert (done.code, done.json["error"]) == (3, "NotFoundError")
    assert reader.run("verify", str(there), "--signature", str(there / "model.sig")).code == 5

    reader.json("records", "import", str(tmp_path / "anna.records"))
    done = reader.run("verify", str(there), "--json")
    assert (done.code, done.json["oms"]["publisher"], done.json["oms"]["trusted"]) == (5, pem["publisher"], False)
    reader.json("key", "name", pem["publisher"], "anna")
    said = reader.run("verify", str(there))
    assert said.code == 0
    assert "signed by the OMS key of anna" in said.out
    assert "mallory" not in said.out
    found = reader.json("verify", str(there))
    assert (found["ok"], found["oms"]["signer"], found["oms"]["key"]) == (True, "anna", made["key"])
