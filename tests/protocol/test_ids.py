"""Ids as text: one text for an id, held against the slow way through `base64`."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samara.protocol import ids
from samara.protocol.errors import LinkError

KINDS = [(b"\x55", ids.format_content, ids.parse_content), (b"\x80\x04", ids.format_record, ids.parse_record)]


def naive(codec: bytes, text: str) -> bytes | None:
    """The 32 bytes of an id, or None: decoded, and written again to see that it is the canonical form."""
    prefix = b"\x01" + codec + b"\x1e\x20"
    try:
        raw = base64.b32decode(text[1:].upper() + "=" * (-(len(text) - 1) % 8))
    except ValueError:
        return None
    again = "b" + base64.b32encode(raw).decode().lower().rstrip("=")
    return raw[len(prefix) :] if raw.startswith(prefix) and len(raw) == len(prefix) + 32 and again == text else None


def read(parse: Callable[[str], bytes], text: str) -> bytes | None:
    try:
        return parse(text)
    except LinkError:
        return None


@pytest.mark.parametrize(("codec", "write", "parse"), KINDS, ids=["content", "record"])
@given(value=st.binary(min_size=32, max_size=32), place=st.integers(0, 70), letter=st.characters())
def test_ids_are_read_as_the_slow_way_reads_them(
    codec: bytes,
    write: Callable[[bytes], str],
    parse: Callable[[str], bytes],
    value: bytes,
    place: int,
    letter: str,
) -> None:
    text = write(value)
    assert parse(text) == naive(codec, text) == value
    for other in (
        text[:place] + letter + text[place + 1 :],
        text[:place] + letter + text[place:],
        text[:place] + text[place + 1 :],
        text[:-1] + chr(ord(text[-1]) + 1),
        text.upper(),
        text + "=",
    ):
        assert read(parse, other) == naive(codec, other)


@pytest.mark.parametrize(
    "text", ["", "b", "ba", "b_1", "b+1", "b 1", "b" + "a" * 60, "b" + "7" * 60, "b" + "a" * 59 + "\n"]
)
def test_what_is_no_id_is_refused(text: str) -> None:
    for _, _, parse in KINDS:
        with pytest.raises(LinkError):
            parse(text)


def test_a_key_is_read_again_as_it_was_read_first() -> None:
    public = bytes(range(32))
    assert ids.parse_did_key(ids.did_key(public)) == ids.parse_did_key(ids.did_key(public)) == public
    for _ in range(2):
        with pytest.raises(LinkError):
            ids.parse_did_key("did:key:zX")
