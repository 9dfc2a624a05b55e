"""attest --oms and verify, in this process: what is signed, not hashed again, refused, and never written over.

That other tools take what is signed, is in tests/interop/test_judges.py.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support.contents import Source, give_home, take_all

from samara.node.operations.library import Verified, VerifyRequest, verify_path
from samara.node.operations.oms import AttestOmsRequest, OmsAttested, attest
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
from samara.protocol.oms import Bundle, OmsKey, make_manifest, sign_manifest

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
    made = Bundle.decode(first).open(OmsKey(here.store.home.key("oms")).public).made
    assert made is not None
    assert made.release == here.source.release


def test_the_key_is_kept_for_its_owner_alone(here: Here) -> None:
    assert not here.store.home.has_key("oms")
    here.attest()
    path = here.store.home.root / "oms.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_bytes()) == 32
    assert path.read_bytes() != (here.store.home.root / "publisher.key").read_bytes()


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
        opened = Bundle.decode(bob.signature.read_bytes()).open(OmsKey(store.home.key("oms")).public)
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
    hint = OmsKey(here.store.home.key("oms")).public.hint
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
    key.write_bytes(OmsKey(here.store.home.key("oms")).public.pem)
    with give_home(tmp_path / "bob") as store:
        bob = Here(store, here.folder, here.source)
        found = bob.verify(key=key)
        assert found.oms is not None
        assert (found.ok, found.release, found.name, found.oms.signer) == (True, "", "model", "")
        with pytest.raises(NotFoundError):
            bob.verify()
        assert "not known here" in bob.notices[0]
        assert not store.home.has_key("oms")  # to look makes no key


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
