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
    """

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        self._line = _Rate(None)
        self._codec = _Rate(_CODEC)

    @property
    def pays(self) -> bool:
        """Whether to encode what is sent next; not before the first bytes have shown how fast the line is."""
        if self._encode is not Encode.AUTO:
            return self._encode is Encode.ALWAYS
        line, codec = self._line.mean, self._codec.mean
        return line is not None and codec is not None and codec >= _MARGIN * line

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
