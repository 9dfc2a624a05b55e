"""Heads: which release of a name is the newest (specs/records.md §6).

A head can be old: a mirror may not know better, and a thief may want it so. `newer_head` compares two, and never goes
back. Whether a head names a release that is at hand, is checked by `samara.protocol.records.verify`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

from samara.protocol.dsse import Signer
from samara.protocol.errors import ForkError, StatementError
from samara.protocol.ids import PublisherId, ReleaseId, digest, format_record
from samara.protocol.records.delegation import NO_DELEGATIONS, Delegations, check_authority, read_delegated
from samara.protocol.records.entry import Origin, Place, formatted, given, read_expires, read_place
from samara.protocol.records.fields import NAME
from samara.protocol.records.root import PublisherChain
from samara.protocol.records.signers import Signers, Standing
from samara.protocol.records.statement import Opened, Subject, of_kind, open_any, seal, understood

__all__ = ["HEAD_TYPE", "Head", "VerifiedHead", "check_head", "make_head", "newer_head", "verify_head"]

HEAD_TYPE: Final = "urn:samara:head:1"
_SUBJECT: Final = "release"
_KNOWN: Final = frozenset(
    {"critical", "publisher", "root", "name", "sequence", "previous", "release", "issued"}
    | {"position", "after", "expires", "delegation"}
)


@final
@dataclass(frozen=True, slots=True)
class Head:
    """What a head says.

    Attributes:
        publisher: Whose head it is.
        root: Version of the root under which it is signed.
        name: The name that it is the head of.
        sequence: 1 for the first, one more each time.
        previous: Record id of the head before it; None for the first.
        release: The newest release of that name.
        issued: `YYYY-MM-DDTHH:MM:SSZ`.
        place: Its place in the publisher's log; None for one outside: an old one, or one by a delegate.
        expires: After which time a newer head is to be expected; None: never.
        delegation: Record id of the delegation under which it is signed, or None: by the publisher's own keys.
    """

    publisher: PublisherId
    root: int
    name: str
    sequence: int
    previous: bytes | None
    release: ReleaseId
    issued: str
    place: Place | None = None
    expires: str | None = None
    delegation: bytes | None = None

    @property
    def origin(self) -> Origin:
        """Whose it is, and where in the log.

        Raises:
            StatementError: It is outside the log.
        """
        if self.place is None:
            raise StatementError(f"a head of {self.name!r} without a place in the log")
        return Origin(self.publisher, self.root, self.place, self.issued)


@final
@dataclass(frozen=True, slots=True)
class VerifiedHead:
    """A head that is signed by its publisher.

    Attributes:
        id: Its record id.
        payload: The exact bytes that were signed.
        head: What it says.
        subject: Digests of the release's payload.
        signers: Who signed. Only a `CURRENT` head moves a name.
        envelope: The envelope as received.
    """

    id: bytes
    payload: bytes
    head: Head
    subject: Subject
    signers: Signers
    envelope: bytes

    @property
    def said(self) -> Head:
        """What it says: as `Verified` calls it."""
        return self.head


def make_head(
    chain: PublisherChain,
    *,
    name: str,
    release: bytes,
    previous: VerifiedHead | None,
    issued: str,
    keys: Sequence[Signer],
    place: Place | None = None,
    expires: str | None = None,
    delegation: bytes | None = None,
    delegations: Delegations = NO_DELEGATIONS,
) -> VerifiedHead:
    """Sign a head that moves a name to a release, under the current root, and verify the result.

    Args:
        chain: The publisher's chain.
        name: The name of the release.
        release: The payload of the release that shall be the newest of that name.
        previous: The head of that name so far, or None.
        issued: `YYYY-MM-DDTHH:MM:SSZ`.
        keys: Enough keys of the current root, or of the delegation.
        place: The next place of the publisher's log; None for a delegate, who does not write it.
        expires: `YYYY-MM-DDTHH:MM:SSZ`, or None: never.
        delegation: The delegation under which it is signed; None: the publisher's own keys.
        delegations: What is known of the publisher's delegations.

    Raises:
        RecordError: The previous head is of another name, or the keys may not sign.
    """
    if previous is not None and (previous.head.publisher, previous.head.name) != (chain.publisher, name):
        raise StatementError(f"the head of {previous.head.name!r} cannot be followed by one of {name!r}")
    head = Head(
        publisher=chain.publisher,
        root=chain.current.version,
        name=name,
        sequence=previous.head.sequence + 1 if previous else 1,
        previous=previous.id if previous else None,
        release=ReleaseId(digest(release)),
        issued=issued,
        place=place,
        expires=expires,
        delegation=delegation,
    )
    return verify_head(seal(Subject.of(_SUBJECT, release), HEAD_TYPE, _predicate(head), keys), chain, delegations)


def verify_head(envelope: bytes, publisher: PublisherChain, delegations: Delegations = NO_DELEGATIONS) -> VerifiedHead:
    """Verify a head against its publisher's chain. It may be an old one: see `newer_head`.

    Args:
        envelope: The bytes as received.
        publisher: The verified chain of its publisher.
        delegations: What is known of that publisher's delegations.

    Raises:
        RecordError: One of its subclasses; which one for what, is in the spec.

    Source: specs/records.md §6, 1.
    """
    return check_head(open_any(envelope), envelope, publisher, delegations)


def check_head(opened: Opened, envelope: bytes, publisher: PublisherChain, delegations: Delegations) -> VerifiedHead:
    """Check what was opened; see `verify_head`."""
    head = _read(understood(of_kind(opened, HEAD_TYPE), _KNOWN))
    signers = check_authority(
        opened,
        publisher,
        delegations,
        publisher=head.publisher,
        root=head.root,
        name=head.name,
        issued=head.issued,
        delegation=head.delegation,
        what="the head",
    )
    return VerifiedHead(opened.id, opened.payload, head, opened.subject, signers, envelope)


def newer_head(known: VerifiedHead, offered: VerifiedHead) -> VerifiedHead:
    """Return whichever of two heads of one name counts; an old one that is offered changes nothing.

    Raises:
        StatementError: Of different names.
        ForkError: One sequence, two heads, both by the publisher's own keys or both under one delegation.

    Source: specs/records.md §6, 3 and 4.
    """
    a, b = known.head, offered.head
    if (a.publisher, a.name) != (b.publisher, b.name):
        raise StatementError("heads of different names cannot be compared")
    if offered.signers.standing is not Standing.CURRENT or known.id == offered.id:
        return known
    if known.signers.standing is not Standing.CURRENT:
        return offered
    if (a.root, a.delegation) == (b.root, b.delegation) and (
        a.sequence == b.sequence
        or (b.sequence == a.sequence + 1 and b.previous != known.id)
        or (a.sequence == b.sequence + 1 and a.previous != offered.id)
    ):
        raise ForkError(
            f"two heads of {a.name!r} at one position are signed by this publisher's keys",
            pair=(known.envelope, offered.envelope),
            hint="the publisher's keys may be stolen: ask the publisher, and trust neither until then",
        )
    return offered if _newness(b) > _newness(a) else known


def _newness(head: Head) -> tuple[int, int, bool]:
    return head.root, head.sequence, head.delegation is None


def _read(opened: Opened) -> Head:
    if opened.subject.name != _SUBJECT:
        raise StatementError(f"head: the subject is not named {_SUBJECT!r}")
    fields = opened.fields
    head = Head(
        publisher=PublisherId(fields.record_id("publisher")),
        root=fields.integer("root", 1),
        name=fields.match("name", NAME),
        sequence=fields.integer("sequence", 1),
        previous=None if fields.get("previous") is None else fields.record_id("previous"),
        release=ReleaseId(fields.record_id("release")),
        issued=fields.time("issued"),
        place=read_place(fields) if "position" in fields or "after" in fields else None,
        expires=read_expires(fields),
        delegation=read_delegated(opened),
    )
    if head.delegation is not None and head.place is not None:
        raise StatementError("head: a delegate has no place in its publisher's log")
    if (head.previous is None) != (head.sequence == 1):
        raise StatementError("head: previous is null exactly when sequence is 1")
    if opened.subject.blake3 != head.release:
        raise StatementError("head: the subject is not the release that it names")
    return head


def _predicate(head: Head) -> dict[str, object]:
    log: dict[str, object] = {}
    if head.place is not None:
        log = {"position": head.place.position, "after": formatted(head.place.after)}
    return {
        "critical": [] if head.delegation is None else ["delegation"],
        "publisher": format_record(head.publisher),
        "root": head.root,
        "name": head.name,
        "sequence": head.sequence,
        "previous": formatted(head.previous),
        "release": format_record(head.release),
        "issued": head.issued,
        **log,
        **given(expires=head.expires, delegation=formatted(head.delegation)),
    }
