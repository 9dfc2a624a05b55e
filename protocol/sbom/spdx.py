"""A release as an SPDX 3.0.1 document in JSON-LD, with the profiles for AI and datasets.

It says what the release and its file table say, and nothing else: the same release gives the same document, whoever
makes it and whenever. What nobody stated is NoAssertion.

Source: specs/sbom.md; SPDX 3.0.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, final

from samara.protocol.ids import format_content, format_record
from samara.protocol.records import NO_LICENSE, Kind, VerifiedRelease
from samara.protocol.sbom.facts import format_facts, is_model, is_url, ref_of
from samara.protocol.table import FileEntry

__all__ = ["spdx"]

_CONTEXT: Final = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"
_NO_LICENSE: Final = "https://spdx.org/rdf/3.0.1/terms/ExpandedLicensing/NoAssertionLicense"
_CREATION: Final = "_:creation"
_PURPOSES: Final = {Kind.MODEL: "model", Kind.ADAPTER: "model", Kind.DELTA: "patch"}
"""What a package is for; of any other kind it is data."""

Element = dict[str, object]


def spdx(verified: VerifiedRelease, files: Iterable[FileEntry], *, version: str) -> dict[str, object]:
    """Return the document, as plain JSON values.

    Args:
        verified: The release.
        files: Its files; none when only its records are known.
        version: Samara's own, as the tool that made the document.
    """
    return {"@context": _CONTEXT, "@graph": _Graph(verified, version).whole(files)}


@final
class _Graph:
    """The elements of one document, in the order in which they refer to each other."""

    def __init__(self, verified: VerifiedRelease, version: str) -> None:
        self._verified = verified
        self._said = verified.release
        self._ref = ref_of(verified)
        self._version = version
        self._elements: list[Element] = []
        self._relationships = 0

    def whole(self, files: Iterable[FileEntry]) -> list[Element]:
        said = self._said
        creator = self._add("Agent", "publisher", name=format_record(said.publisher), externalIdentifier=self._keys())
        tool = self._add("Tool", "tool", name=f"samara {self._version}")
        people = [self._add("Agent", f"contributor-{n}", name=name) for n, name in enumerate(said.contributors, 1)]
        package = self._package(creator, people)
        self._relate("contains", package, [self._file(n, file) for n, file in enumerate(files, 1)])
        self._licenses(package)
        self._lineage(package)
        document = self._document(package)
        creation: Element = {
            "type": "CreationInfo",
            "@id": _CREATION,
            "specVersion": "3.0.1",
            "created": said.issued,
            "createdBy": [creator],
            "createdUsing": [tool],
        }
        return [creation, document, *self._elements]

    def _package(self, creator: str, people: Sequence[str]) -> str:
        said = self._said
        kind, more = "software_Package", Element()
        if is_model(said):
            kind = "ai_AIPackage"
            if said.format.architecture is not None:
                more["ai_typeOfModel"] = [said.format.architecture]
            if facts := [_entry(name, value) for name, value in format_facts(said)]:
                more["ai_hyperparameter"] = facts
        elif said.kind is Kind.DATASET:
            kind = "dataset_DatasetPackage"
            more |= {"dataset_datasetType": ["noAssertion"], "builtTime": said.issued}
        return self._add(
            kind,
            "",
            name=said.name,
            software_packageVersion=said.version,
            software_downloadLocation=self._ref,
            software_primaryPurpose=_PURPOSES.get(said.kind, "data"),
            suppliedBy=creator,
            originatedBy=[creator, *people],
            releaseTime=said.issued,
            externalIdentifier=[
                _identifier(format_record(self._verified.id), "release id"),
                _identifier(format_content(said.content), "content id"),
            ],
            **more,
        )

    def _file(self, number: int, file: FileEntry) -> str:
        hashes = [_hash("sha256", file.sha256), _hash("blake3", file.blake3)]
        return self._add("software_File", f"file-{number}", name=file.path, verifiedUsing=hashes)

    def _licenses(self, package: str) -> None:
        declared = _NO_LICENSE
        if self._said.license != NO_LICENSE:
            declared = self._add(
                "simplelicensing_LicenseExpression",
                "license",
                simplelicensing_licenseExpression=self._said.license,
            )
        self._relate("hasDeclaredLicense", package, [declared])
        self._relate("hasConcludedLicense", package, [_NO_LICENSE])

    def _lineage(self, package: str) -> None:
        lineage = self._said.lineage
        bases = [self._named("base", n, text, "model") for n, text in enumerate(lineage.bases, 1)]
        datasets = [self._named("dataset", n, text, "data") for n, text in enumerate(lineage.datasets, 1)]
        code = [self._named("code", n, text, "source") for n, text in enumerate(lineage.code, 1)]
        trained = "trainedOn" if is_model(self._said) else "descendantOf"
        self._relate("descendantOf", package, bases)
        self._relate(trained, package, datasets)
        for one in code:
            self._relate("generates", one, [package])

    def _named(self, what: str, number: int, text: str, purpose: str) -> str:
        more: Element = {"software_downloadLocation": text} if is_url(text) else {}
        return self._add("software_Package", f"{what}-{number}", name=text, software_primaryPurpose=purpose, **more)

    def _document(self, package: str) -> Element:
        profiles = ["core", "software", "simpleLicensing"]
        if is_model(self._said):
            profiles.append("ai")
        elif self._said.kind is Kind.DATASET:
            profiles.append("dataset")
        return {
            "type": "SpdxDocument",
            "spdxId": f"{self._ref}#spdx",
            "creationInfo": _CREATION,
            "name": f"{self._said.name} {self._said.version}",
            "rootElement": [package],
            "element": [element["spdxId"] for element in self._elements],
            "profileConformance": profiles,
        }

    def _keys(self) -> list[Element]:
        return [_identifier(key, "Ed25519 key that signed the release") for key in self._verified.signers.keys]

    def _add(self, kind: str, part: str, **values: object) -> str:
        spdx_id = f"{self._ref}#{part}" if part else self._ref
        self._elements.append({"type": kind, "spdxId": spdx_id, "creationInfo": _CREATION, **values})
        return spdx_id

    def _relate(self, kind: str, one: str, others: Sequence[str]) -> None:
        if others:
            self._relationships += 1
            part = f"relationship-{self._relationships}"
            self._add("Relationship", part, relationshipType=kind, to=list(others), **{"from": one})


def _hash(algorithm: str, value: bytes) -> Element:
    return {"type": "Hash", "algorithm": algorithm, "hashValue": value.hex()}


def _entry(key: str, value: str) -> Element:
    return {"type": "DictionaryEntry", "key": key, "value": value}


def _identifier(text: str, comment: str) -> Element:
    return {"type": "ExternalIdentifier", "externalIdentifierType": "other", "identifier": text, "comment": comment}
