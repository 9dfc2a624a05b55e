"""This home's key: its passphrase, its words on paper, and the words by which people compare publishers.

Seeds and passphrases pass through requests and results here, and are kept nowhere (specs/keys.md §2 and §3). What would
show a seed is a query: the command reads the file by itself, and no door is asked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from samara.node.operations.base import Operation, Query, Report
from samara.node.operations.refs import OwnPublisher, own_publisher, publisher_named, signing
from samara.node.store.store import Store
from samara.node.wordlist import word_list
from samara.protocol.dsse import SigningKey
from samara.protocol.errors import PassphraseError, UsageError
from samara.protocol.ids import format_record
from samara.protocol.keyfile import check_new_passphrase
from samara.protocol.oms import OmsKey
from samara.protocol.records import PublisherChain, make_genesis
from samara.protocol.rootfile import RootFile, genesis_id
from samara.protocol.words import CHECK_BITS

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = [
    "AGENT_KEYS",
    "BACKUP",
    "LOCK",
    "PROTECT",
    "RESTORE",
    "TELL_AGENT",
    "UNLOCK",
    "UNPROTECT",
    "WORDS",
    "AgentKeyRow",
    "AgentKeys",
    "AgentKeysRequest",
    "BackedUp",
    "BackupRequest",
    "KeyState",
    "LockRequest",
    "ProtectRequest",
    "PublisherWords",
    "RestoreRequest",
    "TellAgentRequest",
    "UnlockRequest",
    "UnprotectRequest",
    "WordsRequest",
    "is_protected",
    "where_key_is",
]

Request = TypeVar("Request")


@dataclass(frozen=True, slots=True)
class UnlockRequest:
    """Keep the key open in the process that holds the home."""

    passphrase: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class LockRequest:
    """Forget what was unlocked."""


@dataclass(frozen=True, slots=True)
class ProtectRequest:
    """Seal the key.

    Attributes:
        new: The passphrase from now on.
        passphrase: The one until now; empty when the key lies open.
    """

    new: str = field(repr=False)
    passphrase: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class UnprotectRequest:
    """Let the key lie open."""

    passphrase: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """A key from its words.

    Attributes:
        words: 24 of them.
        replace: did:key of the key that is here and makes way, of an OMS key the hint; empty when there is none.
        new: Seal the key with this passphrase; empty lets it lie open.
        oms: They are an OMS key's. `new` is the publisher's passphrase then, if that is sealed.
    """

    words: str = field(repr=False)
    replace: str = ""
    new: str = field(default="", repr=False)
    oms: bool = False


@dataclass(frozen=True, slots=True)
class KeyState:
    """This home's key.

    Attributes:
        publisher: Publisher id.
        key: The present key as did:key.
        protected: It is sealed with a passphrase; of a key in an agent, what else is here is.
        speaks: It is in the publisher's current root.
        where: "file", or "agent" for a key whose seed is not here.
    """

    publisher: str
    key: str
    protected: bool
    speaks: bool
    where: str


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """The words of the present key, or of the OMS key.

    Attributes:
        passphrase: Opens it, where it is sealed.
        oms: The OMS key's.
    """

    passphrase: str = field(default="", repr=False)
    oms: bool = False


@dataclass(frozen=True, slots=True)
class BackedUp:
    """A key as words. Who has them can sign.

    Attributes:
        publisher: Publisher id.
        key: The key as did:key; of an OMS key the hint.
        words: 24 words.
        root: Version of the publisher's current root; above 1 the words alone do not tell the publisher's id.
        oms: Hint of the OMS key that these words do not bring back, too; empty when they do.
    """

    publisher: str
    key: str
    words: tuple[str, ...] = field(repr=False)
    root: int
    oms: str


@dataclass(frozen=True, slots=True)
class WordsRequest:
    """The check words of a publisher: its id, its petname, or `me`."""

    publisher: str


@dataclass(frozen=True, slots=True)
class PublisherWords:
    """What people compare.

    Attributes:
        publisher: Publisher id.
        name: Its petname here, or empty.
        words: 8 words.
        bits: How many bits of the id they say.
    """

    publisher: str
    name: str
    words: tuple[str, ...]
    bits: int


@dataclass(frozen=True, slots=True)
class TellAgentRequest:
    """Where the agent of the caller is; it is asked first from now on.

    Attributes:
        socket: Path of its socket.
    """

    socket: str


@dataclass(frozen=True, slots=True)
class AgentKeysRequest:
    """The keys of the agent."""


@dataclass(frozen=True, slots=True)
class AgentKeyRow:
    """A key that an agent has.

    Attributes:
        key: It as did:key; empty when it cannot sign records.
        comment: What its owner calls it; the agent's text.
        fingerprint: `SHA256:…`, as `ssh-add -l` shows it.
        kind: What SSH calls its kind.
        usable: It is Ed25519.
        present: It is this home's present key.
    """

    key: str
    comment: str
    fingerprint: str
    kind: str
    usable: bool
    present: bool


@dataclass(frozen=True, slots=True)
class AgentKeys:
    """What an agent has.

    Attributes:
        socket: Path of its socket.
        keys: Its keys.
    """

    socket: str
    keys: tuple[AgentKeyRow, ...]


def _unlock(store: Store, request: UnlockRequest) -> KeyState:
    store.oms.unlock(request.passphrase)
    store.keys.unlock([store.keys.present().did], request.passphrase)
    store.keys.unlock(own_publisher(store).chain.current.keys, request.passphrase)
    return _state(store)


def _lock(store: Store, request: LockRequest) -> KeyState:
    store.keys.lock()
    store.oms.lock()
    return _state(store)


def _protect(store: Store, request: ProtectRequest) -> KeyState:
    check_new_passphrase(request.new)
    own = own_publisher(store)
    store.keys.keep_roots(RootFile(own.chain))  # a sealed key cannot make its genesis again
    if not store.keys.is_in_agent() or not store.oms.path.exists():
        store.keys.seed(request.passphrase)  # it is the right one: else nothing is changed
    store.oms.seal(request.passphrase, request.new)
    store.keys.seal(request.passphrase, request.new)
    return _state(store)


def _unprotect(store: Store, request: UnprotectRequest) -> KeyState:
    if store.keys.is_in_agent() and store.oms.is_sealed():
        store.oms.unseal(request.passphrase)
        return _state(store)
    store.keys.seed(request.passphrase)
    with contextlib.suppress(PassphraseError):  # it has an earlier one
        store.oms.unseal(request.passphrase)
    store.keys.unseal(request.passphrase)
    return _state(store)


def _restore(store: Store, request: RestoreRequest) -> KeyState:
    seed = word_list().seed_of(request.words)
    new = SigningKey(seed)
    if request.new:
        check_new_passphrase(request.new)
    if request.oms:
        return _restore_oms(store, seed, request)
    _refuse_other(store, new.did, request.replace)
    if _becomes_another(store, new.did):
        store.oms.set_aside()  # it is that of the publisher who makes way
    store.keys.put(seed, request.new)
    _settle_chain(store, new, request.new)
    return _state(store)


def _restore_oms(store: Store, seed: bytes, request: RestoreRequest) -> KeyState:
    here, wanted = store.oms.public(), OmsKey(seed).public
    sealed = store.keys.is_sealed([store.keys.present().did])
    if sealed:
        store.keys.seed(request.new)
    if store.oms.path.exists() and (here is None or here.hint not in {wanted.hint, request.replace}):
        raise UsageError(
            f"this home has another OMS key, {here.hint if here is not None else store.oms.path}",
            hint="To put the restored one in its place (it is kept aside): samara key restore --oms --replace HINT",
        )
    store.oms.put(seed, request.new)
    return _state(store)


def _becomes_another(store: Store, did: str) -> bool:
    """Whether a home that has another key becomes another publisher by a restored one."""
    kept = store.keys.roots()
    stays = kept is not None and (kept.chain.publisher == genesis_id(did) or did in kept.chain.current.keys)
    return not stays and store.keys.present_did() not in {None, did}


def _refuse_other(store: Store, did: str, replace: str) -> None:
    present = store.keys.present_did()
    if present in {None, did} or replace == present:
        return
    raise UsageError(
        f"this home has another key, {present}",
        hint=f"To put the restored one in its place (it is kept aside): samara key restore --replace {present}",
    )


def _settle_chain(store: Store, key: SigningKey, passphrase: str) -> None:
    """See that the chain which is kept is one of the restored key, and that a sealed key has one."""
    kept = store.keys.roots()
    if kept is None and passphrase:
        store.keys.unlock([key.did], passphrase)
        store.keys.keep_roots(RootFile(own_publisher(store).chain))
        store.keys.lock()
    elif kept is not None and kept.chain.publisher != genesis_id(key.did) and key.did not in kept.chain.current.keys:
        store.keys.keep_roots(RootFile(PublisherChain.verify([make_genesis([key])])))


def _state(store: Store) -> KeyState:
    own = own_publisher(store)
    current = own.chain.current.keys
    return KeyState(
        format_record(own.publisher), own.key, is_protected(store, own), own.key in current, where_key_is(store)
    )


def is_protected(store: Store, own: OwnPublisher) -> bool:
    """Whether a passphrase opens the present key, or, where that is in an agent, what else is here."""
    return store.keys.is_sealed([own.key]) or (store.keys.is_in_agent() and store.oms.is_sealed())


def where_key_is(store: Store) -> str:
    """Return whether the present key is in a "file" or an "agent"."""
    return "agent" if store.keys.is_in_agent() else "file"


def _tell_agent(store: Store, request: TellAgentRequest) -> KeyState:
    store.keys.agent.tell(request.socket)
    return _state(store)


def _agent_keys(store: Store, request: AgentKeysRequest) -> AgentKeys:
    socket, keys = store.keys.agent.keys()
    here = store.keys.present_did()
    return AgentKeys(
        socket,
        tuple(
            AgentKeyRow(key.did, key.comment, key.fingerprint, key.kind, bool(key.did), key.did == here) for key in keys
        ),
    )


def _backup(store: Store, request: BackupRequest) -> BackedUp:
    own = own_publisher(store)
    publisher, root = format_record(own.publisher), own.chain.current.version
    if request.oms:
        seed = store.oms.seed(request.passphrase)
        return BackedUp(publisher, OmsKey(seed).public.hint, word_list().of_seed(seed), root, "")
    seed = store.keys.seed(request.passphrase)
    oms = store.oms.public() if store.oms.is_apart(seed) else None
    return BackedUp(publisher, own.key, word_list().of_seed(seed), root, oms.hint if oms is not None else "")


def _words(store: Store, request: WordsRequest) -> PublisherWords:
    publisher = publisher_named(store, request.publisher)
    name = store.catalog.petnames().get(publisher, "")
    return PublisherWords(format_record(publisher), name, word_list().of_publisher(publisher), CHECK_BITS)


def _operation(
    name: str, request: type[Request], work: Callable[[Store, Request], KeyState]
) -> Operation[Request, KeyState]:
    """An operation that changes keys: in a thread, and not beside one that signs."""

    async def handler(node: Node, request: Request, report: Report) -> KeyState:
        import trio  # not with the module, whose queries need no event loop

        def alone() -> KeyState:
            with signing:
                return work(node.store, request)

        return await trio.to_thread.run_sync(alone)

    return Operation(name, request, KeyState, handler)


UNLOCK = _operation("key unlock", UnlockRequest, _unlock)
LOCK = _operation("key lock", LockRequest, _lock)
PROTECT = _operation("key protect", ProtectRequest, _protect)
UNPROTECT = _operation("key unprotect", UnprotectRequest, _unprotect)
RESTORE = _operation("key restore", RestoreRequest, _restore)
TELL_AGENT = _operation("key tell agent", TellAgentRequest, _tell_agent)
AGENT_KEYS = Query("key agent", AgentKeysRequest, AgentKeys, _agent_keys)
BACKUP = Query("key backup", BackupRequest, BackedUp, _backup)
WORDS = Query("key words", WordsRequest, PublisherWords, _words)
