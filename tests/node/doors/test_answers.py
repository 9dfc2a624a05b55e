"""Answers and calls of any size: what is large passes, what is too large is said, and neither ends the node."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from blake3 import blake3
from support.contents import give_home, make_source
from support.doors import Answered, Asked, a_node, ask

from samara.node.app import open_node
from samara.node.doors import client, wire
from samara.node.doors.client import call_node, connect
from samara.node.operations.queries import LIST, SHOW, ListRequest, Shown, ShowRequest
from samara.node.operations.refs import own_publisher, signing_keys
from samara.node.settings import Settings, StoreSettings
from samara.node.store.catalog import Catalog
from samara.node.store.home import Home
from samara.node.store.store import Store
from samara.protocol.errors import OperationError, UsageError
from samara.protocol.ids import Digest, ReleaseId, format_record
from samara.protocol.limits import MIB
from samara.protocol.ports import Records
from samara.protocol.records import make_release, verify_release
from samara.protocol.table import FileEntry, FileTable, content_id

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs Unix sockets")

MANY = 100_000


@pytest.fixture(autouse=True)
def _runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))


@pytest.mark.parametrize("size", [16 * MIB - 50, 16 * MIB, 40 * MIB])
async def test_a_large_answer_passes(tmp_path: Path, size: int) -> None:
    async with a_node(tmp_path) as node:
        found = await trio.to_thread.run_sync(ask, node.home, Asked("large", size))
        assert found == Answered("x" * size)


async def test_an_answer_that_is_too_large_is_said_and_the_node_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAX_ANSWER", MIB)
    monkeypatch.setattr(client, "MAX_ANSWER", MIB)
    async with a_node(tmp_path) as node:
        most = MIB - 64 - len('{"what":""}')
        assert await trio.to_thread.run_sync(ask, node.home, Asked("large", most)) == Answered("x" * most)
        with pytest.raises(OperationError, match=r"the answer to echo has \d+ bytes") as raised:
            await trio.to_thread.run_sync(ask, node.home, Asked("large", most + 1))
        assert "Stop the node" in raised.value.hint
        assert await trio.to_thread.run_sync(ask, node.home, Asked("hello")) == Answered("hello")


async def test_a_node_that_says_more_than_it_may_is_not_heard_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MAX_ANSWER", MIB)
    async with a_node(tmp_path) as node:
        with pytest.raises(OperationError, match="more than 1048576 bytes"):
            await trio.to_thread.run_sync(ask, node.home, Asked("large", 2 * MIB))
        assert await trio.to_thread.run_sync(ask, node.home, Asked("hello")) == Answered("hello")


async def test_a_call_that_is_too_long_is_bad_usage(tmp_path: Path) -> None:
    async with a_node(tmp_path) as node:
        long = "x" * (15 * MIB)
        assert await trio.to_thread.run_sync(ask, node.home, Asked(long)) == Answered(long)
        with pytest.raises(UsageError, match="echo was given"):
            await trio.to_thread.run_sync(ask, node.home, Asked("x" * 16 * MIB))
        assert await trio.to_thread.run_sync(ask, node.home, Asked("hello")) == Answered("hello")


def _know(store: Store, like: ReleaseId, entries: Iterator[FileEntry]) -> ReleaseId:
    """Let a home know a release of many files, of which none is there."""
    table = FileTable.of(entries)
    own = own_publisher(store)
    records = store.catalog.records(like)
    assert records is not None
    said = replace(
        verify_release(records, expected=like).release, content=content_id(table), bytes=table.size, files=len(table)
    )
    made = make_release(said, table.encode(), own.chain, signing_keys(store, own))
    store.contents.add(said.content, table, ())
    store.catalog.add_release(made, Records(own.chain.envelopes, made.envelope), own=False)
    return made.id


def _entry(number: int) -> FileEntry:
    data = str(number).encode()
    blake = Digest(blake3(data).digest())
    path = f"a-folder-with-a-name/shard-{number % 100:03}/part-{number:06}.jsonl"
    return FileEntry(path, len(data), blake, hashlib.sha256(data).digest(), blake)


async def test_all_about_100_000_files_passes(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with give_home(home.root) as store:
        one = make_source(store, tmp_path / "one", {"a": 5}).release
        many = _know(store, one, map(_entry, range(MANY)))
    settings = Settings(store=StoreSettings(floor=0))

    def show() -> Shown:
        with connect(home) as connection:
            assert connection is not None
            return call_node(connection, SHOW.operation(), ShowRequest(format_record(many)), lambda event: None)

    async with open_node(home, settings, {SHOW.name: SHOW.operation()}):
        shown = await trio.to_thread.run_sync(show)
    assert (shown.files, len(shown.file_list)) == (MANY, MANY)
    assert {file.path for file in shown.file_list} == {_entry(number).path for number in range(MANY)}


def test_a_list_asks_for_pins_and_names_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not once a release: that made a list of 100,000 take an hour."""
    asked: list[str] = []

    def count(name: str) -> None:
        real = getattr(Catalog, name)

        def counted(catalog: Catalog) -> object:
            asked.append(name)
            return real(catalog)

        monkeypatch.setattr(Catalog, name, counted)

    count("pins")
    count("petnames")
    with give_home(tmp_path / "home") as store:
        for name in ("one", "two", "three"):
            make_source(store, tmp_path / name, {name: 5})
        asked.clear()
        rows = LIST.answer(store, ListRequest()).releases
    assert [row.pinned for row in rows] == [True] * 3
    assert sorted(asked) == ["petnames", "pins"]
