"""Decides which peer is asked for which run of chunks of one content.

A driver has the sessions. It tells the scheduler what is wanted (`add_stream`), who is there (`add_peer`) and what each
claims, asks it what to ask of whom (`ready`, `next_requests`), and reports what came of it. After each batch of reports
it passes on `cancelled()`, and gives new wants to those who are `ready`; it calls `tick` when `timer` is due.

Invariants: a chunk is free, asked or kept; whoever is asked claims it; it is asked of a second peer only when no free
chunk is claimed by anybody, and of each further one only for twice the gain; nobody is asked for more than its window
has room for; a want is one run; when all is kept, nobody owes anything that is not cancelled. The calls
alone decide every answer: no clock, no chance. What a seeder is not asked for since mates are to bring it costs seconds
of a whole fetch at most (`Hope`).

It never verifies, writes, dials or waits; it knows no content id, hash or file name.

Source: specs/scheduler.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, final

from samara.protocol.errors import LocalProtocolError
from samara.protocol.limits import BAN_AFTER, GIVING_CHUNKS, MAX_OUTSTANDING, MAX_RETRY_MS, UNPROVEN_CHUNKS
from samara.protocol.ports import Span
from samara.protocol.scheduler.board import Board
from samara.protocol.scheduler.division import Division
from samara.protocol.scheduler.holdings import Holdings
from samara.protocol.scheduler.hope import Hope
from samara.protocol.scheduler.ledger import Ledger
from samara.protocol.scheduler.news import (
    Event,
    Failure,
    Outcome,
    PeerProgress,
    Progress,
    Ready,
    Stalled,
    Verdict,
    Want,
)
from samara.protocol.scheduler.pace import REST, START_WINDOW, Pace, Standing, least_window
from samara.protocol.scheduler.peers import Peer, Request, positions

__all__ = ["Scheduler"]

_GAIN: Final = 0.25
"""Seconds that a second copy of a chunk must save, and each further one twice as much as the one before it; also how
often an idle peer looks for such work."""

_SEEDER_GAIN: Final = 4 * _GAIN
"""The same where a peer that holds everything is asked for what mates owe: others wait for its line, too."""

_SPARING: Final = 0.5
"""A peer that holds everything is spared when mates together are at least so much as quick: it has others to serve who
have nobody else, and it may be the only one."""

_KEEPS_UP: Final = 0.25
"""A mate is waited for that says that it has at least so much of what we have: it says so seconds late."""

_GRACE: Final = 3.0
"""Seconds until a mate must have shown that it keeps up, and for which one is waited for that gets nothing more."""

_SHARE: Final = 128
"""An unproven peer owes no more than this part of the content, or two chunks: many may begin to fetch at one moment."""

_MISSES: Final = 4
"""Wants in a row that a peer claimed and does not answer, until nothing that it claims is believed."""


@final
class Scheduler:
    """The fetch of one content from several peers.

    All times are seconds of one clock that never goes backwards.

    Args:
        rotate: A number that differs between fetchers, so that those of one seeder begin at different places; only its
            lowest 32 bits count.
    """

    def __init__(self, *, rotate: int = 0) -> None:
        self._ledger = Ledger()
        self._division = Division(self._ledger)
        self._divides_anew = False
        self._hope = Hope()
        self._is_hopeless = False  # mates were given up since hope was lost
        self._board = Board(rotate)
        self._peers: dict[str, Peer] = {}
        self._asked: dict[int, tuple[Request, ...]] = {}  # position → the requests by which it is due
        self._kept = bytearray()  # 1 for each position that is kept
        self._chunks_missing = 0
        self._bytes_missing = 0
        self._bytes_wasted = 0
        self._received: dict[str, int] = {}
        self._wrong: dict[str, int] = {}
        self._excluded: set[str] = set()
        self._cancelled: list[tuple[str, Want]] = []
        self._ticket = 0

    # What is wanted

    def add_stream(
        self, stream: int, missing: Sequence[int], lengths: Callable[[int], int], *, joined: bool = False
    ) -> None:
        """Want chunks of a stream, from now on.

        Args:
            stream: Its number; 0 is the file table.
            missing: Indexes of the chunks, ascending; a `range` is taken fastest.
            lengths: Gives the bytes of the chunk with an index.
            joined: The first of them follows, in the content, the last chunk that was added: a run may go over from
                there into this stream.

        Raises:
            LocalProtocolError: It was added before, or these are no chunks.
        """
        before = self._ledger.bytes
        for number, (position, _first, count) in enumerate(self._ledger.add(stream, missing, lengths)):
            self._board.grow(position, count, joined=joined and not number and position > 0)
        self._added([stream], self._ledger.bytes - before)

    def add_files(self, streams: Sequence[int], sizes: Sequence[int], *, joined: bool = False) -> None:
        """Want files of one chunk each, which follow each other in the content: as `add_stream` for one after another.

        Args:
            streams: Their numbers.
            sizes: Their bytes.
            joined: The first of them follows, in the content, the last chunk that was added.

        Raises:
            LocalProtocolError: One was added before, or these are no chunks.
        """
        position = self._ledger.add_files(streams, sizes)
        self._board.grow(position, len(streams), joined=joined and position > 0)
        self._added(streams, sum(sizes))

    def _added(self, streams: Sequence[int], size: int) -> None:
        more = len(self._ledger) - len(self._kept)
        self._kept.extend(bytes(more))
        self._chunks_missing += more
        self._bytes_missing += size
        for peer in self._peers.values():
            if not peer.holdings.everything:
                for stream in streams:
                    peer.holdings.added(stream)
        self._rely_on_mates()

    def put_back(self, stream: int, index: int) -> None:
        """Want a chunk again that was received and could not be kept; void when it is still missing.

        Raises:
            LocalProtocolError: It was never wanted.
        """
        position = self._ledger.position(stream, index)
        if not self._kept[position]:
            return
        self._kept[position] = 0
        self._chunks_missing += 1
        self._bytes_missing += self._ledger.lengths[position]
        carriers = tuple(r for peer in self._peers.values() if (r := peer.carries(position)) is not None)
        for request in carriers:  # it is on its way once more: its other copies had become moot
            request.moot &= ~_bit(request, position)
        if carriers:
            self._asked[position] = carriers
        else:
            self._board.give_back(position, 1)

    # Who is there

    def know_as(self, own: str) -> None:
        """Take our own peer id, by which mates know what is ours; without it nothing is divided."""
        self._division.own = own

    def add_peer(
        self, peer: str, now: float, *, wrong: int = 0, has_given: bool = False, max_requests: int = MAX_OUTSTANDING
    ) -> bool:
        """Take a new peer; it claims nothing yet.

        Args:
            peer: Its peer id.
            now: Seconds.
            wrong: Wrong chunks that it has sent in other fetches.
            has_given: It has given right bytes of this content: nodes of its lists.
            max_requests: Wants that its session takes at a time, at least 1.

        Returns:
            Whether it may be used: not when it sent a wrong chunk in this fetch, or `BAN_AFTER` in all.

        Raises:
            LocalProtocolError: It is there already.
        """
        if peer in self._peers:
            raise LocalProtocolError(f"peer {peer} was added before")
        self._wrong[peer] = max(wrong, self._wrong.get(peer, 0))
        if peer in self._excluded or self._wrong[peer] >= BAN_AFTER:
            return False
        holdings = Holdings(self._ledger, self._board)
        self._peers[peer] = Peer(peer, Pace(now), holdings, max(1, max_requests), now, has_given)
        return True

    def remove_peer(self, peer: str) -> None:
        """Forget a peer; what it owes is asked of others."""
        if (who := self._peers.pop(peer, None)) is not None:
            self._take_back_all(who)
            who.holdings.leave()
            self._divides_anew = True

    def set_files(self, peer: str, bits: bytes | None) -> None:
        """Take which files a peer holds whole.

        Args:
            peer: Who.
            bits: One bit a file, the lowest of byte 0 for stream 1; None: it holds everything.
        """
        if (who := self._peers.get(peer)) is not None:
            who.holdings.set_files(bits)
            self._divides_anew = True

    def set_availability(self, peer: str, stream: int, bits: bytes | None) -> None:
        """Take which chunks of a stream a peer holds; the stream may be added later.

        Args:
            peer: Who.
            stream: Of which stream.
            bits: One bit a chunk, the lowest of byte 0 first; None: all.
        """
        if (who := self._peers.get(peer)) is not None:
            who.holdings.set_part(stream, bits)
            self._divides_anew = True

    # What to ask

    def ready(self, now: float) -> list[str]:
        """Return the peers that could be given more now; there may be nothing for them."""
        return [name for name, peer in self._peers.items() if peer.may_be_asked(now)]

    def next_requests(self, peer: str, now: float) -> list[Want]:
        """Give a peer as many wants as fit its window; empty when there is nothing for it, or no room."""
        who = self._peers.get(peer)
        if who is None or self._chunks_missing == 0 or not who.may_be_asked(now):
            return []
        if self._is_hopeless and self._hope.is_back(now):
            self._rely_on_mates()
        if self._divides_anew:
            self._divide()
        wants: list[Want] = []
        while (room := who.room()) > 0:
            found = self._board.find(who.holdings.claims)
            if found is not None and who.holdings.everything:
                self._hope.go_on(now)
            if found is None or self._is_spared(who, found[0], now):
                if self._takes_over(who, now):
                    continue
                if found is None and not self._waits(who, now):
                    return wants + self._help(who, now)
                if not who.looks_later(now):
                    who.looks_again = now + _GAIN
                break
            position, count = found
            count = self._fit(position, min(count, who.chunks_left()), min(room, who.pace.run_bytes), room)
            if count == 0:
                break
            self._board.take(position, count)
            self._board.move_on(who.holdings.claims, position + count)
            wants.append(self._ask(who, position, count, now).want)
        return wants

    def cancelled(self) -> list[tuple[str, Want]]:
        """Return the wants that need not be answered any more, each once: all they still owe came from elsewhere."""
        cancelled, self._cancelled = self._cancelled, []
        return cancelled

    def _is_spared(self, who: Peer, position: int, now: float) -> bool:
        """Say whether a peer that holds everything is left to others: mates that are quick claim even the rarest chunk.

        Args:
            who: Which peer.
            position: The chunk that `Board.find` found for it just now.
            now: Seconds.
        """
        if not who.holdings.everything or who.holdings.claims.level <= self._board.wholes or who.pace.rate is None:
            return False
        rate = sum(
            # What is proven and has no rate yet sent all that it was asked for sooner than a rate can be measured.
            math.inf if mate.pace.rate is None else mate.pace.rate
            for mate in self._peers.values()
            if not mate.holdings.everything
            and mate.is_lively(now)
            and (mate.requests or self._board.holds(mate.holdings.claims, position, 1))
        )
        return rate >= _SPARING * who.pace.rate

    # What mates are to bring

    def _divide(self) -> None:
        """Divide among those who fetch too, as long as they are not fewer than those who hold everything."""
        self._divides_anew = False
        partial = [peer for peer in self._peers.values() if peer.holdings.is_partial]
        members = frozenset(peer.name for peer in partial if not peer.is_slow)
        if len(partial) < self._board.wholes or not self._division.own:
            members = frozenset()
        least = least_window(self._ledger.longest)
        giving = max(UNPROVEN_CHUNKS, min(GIVING_CHUNKS, len(self._ledger) // _SHARE))
        for peer in self._peers.values():
            peer.pace.least = least if members or peer.holdings.is_partial else START_WINDOW
            peer.unproven = giving if peer.has_given else UNPROVEN_CHUNKS
        if members != self._division.members:
            self._division.share_with(members)
            self._board.divide(self._division.ours if members else None)

    def _rely_on_mates(self) -> None:
        """Leave chunks to all mates again; who does not keep up shows it when nothing of ours is left."""
        self._is_hopeless = False
        for peer in self._peers.values():
            peer.is_slow = False
        self._divides_anew = True

    def _takes_over(self, who: Peer, now: float) -> bool:
        """Where a peer that holds everything has nothing more of ours: leave no more to mates who do not keep up.

        Returns:
            Whether more is ours now.
        """
        if not self._board.is_divided or not who.holdings.everything or who.looks_later(now):
            return False
        self._is_hopeless = self._hope.is_lost(now)
        enough = _KEEPS_UP * (len(self._ledger) - self._chunks_missing)
        members = [self._peers[name] for name in self._division.members]
        for mate in members:
            count = mate.grows_to(self._board.count(mate.holdings.claims), now)
            has_enough = count >= enough or now < mate.since + _GRACE
            keeps_up = mate.is_awake(now) and has_enough and now < mate.grown + _GRACE
            mate.is_slow = not keeps_up or self._is_hopeless
        self._divide()
        return len(self._division.members) < len(members)

    def _waits(self, who: Peer, now: float) -> bool:
        """Say whether a peer is asked for nothing now since mates will bring it; not for long in vain."""
        if not self._board.is_divided or not who.holdings.everything or not self._board.is_free_somewhere():
            return False
        self._hope.wait(now, who.pace.rate or 0.0)
        return True

    # What came of it

    def progress(self, peer: str, size: int, now: float) -> None:
        """Take note that `size` bytes of a chunk's payload came from a peer; the chunk need not be whole yet.

        Of a peer that owes nothing it is void: what else it says, of what it has, is no measure of its rate.
        """
        if (who := self._peers.get(peer)) is not None and who.requests:
            who.pace.heard(size, now)

    def excuse(self, peer: str, now: float) -> None:
        """Take note that we did not read from a peer until now: its silence was ours (our cap, our disk)."""
        if (who := self._peers.get(peer)) is not None:
            who.pace.excuse(now)

    def received(self, peer: str, stream: int, index: int, size: int, now: float) -> Outcome:
        """Take note of a whole chunk that was verified.

        Args:
            peer: Who sent it.
            stream: Of which stream.
            index: Which chunk.
            size: Its bytes.
            now: Seconds.

        Raises:
            LocalProtocolError: It was never wanted, or has another length.
        """
        position = self._ledger.position(stream, index)
        if size != self._ledger.lengths[position]:
            raise LocalProtocolError(f"chunk {index} of stream {stream} has {size} bytes")
        if (who := self._peers.get(peer)) is not None:
            who.misses = 0
            who.pace.delivered(size, now)
        outcome = self._keep(peer, position)
        if outcome is Outcome.ACCEPTED and who is not None and not who.holdings.everything:
            self._hope.brought(size)
        if who is not None and (request := who.carries(position)) is not None:
            self._settle(request, _bit(request, position))
        return outcome

    def spans(self, want: Want, number: int, count: int) -> list[Span]:
        """Return what `count` chunks of a want are, from its chunk `number` on.

        Raises:
            LocalProtocolError: It was never given out.
        """
        return self._ledger.spans(self._ledger.position(want.stream, want.first) + number, count)

    def received_run(self, peer: str, want: Want, number: int, count: int, now: float) -> int:
        """Take note of `count` whole chunks of a want, from its chunk `number` on, that were all verified.

        Returns:
            Bytes of those that were missing; the others came from elsewhere before.

        Raises:
            LocalProtocolError: It was never given out.
        """
        start = self._ledger.position(want.stream, want.first) + number
        before = self._bytes_missing
        who = self._peers.get(peer)
        if who is not None:
            who.misses = 0
            who.pace.delivered(sum(self._ledger.lengths[start : start + count]), now)
        for position in range(start, start + count):
            self._keep(peer, position)
        if who is not None and not who.holdings.everything:
            self._hope.brought(before - self._bytes_missing)
        if who is not None and (request := who.requests.get(want)) is not None:
            self._settle(request, request.owed & ((1 << count) - 1) << number)
        return before - self._bytes_missing

    def wrong(self, peer: str, stream: int, index: int, now: float) -> Verdict:
        """Take note of a chunk with wrong bytes: the peer is removed and excluded from this fetch.

        Raises:
            LocalProtocolError: The chunk was never wanted.
        """
        self._ledger.position(stream, index)
        self._wrong[peer] = self._wrong.get(peer, 0) + 1
        self._excluded.add(peer)
        self.remove_peer(peer)
        return Verdict(self._wrong[peer], self._wrong[peer] >= BAN_AFTER)

    def failed(self, peer: str, want: Want, reason: Failure, now: float) -> None:
        """Take note that a want ended before all its chunks came; void when it was taken back or cancelled before."""
        who = self._peers.get(peer)
        if who is None or (request := who.requests.get(want)) is None:
            return
        owed = request.owed
        self._take_back(request)
        if reason is Failure.LOST:
            return
        who.misses += 1
        if who.misses >= _MISSES:
            who.holdings.clear()
            who.misses = 0
            self._divides_anew = True
        else:
            who.holdings.lacks(request.position, owed if reason is Failure.REFUSED else owed & -owed)

    def busy(self, peer: str, want: Want, retry_seconds: float, now: float) -> None:
        """Take note that a peer does not serve a want now, and when it wants to be asked again."""
        who = self._peers.get(peer)
        if who is None:
            return
        if (request := who.requests.get(want)) is not None:
            self._take_back(request)
        until = now + min(max(retry_seconds, 0.0), MAX_RETRY_MS / 1000)
        who.rests_until = until if who.rests_until is None else max(who.rests_until, until)
        who.pace.excuse(until)

    # Time

    def timer(self) -> float | None:
        """Return when `tick` must be called next (seconds), or None."""
        times = [peer.pace.deadline() for peer in self._peers.values() if peer.requests]
        times += [peer.rests_until for peer in self._peers.values() if peer.rests_until is not None]
        times += [peer.looks_again for peer in self._peers.values() if peer.looks_again is not None]
        return min(times, default=None)

    def tick(self, now: float) -> list[Event]:
        """Do what is due. It may be called at any time."""
        events: list[Event] = []
        for peer in list(self._peers.values()):
            is_ready = self._is_ready_again(peer, now)
            if peer.requests and now >= peer.pace.deadline():
                events.append(self._stall(peer, now))
            elif is_ready:
                events.append(Ready(peer.name))
        return events

    # How far it is

    @property
    def done(self) -> bool:
        """All that was added is kept; so it is, too, before the first stream is added."""
        return self._chunks_missing == 0

    @property
    def stuck(self) -> bool:
        """Something is missing, nobody owes it, and no known peer claims it; peers that rest count as known."""
        return self._chunks_missing > 0 and not self._asked and not self._board.is_free_somewhere()

    def look(self) -> Progress:
        """Return how far it is; O(peers)."""
        return Progress(
            chunks=len(self._ledger),
            chunks_missing=self._chunks_missing,
            bytes_missing=self._bytes_missing,
            bytes_received=sum(self._received.values()),
            bytes_wasted=self._bytes_wasted,
            received=dict(self._received),
            peers={
                name: PeerProgress(
                    peer.pace.standing,
                    self._received.get(name, 0),
                    peer.pace.rate,
                    peer.pace.window,
                    peer.owed_bytes,
                )
                for name, peer in self._peers.items()
            },
        )

    # Asking

    def _fit(self, position: int, count: int, size: int, room: int) -> int:
        """Return how many chunks fit `size` bytes; the first need only fit `room`."""
        lengths = self._ledger.lengths
        total = lengths[position]
        if total > room or count <= 0:
            return 0
        fitting = 1
        while fitting < count and (total := total + lengths[position + fitting]) <= size:
            fitting += 1
        return fitting

    def _ask(self, peer: Peer, position: int, count: int, now: float) -> Request:
        stream, first = self._ledger.place(position)
        self._ticket += 1
        request = Request(peer, Want(stream, first, count, self._ticket), position, (1 << count) - 1)
        asked = self._asked
        for chunk in range(position, position + count):
            asked[chunk] = (*asked.get(chunk, ()), request)
        peer.open(request, sum(self._ledger.lengths[position : position + count]), now)
        peer.looks_again = None
        return request

    def _help(self, peer: Peer, now: float) -> list[Want]:
        """Ask an idle peer for what will come last from others (specs/scheduler.md, "End")."""
        if peer.looks_later(now) or self._board.is_free_somewhere():
            return []
        times = {p: p.finish_in(now) for p in self._peers.values() if p.requests and p is not peer}
        wants: list[Want] = []
        for other in sorted(times, key=lambda p: -times[p]):
            if times[other] < peer.would_take(0, now) + self._least_gain(peer):
                break  # those that follow are sooner done
            for request in reversed(other.requests.values()):
                while (run := self._copyable(peer, request, times, now)) is not None:
                    wants.append(self._ask(peer, *run, now).want)
        # What gains nothing now may gain when a peer falls silent: it is late in the end.
        peer.looks_again = now + _GAIN if times and peer.room() > 0 else None
        return wants

    def _copyable(
        self, peer: Peer, request: Request, times: Mapping[Peer, float], now: float
    ) -> tuple[int, int] | None:
        """Return (position, count) of the last run of a request that is worth asking `peer` for, too."""
        mask = request.due & self._board.holds(peer.holdings.claims, request.position, request.want.count)
        room, left = peer.room(), peer.chunks_left()
        start = count = size = 0
        for offset in range(mask.bit_length() - 1, -1, -1):
            position = request.position + offset
            total = size + self._ledger.lengths[position]
            fits = count < left and total <= (min(room, peer.pace.run_bytes) if count else room)
            if mask >> offset & 1 and fits and self._gains(peer, position, total, times, now):
                start, count, size = position, count + 1, total
            elif count:
                break
        return (start, count) if count else None

    def _gains(self, peer: Peer, position: int, size: int, times: Mapping[Peer, float], now: float) -> bool:
        """Say whether `peer`, asked for `size` bytes, saves enough time over all who owe a chunk."""
        asked = [request.peer for request in self._asked[position]]
        if peer in asked:
            return False
        least = min(times[other] for other in asked)
        return least >= peer.would_take(size, now) + self._least_gain(peer) * 2.0 ** (len(asked) - 1)

    def _least_gain(self, peer: Peer) -> float:
        return _SEEDER_GAIN if self._board.is_divided and peer.holdings.everything else _GAIN

    # Settling

    def _keep(self, sender: str, position: int) -> Outcome:
        size = self._ledger.lengths[position]
        if self._kept[position]:
            self._bytes_wasted += size
            return Outcome.DUPLICATE
        self._kept[position] = 1
        self._chunks_missing -= 1
        self._bytes_missing -= size
        self._received[sender] = self._received.get(sender, 0) + size
        requests = self._asked.pop(position, ())
        if not requests:  # it was given up, and came late
            self._board.take(position, 1)
        for request in requests:
            if request.peer.name != sender:
                request.moot |= _bit(request, position)
                self._cancel_if_moot(request)
        return Outcome.ACCEPTED

    def _settle(self, request: Request, mask: int) -> None:
        request.moot &= ~mask
        request.peer.settle(request, mask, self._ledger.lengths)
        self._cancel_if_moot(request)

    def _cancel_if_moot(self, request: Request) -> None:
        if request.owed and not request.due:
            request.peer.settle(request, request.owed, self._ledger.lengths)
            self._cancelled.append((request.peer.name, request.want))

    def _take_back(self, request: Request) -> None:
        """Close a request; what nobody else owes is free again."""
        free = 0
        for position in positions(request, request.due):
            if others := tuple(other for other in self._asked[position] if other is not request):
                self._asked[position] = others
            else:
                del self._asked[position]
                free |= _bit(request, position)
        self._board.give_back(request.position, free)
        request.peer.settle(request, request.owed, self._ledger.lengths)

    def _take_back_all(self, peer: Peer) -> tuple[Want, ...]:
        requests = list(peer.requests.values())
        for request in requests:
            self._take_back(request)
        return tuple(request.want for request in requests)

    # Stalling

    def _stall(self, peer: Peer, now: float) -> Stalled:
        wants = self._take_back_all(peer)
        if peer.pace.stalled(now) is Standing.DROPPED:
            self.remove_peer(peer.name)
            return Stalled(peer.name, wants, dropped=True)
        peer.rests_until = now + REST
        return Stalled(peer.name, wants, dropped=False)

    @staticmethod
    def _is_ready_again(peer: Peer, now: float) -> bool:
        is_ready = False
        if peer.rests_until is not None and now >= peer.rests_until:
            peer.rests_until, is_ready = None, True
        if peer.looks_again is not None and now >= peer.looks_again:
            peer.looks_again, is_ready = None, True
        return is_ready


def _bit(request: Request, position: int) -> int:
    return 1 << (position - request.position)
