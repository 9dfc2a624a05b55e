"""Names and small formats on a stick (specs/stick.md §3).

Pure: it makes and reads names and bytes, and touches no file. Names of files come from a verified table; of what is
found on a stick only labels are taken, and they are checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from samara.protocol import limits, strictjson
from samara.protocol.errors import CriticalError, JsonError, LinkError, PathError, StickError
from samara.protocol.ids import ReleaseId, format_record, parse_record
from samara.protocol.paths import check_path, fold
from samara.protocol.records import VerifiedRelease
from samara.protocol.table import FileEntry, FileTable

__all__ = [
    "LOGS",
    "MARK",
    "README",
    "README_TEXT",
    "RELEASES",
    "TOP",
    "Commit",
    "FileNames",
    "Part",
    "ReleaseNames",
    "encode_mark",
    "is_label",
    "is_mark",
    "label_of",
    "split",
    "sums_of",
]

TOP: Final = "samara"
MARK: Final = f"{TOP}/stick.json"
README: Final = f"{TOP}/README.txt"
RELEASES: Final = f"{TOP}/releases"
LOGS: Final = f"{TOP}/records"

_MARK_FORMAT: Final = "samara-stick"
_COMMIT_FORMAT: Final = "samara-release"
_VERSION: Final = 1
_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,254}")
_END: Final = 16
"""Characters of a release id in a label: 80 bits; the first characters of all ids are the same."""

README_TEXT: Final = """\
This folder holds AI models or datasets, carried by Samara.

USE THEM
  The files in "files" are plain files. Copy them, open them with what you have.
  A file over 4 GB is cut into parts, .000 .001 and so on. To join them:
    Linux, macOS:  cat model.gguf.* > model.gguf
    Windows:       copy /b model.gguf.000+model.gguf.001 model.gguf

CHECK THEM
  With Samara, which verifies every byte and says who published it:
    samara import FOLDER        (FOLDER is where the folder "samara" is)
  Without, in the folder of a release below "files":
    sha256sum -c ../../releases/NAME/sha256.txt
  (that finds damage, but not a forgery: only Samara checks signatures)

  A folder below "releases" without complete.json is a copy that was cut off.
""".replace("\n", "\r\n")


@dataclass(frozen=True, slots=True)
class Part:
    """A file of the stick that holds a run of bytes of one file.

    Attributes:
        path: Where, below the stick's folder.
        size: Bytes.
    """

    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Commit:
    """What a commit record says.

    Attributes:
        release: Which release lies there.
        roots: How many roots, ≥ 1.
        head: There is a head.
        nodes: Bytes of the nodes, each with its length before it.
        part_size: Bytes of a part of a split file.
    """

    release: ReleaseId
    roots: int
    head: bool
    nodes: int
    part_size: int

    def encode(self) -> bytes:
        """Return the bytes of `complete.json`."""
        return _encode(
            _COMMIT_FORMAT,
            release=format_record(self.release),
            roots=self.roots,
            head=self.head,
            nodes=self.nodes,
            part_size=self.part_size,
        )

    @classmethod
    def decode(cls, data: bytes) -> Commit | None:
        """Parse a commit record; None when it is none, as after a cut-off export.

        Raises:
            StickError: Fields are malformed or out of bounds, or it is of a newer version.
            CriticalError: It has a critical field that is not known.

        Source: specs/stick.md §3.2.
        """
        fields = _decode(data, _COMMIT_FORMAT, {"release", "roots", "head", "nodes", "part_size"})
        if fields is None:
            return None
        release, head = fields.get("release"), fields.get("head")
        if not isinstance(release, str) or not isinstance(head, bool):
            raise StickError("a commit record without a release, or without a word on its head")
        try:
            identity = ReleaseId(parse_record(release))
        except LinkError as error:
            raise StickError(f"the commit record names no release: {error.message}") from None
        return cls(
            identity,
            _number(fields, "roots", 1, limits.MAX_ROOT_CHAIN),
            head,
            _number(fields, "nodes", 1, limits.MAX_FILE),
            _number(fields, "part_size", limits.MIN_STICK_PART, limits.MAX_STICK_PART),
        )


@dataclass(frozen=True, slots=True)
class ReleaseNames:
    """Where the things of one release lie.

    Attributes:
        label: Its label.
    """

    label: str

    @property
    def folder(self) -> str:
        """What belongs to the release but its files."""
        return f"{RELEASES}/{self.label}"

    @property
    def files(self) -> str:
        """The folder of its files."""
        return f"{TOP}/files/{self.label}"

    @property
    def commit(self) -> str:
        """The commit record."""
        return f"{self.folder}/complete.json"

    @property
    def release(self) -> str:
        """The release's envelope."""
        return f"{self.folder}/release.json"

    @property
    def head(self) -> str:
        """The head's envelope."""
        return f"{self.folder}/head.json"

    @property
    def table(self) -> str:
        """The file table."""
        return f"{self.folder}/table"

    @property
    def nodes(self) -> str:
        """The chunk-list nodes, before they are split."""
        return f"{self.folder}/nodes"

    @property
    def sums(self) -> str:
        """SHA-256 of the files, as `sha256sum -c` reads them."""
        return f"{self.folder}/sha256.txt"

    def root(self, number: int) -> str:
        """The envelope of a root, counted from 1."""
        return f"{self.folder}/root-{number:03}.json"


class FileNames:
    """Which parts the files of a release consist of.

    Args:
        names: The release's.
        table: Its file table.
        part_size: Bytes of a part.
    """

    def __init__(self, names: ReleaseNames, table: FileTable, part_size: int) -> None:
        self._names = names
        self._part_size = part_size
        # Only what is split can clash, so that a table of a million small files costs nothing here.
        self._taken = _taken(table) if any(entry.size > part_size for entry in table) else frozenset()

    def parts(self, stream: int, entry: FileEntry) -> list[Part]:
        """Return the parts of a file, in order.

        Raises:
            StickError: There would be more than a stick may have.

        Source: specs/stick.md §3.3.
        """
        whole = f"{self._names.files}/{entry.path}"
        if entry.size <= self._part_size:
            return [Part(whole, entry.size)]
        beside = split(entry.path, entry.size, self._part_size)
        if all(self._is_free(part.path) for part in beside):
            return split(whole, entry.size, self._part_size)
        return split(f"{self._names.folder}/parts/{stream}", entry.size, self._part_size)

    def _is_free(self, path: str) -> bool:
        try:
            check_path(path)
        except PathError:
            return False
        return fold(path) not in self._taken


def split(path: str, size: int, part_size: int) -> list[Part]:
    """Return the parts of a file of `size` bytes; the file itself when it is small enough.

    Raises:
        StickError: There would be more than a stick may have.
    """
    if size <= part_size:
        return [Part(path, size)]
    count = -(-size // part_size)
    if count > limits.MAX_STICK_PARTS:
        raise StickError(f"{path} would have {count} parts: at most {limits.MAX_STICK_PARTS} are possible")
    sizes = [part_size] * (count - 1) + [size - part_size * (count - 1)]
    return [Part(f"{path}.{number:03}", size) for number, size in enumerate(sizes)]


def label_of(release: VerifiedRelease) -> str:
    """Return the name of a release on a stick.

    Source: specs/stick.md §3.1.
    """
    said = release.release
    label = f"{said.name}-{said.version}-{format_record(release.id)[-_END:]}"
    return label if is_label(label) else f"release-{label}"


def is_label(text: str) -> bool:
    """Whether a name found on a stick is a label."""
    try:
        check_path(text)
    except PathError:
        return False
    return _LABEL.fullmatch(text) is not None


def encode_mark() -> bytes:
    """Return the bytes of `stick.json`."""
    return _encode(_MARK_FORMAT)


def is_mark(data: bytes) -> bool:
    """Whether these bytes say that a folder is a stick's; False when they are something else, or cut short.

    Raises:
        StickError: It is a stick of a newer version.
        CriticalError: It has a critical field that is not known.
    """
    return _decode(data, _MARK_FORMAT, frozenset()) is not None


def sums_of(table: FileTable, names: FileNames) -> Iterator[bytes]:
    """Yield the lines of `sha256.txt`, in blocks; a split file is a comment, which `sha256sum -c` skips."""
    lines: list[str] = []
    for stream, entry in enumerate(table, 1):
        mark = "# in parts: " if len(names.parts(stream, entry)) > 1 else ""
        lines.append(f"{mark}{entry.sha256.hex()}  {entry.path}\n")
        if len(lines) == 1024:
            yield "".join(lines).encode()
            lines.clear()
    yield "".join(lines).encode()


def _taken(table: Iterable[FileEntry]) -> frozenset[str]:
    taken: set[str] = set()
    for entry in table:
        path = fold(entry.path)
        while path and path not in taken:
            taken.add(path)
            path = path.rpartition("/")[0]
    return frozenset(taken)


def _encode(form: str, **fields: object) -> bytes:
    return strictjson.dumps({"critical": [], "format": form, "version": _VERSION, **fields})


def _decode(data: bytes, form: str, known: Iterable[str]) -> dict[str, object] | None:
    """Parse a small record; None when it is no JSON object of this format at all."""
    try:
        value = strictjson.loads(data, max_bytes=limits.MAX_STICK_MARK)
    except JsonError:
        return None
    if not isinstance(value, dict) or value.get("format") != form:
        return None
    version = value.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < _VERSION:
        return None
    if version > _VERSION:
        raise StickError(f"this stick has version {version} of {form}", hint="Install a newer Samara.")
    critical = value.get("critical")
    if not isinstance(critical, list) or not all(isinstance(name, str) for name in critical):
        raise StickError(f"{form}: critical is not a list of names")
    if unknown := _unknown(critical, known):
        raise CriticalError(f"{form}: critical field {unknown[:80]!a} is not known", hint="Install a newer Samara.")
    return value


def _unknown(critical: Sequence[str], known: Iterable[str]) -> str:
    names = {"critical", "format", "version", *known}
    return next((name for name in critical if name not in names), "")


def _number(fields: dict[str, object], name: str, least: int, most: int) -> int:
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise StickError(f"the commit record's {name} is not a number from {least} to {most}")
    return value
