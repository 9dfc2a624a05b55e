"""Which file names a content may have: those that mean one and the same file on every system (specs/content.md §8).

A name that passes here can be created under any folder on Linux, macOS and Windows, on ext4, APFS, NTFS, exFAT and
FAT32, can never leave that folder, and never meets another name of the same content. Rules are frozen at Unicode 14,
whatever Python runs them. Nothing is repaired: a name is right or it is refused.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from samara.protocol._unicode14 import is_character
from samara.protocol.errors import PathError
from samara.protocol.limits import MAX_PATH, MAX_PATH_DEPTH, MAX_PATH_PART

__all__ = ["WORK_FOLDER", "check_path", "check_set", "fold"]

WORK_FOLDER: Final = ".samara"
"""First part that no path may have: there lie the files in progress."""

# C0, DEL, C1; the line and paragraph separators; the marks that reverse how the rest of a name is shown.
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_FORBIDDEN: Final = re.compile(r'[\\:?*|"<>]')
# Windows opens a device under these, whatever follows a dot, and takes superscript digits for digits.
_RESERVED: Final = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[1-9¹²³])", re.IGNORECASE | re.ASCII)

_HINT: Final = "Rename it: this name cannot be used on every system."


def check_path(path: str) -> None:
    """Check one path of a file table.

    Raises:
        PathError: It breaks a rule; the message says which.

    Source: specs/content.md §8.1.
    """
    if not path or len(path) > MAX_PATH:
        raise _refuse(path, f"a path has 1 to {MAX_PATH} bytes")
    _check_characters(path)
    if len(path.encode()) > MAX_PATH:
        raise _refuse(path, f"a path has at most {MAX_PATH} bytes")
    parts = path.split("/")
    if len(parts) > MAX_PATH_DEPTH:
        raise _refuse(path, f"a path has at most {MAX_PATH_DEPTH} parts")
    for part in parts:
        _check_part(path, part)
    if fold(parts[0]) == WORK_FOLDER:
        raise _refuse(path, f"{WORK_FOLDER} is where files in progress lie")


def check_set(paths: Iterable[str]) -> None:
    """Check that paths, each of which `check_path` accepts, can lie beside each other on every system.

    Raises:
        PathError: Two are the same file, one is a file where another needs a folder, or two names differ only in case
            or in Unicode form.

    Source: specs/content.md §8.2.
    """
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    for path in paths:
        folded = fold(path)
        if folded in files:
            raise PathError(f"two files for one name: {_show(files[folded])} and {_show(path)}", hint=_HINT)
        files[folded] = path
        _add_folders(path, folded, folders)
    for folded, folder in folders.items():
        if folded in files:
            raise PathError(f"a file where a folder is: {_show(files[folded])} and {_show(folder)}/", hint=_HINT)


def fold(text: str) -> str:
    """Return what two names have in common when some system takes them for the same.

    Source: The Unicode Standard 14.0, §3.13, D145 (canonical caseless match).
    """
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())


def _add_folders(path: str, folded: str, folders: dict[str, str]) -> None:
    """Note the folders of `path`, the deepest first: once one is known as it is spelled here, so are those above it."""
    while "/" in path:
        path, folded = path.rpartition("/")[0], folded.rpartition("/")[0]
        if folded not in folders:
            folders[folded] = path
        elif folders[folded] == path:
            return
        else:
            raise PathError(f"two folders for one name: {_show(folders[folded])}/ and {_show(path)}/", hint=_HINT)


def _check_characters(path: str) -> None:
    if found := _CONTROL.search(path):
        raise _refuse(path, f"U+{ord(found[0]):04X} is a control character")
    if found := _FORBIDDEN.search(path):
        raise _refuse(path, f"{found[0]} is not allowed in names on Windows")
    if path.isascii():
        return
    for character in path:
        if not is_character(ord(character)):
            raise _refuse(path, f"U+{ord(character):04X} is not a character of Unicode 14")
    # Stable from here on: the normal form of text in characters of Unicode 14 is the same in every later version.
    if not unicodedata.is_normalized("NFC", path):
        raise _refuse(path, "it is not in Unicode normal form C")


def _check_part(path: str, part: str) -> None:
    if part in ("", ".", ".."):
        raise _refuse(path, "a part is empty, . or ..: paths are relative, and / stands only between names")
    if len(part.encode()) > MAX_PATH_PART:
        raise _refuse(path, f"a part has more than {MAX_PATH_PART} bytes")
    if part[-1] in ". ":
        raise _refuse(path, "a part ends in a dot or a space, which Windows drops")
    if _RESERVED.fullmatch(part.partition(".")[0].rstrip(" ")):
        raise _refuse(path, f"{_show(part)} is a device on Windows")


def _refuse(path: str, why: str) -> PathError:
    return PathError(f"the path {_show(path)} is refused: {why}", hint=_HINT)


def _show(text: str) -> str:
    """Show a hostile name in a message: escaped, and not long."""
    return ascii(text if len(text) <= 120 else text[:120] + "…")
