#!/usr/bin/env python3
"""Makes `.venv` what a lock says, then runs a command in it. `./samara` and `./check` begin here.

    bootstrap.py run|dev [ARG…]      ARG…: what `.venv`'s Python is to run; nothing: set up only

Standard library only: this runs before anything is installed. The packages come from `requirements/run.txt` (or
`dev.txt`) with their hashes, and without pip's resolver, so that what was tested is what is installed
(specs/adr/0002). Nothing needs a compiler, and nothing is written outside `.venv` but pip's own cache and bytecode.

Invariant: `.venv/samara-setup.json` names a lock only after all of that lock is installed. It is what makes the second
start fast, and an interrupted set-up is simply done again.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["main"]

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "samara-setup.json"
WEIGHT = {"run": "67 MB to fetch, 280 MB on disk", "dev": "125 MB to fetch, 455 MB on disk"}
WINDOWS = sys.platform == "win32"
PYTHON = VENV / ("Scripts/python.exe" if WINDOWS else "bin/python")

OLDEST = (3, 11)
NEWEST = (3, 14)


class SetupError(Exception):
    """The set-up cannot go on; the message says what to do."""


def say(text: str) -> None:
    """Tell the person at the keyboard; never on stdout, which belongs to the command."""
    print(text, file=sys.stderr, flush=True)


def key_of(profile: str) -> str:
    """Return what `.venv` was set up from: the lock, the Python, the place. Any change is a reason to look again."""
    digest = hashlib.sha256(f"{sys.version_info[:2]}\0{ROOT}\0".encode())
    digest.update(lock_of(profile).read_bytes())
    return digest.hexdigest()


def lock_of(profile: str) -> Path:
    """Return where the lock of a profile lies."""
    return ROOT / "requirements" / f"{profile}.txt"


def stamps() -> dict[str, str]:
    """Return the key of each profile that is installed."""
    try:
        found = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def is_ready(profile: str) -> bool:
    """Say whether `.venv` has all of a lock."""
    return PYTHON.exists() and stamps().get(profile) == key_of(profile)


def check_python() -> None:
    """Refuse a Python that the locked packages do not support."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        raise SetupError(
            f"Samara needs Python 3.11 to 3.14; {sys.executable} is {sys.version.split()[0]}.\n"
            "Debian 12, Ubuntu 24.04 or later: apt install python3 python3-venv · macOS: brew install python@3.13 · "
            "Windows: winget install Python.Python.3.13"
        )


def check_machine() -> None:
    """Name all that is missing on this machine before anything is fetched."""
    lacks: list[tuple[str, str, str]] = []  # what, its package on Debian, its package on Fedora
    if not all(importlib.util.find_spec(module) for module in ("venv", "ensurepip")):
        lacks.append(("Python's venv module", "python3-venv", "python3"))
    if sys.platform == "linux" and not os.environ.get("SAMARA_NO_ENGINE") and not has_openmp():
        lacks.append(("libgomp.so.1, which the inference engine needs", "libgomp1", "libgomp"))
    if not lacks:
        return
    what, debian, fedora = zip(*lacks, strict=True)
    hint = f"Debian, Ubuntu: apt install {' '.join(debian)} · Fedora: dnf install {' '.join(fedora)}"
    if "libgomp1" in debian:
        hint += "\nWithout root: unpack the package libgomp1 anywhere, and set SAMARA_LIBGOMP to its libgomp.so.1."
        hint += "\nWithout the engine (all but `samara run` works): set SAMARA_NO_ENGINE=1."
    raise SetupError(f"Missing on this machine: {'; '.join(what)}.\n{hint}")


def has_openmp() -> bool:
    """Say whether the library is there that the inference engine is linked against; minimal Debian systems lack it."""
    import ctypes

    try:
        ctypes.CDLL(os.environ.get("SAMARA_LIBGOMP") or "libgomp.so.1")
    except OSError:
        return False
    return True


def make_venv() -> None:
    """Make `.venv`, or mend it: a Python that is gone, of another version, or without pip."""
    same = sysconfig.get_path("purelib", "venv", {"base": str(VENV)})
    if PYTHON.exists() and Path(same, "pip").is_dir():
        return
    base = getattr(sys, "_base_executable", None) or sys.executable  # inside the very .venv that is to be mended
    mend = [] if Path(same).is_dir() else ["--clear"]
    done = subprocess.run([base, "-I", "-m", "venv", *mend, str(VENV)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SetupError(f"Python could not make {VENV}:\n{(done.stdout + done.stderr).strip()}")


def pip_install(lock: Path) -> None:
    """Install exactly a lock, telling of the progress; no package is ever built here."""
    command = [str(PYTHON), "-I", "-m", "pip", "--disable-pip-version-check", "install", "--progress-bar", "off"]
    command += ["--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", str(lock)]
    total = sum("==" in line for line in lock.read_text(encoding="utf-8").splitlines())
    shown = sys.stderr.isatty()
    heard: list[str] = []
    done = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        for line in pip.stdout or ():
            heard.append(line)
            if line.startswith(("Collecting ", "Requirement already satisfied")):
                done += 1
            if shown and line.startswith(("Collecting ", "Installing collected")):
                doing = "installing" if line.startswith("Inst") else line.split()[1].split("==")[0]
                print(f"\r\033[K  {done} of {total}: {doing}", end="", file=sys.stderr, flush=True)
    if shown:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    if pip.returncode:
        raise SetupError(
            "".join(heard[-12:]).rstrip()
            + "\nThe packages could not be installed. If the network failed, run the same "
            "command again: what was fetched is kept."
        )


def link_checkout() -> None:
    """Make `import samara` find this checkout: one line in a .pth file, nothing to build, edits count at once."""
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(VENV)}))
    (site / "samara.pth").write_text(f"{ROOT / 'src'}\n", encoding="locale")


def compile_checkout() -> None:
    """Make the bytecode of this checkout, as pip does of what it installs.

    Python makes it when it first runs, but not where it may not write: there every start would take twice as long.
    """
    folders = [ROOT / name for name in ("cli", "node", "protocol", "sneakernet", "src")]
    command = [str(PYTHON), "-I", "-m", "compileall", "-q", *(str(folder) for folder in folders if folder.is_dir())]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def set_up(profile: str) -> None:
    """Bring `.venv` to the state of a lock; the stamp is written last. The development lock contains the other."""
    check_machine()
    began = time.monotonic()
    say(f"Setting up {VENV} (once; {WEIGHT[profile]}) …")
    make_venv()
    with contextlib.suppress(FileNotFoundError):
        STAMP.unlink()
    pip_install(lock_of(profile))
    link_checkout()
    compile_checkout()
    done = ("dev", "run") if profile == "dev" else ("run",)
    partial = STAMP.with_suffix(".new")
    partial.write_text(json.dumps({name: key_of(name) for name in done}), encoding="utf-8")
    os.replace(partial, STAMP)
    say(f"Ready after {time.monotonic() - began:.0f} s.")


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Let one set-up at a time work on this checkout (not on Windows, which cannot lock a folder)."""
    if WINDOWS:
        yield
        return
    import fcntl

    folder = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def start(command: Sequence[str]) -> int:
    """Run `.venv`'s Python in place of this process."""
    arguments = [str(PYTHON), *command]
    if WINDOWS:  # its exec returns to the shell at once
        return subprocess.run(arguments, check=False).returncode
    os.execv(PYTHON, arguments)


def main(arguments: Sequence[str]) -> int:
    """Set up when needed, then run."""
    profile, command = arguments[0], arguments[1:]
    try:
        check_python()
        if not is_ready(profile):
            with alone():
                if not is_ready(profile):
                    set_up(profile)
    except SetupError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("Interrupted; the same command goes on from here.")
        return 130
    return start(command) if command else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
