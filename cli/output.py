"""Text and JSON on stdout, progress and notices on stderr."""

from __future__ import annotations

import re
import shutil
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click
import msgspec

from samara.node.operations.base import Event, Notice, Progress, Report, Text

if TYPE_CHECKING:
    import rich.progress

__all__ = [
    "about",
    "emit_json",
    "human_bytes",
    "json_option",
    "printable",
    "quoted",
    "say",
    "short",
    "show_events",
    "table",
]

_STEERING: Final = [*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_UNPRINTABLE: Final = {code: "\ufffd" for code in _STEERING if chr(code) not in "\n\t"}
_IN_A_CELL: Final = dict.fromkeys(_STEERING, "\ufffd")
_BLANKS: Final = re.compile("[\\s\u00a0\u115f\u1160\u2800\u3164\uffa0]+")
"""Whatever looks like nothing: in a row it could push the rest of a text to where a line begins."""
_SHORT: Final = 20
"""Characters of an id that tell it from others."""
_LONGEST_NAME: Final = 32
"""Characters of a petname; an id has 61 (specs/records.md §8)."""
_MARKS: Final = 2
"""Marks on one letter that are shown; a pile of them reaches into other lines."""
_IN_JSON: Final = {code: f"\\u{code:04x}" for code in _STEERING if code >= 0x20}

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
"""The `--json` flag of every command that reports."""


def emit_json(value: object) -> None:
    """Print a result as one JSON object; characters that could steer a terminal are escaped as JSON does it."""
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode().translate(_IN_JSON))


def say(text: str = "") -> None:
    """Print a line of the result; names and texts in it may come from anybody."""
    print(printable(text))


def human_bytes(count: float) -> str:
    """Return a number of bytes as people read it."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def about(count: int | None) -> str:
    """Return an estimate of bytes as people read it; nothing when there is none."""
    return "" if count is None else f"about {human_bytes(count)}"


def printable(text: str) -> str:
    """Return text from outside without what could steer a terminal: control and bidirectional characters."""
    return text.translate(_UNPRINTABLE)


def short(publisher: str) -> str:
    """Return a publisher's name, or the beginning of its id, for where it only tells one from another."""
    return publisher if len(publisher) <= _LONGEST_NAME else f"{publisher[:_SHORT]}…"


def quoted(text: str, indent: str = "    ", *, width: int | None = None) -> str:
    """Return a stranger's text in quotation marks, so that nothing in it looks like a line of ours.

    Blanks in a row are one, and where a line of the terminal ends, the text goes on behind a bar.

    Args:
        text: What a title or a note says.
        indent: What stands before it; the lines that follow begin with it, and the bar.
        width: Columns of a line; None: those of the terminal, and no end where there is none.

    Source: specs/cli.md, "Strangers' texts".
    """
    if width is None:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 1 << 30
    room = max(20, width - len(indent) - 4)
    lines = [""]
    for word in _plain(text).split(" "):
        begun = f"{lines[-1]} {word}" if lines[-1] else word
        if _columns(begun) <= room:
            lines[-1] = begun
        else:
            lines += _pieces(word, room)
    return f'{indent}"' + f"\n{indent}| ".join(line for line in lines if line) + '"'


def _plain(text: str) -> str:
    """Text without what could steer, hide or pile up; and without the mark that ends a quotation."""
    text = _BLANKS.sub(" ", text.translate(_IN_A_CELL)).strip().replace('"', "'")
    found, marks = [], 0
    for letter in text:
        marks = marks + 1 if unicodedata.combining(letter) else 0
        found += [letter] if marks <= _MARKS else []
    return "".join(found)


def _pieces(word: str, room: int) -> list[str]:
    """Break what is longer than a line."""
    found = [""]
    for letter in word:
        if _columns(found[-1] + letter) > room:
            found.append("")
        found[-1] += letter
    return found


def _columns(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(bool(unicodedata.combining(letter)) for letter in text)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: drawn for a terminal, tab-separated for a pipe. Cells may hold what comes from anybody."""
    rows = [[cell.translate(_IN_A_CELL) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(row))
        return
    import rich.box
    import rich.console
    import rich.table
    import rich.text

    drawn = rich.table.Table(box=rich.box.SIMPLE_HEAD)
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(rich.text.Text(cell) for cell in row))
    rich.console.Console().print(drawn)


@contextmanager
def show_events(*, quiet: bool = False, text: bool = False) -> Iterator[Report]:
    """Show events while a block runs; yields the function that takes them.

    Args:
        quiet: Show no progress bar, as with `--json`; notices still go to stderr.
        text: Print generated text on stdout as it comes.
    """
    shown = _Events(bars=sys.stderr.isatty() and not quiet, text=text)
    try:
        yield shown.take
    finally:
        shown.close()


class _Events:
    def __init__(self, *, bars: bool, text: bool) -> None:
        self._bars = bars
        self._text = text
        self._progress: rich.progress.Progress | None = None
        self._tasks: dict[str, rich.progress.TaskID] = {}

    def take(self, event: Event) -> None:
        if isinstance(event, Notice):
            self._notice(event.notice)
        elif isinstance(event, Text):
            self._stop_bars()
            if self._text:
                print(printable(event.text), end="", flush=True)
        elif isinstance(event, Progress) and self._bars:
            self._bar(event)

    def close(self) -> None:
        self._stop_bars()

    def _notice(self, text: str) -> None:
        if self._progress is not None:
            self._progress.console.print(printable(text), markup=False, highlight=False)
        else:
            print(printable(text), file=sys.stderr)

    def _bar(self, event: Progress) -> None:
        if self._progress is None:
            self._progress = _new_bars()
            self._progress.start()
        if event.phase not in self._tasks:
            for other in self._tasks.values():
                self._progress.update(other, visible=False)
            self._tasks[event.phase] = self._progress.add_task(event.phase, total=event.total, note="")
        self._progress.update(
            self._tasks[event.phase], completed=event.done, total=event.total, note=printable(event.note)
        )

    def _stop_bars(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
            self._tasks.clear()


def _new_bars() -> rich.progress.Progress:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=Console(stderr=True),
        transient=True,
    )
