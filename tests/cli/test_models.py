"""The Python door to single tensors, beside the command line."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.cli import Cli

import samara
from samara.protocol.errors import NotFoundError, UsageError

FIRST = np.arange(600_000, dtype="<f4").reshape(600, 1000)
SECOND = np.arange(700_000, dtype="<f2")
THIRD = np.arange(500, dtype="<u2")


def write(path: Path, tensors: dict[str, tuple[str, Any]]) -> None:
    header: dict[str, Any] = {}
    at = 0
    for name, (kind, values) in tensors.items():
        header[name] = {"dtype": kind, "shape": list(values.shape), "data_offsets": [at, at + values.nbytes]}
        at += values.nbytes
    text = json.dumps(header).encode()
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(each.tobytes() for _, each in tensors.values()))


@pytest.fixture
def ref(tmp_path: Path) -> Iterator[str]:
    """The link of a model that another process seeds."""
    write(tmp_path / "m/a.safetensors", {"first": ("F32", FIRST), "third": ("BF16", THIRD)})
    write(tmp_path / "m/b.safetensors", {"second": ("F16", SECOND)})
    with Cli(tmp_path / "alice").running("seed", str(tmp_path / "m"), "--license", "MIT") as (_, said):
        yield said["published"][0]["link"]


def test_a_model_is_opened_and_read(ref: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bob = Cli(tmp_path / "bob")
    for name, value in bob.environment().items():
        monkeypatch.setenv(name, value)
    model = samara.open_model(ref)
    rows = model.look().tensors
    assert [(each.name, each.dtype, each.shape, each.file, each.held) for each in rows] == [
        ("first", "F32", (600, 1000), "a.safetensors", False),
        ("third", "BF16", (500,), "a.safetensors", False),
        ("second", "F16", (700_000,), "b.safetensors", False),
    ]
    with pytest.raises(NotFoundError, match="not all"):
        model.array("first")
    model.fetch("first")
    assert (model.array("first") == FIRST).all()
    assert bytes(model.read("first")) == FIRST.tobytes()
    with pytest.raises(NotFoundError, match="not all"):
        model.read("second")
    with pytest.raises(NotFoundError, match="fist") as caught:
        model.fetch("fist")
    assert "first" in caught.value.hint
    with pytest.raises(NotFoundError):
        model.read("fourth")
    with pytest.raises(UsageError):
        model.fetch()
    model.fetch("th*")
    with pytest.raises(UsageError, match="BF16"):
        model.array("third")
    assert bytes(model.read("third")) == THIRD.tobytes()
    fetched = bob.json("fetch", ref)
    assert fetched["partial"] is False
    assert (model.array("second") == SECOND).all()
    assert not hasattr(samara, "no_such_door")


def test_the_command_lists_and_fetches(ref: str, tmp_path: Path) -> None:
    bob = Cli(tmp_path / "bob")
    listed = bob.json("tensors", ref)
    assert set(listed) >= {"release", "name", "tensors", "unread"}
    assert set(listed["tensors"][0]) >= {"name", "dtype", "shape", "file", "bytes", "held"}
    fetched = bob.json("fetch", ref, "--tensor", "second")
    assert fetched["partial"] is True
    here = {each["name"]: each["held"] for each in bob.json("tensors", listed["release"])["tensors"]}
    assert here == {"first": False, "second": True, "third": False}
    assert bob.json("ls")["releases"][0]["state"] == "partial"
    done = bob.run("tensors", listed["release"])
    assert "600×1000" in done.out
    assert bob.run("fetch", ref, "--tensor", "x", "--dry-run").code == 2
    assert bob.run("fetch", ref, "--tensor", "secnd").code == 3
