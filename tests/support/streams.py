"""What every stream of the tests can do beside moving bytes: give them to a sink, and send in parts."""

from __future__ import annotations

from collections.abc import Sequence

from samara.node.network.transport import Buffer, Sink

__all__ = ["StreamParts"]


class StreamParts:
    """Makes a `transport.Stream` of something with `receive_some` and `send_all`.

    Attributes:
        in_place: Whether a sink is asked for room before it is fed.
    """

    in_place = True

    @property
    def near(self) -> bool:
        return False

    @property
    def held_back(self) -> float:
        return 0.0

    async def receive_some(self, max_bytes: int) -> bytes:
        raise NotImplementedError

    async def send_all(self, data: Buffer) -> None:
        raise NotImplementedError

    async def receive_to(self, sink: Sink) -> None:
        while data := await self.receive_some(256 << 10):
            place = 0
            while place < len(data):  # in records of an odd size
                piece = memoryview(data)[place : place + 65_519]
                room = sink.room(len(piece)) if self.in_place else None
                if room is None:
                    sink.feed(piece)
                else:
                    room[:] = piece
                    sink.filled(len(piece))
                place += len(piece)

    async def send_parts(self, parts: Sequence[Buffer]) -> None:
        for part in parts:
            await self.send_all(part)
