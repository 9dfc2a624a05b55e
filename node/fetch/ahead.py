"""What came ahead with the records: nodes of chunk lists and chunks of the file table that nobody has asked for yet.

An object is known by its hash alone. So nothing is believed because of who sent it or where it stood, what does not
belong to the release is never found, and a peer that sends such has wasted what it was asked for and nothing more.

Source: specs/exchange.md, "GET_RECORDS → RECORDS, AHEAD".
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Final, final

from samara.node.fetch.goal import Goal
from samara.node.network.exchange.client import ExchangeClient
from samara.protocol import limits
from samara.protocol.ids import Digest, digest

__all__ = ["Ahead", "Held"]

Held = Callable[[Digest], bytes | None]
"""Returns an object by its hash, if it is here already."""

_TABLE: Final = 64 * limits.KIB
"""Bytes that are asked for where only some lists are wanted, since some files are, or most lists are here of what it
replaces: mostly the table, and the lists of a few files."""


@final
class Ahead:
    """The objects that came ahead in one fetch.

    Args:
        most: Bytes that a peer is asked for, and that are kept; 0 for none.
    """

    def __init__(self, most: int = 0) -> None:
        self._most = most
        self._asking = False
        self._giver: ExchangeClient | None = None
        self._objects: dict[Digest, bytes] = {}

    @classmethod
    def of(cls, goal: Goal) -> Ahead:
        """Make one for what is to be fetched."""
        in_part = goal.include or goal.quantization or goal.tensors is not None or goal.replaces is not None
        return cls(_TABLE if in_part else limits.MAX_AHEAD)

    @contextlib.contextmanager
    def asking(self, client: ExchangeClient) -> Iterator[int]:
        """Yield how many bytes the next peer is asked for: 0 while another one is being asked.

        Many are asked for the records at once, and each copy but the first would be waste. Who is asked next, since the
        one before had no records, begins anew.
        """
        if self._asking:
            yield 0
            return
        self._asking, self._giver = True, client
        self._objects.clear()
        try:
            yield self._most
        finally:
            self._asking = False

    def take(self, data: memoryview) -> None:
        """Keep an object; after `drop` it comes too late."""
        if self._most:
            self._objects[digest(data)] = bytes(data)

    def find(self, name: Digest) -> bytes | None:
        """Return an object by its hash, if it came; who sent it has given something right."""
        found = self._objects.get(name)
        if found is not None and self._giver is not None:
            self._giver.has_given = True
        return found

    def before(self, held: Held) -> Held:
        """Return what looks here first, and elsewhere after that."""
        return lambda name: self.find(name) or held(name)

    def drop(self) -> None:
        """Let go of all: nothing more is looked for, or asked."""
        self._most = 0
        self._giver = None
        self._objects.clear()
