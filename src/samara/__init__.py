"""Samara: a peer-to-peer network for AI models and dataset shards."""

import os.path as _path

__version__ = "0.1.0"

# A checkout without symbolic links (git on Windows writes text files in their place): the folders lie two levels up.
if not _path.isdir(_path.join(__path__[0], "protocol")):
    __path__.append(_path.dirname(_path.dirname(__path__[0])))
