"""The report of fewer_bytes.py as Markdown that reads well as plain text, too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from byte_goals import BYTE_GOALS, best_other, line_seconds, seconds
from goals import OURS, Verdict, judged
from tables import goal_line, table

__all__ = ["byte_verdicts", "render_bytes"]

Median = Mapping[str, float]


def render_bytes(report: Mapping[str, Any]) -> str:
    """Return the whole report."""
    rows, mbit = report["rows"], f"{report['mbit']:g} Mbit/s"
    lines = [
        "# Fewer bytes",
        "",
        f"{report['machine']}; {report['date']}.",
        "What a change of a model or data set costs whom, by `bench/fewer_bytes.py`, all in one run. Figures are of",
        f"one update; in the rows `{'`, `'.join(report['timed'])}` medians of {report['runs']}.",
        "",
        f"- samara, rsync and zsync went over a line of {mbit} (network namespaces, tbf). Bytes are what TCP",
        "  carried, both ways, with all tables, lists and checksums; seconds go from the start of the command to its",
        "  end.",
        "- casync, restic, borg and hf_xet have no line here: bytes are those by which their store grew. Their seconds",
        f"  are `a+b`: `a` to store on this machine, measured, and `b` for their bytes at {mbit}, computed.",
        "  hf_xet ran in its local mode, a folder in place of its server, which is not to be had.",
        "- samara encrypts, verifies, and chooses by itself what to encode; with `encode=always` it does so before it",
        "  knows the line. Its base is a release that the receiver holds.",
        "",
        "## Bytes, per cent of the size",
        "",
        *_matrix(rows, lambda found: f"{100 * found['moved'] / found['bytes']:.3g}"),
        "",
        "## Seconds",
        "",
        *_matrix(rows, _times),
    ]
    for name in report["timed"]:
        if name in rows:
            lines += [
                "",
                f"## {rows[name]['title']} (`{name}`), over {mbit}",
                "",
                *_over_the_line(rows[name]["medians"]),
            ]
    lines += ["", "## What Samara moved", "", *_ours(rows)]
    lines += ["", "## Chunk lists", "", *_lists(report["lists"])]
    lines += ["", "## Goals", ""]
    lines += table(["row", "what", "goal", "seen", "holds"], [goal_line(each) for each in byte_verdicts(report)])
    if said := _said(rows):
        lines += ["", "## Notes", "", *said]
    return "\n".join(lines) + "\n"


def byte_verdicts(report: Mapping[str, Any]) -> list[Verdict]:
    """Return the verdicts on the goals of what was run."""
    medians = {name: row["medians"] for name, row in report["rows"].items()}
    if report["lists"]:
        medians["lists"] = report["lists"]
    return judged(medians, frozenset(medians), BYTE_GOALS)


def _matrix(rows: Mapping[str, Any], cell: Callable[[Median], str]) -> list[str]:
    """Return a table of changes by programs."""
    names = list(dict.fromkeys(name for row in rows.values() for name in (*row["programs"], *row["medians"])))
    body = []
    for name, row in rows.items():
        found = row["medians"]
        size = next((f"{each['bytes'] / 1e6:.1f}" for each in found.values()), "–")
        cells = [cell(found[program]) if program in found else "–" for program in names]
        body.append([f"{row['title']} (`{name}`)", size, *cells])
    return table(["change", "MB", *names], body)


def _times(found: Median) -> str:
    if "wire" in found:
        return f"{found['seconds']:.3g}"
    return f"{found['seconds']:.2g}+{line_seconds(found):.2g}"


def _over_the_line(medians: Mapping[str, Median]) -> list[str]:
    body = []
    for name, found in medians.items():
        measured = "wire" in found
        ours = medians[OURS]["seconds"] if OURS in medians else 0.0
        body.append(
            [
                name,
                f"{seconds(found):.3g}",
                f"{seconds(found) / ours:.2f}" if ours else "–",
                f"{found['moved'] / 1e6:.2f}",
                f"{found['wire'] / 1e6:.2f}" if measured else "–",
                f"{found['cpu_fetch']:.2f}",
                "measured" if measured else "computed: its bytes over the line, nothing else",
            ]
        )
    lines = table(["program", "seconds", "/ Samara's", "MB", "MB on the interface", "CPU s", "seconds are"], body)
    if OURS in medians and len(medians) > 1:
        lines += ["", f"The best of the others: {best_other(medians)}."]
    return lines


def _ours(rows: Mapping[str, Any]) -> list[str]:
    body = []
    for name, row in rows.items():
        for program, found in row["medians"].items():
            if "payload" in found:
                chunks = [f"{found[key] / 1e6:.2f}" for key in ("reused", "received", "payload")]
                body.append([name, program, *chunks, f"{(found['moved'] - found['payload']) / 1e3:.0f}"])
    return table(["row", "program", "MB copied", "MB of chunks", "as they travelled", "kB of all else"], body)


def _lists(lists: Mapping[str, Median]) -> list[str]:
    body = [
        [what, f"{found['bytes'] / 1e6:.1f}", f"{found['list'] / 1e3:.1f}", f"{100 * found['share']:.4f}"]
        for what, found in lists.items()
    ]
    return table(["file", "MB", "kB of its list", "per cent"], body)


def _said(rows: Mapping[str, Any]) -> list[str]:
    said = [f"- `{name}`: {row['note']}." for name, row in rows.items() if row["note"]]
    for kind, word in (("skipped", "was skipped"), ("failed", "FAILED")):
        found: dict[str, list[str]] = {}
        for name, row in rows.items():
            for program, why in row[kind].items():
                found.setdefault(f"{program} {word}: {why}", []).append(name)
        said += [f"- {what} ({', '.join(f'`{name}`' for name in names)})" for what, names in found.items()]
    return said
