"""What tensors a held release has, as far as the headers of its files are here."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from samara.node.fetch.goal import is_model, names_tensor
from samara.node.operations.base import Query
from samara.node.operations.refs import find_release
from samara.node.store.catalog import HeldRelease
from samara.node.store.store import Store
from samara.protocol.errors import ModelHeaderError, NotFoundError
from samara.protocol.formats.header import shown
from samara.protocol.formats.tensors import Tensor, TensorMap
from samara.protocol.ids import ContentId, format_record
from samara.protocol.table import FileEntry

__all__ = [
    "TENSORS",
    "TensorRequest",
    "TensorRow",
    "Tensors",
    "TensorsRequest",
    "check_tensors",
    "read_tensor",
]

_COMPARED: Final = 2000
"""Names that are compared with one that is not there: more than most models have, and less than a second."""

_HINT: Final = "Fetch the headers of its files: samara tensors REF"


@dataclass(frozen=True, slots=True)
class TensorsRequest:
    """One release."""

    ref: str


@dataclass(frozen=True, slots=True)
class TensorRequest:
    """One tensor of a release, by its name."""

    ref: str
    name: str


@dataclass(frozen=True, slots=True)
class TensorRow:
    """A tensor.

    Attributes:
        name: Its name.
        dtype: How its elements are stored, as its container calls it: "BF16", "Q8_0", ….
        shape: Its lengths, in the container's order.
        file: Path of its file in the release.
        bytes: Its size.
        held: All of it is here.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: str
    bytes: int
    held: bool


@dataclass(frozen=True, slots=True)
class Tensors:
    """The tensors of a release (specs/cli.md).

    Attributes:
        release: Release id.
        name: Its name.
        tensors: Its tensors, file by file, in the order in which they lie there.
        unread: Files whose headers are not here.
    """

    release: str
    name: str
    tensors: tuple[TensorRow, ...]
    unread: tuple[str, ...]


def _tensors(store: Store, request: TensorsRequest) -> Tensors:
    held = find_release(store, request.ref)
    files = _maps(store, held)
    if not files:
        raise NotFoundError(f"no file of {held.name} has tensors that are known here", hint=_HINT)
    unread = tuple(path for _, path, found in files if found is None)
    if not unread:
        check_tensors([found for _, _, found in files if found is not None], ())
    rows = [row for stream, path, found in files for row in _rows(store, held.content, stream, path, found)]
    return Tensors(format_record(held.id), held.name, tuple(rows), unread)


def _maps(store: Store, held: HeldRelease) -> list[tuple[int, str, TensorMap | None]]:
    """Return the model files of a release, and the tensors of those whose headers are here."""
    table: Iterable[FileEntry] = store.contents.table(held.content) if store.contents.has(held.content) else ()
    return [
        (stream, entry.path, store.tensors.get(held.content, stream))
        for stream, entry in enumerate(table, 1)
        if is_model(entry.path)
    ]


def _rows(store: Store, content: ContentId, stream: int, path: str, found: TensorMap | None) -> Iterator[TensorRow]:
    chunks = store.contents.chunk_list(content, stream)
    if found is None or chunks is None:
        return
    for each in found:
        run = range(chunks.at(each.start), chunks.at(each.end - 1) + 1)
        held = store.reader.holds_all(content, stream, run)
        yield TensorRow(each.name, each.type, each.shape, path, each.end - each.start, held)


def read_tensor(store: Store, request: TensorRequest) -> tuple[str, Tensor, bytearray]:
    """Return the container of a tensor of a held release, the tensor, and its bytes, each chunk of them verified.

    Raises:
        NotFoundError: There is none of this name, or not all of it is here.
    """
    held = find_release(store, request.ref)
    files = _maps(store, held)
    for stream, _, found in files:
        if found is not None and (tensor := found.get(request.name)) is not None:
            data = store.tensors.read(held.content, stream, tensor.start, tensor.end)
            return found.container, tensor, data
    check_tensors([found for _, _, found in files if found is not None], [request.name])
    raise NotFoundError(f"there is no tensor {shown(request.name)}", hint=_HINT)


def check_tensors(maps: Sequence[TensorMap], patterns: Sequence[str]) -> None:
    """Check that there are tensors, and some for each name or pattern.

    Raises:
        ModelHeaderError: None of the files is a model.
        NotFoundError: There is no such tensor.
    """
    if not any(found.container for found in maps):
        raise ModelHeaderError("no file is a model: none has a header that can be believed", hint="Fetch it whole.")
    names = [tensor.name for found in maps for tensor in found]
    for pattern in patterns:
        if not any(names_tensor(pattern, name) for name in names):
            near = difflib.get_close_matches(pattern, names[:_COMPARED], 3, 0.4)
            raise NotFoundError(
                f"there is no tensor {shown(pattern)}",
                hint=f"There is {', '.join(near)}." if near else "See the names with samara tensors REF.",
            )


TENSORS = Query("tensors", TensorsRequest, Tensors, _tensors)
