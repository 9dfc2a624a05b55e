"""Importing much at once, without Python's collector of garbage cycles.

What a command imports lives as long as the process. The collector does not know that: while modules are made it looks
through all of them again and again, and once more at the end, which together is a quarter of the processor time that a
small fetch takes.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

__all__ = ["importing"]


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Let the collector rest while a block imports, and never look at what is there after it."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
