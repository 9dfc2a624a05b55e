"""Writes the vectors of specs/gossip.md: `python specs/vectors/generate_gossip.py` (with `src` on the path).

Deterministic. Each negative vector has the one failure that its name says, and names the class of the error.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from blake3 import blake3

from samara.protocol.dsse import SigningKey
from samara.protocol.gossip import Message, Rpc, encode_rpc, message_id
from samara.protocol.gossip.records import topic_of
from samara.protocol.ids import PublisherId
from samara.protocol.records import make_genesis
from samara.protocol.trust.recordfile import Kind, encode_item
from samara.protocol.wire import bytes_field, number_field

FILE = Path(__file__).parent / "gossip.json"

Vector = dict[str, Any]

PUBLISHER = PublisherId(blake3(b"samara vector publisher").digest())
TOPIC = topic_of(PUBLISHER)
ID = blake3(b"samara vector message").digest()


def ids() -> list[Vector]:
    rows = {
        "nothing": ("", b""),
        "a topic of ours": (TOPIC, b"data"),
        "the topic ends sooner": (TOPIC[:-1], TOPIC[-1:].encode() + b"data"),
        "a topic beyond ASCII": ("/é", b"data"),
        "long data": (TOPIC, bytes(65_536)),
    }
    return [
        {
            "name": name,
            "topic": topic,
            **({"data": data.hex()} if len(data) < 100 else {"zeros": len(data)}),
            "id": message_id(topic, data).hex(),
        }
        for name, (topic, data) in rows.items()
    ]


def rpcs() -> list[Vector]:
    rows = {
        "subscribe": Rpc(subscriptions={TOPIC: True}),
        "unsubscribe": Rpc(subscriptions={TOPIC: False}),
        "message": Rpc(messages=(Message(TOPIC, b"data"),)),
        "ihave": Rpc(ihave=((TOPIC, (ID, bytes(32))),)),
        "iwant": Rpc(iwant=(ID, bytes(32))),
        "graft": Rpc(graft=(TOPIC,)),
        "prune": Rpc(prune={TOPIC: 60.0}),
        "all of it": Rpc({TOPIC: True}, (Message(TOPIC, b"1"),), ((TOPIC, (ID,)),), (ID,), (TOPIC,), {TOPIC: 10.0}),
    }
    made = [{"name": name, "bytes": encode_rpc(rpc).hex(), **_shown(rpc)} for name, rpc in rows.items()]
    told = bytes_field(2, b"data") + bytes_field(4, TOPIC.encode())
    for name, field in {"from": 1, "seqno": 3, "signature": 5, "key": 6}.items():
        data = bytes_field(2, bytes_field(field, b"\x01") + told)
        made.append({"name": f"a message with {name}", "bytes": data.hex(), **_shown(Rpc(named=1))})
    two = bytes_field(2, told + bytes_field(4, b"other"))
    made.append({"name": "a message with two topics", "bytes": two.hex(), **_shown(Rpc(named=1))})
    later = bytes_field(3, bytes_field(5, bytes_field(1, ID))) + bytes_field(9, b"later")
    made.append({"name": "what later versions add", "bytes": later.hex(), **_shown(Rpc())})
    peers = bytes_field(3, bytes_field(4, bytes_field(1, TOPIC.encode()) + bytes_field(2, bytes_field(1, b"peer"))))
    made.append({"name": "a prune with peers", "bytes": peers.hex(), **_shown(Rpc(prune={TOPIC: 60.0}))})
    wrong = {
        "cut short": encode_rpc(rows["message"])[:-1],
        "a number as a message": number_field(2, 1),
        "a number as a topic": bytes_field(2, number_field(4, 1)),
        "a group": b"\x0b\x0c",
        "more parts than there may be": bytes_field(1, b"") * 4097,
    }
    errors = [{"name": name, "bytes": data.hex(), "error": "RemoteProtocolError"} for name, data in wrong.items()]
    return made + errors


def _shown(rpc: Rpc) -> Vector:
    return {
        "subscriptions": dict(rpc.subscriptions),
        "messages": [[message.topic, message.data.hex()] for message in rpc.messages],
        "ihave": [[topic, [one.hex() for one in found]] for topic, found in rpc.ihave],
        "iwant": [one.hex() for one in rpc.iwant],
        "graft": list(rpc.graft),
        "prune": dict(rpc.prune),
        "named": rpc.named,
    }


def items() -> list[Vector]:
    root = make_genesis([SigningKey(blake3(b"samara vector key").digest())])
    whole = encode_item(Kind.ROOT, root)
    rows: list[Vector] = [
        {"name": "a root", "data": whole.hex(), "kind": 2, "bytes": root.hex()},
        {"name": "a proof", "data": encode_item(Kind.FORK, bytes(10)).hex(), "kind": 3, "bytes": bytes(10).hex()},
        {"name": "a record", "data": encode_item(Kind.RECORD, b"{}").hex(), "kind": 4, "bytes": b"{}".hex()},
    ]
    wrong = {
        "empty": b"",
        "a head that is cut off": whole[:4],
        "a body that is cut off": whole[:-1],
        "something after it": whole + b"\0",
        "the end of a file": encode_item(Kind.END, bytes(32)),
        "a publisher": encode_item(Kind.PUBLISHER, bytes(32)),
        "a kind that is none": b"\x09" + whole[1:],
        "a record of no bytes": encode_item(Kind.RECORD, b""),
        "a proof that is too short": encode_item(Kind.FORK, bytes(9)),
    }
    return rows + [{"name": name, "data": data.hex(), "error": "RecordFileError"} for name, data in wrong.items()]


def make() -> str:
    found = {
        "topics": [{"name": "a publisher", "publisher": PUBLISHER.hex(), "topic": TOPIC}],
        "ids": ids(),
        "rpcs": rpcs(),
        "items": items(),
    }
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(make(), encoding="utf-8")
