"""Envelopes: the published example of DSSE, thresholds, weak keys, and whatever bytes hypothesis finds."""

from __future__ import annotations

import base64
import contextlib
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from samara.protocol import dsse
from samara.protocol.dsse import Envelope, Signature, SigningKey, is_weak_key, pae, sign, signers, verify
from samara.protocol.errors import EnvelopeError, SamaraError, SignatureError
from samara.protocol.ids import did_key
from samara.protocol.limits import MAX_ENVELOPE

A, B, C = (SigningKey(bytes([n]) * 32) for n in (1, 2, 3))
P = 2**255 - 19


def test_pae_is_the_published_example() -> None:
    # DSSE v1, protocol.md, test vectors.
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert pae("é", b"") == b"DSSEv1 2 \xc3\xa9 0 "


def test_a_signature_is_plain_ed25519_over_the_pae() -> None:
    # RFC 8032 §7.1, test 1: the public key of its seed.
    key = SigningKey(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
    assert key.public.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    (signature,) = sign(b"payload", [key]).signatures
    Ed25519PublicKey.from_public_bytes(key.public).verify(signature.sig, pae(dsse.PAYLOAD_TYPE, b"payload"))


def test_a_key_does_not_show_its_seed() -> None:
    key = SigningKey(b"\x07" * 32)
    assert repr(key) == f"SigningKey({key.did})"
    assert not hasattr(key, "seed")
    with pytest.raises(ValueError, match="32"):
        SigningKey(b"short")


@given(st.binary(min_size=1, max_size=300), st.lists(st.sampled_from([A, B, C]), min_size=1, unique=True))
def test_an_envelope_comes_back_as_it_was(payload: bytes, keys: list[SigningKey]) -> None:
    envelope = sign(payload, keys)
    decoded = Envelope.decode(envelope.encode())
    assert decoded == envelope
    assert signers(decoded) == {key.did for key in keys}


@given(st.data())
def test_no_single_changed_byte_verifies(data: st.DataObject) -> None:
    good = bytearray(sign(b'{"a":1}', [A]).encode())
    at = data.draw(st.integers(0, len(good) - 1))
    good[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SamaraError):
        verify(Envelope.decode(bytes(good)), [A.did], 1)


@given(st.binary(max_size=200) | st.text(max_size=80).map(str.encode))
def test_random_bytes_raise_nothing_else(data: bytes) -> None:
    with pytest.raises(SamaraError):
        Envelope.decode(data)


JSON = st.recursive(
    st.none() | st.integers(-5, 5) | st.sampled_from(["", "YQ==", A.did, dsse.PAYLOAD_TYPE, "did:key:z6Mk", "é"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["payload", "payloadType", "signatures", "keyid", "sig"]), inner, max_size=5)
    ),
    max_leaves=10,
)


@given(JSON, JSON, JSON)
def test_random_fields_raise_nothing_else(payload: object, signatures: object, kind: object) -> None:
    shape = {"payload": payload, "payloadType": dsse.PAYLOAD_TYPE if kind is None else kind, "signatures": signatures}
    with contextlib.suppress(SamaraError):
        assert signers(Envelope.decode(json.dumps(shape).encode()))


def test_distinct_keys_are_counted() -> None:
    envelope = sign(b"x", [A, C])
    assert verify(envelope, [A.did, B.did, C.did], 2) == {A.did, C.did}
    assert verify(envelope, [A.did, A.did], 1) == {A.did, C.did}
    with pytest.raises(SignatureError, match="1 of the keys"):
        verify(envelope, [A.did, A.did, B.did], 2)
    with pytest.raises(SignatureError, match="0 of the keys"):
        verify(envelope, [B.did], 1)


def test_one_key_under_one_id_cannot_sign_twice() -> None:
    (signature,) = sign(b"x", [A]).signatures
    with pytest.raises(EnvelopeError, match="twice"):
        Envelope.decode(Envelope(b"x", (signature, signature)).encode())


def test_a_signature_of_another_payload_is_refused() -> None:
    moved = Envelope(b"y", sign(b"x", [A]).signatures)
    with pytest.raises(SignatureError, match="wrong"):
        signers(moved)


def test_an_envelope_that_is_too_long_is_not_written() -> None:
    with pytest.raises(EnvelopeError, match="at most"):
        sign(bytes(MAX_ENVELOPE * 3 // 4), [A]).encode()


def test_a_payload_fits_up_to_the_limit_of_the_envelope() -> None:
    room = (MAX_ENVELOPE - len(sign(b"", [A]).encode())) // 4 * 3
    assert len(Envelope.decode(sign(bytes(room), [A]).encode()).payload) == room
    with pytest.raises(EnvelopeError):
        sign(bytes(room + 3), [A]).encode()


def small_order_ys() -> set[int]:
    """The y of every point whose order divides 8, from the curve equation alone."""
    d = -121665 * pow(121666, -1, P) % P
    found = {1, P - 1, 0}
    # Order 8 doubles to order 4, where y = 0: so x² = −y², and the curve −x² + y² = 1 + d·x²·y² is d·y⁴ + 2·y² − 1 = 0.
    root = pow(1 + d, (P + 3) // 8, P)
    if root * root % P != (1 + d) % P:
        root = root * pow(2, (P - 1) // 4, P) % P
    assert root * root % P == (1 + d) % P
    for sign_ in (1, -1):
        square = (-1 + sign_ * root) * pow(d, -1, P) % P
        y = pow(square, (P + 3) // 8, P)
        if y * y % P != square:
            y = y * pow(2, (P - 1) // 4, P) % P
        if y * y % P == square:
            found |= {y, P - y}
    return found


def test_the_weak_keys_are_all_points_of_small_order() -> None:
    ys = small_order_ys()
    assert len(ys) == 5
    for y in ys:
        for sign_bit in (0, 1 << 255):
            assert is_weak_key((y | sign_bit).to_bytes(32, "little"))
    for y in range(P, 2**255):
        assert is_weak_key(y.to_bytes(32, "little"))
    assert not any(is_weak_key(key.public) for key in (A, B, C))


def test_under_a_weak_key_anybody_signs_anything() -> None:
    # What the rule is for: R = A = the neutral element and s = 0 satisfy the equation for every message.
    neutral = (1).to_bytes(32, "little")
    forged = Signature(did_key(neutral), neutral + bytes(32))
    Ed25519PublicKey.from_public_bytes(neutral).verify(forged.sig, b"anything at all")
    with pytest.raises(SignatureError, match="weak"):
        signers(Envelope(b"x", (forged,)))


def test_base64_is_standard_not_url_safe() -> None:
    payload = b"\xfb\xff\xfe"
    text = sign(payload, [A]).encode().decode()
    assert base64.b64encode(payload).decode() == "+//+"
    assert Envelope.decode(text.encode()).payload == payload
    with pytest.raises(EnvelopeError):
        Envelope.decode(text.replace("+//+", "-__-").encode())
