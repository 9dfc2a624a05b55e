"""Fetch speed and memory: one seeder, one fetcher, two processes, loopback, verified and written to disk.

    python bench/fetch.py [--mib 1024] [--runs 3] [--folder DIR]

Prints MB/s, CPU seconds per GiB of both sides, peak RssAnon of both sides (mapped files do not count), and the ratio
to a plain copy of the same file with one sync at the end (`cp` and `sync`), in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

MIB = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", default=None)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        model = Path(folder) / "data.bin"
        write_random(model, asked.mib)
        runs = [one_run(Path(folder), model) for _ in range(asked.runs)]
        copies = [copy_seconds(model, Path(folder) / "copy") for _ in range(asked.runs)]
    size = asked.mib * MIB
    seconds = statistics.median(run["seconds"] for run in runs)
    copy = statistics.median(copies)
    cpu = statistics.median(run["cpu"] for run in runs) / (size / (1 << 30))
    machine = platform.processor() or platform.machine()
    print(f"machine            {machine}, {os.cpu_count()} cores, {platform.python_version()}")
    print(f"fetch              {size / 1e6 / seconds:.0f} MB/s (median of {asked.runs}, {asked.mib} MiB)")
    print(f"cp + sync          {size / 1e6 / copy:.0f} MB/s")
    print(f"ratio              {copy / seconds:.2f}")
    print(f"CPU s per GiB      {cpu:.2f} (fetcher and seeder, start included)")
    fetcher, seeder = (max(run[side] for run in runs) for side in ("fetcher", "seeder"))
    print(f"peak RssAnon       fetcher {fetcher:.0f} MB, seeder {seeder:.0f} MB")


def write_random(path: Path, mib: int) -> None:
    with open(path, "wb") as file:
        for _ in range(mib):
            file.write(os.urandom(MIB))


def one_run(folder: Path, model: Path) -> dict[str, float]:
    homes = [folder / "alice", folder / "bob"]
    seeder = start(homes[0], "seed", str(model), "--yes", "--json", stdout=subprocess.PIPE)
    try:
        text = ""
        for line in seeder.stdout or ():
            text += line
            if line.rstrip() == "}":
                break
        link = json.loads(text)["published"][0]["link"]
        fetcher = start(homes[1], "fetch", link, "--json", stdout=subprocess.PIPE)
        peaks = [Peak(fetcher.pid), Peak(seeder.pid)]
        out, _ = fetcher.communicate()
        seeder_cpu = cpu_seconds(seeder.pid)
        before = os.times()
        fetched = json.loads(out)
        return {
            "seconds": fetched["seconds"],
            "cpu": seeder_cpu + peaks[0].cpu,
            "fetcher": peaks[0].stop(),
            "seeder": peaks[1].stop(),
            "at": before.elapsed,
        }
    finally:
        seeder.terminate()
        seeder.wait()
        for home in homes:
            shutil.rmtree(home, ignore_errors=True)


def start(home: Path, *arguments: str, stdout: int) -> subprocess.Popen[str]:
    environment = {
        **os.environ, "SAMARA_HOME": str(home), "SAMARA_NETWORK_LISTEN": "/ip4/127.0.0.1/tcp/0",
        "SAMARA_NETWORK_MDNS": "no", "SAMARA_NETWORK_DHT": "off",
    }  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-m", "samara.cli.main", *arguments], env=environment, stdout=stdout, text=True
    )


class Peak:
    """Watches a process's anonymous memory and CPU until stopped."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peak = 0
        self.cpu = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                lines = Path(f"/proc/{self._pid}/status").read_text().splitlines()
                self.cpu = max(self.cpu, cpu_seconds(self._pid))
            except OSError:
                return
            found = [int(line.split()[1]) for line in lines if line.startswith("RssAnon")]
            self._peak = max([self._peak, *found])
            time.sleep(0.05)

    def stop(self) -> float:
        self._stop.set()
        self._thread.join()
        return self._peak * 1024 / 1e6


def cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def copy_seconds(source: Path, target: Path) -> float:
    began = time.monotonic()
    subprocess.run(["cp", source, target], check=True)
    fd = os.open(target, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    took = time.monotonic() - began
    target.unlink()
    return took


if __name__ == "__main__":
    main()
