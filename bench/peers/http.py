"""curl from nginx over TLS 1.3, then b3sum; and aria2 from nginx, which checks SHA-256 itself."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from measuring import Meter

from peers.base import Commands, Yard, absent, command
from peers.nginx import serving

__all__ = ["Aria2", "Curl"]


class Curl:
    """curl over TLS 1.3, then `b3sum`, compared with the digest that is known."""

    name = "curl TLS 1.3, b3sum"

    def missing(self) -> str:
        return absent("curl", "nginx", "b3sum", "openssl")

    @contextlib.contextmanager
    def seeding(self, yard: Yard) -> Iterator[Commands]:
        with serving(yard, tls=True) as server:
            name, before = yard.content.name, yard.wire.fetcher.before

            def get(folder: Path) -> Sequence[str | Path]:
                trust = ("--tlsv1.3", "--cacert", server.certificate)
                # `-C -` goes on where a file that is there ends; of a new one it begins at the beginning.
                return [*before, "curl", "-sSf", *trust, "-C", "-", "-o", folder / name, f"{server.url}/{name}"]

            def once(meter: Meter, folder: Path) -> None:
                command(meter, get(folder))
                found = command(meter, ["b3sum", "--no-names", folder / name]).strip()
                if found != yard.content.files[name]:
                    raise RuntimeError(f"curl brought {found}")

            yield Commands(yard, [server.pid], server.sent, once, partly=get)


class Aria2:
    """aria2 over plain HTTP; it checks SHA-256 when the file is there."""

    name = "aria2 HTTP, SHA-256"

    def missing(self) -> str:
        return absent("aria2c", "nginx")

    @contextlib.contextmanager
    def seeding(self, yard: Yard) -> Iterator[Commands]:
        with serving(yard, tls=False) as server, yard.content.path.open("rb") as file:
            name, before = yard.content.name, yard.wire.fetcher.before
            checked = f"--checksum=sha-256={hashlib.file_digest(file, 'sha256').hexdigest()}"

            def get(folder: Path) -> Sequence[str | Path]:
                ways = ("--no-conf", "--quiet", "--file-allocation=none", "--disk-cache=64M", checked)
                return [*before, "aria2c", *ways, "--dir", folder, "--out", name, f"{server.url}/{name}"]

            yield Commands(yard, [server.pid], server.sent, lambda meter, folder: command(meter, get(folder)))
