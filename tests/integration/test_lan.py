"""The main job between machines: by mDNS with no address, and by the DHT through one bootstrap that holds nothing."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.namespaces import Machine, lan

pytestmark = [pytest.mark.network, pytest.mark.slow]

SAMARA = (sys.executable, "-m", "samara.cli.main")


def environment(home: Path, **more: str) -> dict[str, str]:
    return {"SAMARA_HOME": str(home), **more}


@contextmanager
def running(machine: Machine, home: Path, *arguments: str, **more: str) -> Iterator[dict[str, Any]]:
    """A node in a namespace, from the moment on at which it has said where it is."""
    process = machine.start([*SAMARA, *arguments, "--json"], env=environment(home, **more))
    assert process.stdout is not None
    text = ""
    try:
        for line in process.stdout:
            text += line
            if line.rstrip() == "}":
                break
        yield json.loads(text)
    finally:
        process.terminate()
        assert process.wait(20) == 0


def fetch(machine: Machine, home: Path, ref: str, **more: str) -> dict[str, Any]:
    process = machine.start([*SAMARA, "fetch", ref, "--json"], env=environment(home, **more))
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    found: dict[str, Any] = json.loads(said)
    return found


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.bin"
    path.write_bytes(random.Random(7).randbytes(5_000_000))
    return path


def test_a_release_id_is_enough_on_a_lan(model: Path, tmp_path: Path) -> None:
    with (
        lan(2) as (alice, bob),
        running(alice, tmp_path / "a", "seed", str(model), "--license", "MIT", SAMARA_NETWORK_DHT="off") as said,
    ):
        release = said["published"][0]["release"]
        found = fetch(bob, tmp_path / "b", release, SAMARA_NETWORK_DHT="off")
        assert Path(found["path"]).read_bytes() == model.read_bytes()
        assert found["peers"] == [{"peer": said["peer"], "bytes": 5_000_000}]


def test_five_machines_find_it_through_one_bootstrap_that_does_not_hold_it(model: Path, tmp_path: Path) -> None:
    quiet = {"SAMARA_NETWORK_MDNS": "no"}
    with lan(5) as (boot, alice, bob, carol, dave), running(boot, tmp_path / "0", "node", **quiet) as server:
        address = next(text for text in server["addresses"] if boot.address in text)
        knows = {**quiet, "SAMARA_NETWORK_BOOTSTRAP": address}
        with (
            running(carol, tmp_path / "c", "node", **knows),
            running(dave, tmp_path / "d", "node", **knows),
            running(alice, tmp_path / "a", "seed", str(model), "--license", "MIT", **knows) as said,
        ):
            release = said["published"][0]["release"]
            began = time.monotonic()
            found = fetch(bob, tmp_path / "b", release, **knows)
            assert Path(found["path"]).read_bytes() == model.read_bytes()
            assert {share["peer"] for share in found["peers"]} == {said["peer"]}
            assert time.monotonic() - began < 60
            key = said["published"][0]["link"].split("k=")[1].split("&")[0]
            by_name = fetch(bob, tmp_path / "b2", f"{key}/model.bin", **knows)
            assert by_name["release"] == release
