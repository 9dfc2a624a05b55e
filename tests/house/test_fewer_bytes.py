"""What a change costs: the changes themselves, the fine-tune, what holds, and the report; no program is run here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from byte_goals import BYTE_GOALS, best_other, seconds
from byte_tables import byte_verdicts, render_bytes
from changes import CHANGES
from chunk_lists import list_shares
from goals import OURS, judged
from links import Count
from measuring import GIB
from peers.apart import lacking
from peers.storing import STORES
from tuning import Node, fine_tuned, learn
from weights import Stored, cast_all, gguf, lora, moved_by, noise, quantized, safetensors, shards

from samara.protocol.chunking.profile import ReadAt, layout
from samara.protocol.formats.tensors import read_tensors

SIZE = 1 << 30


def found(moved: float, seconds: float, **more: float) -> dict[str, float]:
    return {"bytes": SIZE, "mbit": 100.0, "moved": moved, "seconds": seconds, "cpu_fetch": 0.1, **more}


def over_the_line(moved: float, seconds: float) -> dict[str, float]:
    return found(moved, seconds, wire=moved * 1.05, payload=moved, received=SIZE, reused=0)


def report(**ours: float) -> dict[str, Any]:
    """A report in which Samara does as said, and two others bring everything."""
    medians = {
        OURS: over_the_line(ours.get("moved", 1000), ours.get("seconds", 1.0)),
        "rsync": over_the_line(SIZE, 6.0),
        "restic": found(60 << 20, 0.5),
    }
    rows = {
        change.name: {
            "title": change.title,
            "programs": [*medians, "casync"],
            "note": "made on the spot",
            "medians": medians,
            "skipped": {"casync": "not installed: casync"},
            "failed": {},
        }
        for change in CHANGES
    }
    lists = {goal.what.removeprefix("chunk list / file, "): dict(found(1, 1), share=1e-9, list=36.0) for goal in
             BYTE_GOALS if goal.row == "lists"}  # fmt: skip
    return {
        "machine": "a machine", "date": "2026-01-01", "runs": 3, "mbit": 100.0,
        "timed": [change.name for change in CHANGES if change.timed], "rows": rows, "lists": lists,
    }  # fmt: skip


# What holds.


def test_every_goal_finds_its_figures_under_the_names_that_the_changes_have() -> None:
    assert [each.goal for each in byte_verdicts(report()) if each.seen is None] == []
    assert len(byte_verdicts(report())) == len(BYTE_GOALS)


def test_all_goals_hold_when_next_to_nothing_is_moved_at_once() -> None:
    assert [each.goal for each in byte_verdicts(report()) if not each.holds] == []


def test_moving_everything_breaks_every_goal_of_bytes() -> None:
    held = {each.goal.row for each in byte_verdicts(report(moved=SIZE)) if each.holds}
    assert held == {"lists", "tuned", "wide"}


@pytest.mark.parametrize(("took", "expected"), [(1.2, True), (1.21, False)])
def test_a_fine_tune_is_five_times_as_fast_as_the_best_rival(took: float, expected: bool) -> None:
    held = {each.goal.row: each.holds for each in byte_verdicts(report(seconds=took))}
    # rsync took 6 s; restic, whose 60 MiB need 5.03 s on the line, is no rival of a fetch.
    assert held["tuned"] is held["wide"] is expected


def test_the_best_other_is_never_samara_itself() -> None:
    medians = {OURS: over_the_line(1, 0.1), "rsync": over_the_line(1, 3.0), "zsync": over_the_line(1, 2.0)}
    assert best_other(medians) == "zsync"
    with pytest.raises(KeyError):
        best_other({OURS: over_the_line(1, 0.1)})


def test_what_was_not_measured_holds_no_goal() -> None:
    medians: dict[str, dict[str, dict[str, float]]] = {change.name: {} for change in CHANGES}
    assert not any(verdict.holds for verdict in judged(medians, frozenset(medians), BYTE_GOALS))


def test_a_store_takes_as_long_as_its_bytes_need_on_the_line() -> None:
    assert seconds(found(12.5e6, 77.0)) == pytest.approx(1.0)
    assert seconds(over_the_line(12.5e6, 77.0)) == 77.0


@pytest.mark.parametrize("mib", [128, 1024])
def test_what_comes_on_top_of_the_ideal_is_seen_at_any_size(mib: int) -> None:
    share = mib / 1024
    size, ideal = (GIB + 1e6) * share, (GIB / 10 + 1e6) * share
    medians = {"changed": {OURS: over_the_line(ideal + 2e6, 1.0) | {"bytes": size}}}
    (verdict,) = judged(medians, frozenset(medians), BYTE_GOALS)
    assert verdict.seen == pytest.approx(110.37, abs=0.01)


@pytest.mark.model
def test_chunk_lists_are_as_small_as_they_must_be() -> None:
    listed = {goal.what.removeprefix("chunk list / file, "): goal.bound for goal in BYTE_GOALS if goal.row == "lists"}
    shares = list_shares()
    assert {what: 100 * shares[what]["share"] <= bound for what, bound in listed.items()} == dict.fromkeys(listed, True)
    assert shares["7B, bf16"]["bytes"] > 10e9


# The report.


def test_the_report_has_every_change_and_says_what_was_computed() -> None:
    text = render_bytes(report())
    assert all(f"(`{change.name}`)" in text for change in CHANGES)
    assert "0.5+5" in text, "restic's seconds, and those of its bytes on the line"
    assert text.count("computed: its bytes over the line") == sum(change.timed for change in CHANGES)
    assert "The best of the others: restic." in text
    assert "casync was skipped: not installed: casync" in text


def test_a_report_without_a_line_has_no_figures_of_samara() -> None:
    told = report()
    for row in told["rows"].values():
        row["medians"] = {"restic": row["medians"]["restic"]}
        row["skipped"][OURS] = "network namespaces need root on Linux"
    text = render_bytes(told)
    assert "samara was skipped: network namespaces need root on Linux" in text
    assert "not measured" in text


def test_what_tcp_carried_does_not_depend_on_how_it_was_cut() -> None:
    whole, cut = Count(65_536 + 66, 1), Count(65_536 + 45 * 66, 45)
    assert whole.carried == cut.carried == 65_536
    assert (cut - whole).packets == 44


@pytest.mark.parametrize("store", STORES, ids=lambda store: store.name)
def test_what_is_not_installed_is_named(store: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("peers.apart.PYTHON", tmp_path / "none")
    lacking.cache_clear()
    assert store.missing().split(" ")[0] == store.name
    lacking.cache_clear()


# The weights, and files of them.


def tensors() -> dict[str, Any]:
    chance = np.random.default_rng(1)
    return {
        name: chance.standard_normal(shape).astype("<f4")
        for name, shape in {"encoder.layer.0.query.weight": (64, 64), "other.weight": (512, 96), "bias": (96,)}.items()
    }


def test_a_fine_tune_of_noise_moves_the_weights_as_far_as_it_says() -> None:
    base = tensors()
    assert moved_by(base, noise(base, 3e-3)) == pytest.approx(3e-3, rel=1e-3)
    merged = lora(base, ("query",))
    assert [name for name in base if not np.array_equal(base[name], merged[name])] == ["encoder.layer.0.query.weight"]


def test_files_are_what_their_formats_say(tmp_path: Path) -> None:
    stored = cast_all("bf16", tensors())
    safetensors(tmp_path / "model.safetensors", stored, {"license": "mit"})
    gguf(tmp_path / "model.gguf", quantized("Q8_0", tensors()), {"general.architecture": "bert"}, ["a", "b"])
    assert names(tmp_path / "model.safetensors") == {name: each.shape for name, each in stored.items()}
    assert set(names(tmp_path / "model.gguf")) == set(stored)
    for path, kind in ((tmp_path / "model.safetensors", "safetensors"), (tmp_path / "model.gguf", "gguf")):
        assert layout(path.stat().st_size, reading(path)).kind == kind


def test_shards_hold_every_tensor_once(tmp_path: Path) -> None:
    stored = {f"t{number}": Stored("BF16", (500,), bytes(1000)) for number in range(10)}
    shards(tmp_path, stored, 3)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())["weight_map"]
    held = {name: path.name for path in tmp_path.glob("*.safetensors") for name in names(path)}
    assert held == index
    assert set(held) == set(stored)
    assert len(set(held.values())) == 3


def reading(path: Path) -> ReadAt:
    data = path.read_bytes()
    return lambda at, size: data[at : at + size]


def names(path: Path) -> dict[str, tuple[int, ...]]:
    found = read_tensors(reading(path), path.stat().st_size)
    assert found is not None
    return {tensor.name: tuple(tensor.shape) for tensor in found}


# The fine-tune.

WORDS = ["[PAD]", *(f"[unused{number}]" for number in range(99)), "[UNK]", "[CLS]", "[SEP]", *"abcdefghij", *(
    f"##{letter}" for letter in "abcdefghij")]  # fmt: skip


def small_model(kind: str) -> dict[str, Any]:
    """A BERT of one layer, with twelve heads of two numbers each."""
    chance = np.random.default_rng(3)
    width, wide = 24, 40
    shapes = {
        "embeddings.word_embeddings.weight": (len(WORDS), width),
        "embeddings.position_embeddings.weight": (40, width),
        "embeddings.token_type_embeddings.weight": (2, width),
    }
    linear = {
        "attention.self.query": (width, width), "attention.self.key": (width, width),
        "attention.self.value": (width, width), "attention.output.dense": (width, width),
        "intermediate.dense": (wide, width), "output.dense": (width, wide),
    }  # fmt: skip
    for name, shape in linear.items():
        shapes |= {f"encoder.layer.0.{name}.weight": shape, f"encoder.layer.0.{name}.bias": shape[:1]}  # type: ignore[dict-item]
    norms = ("embeddings.", "encoder.layer.0.attention.output.", "encoder.layer.0.output.")
    for name in norms:
        shapes |= {f"{name}LayerNorm.{part}": (width,) for part in ("weight", "bias")}  # type: ignore[misc]
    return {name: (chance.standard_normal(shape) * 0.5).astype(kind) for name, shape in shapes.items()}


def test_slopes_are_those_that_small_steps_show() -> None:
    chance = np.random.default_rng(4)
    tokens = chance.integers(103, len(WORDS), (32, 7))
    there = np.arange(7) < chance.integers(3, 8, (32, 1))
    model = {name: Node(value) for name, value in small_model("f8").items()}
    for node in model.values():
        node.slope = np.zeros_like(node.value)
    learn(model, tokens, there)
    slopes = {name: node.slope.copy() for name, node in model.items()}
    for name, node in model.items():
        direction = chance.standard_normal(node.value.shape)
        around = []
        for side in (1e-5, -1e-5):
            node.value += side * direction
            around.append(learn(model, tokens, there))
            node.value -= side * direction
        assert (around[0] - around[1]) / 2e-5 == pytest.approx(
            float((slopes[name] * direction).sum()), rel=1e-3, abs=1e-6
        ), name


def test_a_fine_tune_lowers_its_loss_and_leaves_the_base_alone(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {w: i for i, w in enumerate(WORDS)}}}))
    chance = np.random.default_rng(5)
    lines = ["".join(chance.choice(list("abcdefghij "), 80)) for _ in range(20)]
    (tmp_path / "text.md").write_text("\n".join(line for line in lines for _ in range(2)))
    base = small_model("<f4")
    before = {name: value.copy() for name, value in base.items()}
    tuned = fine_tuned(base, tmp_path / "tokenizer.json", tmp_path, steps=30, rate=1e-2)
    assert tuned.after < tuned.before
    assert all(np.array_equal(before[name], base[name]) for name in base)
    assert 0 < moved_by(base, tuned.tensors) < 1
