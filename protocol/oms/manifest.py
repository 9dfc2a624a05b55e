"""What an OMS signature says: which files a model has, each with its SHA-256, and what is not looked at (oms.md §3).

`Manifest` is the statement as facts; `make_manifest` makes one of a release's files, `decode` reads what somebody
signed, `compare` holds it against what lies in a folder. No signature is made or checked here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, final

from samara.protocol import strictjson
from samara.protocol.errors import StatementError
from samara.protocol.ids import PublisherId, ReleaseId, format_record, sha256
from samara.protocol.limits import MAX_FILES, MAX_OMS_IGNORED, MAX_OMS_PAYLOAD
from samara.protocol.paths import check_path, check_set
from samara.protocol.records.fields import Fields, is_displayable

__all__ = ["ALWAYS_IGNORED", "ITSELF", "PREDICATE_TYPE", "Compared", "Made", "Manifest", "compare", "make_manifest"]

PREDICATE_TYPE: Final = "https://model_signing/signature/v1.0"
ITSELF: Final = "."
"""The name of the only file of a model that is a file, whatever it is called."""

_STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
_ALGORITHM: Final = "sha256"
_METHOD: Final = "files"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_GIT: Final = (".git", ".gitattributes", ".github", ".gitignore")
"""What `model_signing` does not look at unless it is told to."""

_NO_FILES_OF_A_MODEL: Final = (".cache/huggingface", ".samara", "model.sig")

ALWAYS_IGNORED: Final = (*_GIT, *_NO_FILES_OF_A_MODEL)
"""Ignored paths of what Samara signs, though the last three only where the model has no file there."""


@final
@dataclass(frozen=True, slots=True)
class Made:
    """Of what release the files are, as the signer says.

    Attributes:
        publisher: Whose release it is.
        release: Its id.
        signer: Whose key signs, where that is another than whose release it is.
    """

    publisher: PublisherId
    release: ReleaseId
    signer: PublisherId | None = None

    @property
    def by(self) -> PublisherId:
        """Who says that they sign."""
        return self.signer or self.publisher


@final
@dataclass(frozen=True, slots=True)
class Manifest:
    """What an OMS statement says.

    Attributes:
        name: The model's name; says nothing.
        resources: SHA-256 (32 bytes) by path, in their order, ≥ 1.
        ignored: Paths that are not looked at.
        symlinks: Whether files may be links.
        made: Of what release the files are, if it says so.
    """

    name: str
    resources: Mapping[str, bytes]
    ignored: tuple[str, ...] = ()
    symlinks: bool = False
    made: Made | None = None

    def encode(self) -> bytes:
        """Return the statement.

        Raises:
            JsonError: Something in it is outside strict JSON.
        """
        predicate: dict[str, object] = {
            "serialization": {
                "method": _METHOD,
                "hash_type": _ALGORITHM,
                "allow_symlinks": self.symlinks,
                "ignore_paths": list(self.ignored),
            },
            "resources": [
                {"name": name, "algorithm": _ALGORITHM, "digest": digest.hex()}
                for name, digest in self.resources.items()
            ],
        }
        if self.made is not None:
            predicate["samara"] = {
                "publisher": format_record(self.made.publisher),
                "release": format_record(self.made.release),
                **({"signer": format_record(self.made.signer)} if self.made.signer is not None else {}),
            }
        return strictjson.dumps(
            {
                "_type": _STATEMENT_TYPE,
                "subject": [{"name": self.name, "digest": {_ALGORITHM: self._root().hex()}}],
                "predicateType": PREDICATE_TYPE,
                "predicate": predicate,
            }
        )

    @classmethod
    def decode(cls, payload: bytes) -> Manifest:
        """Read a statement; its signature has been verified.

        Raises:
            JsonError: Not strict JSON.
            StatementError: Another kind of statement, malformed, or one that contradicts itself.
            PathError: A resource whose name no release can hold.

        Source: specs/oms.md §3.
        """
        statement = Fields(strictjson.loads(payload, max_bytes=MAX_OMS_PAYLOAD), "statement")
        statement.exactly("_type", _STATEMENT_TYPE)
        statement.exactly("predicateType", PREDICATE_TYPE)
        (only,) = statement.items("subject", most=1, least=1)
        subject = Fields(only, "subject")
        predicate = statement.group("predicate")
        ignored, symlinks = _serialization(predicate.group("serialization"))
        made = predicate.maybe("samara", predicate.group)
        found = cls(subject.text("name"), _resources(predicate), ignored, symlinks, made and _made(made))
        if found._root().hex() != subject.group("digest").match(_ALGORITHM, _DIGEST):
            raise StatementError("subject: the digest is not that of the resources")
        for name in found.resources:
            if found.ignores(name):
                raise StatementError(f"{name!a} is both a resource and an ignored path")
        return found

    def ignores(self, path: str) -> bool:
        """Return whether a path is not looked at."""
        return any(_is_below(path, ignored) for ignored in self.ignored)

    def _root(self) -> bytes:
        return sha256(b"".join(self.resources.values()))


@final
@dataclass(frozen=True, slots=True)
class Compared:
    """How a folder stands against a manifest; all is right when nothing is wrong, missing or unsigned.

    Attributes:
        wrong: Files with other bytes.
        missing: Resources that are not there.
        unsigned: Files that no resource names.
        ignored: How many files were passed over.
    """

    wrong: tuple[str, ...]
    missing: tuple[str, ...]
    unsigned: tuple[str, ...]
    ignored: int

    @property
    def ok(self) -> bool:
        """Whether the folder is what was signed."""
        return not (self.wrong or self.missing or self.unsigned)


def make_manifest(
    name: str,
    files: Iterable[tuple[str, bytes]],
    *,
    signature: str | None = None,
    symlinks: bool = False,
    made: Made | None = None,
) -> Manifest:
    """Return the manifest of some files, as Samara writes it.

    Args:
        name: The release's name.
        files: Path and SHA-256 (32 bytes) of each, in any order.
        signature: Path of the signature file, if it will lie in the folder.
        symlinks: Whether files there are links.
        made: Of what release they are.

    Raises:
        StatementError: All of them are ignored paths.

    Source: specs/oms.md §3, "Written".
    """
    known = dict(sorted(files, key=lambda file: file[0].split("/")))
    ignored = {*_GIT, *(path for path in _NO_FILES_OF_A_MODEL if not any(_is_below(file, path) for file in known))}
    if signature is not None:
        ignored.add(signature)
    resources = {file: digest for file, digest in known.items() if not any(_is_below(file, path) for path in ignored)}
    if not resources:
        raise StatementError("there is no file that OMS looks at", hint="All of them belong to git, which it ignores.")
    return Manifest(name, resources, tuple(sorted(ignored)), symlinks, made)


def compare(manifest: Manifest, found: Mapping[str, bytes]) -> Compared:
    """Hold a manifest against files.

    Args:
        manifest: What was signed.
        found: SHA-256 (32 bytes) by path, of all files but the signature file.
    """
    if ITSELF in manifest.resources and len(found) == 1:
        found = dict.fromkeys([ITSELF], *found.values())
    looked_at = {path: digest for path, digest in found.items() if not manifest.ignores(path)}
    signed = manifest.resources
    return Compared(
        wrong=tuple(path for path, digest in signed.items() if path in looked_at and looked_at[path] != digest),
        missing=tuple(path for path in signed if path not in looked_at),
        unsigned=tuple(path for path in looked_at if path not in signed),
        ignored=len(found) - len(looked_at),
    )


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")


def _serialization(fields: Fields) -> tuple[tuple[str, ...], bool]:
    fields.exactly("method", _METHOD)
    fields.exactly("hash_type", _ALGORITHM)
    symlinks = fields.flag("allow_symlinks")
    listed = fields.items("ignore_paths", MAX_OMS_IGNORED) if "ignore_paths" in fields else []
    return tuple(_ignored(path) for path in listed), symlinks


def _ignored(path: object) -> str:
    # Not a path of a release: .samara is none. But `.` or `..` would hide whatever was added.
    if not isinstance(path, str) or not is_displayable(path) or not {"", ".", ".."}.isdisjoint(path.split("/")):
        raise StatementError(f"ignore_paths: {ascii(path)[:80]} is no path below the folder")
    return path


def _resources(predicate: Fields) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for item in predicate.items("resources", MAX_FILES, least=1):
        fields = Fields(item, "resource")
        fields.exactly("algorithm", _ALGORITHM)
        name = fields.get("name")
        if not isinstance(name, str):
            raise StatementError("resource: name: expected a path")
        if name != ITSELF:
            check_path(name)
        if name in found:
            raise StatementError(f"the resource {name!a} is there twice")
        found[name] = bytes.fromhex(fields.match("digest", _DIGEST))
    if ITSELF not in found:
        check_set(found)
    elif len(found) > 1:
        raise StatementError("a model that is one file has another file")
    return found


def _made(fields: Fields) -> Made:
    signer = fields.maybe("signer", fields.record_id)
    return Made(
        PublisherId(fields.record_id("publisher")),
        ReleaseId(fields.record_id("release")),
        PublisherId(signer) if signer is not None else None,
    )
