"""SmolLM2-135M for real: text, repeatability, and no process left behind, however either side dies."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import trio

import samara
from samara.node.inference.fit import estimate
from samara.node.inference.generation import Generate, Generated, Loaded, Token
from samara.node.inference.run import check_model, run_model
from samara.protocol.errors import EngineError, ModelHeaderError
from samara.protocol.limits import MIB

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for children in /proc"),
]


def children() -> list[int]:
    """Return the processes whose parent is this one; zombies too."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            found.append(int(stat.parent.name))
    return found


def wish(model: Path, **changes: object) -> Generate:
    settings: dict[str, object] = {
        "prompt": "Why is the sky blue?",
        "max_tokens": 24,
        "temperature": 0,
        "context": 1024,
    }
    return Generate(model_path=model, **(settings | changes))  # type: ignore[arg-type]


async def run(request: Generate) -> tuple[Generated, list[Loaded | Token]]:
    events: list[Loaded | Token] = []

    async def emit(event: Loaded | Token) -> None:
        events.append(event)

    with trio.fail_after(120):
        return await run_model(request, emit), events


async def test_text_is_generated_and_streamed(smollm2: Path) -> None:
    generated, events = await run(wish(smollm2))
    assert isinstance(events[0], Loaded)
    pieces = [event.text for event in events[1:] if isinstance(event, Token)]
    assert len(pieces) > 10
    assert "".join(pieces) == generated.text
    assert "light" in generated.text
    assert (generated.stop, generated.generated_tokens) == ("length", 24)
    assert 20 < generated.prompt_tokens < 60
    assert generated.tokens_per_second > 1
    assert 50 * MIB < generated.peak_rss < estimate(check_model(smollm2), 1024).needed * 1.2
    assert children() == []


async def test_the_same_seed_gives_the_same_text(smollm2: Path) -> None:
    texts = [(await run(wish(smollm2, temperature=1.0, seed=seed, max_tokens=12)))[0].text for seed in (7, 7, 8)]
    assert texts[0] == texts[1] != texts[2]
    greedy = [(await run(wish(smollm2, max_tokens=8, seed=seed)))[0].text for seed in (1, 2)]
    assert greedy[0] == greedy[1]


async def test_raw_goes_on_with_the_text_and_a_system_text_is_heard(smollm2: Path) -> None:
    raw, _events = await run(wish(smollm2, prompt="The capital of France is", raw=True, max_tokens=4))
    assert raw.text.startswith(" Paris")
    assert raw.prompt_tokens < 10
    plain, _events = await run(wish(smollm2, max_tokens=4))
    told, _events = await run(
        wish(smollm2, max_tokens=4, system="You always answer in one word, and nothing else at all.")
    )
    assert told.prompt_tokens != plain.prompt_tokens


async def test_a_prompt_longer_than_the_context_is_refused_in_numbers(smollm2: Path) -> None:
    with pytest.raises(EngineError, match=r"exceeds the available context size \(256 tokens\)") as caught:
        await run(wish(smollm2, prompt="word " * 2000, context=256))
    assert caught.value.hint == "use a longer context"
    assert children() == []


async def test_cancelling_in_the_middle_leaves_no_child(smollm2: Path) -> None:
    seen = 0
    with trio.fail_after(60), trio.CancelScope() as scope:

        async def emit(event: Loaded | Token) -> None:
            nonlocal seen
            seen += isinstance(event, Token)
            if seen == 5:
                assert len(children()) == 1
                scope.cancel()
                await trio.lowlevel.checkpoint()  # more events may lie in what was read already

        await run_model(wish(smollm2, max_tokens=900), emit)
    assert scope.cancelled_caught
    assert seen == 5
    assert children() == []


async def test_cancelling_while_it_loads_leaves_no_child(smollm2: Path) -> None:
    async def emit(_event: Loaded | Token) -> None:
        raise AssertionError("too late")

    with trio.move_on_after(0.15) as scope:
        await run_model(wish(smollm2), emit)
    assert scope.cancelled_caught
    assert children() == []


async def test_a_child_that_is_killed_is_an_engine_error(smollm2: Path) -> None:
    async def emit(event: Loaded | Token) -> None:
        if isinstance(event, Token):
            for pid in children():
                os.kill(pid, signal.SIGKILL)

    with trio.fail_after(60), pytest.raises(EngineError, match="died of SIGKILL"):
        await run_model(wish(smollm2, max_tokens=900), emit)
    assert children() == []


@pytest.fixture
def lying(smollm2: Path, tmp_path: Path) -> Path:
    """The model with one number changed: its block count."""
    data = bytearray(smollm2.read_bytes())
    key = b"llama.block_count" + struct.pack("<I", 4)
    at = data.index(key) + len(key)
    data[at : at + 4] = struct.pack("<I", 0x7FFFFFFF)
    path = tmp_path / "lying.gguf"
    path.write_bytes(data)
    return path


@pytest.fixture
def unknown(smollm2: Path, tmp_path: Path) -> Path:
    """The model with an honest header of an architecture that nobody has heard of."""
    data = smollm2.read_bytes()
    name = b"general.architecture" + struct.pack("<IQ", 8, 5)
    header = data[:3_000_000].replace(b"llama.", b"lIama.").replace(name + b"llama", name + b"lIama")
    path = tmp_path / "unknown.gguf"
    path.write_bytes(header + data[3_000_000:])
    return path


async def test_a_lying_header_is_refused_before_any_child(lying: Path) -> None:
    started: list[Loaded | Token] = []
    with pytest.raises(ModelHeaderError, match="block_count"):
        await run_model(wish(lying), started.append, force=True)  # type: ignore[arg-type]
    assert started == []


async def test_what_the_engine_cannot_load_is_said_in_its_words(unknown: Path) -> None:
    with pytest.raises(EngineError, match=r"could not load the model \(unknown model architecture: 'lIama'\)"):
        await run(wish(unknown))


def listening(pid: int) -> list[str]:
    """Return the TCP sockets that a process has open, and the Unix sockets of engines that can be reached by name."""
    fds = {os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink()}
    found = []
    for table in ("tcp", "tcp6"):
        lines = Path(f"/proc/{pid}/net/{table}").read_text(encoding="ascii").splitlines()[1:]
        found += [line for line in lines if f"socket:[{line.split()[9]}]" in fds]
    names = [line.split()[-1] for line in Path("/proc/net/unix").read_text(encoding="utf-8").splitlines()]
    return found + [name for name in names if name.endswith("engine.sock") and Path(name).exists()]


async def test_nobody_can_reach_the_engine(smollm2: Path) -> None:
    """It listens on a socket whose name is gone by the time it is loaded, and on no port."""
    looked = False

    async def emit(event: Loaded | Token) -> None:
        nonlocal looked
        if isinstance(event, Loaded):
            [pid] = children()
            assert listening(pid) == []
            looked = True

    await run_model(wish(smollm2, max_tokens=2), emit)
    assert looked


PARENT = """
import sys, trio
from pathlib import Path
from samara.node.inference.generation import Generate, Token
from samara.node.inference.run import run_model
async def emit(event):
    print("token" if isinstance(event, Token) else "loaded", flush=True)
async def main():
    async with trio.open_nursery() as nursery:
        wish = Generate(model_path=Path(sys.argv[1]), prompt="Tell a story.", max_tokens=2000)
        nursery.start_soon(run_model, wish, emit)
        while True:
            for stat in Path("/proc").glob("[0-9]*/stat"):
                try:
                    fields = stat.read_text().rpartition(")")[2].split()
                    if int(fields[1]) == __import__("os").getpid():
                        print("child", stat.parent.name, flush=True)
                        await trio.sleep_forever()
                except OSError:
                    pass
            await trio.sleep(0.01)
trio.run(main)
"""


@pytest.mark.parametrize("moment", ["loading", "generating"])
def test_the_child_dies_with_a_parent_that_is_killed(moment: str, smollm2: Path, tmp_path: Path) -> None:
    # What a killed parent cannot remove, an empty directory, shall lie here.
    environment = os.environ | {"PYTHONPATH": str(Path(samara.__file__).parents[1]), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", textwrap.dedent(PARENT), str(smollm2)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as parent:
        assert parent.stdout is not None
        said = iter(parent.stdout)
        child = int(next(line for line in said if line.startswith("child")).split()[1])
        if moment == "generating":
            assert next(line for line in said if line.startswith("token"))
        else:
            time.sleep(0.25)  # the interpreter has started, the model is being mapped or warmed up
        parent.kill()
    end = time.monotonic() + 5
    while Path(f"/proc/{child}/cmdline").exists() and b"inference.child" in Path(f"/proc/{child}/cmdline").read_bytes():
        assert time.monotonic() < end, "the child outlived its parent"
        time.sleep(0.01)


def test_the_child_is_the_only_one_that_imports_the_engine(smollm2: Path) -> None:
    del smollm2
    code = "import sys, json, samara.node.inference.run; print(json.dumps(sorted(sys.modules)))"
    environment = os.environ | {"PYTHONPATH": str(Path(samara.__file__).parents[1])}
    out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True).stdout
    assert not [name for name in json.loads(out) if name.startswith("xllamacpp")]
