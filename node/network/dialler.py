"""Dialling a peer that has several addresses: the next one a quarter of a second after the last, or when that failed.

Source: RFC 8305, §5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from samara.node.network.tcp import dial_tcp
from samara.protocol.addresses import Address
from samara.protocol.errors import NetworkError
from samara.protocol.limits import DIAL_STAGGER

if TYPE_CHECKING:
    from samara.node.network.connection import MuxedConnection
    from samara.node.network.upgrade import Upgrader

__all__ = ["dial"]


async def dial(upgrader: Upgrader, peer: str, addresses: Sequence[Address]) -> MuxedConnection:
    """Return a connection to a peer, by the first of its addresses that works.

    Args:
        upgrader: Makes the connection of a socket.
        peer: Who must answer.
        addresses: Where; the preferred one first.

    Raises:
        NetworkError: Nobody answers at any of them, or somebody else does.
    """
    if not addresses:
        raise NetworkError(f"no address is known at which {peer} could be dialled")
    won: list[MuxedConnection] = []
    reasons: list[str] = []

    async with trio.open_nursery() as nursery:

        async def attempt(address: Address, failed: trio.Event) -> None:
            try:
                muxed = await upgrader.upgrade(await dial_tcp(address), peer)
            except NetworkError as error:
                reasons.append(error.message)
                failed.set()
                return
            if won:
                await muxed.close()
                return
            won.append(muxed)
            nursery.cancel_scope.cancel()

        for address in addresses:
            failed = trio.Event()
            nursery.start_soon(attempt, address, failed)
            with trio.move_on_after(DIAL_STAGGER):
                await failed.wait()
    if not won:
        raise NetworkError(f"{peer} cannot be reached: {'; '.join(dict.fromkeys(reasons))}")
    return won[0]
