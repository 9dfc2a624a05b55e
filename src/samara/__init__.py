"""Samara: a peer-to-peer network for AI models and dataset shards."""

import os.path as _path
from typing import TYPE_CHECKING as _TYPE_CHECKING

if _TYPE_CHECKING:
    from samara.cli.models import open_model

__all__ = ["__version__", "open_model"]

__version__ = "0.1.0"

# A checkout without symbolic links (git on Windows writes text files in their place): the folders lie two levels up.
if not _path.isdir(_path.join(__path__[0], "protocol")):
    __path__.append(_path.dirname(_path.dirname(__path__[0])))


def __getattr__(name: str) -> object:
    """Return what costs something to import, when it is asked for."""
    if name == "open_model":
        from samara.cli.models import open_model

        return open_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
