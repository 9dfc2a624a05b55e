"""What every record of a publisher's log says besides its own: whose it is, and its place (specs/records.md §10).

All heads, revocations, attestations, collections, delegations and key bindings of a publisher are one chain: each names
the one before it, so a record commits to all that came before. Whether two records contradict each other, is judged by
`samara.protocol.trust`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar, final

from samara.protocol.dsse import Signer
from samara.protocol.errors import StatementError
from samara.protocol.ids import PublisherId, format_record
from samara.protocol.limits import MAX_POSITION
from samara.protocol.records.fields import Fields
from samara.protocol.records.root import PublisherChain
from samara.protocol.records.signers import Signers, check_signers
from samara.protocol.records.statement import Opened, Subject, of_kind, open_any, seal, understood

__all__ = [
    "ENTRY_FIELDS",
    "PUBLISHER_SUBJECT",
    "EntryKind",
    "Origin",
    "Place",
    "Said",
    "Verified",
    "about_publisher",
    "formatted",
    "given",
    "origin_of",
    "read_expires",
    "read_origin",
    "read_place",
    "seal_entry",
]

PUBLISHER_SUBJECT: Final = "publisher"
"""The subject of what is about nothing but its publisher: the payload of the genesis."""

ENTRY_FIELDS: Final = frozenset({"critical", "publisher", "root", "position", "after", "issued"})
"""Fields that each record of a log has; `Origin` holds them."""


@final
@dataclass(frozen=True, slots=True)
class Place:
    """A place in a publisher's log.

    Attributes:
        position: 1 for the first record, one more each time.
        after: Record id of the record at the position before; None exactly at 1.
    """

    position: int
    after: bytes | None

    @classmethod
    def first(cls) -> Place:
        """Return the place where a log begins."""
        return cls(1, None)

    def next(self, record: bytes) -> Place:
        """Return the place after this one, which the record of this id has.

        Raises:
            StatementError: There is none: somebody went to the end of the log.
        """
        if self.position >= MAX_POSITION:
            raise StatementError(
                "the log has no place left", hint="sign a new root: its log may go on from an earlier place"
            )
        return Place(self.position + 1, record)


@final
@dataclass(frozen=True, slots=True)
class Origin:
    """Whose a record of a log is, and where in the log.

    Attributes:
        publisher: Whose log it is in.
        root: Version of the root under which it is signed.
        place: Its place in the log.
        issued: `YYYY-MM-DDTHH:MM:SSZ`.
    """

    publisher: PublisherId
    root: int
    place: Place
    issued: str


class Said(Protocol):
    """What the predicate of a record of a log says, of whatever kind it is."""

    @property
    def origin(self) -> Origin:
        """Whose it is, and where in the log."""


S_co = TypeVar("S_co", bound=Said, covariant=True)


@final
@dataclass(frozen=True, slots=True)
class Verified(Generic[S_co]):
    """A record of a log that is signed by its publisher. `VerifiedHead` is the same for a head.

    Attributes:
        id: Its record id.
        said: What it says.
        subject: What it is about.
        signers: Who signed.
        envelope: The envelope as received.
    """

    id: bytes
    said: S_co
    subject: Subject
    signers: Signers
    envelope: bytes


@final
@dataclass(frozen=True, slots=True)
class EntryKind(Generic[S_co]):
    """A kind of record of a log: how it is read.

    Attributes:
        type: Its `predicateType`.
        what: Its name in messages.
        fields: Names of the fields that are understood.
        read: Reads what an opened record says; who signed it is not looked at.
        about_publisher: Whether its subject is its publisher, and nothing else.
    """

    type: str
    what: str
    fields: frozenset[str]
    read: Callable[[Opened], S_co]
    about_publisher: bool = False

    def verify(self, envelope: bytes, publisher: PublisherChain) -> Verified[S_co]:
        """Verify a record of this kind against its publisher's chain.

        Raises:
            RecordError: One of its subclasses; which one for what, is in the spec.
        """
        return self.check(open_any(envelope), envelope, publisher)

    def check(self, opened: Opened, envelope: bytes, publisher: PublisherChain) -> Verified[S_co]:
        """Check what was opened; see `verify`.

        Source: specs/records.md §3, §5, 3 and §10.
        """
        said = self.read(understood(of_kind(opened, self.type), self.fields))
        origin = said.origin
        signers = check_signers(opened.signed, origin.publisher, origin.root, publisher, what=f"the {self.what}")
        if self.about_publisher and opened.subject != about_publisher(publisher):
            raise StatementError(f"{self.what}: the subject is not its publisher's genesis")
        return Verified(opened.id, said, opened.subject, signers, envelope)


def read_place(fields: Fields) -> Place:
    """Read `position` and `after`."""
    position = fields.integer("position", 1)
    after = None if fields.get("after") is None else fields.record_id("after")
    if (after is None) != (position == 1):
        raise StatementError("after is null exactly when position is 1")
    return Place(position, after)


def read_origin(fields: Fields) -> Origin:
    """Read the fields that each record of a log has."""
    return Origin(
        publisher=PublisherId(fields.record_id("publisher")),
        root=fields.integer("root", 1),
        place=read_place(fields),
        issued=fields.time("issued"),
    )


def read_expires(fields: Fields) -> str | None:
    """Read the optional `expires`, which is later than `issued`."""
    expires = fields.maybe("expires", fields.time)
    if expires is not None and expires <= fields.time("issued"):
        raise StatementError("it expires before it was issued")
    return expires


def origin_of(chain: PublisherChain, place: Place, issued: str) -> Origin:
    """Return the origin of what a publisher signs now, under its current root."""
    return Origin(chain.publisher, chain.current.version, place, issued)


def about_publisher(chain: PublisherChain) -> Subject:
    """Return the subject of what is about nothing but its publisher."""
    return Subject.of(PUBLISHER_SUBJECT, chain.roots[0].payload)


def seal_entry(subject: Subject, kind: str, origin: Origin, said: dict[str, object], keys: Sequence[Signer]) -> bytes:
    """Return the envelope of a record of a log."""
    predicate: dict[str, object] = {
        "critical": [],
        "publisher": format_record(origin.publisher),
        "root": origin.root,
        "position": origin.place.position,
        "after": formatted(origin.place.after),
        "issued": origin.issued,
    }
    return seal(subject, kind, predicate | said, keys)


def given(**fields: object) -> dict[str, object]:
    """Return the optional fields that are there: in a record, missing is not the same as null."""
    return {name: value for name, value in fields.items() if value is not None}


def formatted(record: bytes | None) -> str | None:
    """Return the text of a record id that may be missing."""
    return None if record is None else format_record(record)
