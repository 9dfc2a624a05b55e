"""`samara limits` from outside: it shows, changes a node that runs, and keeps what it is told to keep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.cli import Cli

NONE = {"upload": None, "download": None, "peer_upload": None, "peer_download": None, "max_upload": None}
WINDOW = {"from": "00:00", "to": "24:00", "days": "daily", "upload": 1000, "download": 0}


@pytest.fixture
def home(tmp_path: Path) -> Cli:
    return Cli(tmp_path / "home")


def limits(home: Cli, *arguments: str) -> dict[str, Any]:
    return home.json("limits", *arguments)


def test_a_node_that_runs_is_changed_at_once_and_forgets_it_at_its_end(home: Cli) -> None:
    with home.running("node", "--upload", "1 MB", "--max-upload", "50 GB"):
        found = limits(home)
        assert {name: found[name] for name in NONE} == {**NONE, "upload": 1_000_000, "max_upload": 50 * 10**9}
        assert (found["running"], found["metered"], found["schedule"]) == (True, False, [])
        changed = limits(home, "--upload", "20 Mbit", "--download", "0", "--peer-upload", "5kB", "--metered")
        assert (changed["upload"], changed["download"], changed["peer_upload"]) == (2_500_000, 0, 5000)
        assert changed["metered"]
        status = home.json("status")["limits"]
        assert status["given"] >= 0
        assert {**status, "given": 0} == {
            **NONE, "upload": 2_500_000, "download": 0, "peer_upload": 5000, "max_upload": 50 * 10**9,
            "given": 0, "metered": True, "gives": False, "window": "", "until": "",
        }  # fmt: skip
        text = home.run("status").out
        for line in ("upload     2.5 MB/s, 5.0 kB/s for each peer; gives no chunks", "download   0, moves no chunks"):
            assert line in text
        assert "max upload" in text
        assert "of 50.0 GB" in text
        off = limits(home, "--upload", "off", "--download", "off", "--max-upload", "off", "--no-metered")
        assert off["in_force"]["gives"]
        assert limits(home, "--peer-upload", "off")["peer_upload"] is None
    assert not (home.home / "config.toml").exists()
    assert limits(home)["running"] is False


def test_what_is_saved_holds_after_the_next_start(home: Cli) -> None:
    schedule = ("--schedule", "00:00-24:00 upload=1kB download=0", "--schedule", "sat 10:00-11:00 upload=off")
    with home.running("node"):
        found = limits(home, *schedule, "--max-upload", "1 GB", "--save")
        assert found["schedule"][0] == WINDOW
        assert (found["in_force"]["upload"], found["in_force"]["download"]) == (1000, 0)
        assert found["in_force"]["window"] == "daily 00:00-24:00 upload=1000 download=0"
        assert "until" in found["in_force"]
    again = limits(home)
    assert (again["schedule"], again["max_upload"], again["running"]) == (found["schedule"], 10**9, False)
    saved = home.run("limits", "--schedule", "off", "--upload", "3 MB", "--save")
    assert saved.code == 0
    assert "No node runs" in saved.out
    with home.running("node"):
        assert limits(home)["schedule"] == []
        assert limits(home)["in_force"]["upload"] == 3_000_000


def test_a_variable_that_will_win_is_named(home: Cli) -> None:
    done = home.having(SAMARA_NETWORK_UPLOAD="1 MB").run("limits", "--upload", "2 MB", "--save", "--json")
    assert "SAMARA_NETWORK_UPLOAD is set, and wins" in done.err
    assert done.ok()["upload"] == 2_000_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--upload", "2 MB"), "no node runs here"),
        (("--upload", "fast"), "'fast' is not a size"),
        (("--schedule", "monday 08:00-09:00 upload=1"), "not a window"),
        (("--peer-download", "0", "--save"), "must be above 0"),
    ],
)
def test_what_cannot_be_is_bad_usage(home: Cli, arguments: tuple[str, ...], message: str) -> None:
    done = home.run("limits", *arguments, "--json")
    assert done.code == 2
    assert message in json.loads(done.out)["message"]
    assert not (home.home / "config.toml").exists()


def test_seed_takes_limits_unless_a_node_runs(home: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("something")
    with home.running("seed", str(tmp_path / "a.txt"), "--yes", "--peer-upload", "9 kB", "--metered"):
        found = limits(home)
        assert (found["peer_upload"], found["metered"]) == (9000, True)
        done = home.run("seed", str(tmp_path / "a.txt"), "--yes", "--upload", "1", "--json")
        assert done.code == 2
        assert "samara limits" in done.json["hint"]
