"""The vectors of specs/vectors/exchange.json, what generates them, and what else is generated from the sources."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from samara.protocol import errors
from samara.protocol.exchange import messages
from samara.protocol.exchange.frames import frame
from samara.protocol.exchange.headers import decode, encode
from samara.protocol.exchange.messages import Hello, Message, Request
from samara.protocol.exchange.session import Acceptor, Opener, State

ROOT = Path(__file__).resolve().parents[3]
VECTORS = json.loads((ROOT / "specs/vectors/exchange.json").read_text(encoding="utf-8"))


def load(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generator_reproduces_the_vectors() -> None:
    generated = load("specs/vectors/generate_exchange.py").build()
    assert generated == (ROOT / "specs/vectors/exchange.json").read_text(encoding="utf-8")


def test_the_generated_protobuf_is_up_to_date(tmp_path: Path) -> None:
    generator = load("scripts/generate_proto.py")
    generator.generate(tmp_path)
    for name in generator.GENERATED:
        fresh = (tmp_path / generator.PACKAGE / name).read_text(encoding="utf-8")
        assert fresh == (ROOT / "protocol/exchange" / name).read_text(encoding="utf-8"), f"{name}: run generate_proto"


def test_the_diagram_in_the_spec_is_the_table() -> None:
    diagram = load("scripts/exchange_diagram.py")
    spec = (ROOT / "specs/exchange.md").read_text(encoding="utf-8")
    assert diagram.with_diagram(spec) == spec


def build(row: dict[str, Any]) -> Message:
    def value(item: Any) -> Any:
        if isinstance(item, list):
            return tuple(value(part) for part in item)
        return bytes.fromhex(item) if isinstance(item, str) and len(item) == 64 else item

    built: Message = getattr(messages, row["message"])(**{name: value(item) for name, item in row["fields"].items()})
    return built


@pytest.mark.parametrize("row", VECTORS["messages"], ids=lambda row: row["name"])
def test_a_header_says_what_the_vector_says(row: dict[str, Any]) -> None:
    wire = bytes.fromhex(row["frame"])
    message = build(row)
    header = wire[1:] if wire[0] < 0x80 else wire[2:]
    assert decode(header) == (message, row["payload_length"])
    assert set(asdict(message)) == set(row["fields"])
    if row["name"] not in ("a request of a later version", "an unknown field"):
        assert frame(encode(message, row["payload_length"])) == wire


def pieces(parts: list[Any]) -> list[bytes]:
    return [bytes.fromhex(part) if isinstance(part, str) else bytes.fromhex(part[0]) * part[1] for part in parts]


def ask_all(opener: Opener, frames: list[Any]) -> None:
    for asked in pieces(frames):
        request, _ = decode(asked[1:])
        assert isinstance(request, Request)
        assert opener.ask(request) == asked


@pytest.mark.parametrize("row", VECTORS["violations"], ids=lambda row: row["name"])
def test_a_violation_ends_the_session(row: dict[str, Any]) -> None:
    side: Opener | Acceptor = Opener(Hello()) if row["side"] == "opener" else Acceptor(Hello())
    side.hello()
    parts = pieces(row["hears"])
    if isinstance(side, Opener):
        ask_all(side, row.get("early", []))
        if row["asked"]:
            side.receive(parts.pop(0))
            ask_all(side, row["asked"])
    for part in parts[:-1]:
        side.receive(part)
    with pytest.raises(getattr(errors, row["error"])):
        side.receive(parts[-1])
    assert side.state is State.FAILED
    with pytest.raises(errors.RemoteProtocolError):
        side.receive(b"\0")
    with pytest.raises(errors.LocalProtocolError):
        side.hello()
