"""run: generate text with a held model, or with a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from samara.node.inference.generation import Generate, Loaded, Token
from samara.node.inference.run import run_model
from samara.node.operations.base import Notice, Operation, Progress, Report, Text
from samara.node.operations.judging import check_held, check_path, notices
from samara.node.operations.refs import find_release
from samara.node.store.catalog import HeldRelease
from samara.node.store.store import Store
from samara.protocol.errors import NotFoundError, UsageError, VerificationError

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = ["RUN", "RunRequest", "RunResult"]


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to generate.

    Attributes:
        target: A REF, or an absolute path of a model file.
        prompt: What to answer.
        is_path: `target` is a path.
        file: Which of a release's files; empty when there is only one that can run.
        system: What the chat begins with; empty for nothing.
        raw: Go on with the prompt as it is, without the chat template.
        max_tokens: Tokens at most.
        temperature: 0 to 2.
        seed: Makes the choice repeatable; None for a new one.
        context: Tokens of prompt and answer; None chooses.
        force: Load it also when it seems not to fit into memory.
        insist: Names of releases that are run although they were taken back, or are not believed.
    """

    target: str
    prompt: str
    is_path: bool = False
    file: str = ""
    system: str = ""
    raw: bool = False
    max_tokens: int = 256
    temperature: float = 0.8
    seed: int | None = None
    context: int | None = None
    force: bool = False
    insist: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunResult:
    """What was generated (specs/cli.md)."""

    text: str
    prompt_tokens: int
    generated_tokens: int
    tokens_per_second: float
    load_seconds: float
    peak_rss: int
    stop: str
    model: str


async def _run(node: Node, request: RunRequest, report: Report) -> RunResult:
    if request.is_path:
        path = Path(request.target)
        judged = await trio.to_thread.run_sync(check_path, node.store, path, request.insist)
    else:
        held = await trio.to_thread.run_sync(find_release, node.store, request.target)
        judged = await trio.to_thread.run_sync(check_held, node.store, held, request.insist)
        path = await trio.to_thread.run_sync(_model_of, node.store, held, request.file)
    for notice in notices(judged):
        report(Notice(notice))

    async def emit(event: Loaded | Token) -> None:
        if isinstance(event, Token):
            report(Text(event.text))
        else:
            report(Progress("loaded", 1, 1, unit="models", note=path.name))

    generated = await run_model(
        Generate(
            model_path=path,
            prompt=request.prompt,
            system=request.system or None,
            raw=request.raw,
            max_tokens=request.max_tokens,
            temperature=request.temperature,
            seed=request.seed,
            context=request.context,
        ),
        emit,
        force=request.force,
    )
    return RunResult(
        generated.text,
        generated.prompt_tokens,
        generated.generated_tokens,
        round(generated.tokens_per_second, 2),
        round(generated.load_seconds, 3),
        generated.peak_rss,
        generated.stop,
        str(path),
    )


def _model_of(store: Store, held: HeldRelease, file: str) -> Path:
    """Return the path of the file to run of a held release."""
    if held.condemned:
        raise VerificationError(f"{held.name} is condemned: {held.condemned}", hint="Fetch another release.")
    if not store.contents.has(held.content):
        raise NotFoundError(f"{held.name} is not here", hint="Fetch it: samara fetch REF")
    paths = [entry.path for entry in store.contents.table(held.content)]
    models = [path for path in paths if path == file] if file else [p for p in paths if p.lower().endswith(".gguf")]
    # Of a model in several files the engine wants the first.
    models = [path for path in models if file or "-of-" not in path or "-00001-of-" in path]
    if not models:
        raise NotFoundError(f"{held.name} has no {file or 'GGUF file'}", hint="See its files with samara show REF.")
    if len(models) > 1:
        raise UsageError(f"{held.name} has {len(models)} models", hint=f"Say which: --file {models[0]}")
    # The rest of the release may be missing: samara fetch --include "*.gguf" brings what is needed.
    stem = models[0].partition("-00001-of-")[0]
    needed = {n for n, path in enumerate(paths, 1) if path == models[0] or path.startswith(f"{stem}-0")}
    for place in store.contents.places(held.content):
        if place.state == "online" and needed <= set(store.contents.complete_streams(place)):
            return place.root.joinpath(*models[0].split("/"))
    raise NotFoundError(f"{models[0]} of {held.name} is not here whole", hint="Fetch it: samara fetch REF")


RUN = Operation("run", RunRequest, RunResult, _run, looks=True)
