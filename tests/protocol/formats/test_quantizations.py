"""Which files one quantization needs, from names as publishers give them."""

from __future__ import annotations

import pytest

from samara.protocol.formats.quantizations import of_quantization, quantizations_in

FLAT = [
    "LICENSE", "README.md", "config.json", "model-IQ4_XS.gguf", "model-Q4_K_M.gguf", "model-Q4_K_S.gguf",
    "model-Q8_0.gguf", "model-f16.gguf", "model.imatrix", "tokenizer.json",
]  # fmt: skip
SHARDED = [
    "Q4_K_M/big-Q4_K_M-00001-of-00002.gguf", "Q4_K_M/big-Q4_K_M-00002-of-00002.gguf",
    "UD-Q2_K_XL/big-00001-of-00001.gguf", "mmproj-BF16.gguf", "mmproj-F16.gguf", "mmproj-F32.gguf",
    "params", "template.jinja",
]  # fmt: skip


def chosen(paths: list[str], label: str) -> list[str]:
    return [paths[n] for n in of_quantization(paths, label)]


@pytest.mark.parametrize(
    ("paths", "label", "weights"),
    [
        (FLAT, "Q4_K_M", ["model-Q4_K_M.gguf"]),
        (FLAT, "q8_0", ["model-Q8_0.gguf"]),
        (FLAT, "F16", ["model-f16.gguf"]),
        (FLAT, "IQ4_XS", ["model-IQ4_XS.gguf"]),
        (SHARDED, "Q4_K_M", [*SHARDED[:2], "mmproj-F16.gguf"]),
        (SHARDED, "Q2_K_XL", [SHARDED[2], "mmproj-F16.gguf"]),
        (["a.Q4_0.gguf", "a.Q8_0.gguf", "mmproj-Q8_0.gguf", "mmproj-f16.gguf"], "Q8_0",
         ["a.Q8_0.gguf", "mmproj-Q8_0.gguf"]),
        (["a.Q4_0.gguf", "a.Q8_0.gguf", "mmproj.gguf"], "Q4_0", ["a.Q4_0.gguf", "mmproj.gguf"]),
        (["fp8/model.safetensors", "bf16/model.safetensors"], "FP8", ["fp8/model.safetensors"]),
    ],
)  # fmt: skip
def test_the_weights_of_one_and_all_that_is_no_weights(paths: list[str], label: str, weights: list[str]) -> None:
    others = [p for p in paths if not p.endswith((".gguf", ".safetensors", ".imatrix"))]
    assert sorted(chosen(paths, label)) == sorted(weights + others)


@pytest.mark.parametrize(
    ("paths", "label"), [(FLAT, "Q4_K"), (FLAT, "Q4_XS"), (FLAT, ""), (SHARDED, "BF16"), ([], "Q8_0")]
)
def test_a_part_of_a_label_or_a_projector_alone_is_none(paths: list[str], label: str) -> None:
    assert not of_quantization(paths, label)


def test_what_there_is_can_be_told() -> None:
    assert quantizations_in(FLAT) == ["F16", "IQ4_XS", "Q4_K_M", "Q4_K_S", "Q8_0"]
    assert quantizations_in(SHARDED) == ["BF16", "F16", "F32", "Q2_K_XL", "Q4_K_M"]
