"""Writes the vectors of specs/network.md: `python specs/vectors/generate_network.py` (with `src` on the path).

Deterministic: ids are made from committed seeds. Each negative vector has the one failure that its name says, and names
the class of the error.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from blake3 import blake3

from samara.protocol.addresses import parse_address
from samara.protocol.contacts import Contact
from samara.protocol.ids import ContentId
from samara.protocol.kad.messages import Kind, Message, encode
from samara.protocol.mates import encode_mates, encode_mates_request
from samara.protocol.peers import format_peer_id, parse_peer_id, peer_id_of
from samara.protocol.reach import Answer, Verdict, encode_answer, encode_request
from samara.protocol.routing import head_key, routing_key
from samara.protocol.wire import bytes_field, number_field, varint

FILE = Path(__file__).parent / "network.json"

Vector = dict[str, Any]


def seed(label: str) -> bytes:
    return hashlib.sha256(f"samara vector {label}".encode()).digest()


def routing() -> list[Vector]:
    ids = {"zero": bytes(32), "content": blake3(b"samara vector content").digest()}
    vectors = [
        {"name": f"{kind} of {name}", "kind": kind, "id": value.hex(), "key": routing_key(kind, value).hex()}
        for kind in ("content", "release", "log")
        for name, value in ids.items()
    ]
    for name in ("tiny", "llama-3.2", "a" * 96):
        publisher = seed("publisher")
        key = head_key(publisher, name)
        vectors.append({"name": f"head {name[:12]}", "publisher": publisher.hex(), "head": name, "text": key})
    return vectors


def peers() -> list[Vector]:
    good = peer_id_of(seed("node"))
    hashed = format_peer_id(b"\x12\x20" + seed("rsa"))
    curve = bytes.fromhex("002508021221") + b"\x02" + seed("secp256k1")
    vectors: list[Vector] = [
        {"name": "ed25519", "text": good, "bytes": parse_peer_id(good).hex()},
        {"name": "sha256 of a longer key", "text": hashed, "bytes": parse_peer_id(hashed).hex()},
        {"name": "secp256k1", "text": format_peer_id(curve), "bytes": curve.hex()},
    ]
    wrong = {
        "empty": "",
        "foreign letter": good[:-1] + "0",
        "one letter short": good[:-1],
        "letters appended": good + "1" * 70,
        "leading one": "1" + good,
        "CIDv1 text": "bafzaajaiaejc",
    }
    return vectors + [{"name": name, "text": text, "error": "AddressError"} for name, text in wrong.items()]


def addresses() -> list[Vector]:
    good = {
        "/ip4/127.0.0.1/tcp/4001": "loopback",
        "/ip4/10.1.2.3/tcp/1": "private",
        "/ip4/169.254.9.9/tcp/1": "private",
        "/ip4/100.64.0.1/tcp/65535": "private",
        "/ip4/8.8.8.8/tcp/4001": "public",
        "/ip4/224.0.0.1/tcp/1": "nowhere",
        "/ip4/0.0.0.0/tcp/0": "nowhere",
        "/ip6/::1/tcp/4001": "loopback",
        "/ip6/fd00::1/tcp/4001": "private",
        "/ip6/2606:4700::1111/tcp/4001": "public",
        "/ip6/fe80::1/tcp/4001": "nowhere",
        "/dns4/example.org/tcp/443": "public",
        "/dns/a-b.example/tcp/4001": "public",
    }
    vectors: list[Vector] = [
        {"name": text, "text": text, "scope": scope, "bytes": parse_address(text).encode().hex()}
        for text, scope in good.items()
    ]
    wrong = {
        "no slash at the front": "ip4/1.2.3.4/tcp/1",
        "port above 65535": "/ip4/1.2.3.4/tcp/65536",
        "negative port": "/ip4/1.2.3.4/tcp/-1",
        "port with a sign": "/ip4/1.2.3.4/tcp/+1",
        "foreign digits": "/ip4/1.2.3.4/tcp/١",
        "short IPv4": "/ip4/1.2.3/tcp/1",
        "IPv6 under ip4": "/ip4/::1/tcp/1",
        "zone": "/ip6/fe80::1%eth0/tcp/1",
        "udp": "/ip4/1.2.3.4/udp/1",
        "websocket": "/ip4/1.2.3.4/tcp/1/ws",
        "name with a space": "/dns4/exa mple/tcp/1",
        "name that is too long": "/dns4/" + "a." * 130 + "b/tcp/1",
        "empty name": "/dns4//tcp/1",
    }
    return vectors + [{"name": name, "text": text, "error": "AddressError"} for name, text in wrong.items()]


def kad() -> list[Vector]:
    contact = Contact(peer_id_of(seed("node")), (parse_address("/ip4/10.0.0.1/tcp/4001"),))
    key = routing_key("content", bytes(32))
    good = {
        "find node": Message(Kind.FIND_NODE, key),
        "announcement": Message(Kind.ADD_PROVIDER, key, providers=(contact,)),
        "value": Message(Kind.PUT_VALUE, b"/head/00", b"value"),
        "empty value": Message(Kind.GET_VALUE, b"/head/00", b""),
        "closer": Message(Kind.GET_PROVIDERS, key, closer=(contact, Contact(peer_id_of(seed("other"))))),
        "ping": Message(Kind.PING),
    }
    vectors: list[Vector] = [{"name": name, "bytes": encode(message).hex()} for name, message in good.items()]
    wrong = {
        "unknown kind": number_field(1, 6),
        "key that is too long": number_field(1, 4) + bytes_field(2, bytes(129)),
        "value that is too long": bytes_field(3, bytes_field(2, bytes((128 << 10) + 1))),
        "field cut short": number_field(1, 4) + varint(2 << 3 | 2) + varint(5) + b"abc",
        "group": varint(1 << 3 | 3),
        "field number 0": varint(0) + varint(1),
        "varint that is too long": b"\x80" * 11,
    }
    return vectors + [
        {"name": name, "bytes": raw.hex() if len(raw) < 1000 else {"prefix": raw[:16].hex(), "zeros": len(raw) - 16}}
        | {"error": "RemoteProtocolError"}
        for name, raw in wrong.items()
    ]


def reach() -> list[Vector]:
    near, far = parse_address("/ip4/10.0.0.1/tcp/4001"), parse_address("/ip4/10.0.0.2/tcp/4001")
    vectors: list[Vector] = [
        {"name": "request", "asked": [str(near), str(far)], "request": encode_request([near, far]).hex()}
    ]
    answers = {"reached": Answer(Verdict.REACHED, near), "busy": Answer(Verdict.BUSY)}
    for name, answer in answers.items():
        vectors.append({"name": name, "asked": [str(near)], "answer": encode_answer(answer).hex()})
    wrong = {
        "an address that was not asked for": encode_answer(Answer(Verdict.REACHED, far)),
        "reached without an address": number_field(1, 1),
        "an address without reached": number_field(1, 2) + bytes_field(2, near.encode()),
        "unknown verdict": number_field(1, 9),
        "no verdict": b"",
    }
    return vectors + [
        {"name": name, "asked": [str(near)], "answer": raw.hex(), "error": "RemoteProtocolError"}
        for name, raw in wrong.items()
    ]


def mates() -> list[Vector]:
    content = ContentId(blake3(b"samara vector content").digest())
    one, two = peer_id_of(seed("node")), peer_id_of(seed("other"))
    near, far = "/ip4/10.0.0.1/tcp/4001", "/ip6/2606:4700::1111/tcp/4001"
    lists: dict[str, dict[str, list[str]]] = {
        "nobody": {},
        "one": {one: [near]},
        "two": {one: [near, far], two: [far]},
    }
    vectors: list[Vector] = [
        {"name": "request", "content": content.hex(), "request": encode_mates_request(content).hex()}
    ]
    for name, told in lists.items():
        raw = encode_mates(Contact(peer, tuple(map(parse_address, where))) for peer, where in told.items())
        vectors.append({"name": name, "mates": told, "answer": raw.hex()})
    plain = bytes_field(1, parse_peer_id(one)) + bytes_field(2, parse_address(near).encode())
    read = {
        "unknown fields are skipped": bytes_field(7, b"new") + bytes_field(1, plain + number_field(9, 1)),
        "an address that cannot be dialled is left out": bytes_field(1, plain + bytes_field(2, b"\x91\x02")),
        "a peer that cannot be named is left out": bytes_field(1, bytes_field(1, b"\x00\x01")) + bytes_field(1, plain),
    }
    vectors += [{"name": name, "mates": {one: [near]}, "read": raw.hex()} for name, raw in read.items()]
    wrong_requests = {
        "no content": b"",
        "content id that is too short": bytes_field(1, content[:31]),
        "content id that is too long": bytes_field(1, content + b"\0"),
        "content as a number": number_field(1, 7),
    }
    wrong_answers = {
        "peer cut short": varint(1 << 3 | 2) + varint(len(plain)) + plain[:-1],
        "group": varint(1 << 3 | 3),
        "address of a peer cut short": bytes_field(1, plain[:-1]),
    }
    error = {"error": "RemoteProtocolError"}
    vectors += [{"name": name, "request": raw.hex()} | error for name, raw in wrong_requests.items()]
    return vectors + [{"name": name, "answer": raw.hex()} | error for name, raw in wrong_answers.items()]


def make() -> str:
    parts = {
        "routing": routing(),
        "peers": peers(),
        "addresses": addresses(),
        "kad": kad(),
        "reach": reach(),
        "mates": mates(),
    }
    return json.dumps(parts, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(make(), encoding="utf-8")
