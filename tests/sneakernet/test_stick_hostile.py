"""Sticks that are damaged, forged or meant to harm: no wrong byte comes in, nothing outside is touched or hangs."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.contents import CrashableStore, Source, give_home, make_source
from support.sticks import all_files, export, flip, import_only, only_entry, same_files

from samara.node.operations.refs import own_publisher, signing_keys
from samara.protocol import limits
from samara.protocol.dsse import SigningKey
from samara.protocol.errors import (
    ChunkError,
    NodeError,
    NotFoundError,
    SamaraError,
    StatementError,
    StickError,
    StoreError,
    TableError,
    VerificationError,
)
from samara.protocol.limits import KIB, MIB
from samara.protocol.records import make_next_root
from samara.sneakernet import media
from samara.sneakernet.importing import import_release, list_releases
from samara.sneakernet.media import StickFile

SIZES = {"w.bin": 150 * KIB, "sub/b.bin": 40_000, "empty": 0}
NEVER_READ = {"README.txt", "sha256.txt"}

needs_links = pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Source, Path]:
    """A release in a home, and a good stick with it, both below one folder."""
    folder = tmp_path_factory.mktemp("prepared")
    with give_home(folder / "source") as source:
        release = make_source(source, folder / "model", SIZES)
        export(source, release, folder / "good")
    return release, folder


@pytest.fixture
def made(prepared: tuple[Source, Path], tmp_path: Path) -> tuple[Source, Path]:
    """The release, its home at `source`, and a good stick with it."""
    release, folder = prepared
    shutil.copytree(folder / "source", tmp_path / "source")
    return release, copy_of(folder / "good", tmp_path / "good")


@pytest.fixture
def target(tmp_path: Path) -> Iterator[CrashableStore]:
    with give_home(tmp_path / "target") as store:
        yield store


def fails_or_is_right(store: CrashableStore, stick: Path, made: Source) -> SamaraError | None:
    """Import what there is; nothing wrong may lie in the home, whatever happens. Return the error."""
    error: SamaraError | None = None
    try:
        listing = list_releases(stick)
        for skip in listing.skipped:
            error = skip.error
        for entry in listing.entries:
            assert same_files(made, Path(import_release(store, stick, entry).path))
    except SamaraError as raised:
        error = raised
    for path in store.home.content.rglob("*"):
        if path.is_file() and path.parent.name != ".samara":
            inside = path.relative_to(store.home.content).parts[1:]  # below the content's id
            assert path.read_bytes() == made.root.joinpath(*inside).read_bytes()
    return error


def copy_of(stick: Path, to: Path) -> Path:
    shutil.copytree(stick, to, symlinks=True)
    return to


def path_of(stick: Path, name: str) -> Path:
    (found,) = stick.rglob(name)
    return found


def test_a_flipped_bit_anywhere_is_found_and_named(made: tuple[Source, Path], tmp_path: Path) -> None:
    release, good = made
    tried = 0
    for name, data in all_files(good).items():
        for offset in sorted({len(data) // 3, len(data) - 1} if data else ()):
            stick, home = copy_of(good, tmp_path / "bad"), tmp_path / "home"
            flip(stick / name, offset)
            with give_home(home) as store:
                error = fails_or_is_right(store, stick, release)
                if Path(name).name in NEVER_READ:
                    assert error is None
                elif Path(name).name != "complete.json":  # whose numbers may be bounds that still hold
                    assert isinstance(error, VerificationError | NotFoundError), (name, offset)
                if "/files/" in name:
                    assert isinstance(error, ChunkError)
                    assert Path(name).name.partition(".0")[0] in error.message
            if "/files/" in name:
                with give_home(home) as store:  # what came in is right: a good stick brings the rest
                    assert same_files(release, Path(import_only(store, good).path))
            shutil.rmtree(stick)
            shutil.rmtree(home)
            tried += 1
    assert tried > 20


def test_a_file_that_is_cut_short_is_found(made: tuple[Source, Path], tmp_path: Path) -> None:
    release, good = made
    for name, data in all_files(good).items():
        for length in {0, len(data) // 2, len(data) - 1} - {-1, len(data)}:
            stick = copy_of(good, tmp_path / "bad")
            (stick / name).write_bytes(data[:length])
            with give_home(tmp_path / "home") as store:
                error = fails_or_is_right(store, stick, release)
                assert (error is None) is (Path(name).name in NEVER_READ), (name, length)
            shutil.rmtree(stick)
            shutil.rmtree(tmp_path / "home")


def test_a_file_that_is_missing_is_found(made: tuple[Source, Path], tmp_path: Path) -> None:
    release, good = made
    for name, data in all_files(good).items():
        if Path(name).name in NEVER_READ or not data:
            continue
        stick = copy_of(good, tmp_path / "bad")
        (stick / name).unlink()
        with give_home(tmp_path / "home") as store:
            assert fails_or_is_right(store, stick, release) is not None, name
        shutil.rmtree(stick)
        shutil.rmtree(tmp_path / "home")


def test_swapped_parts_are_found(made: tuple[Source, Path], target: CrashableStore) -> None:
    release, stick = made
    one, two = path_of(stick, "w.bin.000"), path_of(stick, "w.bin.001")
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    with pytest.raises(ChunkError, match=r"w\.bin"):
        import_only(target, stick)
    assert not list(target.home.content.rglob("w.bin"))
    assert path_of(target.home.content, "b.bin").read_bytes() == (release.root / "sub/b.bin").read_bytes()


def test_damage_in_one_chunk_keeps_the_others(
    made: tuple[Source, Path], target: CrashableStore, tmp_path: Path
) -> None:
    release, good = made
    stick = copy_of(good, tmp_path / "bad")
    flip(path_of(stick, "w.bin.001"), 60_000)
    with pytest.raises(ChunkError, match=r"1 file is damaged.*w\.bin"):
        import_only(target, stick)
    brought = import_only(target, good)
    assert 0 < brought.read < 150 * KIB
    assert same_files(release, Path(brought.path))


def test_without_a_commit_record_nothing_is_there(made: tuple[Source, Path]) -> None:
    _release, stick = made
    path_of(stick, "complete.json").unlink()
    listing = list_releases(stick)
    assert listing.entries == ()
    (skip,) = listing.skipped
    assert isinstance(skip.error, NotFoundError)


def test_a_commit_record_of_another_release_is_refused(made: tuple[Source, Path], tmp_path: Path) -> None:
    _release, stick = made
    with give_home(tmp_path / "other") as source:
        other = make_source(source, tmp_path / "second", {"x": 10})
        export(source, other, tmp_path / "two")
    shutil.copy(path_of(tmp_path / "two", "complete.json"), path_of(stick, "complete.json"))
    (skip,) = list_releases(stick).skipped
    assert isinstance(skip.error, VerificationError)


def test_files_of_another_release_are_refused(
    made: tuple[Source, Path], target: CrashableStore, tmp_path: Path
) -> None:
    """Every file of another good release at the same place: the records lead to other bytes."""
    _release, stick = made
    with give_home(tmp_path / "other") as source:
        other = make_source(source, tmp_path / "second", {"w.bin": 150 * KIB, "sub/b.bin": 39_999, "empty": 0})
        export(source, other, tmp_path / "two")
    for name, error in (("table", TableError), ("nodes", NodeError)):
        swapped = copy_of(stick, tmp_path / name)
        shutil.copy(path_of(tmp_path / "two", name), path_of(swapped, name))
        with pytest.raises(error):
            import_only(target, swapped)
    assert target.catalog.releases() == []


def test_a_condemned_release_does_not_come_in(made: tuple[Source, Path], target: CrashableStore) -> None:
    release, stick = made
    import_only(target, stick)
    target.catalog.condemn(release.content, "its publisher lied")
    with pytest.raises(VerificationError, match="its publisher lied"):
        import_only(target, stick)


def test_a_publisher_with_two_second_roots_is_refused(
    made: tuple[Source, Path], target: CrashableStore, tmp_path: Path
) -> None:
    """Who stole a key may sign another way for the chain to go on; a stick must not bring that in unseen."""
    _release, stick = made
    with give_home(tmp_path / "source") as source:
        own = own_publisher(source)
        keys = signing_keys(source, own)
    one, other = (make_next_root(own.chain, [own.key, SigningKey(bytes([n]) * 32).did], keys) for n in (1, 2))
    target.catalog.add_roots(own.publisher, [*own.chain.envelopes, one])
    path = path_of(stick, "complete.json")
    path.write_bytes(path.read_bytes().replace(b'"roots":1', b'"roots":2'))
    (path.parent / "root-002.json").write_bytes(other)
    with pytest.raises(StatementError, match="two different roots"):
        import_only(target, stick)
    (path.parent / "root-002.json").write_bytes(one)
    import_only(target, stick)


def test_a_stick_that_changes_between_two_looks_is_refused(
    made: tuple[Source, Path], target: CrashableStore, tmp_path: Path
) -> None:
    _release, stick = made
    entry = only_entry(stick)
    with give_home(tmp_path / "other") as source:
        other = make_source(source, tmp_path / "second", {"x": 10})
        export(source, other, tmp_path / "two")
    shutil.rmtree(stick / "samara/releases" / entry.label)
    (source_folder,) = (tmp_path / "two/samara/releases").iterdir()
    shutil.copytree(source_folder, stick / "samara/releases" / entry.label)
    with pytest.raises(StickError, match="another release"):
        import_release(target, stick, entry)


# Links, devices, names


@needs_links
@pytest.mark.parametrize(
    "name", ["w.bin.000", "b.bin", "table", "nodes", "release.json", "root-001.json", "complete.json"]
)
@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_what_is_no_plain_file_is_refused(
    made: tuple[Source, Path], target: CrashableStore, tmp_path: Path, name: str, kind: str
) -> None:
    release, stick = made
    path = path_of(stick, name)
    shutil.move(path, tmp_path / "elsewhere")  # the right bytes: only following the link is wrong
    makers: dict[str, Callable[[], None]] = {
        "link": lambda: path.symlink_to(tmp_path / "elsewhere"),
        "fifo": lambda: os.mkfifo(path),
        "folder": path.mkdir,
    }
    makers[kind]()
    error = fails_or_is_right(target, stick, release)
    assert isinstance(error, StickError | ChunkError | NodeError | TableError)
    assert "no plain file" in error.message


@needs_links
@pytest.mark.parametrize("name", ["samara", "samara/releases", "samara/files", "label", "files", "sub"])
def test_a_folder_that_is_a_link_is_refused(
    made: tuple[Source, Path], target: CrashableStore, tmp_path: Path, name: str
) -> None:
    release, stick = made
    label = only_entry(stick).label
    named = {"label": f"samara/releases/{label}", "files": f"samara/files/{label}", "sub": f"samara/files/{label}/sub"}
    path = stick / named.get(name, name)
    shutil.move(path, tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    error = fails_or_is_right(target, stick, release)
    assert isinstance(error, StickError | ChunkError)
    assert "no folder" in error.message


@needs_links
@pytest.mark.parametrize("kind", ["link", "hard link", "fifo"])
def test_an_export_writes_through_nothing(made: tuple[Source, Path], tmp_path: Path, kind: str) -> None:
    release, stick = made
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    for name in ("w.bin.000", "empty", "table", "complete.json", "README.txt"):
        path = path_of(stick, name)
        path.unlink()
        if kind == "fifo":
            os.mkfifo(path)
        else:
            (path.symlink_to if kind == "link" else path.hardlink_to)(victim)
        with give_home(tmp_path / "source") as source:
            if name == "complete.json" and kind != "hard link":
                with pytest.raises(StickError):  # it is read before anything is written
                    export(source, release, stick)
                path.unlink()
            export(source, release, stick)
        assert victim.read_bytes() == b"precious"
        assert path.is_file()
        assert not path.is_symlink()
    assert only_entry(stick).release == release.release


@needs_links
@pytest.mark.parametrize("name", ["samara", "samara/files", "samara/releases"])
def test_an_export_enters_no_link(made: tuple[Source, Path], tmp_path: Path, name: str) -> None:
    release, _good = made
    stick, elsewhere = tmp_path / "stick", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (stick / name).parent.mkdir(parents=True)
    (stick / name).symlink_to(elsewhere, target_is_directory=True)
    with give_home(tmp_path / "source") as source:
        if name != "samara":
            shutil.copy(path_of(tmp_path / "good", "stick.json"), stick / "samara/stick.json")
        with pytest.raises(StickError, match="no folder"):
            export(source, release, stick)
    assert list(elsewhere.iterdir()) == []


def test_a_folder_where_a_file_is_due_stops_an_export(made: tuple[Source, Path], tmp_path: Path) -> None:
    release, stick = made
    path = path_of(stick, "w.bin.001")
    path.unlink()
    path.mkdir()
    with give_home(tmp_path / "source") as source, pytest.raises(StickError, match="is a folder"):
        export(source, release, stick)


@needs_links
def test_links_are_refused_too_where_folders_cannot_be_held_open(
    made: tuple[Source, Path], target: CrashableStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, where every path is looked at part by part instead."""
    monkeypatch.setattr(media, "_RELATIVE", False)
    release, stick = made
    with give_home(tmp_path / "source") as source:
        assert export(source, release, stick).written == 0
        export(source, release, tmp_path / "again")
    assert all_files(tmp_path / "again") == all_files(stick)
    folder = path_of(stick, "sub")
    shutil.move(folder, tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with pytest.raises(ChunkError, match="no folder"):
        import_only(target, stick)
    assert same_files(release, Path(import_only(target, tmp_path / "again").path))


def test_strange_labels_are_skipped_and_shown_harmlessly(made: tuple[Source, Path]) -> None:
    release, stick = made
    for name in ("\x1b[31mred", "‮txt", "a b", "x" * 250 + "é"):
        (stick / "samara/releases" / name).mkdir()
    (stick / "samara/releases/just-a-file").write_bytes(b"")
    listing = list_releases(stick)
    assert [entry.release for entry in listing.entries] == [release.release]
    assert len(listing.skipped) == 5
    for skip in listing.skipped:
        assert (skip.label + skip.error.message).isprintable()
        assert (skip.label + skip.error.message).isascii()


# Huge claims


def test_a_stick_with_too_many_labels_is_refused(made: tuple[Source, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    _release, stick = made
    monkeypatch.setattr(limits, "MAX_STICK_RELEASES", 3)
    for name in "abc":
        (stick / "samara/releases" / name).mkdir()
    with pytest.raises(StickError, match="more than 3"):
        list_releases(stick)


@pytest.mark.parametrize("name", ["release.json", "root-001.json", "head.json", "complete.json", "stick.json"])
def test_a_small_record_of_a_terabyte_is_not_read(made: tuple[Source, Path], name: str) -> None:
    _release, stick = made
    os.truncate(path_of(stick, name), 1 << 40)
    try:
        errors = [skip.error for skip in list_releases(stick).skipped]
    except SamaraError as error:
        errors = [error]
    assert [type(error) for error in errors] == [StickError]
    assert "possible" in errors[0].message


def test_a_table_of_a_terabyte_is_not_read(made: tuple[Source, Path], target: CrashableStore) -> None:
    _release, stick = made
    os.truncate(path_of(stick, "table"), 1 << 40)
    with pytest.raises(TableError, match="are due"):
        import_only(target, stick)


def test_a_claim_of_endless_nodes_is_refused(made: tuple[Source, Path], target: CrashableStore) -> None:
    _release, stick = made
    path = path_of(stick, "complete.json")
    good = path.read_bytes()
    at = good.index(b'"nodes":')
    path.write_bytes(good[:at] + b'"nodes":9007199254740991' + good[good.index(b",", at) :])
    with pytest.raises(StickError, match="parts"):
        import_only(target, stick)


@pytest.mark.parametrize("length", [0, 1, 23, 1 << 20, (1 << 20) + 1, 0xFFFFFFFF])
def test_a_node_of_an_impossible_length_is_refused(
    made: tuple[Source, Path], target: CrashableStore, length: int
) -> None:
    _release, stick = made
    nodes = path_of(stick, "nodes")
    nodes.write_bytes(length.to_bytes(4, "little") + nodes.read_bytes()[4:])
    with pytest.raises(NodeError, match="the file table"):
        import_only(target, stick)


def test_more_than_is_due_is_not_read(made: tuple[Source, Path], target: CrashableStore) -> None:
    release, stick = made
    for name in ("w.bin.000", "w.bin.002", "b.bin", "nodes"):
        with open(path_of(stick, name), "ab") as file:
            file.write(os.urandom(5000))
    assert same_files(release, Path(import_only(target, stick).path))


# A stick that goes away


def test_a_bad_sector_costs_one_chunk_and_a_pulled_stick_ends_it(
    made: tuple[Source, Path], target: CrashableStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, stick = made
    entry = only_entry(stick)
    real = os.pread
    victim = path_of(stick, "b.bin").stat().st_ino

    def bad_sector(fd: int, length: int, offset: int) -> bytes:
        if os.fstat(fd).st_ino == victim and offset <= 20_000 < offset + length:
            raise OSError(errno.EIO, "Input/output error")
        return real(fd, length, offset)

    monkeypatch.setattr(os, "pread", bad_sector)
    with pytest.raises(ChunkError, match=r"1 file is damaged.*Input/output"):
        import_release(target, stick, entry)
    assert path_of(target.home.content, "w.bin").read_bytes() == (release.root / "w.bin").read_bytes()

    def pulled(file: StickFile, offset: int, length: int) -> bytes:
        shutil.rmtree(stick / "samara", ignore_errors=True)
        raise StoreError("Input/output error")

    monkeypatch.setattr(os, "pread", real)
    real_read = StickFile.read

    def pulled_at_chunks(file: StickFile, offset: int, length: int) -> bytes:
        return pulled(file, offset, length) if length > 10_000 else real_read(file, offset, length)

    monkeypatch.setattr(StickFile, "read", pulled_at_chunks)
    with pytest.raises(StoreError, match="does not answer"):
        import_release(target, stick, entry)


def test_a_home_without_room_takes_nothing(made: tuple[Source, Path], tmp_path: Path) -> None:
    _release, stick = made
    with give_home(tmp_path / "small", quota=MIB // 10) as store:
        with pytest.raises(StoreError, match="quota"):
            import_only(store, stick)
        assert [path for path in store.home.content.rglob("*") if path.is_file()] == []
