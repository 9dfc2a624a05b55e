"""The report of a comparison as Markdown that reads well as plain text, too: figures first, then the goals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from goals import OURS, Verdict, judged, link_share
from measuring import GIB

__all__ = ["goal_line", "render", "table", "verdicts"]

Median = Mapping[str, float]


def render(report: Mapping[str, Any]) -> str:
    """Return the whole report."""
    scale = report["scale"]
    lines = [
        "# Samara and its peers",
        "",
        f"{report['machine']}; {report['date']}.",
        f"Medians of {scale['runs']} interleaved runs by `bench/compare.py`, random data, both ends on one machine.",
        "",
        "- Samara and curl are encrypted, the others only where it is said. All verify; for curl, `b3sum` does.",
        "- Seconds go from the request to a program that is ready until all is verified, written and synced;",
        "  libtorrent's from the moment at which it dials, up to half a second later. With start: that of the fetching",
        "  programs is counted as well.",
        "- CPU seconds are those of the fetching programs with their start, and of the seeder meanwhile.",
        "- Times over Samara's: above 1, Samara is faster.",
    ]
    for place, rows in report["places"].items():
        lines += ["", f"## On {place}"]
        for name, row in rows.items():
            lines += ["", f"### {report['titles'][name]} (`{name}`)", ""]
            lines += table(*_columns(name, row["medians"]))
            lines += [f"- {peer} was skipped: {why}" for peer, why in row["skipped"].items()]
            lines += [f"- {peer} FAILED: {why}" for peer, why in row["failed"].items()]
    lines += ["", "## Goals", ""]
    heads = ["row", "place", "what", "goal", "seen", "holds"]
    lines += table(heads, [goal_line(each, place) for place, found in verdicts(report) for each in found])
    return "\n".join(lines) + "\n"


def verdicts(report: Mapping[str, Any]) -> list[tuple[str, list[Verdict]]]:
    """Return the verdicts on the goals, by place."""
    found = []
    for place, rows in report["places"].items():
        medians = {name: row["medians"] for name, row in rows.items()}
        found.append((place, judged(medians, frozenset(medians))))
    return found


def goal_line(verdict: Verdict, *places: str) -> list[str]:
    """Return the cells of a goal: row, places, what, goal, seen, holds."""
    seen = "not measured" if verdict.seen is None else f"{verdict.seen:.3g}{verdict.goal.unit}"
    return [verdict.goal.row, *places, verdict.goal.what, verdict.needed, seen, "yes" if verdict.holds else "NO"]


def _columns(name: str, medians: Mapping[str, Median]) -> tuple[list[str], list[list[str]]]:
    """Return the heads and the rows of the table for a row of the comparison."""
    columns = _SPECIAL.get(name, _TRANSFER)
    ours = medians.get(OURS, {})
    body = [[peer, *(_cell(what, found, ours) for _, what in columns)] for peer, found in medians.items()]
    return ["program", *(head for head, _ in columns)], body


def _cell(what: Callable[[Median, Median], str], found: Median, ours: Median) -> str:
    try:
        return what(found, ours)
    except (KeyError, ZeroDivisionError):
        return "–"


def table(heads: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table."""
    widths = [max(len(line[column]) for line in (heads, *body)) for column in range(len(heads))]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in (heads, *body)]
    return [f"| {line} |" for line in (lines[0], " | ".join("-" * width for width in widths), *lines[1:])]


def _mb(figure: str) -> Callable[[Median, Median], str]:
    return lambda found, ours: f"{found[figure] / 1e6:.0f}"


_TIMES = (
    ("seconds", lambda found, ours: f"{found['seconds']:.3g}"),
    ("with start", lambda found, ours: f"{found['wall']:.3g}"),
    ("/ Samara's", lambda found, ours: f"{found['seconds'] / ours['seconds']:.2f}"),
    ("with start", lambda found, ours: f"{found['wall'] / ours['wall']:.2f}"),
)
_MEMORY = (("RssAnon MB fetch", _mb("rss_fetch")), ("seed", _mb("rss_seed")))
_CPU = (
    ("CPU s fetch", lambda found, ours: f"{found['cpu_fetch']:.2f}"),
    ("seed", lambda found, ours: f"{found['cpu_seed']:.2f}"),
)
_TRANSFER = (
    ("MB/s", lambda found, ours: f"{found['bytes'] / 1e6 / found['seconds']:.0f}"),
    *_TIMES,
    ("CPU s/GiB fetch", lambda found, ours: f"{found['cpu_fetch'] / (found['bytes'] / GIB):.2f}"),
    ("seed", lambda found, ours: f"{found['cpu_seed'] / (found['bytes'] / GIB):.2f}"),
    *_MEMORY,
    ("sent / size", lambda found, ours: f"{found['sent'] / found['bytes']:.2f}"),
)
_LINK = (
    ("of the link", lambda found, ours: f"{100 * link_share('row', 'it')({'row': {'it': found}}):.1f} %"),
    *_TIMES,
    *_CPU,
    *_MEMORY,
)
_SPECIAL: Mapping[str, Sequence[tuple[str, Callable[[Median, Median], str]]]] = {
    "many": (*_TIMES, *_CPU, *_MEMORY),
    "item": (*_TIMES, *_CPU, *_MEMORY),
    "slow": _LINK,
    "far": _LINK,
    "resume": (
        ("fetched again, MB", _mb("again")),
        ("in seconds of data", lambda found, ours: f"{found['again'] / found['rate']:.2f}"),
        ("seconds of the second fetch", lambda found, ours: f"{found['seconds']:.2f}"),
    ),
    "idle": (
        ("% of a core", lambda found, ours: f"{100 * found['share']:.2f}"),
        ("RssAnon MB", _mb("rss")),
        ("peers", lambda found, ours: f"{found['peers']:.0f}"),
    ),
}
