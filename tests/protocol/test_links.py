"""REFs and links: round trips, and whatever text hypothesis finds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samara.protocol.errors import LinkError
from samara.protocol.ids import PublisherId, ReleaseId, format_record
from samara.protocol.limits import MAX_LINK
from samara.protocol.links import Address, Link, LinkRef, NameRef, ReleaseRef, check_petname, looks_like_path, parse_ref

RELEASE = ReleaseId(bytes(range(32)))
PUBLISHER = PublisherId(bytes(range(32, 64)))
PEER = "12D3KooWGjx1vT7dAnL1bXDvR2vK9wYcVZ6wUuBJj6gq5o8bX7Wq"
ADDRESS = f"/ip4/192.0.2.1/tcp/4001/p2p/{PEER}"

IDS = st.binary(min_size=32, max_size=32)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}", fullmatch=True)
ADDRESSES = st.sampled_from(
    [
        ADDRESS,
        f"/ip6/2001:db8::1/tcp/65535/p2p/{PEER}",
        f"/dns4/node.example.org/tcp/1/p2p/{PEER}",
        "/ip4/192.0.2.1/tcp/4001",
        "/unix/a&b=c%20d+e#f",
        f"/ip4/192.0.2.1/udp/4001/quic-v1/p2p/{PEER}",
    ]
).map(Address.parse)
LINKS = st.builds(
    Link,
    IDS.map(ReleaseId),
    st.none() | NAMES,
    st.none() | IDS.map(PublisherId),
    st.lists(ADDRESSES, max_size=16).map(tuple),
    st.booleans(),
)


@given(LINKS)
def test_a_link_comes_back_as_it_was(link: Link) -> None:
    text = link.encode()
    assert Link.decode(text) == link
    assert parse_ref(text) == LinkRef(link)
    assert len(text) <= MAX_LINK
    assert text.isascii()
    assert not set(text) & set(" \"'<>#\\`{}|^$;()*!")  # safe in a shell, but for & and ?, and in a QR code


@given(IDS.map(ReleaseId))
def test_an_id_is_a_ref(release: ReleaseId) -> None:
    assert parse_ref(format_record(release)) == ReleaseRef(release)


@given(st.from_regex(r"[a-z0-9][a-z0-9-]{0,31}", fullmatch=True) | IDS.map(PublisherId), NAMES)
def test_a_name_is_a_ref(publisher: PublisherId | str, name: str) -> None:
    text = publisher if isinstance(publisher, str) else format_record(publisher)
    assert parse_ref(f"{text}/{name}") == NameRef(publisher, name)
    assert parse_ref(f"{text}/{name}@{name[:64]}") == NameRef(publisher, name, name[:64])


TEXTS = st.lists(
    st.text(max_size=6)
    | st.sampled_from(
        ["samara:", format_record(RELEASE), "?", "&", "=", "n", "k", "p", "v", "%", "%41", "/", "@", ADDRESS, "anna"]
    ),
    max_size=8,
).map("".join)


def refusal(read: Callable[[str], object], text: str) -> LinkError | None:
    try:
        read(text)
    except LinkError as error:
        return error
    return None


@given(TEXTS)
def test_random_text_raises_nothing_but_link_errors(text: str) -> None:
    for read in (parse_ref, Link.decode, Address.parse, check_petname):
        error = refusal(read, text)
        if error is not None:
            assert error.message.isprintable(), "what is quoted from a hostile link is escaped"
            assert error.hint, "an error of a person's own typing says what to do"


@given(TEXTS)
def test_what_is_read_from_a_link_can_be_written_again(text: str) -> None:
    with contextlib.suppress(LinkError):
        link = Link.decode("samara:" + format_record(RELEASE) + "?" + text)
        assert Link.decode(link.encode()) == link


def test_a_full_link_is_written_in_order() -> None:
    link = Link(RELEASE, "tiny", PUBLISHER, (Address.parse(ADDRESS),))
    assert link.encode() == (
        f"samara:{format_record(RELEASE)}?n=tiny&k={format_record(PUBLISHER)}&p=/ip4/192.0.2.1/tcp/4001/p2p/{PEER}"
    )


def test_a_link_that_others_would_refuse_is_not_written() -> None:
    with pytest.raises(LinkError, match="not a name"):
        Link(RELEASE, "a/b").encode()
    with pytest.raises(LinkError, match="more than 16"):
        Link(RELEASE, peers=(Address.parse(ADDRESS),) * 17).encode()
    with pytest.raises(LinkError, match="at most 2048"):
        Link(RELEASE, peers=(Address.parse("/x/" + "%" * 250),) * 16).encode()


def test_an_address_is_split_into_transport_and_peer() -> None:
    parsed = Address.parse(ADDRESS)
    assert (parsed.transport, parsed.peer, parsed.dialable) == ("/ip4/192.0.2.1/tcp/4001", PEER, True)
    bare = Address.parse("/dns/example.org/tcp/80")
    assert (bare.transport, bare.peer, bare.dialable) == ("/dns/example.org/tcp/80", None, False)


@pytest.mark.parametrize(
    "text",
    [
        f"/ip4/192.0.2.1/tcp/4001/ws/p2p/{PEER}",
        f"/ip4/192.0.2.1/tcp/4001/tls/{PEER}",
        f"/p2p/{PEER}/p2p-circuit",
        f"{ADDRESS}/p2p-circuit",
        "/ip4/999.1.1.1/udp/1",
        "/tcp/80",
        "/ip4",
    ],
)
def test_an_address_of_an_unknown_kind_is_kept_and_not_dialled(text: str) -> None:
    assert Address.parse(text) == Address(text, None, None)


@pytest.mark.parametrize(
    "text",
    [".", "..", "./x", "../x", "/x", "~", "~/x", "~anna/x", "x/", "a/b/", ".\\x", "\\\\host\\x", "C:\\x", "c:/x", "C:"],
)
def test_a_path_looks_like_one(text: str) -> None:
    assert looks_like_path(text)


@pytest.mark.parametrize(
    "text", ["", "x", "anna/x", "x.gguf", ".hidden", "anna/x@1", f"samara:{format_record(RELEASE)}"]
)
def test_what_may_be_a_ref_does_not_look_like_a_path(text: str) -> None:
    assert not looks_like_path(text)
