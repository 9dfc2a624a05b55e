"""Multiaddrs that Samara can dial: an IP address or a host name, and a TCP port. Text in links, bytes on the wire.

Only these are understood. An address of another kind (QUIC, relays, browsers) is no error on the wire: it is skipped,
since peers of other implementations announce them beside the ones that can be used. Nothing here resolves a name.

Source: the multiaddr specification; specs/network.md, "Addresses".
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from samara.protocol.errors import AddressError, RemoteProtocolError
from samara.protocol.limits import MAX_ADDRESS
from samara.protocol.peers import parse_peer_id
from samara.protocol.wire import read_varint, varint

__all__ = [
    "Address",
    "Scope",
    "at_ip_of",
    "decode_address",
    "from_ip",
    "meant_for",
    "parse_address",
    "parse_peer_address",
]

_TCP: Final = 6
_CODES: Final = {"ip4": 4, "ip6": 41, "dns": 53, "dns4": 54, "dns6": 55}
_KINDS: Final = {code: kind for kind, code in _CODES.items()}
_IP_BYTES: Final = {4: 4, 41: 16}
_LABEL: Final = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_LOWEST_PORT: Final = 1024
_ALLOWED_PORTS: Final = frozenset({443})
_HOST: Final = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*\.?")


class Scope(IntEnum):
    """From where an address can be dialled; a wider scope has a higher number."""

    NOWHERE = 0
    LOOPBACK = 1
    PRIVATE = 2
    PUBLIC = 3


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address.

    Attributes:
        kind: `ip4`, `ip6`, `dns`, `dns4` or `dns6`.
        host: The IP address in its canonical form, or the host name in lower case.
        port: TCP port; 0 only in what a node is told to listen at.
    """

    kind: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"/{self.kind}/{self.host}/tcp/{self.port}"

    @property
    def is_name(self) -> bool:
        """It is a host name, whose IP address is not known here."""
        return self.kind.startswith("dns")

    @property
    def scope(self) -> Scope:
        """Where it can be dialled from; a host name counts as public."""
        return Scope.PUBLIC if self.is_name else _ip_scope(ipaddress.ip_address(self.host))

    @property
    def is_unprivileged(self) -> bool:
        """Its port is one that others may be sent to: no mail or login server is to be dialled on a stranger's word."""
        return self.port >= _LOWEST_PORT or self.port in _ALLOWED_PORTS

    def encode(self) -> bytes:
        """Return the binary form."""
        code = _CODES[self.kind]
        if self.is_name:
            value = varint(len(self.host)) + self.host.encode("ascii")
        else:
            value = ipaddress.ip_address(self.host).packed
        return varint(code) + value + bytes((_TCP,)) + self.port.to_bytes(2, "big")


def from_ip(host: str, port: int) -> Address:
    """Return the address of an IP address as a socket tells it: with or without a zone, mapped or not.

    Raises:
        AddressError: It is no IP address.
    """
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError as error:
        raise AddressError(f"{host[:80]!r} is not an IP address") from error
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return Address(f"ip{ip.version}", str(ip), port)


def parse_address(text: str) -> Address:
    """Parse a multiaddr such as `/ip4/192.0.2.1/tcp/4001`.

    Raises:
        AddressError: It is malformed, or of a kind that this node cannot dial.
    """
    parts = text[: MAX_ADDRESS + 1].split("/")
    if len(parts) == 5 and parts[0] == "" and parts[1] in _CODES and parts[3] == "tcp" and len(text) <= MAX_ADDRESS:
        port = int(parts[4]) if re.fullmatch(r"\d{1,5}", parts[4], re.ASCII) else -1
        address = _checked(parts[1], parts[2], port)
        if address is not None:
            return address
    raise AddressError(
        f"{text[:120]!r} is not an address that this node can use", hint="Write it like /ip4/192.0.2.1/tcp/4001."
    )


def parse_peer_address(text: str) -> tuple[str, Address]:
    """Parse a multiaddr that ends in `/p2p/` and a peer id, and return the peer id and the address.

    Raises:
        AddressError: It is malformed, or names no peer.
    """
    address, mark, peer = text.rpartition("/p2p/")
    if not mark:
        raise AddressError(f"{text[:120]!r} names no peer", hint="It ends in /p2p/ and the peer's id.")
    parse_peer_id(peer)
    return peer, parse_address(address)


def decode_address(raw: bytes) -> Address | None:
    """Return a binary multiaddr; None when it is malformed or of another kind. A `/p2p/…` at its end is left out."""
    try:
        code, place = read_varint(raw)
        if code not in _KINDS or len(raw) > MAX_ADDRESS:
            return None
        length = _IP_BYTES.get(code)
        if length is None:
            length, place = read_varint(raw, place)
        value, rest = raw[place : place + length], raw[place + length :]
    except RemoteProtocolError:
        return None
    if len(value) != length or len(rest) < 3 or rest[0] != _TCP or not (len(rest) == 3 or rest[3:5] == b"\xa5\x03"):
        return None
    kind = _KINDS[code]
    host = value.decode("ascii", "replace") if kind.startswith("dns") else str(ipaddress.ip_address(value))
    return _checked(kind, host, int.from_bytes(rest[1:3], "big"))


def meant_for(addresses: Iterable[Address], scope: Scope) -> tuple[Address, ...]:
    """Return those addresses that mean the same to a host of this scope as to us.

    A private address says nothing to a public host, and a loopback address nothing to any other. The same rule holds
    for what we tell and for what we believe.
    """
    narrowest = scope or Scope.PUBLIC
    return tuple(address for address in addresses if address.scope >= narrowest)


def at_ip_of(addresses: Iterable[Address], seen: Address) -> tuple[Address, ...]:
    """Return those addresses that a peer may have others dial: at its own IP, and unprivileged.

    Args:
        addresses: What it claims.
        seen: The remote end of a connection with it.
    """
    return tuple(
        address
        for address in addresses
        if (address.kind, address.host) == (seen.kind, seen.host) and address.is_unprivileged
    )


def _checked(kind: str, host: str, port: int) -> Address | None:
    if not 0 <= port <= 65535:
        return None
    if kind.startswith("dns"):
        host = host.lower()
        return Address(kind, host, port) if _HOST.fullmatch(host) else None
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return None
    if kind != f"ip{ip.version}" or "%" in host:
        return None
    return from_ip(str(ip), port)


def _ip_scope(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> Scope:
    if ip.is_unspecified or ip.is_multicast or ip.is_link_local or str(ip) == "255.255.255.255":
        # A link-local IPv6 address needs a zone that only its own host can name; an IPv4 one is a failed DHCP.
        return Scope.PRIVATE if ip.version == 4 and ip.is_link_local else Scope.NOWHERE
    if ip.is_loopback:
        return Scope.LOOPBACK
    return Scope.PUBLIC if ip.is_global else Scope.PRIVATE
