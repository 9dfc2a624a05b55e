"""Delta packs taken apart, and put together otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from samara.protocol import deltapack
from samara.protocol.deltapack import PackEntry, PackHead

__all__ = ["split_pack", "write_pack"]


def split_pack(path: Path) -> tuple[PackHead, list[bytes]]:
    """Return the head of a pack, and its payloads."""
    data = path.read_bytes()
    size = deltapack.head_size(data[: deltapack.FIXED])
    head = deltapack.decode(data[:size], len(data))
    starts = [head.entries.offset(number) for number in range(len(head.entries))]
    return head, [data[at : at + entry.length] for at, entry in zip(starts, head.entries, strict=True)]


def write_pack(
    path: Path, head: PackHead, entries: Sequence[PackEntry], payloads: Sequence[bytes], **other: object
) -> Path:
    """Write a pack, perhaps one that says something else of its target."""
    said = {"target": head.target, "records": head.records, "table": head.table, "nodes": head.nodes, **other}
    data = deltapack.encode(base=head.base, entries=entries, **said)  # type: ignore[arg-type]
    path.write_bytes(data + b"".join(payloads))
    return path
