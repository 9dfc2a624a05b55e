"""What a peer can do to the transport, by name: one round of each, until the other end has had enough or it is over.

    await ATTACKS["silent sockets"](Target(address))

A round has one connection, and closes it. Whoever wants more runs many at once, and again. What sits there, or stays
within the rules, ends after `Target.held` seconds; all else goes on until the target hangs up.
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import trio
from support.hosts import ECHO
from support.raw_peer import HEADER_LINE, RawPeer, bare, data, negotiation, opening, some

from samara.node.network.background import open_background
from samara.protocol.limits import FRAME_BYTES, FRAME_CREDIT
from samara.protocol.multistream import line
from samara.protocol.noise import AES, CHACHA
from samara.protocol.yamux.frames import FIN, RST, SYN, Kind, header

__all__ = ["ATTACKS", "Attack", "Target"]

PING: Final = "/ipfs/ping/1.0.0"
IDENTIFY: Final = "/ipfs/id/1.0.0"
KIB: Final = 1 << 10
HELD: Final = 3.0
"""Seconds for which an attack that only sits there sits there."""


@dataclass(frozen=True, slots=True)
class Target:
    """Who is attacked, and from where.

    Attributes:
        address: Its multiaddr.
        source: The loopback address that the attacker has.
        held: Seconds for which an attack that only sits there sits there.
    """

    address: str
    source: str = "127.0.0.1"
    held: float = HELD


Attack: TypeAlias = Callable[[Target], Awaitable[None]]

ATTACKS: Final[dict[str, Attack]] = {}
"""All of them by name."""


def attack(name: str) -> Callable[[Attack], Attack]:
    """Name an attack, and let it end when its target hangs up."""

    def note(do: Attack) -> Attack:
        async def until_refused(target: Target) -> None:
            with contextlib.suppress(EOFError, OSError, trio.BrokenResourceError):
                await do(target)

        ATTACKS[name] = until_refused
        return until_refused

    return note


@contextlib.asynccontextmanager
async def reading(target: Target) -> AsyncIterator[RawPeer]:
    """A connection that reads, and forgets, whatever comes."""
    async with RawPeer.dial(target.address, source=target.source) as peer, open_background() as nursery:
        nursery.start_soon(peer.until_refused)
        yield peer


# Before there is a peer.


@attack("silent sockets")
async def silent(target: Target) -> None:
    async with await bare(target.address, target.source):
        await trio.sleep(target.held)


@attack("connect and hang up")
async def hang_up(target: Target) -> None:
    (await bare(target.address, target.source)).socket.close()


@attack("handshake and hang up")
async def handshake_only(target: Target) -> None:
    async with RawPeer.dial(target.address, source=target.source):
        pass


@attack("a byte at a time in the handshake")
async def drip(target: Target) -> None:
    async with await bare(target.address, target.source) as stream:
        with trio.move_on_after(target.held):
            for byte in HEADER_LINE + line(AES.protocol) + b"\x20\x00" + bytes(8192):
                await stream.send_all(bytes([byte]))
                await trio.sleep(0.001)


@attack("a handshake message of 64 KiB")
async def long_message(target: Target) -> None:
    async with await bare(target.address, target.source) as stream:
        await stream.send_all(HEADER_LINE + line(CHACHA.protocol) + b"\xff\xff" + bytes(65_535))
        while True:
            await some(stream)


# Records.


@attack("a record of 4 GiB")
async def giant_record(target: Target) -> None:
    async with RawPeer.dial(target.address, source=target.source) as peer:
        await peer.stream.send_all(struct.pack(">I", 0xFFFFFFFF) + bytes(64 * KIB))
        await peer.until_refused()


@attack("records that do not open")
async def wrong_tags(target: Target) -> None:
    async with RawPeer.dial(target.address, source=target.source) as peer:
        await peer.stream.send_all(struct.pack(">I", 256 * KIB + 16) + secrets.token_bytes(256 * KIB + 16))
        await peer.until_refused()


@attack("empty records")
async def empty_records(target: Target) -> None:
    async with RawPeer.dial(target.address, source=target.source) as peer:
        while True:
            await peer.stream.send_all(b"".join(peer.seal(b"") for _ in range(1000)))


@attack("records of one byte")
async def small_records(target: Target) -> None:
    async with RawPeer.dial(target.address, source=target.source) as peer:
        await peer.send(opening(1) + header(Kind.DATA, 0, 1, 200_000))
        for _ in range(200):
            await peer.stream.send_all(b"".join(peer.seal(b"\x13") for _ in range(1000)))


@attack("half a record")
async def half_a_record(target: Target) -> None:
    async with RawPeer.dial(target.address, source=target.source) as peer:
        await peer.stream.send_all(peer.seal(bytes(256 * KIB))[: 255 * KIB])
        await trio.sleep(target.held)


@attack("a byte at a time in a record")
async def drip_record(target: Target) -> None:
    async with RawPeer.dial(target.address, source=target.source) as peer:
        with trio.move_on_after(target.held):
            for byte in peer.seal(bytes(64 * KIB)):
                await peer.stream.send_all(bytes([byte]))


# Frames.


@attack("the window ignored")
async def ignore_window(target: Target) -> None:
    async with RawPeer.dial(target.address, source=target.source) as peer:
        await peer.send(opening(1))
        while True:
            await peer.send(data(1, bytes(64 * KIB)))


@attack("a window of more than 2^32")
async def wide_window(target: Target) -> None:
    async with RawPeer.dial(target.address, source=target.source) as peer:
        await peer.send(opening(1) + header(Kind.WINDOW, 0, 1, 2**32 - 1))
        await peer.until_refused()


@attack("frames that carry nothing")
async def empty_frames(target: Target) -> None:
    async with RawPeer.dial(target.address, source=target.source) as peer:
        await peer.send(opening(1))
        while True:
            await peer.send(data(1, b"") * 1000)


@attack("windows of nothing")
async def empty_windows(target: Target) -> None:
    async with RawPeer.dial(target.address, source=target.source) as peer:
        await peer.send(opening(1))
        while True:
            await peer.send(header(Kind.WINDOW, 0, 1, 0) * 1000)


@attack("frames that carry just enough")
async def small_frames(target: Target) -> None:
    """Each earns its credit, and what is echoed earns as much again."""
    async with reading(target) as peer:
        await peer.send(negotiation(1, ECHO))
        with trio.move_on_after(target.held):
            while True:
                await peer.send((data(1, bytes(FRAME_BYTES)) + header(Kind.WINDOW, 0, 1, FRAME_BYTES)) * 100)


@attack("pings whose answers nobody reads")
async def deaf_pings(target: Target) -> None:
    async with RawPeer.dial(target.address, source=target.source) as peer:
        while True:
            await peer.send(header(Kind.PING, SYN, 0, 7) * 1000)


@attack("go away, again and again")
async def go_away(target: Target) -> None:
    async with RawPeer.dial(target.address, source=target.source) as peer:
        while True:
            await peer.send(header(Kind.GO_AWAY, 0, 0, 0) * 1000)


@attack("resets of streams that nobody opened")
async def stray_resets(target: Target) -> None:
    async with RawPeer.dial(target.address, source=target.source) as peer:
        while True:
            await peer.send(b"".join(header(Kind.WINDOW, RST, number, 0) for number in range(1, 2000, 2)))


@attack("data for closed streams")
async def stray_data(target: Target) -> None:
    async with RawPeer.dial(target.address, source=target.source) as peer:
        for number in itertools.count(1, 2):
            await peer.send(opening(number) + header(Kind.WINDOW, RST, number, 0) + data(number, bytes(240 * KIB)) * 2)


@attack("a stream number used again")
async def reuse(target: Target) -> None:
    async with RawPeer.dial(target.address, source=target.source) as peer:
        await peer.send(opening(1) + opening(1))
        await peer.until_refused()


# Streams.


@attack("10,000 streams")
async def many_opens(target: Target) -> None:
    async with RawPeer.dial(target.address, source=target.source) as peer:
        await peer.send(b"".join(map(opening, range(1, 20_000, 2))))
        with trio.move_on_after(target.held):
            await peer.until_refused()


@attack("streams that are opened and reset")
async def open_and_reset(target: Target) -> None:
    async with RawPeer.dial(target.address, source=target.source) as peer:
        for number in itertools.count(1, 2):
            await peer.send(opening(number) + header(Kind.WINDOW, RST, number, 0))


@attack("negotiations that never end")
async def endless_negotiation(target: Target) -> None:
    async with RawPeer.dial(target.address, source=target.source) as peer:
        for number in range(1, 64, 2):
            await peer.send(opening(number) + data(number, HEADER_LINE + b"\x80"))
        with trio.move_on_after(target.held):
            await peer.until_refused()


@attack("proposals without end")
async def endless_proposals(target: Target) -> None:
    async with RawPeer.dial(target.address, source=target.source) as peer:
        with trio.move_on_after(target.held):
            for number in itertools.count(1, 2):
                await peer.send(opening(number) + data(number, HEADER_LINE + line("/x") * 17, FIN))


@attack("identify, again and again")
async def identify(target: Target) -> None:
    async with reading(target) as peer:
        await peer.send(opening(1) + header(Kind.WINDOW, RST, 1, 0))
        filler = data(1, bytes(256))  # earns the frames that the next stream costs
        with trio.move_on_after(target.held):
            for number in itertools.count(3, 2):
                await peer.send(negotiation(number, IDENTIFY) + header(Kind.WINDOW, FIN, number, 0) + filler)


@attack("libp2p pings as fast as they go")
async def libp2p_pings(target: Target) -> None:
    async with reading(target) as peer:
        with trio.move_on_after(target.held):
            for number in range(1, 60, 2):
                await peer.send(negotiation(number, PING))
            await trio.sleep(0.1)
            for number in itertools.cycle(range(1, 60, 2)):
                await peer.send(data(number, bytes(8 * KIB)))


@attack("a reader that stopped")
async def stopped_reader(target: Target) -> None:
    """Asks, and does not read: what it sends lies unread at the other end, which cannot answer."""
    async with RawPeer.dial(target.address, source=target.source) as peer:
        with trio.move_on_after(target.held):
            for number in range(1, 16, 2):
                await peer.send(negotiation(number, PING))
            await trio.sleep(0.1)
            for number in range(1, 16, 2):
                await peer.send(data(number, bytes(250 * KIB)))
            await trio.sleep_forever()


@attack("frames to the end of the credit, and again")
async def spender(target: Target) -> None:
    async with RawPeer.dial(target.address, source=target.source) as peer:
        pairs = (opening(number) + header(Kind.WINDOW, RST, number, 0) for number in range(1, FRAME_CREDIT, 2))
        await peer.send(b"".join(pairs))
        await peer.until_refused()
