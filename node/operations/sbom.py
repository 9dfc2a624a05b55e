"""sbom: a release as a bill of materials that other tools read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from samara import __version__
from samara.node.operations.base import Query
from samara.node.operations.refs import find_release
from samara.node.store.store import Store
from samara.protocol.errors import UsageError
from samara.protocol.ids import format_record
from samara.protocol.sbom import cyclonedx, spdx

__all__ = ["FORMATS", "SBOM", "Sbom", "SbomRequest"]

FORMATS: Final = {"cyclonedx": cyclonedx, "spdx": spdx}


@dataclass(frozen=True, slots=True)
class SbomRequest:
    """One release.

    Attributes:
        ref: Which.
        format: cyclonedx or spdx.
    """

    ref: str
    format: str = "cyclonedx"


@dataclass(frozen=True, slots=True)
class Sbom:
    """A bill of materials.

    Attributes:
        release: Release id.
        format: cyclonedx or spdx.
        files: Files that it names; 0 when only the records are here.
        document: The document: JSON in ASCII, ends in a line feed.
    """

    release: str
    format: str
    files: int
    document: str


def _sbom(store: Store, request: SbomRequest) -> Sbom:
    if request.format not in FORMATS:
        raise UsageError(f"{request.format!r} is no format", hint=f"One of: {', '.join(FORMATS)}.")
    held = find_release(store, request.ref)
    verified = store.verified(held.id)
    files = list(store.contents.table(held.content)) if store.contents.has(held.content) else []
    document = FORMATS[request.format](verified, files, version=__version__)
    return Sbom(format_record(held.id), request.format, len(files), json.dumps(document, indent=2) + "\n")


SBOM = Query("sbom", SbomRequest, Sbom, _sbom)
