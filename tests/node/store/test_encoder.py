"""Which encoding a chunk gets, and against which base; what is sent is decoded by the codec itself."""

from __future__ import annotations

import random
from pathlib import Path

from support.contents import CrashableStore, Source, give_home
from support.weights import draw, tune, write_safetensors

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
