"""What a publisher could do better, seen from the files: said once, and never an error."""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Sequence
from typing import Final

from samara.node.store.files import os_errors, read_some
from samara.node.store.publish import SourceFile
from samara.protocol.errors import SamaraError
from samara.protocol.formats.parquet import Cut, how_cut, read_parquet

__all__ = ["parquet_advice"]

_LOOKED_AT: Final = 64
"""Parquet files that are looked at, evenly spread: one writer wrote them all, mostly, and each takes some 100 reads."""


def parquet_advice(files: Sequence[SourceFile]) -> list[str]:
    """Return advice on parquet files whose pages do not end where the content says so. Blocks."""
    found = [file for file in files if file.path.lower().endswith(".parquet")]
    count = min(len(found), _LOOKED_AT)
    looked_at = [found[n * len(found) // count] for n in range(count)]
    cuts = Counter(_how_cut(file) for file in looked_at)
    if not (fixed := cuts[Cut.FIXED]):
        return []
    of_all = "" if count == len(found) else f" that were looked at, of {len(found)},"
    among = f"{fixed} of {count} parquet files{of_all}"
    return [
        f"{among} {'looks' if fixed == 1 else 'look'} not content-defined: a row that is inserted or removed in the"
        " next version changes all pages after it, and they are fetched again. Write them with pyarrow 21 or later and"
        " use_content_defined_chunking=True, and only what changed is fetched."
    ]


def _how_cut(file: SourceFile) -> Cut:
    with (
        contextlib.suppress(SamaraError),
        os_errors(f"cannot read {file.real}"),
        open(file.real, "rb", buffering=0) as opened,
    ):
        return how_cut(read_parquet(functools.partial(read_some, opened.fileno()), file.size))
    return Cut.UNKNOWN
