"""What the readers of model headers share: the facts they find, a bounded window over the file, and text that is safe.

A header is a claim by a stranger, and the loaders behind it were not written for strangers: `gguf` hangs on a file of
49 bytes, llama.cpp aborts the process on a wrong count, safetensors takes two tensors of one name. So these readers
come first, always. They never hold more than one window of the file, never run longer than the named limits allow,
never follow a length before it was held against the bytes that are there, and raise `ModelHeaderError` for whatever is
wrong.

They decide nothing about chunks: that rule is frozen apart (`samara.protocol.chunking`), so that it can stay as it is
when this one learns a new quantization.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

from samara.protocol.errors import ModelHeaderError
from samara.protocol.limits import KIB, MAX_SHOWN_TEXT

__all__ = ["Each", "HeaderReader", "ModelFacts", "ReadAt", "is_plain", "shown"]

ReadAt = Callable[[int, int], bytes]
"""`read_at(offset, length)` returns the bytes of the file there; fewer only when the file ends."""

Each = Callable[[str, str, tuple[int, ...], int, int], None]
"""Is told of each tensor: name, type, shape as the file has it, and where in the data it begins and ends."""

WINDOW: Final = 256 * KIB
"""Bytes that are read at once and held."""

_U64: Final = struct.Struct("<Q")

# Control characters and surrogates, and what is invisible or able to reorder what stands around it, on a terminal or a
# page: zero-width and bidirectional marks, line and paragraph separators, the byte order mark. Fixed code points, so
# that every Python judges alike.
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)


@final
@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a model's header says, after it was held against the tensors that are there. None: it does not say.

    Attributes:
        container: "gguf" or "safetensors".
        header_bytes: Bytes before the first tensor.
        tensors: How many tensors the file has.
        tensor_bytes: Bytes of all tensors, without padding.
        parameters: Elements of all tensors.
        quantization: Such as "Q4_K_M" or "BF16"; None without tensors.
        architecture: Such as "llama".
        name: What the model calls itself, made safe to show.
        license: What the header says of the licence, made safe to show; a claim, not an SPDX expression.
        context_length: Tokens that it was trained for.
        layers: Transformer blocks.
        embedding_length: Width of a token's vector.
        feed_forward_length: Width of the widest feed-forward layer.
        heads: Attention heads of the layer that has most.
        kv_heads: Key-value heads of the layer that has most.
        head_dim: Elements of one head's key.
        kv_elements: Elements that one token of context adds to the key-value cache, over all layers.
        vocab_size: Tokens of the vocabulary.
        chat_template: It brings a chat template.
        shard: Number of this file in a split model, from 0.
        shards: Files of the model; 1 when it is not split.
        last_block: Highest block number among the tensor names, or None.
    """

    container: str
    header_bytes: int
    tensors: int
    tensor_bytes: int
    parameters: int
    quantization: str | None = None
    architecture: str | None = None
    name: str | None = None
    license: str | None = None
    context_length: int | None = None
    layers: int | None = None
    embedding_length: int | None = None
    feed_forward_length: int | None = None
    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    kv_elements: int | None = None
    vocab_size: int | None = None
    chat_template: bool = False
    shard: int = 0
    shards: int = 1
    last_block: int | None = None


@final
class HeaderReader:
    """Reads a header from front to back through one window, and never past its end.

    Args:
        read_at: Reads the file.
        size: Bytes of the file.
        limit: Bytes that a header may have.
        start: Where the header begins.
    """

    def __init__(self, read_at: ReadAt, size: int, limit: int, start: int = 0) -> None:
        self._read_at = read_at
        self._end = min(size, start + limit)
        self._is_cut = size > self._end
        self._window = b""
        self._base = start  # offset of the window in the file
        self._next = 0  # what is read next, from the window's start; may lie behind it after a skip

    @property
    def position(self) -> int:
        """Offset in the file of what is read next."""
        return self._base + self._next

    def require(self, length: int, what: str) -> None:
        """Refuse when fewer than `length` bytes are left.

        Raises:
            ModelHeaderError: The header ends before, by its limit or with the file.
        """
        if length > self._end - self.position:
            why = "the limit of a header" if self._is_cut else "the end of the file"
            raise ModelHeaderError(
                f"{what} at byte {self.position} runs {length} bytes, past {why} at byte {self._end}"
            )

    def take(self, length: int, what: str) -> bytes:
        """Return the next `length` bytes.

        Raises:
            ModelHeaderError: The header ends before.
        """
        if self._next + length > len(self._window):
            self._fill(length, what)
        start = self._next
        self._next += length
        return self._window[start : self._next]

    def skip(self, length: int, what: str) -> None:
        """Pass over `length` bytes without reading them.

        Raises:
            ModelHeaderError: The header ends before.
        """
        self.require(length, what)
        self._next += length

    def skip_strings(self, count: int, what: str) -> None:
        """Pass over `count` strings, each behind its u64 length: the one loop that a vocabulary of 262,144 needs fast.

        Raises:
            ModelHeaderError: A string runs past the end.
        """
        unpack, window, at = _U64.unpack_from, self._window, self._next
        for _ in range(count):
            if at + 8 > len(window):
                self._next = at
                self._fill(8, what)
                window, at = self._window, self._next
            length = unpack(window, at)[0]
            at += 8 + length
            if self._base + at > self._end:
                self._next = at - length
                self.require(length, what)
        self._next = at

    def _fill(self, length: int, what: str) -> None:
        self.require(length, what)
        start = self.position
        wanted = min(max(length, WINDOW), self._end - start)
        self._window = bytes(self._read_at(start, wanted))
        if len(self._window) != wanted:
            raise ModelHeaderError(f"the file ends at byte {start + len(self._window)}, inside its header")
        self._base, self._next = start, 0


def is_plain(text: str) -> bool:
    """Tell whether `text` has neither control characters nor surrogates nor invisible or reordering marks."""
    return _UNSAFE.search(text) is None


def shown(text: str, limit: int = MAX_SHOWN_TEXT) -> str:
    """Return `text` as it may be shown: unsafe characters escaped as in Python, at most `limit` characters of it."""
    safe = _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text[:limit])
    return safe + "…" if len(text) > limit else safe
