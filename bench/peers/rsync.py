"""rsync from a daemon: no encryption; it checks each file by a digest of its own, as it writes it."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from measuring import Meter

from peers.base import Commands, Yard, absent, command, ending, free_port, until

__all__ = ["Rsync", "listening"]

_SETTINGS = """\
use chroot = no
reverse lookup = no
{user}
[bench]
path = {root}
read only = yes
"""


class Rsync:
    """rsync over its own protocol."""

    name = "rsync"

    def missing(self) -> str:
        return absent("rsync")

    @contextlib.contextmanager
    def seeding(self, yard: Yard) -> Iterator[Commands]:
        sent = 0

        def once(meter: Meter, folder: Path) -> None:
            nonlocal sent
            said = command(meter, [*yard.wire.fetcher.before, "rsync", "-a", "--stats", url, folder])
            found = re.search(r"^Total bytes received: ([\d,.]+)$", said, re.MULTILINE)
            sent += int(re.sub(r"\D", "", found[1])) if found else 0

        with listening(yard) as (pid, url):
            inside = yard.content.path.is_dir()
            place = (lambda folder: folder / yard.content.name) if inside else (lambda folder: folder)
            yield Commands(yard, [pid], lambda: sent, once, place=place)


@contextlib.contextmanager
def listening(yard: Yard) -> Iterator[tuple[int, str]]:
    """Let a daemon offer the content until the block ends; give its process and the content's URL."""
    yard.folder.mkdir(parents=True, exist_ok=True)
    settings, port, end = yard.folder / "rsyncd.conf", free_port(), yard.wire.seeder
    user = "uid = 0\ngid = 0" if os.geteuid() == 0 else ""  # else it becomes nobody, who may not read this
    settings.write_text(_SETTINGS.format(user=user, root=yard.content.path.parent))
    listen = ["--daemon", "--no-detach", f"--config={settings}", f"--port={port}", f"--address={end.address}"]
    process = subprocess.Popen([*end.before, "rsync", *listen], stdin=subprocess.DEVNULL, text=True)
    with ending(process):
        # From where it is fetched: only there may its address be known.
        look = [*yard.wire.fetcher.before, "rsync", f"rsync://{end.address}:{port}/"]
        until(
            lambda: subprocess.run(look, capture_output=True, check=False).returncode == 0, "rsync's daemon listens", 30
        )
        yield process.pid, f"rsync://{end.address}:{port}/bench/{yard.content.name}"
