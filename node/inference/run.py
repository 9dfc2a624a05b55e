"""From a file to an answer: check the header, see whether it fits, see whether the CPU will do, and only then run it.

Each step refuses in its own words before the next one touches the file, so a lying header never reaches the engine, and
a model that cannot fit is told so in numbers instead of being killed half way.
"""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Final

import trio

from samara.node.inference.cpu import usable_threads
from samara.node.inference.engine import XllamaCpp
from samara.node.inference.fit import Fit, available_memory, estimate
from samara.node.inference.generation import Emit, Engine, Generate, Generated
from samara.node.inference.wire import Order
from samara.protocol.errors import EngineError, ModelHeaderError, NotFoundError
from samara.protocol.formats.facts import ModelFacts, join_shards, read_facts

__all__ = ["DEFAULT_CONTEXT", "check_model", "choose_context", "run_model"]

DEFAULT_CONTEXT: Final = 4096
"""Tokens of context when nobody says otherwise: what a page or two and an answer need. The longest that a model was
trained for would often take more memory than its weights."""

_SHARD: Final = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")


async def run_model(
    request: Generate, emit: Emit, *, engine: Engine | None = None, force: bool = False, available: int | None = None
) -> Generated:
    """Generate text from a model's file.

    Args:
        request: What is wished.
        emit: Takes `Loaded` and `Token` events as they come.
        engine: What runs it; llama.cpp by default.
        force: Try it also when it does not seem to fit into memory.
        available: Bytes of memory that may be used; None to find out.

    Raises:
        NotFoundError: There is no such file.
        ModelHeaderError: Its header lies.
        EngineError: It cannot be run here, or failed.
    """
    engine = engine or XllamaCpp()
    facts = await trio.to_thread.run_sync(check_model, request.model_path)
    context = choose_context(facts, request)
    room = available if available is not None else await trio.to_thread.run_sync(available_memory)
    fit = estimate(facts, context)
    if not force:
        fit.require(room)
    await trio.to_thread.run_sync(engine.check)
    return await engine.generate(_order(request, facts, context, fit, room), emit)


def check_model(path: Path) -> ModelFacts:
    """Check the headers of a model's file, and of all others of it when it is split; blocks.

    Raises:
        NotFoundError: A file is missing.
        ModelHeaderError: A header lies.
        EngineError: It is no model that the engine can run.
    """
    facts = _read(path)
    if facts.shards > 1:
        facts = join_shards([_read(shard) for shard in _shard_paths(path, facts)])
    if facts.container != "gguf":
        raise EngineError(
            f"{path.name} is a {facts.container} file, and only GGUF models can be run", hint="convert it"
        )
    if not facts.layers or not facts.tensors or not facts.embedding_length:
        raise EngineError(f"{path.name} ({facts.architecture}) is not a language model: it has no layers to run")
    return facts


def choose_context(facts: ModelFacts, request: Generate) -> int:
    """Return the tokens of context: what was asked, else enough to answer; never more than the model was made for."""
    wanted = request.context or max(DEFAULT_CONTEXT, 2 * request.max_tokens)
    return min(wanted, facts.context_length or wanted)


def _read(path: Path) -> ModelFacts:
    try:
        # Unbuffered: the reader has its own window. Regular files only: a pipe or a device would never end.
        with path.open("rb", buffering=0) as file:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise EngineError(f"{path} is not a regular file")

            def read_at(offset: int, length: int) -> bytes:
                file.seek(offset)
                return file.read(length) or b""

            facts = read_facts(read_at, status.st_size)
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {path}") from None
    except OSError as error:
        raise EngineError(f"{path} cannot be read: {error.strerror}") from None
    if facts is None:
        raise EngineError(f"{path.name} is neither GGUF nor safetensors", hint="name a model's file")
    return facts


def _shard_paths(path: Path, facts: ModelFacts) -> list[Path]:
    match = _SHARD.fullmatch(path.name)
    if match is None or int(match["count"]) != facts.shards:
        raise ModelHeaderError(
            f"{path.name} is one of {facts.shards} files, and must be named …-00001-of-{facts.shards:05}.gguf"
        )
    if int(match["number"]) != 1:
        raise EngineError(f"{path.name} is a later part of a model", hint=f"name part 00001 of {facts.shards}")
    return [path.with_name(f"{match['stem']}-{n:05}-of-{facts.shards:05}.gguf") for n in range(1, facts.shards + 1)]


def _order(request: Generate, facts: ModelFacts, context: int, fit: Fit, room: int | None) -> Order:
    return Order(
        model_path=str(request.model_path.absolute()),
        prompt=request.prompt,
        system=request.system,
        chat=facts.chat_template and not request.raw,  # a model without a template goes on with the text
        max_tokens=min(request.max_tokens, context),
        temperature=request.temperature,
        seed=request.seed,
        context=context,
        threads=request.threads or usable_threads(),
        repack=fit.may_repack(room),
    )
