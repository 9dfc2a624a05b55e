"""run: generate text with a model."""

from __future__ import annotations

import sys

import click

from samara.cli.doors import call
from samara.cli.output import emit_json, human_bytes, json_option, say, show_events
from samara.cli.targets import insist_option, target_of
from samara.node.operations.run import RUN, RunRequest
from samara.protocol.errors import UsageError

__all__ = ["run_command"]


@click.command("run")
@click.argument("target", metavar="REF|PATH")
@click.argument("prompt", required=False)
@click.option("--file", "file", default="", help="Which of the release's files, when several can run.")
@click.option("--system", default="", help="What the chat begins with.")
@click.option("--raw", is_flag=True, help="Go on with PROMPT as it is, without the model's chat template.")
@click.option("--max-tokens", default=256, show_default=True, help="Tokens to generate at most.")
@click.option("--temperature", default=0.8, show_default=True, help="0 is always the likeliest token.")
@click.option("--seed", type=int, help="Makes the answer repeatable.")
@click.option("--context", type=int, help="Tokens of prompt and answer together.")
@click.option("--force", is_flag=True, help="Load it also when it seems not to fit into memory.")
@insist_option
@json_option
def run_command(
    target: str, prompt: str | None, file: str, system: str, raw: bool, max_tokens: int, temperature: float,
    seed: int | None, context: int | None, force: bool, insist: tuple[str, ...], as_json: bool,
) -> None:  # fmt: skip
    """Generate text with a model, on the CPU. Without PROMPT it is read from stdin.

    \b
    samara run tiny-chat.gguf "What is a samara?"
    samara run REF --temperature 0 --max-tokens 64 < question.txt
    """  # noqa: D301 - click wants the character, not the two
    if prompt is None:
        if sys.stdin.isatty():
            raise UsageError("there is no prompt", hint='Write it behind the model: samara run REF "What is a samara?"')
        prompt = sys.stdin.read()
    what = target_of(target)
    request = RunRequest(
        what.text,
        prompt,
        what.is_path,
        file,
        system,
        raw,
        max_tokens,
        temperature,
        seed,
        context,
        force,
        insist,
    )
    with show_events(quiet=as_json, text=not as_json) as report:
        result = call(RUN, request, report)
    if as_json:
        emit_json(result)
        return
    say()
    print(
        f"({result.generated_tokens} tokens, {result.tokens_per_second:.1f}/s; loaded in {result.load_seconds:.1f} s;"
        f" {human_bytes(result.peak_rss)} of memory)",
        file=sys.stderr,
    )
