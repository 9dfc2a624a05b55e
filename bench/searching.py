"""What a search costs: ten thousand entries of collections that are followed, and as many heads of strangers.

Beside it, in the same run, the signed lists themselves are read and looked through, as a search would that had no index
of them; each was signed anew some times, as lists are. CPU seconds of one core.
Usage: python bench/searching.py [entries]
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from measuring import ROUNDS, cpu  # noqa: E402 - the path is added above
from support.cli import Cli  # noqa: E402
from support.contents import give_home  # noqa: E402
from support.publishers import Publisher  # noqa: E402
from support.speaking import tell  # noqa: E402

from samara.node.operations.searching import SEARCH, SearchRequest  # noqa: E402
from samara.node.store.store import Store  # noqa: E402
from samara.protocol.ids import PublisherId, ReleaseId, digest  # noqa: E402
from samara.protocol.limits import MAX_COLLECTION  # noqa: E402
from samara.protocol.records import Listed, PublisherChain  # noqa: E402
from samara.protocol.trust import Ledger  # noqa: E402

GOAL = 0.35
"""Seconds for a command that only looks, as `samara ls` has."""

VERSIONS = 5
WORDS = ("word-7", "runs")


def listed(collector: int, number: int) -> Listed:
    """Return an entry like those that people write."""
    mark = digest(f"{collector} {number}".encode())
    note = f"runs well on a laptop of 4 GB, of the year {number % 30 + 1990}"
    return Listed(ReleaseId(mark), PublisherId(mark), f"model-{number}-word-{number % 100}", "1.0", note)


def collectors(entries: int) -> list[Publisher]:
    """Return publishers whose lists have so many entries together."""
    found: list[Publisher] = []
    while entries > 0:
        size = min(entries, MAX_COLLECTION)
        publisher = Publisher.of(f"collector-{len(found)}")
        for left in reversed(range(VERSIONS)):
            publisher.collect("best", [listed(len(found), number) for number in range(size - left)])
        found.append(publisher)
        entries -= size
    return found


def by_reading(publishers: list[Publisher]) -> int:
    """Read the signed lists, and look through them."""
    found = 0
    for publisher in publishers:
        ledger = Ledger.restore(PublisherChain.verify(publisher.chain.envelopes), publisher.said)
        for collection in ledger.collections.values():
            for entry in collection.said.entries:
                text = f"{entry.name} {entry.version} {entry.note} {collection.said.title}".casefold()
                found += all(word in text for word in WORDS)
    return found


def search(store: Store) -> int:
    """Search as the command does."""
    return SEARCH.answer(store, SearchRequest(WORDS, 100)).found


def main() -> None:
    """Measure, and print."""
    entries = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    print(f"{platform.machine()}, Python {platform.python_version()}; {entries} entries, and as many heads")
    publishers = collectors(entries)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        with give_home(home) as store:
            for publisher in publishers:
                store.catalogues.follow(publisher.chain.publisher, "", {})
                tell(store, publisher)
            for number in range(entries // 60):
                stranger = Publisher.of(f"stranger-{number}")
                for name in range(60):
                    stranger.publish("1", f"model-{name}-word-7-runs")
                tell(store, stranger)
            reading, searching = cpu(lambda: by_reading(publishers)), cpu(lambda: search(store))
            assert search(store) >= by_reading(publishers)
        print(f"lists read, looked through  {reading:8.3f} s")
        print(f"search                      {searching:8.3f} s   {reading / searching:6.1f} times faster")
        alone, whole = process(home, "ls"), process(home, "search", *WORDS)
        print(f"samara ls, a process        {alone:8.3f} s")
        print(f"samara search, a process    {whole:8.3f} s   {whole - alone:6.3f} s more than ls; goal {GOAL} s")


def process(home: Path, *arguments: str) -> float:
    """Return the CPU seconds of a command."""
    cli = Cli(home)
    best = float("inf")
    for _ in range(ROUNDS):
        began = _of_children()
        command = cli.command(*arguments, "--json")
        subprocess.run(command, env=cli.environment(), check=True, capture_output=True)
        best = min(best, _of_children() - began)
    return best


def _of_children() -> float:
    spent = os.times()
    return spent.children_user + spent.children_system


if __name__ == "__main__":
    main()
