"""Files that a person asks a command to write."""

from __future__ import annotations

from pathlib import Path

from samara.cli.targets import absolute
from samara.node.store.files import os_errors
from samara.protocol.errors import UsageError

__all__ = ["write_new"]


def write_new(path: str, text: str) -> None:
    """Write a text into a file, which may be there already if it says the same.

    Raises:
        UsageError: There is another file.
        StoreError: It cannot be written.
    """
    target, data = Path(absolute(path)), text.encode()
    with os_errors(f"cannot write {target}"):
        try:
            with open(target, "xb") as file:
                file.write(data)
        except FileExistsError:
            with open(target, "rb") as file:
                if file.read(len(data) + 1) != data:
                    raise UsageError(f"{target} is there already", hint="Name another file.") from None
