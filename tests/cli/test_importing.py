"""Importing without the collector: it rests, goes on afterwards, and leaves alone what was there; and no threads."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from samara.cli.importing import importing


class Ring:
    """Refers to itself, so that only the collector can let it go."""

    def __init__(self) -> None:
        self.ring = self


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_the_collector_rests_and_goes_on() -> None:
    with importing():
        assert not gc.isenabled()
        known = weakref.ref(Ring())
    assert gc.isenabled()
    gc.collect()
    assert known() is not None, "what is there after it is not looked at"
    later = weakref.ref(Ring())
    gc.collect()
    assert later() is None


def test_it_goes_on_after_a_module_that_cannot_be_imported() -> None:
    with pytest.raises(ImportError), importing():
        raise ImportError
    assert gc.isenabled()


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted by what Linux tells of them")
def test_numpy_starts_no_threads() -> None:
    code = (
        "import os; from samara.cli.importing import importing\n"
        "with importing(): import numpy\n"
        "print(len(os.listdir('/proc/self/task')))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["1"]
