"""Importing much at once, without Python's collector of garbage cycles, and without threads that nobody asked for.

What a command imports lives as long as the process. The collector does not know that: while modules are made it looks
through all of them again and again, and once more at the end, which together is a quarter of the processor time that a
small fetch takes.

numpy's linear algebra, which nothing here uses, starts a thread for each processor when it is imported, and each looks
for work for a twentieth of a second of processor time.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator

__all__ = ["importing"]


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Let the collector rest while a block imports, and never look again at what it made; numpy starts no threads."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
