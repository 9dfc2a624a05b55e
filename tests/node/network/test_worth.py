"""Whether encoding pays, from what was measured."""

from __future__ import annotations

import pytest

from samara.node.network.exchange.worth import Encode, Worth

MB = 1_000_000


def test_it_is_not_tried_before_the_line_is_known() -> None:
    worth = Worth(Encode.AUTO, near=True)
    assert worth.least is None
    worth.sent(4 * MB, 1.0)
    assert worth.least == 0
    worth.encoded(4 * MB, 2.0)
    for _ in range(20):
        worth.encoded(4 * MB, 2.0)
    assert worth.least is None


@pytest.mark.parametrize(("line", "pays"), [(12.5 * MB, True), (500 * MB, True), (600 * MB, False), (2000 * MB, False)])
def test_a_line_that_is_slower_than_the_codec_is_spared(line: float, pays: bool) -> None:
    worth = Worth(Encode.AUTO, near=True)
    for _ in range(20):
        worth.encoded(7 * MB, 0.01)
    worth.sent(int(line), 1.0)
    assert (worth.least == 0) == pays


def test_it_follows_a_line_that_changes() -> None:
    worth = Worth(Encode.AUTO, near=True)
    worth.encoded(7 * MB, 0.01)
    worth.sent(2000 * MB, 1.0)
    assert worth.least is None
    for _ in range(10):
        worth.sent(10 * MB, 1.0)
    assert worth.least == 0


def test_little_is_added_up_and_no_time_is_very_fast() -> None:
    worth = Worth(Encode.AUTO, near=True)
    worth.sent(1000, 0.001)
    assert worth.least is None
    for _ in range(300):
        worth.sent(1000, 0.001)
    assert worth.least == 0
    for _ in range(20):
        worth.sent(MB, 0.0)
    assert worth.least is None


def test_a_moment_in_which_the_other_end_was_busy_does_not_make_a_line_slow() -> None:
    worth = Worth(Encode.AUTO, near=True)
    worth.sent(MB // 2, 0.01)
    assert worth.least is None
    for _ in range(8):
        worth.sent(MB // 2, 0.0005)
        assert worth.least is None


@pytest.mark.parametrize(("encode", "pays"), [(Encode.ALWAYS, True), (Encode.NEVER, False)])
def test_what_the_user_says_holds(encode: Encode, pays: bool) -> None:
    worth = Worth(encode, near=True)
    worth.encoded(7 * MB, 0.01 if not pays else 10.0)
    worth.sent(7 * MB, 0.01 if pays else 10.0)
    assert (worth.least == 0) == pays


def test_large_chunks_are_encoded_before_the_line_is_known_but_not_on_one_machine() -> None:
    assert Worth(Encode.AUTO, near=True).least is None
    far = Worth(Encode.AUTO, near=False)
    assert far.least == 1 << 12
    far.sent(8 * MB, 0.001)
    assert far.least is None
    far = Worth(Encode.AUTO, near=False)
    far.sent(MB, 1.0)
    assert far.least == 0
