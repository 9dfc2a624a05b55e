"""The table of operations is whole: every operation that there is, each under its own name and imported on demand."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

from samara.cli import stick
from samara.cli.operations import Operations
from samara.node import operations
from samara.node.operations.base import Operation, Query

OF_COMMANDS = {"key agent", "key backup", "key words", "key roots"}
"""Queries that only commands ask, in their own process: they show what no door should give away, or read keys."""


def test_every_operation_is_there_under_its_name() -> None:
    modules = [
        importlib.import_module(f"{operations.__name__}.{each.name}")
        for each in pkgutil.iter_modules(operations.__path__)
    ]
    defined = {
        value.name: value
        for module in [*modules, stick]
        for value in vars(module).values()
        if isinstance(value, Operation | Query)
    }
    table = Operations()
    assert set(defined) - set(table) == OF_COMMANDS
    assert len(table) > 60
    for name, found in table.items():
        assert found.name == name
        assert isinstance(defined[name], Query) or found is defined[name]


def test_an_operation_is_imported_when_it_is_asked_for() -> None:
    code = (
        "import sys; from samara.cli.here import run_here; from samara.cli.operations import Operations\n"
        "table, lazy = Operations(), lambda: sum(m.startswith('samara.node.operations.') for m in sys.modules)\n"
        "before = lazy(); table['fetch']; after = lazy(); table.load(); print(before, after, lazy())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    before, after, loaded = map(int, done.stdout.split())
    assert before < 5
    assert after < 10
    assert loaded > 20
