"""Where tensors lie, in both containers, and that nothing is told of a file whose header lies."""

from __future__ import annotations

import struct

import pytest
from support.model_headers import Gguf, GgufTensor, reader, safetensors_file, tiny_llama

from samara.protocol.formats.tensors import Tensor, TensorMap, read_tensors


def tensors_of(data: bytes) -> TensorMap | None:
    return read_tensors(reader(data), len(data))


def entry(dtype: str, shape: list[int], start: int, end: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def test_the_tensors_of_safetensors_lie_behind_its_header() -> None:
    data = safetensors_file(
        {
            "__metadata__": {"format": "pt"},
            "late": entry("F32", [2, 2], 12, 28),
            "early": entry("BF16", [6], 0, 12),
            "none": entry("F16", [0], 12, 12),
        },
        28,
    )
    found = tensors_of(data)
    assert found is not None
    start = 8 + struct.unpack("<Q", data[:8])[0]
    early = Tensor("early", "BF16", (6,), start, start + 12)
    late = Tensor("late", "F32", (2, 2), start + 12, start + 28)
    assert (found.container, len(found), list(found)) == ("safetensors", 2, [early, late])
    assert found.get("late") == late
    assert found.get("none") is None


def test_the_tensors_of_gguf_lie_at_their_aligned_places() -> None:
    model = Gguf(tensors=[GgufTensor("a.weight", (32,), 8, 34), GgufTensor("b.weight", (8, 2), 0, 64)])
    data = model.build()
    found = tensors_of(data)
    assert found is not None
    first, second = found
    assert (found.container, first.name, first.type, first.shape) == ("gguf", "a.weight", "Q8_0", (32,))
    assert first.start % 32 == 0
    assert first.end - first.start == 34
    assert (second.type, second.start - first.start, second.end - second.start) == ("F32", 64, 64)
    assert second.end <= len(data)


@pytest.mark.parametrize(
    ("start", "end", "names"),
    [
        (0, 100, "abc"), (0, 9, ""), (0, 10, ""), (0, 11, "a"), (10, 11, "a"), (19, 20, "a"), (19, 21, "ab"),
        (20, 40, "b"), (39, 50, "b"), (40, 50, ""), (45, 51, "c"), (59, 60, "c"), (60, 70, ""),
    ],
)  # fmt: skip
def test_what_lies_within_two_offsets(start: int, end: int, names: str) -> None:
    placed = [Tensor("b", "U8", (20,), 20, 40), Tensor("c", "U8", (10,), 50, 60), Tensor("a", "U8", (10,), 10, 20)]
    assert "".join(tensor.name for tensor in TensorMap("gguf", placed).within(start, end)) == names


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"just some text, and no model at all",
        tiny_llama().build()[:-200],
        safetensors_file({"a": entry("F32", [2], 0, 8)}, 7),
        safetensors_file({"a": entry("F32", [2], 0, 8), "b": entry("F32", [1], 4, 8)}, 8),
    ],
)
def test_of_what_is_no_model_or_lies_nothing_is_told(data: bytes) -> None:
    assert tensors_of(data) is None
