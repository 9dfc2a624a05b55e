"""Fetches that are killed at any moment leave no lie, no home that cannot be opened, and little to fetch again."""

from __future__ import annotations

import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.cli import Cli
from support.contents import Source, give_home, take_all
from support.kill_child import MOMENTS, Kill
from support.kills import Findings, KillHarness, look_at, write_files

from samara.node.store.store import Store
from samara.protocol.ids import ReleaseId, parse_content, parse_record
from samara.protocol.limits import MIB

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs fork and Linux's calls")


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KillHarness]:
    with KillHarness(tmp_path_factory.mktemp("kills") / "yard") as harness:
        yield harness


def test_random_kills_leave_no_lie(harness: KillHarness) -> None:
    found = Findings()
    seed = 20_261_123
    while found.kills < 20:
        found.add(harness.play(seed))
        seed += 1
    assert (found.lies, found.unreadable) == ([], [])
    assert max(found.lost) <= 64 * MIB


def test_a_kill_at_each_moment_leaves_no_lie(harness: KillHarness) -> None:
    found = Findings()
    for number, moment in enumerate(MOMENTS):
        found.add(harness.play_kills(Kill(moment, 1 + number % 4, "after" if number % 2 else "before")))
    assert (found.lies, found.unreadable) == ([], [])
    assert found.moments.keys() == set(MOMENTS)


def test_a_store_that_records_before_it_syncs_is_found_out(tmp_path: Path) -> None:
    with KillHarness(tmp_path / "yard", sabotage="no sync") as harness:
        found = harness.play_kills(Kill("commit", 40, "after"))
    assert found.lies


def _flip(path: Path, offset: int = 0) -> None:
    path.chmod(0o644)
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))


def _spoil_complete(place: Path, home: Path) -> None:
    _flip(place / "large.bin", 70_000)


def _lose_file(place: Path, home: Path) -> None:
    (place / "many/003.txt").unlink()


def _put_stranger(place: Path, home: Path) -> None:
    (place / "many/stranger.txt").write_text("x")


def _put_into_home(place: Path, home: Path) -> None:
    (home / "core").write_text("x")


SPOILT: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "a wrong byte": (_spoil_complete, "is wrong"),
    "a lost file": (_lose_file, "is gone"),
    "a strange file in the place": (_put_stranger, "not in the table"),
    "a strange file in the home": (_put_into_home, "is unknown"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_the_look_finds_what_is_wrong(tmp_path: Path, name: str) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = _made(tmp_path, source)
        place = Path(take_all(made, source, target))
    looked = look_at(tmp_path / "b", made)
    assert (looked.lies, looked.unreadable, looked.complete) == ([], [], True)
    spoil, what = SPOILT[name]
    spoil(place, tmp_path / "b")
    assert any(what in lie for lie in look_at(tmp_path / "b", made).lies)


def test_the_look_finds_a_bit_without_its_chunk(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = _made(tmp_path, source)
        stream = made.files.index("large.bin") + 1
        intake = target.open_intake(*made.opening(source), None)
        need = intake.add_list(stream, made.nodes(source, stream))
        intake.put(stream, 0, made.chunk(source, stream, 0))
        intake.commit()
        target.close_intake(intake)
        assert look_at(tmp_path / "b", made).lies == []
        bits = bytearray((need.chunks + 7) // 8)
        bits[0] = 0b11
        target.contents.set_partial(intake.place, {stream: bytes(bits)})
    assert any("has its bit" in lie for lie in look_at(tmp_path / "b", made).lies)


def test_the_look_finds_a_damaged_index(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = _made(tmp_path, source)
        take_all(made, source, target)
    (tmp_path / "b/index.sqlite").write_bytes(b"not a database, but long enough to look like one" * 100)
    shutil.rmtree(tmp_path / "b/content")
    assert look_at(tmp_path / "b", made).unreadable


def _made(tmp_path: Path, source: Store) -> Source:
    write_files(tmp_path / "model", random.Random(1))
    return Source.publish(source, tmp_path / "model")


@pytest.mark.slow
def test_kills_through_the_real_command_line_leave_no_lie(tmp_path: Path) -> None:
    rng = random.Random(7)
    write_files(tmp_path / "model", random.Random(0))
    alice, bob = Cli(tmp_path / "alice"), Cli(tmp_path / "bob", (("SAMARA_NETWORK_DOWNLOAD", "3 MB"),))
    with alice.running("seed", str(tmp_path / "model")) as (_, said):
        row = said["published"][0]
        made = Source(
            tmp_path / "model",
            tuple(sorted(p.relative_to(tmp_path / "model").as_posix() for p in (tmp_path / "model").rglob("*")
                         if p.is_file())),
            ReleaseId(parse_record(row["release"])),
            parse_content(row["content"]),
        )  # fmt: skip
        committed = 0
        for _ in range(4):
            fetch = bob.start("fetch", row["link"], "--json")
            time.sleep(rng.uniform(1.0, 4.0))
            fetch.stop(signal.SIGKILL)
            looked = look_at(tmp_path / "bob", made)
            assert (looked.lies, looked.unreadable) == ([], [])
            assert looked.committed >= committed
            committed = looked.committed
        fetched = Cli(tmp_path / "bob").json("fetch", row["link"])
        assert fetched["received"] + fetched["reused"] == fetched["bytes"] - committed
    looked = look_at(tmp_path / "bob", made)
    assert (looked.lies, looked.unreadable, looked.complete) == ([], [], True)
