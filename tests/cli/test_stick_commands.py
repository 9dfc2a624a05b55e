"""export and import as commands, and as operations that can be cancelled."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from support.contents import CrashableStore, Source, give_home, make_source
from support.sticks import export, flip, same_files

from samara.cli import main as cli_main
from samara.cli.operations import Operations
from samara.cli.stick import EXPORT, IMPORT, ExportRequest, ImportRequest, export_all, import_all
from samara.node.app import Node
from samara.node.operations.base import Event, Progress
from samara.node.store.store import Store
from samara.protocol.errors import ChunkError, LicenseError
from samara.protocol.ids import PublisherId, ReleaseId, format_record
from samara.protocol.limits import KIB, MIB
from samara.protocol.ports import Records
from samara.protocol.records import VerifiedRelease, verify_release

SIZES = {"w.bin": 300 * KIB, "card.txt": 100}


def samara(home: Path, *arguments: str | Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Run a command in this process on a home; return exit code, stdout and stderr."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAMARA_HOME", str(home))
        patch.setattr("sys.argv", ["samara", *map(str, arguments)])
        code = 0
        try:
            cli_main.main()
        except SystemExit as end:
            code = int(end.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def carried(tmp_path: Path) -> tuple[Source, Path]:
    """A home at `a`, and a stick with two releases of it."""
    with give_home(tmp_path / "a") as store:
        one = make_source(store, tmp_path / "one", SIZES)
        two = make_source(store, tmp_path / "two", {"x": 10})
        export(store, one, tmp_path / "stick")
        export(store, two, tmp_path / "stick")
    return one, tmp_path / "stick"


def test_both_are_operations_of_a_node() -> None:
    assert {"export", "import"} <= set(Operations())


def test_a_release_goes_from_home_to_home(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with give_home(tmp_path / "a") as store:
        made = make_source(store, tmp_path / "one", SIZES)
    (tmp_path / "stick").mkdir()
    code, out, err = samara(tmp_path / "a", "export", tmp_path / "stick", "me/one", "--json", capsys=capsys)
    assert (code, err) == (0, "")
    (row,) = json.loads(out)["releases"]
    assert row["release"] == format_record(made.release)
    assert same_files(made, Path(row["path"]))
    code, out, _err = samara(tmp_path / "b", "import", tmp_path / "stick", "--json", capsys=capsys)
    assert code == 0
    (row,) = json.loads(out)["releases"]
    assert json.loads(out)["skipped"] == []
    assert (row["moved"], row["trusted"], row["name"]) == (row["bytes"], False, "one")
    assert same_files(made, Path(row["path"]))
    with give_home(tmp_path / "b") as store:
        assert made.release in store.catalog.pins()
    code, out, _err = samara(tmp_path / "b", "import", tmp_path / "stick", capsys=capsys)
    assert code == 0
    assert "there already" in out
    assert "no name for" in out


def test_what_is_whole_here_is_not_copied_again(tmp_path: Path, carried: tuple[Source, Path]) -> None:
    _one, stick = carried
    with give_home(tmp_path / "a") as store:
        rows = import_all(store, ImportRequest(str(stick))).releases
        assert {row.path for row in rows} == {str(tmp_path / "one"), str(tmp_path / "two/x")}
        assert {row.moved for row in rows} == {0}
        assert not list(store.home.content.glob("*"))


def test_to_puts_each_release_into_a_folder_of_its_own(
    tmp_path: Path, carried: tuple[Source, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    one, stick = carried
    code, out, _err = samara(tmp_path / "b", "import", stick, "--to", tmp_path / "to", "--json", capsys=capsys)
    assert code == 0
    paths = {row["name"]: Path(row["path"]) for row in json.loads(out)["releases"]}
    assert same_files(one, paths["one"])
    assert paths["one"].parent == tmp_path / "to"
    assert paths["two"].parent.parent == tmp_path / "to"


def test_a_damaged_release_is_skipped_and_the_exit_code_says_so(
    tmp_path: Path, carried: tuple[Source, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    _one, stick = carried
    flip(next(stick.rglob("w.bin.002")), 50)
    code, out, _err = samara(tmp_path / "b", "import", stick, "--json", capsys=capsys)
    assert code == 4
    found = json.loads(out)
    assert [row["name"] for row in found["releases"]] == ["two"]
    assert [(row["name"], row["error"]) for row in found["skipped"]] == [("one", "ChunkError")]
    with give_home(tmp_path / "b") as store:
        assert len(store.catalog.pins()) == 1
    code, out, _err = samara(tmp_path / "b", "import", stick, capsys=capsys)
    assert code == 4
    assert "SKIPPED one" in out


def test_a_cut_off_export_does_not_fail_what_else_comes_in(
    tmp_path: Path, carried: tuple[Source, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    _one, stick = carried
    next(stick.glob("samara/releases/one-*/complete.json")).unlink()
    code, out, _err = samara(tmp_path / "b", "import", stick, "--json", capsys=capsys)
    assert code == 0
    assert [row["error"] for row in json.loads(out)["skipped"]] == ["NotFoundError"]


def test_when_the_only_release_fails_its_error_is_the_commands(
    tmp_path: Path, carried: tuple[Source, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    _one, stick = carried
    shutil.rmtree(next(stick.glob("samara/releases/two-*")))
    flip(next(stick.rglob("w.bin.000")), 50)
    with give_home(tmp_path / "c") as store, pytest.raises(ChunkError):
        import_all(store, ImportRequest(str(stick)))
    code, out, _err = samara(tmp_path / "b", "import", stick, "--json", capsys=capsys)
    assert code == 4
    assert json.loads(out)["error"] == "ChunkError"


def test_what_is_no_stick_or_an_empty_one_is_not_found(
    tmp_path: Path, carried: tuple[Source, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    _one, stick = carried
    assert samara(tmp_path / "b", "import", tmp_path / "one", capsys=capsys)[0] == 3
    assert samara(tmp_path / "b", "import", tmp_path / "nowhere", capsys=capsys)[0] == 3
    shutil.rmtree(stick / "samara/releases")
    code, _out, err = samara(tmp_path / "b", "import", stick, capsys=capsys)
    assert code == 3
    assert "no release" in err


def test_what_is_unknown_condemned_or_not_whole_is_not_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "stick").mkdir()
    with give_home(tmp_path / "a") as store:
        one = make_source(store, tmp_path / "one", SIZES)
        make_source(store, tmp_path / "two", {"x": 10})
        store.catalog.condemn(one.content, "a lie")
    (tmp_path / "two/x").unlink()
    assert samara(tmp_path / "a", "export", tmp_path / "stick", "me/three", capsys=capsys)[0] == 3
    assert samara(tmp_path / "a", "export", tmp_path / "stick", "me/one", capsys=capsys)[0] == 4
    assert samara(tmp_path / "a", "export", tmp_path / "stick", "me/two", capsys=capsys)[0] == 1
    assert samara(tmp_path / "a", "export", tmp_path / "nowhere", "me/one", capsys=capsys)[0] == 4
    assert samara(tmp_path / "a", "export", tmp_path / "stick", capsys=capsys)[0] == 2
    assert not list((tmp_path / "stick").rglob("complete.json"))


def test_the_licence_of_others_is_obeyed_and_ones_own_is_ones_own(tmp_path: Path, carried: tuple[Source, Path]) -> None:
    _one, stick = carried
    (tmp_path / "out").mkdir()
    with give_home(tmp_path / "b") as store:
        (two,) = (row for row in import_all(store, ImportRequest(str(stick))).releases if row.name == "two")
        request = ExportRequest(str(tmp_path / "out"), (two.release,))
        with pytest.MonkeyPatch.context() as patch:
            _forbid(patch)
            with pytest.raises(LicenseError):
                export_all(store, request)
            assert export_all(store, ExportRequest(request.folder, request.refs, yes=True)).releases
    with give_home(tmp_path / "a") as store, pytest.MonkeyPatch.context() as patch:
        _forbid(patch)
        assert export_all(store, request).releases


def _forbid(patch: pytest.MonkeyPatch) -> None:
    """Make every release say that it may not be passed on."""

    def forbid(
        store: Store, records: Records, *, expected: ReleaseId | None = None, publisher: PublisherId | None = None
    ) -> VerifiedRelease:
        verified = verify_release(records, expected=expected, publisher=publisher)
        return dataclasses.replace(verified, release=dataclasses.replace(verified.release, redistribute=False))

    patch.setattr(Store, "verify_records", forbid)


@pytest.mark.parametrize("command", ["export", "import"])
def test_help_shows_examples_line_by_line(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _err = samara(tmp_path / "a", command, "--help", capsys=capsys)
    assert code == 0
    assert f"\n  samara {command} /media/usb" in out
    assert f"\n  samara {command} E:/" in out


def node_of(store: CrashableStore) -> Node:
    """All of a node that these operations touch."""
    changes: list[None] = []
    return cast(Node, SimpleNamespace(store=store, library_changed=lambda: changes.append(None), changes=changes))


async def test_operations_tell_how_far_they_are(tmp_path: Path) -> None:
    events: list[Event] = []
    with give_home(tmp_path / "a") as store, give_home(tmp_path / "b") as target:
        made = make_source(store, tmp_path / "one", SIZES)
        (tmp_path / "stick").mkdir()
        request = ExportRequest(str(tmp_path / "stick"), (format_record(made.release),))
        await EXPORT.handler(node_of(store), request, events.append)
        node = node_of(target)
        await IMPORT.handler(node, ImportRequest(str(tmp_path / "stick")), events.append)
        assert cast(Any, node).changes
    progress = [event for event in events if isinstance(event, Progress)]
    assert {event.phase for event in progress} == {"writing", "reading back", "importing"}
    assert progress[-1].done == progress[-1].total


async def test_cancelling_ends_the_work_and_the_same_request_goes_on(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as store, give_home(tmp_path / "b") as target:
        made = make_source(store, tmp_path / "one", {"w.bin": 20 * MIB})
        (tmp_path / "stick").mkdir()
        out = ExportRequest(str(tmp_path / "stick"), (format_record(made.release),))
        back = ImportRequest(str(tmp_path / "stick"))
        with trio.fail_after(20), trio.CancelScope() as scope:
            await EXPORT.handler(node_of(store), out, lambda event: scope.cancel())
        assert scope.cancelled_caught
        assert not list((tmp_path / "stick").rglob("complete.json"))
        await EXPORT.handler(node_of(store), out, lambda event: None)
        with trio.fail_after(20), trio.CancelScope() as scope:
            await IMPORT.handler(node_of(target), back, lambda event: scope.cancel())
        assert scope.cancelled_caught
        assert target.catalog.pins() == frozenset()
        carried = await IMPORT.handler(node_of(target), back, lambda event: None)
        assert same_files(made, Path(carried.releases[0].path))
