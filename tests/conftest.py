"""Fixtures that every folder of tests may use, and how properties are searched."""

import os
import signal

from hypothesis import settings

pytest_plugins = ["support.models"]

# Begun in the background, a shell lets us ignore it, and our children with us: then no test can interrupt anything.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# CI searches the same examples each time, so that a red run is about the change; elsewhere the search goes on.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("here", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "here")
