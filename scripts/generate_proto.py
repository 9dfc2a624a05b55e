"""Compile specs/exchange.proto into protocol/exchange/exchange_pb2.py and its stub.

The file is registered under `samara/protocol/exchange/exchange.proto`: protobuf's pool is one namespace for the whole
process, and a bare `exchange.proto` of some other package would clash with ours.

Usage: python scripts/generate_proto.py
"""

from __future__ import annotations

import sys
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "samara/protocol/exchange"
GENERATED = ("exchange_pb2.py", "exchange_pb2.pyi")


def generate(out: Path) -> None:
    """Write the generated module and its stub below `out`, a folder in which `samara/` is found or made.

    Raises:
        RuntimeError: The compiler refused the file; it has said why on standard error.
    """
    arguments = [f"-I{PACKAGE}={ROOT / 'specs'}", f"--python_out={out}", f"--pyi_out={out}"]
    if protoc.main(["protoc", *arguments, f"{PACKAGE}/exchange.proto"]):
        raise RuntimeError("protoc refused specs/exchange.proto")
    stub = out / PACKAGE / "exchange_pb2.pyi"
    # protoc's own stubs leave out the type arguments of Mapping, which mypy --strict refuses.
    stub.write_text('# mypy: disable-error-code="type-arg"\n' + stub.read_text(encoding="utf-8"), encoding="utf-8")


if __name__ == "__main__":
    generate(ROOT / "src")
    sys.stdout.write("".join(f"wrote protocol/exchange/{name}\n" for name in GENERATED))
