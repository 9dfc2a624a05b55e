"""What a publisher is told of parquet files, and that it never keeps a file from being published."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from support.contents import give_home
from support.parquet import parquet_file

from samara.node.operations.advice import parquet_advice
from samara.node.operations.publish import PublishRequest, publish
from samara.node.store.publish import find_files
from samara.protocol.formats.parquet import Page

FIXED = parquet_file([[Page(1024 * 128, 1 << 20, 0)] * 6])
CONTENT = parquet_file([[Page(size, 8 * size, 0) for size in (50_113, 80_456, 70_001, 91_234, 64_719, 9)]])


def write(root: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def test_it_is_said_once_with_the_count(tmp_path: Path) -> None:
    root = write(tmp_path / "data", {f"part-{n}.parquet": FIXED for n in range(3)} | {"good.parquet": CONTENT})
    with give_home(tmp_path / "home") as store:
        place, files = find_files(root)
        row = publish(store, PublishRequest(str(root), license="MIT"), files, place)
    (advice,) = row.warnings
    assert advice.startswith("3 of 4 parquet files look not content-defined")
    assert "use_content_defined_chunking=True" in advice


def test_one_is_one(tmp_path: Path) -> None:
    _, files = find_files(write(tmp_path, {"Only.PARQUET": FIXED}))
    assert [advice[:42] for advice in parquet_advice(files)] == ["1 of 1 parquet files looks not content-def"]


@pytest.mark.parametrize(
    "files",
    [
        {"a.parquet": CONTENT, "b.jsonl": FIXED},
        {"broken.parquet": FIXED[:-9], "empty.parquet": b"", "text.parquet": b"PAR1 is what it begins with"},
    ],
)
def test_what_is_right_or_no_parquet_is_no_reason_for_advice(tmp_path: Path, files: Mapping[str, bytes]) -> None:
    _, found = find_files(write(tmp_path, files))
    assert parquet_advice(found) == []


def test_a_file_that_cannot_be_read_is_left_to_the_rest_of_publish(tmp_path: Path) -> None:
    _, found = find_files(write(tmp_path, {"a.parquet": FIXED}))
    (tmp_path / "a.parquet").unlink()
    assert parquet_advice(found) == []


def test_of_many_files_some_are_looked_at(tmp_path: Path) -> None:
    _, found = find_files(write(tmp_path, {f"{n:03}.parquet": FIXED for n in range(100)}))
    (advice,) = parquet_advice(found)
    assert advice.startswith("64 of 64 parquet files that were looked at, of 100, look not content-defined")
