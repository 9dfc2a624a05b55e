"""What comes ahead: one peer is asked at a time, what came is found by its hash, and all of it is let go of."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from samara.node.fetch.ahead import Ahead
from samara.node.fetch.goal import Goal
from samara.protocol.errors import NotFoundError
from samara.protocol.ids import ReleaseId, digest
from samara.protocol.limits import KIB, MAX_AHEAD

GOAL = Goal(ReleaseId(bytes(32)), None, None, None, (), (), None)


def someone() -> Any:
    return SimpleNamespace(has_given=False)


def asked(ahead: Ahead) -> int:
    with ahead.asking(someone()) as most:
        return most


def test_one_peer_is_asked_at_a_time() -> None:
    ahead = Ahead(100)
    with ahead.asking(someone()) as first:
        assert (first, asked(ahead), asked(ahead)) == (100, 0, 0)
    assert asked(ahead) == 100


def test_after_one_that_failed_the_next_is_asked_and_what_it_sent_is_forgotten() -> None:
    ahead = Ahead(100)
    with contextlib.suppress(NotFoundError), ahead.asking(someone()):
        ahead.take(memoryview(b"rubbish"))
        raise NotFoundError("it has no such release")
    with ahead.asking(someone()) as most:
        assert most == 100
        assert ahead.find(digest(b"rubbish")) is None
        assert asked(ahead) == 0
        ahead.take(memoryview(b"a node"))
    assert ahead.find(digest(b"a node")) == b"a node"


def test_who_sent_what_is_looked_for_has_given_something_right() -> None:
    ahead, giver = Ahead(100), someone()
    with ahead.asking(giver):
        ahead.take(memoryview(b"a node"))
    assert ahead.find(digest(b"another")) is None
    assert not giver.has_given
    assert ahead.find(digest(b"a node")) == b"a node"
    assert giver.has_given


def test_what_came_is_found_by_its_hash_before_the_store_is_asked() -> None:
    ahead, stored = Ahead(100), {digest(b"both"): b"both", digest(b"stored"): b"stored"}
    looked: list[bytes] = []

    def held(name: bytes) -> bytes | None:
        looked.append(name)
        return stored.get(name)  # type: ignore[call-overload, no-any-return]

    find = ahead.before(held)
    ahead.take(memoryview(bytearray(b"both")))
    ahead.take(memoryview(bytearray(b"ahead")))
    assert [find(digest(data)) for data in (b"both", b"ahead", b"stored", b"none")] == [
        b"both",
        b"ahead",
        b"stored",
        None,
    ]
    assert looked == [digest(b"stored"), digest(b"none")]


def test_what_was_let_go_of_is_not_found_and_what_comes_later_is_not_kept() -> None:
    ahead = Ahead(100)
    with ahead.asking(someone()):
        ahead.take(memoryview(b"a node"))
        ahead.drop()
        ahead.take(memoryview(b"late"))
    assert ahead.find(digest(b"a node")) is None
    assert ahead.find(digest(b"late")) is None
    assert asked(ahead) == 0


def test_who_wants_records_alone_asks_for_nothing() -> None:
    ahead = Ahead()
    assert asked(ahead) == 0
    ahead.take(memoryview(b"sent all the same"))
    assert ahead.find(digest(b"sent all the same")) is None


@pytest.mark.parametrize(
    "goal",
    [
        replace(GOAL, include=("*.txt",)),
        replace(GOAL, quantization="Q4_K_M"),
        replace(GOAL, tensors=()),
        replace(GOAL, replaces=ReleaseId(bytes(32))),
    ],
)
def test_less_is_asked_for_where_only_some_lists_are_wanted(goal: Goal) -> None:
    assert asked(Ahead.of(GOAL)) == asked(Ahead.of(replace(GOAL, reuse=(Path("/"),)))) == MAX_AHEAD
    assert asked(Ahead.of(goal)) == 64 * KIB
