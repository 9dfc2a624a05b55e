#!/usr/bin/env python3
"""Builds the wheel, looks into it, installs it as its users do, and runs it.

    .venv/bin/python scripts/try_wheel.py [--out DIR]

Two ways of installing are tried, both with no more than wheels, so that no compiler is ever needed:

1. `pip install samara-….whl` in a clean environment: whatever versions the index has today;
2. `uv tool install --overrides requirements/run.txt samara-….whl`: the versions that were tested.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

__all__ = ["build", "main", "wrong_content"]

ROOT: Final = Path(__file__).resolve().parent.parent
REQUIREMENTS: Final = ROOT / "requirements"
FOLDERS: Final = ("protocol", "node", "sneakernet", "cli")
WINDOWS: Final = sys.platform == "win32"
SCRIPTS: Final = "Scripts" if WINDOWS else "bin"


def run(command: Sequence[str | Path], *, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run a command and return what it printed; on failure print all of it and stop."""
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"try_wheel: {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def build(out: Path) -> Path:
    """Build the source archive, and from it the wheel, with the locked hatchling; return the wheel."""
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT])
    (wheel,) = out.glob("*.whl")
    return wheel


def wrong_content(names: Sequence[str]) -> list[str]:
    """Return what is missing from a wheel, and what should not be in it.

    Args:
        names: Paths in the wheel.
    """
    modules = {f"samara/{path.relative_to(ROOT)}" for top in FOLDERS for path in (ROOT / top).rglob("*.py")}
    needed = {*modules, "samara/__init__.py", "samara/__main__.py", "samara/py.typed"}
    wrong = [f"missing: {name}" for name in sorted(needed - set(names))]
    wrong += [
        f"does not belong there: {name}"
        for name in names
        if not name.startswith(("samara/", "samara-")) or {"tests", "__pycache__", "bench"} & set(name.split("/"))
    ]
    if not any(name.endswith("/licenses/LICENSE") for name in names):
        wrong.append("missing: LICENSE")
    return wrong


def try_command(samara: Path, away: Path) -> None:
    """Run the installed command from a folder that is not the checkout."""
    environment = os.environ | {"SAMARA_HOME": str(away / "home")}
    version = run([samara, "--version"], cwd=away, env=environment).strip()
    run([samara, "--help"], cwd=away, env=environment)
    print(f"  {samara}: {version}")


def try_pip(wheel: Path, place: Path) -> None:
    """Install with pip into a clean environment, and let pip choose the versions."""
    venv.create(place, with_pip=True)
    python = place / SCRIPTS / ("python.exe" if WINDOWS else "python")
    pip: list[str | Path] = [python, "-I", "-m", "pip", "--disable-pip-version-check"]
    run([*pip, "install", "--quiet", "--only-binary", ":all:", wheel])
    run([*pip, "check"])
    run([python, "-P", "-c", "import samara.protocol.ids, samara.node, samara.sneakernet, samara.cli"], cwd=place)
    try_command(place / SCRIPTS / "samara", place)


def try_uv(wheel: Path, place: Path) -> None:
    """Install with uv as a tool, each dependency overridden by its pin."""
    environment = os.environ | {"UV_TOOL_DIR": str(place / "tools"), "UV_TOOL_BIN_DIR": str(place / "bin")}
    uv = Path(sys.executable).parent / ("uv.exe" if WINDOWS else "uv")
    command: list[str | Path] = [uv, "tool", "install", "--no-config", "--no-build", "--python", sys.executable]
    run([*command, "--overrides", REQUIREMENTS / "run.txt", wheel], env=environment)
    try_command(place / "bin" / "samara", place)


def main() -> int:
    """Build, look, install, run."""
    parser = argparse.ArgumentParser(description="Build the wheel, check its content, install it and run it.")
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep the wheel and the source archive here")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wheel = build(asked.out or Path(folder) / "dist")
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
        wrong = wrong_content(names)
        print(f"{wheel.name}: {wheel.stat().st_size / 1000:.0f} kB, {len(names)} files")
        for line in wrong:
            print(f"  {line}", file=sys.stderr)
        if wrong:
            return 1
        for name, attempt in (("pip", try_pip), ("uv", try_uv)):
            print(f"Installing with {name} …", flush=True)
            (place := Path(folder) / name).mkdir()
            attempt(wheel, place)
    return 0


if __name__ == "__main__":
    sys.exit(main())
