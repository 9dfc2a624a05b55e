"""Keys in an agent: the publisher's Ed25519 key lies with somebody who signs when asked (specs/keys.md §7).

ssh-agent, gpg-agent with a card, the agents of password managers and of hardware keys speak one protocol over a local
socket (draft-ietf-sshm-ssh-agent); `agentline` asks, and is imported when an agent is asked and not before. An agent is
no friend: what it sends is bounded in bytes and time, and a signature that is not the one that was asked for ends here,
before anything is made of it. Nothing here blocks for longer than its limits.
"""

from __future__ import annotations

import base64
import hashlib
import os
import struct
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from samara.protocol import limits
from samara.protocol.dsse import is_weak_key
from samara.protocol.errors import AgentAnswerError, AgentAwayError, AgentError, AgentKeyError
from samara.protocol.ids import did_key

__all__ = ["START_IT", "AgentSigner", "KeyAgent", "OfferedKey"]

_VARIABLE: Final = "SSH_AUTH_SOCK"
_ED25519: Final = "ssh-ed25519"
_KEY_HEAD: Final = struct.pack(">I", len(_ED25519)) + _ED25519.encode() + struct.pack(">I", 32)
_SIGNATURE_HEAD: Final = struct.pack(">I", len(_ED25519)) + _ED25519.encode() + struct.pack(">I", 64)

START_IT: Final = (
    f"Start one (ssh-agent, gpg-agent), and let ${_VARIABLE} name its socket. A node in the background asks the agent"
    " of the command beside it, or else of who started it."
)
"""What to do where no agent is found."""


@final
@dataclass(frozen=True, slots=True)
class OfferedKey:
    """A key that an agent has.

    Attributes:
        kind: What the agent calls its kind: `ssh-ed25519` is one that can sign records.
        blob: Its public half, as SSH encodes it.
        comment: What its owner calls it; the agent's text, not to be trusted on a terminal.
    """

    kind: str
    blob: bytes
    comment: str

    @property
    def public(self) -> bytes | None:
        """The raw Ed25519 public key, 32 bytes; None when it is a key of another kind, or a weak one."""
        raw = self.blob[len(_KEY_HEAD) :]
        fits = self.blob.startswith(_KEY_HEAD) and len(raw) == 32
        return raw if fits and not is_weak_key(raw) else None

    @property
    def did(self) -> str:
        """It as did:key; empty when it cannot sign records."""
        return did_key(self.public) if self.public is not None else ""

    @property
    def fingerprint(self) -> str:
        """What `ssh-add -l` shows."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")


@final
class AgentSigner:
    """A key in an agent, as one that signs (`samara.protocol.dsse.Signer`).

    Args:
        socket: Where its agent is.
        public: The raw public key, 32 bytes.
    """

    __slots__ = ("_public", "_socket", "did")

    def __init__(self, socket: str, public: bytes) -> None:
        self._socket = socket
        self._public = public
        self.did: Final = did_key(public)

    def __repr__(self) -> str:
        return f"AgentSigner({self.did})"

    def sign(self, message: bytes) -> bytes:
        """Have a message signed, and return the 64-byte signature. Waits for the person, if the agent asks one.

        Raises:
            AgentError: One of its subclasses, by what went wrong.
        """
        blob = _KEY_HEAD + self._public
        if len(message) + len(blob) + 64 > limits.MAX_AGENT_MESSAGE:
            raise AgentError(
                f"a record of {len(message)} bytes is too long for an agent: it takes {limits.MAX_AGENT_MESSAGE}",
                hint="Say it in several records, or sign it with a key in a file.",
            )
        from samara.node.agentline import ask  # a third of a second: only who asks an agent pays it

        answer = ask(self._socket, lambda client: client.sign(blob, message), limits.AGENT_SIGN)
        signature = answer[len(_SIGNATURE_HEAD) :]
        if not answer.startswith(_SIGNATURE_HEAD) or len(signature) != 64:
            raise AgentAnswerError(f"the agent at {self._socket} answered with something else than a signature")
        try:
            Ed25519PublicKey.from_public_bytes(self._public).verify(signature, message)
        except InvalidSignature:
            raise AgentAnswerError(
                f"the agent at {self._socket} gave a wrong signature for {self.did}",
                hint="Nothing was signed. The agent is broken, or somebody stands between.",
            ) from None
        return signature


@final
class KeyAgent:
    """Finds the agent of this process.

    Args:
        environ: Names the socket.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ
        self._told = ""
        self._lock = threading.Lock()

    def tell(self, socket: str) -> None:
        """Ask the agent at this socket first from now on: that of a command that calls this process."""
        with self._lock:
            self._told = socket

    def sockets(self) -> list[str]:
        """Return where agents may be, the likeliest first."""
        with self._lock:
            named = [self._told, self._environ.get(_VARIABLE, "")]
        found = [socket for socket in dict.fromkeys(named) if socket]
        return found or ([""] if sys.platform == "win32" else [])  # Windows has places that are known

    def keys(self) -> tuple[str, list[OfferedKey]]:
        """Return the keys of the first agent that answers, and where that is.

        Raises:
            AgentError: None does; of several, what the first did.
        """
        first: AgentError | None = None
        for socket in self.sockets():
            try:
                return socket, _list(socket)
            except AgentError as error:
                first = first or error
        raise first or AgentAwayError(f"no agent can be asked: ${_VARIABLE} is not set", hint=START_IT)

    def signer(self, public: bytes) -> AgentSigner:
        """Return a key as one that signs, when an agent has it now.

        Args:
            public: The raw public key, 32 bytes.

        Raises:
            AgentKeyError: It is in none of those that answer.
            AgentError: None answers.
        """
        first: AgentError | None = None
        for socket in self.sockets():
            try:
                if any(key.public == public for key in _list(socket)):
                    return AgentSigner(socket, public)
                first = AgentKeyError(
                    f"the agent at {socket or 'its usual place'} does not have the key {did_key(public)}",
                    hint="Put the device in, or add the key (ssh-add FILE); samara key agent shows what it has.",
                )
            except AgentError as error:
                first = first or error
        raise first or AgentAwayError(
            f"the key {did_key(public)} is in an agent, and none can be asked: ${_VARIABLE} is not set", hint=START_IT
        )


def _list(socket: str) -> list[OfferedKey]:
    from samara.node.agentline import ask

    pairs = ask(socket, lambda client: client.get_keys(), limits.AGENT_ANSWER)
    return [
        OfferedKey(
            pair.algorithm.decode("ascii", "replace"),
            pair.public_data,
            (pair.get_comment_bytes() or b"").decode("utf-8", "replace"),
        )
        for pair in pairs
    ]
