"""The publisher's roots: another key in place of this home's, more keys, another threshold, and what others propose.

A root that enough keys have signed is kept at once; until then it travels as a root file from device to device
(specs/keys.md §4 and §5).
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from samara.node.operations.base import Operation, Query, Report
from samara.node.operations.delegating import renew_delegations
from samara.node.operations.refs import OwnPublisher, check_place, enough_keys, next_place, own_publisher, signing
from samara.node.store.catalog import HeldRelease
from samara.node.store.store import Store
from samara.protocol.dsse import Envelope, Signer, SigningKey, cosign
from samara.protocol.errors import AgentError, EnvelopeError, OperationError, StatementError, UsageError
from samara.protocol.ids import format_record, parse_did_key
from samara.protocol.records import (
    PublisherChain,
    Standing,
    VerifiedHead,
    VerifiedRelease,
    Visibility,
    make_genesis,
    make_head,
)
from samara.protocol.rootfile import RootFile, countersign, propose
from samara.protocol.trust import Ledger

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = [
    "CHANGE_KEYS",
    "RENEW",
    "ROOTS",
    "ROTATE",
    "SIGN_ROOT",
    "USE_AGENT",
    "ChangeRequest",
    "RenewRequest",
    "Renewed",
    "RootMade",
    "RootsRequest",
    "RootsShown",
    "RotateRequest",
    "SignRequest",
    "UseAgentRequest",
    "old_heads",
    "old_releases",
]

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class RotateRequest:
    """A new key in place of this home's.

    Attributes:
        passphrase: Opens the present key, and seals the new one; empty when the present one lies open.
        anew: Give up what was proposed before.
    """

    passphrase: str = field(default="", repr=False)
    anew: bool = False


@dataclass(frozen=True, slots=True)
class UseAgentRequest:
    """A key in an agent as this home's: its first, or in place of the one that is here.

    Attributes:
        key: It as did:key.
        socket: Path of the agent's socket.
        passphrase: Opens the present key, where that is sealed.
        anew: Give up what was proposed before.
    """

    key: str
    socket: str
    passphrase: str = field(default="", repr=False)
    anew: bool = False


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """Other keys, or another threshold.

    Attributes:
        add: did:keys that shall speak for the publisher, too.
        remove: did:keys that shall not any more.
        threshold: How many must sign from now on; 0 leaves it.
        passphrase: Opens this home's keys, where they are sealed.
        anew: Give up what was proposed before.
    """

    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    threshold: int = 0
    passphrase: str = field(default="", repr=False)
    anew: bool = False


@dataclass(frozen=True, slots=True)
class SignRequest:
    """A root file to be signed, or taken when it is complete.

    Attributes:
        file: Its text.
        become: Publisher id that this home shall be from now on, when the file is another's than its own.
        passphrase: Opens this home's keys, where they are sealed.
        anew: Give up what was proposed before.
    """

    file: str
    become: str = ""
    passphrase: str = field(default="", repr=False)
    anew: bool = False


@dataclass(frozen=True, slots=True)
class RootMade:
    """What became of a new root.

    Attributes:
        publisher: Whose it is.
        version: Its version.
        threshold: How many of its keys must sign.
        keys: Its did:keys.
        complete: Enough keys have signed.
        kept: It is the current root of this home's publisher.
        old: How many keys of the root before it must sign yet.
        new: How many of its own keys must sign yet.
        file: The root file that goes to the other devices.
        key: This home's present key as did:key.
        heads: How many heads were signed anew.
        releases: How many unlisted and private releases the new keys have signed, too.
        delegated: The names of each delegation that was signed anew.
        left: Names of heads and releases that they have to sign yet: the agent did not.
    """

    publisher: str
    version: int
    threshold: int
    keys: tuple[str, ...]
    complete: bool
    kept: bool
    old: int
    new: int
    file: str
    key: str
    heads: int
    releases: int
    left: tuple[str, ...]
    delegated: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class RenewRequest:
    """Sign heads anew that are not signed under the current root, and what no head names."""

    passphrase: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Renewed:
    """What was signed anew.

    Attributes:
        names: Names whose heads were.
        releases: Names and versions of the unlisted and private releases that were.
        delegated: The names of each delegation that was.
    """

    names: tuple[str, ...]
    releases: tuple[str, ...]
    delegated: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class RootsRequest:
    """This home's root chain."""


@dataclass(frozen=True, slots=True)
class RootsShown:
    """A root chain.

    Attributes:
        publisher: Publisher id.
        version: Version of its current root.
        file: It as a root file.
    """

    publisher: str
    version: int
    file: str


def old_heads(store: Store, own: OwnPublisher) -> Iterator[VerifiedHead]:
    """Yield this publisher's newest heads that are not signed under its current root, by name."""
    if own.chain.current.version == 1:
        return
    with store.ledgers.asking(own.publisher) as ledger:
        for name in sorted({held.name for held in store.catalog.releases(publisher=own.publisher)}):
            known = [] if ledger is None else [head for head in ledger.history(name) if _stands(ledger, head)]
            if known and known[-1].head.delegation is None and known[-1].head.root < own.chain.current.version:
                yield known[-1]


def _stands(ledger: Ledger, head: VerifiedHead) -> bool:
    """Whether a head is one that a newer one must not step over: the publisher's own, or a delegate's who may sign.

    What a delegate released last is not taken back by signing anew what came before it.
    """
    delegation = head.head.delegation
    return delegation is None or ledger.delegation_in_force(delegation) is not None


def old_releases(store: Store, own: OwnPublisher) -> Iterator[tuple[HeldRelease, VerifiedRelease]]:
    """Yield the releases from this home that no head names, and that keys signed which were replaced.

    Not those which a key signed that was revoked: whoever revoked it said up to where it was to be believed.
    """
    if own.chain.current.version == 1:
        return
    for held in store.catalog.releases(publisher=own.publisher):
        if not held.own or store.trust.taken_back(held):
            continue
        release = store.verified(held.id)
        if release.release.visibility is Visibility.PUBLIC or release.signers.delegation is not None:
            continue
        with store.ledgers.asking(own.publisher) as ledger:
            retired = ledger is not None and ledger.standing(release) is Standing.RETIRED
        if retired:
            yield held, release


def _renew_releases(store: Store, own: OwnPublisher, keys: Sequence[Signer]) -> Iterator[str]:
    """Let the present keys sign what no head vouches for, too; yield names and versions.

    Enough signatures of its own root stay, by which it is verified; those of roots between are of no use any more.
    """
    for held, release in list(old_releases(store, own)):
        first = own.chain.at(release.release.root)
        envelope = Envelope.decode(release.envelope)
        kept = tuple(signature for signature in envelope.signatures if signature.keyid in first.keys)[: first.threshold]
        try:
            signed = cosign(Envelope(envelope.payload, kept).encode(), keys)
        except EnvelopeError:
            continue  # so many keys must sign, of the old root and of the new one, that there is no room for both
        store.catalog.set_envelope(held.id, signed)
        yield f"{held.name} {held.version}"


def _renew(store: Store, own: OwnPublisher, keys: Sequence[Signer]) -> Iterator[str]:
    """Sign old heads anew; yield their names.

    `issued` and `expires` stay, and names come in order, so that devices that know the same log write the same records:
    no fork.
    """
    for before in list(old_heads(store, own)):
        records = store.catalog.records(before.head.release)
        if records is None:
            continue  # the release was removed here: its payload is needed, and nobody is led to it from here
        release = Envelope.decode(records.release).payload
        said = before.head
        with store.ledgers.asking(own.publisher) as ledger:
            place = next_place(ledger)
        head = make_head(
            own.chain, name=said.name, release=release, previous=before, issued=said.issued, keys=keys,
            place=place, expires=said.expires,
        )  # fmt: skip
        with store.ledgers.asking(own.publisher) as ledger:
            check_place(ledger, place)
            store.ledgers.take_own(own.chain.envelopes, head.envelope)
        yield said.name


def _rotate(store: Store, request: RotateRequest) -> RootMade:
    own = own_publisher(store)
    seed = secrets.token_bytes(32)

    def keep(mine: str) -> None:
        store.keys.keep(seed, request.passphrase if store.keys.is_sealed([mine]) else "")

    return _replace(store, own, SigningKey(seed), keep, request.passphrase, anew=request.anew)


def _replace(
    store: Store, own: OwnPublisher, new: Signer, keep: Callable[[str], None], passphrase: str, *, anew: bool
) -> RootMade:
    """Let a key take the place of this home's.

    Args:
        store: The home's.
        own: Its publisher.
        new: The key.
        keep: Keeps it beside the present one, before the root that names it; is told the did:key that makes way.
        passphrase: Opens the keys that are here.
        anew: Give up what was proposed before.
    """
    keys = _keys(store, own, passphrase)
    current = own.chain.current
    mine = own.key if own.key in current.keys else keys[0].did
    wanted = [new.did, *(key for key in current.keys if key != mine)]
    file = propose(own.chain, wanted, current.threshold, [*keys, new])
    _refuse_fork(store, file, anew=anew)
    store.oms.keep(passphrase)
    keep(mine)
    return _settle(store, own, file, passphrase)


def _use_agent(store: Store, request: UseAgentRequest) -> RootMade:
    """Let a key of the agent be this home's: its first one, or in the place of the one that is here."""
    public = parse_did_key(request.key)
    store.keys.agent.tell(request.socket)
    new = store.keys.agent.signer(public)
    if not store.keys.path.exists() and store.keys.roots() is None:
        chain = PublisherChain.verify([make_genesis([new])])  # the agent has signed: now it is kept
        store.keys.put_agent(public)
        store.keys.keep_roots(RootFile(chain))
        return _settle(store, own_publisher(store), RootFile(chain), "", renew=False)
    own = own_publisher(store)
    if own.key == new.did:
        raise UsageError("that is this home's key already", hint="See samara key show.")
    if new.did not in own.chain.current.keys:
        return _replace(
            store, own, new, lambda mine: store.keys.keep_agent(public), request.passphrase, anew=request.anew
        )
    store.oms.keep(request.passphrase)
    store.keys.put_agent(public)  # it speaks for the publisher already
    return _settle(store, own, RootFile(own.chain), "", renew=False)


def _change(store: Store, request: ChangeRequest) -> RootMade:
    own = own_publisher(store)
    current = own.chain.current
    for key in request.add:
        parse_did_key(key)
    strangers = set(request.remove) - set(current.keys)
    if strangers:
        raise UsageError(f"{min(strangers)} is no key of this publisher", hint="See samara key show.")
    wanted = ({*current.keys} | {*request.add}) - {*request.remove}
    threshold = request.threshold or min(current.threshold, len(wanted))
    if not 1 <= threshold <= len(wanted):
        raise UsageError(f"{threshold} of {len(wanted)} keys cannot be what must sign", hint="See samara key show.")
    if (threshold, wanted) == (current.threshold, {*current.keys}):
        raise UsageError("that is how it is already", hint="See samara key show.")
    file = propose(own.chain, wanted, threshold, _keys(store, own, request.passphrase))
    _refuse_fork(store, file, anew=request.anew)
    return _settle(store, own, file, request.passphrase)


def _sign(store: Store, request: SignRequest) -> RootMade:
    file = RootFile.decode(request.file.encode())
    own = own_publisher(store)
    chain = _joined(store, own, file.chain)
    proposal = file.proposal
    if proposal is None:
        return _settle(store, own, RootFile(chain), request.passphrase, become=request.become, renew=False)
    if len(chain.roots) > len(file.chain.roots):
        raise StatementError(
            f"root {proposal.root.version} is proposed, and this publisher has {len(chain.roots)} roots already",
            hint="Propose it again from a device that knows them: samara key roots --to FILE tells the others.",
        )
    _refuse_fork(store, file, anew=request.anew)
    candidates = {*chain.current.keys, *proposal.root.keys}
    file = countersign(file, store.keys.open(candidates, request.passphrase))
    return _settle(store, own, file, request.passphrase, become=request.become)


def _joined(store: Store, own: OwnPublisher, chain: PublisherChain) -> PublisherChain:
    if chain.publisher == own.publisher:
        return own.chain.join(chain)
    known = store.catalog.roots(chain.publisher)
    return PublisherChain.verify(known, expected=chain.publisher).join(chain) if known else chain


def _keys(store: Store, own: OwnPublisher, passphrase: str) -> list[Signer]:
    keys = store.keys.open(own.chain.current.keys, passphrase)
    if not keys:
        raise OperationError(
            f"this home's key {own.key} does not speak for its publisher any more",
            hint="Let a device whose key does propose the change.",
        )
    return keys


def _refuse_fork(store: Store, file: RootFile, *, anew: bool) -> None:
    """Two roots of one version, both signed here, are what others take for the work of a thief."""
    before, now = store.keys.proposed(), file.proposal
    if anew or before is None or before.proposal is None or before.chain.publisher != file.chain.publisher:
        return
    root = now.root if now is not None else file.chain.current
    payload = now.envelope.payload if now is not None else file.chain.roots[-1].payload
    if root.version == before.proposal.root.version and payload != before.proposal.envelope.payload:
        raise UsageError(
            f"another root {root.version} was signed here, and is not complete yet: two of them would be a fork",
            hint="Bring that one to its end. If it is lost and was never completed anywhere, repeat this with --anew.",
        )


def _settle(
    store: Store, own: OwnPublisher, file: RootFile, passphrase: str, *, become: str = "", renew: bool = True
) -> RootMade:
    """Keep what a root file says now: a proposal that was signed, or a root that is complete."""
    proposal = file.proposal
    kept, renewed = False, Renewed((), ())
    if proposal is not None:
        store.keys.keep_proposed(file)
    elif _may_keep(store, own, file.chain, become):
        kept, renewed = True, _keep(store, file.chain, passphrase, renew=renew)
    root = proposal.root if proposal is not None else file.chain.current
    return RootMade(
        publisher=format_record(file.chain.publisher),
        version=root.version,
        threshold=root.threshold,
        keys=root.keys,
        complete=proposal is None,
        kept=kept,
        old=proposal.old if proposal is not None else 0,
        new=proposal.new if proposal is not None else 0,
        file=file.encode().decode(),
        key=store.keys.present().did,
        heads=len(renewed.names),
        releases=len(renewed.releases),
        delegated=renewed.delegated,
        left=_left(store) if kept and renew else (),
    )


def _may_keep(store: Store, own: OwnPublisher, chain: PublisherChain, become: str) -> bool:
    """Whether a chain shall be this home's: its own publisher's, or one that it was told by name to become."""
    if chain.publisher == own.publisher:
        return True
    if not become:
        return False
    if become != format_record(chain.publisher):
        raise UsageError(f"the root file is of {format_record(chain.publisher)}, not of {become}")
    if not any(key.did in chain.current.keys for key in store.keys.all().values()):
        raise UsageError(
            "no key of this home is in the current root of that publisher",
            hint=f"Let one of its devices add it first: samara key add-key {own.key}",
        )
    return True


def _left(store: Store) -> tuple[str, ...]:
    own = own_publisher(store)
    releases = (f"{held.name} {held.version}" for held, _ in old_releases(store, own))
    return (*(head.head.name for head in old_heads(store, own)), *releases)


def _keep(store: Store, chain: PublisherChain, passphrase: str, *, renew: bool) -> Renewed:
    store.keys.keep_roots(RootFile(chain))  # from here on it is so, wherever this ends
    store.ledgers.take(chain.envelopes, (), own=True)
    store.keys.promote(chain.current.keys)
    store.keys.lock()  # what was opened may be a key that is no more
    _forget_overtaken(store, chain)
    heads: list[str] = []
    releases: list[str] = []
    delegated: tuple[tuple[str, ...], ...] = ()
    with contextlib.suppress(AgentError):  # the root is kept: what an agent does not sign now, it does by `key renew`
        keys = store.keys.open(chain.current.keys, passphrase) if renew else []
        if len(keys) >= chain.current.threshold:
            own = OwnPublisher(store.keys.present().did, chain)
            # Delegations first: who may sign a name says which head is its newest.
            delegated = renew_delegations(store, own, keys)
            for name in _renew(store, own, keys):
                heads.append(name)  # one by one: what came before an agent gave up, counts
            for name in _renew_releases(store, own, keys):
                releases.append(name)
    return Renewed(tuple(heads), tuple(releases), delegated)


def _forget_overtaken(store: Store, chain: PublisherChain) -> None:
    """Forget the proposal that was signed here, when the chain has a root of its version now, that one or another."""
    pending = store.keys.proposed()
    if pending is None or pending.chain.publisher != chain.publisher:
        return
    if len(pending.chain.roots) < len(chain.roots):
        store.keys.keep_proposed(None)


def _renew_all(store: Store, request: RenewRequest) -> Renewed:
    own = own_publisher(store)
    keys = enough_keys(own, store.keys.open(own.chain.current.keys, request.passphrase))
    delegated = renew_delegations(store, own, keys)  # first: who may sign a name says which head is its newest
    return Renewed(tuple(_renew(store, own, keys)), tuple(_renew_releases(store, own, keys)), delegated)


def _roots(store: Store, request: RootsRequest) -> RootsShown:
    own = own_publisher(store)
    file = RootFile(own.chain).encode().decode()
    return RootsShown(format_record(own.publisher), own.chain.current.version, file)


async def _done(node: Node, work: Callable[[], Result]) -> Result:
    import trio  # not with the module, whose queries need no event loop

    def alone() -> Result:
        with signing:
            return work()

    result = await trio.to_thread.run_sync(alone)
    node.library_changed()  # a head that was signed anew is announced
    return result


async def _rotate_key(node: Node, request: RotateRequest, report: Report) -> RootMade:
    return await _done(node, lambda: _rotate(node.store, request))


async def _use_agents_key(node: Node, request: UseAgentRequest, report: Report) -> RootMade:
    return await _done(node, lambda: _use_agent(node.store, request))


async def _change_keys(node: Node, request: ChangeRequest, report: Report) -> RootMade:
    return await _done(node, lambda: _change(node.store, request))


async def _sign_root(node: Node, request: SignRequest, report: Report) -> RootMade:
    return await _done(node, lambda: _sign(node.store, request))


async def _renew_heads(node: Node, request: RenewRequest, report: Report) -> Renewed:
    return await _done(node, lambda: _renew_all(node.store, request))


ROTATE = Operation("key rotate", RotateRequest, RootMade, _rotate_key)
USE_AGENT = Operation("key use agent", UseAgentRequest, RootMade, _use_agents_key)
CHANGE_KEYS = Operation("key change", ChangeRequest, RootMade, _change_keys)
SIGN_ROOT = Operation("key sign", SignRequest, RootMade, _sign_root)
RENEW = Operation("key renew", RenewRequest, Renewed, _renew_heads)
ROOTS = Query("key roots", RootsRequest, RootsShown, _roots)
