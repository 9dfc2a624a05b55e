"""Delegates release under another publisher's names, over real sockets: publisher, delegate and reader are nodes."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import trio
from support.contents import give_home
from support.hostile import Plain, lying
from support.hostile_logs import Telling
from support.nodes import Heard, address, fetch, up
from support.publishers import Publisher, key
from support.speaking import publisher_of, tell
from support.waiting import in_time

from samara.cli.stick import EXPORT, IMPORT, ExportRequest, ImportRequest
from samara.node.app import Node
from samara.node.fetch.finder import parse_peer
from samara.node.operations.delegating import DELEGATE, DELEGATIONS, Delegated, DelegateRequest, DelegationsRequest
from samara.node.operations.fetch import DRY_RUN, FetchRequest
from samara.node.operations.history import LOG, LogRequest
from samara.node.operations.library import VERIFY, Verified, VerifyRequest
from samara.node.operations.publish import PUBLISH, PublishedRow, PublishRequest
from samara.node.operations.queries import SHOW, ShowRequest
from samara.node.operations.records import (
    RECORDS_EXPORT,
    RECORDS_IMPORT,
    RECORDS_SYNC,
    RecordsExportRequest,
    RecordsImportRequest,
    RecordsSyncRequest,
)
from samara.node.operations.refs import own_publisher
from samara.node.operations.roots import ROTATE, RotateRequest
from samara.node.operations.signing import REVOKE, RevokeRequest
from samara.node.operations.update import UPDATE, UpdateRequest, UpdateRow
from samara.node.store.store import Store
from samara.protocol.dsse import SigningKey
from samara.protocol.errors import NotFoundError, OperationError, RevokedError, StatementError, UsageError
from samara.protocol.exchange.messages import GetLog
from samara.protocol.ids import PublisherId, ReleaseId, did_key, format_record, parse_record
from samara.protocol.ports import LogPage, Records
from samara.protocol.records import VerifiedHead, format_time, make_head, make_release
from samara.protocol.records.announced import decode_announced
from samara.protocol.routing import head_key

KB = 1 << 10
DAY = 86_400
NAME = "night-1"


@dataclass
class World:
    """A publisher, its delegate and a reader, who call the publisher anna.

    Attributes:
        publisher: Has delegated `night-*`.
        delegate: Knows the publisher's log.
        reader: Knows nothing of it yet.
        folder: Where files lie.
    """

    publisher: Node
    delegate: Node
    reader: Node
    folder: Path

    @property
    def id(self) -> PublisherId:
        return own_publisher(self.publisher.store).publisher

    @property
    def did(self) -> str:
        return own_publisher(self.delegate.store).key

    async def delegated(self, *to: str, **how: object) -> Delegated:
        """Let the publisher delegate, and the delegate hear of it."""
        request = DelegateRequest(("night-*",), to or (self.did,), **how)  # type: ignore[arg-type]
        made: Delegated = await self.publisher.run(DELEGATE, request, Heard())
        await sync(self.delegate, self.publisher)
        return made

    async def end(self) -> Delegated:
        """Let the publisher end it; nobody hears of that yet."""
        made: Delegated = await self.publisher.run(DELEGATE, DelegateRequest(("night-*",), end=True), Heard())
        return made

    async def publish(self, version: str, name: str = NAME, **how: object) -> PublishedRow:
        """Let the delegate publish a version."""
        path = self.folder / f"{name}-{version}"
        path.mkdir(parents=True, exist_ok=True)
        (path / "model.bin").write_bytes(version.encode() * 50 * KB)
        asked: dict[str, object] = {"name": name, "version": version, "license": "MIT", "publisher": "anna"}
        request = PublishRequest(str(path), **(asked | how))  # type: ignore[arg-type]
        row: PublishedRow = await self.delegate.run(PUBLISH, request, Heard())
        return row


async def sync(node: Node, *peers: Node) -> int:
    found = await node.run(RECORDS_SYNC, RecordsSyncRequest(peers=tuple(map(address, peers))), Heard())
    records: int = found.records
    return records


async def verify(node: Node, ref: str = f"anna/{NAME}") -> Verified:
    found: Verified = await node.run(VERIFY, VerifyRequest(ref), Heard())
    return found


async def update(node: Node, *peers: Node, ref: str = f"anna/{NAME}", patience: float = 20.0) -> UpdateRow:
    request = UpdateRequest((ref,), peers=tuple(map(address, peers)), patience=patience)
    updated = await node.run(UPDATE, request, Heard())
    (row,) = updated.updates
    assert isinstance(row, UpdateRow)
    return row


def head_of(store: Store, publisher: PublisherId, name: str = NAME) -> VerifiedHead | None:
    return store.ledgers.head(publisher, name)


async def sync_by_id(node: Node, peer: Node, publisher: PublisherId) -> None:
    request = RecordsSyncRequest((format_record(publisher),), (address(peer),))
    await node.run(RECORDS_SYNC, request, Heard())


def one_more(node: Node, home: Path) -> Path:
    """Copy the home of a delegate, with its key: somebody stole it, or put a backup to use."""
    shutil.copytree(node.home.root, home, ignore=shutil.ignore_patterns("lock", "node.key", "index*"))
    with (
        contextlib.closing(sqlite3.connect(node.home.root / "index.sqlite")) as source,
        contextlib.closing(sqlite3.connect(home / "index.sqlite")) as target,
    ):
        source.backup(target)
    return home


@contextlib.asynccontextmanager
async def world(tmp_path: Path, **network: object) -> AsyncIterator[World]:
    async with (
        up(tmp_path / "p", **network) as publisher,
        up(tmp_path / "d", **network) as delegate,
        up(tmp_path / "r", **network) as reader,
    ):
        found = World(publisher, delegate, reader, tmp_path / "files")
        for node in (delegate, reader):
            node.store.catalog.set_petname(found.id, "anna")
        await found.delegated()
        yield found


@in_time
async def test_from_the_delegation_to_its_end(tmp_path: Path) -> None:
    """All of it, as each of the three sees it."""
    async with world(tmp_path) as all_:
        p, d, r = all_.publisher, all_.delegate, all_.reader
        first = await all_.publish("1")
        assert f"k={format_record(all_.id)}" in first.link, "the release is its publisher's"
        await fetch(r, f"anna/{NAME}", [d])
        found = await verify(r)
        assert (found.verdict, found.standing) == ("GOOD", "current")
        assert found.judged is not None
        assert found.judged.publisher == "anna"
        assert found.judged.delegate is not None
        assert (found.judged.delegate.keys, found.judged.delegate.names) == ((all_.did,), ("night-*",))
        assert found.judged.delegate.state == "in force"
        shown = await r.run(SHOW.operation(), ShowRequest(f"anna/{NAME}"), Heard())
        assert shown.delegate == found.judged.delegate

        # The delegate's next one is followed, and the head goes on from the one before.
        second = await all_.publish("2")
        row = await update(r, d)
        assert (row.state, row.release, row.version) == ("updated", second.release, "2")
        logged = await r.run(LOG.operation(), LogRequest(f"anna/{NAME}"), Heard())
        assert [(one.sequence, one.position, one.newest, one.counts) for one in logged.heads] == [
            (1, 0, False, True),
            (2, 0, True, True),
        ]
        assert [one.delegate is not None and one.delegate.state for one in logged.heads] == ["in force"] * 2

        # The publisher sees it, when it asks, and could go on from there.
        await sync(p, d)
        assert (head := head_of(p.store, all_.id)) is not None
        assert head.head.release == parse_record(second.release)

        # It ends. Nobody has to hear of it from the publisher itself.
        await all_.end()
        await sync(d, p)
        await sync(r, d)
        found = await verify(r)
        assert (found.verdict, found.standing) == ("UNTRUSTED", "retired")
        assert found.judged is not None
        assert "a delegate signed it whose delegation has ended" in found.judged.reasons[0]
        assert found.judged.delegate is not None
        assert found.judged.delegate.state == "ended"
        with pytest.raises(OperationError, match="delegates night-1 to this home no more"):
            await all_.publish("3")
        logged = await r.run(LOG.operation(), LogRequest(f"anna/{NAME}"), Heard())
        assert not any(one.counts or one.newest for one in logged.heads)


@in_time
async def test_what_is_named_by_the_publisher_after_the_end_is_good_again(tmp_path: Path) -> None:
    async with world(tmp_path) as all_:
        p, d, r = all_.publisher, all_.delegate, all_.reader
        await all_.publish("1")
        await fetch(r, f"anna/{NAME}", [d])
        await fetch(p, f"{format_record(all_.id)}/{NAME}", [d])
        await all_.end()
        # The same bytes under the same name, by the publisher's own key; its head goes on beyond the delegate's.
        path = all_.folder / f"{NAME}-1"
        request = PublishRequest(str(path), name=NAME, version="1", license="MIT")
        own = await p.run(PUBLISH, request, Heard())
        assert own.new
        assert (head := head_of(p.store, all_.id)) is not None
        assert (head.head.sequence, head.head.delegation) == (2, None)
        row = await update(r, p)
        assert (row.state, row.release) == ("updated", own.release)
        assert (await verify(r, own.release)).verdict == "GOOD"


@in_time
async def test_an_expired_delegation_makes_stale_and_a_renewed_one_good(tmp_path: Path) -> None:
    async with world(tmp_path) as all_:
        p, d, r = all_.publisher, all_.delegate, all_.reader
        now = d.store.times.moment().now
        end, later = format_time(now + 3 * DAY), now + 10 * DAY
        await all_.delegated(expires=end)
        await all_.publish("1")
        await fetch(r, f"anna/{NAME}", [d])
        assert (await verify(r)).verdict == "GOOD"
        for node in (d, r):
            node.store.times.reset(later)
        found = await verify(r)
        assert found.verdict == "STALE"
        assert found.judged is not None
        assert found.judged.delegate is not None
        assert (found.judged.delegate.state, found.judged.delegate.expires) == ("expired", end)
        with pytest.raises(OperationError, match=f"expired on {end}"):
            await all_.publish("2")
        # Renewed, what was released under the old one is good: the same delegates may still sign.
        await all_.delegated()
        await sync(r, p)
        found = await verify(r)
        assert (found.verdict, found.standing) == ("GOOD", "current")


@in_time
async def test_a_publisher_who_replaces_its_keys_keeps_its_delegates(tmp_path: Path) -> None:
    async with world(tmp_path) as all_:
        p, d, r = all_.publisher, all_.delegate, all_.reader
        path = tmp_path / "own"
        path.mkdir()
        (path / "model.bin").write_bytes(b"own" * KB)
        await p.run(PUBLISH, PublishRequest(str(path), name=NAME, version="0", license="MIT"), Heard())
        await sync(d, p)
        first = await all_.publish("1")
        await fetch(r, f"anna/{NAME}", [d])
        await sync(p, d)
        made = await p.run(ROTATE, RotateRequest(), Heard())
        assert (made.heads, made.delegated) == (0, (("night-*",),))
        # The publisher's own head, signed anew, would step over the delegate's.
        assert (head := head_of(p.store, all_.id)) is not None
        assert head.head.release == parse_record(first.release)
        await sync(r, p)
        found = await verify(r)
        assert (found.verdict, found.standing) == ("GOOD", "current")
        assert found.judged is not None
        assert found.judged.delegate is not None
        assert found.judged.delegate.state == "in force"
        await sync(d, p)
        second = await all_.publish("2")
        assert (await update(r, d)).release == second.release
        assert (head := head_of(r.store, all_.id)) is not None
        assert (head.head.root, head.head.sequence) == (2, 3)


@in_time
async def test_a_delegate_who_replaces_its_key_is_told_what_to_do(tmp_path: Path) -> None:
    async with world(tmp_path) as all_:
        await all_.publish("1")
        await all_.delegate.run(ROTATE, RotateRequest(), Heard())
        with pytest.raises(OperationError, match="a key that this home has replaced") as caught:
            await all_.publish("2")
        assert all_.did in caught.value.hint
        await all_.delegated()
        # The old key's release is not the new key's; the same bytes are signed anew.
        again = await all_.publish("1")
        assert again.new
        assert (head := head_of(all_.delegate.store, all_.id)) is not None
        assert (head.head.sequence, head.head.release) == (1, parse_record(again.release))
        assert not (await all_.publish("1")).new


@in_time
async def test_two_delegates_take_turns_without_a_fork(tmp_path: Path) -> None:
    """Each has a delegation of its own for one name; and the publisher signs a head between."""
    async with world(tmp_path) as all_, up(tmp_path / "e") as e:
        p, d, r = all_.publisher, all_.delegate, all_.reader
        e.store.catalog.set_petname(all_.id, "anna")
        request = DelegateRequest((NAME,), (own_publisher(e.store).key,))
        await p.run(DELEGATE, request, Heard())
        other = World(p, e, r, tmp_path / "others")
        await sync(e, p)
        # Neither knows of the other: one sequence twice, and no fork.
        await all_.publish("1")
        await other.publish("1b")
        await fetch(r, f"anna/{NAME}", [d])
        await sync(r, e, d)
        for node in (d, e, p):
            await sync(node, d, e)
        heads = {node.store.ledgers.head(all_.id, NAME) for node in (d, e, p, r)}
        assert len(heads) == 1, "all agree which one is the newest"
        for number, each in enumerate((all_, other, all_)):
            row = await each.publish(f"{number + 2}")
            for node in {d, e, r} - {each.delegate}:
                await sync(node, each.delegate)
            assert (head := head_of(r.store, all_.id)) is not None
            assert head.head.release == parse_record(row.release)
        # What one of them published, the other's is followed by, when it is named; by itself nothing of one's own is.
        assert (await update(e, d)).release == row.release
        assert (await d.run(UPDATE, UpdateRequest(), Heard())).updates == ()
        for node in (d, e, r):
            with node.store.ledgers.asking(all_.id) as ledger:
                assert ledger is not None
                assert ledger.forks == ()


@in_time
async def test_who_has_only_the_log_gets_the_delegate_s_newest_head_with_it(tmp_path: Path) -> None:
    async with world(tmp_path) as all_:
        p, d, r = all_.publisher, all_.delegate, all_.reader
        made = await all_.publish("1")
        await sync(p, d)
        await sync(r, p)  # of the publisher, who has nothing of the release itself
        assert (head := head_of(r.store, all_.id)) is not None
        assert head.head.release == parse_record(made.release)
        path = tmp_path / "anna.records"
        await r.run(RECORDS_EXPORT, RecordsExportRequest(str(path), ("anna",)), Heard())
        async with up(tmp_path / "far") as far:
            done = await far.run(RECORDS_IMPORT, RecordsImportRequest(str(path)), Heard())
            assert [(row.records, row.refused) for row in done.publishers] == [(2, {})]
            assert (there := head_of(far.store, all_.id)) is not None
            assert there.id == head.id


@in_time
async def test_a_stick_carries_a_delegate_s_release_to_who_knows_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as all_:
        made = await all_.publish("1")
        stick = tmp_path / "stick"
        stick.mkdir()
        await all_.delegate.run(EXPORT, ExportRequest(str(stick), (made.release,)), Heard())
        async with up(tmp_path / "far") as far:
            done = await far.run(IMPORT, ImportRequest(str(stick)), Heard())
            assert [(row.release, row.verdict) for row in done.releases] == [(made.release, "GOOD")]
            assert (head := head_of(far.store, all_.id)) is not None
            assert head.head.delegation is not None
            # The next stick is newer than what is known, and says that it is over.
            await all_.end()
            await sync(all_.delegate, all_.publisher)
            again = tmp_path / "again"
            again.mkdir()
            await all_.delegate.run(EXPORT, ExportRequest(str(again), (made.release,)), Heard())
            await far.run(IMPORT, ImportRequest(str(again)), Heard())
            assert (await verify(far, made.release)).verdict == "UNTRUSTED"


@in_time
async def test_a_stick_without_the_log_brings_nothing_of_a_delegate(tmp_path: Path) -> None:
    async with world(tmp_path) as all_:
        made = await all_.publish("1")
        stick = tmp_path / "stick"
        stick.mkdir()
        await all_.delegate.run(EXPORT, ExportRequest(str(stick), (made.release,)), Heard())
        for log in (stick / "samara" / "records").iterdir():
            log.unlink()
        async with up(tmp_path / "far") as far:
            with pytest.raises(StatementError, match="a delegation that is not known here"):
                await far.run(IMPORT, ImportRequest(str(stick)), Heard())
            await sync_by_id(far, all_.publisher, all_.id)
            done = await far.run(IMPORT, ImportRequest(str(stick)), Heard())
            assert [row.verdict for row in done.releases] == ["GOOD"]


@in_time
async def test_without_the_log_nobody_is_blamed_and_the_reader_is_told(tmp_path: Path) -> None:
    home = tmp_path / "d"
    async with world(tmp_path) as all_:
        made = await all_.publish("1")
        publisher = all_.id
    async with up(tmp_path / "other") as reader, lying(Plain, home) as mute:
        with pytest.raises(NotFoundError, match="a delegate has signed it, and the log of publisher") as caught:
            await fetch(reader, made.link.partition("?")[0], [mute.address], patience=2)
        assert format_record(publisher) in caught.value.message
        assert "samara records" in caught.value.hint
        assert reader.store.catalog.wrong_counts() == {}
    async with up(tmp_path / "other") as reader, lying(Telling, home) as telling:
        # A dry run keeps no log, so it can say nothing either.
        request = FetchRequest(made.release, peers=(telling.address,), patience=2)
        with pytest.raises(NotFoundError, match="a delegate has signed it"):
            await reader.run(DRY_RUN, request, Heard())
        assert reader.store.ledgers.ledger(publisher) is None
        await fetch(reader, made.release, [telling.address])
        assert (await reader.run(DRY_RUN, request, Heard())).needed == 0


@in_time
async def test_what_a_delegate_released_unlisted_needs_the_log_from_elsewhere(tmp_path: Path) -> None:
    """The delegate's node shows no log for the sake of what nobody shall hear of."""
    async with world(tmp_path) as all_:
        made = await all_.publish("1", visibility="unlisted")
        async with up(tmp_path / "far") as far:
            link = made.link.partition("&p=")[0]
            with pytest.raises(NotFoundError, match="a delegate has signed it"):
                await fetch(far, link, [all_.delegate], patience=2)
            await sync_by_id(far, all_.publisher, all_.id)
            await fetch(far, link, [all_.delegate])
            found = await verify(far, made.release)
            assert (found.verdict, found.standing) == ("GOOD", "current")


@in_time
async def test_the_dht_has_a_delegate_s_head_until_its_delegation_ends(tmp_path: Path) -> None:
    async with world(tmp_path, dht="server") as all_:
        p, d, r = all_.publisher, all_.delegate, all_.reader
        old = await all_.publish("1")
        await fetch(r, f"anna/{NAME}", [d])
        for node in (d, r):
            async with (await node.network()).connect(parse_peer(address(p))):
                pass
        made = await all_.publish("2")
        key = head_key(all_.id, NAME)
        routing = (await r.network()).routing
        assert routing is not None
        value = None
        while value is None or decode_announced(key, value)[1].head.release != parse_record(made.release):
            await trio.sleep(0.2)
            value = await routing.get_value(key)
        row = await update(r, d)
        assert (row.state, row.previous, row.release) == ("updated", old.release, made.release)
        # Who knows that it has ended, neither keeps nor believes it.
        await all_.end()
        await sync(r, p)
        assert value is not None
        with pytest.raises(StatementError, match="by a delegate who may not sign any more"):
            await routing.put_value(key, value)
        assert (await update(r, d, patience=2)).state == "unreachable"


@in_time
async def test_what_a_delegate_cannot_do_is_said(tmp_path: Path) -> None:
    async with world(tmp_path) as all_:
        p, d = all_.publisher, all_.delegate
        made = await all_.publish("1")
        with pytest.raises(NotFoundError, match="anna has not delegated other") as caught:
            await all_.publish("1", "other")
        assert "This home may sign: night-*" in caught.value.hint
        with pytest.raises(UsageError, match="a delegate takes nothing back"):
            await d.run(REVOKE, RevokeRequest(made.release, reason="broken"), Heard())
        with pytest.raises(NotFoundError, match="nobody is called 'bert' here"):
            await all_.publish("2", publisher="bert")
        stranger = format_record(PublisherId(bytes(32)))
        with pytest.raises(NotFoundError, match=r"the log of b.* is not here") as caught:
            await all_.publish("2", publisher=stranger)
        assert "samara records sync" in caught.value.hint
        shown = await d.run(DELEGATIONS.operation(), DelegationsRequest("anna"), Heard())
        assert [(row.names, row.state, row.here) for row in shown.delegations] == [(("night-*",), "in force", True)]
        # Two must sign, and this home has one of the keys.
        await all_.delegated(all_.did, SigningKey(bytes(32)).did, threshold=2)
        with pytest.raises(OperationError, match="2 of 2 delegates must sign"):
            await all_.publish("2")
        # The key is revoked.
        await all_.delegated()
        await p.run(REVOKE, RevokeRequest(key=all_.did), Heard())
        await sync(d, p)
        with pytest.raises(RevokedError, match="anna has revoked this home's key"):
            await all_.publish("2")


@in_time
async def test_a_publisher_is_told_what_cannot_be_delegated(tmp_path: Path) -> None:
    async with world(tmp_path) as all_:
        p = all_.publisher

        async def delegate(*names: str, to: tuple[str, ...] = (), **how: object) -> Delegated:
            request = DelegateRequest(names, to, **how)  # type: ignore[arg-type]
            made: Delegated = await p.run(DELEGATE, request, Heard())
            return made

        did, weak = all_.did, did_key(bytes([1] + [0] * 31))
        for match, names, how in (
            ("own key", ("a",), {"to": (own_publisher(p.store).key,)}),
            ("weak key", ("a",), {"to": (weak,)}),
            ("not the did:key", ("a",), {"to": ("alice",)}),
            ("to whom", ("a",), {}),
            ("no name", ("a*b",), {"to": (did,)}),
            ("2 of 1 keys", ("a",), {"to": (did,), "threshold": 2}),
            ("is over", ("a",), {"to": (did,), "expires": "2026-01-01T00:00:00Z"}),
            ("2027", ("a",), {"to": (did,), "expires": "2027"}),
            ("names nobody", ("night-*",), {"to": (did,), "end": True}),
        ):
            with pytest.raises(UsageError, match=match):
                await delegate(*names, **how)
        with pytest.raises(NotFoundError, match="nothing is delegated under night-1") as caught:
            await delegate("night-1", end=True)
        assert "There are: night-*" in caught.value.hint
        # The same names in another order are the same delegation; said twice, it is signed once.
        made = await delegate("b", "a*", to=(did,))
        again = await delegate("a*", "b", "a*", to=(did,))
        assert (made.new, again.new, again.record) == (True, False, made.record)
        assert made.names == ("a*", "b")
        assert (await delegate("b", "a*", end=True)).state == "ended"
        with pytest.raises(NotFoundError, match="nothing is delegated under"):
            await delegate("b", "a*", end=True)


# --- attacks ----------------------------------------------------------------------------------------------------------


def forge(store: Store, publisher: PublisherId, like: str, name: str) -> ReleaseId:
    """Sign what says the same as a release under a name that is not delegated, and its head; put both on the shelf."""
    with store.ledgers.asking(publisher) as ledger:
        assert ledger is not None
        (given,) = (one for one in ledger.delegations.values() if not one.said.revoked)
        chain = ledger.chain
    lie = {given.id: replace(given, said=replace(given.said, names=("*",)))}
    honest = store.verified(ReleaseId(parse_record(like)))
    keys = store.keys.signing(given.said.keys)
    table = store.contents.table(honest.release.content).encode()
    release = make_release(replace(honest.release, name=name), table, chain, keys, lie)
    head = make_head(
        chain, name=name, release=release.payload, previous=None, issued=honest.release.issued, keys=keys,
        delegation=given.id, delegations=lie,
    )  # fmt: skip
    store.catalog.add_release(release, Records(chain.envelopes, release.envelope, head.envelope), own=True)
    store.catalog.add_head(head)
    return release.id


@in_time
async def test_a_delegate_that_signs_another_name_is_left_out(tmp_path: Path) -> None:
    async with world(tmp_path) as all_:
        d, r = all_.delegate, all_.reader
        made = await all_.publish("1")
        evil = forge(d.store, all_.id, made.release, "crown-jewels")
        d.library_changed()
        for ref in (format_record(evil), "anna/crown-jewels"):
            heard = Heard()
            with pytest.raises(NotFoundError):
                await fetch(r, ref, [d], patience=2, heard=heard)
            assert any("a delegation that does not cover 'crown-jewels'" in notice for notice in heard.notices)
        assert r.store.catalog.release(evil) is None
        assert head_of(r.store, all_.id, "crown-jewels") is None


@in_time
async def test_an_ended_delegate_that_goes_on_moves_no_name(tmp_path: Path) -> None:
    """It does not want to know that it is over, and hears nothing of it; the reader does."""
    async with world(tmp_path) as all_:
        p, r = all_.publisher, all_.reader
        first = await all_.publish("1")
        await fetch(r, f"anna/{NAME}", [all_.delegate])
        async with up(one_more(all_.delegate, tmp_path / "deaf")) as d:
            await all_.end()
            evil = await World(p, d, r, tmp_path / "deaf-files").publish("2")
            assert evil.new
            await sync(r, p)
            row = await update(r, d, patience=2)
            assert (row.state, row.error) == ("unreachable", "NotFoundError")
            assert head_of(r.store, all_.id) is None
            # Nor is it fetched by its name; by its id it is what it is.
            with pytest.raises(NotFoundError):
                await fetch(r, f"anna/{NAME}@2", [d], patience=2)
            with pytest.raises(NotFoundError):
                await fetch(r, f"anna/{NAME}", [d], patience=2)
            await fetch(r, evil.release, [d])
            for release in (first, evil):
                assert (await verify(r, release.release)).verdict == "UNTRUSTED"
            # A reader who hears of the end only in the update itself is not led on either.
            async with up(tmp_path / "late") as late:
                late.store.catalog.set_petname(all_.id, "anna")
                await fetch(late, first.release, [d])
                row = await update(late, d, p, patience=2, ref=first.release)
                assert row.state == "unreachable"
                assert head_of(late.store, all_.id) is None


@in_time
async def test_a_delegate_that_forks_ends_its_delegation_and_no_other(tmp_path: Path) -> None:
    async with world(tmp_path) as all_:
        p, d, r = all_.publisher, all_.delegate, all_.reader
        await all_.publish("1")
        await fetch(r, f"anna/{NAME}", [d])
        await all_.publish("5", "night-9")
        await fetch(r, "anna/night-9", [d])
        async with up(one_more(d, tmp_path / "twin")) as twin:
            two = World(p, twin, r, tmp_path / "twin-files")
            mine = await all_.publish("2")
            theirs = await two.publish("2b")
            assert mine.release != theirs.release
            assert (await update(r, d)).release == mine.release
            row = await update(r, twin, patience=2)
            assert (row.state, row.error) == ("unreachable", "NotFoundError")
        with r.store.ledgers.asking(all_.id) as ledger:
            assert ledger is not None
            assert len(ledger.forks) == 1
            assert ledger.fork is None, "the publisher is not frozen"
            assert ledger.head(NAME) is None
            assert ledger.head("night-9") is None, "all that is signed under that delegation is over"
        assert (await verify(r, mine.release)).verdict == "UNTRUSTED"
        # The proof travels, to the publisher too, who goes on; and to who has not even the delegation yet.
        await sync(p, r)
        with p.store.ledgers.asking(all_.id) as ledger:
            assert ledger is not None
            assert len(ledger.forks) == 1
        path = tmp_path / "own"
        path.mkdir()
        (path / "model.bin").write_bytes(b"own" * KB)
        own = await p.run(PUBLISH, PublishRequest(str(path), name=NAME, version="3", license="MIT"), Heard())
        assert (await update(r, p)).release == own.release
        async with up(tmp_path / "far") as far:
            await sync_by_id(far, r, all_.id)
            with far.store.ledgers.asking(all_.id) as ledger:
                assert ledger is not None
                assert len(ledger.forks) == 1
            assert far.store.catalog.wrong_counts() == {}


class Hasty(Telling):
    """Gives proofs of forks, and the log only from its second record on."""

    def page(self, asked: GetLog) -> LogPage | None:
        whole = super().page(asked)
        assert whole is not None
        assert whole.forks
        self.lied.set()
        return replace(whole, entries=whole.entries[1:])


@in_time
async def test_a_proof_that_comes_before_its_delegation_is_nobody_s_fault(tmp_path: Path) -> None:
    home = tmp_path / "p"
    with give_home(home) as store:
        anna = publisher_of(store)
        given = anna.delegate("ben")
        anna.publish("1", "other")
        tell(store, anna, own=True)
        under: dict[str, Any] = {"delegation": given.id, "delegations": {given.id: given}}
        for version in ("1", "2"):
            ben = Publisher(anna.chain, [key("ben")])
            head = ben.head(ben.release(version, **under), place=None, **under)
            store.ledgers.take(anna.chain.envelopes, [head.envelope])
    publisher = anna.chain.publisher
    async with up(tmp_path / "far") as far:
        for vice, forks in ((Hasty, 0), (Telling, 1)):
            async with lying(vice, home) as peer:
                request = RecordsSyncRequest((format_record(publisher),), (peer.address,))
                found = await far.run(RECORDS_SYNC, request, Heard())
                assert (found.asked, found.failed) == (1, ())
            with far.store.ledgers.asking(publisher) as ledger:
                assert ledger is not None
                assert len(ledger.forks) == forks
        assert far.store.catalog.wrong_counts() == {}
