"""attest --oms and key show --oms: signatures that tools other than Samara verify, and what verify says of them.

Source: specs/oms.md.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from samara.node.operations.base import Notice, Operation, Progress, Query, Report
from samara.node.operations.refs import best_place, find_release, own_publisher
from samara.node.store.catalog import HeldRelease
from samara.node.store.contents import Place
from samara.node.store.files import os_errors, sync_folder
from samara.node.store.scan import scan_file
from samara.node.store.stamps import Likeness, Stamp, stamp
from samara.node.store.store import Store
from samara.node.threads import is_cancelled
from samara.protocol.errors import ContentError, ReadOnlyError, RecordError, StoreError, UntrustedError, UsageError
from samara.protocol.ids import format_record
from samara.protocol.limits import MAX_OMS_KEY, MAX_OMS_SIGNATURE
from samara.protocol.oms import (
    ALWAYS_IGNORED,
    Bundle,
    Made,
    OmsKey,
    OmsPublicKey,
    compare,
    make_manifest,
    sign_manifest,
)
from samara.protocol.table import FileEntry

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = [
    "ATTEST_OMS",
    "OMS_KEY",
    "SIGNATURE_FILE",
    "AttestOmsRequest",
    "OmsAttested",
    "OmsFound",
    "OmsKeyRequest",
    "OmsKeyShown",
    "attest",
    "judge",
    "take_out",
]

SIGNATURE_FILE: Final = "model.sig"
_KEY: Final = "oms"

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


@dataclass(frozen=True, slots=True)
class OmsKeyRequest:
    """The public half of this home's OMS key."""


@dataclass(frozen=True, slots=True)
class OmsKeyShown:
    """The public half of this home's OMS key.

    Attributes:
        publisher: Publisher id of this home.
        key: Hint of the key: SHA-256 of its PEM, in hexadecimal.
        pem: The key.
    """

    publisher: str
    key: str
    pem: str


@dataclass(frozen=True, slots=True)
class OmsFound:
    """What an OMS signature says of a folder (specs/cli.md).

    Attributes:
        signature: The signature file.
        ok: The files are those that were signed, and no others.
        key: Hint of the key that signed.
        signer: Whose key it is: "me", or empty for one that was named with the command.
        files: How many files are signed.
        ignored: How many were passed over, as the signature says.
        bad: Files with other bytes, or missing.
        unsigned: Files that are not signed.
    """

    signature: str
    ok: bool
    key: str
    signer: str
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
    return made


def attest(store: Store, request: AttestOmsRequest, watch: Watch, cancelled: Callable[[], bool]) -> OmsAttested:
    """Write the OMS signature of a release's files, as they lie here.

    Raises:
        NotFoundError: It is not known here, or none of its files are.
        ContentError: A file is not what was published.
        UsageError: Something else is where the signature file is to be.
        ReadOnlyError: It cannot be written there, or this home has no key yet and cannot be written.

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
    key = OmsKey(store.home.key(_KEY))
    _check_target(target, key.public)
    files, hashed = _digests(store, place, held, watch, cancelled)
    links = any(_is_link(place.root, path) for path, _ in files)
    made = Made(held.publisher, held.id)
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
    )


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
    key, signer = (named, "") if named is not None else _signer(store, bundle, signature)
    manifest = bundle.open(key)
    compared = compare(manifest, {file.path: file.sha256 for file in files})
    return OmsFound(
        signature=str(signature),
        ok=compared.ok,
        key=key.hint,
        signer=signer,
        files=len(manifest.resources),
        ignored=compared.ignored,
        bad=compared.wrong + compared.missing,
        unsigned=compared.unsigned,
    )


def _signer(store: Store, bundle: Bundle, signature: Path) -> tuple[OmsPublicKey, str]:
    """Return the known key that a signature names, or that made it in spite of what it names; and whose it is."""
    known = list(_known_keys(store))
    named = [pair for pair in known if pair[0].hint == bundle.hint]
    found = next(iter(named), None) or next((pair for pair in known if bundle.made_by(pair[0])), None)
    if found is None:
        raise UntrustedError(
            f"{signature} is by a key that is not known here", hint="Name the key with --oms-key FILE."
        )
    return found


def _known_keys(store: Store) -> Iterator[tuple[OmsPublicKey, str]]:
    """Yield the OMS keys that are known here, and whose they are.

    This is where the keys belong that key-binding records of publishers name (specs/oms.md §1, 6): each
    `OmsPublicKey.from_spki` of the record, with the publisher; and whoever opens the statement under such a key
    requires that its `made` names that publisher.
    """
    if store.home.has_key(_KEY):
        with contextlib.suppress(ReadOnlyError):  # another user's home: the key is not ours to read
            yield OmsKey(store.home.key(_KEY)).public, "me"


def _read(path: Path, limit: int) -> bytes:
    """Return the bytes of a file, or one more than `limit` of them: whoever parses them refuses that."""
    with os_errors(f"cannot read {path}"), open(path, "rb") as file:
        return file.read(limit + 1)


# The key.


def _show_key(store: Store, request: OmsKeyRequest) -> OmsKeyShown:
    public = OmsKey(store.home.key(_KEY)).public
    return OmsKeyShown(format_record(own_publisher(store).publisher), public.hint, public.pem.decode("ascii"))


ATTEST_OMS = Operation("attest oms", AttestOmsRequest, OmsAttested, _attest)
OMS_KEY = Query("key oms", OmsKeyRequest, OmsKeyShown, _show_key)
