"""Admission, boards, messages and the announcer, without a network."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Sequence

import pytest
import trio
from support.exchange import stream_pair

from samara.node.network.admission import Admission, Place
from samara.node.network.announcer import Announcer
from samara.node.network.dht_server import Pace
from samara.node.network.messages import MessageStream
from samara.node.network.transport import PeerAddress
from samara.node.network.watch import Board
from samara.protocol.addresses import parse_address
from samara.protocol.errors import NetworkError, RemoteProtocolError
from samara.protocol.limits import ANNOUNCE_WINDOW, HALF_OPEN_PATIENCE, PENALTY, PLACE_LASTS
from samara.protocol.wire import varint


def ip(host: str) -> object:
    return parse_address(f"/ip{6 if ':' in host else 4}/{host}/tcp/1")


@pytest.mark.parametrize(
    ("hosts", "admitted"),
    [
        (["8.8.8.8"] * 5, 2),
        (["8.8.8.1", "8.8.8.2", "8.8.8.3", "8.8.8.4", "8.8.9.1"], 4),
        (["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"], 5),
        (["2606:4700::1", "2606:4700::2", "2606:4700:0:ff::3", "2606:4700:0:fe::4", "2606:4700:0:100::5"], 4),
        ([f"9.9.{n}.1" for n in range(10)], 6),
    ],
    ids=["one address", "one /24", "a LAN", "one /56", "many"],
)
async def test_who_is_admitted(hosts: Sequence[str], admitted: int, autojump_clock: trio.abc.Clock) -> None:
    admission = Admission(total=8, per_ip=2, per_subnet=3)
    with contextlib.ExitStack() as places:
        taken = 0
        for host in hosts:
            with contextlib.suppress(NetworkError):
                places.enter_context(admission.inbound(ip(host)))  # type: ignore[arg-type]
                taken += 1
        assert taken == admitted
    await trio.sleep(PLACE_LASTS)
    with admission.inbound(ip(hosts[0])):  # type: ignore[arg-type]
        pass  # all places came back


async def test_our_own_dials_have_places_of_their_own() -> None:
    admission = Admission(total=8, per_ip=100)
    with contextlib.ExitStack() as places:
        for _ in range(6):
            places.enter_context(admission.inbound(ip("10.0.0.1"))).settle()  # type: ignore[arg-type]
        assert admission.crowded
        with pytest.raises(NetworkError):
            places.enter_context(admission.inbound(ip("10.0.0.2")))  # type: ignore[arg-type]
        for _ in range(2):
            places.enter_context(admission.outbound())
        with pytest.raises(NetworkError, match="all 8"):
            places.enter_context(admission.outbound())
    assert not admission.crowded


class Door:
    """An admission of 8 inbound places, and who made way so far, as they came."""

    def __init__(self, per_ip: int = 8, per_subnet: int = 8) -> None:
        self.admission = Admission(11, per_ip, per_subnet)
        self.gone: list[int] = []
        self._come = itertools.count()

    def dial(self, host: str) -> Place:
        number = next(self._come)
        return self.admission.inbound(ip(host), lambda: self.gone.append(number))  # type: ignore[arg-type]


async def test_the_oldest_of_who_has_most_makes_way_for_who_has_less(autojump_clock: trio.abc.Clock) -> None:
    door = Door()
    for host in ["10.0.0.1"] * 3 + ["10.0.0.2"] * 5:
        door.dial(host)
    door.dial("10.0.0.3")
    assert door.gone == [3]
    door.dial("10.0.0.3")
    assert door.gone == [3, 4]
    with pytest.raises(NetworkError):
        door.dial("10.0.0.1")  # all have three at most: one more would gain nothing, again and again
    assert door.admission.used == 8


async def test_who_dials_without_end_drives_out_nobody_who_has_as_many(autojump_clock: trio.abc.Clock) -> None:
    door = Door()
    for number in range(8):
        door.dial(f"10.0.0.{number}")
    for number in range(1000):
        with contextlib.suppress(NetworkError):
            door.dial(f"10.0.1.{number % 250}")
    assert door.gone == []


async def test_after_a_while_the_oldest_makes_way_for_anybody(autojump_clock: trio.abc.Clock) -> None:
    door = Door()
    for number in range(8):
        door.dial(f"10.0.0.{number}")
        await trio.sleep(0.1)
    await trio.sleep(HALF_OPEN_PATIENCE - 0.65)
    door.dial("10.0.1.1")
    door.dial("10.0.1.2")
    with pytest.raises(NetworkError):
        door.dial("10.0.1.3")
    assert door.gone == [0, 1]


async def test_who_has_shown_who_it_is_stays(autojump_clock: trio.abc.Clock) -> None:
    door = Door()
    for _ in range(7):
        door.dial("10.0.0.1").settle()
    silent = door.dial("10.0.0.1")
    await trio.sleep(10 * HALF_OPEN_PATIENCE)
    door.dial("10.0.0.2").settle()
    assert door.gone == [7]
    with silent:
        pass  # its place is another's by now, and is given back once
    assert door.admission.used == 8
    with pytest.raises(NetworkError):
        door.dial("10.0.0.3")
    with pytest.raises(NetworkError, match="made way"):
        silent.settle()  # its handshake was over just then


@pytest.mark.parametrize(("most", "scarce"), [({"per_ip": 2}, "8.8.8.8"), ({"per_subnet": 2}, "8.8.8.9")])
async def test_where_an_address_or_a_subnet_is_full_its_own_makes_way(
    most: dict[str, int], scarce: str, autojump_clock: trio.abc.Clock
) -> None:
    door = Door(**most)
    door.dial("9.9.9.9")
    door.dial("8.8.8.8")
    door.dial("8.8.8.8")
    if scarce == "8.8.8.8":
        with pytest.raises(NetworkError):
            door.dial(scarce)
        await trio.sleep(HALF_OPEN_PATIENCE)
    door.dial(scarce)
    assert door.gone == [1]


@pytest.mark.parametrize(("broke_rules", "seconds"), [(False, PLACE_LASTS), (True, PENALTY)])
async def test_who_came_and_went_has_a_place_less_for_a_while_and_the_node_none(
    broke_rules: bool, seconds: float, autojump_clock: trio.abc.Clock
) -> None:
    door = Door(per_ip=2)
    for _ in range(2):
        with door.dial("10.0.0.1") as place:
            place.broke_rules = broke_rules
    assert door.admission.used == 0
    await trio.sleep(seconds - 0.01)
    with pytest.raises(NetworkError):
        door.dial("10.0.0.1")
    door.dial("10.0.0.2")
    await trio.sleep(0.02)
    door.dial("10.0.0.1")
    assert door.gone == []


async def test_who_stayed_for_long_may_come_back_at_once(autojump_clock: trio.abc.Clock) -> None:
    door = Door(per_ip=1)
    with door.dial("10.0.0.1"):
        await trio.sleep(PLACE_LASTS)
    door.dial("10.0.0.1")


async def test_a_board_tells_what_is_there_and_what_is_new() -> None:
    board: Board[str] = Board(3)
    board.post("a", "1")
    board.post("b", "1")
    reader = board.read()
    assert [await anext(reader), await anext(reader)] == ["1", "1"]
    board.post("a", "1")  # nothing new
    board.post("b", "2")
    assert await anext(reader) == "2"
    with trio.move_on_after(0.05) as waited:
        await anext(reader)
    assert waited.cancelled_caught
    board.post("c", "3")
    board.post("d", "4")
    assert len(board) == 3
    assert [await anext(reader), await anext(reader)] == ["3", "4"]
    board.remove("d")
    assert board.get("d") is None
    assert [await anext(board.read()) for _ in range(1)] == ["2"]


async def test_messages_are_bounded_and_whole() -> None:
    ours, theirs = stream_pair()
    messages = MessageStream(theirs, 300)
    await MessageStream(ours, 300).send(b"x" * 300)
    await ours.send_all(varint(2) + b"ab" + varint(0))
    assert [await messages.receive() for _ in range(3)] == [b"x" * 300, b"ab", b""]
    await ours.aclose()
    assert await messages.receive() is None


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (varint(301), "at most 300"),
        (varint(10) + b"abc", "cut short"),
        (b"\x80", "cut short"),
        (b"\x80" * 10, "too long"),
        (b"\xff" * 9 + b"\x7f", "too long"),
    ],
)
async def test_messages_that_break_the_rules(data: bytes, match: str) -> None:
    ours, theirs = stream_pair()
    await ours.send_all(data)
    await ours.aclose()
    with pytest.raises(RemoteProtocolError, match=match):
        await MessageStream(theirs, 300).receive()


class Recorder:
    """A `transport.Routing` that remembers when it was asked to provide what, and fails when told to."""

    def __init__(self) -> None:
        self.provided: list[tuple[float, bytes]] = []
        self.failing: set[bytes] = set()

    async def provide(self, key: bytes) -> None:
        await trio.sleep(0.5)
        self.provided.append((trio.current_time(), key))
        if key in self.failing:
            raise NetworkError("nobody took it")

    async def find_providers(self, key: bytes, *, limit: int = 20) -> Sequence[PeerAddress]:
        raise NotImplementedError

    async def put_value(self, key: str, value: bytes) -> None:
        raise NotImplementedError

    async def get_value(self, key: str) -> bytes | None:
        raise NotImplementedError

    async def get_values(self, key: str, ours: bytes | None = None) -> Sequence[bytes]:
        raise NotImplementedError

    def times(self, key: bytes) -> list[float]:
        return [moment for moment, provided in self.provided if provided == key]


async def test_keys_are_announced_again_and_again(autojump_clock: trio.abc.Clock) -> None:
    routing = Recorder()
    announcer = Announcer(routing, interval=1000, rng=random.Random(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(announcer.run)
        announcer.set_keys([b"a", b"b"])
        await trio.sleep(10)
        assert announcer.announced == {b"a", b"b"}
        announcer.set_keys([b"b", b"c"])
        await trio.sleep(5000)
        assert len(routing.times(b"a")) == 1, "what is not ours any more is not announced again"
        assert announcer.announced == {b"b", b"c"}
        gaps = [after - before for before, after in itertools.pairwise(routing.times(b"b"))]
        assert 4 <= len(gaps) <= 6
        assert all(900 <= gap <= 1101 for gap in gaps)
        assert len({round(gap) for gap in gaps}) > 1, "with jitter"
        nursery.cancel_scope.cancel()


async def test_what_nobody_takes_is_tried_later_each_time(autojump_clock: trio.abc.Clock) -> None:
    routing = Recorder()
    routing.failing = {b"bad"}
    announcer = Announcer(routing, interval=100_000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(announcer.run)
        announcer.set_keys([b"bad", b"good"])
        await trio.sleep(3000)
        assert announcer.announced == {b"good"}
        gaps = [after - before for before, after in itertools.pairwise(routing.times(b"bad"))]
        assert gaps[0] < 7
        assert all(later > 1.4 * sooner for sooner, later in itertools.pairwise(gaps[:5]))
        assert max(gaps) < 700
        routing.failing = set()
        announcer.announce_again()
        await trio.sleep(10)
        assert announcer.announced == {b"bad", b"good"}
        assert len(routing.times(b"good")) == 2
        nursery.cancel_scope.cancel()


async def test_many_keys_are_not_announced_at_once(autojump_clock: trio.abc.Clock) -> None:
    routing = Recorder()
    announcer = Announcer(routing)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(announcer.run)
        announcer.set_keys([bytes([n]) for n in range(40)])
        await trio.sleep(60)
        moments = sorted(moment for moment, _ in routing.provided)
        assert len(moments) == 40
        assert max(sum(abs(m - moment) < 0.01 for m in moments) for moment in moments) <= 4
        nursery.cancel_scope.cancel()


async def test_a_pace_lets_so_many_through_in_a_window(autojump_clock: trio.abc.Clock) -> None:
    pace = Pace(3)
    assert [pace.delay("a") for _ in range(3)] == [0, 0, 0]
    assert pace.delay("a") == pytest.approx(ANNOUNCE_WINDOW)
    assert pace.delay("b") == 0
    await trio.sleep(3 * ANNOUNCE_WINDOW)
    assert pace.delay("a") == 0
    strict = Pace(2)
    assert [strict.exceeded("a") for _ in range(4)] == [False, False, True, True]
    await trio.sleep(ANNOUNCE_WINDOW)
    assert not strict.exceeded("a")
