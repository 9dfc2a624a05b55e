"""Places are looked through as often as it costs little; a medium that comes or goes is noticed at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.contents import CrashableStore, Source, give_home, make_source

from samara.node.store.watch import PlaceWatch


class SlowDisk:
    """A clock that goes on only when somebody waits, or looks at one of the published files."""

    def __init__(self, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = seconds
        self.now = 1000.0
        self.looks = 0
        self._stat = os.stat
        monkeypatch.setattr(os, "stat", self.stat)

    def clock(self) -> float:
        return self.now

    def stat(self, path: Any, **more: Any) -> os.stat_result:
        if str(path).endswith(".bin"):
            self.now += self.seconds
            self.looks += 1
        return self._stat(path, **more)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CrashableStore]:
    with give_home(tmp_path / "a") as store:
        yield store


@pytest.fixture
def made(tmp_path: Path, store: CrashableStore) -> Source:
    return make_source(store, tmp_path / "stick", {f"{n}.bin": 10 for n in range(20)})


def states(store: CrashableStore) -> list[str]:
    return [place.state for place in store.contents.places()]


def test_what_costs_nothing_is_looked_through_each_time(
    store: CrashableStore, made: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SlowDisk(0, monkeypatch)
    watch = PlaceWatch(store, disk.clock)
    for look in range(1, 4):
        assert watch.look() == []
        assert disk.looks == 20 * look
    (made.root / "7.bin").write_bytes(b"edited")
    assert [place.root for place in watch.look()] == [made.root]
    assert states(store) == ["edited"]
    before = disk.looks
    assert watch.look() == []
    assert disk.looks == before  # only `verify` or a fetch can say more of it


def test_what_costs_much_is_looked_through_seldom(
    store: CrashableStore, made: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SlowDisk(0.01, monkeypatch)
    watch = PlaceWatch(store, disk.clock)
    watch.look()
    (made.root / "7.bin").write_bytes(b"edited")
    for _ in range(3):
        disk.now += 30
        assert watch.look() == []
    assert disk.looks == 20
    disk.now += 30
    assert len(watch.look()) == 1
    assert states(store) == ["edited"]


@pytest.mark.parametrize("seconds", [0.0001, 0.01, 0.1])
def test_looking_takes_a_small_part_of_the_time(
    store: CrashableStore, made: Source, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    disk = SlowDisk(seconds, monkeypatch)
    watch = PlaceWatch(store, disk.clock)
    began = disk.now
    for _ in range(2000):
        watch.look()
        disk.now += 30
    assert disk.looks * seconds < (disk.now - began) / 400
    assert disk.looks / 20 > (disk.now - began) / 1900  # and it is not forgotten


def test_a_medium_that_goes_and_comes_is_noticed_at_once(
    tmp_path: Path, store: CrashableStore, made: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SlowDisk(10, monkeypatch)
    watch = PlaceWatch(store, disk.clock)
    watch.look()
    made.root.rename(tmp_path / "drawer")
    assert len(watch.look()) == 1
    assert states(store) == ["away"]
    assert watch.look() == []
    (tmp_path / "drawer").rename(made.root)
    assert len(watch.look()) == 1
    assert states(store) == ["online"]
    assert disk.looks == 40
    (made.root / "7.bin").write_bytes(b"edited")
    made.root.rename(tmp_path / "drawer")
    watch.look()
    (tmp_path / "drawer").rename(made.root)
    watch.look()
    assert states(store) == ["edited"]
