"""The engine's process: `python -m samara.node.inference.child`, started by `engine` and by nobody else.

The one module that imports the engine. It takes one order, loads the model in place (the file is mapped, never copied),
streams the answer, and exits. The engine writes logs to stdout, so the pipe that was stdout is kept apart under another
number and stdout is pointed at stderr before the engine is imported.

It dies when its stdin ends, that is when the node dies, however it dies. A thread that waits is not enough for that:
the engine holds the interpreter's lock while it loads, for seconds. So the kernel is asked to send SIGIO when something
happens to the pipe, and SIGIO kills.

llama.cpp's server always listens somewhere. Here it is a Unix socket in a directory of mode 0700, which is removed as
soon as the model is loaded, so that nobody can connect any more; where there are none (Windows) it is a port of
127.0.0.1 that wants a key nobody has.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from samara.node.inference.fit import BATCH
from samara.node.inference.libgomp import load_libgomp
from samara.node.inference.wire import Done, Failed, Loaded, Message, Order, Token, decode_order, encode
from samara.protocol.errors import EngineError

__all__ = ["main"]

_LOG_TAKES: Final = 0.2
"""Seconds in which a thread of the engine writes its log: who ends at once on a busy machine takes the reason along."""

_STDIN: Final = 0
_STDOUT: Final = 1
_STDERR: Final = 2
_MAX_SOCKET_PATH: Final = 100  # bytes; sockaddr_un has 104 on macOS and 108 on Linux

Say = Callable[[Message], None]


def main() -> None:
    """Do one order and exit: 0 when it was done, 1 when it failed."""
    say = _keep_stdout()
    order = decode_order(_read_line())
    _die_with_the_node(order.scratch)
    _die_before_others()
    try:
        _generate(order, say)
    except EngineError as error:
        say(Failed(error.message, error.hint))
        os._exit(1)
    os._exit(0)  # taking the engine down would only cost time


def _keep_stdout() -> Say:
    """Keep the pipe of stdout for messages, and point stdout at stderr."""
    pipe = os.dup(_STDOUT)
    os.dup2(_STDERR, _STDOUT)

    def say(message: Message) -> None:
        left = memoryview(encode(message))
        try:
            while left:
                left = left[os.write(pipe, left) :]
        except OSError:  # the node is gone
            os._exit(1)

    return say


def _read_line() -> bytes:
    line = bytearray()
    while not line.endswith(b"\n"):
        more = os.read(_STDIN, 1 << 16)
        if not more:
            os._exit(1)
        line += more
    return bytes(line)


def _die_with_the_node(scratch: str) -> None:
    def wait() -> None:
        while os.read(_STDIN, 1 << 16):
            pass
        shutil.rmtree(scratch, ignore_errors=True)
        os._exit(1)

    if sys.platform != "win32":
        import fcntl  # not on Windows
        import select

        signal.signal(signal.SIGIO, signal.SIG_DFL)
        fcntl.fcntl(_STDIN, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(_STDIN, fcntl.F_SETFL, fcntl.fcntl(_STDIN, fcntl.F_GETFL) | os.O_ASYNC)
        if select.select([_STDIN], [], [], 0)[0]:  # it ended before anybody was told
            os._exit(1)
    threading.Thread(target=wait, daemon=True).start()


def _die_before_others() -> None:
    """Let the kernel take this process first when memory runs out, and write no core of a mapped model."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("900", encoding="ascii")
    if sys.platform != "win32":
        import resource  # not on Windows

        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _generate(order: Order, say: Say) -> None:
    started = time.perf_counter()
    server = _load(order)
    shutil.rmtree(order.scratch, ignore_errors=True)
    say(Loaded(time.perf_counter() - started))
    answer = _Answer(say)
    wish = {
        "max_tokens": order.max_tokens,
        "temperature": order.temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
        "cache_prompt": False,
    }
    if order.seed is not None:
        wish["seed"] = order.seed
    if order.chat:
        system = [] if order.system is None else [{"role": "system", "content": order.system}]
        wish["messages"] = [*system, {"role": "user", "content": order.prompt}]
        server.handle_chat_completions(wish, answer.take)
    else:
        wish["prompt"] = order.prompt
        server.handle_completions(wish, answer.take)
    say(answer.done())


def _load(order: Order) -> Any:  # noqa: ANN401 - the engine's classes have no types
    load_libgomp()
    try:
        import xllamacpp  # type: ignore[import-untyped]
    except ImportError as error:
        raise EngineError(f"the inference engine cannot be loaded: {error}", hint="pip install xllamacpp") from None
    try:
        return xllamacpp.Server(_parameters(xllamacpp, order))
    except RuntimeError:  # it says only that something failed; the reason is in its log, which the node has
        time.sleep(_LOG_TAKES)
        raise EngineError("the engine could not load the model") from None


def _parameters(xllamacpp: Any, order: Order) -> Any:  # noqa: ANN401 - as above
    """Return the engine's parameters. What is not set here was found harmless in its defaults."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = order.model_path
    parameters.load_mode = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_MMAP
    parameters.n_ctx = order.context
    parameters.n_batch = parameters.n_ubatch = BATCH
    parameters.n_parallel = 1
    parameters.n_outputs_max = 1
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = order.threads
    parameters.n_gpu_layers = 0
    parameters.no_extra_bufts = not order.repack
    parameters.cache_ram_mib = 0  # its default would keep up to 8 GiB of old prompts
    parameters.n_ctx_checkpoints = 0
    parameters.fit_params = False  # we told the context; it must not choose another
    parameters.offline = True
    parameters.ui = parameters.endpoint_slots = False
    parameters.api_keys = [secrets.token_urlsafe(32)]
    parameters.n_threads_http = 1
    # All of the answer in one stream, thoughts included, as the model wrote it.
    parameters.reasoning_format = xllamacpp.common_reasoning_format.COMMON_REASONING_FORMAT_NONE
    parameters.verbosity = 1  # errors
    socket = os.path.join(order.scratch, "engine.sock")
    if order.scratch and sys.platform != "win32" and len(os.fsencode(socket)) <= _MAX_SOCKET_PATH:
        parameters.hostnames = [socket]
    return parameters


class _Answer:
    """Gathers what the engine streams: chunks as OpenAI's API has them."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._stop = "stop"
        self._usage: dict[str, Any] = {}
        self._timings: dict[str, Any] = {}
        self._error: dict[str, Any] | None = None

    def take(self, chunk: dict[str, Any]) -> bool:
        """Take one chunk; True would end the stream."""
        if "error" in chunk:
            self._error = chunk["error"]
            return True
        for choice in chunk.get("choices", ()):
            text = choice.get("text") or choice.get("delta", {}).get("content")
            if text:
                self._say(Token(text))
            self._stop = choice.get("finish_reason") or self._stop
        self._usage = chunk.get("usage") or self._usage
        self._timings = chunk.get("timings") or self._timings
        return False

    def done(self) -> Done:
        """Return what the node is told at the end.

        Raises:
            EngineError: The engine refused or failed.
        """
        if self._error is not None:
            hint = "use a longer context" if self._error.get("type") == "exceed_context_size_error" else ""
            raise EngineError(f"the engine refused: {self._error.get('message', 'no reason given')}", hint=hint)
        return Done(
            stop=self._stop,
            prompt_tokens=int(self._usage.get("prompt_tokens", 0)),
            generated_tokens=int(self._usage.get("completion_tokens", 0)),
            tokens_per_second=float(self._timings.get("predicted_per_second", 0.0)),
            peak_rss=_peak_rss(),
        )


def _peak_rss() -> int:
    """Return bytes. Not `ru_maxrss` on Linux: that one begins with what the parent had when it forked."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 0


if __name__ == "__main__":
    main()
