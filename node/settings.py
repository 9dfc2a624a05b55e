"""The settings of a node: `config.toml` in the home, each with an environment variable, checked when read.

The variable of `network.listen` is `SAMARA_NETWORK_LISTEN`; lists are separated by spaces there, and windows of the
schedule by semicolons. Rates and sizes are numbers of bytes, or text with a unit ("512 MiB", "2 MB", "20 Mbit"); a rate
may be "off".
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Final, Literal, get_origin, get_type_hints

import msgspec

from samara.node.network.timetable import Window, parse_rate, parse_window
from samara.node.store.home import Home
from samara.node.units import parse_bytes
from samara.protocol import limits
from samara.protocol.errors import UsageError

__all__ = ["NetworkSettings", "Settings", "StoreSettings", "load_settings"]

Natural = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]

_RATES: Final = frozenset({"upload", "download", "peer_upload", "peer_download", "max_upload"})
"""Settings whose caps may be "off"."""
_SIZES: Final = frozenset({"floor", "quota"})


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """How this node meets others.

    Attributes:
        listen: Multiaddrs to listen at; port 0 takes a free one.
        bootstrap: Multiaddrs with `/p2p/…` of peers that know the DHT.
        dht: `server` keeps records for others, `client` only asks, `off` does neither.
        mdns: Announce and look on the LAN.
        upload: Bytes a second that are sent at most; 0 gives no chunks, None is no cap.
        download: Bytes a second that are received at most; 0 fetches nothing, None is no cap.
        peer_upload: Bytes a second that one peer is sent at most; None is no cap.
        peer_download: Bytes a second that are received of one peer at most; None is no cap.
        max_upload: Bytes of chunks that are given in all until the node stops; None is no cap.
        metered: The line is dear: give nothing, announce nothing, and fetch only while somebody waits for it.
        schedule: Parts of the week with another `upload` or `download`; the first that has the moment decides.
        connections: Connections at most.
        encode: When chunks are encoded for peers that take them so: `auto` when it is faster, `always` when it saves
            anything, `never`; then none are asked for, either.
    """

    listen: tuple[str, ...] = ("/ip4/0.0.0.0/tcp/0",)
    bootstrap: tuple[str, ...] = ()
    dht: Literal["server", "client", "off"] = "server"
    mdns: bool = True
    upload: Natural | None = None
    download: Natural | None = None
    peer_upload: Positive | None = None
    peer_download: Positive | None = None
    max_upload: Natural | None = None
    metered: bool = False
    schedule: Annotated[tuple[Window, ...], msgspec.Meta(max_length=limits.MAX_WINDOWS)] = ()
    connections: Positive = limits.MAX_CONNECTIONS
    encode: Literal["auto", "always", "never"] = "auto"


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """How much room the store may take.

    Attributes:
        floor: Bytes that stay free on the filesystem of a place.
        quota: Bytes of all contents under the home; None is no quota.
    """

    floor: Natural = 512 * limits.MIB
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


def _take_environment(section: str, table: dict[str, object], environ: Mapping[str, str]) -> None:
    kinds = get_type_hints(_section_type(section))
    for name, kind in kinds.items():
        value: object = environ.get(f"SAMARA_{section}_{name}".upper())
        if isinstance(value, str):
            if name == "schedule":
                value = [parse_window(text) for text in value.split(";") if text.strip()]
            elif get_origin(kind) is tuple:
                value = value.split()
            elif kind is bool:
                value = value.lower() in {"1", "true", "yes", "on"}
            elif name not in _RATES | _SIZES and value.isdigit():
                value = int(value)
            table[name] = value
    _read_units(table)


def _read_units(table: dict[str, object]) -> None:
    """Put numbers in the place of rates and sizes that are texts."""
    for name in (_RATES | _SIZES) & table.keys():
        value = table[name]
        if isinstance(value, str):
            table[name] = parse_bytes(value) if name in _SIZES else parse_rate(value)
        if table[name] == "off":
            del table[name]
    windows = table.get("schedule")
    for window in windows if isinstance(windows, list) else ():
        for name in ("upload", "download"):
            if isinstance(window, dict) and isinstance(window.get(name), str):
                window[name] = parse_rate(window[name])


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
