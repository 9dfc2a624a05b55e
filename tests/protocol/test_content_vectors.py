"""The committed vectors are what their generator makes, and the generated Unicode table too."""

from __future__ import annotations

import runpy
import unicodedata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / "specs" / "vectors"


def test_the_generator_makes_the_committed_vectors() -> None:
    made: dict[str, str] = runpy.run_path(str(VECTORS / "generate_content.py"))["generate"]()
    committed = {path.name: path.read_text() for path in (VECTORS / "content").glob("*.json")}
    assert committed.keys() - made.keys() == {"gear.json"}
    for name, text in made.items():
        assert committed[name] == text, f"{name}: run specs/vectors/generate_content.py"


@pytest.mark.skipif(unicodedata.unidata_version != "14.0.0", reason="generated with the Unicode of Python 3.11")
def test_the_generator_makes_the_unicode_table() -> None:
    made = runpy.run_path(str(VECTORS / "generate_unicode14.py"))["generate"]()
    assert (ROOT / "protocol" / "_unicode14.py").read_text() == made
