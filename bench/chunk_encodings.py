"""What the encodings of chunks save and cost, on real weights, against `zstd -3` of the same bytes in the same run.

    python bench/chunk_encodings.py [--runs N] [--most MIB] [--json]

The weights are all-MiniLM-L6-v2 in fp32 (91 MB, fetched once), cast to bf16 and fp16 with numpy, cut into chunks by
profile 1. Ratios are bytes sent over bytes of all weights; a chunk that a fine-tune leaves alone costs nothing, as its
receiver holds it. Speeds are MB of raw a second of CPU in one thread, the best of N runs, over at most M MiB of chunks
that are not left alone; a chunk that is sent raw was tried all the same.

What stands for a fine-tune is made by weights.py: noise of 0.1 %, 0.3 % or 1 % of each tensor's norm, and LoRAs merged
into the query and value matrices, or into all matrices of the encoder's layers. Of quantized weights every matrix
counts whose rows are a multiple of 32.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import zstandard
from goals import AIMS
from measuring import MIB, machine
from weights import ALL_LINEAR, CASTS, QUERY_VALUE, Tensors, lora, noise, read_tensors

from samara.cli.sample_model import MINILM, default_cache, fetch_sample
from samara.protocol.chunking.fastcdc import cut
from samara.protocol.encodings.codec import Encoding, decode, encode
from samara.protocol.encodings.layout import WordLayout
from samara.protocol.limits import MAX_CHUNK

SPEED: Final = {"planes bf16": (700, 1500)}
"""MB/s a core at least, to encode and to decode."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk, what it is told of, and the chunk at its place in the base."""

    raw: bytes
    layout: WordLayout | None
    base: bytes | None = None


# Chunks.


def chunks(cast: str, tensors: Tensors, base: Tensors | None = None) -> Iterator[Chunk]:
    """Yield the chunks of all tensors, each restarting as profile 1 does; small ones are not joined."""
    dtype, write = CASTS[cast]
    for name, tensor in tensors.items():
        if cast.startswith("Q") and (tensor.ndim != 2 or tensor.shape[-1] % 32):
            continue
        data = write(tensor)
        held = write(base[name]) if base is not None else None
        for at in range(0, len(data), MAX_CHUNK):
            part = held[at : at + MAX_CHUNK] if held is not None else None
            yield Chunk(data[at : at + MAX_CHUNK], WordLayout.of(dtype, at), part)


def text(path: Path) -> Iterator[Chunk]:
    """Yield the chunks of a file without structure."""
    data, at = path.read_bytes(), 0
    for length in cut(memoryview(data), last=True):
        yield Chunk(data[at : at + length], None)
        at += length


# Measuring.


def measure(encoding: Encoding, made: list[Chunk], runs: int, most: int) -> dict[str, float]:
    """Return shares of raw, and speeds in MB a second of CPU."""
    packer, held = zstandard.ZstdCompressor(level=3), encoding is Encoding.DELTA
    total = sum(len(chunk.raw) for chunk in made)
    moved = [chunk for chunk in made if chunk.base is None or chunk.raw != chunk.base]
    sent = peer = 0
    for chunk in moved:
        payload = encode(encoding, chunk.raw, chunk.layout, chunk.base)
        if payload is not None and decode(encoding, payload, len(chunk.raw), chunk.base) != chunk.raw:
            raise SystemExit("a chunk came back as another")
        sent += len(chunk.raw if payload is None else payload)
        peer += min(len(chunk.raw), len(packer.compress(chunk.raw)))
    timed = _some(moved, most)
    payloads = [(chunk, encode(encoding, chunk.raw, chunk.layout, chunk.base)) for chunk in timed]
    coded = [(chunk, payload) for chunk, payload in payloads if payload is not None]
    packed = [packer.compress(chunk.raw) for chunk in timed]
    reader = zstandard.ZstdDecompressor()

    def decode_all() -> None:
        for chunk, payload in coded:
            decode(encoding, payload, len(chunk.raw), chunk.base)

    raw = sum(len(chunk.raw) for chunk in timed)
    forth = _best(lambda: [encode(encoding, c.raw, c.layout, c.base) for c in timed], runs)
    back = _best(decode_all, runs)
    peer_forth = _best(lambda: [packer.compress(c.raw) for c in timed], 1)
    peer_back = _best(lambda: [reader.decompress(frame) for frame in packed], runs)
    return {
        "mib": round(total / MIB, 1),
        "moved": round(sum(len(chunk.raw) for chunk in moved) / total, 4),
        "ratio": round(sent / total, 4),
        "encode_mb_s": round(raw / forth / 1e6),
        "decode_mb_s": round(sum(len(chunk.raw) for chunk, _ in coded) / back / 1e6) if coded else 0,
        "zstd_ratio": round(peer / total, 4),
        "zstd_encode_mb_s": round(raw / peer_forth / 1e6),
        "zstd_decode_mb_s": round(raw / peer_back / 1e6),
        "to_zstd": round(sent / peer, 3) if held or peer else 1.0,
    }


def _some(made: list[Chunk], most: int) -> list[Chunk]:
    """Return chunks from all over, of at most so many bytes together."""
    step = max(1, -(-sum(len(chunk.raw) for chunk in made) // most))
    return made[::step]


def _best(work: Callable[[], object], runs: int) -> float:
    """Return CPU seconds of this thread, the best of some runs after one that warms up."""
    found = []
    for _ in range(runs + 1):
        began = time.thread_time()
        work()
        found.append(time.thread_time() - began)
    return min(found[1:])


def cases(model: Path) -> Iterator[tuple[str, Encoding, list[Chunk]]]:
    base = read_tensors(model)
    for cast in CASTS:
        yield f"planes {cast}", Encoding.PLANES, list(chunks(cast, base))
    tuned = {
        "fine-tune 1e-3": noise(base, 1e-3),
        "fine-tune 3e-3": noise(base, 3e-3),
        "fine-tune 1e-2": noise(base, 1e-2),
        "LoRA of q, v": lora(base, QUERY_VALUE),
        "LoRA of all linear": lora(base, ALL_LINEAR),
    }
    for cast, kinds in {"bf16": tuple(tuned), "fp16": ("fine-tune 3e-3",), "fp32": ("fine-tune 3e-3",)}.items():
        for kind in kinds:
            yield f"delta {cast}, {kind}", Encoding.DELTA, list(chunks(cast, tuned[kind], base))
    for cast in ("Q8_0", "Q4_0"):
        yield f"delta {cast}, fine-tune 3e-3", Encoding.DELTA, list(chunks(cast, tuned["fine-tune 3e-3"], base))
    yield "text: tokenizer.json", Encoding.TEXT, list(text(model.with_name("tokenizer.json")))


def main() -> int:
    arguments = _arguments()
    model = fetch_sample(MINILM, cache=default_cache())
    report: dict[str, dict[str, Any]] = {}
    for name, encoding, made in cases(model):
        found: dict[str, Any] = measure(encoding, made, arguments.runs, arguments.most * MIB)
        if name in AIMS:
            found |= {"aim": AIMS[name], "met": found["ratio"] <= AIMS[name]}
        if name in SPEED:
            forth, back = SPEED[name]
            found["fast"] = found["encode_mb_s"] >= forth and found["decode_mb_s"] >= back
        report[name] = found
        if not arguments.json:
            print(_line(name, found), flush=True)
    said = {"machine": machine(), "zstd": ".".join(map(str, zstandard.ZSTD_VERSION)), "runs": arguments.runs}
    print(json.dumps(said | report, indent=2) if arguments.json else said)
    return 0 if all(found.get("met", True) and found.get("fast", True) for found in report.values()) else 1


def _line(name: str, found: dict[str, Any]) -> str:
    aim = f"aim {found['aim']:.1%} {'met' if found['met'] else 'MISSED'}" if "aim" in found else ""
    ours = f"{found['ratio']:7.2%} {found['encode_mb_s']:5} / {found['decode_mb_s']:5} MB/s"
    peer = f"zstd -3 {found['zstd_ratio']:7.2%} {found['zstd_encode_mb_s']:5} / {found['zstd_decode_mb_s']:5}"
    return f"{name:32} {found['mib']:6} MiB  {ours}  {peer}  {aim}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--most", type=int, default=24, help="MiB that are timed of each kind")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
