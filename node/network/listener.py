"""A socket that others dial: who comes is let in or refused at the door, before anything is made of it.

To refuse must cost less than to come: two system calls and a look at the address. Rounds are short, so that those who
are connected have their turns; and for each that is refused the door rests a moment, so that a flood of them waits in
the system's queue, as whoever comes with it does for as long.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable
from typing import Final, final

import trio

from samara.node.network.tcp import end_of, family_of
from samara.protocol.addresses import Address
from samara.protocol.errors import NetworkError, SamaraError
from samara.protocol.limits import REFUSALS_A_SECOND

__all__ = ["Listener", "listen_tcp"]

_log = logging.getLogger(__name__)

_BACKLOG: Final = 1024
"""Sockets that wait in the system: a quarter of a second of refusals; beyond, it drops those who come for a second."""
_ROUND: Final = 16
"""Sockets that are taken before others have their turn."""
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_EXHAUSTED_REST: Final = 0.1


@final
class Listener:
    """A bound socket that listens.

    Args:
        sock: It; not blocking.

    Attributes:
        address: Where, with the port that it got.
    """

    def __init__(self, sock: socket.socket, address: Address) -> None:
        self._socket = sock
        self.address = address

    async def serve(self, take: Callable[[socket.socket, Address], None]) -> None:
        """Give each socket that is accepted to `take`, and close those that it refuses; ends when cancelled.

        Args:
            take: Gets the socket, which is its own from then on, and who is at the other end. Raises `NetworkError`
                to refuse it.
        """
        try:
            while True:
                await trio.lowlevel.wait_readable(self._socket)
                refused, exhausted = self._round(take)
                await trio.sleep(_EXHAUSTED_REST if exhausted else refused / REFUSALS_A_SECOND)
        finally:
            self.close()

    def close(self) -> None:
        """Listen no more."""
        trio.lowlevel.notify_closing(self._socket)
        self._socket.close()

    def _round(self, take: Callable[[socket.socket, Address], None]) -> tuple[int, bool]:
        """Accept a few; return how many were refused, and whether the system has no room for more sockets."""
        refused = 0
        for _ in range(_ROUND):
            try:
                accepted, name = self._socket.accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    _log.error("no socket can be accepted: %s", error)
                    return refused, True
                refused += 1  # it hung up before it had its turn
                continue
            try:
                accepted.setblocking(False)
                take(accepted, end_of(name))
            except SamaraError as error:
                _log.debug("refused a connection: %s", error.message)
                accepted.close()
                refused += 1
        return refused, False


def listen_tcp(address: Address) -> Listener:
    """Listen at an address.

    Raises:
        NetworkError: The address is not ours, or its port is taken.
    """
    if address.is_name:
        raise NetworkError(f"cannot listen at {address}", hint="Give an IP address to listen at.")
    listening = socket.socket(family_of(address), socket.SOCK_STREAM)
    try:
        listening.setblocking(False)
        # Not SO_REUSEPORT: a second node on the same port must fail, not share its peers.
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.kind == "ip6":
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind((address.host, address.port))
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        hint = "Choose another port, or 0 for any." if address.port else ""
        raise NetworkError(f"cannot listen at {address}: {error.strerror or error}", hint=hint) from error
    return Listener(listening, Address(address.kind, address.host, listening.getsockname()[1]))
