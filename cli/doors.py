"""Which door an operation goes through: a running node's, or a node of this process.

A query reads the index by itself. Anything else goes to the node that holds the home; when none does, this process
holds it for as long as the operation takes. A home that cannot be written is not held; what only looks is done all the
same.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeVar

from samara.cli.importing import importing
from samara.cli.passphrase import with_passphrase
from samara.node.doors.client import Connection, call_node, connect
from samara.node.operations.base import AnyOperation, Event, Operation, Query, Report
from samara.node.settings import StoreSettings, load_settings
from samara.node.store.home import Home
from samara.node.store.publisherkeys import PublisherKeys
from samara.node.store.store import Store
from samara.protocol.errors import HomeBusyError, NotFoundError

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = ["ask", "call", "hold", "look"]

Request = TypeVar("Request")
Result = TypeVar("Result")

_WAIT_FOR_HOLDER: Final = 10.0
"""Seconds that a home may be held by a process that does not answer yet, or is just leaving."""


def ask(query: Query[Request, Result], request: Request) -> Result:
    """Answer a query from the index.

    Raises:
        SamaraError: What the query raises.
    """
    return look(lambda store: query.answer(store, request))


def look(into: Callable[[Store], Result]) -> Result:
    """Look into the store, and return what was found.

    Args:
        into: Looks.
    """
    home = Home.find()
    settings = load_settings(home)
    store = _open_store(home, settings.store)
    try:
        return into(store)
    finally:
        store.close()


def _open_store(home: Home, settings: StoreSettings) -> Store:
    try:
        return Store(home, settings, writable=False)
    except NotFoundError:
        # Nothing was ever done here: an empty home answers like any other.
        home.create()
        Store(home, settings, writable=True).close()
        return Store(home, settings, writable=False)


def call(operation: Operation[Request, Result], request: Request, report: Report) -> Result:
    """Do an operation, in the running node or here.

    Raises:
        SamaraError: What the operation raises.
        KeyboardInterrupt: Ctrl-C; an operation that detaches goes on in the running node.
    """
    home = Home.find()

    def in_node(connection: Connection) -> Result:
        return call_node(connection, operation, request, report)

    async def here(node: Node) -> Result:
        result = await node.run(operation, request, report)
        await node.wait_idle()
        return result

    def attempt(passphrase: str) -> Result:
        return _reach(home, in_node, here, looks=operation.looks, passphrase=passphrase)

    return with_passphrase(attempt) if operation.signs else attempt("")


def hold(work: Callable[[Node], Awaitable[Result]], beside: Callable[[Connection], Result]) -> Result:
    """Hold the home while `work` runs, or let `beside` have the connection to the node that holds it.

    Where a locked key stops either, the passphrase is asked for, and it begins again.

    Args:
        work: Async function of the node.
        beside: Function of the connection.
    """
    return with_passphrase(lambda passphrase: _reach(Home.find(), beside, work, passphrase=passphrase))


def _reach(
    home: Home,
    in_node: Callable[[Connection], Result],
    here: Callable[[Node], Awaitable[Result]],
    *,
    looks: bool = False,
    passphrase: str = "",
) -> Result:
    """Do it in the running node or here; where a passphrase is given, the key is unlocked there first."""
    deadline = time.monotonic() + _WAIT_FOR_HOLDER
    before = [] if looks else _before(home, passphrase)

    async def unlocked_here(node: Node) -> Result:
        if passphrase:
            from samara.node.operations.keys import UNLOCK, UnlockRequest

            await node.run(UNLOCK, UnlockRequest(passphrase), _ignore)
        return await here(node)

    while True:
        with connect(home) as connection:
            if connection is not None and not before:
                return in_node(connection)
            if connection is not None:
                operation, request = before[0]
                call_node(connection, operation, request, _ignore)
                del before[0]
                continue  # a connection carries one operation
        with importing():
            from samara.cli.here import run_here
        try:
            return run_here(home, unlocked_here, looks=looks)
        except HomeBusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _before(home: Home, passphrase: str) -> list[tuple[AnyOperation, object]]:
    """What a running node is told first: where the agent of this command is, if it needs one, and the passphrase."""
    from samara.node.operations.keys import TELL_AGENT, UNLOCK, TellAgentRequest, UnlockRequest

    found: list[tuple[AnyOperation, object]] = []
    socket = os.environ.get("SSH_AUTH_SOCK", "")
    if socket and PublisherKeys(home).is_in_agent():
        found.append((TELL_AGENT, TellAgentRequest(os.path.abspath(socket))))
    if passphrase:
        found.append((UNLOCK, UnlockRequest(passphrase)))
    return found


def _ignore(event: Event) -> None:
    """Unlocking has nothing to tell."""
