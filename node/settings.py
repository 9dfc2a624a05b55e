"""The settings of a node: `config.toml` in the home, each with an environment variable, checked when read.

The variable of `network.listen` is `SAMARA_NETWORK_LISTEN`; lists are separated by spaces there. Rates and sizes are
numbers of bytes, or text with a unit ("512 MiB", "2 MB", "20 Mbit").
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Final, Literal, get_origin, get_type_hints

import msgspec

from samara.node.store.home import Home
from samara.protocol import limits
from samara.protocol.errors import UsageError

__all__ = ["NetworkSettings", "Settings", "StoreSettings", "load_settings", "parse_bytes"]

Positive = Annotated[int, msgspec.Meta(ge=1)]

_UNITS: Final = {
    "": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30,
    "tib": 1 << 40, "kbit": 125, "mbit": 125_000, "gbit": 125_000_000,
}  # fmt: skip
_BYTE_SETTINGS: Final = frozenset({"upload", "download", "floor", "quota"})


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """How this node meets others.

    Attributes:
        listen: Multiaddrs to listen at; port 0 takes a free one.
        bootstrap: Multiaddrs with `/p2p/…` of peers that know the DHT.
        dht: `server` keeps records for others, `client` only asks, `off` does neither.
        mdns: Announce and look on the LAN.
        upload: Bytes a second that are sent at most; None is no cap.
        download: Bytes a second that are fetched at most; None is no cap.
        connections: Connections at most.
    """

    listen: tuple[str, ...] = ("/ip4/0.0.0.0/tcp/0",)
    bootstrap: tuple[str, ...] = ()
    dht: Literal["server", "client", "off"] = "server"
    mdns: bool = True
    upload: Positive | None = None
    download: Positive | None = None
    connections: Positive = limits.MAX_CONNECTIONS


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """How much room the store may take.

    Attributes:
        floor: Bytes that stay free on the filesystem of a place.
        quota: Bytes of all contents under the home; None is no quota.
    """

    floor: Annotated[int, msgspec.Meta(ge=0)] = 512 * limits.MIB
    quota: Positive | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a node."""

    network: NetworkSettings = field(default_factory=NetworkSettings)
    store: StoreSettings = field(default_factory=StoreSettings)


def load_settings(home: Home, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings of a home; the environment wins over the file.

    Raises:
        UsageError: A setting is unknown or has a value that it cannot have.
    """
    try:
        said = tomllib.loads(home.config.read_text("utf-8"))
    except FileNotFoundError:
        said = {}
    except (OSError, ValueError) as error:
        raise UsageError(f"{home.config} cannot be read: {error}") from error
    for section in fields(Settings):
        table = said.setdefault(section.name, {})
        if isinstance(table, dict):
            _take_environment(section.name, table, environ)
    _refuse_unknown(said, home)
    try:
        return msgspec.convert(said, Settings)
    except msgspec.ValidationError as error:
        raise UsageError(f"a setting in {home.config} or in the environment is wrong: {error}") from error


def parse_bytes(text: str | int) -> int:
    """Return a number of bytes from "2 MB", "512MiB", "20 Mbit" or a plain number.

    Raises:
        UsageError: It is none of these.
    """
    match = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,3})?)\s*([a-z]{0,4})(?:/s|ps)?\s*", str(text).lower())
    if match is None or match[2] not in _UNITS:
        raise UsageError(f"{text!r} is not a size", hint="Write it like 512MiB, 2 MB or 20 Mbit.")
    return int(float(match[1]) * _UNITS[match[2]])


def _take_environment(section: str, table: dict[str, object], environ: Mapping[str, str]) -> None:
    kinds = get_type_hints(_section_type(section))
    for name, kind in kinds.items():
        value: object = environ.get(f"SAMARA_{section}_{name}".upper())
        if isinstance(value, str):
            if get_origin(kind) is tuple:
                value = value.split()
            elif kind is bool:
                value = value.lower() in {"1", "true", "yes", "on"}
            elif name not in _BYTE_SETTINGS and value.isdigit():
                value = int(value)
            table[name] = value
        if name in _BYTE_SETTINGS and isinstance(table.get(name), str):
            table[name] = parse_bytes(str(table[name]))


def _section_type(section: str) -> type:
    kind: type = get_type_hints(Settings)[section]
    return kind


def _refuse_unknown(said: Mapping[str, object], home: Home) -> None:
    known = {name: {f.name for f in fields(_section_type(name))} for name in (s.name for s in fields(Settings))}
    for section, table in said.items():
        names = set(table) if isinstance(table, dict) else set()
        if section not in known or (odd := names - known[section]):
            what = section if section not in known else f"{section}.{min(odd)}"
            raise UsageError(f"{home.config}: there is no setting {what!r}", hint="See docs/settings.md.")
