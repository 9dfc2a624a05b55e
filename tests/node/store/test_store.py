"""A content through the store: published where it lies, taken in elsewhere, read, spoilt, collected."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from support.contents import Source, give_home, make_source, take_all

from samara.node.store.home import Home
from samara.node.store.store import Store
from samara.node.store.watch import PlaceWatch
from samara.protocol import limits
from samara.protocol.errors import ChunkError, DiskFullError, NotFoundError, StoreError
from samara.protocol.ids import ContentId, format_content
from samara.protocol.limits import MIB
from samara.protocol.ports import Beginning


def test_what_is_published_is_taken_in_byte_for_byte(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "model", {"w.bin": 3 * MIB + 17, "sub/small.txt": 100, "empty": 0})
        path = Path(take_all(made, source, target))
        for name in made.files:
            assert (path / name).read_bytes() == (made.root / name).read_bytes()
            assert not os.access(path / name, os.W_OK) or os.getuid() == 0
            assert (path / name).stat().st_mode & 0o222 == 0
        assert path == target.home.content / format_content(made.content)
        assert not (path / ".samara").exists()


def test_what_is_held_is_copied_and_not_asked_for(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "model", {"w.bin": 3 * MIB})
        take_all(made, source, target)
        intake = target.open_intake(*made.opening(source), None, tmp_path / "elsewhere")
        (need,) = intake.needs()
        assert need.listed
        assert sum(intake.reuse([need.stream])) == 3 * MIB
        intake.finish()
        target.close_intake(intake)
        assert (tmp_path / "elsewhere/w.bin").read_bytes() == (made.root / "w.bin").read_bytes()


def test_an_uncommitted_chunk_is_not_believed_after_a_restart(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source:
        made = make_source(source, tmp_path / "model", {"w.bin": 4 * MIB})
        with give_home(tmp_path / "b") as target:
            intake = target.open_intake(*made.opening(source), None)
            (need,) = intake.needs()
            need = intake.add_list(need.stream, made.nodes(source, need.stream))
            for index in need.missing[:10]:
                intake.put(need.stream, index, made.chunk(source, need.stream, index))
            intake.commit()
            for index in need.missing[10:20]:
                intake.put(need.stream, index, made.chunk(source, need.stream, index))
            target.crash()
        with give_home(tmp_path / "b") as target:
            intake = target.open_intake(*made.opening(source), None)
            assert list(intake.needs()[0].missing) == list(need.missing[10:])
            target.close_intake(intake)


def test_a_wrong_chunk_is_refused_and_not_written(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "model", {"w.bin": 4 * MIB})
        intake = target.open_intake(*made.opening(source), None)
        need = intake.add_list(1, made.nodes(source, 1))
        right = bytes(made.chunk(source, 1, 0))
        for wrong in (right[:-1], right + b"x", bytes([right[0] ^ 1]) + right[1:]):
            with pytest.raises(ChunkError):
                intake.put(1, 0, wrong)
        assert list(intake.needs()[0].missing) == list(need.missing)
        target.close_intake(intake)


def test_an_edited_file_is_not_served(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source:
        made = make_source(source, tmp_path / "model", {"w.bin": 2 * MIB})
        assert source.read(made.content, 1, 0, 1)
        with open(made.root / "w.bin", "r+b") as file:
            file.write(b"edited")
        assert source.read(made.content, 1, 0, 1) is None
        assert [place.state for place in source.contents.places(made.content)] == ["edited"]


def test_a_rotten_chunk_is_not_served_even_if_the_file_looks_the_same(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source:
        made = make_source(source, tmp_path / "model", {"w.bin": 2 * MIB})
        status = (made.root / "w.bin").stat()
        with open(made.root / "w.bin", "r+b") as file:
            file.seek(MIB)
            file.write(b"rot")
        os.utime(made.root / "w.bin", ns=(status.st_atime_ns, status.st_mtime_ns))
        chunks = source.contents.chunk_list(made.content, 1)
        assert chunks is not None
        bad = chunks.at(MIB)
        assert source.read(made.content, 1, bad, 1) == [] or source.read(made.content, 1, bad, 1) is None


def test_a_different_file_in_the_way_is_never_overwritten(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "model", {"w.bin": MIB})
        (tmp_path / "to").mkdir()
        (tmp_path / "to/w.bin").write_bytes(b"mine")
        with pytest.raises(StoreError, match="different file"):
            target.open_intake(*made.opening(source), None, tmp_path / "to")
        assert (tmp_path / "to/w.bin").read_bytes() == b"mine"


def test_the_same_file_in_the_way_is_adopted(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "model", {"w.bin": MIB})
        (tmp_path / "to").mkdir()
        (tmp_path / "to/w.bin").write_bytes((made.root / "w.bin").read_bytes())
        intake = target.open_intake(*made.opening(source), None, tmp_path / "to")
        assert intake.needs() == []
        assert intake.finish() == str(tmp_path / "to/w.bin")
        target.close_intake(intake)


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "model", {"sub/w.bin": 100, "x": 5})
        victim = tmp_path / "victim"
        victim.mkdir()
        (tmp_path / "to").mkdir()
        (tmp_path / "to/sub").symlink_to(victim)
        with pytest.raises(StoreError, match="in the way"):
            take_all(made, source, target, tmp_path / "to")
        assert list(victim.iterdir()) == []


def test_the_floor_of_free_space_is_kept(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b", floor=1 << 60) as target:
        made = make_source(source, tmp_path / "model", {"w.bin": MIB})
        with pytest.raises(DiskFullError):
            target.open_intake(*made.opening(source), None)


def test_the_quota_is_kept(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b", quota=MIB // 2) as target:
        made = make_source(source, tmp_path / "model", {"w.bin": MIB})
        with pytest.raises(DiskFullError, match="quota"):
            target.open_intake(*made.opening(source), None)


def test_gc_takes_what_is_not_pinned_and_nothing_outside_the_home(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "model", {"w.bin": MIB})
        path = Path(take_all(made, source, target))
        target.catalog.pin(made.release, pinned=True)
        assert target.collect().contents == 0
        target.catalog.pin(made.release, pinned=False)
        assert target.collect().bytes >= MIB
        assert not path.exists()
        source.catalog.pin(made.release, pinned=False)
        source.collect()
        assert (made.root / "w.bin").stat().st_size == MIB


def test_gc_leaves_what_is_in_flight(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "model", {"w.bin": MIB})
        intake = target.open_intake(*made.opening(source), None)
        assert target.collect().contents == 0
        with pytest.raises(StoreError, match="being fetched"):
            target.remove(made.release)
        target.close_intake(intake)


def test_a_home_that_was_moved_holds_what_it_held(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source:
        made = make_source(source, tmp_path / "model", {"w.bin": MIB, "x.bin": MIB})
        with give_home(tmp_path / "b") as target:
            take_all(made, source, target)
        (tmp_path / "b").rename(tmp_path / "c")
        with give_home(tmp_path / "c") as target:
            assert PlaceWatch(target).look() == []
            assert target.read(made.content, 1, 0, 1)
            assert target.complete_place(made.content) is not None
            assert Path(take_all(made, source, target)).parent == tmp_path / "c/content"
            (place,) = target.contents.places(made.content)
            target.remove(made.release)
            assert not place.root.exists()


def test_a_home_that_nobody_made_cannot_be_read(tmp_path: Path) -> None:
    from samara.node.settings import StoreSettings
    from samara.node.store.store import Store

    with pytest.raises(NotFoundError):
        Store(Home(tmp_path / "none"), StoreSettings(), writable=False)


def test_sharing_follows_visibility_and_licence(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source:
        public = make_source(source, tmp_path / "public", {"p": 10})
        private = make_source(source, tmp_path / "private", {"q": 10}, visibility="private", allow=("friend",))
        assert source.shelf.records(public.release, "anyone") is not None
        assert source.shelf.read(public.content, 1, 0, 1, "anyone")
        for peer, seen in (("anyone", False), ("friend", True)):
            assert (source.shelf.records(private.release, peer) is not None) is seen
            assert (source.shelf.read(private.content, 1, 0, 1, peer) is not None) is seen
            assert (source.shelf.files(private.content, peer) is not None) is seen
            assert (source.shelf.availability(private.content, 1, peer) is not None) is seen
        assert source.shelf.read(ContentId(bytes(32)), 1, 0, 1, "anyone") is None
        assert source.shelf.read(public.content, 2, 0, 1, "anyone") is None


def ahead(store: Store, made: Source, peer: str, most: int = limits.MAX_AHEAD) -> list[bytes] | None:
    records = store.catalog.records(made.release)
    assert records is not None
    found = store.shelf.ahead(records, most, peer)
    return None if found is None else list(map(bytes, found.objects))


def test_what_a_fetch_asks_first_goes_ahead_in_the_order_in_which_it_asks(tmp_path: Path) -> None:
    sizes = {"a": 3 * MIB, "b": 10, "c": 2 * MIB, "d": 0, "e": 3 * MIB}
    with give_home(tmp_path / "a") as source:
        made = make_source(source, tmp_path / "model", sizes)
        (node,) = made.nodes(source, 0)
        table = source.contents.table_bytes(made.content)
        lists = [node for stream in (1, 3, 5) for node in made.nodes(source, stream)]
        assert ahead(source, made, "anyone") == [node, table, *lists]
        sums = list(itertools.accumulate(map(len, [node, table, *lists])))
        for number, most in enumerate(sums, 1):
            assert ahead(source, made, "anyone", most) == [node, table, *lists][:number]
            assert ahead(source, made, "anyone", most - 1) == [node, table, *lists][: number - 1]
        records, _, _ = made.opening(source)
        assert source.shelf.ahead(records, sums[-1], "anyone") == Beginning([node, table, *lists], whole=True)


def test_a_table_that_does_not_fit_does_not_go_ahead_in_part(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source:
        made = make_source(source, tmp_path / "model", {f"{number:0200}": 1 for number in range(2000)})
        node = made.nodes(source, 0)
        chunks = source.contents.chunk_list(made.content, 0)
        assert chunks is not None
        assert len(chunks) > 3
        whole = sum(map(len, node)) + chunks.size
        assert ahead(source, made, "anyone", whole - 1) == node
        assert b"".join(ahead(source, made, "anyone", whole) or ()) == node[0] + source.contents.table_bytes(
            made.content
        )


def test_of_a_file_without_its_list_the_others_go_ahead_and_no_more_objects_than_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "model", dict.fromkeys("abc", 2 * MIB))
        records, nodes, table = made.opening(source)
        intake = target.open_intake(records, nodes, table, None)
        intake.add_list(1, made.nodes(source, 1))
        intake.add_list(3, made.nodes(source, 3))
        here = [*nodes, table.encode(), *made.nodes(source, 1), *made.nodes(source, 3)]
        assert target.shelf.ahead(records, limits.MAX_AHEAD, "anyone") == Beginning(here, whole=False)
        for most in range(1, 5):
            monkeypatch.setattr(limits, "MAX_AHEAD_OBJECTS", most)
            assert ahead(target, made, "anyone") == here[:most]
        target.close_intake(intake)


def test_nothing_goes_ahead_to_whom_the_content_is_not_shown(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source:
        private = make_source(source, tmp_path / "private", {"q": 3 * MIB}, visibility="private", allow=("friend",))
        assert ahead(source, private, "anyone") is None
        assert len(ahead(source, private, "friend") or ()) == 3
        assert ahead(source, Source.publish(source, tmp_path / "private"), "anyone")  # it is public by now
        source.catalog.condemn(private.content, "it lies")
        assert ahead(source, private, "friend") is None


def test_who_takes_part_is_shown_of_what_is_public_alone(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source:
        public = make_source(source, tmp_path / "public", {"p": 10})
        unlisted = make_source(source, tmp_path / "unlisted", {"q": 10}, visibility="unlisted")
        private = make_source(source, tmp_path / "private", {"r": 10}, visibility="private", allow=("friend",))
        for peer in ("anyone", "friend"):
            assert source.shelf.shows(public.content, peer)
            assert not source.shelf.shows(unlisted.content, peer)
            assert not source.shelf.shows(private.content, peer)
            assert not source.shelf.shows(ContentId(bytes(32)), peer)
        Source.publish(source, tmp_path / "unlisted")  # the same bytes, said to be public this time
        assert source.shelf.shows(unlisted.content, "anyone")
        source.catalog.condemn(public.content, "it lies")
        assert not source.shelf.shows(public.content, "anyone")


def test_a_second_publication_of_the_same_bytes_is_the_same_release(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source:
        first = make_source(source, tmp_path / "model", {"w.bin": MIB})
        again = Source.publish(source, tmp_path / "model")
        assert again.release == first.release
        assert len(source.catalog.releases()) == 1
