"""The estimate's parts, and what memory is left under every kind of limit."""

from __future__ import annotations

from pathlib import Path

import pytest

from samara.node.inference.fit import BATCH, PROCESS, Fit, available_memory, cgroup_memory, estimate
from samara.protocol.errors import EngineError
from samara.protocol.formats.facts import ModelFacts
from samara.protocol.limits import MIB

SMOLLM2 = ModelFacts(
    container="gguf",
    header_bytes=1_785_664,
    tensors=272,
    tensor_bytes=96_576_768,
    parameters=134_515_008,
    layers=30,
    embedding_length=576,
    feed_forward_length=1536,
    heads=9,
    kv_heads=3,
    head_dim=64,
    kv_elements=2 * 30 * 3 * 64,
    vocab_size=49_152,
)


def test_the_estimate_follows_the_formula() -> None:
    fit = estimate(SMOLLM2, 2048)
    assert fit.weights == 96_576_768
    assert fit.cache == 2 * 30 * 2048 * 3 * 64 * 2
    assert fit.compute == BATCH * (4 * (8 * 576 + 3 * 1536) + 2 * 2048) + 4 * 49_152
    assert fit.needed == fit.weights + fit.cache + fit.compute + PROCESS
    assert fit.repack == 96_576_768 * 6 // 10
    assert estimate(SMOLLM2, 4096).cache == 2 * fit.cache


def test_too_large_is_refused_in_numbers() -> None:
    fit = Fit(weights=1000 * MIB, cache=200 * MIB, compute=40 * MIB, repack=600 * MIB)
    fit.require(fit.needed)
    fit.require(None)
    with pytest.raises(EngineError, match=r"needs 1300 MiB .* and 1299 MiB are available") as caught:
        fit.require(fit.needed - 1)
    assert caught.value.hint


def test_repacking_only_where_there_is_room() -> None:
    fit = Fit(weights=1000 * MIB, cache=0, compute=0, repack=600 * MIB)
    assert fit.may_repack(fit.needed + fit.repack)
    assert not fit.may_repack(fit.needed + fit.repack - 1)
    assert not fit.may_repack(None)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")


def test_the_tightest_cgroup_counts(tmp_path: Path) -> None:
    write(tmp_path / "self" / "cgroup", "0::/a/b\n")
    groups = tmp_path / "groups"
    write(groups / "a" / "memory.max", "1000\n")
    write(groups / "a" / "memory.current", "600\n")
    write(groups / "a" / "memory.stat", "anon 1\ninactive_file 50\n")
    write(groups / "a" / "b" / "memory.max", "max\n")
    write(groups / "a" / "b" / "memory.current", "600\n")
    assert cgroup_memory(tmp_path / "self" / "cgroup", groups) == 450
    write(groups / "memory.max", "300\n")
    write(groups / "memory.current", "500\n")
    assert cgroup_memory(tmp_path / "self" / "cgroup", groups) == 0


def test_cgroups_of_the_first_kind(tmp_path: Path) -> None:
    write(tmp_path / "cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/1\n0::/\n")
    groups = tmp_path / "groups"
    write(groups / "memory" / "memory.limit_in_bytes", "9223372036854771712\n")
    write(groups / "memory" / "memory.usage_in_bytes", "5\n")
    assert cgroup_memory(tmp_path / "cgroup", groups) is None
    write(groups / "memory" / "docker" / "1" / "memory.limit_in_bytes", "1000\n")
    write(groups / "memory" / "docker" / "1" / "memory.usage_in_bytes", "100\n")
    assert cgroup_memory(tmp_path / "cgroup", groups) == 900


def test_no_cgroup_no_limit(tmp_path: Path) -> None:
    assert cgroup_memory(tmp_path / "none", tmp_path) is None
    write(tmp_path / "odd", "no colons here\n0::/../../etc\n")
    assert cgroup_memory(tmp_path / "odd", tmp_path) is None


def test_memory_is_what_the_kernel_says_or_a_cgroup_grants(tmp_path: Path) -> None:
    write(tmp_path / "meminfo", "MemTotal: 9 kB\nMemAvailable:    5 kB\n")
    assert available_memory(tmp_path, tmp_path) == 5 * 1024
    write(tmp_path / "self" / "cgroup", "0::/\n")
    write(tmp_path / "memory.max", "4096\n")
    write(tmp_path / "memory.current", "96\n")
    assert available_memory(tmp_path, tmp_path) == 4000


def test_without_proc_there_is_still_an_answer(tmp_path: Path) -> None:
    found = available_memory(tmp_path, tmp_path)
    assert found is None or found > 64 * MIB
