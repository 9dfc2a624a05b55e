"""What can be asked of an inference engine, what it answers, and the seam at which another engine can be put in.

Today there is one engine, llama.cpp through xllamacpp, in a child process (`engine`). Another one, for CPUs without
AVX2 or for safetensors, implements `Engine` and is handed to `run_model`; nothing else knows which one runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, final

from samara.node.inference.wire import Loaded, Order, Token
from samara.protocol.errors import UsageError

__all__ = ["Emit", "Engine", "Generate", "Generated", "Loaded", "Token"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Generate:
    """A wish for text.

    Attributes:
        model_path: The model's file, or the first of a split one.
        prompt: What to answer, or with `raw` to go on with.
        system: What the chat begins with, or None.
        raw: Do not use the model's chat template.
        max_tokens: Tokens to generate at most, at least 1.
        temperature: 0 (always the likeliest token) to 2.
        seed: 0 … 2³²-2 makes the choice repeatable; None for a new one each time.
        context: Tokens of prompt and answer together; None for what the model and `max_tokens` suggest.
        threads: Threads that compute; None for all that this process may use.

    Raises:
        UsageError: A value is out of range.
    """

    model_path: Path
    prompt: str
    system: str | None = None
    raw: bool = False
    max_tokens: int = 256
    temperature: float = 0.8
    seed: int | None = None
    context: int | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.max_tokens < 1 or (self.context is not None and self.context < 1):
            raise UsageError("max_tokens and context must be at least 1")
        if not 0 <= self.temperature <= 2:
            raise UsageError(f"a temperature of {self.temperature}: must lie between 0 and 2")
        if self.seed is not None and not 0 <= self.seed < 0xFFFF_FFFF:
            raise UsageError(f"a seed of {self.seed}: must lie between 0 and 2³²-2")
        if self.threads is not None and not 1 <= self.threads <= 512:
            raise UsageError(f"{self.threads} threads: must lie between 1 and 512")
        if self.raw and self.system is not None:
            raise UsageError("a system text needs the chat template, and raw does without it")


@final
@dataclass(frozen=True, slots=True)
class Generated:
    """The whole answer, and what it took.

    Attributes:
        text: The answer.
        stop: "stop" when the model ended it, "length" when a limit did.
        prompt_tokens: Tokens of the prompt, with the template's.
        generated_tokens: Tokens of the answer.
        tokens_per_second: Of generating, without the prompt.
        load_seconds: Until the model was loaded.
        peak_rss: Bytes that the engine's process had resident at most, mapped weights included.
    """

    text: str
    stop: str
    prompt_tokens: int
    generated_tokens: int
    tokens_per_second: float
    load_seconds: float
    peak_rss: int


Emit = Callable[[Loaded | Token], Awaitable[None]]
"""Takes each event as it comes; while it waits, the engine waits."""


class Engine(Protocol):
    """Something that generates text from a model's file."""

    @property
    def name(self) -> str:
        """What it is called, for messages."""
        ...

    def check(self) -> None:
        """Tell before anything is started whether it can run here; may block for some milliseconds.

        Raises:
            EngineError: It cannot.
        """
        ...

    async def generate(self, order: Order, emit: Emit) -> Generated:
        """Do what is ordered; cancelling leaves nothing behind.

        Raises:
            EngineError: It failed.
        """
        ...
