"""PATH or REF: what an argument is, decided once for all commands (specs/records.md, "Path or REF?")."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import click

from samara.protocol.errors import LinkError, UsageError
from samara.protocol.links import looks_like_path, parse_ref

__all__ = ["Target", "absolute", "insist_option", "target_of"]

insist_option = click.option(
    "--insist",
    metavar="NAME",
    multiple=True,
    help="Go on with the release of this NAME although it was taken back, or is not trusted; may be repeated.",
)
"""The `--insist` of every command that uses a release: by its name, so that it is meant for one thing alone."""


@dataclass(frozen=True, slots=True)
class Target:
    """An argument that is a path or a REF.

    Attributes:
        text: The REF, or the absolute path.
        is_path: Which of them.
    """

    text: str
    is_path: bool


def absolute(path: str) -> str:
    """Return a path as an operation takes it: absolute, `~` expanded, links kept.

    Raises:
        UsageError: There is no such user or folder to begin from, or it is not UTF-8, so that no index can hold it.
    """
    try:
        found = str(Path(path).expanduser().absolute())
        found.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"the path {path!a} is not UTF-8", hint="Rename it, or go into the folder by a link."
        ) from None
    except (RuntimeError, OSError) as error:
        raise UsageError(f"{path!a} cannot be a path here: {error}", hint="Write the path in full.") from error
    return found


def target_of(text: str) -> Target:
    """Decide what an argument is.

    Raises:
        UsageError: It is both.
    """
    if looks_like_path(text):
        return Target(absolute(text), is_path=True)
    if not os.path.exists(text):  # False, too, for what is too long to be a name, as a link may be
        return Target(text, is_path=False)
    try:
        parse_ref(text)
    except LinkError:
        return Target(absolute(text), is_path=True)
    raise UsageError(f"{text!r} is both a path and a REF", hint=f"Write ./{text} if you mean the file.")
