#!/usr/bin/env python3
"""Assembles the fragments in `changelog/` into a release's section.

scripts/changelog.py              print the section that the fragments make
scripts/changelog.py VERSION      put it on top of CHANGELOG.md, and remove the fragments
scripts/changelog.py --check      say which fragments are named wrongly or are empty
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

__all__ = ["KINDS", "main", "section", "wrong_fragments"]

ROOT: Final = Path(__file__).resolve().parent.parent
FRAGMENTS: Final = ROOT / "changelog"
CHANGELOG: Final = ROOT / "CHANGELOG.md"
KINDS: Final = ("added", "changed", "fixed")


def fragments() -> list[Path]:
    """Return the fragments, by name."""
    return sorted(path for path in FRAGMENTS.glob("*.md") if path.name != "README.md")


def wrong_fragments(paths: Sequence[Path]) -> list[str]:
    """Return what is wrong with the fragments: names that say no kind, and empty ones."""
    wrong = [
        f"{p.name}: not <slug>.<{'|'.join(KINDS)}>.md"
        for p in paths
        if p.name.split(".")[1:-1] not in [[k] for k in KINDS]
    ]
    return wrong + [f"{p.name}: empty" for p in paths if not p.read_text(encoding="utf-8").strip()]


def section(title: str, paths: Sequence[Path]) -> str:
    """Return a release's section in Markdown.

    Args:
        title: Its heading.
        paths: The fragments, each a sentence or two.
    """
    parts = [f"## {title}\n"]
    for kind in KINDS:
        entries = [p.read_text(encoding="utf-8").strip() for p in paths if p.name.endswith(f".{kind}.md")]
        if entries:
            parts.append(
                f"\n### {kind.capitalize()}\n\n" + "".join(f"- {e.replace(chr(10), chr(10) + '  ')}\n" for e in entries)
            )
    return "".join(parts)


def main() -> int:
    """Print, check or release."""
    parser = argparse.ArgumentParser(description="Assemble the changelog from its fragments.")
    parser.add_argument("version", nargs="?", help="release this version: write CHANGELOG.md and remove the fragments")
    parser.add_argument("--check", action="store_true", help="only say what is wrong with the fragments")
    asked = parser.parse_args()
    paths = fragments()
    wrong = wrong_fragments(paths)
    for line in wrong:
        print(f"changelog: {line}", file=sys.stderr)
    if asked.check or wrong:
        return 1 if wrong else 0
    if asked.version is None:
        print(section("Unreleased", paths), end="")
        return 0
    new = section(f"{asked.version} ({datetime.datetime.now(datetime.UTC).date()})", paths)
    head = "# Changelog\n\n"
    old = CHANGELOG.read_text(encoding="utf-8").removeprefix(head) if CHANGELOG.exists() else ""
    CHANGELOG.write_text(f"{head}{new}\n{old}".rstrip() + "\n", encoding="utf-8")
    for path in paths:
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
