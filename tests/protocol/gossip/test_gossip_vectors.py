"""The vectors of specs/gossip.md, replayed; and the generator writes what is committed."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from samara.protocol import errors
from samara.protocol.gossip import Message, Rpc, decode_rpc, encode_rpc, message_id
from samara.protocol.gossip.records import is_topic, publisher_of, topic_of
from samara.protocol.ids import PublisherId
from samara.protocol.trust.recordfile import decode_item, encode_item

FOLDER = Path(__file__).resolve().parents[3] / "specs" / "vectors"
VECTORS: dict[str, list[dict[str, Any]]] = json.loads((FOLDER / "gossip.json").read_text("utf-8"))


def vectors(part: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", VECTORS[part], ids=lambda vector: vector["name"])


@vectors("topics")
def test_topics(vector: dict[str, Any]) -> None:
    publisher = PublisherId(bytes.fromhex(vector["publisher"]))
    assert topic_of(publisher) == vector["topic"]
    assert publisher_of(vector["topic"]) == publisher
    assert is_topic(vector["topic"])
    for wrong in (vector["topic"][:-1], vector["topic"].upper(), vector["topic"][1:], f"{vector['topic']}/x", ""):
        assert not is_topic(wrong)


@vectors("ids")
def test_ids(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["data"]) if "data" in vector else bytes(vector["zeros"])
    assert message_id(vector["topic"], data).hex() == vector["id"]


@vectors("rpcs")
def test_rpcs(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["bytes"])
    if "error" in vector:
        with pytest.raises(getattr(errors, vector["error"])):
            decode_rpc(data)
        return
    rpc = decode_rpc(data)
    said = Rpc(
        vector["subscriptions"],
        tuple(Message(topic, bytes.fromhex(told)) for topic, told in vector["messages"]),
        tuple((topic, tuple(map(bytes.fromhex, ids))) for topic, ids in vector["ihave"]),
        tuple(map(bytes.fromhex, vector["iwant"])),
        tuple(vector["graft"]),
        vector["prune"],
        vector["named"],
        rpc.parts,
    )
    assert rpc == said
    if " " not in vector["name"]:
        assert encode_rpc(said) == data


@vectors("items")
def test_items(vector: dict[str, Any]) -> None:
    data, publisher = bytes.fromhex(vector["data"]), PublisherId(bytes(32))
    if "error" in vector:
        with pytest.raises(getattr(errors, vector["error"])):
            decode_item(publisher, data)
        return
    item = decode_item(publisher, data)
    assert (item.publisher, item.kind, item.data.hex()) == (publisher, vector["kind"], vector["bytes"])
    assert encode_item(item.kind, item.data) == data


def test_the_generator_writes_what_is_committed() -> None:
    spec = importlib.util.spec_from_file_location("generate_gossip", FOLDER / "generate_gossip.py")
    assert spec is not None
    assert spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    assert generator.make() == (FOLDER / "gossip.json").read_text("utf-8")
