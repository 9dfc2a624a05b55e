"""Which encoding a chunk gets, and against which base; what is sent is decoded by the codec itself."""

from __future__ import annotations

import random
from pathlib import Path

from support.contents import CrashableStore, Source, give_home
from support.weights import draw, tune, write_safetensors

from samara.node.store.intake import StoreIntake
from samara.protocol.encodings.codec import decode
from samara.protocol.ids import ContentId
from samara.protocol.limits import MAX_RUN
from samara.protocol.ports import Accepts, Piece, Run

ALL = (0, 1, 2, 3)
PEER = "peer"


def read_all(store: CrashableStore, made: Source, accepts: Accepts, *, peer: str = PEER) -> list[Piece]:
    """Read every chunk of a content as a peer does, hold it against the file, and return the pieces."""
    pieces: list[Piece] = []
    truth = b"".join((made.root / name).read_bytes() for name in made.files)
    whole, stream, first = b"", 1, 0
    while len(whole) < len(truth):
        run = store.shelf.read(made.content, stream, first, MAX_RUN, peer, None, accepts)
        assert run is not None
        for piece in run.pieces:
            whole += raw_of(store, made.content, stream, first, piece)
            for _ in range(piece.count):
                stream, first = after(store, made.content, stream, first)
        assert (run.stream, run.index) in {(stream, first), (stream - 1, after_last(store, made.content, stream - 1))}
        assert run.bytes == sum(len(p.data) for p in run.pieces) or any(p.encoding for p in run.pieces)
        pieces += run.pieces
        stream, first = run.stream, run.index
        if first == after_last(store, made.content, stream):
            stream, first = stream + 1, 0
    assert whole == truth
    return pieces


def after(store: CrashableStore, content: ContentId, stream: int, first: int) -> tuple[int, int]:
    return (stream, first + 1) if first + 1 < after_last(store, content, stream) else (stream + 1, 0)


def after_last(store: CrashableStore, content: ContentId, stream: int) -> int:
    if not 1 <= stream <= len(store.contents.table(content)):
        return -1
    chunks = store.contents.chunk_list(content, stream)
    assert chunks is not None
    return len(chunks)


def raw_of(store: CrashableStore, content: ContentId, stream: int, first: int, piece: Piece) -> bytes:
    if piece.encoding == 0:
        return bytes(piece.data)
    chunks = store.contents.chunk_list(content, stream)
    assert chunks is not None
    base = store.reader.find(piece.base) if piece.base is not None else None
    assert (base is not None) == (piece.base is not None)
    return bytes(decode(piece.encoding, piece.data, chunks.length(first), base))


def kinds(pieces: list[Piece]) -> set[int]:
    return {piece.encoding for piece in pieces}


def moved(pieces: list[Piece]) -> int:
    return sum(len(piece.data) for piece in pieces)


BASE = draw(1, tensors=4)


def test_weights_go_in_planes_and_only_as_the_peer_takes_them(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "m/model.safetensors", BASE)
    with give_home(tmp_path / "a") as store:
        made = Source.publish(store, tmp_path / "m")
        size = (tmp_path / "m/model.safetensors").stat().st_size
        pieces = read_all(store, made, Accepts(ALL))
        assert 1 in kinds(pieces)
        assert moved(pieces) < 0.7 * size
        assert kinds(read_all(store, made, Accepts((0, 2, 3)))) <= {0, 3}
        assert kinds(read_all(store, made, Accepts())) == {0}


def test_a_fine_tune_in_other_shards_is_a_delta_to_a_base(tmp_path: Path) -> None:
    tuned = tune(BASE, 3e-3, 2)
    names = list(tuned)
    write_safetensors(tmp_path / "base/model.safetensors", BASE)
    write_safetensors(tmp_path / "tuned/a.safetensors", {name: tuned[name] for name in names[:1]}, "a longer header")
    write_safetensors(tmp_path / "tuned/b.safetensors", {name: tuned[name] for name in names[1:]})
    with give_home(tmp_path / "a") as store:
        base = Source.publish(store, tmp_path / "base")
        made = Source.publish(store, tmp_path / "tuned")
        pieces = read_all(store, made, Accepts(ALL, (base.content,)))
        assert 2 in kinds(pieces)
        assert moved(pieces) < 0.25 * sum(path.stat().st_size for path in (tmp_path / "tuned").iterdir())
        nothing = Accepts(ALL, (ContentId(bytes(32)),))
        assert 2 not in kinds(read_all(store, made, nothing))
        assert 2 not in kinds(read_all(store, made, Accepts(ALL)))


def test_no_delta_tells_a_peer_of_what_it_may_not_have(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "base/model.safetensors", BASE)
    write_safetensors(tmp_path / "tuned/model.safetensors", tune(BASE, 3e-3, 2))
    with give_home(tmp_path / "a") as store:
        base = Source.publish(store, tmp_path / "base", visibility="private", allow=["12D3KooWfriend"])
        made = Source.publish(store, tmp_path / "tuned")
        accepts = Accepts(ALL, (base.content,))
        assert 2 not in kinds(read_all(store, made, accepts))
        assert 2 in kinds(read_all(store, made, accepts, peer="12D3KooWfriend"))


def test_a_base_that_was_changed_on_the_disk_is_no_base(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "base/model.safetensors", BASE)
    write_safetensors(tmp_path / "tuned/model.safetensors", tune(BASE, 3e-3, 2))
    with give_home(tmp_path / "a") as store:
        base = Source.publish(store, tmp_path / "base")
        made = Source.publish(store, tmp_path / "tuned")
        (tmp_path / "base/model.safetensors").write_bytes(b"something else")
        assert 2 not in kinds(read_all(store, made, Accepts(ALL, (base.content,))))


def test_text_is_packed_and_noise_is_hardly_tried(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/a.txt").write_text("the same words again and again, " * 50_000)
    (tmp_path / "d/b.bin").write_bytes(random.Random(1).randbytes(3_000_000))
    with give_home(tmp_path / "a") as store:
        made = Source.publish(store, tmp_path / "d")
        pieces = read_all(store, made, Accepts(ALL))
        assert kinds(pieces) == {0, 3}
        assert moved(pieces) < 3_100_000
        assert store.encoder.saved == sum((tmp_path / "d" / name).stat().st_size for name in made.files) - moved(pieces)


def test_many_raw_chunks_stay_one_payload(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for n in range(40):
        (tmp_path / f"d/{n:02}.bin").write_bytes(random.Random(n).randbytes(1000))
    with give_home(tmp_path / "a") as store:
        made = Source.publish(store, tmp_path / "d")
        run: Run | None = store.shelf.read(made.content, 1, 0, 40, PEER, None, Accepts(ALL))
        assert run is not None
        assert [(piece.count, piece.encoding) for piece in run.pieces] == [(40, 0)]


def hold_some(made: Source, origin: CrashableStore, target: CrashableStore, streams: dict[int, range]) -> StoreIntake:
    """Let a store hold some chunks of a content, committed, as in the middle of a fetch."""
    intake = target.open_intake(*made.opening(origin), None)
    for need in intake.unlisted():
        intake.add_list(need.stream, made.nodes(origin, need.stream))
    take_some(made, origin, intake, streams)
    return intake


def take_some(made: Source, origin: CrashableStore, intake: StoreIntake, streams: dict[int, range]) -> None:
    for stream, chunks in streams.items():
        for index in chunks:
            intake.put(stream, index, made.chunk(origin, stream, index))
    intake.commit()


def run_of(store: CrashableStore, made: Source, first: int, count: int) -> Run:
    run = store.shelf.read(made.content, 1, first, count, PEER, None, Accepts(ALL))
    assert run is not None
    return run


def test_a_file_in_progress_is_encoded_as_soon_as_its_header_is_here(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "m/model.safetensors", BASE, "x" * 600_000)
    with give_home(tmp_path / "a") as origin, give_home(tmp_path / "b") as store:
        made = Source.publish(origin, tmp_path / "m")
        chunks = origin.contents.chunk_list(made.content, 1)
        assert chunks is not None
        header = chunks.at(600_000) + 1
        assert header > 2
        intake = hold_some(made, origin, store, {1: range(header, header + 4)})
        assert kinds(list(run_of(store, made, header, 4).pieces)) <= {0, 3}
        take_some(made, origin, intake, {1: range(header - 1)})
        assert kinds(list(run_of(store, made, header, 4).pieces)) <= {0, 3}
        take_some(made, origin, intake, {1: range(header - 1, header)})
        run = run_of(store, made, header, 4)
        assert [(piece.count, piece.encoding) for piece in run.pieces] == [(1, 1)] * 4
        for index, piece in enumerate(run.pieces, header):
            assert raw_of(store, made.content, 1, index, piece) == made.chunk(origin, 1, index)
        store.close_intake(intake)


def test_a_header_that_rots_in_a_file_in_progress_is_read_again_when_it_is_right(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "m/model.safetensors", BASE)
    with give_home(tmp_path / "a") as origin, give_home(tmp_path / "b") as store:
        made = Source.publish(origin, tmp_path / "m")
        intake = hold_some(made, origin, store, {1: range(4)})
        path = store.reader.path(store.reader.held(made.content, 1)[0])
        first = bytes(made.chunk(origin, 1, 0))
        with open(path, "r+b") as file:
            file.write(first.replace(b"BF16", b"BF17"))
        assert kinds(list(run_of(store, made, 2, 2).pieces)) <= {0, 3}
        assert not store.reader.holds(made.content, 1, 0)
        intake.commit()
        store.close_intake(intake)
        intake = store.open_intake(*made.opening(origin), None)
        take_some(made, origin, intake, {1: range(1)})
        assert kinds(list(run_of(store, made, 2, 2).pieces)) == {1}
        store.close_intake(intake)


def test_a_base_that_is_still_coming_in_is_a_base_as_far_as_it_is_here(tmp_path: Path) -> None:
    names = list(BASE)
    for shard, part in {"a": names[:2], "b": names[2:]}.items():
        write_safetensors(tmp_path / f"base/{shard}.safetensors", {name: BASE[name] for name in part})
    write_safetensors(tmp_path / "tuned/model.safetensors", tune(BASE, 3e-3, 2))
    with give_home(tmp_path / "a") as origin, give_home(tmp_path / "b") as store:
        base = Source.publish(origin, tmp_path / "base")
        intake = hold_some(base, origin, store, {1: range(3)})
        made = Source.publish(store, tmp_path / "tuned")
        accepts = Accepts(ALL, (base.content,))
        before = sum(piece.encoding == 2 for piece in read_all(store, made, accepts))
        assert before == 2
        take_some(base, origin, intake, {1: range(3, 6), 2: range(1)})
        again = [run for run in read_all(store, made, Accepts((0, 2), (base.content,))) if run.encoding == 2]
        assert len(again) > before
        store.close_intake(intake)
