"""Sizes and rates as people write them: "512 MiB", "2 MB", "20 Mbit"."""

from __future__ import annotations

import re
from typing import Final

from samara.protocol.errors import UsageError

__all__ = ["parse_bytes"]

_UNITS: Final = {
    "": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30,
    "tib": 1 << 40, "kbit": 125, "mbit": 125_000, "gbit": 125_000_000,
}  # fmt: skip


def parse_bytes(text: str | int) -> int:
    """Return a number of bytes from "2 MB", "512MiB", "20 Mbit" or a plain number.

    Raises:
        UsageError: It is none of these.
    """
    match = re.fullmatch(r"\s*([0-9]{1,15}(?:\.[0-9]{1,3})?)\s*([a-z]{0,4})(?:/s|ps)?\s*", str(text).lower())
    if match is None or match[2] not in _UNITS:
        raise UsageError(f"{text!r} is not a size", hint="Write it like 512MiB, 2 MB or 20 Mbit.")
    return int(float(match[1]) * _UNITS[match[2]])
