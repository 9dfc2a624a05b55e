"""The locks are what pyproject.toml asks for, and a lock that is not is noticed without a network."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from support.scripts import ROOT, load_script

lock = load_script("lock")
NAMES = [each.name for each in lock.LOCKS]


@pytest.fixture
def project() -> dict[str, Any]:
    return copy.deepcopy(dict(lock.read_project()))


@pytest.fixture
def texts() -> dict[str, str]:
    return {name: (ROOT / "requirements" / name).read_text(encoding="utf-8") for name in NAMES}


def test_the_locks_fit_the_project(project: dict[str, Any], texts: dict[str, str]) -> None:
    assert lock.problems(project, texts) == []


def test_a_new_dependency_without_a_new_lock_is_noticed(project: dict[str, Any], texts: dict[str, str]) -> None:
    project["project"]["dependencies"].append("leftpad>=1")
    found = "\n".join(lock.problems(project, texts))
    assert "run.txt was not made from this pyproject.toml" in found
    assert "dev.txt was not made from this pyproject.toml" in found
    assert "run.txt: leftpad>=1 is not met by any pin" in found


def test_a_new_development_dependency_leaves_the_run_lock_alone(project: dict[str, Any], texts: dict[str, str]) -> None:
    project["dependency-groups"]["dev"].append("ruff>=0.1")
    assert lock.problems(project, texts) == ["dev.txt was not made from this pyproject.toml: run scripts/lock.py"]


def test_locks_that_disagree_on_a_version_are_noticed(project: dict[str, Any], texts: dict[str, str]) -> None:
    (trio,) = [pin for pin in lock.pins(texts["run.txt"]) if pin.name == "trio"]
    texts["run.txt"] = texts["run.txt"].replace(f"\ntrio=={trio.version} ", "\ntrio==99.0 ")
    assert "run.txt: trio==99.0 is not in dev.txt" in lock.problems(project, texts)


def test_a_peer_of_the_tests_is_no_dependency(project: dict[str, Any], texts: dict[str, str]) -> None:
    assert "libp2p" in {pin.name for pin in lock.pins(texts["interop.txt"])}
    for name in ("dev.txt", "run.txt"):
        assert not {"libp2p", "fastecdsa"} & {pin.name for pin in lock.pins(texts[name])}
    project["tool"]["uv"]["override-dependencies"] = ["fastecdsa==2.3.2"]
    assert lock.problems(project, texts) == [
        "interop.txt was not made from this pyproject.toml: run scripts/lock.py",
        "interop.txt: fastecdsa==2.3.2 is not met by ['4.0.0']",
    ]


def test_every_pin_has_hashes(texts: dict[str, str]) -> None:
    for text in texts.values():
        assert all(pin.hashes for pin in lock.pins(text))


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://example.org/simple",
        "trio==0.35.0",
        "trio>=0.35.0 \\\n    --hash=sha256:" + "0" * 64,
        "trio @ https://example.org/trio.whl \\\n    --hash=sha256:" + "0" * 64,
        "trio==0.35.0 \\\n    --hash=md5:" + "0" * 32,
        "-r other.txt",
    ],
)
def test_anything_but_a_pin_with_hashes_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="not a pin with hashes"):
        list(lock.pins(f"# a lock\n{line}\n"))
