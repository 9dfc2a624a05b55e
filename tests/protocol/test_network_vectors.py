"""The vectors of specs/network.md, replayed; and the generator writes what is committed."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from samara.protocol import errors
from samara.protocol.addresses import decode_address, parse_address
from samara.protocol.contacts import Contact
from samara.protocol.ids import ContentId
from samara.protocol.kad.messages import decode, encode
from samara.protocol.mates import decode_mates, decode_mates_request, encode_mates, encode_mates_request
from samara.protocol.peers import format_peer_id, parse_peer_id
from samara.protocol.reach import decode_answer, decode_request, encode_answer, encode_request
from samara.protocol.routing import head_key, routing_key

FOLDER = Path(__file__).resolve().parents[2] / "specs" / "vectors"
VECTORS: dict[str, list[dict[str, Any]]] = json.loads((FOLDER / "network.json").read_text("utf-8"))


def vectors(part: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", VECTORS[part], ids=lambda vector: vector["name"])


def error_of(vector: dict[str, Any]) -> type[Exception]:
    kind: type[Exception] = getattr(errors, vector["error"])
    return kind


@vectors("routing")
def test_routing(vector: dict[str, Any]) -> None:
    if "kind" in vector:
        assert routing_key(vector["kind"], bytes.fromhex(vector["id"])).hex() == vector["key"]
    else:
        assert head_key(bytes.fromhex(vector["publisher"]), vector["head"]) == vector["text"]


@vectors("peers")
def test_peers(vector: dict[str, Any]) -> None:
    if "error" in vector:
        with pytest.raises(error_of(vector)):
            parse_peer_id(vector["text"])
        return
    assert parse_peer_id(vector["text"]).hex() == vector["bytes"]
    assert format_peer_id(bytes.fromhex(vector["bytes"])) == vector["text"]


@vectors("addresses")
def test_addresses(vector: dict[str, Any]) -> None:
    if "error" in vector:
        with pytest.raises(error_of(vector)):
            parse_address(vector["text"])
        return
    address = parse_address(vector["text"])
    assert str(address) == vector["text"]
    assert address.scope.name.lower() == vector["scope"]
    assert address.encode().hex() == vector["bytes"]
    assert decode_address(bytes.fromhex(vector["bytes"])) == address


@vectors("kad")
def test_kad(vector: dict[str, Any]) -> None:
    said = vector["bytes"]
    raw = bytes.fromhex(said) if isinstance(said, str) else bytes.fromhex(said["prefix"]) + bytes(said["zeros"])
    if "error" in vector:
        with pytest.raises(error_of(vector)):
            decode(raw)
        return
    assert encode(decode(raw)) == raw


@vectors("reach")
def test_reach(vector: dict[str, Any]) -> None:
    asked = [parse_address(text) for text in vector["asked"]]
    if "request" in vector:
        assert encode_request(asked).hex() == vector["request"]
        assert list(decode_request(bytes.fromhex(vector["request"]))) == asked
        return
    raw = bytes.fromhex(vector["answer"])
    if "error" in vector:
        with pytest.raises(error_of(vector)):
            decode_answer(raw, asked)
        return
    assert encode_answer(decode_answer(raw, asked)) == raw


@vectors("mates")
def test_mates(vector: dict[str, Any]) -> None:
    if "error" in vector:
        decoder, part = (decode_mates_request, "request") if "request" in vector else (decode_mates, "answer")
        with pytest.raises(error_of(vector)):
            decoder(bytes.fromhex(vector[part]))
        return
    if "request" in vector:
        content = ContentId(bytes.fromhex(vector["content"]))
        assert encode_mates_request(content).hex() == vector["request"]
        assert decode_mates_request(bytes.fromhex(vector["request"])) == content
        return
    told = tuple(Contact(peer, tuple(map(parse_address, where))) for peer, where in vector["mates"].items())
    assert decode_mates(bytes.fromhex(vector["answer"] if "answer" in vector else vector["read"])) == told
    if "answer" in vector:
        assert encode_mates(told).hex() == vector["answer"]


def test_the_generator_writes_what_is_committed() -> None:
    spec = importlib.util.spec_from_file_location("generate_network", FOLDER / "generate_network.py")
    assert spec is not None
    assert spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    assert generator.make() == (FOLDER / "network.json").read_text("utf-8")
