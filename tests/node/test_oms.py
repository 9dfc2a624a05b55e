"""attest --oms and verify, in this process: what is signed, not hashed again, refused, and never written over.

That other tools take what is signed, is in tests/interop/test_judges.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support.contents import Source, give_home, take_all
from support.publishers import WHEN, Publisher
from support.speaking import publisher_of, tell

from samara.node.operations.library import Verified, VerifyRequest, verify_path
from samara.node.operations.oms import AttestOmsRequest, OmsAttested, attest
from samara.node.operations.refs import own_publisher
from samara.node.store.store import Store
from samara.protocol.errors import (
    ContentError,
    EnvelopeError,
    NotFoundError,
    SignatureError,
    StoreError,
    UntrustedError,
    UsageError,
)
from samara.protocol.ids import format_record
from samara.protocol.oms import Bundle, Made, OmsKey, OmsPublicKey, make_manifest, oms_seed, sign_manifest
from samara.protocol.records import make_key_binding

STRANGER = OmsKey(b"\x05" * 32)


def never() -> bool:
    return False


@dataclass
class Here:
    """A home, and a model that was published from it.

    Attributes:
        store: The home's.
        folder: Where the model lies.
        source: Its release.
        hashed: Bytes that were hashed.
        notices: What was said.
    """

    store: Store
    folder: Path
    source: Source
    hashed: int = 0
    notices: list[str] = field(default_factory=list)

    @property
    def signature(self) -> Path:
        return self.folder / "model.sig"

    def attest(self, to: Path | None = None) -> OmsAttested:
        request = AttestOmsRequest(format_record(self.source.release), str(to or ""))
        return attest(self.store, request, self._watch, never)

    def verify(self, folder: Path | None = None, *, key: Path | None = None, signature: Path | None = None) -> Verified:
        request = VerifyRequest(str(folder or self.folder), True, str(key or ""), str(signature or ""))
        return verify_path(self.store, request, self._watch, never, self.notices.append)

    def _watch(self, count: int, path: str) -> None:
        self.hashed += count


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.bin").write_bytes(os.urandom(5000))
    (folder / "config.json").write_bytes(b"{}")
    with give_home(tmp_path / "home") as store:
        yield Here(store, folder, Source.publish(store, folder))


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def test_what_did_not_change_is_not_hashed_again(here: Here) -> None:
    made = here.attest()
    assert (made.files, made.left_out, made.hashed, here.hashed) == (2, 0, 0, 0)
    touch(here.folder / "sub" / "a.bin")
    assert here.attest().hashed == here.hashed == 5000
    assert here.attest().hashed == 0


def test_the_same_files_give_the_same_signature_that_verify_takes(here: Here) -> None:
    here.attest()
    first = here.signature.read_bytes()
    here.attest()
    assert here.signature.read_bytes() == first
    found = here.verify()
    assert found.ok
    assert found.release == format_record(here.source.release)
    assert found.oms is not None
    assert (found.oms.ok, found.oms.signer, found.oms.files, found.oms.ignored) == (True, "me", 2, 0)
    made = Bundle.decode(first).open(here.store.oms.key().public).made
    assert made is not None
    assert made.release == here.source.release


def test_the_key_follows_from_the_publishers_and_is_in_no_file(here: Here) -> None:
    here.attest()
    assert not (here.store.home.root / "oms.key").exists()
    assert here.store.oms.key().public.hint == OmsKey(oms_seed(here.store.keys.seed(""))).public.hint


def test_a_key_that_is_in_a_file_stays_the_key(here: Here) -> None:
    (here.store.home.root / "oms.key").write_bytes(bytes(range(32)))  # as an earlier version made it
    assert here.attest().key == OmsKey(bytes(range(32))).public.hint


def test_a_file_that_was_edited_is_not_signed(here: Here) -> None:
    data = bytearray((here.folder / "sub" / "a.bin").read_bytes())
    data[0] ^= 1
    (here.folder / "sub" / "a.bin").write_bytes(data)
    with pytest.raises(ContentError, match=r"a\.bin"):
        here.attest()
    assert not here.signature.exists()


@pytest.mark.parametrize(
    "content", [b"", b"a letter", b"{}", sign_manifest(make_manifest("x", [("a", bytes(32))]), STRANGER)]
)
def test_nothing_else_is_written_over(here: Here, content: bytes) -> None:
    here.signature.write_bytes(content)
    with pytest.raises(UsageError, match="is there already"):
        here.attest()
    assert here.signature.read_bytes() == content
    assert os.listdir(here.folder).count("model.sig") == 1
    assert sorted(os.listdir(here.folder)) == ["config.json", "model.sig", "sub"]


def test_a_link_is_not_written_through(here: Here, tmp_path: Path) -> None:
    here.attest()
    moved = tmp_path / "moved.sig"
    here.signature.rename(moved)
    here.signature.symlink_to(moved)
    with pytest.raises(UsageError):
        here.attest()


def test_a_file_of_the_release_is_not_written_over(here: Here) -> None:
    with pytest.raises(UsageError, match="is a file of the release"):
        here.attest(here.folder / "config.json")
    with pytest.raises(UsageError, match="is a file of the release"):
        here.attest(here.folder / "sub" / ".." / "config.json")
    assert (here.folder / "config.json").read_bytes() == b"{}"


def test_a_signature_that_is_a_file_of_the_release_is_content(here: Here) -> None:
    here.signature.write_bytes(b"\0 what a vendor calls so")
    source = Source.publish(here.store, here.folder)
    assert here.verify().oms is None
    assert here.verify().release == format_record(source.release)
    here.source = source
    with pytest.raises(UsageError, match="is a file of the release"):
        here.attest()
    (here.folder / "config.json").write_bytes(b"[]")
    damaged = here.verify()
    assert (damaged.ok, damaged.bad, damaged.oms) == (False, ("config.json",), None)
    (here.folder / "config.json").write_bytes(b"{}")
    apart = here.folder.parent / "apart.sig"
    assert here.attest(apart).files == 3
    found = here.verify(signature=apart)
    assert found.oms is not None
    assert (found.ok, found.oms.files) == (True, 3)


def test_a_signature_beside_the_files_of_another_name(here: Here) -> None:
    here.attest(here.folder / "sub" / "oms.json")
    found = here.verify(signature=here.folder / "sub" / "oms.json")
    assert found.oms is not None
    assert found.oms.ok
    assert found.release == format_record(here.source.release)


def test_a_place_that_cannot_be_written_says_so(here: Here, tmp_path: Path) -> None:
    (tmp_path / "no-folder-here").write_bytes(b"")
    with pytest.raises(StoreError, match="cannot write"):
        here.attest(tmp_path / "no-folder-here" / "x.sig")


def test_what_was_fetched_is_signed_where_it_lies(here: Here, tmp_path: Path) -> None:
    with give_home(tmp_path / "bob") as store:
        bob = Here(store, tmp_path / "to", here.source)
        take_all(here.source, here.store, store, bob.folder)
        assert bob.attest().files == 2
        assert bob.verify().ok


def test_digests_that_were_only_claimed_are_not_signed_unseen(here: Here) -> None:
    """Chunks that are right do not prove that the table's SHA-256 is that of the file."""
    (place,) = here.store.contents.places(here.source.content)
    here.store.contents.doubt(place, [1, 2])
    assert here.attest().hashed == 5002
    assert here.attest().hashed == 0


def test_part_of_a_release_is_signed_as_that_part(here: Here, tmp_path: Path) -> None:
    with give_home(tmp_path / "bob") as store:
        bob = Here(store, tmp_path / "to", here.source)
        intake = store.open_intake(*here.source.opening(here.store), [1], bob.folder)
        try:
            for need in intake.needs():
                if not need.listed:
                    need = intake.add_list(need.stream, here.source.nodes(here.store, need.stream))
                for index in need.missing:
                    intake.put(need.stream, index, here.source.chunk(here.store, need.stream, index))
            intake.finish()
        finally:
            store.close_intake(intake)
        made = bob.attest()
        assert (made.files, made.left_out) == (1, 1)
        opened = Bundle.decode(bob.signature.read_bytes()).open(store.oms.key().public)
        assert list(opened.resources) == ["config.json"]


def test_a_signature_by_a_key_that_is_not_known_is_told_and_not_believed(here: Here) -> None:
    files = [(entry.path, entry.sha256) for entry in here.store.contents.table(here.source.content)]
    here.signature.write_bytes(sign_manifest(make_manifest("x", files), STRANGER))
    found = here.verify()
    assert (found.ok, found.oms) == (True, None)
    assert "not known here" in here.notices[0]
    with pytest.raises(UntrustedError):
        here.verify(signature=here.signature)
    key = here.folder.parent / "key.pem"
    key.write_bytes(STRANGER.public.pem)
    known = here.verify(key=key)
    assert known.oms is not None
    assert (known.ok, known.oms.ok, known.oms.signer) == (True, True, "")


def test_one_by_a_certificate_is_told_and_not_judged(here: Here) -> None:
    found = {"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "verificationMaterial": {"certificate": {}}}
    here.signature.write_text(json.dumps(found))
    assert here.verify().oms is None
    assert "certificate" in here.notices[0]
    with pytest.raises(EnvelopeError, match="certificate"):
        here.verify(signature=here.signature)


def test_a_changed_hint_does_not_hide_our_own_signature(here: Here) -> None:
    here.attest()
    text = here.signature.read_text()
    hint = here.store.oms.key().public.hint
    here.signature.write_text(text.replace(hint, STRANGER.public.hint))
    with pytest.raises(SignatureError, match="another key"):
        here.verify()


def test_a_malformed_signature_is_refused_by_its_class(here: Here) -> None:
    here.attest()
    here.signature.write_text(here.signature.read_text().replace('"tlogEntries":[]', '"tlogEntries":{}'))
    with pytest.raises(EnvelopeError):
        here.verify()


def test_without_a_release_a_named_key_is_enough(here: Here, tmp_path: Path) -> None:
    here.attest()
    key = tmp_path / "key.pem"
    key.write_bytes(here.store.oms.key().public.pem)
    with give_home(tmp_path / "bob") as store:
        bob = Here(store, here.folder, here.source)
        found = bob.verify(key=key)
        assert found.oms is not None
        assert (found.ok, found.release, found.name, found.oms.signer) == (True, "", "model", "")
        with pytest.raises(NotFoundError):
            bob.verify()
        assert "not known here" in bob.notices[0]
        assert store.oms.public() is None  # to look makes no key


def test_a_file_that_holds_no_key_is_bad_usage(here: Here, tmp_path: Path) -> None:
    here.attest()
    (tmp_path / "key.pem").write_bytes(b"no key")
    with pytest.raises(UsageError):
        here.verify(key=tmp_path / "key.pem")
    ed = ec.derive_private_key(3, ec.SECP256K1()).public_key()
    (tmp_path / "key.pem").write_bytes(ed.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(UsageError):
        here.verify(key=tmp_path / "key.pem")


def test_a_signature_alone_is_no_model(here: Here) -> None:
    here.attest()
    alone = here.folder.parent / "alone"
    alone.mkdir()
    here.signature.rename(alone / "model.sig")
    with pytest.raises(NotFoundError):
        here.verify(alone)


# Whose key it is


@pytest.fixture
def reader(here: Here, tmp_path: Path) -> Iterator[Here]:
    """Somebody else, who has the folder, and nothing of its publisher."""
    with give_home(tmp_path / "reader") as store:
        yield Here(store, here.folder, here.source)


def hear(reader: Here, publisher: Publisher, name: str = "") -> None:
    tell(reader.store, publisher)
    if name:
        reader.store.catalog.set_petname(publisher.chain.publisher, name)


def bind(publisher: Publisher, key: OmsKey | OmsPublicKey, **changes: Any) -> None:
    """Have a publisher say that a key is theirs, whosever it is."""
    public = key.public if isinstance(key, OmsKey) else key
    said: dict[str, Any] = {"issued": WHEN} | changes
    made = make_key_binding(publisher.chain, place=publisher.place, key=public.spki, keys=publisher.keys, **said)
    publisher.place = publisher.place.next(made.id)
    publisher.said.append(made.envelope)


def own_key(here: Here) -> OmsKey:
    return here.store.oms.key()


def test_the_first_signature_binds_the_key_and_the_next_ones_do_not(here: Here) -> None:
    first = here.attest()
    assert (first.recorded, bool(first.record), first.unbound) == (True, True, "")
    again = here.attest()
    assert (again.recorded, again.record) == (False, first.record)
    publisher = own_publisher(here.store).publisher
    with here.store.ledgers.asking(publisher) as ledger:
        assert ledger is not None
        bound = ledger.key_binding()
    assert bound is not None
    assert bound.said.key == own_key(here).public.spki


def test_a_reader_who_has_the_record_is_told_whose_signature_it_is(here: Here, reader: Here) -> None:
    made = here.attest()
    publisher = publisher_of(here.store)
    with pytest.raises(NotFoundError):
        reader.verify()
    hear(reader, publisher)
    found = reader.verify()
    assert found.oms is not None
    who = format_record(publisher.chain.publisher)
    assert (found.ok, found.release, found.oms.key) == (True, "", made.key)
    assert (found.oms.signer, found.oms.publisher, found.oms.trusted) == (who, who, False)
    hear(reader, publisher, "anna")
    found = reader.verify()
    assert found.oms is not None
    assert (found.oms.signer, found.oms.publisher, found.oms.trusted, found.oms.notes) == ("anna", who, True, ())
    (here.folder / "config.json").write_bytes(b"[]")
    changed = reader.verify()
    assert changed.oms is not None
    assert (changed.ok, changed.oms.bad, changed.oms.signer) == (False, ("config.json",), "anna")


def test_who_binds_anothers_key_gets_nothing(here: Here, reader: Here) -> None:
    here.attest()
    mallory = Publisher.of("mallory")
    bind(mallory, own_key(here))
    hear(reader, mallory, "mallory")
    with pytest.raises(NotFoundError):
        reader.verify()
    assert "no record of theirs binds the key" in reader.notices[-1]
    with pytest.raises(UntrustedError):
        reader.verify(signature=here.signature)
    hear(reader, publisher_of(here.store), "anna")
    found = reader.verify()
    assert found.oms is not None
    assert found.oms.signer == "anna"


def test_a_key_cannot_sign_in_the_name_of_who_does_not_bind_it(here: Here, reader: Here) -> None:
    """Mallory's key, bound by Mallory, under a statement that names Anna as who signs."""
    here.attest()
    anna, mallory = publisher_of(here.store), Publisher.of("mallory")
    bind(mallory, STRANGER)
    files = [(entry.path, entry.sha256) for entry in here.store.contents.table(here.source.content)]
    for signer in (None, anna.chain.publisher):
        made = Made(anna.chain.publisher, here.source.release, signer)
        here.signature.write_bytes(sign_manifest(make_manifest("x", files, signature="model.sig", made=made), STRANGER))
        hear(reader, anna, "anna")
        hear(reader, mallory, "mallory")
        with pytest.raises(UntrustedError, match="says that anna signed it"):
            reader.verify(signature=here.signature)
    made = Made(anna.chain.publisher, here.source.release, mallory.chain.publisher)
    here.signature.write_bytes(sign_manifest(make_manifest("x", files, signature="model.sig", made=made), STRANGER))
    found = reader.verify()
    assert found.oms is not None
    assert found.oms.signer == "mallory", "it is Mallory's own signature of Anna's release, and told as that"


def test_a_statement_that_names_nobody_is_nobodys(here: Here, reader: Here) -> None:
    mallory = Publisher.of("mallory")
    bind(mallory, STRANGER)
    hear(reader, mallory, "mallory")
    files = [(entry.path, entry.sha256) for entry in here.store.contents.table(here.source.content)]
    here.signature.write_bytes(sign_manifest(make_manifest("x", files), STRANGER))
    with pytest.raises(UntrustedError, match="does not say who signed it"):
        reader.verify(signature=here.signature)


def test_a_release_of_others_is_signed_in_ones_own_name(here: Here, reader: Here, tmp_path: Path) -> None:
    with give_home(tmp_path / "bob") as store:
        bob = Here(store, tmp_path / "to", here.source)
        take_all(here.source, here.store, store, bob.folder)
        bob.attest()
        hear(reader, publisher_of(store), "bob")
        found = reader.verify(bob.folder)
    assert found.oms is not None
    assert found.oms.signer == "bob"


def test_a_key_that_was_replaced_is_told_as_such(here: Here, reader: Here) -> None:
    here.attest()
    publisher = publisher_of(here.store)
    bind(publisher, STRANGER)
    hear(reader, publisher, "anna")
    with pytest.raises(UntrustedError, match=r"a key that anna bound on .*, and does not use any more"):
        reader.verify(signature=here.signature)


def test_a_key_that_was_given_up_is_told_as_such_and_bound_again_when_it_signs(here: Here, reader: Here) -> None:
    first = here.attest()
    publisher = publisher_of(here.store)
    bind(publisher, own_key(here), revoked=True)
    hear(reader, publisher, "anna")
    with pytest.raises(UntrustedError, match="does not use any more"):
        reader.verify(signature=here.signature)
    tell(here.store, publisher, own=True)
    again = here.attest()
    assert (again.recorded, again.record != first.record) == (True, True)
    hear(reader, publisher_of(here.store), "anna")
    assert reader.verify(signature=here.signature).ok


def test_what_a_frozen_publisher_or_an_old_record_says_is_told(here: Here, reader: Here) -> None:
    here.attest()
    publisher = publisher_of(here.store)
    bind(publisher, own_key(here), expires="2026-06-01T00:00:00Z")
    hear(reader, publisher, "anna")
    old = reader.verify().oms
    assert old is not None
    assert (old.trusted, old.notes) == (True, ("anna stood for this key until 2026-06-01",))
    fork = publisher.copy()
    bind(publisher, own_key(here), expires="2027-06-01T00:00:00Z")
    bind(fork, own_key(here), expires="2028-06-01T00:00:00Z")
    hear(reader, publisher, "anna")
    hear(reader, fork, "anna")
    frozen = reader.verify().oms
    assert frozen is not None
    assert (frozen.signer, frozen.trusted) == ("anna", False)
    assert any("is frozen" in note for note in frozen.notes)


def test_a_changed_hint_does_not_hide_a_publishers_signature(here: Here, reader: Here) -> None:
    here.attest()
    hear(reader, publisher_of(here.store), "anna")
    text = here.signature.read_text()
    here.signature.write_text(text.replace(own_key(here).public.hint, STRANGER.public.hint))
    with pytest.raises(SignatureError, match="another key"):
        reader.verify()


def test_who_is_frozen_signs_with_a_key_that_has_to_be_handed_over(here: Here) -> None:
    publisher = publisher_of(here.store)
    fork = publisher.copy()
    bind(publisher, STRANGER)
    bind(fork, STRANGER, expires="2028-06-01T00:00:00Z")
    tell(here.store, publisher, own=True)
    tell(here.store, fork, own=True)
    made = here.attest()
    assert (made.record, made.recorded) == ("", False)
    assert "frozen" in made.unbound
    assert here.signature.exists()


def test_strangers_do_not_push_out_whom_one_knows(here: Here, reader: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samara.node.operations.oms.MAX_OMS_TRIED", 3)
    here.attest()
    hear(reader, publisher_of(here.store), "anna")
    for number in range(5):
        stranger = Publisher.of(f"stranger {number}")
        bind(stranger, OmsKey(bytes([number]) * 32))
        hear(reader, stranger)
    assert len(list(reader.store.ledgers.bound_keys(3))) == 3
    found = reader.verify()
    assert found.oms is not None
    assert found.oms.signer == "anna"
