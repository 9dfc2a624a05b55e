"""llama.cpp in a child process: starts it, gives it one order, hands on what it says, and outlives its deaths.

The child is spawned, never forked, with a fresh interpreter, a session of its own, and an environment that holds no
more than it needs. It reads a stranger's model with code that was not written for strangers; what it dies of (an
illegal instruction, an abort, the kernel's want of memory) comes back as an `EngineError` that says so. Cancelling
kills it; so does the death of this process (see `child`). It is not sandboxed yet: `wrap` is the seam for that.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Final, final

import msgspec
import trio

import samara
from samara.node.inference.cpu import missing_features
from samara.node.inference.generation import Emit, Generated
from samara.node.inference.wire import MAX_LINE, Done, Failed, Loaded, Message, Order, Token, decode, encode
from samara.protocol.errors import EngineError
from samara.protocol.formats.header import shown
from samara.protocol.limits import KIB

__all__ = ["XllamaCpp"]

MAX_TOKEN_TEXT: Final = KIB
"""Bytes of text a token, on average: no vocabulary has longer ones, and a child that says more is not generating."""

MAX_LAST_WORDS: Final = 16 * KIB
"""Bytes of the child's stderr that are kept."""

PATIENCE: Final = 5.0
"""Seconds for a child that has said its last word to end by itself."""

_ENVIRONMENT: Final = (
    "HOME",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "PATH",
    "PYTHONPATH",
    "SAMARA_LIBGOMP",
    "SYSTEMROOT",
)
"""What the child inherits: enough to start and to find libraries; no token or password of anybody's."""

# What a death by this signal means, and what to do about it.
_DEATHS: Final[Mapping[str, tuple[str, str]]] = {
    "SIGILL": (
        "it used an instruction that this CPU does not have",
        "the engine needs a CPU with AVX2, FMA, F16C and BMI2 (2013 and later)",
    ),
    "SIGABRT": ("it gave up", "the model may be damaged or of a kind that this version does not know"),
    "SIGSEGV": ("it crashed", "the model may be damaged or hostile: verify it, and do not trust its publisher blindly"),
    "SIGBUS": ("the model's file changed or could not be read while it was mapped", "verify the model"),
    "SIGFPE": ("it crashed", "the model may be damaged or hostile: verify it, and do not trust its publisher blindly"),
    "SIGKILL": (
        "it was killed, most likely by the kernel because memory ran out",
        "use a shorter context or a smaller quantization, or close other programs",
    ),
}
_REASON: Final = "error loading model: "
_ILLEGAL_INSTRUCTION_ON_WINDOWS: Final = 0xC000001D


@final
class XllamaCpp:
    """The engine that Samara brings: GGUF models on a CPU with AVX2 or NEON.

    Args:
        wrap: Command that the child's own command is appended to: a sandbox, later.
    """

    def __init__(self, wrap: Sequence[str] = ()) -> None:
        self._wrap = tuple(wrap)

    @property
    def name(self) -> str:
        """What it is called."""
        return "llama.cpp (xllamacpp)"

    def check(self) -> None:
        """Tell whether the CPU has what the engine was compiled for.

        Raises:
            EngineError: It has not.
        """
        missing = missing_features()
        if missing:
            raise EngineError(
                f"this CPU has no {', '.join(sorted(m.upper() for m in missing))}, which {self.name} needs",
                hint="run the model on a CPU with AVX2 (2013 and later), or on 64-bit ARM",
            )

    async def generate(self, order: Order, emit: Emit) -> Generated:
        """Start a child, let it do what is ordered, and end it.

        Raises:
            EngineError: The child could not be started, failed, or died.
        """
        with tempfile.TemporaryDirectory(prefix="samara-engine-", ignore_cleanup_errors=True) as scratch:
            process = await self._spawn()
            last_words = bytearray()
            try:
                async with _alone(), trio.open_nursery() as nursery:
                    drained = trio.Event()
                    nursery.start_soon(_drain, process, last_words, drained)
                    generated = await _converse(process, msgspec.structs.replace(order, scratch=scratch), emit)
                    if isinstance(generated, Generated):
                        nursery.cancel_scope.cancel()
                    else:
                        with trio.move_on_after(PATIENCE):
                            await process.wait()
                            await drained.wait()
                        _kill(process)
                        await process.wait()
                        nursery.cancel_scope.cancel()
            finally:
                await _bury(process)
        if isinstance(generated, Generated):
            return generated
        raise _explain(generated, process.returncode, bytes(last_words))

    async def _spawn(self) -> trio.Process:
        if not sys.executable:
            raise EngineError("the engine runs in a process of its own, and this Python does not know its own path")
        # -P: what lies in the working directory must never be imported; it may be what was just downloaded.
        command = [*self._wrap, sys.executable, "-P", "-m", "samara.node.inference.child"]
        try:
            return await trio.lowlevel.open_process(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(os.environ),
                start_new_session=True,
            )
        except OSError as error:
            raise EngineError(f"the engine's process cannot be started: {error}") from None


@contextlib.asynccontextmanager
async def _alone() -> AsyncIterator[None]:
    """Let an error of the only task that can fail out of its nursery's group, so that callers see it as it is."""
    try:
        yield
    except BaseExceptionGroup as group:
        _cancelled, errors = group.split(trio.Cancelled)
        if errors is not None and len(errors.exceptions) == 1:
            raise errors.exceptions[0] from None
        raise


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    environment = {name: own[name] for name in _ENVIRONMENT if name in own}
    root = str(Path(samara.__file__).parents[1])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environment.get("PYTHONPATH"))))
    environment["GGML_NO_BACKTRACE"] = "1"  # it would run gdb
    # OpenMP's threads spin while they wait for each other. Beside anything else that computes, and a node that seeds
    # does, that costs nearly all speed: 1.4 tokens a second instead of 35, measured on two busy cores.
    environment["OMP_WAIT_POLICY"] = "passive"
    return environment


async def _drain(process: trio.Process, last_words: bytearray, drained: trio.Event) -> None:
    """Read the child's stderr to its end, and keep the last of it: a full pipe would stop the child."""
    assert process.stderr is not None  # noqa: S101 - it was opened with a pipe
    async for data in process.stderr:
        last_words += data
        del last_words[:-MAX_LAST_WORDS]
    drained.set()


async def _converse(process: trio.Process, order: Order, emit: Emit) -> Generated | Failed | None:
    """Give the order and hand on what comes.

    Returns:
        The answer; or why the child gave up; or None when it ended without a word.

    Raises:
        EngineError: It says what it must not say.
    """
    assert process.stdin is not None  # noqa: S101 - it was opened with a pipe
    with contextlib.suppress(trio.BrokenResourceError):  # it died early: how, is seen below
        await process.stdin.send_all(encode(order))
    load_seconds = 0.0
    text: list[str] = []
    room = order.max_tokens * MAX_TOKEN_TEXT + MAX_LINE
    async with contextlib.aclosing(_messages(process)) as messages:
        async for message in messages:
            match message:
                case Loaded():
                    load_seconds = message.seconds
                    await emit(message)
                case Token():
                    room -= len(message.text)
                    if room < 0:
                        raise EngineError("the engine's process says more than it was asked for")
                    text.append(message.text)
                    await emit(message)
                case Done():
                    return _generated(message, "".join(text), load_seconds)
                case Failed():
                    return message
    return None


async def _messages(process: trio.Process) -> AsyncGenerator[Message, None]:
    assert process.stdout is not None  # noqa: S101 - it was opened with a pipe
    buffer = bytearray()
    async for data in process.stdout:
        buffer += data
        *lines, buffer = buffer.split(b"\n")
        for line in lines:
            yield decode(line)
        if len(buffer) > MAX_LINE:
            raise EngineError(f"the engine's process sent a line of more than {MAX_LINE} bytes")


def _generated(done: Done, text: str, load_seconds: float) -> Generated:
    return Generated(
        text=text,
        stop=done.stop,
        prompt_tokens=done.prompt_tokens,
        generated_tokens=done.generated_tokens,
        tokens_per_second=done.tokens_per_second,
        load_seconds=load_seconds,
        peak_rss=done.peak_rss,
    )


def _kill(process: trio.Process) -> None:
    """Kill the child and whatever it started: it leads a session of its own."""
    if process.returncode is not None:
        return
    with contextlib.suppress(OSError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)


async def _bury(process: trio.Process) -> None:
    """Kill the child, wait until it is gone, and close its pipes, whatever else happens."""
    _kill(process)
    with trio.CancelScope(shield=True):
        await process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                await pipe.aclose()


def _explain(failed: Failed | None, returncode: int | None, stderr: bytes) -> EngineError:
    """Make an error of the child's own words, or of the way it died."""
    words = _last_words(stderr)
    after = f" ({words})" if words else ""
    if failed is not None:
        return EngineError(shown(failed.message, KIB) + after, hint=shown(failed.hint, KIB))
    code = returncode or 0
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"exit code {code}"
    if code & 0xFFFF_FFFF == _ILLEGAL_INSTRUCTION_ON_WINDOWS:
        name = "SIGILL"
    meaning, hint = _DEATHS.get(name, ("it ended without a word", ""))
    return EngineError(f"the engine's process died of {name}: {meaning}{after}", hint=hint)


def _last_words(stderr: bytes) -> str:
    """Return the line that says most: the loader's own reason, else the last one."""
    lines = [line.strip() for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    reasons = [line.partition(_REASON)[2] for line in lines if _REASON in line]
    asserts = [line for line in lines if "GGML_ASSERT" in line]
    return shown((reasons or asserts or lines[-1:] or [""])[0])
