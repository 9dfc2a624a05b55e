"""What was fetched is used where it lies, by programs that know nothing of Samara."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blake3
import pytest
import trio
from support.contents import Source, give_home
from support.nodes import fetch, up

from samara.protocol.ids import format_record

pytestmark = pytest.mark.model

RUN_GGUF = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_ctx, params.n_predict, params.cache_ram_mib, params.warmup = 256, 8, 0, False
server = xllamacpp.Server(params)
answer = server.handle_completions({"prompt": "The capital of France is", "n_predict": 8, "temperature": 0})
print("\\nANSWER", answer["choices"][0]["text"].replace("\\n", " ") if "choices" in answer else answer["content"])
"""

OPEN_SAFETENSORS = """
import json, sys
from safetensors import safe_open
with safe_open(sys.argv[1], framework="numpy") as model:
    names = sorted(model.keys())
    first = model.get_tensor(names[0])
    print(json.dumps([len(names), names[0], list(first.shape), float(first.ravel()[:64].sum())]))
"""


@dataclass(frozen=True)
class Fetched:
    """A model that was published in one home and fetched into another.

    Attributes:
        home: The home that fetched it.
        source: The file that was published.
        path: Where it lies now.
        release: Its release id.
    """

    home: Path
    source: Path
    path: Path
    release: str


def fetch_model(base: Path, model: Path) -> Fetched:
    """Publish a model where it lies, and fetch it into another home over loopback."""
    with give_home(base / "alice") as store:
        made = Source.publish(store, model)

    async def main() -> str:
        async with up(base / "alice") as alice, up(base / "bob") as bob:
            with trio.fail_after(120):
                return (await fetch(bob, made.release, [alice])).path

    return Fetched(base / "bob", model, Path(trio.run(main)), format_record(made.release))


@pytest.fixture(scope="module")
def gguf(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fetched]:
    yield from kept(tmp_path_factory.mktemp("gguf"), smollm2)


@pytest.fixture(scope="module")
def tensors(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fetched]:
    yield from kept(tmp_path_factory.mktemp("tensors"), minilm)


def kept(base: Path, model: Path) -> Iterator[Fetched]:
    yield fetch_model(base, model)
    shutil.rmtree(base, ignore_errors=True)  # 100 MB each: not to be kept for three runs, as pytest does


def samara(home: Path, *arguments: str) -> str:
    environ = os.environ | {
        "SAMARA_HOME": str(home), "SAMARA_NETWORK_LISTEN": "/ip4/127.0.0.1/tcp/0", "SAMARA_NETWORK_MDNS": "no",
        "SAMARA_NETWORK_DHT": "off",
    }  # fmt: skip
    command = [sys.executable, "-m", "samara.cli.main", *arguments]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def shown_file(fetched: Fetched) -> dict[str, Any]:
    shown = json.loads(samara(fetched.home, "show", fetched.release, "--json"))
    (file,) = shown["file_list"]
    assert (file["path"], file["state"]) == (fetched.source.name, "complete")
    assert shown["path"] == str(fetched.path)
    return dict(file)


def other_program(source: str, model: Path) -> str:
    """Run a program that does not know Samara, in a folder and a process of its own."""
    done = subprocess.run([sys.executable, "-I", "-c", source, str(model)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("model", ["gguf", "tensors"])
def test_common_tools_agree_on_the_digests(model: str, request: pytest.FixtureRequest) -> None:
    fetched: Fetched = request.getfixturevalue(model)
    file = shown_file(fetched)
    hasher = blake3.blake3(max_threads=blake3.blake3.AUTO)
    hasher.update_mmap(fetched.path)  # what b3sum does
    assert hasher.hexdigest() == file["blake3"]
    if shutil.which("sha256sum"):
        said = subprocess.run(["sha256sum", fetched.path], capture_output=True, text=True, check=True).stdout
        assert said.split()[0] == file["sha256"]
    with fetched.path.open("rb") as opened:
        assert hashlib.file_digest(opened, "sha256").hexdigest() == file["sha256"]
    assert file["bytes"] == fetched.path.stat().st_size == fetched.source.stat().st_size


@pytest.mark.parametrize("model", ["gguf", "tensors"])
def test_it_is_one_plain_file_and_nothing_else(model: str, request: pytest.FixtureRequest) -> None:
    fetched: Fetched = request.getfixturevalue(model)
    assert fetched.path.is_file()
    assert not fetched.path.is_symlink()
    assert fetched.path.name == fetched.source.name
    held = [path for path in (fetched.home / "content").rglob("*") if path.is_file()]
    assert held == [fetched.path]
    assert fetched.path.stat().st_nlink == 1
    assert not fetched.path.stat().st_mode & 0o222  # a program that would write to it by mistake cannot


def test_the_safetensors_library_opens_it_in_place(tensors: Fetched) -> None:
    ours, theirs = (json.loads(other_program(OPEN_SAFETENSORS, path)) for path in (tensors.path, tensors.source))
    assert ours == theirs
    assert ours[0] > 100


def test_llama_cpp_opens_it_in_place(gguf: Fetched) -> None:
    answer = other_program(RUN_GGUF, gguf.path).rpartition("ANSWER")[2].strip()
    assert "Paris" in answer


def test_samara_run_opens_it_in_place(gguf: Fetched) -> None:
    said = json.loads(
        samara(gguf.home, "run", gguf.release, "The capital of France is", "--json", "--raw", "--max-tokens", "8",
               "--temperature", "0")
    )  # fmt: skip
    assert said["generated_tokens"] > 0
    assert said["text"].strip()
    assert said["model"] == str(gguf.path)
    assert gguf.path.stat().st_nlink == 1
