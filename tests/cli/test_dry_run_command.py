"""samara fetch --dry-run from outside: an estimate is called one, and where there is none nothing is said of it."""

from __future__ import annotations

from pathlib import Path

from support.cli import Cli


def test_what_is_estimated_is_called_about(tmp_path: Path) -> None:
    alice, bob = Cli(tmp_path / "alice").having(SAMARA_NETWORK_ENCODE="always"), Cli(tmp_path / "bob")
    text = tmp_path / "rows.jsonl"
    text.write_text("".join(f'{{"row": {n}, "square": {n * n}}}\n' for n in range(100_000)))
    with alice.running("seed", str(text), "--license", "MIT") as (_, said):
        link = said["published"][0]["link"]
        cost = bob.json("fetch", link, "--dry-run")
        assert cost.keys() == {"release", "name", "bytes", "needed", "held", "estimated", "files"}
        assert cost["files"] == [
            {"path": "rows.jsonl", "bytes": cost["bytes"], "needed": cost["bytes"], "estimated": cost["estimated"]}
        ]
        assert 0 < cost["estimated"] < 0.5 * cost["needed"]
        (row, total) = bob.run("fetch", link, "--dry-run").out.splitlines()
        assert row.split("\t")[3].startswith("about ")
        assert " would be fetched, about " in total
        raw = bob.run("fetch", link, "--dry-run", "--encode", "never").out
        assert "about" not in raw
        assert raw.splitlines()[0].count("\t") == 2
