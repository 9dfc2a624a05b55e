"""What of a ledger is passed on: pages within their bounds, by which who asks learns all, whatever it knew before."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import pytest
from support.publishers import Publisher, key

from samara.protocol.errors import ForkError, StatementError
from samara.protocol.limits import MAX_ENVELOPE, MAX_LOG_PAGES, MAX_POSITION, MAX_RECORDS
from samara.protocol.ports import LogPage
from samara.protocol.records import Place, PublisherChain, VerifiedHead
from samara.protocol.trust import ForkProof, Ledger
from samara.protocol.trust.catchup import CatchUp
from samara.protocol.trust.forks import place_of
from samara.protocol.trust.passing import page_of, put_together, whole_log


def size(page: LogPage) -> int:
    return sum(map(len, page.envelopes))


def take(ledger: Ledger, page: LogPage) -> None:
    """Take a page as a node does."""
    if page.roots:
        ledger.learn_roots(PublisherChain.verify([*ledger.chain.envelopes, *page.roots]))
    for pair in page.forks:
        ledger.admit_fork(ForkProof(*pair))
    for record in (*page.revocations, *page.entries):
        with contextlib.suppress(ForkError, StatementError):  # a delegate's head before its delegation
            ledger.admit(record)


def catch_up(mine: Ledger, theirs: Ledger) -> int:
    """Ask until there is nothing more to ask; return how often."""
    catchup, asked = CatchUp(), 0
    while True:
        newest = mine.newest
        place = place_of(newest) if newest is not None else None
        first = catchup.first(place.position if place is not None else 0, mine.missing())
        if first is None:
            return asked
        page = page_of(theirs, mine.chain.current.version, first)
        take(mine, page)
        catchup.heard(page)
        asked += 1


def busy(records: int) -> Publisher:
    anna = Publisher.of("anna")
    for version in range(records):
        anna.publish(str(version))
    return anna


def test_who_knows_nothing_gets_all_of_it() -> None:
    anna = busy(3)
    page = page_of(anna.ledger(), 0, 1)
    assert page == LogPage(roots=anna.chain.envelopes, entries=tuple(anna.said), newest=3)


def test_who_knows_all_of_it_gets_the_checkpoint() -> None:
    anna = busy(3)
    assert page_of(anna.ledger(), 1, 4) == LogPage(entries=(anna.said[-1],), newest=3)
    assert page_of(anna.ledger(), 7, 1000) == LogPage(entries=(anna.said[-1],), newest=3)


def test_an_empty_log_is_an_empty_page() -> None:
    anna = Publisher.of("anna")
    assert page_of(anna.ledger(), 1, 1) == LogPage()
    assert page_of(anna.ledger(), 0, 5) == LogPage(roots=anna.chain.envelopes)


def test_only_the_roots_beyond_the_known_one_travel() -> None:
    anna = busy(1)
    anna.rotate("ben")
    anna.publish("2")
    assert page_of(anna.ledger(), 1, 2) == LogPage(roots=anna.chain.envelopes[1:], entries=(anna.said[1],), newest=2)


def test_a_page_that_is_full_ends_early_and_has_the_revocations_of_what_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    anna = busy(5)
    revocation = anna.revoke(anna.release("0"))
    monkeypatch.setattr("samara.protocol.trust.passing.MAX_LOG_ENTRIES", 2)
    page = page_of(anna.ledger(), 1, 3)
    assert page == LogPage(revocations=(revocation.envelope,), entries=tuple(anna.said[2:4]), newest=6)
    last = page_of(anna.ledger(), 1, 5)
    assert last == LogPage(entries=tuple(anna.said[4:]), newest=6), "it is among the entries, and so not twice"
    after = page_of(anna.ledger(), 1, 7)
    assert after == LogPage(entries=(revocation.envelope,), newest=6)


@pytest.mark.parametrize("known", range(8))
def test_who_asks_on_has_all_whatever_was_known(known: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samara.protocol.trust.passing.MAX_LOG_ENTRIES", 3)
    anna = busy(4)
    anna.revoke(anna.release("1"))
    anna.publish("5")
    anna.publish("6")
    theirs, mine = anna.ledger(), Ledger(anna.chain)
    for record in anna.said[:known]:
        mine.admit(record)
    assert catch_up(mine, theirs) <= 4
    assert [entry.envelope for entry in mine.log()] == anna.said
    assert mine.revocations() == theirs.revocations()


def test_a_split_view_is_found_by_whoever_asks_however_far_both_are() -> None:
    """Forked at position 2: each answer has the checkpoint, so one question either way is enough."""
    for ahead, behind in ((1, 1), (1, 4), (4, 1)):
        anna = busy(1)
        other = anna.copy()
        for version in range(ahead):
            anna.publish(f"a{version}")
        for version in range(behind):
            other.publish(f"b{version}")
        theirs, mine = anna.ledger(), other.ledger()
        catch_up(mine, theirs)
        assert mine.fork is not None
        # And the proof goes on to everybody else.
        third = Ledger(anna.chain)
        take(third, page_of(mine, 1, 1))
        assert third.fork is not None
        assert third.fork.id == mine.fork.id


def test_a_revocation_of_a_branch_that_was_left_still_travels() -> None:
    anna = busy(2)
    gone = anna.revoke(anna.release("1"))
    anna.rotate("ben", place=Place(3, anna.ledger().place_after(2).after))
    anna.publish("3")
    ledger = anna.ledger()
    assert gone.id not in {entry.id for entry in ledger.log()}
    for first in (1, 3, 9):
        assert gone.envelope in page_of(ledger, 1, first).revocations


def test_a_page_keeps_to_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    anna = Publisher.of("anna")
    release = anna.release("1")
    for _ in range(60):
        anna.attest(release, text="x" * 250)
    one = len(anna.said[0])
    monkeypatch.setattr("samara.protocol.trust.passing.MAX_RECORDS", 10 * one)
    monkeypatch.setattr("samara.protocol.trust.passing.MAX_ENVELOPE", 2 * one)
    page = page_of(anna.ledger(), 1, 1)
    assert 8 * one < size(page) <= 10 * one
    assert page.entries == tuple(anna.said[: len(page.entries)])


def test_many_revocations_leave_room_for_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    anna = busy(1)
    for version in range(30):
        anna.revoke(anna.release(str(version)))
    one = len(anna.said[-1])
    monkeypatch.setattr("samara.protocol.trust.passing.MAX_RECORDS", 8 * one)
    monkeypatch.setattr("samara.protocol.trust.passing.MAX_ENVELOPE", 2 * one)
    page = page_of(anna.ledger(), 1, 1)
    assert page.revocations
    assert page.entries[0] == anna.said[0], "a page always goes on"
    assert size(page) <= 8 * one


def test_the_largest_page_fits_an_answer() -> None:
    """Of records as large as can be: the reserve for one entry is never overdrawn."""
    anna = Publisher.of("anna")
    release = anna.release("1")
    for number in range(12):
        anna.attest(release, text=chr(0x4E00 + number) * 256)
    page = page_of(anna.ledger(), 0, 1)
    assert size(page) <= MAX_RECORDS
    assert len(page.entries) == 12
    assert MAX_ENVELOPE < MAX_RECORDS


def test_a_file_has_everything_however_much_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samara.protocol.trust.passing.MAX_LOG_ENTRIES", 1)
    anna = busy(4)
    revocation = anna.revoke(anna.release("0"))
    whole = whole_log(anna.ledger())
    assert whole == LogPage(
        roots=anna.chain.envelopes, revocations=(revocation.envelope,), entries=tuple(anna.said[:4]), newest=5
    )


def test_catching_up_asks_nothing_twice_and_ends() -> None:
    catchup = CatchUp()
    assert catchup.first(5, [(2, 3)]) == 6
    catchup.heard(LogPage(entries=(b"x",), newest=1 << 50))  # a peer that promises much, and brings nothing
    assert catchup.first(5, [(2, 3)]) == 2
    assert catchup.first(5, [(2, 3)]) is None
    assert catchup.first(6, [(2, 3)]) == 7
    catchup.heard(LogPage(newest=8))
    assert catchup.first(8, [(3, 3)]) == 3
    assert catchup.first(8, [(3, 3)]) is None
    assert CatchUp().first(MAX_POSITION, []) == MAX_POSITION


def test_a_peer_that_brings_one_record_at_a_time_is_done_with() -> None:
    catchup, position = CatchUp(), 0
    while (first := catchup.first(position, [])) is not None:
        assert first == position + 1
        position += 1
        catchup.heard(LogPage(entries=(b"x",), newest=1 << 50))
    assert position == MAX_LOG_PAGES


def test_after_a_rotation_that_left_a_branch_the_new_one_is_found_with_its_beginning() -> None:
    anna = busy(6)
    behind = anna.ledger()
    anna.rotate("ben", place=Place(3, anna.ledger().place_after(2).after))
    anna.publish("7")
    anna.publish("8")
    theirs = Ledger(anna.chain)
    for record in (*anna.said[:2], *anna.said[-2:]):
        theirs.admit(record)
    catch_up(behind, theirs)
    assert behind.newest is not None
    assert theirs.newest is not None
    assert behind.newest.id == theirs.newest.id
    assert [entry.id for entry in behind.log()] == [entry.id for entry in theirs.log()]


def lent(anna: Publisher, *names: str, by: str = "ben") -> list[VerifiedHead]:
    """Heads of a delegate, each of a name of its own."""
    given = anna.delegate(by, names=[f"{by}*"])
    under: dict[str, Any] = {"delegation": given.id, "delegations": {given.id: given}}
    delegate = Publisher(anna.chain, [key(by)])
    return [delegate.head(delegate.release("1", name, **under), place=None, **under) for name in names]


def heard(anna: Publisher, heads: Sequence[VerifiedHead]) -> Ledger:
    ledger = anna.ledger()
    for head in heads:
        ledger.admit(head.envelope)
    return ledger


def test_the_newest_heads_of_delegates_come_with_the_newest_record() -> None:
    anna = busy(3)
    (head,) = lent(anna, "ben-1")
    ledger = heard(anna, [head])
    assert page_of(ledger, 1, 1) == LogPage(revocations=(head.envelope,), entries=tuple(anna.said), newest=4)
    mine = Ledger(anna.chain)
    assert catch_up(mine, ledger) == 1
    # One who takes them in the order in which they travel lacks the delegation at first, and is told again.
    assert catch_up(mine, ledger) == 1
    assert mine.head("ben-1") == head
    assert whole_log(ledger).entries == (*anna.said, head.envelope)
    again = put_together(anna.chain.publisher, whole_log(ledger), [])
    assert again == whole_log(ledger)


def test_a_page_that_ends_early_has_no_heads_of_delegates(monkeypatch: pytest.MonkeyPatch) -> None:
    anna = busy(3)
    heads = lent(anna, "ben-1")
    monkeypatch.setattr("samara.protocol.trust.passing.MAX_LOG_ENTRIES", 3)
    ledger = heard(anna, heads)
    assert page_of(ledger, 1, 1) == LogPage(entries=tuple(anna.said[:3]), newest=4)
    assert page_of(ledger, 1, 4).revocations == (heads[0].envelope,)


def test_many_names_of_one_delegate_leave_room_for_another_s(monkeypatch: pytest.MonkeyPatch) -> None:
    anna = busy(1)
    many, few = lent(anna, *(f"ben-{n}" for n in range(9)), by="ben"), lent(anna, "cleo-1", by="cleo")
    gone = anna.release("9")
    anna.revoke(gone)
    anna.publish("10")
    monkeypatch.setattr("samara.protocol.trust.passing.MAX_LOG_REVOCATIONS", 4)
    page = page_of(heard(anna, [*many, *few]), 1, len(anna.said))
    assert len(page.revocations) == 4
    assert few[0].envelope in page.revocations
    assert size(page) <= MAX_RECORDS


def test_heads_whose_delegation_has_ended_are_not_passed_on() -> None:
    anna = busy(1)
    heads = lent(anna, "ben-1")
    ledger = heard(anna, heads)
    anna.delegate("ben", names=["ben*"], revoked=True)
    ledger.admit(anna.said[-1])
    assert page_of(ledger, 1, 1).revocations == ()
    assert whole_log(ledger).entries == tuple(anna.said)
