"""Rows that are inserted, removed or appended cost the chunks that they lie in, and few more."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samara.protocol.chunking import fastcdc
from samara.protocol.chunking.layout import generic
from samara.protocol.chunking.profile import cut_bytes
from samara.protocol.ids import digest

Row = Callable[[int, random.Random], str]
_WORDS: Final = [format(number * 7919 % 100_003, "x") for number in range(5000)]


def jsonl(number: int, chance: random.Random) -> str:
    text = " ".join(chance.choices(_WORDS, k=chance.randint(3, 60)))
    return f'{{"id": {number}, "text": "{text}", "score": {number % 5}}}\n'


def csv(number: int, chance: random.Random) -> str:
    return f"{number},{chance.choice(_WORDS)},{chance.random():.6f},{number % 7}\n"


def rows_of(row: Row, size: int, seed: int = 1) -> list[str]:
    """Return rows of about so many bytes."""
    chance, made = random.Random(seed), 0
    rows: list[str] = []
    while made < size:
        rows.append(row(len(rows), chance))
        made += len(rows[-1])
    return rows


TABLES: Final = {row.__name__: rows_of(row, 6_000_000) for row in (jsonl, csv)}
SMALL: Final = {name: rows[: len(rows) // 8] for name, rows in TABLES.items()}


def chunks(data: bytes) -> dict[bytes, int]:
    """Return the chunks of a file by hash, with their lengths."""
    ends = cut_bytes(data, generic(len(data)))
    return {digest(data[start:end]): end - start for start, end in zip([0, *ends], ends, strict=False)}


def cost(old: bytes, new: bytes) -> int:
    """Bytes of the chunks of a file that the other one lacks."""
    known = chunks(old)
    return sum(length for name, length in chunks(new).items() if name not in known)


@given(st.sampled_from(sorted(SMALL)), st.integers(0, 2000), st.integers(0, 200))
@settings(max_examples=25)
def test_appended_rows_leave_all_chunks_but_the_last(name: str, left: int, appended: int) -> None:
    rows = SMALL[name]
    old, new = (
        "".join(rows[: len(rows) - left]).encode(),
        "".join(rows[: len(rows) - left + min(left, appended)]).encode(),
    )
    before, after = (cut_bytes(data, generic(len(data))) for data in (old, new))
    assert after[: len(before) - 1] == before[:-1]


@given(st.sampled_from(sorted(SMALL)), st.floats(0, 1), st.integers(1, 50))
@settings(max_examples=25)
def test_nothing_before_an_inserted_row_changes(name: str, where: float, count: int) -> None:
    rows = SMALL[name]
    at = int(where * len(rows))
    head = "".join(rows[:at])
    old, new = "".join(rows).encode(), (head + "".join(rows[:count]) + "".join(rows[at:])).encode()
    before, after = (cut_bytes(data, generic(len(data))) for data in (old, new))
    same = [end for end in before[:-1] if end < len(head) - 1]
    assert after[: len(same)] == same


@pytest.mark.parametrize("name", sorted(TABLES))
@pytest.mark.parametrize("change", ["inserted", "removed"])
def test_a_change_costs_few_chunks_wherever_it_is(name: str, change: str) -> None:
    rows, chance = TABLES[name], random.Random(f"{name} {change}")
    old = "".join(rows).encode()
    costs = []
    for _ in range(12):
        at, count = chance.randrange(len(rows)), chance.randint(1, 20)
        other = rows_of(jsonl, 5000, seed=at)[:count] if change == "inserted" else []
        rest = rows[at:] if change == "inserted" else rows[at + count :]
        costs.append(cost(old, "".join([*rows[:at], *other, *rest]).encode()))
    assert max(costs) < 6 * fastcdc.MAX
    assert sum(costs) / len(costs) < 4 * fastcdc.AVERAGE


def test_many_changes_cost_their_sum_and_no_more() -> None:
    rows, chance = list(TABLES["jsonl"]), random.Random(3)
    old = "".join(rows).encode()
    for _ in range(5):
        rows.insert(chance.randrange(len(rows)), jsonl(chance.randrange(10**6), chance))
    assert cost(old, "".join(rows).encode()) < 5 * 4 * fastcdc.AVERAGE
