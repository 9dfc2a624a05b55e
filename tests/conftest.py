"""Fixtures that every folder of tests may use, how properties are searched, and what may run side by side."""

import os
import signal
from collections.abc import Sequence

import pytest
from hypothesis import settings

pytest_plugins = ["support.models"]

# Begun in the background, a shell lets us ignore it, and our children with us: then no test can interrupt anything.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# CI searches the same examples each time, so that a red run is about the change; elsewhere the search goes on.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("here", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "here")

_ONE_BY_ONE = ("model", "network", "js")
"""Marks whose tests share something that lies outside of them: what is fetched once, or the machine's network."""


@pytest.hookimpl(tryfirst=True)  # before what looks for the groups
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Let the tests of a file run in one process, and so those that share something."""
    for item in items:
        shared = next((mark for mark in _ONE_BY_ONE if item.get_closest_marker(mark)), None)
        folder = "interop" if "interop" in item.path.parts else None
        item.add_marker(pytest.mark.xdist_group(folder or shared or str(item.path)))
