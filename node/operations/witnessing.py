"""witness: sign that this home has seen what another publisher has said (specs/trust.md, "Witnesses")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from samara.node.fetch.rounds import may_be_asked_for
from samara.node.operations.base import Operation, Report
from samara.node.operations.records import publishers_of
from samara.node.operations.refs import own_publisher, publisher_text, signing, signing_keys
from samara.node.store.store import Store
from samara.protocol import dsse
from samara.protocol.dsse import Envelope, Signer
from samara.protocol.errors import (
    ForkError,
    LockedKeyError,
    NotFoundError,
    OperationError,
    RollbackError,
    SamaraError,
    UntrustedError,
    UsageError,
    name_of,
)
from samara.protocol.ids import PublisherId, format_record
from samara.protocol.limits import MAX_RECORDS_KNOWN
from samara.protocol.records import Entry
from samara.protocol.trust import Cosigned, Course, Ledger, course
from samara.protocol.trust.forks import place_of, root_of

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = ["WITNESS", "WitnessRequest", "WitnessRow", "WitnessSkipped", "WitnessedLogs", "witness"]


@dataclass(frozen=True, slots=True)
class WitnessRequest:
    """Whose logs to witness.

    Attributes:
        of: Publishers (petname or id), or REFs of releases, whose publishers are meant.
        all: Everybody who has a petname here, and with whom to have to do is no secret.
        anew: Also when the publisher has left, under a newer root, what was witnessed before.
    """

    of: tuple[str, ...] = ()
    all: bool = False
    anew: bool = False


@dataclass(frozen=True, slots=True)
class WitnessRow:
    """A log that this home has witnessed.

    Attributes:
        publisher: Whose: petname or id.
        publisher_id: Whose.
        record: Id of the record that is co-signed.
        position: Its position: it, and all before it, was seen.
        root: Version of the root under which it is signed.
        new: It was signed now; else it was already.
    """

    publisher: str
    publisher_id: str
    record: str
    position: int
    root: int
    new: bool


@dataclass(frozen=True, slots=True)
class WitnessSkipped:
    """A log that is not witnessed.

    Attributes:
        publisher: Whose: petname or id.
        publisher_id: Whose.
        error: Class of the error.
        message: What happened.
        hint: What to do next.
    """

    publisher: str
    publisher_id: str
    error: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class WitnessedLogs:
    """What was witnessed, and what was not (specs/cli.md)."""

    witnessed: tuple[WitnessRow, ...]
    skipped: tuple[WitnessSkipped, ...]


def witness(store: Store, publisher: PublisherId, *, anew: bool = False) -> WitnessRow:
    """Co-sign the newest record of a publisher's log, as it is known here.

    What is signed is remembered first, and never again is anything signed that cannot be in one log with it.

    Args:
        store: The home's.
        publisher: Whose log.
        anew: Also when the publisher has left, under a newer root, what was signed before.

    Raises:
        UsageError: It is this home's own.
        NotFoundError: Nothing is known of the log, or records below its newest are missing.
        ForkError: The publisher is frozen, or what was signed before and this cannot be in one log: that is a fork,
            whose proof is kept.
        RollbackError: What was signed before is newer, or is in the log no more.
        UntrustedError: Keys signed the newest record that were replaced since.
    """
    with signing:
        own = own_publisher(store)
        if publisher == own.publisher:
            raise UsageError("your own log is signed by you already", hint="Let others witness it.")
        with store.ledgers.asking(publisher) as ledger:
            last = store.witnessed.last(publisher)
            if ledger is None or (tip := ledger.newest) is None:
                name = publisher_text(store, publisher)
                raise NotFoundError(f"no log of {name} is known here", hint="Ask for it: samara records sync")
            _check_tip(store, ledger, tip, last)
            if last is not None:
                _check_course(store, ledger, last, anew=anew)
            keys = signing_keys(store, own)
            new = not {key.did for key in keys} <= tip.signers.everyone
            if new:
                tip = _cosign(store, ledger, tip, keys)
            return WitnessRow(
                publisher_text(store, publisher),
                format_record(publisher),
                format_record(tip.id),
                _position(tip),
                root_of(tip),
                new,
            )


def _check_tip(store: Store, ledger: Ledger, tip: Entry, last: Cosigned | None) -> None:
    """See that the newest record of a log is one that a witness may sign, with all that it commits to."""
    name = publisher_text(store, ledger.publisher)
    if ledger.fork is not None:
        raise ForkError(f"{name} is frozen: {ledger.fork.what} are signed", hint="See samara trust show.")
    if not ledger.counts(tip.id):
        raise UntrustedError(
            f"keys that were replaced signed the newest record of {name} that is known here",
            hint="Newer ones may be missing: samara records sync",
        )
    seen = last.position if last is not None else 0
    gaps = [(first, end) for first, end in ledger.missing(MAX_RECORDS_KNOWN) if end > seen]
    if gaps:
        first, end = gaps[0]
        raise NotFoundError(
            f"records {first} to {end} of the log of {name} are not known here, and a witness has seen them all",
            hint="Ask for them: samara records sync",
        )


def _check_course(store: Store, ledger: Ledger, last: Cosigned, *, anew: bool) -> None:
    """See that what is to be signed, and what was, can be in one log."""
    name = publisher_text(store, ledger.publisher)
    found, proof = course(ledger, last)
    if found is Course.BEHIND:
        raise RollbackError(
            f"the log of {name} is known here up to before position {last.position}, which was witnessed already",
            hint="Ask for what is newer: samara records sync",
        )
    if proof is not None:
        fork = store.ledgers.take_fork(ledger.publisher, proof)
        if ledger.fork is not None:
            raise ForkError(
                f"{fork.what} are signed by {name}, one of which was witnessed here",
                pair=(proof.first, proof.second),
                hint="The proof is kept and passed on. See samara trust show.",
            )
    if found is not Course.FOLLOWS and not anew:
        raise RollbackError(
            f"{name} has left what was witnessed at position {last.position}: a newer root, or the revocation of a key,"
            " says so",
            hint="Ask the publisher. If that is right: samara witness --anew",
        )


def _cosign(store: Store, ledger: Ledger, tip: Entry, keys: list[Signer]) -> Entry:
    """Keep a record with signatures of this home, and the memory of it: both or nothing."""
    publisher, ours = ledger.publisher, {key.did for key in keys}
    alone = dsse.sign(Envelope.decode(tip.envelope).payload, keys).encode()
    worth = {*tip.signers.keys, *ledger.kept(tip.signers.cosigners), *ours}
    joined = dsse.join(tip.envelope, alone, worth)
    try:
        with store.ledgers.lock, store.transaction():
            store.witnessed.remember(publisher, Cosigned(root_of(tip), _position(tip), tip.id, joined))
            store.ledgers.take((), [joined], publisher=publisher)
            with store.ledgers.asking(publisher) as now:
                found = now.newest if now is not None else None
            if found is None or not ours <= found.signers.everyone:
                raise OperationError(
                    "there is no room for another signature on this record",
                    hint="Its publisher's keys take it all. The next record may have some.",
                )
            return found
    except BaseException:
        store.ledgers.forget(publisher)
        raise


def _witness_all(store: Store, request: WitnessRequest) -> WitnessedLogs:
    if bool(request.of) == request.all:
        raise UsageError("whose log?", hint="Name a publisher, or everybody with --all.")
    rows: list[WitnessRow] = []
    skipped: list[WitnessSkipped] = []
    for publisher in _whose(store, request):
        try:
            rows.append(witness(store, publisher, anew=request.anew))
        except LockedKeyError:
            raise
        except SamaraError as error:
            who = publisher_text(store, publisher), format_record(publisher)
            skipped.append(WitnessSkipped(*who, name_of(error), error.message, error.hint))
    return WitnessedLogs(tuple(rows), tuple(skipped))


def _whose(store: Store, request: WitnessRequest) -> list[PublisherId]:
    if not request.all:
        return sorted(publishers_of(store, request.of))
    names = store.catalog.petnames()
    known = store.ledgers.known()
    found = [one for one in names.keys() & may_be_asked_for(store) if known.get(one, (0, 0))[1]]
    return sorted((one for one in found if not store.ledgers.is_own(one)), key=names.__getitem__)


def _position(entry: Entry) -> int:
    place = place_of(entry)
    return 0 if place is None else place.position


async def _witness(node: Node, request: WitnessRequest, report: Report) -> WitnessedLogs:
    done = await trio.to_thread.run_sync(_witness_all, node.store, request)
    node.library_changed()  # a log that was witnessed is announced, and shown
    return done


WITNESS = Operation("witness", WitnessRequest, WitnessedLogs, _witness, signs=True)
