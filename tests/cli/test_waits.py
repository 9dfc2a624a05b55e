"""The waits of specs/cli.md are those of the program."""

from __future__ import annotations

import re
from pathlib import Path

from samara.cli import doors as cli_doors
from samara.node.doors import client, local
from samara.node.fetch import cost, following, meeting, queue
from samara.node.fetch.goal import FetchRequest
from samara.node.fetch.waits import Waits
from samara.node.inference import engine
from samara.node.operations.update import UpdateRequest

SPEC = Path(__file__).resolve().parents[2] / "specs" / "cli.md"


def test_each_wait_is_as_long_as_the_spec_says() -> None:
    section = SPEC.read_text("utf-8").partition("## Waits")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d.*?) \| (.*?) \| (.*) \|$", section, re.MULTILINE)
    waits = Waits()
    assert [list(map(int, re.findall(r"\d+", row[0]))) for row in rows] == [
        [FetchRequest("").patience],
        [UpdateRequest().patience],
        [following._SETTLE, following._STRAGGLERS],
        [waits.gain],
        [cost._SAMPLING],
        [waits.answer],
        [waits.connect],
        [queue._TURN, queue._REST],
        [cli_doors._WAIT_FOR_HOLDER],
        [local._CALL_TIMEOUT],
        [engine.PATIENCE],
    ]
    assert client._HELLO_TIMEOUT == cli_doors._WAIT_FOR_HOLDER
    assert [waits.pause * 2**tries for tries in range(4)] == [2, 4, 8, 16]
    soon = [meeting._SOON * 2**tries for tries in range(6)]
    assert [pause for pause in soon if pause < waits.pause] == [0.1, 0.2, 0.4, 0.8, 1.6]
