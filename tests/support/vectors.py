"""Test vectors and their generators."""

from __future__ import annotations

import importlib.util
import json
import sys
from types import ModuleType
from typing import Any

from support.scripts import ROOT

__all__ = ["FOLDER", "generator", "unrun", "vectors"]

FOLDER = ROOT / "specs" / "vectors"


def vectors(name: str) -> Any:
    """Return the vectors of a file."""
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def generator(name: str) -> ModuleType:
    """Import the generator of a file afresh."""
    spec = importlib.util.spec_from_file_location(f"samara_vectors_{name}", FOLDER / f"generate_{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def unrun(said: str | list[Any]) -> bytes:
    """Return bytes that are written in hexadecimal, or as a run of one piece."""
    return bytes.fromhex(said) if isinstance(said, str) else bytes.fromhex(said[0]) * int(said[1])
