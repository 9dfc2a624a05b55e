"""rsync from a daemon: no encryption; it checks each file by a digest of its own, as it writes it."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from measuring import Meter

from peers.base import Commands, Yard, absent, command, ending, free_port, until

__all__ = ["Rsync"]

_SETTINGS = """\
use chroot = no
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
        yard.folder.mkdir(parents=True, exist_ok=True)
        settings, port, end = yard.folder / "rsyncd.conf", free_port(), yard.wire.seeder
        user = "uid = 0\ngid = 0" if os.geteuid() == 0 else ""  # else it becomes nobody, who may not read this
        settings.write_text(_SETTINGS.format(user=user, root=yard.content.path.parent))
        listen = ["--daemon", "--no-detach", f"--config={settings}", f"--port={port}", f"--address={end.address}"]
        process = subprocess.Popen([*end.before, "rsync", *listen], stdin=subprocess.DEVNULL, text=True)
        sent = 0

        def once(meter: Meter, folder: Path) -> None:
            nonlocal sent
            url = f"rsync://{end.address}:{port}/bench/{yard.content.name}"
            said = command(meter, [*yard.wire.fetcher.before, "rsync", "-a", "--stats", url, folder])
            found = re.search(r"^Total bytes received: ([\d,.]+)$", said, re.MULTILINE)
            sent += int(re.sub(r"\D", "", found[1])) if found else 0

        with ending(process):
            until(lambda: _answers(end.address, port), "rsync's daemon listens", 10)
            inside = yard.content.path.is_dir()
            place = (lambda folder: folder / yard.content.name) if inside else (lambda folder: folder)
            yield Commands(yard, [process.pid], lambda: sent, once, place=place)


def _answers(address: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=1):
        return True
    return False
