"""The comparison with other programs: what holds, the report, and the meter; nothing is compared here."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from goals import GOALS, OURS, judged
from measuring import GIB, Meter, cpu_seconds
from peers.base import Content
from picture import draw
from rows import ROWS
from support.scripts import load_script
from tables import render

EVERY = {
    "seconds": 1.0, "wall": 1.5, "cpu_fetch": 1.0, "cpu_seed": 0.5, "rss_fetch": 1e8, "rss_seed": 1e8, "sent": GIB,
    "again": 1e6, "rate": 1e6, "bytes": GIB, "mbit": 1e4, "share": 0.005, "rss": 1e8, "peers": 20.0,
}  # fmt: skip


def everything(**ours: float) -> dict[str, dict[str, dict[str, float]]]:
    """Medians in which all programs are alike, but Samara as said."""
    programs = {row.name: [OURS, *(peer.name for peer in row.peers)] for row in ROWS}
    return {row: {name: EVERY | (ours if name == OURS else {}) for name in names} for row, names in programs.items()}


def holding(medians: dict[str, dict[str, dict[str, float]]]) -> dict[str, bool]:
    return {f"{each.goal.row}: {each.goal.what}": each.holds for each in judged(medians, frozenset(medians))}


def report(*places: str) -> dict[str, Any]:
    rows = {
        name: {"medians": medians, "skipped": {"other": "it is <not> here"}, "failed": {}}
        for name, medians in everything().items()
    }
    return {
        "machine": "a <machine>",
        "date": "2026-01-01",
        "scale": {"runs": 7},
        "titles": {row.name: row.title for row in ROWS},
        "places": dict.fromkeys(places, rows),
    }


def test_every_goal_finds_its_figures_under_the_names_that_the_rows_have() -> None:
    assert [each.goal.what for each in judged(everything(), frozenset(everything())) if each.seen is None] == []


def test_being_as_fast_as_the_others_is_not_enough() -> None:
    held = holding(everything())
    assert not held["single: speed / libtorrent v1, plain"]
    assert not held["swarm: time / libtorrent v1"]


@pytest.mark.parametrize(
    ("seconds", "expected"), [(1 / 1.19, False), (1 / 1.21, True), (1 / 1.69, True)], ids=["slow", "enough", "fast"]
)
def test_speed_is_the_others_time_over_ours(seconds: float, expected: bool) -> None:
    assert holding(everything(seconds=seconds))["single: speed / libtorrent v1, plain"] is expected


@pytest.mark.parametrize(
    ("figure", "goal"),
    [
        ("sent", "swarm: bytes the seeder sends / size"),
        ("again", "resume: bytes fetched again, in seconds of data"),
        ("rss_seed", "large: peak RssAnon, seeder"),
        ("cpu_seed", "single: CPU s per GiB, both sides"),
        ("share", "idle: share of a core"),
        ("rss", "idle: RssAnon"),
    ],
)
def test_more_of_it_breaks_the_goal(figure: str, goal: str) -> None:
    assert holding(everything())[goal]
    assert not holding(everything(**{figure: EVERY[figure] * 3}))[goal]


def test_what_was_not_measured_does_not_hold() -> None:
    medians = everything()
    del medians["many"]["rsync"]
    assert not holding(medians)["many: time / rsync"]


def test_rows_that_were_not_run_are_not_judged() -> None:
    assert {each.goal.row for each in judged(everything(), frozenset({"idle"}))} == {"idle"}
    assert {goal.row for goal in GOALS} <= {row.name for row in ROWS}


def test_the_report_says_what_was_skipped_and_what_does_not_hold() -> None:
    text = render(report("tmpfs", "disk"))
    assert "- other was skipped: it is <not> here" in text
    (line,) = [line for line in text.splitlines() if "speed / libtorrent v2" in line and "| disk" in line]
    assert [cell.strip() for cell in line.split("|")[4:7]] == ["≥ 1.7×", "1×", "NO"]


@pytest.mark.parametrize("places", [("tmpfs",), ("tmpfs", "disk")])
def test_the_picture_is_well_formed_and_holds_each_program(places: tuple[str, ...]) -> None:
    text = draw(report(*places))
    words = {"".join(each.itertext()) for each in ET.fromstring(text).iter() if each.tag.endswith("text")}
    assert {peer.name for row in ROWS if row.name == "single" for peer in row.peers} <= words
    assert any("a <machine>" in word for word in words)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_meter_counts_what_both_sides_use() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass\n"
    waits = "print(flush=True); input(); print(flush=True); input()"
    command = [sys.executable, "-c", burn + waits]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as seeder:
        assert seeder.stdout is not None
        seeder.stdout.readline()
        with Meter([seeder.pid]) as meter:
            subprocess.run([sys.executable, "-c", burn], check=True)
        figures = meter.figures()
        assert cpu_seconds([seeder.pid]) >= 0.25
        seeder.kill()
    assert figures["cpu_fetch"] >= 0.25
    assert figures["cpu_seed"] < 0.25
    assert figures["rss_seed"] > 0


def test_other_bytes_than_were_sent_are_noticed(tmp_path: Any) -> None:
    (tmp_path / "a").write_bytes(b"right")
    content = Content.of(tmp_path / "a")
    content.check(tmp_path)
    (tmp_path / "a").write_bytes(b"wrong")
    with pytest.raises(AssertionError, match="is not what was sent"):
        content.check(tmp_path)


def test_the_setup_names_the_packages_of_programs_that_are_not_here() -> None:
    setup = load_script("bench_setup")
    here = sys.executable
    assert setup.missing({here: "python", "no-such-program": "b", "nor-this": "b", "or-that": "a"}) == ["a", "b"]
