"""One question to an agent, over its socket, within bounds of bytes and time (specs/keys.md §7, 3).

asyncssh encodes and decodes; it is imported here alone. It reads and writes through `_Line`, which checks the length of
an answer before anything of it is read. Each question has an event loop of its own, in the thread that asks.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeVar, final

import asyncssh

from samara.node.keyagent import START_IT
from samara.node.threads import is_cancelled
from samara.protocol import limits
from samara.protocol.errors import AgentAnswerError, AgentAwayError, AgentRefusedError, AgentTimeoutError

if TYPE_CHECKING:
    from asyncssh.agent import AgentReader, AgentWriter

__all__ = ["ask"]

T = TypeVar("T")

_FAILURE: Final = 5
"""SSH_AGENT_FAILURE: it has no such key, or its owner said no; it does not say which."""

_LOOK: Final = 0.25
"""Seconds between two looks whether whoever waits has been cancelled."""


def ask(socket: str, question: Callable[[asyncssh.SSHAgentClient], Awaitable[T]], seconds: float) -> T:
    """Ask the agent at a socket one thing, in an event loop of its own.

    Raises:
        AgentError: One of its subclasses.
    """
    line = _Line(socket)

    async def talk() -> T:
        client = asyncssh.SSHAgentClient(line)  # it asks `line` for its connection
        return await question(client)

    async def bounded() -> T:
        talking = asyncio.ensure_future(talk())
        try:
            end = asyncio.get_running_loop().time() + seconds
            while not talking.done():
                left = end - asyncio.get_running_loop().time()
                if left <= 0:
                    raise AgentTimeoutError(
                        f"the agent at {line.name} did not answer within {seconds:g} s",
                        hint="Does it wait for you: a touch, a PIN, a window? Do it again, and answer it.",
                    )
                await asyncio.wait({talking}, timeout=min(left, _LOOK))
                is_cancelled()
            return talking.result()
        finally:
            talking.cancel()
            line.close()

    try:
        return asyncio.run(bounded())
    except (ValueError, AssertionError) as error:  # what asyncssh makes of an answer that is none
        if line.answered == _FAILURE:
            raise AgentRefusedError(
                f"the agent at {line.name} refused",
                hint="Was it asked to confirm, and did not get a yes? Some agents sign nothing but logins.",
            ) from None
        raise AgentAnswerError(f"the agent at {line.name} does not speak as agents do: {error}") from None


@final
class _Line:
    """The connection to an agent, as asyncssh opens and uses one; it bounds what comes.

    Attributes:
        answered: The first byte of the last message: of what kind it is.
    """

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._reader: AgentReader | None = None
        self._writer: AgentWriter | None = None
        self.answered: int | None = None

    @property
    def name(self) -> str:
        """Where it leads, for people."""
        return self._socket or "its usual place"

    async def open_agent_connection(self) -> tuple[_Line, _Line]:
        """Connect; it is both the reader and the writer."""
        try:
            self._reader, self._writer = await _open(self._socket)
        except (OSError, ValueError) as error:
            raise AgentAwayError(f"no agent answers at {self.name}: {error}", hint=START_IT) from None
        return self, self

    async def readexactly(self, n: int) -> bytes:
        """Read exactly `n` bytes."""
        if n > limits.MAX_AGENT_MESSAGE:
            raise AgentAnswerError(
                f"the agent at {self.name} wants to send {n} bytes: at most {limits.MAX_AGENT_MESSAGE}"
            )
        if self._reader is None:
            raise EOFError
        try:
            data = await self._reader.readexactly(n)
        except (asyncio.IncompleteReadError, OSError):
            raise AgentAwayError(f"the agent at {self.name} hung up", hint=START_IT) from None
        self.answered = data[0] if data else None
        return data

    def write(self, data: bytes) -> None:
        """Send; what an agent does not take, is forgotten with the connection."""
        if self._writer is not None:
            self._writer.write(data)

    def close(self) -> None:
        """Let go at once: an agent that does not read keeps nobody waiting."""
        if isinstance(self._writer, asyncio.StreamWriter):
            self._writer.transport.abort()
        elif self._writer is not None:
            self._writer.close()

    async def wait_closed(self) -> None:
        """It is closed as soon as it is let go."""


async def _open(socket: str) -> tuple[AgentReader, AgentWriter]:
    if sys.platform == "win32":
        from asyncssh.agent_win32 import open_agent  # knows OpenSSH's pipe and Pageant's window

        return await open_agent(socket)
    return await asyncio.open_unix_connection(socket)
