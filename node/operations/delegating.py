"""Delegations: who else releases under which names, and who signs what is published here (specs/records.md §14).

A publisher delegates by a record of its log. A delegate signs releases and heads with its own key, and never a record
of that log; all that it knows of its right to do so, it knows from the log as it is here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from samara.node.operations.base import Operation, Query, Report
from samara.node.operations.refs import (
    OwnPublisher,
    next_place,
    now_text,
    own_publisher,
    publisher_named,
    publisher_text,
    signing,
    signing_keys,
)
from samara.node.store.store import Store
from samara.protocol.dsse import Signer, is_weak_key
from samara.protocol.errors import (
    ForkError,
    LinkError,
    NotFoundError,
    OperationError,
    RevokedError,
    StatementError,
    UsageError,
)
from samara.protocol.ids import PublisherId, format_record, parse_did_key
from samara.protocol.limits import MAX_FOLLOWED_SEQUENCE, MAX_KEYS, MAX_PATTERNS
from samara.protocol.records import Delegation, PublisherChain, Verified, VerifiedHead, make_delegation, parse_time
from samara.protocol.records.delegation import PATTERN
from samara.protocol.trust import Ledger

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = [
    "DELEGATE",
    "DELEGATIONS",
    "Author",
    "DelegateRequest",
    "DelegateRow",
    "Delegated",
    "DelegationRow",
    "DelegationsRequest",
    "DelegationsShown",
    "author_keys",
    "author_of",
    "delegate_row",
    "previous_head",
    "renew_delegations",
]


@dataclass(frozen=True, slots=True)
class DelegateRequest:
    """What to delegate, to whom.

    Attributes:
        names: Names, beginnings of names and `*`, or `*`, in any order.
        to: did:keys that may release under them; empty with `end`.
        threshold: How many of these must sign.
        expires: `YYYY-MM-DDTHH:MM:SSZ`; empty: until it is ended.
        end: Delegate these names no more.
    """

    names: tuple[str, ...]
    to: tuple[str, ...] = ()
    threshold: int = 1
    expires: str = ""
    end: bool = False


@dataclass(frozen=True, slots=True)
class DelegationRow:
    """A delegation, the newest for its names (specs/cli.md).

    Attributes:
        record: Its id.
        position: Its place in the publisher's log.
        names: Which names.
        keys: did:keys that may release under them.
        threshold: How many of these must sign.
        issued: When it was signed.
        expires: After which time nothing new may be signed under it; empty: until it is ended.
        state: in force, expired or ended.
        here: This home's key is among `keys`.
    """

    record: str
    position: int
    names: tuple[str, ...]
    keys: tuple[str, ...]
    threshold: int
    issued: str
    expires: str
    state: str
    here: bool


@dataclass(frozen=True, slots=True)
class Delegated(DelegationRow):
    """The delegation that was signed.

    Attributes:
        new: It was signed now; else it was so already.
    """

    new: bool


@dataclass(frozen=True, slots=True)
class DelegationsRequest:
    """Whose delegations: a petname, a publisher id, or `me`."""

    publisher: str = "me"


@dataclass(frozen=True, slots=True)
class DelegationsShown:
    """What a publisher has delegated, as far as its log is known here.

    Attributes:
        publisher: Petname or id.
        publisher_id: Its id.
        delegations: Those in force first, then those that were.
    """

    publisher: str
    publisher_id: str
    delegations: tuple[DelegationRow, ...]


@dataclass(frozen=True, slots=True)
class DelegateRow:
    """The delegates that have signed a release or a head (specs/cli.md).

    Attributes:
        delegation: The delegation that it names.
        keys: did:keys of the delegates that signed.
        names: Names that are delegated to them.
        expires: Until when they may release under these; empty: until the delegation is ended.
        state: How it stands with them: in force, expired, changed (the names went to other keys) or ended.
    """

    delegation: str
    keys: tuple[str, ...]
    names: tuple[str, ...]
    expires: str
    state: str


# The publisher.


def delegate(store: Store, request: DelegateRequest) -> Delegated:
    """Sign that other keys may release under some names, or no more. Blocks.

    Raises:
        UsageError: It is not whole, a key is the publisher's own or weak, or a name is none.
        NotFoundError: There is nothing to end.
        ForkError: The publisher is frozen.
    """
    names = _names(request.names)
    with signing:
        own = own_publisher(store)
        with store.ledgers.asking(own.publisher) as ledger:
            known = Ledger(own.chain) if ledger is None else ledger
            before = next((one for one in known.delegated if one.said.names == names), None)
            if request.end:
                wanted = _ending(store, known, names, before, request)
            else:
                wanted = _wanted(store, own, names, request)
                if before is not None and _says_the_same(known, before, wanted):
                    return _told(store, own, known, before, new=False)
            keys = signing_keys(store, own)
            made = _sign(own.chain, known, wanted, now_text(), keys)
            store.ledgers.take_own(own.chain.envelopes, made.envelope)
        with store.ledgers.asking(own.publisher) as ledger:
            return _told(store, own, ledger or known, made, new=True)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a delegation shall say."""

    names: tuple[str, ...]
    keys: tuple[str, ...]
    threshold: int
    expires: str | None
    revoked: bool = False


def _names(texts: Sequence[str]) -> tuple[str, ...]:
    """Return patterns in the order of the record, each once.

    Raises:
        UsageError: One is none, or there are too many.
    """
    for text in texts:
        if not PATTERN.fullmatch(text):
            raise UsageError(
                f"{text!r} is no name, and no beginning of names",
                hint="Letters, digits and . _ - make a name; a * may be its end, or all of it: 'llama-*'",
            )
    names = tuple(sorted(set(texts)))
    if not 1 <= len(names) <= MAX_PATTERNS:
        raise UsageError(f"{len(names)} names: 1 to {MAX_PATTERNS} can be in one delegation")
    return names


def _wanted(store: Store, own: OwnPublisher, names: tuple[str, ...], request: DelegateRequest) -> _Wanted:
    keys = tuple(sorted(set(request.to)))
    if not keys:
        raise UsageError("to whom?", hint="Name the delegate's key, as its samara key show says it: --to did:key:z6Mk…")
    for key in keys:
        _check_key(store, own, key)
    if len(keys) > MAX_KEYS:
        raise UsageError(f"{len(keys)} keys: at most {MAX_KEYS} can be in one delegation")
    if not 1 <= request.threshold <= len(keys):
        raise UsageError(f"{request.threshold} of {len(keys)} keys cannot be what must sign")
    if request.expires:
        try:
            expires = parse_time(request.expires)
        except StatementError as error:
            raise UsageError(error.message, hint="As in 2027-05-31T12:00:00Z.") from error
        if expires <= max(store.times.moment().now, parse_time(now_text())):
            raise UsageError(f"{request.expires} is over: nothing could be signed under it", hint="Name a later time.")
    return _Wanted(names, keys, request.threshold, request.expires or None)


def _check_key(store: Store, own: OwnPublisher, key: str) -> None:
    try:
        public = parse_did_key(key)
    except LinkError as error:
        raise UsageError(
            error.message, hint="The delegate's key is what samara key show says there: did:key:z6Mk…"
        ) from error
    if is_weak_key(public):
        raise UsageError(f"{key} is a weak key: anybody could sign with it")
    if key in own.chain.current.keys:
        raise UsageError(
            f"{key} is this publisher's own key, and signs under every name already",
            hint="A delegate has a key of its own, in a home of its own: samara key show says it there.",
        )
    with store.ledgers.asking(own.publisher) as ledger:
        if ledger is not None and ledger.key_revocation(key) is not None:
            raise UsageError(f"{key} was revoked", hint="The delegate needs a new key: samara key rotate, there.")


def _ending(
    store: Store,
    ledger: Ledger,
    names: tuple[str, ...],
    before: Verified[Delegation] | None,
    request: DelegateRequest,
) -> _Wanted:
    if request.to or request.expires or request.threshold != 1:
        raise UsageError("--end names nobody and no time", hint="samara key delegate NAME… --end")
    if before is None or before.said.revoked:
        there = [" ".join(one.said.names) for one in ledger.delegated if not one.said.revoked]
        raise NotFoundError(
            f"nothing is delegated under {' '.join(names)}",
            hint=f"A delegation is ended by all of its names. There are: {'; '.join(there)}" if there else "",
        )
    return _Wanted(names, before.said.keys, before.said.threshold, None, revoked=True)


def _says_the_same(ledger: Ledger, before: Verified[Delegation], wanted: _Wanted) -> bool:
    said = before.said
    in_force = ledger.delegation_in_force(before.id)
    return (
        in_force is not None
        and said.origin.root == ledger.chain.current.version
        and _Wanted(said.names, said.keys, said.threshold, said.expires) == wanted
    )


def _sign(
    chain: PublisherChain, ledger: Ledger, wanted: _Wanted, issued: str, keys: Sequence[Signer]
) -> Verified[Delegation]:
    return make_delegation(
        chain,
        place=next_place(ledger),
        names=wanted.names,
        delegates=wanted.keys,
        issued=issued,
        keys=keys,
        threshold=wanted.threshold,
        expires=wanted.expires,
        revoked=wanted.revoked,
    )


def renew_delegations(store: Store, own: OwnPublisher, keys: Sequence[Signer]) -> tuple[tuple[str, ...], ...]:
    """Sign anew, under the current root, what is delegated under an older one: else it says nothing any more.

    All fields stay, and delegations come in their order, so that devices that know the same log write the same records.

    Returns:
        The names of each.

    Source: specs/records.md §14, 7.
    """
    with store.ledgers.asking(own.publisher) as ledger:
        old = [] if ledger is None else list(_old(ledger))
    for said in old:
        with store.ledgers.asking(own.publisher) as ledger:
            wanted = _Wanted(said.names, said.keys, said.threshold, said.expires)
            made = _sign(own.chain, ledger or Ledger(own.chain), wanted, said.origin.issued, keys)
            store.ledgers.take_own(own.chain.envelopes, made.envelope)
    return tuple(said.names for said in old)


def _old(ledger: Ledger) -> Iterator[Delegation]:
    """Yield what is delegated under an older root, though nothing under the current one says yet that it holds."""
    newest: dict[tuple[str, ...], Verified[Delegation]] = {}
    for entry in ledger.log():
        if entry.id in ledger.delegations:
            given = ledger.delegations[entry.id]
            newest.pop(given.said.names, None)
            newest[given.said.names] = given
    for given in newest.values():
        forked = any(fork.delegation == given.id for fork in ledger.forks)
        if not given.said.revoked and not forked and given.said.origin.root < ledger.chain.current.version:
            yield given.said


# The delegate.


@dataclass(frozen=True, slots=True)
class Author:
    """Who signs what is published.

    Attributes:
        own: This home's publisher.
        chain: The root chain of the publisher whose release it becomes.
        delegation: The delegation under which this home signs; None: it is its own publisher's release.
    """

    own: OwnPublisher
    chain: PublisherChain
    delegation: Verified[Delegation] | None = None

    @property
    def publisher(self) -> PublisherId:
        """Whose release it becomes."""
        return self.chain.publisher


def author_of(store: Store, whose: str, name: str) -> Author:
    """Return who signs a release of a name.

    Args:
        store: The home's.
        whose: Petname or id of the publisher whose release it shall be; empty: this home's.
        name: Its name.

    Raises:
        NotFoundError: Nobody has this petname; the publisher's log is not here; or it delegates this name to others.
        OperationError: It did delegate it, and does not any more; or to a key that this home has replaced.
        RevokedError: The publisher has revoked this home's key.
        ForkError: The publisher is frozen.
    """
    own = own_publisher(store)
    publisher = publisher_named(store, whose) if whose else own.publisher
    if publisher == own.publisher:
        return Author(own, own.chain)
    with store.ledgers.asking(publisher) as ledger:
        if ledger is None or ledger.newest is None:
            raise NotFoundError(
                f"the log of {whose} is not here, which says what is delegated to whom",
                hint=f"Get it: samara records sync {whose} --peer MULTIADDR, or samara records import FILE",
            )
        if ledger.fork is not None:
            raise ForkError(
                f"{whose} is frozen: {ledger.fork.what} are signed", hint="Ask the publisher. See samara trust show."
            )
        return Author(own, ledger.chain, _delegation_for(store, own, ledger, whose, name))


def author_keys(store: Store, author: Author) -> list[Signer]:
    """Return the keys of this home that sign for an author, as many as must.

    Raises:
        LockedKeyError: They are sealed, and this process was not given the passphrase.
        OperationError: Too few of them are here.
    """
    if author.delegation is None:
        return signing_keys(store, author.own)
    said = author.delegation.said
    keys = store.keys.signing(_ours(author.own) & set(said.keys))
    if len(keys) < said.threshold:
        raise OperationError(
            f"{said.threshold} of {len(said.keys)} delegates must sign under {' '.join(said.names)}, and this home has"
            f" {len(keys)} of their keys: signing a release on several devices is not possible yet",
            hint="Ask the publisher for a delegation of which one key must sign.",
        )
    return keys


def previous_head(ledger: Ledger, name: str, delegation: bytes | None) -> VerifiedHead | None:
    """Return the head that the next one of a name follows, when it is signed under a delegation or by own keys.

    Source: specs/records.md §14, 6.
    """
    newest, history = ledger.head(name), ledger.history(name)
    if delegation is not None:
        ours = (one for one in history if one.head.delegation == delegation)
        return next((one for one in ours if newest is not None and _rank(one) == _rank(newest)), newest)
    # Who has not heard that a delegation ended would take what was signed under it for newer.
    lapsed = [
        one
        for one in history
        if one.head.delegation is not None
        and one.head.root == ledger.chain.current.version
        and one.head.sequence <= MAX_FOLLOWED_SEQUENCE
    ]
    known = [newest] if newest is not None else []
    return max([*known, *lapsed], key=lambda one: one.head.sequence, default=None)


def _rank(head: VerifiedHead) -> tuple[int, int]:
    return head.head.root, head.head.sequence


def delegate_row(
    store: Store, publisher: PublisherId, delegation: bytes | None, keys: Sequence[str]
) -> DelegateRow | None:
    """Return which delegates have signed something, as doors show it; None when the publisher's own keys have.

    Args:
        store: The home's.
        publisher: Whose delegates.
        delegation: The delegation that is named.
        keys: did:keys of those who signed.
    """
    if delegation is None:
        return None
    with store.ledgers.asking(publisher) as ledger:
        named = None if ledger is None else ledger.delegations.get(delegation)
        if ledger is None or named is None:
            return DelegateRow(format_record(delegation), tuple(keys), (), "", "ended")
        now = ledger.delegation_in_force(delegation)
        found = now or named
        enough = len(set(found.said.keys) & set(keys)) >= found.said.threshold
        state = "ended" if now is None else _state(store, found) if enough else "changed"
        return DelegateRow(format_record(delegation), tuple(keys), found.said.names, found.said.expires or "", state)


def _ours(own: OwnPublisher) -> set[str]:
    """The did:keys with which this home may sign as a delegate: not those that it has replaced."""
    return {own.key, *own.chain.current.keys}


def _delegation_for(store: Store, own: OwnPublisher, ledger: Ledger, whose: str, name: str) -> Verified[Delegation]:
    """Return the newest delegation that covers a name and lists a key of this home; say what is wrong if none does."""
    covering = [one for one in ledger.delegations.values() if one.said.covers(name)]
    covering.sort(key=lambda one: one.said.origin.place.position, reverse=True)
    in_force = [one for one in covering if ledger.delegation_in_force(one.id) is one]
    mine = [one for one in in_force if _ours(own) & set(one.said.keys)]
    good = [one for one in mine if any(ledger.key_revocation(key) is None for key in _ours(own) & set(one.said.keys))]
    usable = [one for one in good if _state(store, one) == "in force"]
    if usable:
        return usable[0]
    if good:
        raise OperationError(
            f"what {whose} delegated of {name} to this home expired on {good[0].said.expires}",
            hint=f"Ask the publisher to renew it: {_command(good[0].said.names, own)} --expires TIME",
        )
    if mine:
        raise RevokedError(
            f"{whose} has revoked this home's key {own.key}",
            hint="A new key (samara key rotate), to which the publisher delegates the name anew, may sign again.",
        )
    before = {key.did for key in store.keys.all().values()} - _ours(own)
    replaced = next((one for one in in_force if before & set(one.said.keys)), None)
    if replaced is not None:
        raise OperationError(
            f"{whose} delegated {name} to a key that this home has replaced since",
            hint=f"Tell the publisher the new one: {_command(replaced.said.names, own)}",
        )
    ended = next((one for one in covering if _ours(own) & set(one.said.keys)), None)
    if ended is not None:
        raise OperationError(
            f"{whose} delegates {name} to this home no more",
            hint=f"If that is not so, hear the publisher's log: samara records sync {whose}",
        )
    raise NotFoundError(
        f"{whose} has not delegated {name} to this home's key, as far as its log is known here",
        hint=f"Ask the publisher: {_command((name,), own)}. {_elsewhere(own, ledger)}"
        f"Then hear its log: samara records sync {whose}",
    )


def _command(names: Sequence[str], own: OwnPublisher) -> str:
    return f"samara key delegate {' '.join(repr(one) if '*' in one else one for one in names)} --to {own.key}"


def _elsewhere(own: OwnPublisher, ledger: Ledger) -> str:
    others = [one for one in ledger.delegated if ledger.delegation_in_force(one.id) and _ours(own) & set(one.said.keys)]
    names = ", ".join(dict.fromkeys(name for one in others for name in one.said.names))
    return f"This home may sign: {names}. " if names else ""


# What is delegated.


def _state(store: Store, given: Verified[Delegation]) -> str:
    """Whether a delegation that is in force has expired, by the later of the clock and the floor of time."""
    expires = given.said.expires
    now = max(store.times.moment().now, parse_time(now_text()))
    return "expired" if expires is not None and now > parse_time(expires) else "in force"


def _row(store: Store, own: OwnPublisher, ledger: Ledger, given: Verified[Delegation]) -> DelegationRow:
    said = given.said
    return DelegationRow(
        record=format_record(given.id),
        position=said.origin.place.position,
        names=said.names,
        keys=said.keys,
        threshold=said.threshold,
        issued=said.origin.issued,
        expires=said.expires or "",
        state="ended" if ledger.delegation_in_force(given.id) is None else _state(store, given),
        here=bool(_ours(own) & set(said.keys)),
    )


def _told(store: Store, own: OwnPublisher, ledger: Ledger, given: Verified[Delegation], *, new: bool) -> Delegated:
    row = _row(store, own, ledger, given)
    return Delegated(
        row.record, row.position, row.names, row.keys, row.threshold, row.issued, row.expires, row.state, row.here, new
    )


def show_delegations(store: Store, request: DelegationsRequest) -> DelegationsShown:
    """Return what a publisher has delegated.

    Raises:
        NotFoundError: Nobody has this petname, or nothing is known of the publisher.
    """
    own = own_publisher(store)
    publisher = publisher_named(store, request.publisher)
    with store.ledgers.asking(publisher) as ledger:
        if ledger is None and publisher != own.publisher:
            raise NotFoundError(
                f"the log of {request.publisher} is not here",
                hint=f"Get it: samara records sync {request.publisher} --peer MULTIADDR",
            )
        rows = [] if ledger is None else [_row(store, own, ledger, given) for given in ledger.delegated]
    rows.sort(key=lambda row: row.state == "ended")
    return DelegationsShown(publisher_text(store, publisher), format_record(publisher), tuple(rows))


async def _delegate(node: Node, request: DelegateRequest, report: Report) -> Delegated:
    import trio  # not with the module, whose queries need no event loop

    made = await trio.to_thread.run_sync(delegate, node.store, request)
    node.library_changed()
    return made


DELEGATE = Operation("key delegate", DelegateRequest, Delegated, _delegate, signs=True)
DELEGATIONS = Query("key delegations", DelegationsRequest, DelegationsShown, show_delegations)
