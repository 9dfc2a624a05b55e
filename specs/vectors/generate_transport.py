"""Writes the vectors of specs/transport.md: `python specs/vectors/generate_transport.py` (with `src` on the path).

Deterministic: all keys are made from committed seeds. Noise is done here once more, the slow and obvious way, from
nothing but X25519, the AEADs, HMAC and SHA-256, so that the vectors do not repeat a mistake of the code that they test;
frames are packed by hand. Hexadecimal throughout; a run of one byte is written `[byte, count]`. Each negative row has
the one failure that its name says, in the last of what it hears, and names the class of the error.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from samara.protocol.peers import peer_id_of

FILE = Path(__file__).parent / "transport.json"

Vector = dict[str, Any]
REMOTE = "RemoteProtocolError"
NOISE, AES = "/noise", "/samara/noise-aes/1"
YAMUX = "/yamux/1.0.0"
REKEY_AFTER = 1 << 18
TAG = 16


def seed(label: str) -> bytes:
    return hashlib.sha256(f"samara transport vector {label}".encode()).digest()


# Noise, the slow way.


@dataclass(frozen=True)
class Channel:
    """What differs between the two channels."""

    name: bytes
    prologue: bytes
    aead: Any
    big_endian: bool
    length_bytes: int
    most: int

    def nonce(self, number: int) -> bytes:
        return bytes(4) + number.to_bytes(8, "big" if self.big_endian else "little")


CHANNELS = {
    NOISE: Channel(b"Noise_XX_25519_ChaChaPoly_SHA256", b"", ChaCha20Poly1305, False, 2, 65_519),
    AES: Channel(b"Noise_XX_25519_AESGCM_SHA256", b"/samara/noise-aes/1", AESGCM, True, 4, 262_144),
}


def hkdf(chain: bytes, material: bytes) -> tuple[bytes, bytes]:
    secret = hmac.new(chain, material, "sha256").digest()
    one = hmac.new(secret, b"\x01", "sha256").digest()
    return one, hmac.new(secret, one + b"\x02", "sha256").digest()


def public(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def dh(private: bytes, theirs: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(theirs))


@dataclass
class Symmetric:
    """Noise's symmetric state; one of them does for both ends, since they agree."""

    channel: Channel
    hash: bytes = b""
    chain: bytes = b""
    key: bytes = b""
    number: int = 0

    def __post_init__(self) -> None:
        name = self.channel.name
        self.hash = self.chain = name + bytes(32 - len(name))
        self.mix_hash(self.channel.prologue)

    def mix_hash(self, data: bytes) -> None:
        self.hash = hashlib.sha256(self.hash + data).digest()

    def mix_key(self, shared: bytes) -> None:
        self.chain, self.key = hkdf(self.chain, shared)
        self.number = 0

    def seal(self, data: bytes) -> bytes:
        sealed = data
        if self.key:
            sealed = self.channel.aead(self.key).encrypt(self.channel.nonce(self.number), data, self.hash)
            self.number += 1
        self.mix_hash(sealed)
        return sealed


@dataclass(frozen=True)
class Party:
    """One end: its node key, the static and the ephemeral key, all as seeds, and the muxers that it names."""

    node: bytes
    static: bytes
    ephemeral: bytes
    muxers: tuple[str, ...] = (YAMUX,)

    @property
    def key(self) -> bytes:
        return Ed25519PrivateKey.from_private_bytes(self.node).public_key().public_bytes_raw()

    @property
    def identity(self) -> bytes:
        return bytes([8, 1, 18, 32]) + self.key

    def signature(self, static: bytes) -> bytes:
        return Ed25519PrivateKey.from_private_bytes(self.node).sign(b"noise-libp2p-static-key:" + static)

    def payload(self) -> bytes:
        said = part(1, self.identity) + part(2, self.signature(public(self.static)))
        muxers = b"".join(part(2, muxer.encode()) for muxer in self.muxers)
        return said + (part(4, muxers) if muxers else b"")

    def told(self) -> Vector:
        return {
            "node": self.node.hex(),
            "static": self.static.hex(),
            "ephemeral": self.ephemeral.hex(),
            "muxers": list(self.muxers),
            "peer": peer_id_of(self.key),
        }


def part(number: int, data: bytes) -> bytes:
    assert len(data) < 128
    return bytes([number << 3 | 2, len(data)]) + data


def prefixed(message: bytes) -> bytes:
    return len(message).to_bytes(2, "big") + message


@dataclass
class Spoilt:
    """What is not as it should be in the messages of one handshake."""

    first_payload: bytes = b""
    answer_static: bytes | None = None
    answer_payload: bytes | None = None
    last_static: bytes | None = None
    last_payload: bytes | None = None


@dataclass
class Handshake:
    """A whole handshake, both ends of it at once."""

    channel: Channel
    initiator: Party
    responder: Party
    spoilt: Spoilt = field(default_factory=Spoilt)

    def run(self) -> tuple[list[bytes], bytes, tuple[bytes, bytes]]:
        """Return the messages, the handshake hash, and the keys of the initiator's and the responder's records."""
        state, one, two, spoilt = Symmetric(self.channel), self.initiator, self.responder, self.spoilt
        e1, e2 = public(one.ephemeral), public(two.ephemeral)
        state.mix_hash(e1)
        first = e1 + state.seal(spoilt.first_payload)

        state.mix_hash(e2)
        state.mix_key(dh(two.ephemeral, e1))
        s2 = public(two.static) if spoilt.answer_static is None else spoilt.answer_static
        answer = e2 + state.seal(s2)
        if spoilt.answer_static is None:
            state.mix_key(dh(two.static, e1))
        answer += state.seal(two.payload() if spoilt.answer_payload is None else spoilt.answer_payload)

        s1 = public(one.static) if spoilt.last_static is None else spoilt.last_static
        last = state.seal(s1)
        if spoilt.last_static is None:
            state.mix_key(dh(one.static, e2))
        last += state.seal(one.payload() if spoilt.last_payload is None else spoilt.last_payload)
        return [prefixed(message) for message in (first, answer, last)], state.hash, hkdf(state.chain, b"")


def rekeyed(channel: Channel, key: bytes) -> bytes:
    sealed: bytes = channel.aead(key).encrypt(channel.nonce(2**64 - 1), bytes(32), None)
    return sealed[:32]


def record(channel: Channel, key: bytes, number: int, data: bytes) -> bytes:
    """Record `number` of a direction that began with `key`."""
    if channel.length_bytes == 4:
        for _ in range(number // REKEY_AFTER):
            key = rekeyed(channel, key)
    sealed: bytes = channel.aead(key).encrypt(channel.nonce(number), data, None)
    return len(sealed).to_bytes(channel.length_bytes, "big") + sealed


ALICE = Party(seed("alice"), seed("alice static"), seed("alice ephemeral"))
BOB = Party(seed("bob"), seed("bob static"), seed("bob ephemeral"))


def handshakes() -> list[Vector]:
    rows = []
    for protocol, channel in CHANNELS.items():
        silent, both = Party(BOB.node, BOB.static, BOB.ephemeral, ()), ("/other/1", YAMUX)
        for name, one, two, spoilt, muxer in (
            ("both name a muxer", ALICE, BOB, Spoilt(), YAMUX),
            ("the responder names no muxer", ALICE, silent, Spoilt(), None),
            ("the initiator's order counts", Party(ALICE.node, ALICE.static, ALICE.ephemeral, both),
             Party(BOB.node, BOB.static, BOB.ephemeral, (YAMUX, "/other/1")), Spoilt(), "/other/1"),
            ("a payload in the first message", ALICE, BOB, Spoilt(first_payload=b"unproved"), YAMUX),
            ("the responder says what nobody knows", ALICE, BOB, Spoilt(
                answer_payload=bytes([0x38, 7]) + BOB.payload() + part(9, b"?")), YAMUX),
        ):  # fmt: skip
            messages, digest, keys = Handshake(channel, one, two, spoilt).run()
            rows.append({
                "name": f"{protocol}: {name}",
                "protocol": protocol,
                "initiator": one.told(),
                "responder": two.told(),
                "payloads": [
                    said.hex()
                    for said in (spoilt.first_payload, spoilt.answer_payload or two.payload(), one.payload())
                ],
                "messages": [message.hex() for message in messages],
                "hash": digest.hex(),
                "initiator_key": keys[0].hex(),
                "responder_key": keys[1].hex(),
                "muxer": muxer,
            })  # fmt: skip
    return rows


LOW_ORDER = (
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
)


def flipped(data: bytes, place: int) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 1
    return bytes(changed)


def handshake_violations() -> list[Vector]:
    rows: list[Vector] = []
    static = public(ALICE.static)
    signed = ALICE.signature(static)
    payloads = {
        "no payload": b"",
        "no signature": part(1, ALICE.identity),
        "no key": part(2, signed),
        "a signature by another key": part(1, ALICE.identity) + part(2, BOB.signature(static)),
        "a signature of another static key": part(1, ALICE.identity) + part(2, ALICE.signature(public(BOB.static))),
        "a signature that is cut short": part(1, ALICE.identity) + part(2, signed[:-1]),
        "a key of a kind that nobody has": part(1, bytes([8, 4, 18, 32]) + ALICE.key) + part(2, signed),
        "a key that is cut short": part(1, bytes([8, 1, 18, 31]) + ALICE.key[:-1]) + part(2, signed),
        "a key with a field more": part(1, ALICE.identity + bytes([0x18, 5])) + part(2, signed),
        "a key whose fields are turned around": part(1, bytes([18, 32]) + ALICE.key + bytes([8, 1])) + part(2, signed),
        "a payload that is cut short": ALICE.payload()[:-1],
        "extensions that are cut short": part(1, ALICE.identity) + part(2, signed) + part(4, bytes([18, 5, 47])),
        "a payload with a group": ALICE.payload() + bytes([0x2B, 0x2C]),
    }  # fmt: skip
    for protocol, channel in CHANNELS.items():

        def row(side: str, name: str, *hears: bytes, protocol: str = protocol) -> None:
            rows.append({
                "name": f"{protocol}: {name}, to the {side}",
                "protocol": protocol,
                "side": side,
                "own": (ALICE if side == "initiator" else BOB).told(),
                "hears": [part.hex() for part in hears],
                "error": REMOTE,
            })  # fmt: skip

        (first, answer, last), _, _ = Handshake(channel, ALICE, BOB).run()
        row("responder", "a first message of 31 bytes", prefixed(first[2:-1]))
        row("responder", "an empty first message", prefixed(b""))
        row("responder", "a length of 8,193 bytes", (8193).to_bytes(2, "big"))
        for point in LOW_ORDER:
            row("responder", f"the low-order key {point[:2]}…{point[-2:]}", prefixed(bytes.fromhex(point)))
            key = bytes.fromhex(point)
            spoilt, _, _ = Handshake(channel, ALICE, BOB, Spoilt(last_static=key)).run()
            row("responder", f"the low-order static key {point[:2]}…{point[-2:]}", first, spoilt[2])
            spoilt, _, _ = Handshake(channel, ALICE, BOB, Spoilt(answer_static=key)).run()
            row("initiator", f"the low-order static key {point[:2]}…{point[-2:]}", spoilt[1])
            row("initiator", f"the low-order key {point[:2]}…{point[-2:]}", prefixed(key + answer[34:]))
        row("responder", "a last message that is cut short", first, prefixed(last[2:49]))
        row("responder", "a last message whose static key was changed", first, flipped(last, 5))
        row("responder", "a last message whose static key has a bad tag", first, flipped(last, 2 + 32))
        row("responder", "a last message whose payload has a bad tag", first, flipped(last, -1))
        row("responder", "a last message without a payload's tag", first, prefixed(last[2:50]))
        row("responder", "the first message again for the last", first, first)
        other = next(each for name, each in CHANNELS.items() if name != protocol)
        row("responder", "the last message of the other channel", first, Handshake(other, ALICE, BOB).run()[0][2])
        bare = Channel(channel.name, b"another prologue", channel.aead, channel.big_endian, 0, 0)
        row("responder", "another prologue", first, Handshake(bare, ALICE, BOB).run()[0][2])
        row("initiator", "an answer of 31 bytes", prefixed(answer[2:33]))
        row("initiator", "an answer without a static key", prefixed(answer[2:34]))
        row("initiator", "an answer whose ephemeral key was changed", flipped(answer, 2))
        row("initiator", "an answer whose static key has a bad tag", flipped(answer, 2 + 32 + 32))
        row("initiator", "an answer whose payload has a bad tag", flipped(answer, -1))
        row("initiator", "its own message", first)
        row("initiator", "an answer of 8,193 bytes", (8193).to_bytes(2, "big"))
        for name, payload in payloads.items():
            messages, _, _ = Handshake(channel, ALICE, BOB, Spoilt(last_payload=payload)).run()
            row("responder", name, first, messages[2])
        wrong = part(1, BOB.identity) + part(2, ALICE.signature(public(BOB.static)))
        messages, _, _ = Handshake(channel, ALICE, BOB, Spoilt(answer_payload=wrong)).run()
        row("initiator", "a signature by another key", messages[1])
    return rows


KEY = seed("records")


def records() -> list[Vector]:
    """Records by their number in a direction that begins with the key; the record itself, or its SHA-256 when long."""
    rows = []
    for protocol, channel in CHANNELS.items():
        cases: list[tuple[str, int, list[Any]]] = [
            ("an empty record", 0, ["", 0]),
            ("one byte", 1, ["00", 1]),
            ("a line", 2, ["6d", 80]),
            ("the longest", 3, ["a5", channel.most]),
            ("one byte less", 4, ["a5", channel.most - 1]),
        ]
        if channel.length_bytes == 4:
            cases += [
                ("the last of the first key", REKEY_AFTER - 1, ["6d", 5]),
                ("the first of the second key", REKEY_AFTER, ["6d", 5]),
                ("the second of the second key", REKEY_AFTER + 1, ["6d", 5]),
                ("the first of the third key", 2 * REKEY_AFTER, ["6d", 5]),
            ]
        for name, number, run in cases:
            made = record(channel, KEY, number, bytes.fromhex(run[0]) * run[1])
            row: Vector = {"name": f"{protocol}: {name}", "protocol": protocol, "key": KEY.hex(), "number": number}
            row |= {"plaintext": run, "sha256": hashlib.sha256(made).hexdigest()}
            rows.append(row | ({"record": made.hex()} if len(made) < 200 else {"begins": made[:32].hex()}))
    return rows


def record_violations() -> list[Vector]:
    rows = []
    for protocol, channel in CHANNELS.items():
        zero, one = record(channel, KEY, 0, b"zero"), record(channel, KEY, 1, b"one")
        size, longest = channel.length_bytes, channel.most + TAG + 1
        wrong = {
            "a record shorter than its tag": (15).to_bytes(size, "big") + bytes(15),
            "a record of no byte": bytes(size),
            "the second record first": one,
            "the ciphertext was changed": flipped(zero, size),
            "the tag was changed": flipped(zero, -1),
            "a byte is missing": (len(zero) - size - 1).to_bytes(size, "big") + zero[size:-1],
            "under another key": record(channel, seed("another key"), 0, b"zero"),
        }
        if longest < 1 << 8 * size:
            wrong["a length above the limit"] = longest.to_bytes(size, "big")
        rows += [
            {"name": f"{protocol}: {name}", "protocol": protocol, "key": KEY.hex(), "hears": raw.hex(), "error": REMOTE}
            for name, raw in wrong.items()
        ]
    return rows


# Yamux.

SYN, ACK, FIN, RST = 1, 2, 4, 8
DATA, GROW, PING, AWAY = 0, 1, 2, 3
WINDOW = 256 << 10


def head(kind: int, flags: int, stream: int, length: int, version: int = 0) -> str:
    assert version < 256 > kind
    return bytes([version, kind]).hex() + flags.to_bytes(2, "big").hex() + f"{stream:08x}{length:08x}"


def data(stream: int, body: bytes, flags: int = 0) -> str:
    return head(DATA, flags, stream, len(body)) + body.hex()


def conversations() -> list[Vector]:
    """What an end hears after it opened some streams, what it means, and what the end answers of itself."""

    def row(name: str, initiator: bool, opens: int, hears: list[Any], events: list[Any], answers: str = "") -> Vector:
        return {
            "name": name,
            "initiator": initiator,
            "opens": opens,
            "hears": hears,
            "events": events,
            "answers": answers,
        }

    return [
        row("a stream with one body", False, 0, [head(GROW, SYN, 1, 0), data(1, b"body")],
            [["opened", 1], ["body", 1, b"body".hex()]], head(GROW, ACK, 1, 0)),
        row("a stream that opens with its body", False, 0, [data(1, b"body", SYN)],
            [["opened", 1], ["body", 1, b"body".hex()]], head(GROW, ACK, 1, 0)),
        row("an even stream, to who dialled", True, 0, [head(GROW, SYN, 2, 0)],
            [["opened", 2]], head(GROW, ACK, 2, 0)),
        row("streams may open in any order", False, 0, [head(GROW, SYN, 9, 0), head(GROW, SYN, 3, 0)],
            [["opened", 9], ["opened", 3]], head(GROW, ACK, 9, 0) + head(GROW, ACK, 3, 0)),
        row("a stream that opens with a window", False, 0, [head(GROW, SYN, 1, 4096)], [["opened", 1], ["windowed", 1]],
            head(GROW, ACK, 1, 0)),
        row("an ACK opens nothing more", True, 1, [head(GROW, ACK, 1, 0)], []),
        row("an ACK with a window", True, 1, [head(GROW, ACK, 1, 65536)], [["windowed", 1]]),
        row("FIN on a window frame", True, 1, [head(GROW, FIN, 1, 0)], [["ended", 1]]),
        row("FIN counts after its body", True, 1, [data(1, b"last", FIN)], [["body", 1, b"last".hex()], ["ended", 1]]),
        row("RST counts after its body", True, 1, [data(1, b"last", RST)], [["body", 1, b"last".hex()], ["reset", 1]]),
        row("a stream of one frame", False, 0, [data(1, b"all", SYN | FIN)],
            [["opened", 1], ["body", 1, b"all".hex()], ["ended", 1]], head(GROW, ACK, 1, 0)),
        row("FIN twice", True, 1, [head(GROW, FIN, 1, 0), head(GROW, FIN, 1, 0)], [["ended", 1]]),
        row("RST after FIN on an empty data frame", True, 1, [head(GROW, FIN, 1, 0), head(DATA, RST, 1, 0)],
            [["ended", 1], ["reset", 1]]),
        row("what comes for a stream that was reset is dropped", True, 1,
            [head(GROW, RST, 1, 0), data(1, b"on its way"), head(GROW, 0, 1, 5), head(GROW, FIN, 1, 0)],
            [["reset", 1]]),
        row("what comes without body for a stream that never was is dropped", False, 0,
            [head(GROW, 0, 7, 5), head(GROW, RST, 7, 0)], []),
        row("the whole window", True, 1, [head(DATA, 0, 1, WINDOW), ["00", WINDOW]], [["body", 1, ["00", WINDOW]]]),
        row("a ping is answered", True, 0, [head(PING, SYN, 0, 0xDEADBEEF)], [], head(PING, ACK, 0, 0xDEADBEEF)),
        row("an answered ping", True, 0, [head(PING, ACK, 0, 9)], [["ponged", 9]]),
        row("go away", True, 1, [head(AWAY, 0, 0, 0), data(1, b"goes on")],
            [["gone away", 0], ["body", 1, b"goes on".hex()]]),
        row("the thirty-third stream is reset", False, 0, [head(GROW, SYN, 2 * n + 1, 0) for n in range(33)],
            [["opened", 2 * n + 1] for n in range(32)],
            "".join(head(GROW, ACK if n < 32 else RST, 2 * n + 1, 0) for n in range(33))),
    ]  # fmt: skip


def frame_violations() -> list[Vector]:
    def row(name: str, *hears: Any, initiator: bool = True, opens: int = 1) -> Vector:  # noqa: ANN401
        return {"name": name, "initiator": initiator, "opens": opens, "hears": list(hears), "error": REMOTE}

    return [
        row("version 1", head(GROW, 0, 1, 1, version=1)),
        row("type 4", head(4, 0, 0, 0)),
        row("a ping of a stream", head(PING, SYN, 1, 0)),
        row("a go away of a stream", head(AWAY, 0, 1, 0)),
        row("SYN for stream 0", head(GROW, SYN, 0, 0)),
        row("SYN with our parity, to who dialled", head(GROW, SYN, 3, 0)),
        row("SYN with our parity, to who was dialled", head(GROW, SYN, 4, 0), initiator=False),
        row("SYN for a stream of ours that is open", head(GROW, SYN, 1, 0)),
        row("SYN for a stream of theirs that is open", head(GROW, SYN, 2, 0), head(GROW, SYN, 2, 0)),
        row("body beyond the window", head(DATA, 0, 1, WINDOW + 1)),
        row("body beyond what is left of the window", head(DATA, 0, 1, WINDOW), ["00", WINDOW], head(DATA, 0, 1, 1)),
        row("body beyond the window of a stream that it opens", head(DATA, SYN, 2, WINDOW + 1)),
        row("body after FIN", head(GROW, FIN, 1, 0), head(DATA, 0, 1, 1)),
        row("body after FIN with a body", data(1, b"x", FIN), head(DATA, 0, 1, 1)),
        row("a window above 2^32-1", head(GROW, 0, 1, 0xFFFFFFFF)),
        row("a window that grows above 2^32-1", head(GROW, 0, 1, 0xFFFFFFFF - WINDOW), head(GROW, 0, 1, 1)),
        row("body for a stream that never was", head(DATA, 0, 7, 1)),
        row("body for a stream that was reset, beyond its window", head(GROW, RST, 1, 0), head(DATA, 0, 1, WINDOW + 1)),
        row("a frame too many that carries nothing", [head(GROW, 0, 1, 0), 2_000], head(GROW, 0, 1, 0)),
        row(
            "answers that nobody reads",
            head(DATA, 0, 1, WINDOW), ["00", WINDOW], [head(PING, SYN, 0, 0), 5462], head(PING, SYN, 0, 0),
        ),
    ]  # fmt: skip


def make() -> str:
    parts = {
        "handshakes": handshakes(),
        "handshake_violations": handshake_violations(),
        "records": records(),
        "record_violations": record_violations(),
        "conversations": conversations(),
        "frame_violations": frame_violations(),
    }
    return json.dumps(parts, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(make(), encoding="utf-8")
