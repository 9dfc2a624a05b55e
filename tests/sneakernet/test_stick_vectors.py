"""Replays specs/vectors/stick.json as whole sticks, and holds the file against its generator."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from support.contents import CrashableStore, give_home
from support.recipes import build
from support.sticks import all_files

from samara.protocol import errors
from samara.protocol.errors import SamaraError
from samara.protocol.ids import ReleaseId, format_record, parse_record
from samara.sneakernet.exporting import export_release
from samara.sneakernet.importing import Imported, import_release, list_releases

FOLDER = Path(__file__).resolve().parents[2] / "specs" / "vectors"
FOUND: dict[str, Any] = json.loads((FOLDER / "stick.json").read_text("ascii"))
Vector = dict[str, Any]

NOT_IN_VECTORS = {"README.txt", "sha256.txt"}
"""What is written for people, and never read."""


def each(*, good: bool) -> list[Any]:
    return [pytest.param(row, id=row["name"]) for row in FOUND["vectors"] if ("error" not in row) is good]


def put(folder: Path, vector: Vector) -> dict[str, bytes]:
    """Write the stick of a vector; return its files."""
    said = {**FOUND["sticks"][vector["stick"]]["files"], **vector["change"]}
    files = {path: _bytes(value) for path, value in said.items() if value is not None}
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return files


def _bytes(said: str | list[Any] | dict[str, Any]) -> bytes:
    if isinstance(said, str):
        return said.encode()
    if isinstance(said, list):
        return build(said)
    return build(said["recipe"])[said["offset"] : said["offset"] + said["length"]]


def content_of(vector: Vector) -> dict[str, bytes]:
    """The files that a good stick carries, put together from their parts."""
    said = FOUND["sticks"][vector["stick"]]
    found = {}
    for stream, path in enumerate(sorted(said["sizes"]), 1):
        whole = f"samara/files/{said['label']}/{path}"
        aside = f"samara/releases/{said['label']}/parts/{stream}"
        parts = [f"{base}.{number:03}" for base in (whole, aside) for number in range(9)]
        found[path] = b"".join(_bytes(said["files"][part]) for part in (whole, *parts) if part in said["files"])
    return found


def take(store: CrashableStore, stick: Path) -> Imported:
    """Import the one release of a stick, or raise what is wrong with it."""
    listing = list_releases(stick)
    for skip in listing.skipped:
        raise skip.error
    (entry,) = listing.entries
    return import_release(store, stick, entry)


def test_the_generator_writes_what_is_committed() -> None:
    spec = importlib.util.spec_from_file_location("generate_stick", FOLDER / "generate_stick.py")
    assert spec is not None
    assert spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    assert generator.make() == (FOLDER / "stick.json").read_text("ascii")


@pytest.mark.parametrize("vector", each(good=True))
def test_a_good_stick_comes_in(vector: Vector, tmp_path: Path) -> None:
    stick = FOUND["sticks"][vector["stick"]]
    put(tmp_path / "stick", vector)
    with give_home(tmp_path / "home") as store:
        brought = take(store, tmp_path / "stick")
    assert format_record(brought.release) == vector["release"]
    assert brought.read + brought.reused == sum(stick["sizes"].values())
    assert all_files(Path(brought.path)) == content_of(vector)


@pytest.mark.parametrize("name", FOUND["sticks"])
def test_an_export_writes_the_same_stick(name: str, tmp_path: Path) -> None:
    files = put(tmp_path / "stick", {"stick": name, "change": {}})
    said = FOUND["sticks"][name]
    commit = json.loads(files[f"samara/releases/{said['label']}/complete.json"])
    (tmp_path / "again").mkdir()
    with give_home(tmp_path / "home") as store:
        take(store, tmp_path / "stick")
        release = ReleaseId(parse_record(said["release"]))
        export_release(store, release, tmp_path / "again", part_size=commit["part_size"])
    written = {
        path: data for path, data in all_files(tmp_path / "again").items() if Path(path).name not in NOT_IN_VECTORS
    }
    assert written == files


@pytest.mark.parametrize("vector", each(good=False))
def test_a_wrong_stick_is_refused(vector: Vector, tmp_path: Path) -> None:
    put(tmp_path / "stick", vector)
    with give_home(tmp_path / "home") as store:
        with pytest.raises(SamaraError) as raised:
            take(store, tmp_path / "stick")
        assert type(raised.value) is getattr(errors, vector["error"]), raised.value
        # Nothing is believed before the nodes and the table are; of what is damaged after them, the right part is kept.
        assert vector["error"] in {"ChunkError", "NodeError"} or store.catalog.releases() == []
        good = content_of(vector)
        for path in store.home.content.rglob("*"):
            if path.is_file() and ".samara" not in path.parts:
                name = "/".join(path.relative_to(store.home.content).parts[1:])
                assert path.read_bytes() == good[name]
