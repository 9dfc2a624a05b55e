"""Releases: the signed claim about a content (specs/records.md §5).

`Release` is what the predicate says; `VerifiedRelease` is a release whose signatures, publisher and fields are right.
What a release says of its file table is not true until `check_table` and `check_facts` have passed: they need the
table.
"""

from __future__ import annotations

import builtins
import dataclasses
import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, final

from samara.protocol.dsse import Signer
from samara.protocol.errors import StatementError, TableError
from samara.protocol.ids import ContentId, PublisherId, ReleaseId, format_content, format_record
from samara.protocol.limits import MAX_CONTRIBUTORS, MAX_FILE, MAX_FILES, MAX_TABLE, MAX_TEXT
from samara.protocol.records.delegation import NO_DELEGATIONS, Delegations, check_authority, read_delegated
from samara.protocol.records.entry import formatted, given
from samara.protocol.records.fields import NAME, VERSION, Fields
from samara.protocol.records.head import VerifiedHead
from samara.protocol.records.root import PublisherChain
from samara.protocol.records.signers import Signers
from samara.protocol.records.statement import Opened, Subject, open_record, seal

__all__ = [
    "NO_LICENSE",
    "RELEASE_TYPE",
    "Format",
    "Kind",
    "Lineage",
    "Release",
    "VerifiedRelease",
    "Visibility",
    "make_release",
    "verify_release_envelope",
]

RELEASE_TYPE: Final = "urn:samara:release:1"
NO_LICENSE: Final = "NOASSERTION"
"""What a release says of its licence when nobody knows it (SPDX)."""

_SUBJECT: Final = "file-table"
_LICENSE: Final = re.compile(rf"(?! )[A-Za-z0-9.+:() -]{{1,{MAX_TEXT}}}(?<! )")
_KNOWN: Final = frozenset(
    {"critical", "kind", "publisher", "root", "name", "version", "issued", "content", "bytes", "files", "license"}
    | {"redistribute", "visibility", "format", "lineage", "contributors", "delegation"}
)


class Kind(enum.Enum):
    """What was released."""

    MODEL = "model"
    DATASET = "dataset"
    ADAPTER = "adapter"
    COLLECTION = "collection"
    DELTA = "delta"


class Visibility(enum.Enum):
    """Who may know of a release; a holder may tighten it, never loosen it. From loose to tight."""

    PUBLIC = "public"
    UNLISTED = "unlisted"
    PRIVATE = "private"


@final
@dataclass(frozen=True, slots=True)
class Format:
    """What the publisher says of the files. Claims: the header of a file decides.

    Attributes:
        container: `gguf`, `safetensors`, `parquet`, …
        architecture: `llama`, `qwen2`, …
        parameters: Count.
        quantization: `Q4_K_M`, `bf16`, …
        context_length: Tokens.
        memory_bytes: Bytes of memory that running it needs.
    """

    container: str | None = None
    architecture: str | None = None
    parameters: int | None = None
    quantization: str | None = None
    context_length: int | None = None
    memory_bytes: int | None = None


@final
@dataclass(frozen=True, slots=True)
class Lineage:
    """Where it came from: release ids, URLs, or names used elsewhere.

    Attributes:
        bases: Models that it was made from.
        datasets: Data that it was trained on.
        code: What made it.
    """

    bases: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    code: tuple[str, ...] = ()


@final
@dataclass(frozen=True, slots=True)
class Release:
    """What a release says.

    Attributes:
        kind: What it is.
        publisher: Who releases it.
        root: Version of the root under which it is signed.
        name: Its name, unique with `version` by the publisher's word only.
        version: Its version.
        issued: `YYYY-MM-DDTHH:MM:SSZ`.
        content: Root of the file table.
        bytes: Sum of the sizes of all files.
        files: How many files, ≥ 1.
        license: SPDX expression, or `NOASSERTION`.
        redistribute: Whether others may pass it on, by the publisher's word.
        visibility: Who may know of it.
        format: What the publisher says of the files.
        lineage: Where it came from.
        contributors: People or keys, as text.
        delegation: Record id of the delegation under which it is signed, or None: by the publisher's own keys.
    """

    kind: Kind
    publisher: PublisherId
    root: int
    name: str
    version: str
    issued: str
    content: ContentId
    bytes: int
    files: int
    license: str = NO_LICENSE
    redistribute: bool = False
    visibility: Visibility = Visibility.PUBLIC
    format: Format = field(default_factory=Format)
    lineage: Lineage = field(default_factory=Lineage)
    contributors: tuple[str, ...] = ()
    delegation: builtins.bytes | None = None

    def says_the_same(self, other: Release) -> bool:
        """Return whether both say the same facts, whenever issued and under whichever root or delegation."""
        return dataclasses.replace(self, issued=other.issued, root=other.root, delegation=other.delegation) == other


@final
@dataclass(frozen=True, slots=True)
class VerifiedRelease:
    """A release that is signed by its publisher and says nothing malformed.

    Attributes:
        id: Record id of the release.
        payload: The exact bytes that were signed.
        release: What it says.
        subject: Digests of the file table.
        signers: Who signed, and how they stand.
        publisher: The verified chain it was checked against.
        envelope: The envelope as received.
        head: A head that came along and names this release; its own signers may be retired.
    """

    id: ReleaseId
    payload: bytes
    release: Release
    subject: Subject
    signers: Signers
    publisher: PublisherChain
    envelope: bytes
    head: VerifiedHead | None = None

    def check_table(self, table: bytes) -> None:
        """Check that these bytes are the file table that was signed.

        Raises:
            TableError: They are not, or are longer than `MAX_TABLE`.

        Source: specs/records.md §5, 5.
        """
        if len(table) > MAX_TABLE:
            raise TableError(f"a file table of {len(table)} bytes: at most {MAX_TABLE}")
        if not self.subject.matches(table):
            raise TableError(f"the file table is not the one that release {format_record(self.id)} names")

    def check_facts(self, *, content: ContentId, total: int, files: int) -> None:
        """Check what the release says of its table against the table itself.

        Args:
            content: Root of the table's chunk list, as computed here.
            total: Sum of the sizes of all files, in bytes.
            files: How many files.

        Raises:
            StatementError: The release says something else.

        Source: specs/records.md §5, 5.
        """
        said = self.release
        if said.content != content:
            raise StatementError(
                f"the release says content {format_content(said.content)}: {format_content(content)} is"
            )
        if (said.bytes, said.files) != (total, files):
            raise StatementError(
                f"the release says {said.files} files of {said.bytes} bytes: its table has {files} of {total}"
            )


def make_release(
    release: Release,
    table: bytes,
    publisher: PublisherChain,
    keys: Sequence[Signer],
    delegations: Delegations = NO_DELEGATIONS,
) -> VerifiedRelease:
    """Sign a release and verify the result, so that nothing is given out that others would refuse.

    Args:
        release: What it shall say.
        table: The bytes of the file table.
        publisher: The publisher's chain; `release.publisher` and `release.root` belong to it.
        keys: Enough keys of that root, or of the delegation that the release names.
        delegations: What is known of the publisher's delegations.

    Returns:
        The release as others will see it; `envelope` is what to store and to send.

    Raises:
        RecordError: A field is out of bounds, or the keys may not sign it.
    """
    sealed = seal(Subject.of(_SUBJECT, table), RELEASE_TYPE, _predicate(release), keys)
    return verify_release_envelope(sealed, publisher, delegations)


def verify_release_envelope(
    envelope: bytes, publisher: PublisherChain, delegations: Delegations = NO_DELEGATIONS
) -> VerifiedRelease:
    """Verify a release against its publisher's chain.

    Args:
        envelope: The bytes as received.
        publisher: The verified chain of its publisher.
        delegations: What is known of that publisher's delegations.

    Raises:
        RecordError: One of its subclasses; which one for what, is in the spec.

    Source: specs/records.md §5, 2 and 3.
    """
    opened = open_record(envelope, RELEASE_TYPE, _KNOWN)
    release = _read(opened)
    signers = check_authority(
        opened,
        publisher,
        delegations,
        publisher=release.publisher,
        root=release.root,
        name=release.name,
        issued=release.issued,
        delegation=release.delegation,
        what="the release",
    )
    return VerifiedRelease(ReleaseId(opened.id), opened.payload, release, opened.subject, signers, publisher, envelope)


def _read(opened: Opened) -> Release:
    if opened.subject.name != _SUBJECT:
        raise StatementError(f"release: the subject is not named {_SUBJECT!r}")
    fields = opened.fields
    return Release(
        kind=fields.choice("kind", Kind),
        publisher=PublisherId(fields.record_id("publisher")),
        root=fields.integer("root", 1),
        name=fields.match("name", NAME),
        version=fields.match("version", VERSION),
        issued=fields.time("issued"),
        content=fields.content_id("content"),
        bytes=fields.integer("bytes", 0, MAX_FILE),
        files=fields.integer("files", 1, MAX_FILES),
        license=fields.match("license", _LICENSE),
        redistribute=fields.flag("redistribute"),
        visibility=fields.choice("visibility", Visibility),
        format=_read_format(fields.group("format")),
        lineage=_read_lineage(fields.group("lineage")),
        contributors=fields.texts("contributors", MAX_CONTRIBUTORS),
        delegation=read_delegated(opened),
    )


def _read_format(fields: Fields) -> Format:
    return Format(
        container=fields.maybe("container", fields.text),
        architecture=fields.maybe("architecture", fields.text),
        parameters=fields.maybe("parameters", fields.integer),
        quantization=fields.maybe("quantization", fields.text),
        context_length=fields.maybe("context_length", fields.integer),
        memory_bytes=fields.maybe("memory_bytes", fields.integer),
    )


def _read_lineage(fields: Fields) -> Lineage:
    return Lineage(fields.texts("bases"), fields.texts("datasets"), fields.texts("code"))


def _predicate(release: Release) -> dict[str, object]:
    return {
        "critical": [] if release.delegation is None else ["delegation"],
        "kind": release.kind.value,
        "publisher": format_record(release.publisher),
        "root": release.root,
        "name": release.name,
        "version": release.version,
        "issued": release.issued,
        "content": format_content(release.content),
        "bytes": release.bytes,
        "files": release.files,
        "license": release.license,
        "redistribute": release.redistribute,
        "visibility": release.visibility.value,
        "format": {name: value for name, value in dataclasses.asdict(release.format).items() if value is not None},
        "lineage": {name: list(texts) for name, texts in dataclasses.asdict(release.lineage).items()},
        "contributors": list(release.contributors),
        **given(delegation=formatted(release.delegation)),
    }
