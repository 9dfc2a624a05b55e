"""Names that look like other names (specs/trust.md, "Names").

Names of releases and petnames are ASCII by their grammar, so letters of other scripts cannot occur in them. What is
left are letters that look alike within ASCII: `rn` and `m`, `1`, `l` and `I`, `0` and `O`. A warning is all that they
are worth: nobody could have been `lama` and `Iama` both by accident, and nobody shall be kept from it either.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

__all__ = ["lookalikes", "skeleton"]

# Two letters that look like one, first; then single ones. All are mapped to one of the letters that look alike.
_PAIRS: Final = (("rn", "m"), ("vv", "w"), ("cl", "d"))
_LETTERS: Final = str.maketrans("01i528", "ollszb")
_MARKS: Final = re.compile(r"[._-]+")


def skeleton(name: str) -> str:
    """Return what a person sees of a name at a glance: two names with one skeleton look alike.

    Args:
        name: A petname or the name of a release.
    """
    # Upper-case I looks like a lower-case l, and would be an i after folding.
    seen = _MARKS.sub("", name.replace("I", "l").casefold())
    for pair, letter in _PAIRS:
        seen = seen.replace(pair, letter)
    return seen.translate(_LETTERS)


def lookalikes(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """Return those of the known names that look like `name` and are not the same, sorted.

    Args:
        name: A name that is about to be used.
        known: Names that are in use.
    """
    seen = skeleton(name)
    return tuple(sorted(other for other in set(known) if other != name and skeleton(other) == seen))
