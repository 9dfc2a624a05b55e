"""The parent's side against children that misbehave in every way: real processes, no model."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from support.model_headers import U32, safetensors_file, tiny_llama

from samara.node.inference import engine as engine_module
from samara.node.inference.engine import MAX_TOKEN_TEXT, XllamaCpp
from samara.node.inference.generation import Emit, Generate, Generated, Loaded, Token
from samara.node.inference.run import check_model, choose_context, run_model
from samara.node.inference.wire import MAX_LINE, Order
from samara.protocol.errors import EngineError, ModelHeaderError, NotFoundError, UsageError
from samara.protocol.limits import MIB

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")

ORDER = Order(model_path="/no/model", prompt="hello", max_tokens=4)
PREAMBLE = """
import json, os, signal, sys, time
order = json.loads(sys.stdin.readline())
def say(**message):
    print(json.dumps(message), flush=True)
def die(number):
    signal.signal(number, signal.SIG_DFL) if number != signal.SIGKILL else None
    os.kill(os.getpid(), number)
    time.sleep(30)
"""


def child(tmp_path: Path, play: str) -> XllamaCpp:
    """Return an engine whose child is a script: it has the order as `order`, and says what it likes."""
    script = tmp_path / "child.py"
    script.write_text(PREAMBLE + textwrap.dedent(play), encoding="utf-8")
    return XllamaCpp(wrap=(sys.executable, str(script)))


async def ignore(_event: Loaded | Token) -> None:
    pass


async def test_an_answer_is_streamed_and_summed_up(tmp_path: Path) -> None:
    engine = child(
        tmp_path,
        """
        say(type="loaded", seconds=0.5)
        for text in (order["prompt"], " \\u00e9", "\\n"):
            say(type="token", text=text)
        say(type="done", stop="length", prompt_tokens=7, generated_tokens=3, tokens_per_second=9.5, peak_rss=1 << 20)
        time.sleep(30)  # whoever does not go is made to go
        """,
    )
    events: list[Loaded | Token] = []

    async def emit(event: Loaded | Token) -> None:
        events.append(event)

    assert await engine.generate(ORDER, emit) == Generated("hello é\n", "length", 7, 3, 9.5, 0.5, 1 << 20)
    assert events == [Loaded(0.5), Token("hello"), Token(" é"), Token("\n")]


DEATHS = {
    "SIGILL": "CPU does not have",
    "SIGABRT": "gave up.*GGML_ASSERT: no",
    "SIGSEGV": "crashed",
    "SIGBUS": "changed or could not be read",
    "SIGKILL": "memory ran out",
    "SIGTERM": "without a word",
}


@pytest.mark.parametrize("name", DEATHS)
async def test_a_death_is_named(name: str, tmp_path: Path) -> None:
    engine = child(
        tmp_path,
        f"""
        say(type="loaded", seconds=0.1)
        print("noise\\nGGML_ASSERT: no\\nmore noise", file=sys.stderr, flush=True)
        die(signal.{name})
        """,
    )
    with pytest.raises(EngineError, match=f"died of {name}: .*{DEATHS[name]}"):
        await engine.generate(ORDER, ignore)


MISBEHAVIOURS = {
    "it leaves without a word": ("sys.exit(3)", "exit code 3"),
    "it says what is no message": ("print('hello', flush=True); time.sleep(30)", "no message"),
    "it says what nobody defined": ("say(type='other'); time.sleep(30)", "no message"),
    "it says a field of another type": ("say(type='token', text=5); time.sleep(30)", "no message"),
    "it sends a line without end": ("sys.stdout.write('x' * (1 << 22)); time.sleep(30)", f"more than {MAX_LINE}"),
    "it talks without end": ("while True: say(type='token', text='x' * 60000)", "more than it was asked for"),
    "it closes its pipes and stays": ("os.close(1); os.close(2); time.sleep(30)", "SIGKILL"),
    "it says why": ("say(type='failed', message='no \\x1b[2J', hint='do that')", r"no \\x1b\[2J"),
    "it never reads, and leaves": ("os._exit(1)", "exit code 1"),
}


@pytest.mark.parametrize("name", MISBEHAVIOURS)
async def test_a_misbehaving_child_is_an_engine_error(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "PATIENCE", 0.5)
    play, says = MISBEHAVIOURS[name]
    with trio.fail_after(20), pytest.raises(EngineError, match=says):
        await child(tmp_path, play).generate(ORDER, ignore)


async def test_much_on_stderr_does_not_stop_it(tmp_path: Path) -> None:
    engine = child(
        tmp_path,
        """
        sys.stderr.write("log\\n" * (1 << 20))
        say(type="done", stop="stop", prompt_tokens=1, generated_tokens=0, tokens_per_second=0, peak_rss=0)
        """,
    )
    with trio.fail_after(20):
        assert (await engine.generate(ORDER, ignore)).text == ""


async def test_a_command_that_is_not_there_is_an_engine_error(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="cannot be started"):
        await XllamaCpp(wrap=(str(tmp_path / "none"),)).generate(ORDER, ignore)


async def test_an_error_of_the_listener_comes_out_as_it_is_and_ends_the_child(tmp_path: Path) -> None:
    engine = child(
        tmp_path, "print(os.getpid(), file=sys.stderr); say(type='token', text=str(os.getpid())); time.sleep(60)"
    )
    pids: list[int] = []

    async def emit(event: Loaded | Token) -> None:
        assert isinstance(event, Token)
        pids.append(int(event.text))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await engine.generate(ORDER, emit)
    assert not alive(pids[0])


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@contextlib.contextmanager
def gone_within(pid: int, seconds: float) -> Iterator[None]:
    yield
    end = time.monotonic() + seconds
    while alive(pid):
        assert time.monotonic() < end, f"process {pid} outlived its parent by {seconds} s"
        time.sleep(0.01)


async def test_cancelling_leaves_no_child_and_no_grandchild(tmp_path: Path) -> None:
    engine = child(
        tmp_path,
        """
        import subprocess
        other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        say(type="token", text=f"{os.getpid()} {other.pid}")
        time.sleep(60)
        """,
    )
    pids: list[int] = []
    with trio.CancelScope() as scope:

        async def emit(event: Loaded | Token) -> None:
            assert isinstance(event, Token)
            pids.extend(map(int, event.text.split()))
            scope.cancel()

        await engine.generate(ORDER, emit)
    assert scope.cancelled_caught
    assert not alive(pids[0])
    with gone_within(pids[1], 5):
        pass


def test_the_child_inherits_no_secret() -> None:
    environment = engine_module._environment(
        {"PATH": "/bin", "HF_TOKEN": "secret", "SAMARA_HOME": "/h", "PYTHONPATH": "/x"}
    )
    assert "HF_TOKEN" not in environment
    assert "SAMARA_HOME" not in environment
    assert environment["GGML_NO_BACKTRACE"] == "1"
    assert environment["OMP_WAIT_POLICY"] == "passive"
    first, second = environment["PYTHONPATH"].split(os.pathsep)
    assert (Path(first) / "samara" / "__init__.py").exists()
    assert second == "/x"


class Recorder:
    """An engine that only notes what it was ordered."""

    name = "recorder"

    def __init__(self) -> None:
        self.orders: list[Order] = []

    def check(self) -> None:
        pass

    async def generate(self, order: Order, emit: Emit) -> Generated:
        self.orders.append(order)
        await emit(Token("x"))
        return Generated("x", "stop", 1, 1, 1.0, 0.0, 0)


def model(tmp_path: Path, **pairs: tuple[int, object]) -> Path:
    path = tmp_path / "model"
    gguf = tiny_llama()
    for key, pair in pairs.items():
        gguf.pairs[key.replace("__", ".")] = pair
    path.write_bytes(gguf.build())
    return path


async def test_the_flow_orders_what_the_header_suggests(tmp_path: Path) -> None:
    engine = Recorder()
    path = model(tmp_path)
    wish = Generate(model_path=path, prompt="p", seed=3, temperature=0, max_tokens=500, threads=2)
    assert (await run_model(wish, ignore, engine=engine)).text == "x"
    [order] = engine.orders
    assert order.model_path == str(path)
    assert (order.context, order.max_tokens, order.threads, order.seed) == (128, 128, 2, 3)
    assert order.chat
    assert order.repack
    await run_model(Generate(model_path=path, prompt="p", raw=True, context=64), ignore, engine=engine)
    assert (engine.orders[1].chat, engine.orders[1].context) == (False, 64)


async def test_a_model_without_a_template_goes_on_with_the_text(tmp_path: Path) -> None:
    gguf = tiny_llama()
    del gguf.pairs["tokenizer.chat_template"]
    path = tmp_path / "base.gguf"
    path.write_bytes(gguf.build())
    engine = Recorder()
    await run_model(Generate(model_path=path, prompt="p"), ignore, engine=engine)
    assert not engine.orders[0].chat


async def test_what_does_not_fit_is_not_started_unless_forced(tmp_path: Path) -> None:
    engine = Recorder()
    wish = Generate(model_path=model(tmp_path), prompt="p")
    with pytest.raises(EngineError, match=r"needs \d+ MiB .* and 1 MiB are available"):
        await run_model(wish, ignore, engine=engine, available=MIB)
    assert engine.orders == []
    await run_model(wish, ignore, engine=engine, available=MIB, force=True)
    assert not engine.orders[0].repack


async def test_a_lying_header_never_reaches_the_engine(tmp_path: Path) -> None:
    engine = Recorder()
    path = model(tmp_path, llama__block_count=(U32, 0x7FFFFFFF))
    with pytest.raises(ModelHeaderError, match="block_count"):
        await run_model(Generate(model_path=path, prompt="p"), ignore, engine=engine, force=True)
    assert engine.orders == []


async def test_a_cpu_that_lacks_something_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "missing_features", lambda: frozenset(["avx2", "fma"]))
    with pytest.raises(EngineError, match="no AVX2, FMA") as caught:
        await run_model(Generate(model_path=model(tmp_path), prompt="p"), ignore)
    assert caught.value.hint
    monkeypatch.setattr(engine_module, "missing_features", lambda: None)
    XllamaCpp().check()


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        check_model(tmp_path / "none")
    with pytest.raises(EngineError):
        check_model(tmp_path)
    text = tmp_path / "text"
    text.write_text("hello", encoding="ascii")
    with pytest.raises(EngineError, match="neither"):
        check_model(text)
    text.write_bytes(safetensors_file({}))
    with pytest.raises(EngineError, match="safetensors"):
        check_model(text)
    gguf = tiny_llama()
    gguf.tensors.clear()
    text.write_bytes(gguf.build())
    with pytest.raises(EngineError, match="not a language model"):
        check_model(text)


def test_all_files_of_a_split_model_are_checked(tmp_path: Path) -> None:
    files = [tmp_path / f"m-{n:05}-of-00002.gguf" for n in (1, 2)]
    for number, path in enumerate(files):
        part = tiny_llama(layers=2)
        part.tensors = [t for t in part.tensors if f"blk.{number}." in str(t.name)]
        part.pairs |= {"split.no": (U32, number), "split.count": (U32, 2)}
        path.write_bytes(part.build())
    assert check_model(files[0]).tensors == 4
    with pytest.raises(EngineError, match="later part"):
        check_model(files[1])
    misnamed = files[0].rename(tmp_path / "other.gguf")
    with pytest.raises(ModelHeaderError, match="must be named"):
        check_model(misnamed)
    misnamed.rename(files[0])
    files[1].write_bytes(files[1].read_bytes()[:-1])
    with pytest.raises(ModelHeaderError):
        check_model(files[0])
    files[1].unlink()
    with pytest.raises(NotFoundError):
        check_model(files[0])


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_tokens": 0},
        {"context": 0},
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"seed": -1},
        {"seed": 0xFFFFFFFF},
        {"threads": 0},
        {"raw": True, "system": "s"},
    ],
)
def test_a_wish_out_of_range_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Generate(model_path=Path("m"), prompt="p", **wrong)  # type: ignore[arg-type]


def test_the_context_suits_wish_and_model(tmp_path: Path) -> None:
    facts = check_model(model(tmp_path, llama__context_length=(U32, 1 << 20)))
    wish = Generate(model_path=Path("m"), prompt="p")
    assert choose_context(facts, wish) == 4096
    assert choose_context(facts, Generate(model_path=Path("m"), prompt="p", max_tokens=4000)) == 8000
    assert choose_context(facts, Generate(model_path=Path("m"), prompt="p", context=1 << 30)) == 1 << 20


def test_a_token_may_be_longer_than_its_share_of_the_line() -> None:
    assert MAX_TOKEN_TEXT < MAX_LINE
    assert signal.SIGKILL.name in engine_module._DEATHS
