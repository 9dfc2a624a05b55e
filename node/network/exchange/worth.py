"""Whether encoding chunks for one peer pays: the line's speed against the codec's, both as they were measured."""

from __future__ import annotations

import enum
from typing import Final, final

__all__ = ["Encode", "Worth"]

_LEAST: Final = 1 << 18
"""Bytes of a sample: what is smaller is gone before a slow line is felt."""

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
        self._line: float | None = None  # bytes a second
        self._codec: float | None = None

    @property
    def pays(self) -> bool:
        """Whether to encode what is sent next; it is tried while nothing is known."""
        if self._encode is not Encode.AUTO:
            return self._encode is Encode.ALWAYS
        return self._line is None or self._codec is None or self._codec >= _MARGIN * self._line

    def sent(self, size: int, seconds: float) -> None:
        """Take note that so many bytes were sent in so many seconds."""
        if size >= _LEAST:
            self._line = _mean(self._line, size / max(seconds, 1e-6))

    def encoded(self, size: int, seconds: float) -> None:
        """Take note that chunks of so many bytes were read and encoded in so many seconds."""
        if size >= _LEAST:
            self._codec = _mean(self._codec, size / max(seconds, 1e-6))


def _mean(mean: float | None, sample: float) -> float:
    return sample if mean is None else mean + _SMOOTH * (sample - mean)
