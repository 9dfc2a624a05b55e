"""How an error reaches the person, or the program, that called."""

from __future__ import annotations

import json
import sys

from samara.cli.output import printable
from samara.protocol.errors import SamaraError, name_of

__all__ = ["fail"]


def fail(error: SamaraError, *, as_json: bool) -> int:
    """Print an error and return the exit code for it."""
    if as_json:
        print(json.dumps({"error": name_of(error), "message": error.message, "hint": error.hint}))
    else:
        print(f"samara: {printable(error.message)}", file=sys.stderr)
        if error.hint:
            print(f"        {printable(error.hint)}", file=sys.stderr)
    return error.exit_code
