"""The vectors of specs/encodings.md, for the code and for the reference that reads off the page."""

from __future__ import annotations

from typing import Any

import pytest
from support import naive_encodings as naive
from support.vectors import FOLDER, generator, unrun, vectors

from samara.protocol import errors
from samara.protocol.encodings.codec import decode
from samara.protocol.encodings.frames import head

ROWS = vectors("encodings.json")["vectors"]


def _rows(key: str) -> pytest.MarkDecorator:
    rows = [row for row in ROWS if key in row]
    assert rows
    return pytest.mark.parametrize("row", rows, ids=[row["name"] for row in rows])


def _asked(row: dict[str, Any]) -> tuple[int, bytes, int, bytes | None]:
    base = unrun(row["base"]) if "base" in row else None
    return row["encoding"], unrun(row["payload"]), row["length"], base


@_rows("raw")
def test_what_is_decoded(row: dict[str, Any]) -> None:
    assert decode(*_asked(row)) == unrun(row["raw"])
    assert naive.decode(*_asked(row)) == unrun(row["raw"])


@_rows("error")
def test_what_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(errors.class_named(row["error"])) as told:
        decode(*_asked(row))
    assert errors.name_of(told.value) == row["error"]
    with pytest.raises(naive.Broken):
        naive.decode(*_asked(row))


def test_names_are_told_apart() -> None:
    assert len({row["name"] for row in ROWS}) == len(ROWS)


def test_the_generator_writes_what_is_committed() -> None:
    assert generator("encodings").make() == (FOLDER / "encodings.json").read_text("utf-8")


@pytest.mark.parametrize("n", [1, 255, 256, 65_791, 65_792, 1 << 20])
def test_a_frame_begins_as_the_generator_says(n: int) -> None:
    assert head(n) == generator("encodings").opening(n) == naive.fresh_header(n)
