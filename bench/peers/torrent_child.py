"""One libtorrent session, in the environment where libtorrent is; `torrent.py` tells it what to do, a line at a time.

Takes a JSON object as its argument: `role` (`make`, `seed`, `fetch`), `torrent` (a file), `path` (of the content when
it makes or seeds, of a folder when it fetches), and `version`, `encrypted`, `address`. Says one JSON object a line:

    make    {}              the torrent is written
    seed    {"port": …}     it has checked what it seeds; then it says {"sent": …} for each line it hears
    fetch   {"port": …}     then it hears [[address, port], …] and fetches from these
            {"seconds": …}  all is verified, written and synced, so long after it dialled; it goes on seeding

It ends when its stdin does.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, TypeAlias

import libtorrent as lt

Session: TypeAlias = Any
Handle: TypeAlias = Any
"""libtorrent's own types: it comes without annotations."""

PIECE = 4 << 20
TUNED = {
    "aio_threads": 2,
    "hashing_threads": 1,
    "max_out_request_queue": 500,
    "max_allowed_in_request_queue": 2000,
    "send_buffer_watermark": 8 << 20,
    "send_buffer_low_watermark": 1 << 20,
    "send_buffer_watermark_factor": 200,
    "recv_socket_buffer_size": 4 << 20,
    "send_socket_buffer_size": 4 << 20,
    "max_queued_disk_bytes": 256 << 20,
    "unchoke_slots_limit": -1,
    "rate_limit_ip_overhead": False,
    "enable_incoming_utp": False,
    "enable_outgoing_utp": False,
}
QUIET = {
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "allow_multiple_connections_per_ip": True,  # all fetchers are on one machine
}


def say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


def session(address: str, encrypted: bool) -> Session:
    policy = lt.enc_policy.forced if encrypted else lt.enc_policy.disabled
    level = lt.enc_level.rc4 if encrypted else lt.enc_level.both
    ways = {"out_enc_policy": int(policy), "in_enc_policy": int(policy), "allowed_enc_level": int(level)}
    mask = lt.alert.category_t.status_notification | lt.alert.category_t.storage_notification
    mask |= lt.alert.category_t.error_notification | lt.alert.category_t.connect_notification
    listen = {"listen_interfaces": f"{address}:0", "alert_mask": int(mask), "prefer_rc4": encrypted}
    return lt.session({**TUNED, **QUIET, **ways, **listen})


def make(said: dict[str, Any]) -> None:
    kind = lt.create_torrent.v1_only if said["version"] == 1 else lt.create_torrent.v2_only
    torrent = lt.create_torrent(lt.list_files(said["path"]), PIECE, kind)
    lt.set_piece_hashes(torrent, os.path.dirname(said["path"]))
    Path(said["torrent"]).write_bytes(lt.bencode(torrent.generate()))
    say()


def add(ses: Session, torrent: str, folder: str) -> Handle:
    adding = lt.add_torrent_params()
    adding.ti = lt.torrent_info(torrent)
    adding.save_path = folder
    adding.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    return ses.add_torrent(adding)


def hear(ses: Session, kind: type, heard: list[object] = []) -> None:  # noqa: B006 - what waits is kept in it
    """Wait for an alert, and forget those before it; what ended in an error ends this."""
    while True:
        while heard:
            alert = heard.pop(0)
            if isinstance(alert, (lt.torrent_error_alert, lt.file_error_alert)):
                sys.exit(alert.message())
            if isinstance(alert, kind):
                return
        ses.wait_for_alert(1000)
        heard += ses.pop_alerts()


def seed(said: dict[str, Any]) -> None:
    ses = session(said["address"], said["encrypted"])
    handle = add(ses, said["torrent"], os.path.dirname(said["path"]))
    while not handle.status().is_seeding:
        time.sleep(0.02)
    say(port=ses.listen_port())
    for _ in sys.stdin:
        say(sent=handle.status().total_upload)


def fetch(said: dict[str, Any]) -> None:
    ses = session(said["address"], said["encrypted"])
    while not ses.listen_port():
        time.sleep(0.01)
    say(port=ses.listen_port())
    peers = json.loads(sys.stdin.readline())
    handle = add(ses, said["torrent"], said["path"])
    for address, port in peers:
        handle.connect_peer((address, port))
    # It dials on its next tick, up to half a second later. That is not counted; ticking faster makes the whole slower.
    hear(ses, lt.peer_connect_alert)
    began = time.perf_counter()
    hear(ses, lt.torrent_finished_alert)
    handle.flush_cache()
    hear(ses, lt.cache_flushed_alert)
    sync(Path(said["path"]))
    say(seconds=time.perf_counter() - began)
    sys.stdin.read()


def sync(folder: Path) -> None:
    """As `sync` in base.py, which this environment cannot import."""
    found = [folder, *folder.rglob("*")]
    if len(found) > 100:
        subprocess.run(["sync", "--file-system", folder], check=True)
        return
    for path in found:
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)


if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    {"make": make, "seed": seed, "fetch": fetch}[told["role"]](told)
    os._exit(0)  # no goodbye to trackers that are not there
