"""Who signed a static key: the four kinds of keys that libp2p nodes have, and everything that is no proof."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from samara.protocol.errors import RemoteProtocolError
from samara.protocol.limits import MAX_NEGOTIATIONS
from samara.protocol.noise.identity import Identity, verify_payload
from samara.protocol.peers import format_peer_id, parse_peer_id
from samara.protocol.wire import bytes_field, number_field

STATIC = bytes(range(32))
MESSAGE = b"noise-libp2p-static-key:" + STATIC
ALICE = Identity(bytes([1]) * 32, ("/yamux/1.0.0",))

Signer = Callable[[bytes], bytes]


def key_of(kind: int, data: bytes) -> bytes:
    return bytes([8, kind]) + bytes_field(2, data)


def ed25519() -> tuple[bytes, Signer]:
    key = Ed25519PrivateKey.generate()
    return key_of(1, key.public_key().public_bytes_raw()), key.sign


def secp256k1() -> tuple[bytes, Signer]:
    key = ec.generate_private_key(ec.SECP256K1())
    public = key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    return key_of(2, public), lambda message: key.sign(message, ec.ECDSA(hashes.SHA256()))


def ecdsa() -> tuple[bytes, Signer]:
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return key_of(3, public), lambda message: key.sign(message, ec.ECDSA(hashes.SHA256()))


def rsa_of(bits: int) -> tuple[bytes, Signer]:
    key = rsa.generate_private_key(65537, bits)
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return key_of(0, public), lambda message: key.sign(message, padding.PKCS1v15(), hashes.SHA256())


def payload(key: bytes, signature: bytes) -> bytes:
    return bytes_field(1, key) + bytes_field(2, signature)


@pytest.mark.parametrize(
    ("make", "begins"),
    [(ed25519, "12D3KooW"), (secp256k1, "16Uiu2H"), (ecdsa, "Qm"), (lambda: rsa_of(2048), "Qm")],
    ids=["ed25519", "secp256k1", "ecdsa", "rsa"],
)
def test_every_kind_of_key_proves_its_peer_id(make: Callable[[], tuple[bytes, Signer]], begins: str) -> None:
    key, sign = make()
    peer = verify_payload(payload(key, sign(MESSAGE)), STATIC)
    hashed = bytes([0, len(key)]) + key if len(key) <= 42 else b"\x12\x20" + hashlib.sha256(key).digest()
    assert peer.id == format_peer_id(hashed)
    assert parse_peer_id(peer.id) == hashed
    assert peer.id.startswith(begins)
    assert peer.muxers == ()
    for wrong in (sign(MESSAGE[1:]), b"", sign(MESSAGE) + b"\0"):
        with pytest.raises(RemoteProtocolError):
            verify_payload(payload(key, wrong), STATIC)
    with pytest.raises(RemoteProtocolError, match="did not sign"):
        verify_payload(payload(key, sign(MESSAGE)), STATIC[::-1])


def test_our_own_payload_says_who_we_are_and_what_we_speak() -> None:
    peer = verify_payload(ALICE.payload(STATIC), STATIC)
    assert (peer.id, peer.muxers) == (ALICE.peer, ("/yamux/1.0.0",))
    assert verify_payload(Identity(ALICE.seed).payload(STATIC), STATIC).muxers == ()


def test_unknown_fields_are_skipped_and_muxers_bounded() -> None:
    key, sign = ed25519()
    many = b"".join(bytes_field(2, b"/m/%d" % n) for n in range(100)) + bytes_field(2, b"\xff") + number_field(9, 1)
    told = number_field(7, 7) + payload(key, sign(MESSAGE)) + bytes_field(3, b"?") + bytes_field(4, many)
    assert verify_payload(told, STATIC).muxers == tuple(f"/m/{n}" for n in range(MAX_NEGOTIATIONS))


def test_a_key_in_another_form_is_no_other_peer() -> None:
    """Such a key once left the handshake as an error that nobody caught, and took the node with it."""
    key, sign = ed25519()
    data = key[4:]
    for other in (key + number_field(3, 5), bytes_field(2, data) + b"\x08\x01", b"\x08\x81\x00" + bytes_field(2, data)):
        with pytest.raises(RemoteProtocolError, match="shortest form"):
            verify_payload(payload(other, sign(MESSAGE)), STATIC)


@pytest.mark.parametrize("bits", [1024, 8200])
def test_an_rsa_key_of_another_length_is_refused(bits: int) -> None:
    key, sign = rsa_of(1024)
    if bits > 8192:  # making one takes long; its length is looked at first
        number = rsa.RSAPublicNumbers(65537, (1 << bits - 1) + 1).public_key()
        key = key_of(0, number.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(RemoteProtocolError, match="2048 to 8192 bits"):
        verify_payload(payload(key, sign(MESSAGE)), STATIC)


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(key_of(4, bytes(32)), id="a kind that nobody has"),
        pytest.param(b"\x08\x01", id="no data"),
        pytest.param(bytes_field(2, bytes(32)), id="no kind"),
        pytest.param(key_of(1, bytes(31)), id="a short Ed25519 key"),
        pytest.param(key_of(2, b""), id="an empty secp256k1 key"),
        pytest.param(key_of(2, b"\x02" + b"\xff" * 32), id="no point of the curve"),
        pytest.param(key_of(3, b"\x30\x00"), id="no DER"),
        pytest.param(key_of(0, ecdsa()[0][4:]), id="an ECDSA key as RSA"),
        pytest.param(key_of(3, rsa_of(1024)[0][5:]), id="an RSA key as ECDSA"),
        pytest.param(key_of(3, ed25519()[0][4:]), id="an Ed25519 key as ECDSA"),
    ],
)
def test_what_is_no_key_is_refused(key: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        verify_payload(payload(key, bytes(64)), STATIC)


def test_what_is_no_payload_is_refused() -> None:
    key, sign = ed25519()
    whole = payload(key, sign(MESSAGE))
    for place in range(len(whole)):
        with pytest.raises(RemoteProtocolError):
            verify_payload(whole[:place], STATIC)
    for wrong in (bytes_field(1, key), bytes_field(2, sign(MESSAGE)), whole + b"\x0b", number_field(1, 5)):
        with pytest.raises(RemoteProtocolError):
            verify_payload(wrong, STATIC)
