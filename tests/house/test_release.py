"""What a release is made of: the wheel, the changelog, and the proof on a fresh machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.scripts import ROOT, load_script

changelog = load_script("changelog")
fresh_debian = load_script("fresh_debian")
try_wheel = load_script("try_wheel")


@pytest.mark.slow
def test_the_wheel_builds_installs_without_a_compiler_and_runs() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts/try_wheel.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_wheel_is_told_what_it_lacks_and_what_it_should_not_have() -> None:
    whole = [f"samara/{path.relative_to(ROOT)}" for top in try_wheel.FOLDERS for path in (ROOT / top).rglob("*.py")]
    whole += [f"samara/{name}" for name in ("__init__.py", "__main__.py", "py.typed")]
    whole += ["samara-1.dist-info/METADATA", "samara-1.dist-info/licenses/LICENSE"]
    assert try_wheel.wrong_content(whole) == []
    without = [name for name in whole if name not in ("samara/py.typed", "samara/protocol/ids.py")]
    assert try_wheel.wrong_content([*without, "tests/test_x.py", "samara/node/__pycache__/x.pyc"]) == [
        "missing: samara/protocol/ids.py",
        "missing: samara/py.typed",
        "does not belong there: tests/test_x.py",
        "does not belong there: samara/node/__pycache__/x.pyc",
    ]


def test_compilers_and_headers_are_seen_in_a_system() -> None:
    clean = ["gcc-12-base", "libgcc-s1", "libstdc++6", "python3", "libc-bin", "makedev-not", "device-tree"]
    dirty = ["gcc", "gcc-12", "g++", "libc6-dev", "python3-dev", "make", "cpp", "clang-14"]
    status = "".join(f"Package: {name}\nStatus: install ok installed\n\n" for name in [*clean, *dirty])
    assert fresh_debian.compilers(status) == [f"Package: {name}" for name in dirty]


def test_the_fragments_of_this_tree_are_in_order() -> None:
    assert changelog.wrong_fragments(changelog.fragments()) == []


def test_fragments_become_a_section(tmp_path: Path) -> None:
    for name, text in {"b.added.md": "Two\nlines.\n", "a.added.md": "One.\n", "c.fixed.md": "Less wrong.\n"}.items():
        (tmp_path / name).write_text(text)
    paths = sorted(tmp_path.iterdir())
    assert changelog.wrong_fragments(paths) == []
    assert changelog.section("1.0", paths) == (
        "## 1.0\n\n### Added\n\n- One.\n- Two\n  lines.\n\n### Fixed\n\n- Less wrong.\n"
    )


@pytest.mark.parametrize("name", ["thing.md", "thing.removed.md", "thing.added.fixed.md"])
def test_a_fragment_of_no_kind_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("Something.\n")
    assert changelog.wrong_fragments([tmp_path / name]) == [f"{name}: not <slug>.<added|changed|fixed>.md"]


def test_an_empty_fragment_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.added.md").write_text("\n")
    assert changelog.wrong_fragments([tmp_path / "a.added.md"]) == ["a.added.md: empty"]
