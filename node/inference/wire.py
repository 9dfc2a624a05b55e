"""What the node and the engine's child say to each other: JSON, one message a line, over the child's own pipes.

The node writes one `Order` to the child's stdin and then holds the pipe open: its end tells the child that the node is
gone. The child answers on the pipe that was its stdout when it began: `Loaded`, then `Token`s, then `Done`; or `Failed`
at any time. The child has read a stranger's model, so what it says is bounded and checked like anything else from
outside.
"""

from __future__ import annotations

from typing import Final

import msgspec

from samara.protocol.errors import EngineError
from samara.protocol.limits import KIB

__all__ = ["MAX_LINE", "Done", "Failed", "Loaded", "Message", "Order", "Token", "decode", "decode_order", "encode"]

MAX_LINE: Final = 64 * KIB
"""Bytes of one message of the child: a token's text has some ten, a failure's words some hundred."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What the child is to do.

    Attributes:
        model_path: Absolute path of the model's first file.
        prompt: What the user says, or the text to go on with.
        system: What the chat begins with, or None.
        chat: Wrap the prompt in the model's chat template; else go on with it as it is.
        max_tokens: Tokens to generate at most.
        temperature: 0 always takes the likeliest token.
        seed: Makes the choice repeatable; None for a new one each time.
        context: Tokens of context, prompt and answer together.
        threads: Threads that compute.
        repack: Let the engine keep a second, faster form of the weights in memory.
        scratch: An empty directory of the child's own, for its socket.
    """

    model_path: str
    prompt: str
    system: str | None = None
    chat: bool = True
    max_tokens: int = 256
    temperature: float = 0.8
    seed: int | None = None
    context: int = 4096
    threads: int = 1
    repack: bool = True
    scratch: str = ""


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """The model is in memory, after `seconds`."""

    seconds: float


class Token(msgspec.Struct, frozen=True, tag="token"):
    """The next piece of text: one token mostly, more when a character takes several.

    The text is the model's, and may hold control characters: who shows it on a terminal must escape them.
    """

    text: str


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The answer is complete.

    Attributes:
        stop: "stop" when the model ended it, "length" when `max_tokens` did or the context was full.
        prompt_tokens: Tokens of the prompt, with the template's.
        generated_tokens: Tokens of the answer.
        tokens_per_second: Of generating, without the prompt.
        peak_rss: Bytes that the child had resident at most, mapped weights included.
    """

    stop: str
    prompt_tokens: int
    generated_tokens: int
    tokens_per_second: float
    peak_rss: int


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The child gives up, and could still say why."""

    message: str
    hint: str = ""


Message = Loaded | Token | Done | Failed

_decoder: Final[msgspec.json.Decoder[Message]] = msgspec.json.Decoder(Message)
_order_decoder: Final = msgspec.json.Decoder(Order)


def encode(message: Order | Message) -> bytes:
    """Return a message as a line."""
    return msgspec.json.encode(message) + b"\n"


def decode(line: bytes | bytearray) -> Message:
    """Parse what the child said.

    Raises:
        EngineError: It is no message.
    """
    try:
        return _decoder.decode(line)
    except msgspec.DecodeError:
        raise EngineError(f"the engine's process said what is no message: {bytes(line[:80])!r}") from None


def decode_order(line: bytes) -> Order:
    """Parse what the node ordered; the child trusts it."""
    return _order_decoder.decode(line)
