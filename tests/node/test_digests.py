"""Whole digests are checked in the background: each file once, a crowd of files in few transactions."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.contents import CrashableStore, give_home, make_source, take_all

from samara.node import digests
from samara.node.digests import check_files
from samara.node.store.contents import HeldFile
from samara.node.store.store import Store
from samara.protocol.errors import StoppedError


@contextlib.contextmanager
def fetched(tmp_path: Path, count: int) -> Iterator[CrashableStore]:
    """Yield a store into which so many small files were fetched, and of which all is to be checked again."""
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "model", {f"{n:03}.bin": 100 + n for n in range(count)})
        take_all(made, source, target)
        (place,) = target.contents.places()
        target.contents.doubt(place, range(1, count + 1))
        yield target


def commits_of(store: Store) -> list[str]:
    """Return a list that grows with each transaction."""
    commits: list[str] = []
    store._index._writer.set_trace_callback(lambda said: commits.append(said) if said == "COMMIT" else None)
    return commits


def test_a_crowd_of_files_is_recorded_in_few_transactions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "_FILES_AT_ONCE", 100)
    with fetched(tmp_path, 250) as store:
        commits = commits_of(store)
        waiting = deque(store.contents.unchecked())
        left = []
        while waiting:
            check_files(store, waiting, set())
            left.append(len(store.contents.unchecked()))
        assert left == [150, 50, 0]
        assert len(commits) == 3


def test_a_batch_has_no_more_bytes_than_a_file_above_its_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "_BYTES_AT_ONCE", 1000)
    with fetched(tmp_path, 30) as store:
        check_files(store, deque(store.contents.unchecked()), set())
        assert len(store.contents.unchecked()) == 30 - 10  # 100 + 101 + … + 109 bytes are the first above 1,000


def test_what_was_found_right_is_recorded_when_the_node_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with fetched(tmp_path, 30) as store:
        asked = []

        def stop() -> bool:
            asked.append(True)
            if len(asked) == 20:
                raise StoppedError("the node stops")
            return False

        monkeypatch.setattr(digests, "is_cancelled", stop)
        with pytest.raises(StoppedError):
            check_files(store, deque(store.contents.unchecked()), set())
        assert 0 < len(store.contents.unchecked()) < 30


def test_what_is_wrong_is_looked_at_once(tmp_path: Path) -> None:
    with fetched(tmp_path, 3) as store:
        (place,) = store.contents.places()
        (place.root / "001.bin").unlink()
        tried: set[HeldFile] = set()
        check_files(store, deque([(place, 2)]), tried)
        assert {held.stream for held in tried} == {2}
        held = store.contents.file(place, 2)
        assert held is not None
        assert not held.checked


def test_an_index_that_was_made_before_is_looked_through_as_fast(tmp_path: Path) -> None:
    with fetched(tmp_path, 3) as store, store._index.write() as db:
        db.execute("DROP INDEX file_unchecked")
    with give_home(tmp_path / "b") as store:
        query = "EXPLAIN QUERY PLAN SELECT place, stream FROM file WHERE state = 'complete' AND NOT checked"
        assert "file_unchecked" in str(store._index.read.execute(query))
