"""nginx, with or without TLS 1.3 and a certificate made on the spot: what curl and aria2 fetch from."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from peers.base import Yard, ending, free_port, until

__all__ = ["Served", "serving"]

_SETTINGS = """\
{user}
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes auto;
events {{ worker_connections 256; }}
http {{
    log_format sent '$bytes_sent';
    access_log {folder}/sent.log sent;
    sendfile on;
    tcp_nopush on;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {listen};
        root {root};
        {tls}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Served:
    """A running nginx.

    Attributes:
        url: Of the folder it serves, without a slash at the end.
        pid: Its first process.
        log: Where it writes the bytes of each answer.
        certificate: What a client must trust.
    """

    url: str
    pid: int
    log: Path
    certificate: Path

    def sent(self) -> int:
        """Return the bytes of all answers that have ended."""
        return sum(map(int, self.log.read_text().split()))


@contextlib.contextmanager
def serving(yard: Yard, *, tls: bool) -> Iterator[Served]:
    """Serve the folder in which the content lies, until the block ends."""
    folder = yard.folder / "nginx"
    folder.mkdir(parents=True)
    end, port = yard.wire.seeder, free_port()
    certificate = _certificate(folder, end.address) if tls else folder / "none"
    listen = f"{end.address}:{port}{' ssl' if tls else ''}"
    settings = _SETTINGS.format(
        user="user root;" if os.geteuid() == 0 else "",  # its workers must be able to read what lies here
        folder=folder,
        listen=listen,
        root=yard.content.path.parent,
        tls=f"ssl_protocols TLSv1.3; ssl_certificate {certificate}; ssl_certificate_key {folder}/key.pem;"
        if tls
        else "",
    )
    (folder / "nginx.conf").write_text(settings)
    process = subprocess.Popen(
        [*end.before, "nginx", "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    with ending(process):
        try:
            until((folder / "nginx.pid").exists, "nginx listens", 10)
        except TimeoutError as error:
            raise RuntimeError(f"nginx: {(folder / 'error.log').read_text()}") from error
        url = f"{'https' if tls else 'http'}://{end.address}:{port}"
        yield Served(url, process.pid, folder / "sent.log", certificate)


def _certificate(folder: Path, address: str) -> Path:
    """Make a certificate of its own key for an address, beside `key.pem`."""
    path = folder / "certificate.pem"
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=samara-bench", "-addext", f"subjectAltName=IP:{address}"]
    made = ["openssl", "req", "-x509", *kind, *names, "-keyout", str(folder / "key.pem"), "-out", str(path)]
    subprocess.run(made, check=True, capture_output=True, timeout=60)
    return path
