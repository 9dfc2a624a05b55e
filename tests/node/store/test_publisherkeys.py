"""The publisher's keys on disk: what a process that dies in the middle leaves, and what a person's hands may do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.contents import Source, give_home, make_source, take_all
from support.publishers import WHEN, Publisher

from samara.node.operations import keys as key_operations
from samara.node.operations import oms as oms_operations
from samara.node.operations import roots
from samara.node.operations.keys import (
    BackupRequest,
    LockRequest,
    ProtectRequest,
    RestoreRequest,
    UnlockRequest,
    UnprotectRequest,
)
from samara.node.operations.oms import OmsRotateRequest
from samara.node.operations.refs import own_publisher, signing_keys
from samara.node.operations.roots import ChangeRequest, RotateRequest, SignRequest
from samara.node.operations.signing import RevokeRequest, revoke
from samara.node.store import keyfiles, publisherkeys
from samara.node.store.home import write_private
from samara.node.store.publisherkeys import PublisherKeys
from samara.node.store.store import Store
from samara.node.wordlist import word_list
from samara.protocol.dsse import Envelope, SigningKey, cosign
from samara.protocol.errors import (
    KeyFileError,
    LockedKeyError,
    OperationError,
    PassphraseError,
    StatementError,
    UsageError,
)
from samara.protocol.ids import ReleaseId, format_record
from samara.protocol.keyfile import KeyKind, PlainKey, SealedKey, decode_key_file
from samara.protocol.limits import MAX_SIGNATURES, MIN_KEY_LOG_N
from samara.protocol.oms import OmsKey
from samara.protocol.records import (
    Place,
    PublisherChain,
    Standing,
    make_key_revocation,
    make_next_root,
    verify_release,
)
from samara.protocol.rootfile import RootFile
from samara.protocol.trust import Verdict

OLD, NEW = "winged seeds of maple", "and the wind takes them"
KEY = "publisher.key"


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seal with the least cost that is read: everything else is as it is."""
    seal = SealedKey.seal

    def cheaply(seed: bytes, passphrase: str, *, salt: bytes, kind: KeyKind) -> SealedKey:
        return seal(seed, passphrase, salt=salt, log_n=MIN_KEY_LOG_N, kind=kind)

    monkeypatch.setattr(SealedKey, "seal", staticmethod(cheaply))


class DiedError(BaseException):
    """The process is gone."""


class Deaths:
    """Lets a process die before or after its n-th write of a private file."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.writes = 0

    def at(self, number: int, *, after: bool) -> None:
        self.writes = 0

        def dying(path: Path, data: bytes, *, replace: bool = False) -> None:
            self.writes += 1
            if self.writes == number and not after:
                raise DiedError
            write_private(path, data, replace=replace)
            if self.writes == number:
                raise DiedError

        for module in (publisherkeys, keyfiles):
            self._monkeypatch.setattr(module, "write_private", dying)

    def none(self) -> None:
        self.at(0, after=False)


def seeds_of(home: Path, *passphrases: str) -> set[bytes]:
    """Every seed that somebody with the passphrases finds in a home."""
    found = set()
    for path in home.glob("publisher*.key"):
        key = decode_key_file(path.read_bytes())
        if isinstance(key, PlainKey):
            found.add(key.seed)
            continue
        for passphrase in passphrases:
            try:
                found.add(key.open(passphrase).seed)
            except PassphraseError:
                continue
    return found


def oms_of(store: Store, *passphrases: str) -> bytes:
    """The seed of a home's OMS key, for somebody with the passphrases."""
    for passphrase in passphrases:
        try:
            return store.oms.seed(passphrase)
        except (LockedKeyError, PassphraseError):
            continue
    raise AssertionError("the OMS key is lost")


def is_open(home: Path) -> bool:
    return len((home / KEY).read_bytes()) == 32


# Protecting


def test_protecting_and_back(tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store:
        before = own_publisher(store)
        seed = store.keys.seed("")
        state = key_operations._protect(store, ProtectRequest(OLD))
        assert (state.protected, state.publisher, state.key) == (True, format_record(before.publisher), before.key)
        assert own_publisher(store) == before
        for call in (lambda: store.keys.seed(""), lambda: signing_keys(store, before)):
            with pytest.raises(LockedKeyError):
                call()
        with pytest.raises(PassphraseError):
            store.keys.seed(NEW)
        assert store.keys.seed(OLD) == seed
        assert seed not in (store.home.root / KEY).read_bytes()
        key_operations._protect(store, ProtectRequest(NEW, OLD))
        assert store.keys.seed(NEW) == seed
        with pytest.raises(PassphraseError):
            key_operations._unprotect(store, UnprotectRequest(OLD))
        assert not key_operations._unprotect(store, UnprotectRequest(NEW)).protected
        assert (store.home.root / KEY).read_bytes() == seed
        if os.name != "nt":
            assert (store.home.root / KEY).stat().st_mode & 0o777 == 0o600


def test_a_process_unlocks_for_itself_alone(tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store:
        own = own_publisher(store)
        key_operations._protect(store, ProtectRequest(OLD))
        files = {path: path.read_bytes() for path in store.home.root.glob("publisher*")}
        store.keys.unlock([own.key], OLD)
        assert [key.did for key in signing_keys(store, own)] == [own.key]
        assert {path: path.read_bytes() for path in store.home.root.glob("publisher*")} == files
        with pytest.raises(LockedKeyError):
            PublisherKeys(store.home).signing([own.key])
        store.keys.lock()
        with pytest.raises(LockedKeyError):
            signing_keys(store, own)


def test_a_short_passphrase_changes_nothing(tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store:
        own_publisher(store)
        with pytest.raises(PassphraseError, match="8 characters"):
            key_operations._protect(store, ProtectRequest("seven77"))
        assert is_open(store.home.root)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", range(1, 6))
def test_a_process_that_dies_while_it_protects_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, after: bool
) -> None:
    deaths = Deaths(monkeypatch)
    with give_home(tmp_path / "home") as store:
        roots._rotate(store, RotateRequest())  # so that there are two key files
        own, seed, oms = own_publisher(store), store.keys.seed(""), store.oms.seed("")
        secrets = seeds_of(store.home.root)
        assert len(secrets) == 2
        deaths.at(number, after=after)
        try:
            key_operations._protect(store, ProtectRequest(OLD))
            assert number > 4
        except DiedError:
            assert number <= 4
        deaths.none()
    with give_home(tmp_path / "home") as store:
        assert own_publisher(store) == own
        assert oms_of(store, "", OLD) == oms
        assert store.keys.seed("" if is_open(store.home.root) else OLD) == seed
        assert seeds_of(store.home.root, OLD) == secrets
        key_operations._protect(store, ProtectRequest(OLD, OLD))
        assert seeds_of(store.home.root) == set()
        assert seeds_of(store.home.root, OLD) == secrets
        assert oms_of(store, OLD) == oms
        with pytest.raises(LockedKeyError):
            store.oms.seed("")


def test_an_open_seed_that_a_killed_process_left_half_written_goes(tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store:
        own_publisher(store)
        left = store.home.root / ".publisher.key.0badcafe"
        left.write_bytes(store.keys.seed(""))
        key_operations._protect(store, ProtectRequest(OLD))
        assert not left.exists()


@pytest.mark.parametrize("length", [0, 1, 31, 33, 58, 106, 108])
def test_a_damaged_file_is_named_and_can_be_restored(tmp_path: Path, length: int) -> None:
    with give_home(tmp_path / "home") as store:
        own = own_publisher(store)
        words = " ".join(word_list().of_seed(store.keys.seed("")))
        key_operations._protect(store, ProtectRequest(OLD))
        whole = (store.home.root / KEY).read_bytes()
        damaged = (whole + b"\0")[:length]
        (store.home.root / KEY).write_bytes(damaged)
        with pytest.raises(KeyFileError, match=r"publisher\.key"):
            own_publisher(store)
        state = key_operations._restore(store, RestoreRequest(words))
        assert (state.key, state.publisher, state.protected) == (own.key, format_record(own.publisher), False)
        (kept,) = store.home.root.glob("publisher-damaged-*.key")
        assert kept.read_bytes() == damaged


def test_a_file_that_asks_for_64_gb_is_refused(tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store:
        own_publisher(store)
        key_operations._protect(store, ProtectRequest(OLD))
        path = store.home.root / KEY
        path.write_bytes(path.read_bytes()[:10] + bytes([26]) + path.read_bytes()[11:])
        with pytest.raises(KeyFileError, match="N = 2\\^26"):
            store.keys.seed(OLD)


def test_a_locked_home_that_lost_its_chain_says_so(tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store:
        own = own_publisher(store)
        key_operations._protect(store, ProtectRequest(OLD))
        (store.home.root / "publisher.roots").unlink()
        assert own_publisher(store) == own  # the index has it
    for path in (tmp_path / "home").glob("index.sqlite*"):
        path.unlink()
    with give_home(tmp_path / "home") as store:
        with pytest.raises(LockedKeyError):
            own_publisher(store)
        store.keys.unlock([own.key], OLD)
        assert own_publisher(store) == own


# Rotation


def published(store: Store, base: Path, name: str = "model") -> Source:
    return make_source(store, base / name, {"w": 1000})


def standing(store: Store, source: Source) -> Standing:
    records = store.catalog.records(source.release)
    assert records is not None
    return verify_release(records, expected=source.release).signers.standing


def test_after_a_rotation_the_home_knows_its_publisher_and_its_heads_count(tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store:
        sources = [published(store, tmp_path, name) for name in ("a", "b")]
        before = own_publisher(store)
        made = roots._rotate(store, RotateRequest())
        assert (made.version, made.complete, made.kept, made.heads) == (2, True, True, 2)
    with give_home(tmp_path / "home") as store:
        after = own_publisher(store)
        assert after.publisher == before.publisher
        assert after.chain.current.keys == (after.key,)
        assert after.key == made.key != before.key
        assert [standing(store, source) for source in sources] == [Standing.VOUCHED, Standing.VOUCHED]
        assert standing(store, published(store, tmp_path, "c")) is Standing.CURRENT
        kept = store.home.root / f"publisher-{before.key.removeprefix('did:key:')}.key"
        assert SigningKey(kept.read_bytes()).did == before.key
        assert list(roots.old_heads(store, after)) == []


def verdict(store: Store, release: ReleaseId) -> Verdict:
    return store.trust.judge(store.verified(release)).verdict


def test_what_no_head_names_stays_good_after_a_rotation(tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store:
        old = own_publisher(store).key
        made = [
            make_source(store, tmp_path / how, {"w": 1000}, visibility=how).release for how in ("unlisted", "private")
        ]
        done = roots._rotate(store, RotateRequest())
        assert (done.heads, done.releases) == (0, 2)
    with give_home(tmp_path / "home") as store:
        own = own_publisher(store)
        assert list(roots.old_releases(store, own)) == []
        for release in made:  # of the same id
            assert store.verified(release).signers.standing is Standing.CURRENT
            assert verdict(store, release) is Verdict.GOOD
        # Also when the old key is taken back since.
        revoke(store, RevokeRequest(key=old, through=0))
        assert [verdict(store, release) for release in made] == [Verdict.GOOD, Verdict.GOOD]
        assert all(store.serves(held) for held in store.catalog.releases())


def test_many_rotations_do_not_fill_an_envelope(tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store:
        made = make_source(store, tmp_path / "unlisted", {"w": 1000}, visibility="unlisted").release
        for _ in range(2 + MAX_SIGNATURES):
            assert roots._rotate(store, RotateRequest()).releases == 1
        records = store.catalog.records(made)
        assert records is not None
        assert len(Envelope.decode(records.release).signatures) == 2
        assert verdict(store, made) is Verdict.GOOD


def test_what_a_revoked_key_signed_is_not_signed_anew(tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store:
        old = own_publisher(store)
        made = make_source(store, tmp_path / "unlisted", {"w": 1000}, visibility="unlisted").release
        # Another device brings the root, and takes the old key back before this one has signed anything anew.
        new = Publisher.of("another device")
        new.chain = PublisherChain.verify(
            [*old.chain.envelopes, make_next_root(old.chain, [new.keys[0].did], [*signing_keys(store, old), *new.keys])]
        )
        revocation = make_key_revocation(
            new.chain, place=Place.first(), key=old.key, last=Place.first(), issued=WHEN, keys=new.keys
        )
        store.ledgers.take(new.chain.envelopes, [revocation.envelope])
        assert list(roots.old_releases(store, own_publisher(store))) == []
        assert verdict(store, made) is Verdict.REVOKED


def test_who_has_the_link_gets_the_signatures_of_the_new_keys(tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store, give_home(tmp_path / "reader") as reader:
        made = make_source(store, tmp_path / "unlisted", {"w": 1000}, visibility="unlisted")
        take_all(made, store, reader)
        before = reader.catalog.records(made.release)
        roots._rotate(store, RotateRequest())
        reader.ledgers.take(own_publisher(store).chain.envelopes, ())
        assert verdict(reader, made.release) is Verdict.UNTRUSTED
        take_all(made, store, reader)
        assert verdict(reader, made.release) is Verdict.GOOD
        after = reader.catalog.records(made.release)
        # The copy of before takes nothing away again, nor does one that strangers have signed.
        assert before is not None
        assert after is not None
        reader.keep_signatures(made.release, before.release)
        reader.keep_signatures(made.release, cosign(before.release, [SigningKey(bytes(32))]))
        assert reader.catalog.records(made.release) == after


def test_without_its_index_a_home_still_knows_its_publisher(tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store:
        own_publisher(store)
        roots._rotate(store, RotateRequest())
        own = own_publisher(store)
    for path in (tmp_path / "home").glob("index.sqlite*"):
        path.unlink()
    with give_home(tmp_path / "home") as store:
        assert own_publisher(store) == own


def test_without_the_file_of_its_chain_a_home_still_knows_its_publisher(tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store:
        own_publisher(store)
        roots._rotate(store, RotateRequest())
        roots._rotate(store, RotateRequest())
        own = own_publisher(store)
        path = store.home.root / "publisher.roots"
        path.write_bytes(path.read_bytes()[:-10])
        with pytest.raises(StatementError, match=r"publisher\.roots"):
            own_publisher(store)
        path.unlink()
        assert own_publisher(store) == own


def test_a_chain_that_was_put_back_does_not_count(tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store:
        roots._rotate(store, RotateRequest())
        old = (store.home.root / "publisher.roots").read_bytes()
        roots._rotate(store, RotateRequest())
        own = own_publisher(store)
        (store.home.root / "publisher.roots").write_bytes(old)
        assert own_publisher(store) == own


@pytest.mark.parametrize("protected", [False, True])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", range(1, 7))
def test_a_process_that_dies_while_it_rotates_leaves_a_home_that_publishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, after: bool, protected: bool
) -> None:
    deaths = Deaths(monkeypatch)
    passphrase = OLD if protected else ""
    with give_home(tmp_path / "home") as store:
        source = published(store, tmp_path)
        if protected:
            key_operations._protect(store, ProtectRequest(OLD))
        before, secrets, oms = own_publisher(store), seeds_of(store.home.root, OLD), store.oms.seed(passphrase)
        deaths.at(number, after=after)
        try:
            roots._rotate(store, RotateRequest(passphrase))
            assert number > 5
        except DiedError:
            assert number <= 5
        deaths.none()
    with give_home(tmp_path / "home") as store:
        own = own_publisher(store)
        assert own.publisher == before.publisher
        assert secrets <= seeds_of(store.home.root, OLD)
        assert bool(seeds_of(store.home.root)) is not protected
        if protected:
            store.keys.unlock(own.chain.current.keys, OLD)
        assert [key.did for key in signing_keys(store, own)] == list(own.chain.current.keys)
        assert standing(store, published(store, tmp_path, "later")) is Standing.CURRENT
        roots._renew_all(store, roots.RenewRequest(passphrase))
        expected = Standing.CURRENT if own.chain.current.version == 1 else Standing.VOUCHED
        assert standing(store, source) is expected
        roots._rotate(store, RotateRequest(passphrase))
        assert own_publisher(store).publisher == before.publisher
        assert store.oms.seed(passphrase) == oms
        assert len((store.home.root / "oms.key").read_bytes()) == (108 if protected else 32)
        assert own_publisher(store).key in own_publisher(store).chain.current.keys


def test_renewing_twice_makes_the_same_head_and_no_fork(tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store:
        published(store, tmp_path)
        roots._rotate(store, RotateRequest())
        own = own_publisher(store)
        head = store.ledgers.head(own.publisher, "model")
        assert roots._renew_all(store, roots.RenewRequest()).names == ()
        assert store.ledgers.head(own.publisher, "model") == head
        assert head is not None
        assert head.head.sequence == 2


# Several devices


def pair(one: Store, other: Store, threshold: int = 1) -> None:
    """Let the second home's key speak for the first one's publisher, and let it become that."""
    made = roots._change(one, ChangeRequest(add=(own_publisher(other).key,), threshold=threshold))
    other_made = roots._sign(other, SignRequest(made.file, become=made.publisher))
    assert other_made.kept
    if not made.complete:
        assert roots._sign(one, SignRequest(other_made.file)).kept


def test_a_second_device_publishes_for_the_same_publisher(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as a, give_home(tmp_path / "b") as b:
        first = own_publisher(b).publisher
        pair(a, b)
        assert own_publisher(a).publisher == own_publisher(b).publisher != first
        made = published(b, tmp_path)
        held = b.catalog.release(made.release)
        assert held is not None
        assert held.publisher == own_publisher(a).publisher
        assert standing(b, made) is Standing.CURRENT


def test_two_of_two_rotate_together_and_neither_alone_publishes(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as a, give_home(tmp_path / "b") as b:
        pair(a, b, threshold=2)
        for store in (a, b):
            assert own_publisher(store).chain.current.threshold == 2
            with pytest.raises(OperationError, match="2 keys must sign"):
                published(store, tmp_path, f"of-{store.home.root.name}")
        made = roots._rotate(a, RotateRequest())
        assert (made.complete, made.old, made.new, made.version) == (False, 1, 1, 3)
        assert own_publisher(a).chain.current.version == 2
        there = roots._sign(b, SignRequest(made.file))
        assert (there.complete, there.kept) == (True, True)
        back = roots._sign(a, SignRequest(there.file))
        assert back.kept
        assert own_publisher(a).key in own_publisher(a).chain.current.keys
        assert own_publisher(a).chain == own_publisher(b).chain


def test_a_lost_device_is_removed_and_says_so_itself(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as a, give_home(tmp_path / "b") as b:
        pair(a, b)
        made = roots._change(a, ChangeRequest(remove=(own_publisher(b).key,)))
        assert made.complete
        taken = roots._sign(b, SignRequest(made.file))
        assert taken.kept
        with pytest.raises(OperationError, match="does not speak for its publisher"):
            published(b, tmp_path)
        assert not key_operations._state(b).speaks


def test_two_roots_of_one_version_are_not_signed_unless_told_so(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as a, give_home(tmp_path / "b") as b:
        pair(a, b, threshold=2)
        one = roots._rotate(a, RotateRequest())
        with pytest.raises(UsageError, match="would be a fork"):
            roots._rotate(a, RotateRequest())
        with pytest.raises(UsageError, match="would be a fork"):
            roots._change(a, ChangeRequest(threshold=1))
        other = roots._change(b, ChangeRequest(threshold=1))
        with pytest.raises(UsageError, match="would be a fork"):
            roots._sign(a, SignRequest(other.file))
        with pytest.raises(UsageError, match="would be a fork"):
            roots._sign(b, SignRequest(one.file))
        done = roots._sign(a, SignRequest(other.file, anew=True))
        assert done.kept
        with pytest.raises(StatementError, match="has 3 roots already"):
            roots._sign(a, SignRequest(one.file, anew=True))


def test_a_fork_of_roots_stops_the_home(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as a, give_home(tmp_path / "b") as b:
        pair(a, b)
        one = roots._change(a, ChangeRequest(add=(SigningKey(bytes(32)).did,)))
        other = roots._change(b, ChangeRequest(add=(SigningKey(bytes([1]) * 32).did,)))
        assert one.complete
        assert other.complete
        with pytest.raises(StatementError, match="two different roots"):
            roots._sign(a, SignRequest(other.file))


def test_a_home_becomes_another_publisher_only_by_name(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as a, give_home(tmp_path / "b") as b, give_home(tmp_path / "c") as c:
        before = own_publisher(b).publisher
        made = roots._change(a, ChangeRequest(add=(own_publisher(b).key,)))
        assert not roots._sign(b, SignRequest(made.file)).kept
        assert own_publisher(b).publisher == before
        with pytest.raises(UsageError, match="not of"):
            roots._sign(b, SignRequest(made.file, become=format_record(before)))
        with pytest.raises(UsageError, match="no key of this home"):
            roots._sign(c, SignRequest(made.file, become=made.publisher))
        assert roots._sign(b, SignRequest(made.file, become=made.publisher)).kept
        assert own_publisher(b).publisher == own_publisher(a).publisher


# Restoring


def test_words_bring_a_key_into_an_empty_home(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as a, give_home(tmp_path / "b") as b:
        words = " ".join(word_list().of_seed(a.keys.present().encode()))
        state = key_operations._restore(b, RestoreRequest(words, new=OLD))
        assert state.protected
        assert own_publisher(b) == own_publisher(a)
        assert seeds_of(b.home.root, OLD) == seeds_of(a.home.root)
        assert seeds_of(b.home.root) == set()


def test_a_different_key_is_replaced_only_by_name_and_kept(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as a, give_home(tmp_path / "b") as b:
        words = " ".join(word_list().of_seed(a.keys.present().encode()))
        roots._rotate(b, RotateRequest())
        before = own_publisher(b)
        secrets = seeds_of(b.home.root)
        for named in ("", own_publisher(a).key):
            with pytest.raises(UsageError, match=before.key):
                key_operations._restore(b, RestoreRequest(words, named))
        assert own_publisher(b) == before
        key_operations._restore(b, RestoreRequest(words, before.key))
        assert own_publisher(b) == own_publisher(a)
        assert seeds_of(b.home.root) == secrets | seeds_of(a.home.root)
        (kept,) = b.home.root.glob("publisher-*.roots")
        assert RootFile.decode(kept.read_bytes()).chain.publisher == before.publisher


def test_a_rotated_key_comes_back_with_its_chain(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as a, give_home(tmp_path / "b") as b:
        roots._rotate(a, RotateRequest())
        own = own_publisher(a)
        words = " ".join(word_list().of_seed(a.keys.present().encode()))
        chain = roots._roots(a, roots.RootsRequest()).file
        state = key_operations._restore(b, RestoreRequest(words))
        assert state.publisher != format_record(own.publisher)
        roots._sign(b, SignRequest(chain, become=format_record(own.publisher)))
        assert own_publisher(b) == own


def test_a_rotated_key_that_is_restored_beside_the_first_finds_its_chain(tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store:
        own_publisher(store)
        roots._rotate(store, RotateRequest())
        own = own_publisher(store)
        words = " ".join(word_list().of_seed(store.keys.seed("")))
        for name in ("publisher.roots", KEY):
            (store.home.root / name).unlink()
        state = key_operations._restore(store, RestoreRequest(words, new=OLD))
        assert (state.publisher, state.protected, state.speaks) == (format_record(own.publisher), True, True)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", range(1, 5))
def test_a_process_that_dies_while_it_restores_can_do_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, after: bool
) -> None:
    deaths = Deaths(monkeypatch)
    with give_home(tmp_path / "a") as a, give_home(tmp_path / "b") as b:
        words = " ".join(word_list().of_seed(a.keys.present().encode()))
        before, secrets = own_publisher(b), seeds_of(b.home.root)
        request = RestoreRequest(words, before.key, OLD)
        deaths.at(number, after=after)
        try:
            key_operations._restore(b, request)
            assert number > 3
        except DiedError:
            assert number <= 3
        deaths.none()
        assert secrets <= seeds_of(b.home.root, OLD)
        key_operations._restore(b, request)
        assert own_publisher(b) == own_publisher(a)
        assert seeds_of(b.home.root, OLD) == secrets | seeds_of(a.home.root)


# The OMS key beside it


def test_one_passphrase_seals_both_and_opens_both(tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store:
        own_publisher(store)
        path = store.home.root / "oms.key"
        path.write_bytes(bytes(range(32)))  # of a home that an earlier version made
        key_operations._protect(store, ProtectRequest(OLD))
        assert bytes(range(32)) not in path.read_bytes()
        with pytest.raises(LockedKeyError, match="OMS key"):
            store.oms.key()
        assert store.oms.public() is not None, "whose it is, is told without the passphrase"
        key_operations._unlock(store, UnlockRequest(OLD))
        assert store.oms.key().public.hint == OmsKey(bytes(range(32))).public.hint
        key_operations._lock(store, LockRequest())
        with pytest.raises(LockedKeyError):
            store.oms.key()
        with pytest.raises(PassphraseError):
            key_operations._protect(store, ProtectRequest(NEW, NEW))
        assert store.oms.seed(OLD) == bytes(range(32))
        key_operations._protect(store, ProtectRequest(NEW, OLD))
        assert (store.oms.seed(NEW), len(store.keys.seed(NEW))) == (bytes(range(32)), 32)
        key_operations._unprotect(store, UnprotectRequest(NEW))
        assert path.read_bytes() == bytes(range(32))


def test_a_file_of_an_unknown_passphrase_is_told_before_anything_is_sealed(tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store:
        own_publisher(store)
        (store.home.root / "oms.key").write_bytes(bytes(range(32)))
        key_operations._protect(store, ProtectRequest(OLD))
        sealed = (store.home.root / "oms.key").read_bytes()
        key_operations._unprotect(store, UnprotectRequest(OLD))
        (store.home.root / "oms.key").write_bytes(sealed)
        with pytest.raises(PassphraseError, match=r"oms\.key is sealed with another"):
            key_operations._protect(store, ProtectRequest(NEW))
        assert is_open(store.home.root)
        key_operations._protect(store, ProtectRequest(OLD))
        assert store.oms.seed(OLD) == bytes(range(32))


def test_a_rotation_leaves_the_oms_key_as_it_is_and_says_that_it_needs_words(tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store, give_home(tmp_path / "new") as new:
        own_publisher(store)
        oms = store.oms.key().public
        assert key_operations._backup(store, BackupRequest()).oms == ""
        roots._rotate(store, RotateRequest())
        assert store.oms.key().public.hint == oms.hint
        assert key_operations._backup(store, BackupRequest()).oms == oms.hint
        words = key_operations._backup(store, BackupRequest(oms=True))
        assert words.key == oms.hint
        for both in (False, True):
            said = words if both else key_operations._backup(store, BackupRequest())
            key_operations._restore(new, RestoreRequest(" ".join(said.words), oms=both))
        assert new.oms.key().public.hint == oms.hint


def test_the_words_bring_back_both(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as a, give_home(tmp_path / "b") as b:
        own_publisher(a)
        words = " ".join(word_list().of_seed(a.keys.seed("")))
        own_publisher(b)
        roots._rotate(b, RotateRequest())  # a home of another publisher, with an OMS key in a file
        theirs = b.oms.key().public
        key_operations._restore(b, RestoreRequest(words, own_publisher(b).key, OLD))
        b.oms.unlock(OLD)
        b.keys.unlock([own_publisher(b).key], OLD)
        assert b.oms.key().public.hint == a.oms.key().public.hint
        (aside,) = b.home.root.glob("oms-*.key")
        assert OmsKey(aside.read_bytes()).public.hint == theirs.hint


def test_another_oms_key_makes_way_only_by_name(tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store:
        own_publisher(store)
        key_operations._protect(store, ProtectRequest(OLD))
        words = " ".join(word_list().of_seed(bytes(range(32))))
        with pytest.raises(LockedKeyError):
            key_operations._restore(store, RestoreRequest(words, oms=True))
        with pytest.raises(PassphraseError):
            key_operations._restore(store, RestoreRequest(words, new=NEW, oms=True))
        key_operations._restore(store, RestoreRequest(words, new=OLD, oms=True))
        assert store.oms.seed(OLD) == bytes(range(32))
        other = " ".join(word_list().of_seed(bytes(32)))
        hint = OmsKey(bytes(range(32))).public.hint
        with pytest.raises(UsageError, match=hint):
            key_operations._restore(store, RestoreRequest(other, new=OLD, oms=True))
        key_operations._restore(store, RestoreRequest(other, hint, OLD, oms=True))
        assert store.oms.seed(OLD) == bytes(32)
        assert (store.home.root / f"oms-{hint[:16]}.key").exists()


def test_a_new_oms_key_is_bound_at_once(tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store:
        own = own_publisher(store)
        key_operations._protect(store, ProtectRequest(OLD))
        before = OmsKey(store.oms.seed(OLD)).public
        with pytest.raises(LockedKeyError):
            oms_operations._rotate(store, OmsRotateRequest())
        with pytest.raises(PassphraseError):
            oms_operations._rotate(store, OmsRotateRequest(NEW))
        made = oms_operations._rotate(store, OmsRotateRequest(OLD))
        assert made.bound == made.key != before.hint
        with store.ledgers.asking(own.publisher) as ledger:
            assert ledger is not None
            bound = ledger.key_binding()
        assert bound is not None
        assert bound.said.key == OmsKey(store.oms.seed(OLD)).public.spki
        with pytest.raises(LockedKeyError):
            signing_keys(store, own)  # the passphrase was for this alone
