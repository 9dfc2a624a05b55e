"""The card of a publisher: what a stranger is handed, to begin trusting it (specs/keys.md §6).

Text for the terminal, an SVG, or an HTML page around that. Neither loads anything from elsewhere, and nothing on a card
is secret.
"""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import segno

from samara.node.store.files import os_errors
from samara.node.store.home import write_private
from samara.protocol.errors import UsageError

__all__ = ["Card", "write_card"]

_WIDTH: Final = 148
_HEIGHT: Final = 105
"""Millimetres: A6, a postcard."""
_QR: Final = 40
_TITLE: Final = "Samara publisher"
_FONT: Final = "font-family:Helvetica,Arial,'Liberation Sans',sans-serif"
_MONO: Final = "font-family:Menlo,Consolas,'Liberation Mono','DejaVu Sans Mono',monospace"


@dataclass(frozen=True, slots=True)
class Card:
    """What a card says.

    Attributes:
        publisher: Publisher id.
        name: A petname, or empty.
        words: Its 8 check words.
    """

    publisher: str
    name: str
    words: Sequence[str]

    @property
    def steps(self) -> tuple[str, ...]:
        """How whoever holds the card checks it, and uses it."""
        name = self.name or "NAME"
        return (
            "Scan the code, or type the id. Then: samara key words ID",
            "It must show these 8 words, all of them, in this order.",
            "Ask the publisher for its words over another way, too.",
            f"When all agree: samara key name ID {name}",
            f"From then on samara verify says that {name} signed.",
        )

    def text(self) -> str:
        """Return the card for a terminal."""
        drawn = io.StringIO()
        self._code().terminal(out=drawn, compact=True)
        words = [f"{number}. {word}" for number, word in enumerate(self.words, 1)]
        lines = [
            f"{_TITLE}{f': {self.name}' if self.name else ''}",
            "",
            self.publisher,
            "",
            *("  ".join(f"{word:<13}" for word in words[row : row + 4]).rstrip() for row in (0, 4)),
            "",
            drawn.getvalue().rstrip("\n"),
            "",
            *(f"{number}. {step}" for number, step in enumerate(self.steps, 1)),
        ]
        return "\n".join(lines)

    def svg(self) -> str:
        """Return the card as an SVG of the size of a postcard."""
        half = len(self.publisher) // 2 + 1
        parts = [
            _text(10, 14, 3.6, _TITLE, fill="#555"),
            _text(10, 24, 8, self.name or "a publisher", weight="bold"),
            _text(10, 33, 3.1, self.publisher[:half], mono=True),
            _text(10, 38, 3.1, self.publisher[half:], mono=True),
            *(
                _text(10 + 40 * (place // 4), 48 + 6 * (place % 4), 4.4, f"{place + 1}  {word}", weight="bold")
                for place, word in enumerate(self.words)
            ),
            *(_text(10, 76 + 5 * place, 3.1, f"{place + 1}. {step}") for place, step in enumerate(self.steps)),
            self._drawn(_WIDTH - _QR - 8, 8),
        ]
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}mm" height="{_HEIGHT}mm"'
            f' viewBox="0 0 {_WIDTH} {_HEIGHT}">\n<title>{html.escape(f"{_TITLE} {self.name}".strip())}</title>\n'
            f'<rect x="0.5" y="0.5" width="{_WIDTH - 1}" height="{_HEIGHT - 1}" rx="3" fill="#fff" stroke="#888"'
            ' stroke-width="0.3"/>\n' + "\n".join(parts) + "\n</svg>\n"
        )

    def page(self) -> str:
        """Return the card as an HTML page that prints in its size."""
        title = html.escape(f"{_TITLE} {self.name}".strip())
        return (
            f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
            "<style>@page{margin:10mm}body{margin:10mm}</style>\n</head>\n<body>\n" + self.svg() + "</body>\n</html>\n"
        )

    def _code(self) -> segno.QRCode:
        return segno.make_qr(self.publisher, error="m")

    def _drawn(self, x: float, y: float) -> str:
        rows = [list(row) for row in self._code().matrix_iter(border=2)]
        size = _QR / len(rows)
        path = "".join(f"M{c} {r}h1v1h-1z" for r, row in enumerate(rows) for c, dark in enumerate(row) if dark)
        return (
            f'<path transform="translate({x} {y}) scale({size:.5f})" shape-rendering="crispEdges" fill="#000"'
            f' d="{path}"/>'
        )


def write_card(card: Card, path: Path) -> Path:
    """Write a card to a file whose name says which kind it is; return its path.

    Raises:
        UsageError: The name ends in neither .svg nor .html.
        StoreError: It cannot be written.
    """
    kinds = {".svg": card.svg, ".html": card.page}
    make = kinds.get(path.suffix.lower())
    if make is None:
        raise UsageError(f"{path.name} is no name for a card", hint="It ends in .svg or .html.")
    with os_errors(f"cannot write {path}"):
        write_private(path, make().encode(), replace=True)
    return path


def _text(
    x: float, y: float, size: float, text: str, *, mono: bool = False, weight: str = "normal", fill: str = "#000"
) -> str:
    font = _MONO if mono else _FONT
    return (
        f'<text x="{x}" y="{y}" style="{font};font-size:{size}px;font-weight:{weight};fill:{fill}">'
        f"{html.escape(text)}</text>"
    )
