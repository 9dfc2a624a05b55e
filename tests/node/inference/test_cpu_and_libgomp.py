"""CPU features from what Linux tells, threads from what a cgroup grants, and a missing libgomp that is named."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import pytest

from samara.node.inference.cpu import REQUIRED, features_of_cpuinfo, missing_features, usable_threads
from samara.node.inference.libgomp import VARIABLE, load_libgomp
from samara.protocol.errors import EngineError

HASWELL = "processor\t: 0\nflags\t\t: fpu sse2 avx avx2 fma f16c bmi1 bmi2\n\n"
IVY_BRIDGE = "processor\t: 1\nflags\t\t: fpu sse2 avx f16c\n\n"


def test_features_are_those_that_every_cpu_has() -> None:
    assert features_of_cpuinfo(HASWELL + IVY_BRIDGE) == frozenset(["fpu", "sse2", "avx", "f16c"])
    assert features_of_cpuinfo("Features : fp asimd\n") is None


@pytest.mark.parametrize(
    ("text", "missing"),
    [(HASWELL, frozenset[str]()), (IVY_BRIDGE, REQUIRED - {"f16c"}), ("model name : x\n", None), (None, None)],
)
def test_what_is_missing_is_named(
    text: str | None, missing: frozenset[str] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(sys, "platform", "linux")
    path = tmp_path / "cpuinfo"
    if text is not None:
        path.write_text(text, encoding="ascii")
    assert missing_features(path) == missing


def test_another_architecture_needs_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert missing_features(tmp_path / "none") == frozenset()


@pytest.mark.parametrize(
    ("quota", "threads"),
    [("max 100000", None), ("150000 100000", 2), ("50000 100000", 1), ("rubbish", None), ("1 0", None)],
)
def test_threads_obey_a_quota(quota: str, threads: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(16)), raising=False)
    path = tmp_path / "cpu.max"
    path.write_text(quota, encoding="ascii")
    assert usable_threads(path) == (threads or 16)
    assert usable_threads(tmp_path / "none") == 16


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only the Linux wheel needs libgomp")
def test_a_missing_libgomp_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"libgomp\.so\.1") as caught:
        load_libgomp({}, soname="libgomp-that-nobody-has.so.1")
    assert "apt install libgomp1" in caught.value.hint
    with pytest.raises(EngineError, match="nowhere"):
        load_libgomp({VARIABLE: str(tmp_path / "nowhere.so")})
