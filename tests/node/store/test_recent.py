"""What was used last is kept, as much as may be."""

from __future__ import annotations

from samara.node.store.recent import Recent


def test_what_was_used_longest_ago_goes_first() -> None:
    recent: Recent[str, int] = Recent(2)
    recent.put("a", 1)
    recent.put("b", 2)
    assert recent.get("a") == 1
    recent.put("c", 3)
    assert (recent.get("a"), recent.get("b"), recent.get("c")) == (1, None, 3)


def test_weights_count_and_one_that_is_too_heavy_is_kept_while_it_is_the_last() -> None:
    recent: Recent[str, bytes] = Recent(10, len)
    recent.put("a", bytes(6))
    recent.put("b", bytes(4))
    assert len(recent) == 2
    recent.put("a", bytes(7))
    assert (recent.get("b"), len(recent)) == (None, 1)
    recent.put("c", bytes(100))
    assert (recent.get("a"), recent.get("c")) == (None, bytes(100))
    recent.put("d", bytes(1))
    assert (recent.get("c"), recent.get("d")) == (None, bytes(1))


def test_some_can_be_forgotten_and_weigh_nothing_then() -> None:
    recent: Recent[tuple[str, int], bytes] = Recent(10, len)
    recent.put(("a", 1), bytes(5))
    recent.put(("b", 1), bytes(5))
    recent.forget(lambda key: key[0] == "a")
    recent.put(("c", 1), bytes(5))
    assert recent.get(("a", 1)) is None
    assert len(recent) == 2
