"""Fixtures that every folder of tests may use, and how properties are searched."""

import os

from hypothesis import settings

pytest_plugins = ["support.models"]

# CI searches the same examples each time, so that a red run is about the change; elsewhere the search goes on.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("here", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "here")
