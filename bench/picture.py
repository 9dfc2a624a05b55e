"""The report of a comparison as one SVG: bars of the speed of each program, then the goals and whether they hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from goals import OURS
from tables import verdicts

__all__ = ["draw"]

_WIDTH = 900
_LABEL = 190
_BAR = 470
_LINE = 22
_NEEDED = 510
_INK, _FAINT, _GRID = "#1f2937", "#6b7280", "#e5e7eb"
_COLOURS = {True: ("#b45309", "#f0b775"), False: ("#64748b", "#cbd5e1")}
"""Ours and theirs; the first place is dark, the second light."""


@dataclass
class _Sheet:
    """What has been drawn, and how far down it reaches."""

    y: float = 0.0
    parts: list[str] = field(default_factory=list)

    def text(
        self, x: float, text: str, size: int = 13, *, ink: str = _INK, bold: bool = False, end: bool = False
    ) -> None:
        style = f'font-size="{size}" fill="{ink}"'
        style += ' font-weight="600"' if bold else ""
        style += ' text-anchor="end"' if end else ""
        self.parts.append(f'<text x="{x:.0f}" y="{self.y:.0f}" {style}>{escape(text)}</text>')

    def box(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{height}" rx="2" fill="{colour}"/>'
        )


def draw(report: Mapping[str, Any]) -> str:
    """Return the picture."""
    sheet = _Sheet(34)
    sheet.text(24, "Samara and its peers", 20, bold=True)
    sheet.y += 22
    sheet.text(24, f"{report['machine']}", 12, ink=_FAINT)
    sheet.y += 17
    runs = f"medians of {report['scale']['runs']} interleaved runs"
    said = f"{runs}; verified, written and synced; ×: its time over Samara's"
    sheet.text(24, said, 12, ink=_FAINT)
    sheet.y += 8
    for name in ("single", "swarm", "slow", "far"):
        _bars(sheet, report, name, lambda found: found["bytes"] / 1e6 / found["seconds"], "MB/s")
    for name in ("many", "item"):
        _bars(sheet, report, name, lambda found: found["seconds"] * 1e3, "ms")
    _goals(sheet, report)
    sheet.y += 10
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{sheet.y:.0f}" '
        f'viewBox="0 0 {_WIDTH} {sheet.y:.0f}" font-family="system-ui, -apple-system, \'DejaVu Sans\', sans-serif">'
    )
    paper = f'<rect width="{_WIDTH}" height="{sheet.y:.0f}" fill="#ffffff"/>'
    return "\n".join([head, paper, *sheet.parts, "</svg>", ""])


def _bars(
    sheet: _Sheet, report: Mapping[str, Any], name: str, value: Callable[[Mapping[str, float]], float], unit: str
) -> None:
    """Draw a row of the comparison: a bar for each program and place."""
    places = {
        place: rows[name]["medians"] for place, rows in report["places"].items() if rows.get(name, {}).get("medians")
    }
    if not places:
        return
    peers = list(dict.fromkeys(peer for medians in places.values() for peer in medians))
    most = max(value(found) for medians in places.values() for found in medians.values())
    sheet.y += 34
    what = "longer is better" if unit == "MB/s" else "shorter is better"
    sheet.text(24, report["titles"][name], 15, bold=True)
    sheet.text(_WIDTH - 24, f"{unit}, {what}" + _legend(list(places)), 12, ink=_FAINT, end=True)
    sheet.y += 10
    for peer in peers:
        height = _LINE - 5 if len(places) == 1 else 13
        top = sheet.y + 4
        for number, medians in enumerate(places.values()):
            if (found := medians.get(peer)) is None:
                continue
            colour = _COLOURS[peer == OURS][min(number, 1) if len(report["places"]) > 1 and len(places) > 1 else 0]
            at = top + number * (height + 1)
            width = value(found) / most * _BAR
            sheet.box(_LABEL + 24, at, width, height, colour)
            sheet.y = at + height - 2.5
            sheet.text(_LABEL + 30 + width, _figure(value(found), found, medians.get(OURS), peer), 12)
        sheet.y = top + len(places) * (height + 1) / 2 + 4
        sheet.text(_LABEL + 14, peer, 13, bold=peer == OURS, end=True)
        sheet.y = top + len(places) * (height + 1) + 2


def _legend(places: Sequence[str]) -> str:
    return f"; dark: {places[0]}, light: {places[1]}" if len(places) == 2 else f"; {places[0]}"


def _figure(value: float, found: Mapping[str, float], ours: Mapping[str, float] | None, peer: str) -> str:
    text = f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    return text if ours is None or peer == OURS else f"{text} · {found['seconds'] / ours['seconds']:.2f}×"


def _goals(sheet: _Sheet, report: Mapping[str, Any]) -> None:
    """Draw the goals: what is needed, and what was seen at each place."""
    places = verdicts(report)
    sheet.y += 36
    sheet.text(24, "Goals", 15, bold=True)
    columns = [(place, 655 + 125 * number) for number, (place, _) in enumerate(places)]
    sheet.text(_NEEDED, "needed", 12, ink=_FAINT)
    for place, x in columns:
        sheet.text(x, place, 12, ink=_FAINT)
    goals = list(dict.fromkeys(verdict.goal for _, found in places for verdict in found))
    for goal in goals:
        sheet.y += 8
        sheet.box(24, sheet.y, _WIDTH - 48, 1, _GRID)
        sheet.y += 17
        sheet.text(24, f"{report['titles'][goal.row]}: {goal.what}", 12)
        for (_, found), (_, x) in zip(places, columns, strict=True):
            for verdict in found:
                if verdict.goal == goal:
                    _seen(sheet, x, verdict.seen, goal.unit, holds=verdict.holds)
                    needed = verdict.needed
        sheet.text(_NEEDED, needed, 12)
    sheet.y += 12


def _seen(sheet: _Sheet, x: float, seen: float | None, unit: str, *, holds: bool) -> None:
    text = "not measured" if seen is None else f"{'✓' if holds else '✗'} {seen:.3g}{unit}"
    sheet.text(
        x, text, 12, ink="#15803d" if holds else "#b91c1c" if seen is not None else _FAINT, bold=seen is not None
    )
