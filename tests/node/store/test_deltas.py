"""Packs that are held: what they are good for, and those that are good for nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.contents import CrashableStore, Source, give_home, take_all
from support.deltas import split_pack, write_pack
from support.weights import draw, tune, write_safetensors

from samara.node.operations.publish import PublishRequest, publish
from samara.node.store.packing import Packed, Packer
from samara.node.store.publish import find_files
from samara.protocol.deltapack import PackHead
from samara.protocol.errors import StoppedError, UsageError, VerificationError
from samara.protocol.ids import ContentId, Digest, parse_content
from samara.protocol.ports import Accepts, Availability

BASE = draw(1, size=700_000)
PEER = "peer"
ALL = (0, 1, 2, 3)


def pair(store: CrashableStore, folder: Path) -> tuple[Source, Source]:
    """A model, and a fine-tune of all but its first tensor, with a small file of its own."""
    write_safetensors(folder / "base/model.safetensors", BASE)
    tuned = {**tune(BASE, 3e-3, 2), "layers.0.weight": BASE["layers.0.weight"]}
    write_safetensors(folder / "tuned/model.safetensors", tuned, "tuned")
    (folder / "tuned/config.json").write_text('{"tuned": true}')
    return Source.publish(store, folder / "base"), Source.publish(store, folder / "tuned")


def pack(store: CrashableStore, base: Source, tuned: Source, path: Path, *, stop: Callable[[], bool] = bool) -> Packed:
    records = store.records(tuned.release)
    assert records is not None
    packer = Packer(store.contents, store.reader, store.encoder)
    return packer.pack(records, tuned.content, base.content, path, on_progress=lambda done, total: None, cancelled=stop)


def release(store: CrashableStore, path: Path) -> ContentId:
    """Publish a file as a delta, whatever is in it."""
    root, files = find_files(path)
    row = publish(store, PublishRequest(str(path), kind="delta", license="MIT"), files, root)
    return parse_content(row.content)


def test_a_pack_says_what_the_base_has_not(tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store:
        base, tuned = pair(store, tmp_path)
        made = pack(store, base, tuned, tmp_path / "x.delta")
        head, payloads = split_pack(tmp_path / "x.delta")
        assert made.bytes == (tmp_path / "x.delta").stat().st_size
        assert made.chunks == len(head.entries) == len(payloads)
        assert (head.target, head.base) == (tuned.content, base.content)
        assert {entry.encoding for entry in head.entries} >= {0, 2}
        again = pack(store, base, tuned, tmp_path / "y.delta")
        assert again == made
        assert (tmp_path / "y.delta").read_bytes() == (tmp_path / "x.delta").read_bytes()


def test_who_has_only_a_pack_gives_what_it_leads_to(tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store, give_home(tmp_path / "other") as other:
        base, tuned = pair(store, tmp_path)
        pack(store, base, tuned, tmp_path / "x.delta")
        content = release(other, tmp_path / "x.delta")
        assert other.deltas.take(content).release.content == tuned.content
        shelf, bases = other.shelf, (base.content,)
        assert shelf.files(tuned.content, PEER) == b"\0"
        assert shelf.files(tuned.content, PEER, bases) == b"\1"  # the small file is all new
        assert shelf.files(tuned.content, PEER, (tuned.content,)) == b"\0"
        whole = store.reader.availability(tuned.content, 2)
        assert whole is not None
        nothing = shelf.availability(tuned.content, 2, PEER)
        assert nothing == Availability(whole.chunks, bytes(len(nothing.bits or b"")) if nothing else None)
        some = shelf.availability(tuned.content, 2, PEER, bases)
        assert some is not None
        assert some.bits is not None
        held = int.from_bytes(some.bits, "little")
        assert held.bit_count() == len(split_pack(tmp_path / "x.delta")[0].entries) - 1
        first = (held & -held).bit_length() - 1
        assert shelf.read(tuned.content, 2, first, 8, PEER, None, Accepts(ALL)) is None
        run = shelf.read(tuned.content, 2, first, 8, PEER, None, Accepts(ALL, bases), least=None)
        assert run is not None
        assert all(piece.passed_on == (piece.encoding != 0) for piece in run.pieces)
        assert shelf.read(tuned.content, 2, whole.chunks, 1, PEER, None, Accepts(ALL, bases)) is None
        crossing = shelf.read(tuned.content, 1, 0, 8, PEER, None, Accepts(ALL, bases))
        assert crossing is not None
        assert (crossing.stream, crossing.index) >= (2, 0)


def test_what_was_made_ahead_is_sent_by_who_holds_the_chunks_too(tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store:
        base, tuned = pair(store, tmp_path)
        pack(store, base, tuned, tmp_path / "x.delta")
        store.deltas.take(release(store, tmp_path / "x.delta"))
        numbers = [entry.index for entry in split_pack(tmp_path / "x.delta")[0].entries if entry.encoding == 2]
        run = store.shelf.read(tuned.content, 2, numbers[0], 2, PEER, None, Accepts(ALL, (base.content,)))
        assert run is not None
        assert [piece.passed_on for piece in run.pieces] == [True] * len(run.pieces)
        run = store.shelf.read(tuned.content, 2, 1, 1, PEER, None, Accepts(ALL, (base.content,)))
        assert run is not None
        assert not run.pieces[0].passed_on  # the base has it: no pack brings it


def test_a_target_is_made_of_pack_and_base(tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store, give_home(tmp_path / "other") as other:
        base, tuned = pair(store, tmp_path)
        pack(store, base, tuned, tmp_path / "x.delta")
        take_all(base, store, other)
        other.deltas.take(release(other, tmp_path / "x.delta"))
        records, nodes, table = tuned.opening(other)
        intake = other.open_intake(records, nodes, table, None)
        assert intake.listed()
        made = sum(intake.reuse(intake.listed()))
        intake.commit()
        made += sum(other.deltas.make(intake, list(intake.listed())))
        intake.commit()
        path = Path(intake.finish())
        other.close_intake(intake)
        assert made == table.size
        for name in tuned.files:
            assert (path / name).read_bytes() == (tuned.root / name).read_bytes()


FAULTS: dict[str, Callable[[PackHead, list[bytes]], dict[str, object]]] = {
    "records of another release": lambda head, _: {"target": ContentId(b"x" * 32)},
    "a release that was changed": lambda head, _: {
        "records": replace(head.records, release=head.records.release.replace(b'"sig":"', b'"sig":"A', 1))
    },
    "no root": lambda head, _: {"records": replace(head.records, roots=(head.records.release,))},
    "a table that was changed": lambda head, _: {"table": head.table[:-1] + bytes([head.table[-1] ^ 1])},
    "a node too few": lambda head, _: {"nodes": head.nodes[1:]},
    "a node too many": lambda head, _: {"nodes": (*head.nodes, b"n" * 60)},
    "a node twice": lambda head, _: {"nodes": (*head.nodes, head.nodes[0])},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_pack_that_lies_about_its_target_is_good_for_nothing(tmp_path: Path, fault: str) -> None:
    with give_home(tmp_path / "home") as store, give_home(tmp_path / "other") as other:
        base, tuned = pair(store, tmp_path)
        pack(store, base, tuned, tmp_path / "x.delta")
        head, payloads = split_pack(tmp_path / "x.delta")
        wrong = write_pack(
            tmp_path / "wrong.delta", head, list(head.entries), payloads, **FAULTS[fault](head, payloads)
        )
        check_useless(other, wrong, tuned)


def test_a_pack_with_entries_that_cannot_be_is_good_for_nothing(tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store:
        base, tuned = pair(store, tmp_path)
        pack(store, base, tuned, tmp_path / "x.delta")
        head, payloads = split_pack(tmp_path / "x.delta")
        entries = list(head.entries)
        raw = next(number for number, entry in enumerate(entries) if entry.encoding == 0)
        wrong = {
            "a file that is not": [*entries, replace(entries[-1], stream=9)],
            "a chunk that is not": [*entries, replace(entries[-1], index=1 << 20)],
            "raw and another": [
                *entries[:raw],
                replace(entries[raw], payload_hash=Digest(b"x" * 32)),
                *entries[raw + 1 :],
            ],
        }
        for number, (name, said) in enumerate(wrong.items()):
            path = write_pack(tmp_path / f"{name}.delta", head, said, [*payloads, *payloads[-1:]][: len(said)])
            with give_home(tmp_path / f"other{number}") as other:
                check_useless(other, path, tuned)
        longer = [*entries[:-1], replace(entries[-1], length=1 << 20)]
        path = write_pack(tmp_path / "longer.delta", head, longer, [*payloads[:-1], bytes(1 << 20)])
        with give_home(tmp_path / "last") as other:
            check_useless(other, path, tuned)


def test_what_is_no_pack_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "x.delta").write_bytes(b"not a pack")
    with give_home(tmp_path / "home") as store:
        content = release(store, tmp_path / "x.delta")
        with pytest.raises(VerificationError):
            store.deltas.take(content)
        assert store.deltas.targets() == frozenset()


def check_useless(store: CrashableStore, path: Path, tuned: Source) -> None:
    content = release(store, path)
    with pytest.raises(VerificationError):
        store.deltas.take(content)
    assert store.deltas.of(tuned.content) == []
    assert store.catalog.release(tuned.release) is None
    assert store.complete_place(content) is not None


def test_making_one_leaves_nothing_behind_when_it_cannot(tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store:
        base, tuned = pair(store, tmp_path)
        with pytest.raises(StoppedError):
            pack(store, base, tuned, tmp_path / "x.delta", stop=lambda: True)
        with pytest.raises(UsageError, match="every chunk"):
            pack(store, base, base, tmp_path / "x.delta")
        (tmp_path / "x.delta").write_text("mine")
        with pytest.raises(UsageError, match="exists"):
            pack(store, base, tuned, tmp_path / "x.delta")
        assert (tmp_path / "x.delta").read_text() == "mine"
        assert not list(tmp_path.glob(".*"))
