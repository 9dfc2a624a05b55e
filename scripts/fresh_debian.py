#!/usr/bin/env python3
"""Proves the README's two commands on a Debian that has nothing else: no compiler, no headers, no root for the user.

    sudo scripts/fresh_debian.py                     ./samara demo
    sudo scripts/fresh_debian.py --tests             ./samara demo, then ./check
    sudo scripts/fresh_debian.py -- ./samara --help  any command, in the checkout

It makes a minimal Debian with debootstrap and the packages that the README names, copies what is committed into the
home of an ordinary user there, and runs the commands as that user, with times. Root on Debian or Ubuntu is needed.

Mounts are made in a mount namespace of the child's own: they vanish with it, however it ends, so that removing the
folder can never reach the host's /dev or /proc.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

__all__ = ["PACKAGES", "compilers", "main"]

CHECKOUT: Final = Path(__file__).resolve().parent.parent
PACKAGES: Final = ("python3", "python3-venv", "ca-certificates", "libgomp1")
"""What the README tells a Debian user to install."""

USER: Final = "person"
HOME: Final = f"/home/{USER}"
PASSED: Final = re.compile(
    r"PIP_(?!FIND_LINKS)\w+|SSL_CERT_\w+|REQUESTS_CA_BUNDLE|(?i:https?_proxy|no_proxy|all_proxy)"
)
"""Settings of the host by which the package index is reached."""

COPIED: Final = ("/etc/resolv.conf", "/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf")
COMPILER: Final = re.compile(
    r"Package: (gcc|g\+\+|clang|cpp|make|binutils|rustc|cargo|\S+-dev|(gcc|g\+\+|clang)-[\d.]+)"
)


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Say what begins, and how long it took."""
    print(f"── {what}", flush=True)
    began = time.monotonic()
    yield
    print(f"── {what}: {time.monotonic() - began:.1f} s", flush=True)


def apart(command: Sequence[str | Path]) -> list[str]:
    """Return a command that runs another in mount and process namespaces of its own, which end with it."""
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", *map(str, command)]


def mirror(suite: str) -> list[str]:
    """Return the mirror that this machine's apt uses for a suite, or nothing: debootstrap has one of its own."""
    shown = ["apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"]
    lines = subprocess.run(shown, capture_output=True, text=True, check=False).stdout.splitlines()
    return [line.split()[2] for line in lines if line.split()[:2] == [suite, "main"]][:1]


def make_root(root: Path, suite: str) -> None:
    """Make a minimal Debian with an ordinary user."""
    if shutil.which("debootstrap") is None:
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "debootstrap"], check=True)
    options = ["--variant=minbase", f"--include={','.join(PACKAGES)}"]
    command = apart(["debootstrap", *options, suite, root, *mirror(suite)])
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        sys.exit(f"fresh_debian: debootstrap failed:\n{done.stdout[-2000:]}")
    subprocess.run(["chroot", root, "/usr/sbin/useradd", "--create-home", "--shell", "/bin/sh", USER], check=True)


def compilers(status: str) -> list[str]:
    """Return the compilers and headers that dpkg's status file names; `gcc-12-base` is none."""
    return [line for line in status.splitlines() if COMPILER.fullmatch(line)]


def copy_settings(root: Path) -> None:
    """Give the new system the host's way to the network and to the package index."""
    user_pip = Path.home() / ".config/pip/pip.conf"
    pairs = [(Path(name), root / name[1:]) for name in COPIED] + [(user_pip, root / "etc/xdg/pip/pip.conf")]
    for source, target in pairs:
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def copy_checkout(root: Path, *, uncommitted: bool) -> None:
    """Put the checkout into the user's home: what is committed, or what lies here and is not ignored."""
    target = root / HOME[1:] / "samara"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    if uncommitted:
        named = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"],
            cwd=CHECKOUT,
            capture_output=True,
            check=True,
        ).stdout
        there = b"\0".join(
            name for name in named.split(b"\0") if name and os.path.lexists(CHECKOUT / os.fsdecode(name))
        )
        pack = subprocess.run(
            ["tar", "-c", "--null", "-T", "-"], cwd=CHECKOUT, input=there, capture_output=True, check=True
        )
    else:
        pack = subprocess.run(["git", "archive", "HEAD"], cwd=CHECKOUT, capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", target], input=pack.stdout, check=True)
    subprocess.run(["chroot", root, "/bin/chown", "-R", f"{USER}:{USER}", f"{HOME}/samara"], check=True)


def run_inside(root: Path, command: str) -> int:
    """Run a shell command as the user, in the checkout; return its exit code."""
    settings = {name: value for name, value in os.environ.items() if PASSED.fullmatch(name)}
    settings |= {"HOME": HOME, "USER": USER, "LANG": "C.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin"}
    if "TERM" in os.environ:
        settings["TERM"] = os.environ["TERM"]
    inside = f'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot --userspec={USER} "$0" "$@"'
    script = f"cd {HOME}/samara && {command}"
    assigned = [f"{name}={value}" for name, value in settings.items()]
    shell: list[str | Path] = ["sh", "-c", inside, root, "/usr/bin/env", "-i", *assigned, "/bin/sh", "-c", script]
    return subprocess.run(apart(shell), check=False).returncode


def prove(root: Path, commands: Sequence[str], *, suite: str, uncommitted: bool) -> int:
    """Make the system when it is not there yet, and run the commands one after the other; stop at a failure."""
    if not (root / "etc/debian_version").exists():
        with timed(f"Debian {suite} with {', '.join(PACKAGES)}"):
            make_root(root, suite)
    found = compilers((root / "var/lib/dpkg/status").read_text(encoding="utf-8"))
    if found or any((root / folder / "cc").exists() for folder in ("usr/bin", "usr/local/bin")):
        sys.exit(f"fresh_debian: this system has a compiler: {found}")
    copy_settings(root)
    copy_checkout(root, uncommitted=uncommitted)
    for command in commands:
        with timed(command):
            code = run_inside(root, command)
        if code:
            print(f"fresh_debian: {command}: exit code {code}", file=sys.stderr)
            return code
    return 0


def main() -> int:
    """Prove the commands in a new system, and remove it."""
    parser = argparse.ArgumentParser(description="Run the README's commands on a minimal Debian.")
    parser.add_argument("--tests", action="store_true", help="run the tests too")
    parser.add_argument("--suite", default="bookworm", help="the Debian release (default: %(default)s)")
    parser.add_argument("--root", type=Path, metavar="DIR", help="make the system here, or use the one here; it stays")
    parser.add_argument("--uncommitted", action="store_true", help="take the files as they lie here, not HEAD")
    parser.add_argument("command", nargs="*", help="run this, in the checkout, instead of the demo")
    asked = parser.parse_args()
    if sys.platform != "linux" or os.geteuid() != 0:
        parser.error("this needs root on Linux: debootstrap and chroot do")
    commands = [" ".join(asked.command) or "./samara demo", *(["./check"] if asked.tests else [])]
    if asked.root:
        asked.root.mkdir(parents=True, exist_ok=True)
        return prove(asked.root.resolve(), commands, suite=asked.suite, uncommitted=asked.uncommitted)
    root = Path(tempfile.mkdtemp(prefix="samara-debian-", dir="/var/tmp"))
    try:
        root.chmod(0o755)  # the user must be able to enter it
        return prove(root, commands, suite=asked.suite, uncommitted=asked.uncommitted)
    except KeyboardInterrupt:
        return 130
    finally:
        subprocess.run(["rm", "-rf", "--one-file-system", root], check=False)


if __name__ == "__main__":
    sys.exit(main())
