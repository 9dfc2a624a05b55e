"""Writes settings into `config.toml`, and leaves the rest of it as it is: comments, order, other sections.

The file is edited line by line, and then read again: if it does not say what it should say and everything else that it
said before, it is left alone, and the person is told what to write.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from samara.node.network.timetable import Window
from samara.node.store.files import sync_folder
from samara.node.store.home import Home
from samara.protocol.errors import StoreError, UsageError

__all__ = ["blocks_of", "replace_file", "save_settings"]

_HEADER: Final = re.compile(r"\s*\[")

Value = int | bool | Sequence[Window] | None


def save_settings(home: Home, section: str, values: Mapping[str, Value]) -> None:
    """Set settings of one section in the file of a home; None takes one out.

    Raises:
        UsageError: The file cannot be read, or is written in a way that cannot be edited.
        StoreError: It cannot be written.
    """
    try:
        text = home.config.read_text("utf-8") if home.config.exists() else ""
        said = tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise UsageError(f"{home.config} cannot be read: {error}") from error
    wanted = _with(said, section, values)
    edited = _edited(text, section, values)
    try:
        right = tomllib.loads(edited) == wanted
    except ValueError:
        right = False
    if not right:
        lines = "\n".join([f"[{section}]", *_assignments(values), *_tables(section, values)])
        raise UsageError(f"{home.config} is written in a way that cannot be edited", hint=f"Write into it:\n{lines}")
    try:
        replace_file(home.config, edited)
    except OSError as error:
        raise StoreError(f"{home.config} cannot be written: {error}") from error


def _with(said: Mapping[str, object], section: str, values: Mapping[str, Value]) -> dict[str, object]:
    """Return what the file is to say, as it is read."""
    table = said.get(section, {})
    new = {**table} if isinstance(table, dict) else {}
    for name, value in values.items():
        new.pop(name, None)
        if isinstance(value, Sequence):
            if value:
                new[name] = [_fields(window) for window in value]
        elif value is not None:
            new[name] = value
    return {**said, section: new} if new or section in said else dict(said)


def _edited(text: str, section: str, values: Mapping[str, Value]) -> str:
    blocks = blocks_of(text.splitlines())
    tables = [name for name, value in values.items() if isinstance(value, Sequence)]
    gone = [rf"\[\[{section}\.{name}\]\]" for name in tables]
    kept = [_remarks_after(block) if any(_is_header(block, p) for p in gone) else block for block in blocks]
    new = _assignments(values)
    for block in kept:
        if _is_header(block, rf"\[{section}\]"):
            old = re.compile(rf"\s*({'|'.join(map(re.escape, values))})\s*=")
            block[:] = [block[0], *new, *(line for line in block[1:] if not old.match(line))]
            new = []
    lines = [line for block in kept for line in block]
    if new:
        first = next((i for i, line in enumerate(lines) if _HEADER.match(line)), len(lines))
        lines[first:first] = [f"[{section}]", *new, ""]
    added = _tables(section, values)
    return "\n".join([*lines, *([""] if added and lines and lines[-1].strip() else []), *added]) + "\n"


def blocks_of(lines: Sequence[str]) -> list[list[str]]:
    """Cut a file before each header of a table."""
    blocks: list[list[str]] = [[]]
    for line in lines:
        if _HEADER.match(line):
            blocks.append([])
        blocks[-1].append(line)
    return blocks


def _remarks_after(block: Sequence[str]) -> list[str]:
    """Return the comments at the end of a block: they are more likely about what follows."""
    end = len(block)
    while end > 1 and (not block[end - 1].strip() or block[end - 1].lstrip().startswith("#")):
        end -= 1
    return list(block[end:])


def _is_header(block: Sequence[str], pattern: str) -> bool:
    return bool(block and re.fullmatch(rf"\s*{pattern}\s*(#.*)?", block[0]))


def _assignments(values: Mapping[str, Value]) -> list[str]:
    return [f"{name} = {_text(v)}" for name, v in values.items() if v is not None and not isinstance(v, Sequence)]


def _tables(section: str, values: Mapping[str, Value]) -> list[str]:
    lines: list[str] = []
    for name, value in values.items():
        for window in value if isinstance(value, Sequence) else ():
            lines += [f"[[{section}.{name}]]", *(f"{key} = {_text(field)}" for key, field in _fields(window).items())]
    return lines


def _fields(window: Window) -> dict[str, object]:
    fields: dict[str, object] = msgspec.to_builtins(window)
    return {name: value for name, value in fields.items() if value is not None}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def replace_file(path: Path, text: str) -> None:
    """Put a file in the place of another: whole, or not at all.

    Raises:
        OSError: It cannot be written.
    """
    target = path.resolve()  # a link stays one
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with draft.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            draft.chmod(target.stat().st_mode & 0o777)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(target.parent)
