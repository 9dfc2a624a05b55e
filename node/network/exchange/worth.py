"""Whether encoding chunks for one peer pays: the line's speed against the codec's, both as they were measured."""

from __future__ import annotations

import enum
from typing import Final, final

__all__ = ["Encode", "Worth"]

_LEAST: Final = 1 << 18
"""Bytes of a sample at least: what is smaller is gone before a slow line is felt."""

_ENOUGH: Final = 1 << 22
"""Bytes of a sample that needs no time: one moment in which its other end was busy does not make a fast line slow. Over
loopback chunks of a GiB were encoded now and then for it, which took 4 % more CPU."""

_LASTS: Final = 0.1
"""Seconds after which fewer bytes are a sample, too: a slow line is told from a fast one by then."""

_CODEC: Final = 4e8
"""Bytes a second that the codec is taken for until it was measured."""

_LARGE: Final = 1 << 12
"""Bytes of a chunk that is encoded although nobody knows the line yet: smaller ones come in thousands, and cost more
for each byte."""

_SMOOTH: Final = 0.3
"""Weight of a new sample."""

_MARGIN: Final = 1.25
"""The codec must be so many times as fast as the line: it takes a core that others may want."""


@final
class Encode(enum.StrEnum):
    """When chunks are encoded."""

    AUTO = enum.auto()
    ALWAYS = enum.auto()
    NEVER = enum.auto()


@final
class Worth:
    """The judgement of one session.

    Args:
        encode: What the user says.
        near: Both ends are on one machine: the line is taken for a fast one.
    """

    def __init__(self, encode: Encode, *, near: bool) -> None:
        self._encode = encode
        self._near = near
        self._line = _Rate(None)
        self._codec = _Rate(_CODEC)

    @property
    def least(self) -> int | None:
        """Bytes of a chunk from which on to encode what is sent next; None encodes none of it."""
        if self._encode is not Encode.AUTO:
            return 0 if self._encode is Encode.ALWAYS else None
        line, codec = self._line.mean, self._codec.mean
        if line is None or codec is None:
            return None if self._near else _LARGE
        return 0 if codec >= _MARGIN * line else None

    def sent(self, size: int, seconds: float) -> None:
        """Take note that so many bytes were sent in so many seconds."""
        self._line.add(size, seconds)

    def encoded(self, size: int, seconds: float) -> None:
        """Take note that chunks of so many bytes were read and encoded in so many seconds."""
        self._codec.add(size, seconds)


@final
class _Rate:
    """A mean of bytes a second, from samples of some size."""

    def __init__(self, mean: float | None) -> None:
        self.mean = mean
        self._size = 0
        self._seconds = 0.0

    def add(self, size: int, seconds: float) -> None:
        self._size += size
        self._seconds += seconds
        if self._size >= (_LEAST if self._seconds >= _LASTS else _ENOUGH):
            sample = self._size / max(self._seconds, 1e-6)
            self.mean = sample if self.mean is None else self.mean + _SMOOTH * (sample - self.mean)
            self._size, self._seconds = 0, 0.0
