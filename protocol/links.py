"""What people type and pass on to name a release: REFs, `samara:` links, and addresses in them (specs/records.md §8).

Pure grammar: nothing is looked up, dialled or read from a disk. Everything that is not in the grammar is a `LinkError`
that says what is wrong and what to do. A link is a hint: only the records that it leads to say what is true.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, final
from urllib.parse import quote, unquote_to_bytes

from samara.protocol.errors import LinkError
from samara.protocol.ids import PublisherId, ReleaseId, format_record, parse_content, parse_record
from samara.protocol.limits import MAX_ADDRESS, MAX_LINK, MAX_LINK_PEERS
from samara.protocol.records.fields import NAME, PETNAME, VERSION

__all__ = [
    "Address",
    "Link",
    "LinkRef",
    "NameRef",
    "Ref",
    "ReleaseRef",
    "check_name",
    "check_petname",
    "looks_like_path",
    "parse_ref",
]

_SCHEME: Final = "samara:"
_HOSTS: Final = frozenset({"ip4", "ip6", "dns", "dns4", "dns6"})
_KEY: Final = re.compile(r"[A-Za-z0-9._-]{1,32}")
_VALUE: Final = re.compile(r"(?:[A-Za-z0-9._~/:@!$'()*+,;?=-]|%[0-9A-Fa-f]{2})*+")
_ADDRESS: Final = re.compile(r"(?:/[!#-.0-;=?-\[\]-~]+)+")  # printable ASCII but space " < > \, and no empty part
_HOST: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")
_PEER: Final = re.compile(r"[1-9A-HJ-NP-Za-km-z]{46,52}")
_DRIVE: Final = re.compile(r"[A-Za-z]:(?:[\\/]|$)")
_PATH_STARTS: Final = ("./", "../", "/", "~", ".\\", "..\\", "\\")

_REF_HINT: Final = "a REF is a release id, a samara: link, or PUBLISHER/NAME[@VERSION]"
_COPY_HINT: Final = "copy the whole link again, in quotes"


@final
@dataclass(frozen=True, slots=True)
class Address:
    """A multiaddr.

    Attributes:
        text: All of it, as it was written.
        transport: What is dialled: `/ip4/…/tcp/…` and the like; None when the form is not known here.
        peer: The peer id that must answer; None when it states none, or the form is not known here.
    """

    text: str
    transport: str | None
    peer: str | None

    @property
    def dialable(self) -> bool:
        """Whether it can be dialled: a known transport, and who must answer."""
        return self.transport is not None and self.peer is not None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Parse a multiaddr in text form; one of an unknown form is kept, and is not dialable.

        Raises:
            LinkError: Not a multiaddr, or a known form with an impossible value in it.

        Source: specs/records.md §8, "address".
        """
        if not 0 < len(text) <= MAX_ADDRESS or not _ADDRESS.fullmatch(text):
            raise LinkError(
                f"not an address: {text[:80]!r}", hint="an address looks like /ip4/192.0.2.1/tcp/4001/p2p/12D3KooW…"
            )
        parts = text[1:].split("/")
        if parts[0] not in _HOSTS or parts[2:3] != ["tcp"] or len(parts) not in (4, 6):
            return cls(text, None, None)
        if len(parts) == 6 and parts[4] != "p2p":
            return cls(text, None, None)
        _check_host(parts[0], parts[1])
        if not _PORT.fullmatch(parts[3]) or int(parts[3]) > 65535:
            raise LinkError(f"not a TCP port: {parts[3][:20]!r}", hint="a port is 1 to 65535")
        peer = parts[5] if len(parts) == 6 else None
        if peer is not None and not _PEER.fullmatch(peer):
            raise LinkError(f"not a peer id: {peer[:80]!r}", hint="a peer id looks like 12D3KooW…, in base58")
        return cls(text, "/" + "/".join(parts[:4]), peer)


@final
@dataclass(frozen=True, slots=True)
class Link:
    """A `samara:` link.

    Attributes:
        release: What it names.
        name: The release's name, to be shown until the release is here.
        publisher: The publisher that the release must be of, or None.
        peers: Addresses at which it may be found.
        public: Anybody may be asked for it; else nobody but `peers`.
    """

    release: ReleaseId
    name: str | None = None
    publisher: PublisherId | None = None
    peers: tuple[Address, ...] = ()
    public: bool = True

    def encode(self) -> str:
        """Return the link as text.

        Raises:
            LinkError: A name out of bounds, too many addresses, or a link that is too long.
        """
        pairs = [("n", self.name)] if self.name is not None else []
        pairs += [("k", format_record(self.publisher))] if self.publisher is not None else []
        pairs += [] if self.public else [("v", "unlisted")]
        pairs += [("p", peer.text) for peer in self.peers]
        query = "&".join(f"{key}={quote(value, safe='/:')}" for key, value in pairs)
        text = _SCHEME + format_record(self.release) + ("?" + query if query else "")
        Link.decode(text)  # what others would refuse is never given out
        return text

    @classmethod
    def decode(cls, text: str) -> Link:
        """Parse a link.

        Raises:
            LinkError: Anything outside the grammar; the message says what.

        Source: specs/records.md §8.
        """
        if len(text) > MAX_LINK:
            raise LinkError(f"a link of {len(text)} characters: at most {MAX_LINK}", hint="leave addresses (p=) out")
        if not text.startswith(_SCHEME):
            raise LinkError(f"not a samara: link: {text[:80]!r}", hint=_REF_HINT)
        identity, mark, query = text.removeprefix(_SCHEME).partition("?")
        if identity.startswith("//"):
            raise LinkError("a samara: link has no slashes after the colon", hint="remove the //")
        release = ReleaseId(_release(identity))
        name: str | None = None
        publisher: PublisherId | None = None
        visibility: str | None = None
        peers: list[Address] = []
        for key, value in _parameters(query) if mark else ():
            if key == "n":
                _once(key, name)
                name = check_name(value)
            elif key == "k":
                _once(key, publisher)
                publisher = _publisher_id(value)
            elif key == "v":
                _once(key, visibility)
                visibility = value
            elif key == "p":
                if len(peers) == MAX_LINK_PEERS:
                    raise LinkError(f"a link with more than {MAX_LINK_PEERS} addresses", hint="leave some p= out")
                peers.append(Address.parse(value))
        return cls(release, name, publisher, tuple(peers), visibility in {None, "public"})


@final
@dataclass(frozen=True, slots=True)
class ReleaseRef:
    """A bare release id."""

    release: ReleaseId


@final
@dataclass(frozen=True, slots=True)
class LinkRef:
    """A `samara:` link."""

    link: Link


@final
@dataclass(frozen=True, slots=True)
class NameRef:
    """A publisher's name for a release.

    Attributes:
        publisher: A publisher id, or a petname (text) that the reader's own list resolves.
        name: Name of the release.
        version: Its version; None for the newest.
    """

    publisher: PublisherId | str
    name: str
    version: str | None = None


Ref = ReleaseRef | LinkRef | NameRef
"""What a person typed to name a release."""


def parse_ref(text: str) -> Ref:
    """Parse a REF.

    Raises:
        LinkError: Not a REF; the hint says what one looks like.

    Source: specs/records.md §8.
    """
    if text.startswith(_SCHEME):
        return LinkRef(Link.decode(text))
    if "/" not in text:
        return ReleaseRef(ReleaseId(_release(text)))
    publisher, _, rest = text.partition("/")
    name, at, version = rest.partition("@")
    if at and not VERSION.fullmatch(version):
        raise LinkError(
            f"not a version: {version[:80]!r}",
            hint="letters, digits and . _ + -, at most 64, beginning with a letter or digit",
        )
    return NameRef(_publisher(publisher), check_name(name), version if at else None)


def check_petname(text: str) -> str:
    """Return `text` if it is a petname: the reader's own short name for a publisher.

    Raises:
        LinkError: It is not.
    """
    if not PETNAME.fullmatch(text):
        raise LinkError(
            f"not a petname: {text[:80]!r}", hint="lower-case letters, digits and -, at most 32, not beginning with -"
        )
    return text


def check_name(text: str) -> str:
    """Return `text` if it can be the name of a release.

    Raises:
        LinkError: It cannot.
    """
    if not NAME.fullmatch(text):
        raise LinkError(
            f"not a name: {text[:80]!r}", hint="letters, digits and . _ -, at most 96, beginning with a letter or digit"
        )
    return text


def looks_like_path(text: str) -> bool:
    """Return whether `text` is a path by its form alone, whatever exists.

    Source: specs/records.md §8, "Path or REF?".
    """
    return (
        text in (".", "..")
        or text.startswith(_PATH_STARTS)
        or text.endswith(("/", "\\"))
        or _DRIVE.match(text) is not None
    )


def _release(text: str) -> bytes:
    try:
        return parse_record(text)
    except LinkError:
        pass
    if not text:
        raise LinkError("a release id is missing", hint=_REF_HINT)
    try:
        parse_content(text)
    except LinkError:
        hint = _COPY_HINT if text[:1] == "b" and len(text) > 32 else _REF_HINT
        raise LinkError(f"not a release id: {text[:80]!r}", hint=hint) from None
    raise LinkError(f"{text} is a content id", hint="name the release that holds it: `samara ls` lists both")


def _publisher(text: str) -> PublisherId | str:
    return text if PETNAME.fullmatch(text) else _publisher_id(text)


def _publisher_id(text: str) -> PublisherId:
    try:
        return PublisherId(parse_record(text))
    except LinkError:
        raise LinkError(
            f"not a publisher: {text[:80]!r}",
            hint="a publisher is a publisher id (b…) or, outside links, a petname (lower-case letters, digits and -)",
        ) from None


def _parameters(query: str) -> Iterable[tuple[str, str]]:
    """Yield key and decoded value of each parameter, in order; also of those that nobody knows."""
    for parameter in query.split("&"):
        key, equals, value = parameter.partition("=")
        if not equals or not _KEY.fullmatch(key):
            raise LinkError(f"not a parameter of a link: {parameter[:80]!r}", hint=_COPY_HINT)
        if not _VALUE.fullmatch(value):
            raise LinkError(f"{key}= has a character or a % that a link cannot have: {value[:80]!r}", hint=_COPY_HINT)
        try:
            yield key, unquote_to_bytes(value).decode("utf-8")
        except UnicodeDecodeError:
            raise LinkError(f"{key}= is not UTF-8", hint=_COPY_HINT) from None


def _once(key: str, before: object) -> None:
    if before is not None:
        raise LinkError(f"{key}= occurs twice in a link", hint="two links may be joined: use one of them")


def _check_host(kind: str, host: str) -> None:
    try:
        if kind == "ip4":
            ipaddress.IPv4Address(host)
        elif kind == "ip6":
            if ipaddress.IPv6Address(host).scope_id is not None:
                raise ValueError
        elif len(host) > 253 or not _HOST.fullmatch(host):
            raise ValueError
    except ValueError:
        what = {"ip4": "an IPv4 address", "ip6": "an IPv6 address"}.get(kind, "a host name")
        raise LinkError(f"not {what}: {host[:80]!r}", hint="copy the address again, all of it") from None
