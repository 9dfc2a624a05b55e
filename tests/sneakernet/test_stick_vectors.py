"""Replays specs/vectors/stick.json as whole sticks, and holds the file against its generator."""

from __future__ import annotations

import contextlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from support.contents import CrashableStore, give_home
from support.recipes import build, raw
from support.sticks import all_files

from samara.cli.stick import ExportRequest, ImportRequest, export_all, import_all, take_logs
from samara.node.operations.records import RecordIntake
from samara.protocol import errors
from samara.protocol.errors import RevokedError, SamaraError
from samara.protocol.ids import PublisherId, ReleaseId, format_record, parse_record
from samara.protocol.records import ReleaseRevocation
from samara.protocol.trust.recordfile import RecordFileReader
from samara.sneakernet.exporting import export_release
from samara.sneakernet.importing import Imported, import_release, list_releases

FOLDER = Path(__file__).resolve().parents[2] / "specs" / "vectors"
FOUND: dict[str, Any] = json.loads((FOLDER / "stick.json").read_text("ascii"))
Vector = dict[str, Any]

NOT_IN_VECTORS = {"README.txt", "sha256.txt"}
"""What is written for people, and never read."""


def each(*, good: bool, of: str = "vectors") -> list[Any]:
    return [pytest.param(row, id=row["name"]) for row in FOUND[of] if ("error" not in row) is good]


def put(folder: Path, vector: Vector) -> dict[str, bytes]:
    """Write the stick of a vector; return its files."""
    said = {**FOUND["sticks"][vector["stick"]]["files"], **vector["change"]}
    links = {path: value["link"] for path, value in said.items() if isinstance(value, dict) and "link" in value}
    files = {path: _bytes(value) for path, value in said.items() if value is not None and path not in links}
    for path in said.keys() - {path for path, value in said.items() if value is None}:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
    for path, data in files.items():
        (folder / path).write_bytes(data)
    for path, target in links.items():
        (folder / path).symlink_to(target)
    return files


def _bytes(said: str | list[Any] | dict[str, Any]) -> bytes:
    if isinstance(said, str):
        return said.encode()
    if isinstance(said, list):
        return build(_spelled(said))
    return build(_spelled(said["recipe"]))[said["offset"] : said["offset"] + said["length"]]


def _spelled(recipe: list[Any]) -> list[Any]:
    """A recipe with its texts spelled out."""
    return [raw(FOUND["texts"][piece["text"]].encode()) if "text" in piece else piece for piece in recipe]


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
    assert written == {path: data for path, data in files.items() if not path.startswith("samara/records/")}


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


# What publishers have said.


def hear(store: CrashableStore, vector: Vector) -> None:
    """Let a store know what the reader of a vector knew before."""
    if "held" in vector:
        intake = RecordIntake(store.ledgers)
        intake.add(RecordFileReader().receive(_bytes(vector["held"])))
        intake.end()


def bring(store: CrashableStore, stick: Path) -> tuple[set[str], list[str]]:
    """Import a stick; return the classes of all that was wrong with what lies in `records/`, and what came in."""
    intake = take_logs(store, stick)
    wrong = {error for row in intake.rows.values() for error in row.refused} | {skip.error for skip in intake.skipped}
    with contextlib.suppress(RevokedError):
        return wrong, [row.release for row in import_all(store, ImportRequest(str(stick))).releases]
    return wrong or {"RevokedError"}, []


def known_of(store: CrashableStore, publisher: str) -> Vector:
    """What a store knows of a publisher, as a vector says it."""
    with store.ledgers.asking(PublisherId(parse_record(publisher))) as ledger:
        if ledger is None:
            return {"tip": None, "revoked": [], "frozen": False}
        gone = {entry.said.release for entry in ledger.revocations() if isinstance(entry.said, ReleaseRevocation)}
        tip = None if ledger.newest is None else format_record(ledger.newest.id)
        return {"tip": tip, "revoked": sorted(map(format_record, gone)), "frozen": ledger.fork is not None}


@pytest.mark.parametrize("vector", [*each(good=True, of="records"), *each(good=False, of="records")])
def test_what_publishers_have_said_comes_in_as_far_as_it_is_right(vector: Vector, tmp_path: Path) -> None:
    put(tmp_path / "stick", vector)
    with give_home(tmp_path / "home") as store:
        hear(store, vector)
        wrong, brought = bring(store, tmp_path / "stick")
        assert wrong == ({vector["error"]} if "error" in vector else set())
        assert brought == ([vector["release"]] if "release" in vector else [])
        expected = {name: vector[name] for name in ("tip", "revoked", "frozen")}
        assert known_of(store, vector["publisher"]) == expected
    with give_home(tmp_path / "home") as store:
        assert known_of(store, vector["publisher"]) == expected, "a restart changes nothing"


def test_an_export_writes_the_same_records(tmp_path: Path) -> None:
    files = put(tmp_path / "stick", {"stick": "told", "change": {}})
    (tmp_path / "again").mkdir()
    with give_home(tmp_path / "home") as store:
        import_all(store, ImportRequest(str(tmp_path / "stick")))
        export_all(store, ExportRequest(str(tmp_path / "again"), (FOUND["sticks"]["told"]["release"],)))
    (path,) = (path for path in files if path.startswith("samara/records/"))
    assert (tmp_path / "again" / path).read_bytes() == files[path]


def test_each_vector_of_records_has_another_name() -> None:
    names = [vector["name"] for vector in FOUND["records"]]
    assert len(names) == len(set(names))
