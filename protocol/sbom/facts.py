"""What both kinds of bills of materials say alike."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Final

from samara.protocol.ids import format_record
from samara.protocol.records import Kind, Release, VerifiedRelease

__all__ = ["format_facts", "is_model", "is_url", "ref_of"]

# What a schema takes for a URL for sure: a host, and none of the characters that a URL must escape.
_URL: Final = re.compile(r"https?://[A-Za-z0-9][A-Za-z0-9._:-]*(?:/[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]*)?")
_STRAY_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


def ref_of(verified: VerifiedRelease) -> str:
    """Return the URI of a release: its link, with nothing but its id."""
    return f"samara:{format_record(verified.id)}"


def is_model(release: Release) -> bool:
    """Return whether it is a model, or a part of one that is no use alone."""
    return release.kind in (Kind.MODEL, Kind.ADAPTER)


def is_url(text: str) -> bool:
    """Return whether a text of a lineage is a URL, and not an id or a name."""
    return _URL.fullmatch(text) is not None and _STRAY_PERCENT.search(text) is None and text.count("#") <= 1


def format_facts(release: Release) -> Iterator[tuple[str, str]]:
    """Yield what the publisher says of the files' format: name and value, as text."""
    for name, value in dataclasses.asdict(release.format).items():
        if value is not None:
            yield name, str(value)
