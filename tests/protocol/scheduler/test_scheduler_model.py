"""Every order of calls, held against a model of plain sets of chunks. Pages have 8 chunks here, to meet their ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from samara.protocol.limits import BAN_AFTER, MAX_CHUNK, MAX_RUN, PROGRESS_WINDOW, STALL_PATIENCE, UNPROVEN_CHUNKS
from samara.protocol.scheduler import Failure, Outcome, Ready, Scheduler, Stalled, Standing, Want, board, holdings

Chunk = tuple[int, int]
PEERS = ["ann", "bob", "cat", "dan"]
SIZES = [1, 1000, 64 << 10, MAX_CHUNK]
BITS = st.binary(max_size=3)
SOON = 5.0  # seconds in which four silent peers lose what they owe together, by rule 14


def length(chunk: Chunk) -> int:
    return SIZES[(7 * chunk[0] + 3 * chunk[1]) % 4]


@dataclass
class ModelPeer:
    """What is true of a peer, kept without any cleverness."""

    max_requests: int
    everything: bool = False
    files: bytes | None = None
    parts: dict[int, bytes | None] = field(default_factory=dict)
    held: set[Chunk] = field(default_factory=set)
    wants: dict[Want, set[Chunk]] = field(default_factory=dict)  # what each still owes
    misses: int = 0
    rests_until: float = 0.0
    alive: float = 0.0

    def says(self, chunk: Chunk) -> bool:
        stream, index = chunk
        if self.everything or (self.files is not None and (stream == 0 or _bit(self.files, stream - 1))):
            return True
        return stream in self.parts and ((bits := self.parts[stream]) is None or _bit(bits, index))

    def owed(self) -> set[Chunk]:
        return set().union(*self.wants.values())


def _bit(bits: bytes, number: int) -> bool:
    return number < 8 * len(bits) and bool(bits[number // 8] >> number % 8 & 1)


class SchedulerMachine(RuleBasedStateMachine):
    """Scheduler and model side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler(rotate=0x1234_5678)
        self.divides = False
        self.now = 0.0
        self.peers: dict[str, ModelPeer] = {}
        self.wrong: dict[str, int] = {}
        self.excluded: set[str] = set()
        self.wanted: set[Chunk] = set()
        self.kept: set[Chunk] = set()

    # What is wanted and who is there

    @initialize(is_small=st.booleans(), divides=st.booleans())
    def begin_near_the_end(self, is_small: bool, divides: bool = False) -> None:
        self.divides = divides
        if divides:  # what others who fetch are to bring is asked of a seeder last
            self.scheduler.know_as("us")
        if is_small:  # two holders of a few chunks: second copies come soon
            self.add_stream(1, {0, 1, 2, 3})
            for name in PEERS[:2]:
                self.add_peer(name, 0, 5)
                self.set_files(name, None)

    @rule(stream=st.integers(0, 12), missing=st.sets(st.integers(0, 23)))
    def add_stream(self, stream: int, missing: set[int]) -> None:
        if any(chunk[0] == stream for chunk in self.wanted) or not missing:
            return
        self.scheduler.add_stream(stream, sorted(missing), lambda index: length((stream, index)))
        chunks = {(stream, index) for index in missing}
        self.wanted |= chunks
        for peer in self.peers.values():
            peer.held |= {chunk for chunk in chunks if peer.says(chunk)}

    @rule(name=st.sampled_from(PEERS), wrong=st.integers(0, 2), max_requests=st.integers(1, 5), has_given=st.booleans())
    def add_peer(self, name: str, wrong: int, max_requests: int, *, has_given: bool = False) -> None:
        if name in self.peers:
            return
        self.wrong[name] = max(wrong, self.wrong.get(name, 0))
        is_taken = self.scheduler.add_peer(name, self.now, wrong=wrong, has_given=has_given, max_requests=max_requests)
        assert is_taken == (name not in self.excluded and self.wrong[name] < BAN_AFTER)
        if is_taken:
            self.peers[name] = ModelPeer(max_requests, alive=self.now)

    @rule(name=st.sampled_from(PEERS))
    def remove_peer(self, name: str) -> None:
        self.scheduler.remove_peer(name)
        self.peers.pop(name, None)

    @rule(name=st.sampled_from(PEERS), bits=st.none() | BITS)
    def set_files(self, name: str, bits: bytes | None) -> None:
        self.scheduler.set_files(name, bits)
        if (peer := self.peers.get(name)) is None or (peer.everything and bits is None):
            return
        old = peer.files
        is_other, peer.everything = peer.everything != (bits is None), bits is None
        peer.files = old if bits is None else bits
        for chunk in self.wanted:
            stream = chunk[0]
            if is_other or (
                old is None if stream == 0 else _bit(old or b"", stream - 1) != _bit(bits or b"", stream - 1)
            ):
                self._say(peer, chunk)

    @rule(name=st.sampled_from(PEERS), stream=st.integers(0, 12), bits=st.none() | BITS)
    def set_availability(self, name: str, stream: int, bits: bytes | None) -> None:
        self.scheduler.set_availability(name, stream, bits)
        if (peer := self.peers.get(name)) is None or (stream in peer.parts and peer.parts[stream] == bits):
            return
        peer.parts[stream] = bits
        for chunk in self.wanted:
            if chunk[0] == stream and not peer.everything:
                self._say(peer, chunk)

    @staticmethod
    def _say(peer: ModelPeer, chunk: Chunk) -> None:
        (peer.held.add if peer.says(chunk) else peer.held.discard)(chunk)

    # What is asked

    @rule(name=st.sampled_from(PEERS))
    def ask(self, name: str) -> None:
        wants = self.scheduler.next_requests(name, self.now)
        if name not in self.peers:
            assert wants == []
            return
        peer = self.peers[name]
        if wants:
            assert self.now >= peer.rests_until
        elif self.divides and peer.everything:
            may_look_again = bool(peer.wants) or self.scheduler.timer() is not None
            assert may_look_again or not self.free() & peer.held, "what was left to others is forgotten"
        elif not peer.wants and self.now >= peer.rests_until:
            assert not self.free() & peer.held, "an idle peer was not asked for what it holds"
        for want in wants:
            self._check_want(peer, want)
        known = self.scheduler.look().peers[name]
        assert sum(map(length, peer.owed())) == known.owed
        assert not wants or known.owed <= known.window, "asked for more than its window"
        assert known.standing is Standing.PROVEN or len(peer.owed()) <= UNPROVEN_CHUNKS
        assert len(peer.wants) <= peer.max_requests

    @rule()
    def ask_all(self) -> None:
        assert set(self.scheduler.ready(self.now)) <= self.peers.keys()
        for name in list(self.peers):
            self.ask(name)

    def _check_want(self, peer: ModelPeer, want: Want) -> None:
        chunks = [(want.stream, want.first + n) for n in range(want.count)]
        assert 1 <= want.count <= MAX_RUN
        assert set(chunks) <= peer.held - self.kept, "asked for what it does not claim, or what is kept"
        assert not set(chunks) & peer.owed(), "asked twice of one peer"
        free = self.free()
        claimed = set().union(*(other.held for other in self.peers.values()))
        if chunks[0] in free:
            assert set(chunks) <= free
            fewest = min(map(self.copies, free & peer.held))
            is_reserved = self.divides and peer.everything
            assert is_reserved or self.copies(chunks[0]) == fewest, "a rarer one was passed over"
        else:
            assert not free & claimed, "a second copy while something is free"
            assert not set(chunks) & free
        if not peer.wants:
            peer.alive = max(peer.alive, self.now)
        peer.wants[want] = set(chunks)

    def free(self) -> set[Chunk]:
        return self.wanted - self.kept - set().union(*(peer.owed() for peer in self.peers.values()))

    def copies(self, chunk: Chunk) -> int:
        return sum(chunk in peer.held for peer in self.peers.values())

    # What comes of it

    @precondition(lambda self: any(peer.wants for peer in self.peers.values()))
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from([name for name, peer in self.peers.items() if peer.wants]))
        want = data.draw(st.sampled_from(sorted(self.peers[name].wants, key=lambda want: want.ticket)))
        self._receive(name, min(self.peers[name].wants[want]))

    @precondition(lambda self: self.wanted)
    @rule(name=st.sampled_from(PEERS), data=st.data())
    def deliver_unasked(self, name: str, data: st.DataObject) -> None:
        self._receive(name, data.draw(st.sampled_from(sorted(self.wanted))))

    def _receive(self, name: str, chunk: Chunk) -> None:
        outcome = self.scheduler.received(name, *chunk, length(chunk), self.now)
        assert outcome is (Outcome.DUPLICATE if chunk in self.kept else Outcome.ACCEPTED)
        self.kept.add(chunk)
        if (peer := self.peers.get(name)) is not None:
            peer.misses, peer.alive = 0, max(peer.alive, self.now)
            for want, owed in list(peer.wants.items()):
                if chunk in owed:
                    self._owe_less(peer, want, {chunk})
                    break
        self._drain_cancelled()

    @staticmethod
    def _owe_less(peer: ModelPeer, want: Want, chunks: set[Chunk]) -> None:
        peer.wants[want] -= chunks
        if not peer.wants[want]:
            del peer.wants[want]

    def _drain_cancelled(self) -> None:
        for name, want in self.scheduler.cancelled():
            owed = self.peers[name].wants.pop(want)
            assert owed <= self.kept, "cancelled while something of it is missing"

    @precondition(lambda self: any(peer.wants for peer in self.peers.values()))
    @rule(reason=st.sampled_from(Failure), data=st.data())
    def fail(self, reason: Failure, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from([name for name, peer in self.peers.items() if peer.wants]))
        peer = self.peers[name]
        want = data.draw(st.sampled_from(sorted(peer.wants, key=lambda want: want.ticket)))
        self.scheduler.failed(name, want, reason, self.now)
        self.scheduler.failed(name, want, reason, self.now)  # the second time it is late news
        owed = peer.wants.pop(want)
        if reason is Failure.LOST:
            return
        peer.misses += 1
        if peer.misses == 4:
            peer.misses, peer.everything, peer.files, peer.parts = 0, False, None, {}
            peer.held.clear()
        else:
            peer.held -= owed if reason is Failure.REFUSED else {min(owed)}

    @precondition(lambda self: any(peer.wants for peer in self.peers.values()))
    @rule(seconds=st.sampled_from([0.0, 1.0, 100.0]), data=st.data())
    def busy(self, seconds: float, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from([name for name, peer in self.peers.items() if peer.wants]))
        want = data.draw(st.sampled_from(sorted(self.peers[name].wants, key=lambda want: want.ticket)))
        self._be_busy(name, want, seconds)

    def _be_busy(self, name: str, want: Want, seconds: float) -> None:
        peer = self.peers[name]
        self.scheduler.busy(name, want, seconds, self.now)
        del peer.wants[want]
        peer.rests_until = max(peer.rests_until, self.now + seconds)
        peer.alive = max(peer.alive, peer.rests_until)

    @precondition(lambda self: self.wanted)
    @rule(name=st.sampled_from(PEERS), data=st.data())
    def send_wrong(self, name: str, data: st.DataObject) -> None:
        verdict = self.scheduler.wrong(name, *data.draw(st.sampled_from(sorted(self.wanted))), self.now)
        self.wrong[name] = self.wrong.get(name, 0) + 1
        assert (verdict.wrong, verdict.banned) == (self.wrong[name], self.wrong[name] >= BAN_AFTER)
        self.excluded.add(name)
        self.peers.pop(name, None)

    @precondition(lambda self: self.wanted)
    @rule(data=st.data())
    def put_back(self, data: st.DataObject) -> None:
        chunk = data.draw(st.sampled_from(sorted(self.wanted)))
        self.scheduler.put_back(*chunk)
        self.kept.discard(chunk)

    @rule(name=st.sampled_from(PEERS), size=st.integers(0, MAX_CHUNK))
    def progress(self, name: str, size: int) -> None:
        self.scheduler.progress(name, size, self.now)
        if name in self.peers:
            self.peers[name].alive = max(self.peers[name].alive, self.now)

    # Time

    @rule(seconds=st.sampled_from([0.01, 0.3, 6.0, 16.0, 61.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self._tick()

    def _tick(self) -> None:
        for event in self.scheduler.tick(self.now):
            if isinstance(event, Ready):
                assert event.peer in self.peers
                continue
            assert isinstance(event, Stalled)
            peer = self.peers[event.peer]
            assert set(event.wants) == set(peer.wants)
            assert event.wants
            # Added, not subtracted: so it rounds as the deadline did.
            assert self.now >= peer.alive + STALL_PATIENCE
            peer.wants.clear()
            peer.rests_until = peer.alive = self.now + 5.0
            if event.dropped:
                del self.peers[event.peer]
        assert all(self.now - peer.alive < PROGRESS_WINDOW for peer in self.peers.values() if peer.wants)
        due = self.scheduler.timer()
        assert due is None or due > self.now, "the timer stays due: its driver would spin"

    # What holds at any time

    @invariant()
    def agrees(self) -> None:
        look = self.scheduler.look()
        assert self.scheduler.cancelled() == []
        assert (look.chunks, look.chunks_missing) == (len(self.wanted), len(self.wanted - self.kept))
        assert look.bytes_missing == sum(map(length, self.wanted - self.kept))
        assert look.peers.keys() == self.peers.keys()
        for name, peer in self.peers.items():
            assert look.peers[name].owed == sum(map(length, peer.owed()))
        assert self.scheduler.done == (self.wanted <= self.kept)
        if self.scheduler.done:
            assert not any(peer.wants for peer in self.peers.values()), "done, and somebody still owes something"
        owed = set().union(*(peer.owed() for peer in self.peers.values()))
        held = set().union(*(peer.held for peer in self.peers.values()))
        missing = self.wanted - self.kept
        assert self.scheduler.stuck == (bool(missing) and not missing & owed and not missing & held)

    def teardown(self) -> None:
        """An honest peer comes that holds everything, while all others fall silent: it ends well, and soon."""
        began = self.now
        self.scheduler.add_peer("honest", self.now)
        self.peers["honest"] = honest = ModelPeer(32, alive=self.now)
        self.set_files("honest", None)
        while not self.scheduler.done:
            assert self.now < began + SOON, "it waits for who is silent"
            self.ask("honest")
            if honest.wants:
                self._receive("honest", min(honest.wants[next(iter(honest.wants))]))
            else:
                due = self.scheduler.timer()
                assert due is not None, "something is missing, and nothing will ever happen"
                self.now = max(self.now, due)
                self._tick()
        self.agrees()


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, Any] = {"SHIFT": 3, "PAGE": 8, "FULL": 255, "_OFFSET": 7}
    for name, value in names.items():
        monkeypatch.setattr(board, name, value)
    monkeypatch.setattr(holdings, "FULL", 255)


@pytest.mark.usefixtures("small_pages")
def test_no_order_of_calls_breaks_an_invariant() -> None:
    run_state_machine_as_test(
        SchedulerMachine, settings=settings(max_examples=60, stateful_step_count=40, deadline=None)
    )


@pytest.mark.usefixtures("small_pages")
def test_a_stall_is_due_at_the_very_moment_that_the_clock_can_tell() -> None:
    machine = SchedulerMachine()
    machine.begin_near_the_end(is_small=True)
    machine.wait(0.3)
    machine.wait(0.01)
    machine.ask("ann")
    machine._be_busy("ann", next(iter(machine.peers["ann"].wants)), 1.0)
    machine.wait(16.0)  # 0.31 + 16 - (0.31 + 1) is a little less than 15
    assert not machine.peers["ann"].wants
    machine.agrees()
    machine.teardown()


@pytest.mark.usefixtures("small_pages")
def test_who_is_busy_for_long_holds_back_nothing() -> None:
    machine = SchedulerMachine()
    machine.begin_near_the_end(is_small=True)
    machine.ask("ann")
    first, second = machine.peers["ann"].wants
    machine._be_busy("ann", first, 3600.0)
    assert machine.peers["ann"].wants.keys() == {second}
    machine.teardown()


@pytest.mark.usefixtures("small_pages")
def test_a_window_may_shrink_below_what_is_owed() -> None:
    machine = SchedulerMachine()
    machine.begin_near_the_end(is_small=True)
    machine.ask_all()
    machine.add_stream(2, set(range(8)))
    machine._receive("ann", (1, 1))
    machine._receive("ann", (1, 0))
    machine.ask("ann")
    machine.wait(0.3)
    machine._receive("ann", (1, 0))
    known = machine.scheduler.look().peers["ann"]
    assert known.owed > known.window
    machine.ask("ann")
    machine.teardown()
