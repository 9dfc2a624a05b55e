"""Finds the OpenMP library that the engine's Linux wheel needs and a minimal Debian lacks, before the import.

A library that is already in the process satisfies the engine's need by its SONAME, so one that lies anywhere will do,
also where nobody may install packages: unpack the package and name the file in SAMARA_LIBGOMP.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping
from typing import Final

from samara.protocol.errors import EngineError

__all__ = ["VARIABLE", "load_libgomp"]

VARIABLE: Final = "SAMARA_LIBGOMP"
"""Environment variable with the path of a libgomp.so.1."""

_SONAME: Final = "libgomp.so.1"
_HINT: Final = f"apt install libgomp1 (Debian, Ubuntu), or set {VARIABLE} to the path of a {_SONAME}"


def load_libgomp(environment: Mapping[str, str] = os.environ, soname: str = _SONAME) -> None:
    """Load the library into this process, for all that is loaded later.

    Args:
        environment: Where `SAMARA_LIBGOMP` may stand.
        soname: What the dynamic linker is asked for.

    Raises:
        EngineError: It is not to be found; the hint says how to get it.
    """
    if not sys.platform.startswith("linux"):
        return  # the other wheels bring their own
    try:
        ctypes.CDLL(environment.get(VARIABLE) or soname, mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise EngineError(
            f"the inference engine needs {_SONAME}, which cannot be loaded: {error}", hint=_HINT
        ) from None
