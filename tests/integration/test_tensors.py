"""Single tensors of a release: nothing else comes over the line, what is partial says so, and the rest comes later."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import numpy as np
import pytest
import trio
from support.contents import Source, give_home
from support.model_headers import STRING, Gguf, GgufTensor, reader
from support.nodes import Heard, fetch, same_files, up
from support.waiting import in_time
from support.weights import draw, write_safetensors

from samara.node.app import Node
from samara.node.operations.queries import LIST, SHOW, ListRequest, ReleaseRow, ShowRequest
from samara.node.operations.tensors import TENSORS, TensorRequest, Tensors, TensorsRequest, read_tensor
from samara.protocol.errors import ModelHeaderError, NotFoundError, UsageError
from samara.protocol.formats.tensors import read_tensors
from samara.protocol.ids import format_record

WEIGHTS = draw(7, tensors=9, size=1_100_000)
NAMES = list(WEIGHTS)
SHARDS = {"1.safetensors": NAMES[:3], "2.safetensors": NAMES[3:6], "3.safetensors": NAMES[6:]}


@contextlib.asynccontextmanager
async def model(tmp_path: Path, note: str = "") -> AsyncIterator[tuple[Node, Source]]:
    """A node that seeds a model of several shards."""
    for shard, names in SHARDS.items():
        write_safetensors(tmp_path / "m" / shard, {name: WEIGHTS[name] for name in names}, note)
    (tmp_path / "m/config.json").write_text("{}")
    with give_home(tmp_path / "a") as store:
        made = Source.publish(store, tmp_path / "m")
    async with up(tmp_path / "a") as node:
        yield node, made


def bytes_of(made: Source, node: Node, wanted: Iterable[str]) -> int:
    """Bytes of the chunks that hold the headers of a release and some tensors, found by looking at each chunk."""
    total = 0
    names = set(wanted)
    for stream, path in enumerate(made.files, 1):
        data = (made.root / path).read_bytes()
        found = read_tensors(reader(data), len(data))
        if found is None:
            continue
        chunks = node.store.contents.chunk_list(made.content, stream)
        assert chunks is not None
        places = [(0, found.data), *((each.start, each.end) for each in found if each.name in names)]
        for index in range(len(chunks)):
            start, end = chunks.offset(index), chunks.offset(index) + chunks.length(index)
            total += (end - start) * any(start < stop and begin < end for begin, stop in places)
    return total


async def tensors(node: Node, made: Source) -> Tensors:
    found: Tensors = await node.run(TENSORS.operation(), TensorsRequest(format_record(made.release)), Heard())
    return found


async def row(node: Node) -> ReleaseRow:
    (found,) = (await node.run(LIST.operation(), ListRequest(), Heard())).releases
    assert isinstance(found, ReleaseRow)
    return found


def read(node: Node, made: Source, name: str) -> bytes:
    return bytes(read_tensor(node.store, TensorRequest(format_record(made.release), name))[2])


@in_time
async def test_one_tensor_comes_alone_and_the_rest_later(tmp_path: Path) -> None:
    name = NAMES[4]
    async with model(tmp_path) as (a, made), up(tmp_path / "b") as b:
        got = await fetch(b, made.release, [a], tensors=[name])
        assert (got.received, got.reused, got.partial) == (bytes_of(made, a, [name]), 0, True)
        assert got.received < 3_500_000
        assert read(b, made, name) == WEIGHTS[name].tobytes()
        with pytest.raises(NotFoundError, match="not all of this tensor"):
            read(b, made, NAMES[0])
        listed = await tensors(b, made)
        assert [(each.name, each.held) for each in listed.tensors] == [(each, each == name) for each in NAMES]
        assert listed.unread == ()
        here = await row(b)
        assert (here.state, here.held) == ("partial", got.received)
        shown = await b.run(SHOW.operation(), ShowRequest(here.release), Heard())
        assert [each.state for each in shown.file_list] == ["partial"] * 3 + ["absent"]

        rest = await fetch(b, made.release, [a])
        assert rest.received + rest.reused + got.received == sum(
            (made.root / path).stat().st_size for path in made.files
        )
        assert not rest.partial
        same_files(made, rest.path)
        assert (await row(b)).state == "complete"
        again = await fetch(b, made.release, [], tensors=["*"])
        assert (again.received, again.partial) == (0, False)


@in_time
async def test_layers_by_pattern_from_chosen_files(tmp_path: Path) -> None:
    async with model(tmp_path) as (a, made), up(tmp_path / "b") as b:
        got = await fetch(b, made.release, [a], tensors=["layers.[01].*", NAMES[8]], include=["1.*", "3.*"])
        for name in (NAMES[0], NAMES[1], NAMES[8]):
            assert read(b, made, name) == WEIGHTS[name].tobytes()
        assert (await tensors(b, made)).unread == ("2.safetensors",)
        more = await fetch(b, made.release, [a], tensors=[NAMES[2]])
        assert got.received + more.received == bytes_of(made, a, [*NAMES[:3], NAMES[8]])


@in_time
async def test_a_header_of_many_chunks(tmp_path: Path) -> None:
    note = "".join(random.Random(1).choices("abcdefghijklmnop ", k=900_000))
    async with model(tmp_path, note) as (a, made), up(tmp_path / "b") as b:
        listed = await fetch(b, made.release, [a], headers=True)
        assert listed.received >= bytes_of(made, a, [])
        assert listed.received <= bytes_of(made, a, []) + 3 * (1 << 20)
        assert [each.name for each in (await tensors(b, made)).tensors] == NAMES
        got = await fetch(b, made.release, [a], tensors=[NAMES[5]])
        assert read(b, made, NAMES[5]) == WEIGHTS[NAMES[5]].tobytes()
        assert listed.received + got.received <= bytes_of(made, a, [NAMES[5]]) + 3 * (1 << 20)


def write_gguf(path: Path) -> bytes:
    """Write a GGUF file of three tensors with random elements, and return it."""
    words = [f"word-{random.Random(n).getrandbits(128):x}" for n in range(9000)]
    names = [f"blk.{n}.w" for n in range(3)]
    data = bytearray(
        Gguf(
            {"general.architecture": (STRING, "llama"), "tokenizer.ggml.tokens": (9, (STRING, words))},
            [GgufTensor(name, [1000, 700], 0, 2_800_000) for name in names],
        ).build()
    )
    found = read_tensors(reader(bytes(data)), len(data))
    assert found is not None
    for each in found:
        data[each.start : each.end] = random.Random(each.name).randbytes(each.end - each.start)
    path.parent.mkdir()
    path.write_bytes(data)
    return bytes(data)


@in_time
async def test_a_tensor_of_a_gguf_file_and_a_restart_before_the_rest(tmp_path: Path) -> None:
    data = write_gguf(tmp_path / "m/model.gguf")
    with give_home(tmp_path / "a") as store:
        made = Source.publish(store, tmp_path / "m/model.gguf")
    found = read_tensors(reader(data), len(data))
    assert found is not None
    tensor = found.get("blk.1.w")
    assert tensor is not None
    async with up(tmp_path / "a") as a:
        async with up(tmp_path / "b") as b:
            got = await fetch(b, made.release, [a], tensors=["blk.1.*"])
            assert got.received < 4_500_000
            assert read(b, made, "blk.1.w") == data[tensor.start : tensor.end]
            assert not await trio.Path(got.path, "model.gguf").exists()
        async with up(tmp_path / "b") as b:
            assert read(b, made, "blk.1.w") == data[tensor.start : tensor.end]
            rest = await fetch(b, made.release, [a])
            assert rest.received == len(data) - got.received
            same_files(made, rest.path)


@in_time
async def test_what_is_not_there_is_said_by_name(tmp_path: Path) -> None:
    async with model(tmp_path) as (a, made), up(tmp_path / "b") as b:
        with pytest.raises(NotFoundError, match=r"layers\.44\.weight") as caught:
            await fetch(b, made.release, [a], tensors=[NAMES[0], "layers.44.weight"])
        assert "layers.4.weight" in caught.value.hint
        assert (await row(b)).held == bytes_of(made, a, [])
        with pytest.raises(UsageError, match="reuse"):
            await fetch(b, made.release, [a], tensors=["x"], reuse=[tmp_path])


@pytest.mark.parametrize(
    ("name", "error"), [("w.bin", UsageError), ("w.safetensors", ModelHeaderError), ("w.gguf", ModelHeaderError)]
)
@in_time
async def test_files_that_are_no_models(tmp_path: Path, name: str, error: type[Exception]) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / name).write_bytes(b"GGUF" + random.Random(name).randbytes(2_000_000))
    with give_home(tmp_path / "a") as store:
        made = Source.publish(store, tmp_path / "m")
    async with up(tmp_path / "a") as a, up(tmp_path / "b") as b:
        with pytest.raises(error):
            await fetch(b, made.release, [a], tensors=["x"])


@in_time
async def test_a_folder_of_the_users_gets_what_is_wanted_even_when_the_home_has_more(tmp_path: Path) -> None:
    async with model(tmp_path) as (a, made), up(tmp_path / "b") as b:
        await fetch(b, made.release, [a], tensors=[NAMES[0]])
        got = await fetch(b, made.release, [a], tensors=NAMES[:2], to=tmp_path / "to")
        assert got.received + got.reused == bytes_of(made, a, NAMES[:2])
        files = sorted(path.name for path in (tmp_path / "to/.samara").iterdir())
        assert len(files) == 3
        blocks = sum(path.stat().st_blocks * 512 for path in (tmp_path / "to/.samara").iterdir())
        assert blocks < 8_000_000
        rest = await fetch(b, made.release, [a], to=tmp_path / "to")
        same_files(made, rest.path)


@in_time
async def test_a_node_that_holds_a_part_passes_it_on_encoded(tmp_path: Path) -> None:
    name = NAMES[4]
    async with model(tmp_path) as (a, made), up(tmp_path / "b", encode="always") as b, up(tmp_path / "c") as c:
        whole = await fetch(b, made.release, [a], tensors=[name], encode="never")
        assert whole.moved == whole.received
        got = await fetch(c, made.release, [b], tensors=[name])
        assert got.received == whole.received
        assert got.moved < 0.75 * got.received
        assert read(c, made, name) == WEIGHTS[name].tobytes()
        assert np.frombuffer(read(c, made, name), "<u2").tolist() == WEIGHTS[name].tolist()


def spoil(path: Path, at: int) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(b"rot")


@in_time
async def test_a_tensor_that_rotted_is_no_tensor_and_comes_again(tmp_path: Path) -> None:
    name = NAMES[0]
    async with model(tmp_path) as (a, made), up(tmp_path / "b") as b:
        await fetch(b, made.release, [a], tensors=[name])
        (held,) = b.store.reader.held(made.content, 1)
        spoil(b.store.reader.path(held), 1_500_000)
        with pytest.raises(NotFoundError):
            read(b, made, name)
        assert [each.held for each in (await tensors(b, made)).tensors[:2]] == [False, False]
        got = await fetch(b, made.release, [a], tensors=[name])
        assert 0 < got.received <= 1 << 20
        assert read(b, made, name) == WEIGHTS[name].tobytes()
