"""Peers that lie about logs: each answers GET_LOG in its own wrong way, and all else honestly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import trio
from support.hostile import Plain

from samara.protocol.exchange import exchange_pb2 as pb
from samara.protocol.exchange.frames import frame
from samara.protocol.exchange.messages import GetLog, LogPart, NotFound
from samara.protocol.limits import MAX_PAYLOAD
from samara.protocol.ports import LogPage

__all__ = ["EndlessLog", "ForgedLog", "MuteAtLogs", "OneByOne", "Telling", "Trickling", "Unsigned", "Withholding"]

_EVER: Final = (1 << 53) - 1


class Telling(Plain):
    """Tells logs honestly."""

    async def log(self, asked: GetLog) -> None:
        page = self.page(asked)
        if page is None:
            await self.say(NotFound(asked.id))
            return
        for part, payload in parts(asked, page):
            await self.say(part, payload)

    def page(self, asked: GetLog) -> LogPage | None:
        """What it answers."""
        return self.shelf.log(asked.publisher, asked.root, asked.first, self.stream.peer)


class Withholding(Telling):
    """Knows of nothing beyond the first record."""

    def page(self, asked: GetLog) -> LogPage | None:
        whole = self.shelf.log(asked.publisher, asked.root, 1, self.stream.peer)
        assert whole is not None
        assert whole.newest > 1
        self.lied.set()
        return LogPage(roots=whole.roots, entries=whole.entries[:1], newest=1)


class OneByOne(Telling):
    """Gives one record at a time, and says that there is no end."""

    questions = 0

    def page(self, asked: GetLog) -> LogPage | None:
        OneByOne.questions += 1
        whole = self.shelf.log(asked.publisher, asked.root, asked.first, self.stream.peer)
        assert whole is not None
        self.lied.set()
        return LogPage(roots=whole.roots, entries=whole.entries[:1], newest=_EVER)


class Unsigned(Telling):
    """Changes a letter of a record."""

    def page(self, asked: GetLog) -> LogPage | None:
        whole = super().page(asked)
        assert whole is not None
        forged = whole.entries[0].replace(b'"payload":"ey', b'"payload":"eY', 1)
        assert forged != whole.entries[0]
        self.lied.set()
        return LogPage(roots=whole.roots, entries=(forged, *whole.entries[1:]), newest=whole.newest)


class ForgedLog(Telling):
    """Says that two records are a fork which are none."""

    def page(self, asked: GetLog) -> LogPage | None:
        whole = super().page(asked)
        assert whole is not None
        self.lied.set()
        return LogPage(whole.roots, ((whole.entries[0], whole.entries[0]),), (), whole.entries, whole.newest)


class EndlessLog(Telling):
    """Sends envelopes without end."""

    async def log(self, asked: GetLog) -> None:
        self.lied.set()
        index = 0
        while True:
            await self.raw(
                pb.Header(
                    id=asked.id,
                    payload_length=MAX_PAYLOAD,
                    log=pb.Log(index=index, entries=4096, newest=_EVER, sizes=[MAX_PAYLOAD]),
                ),
                bytes(MAX_PAYLOAD),
            )
            index += 1

    async def raw(self, header: pb.Header, payload: bytes) -> None:
        await self.stream.send_all(frame(header.SerializeToString()) + payload)


class MuteAtLogs(Telling):
    """Never answers."""

    async def log(self, asked: GetLog) -> None:
        self.lied.set()


class Trickling(EndlessLog):
    """Sends an answer byte by byte, for ever."""

    async def log(self, asked: GetLog) -> None:
        self.lied.set()
        header = pb.Header(
            id=asked.id,
            payload_length=MAX_PAYLOAD,
            log=pb.Log(entries=1, newest=1, sizes=[MAX_PAYLOAD]),
        )
        await self.raw(header, b"")
        for _ in range(MAX_PAYLOAD):
            await self.stream.send_all(b"{")
            await trio.sleep(0.2)


def parts(asked: GetLog, page: LogPage) -> Iterator[tuple[LogPart, bytes]]:
    """One envelope a part."""
    counts = len(page.roots), len(page.forks), len(page.revocations), len(page.entries)
    for index, envelope in enumerate(page.envelopes):
        yield LogPart(asked.id, index, *counts, page.newest, (len(envelope),)), envelope
    if not page.envelopes:
        yield LogPart(asked.id, 0, 0, 0, 0, 0, 0, ()), b""
