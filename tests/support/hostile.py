"""Peers that lie: real hosts that serve the exchange by hand, each with one vice.

`Plain` answers one request after another, honestly, from a shelf; it shares nothing with the node's own server but the
encoding of messages. A vice is a subclass that answers one kind of request otherwise. `lied` is set when it did.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import random
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio
import zstandard
from support.nodes import LOOPBACK

from samara.node.network.opening import NetworkConfig, open_network
from samara.node.network.transport import Network, Stream
from samara.node.settings import StoreSettings
from samara.node.store.home import Home
from samara.node.store.store import Store
from samara.protocol.dsse import SigningKey
from samara.protocol.errors import NetworkError
from samara.protocol.exchange import exchange_pb2 as pb
from samara.protocol.exchange.frames import FrameReader, frame
from samara.protocol.exchange.headers import decode, encode
from samara.protocol.exchange.messages import (
    PROTOCOL,
    SPOKEN,
    Busy,
    Chunk,
    GetLog,
    GetNodes,
    GetRecords,
    Have,
    HaveRequest,
    Hello,
    Message,
    Node,
    NotFound,
    RecordsPart,
    Refusal,
    Refused,
    Want,
)
from samara.protocol.ids import Digest, digest
from samara.protocol.ports import Records, Shelf

__all__ = [
    "Bomb",
    "Busier",
    "BusyWithChunks",
    "ChangedRecord",
    "Dropper",
    "EarlyBird",
    "EndlessHeader",
    "ForeignSignature",
    "Forgetful",
    "Garbage",
    "HugePayload",
    "LongChunk",
    "Lying",
    "MoreAhead",
    "Mute",
    "MuteAfterHello",
    "MuteAhead",
    "MuteAtChunks",
    "MuteAtLists",
    "MuteAtTable",
    "OtherBytes",
    "OtherPayload",
    "OtherRelease",
    "Overlong",
    "Plain",
    "ShortEnd",
    "Unasked",
    "UnaskedDelta",
    "UnknownEncoding",
    "WrongBytes",
    "WrongNode",
    "WrongTable",
    "lying",
]

_FOREVER_BUSY: Final = 3_600_000


class Plain:
    """Serves one stream honestly.

    Args:
        stream: To whom.
        shelf: What.
        lied: Is set when a vice shows.
        stranger: The records of another release, for those who need one.
    """

    def __init__(self, stream: Stream, shelf: Shelf, lied: trio.Event, stranger: Records | None) -> None:
        self.stream = stream
        self.shelf = shelf
        self.lied = lied
        self.stranger = stranger
        self.reader: FrameReader[Message] = FrameReader(decode)
        self.sent = 0

    async def run(self) -> None:
        await self.greet()
        while data := await self.stream.receive_some(1 << 16):
            for message, _ in self.reader.receive(data):
                await self.answer(message)

    async def greet(self) -> None:
        await self.say(Hello(agent="samara/plain"))

    async def answer(self, message: Message) -> None:
        match message:
            case GetRecords():
                await self.records(message)
            case GetNodes():
                await self.nodes(message)
            case HaveRequest():
                await self.have(message)
            case Want():
                await self.want(message)
            case GetLog():
                await self.log(message)
            case _:
                pass

    async def records(self, asked: GetRecords) -> None:
        if asked.release is not None:
            found = self.shelf.records(asked.release, self.stream.peer)
        else:
            assert asked.publisher is not None
            found = self.shelf.latest(asked.publisher, asked.name, self.stream.peer)
        if found is None:
            await self.say(NotFound(asked.id))
        else:
            await self.tell(asked, found)

    async def tell(self, asked: GetRecords, found: Records) -> None:
        envelopes = [*found.roots, found.release, *([found.head] if found.head else [])]
        sizes = tuple(map(len, envelopes))
        part = RecordsPart(asked.id, 0, len(found.roots), found.head is not None, sizes)
        await self.say(part, b"".join(envelopes))

    async def log(self, asked: GetLog) -> None:
        """Answer as a peer does that is older than this question."""
        await self.say(Refused(asked.id, Refusal.UNKNOWN))

    async def nodes(self, asked: GetNodes) -> None:
        for index, name in enumerate(asked.hashes):
            node = self.shelf.node(asked.content, name, self.stream.peer)
            assert node is not None
            await self.say(Node(asked.id, index), node)

    async def have(self, asked: HaveRequest) -> None:
        if asked.stream is None:
            bits = self.shelf.files(asked.content, self.stream.peer)
            assert bits is not None
            await self.say(Have(asked.id, 8 * len(bits), 0, whole=False), bits)
            return
        held = self.shelf.availability(asked.content, asked.stream, self.stream.peer)
        assert held is not None
        await self.say(Have(asked.id, held.chunks, 0, whole=True))

    async def want(self, asked: Want) -> None:
        stream, first = asked.stream, asked.first
        for number in range(asked.count):
            found = self.shelf.read(asked.content, stream, first, 1, self.stream.peer)
            assert found is not None
            stream, first = found.stream, found.index
            await self.chunk(asked, number, bytes(found.pieces[0].data))

    async def chunk(self, asked: Want, index: int, data: bytes) -> None:
        await self.say(Chunk(asked.id, index), data)

    async def say(self, message: Message, payload: bytes = b"") -> None:
        await self.stream.send_all(frame(encode(message, len(payload))) + payload)

    async def fall_silent(self) -> None:
        self.lied.set()
        await trio.sleep_forever()


# Wrong bytes


class WrongBytes(Plain):
    """The first chunk of a file is right, the others have one wrong bit."""

    async def chunk(self, asked: Want, index: int, data: bytes) -> None:
        self.sent += bool(asked.stream)
        if self.sent > 1:
            data = bytes([data[0] ^ 1]) + data[1:]
            self.lied.set()
        await super().chunk(asked, index, data)


class Encoded(Plain):
    """Takes part in encodings; what it sends in them is wrong in some way."""

    async def greet(self) -> None:
        await self.say(Hello(encodings=SPOKEN, agent="samara/encoded"))

    async def chunk(self, asked: Want, index: int, data: bytes) -> None:
        if asked.stream == 0:
            return await super().chunk(asked, index, data)
        self.lied.set()
        encoding, payload, base, stated = self.payload(data)
        said = Chunk(asked.id, index, encoding, base, digest(payload) if stated is None else stated)
        return await self.say(said, payload)

    def payload(self, data: bytes) -> tuple[int, bytes, Digest | None, Digest | None]:
        raise NotImplementedError


class Garbage(Encoded):
    """Sends payloads that are none."""

    def payload(self, data: bytes) -> tuple[int, bytes, Digest | None, Digest | None]:
        return 1, random.Random(0).randbytes(len(data) // 2), None, None


class OtherBytes(Encoded):
    """Sends right payloads of other chunks of the same length."""

    def payload(self, data: bytes) -> tuple[int, bytes, Digest | None, Digest | None]:
        return 3, zstandard.compress(bytes(len(data))), None, None


class Bomb(Encoded):
    """Sends a few bytes that are a gigabyte when they are unpacked."""

    def payload(self, data: bytes) -> tuple[int, bytes, Digest | None, Digest | None]:
        return 3, zstandard.compress(bytes(1 << 30)), None, None


class OtherPayload(Encoded):
    """Sends right chunks, encoded, and states the hash of another payload."""

    def payload(self, data: bytes) -> tuple[int, bytes, Digest | None, Digest | None]:
        return 3, zstandard.compress(data), None, Digest(bytes(32))


class UnaskedDelta(Encoded):
    """Sends deltas to whoever named no base."""

    def payload(self, data: bytes) -> tuple[int, bytes, Digest | None, Digest | None]:
        return 2, data[: len(data) // 2], digest(b"base"), None


class UnknownEncoding(Encoded):
    """Sends chunks in an encoding that nobody asked for."""

    def payload(self, data: bytes) -> tuple[int, bytes, Digest | None, Digest | None]:
        return 77, data[: len(data) // 2], None, None


class WrongTable(Plain):
    """The file table has a wrong bit."""

    async def chunk(self, asked: Want, index: int, data: bytes) -> None:
        if not asked.stream:
            data = data[:-1] + bytes([data[-1] ^ 1])
            self.lied.set()
        await super().chunk(asked, index, data)


class ShortEnd(Plain):
    """Half a chunk, and an orderly end of the stream."""

    async def chunk(self, asked: Want, index: int, data: bytes) -> None:
        if not asked.stream:
            return await super().chunk(asked, index, data)
        await self.stream.send_all(frame(encode(Chunk(asked.id, index), len(data))) + data[: len(data) // 2])
        self.lied.set()
        await self.stream.aclose()
        await trio.sleep_forever()


class Dropper(Plain):
    """Half a chunk, and the stream is reset."""

    async def chunk(self, asked: Want, index: int, data: bytes) -> None:
        if not asked.stream:
            return await super().chunk(asked, index, data)
        await self.stream.send_all(frame(encode(Chunk(asked.id, index), len(data))) + data[: len(data) // 2])
        self.lied.set()
        await self.stream.reset()
        await trio.sleep_forever()


class LongChunk(Plain):
    """A chunk with one byte too many."""

    async def chunk(self, asked: Want, index: int, data: bytes) -> None:
        if asked.stream:
            self.lied.set()
            # No chunk may be longer than 1 MiB: of one that is, the first bytes are sent as its end.
            data = data + b"!" if len(data) < 1 << 20 else data[:-1]
        await super().chunk(asked, index, data)


class Overlong(Plain):
    """A payload that is longer than any may be."""

    async def chunk(self, asked: Want, index: int, data: bytes) -> None:
        if not asked.stream:
            return await super().chunk(asked, index, data)
        header = pb.Header(id=asked.id, payload_length=(1 << 20) + 1, chunk=pb.Chunk(index=index, count=1))
        self.lied.set()
        await self.stream.send_all(frame(header.SerializeToString()) + data + bytes((1 << 20) + 1 - len(data)))


class HugePayload(Plain):
    """A payload of 2⁶³ bytes is announced."""

    async def chunk(self, asked: Want, index: int, data: bytes) -> None:
        if not asked.stream:
            return await super().chunk(asked, index, data)
        header = pb.Header(id=asked.id, payload_length=1 << 63, chunk=pb.Chunk(index=index, count=1))
        self.lied.set()
        await self.stream.send_all(frame(header.SerializeToString()) + data)


class EndlessHeader(Plain):
    """A header of 2⁶³ bytes is announced, in answer to the first request."""

    async def records(self, asked: GetRecords) -> None:
        self.lied.set()
        await self.stream.send_all(b"\x80" * 9 + b"\x01")
        await trio.sleep_forever()


class Unasked(Plain):
    """The chunk after the one that was asked for."""

    async def chunk(self, asked: Want, index: int, data: bytes) -> None:
        if asked.stream:
            self.lied.set()
            index += 1
        await super().chunk(asked, index, data)


class EarlyBird(Plain):
    """A chunk before anything was asked."""

    async def greet(self) -> None:
        await super().greet()
        self.lied.set()
        await self.say(Chunk(1, 0), b"take this")


class WrongNode(Plain):
    """A chunk-list node with another hash; the table's own node is right."""

    async def nodes(self, asked: GetNodes) -> None:
        if bytes(asked.hashes[0]) == bytes(asked.content):
            return await super().nodes(asked)
        node = self.shelf.node(asked.content, asked.hashes[0], self.stream.peer)
        assert node is not None
        self.lied.set()
        # Its first chunk is said to be one byte longer, and the second one shorter.
        await self.say(Node(asked.id, 0), node[:-4] + (int.from_bytes(node[-4:], "little") + 1).to_bytes(4, "little"))


# Wrong records


class OtherRelease(Plain):
    """A release that is as it should be, and another one."""

    async def records(self, asked: GetRecords) -> None:
        assert self.stranger is not None
        self.lied.set()
        await self.tell(asked, self.stranger)


class ChangedRecord(Plain):
    """The release with one letter changed."""

    async def tell(self, asked: GetRecords, found: Records) -> None:
        envelope = json.loads(found.release)
        payload = b64decode(envelope["payload"]).replace(b'"MIT"', b'"WTF"')
        envelope["payload"] = b64encode(payload).decode()
        self.lied.set()
        await super().tell(asked, dataclasses.replace(found, release=json.dumps(envelope).encode()))


class ForeignSignature(Plain):
    """The release, signed anew by somebody else under the publisher's name."""

    async def tell(self, asked: GetRecords, found: Records) -> None:
        envelope = json.loads(found.release)
        key = SigningKey(b"\x07" * 32)
        payload = b64decode(envelope["payload"])
        kind = envelope["payloadType"].encode()
        message = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
        envelope["signatures"][0]["sig"] = b64encode(key.sign(message)).decode()
        self.lied.set()
        await super().tell(asked, dataclasses.replace(found, release=json.dumps(envelope).encode()))


class MoreAhead(Plain):
    """One byte more ahead than was asked for."""

    async def tell(self, asked: GetRecords, found: Records) -> None:
        envelopes = (*found.roots, found.release)
        sizes = tuple(map(len, envelopes))
        await self.say(RecordsPart(asked.id, 0, len(found.roots), False, sizes, ahead=True), b"".join(envelopes))
        size = asked.ahead + 1
        header = pb.Header(id=asked.id, payload_length=size, ahead=pb.Ahead(sizes=[size]))
        self.lied.set()
        await self.stream.send_all(frame(header.SerializeToString()) + bytes(size))


# Silence


class Mute(Plain):
    """Says nothing at all."""

    async def greet(self) -> None:
        await self.fall_silent()


class MuteAfterHello(Plain):
    """Says HELLO, and nothing more."""

    async def answer(self, message: Message) -> None:
        await self.fall_silent()


class MuteAhead(Plain):
    """Gives the records and says that more follows them, where it was asked for more."""

    async def tell(self, asked: GetRecords, found: Records) -> None:
        if not asked.ahead:
            return await self.fall_silent()
        envelopes = (*found.roots, found.release)
        sizes = tuple(map(len, envelopes))
        await self.say(RecordsPart(asked.id, 0, len(found.roots), False, sizes, ahead=True), b"".join(envelopes))
        return await self.fall_silent()


class MuteAtTable(Plain):
    """Gives the records, and nothing more."""

    async def nodes(self, asked: GetNodes) -> None:
        await self.fall_silent()


class MuteAtLists(Plain):
    """Gives the file table, and falls silent when asked for a file's list."""

    async def nodes(self, asked: GetNodes) -> None:
        if bytes(asked.hashes[0]) == bytes(asked.content):
            return await super().nodes(asked)
        return await self.fall_silent()


class MuteAtChunks(Plain):
    """Gives all but chunks."""

    async def want(self, asked: Want) -> None:
        if not asked.stream:
            return await super().want(asked)
        return await self.fall_silent()


class Forgetful(Plain):
    """Claims everything, and has nothing."""

    async def want(self, asked: Want) -> None:
        if not asked.stream:
            return await super().want(asked)
        self.lied.set()
        await self.say(NotFound(asked.id))


class BusyWithChunks(Plain):
    """Is busy whenever it is asked for a chunk of a file."""

    async def want(self, asked: Want) -> None:
        if not asked.stream:
            return await super().want(asked)
        self.lied.set()
        await self.say(Busy(asked.id, 100))


class Busier(Plain):
    """Is busy, and will be."""

    async def records(self, asked: GetRecords) -> None:
        self.lied.set()
        await self.say(Busy(asked.id, _FOREVER_BUSY))


_SEEDS: Final = itertools.count(1)


@dataclass
class Lying:
    """A liar that is up.

    Attributes:
        host: Its host.
        address: Where it listens, with its peer id.
        lied: Its vice has shown.
        sessions: How many streams it was asked over.
    """

    host: Network
    address: str
    lied: trio.Event
    sessions: int = 0

    @property
    def peer(self) -> str:
        return self.host.peer


@contextlib.asynccontextmanager
async def lying(vice: type[Plain], held: Path | Shelf, stranger: Records | None = None) -> AsyncIterator[Lying]:
    """Run a liar that serves what a home holds (whoever holds that home), or what is on a shelf."""
    config = NetworkConfig(
        seed=next(_SEEDS).to_bytes(32, "big"), listen=LOOPBACK, dht="off", agent="samara/liar", connections_per_ip=64
    )
    with contextlib.ExitStack() as stack:
        if isinstance(held, Path):
            store = stack.enter_context(contextlib.closing(Store(Home(held), StoreSettings(), writable=False)))
            held = store.shelf
        shelf = held
        async with open_network(config) as network:
            host = network.host
            liar = Lying(host, f"{host.listening()[0]}/p2p/{host.peer}", trio.Event())

            async def serve(stream: Stream) -> None:
                liar.sessions += 1
                with contextlib.suppress(NetworkError):
                    await vice(stream, shelf, liar.lied, stranger).run()

            host.serve(PROTOCOL, serve)
            yield liar


def every_vice() -> Sequence[type[Any]]:
    """All vices, for a test that counts them."""
    return [kind for name in __all__ if isinstance(kind := globals()[name], type) and issubclass(kind, Plain)]
