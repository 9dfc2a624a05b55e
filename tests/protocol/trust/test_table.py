"""The table of specs/trust.md names tests that there are, and none of the attacks that are tested is missing in it."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
TABLE = (HERE.parents[2] / "specs" / "trust.md").read_text("utf-8").split("## Attacks")[1].split("\n## ")[0]


def _named_in(*files: str) -> set[str]:
    test = re.compile(r"^(?:async )?def test_(\w+)\(", re.M)
    return {name for file in files for name in test.findall((HERE / file).read_text("utf-8"))}


def test_the_table_names_tests_that_there_are() -> None:
    # Those of collectors are held against their own file.
    found = re.findall(r"`([a-z0-9_]+)`", TABLE)
    named = {name for name in found if name.count("_") > 1 and not name.startswith("attack_")}
    assert len(named) > 30
    assert named <= _named_in(
        "test_attacks.py",
        "test_ledger.py",
        "test_floor.py",
        "test_replay.py",
        "../../integration/test_delegates.py",
        "../../node/operations/test_delegating.py",
        "../../node/operations/test_witnessing.py",
        "../../node/store/test_ledgers.py",
    )


def test_the_table_has_every_attack_that_is_tested() -> None:
    missing = _named_in("test_attacks.py") - set(re.findall(r"`(\w+)`", TABLE))
    assert missing == {"one_name_is_no_look_alike_of_itself"}
