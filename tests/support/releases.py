"""A release in memory that says all that one can say, for what only reads releases."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

from samara.protocol.dsse import SigningKey
from samara.protocol.ids import ContentId, Digest, digest
from samara.protocol.records import (
    Format,
    Kind,
    Lineage,
    PublisherChain,
    Release,
    VerifiedRelease,
    make_genesis,
    make_release,
)
from samara.protocol.table import FileEntry, FileTable, content_id

__all__ = ["FULL", "made"]

_KEY = SigningKey(hashlib.sha256(b"samara test publisher").digest())
_CHAIN = PublisherChain.verify([make_genesis([_KEY])])
_PATHS = ("README.md", "sub/ö.bin", "weights.safetensors")

FULL = Release(
    kind=Kind.MODEL,
    publisher=_CHAIN.publisher,
    root=1,
    name="tiny-llama",
    version="1.0",
    issued="2026-01-02T03:04:05Z",
    content=ContentId(Digest(bytes(32))),
    bytes=0,
    files=len(_PATHS),
    license="Apache-2.0 OR LicenseRef-Gemma",
    redistribute=True,
    format=Format("safetensors", "llama", 7_000_000_000, "bf16", 8192, 15_000_000_000),
    lineage=Lineage(
        bases=("meta-llama/Llama-2-7b", "https://example.org/models/base?rev=1#x"),
        datasets=('a dataset, "quoted" & <angled>', "https://example.org/100%"),
        code=("https://example.org/code.git", "Trainer 3.1"),
    ),
    contributors=("Anna Ö.", "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"),
)
"""What the release says, but for what follows from its files."""


def made(*, bare: bool = False, **changes: Any) -> tuple[VerifiedRelease, FileTable]:
    """Return a release and its file table.

    Args:
        bare: It says nothing that it need not say.
        changes: Fields that it says otherwise.
    """
    table = FileTable.of(_entry(path) for path in _PATHS)
    said = dataclasses.replace(FULL, content=content_id(table), bytes=table.size, **changes)
    if bare:
        said = dataclasses.replace(said, license="NOASSERTION", format=Format(), lineage=Lineage(), contributors=())
    return make_release(said, table.encode(), _CHAIN, [_KEY]), table


def _entry(path: str) -> FileEntry:
    data = path.encode()
    return FileEntry(path, len(data), digest(data), hashlib.sha256(data).digest(), digest(data))
