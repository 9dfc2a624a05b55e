"""What the scheduler costs: a whole fetch of a million chunks from 50 peers, without any IO.

Half of the peers hold everything, the others a random half of the files, and of the chunks of some more (of a single
file, half of its chunks: then no two chunks that follow each other are alike). Prints microseconds a call and
the memory that is held; and in the same run one choice made the naive way (rarest first, by looking at every chunk).
Usage: PYTHONPATH=src python bench/scheduler.py [chunks] [files] [peers]
"""

from __future__ import annotations

import platform
import random
import sys
import time
import tracemalloc
from collections import defaultdict, deque
from dataclasses import dataclass

from samara.protocol.scheduler import Outcome, Scheduler, Want

LENGTH = 64 << 10
RATE = 20e6  # bytes a second of every peer


@dataclass(slots=True)
class Cost:
    seconds: float = 0.0
    calls: int = 0
    worst: float = 0.0


COSTS: dict[str, Cost] = defaultdict(Cost)


def spent(name: str, began: float, calls: int = 1) -> None:
    cost = COSTS[name]
    elapsed = time.process_time() - began
    cost.seconds += elapsed
    cost.calls += calls
    cost.worst = max(cost.worst, elapsed)


def prepare(scheduler: Scheduler, chunks: int, files: int, peers: int, rng: random.Random) -> list[str]:
    per_file = chunks // files
    names = [f"peer {number}" for number in range(peers)]
    for number, name in enumerate(names):
        scheduler.add_peer(name, 0.0)
        if number % 2 == 0:
            scheduler.set_files(name, None)
            continue
        scheduler.set_files(name, rng.randbytes((files + 7) // 8) if files > 1 else b"")
        for stream in range(1, files + 1, 100):  # claims come before the lists: the dearest order
            scheduler.set_availability(name, stream, rng.randbytes((per_file + 7) // 8))
    for stream in range(1, files + 1):
        began = time.process_time()
        scheduler.add_stream(stream, range(per_file), lambda _: LENGTH)
        spent("add_stream", began)
    return names


def fetch(scheduler: Scheduler, names: list[str]) -> tuple[int, int]:
    """Let all peers deliver in turn, at one rate, until all is kept; return (accepted, wants)."""
    now, accepted, wanted = 0.0, 0, 0
    queues: dict[str, deque[Want]] = {name: deque() for name in names}
    while not scheduler.done:
        now += LENGTH / RATE
        for name in names:
            began = time.process_time()
            wants = scheduler.next_requests(name, now)
            spent("next_requests, with wants" if wants else "next_requests, nothing", began)
            wanted += len(wants)
            queues[name].extend(wants)
            if not queues[name]:
                continue
            want = queues[name].popleft()
            if want.count > 1:
                queues[name].appendleft(Want(want.stream, want.first + 1, want.count - 1, 0))
            began = time.process_time()
            accepted += scheduler.received(name, want.stream, want.first, LENGTH, now) is Outcome.ACCEPTED
            spent("received", began)
        for name, want in scheduler.cancelled():
            queues[name] = deque(
                w for w in queues[name] if (w.stream, w.first + w.count) != (want.stream, want.first + want.count)
            )
        began = time.process_time()
        scheduler.timer()
        spent("timer", began)
    return accepted, wanted


def naive_choice(chunks: int, peers: int, rng: random.Random) -> float:
    """Return the seconds of one choice by looking at every chunk."""
    have = [rng.randbytes(chunks) for _ in range(min(peers, 4))]
    copies = bytes(sum(column) % 200 for column in zip(*have, strict=True))
    began = time.process_time()
    min((copies[chunk], chunk) for chunk in range(chunks) if have[0][chunk] & 1)
    return time.process_time() - began


def main() -> None:
    chunks, files, peers = ([int(a) for a in sys.argv[1:]] + [1_000_000, 100_000, 50][len(sys.argv) - 1 :])[:3]
    rng = random.Random(1)
    print(f"{platform.machine()}, Python {platform.python_version()}; {chunks} chunks, {files} files, {peers} peers")
    tracemalloc.start()
    bare = Scheduler()
    for stream in range(1, files + 1):
        bare.add_stream(stream, range(chunks // files), lambda _: LENGTH)
    print(f"memory without peers   {tracemalloc.get_traced_memory()[0] / 2**20:8.1f} MiB")
    for number in range(peers):
        bare.add_peer(str(number), 0.0)
        bare.set_files(str(number), rng.randbytes((files + 7) // 8))
    print(f"with all peers in part {tracemalloc.get_traced_memory()[0] / 2**20:8.1f} MiB")
    tracemalloc.stop()
    for name, say in (("set_files, random half", rng.randbytes((files + 7) // 8)), ("set_files, everything", None)):
        bare.add_peer(name, 0.0)
        began = time.process_time()
        bare.set_files(name, say)
        spent(name, began)
    began = time.process_time()
    bare.remove_peer("set_files, random half")
    spent("remove_peer", began)
    del bare

    scheduler = Scheduler(rotate=0x9E3779B9)
    names = prepare(scheduler, chunks, files, peers, rng)
    accepted, wants = fetch(scheduler, names)
    assert accepted == chunks, accepted
    print(
        f"{wants} wants of {accepted / wants:.1f} chunks; {scheduler.look().bytes_wasted // LENGTH} chunks came twice"
    )
    for name, cost in COSTS.items():
        mean = cost.seconds / cost.calls * 1e6
        print(f"{name:28s} {cost.calls:9d} calls  {mean:10.1f} us each  {cost.worst * 1e3:8.2f} ms worst")
    choosing = COSTS["next_requests, with wants"].seconds / wants
    naive = naive_choice(chunks, peers, rng)
    print(
        f"a want costs {choosing * 1e6:.1f} us; a naive choice {naive * 1e6:.0f} us: {naive / choosing:.0f} times that"
    )


if __name__ == "__main__":
    main()
