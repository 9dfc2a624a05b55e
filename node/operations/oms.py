"""attest --oms, key show and rotate --oms: signatures that tools other than Samara verify, and how verify judges them.

Whose an OMS key is, its publisher's log says: `attest` sees that the newest binding there is that of this home's key,
and `judge` believes a signature to be a publisher's when that publisher binds the key and what was signed names the
publisher.

Source: specs/oms.md.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from samara.node.operations.base import Notice, Operation, Progress, Query, Report
from samara.node.operations.refs import best_place, enough_keys, find_release, now_text, own_publisher
from samara.node.operations.signing import sign_record
from samara.node.store.catalog import HeldRelease
from samara.node.store.contents import Place
from samara.node.store.files import os_errors, sync_folder
from samara.node.store.scan import scan_file
from samara.node.store.stamps import Likeness, Stamp, stamp
from samara.node.store.store import Store
from samara.node.threads import is_cancelled
from samara.protocol.dsse import Signer
from samara.protocol.errors import (
    AgentError,
    ContentError,
    ForkError,
    LockedKeyError,
    OperationError,
    RecordError,
    StoreError,
    UntrustedError,
    UsageError,
)
from samara.protocol.ids import PublisherId, format_record
from samara.protocol.limits import MAX_OMS_KEY, MAX_OMS_SIGNATURE, MAX_OMS_TRIED
from samara.protocol.oms import (
    ALWAYS_IGNORED,
    Bundle,
    Made,
    Manifest,
    OmsKey,
    OmsPublicKey,
    compare,
    make_manifest,
    sign_manifest,
)
from samara.protocol.records import (
    OMS,
    KeyBinding,
    PublisherChain,
    Verified,
    make_key_binding,
    parse_time,
)
from samara.protocol.records import (
    Place as PlaceInLog,
)
from samara.protocol.table import FileEntry
from samara.protocol.trust import Ledger

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = [
    "ATTEST_OMS",
    "OMS_KEY",
    "OMS_ROTATE",
    "SIGNATURE_FILE",
    "AttestOmsRequest",
    "OmsAttested",
    "OmsFound",
    "OmsKeyRequest",
    "OmsKeyShown",
    "OmsRotateRequest",
    "attest",
    "judge",
    "take_out",
]

SIGNATURE_FILE: Final = "model.sig"
_NAME_IT: Final = "Whoever has the right key from the signer can name it: --oms-key FILE."

Watch = Callable[[int, str], None]


@dataclass(frozen=True, slots=True)
class AttestOmsRequest:
    """Sign the files of a release for OMS.

    Attributes:
        ref: Which release.
        to: Absolute path of the signature file; empty puts `model.sig` beside the files.
    """

    ref: str
    to: str = ""


@dataclass(frozen=True, slots=True)
class OmsAttested:
    """What was signed (specs/cli.md).

    Attributes:
        release: Release id.
        path: The signature file.
        folder: Where the files lie that it is about.
        files: How many files it covers.
        left_out: Files of the release that it does not cover: git's own, or not here.
        hashed: Bytes that had to be hashed now.
        key: Hint of the key: SHA-256 of its PEM, in hexadecimal.
        links: Some of the files are links.
        others: Other files lie in the folder.
        record: Id of the record by which this home's publisher says that the key is theirs; empty when there is none.
        recorded: It was signed now.
        unbound: Why there is none.
    """

    release: str
    path: str
    folder: str
    files: int
    left_out: int
    hashed: int
    key: str
    links: bool
    others: bool
    record: str
    recorded: bool
    unbound: str


@dataclass(frozen=True, slots=True)
class OmsKeyRequest:
    """The public half of this home's OMS key.

    Attributes:
        passphrase: Opens the publisher's key, of which it is made; empty when it need not be opened.
    """

    passphrase: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class OmsRotateRequest:
    """A new OMS key in the place of this home's.

    Attributes:
        passphrase: Opens the publisher's key, and seals the new one; empty when the publisher's lies open.
    """

    passphrase: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class OmsKeyShown:
    """The public half of this home's OMS key.

    Attributes:
        publisher: Publisher id of this home.
        key: Hint of the key: SHA-256 of its PEM, in hexadecimal.
        pem: The key.
        bound: Hint of the key that the publisher's newest record binds: this one, another, or none.
        record: Id of that record.
    """

    publisher: str
    key: str
    pem: str
    bound: str
    record: str


@dataclass(frozen=True, slots=True)
class OmsFound:
    """What an OMS signature says of a folder (specs/cli.md).

    Attributes:
        signature: The signature file.
        ok: The files are those that were signed, and no others.
        key: Hint of the key that signed.
        signer: Whose key it is: "me", a petname or publisher id, or empty for one that was named with the command.
        publisher: Id of the publisher whose record binds the key; empty for "me" and for a key that was named.
        trusted: The user named the key, or has a name for the publisher, who is not frozen.
        notes: What else there is to say of the key.
        files: How many files are signed.
        ignored: How many were passed over, as the signature says.
        bad: Files with other bytes, or missing.
        unsigned: Files that are not signed.
    """

    signature: str
    ok: bool
    key: str
    signer: str
    publisher: str
    trusted: bool
    notes: tuple[str, ...]
    files: int
    ignored: int
    bad: tuple[str, ...]
    unsigned: tuple[str, ...]


# Signing.


async def _attest(node: Node, request: AttestOmsRequest, report: Report) -> OmsAttested:
    done = 0

    def watch(count: int, path: str) -> None:
        nonlocal done
        done += count
        trio.from_thread.run_sync(report, Progress("hashing", done, None, note=path))

    def work() -> OmsAttested:
        return attest(node.store, request, watch, is_cancelled)

    made = await trio.to_thread.run_sync(work)
    if made.left_out:
        report(Notice(f"Not covered by the signature, since git's own or not here: {made.left_out} of the files"))
    if made.unbound:
        report(Notice(f"Nobody is told that the key is yours: {made.unbound}"))
    if made.recorded:
        node.library_changed()
    return made


def attest(store: Store, request: AttestOmsRequest, watch: Watch, cancelled: Callable[[], bool]) -> OmsAttested:
    """Write the OMS signature of a release's files, as they lie here; whose key it is, goes into the publisher's log.

    Raises:
        NotFoundError: It is not known here, or none of its files are.
        ContentError: A file is not what was published.
        UsageError: Something else is where the signature file is to be.
        ReadOnlyError: It cannot be written there.
        LockedKeyError: A passphrase is needed to sign.

    Source: specs/oms.md §4.
    """
    held = find_release(store, request.ref)
    if held.condemned:
        raise ContentError(f"{held.name} is not what its publisher signed: {held.condemned}")
    place = best_place(store, held)
    target = Path(request.to) if request.to else place.root / SIGNATURE_FILE
    inside = _inside(place.root, target)
    table = store.contents.table(held.content)
    if inside is not None and table.find(inside) is not None:
        raise UsageError(f"{inside} is a file of the release", hint="Name another file for the signature with --to.")
    key = store.oms.key()
    _check_target(target, key.public)
    bound = _bind(store, key.public)
    files, hashed = _digests(store, place, held, watch, cancelled)
    links = any(_is_link(place.root, path) for path, _ in files)
    own = own_publisher(store).publisher
    made = Made(held.publisher, held.id, own if own != held.publisher else None)
    manifest = make_manifest(held.name, files, signature=inside, symlinks=links, made=made)
    _write(target, sign_manifest(manifest, key))
    return OmsAttested(
        release=format_record(held.id),
        path=str(target),
        folder=str(place.root),
        files=len(manifest.resources),
        left_out=held.files - len(manifest.resources),
        hashed=hashed,
        key=key.public.hint,
        links=links,
        others=_has_others(place.root, {path for path, _ in files}, inside),
        record=bound.record,
        recorded=bound.now,
        unbound=bound.why_not,
    )


@dataclass(frozen=True, slots=True)
class _Bound:
    """The record that binds a key, whether it was signed now, or why there is none."""

    record: str = ""
    now: bool = False
    why_not: str = ""


def _bind(store: Store, public: OmsPublicKey, passphrase: str = "") -> _Bound:
    """See that the newest key binding of this home's publisher is that of this key: one key counts, the last.

    Where that cannot be signed here at all, the key still signs: whoever is handed it can verify.
    """
    found = _newest_binding(store, own_publisher(store).publisher)
    if found is not None and found.said.key == public.spki:
        return _Bound(format_record(found.id))

    def make(chain: PublisherChain, ledger: Ledger, place: PlaceInLog, keys: Sequence[Signer]) -> Verified[KeyBinding]:
        return make_key_binding(chain, place=place, key=public.spki, issued=now_text(), keys=keys)

    try:
        return _Bound(format_record(sign_record(store, make, passphrase).id), now=True)
    except (LockedKeyError, AgentError):
        raise  # it can be, once the passphrase is here, or the device
    except (OperationError, ForkError, UntrustedError) as error:
        return _Bound(why_not=error.message)


def _newest_binding(store: Store, publisher: PublisherId) -> Verified[KeyBinding] | None:
    with store.ledgers.asking(publisher) as ledger:
        return ledger.key_binding(OMS) if ledger is not None else None


def _digests(
    store: Store, place: Place, held: HeldRelease, watch: Watch, cancelled: Callable[[], bool]
) -> tuple[list[tuple[str, bytes]], int]:
    """Return path and SHA-256 of each whole file of a place, and how many bytes had to be hashed for that."""
    table = store.contents.table(held.content)
    found: list[tuple[str, bytes]] = []
    right: dict[int, Stamp] = {}
    hashed = 0
    for stream, file in store.contents.files(place).items():
        if file.state != "complete":
            continue
        entry = table[stream - 1]
        path = place.root.joinpath(*entry.path.split("/"))
        known = file.stamp if file.checked else None
        now = _confirm(path, entry, known, watch, cancelled)
        if now is not None:
            right[stream] = now
            hashed += entry.size
        found.append((entry.path, entry.sha256))
    if store.writable:
        store.contents.set_complete(place, right, checked=True)
    return found, hashed


def _confirm(
    path: Path, entry: FileEntry, known: Stamp | None, watch: Watch, cancelled: Callable[[], bool]
) -> Stamp | None:
    """Make sure that a file is what its table says; return its stamp if that took hashing it.

    Args:
        path: Where it lies.
        entry: What the table says.
        known: What it looked like when its whole digests were found right, if they ever were.
        watch: Is told bytes hashed.
        cancelled: Is asked now and then.
    """
    with os_errors(f"cannot read {path}"), open(path, "rb", buffering=0) as opened:
        fd = opened.fileno()
        status = os.fstat(fd)
        if known is not None and known.compare(status) is Likeness.SAME:
            return None
        now, scanned = stamp(fd), None
        if status.st_size == entry.size:
            scanned = scan_file(fd, entry.size, on_progress=lambda count: watch(count, entry.path), cancelled=cancelled)
    if scanned is None or (scanned.blake3, scanned.sha256) != (entry.blake3, entry.sha256):
        raise ContentError(f"{path} is not what was published", hint="See samara verify REF; publish what it is now.")
    return now


def _inside(root: Path, target: Path) -> str | None:
    """Return the path of a file relative to a folder that it lies in, as signatures write it."""
    try:
        return target.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        return None


def _check_target(target: Path, key: OmsPublicKey) -> None:
    """Refuse to write over anything but an OMS signature by the same key."""
    if not os.path.lexists(target):
        return
    with contextlib.suppress(RecordError, StoreError):
        if not target.is_symlink() and Bundle.decode(_read(target, MAX_OMS_SIGNATURE)).made_by(key):
            return
    raise UsageError(f"{target} is there already, and not a signature of yours", hint="Name another file with --to.")


def _write(target: Path, data: bytes) -> None:
    """Write a file that is whole or as it was before, whenever this process dies."""
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    with os_errors(f"cannot write {target}"):
        try:
            with open(draft, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, target)
        finally:
            draft.unlink(missing_ok=True)
        sync_folder(target.parent)


def _is_link(root: Path, path: str) -> bool:
    """Whether a file below a folder, or a folder above it there, is a link."""
    here = root
    for part in path.split("/"):
        here = here / part
        if here.is_symlink():
            return True
    return False


def _has_others(root: Path, known: set[str], signature: str | None) -> bool:
    """Whether something else lies at the top of a folder: what `model_signing` refuses unless it is told not to."""
    ours = known if signature is None else known | {signature}
    expected = {path.partition("/")[0] for path in (*ours, *ALWAYS_IGNORED)}
    try:
        return any(name not in expected for name in os.listdir(root))
    except OSError:
        return False


# Checking.


def take_out(files: Iterable[FileEntry], root: Path, signature: Path) -> list[FileEntry]:
    """Return the files of a folder without its signature file."""
    inside = _inside(root, signature)
    return [file for file in files if file.path != inside]


def judge(store: Store, signature: Path, files: Iterable[FileEntry], key_file: str) -> OmsFound:
    """Say what an OMS signature says of files.

    Args:
        store: Whose keys are known.
        signature: The signature file.
        files: What lies in the folder, without it.
        key_file: Absolute path of the public key that must have signed; empty takes the keys that are known here.

    Raises:
        UntrustedError: No key is named, and none that is known here made it.
        UsageError: The key file holds no key.
        StoreError: A file cannot be read.
        RecordError: The signature is malformed or wrong.

    Source: specs/oms.md §5.
    """
    named = OmsPublicKey.from_pem(_read(Path(key_file), MAX_OMS_KEY)) if key_file else None
    bundle = Bundle.decode(_read(signature, MAX_OMS_SIGNATURE))
    key = named or _key_of(store, bundle, signature)
    manifest = bundle.open(key)
    signer = _Signer() if named is not None else _signer_of(store, key, manifest, signature)
    compared = compare(manifest, {file.path: file.sha256 for file in files})
    return OmsFound(
        signature=str(signature),
        ok=compared.ok,
        key=key.hint,
        signer=signer.name,
        publisher=signer.publisher,
        trusted=signer.trusted,
        notes=signer.notes,
        files=len(manifest.resources),
        ignored=compared.ignored,
        bad=compared.wrong + compared.missing,
        unsigned=compared.unsigned,
    )


@dataclass(frozen=True, slots=True)
class _Signer:
    """Whose key signed; with nothing said, the one that the user named."""

    name: str = ""
    publisher: str = ""
    trusted: bool = True
    notes: tuple[str, ...] = ()


def _key_of(store: Store, bundle: Bundle, signature: Path) -> OmsPublicKey:
    """Return the known key that a signature names, or that made it in spite of what it names."""
    known = {key.hint: key for key in _known_keys(store)}
    found = known.get(bundle.hint or "") or next((key for key in known.values() if bundle.made_by(key)), None)
    if found is None:
        raise UntrustedError(
            f"{signature} is by a key that is not known here",
            hint="Get the records of who signed it (samara records import FILE), or name the key: --oms-key FILE.",
        )
    return found


def _known_keys(store: Store) -> Iterator[OmsPublicKey]:
    """Yield this home's OMS key, and those that publishers bind or once bound: it does not say whose they are."""
    own = store.oms.public()
    if own is not None:
        yield own
    yield from map(OmsPublicKey.from_spki, store.ledgers.bound_keys(MAX_OMS_TRIED))


def _signer_of(store: Store, key: OmsPublicKey, manifest: Manifest, signature: Path) -> _Signer:
    """Return whose signature it is: of the publisher whom the signed statement names, if that one's log binds the key.

    Anybody can bind anybody's key, and any statement can name anybody: only both together say something.

    Raises:
        UntrustedError: They do not agree, or that publisher binds another key by now.

    Source: specs/oms.md §1, 6.
    """
    own = store.oms.public()
    if own is not None and own.hint == key.hint:
        return _Signer("me")
    if manifest.made is None:
        raise UntrustedError(f"{signature} does not say who signed it", hint=_NAME_IT)
    publisher = manifest.made.by
    name = store.trust.name(publisher)
    who = name or format_record(publisher)
    with store.ledgers.asking(publisher) as ledger:
        newest = ledger.key_binding(OMS) if ledger is not None else None
        if ledger is None or newest is None or newest.said.key != key.spki:
            raise UntrustedError(_not_theirs(ledger, key, who, signature), hint=_NAME_IT)
        notes: tuple[str, ...] = ()
        if ledger.fork is not None:
            notes += (f"{who} is frozen: {ledger.fork.what} are signed",)
        if newest.said.expires is not None and store.times.moment().now > parse_time(newest.said.expires):
            notes += (f"{who} stood for this key until {newest.said.expires[:10]}",)
        return _Signer(who, format_record(publisher), name is not None and ledger.fork is None, notes)


def _not_theirs(ledger: Ledger | None, key: OmsPublicKey, who: str, signature: Path) -> str:
    """Say in what way a key is not that of who is said to have signed."""
    counting = [entry.said for entry in ledger.log() if ledger.counts(entry.id)] if ledger is not None else []
    for said in counting:
        if isinstance(said, KeyBinding) and (said.purpose, said.key) == (OMS, key.spki):
            return f"{signature} is by a key that {who} bound on {said.origin.issued[:10]}, and does not use any more"
    return f"{signature} says that {who} signed it, but no record of theirs binds the key that did"


def _read(path: Path, limit: int) -> bytes:
    """Return the bytes of a file, or one more than `limit` of them: whoever parses them refuses that."""
    with os_errors(f"cannot read {path}"), open(path, "rb") as file:
        return file.read(limit + 1)


# The key.


def _show_key(store: Store, request: OmsKeyRequest) -> OmsKeyShown:
    publisher = own_publisher(store).publisher
    public = store.oms.public() or OmsKey(store.oms.seed(request.passphrase)).public
    return _shown(store, publisher, public)


def _shown(store: Store, publisher: PublisherId, public: OmsPublicKey) -> OmsKeyShown:
    bound = _newest_binding(store, publisher)
    return OmsKeyShown(
        publisher=format_record(publisher),
        key=public.hint,
        pem=public.pem.decode("ascii"),
        bound=OmsPublicKey.from_spki(bound.said.key).hint if bound is not None else "",
        record=format_record(bound.id) if bound is not None else "",
    )


def _rotate(store: Store, request: OmsRotateRequest) -> OmsKeyShown:
    """Put a new OMS key in the place of this home's, and bind it: the one before is believed no more.

    Raises:
        LockedKeyError: The publisher's key is sealed, and the passphrase is empty.
        OperationError: The new one cannot be bound.
    """
    own = own_publisher(store)
    enough_keys(own, store.keys.open(own.chain.current.keys, request.passphrase))  # before anything is changed
    seed = secrets.token_bytes(32)
    store.oms.put(seed, request.passphrase if store.keys.is_sealed([own.key]) else "")
    public = OmsKey(seed).public
    bound = _bind(store, public, request.passphrase)
    if bound.why_not:
        raise OperationError(f"the OMS key is another one now, and not bound: {bound.why_not}")
    return _shown(store, own.publisher, public)


async def _rotate_oms(node: Node, request: OmsRotateRequest, report: Report) -> OmsKeyShown:
    shown = await trio.to_thread.run_sync(_rotate, node.store, request)
    node.library_changed()
    return shown


OMS_ROTATE = Operation("key rotate oms", OmsRotateRequest, OmsKeyShown, _rotate_oms)
ATTEST_OMS = Operation("attest oms", AttestOmsRequest, OmsAttested, _attest, signs=True)
OMS_KEY = Query("key oms", OmsKeyRequest, OmsKeyShown, _show_key)
