"""The RPCs of gossipsub: what two peers say to each other on its streams.

The messages are libp2p's, of which only what this node acts on is read. A walk over the fields counts them, so that an
RPC costs no more than its bounds allow. Messages name nobody: one that does is counted, and not returned.

Source: libp2p pubsub specification, gossipsub v1.0 and v1.1; specs/gossip.md, "Protocol".
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from blake3 import blake3

from samara.protocol.errors import RemoteProtocolError
from samara.protocol.limits import GOSSIP_BACKOFF, GOSSIP_BACKOFF_MOST, MAX_GOSSIP_PARTS, MAX_GOSSIP_TOPIC
from samara.protocol.wire import bytes_field, fields, number_field

__all__ = ["ID_BYTES", "MESHSUB", "Message", "Rpc", "decode_rpc", "encode_message", "encode_rpc", "message_id"]

MESHSUB: Final = ("/meshsub/1.1.0", "/meshsub/1.0.0")
"""The protocols, the preferred one first."""

ID_BYTES: Final = 32

_SUBSCRIPTIONS, _PUBLISH, _CONTROL = 1, 2, 3
_SUBSCRIBE, _TOPIC_ID = 1, 2
_FROM, _DATA, _SEQNO, _TOPIC, _SIGNATURE, _KEY = range(1, 7)
_IHAVE, _IWANT, _GRAFT, _PRUNE = range(1, 5)
_OF_TOPIC, _IDS, _WANTED, _BACKOFF = 1, 2, 1, 3
_NAMES: Final = frozenset({_FROM, _SEQNO, _SIGNATURE, _KEY})
_LENGTH: Final = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Message:
    """What is told in a topic.

    Attributes:
        topic: Which.
        data: What.
    """

    topic: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Rpc:
    """All that a peer says in one go.

    Attributes:
        subscriptions: Topics, and whether the peer follows each from now on.
        messages: What it tells or passes on.
        ihave: Topics, and the ids of messages that it has.
        iwant: Ids of messages that it wants.
        graft: Topics into whose mesh it takes us.
        prune: Topics out of whose mesh it puts us, and for how many seconds at least.
        named: How many messages were left out because they name somebody, or have not one topic.
        parts: How many parts it had, read or not.
    """

    subscriptions: Mapping[str, bool] = field(default_factory=dict)
    messages: tuple[Message, ...] = ()
    ihave: tuple[tuple[str, tuple[bytes, ...]], ...] = ()
    iwant: tuple[bytes, ...] = ()
    graft: tuple[str, ...] = ()
    prune: Mapping[str, float] = field(default_factory=dict)
    named: int = 0
    parts: int = 0


def message_id(topic: str, data: bytes) -> bytes:
    """Return the id of a message: everybody must make the same.

    Source: specs/gossip.md, "Protocol", 2.
    """
    text = topic.encode()
    return blake3(_LENGTH.pack(len(text)) + text + data).digest()


def encode_message(topic: str, data: bytes) -> bytes:
    """Return an RPC that has one message and nothing else."""
    return bytes_field(_PUBLISH, bytes_field(_DATA, data) + bytes_field(_TOPIC, topic.encode()))


def encode_rpc(rpc: Rpc, *, backoffs: bool = True) -> bytes:
    """Return an RPC; empty when nothing is said.

    Args:
        rpc: What is said.
        backoffs: Whether the peer knows backoffs (gossipsub 1.1).
    """
    out = bytearray()
    for topic, follows in rpc.subscriptions.items():
        # An absent field would be false; others write it all the same.
        flag = number_field(_SUBSCRIBE, 1) if follows else b"\x08\x00"
        out += bytes_field(_SUBSCRIPTIONS, flag + bytes_field(_TOPIC_ID, topic.encode()))
    for message in rpc.messages:
        out += encode_message(message.topic, message.data)
    control = b"".join(_controls(rpc, backoffs=backoffs))
    if control:
        out += bytes_field(_CONTROL, control)
    return bytes(out)


def _controls(rpc: Rpc, *, backoffs: bool) -> Iterator[bytes]:
    for topic, ids in rpc.ihave:
        yield bytes_field(_IHAVE, bytes_field(_OF_TOPIC, topic.encode()) + _ids(_IDS, ids))
    if rpc.iwant:
        yield bytes_field(_IWANT, _ids(_WANTED, rpc.iwant))
    for topic in rpc.graft:
        yield bytes_field(_GRAFT, bytes_field(_OF_TOPIC, topic.encode()))
    for topic, seconds in rpc.prune.items():
        backoff = number_field(_BACKOFF, round(seconds)) if backoffs else b""
        yield bytes_field(_PRUNE, bytes_field(_OF_TOPIC, topic.encode()) + backoff)


def _ids(number: int, ids: Iterable[bytes]) -> bytes:
    return b"".join(bytes_field(number, one) for one in ids)


def decode_rpc(data: bytes) -> Rpc:
    """Return what a peer says; `data` is at most `MAX_GOSSIP_RPC` bytes.

    What is of no use is left out: topics that cannot be ours for their length, ids that are none.

    Raises:
        RemoteProtocolError: It is no such message, or has more than `MAX_GOSSIP_PARTS` parts.
    """
    reader = _Reader()
    for number, value in fields(data):
        if number == _SUBSCRIPTIONS:
            reader.subscription(reader.part(value))
        elif number == _PUBLISH:
            reader.message(reader.part(value))
        elif number == _CONTROL:
            reader.control(reader.part(value))
        else:
            reader.count()
    return reader.rpc()


class _Reader:
    """What was read so far of one RPC."""

    def __init__(self) -> None:
        self._parts = 0
        self._named = 0
        self._subscriptions: dict[str, bool] = {}
        self._messages: list[Message] = []
        self._ihave: list[tuple[str, tuple[bytes, ...]]] = []
        self._iwant: list[bytes] = []
        self._graft: list[str] = []
        self._prune: dict[str, float] = {}

    def rpc(self) -> Rpc:
        return Rpc(
            self._subscriptions,
            tuple(self._messages),
            tuple(self._ihave),
            tuple(self._iwant),
            tuple(self._graft),
            self._prune,
            self._named,
            self._parts,
        )

    def count(self) -> None:
        self._parts += 1
        if self._parts > MAX_GOSSIP_PARTS:
            raise RemoteProtocolError(f"an RPC of more than {MAX_GOSSIP_PARTS} parts")

    def part(self, value: int | bytes) -> bytes:
        self.count()
        if not isinstance(value, bytes):
            raise RemoteProtocolError("a number where a message of gossipsub should be")
        return value

    def subscription(self, data: bytes) -> None:
        follows, topic = False, None
        for number, value in fields(data):
            if number == _SUBSCRIBE and isinstance(value, int):
                follows = bool(value)
            elif number == _TOPIC_ID:
                topic = _topic(value)
        if topic is not None:
            self._subscriptions[topic] = follows

    def message(self, data: bytes) -> None:
        topics: list[str | None] = []
        content, names = b"", False
        for number, value in fields(data):
            names |= number in _NAMES
            if number == _DATA and isinstance(value, bytes):
                content = value
            elif number == _TOPIC:
                self.count()
                topics.append(_topic(value))
        if names or len(topics) != 1:
            self._named += 1
        elif topics[0] is not None:
            self._messages.append(Message(topics[0], content))

    def control(self, data: bytes) -> None:
        for number, value in fields(data):
            part = self.part(value)
            if number == _IHAVE:
                topic, ids = self._listed(part, _IDS)
                if topic is not None and ids:
                    self._ihave.append((topic, ids))
            elif number == _IWANT:
                self._iwant += self._listed(part, _WANTED)[1]
            elif number == _GRAFT:
                topic = self._listed(part, 0)[0]
                if topic is not None:
                    self._graft.append(topic)
            elif number == _PRUNE:
                self._pruned(part)

    def _listed(self, data: bytes, ids_in: int) -> tuple[str | None, tuple[bytes, ...]]:
        """Return the topic of a control message, and the ids in the field of that number."""
        topic, ids = None, []
        for number, value in fields(data):
            if number == ids_in:
                self.count()
                if isinstance(value, bytes) and len(value) == ID_BYTES:
                    ids.append(value)
            elif number == _OF_TOPIC:
                topic = _topic(value)
        return topic, tuple(ids)

    def _pruned(self, data: bytes) -> None:
        topic, seconds = None, 0
        for number, value in fields(data):
            if number == _OF_TOPIC:
                topic = _topic(value)
            elif number == _BACKOFF and isinstance(value, int):
                seconds = value
            else:
                self.count()  # peers that somebody else knows
        if topic is not None:
            self._prune[topic] = min(float(seconds) or GOSSIP_BACKOFF, GOSSIP_BACKOFF_MOST)


def _topic(value: int | bytes) -> str | None:
    """Return a topic; None for one that cannot be ours."""
    if not isinstance(value, bytes):
        raise RemoteProtocolError("a number where a topic should be")
    if len(value) > MAX_GOSSIP_TOPIC:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
