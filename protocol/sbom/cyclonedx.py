"""A release as a CycloneDX 1.6 bill of materials (ML-BOM).

It says what the release and its file table say, and nothing else: the same release gives the same document, whoever
makes it and whenever. Claims of the publisher stay claims.

Source: specs/sbom.md; the JSON schema of CycloneDX 1.6.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from samara.protocol.ids import digest, format_content, format_record
from samara.protocol.records import NO_LICENSE, Release, VerifiedRelease
from samara.protocol.sbom.facts import format_facts, is_model, is_url, ref_of
from samara.protocol.table import FileEntry

__all__ = ["cyclonedx"]


def cyclonedx(verified: VerifiedRelease, files: Iterable[FileEntry], *, version: str) -> dict[str, object]:
    """Return the document, as plain JSON values.

    Args:
        verified: The release.
        files: Its files; none when only its records are known.
        version: Samara's own, as the tool that made the document.
    """
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": _serial_number(verified.id),
        "version": 1,
        "metadata": {
            "timestamp": verified.release.issued,
            "tools": {"components": [{"type": "application", "name": "samara", "version": version}]},
            "component": _component(verified),
        },
        "components": list(_files(verified, files)),
    }


def _component(verified: VerifiedRelease) -> dict[str, object]:
    said = verified.release
    found: dict[str, object] = {
        "type": "machine-learning-model" if is_model(said) else "data",
        "bom-ref": ref_of(verified),
        "name": said.name,
        "version": said.version,
        "publisher": format_record(said.publisher),
        "externalReferences": [{"type": "distribution", "url": ref_of(verified)}],
        "properties": list(_properties(verified)),
    }
    if said.contributors:
        found["authors"] = [{"name": name} for name in said.contributors]
    if said.license != NO_LICENSE:
        found["licenses"] = [{"expression": said.license}]
    if said.lineage.bases:
        found["pedigree"] = {"ancestors": [_named("machine-learning-model", base) for base in said.lineage.bases]}
    if is_model(said):
        found["modelCard"] = _model_card(said)
    return found


def _model_card(said: Release) -> dict[str, object]:
    parameters: dict[str, object] = {}
    if said.format.architecture is not None:
        parameters["modelArchitecture"] = said.format.architecture
    if said.lineage.datasets:
        parameters["datasets"] = [{"type": "dataset", "name": name} for name in said.lineage.datasets]
    return {"modelParameters": parameters}


def _properties(verified: VerifiedRelease) -> Iterator[dict[str, object]]:
    said = verified.release
    stated: list[tuple[str, str]] = [
        ("release", format_record(verified.id)),
        ("content", format_content(said.content)),
        ("kind", said.kind.value),
        *(("key", key) for key in verified.signers.keys),
        ("bytes", str(said.bytes)),
        ("files", str(said.files)),
        ("redistribute", "true" if said.redistribute else "false"),
        *((f"format.{name}", value) for name, value in format_facts(said)),
        *(("dataset", name) for name in said.lineage.datasets),
        *(("code", name) for name in said.lineage.code),
    ]
    return ({"name": f"samara:{name}", "value": value} for name, value in stated)


def _files(verified: VerifiedRelease, files: Iterable[FileEntry]) -> Iterator[dict[str, object]]:
    for number, file in enumerate(files, 1):
        yield {
            "type": "file",
            "bom-ref": f"{ref_of(verified)}#file-{number}",
            "name": file.path,
            "hashes": [
                {"alg": "SHA-256", "content": file.sha256.hex()},
                {"alg": "BLAKE3", "content": file.blake3.hex()},
            ],
            "properties": [{"name": "samara:bytes", "value": str(file.size)}],
        }


def _named(kind: str, text: str) -> dict[str, object]:
    found: dict[str, object] = {"type": kind, "name": text}
    if is_url(text):
        found["externalReferences"] = [{"type": "website", "url": text}]
    return found


def _serial_number(release: bytes) -> str:
    """Return a UUID of version 8 (RFC 9562 §5.8) made of the release id: the same document has the same number."""
    raw = bytearray(digest(b"samara cyclonedx 1" + release)[:16])
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return f"urn:uuid:{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
