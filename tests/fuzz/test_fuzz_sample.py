"""A fixed sample of what fuzzing does: every committed input, and the same mutations of them each time."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
from support.fuzz.engine import CORPUS, corpus, mutations
from support.fuzz.seeds import seeds
from support.fuzz.targets import TARGETS, check
from support.scripts import load_script

MUTATIONS = 400

targets = pytest.mark.parametrize("target", TARGETS)


@targets
def test_every_committed_input(target: str) -> None:
    inputs = corpus(target)
    assert inputs
    for data in inputs.values():
        check(target, data)


@targets
def test_the_same_mutations_each_time(target: str) -> None:
    for number, data in enumerate(islice(mutations(target, corpus(target)), MUTATIONS)):
        try:
            check(target, data)
        except Exception as error:
            error.add_note(f"mutation {number} of {target}: {data.hex()}")
            raise


@targets
def test_what_the_vectors_make_today(target: str) -> None:
    """The corpora are of the day when they were written; what the vectors say since then is run, too."""
    made = seeds(target)
    assert made
    for data in made:
        check(target, data)


def test_the_corpus_has_no_other_folder() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)


@pytest.mark.parametrize(
    "target",
    ["yamux", "noise", "exchange-opener", "file-table", "model-header", "records-of-a-log", "fork-proof", "trust-toml"],
)
def test_some_inputs_are_taken_and_some_are_refused(target: str) -> None:
    """A target that refuses everything, or nothing, would find nothing."""
    refused = 0
    for data in corpus(target).values():
        try:
            TARGETS[target].run(data)
        except TARGETS[target].errors:
            refused += 1
        if target in ("yamux", "exchange-opener"):  # they hear errors inside, and compare them
            refused = 1
    assert 0 < refused < len(corpus(target))


def test_what_was_done_adds_up_over_runs(tmp_path: Path) -> None:
    script = load_script("fuzz")
    state = tmp_path / "deep" / "state.json"
    for executions, seconds in ((1000, 2.0), (500, 0.5)):
        progress = script.Progress.read(state)
        progress.add("yamux", executions, seconds, 0)
        progress.add("noise", 1, 0.1, 1)
        progress.write(state)
    progress = script.Progress.read(state)
    assert progress.executions == {"yamux": 1500, "noise": 2}
    assert progress.cpu_seconds == {"yamux": 2.5, "noise": 0.2}
    assert progress.found == {"yamux": 0, "noise": 2}
    assert "1,502" in progress.told(["yamux"])
