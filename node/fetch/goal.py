"""What a fetch is to bring, and what it brought."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from samara.node.fetch.finder import parse_peer
from samara.node.network.transport import PeerAddress
from samara.node.operations.refs import find_release, publisher_of
from samara.node.store.store import Store
from samara.protocol.errors import NotFoundError, UsageError
from samara.protocol.formats.quantizations import of_quantization, quantizations_in
from samara.protocol.ids import PublisherId, ReleaseId, parse_record
from samara.protocol.links import LinkRef, NameRef, ReleaseRef, parse_ref
from samara.protocol.table import FileTable

__all__ = ["FetchOutcome", "FetchRequest", "Goal", "goal_of", "is_model", "names_tensor"]

_MODELS: Final = (".safetensors", ".gguf")


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """What to fetch.

    Attributes:
        ref: A REF.
        to: Absolute path of the folder to put it into; empty takes the home's own.
        include: Patterns of paths that are wanted; empty for all.
        peers: Multiaddrs with `/p2p/…` of peers to ask first.
        patience: Seconds with nobody who has it until it is given up; 0 never gives up.
        quantization: Label of the one quantization that is wanted, with what belongs to it; empty for all.
        encode: `never` takes chunks as they are alone; empty does as the node's settings say.
        reuse: Absolute paths of folders and files in which chunks of it may lie.
        tensors: Names of tensors, or patterns of such: of its model files only these and the headers are wanted.
        headers: Only the headers of its model files are wanted.
        replaces: Id of the release whose pin it gets when it is here; empty for none.
        insist: Names of releases that are wanted although they were taken back, or are not believed.
    """

    ref: str
    to: str = ""
    include: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    patience: float = 30.0
    quantization: str = ""
    encode: str = ""
    reuse: tuple[str, ...] = ()
    tensors: tuple[str, ...] = ()
    headers: bool = False
    replaces: str = ""
    insist: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Goal:
    """What is to be fetched.

    Attributes:
        release: Its id; None when it is asked for by name.
        publisher: Whose it must be; None when any will do.
        name: Its name, when it is asked for by name.
        version: The version it must have; None for the newest.
        peers: Who was named by the user or the link.
        include: Patterns of paths that are wanted; empty for all.
        quantization: Its label, when of several only one is wanted; empty for all.
        to: Folder to put it into; None for the home.
        discreet: Nobody but `peers` is to be asked: the link says that the release is not public.
        encode: `never` takes chunks as they are alone; empty does as the node's settings say.
        reuse: Folders and files in which chunks of it may lie.
        tensors: Names or patterns of the tensors that are wanted, with the headers; None for whole files.
        replaces: The release whose pin it gets when it is here.
        insist: Names of releases that are wanted although they were taken back, or are not believed.
    """

    release: ReleaseId | None
    publisher: PublisherId | None
    name: str | None
    version: str | None
    peers: tuple[PeerAddress, ...]
    include: tuple[str, ...]
    to: Path | None
    discreet: bool = False
    quantization: str = ""
    encode: str = ""
    reuse: tuple[Path, ...] = ()
    tensors: tuple[str, ...] | None = None
    replaces: ReleaseId | None = None
    insist: tuple[str, ...] = ()

    def wants_tensor(self, name: str) -> bool:
        """Say whether a tensor is wanted."""
        return any(names_tensor(pattern, name) for pattern in self.tensors or ())

    def wanted(self, table: FileTable) -> list[int]:
        """Return the streams that are wanted.

        Raises:
            UsageError: No path matches, none bears the quantization, or tensors are wanted and no file is named as a
                model is.
        """
        found = list(range(1, len(table) + 1))
        if self.quantization:
            paths = [entry.path for entry in table]
            found = [n + 1 for n in of_quantization(paths, self.quantization)]
            if not found:
                there = ", ".join(quantizations_in(paths))
                raise UsageError(
                    f"no file of this release is named after the quantization {self.quantization}",
                    hint=f"It has {there}." if there else "See the names with samara fetch REF --dry-run.",
                )
        if self.include:
            found = [n for n in found if any(_matches(table[n - 1].path, p) for p in self.include)]
        if not found:
            raise UsageError(
                f"no file matches {' '.join(self.include)}", hint="See the names with samara fetch REF --dry-run."
            )
        if self.tensors is not None:
            found = [n for n in found if is_model(table[n - 1].path)]
            if not found:
                raise UsageError(
                    "no file of this release has tensors that can be taken one by one",
                    hint=f"Only files named {' and '.join('*' + end for end in _MODELS)} have. Fetch it whole.",
                )
        return found


def names_tensor(pattern: str, name: str) -> bool:
    """Say whether a name or pattern of tensors is that of one."""
    return name == pattern or fnmatch.fnmatchcase(name, pattern)


def is_model(path: str) -> bool:
    """Say whether a file is named as a model is whose tensors can be taken one by one."""
    return path.lower().endswith(_MODELS)


def _matches(path: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(path.rpartition("/")[2], pattern)


@dataclass(slots=True)
class FetchOutcome:
    """What a fetch did.

    Attributes:
        release: The release's id.
        path: Where it lies.
        received: Bytes of chunks that came from peers and were kept.
        moved: Bytes of the payloads in which they came.
        reused: Bytes that were copied from what was here.
        shared: Those of them that take no room of their own.
        seconds: How long it took.
        peers: Bytes by peer.
    """

    release: ReleaseId
    path: str
    received: int
    moved: int
    reused: int
    shared: int
    seconds: float
    peers: dict[str, int] = field(default_factory=dict)

    def after(self, before: FetchOutcome) -> FetchOutcome:
        """Return what this one did, and one before it."""
        peers = {peer: self.peers.get(peer, 0) + before.peers.get(peer, 0) for peer in {**before.peers, **self.peers}}
        return FetchOutcome(
            self.release,
            self.path,
            self.received + before.received,
            self.moved + before.moved,
            self.reused + before.reused,
            self.shared + before.shared,
            self.seconds + before.seconds,
            peers,
        )


def goal_of(store: Store, request: FetchRequest) -> Goal:
    """Return what is asked for.

    Raises:
        LinkError: The REF or an address is malformed.
        UsageError: What is asked for does not go together.
        NotFoundError: Nobody has this petname here, or what is to be used again is not there.
    """
    ref = request.ref
    named = tuple(parse_peer(peer) for peer in request.peers)
    folder = Path(request.to) if request.to else None
    tensors = request.tensors if request.tensors or request.headers else None
    if tensors is not None and request.reuse:
        raise UsageError("--tensor and --reuse do not go together", hint="Leave out one of them.")

    anything = Goal(
        None, None, None, None, named, request.include, folder,
        quantization=request.quantization, encode=request.encode, reuse=_there(request.reuse), tensors=tensors,
        replaces=ReleaseId(parse_record(request.replaces)) if request.replaces else None, insist=request.insist,
    )  # fmt: skip
    try:
        # A name says "the newest", which only peers know; an id, or the beginning of one, may be known here.
        known = None if "/" in ref else find_release(store, ref)
    except NotFoundError:
        known = None
    if known is not None and not ref.startswith("samara:"):
        return replace(anything, release=known.id)
    parsed = parse_ref(ref)
    if isinstance(parsed, NameRef):
        publisher = publisher_of(store, parsed)
        return replace(anything, publisher=publisher, name=parsed.name, version=parsed.version)
    if isinstance(parsed, ReleaseRef):
        return replace(anything, release=parsed.release)
    if not isinstance(parsed, LinkRef):
        raise UsageError(f"{ref!r} names no release")
    link = parsed.link
    in_link = tuple(parse_peer(address.text) for address in link.peers if address.dialable)
    return replace(
        anything,
        release=link.release,
        publisher=link.publisher,
        name=link.name,
        peers=named + in_link,
        discreet=not link.public,
    )


def _there(paths: Sequence[str]) -> tuple[Path, ...]:
    for path in paths:
        if not os.path.exists(path):
            raise NotFoundError(f"there is no file or folder {path}", hint="Check what --reuse names.")
    return tuple(map(Path, paths))
