"""Real contents in real stores, for tests."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from samara.node.operations.publish import PublishRequest, publish
from samara.node.settings import StoreSettings
from samara.node.store.home import Home
from samara.node.store.publish import find_files
from samara.node.store.store import Store
from samara.protocol.ids import ContentId, ReleaseId, format_record, parse_content, parse_record
from samara.protocol.ports import Records
from samara.protocol.table import FileTable


class CrashableStore(Store):
    """A store that can lose what it did not commit, as a killed process does."""

    crashed = False

    def crash(self) -> None:
        """Forget what was put and not committed, and let files and index go."""
        self.crashed = True
        self._intakes.clear()
        self._index.close()


@contextlib.contextmanager
def give_home(path: Path, *, floor: int = 0, quota: int | None = None) -> Iterator[CrashableStore]:
    """Open a writable store."""
    home = Home(path)
    home.create()
    store = CrashableStore(home, StoreSettings(floor=floor, quota=quota), writable=True)
    try:
        yield store
    finally:
        if not store.crashed:
            store.close()


@dataclass(frozen=True, slots=True)
class Source:
    """A published release."""

    root: Path
    files: tuple[str, ...]
    release: ReleaseId
    content: ContentId

    @classmethod
    def publish(
        cls,
        store: Store,
        path: Path,
        *,
        visibility: str = "public",
        allow: Sequence[str] = (),
        bases: Sequence[ReleaseId] = (),
    ) -> Source:
        """Publish what lies at `path`."""
        root, files = find_files(path)
        request = PublishRequest(str(path), license="MIT", visibility=visibility, allow=tuple(allow),
            bases=tuple(map(format_record, bases)))  # fmt: skip
        row = publish(store, request, files, root)
        names = tuple(file.path for file in files)
        return cls(root, names, ReleaseId(parse_record(row.release)), parse_content(row.content))

    def opening(self, store: Store) -> tuple[Records, list[bytes], FileTable]:
        """What an intake begins with."""
        records = store.catalog.records(self.release)
        assert records is not None
        return records, self.nodes(store, 0), store.contents.table(self.content)

    def nodes(self, store: Store, stream: int) -> list[bytes]:
        """The nodes of a stream's list."""
        return store.contents.nodes(self.content, stream)

    def chunk(self, store: Store, stream: int, index: int) -> memoryview:
        """One chunk."""
        found = store.read(self.content, stream, index, 1)
        assert found
        return found[0]


def make_source(
    store: Store, root: Path, sizes: Mapping[str, int], *, visibility: str = "public", allow: Sequence[str] = ()
) -> Source:
    """Write files of random bytes, the same for the same names, and publish them."""
    for name, size in sizes.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(name).randbytes(size))
    return Source.publish(store, root, visibility=visibility, allow=allow)


def take_all(made: Source, source: Store, target: Store, to: Path | None = None) -> str:
    """Take a whole release from one store into another, without a network."""
    intake = target.open_intake(*made.opening(source), None, to)
    try:
        for need in intake.needs():
            if not need.listed:
                need = intake.add_list(need.stream, made.nodes(source, need.stream))
            for index in need.missing:
                intake.put(need.stream, index, made.chunk(source, need.stream, index))
        return intake.finish()
    finally:
        target.close_intake(intake)
