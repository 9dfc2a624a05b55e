"""Names that every system takes, and no others; the answer is that of Unicode 14 on every Python."""

from __future__ import annotations

import json
import sys
import unicodedata
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from support import reference

from samara.protocol import errors
from samara.protocol._unicode14 import is_character
from samara.protocol.errors import PathError
from samara.protocol.paths import check_path, check_set, fold

VECTORS: dict[str, Any] = json.loads((reference.VECTORS / "paths.json").read_text())
CHARACTERS = [code for code in range(sys.maxunicode + 1) if is_character(code)]
FOLDS = "8e7d8098b78ddba618eb7fd88b3eacd2786b9916e9e7333e8ac819da7be8f38f"
"""BLAKE3 of the folded form of each character of Unicode 14, in order, a line each: the same on every Python."""


@pytest.mark.parametrize("path", VECTORS["good"])
def test_good_paths(path: str) -> None:
    check_path(path)
    check_set([path])


@pytest.mark.parametrize("vector", VECTORS["bad"], ids=[vector["name"] for vector in VECTORS["bad"]])
def test_bad_paths(vector: dict[str, Any]) -> None:
    with pytest.raises(getattr(errors, vector["error"])) as caught:
        check_path(vector["path"])
    assert str(caught.value).isprintable()
    assert caught.value.hint


@pytest.mark.parametrize("paths", VECTORS["good_sets"])
def test_good_sets(paths: list[str]) -> None:
    check_set(paths)
    check_set(reversed(paths))


@pytest.mark.parametrize("vector", VECTORS["bad_sets"], ids=[vector["name"] for vector in VECTORS["bad_sets"]])
def test_bad_sets(vector: dict[str, Any]) -> None:
    for paths in (vector["paths"], vector["paths"][::-1]):
        with pytest.raises(getattr(errors, vector["error"])):
            check_set(paths)


def test_the_table_is_unicode_14() -> None:
    """All later versions agree on what they did not add; the version itself agrees on everything."""
    exact = unicodedata.unidata_version == "14.0.0"
    for code in range(sys.maxunicode + 1):
        there = unicodedata.category(chr(code)) not in ("Cn", "Co", "Cs")
        assert is_character(code) == there if exact else is_character(code) <= there, hex(code)
    assert len(CHARACTERS) == 144_762


def test_folding_is_the_same_on_every_python() -> None:
    folds = "\n".join(fold(chr(code)) for code in CHARACTERS)
    assert blake3(folds.encode()).hexdigest() == FOLDS


@given(st.text(max_size=30))
def test_any_text_is_a_path_or_a_path_error(text: str) -> None:
    try:
        check_path(text)
    except PathError:
        return
    assert unicodedata.is_normalized("NFC", text)
    assert ".." not in text.split("/")
    assert not set(text) & set('\\:?*|"<>\0\n')
    assert len(text.encode()) <= 1024


NAMES = st.lists(st.sampled_from(["a", "A", "b", "é", "É"]), min_size=1, max_size=3).map("/".join)


@given(st.lists(NAMES, max_size=4))
def test_sets_are_the_slow_reference(paths: list[str]) -> None:
    """Create them one by one on a disk that folds names and keeps how they were first spelled."""
    disk: dict[str, tuple[str, bool]] = {}
    clash = False
    for path in paths:
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            name, is_file = "/".join(parts[:depth]), depth == len(parts)
            before = disk.setdefault(name.casefold(), (name, is_file))
            first = sum(1 for other in paths if other == path) == 1
            clash |= before != (name, is_file) or (is_file and not first)
    if clash:
        with pytest.raises(PathError):
            check_set(paths)
    else:
        check_set(paths)


def test_many_paths_are_checked_quickly() -> None:
    check_set(f"data/part-{number % 100}/shard-{number}.parquet" for number in range(100_000))
