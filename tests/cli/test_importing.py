"""Importing without the collector: it rests meanwhile, goes on afterwards, and leaves alone what was there."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

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
