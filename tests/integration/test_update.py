"""What is held is followed: the newest release comes by difference, and the old one stays until it is here."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trio
from support.contents import Source, give_home
from support.nodes import Heard, address, fetch, same_files, up
from support.waiting import in_time
from support.weights import Weights, draw, tune, write_safetensors

from samara.node.app import Node
from samara.node.operations.fetch import DROP, DropRequest
from samara.node.operations.library import GC, UNPIN, CollectRequest, RefRequest
from samara.node.operations.publish import PUBLISH, PublishRequest
from samara.node.operations.queries import QUEUE, QueueRequest
from samara.node.operations.refs import own_publisher
from samara.node.operations.update import UPDATE, UPDATE_DRY_RUN, UpdateRequest, UpdateRow
from samara.protocol.errors import NotFoundError, SamaraError, UsageError
from samara.protocol.ids import ReleaseId, format_record, parse_content, parse_record
from samara.protocol.records.announced import decode_announced_head
from samara.protocol.routing import head_key

FIRST = draw(1, tensors=4, size=700_000)
SECOND = tune(FIRST, 3e-3, 2)
SIZE = 2 * sum(map(len, FIRST.values()))


@dataclass
class Publisher:
    """A node that publishes versions of one name.

    Attributes:
        node: The node.
        folder: Where its files lie.
        name: The name of its releases.
    """

    node: Node
    folder: Path
    name: str = "model"

    async def publish(self, version: str, weights: Weights | None = None, /, **how: str) -> Source:
        """Publish what lies in the folder of a version, after the weights were put there."""
        root = self.folder / version
        if weights is not None:
            write_safetensors(root / "model.safetensors", weights, version)
            (root / "card.md").write_text(f"version {version}")
        request = PublishRequest(str(root), name=self.name, license="MIT", **how)  # type: ignore[arg-type]
        row = await self.node.run(PUBLISH, request, Heard())
        names = tuple(str(file.relative_to(root)) for file in sorted(root.rglob("*")) if file.is_file())
        return Source(root, names, ReleaseId(parse_record(row.release)), parse_content(row.content))


@contextlib.asynccontextmanager
async def publishing(tmp_path: Path, home: str = "a", **network: object) -> AsyncIterator[Publisher]:
    async with up(tmp_path / home, **{"encode": "always", **network}) as node:
        yield Publisher(node, tmp_path / f"{home}-files")


async def update(
    node: Node,
    peers: Sequence[Node],
    *refs: str,
    heard: Heard | None = None,
    dry_run: bool = False,
    patience: float = 20.0,
    to: Path | None = None,
) -> list[UpdateRow]:
    request = UpdateRequest(refs, str(to or ""), tuple(map(address, peers)), patience)
    updated = await node.run(UPDATE_DRY_RUN if dry_run else UPDATE, request, heard or Heard())
    return list(updated.updates)


async def until(true: Callable[[], object]) -> None:
    while not true():  # noqa: ASYNC110 - many things tell nobody
        await trio.sleep(0.02)


def hurry(node: Node) -> None:
    """Let a slow node send as fast as it can."""
    service = node.network_if_started
    assert service is not None
    service.upload.set_rate(None)


@in_time
async def test_the_next_version_comes_by_difference_and_takes_the_pin(tmp_path: Path) -> None:
    async with publishing(tmp_path) as alice, up(tmp_path / "b") as bob:
        old = await alice.publish("1", FIRST)
        await fetch(bob, old.release, [alice.node])
        assert [row.state for row in await update(bob, [alice.node])] == ["current"]
        new = await alice.publish("2", SECOND)
        (row,) = await update(bob, [alice.node])
        assert (row.state, row.name, row.previous_version, row.version) == ("updated", "model", "1", "2")
        assert (row.previous, row.release) == (format_record(old.release), format_record(new.release))
        same_files(new, row.path)
        assert row.received > 0.9 * SIZE
        assert row.moved < 0.3 * row.received
        assert bob.store.catalog.pins() == {new.release}
        assert bob.store.complete_place(old.content) is not None  # gc's, and nobody else's, to take
        (again,) = await update(bob, [alice.node])
        assert (again.state, again.version, again.moved) == ("current", "2", 0)
        gone = await bob.run(GC, CollectRequest(), Heard())
        assert gone.contents == 1
        assert bob.store.catalog.release(old.release) is None
        same_files(new, row.path)


@in_time
async def test_what_is_in_both_is_not_fetched_again(tmp_path: Path) -> None:
    async with publishing(tmp_path, encode="never") as alice, up(tmp_path / "b") as bob:
        await fetch(bob, (await alice.publish("1", FIRST)).release, [alice.node])
        (tmp_path / "a-files/2").mkdir()
        write_safetensors(tmp_path / "a-files/2/model.safetensors", FIRST, "1")
        (tmp_path / "a-files/2/card.md").write_text("a card of its own")
        new = await alice.publish("2")
        (row,) = await update(bob, [alice.node])
        same_files(new, row.path)
        assert (row.received, row.moved) == (17, 17)
        assert row.reused > SIZE


@in_time
async def test_a_dry_run_says_what_would_come_and_writes_nothing(tmp_path: Path) -> None:
    # On a metered line nothing comes by gossip: what is known afterwards would be what the dry run wrote.
    async with publishing(tmp_path) as alice, up(tmp_path / "b", metered=True) as bob:
        old = await alice.publish("1", FIRST)
        await fetch(bob, old.release, [alice.node])
        new = await alice.publish("2", SECOND)
        (row,) = await update(bob, [alice.node], dry_run=True)
        assert (row.state, row.version, row.release) == ("newer", "2", format_record(new.release))
        assert 0.9 * SIZE < row.received <= row.bytes
        assert bob.store.catalog.pins() == {old.release}
        assert bob.store.catalog.release(new.release) is None
        head = bob.store.ledgers.head(own_publisher(alice.node.store).publisher, "model")
        assert head is not None
        assert head.head.release == old.release


@in_time
async def test_stopped_halfway_the_old_one_is_untouched_and_the_next_update_goes_on(tmp_path: Path) -> None:
    async with publishing(tmp_path, upload=400_000, encode="never") as alice:
        old = await alice.publish("1", FIRST)
        async with up(tmp_path / "b") as bob:
            hurry(alice.node)
            place = (await fetch(bob, old.release, [alice.node])).path
        new = await alice.publish("2", SECOND)
        heard = Heard()

        async def leave_halfway() -> None:
            async with up(tmp_path / "b") as bob, trio.open_nursery() as nursery:

                async def begin() -> None:
                    await update(bob, [alice.node], heard=heard)

                nursery.start_soon(begin)
                await until(lambda: any(step.phase == "fetching" and 4 * step.done > SIZE for step in heard.progress))
                nursery.cancel_scope.cancel()

        service = alice.node.network_if_started
        assert service is not None
        service.upload.set_rate(800_000)
        await leave_halfway()
        async with up(tmp_path / "b") as bob:
            assert bob.store.catalog.pins() == {old.release}
            same_files(old, place)
            hurry(alice.node)
            (row,) = await update(bob, [alice.node])
            assert row.state == "updated"
            assert row.received < 0.9 * SIZE  # the rest
            same_files(new, row.path)
            assert bob.store.catalog.pins() == {new.release}


@in_time
async def test_a_fetch_that_goes_on_after_its_caller_passes_the_pin_on(tmp_path: Path) -> None:
    async with publishing(tmp_path, encode="never") as alice, up(tmp_path / "b") as bob:
        old = await alice.publish("1", FIRST)
        await fetch(bob, old.release, [alice.node])
        new = await alice.publish("2", SECOND)
        service = alice.node.network_if_started
        assert service is not None
        service.upload.set_rate(800_000)
        heard = Heard()
        async with trio.open_nursery() as nursery:

            async def begin() -> None:
                await update(bob, [alice.node], heard=heard)

            nursery.start_soon(begin)
            await until(lambda: any(step.phase == "fetching" and step.done for step in heard.progress))
            nursery.cancel_scope.cancel()
        assert bob.store.catalog.pins() == {old.release}
        hurry(alice.node)
        await until(lambda: not bob.fetches.running())
        assert bob.store.catalog.pins() == {new.release}


@in_time
async def test_a_fetch_that_is_dropped_leaves_the_old_one_pinned(tmp_path: Path) -> None:
    async with publishing(tmp_path, encode="never") as alice, up(tmp_path / "b") as bob:
        old = await alice.publish("1", FIRST)
        await fetch(bob, old.release, [alice.node])
        await alice.publish("2", SECOND)
        service = alice.node.network_if_started
        assert service is not None
        service.upload.set_rate(200_000)
        heard = Heard()
        rows: list[UpdateRow] = []
        async with trio.open_nursery() as nursery:

            async def begin() -> None:
                rows.extend(await update(bob, [alice.node], heard=heard))

            nursery.start_soon(begin)
            await until(lambda: any(step.phase == "fetching" and step.done for step in heard.progress))
            (queued,) = QUEUE.answer(bob.store, QueueRequest()).fetches
            await bob.run(DROP, DropRequest(queued.number), Heard())
        assert [(row.state, row.error, row.version) for row in rows] == [("failed", "OperationError", "2")]
        assert bob.store.catalog.pins() == {old.release}


@in_time
async def test_what_is_condemned_is_replaced_too(tmp_path: Path) -> None:
    async with publishing(tmp_path) as alice, up(tmp_path / "b") as bob:
        old = await alice.publish("1", FIRST)
        await fetch(bob, old.release, [alice.node])
        new = await alice.publish("2", SECOND)
        bob.store.catalog.condemn(old.content, "its publisher lied")
        (row,) = await update(bob, [alice.node])
        assert (row.state, row.version) == ("updated", "2")
        assert bob.store.catalog.pins() == {new.release}


@in_time
async def test_nobody_who_knows_is_said_by_name(tmp_path: Path) -> None:
    async with up(tmp_path / "b") as bob:
        async with publishing(tmp_path) as alice:
            old = await alice.publish("1", FIRST)
            await fetch(bob, old.release, [alice.node])
        (row,) = await update(bob, [], patience=1)
        assert (row.state, row.error, row.release) == ("unreachable", "NotFoundError", "")
        assert "model" in row.message
        assert bob.store.catalog.pins() == {old.release}


@in_time
async def test_who_is_behind_is_no_answer_and_rolls_nothing_back(tmp_path: Path) -> None:
    async with up(tmp_path / "b") as bob, up(tmp_path / "c") as carol:
        async with publishing(tmp_path) as alice:
            old = await alice.publish("1", FIRST)
            await fetch(carol, old.release, [alice.node])
            new = await alice.publish("2", SECOND)
            await fetch(bob, new.release, [alice.node])
            (row,) = await update(bob, [carol, alice.node])  # who is behind does not hide who is not
            assert row.state == "current"
        (row,) = await update(bob, [carol], patience=1)
        assert row.state == "unreachable"
        assert bob.store.catalog.pins() == {new.release}


@in_time
async def test_a_release_without_its_head_is_not_replaced_by_an_older_one(tmp_path: Path) -> None:
    async with publishing(tmp_path) as alice, up(tmp_path / "c") as carol:
        old = await alice.publish("1", FIRST)
        await fetch(carol, old.release, [alice.node])
        new = await alice.publish("2", SECOND)
        source = alice.node.store
        with give_home(tmp_path / "b") as store:
            records, nodes, table = new.opening(source)
            intake = store.open_intake(replace(records, head=None), nodes, table, None)
            for need in intake.needs():
                listed = need if need.listed else intake.add_list(need.stream, new.nodes(source, need.stream))
                for index in listed.missing:
                    intake.put(need.stream, index, new.chunk(source, need.stream, index))
            intake.finish()
            store.close_intake(intake)
            store.catalog.pin(new.release, pinned=True)
        async with up(tmp_path / "b") as bob:
            (row,) = await update(bob, [carol])
            assert (row.state, row.version) == ("current", "2")
            assert bob.store.catalog.pins() == {new.release}


@in_time
async def test_a_fork_of_the_publisher_is_refused(tmp_path: Path) -> None:
    async with publishing(tmp_path) as alice:
        old = await alice.publish("1", FIRST)
        for name in ("b", "c"):
            async with up(tmp_path / name) as node:
                await fetch(node, old.release, [alice.node])
    shutil.copytree(tmp_path / "a", tmp_path / "twin")  # as who restores a backup, and publishes from both
    (tmp_path / "twin/node.key").unlink()
    async with publishing(tmp_path) as alice, publishing(tmp_path, "twin") as twin:
        new = await alice.publish("2", SECOND)
        await twin.publish("2", tune(FIRST, 3e-3, 3))
        async with up(tmp_path / "b") as bob:
            await fetch(bob, new.release, [alice.node])
            (row,) = await update(bob, [twin.node])
            assert (row.state, row.error) == ("failed", "ForkError")
            assert row.message.startswith("two ")
            assert [freezes for _, _, freezes, _ in bob.store.ledgers.forks()] == [True]
            assert bob.store.catalog.pins() == {old.release, new.release}
        async with up(tmp_path / "c") as carol:
            (row,) = await update(carol, [alice.node, twin.node])
            assert (row.state, row.error) == ("failed", "ForkError")
            assert [freezes for _, _, freezes, _ in carol.store.ledgers.forks()] == [True]
            assert carol.store.catalog.pins() == {old.release}


def write_files(root: Path, version: str, names: Sequence[str]) -> None:
    for name in names:
        path = root / version / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name} of version {version}")


FILES = ("chat.Q4_K_M.gguf", "chat.Q8_0.gguf", "card.md", "notes.txt")


@in_time
async def test_the_files_are_chosen_as_those_of_the_old_one(tmp_path: Path) -> None:
    async with publishing(tmp_path) as alice:
        write_files(alice.folder, "1", FILES)
        old = await alice.publish("1")
        write_files(alice.folder, "2", (*FILES, "more.txt"))
        plans: dict[str, tuple[list[dict[str, object]], set[str]]] = {
            "by quantization": ([{"quantization": "Q4_K_M"}], {"chat.Q4_K_M.gguf", "card.md", "notes.txt", "more.txt"}),
            "by pattern": ([{"include": ["*.txt"]}], {"notes.txt", "more.txt"}),
            "twice": ([{"include": ["card.md"]}, {"include": ["*.txt"]}], {"card.md", "notes.txt"}),
            "at last all": ([{"include": ["card.md"]}, {}], {*FILES, "more.txt"}),
        }
        for name, (fetches, _) in plans.items():
            async with up(tmp_path / name) as bob:
                for how in fetches:
                    await fetch(bob, old.release, [alice.node], **how)  # type: ignore[arg-type]
        new = await alice.publish("2")
        for name, (_, wanted) in plans.items():
            async with up(tmp_path / name) as bob:
                (row,) = await update(bob, [alice.node])
                assert row.state == "updated", (name, row)
                same_files(new, row.path, sorted(wanted))
                assert bob.store.catalog.pins() == {new.release}


@in_time
async def test_a_choice_that_is_not_there_any_more_is_said(tmp_path: Path) -> None:
    async with publishing(tmp_path) as alice, up(tmp_path / "b") as bob:
        write_files(alice.folder, "1", FILES)
        old = await alice.publish("1")
        await fetch(bob, old.release, [alice.node], quantization="Q4_K_M")
        write_files(alice.folder, "2", ("chat.Q6_K.gguf", "chat.Q8_0.gguf"))
        await alice.publish("2")
        (row,) = await update(bob, [alice.node])
        assert (row.state, row.error) == ("failed", "UsageError")
        assert "Q6_K" in row.hint
        assert bob.store.catalog.pins() == {old.release}


@in_time
async def test_it_goes_into_the_home_unless_one_says_where(tmp_path: Path) -> None:
    async with publishing(tmp_path) as alice, up(tmp_path / "b") as bob:
        old = await alice.publish("1", FIRST)
        await fetch(bob, old.release, [alice.node], to=tmp_path / "mine")
        second = await alice.publish("2", SECOND)
        heard = Heard()
        (row,) = await update(bob, [alice.node], heard=heard)
        assert row.path.startswith(str(tmp_path / "b"))
        assert any("into the home" in notice for notice in heard.notices)
        same_files(second, row.path)
        same_files(old, tmp_path / "mine")
        third = await alice.publish("3", tune(SECOND, 3e-3, 4))
        (row,) = await update(bob, [alice.node], to=tmp_path / "new")
        same_files(third, tmp_path / "new")
        assert row.path == str(tmp_path / "new")


@in_time
async def test_what_cannot_be_followed_is_refused_when_it_is_named(tmp_path: Path) -> None:
    async with publishing(tmp_path) as alice, up(tmp_path / "b") as bob:
        write_files(alice.folder, "1", ["x"])
        public = await alice.publish("1")
        hidden = await replace(alice, name="hidden").publish("1", visibility="unlisted")
        for made in (public, hidden):
            await fetch(bob, made.release, [alice.node])
        heard = Heard()
        assert [row.name for row in await update(bob, [alice.node], heard=heard)] == ["model"]
        assert [notice for notice in heard.notices if "hidden" in notice]
        cases: list[tuple[Node, str, type[SamaraError], str]] = [
            (alice.node, "me/model", UsageError, "published here"),
            (bob, format_record(hidden.release), UsageError, "not public"),
            (bob, f"{format_record(own_publisher(alice.node.store).publisher)}/other", NotFoundError, "not held"),
            (bob, "nobody/model", NotFoundError, "nobody is called"),
        ]
        for node, ref, error, says in cases:
            with pytest.raises(error, match=says):
                await update(node, [alice.node], ref)
        assert await update(alice.node, []) == []
        with pytest.raises(UsageError, match="wait for ever"):
            await update(bob, [], patience=0)


@in_time
async def test_by_name_the_newest_that_is_pinned_and_by_id_the_one(tmp_path: Path) -> None:
    async with publishing(tmp_path) as alice, up(tmp_path / "b") as bob:
        releases = []
        for version in "123":
            write_files(alice.folder, version, ["x"])
            releases.append((await alice.publish(version)).release)
            if version < "3":
                await fetch(bob, releases[-1], [alice.node])
        first, second, third = releases
        bob.store.catalog.set_petname(own_publisher(alice.node.store).publisher, "alice")
        with pytest.raises(UsageError, match="--to is for one"):
            await update(bob, [alice.node], format_record(first), format_record(second), to=tmp_path / "x")
        (row,) = await update(bob, [alice.node], "alice/model@1", dry_run=True)
        assert (row.previous_version, row.version, row.publisher) == ("1", "3", "alice")
        (row,) = await update(bob, [alice.node], "alice/model")
        assert (row.previous, row.release) == (format_record(second), format_record(third))
        assert bob.store.catalog.pins() == {first, third}
        await bob.run(UNPIN, RefRequest(format_record(third)), Heard())
        (row,) = await update(bob, [alice.node], format_record(first))
        assert (row.state, row.received) == ("updated", 0)
        assert bob.store.catalog.pins() == {third}


@in_time
async def test_the_dht_knows_the_head_when_its_publisher_is_away(tmp_path: Path) -> None:
    async with up(tmp_path / "c", dht="server") as carol:
        bootstrap = (address(carol),)
        async with up(tmp_path / "b", dht="server", bootstrap=bootstrap) as bob:
            async with publishing(tmp_path, dht="server", bootstrap=bootstrap) as alice:
                write_files(alice.folder, "1", ["x"])
                old = await alice.publish("1")
                await fetch(bob, old.release, [alice.node])
                write_files(alice.folder, "2", ["x"])
                new = await alice.publish("2")
                publisher = own_publisher(alice.node.store).publisher
                routing = (await bob.network()).routing
                assert routing is not None
                key = head_key(publisher, "model")
                while True:
                    value = await routing.get_value(key)
                    if value is not None and decode_announced_head(key, value).head.release == new.release:
                        break
                    await trio.sleep(0.2)
            (row,) = await update(bob, [], patience=2)
            assert (row.state, row.error, row.release) == ("unreachable", "NotFoundError", format_record(new.release))
            assert bob.store.catalog.pins() == {old.release}
            known = bob.store.ledgers.head(publisher, "model")
            assert known is not None
            assert known.head.sequence == 2  # what was seen once is never forgotten
