"""Reads along: what passes between the hosts of a world, message by message, and a digest of all of it.

It decodes the bytes of every stream by itself, so it knows what was really sent, whatever either end believes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from typing import Final, final

import trio

from samara.protocol.errors import RemoteProtocolError
from samara.protocol.exchange.frames import FrameReader
from samara.protocol.exchange.headers import decode
from samara.protocol.exchange.messages import PROTOCOL, Chunk, GetLog, Message, Want

__all__ = ["Wiretap"]

_SHOWN: Final = frozenset(
    {"id", "stream", "first", "count", "index", "total", "whole", "sizes", "newest", "retry_ms", "code"}
)
"""Attributes of messages that a line tells; the rest is long, or the same in every world."""


@final
class Wiretap:
    """Implements `memory_network.Watcher`.

    Args:
        tell: Is given a readable line for each event.

    Attributes:
        sent: Bytes that each host has sent.
        received: Bytes that were sent to each host.
        questions: How often each host asked for a log.
    """

    def __init__(self, tell: Callable[[str], None] | None = None) -> None:
        self._tell = tell
        self._digest = hashlib.blake2b(digest_size=16)
        self._readers: dict[tuple[int, str], FrameReader[Message] | None] = {}
        self._wants: dict[tuple[int, int], Want] = {}
        self.events = 0
        self.sent: Counter[str] = Counter()
        self.received: Counter[str] = Counter()
        self.questions: Counter[str] = Counter()

    @property
    def digest(self) -> str:
        """The digest of all events so far."""
        return self._digest.hexdigest()

    def note(self, what: str) -> None:
        """Add an event of the world's own."""
        self._add(f"* {what}", b"")

    def opened(self, number: int, dialler: str, acceptor: str, protocol: str) -> None:
        if protocol == PROTOCOL:
            self._readers[number, dialler] = FrameReader(decode)
            self._readers[number, acceptor] = FrameReader(decode)
        self._add(f"{dialler} > {acceptor} #{number} opened for {protocol}", b"")

    def moved(self, number: int, sender: str, receiver: str, data: memoryview) -> None:
        self.sent[sender] += len(data)
        self.received[receiver] += len(data)
        reader = self._readers.get((number, sender))
        if reader is None:
            self._add(f"{sender} > {receiver} #{number} {len(data)} B", data)
            return
        try:
            frames = reader.receive(data)
        except RemoteProtocolError as error:
            self._readers[number, sender] = None
            self._add(f"{sender} > {receiver} #{number} garbage: {error.message}", b"")
            return
        for message, payload in frames:
            self._saw(number, sender, receiver, message, payload)

    def _saw(self, number: int, sender: str, receiver: str, message: Message, payload: bytearray | memoryview) -> None:
        where = ""
        if isinstance(message, Want):
            self._wants[number, message.id] = message
        elif isinstance(message, GetLog):
            self.questions[sender] += 1
        elif isinstance(message, Chunk):
            want = self._wants.get((number, message.id))
            where = f" of stream {want.stream} from {want.first} on:" if want is not None else ""
        said = " ".join(f"{name}={getattr(message, name)}" for name in message.__slots__ if name in _SHOWN)
        bytes_ = f" +{len(payload)} B" if payload else ""
        self._add(f"{sender} > {receiver} #{number} {type(message).__name__}{where} {said}{bytes_}", payload)

    def _add(self, line: str, payload: bytes | bytearray | memoryview) -> None:
        line = f"{trio.current_time():10.4f}  {line}"
        self.events += 1
        self._digest.update(line.encode() + b"\n")
        self._digest.update(payload)
        if self._tell is not None:
            self._tell(line)
