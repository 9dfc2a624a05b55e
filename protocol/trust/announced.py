"""A log as the DHT keeps it: what must be known of a publisher by those whom nobody else tells.

A value is a file of records of one publisher: the roots, proofs of forks, revocations and the newest record. Who
validates one there knows nothing of the publisher; whoever looks one up takes it like any other file of records.

Source: specs/network.md, "Values".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

from samara.protocol.errors import RecordError, RecordFileError, StatementError, UntrustedError
from samara.protocol.ids import PublisherId
from samara.protocol.limits import MAX_ANNOUNCED_LOG, MAX_KAD_VALUE, MAX_LOG_FORKS
from samara.protocol.ports import LogPage
from samara.protocol.records.log import Entry
from samara.protocol.records.root import PublisherChain
from samara.protocol.routing import log_key
from samara.protocol.trust.forks import ForkProof, place_of, root_of
from samara.protocol.trust.ledger import Ledger
from samara.protocol.trust.recordfile import Item, Kind, RecordFileReader, RecordFileWriter

__all__ = ["AnnouncedLog", "best_announced_log", "decode_announced_log", "encode_announced_log"]

_ITEM: Final = 5
"""Bytes of an item beside what it holds."""


@final
@dataclass(frozen=True, slots=True)
class AnnouncedLog:
    """A value, verified.

    Attributes:
        publisher: Whose log.
        page: What it has, as a peer would have told it.
        rank: The greater, the better.
    """

    publisher: PublisherId
    page: LogPage
    rank: tuple[int, bool, int, int, int]


def encode_announced_log(ledger: Ledger) -> bytes | None:
    """Return the value that tells what is known of a publisher; None when there is nothing to tell, or no room.

    Args:
        ledger: All that is known.
    """
    roots = ledger.chain.envelopes
    writer = RecordFileWriter()
    frame = writer.begin() + writer.publisher(ledger.publisher, LogPage(roots=roots)) + writer.end()
    room = MAX_KAD_VALUE - len(frame)
    if room < 0:
        return None
    tip = ledger.newest
    kept = _ITEM + len(tip.envelope) if tip is not None else 0
    if 2 * kept > room:
        kept = 0  # a long one, as a collection may be, takes no place of what was taken back
    room -= kept
    forks: list[ForkProof] = []
    for fork in ledger.forks[:MAX_LOG_FORKS]:
        size = _ITEM + len(fork.proof.encode())
        if fork.delegation is None and size <= room:
            forks.append(fork.proof)
            room -= size
    records: list[bytes] = []
    reader = Ledger(ledger.chain)
    for entry in sorted(ledger.revocations(), key=_rank, reverse=True):
        size = _ITEM + len(entry.envelope)
        fits = len(records) < MAX_ANNOUNCED_LOG - 1 and size <= room and (tip is None or entry.id != tip.id)
        if fits and _admits(reader, entry.envelope):
            records.append(entry.envelope)
            room -= size
    if tip is not None and _ITEM + len(tip.envelope) <= room + kept and _admits(reader, tip.envelope):
        records.append(tip.envelope)
    if not forks and not records:
        return None
    page = LogPage(roots, tuple((proof.first, proof.second) for proof in forks), (), tuple(records))
    writer = RecordFileWriter()
    return writer.begin() + writer.publisher(ledger.publisher, page) + writer.end()


def decode_announced_log(key: str, value: bytes) -> AnnouncedLog:
    """Verify a value as the DHT gave it.

    Args:
        key: The key that it was found under.
        value: Its bytes.

    Raises:
        RecordFileError: It is not laid out as it must be.
        RecordError: What it holds is wrong, proves nothing, contradicts itself, or is another publisher's.
    """
    if len(value) > MAX_KAD_VALUE:
        raise RecordFileError(f"an announced log of {len(value)} bytes: at most {MAX_KAD_VALUE}")
    items = _items(value)
    publisher = items[0].publisher if items else None
    if publisher is None or any(item.publisher != publisher for item in items) or log_key(publisher) != key:
        raise StatementError("a log under the key of another publisher")
    roots, proofs, records = (
        tuple(item.data for item in items if item.kind is kind) for kind in (Kind.ROOT, Kind.FORK, Kind.RECORD)
    )
    if not len(proofs) + len(records) >= 1 or len(proofs) > MAX_LOG_FORKS or len(records) > MAX_ANNOUNCED_LOG:
        raise StatementError("an announced log with nothing in it, or too much")
    ledger = Ledger(PublisherChain.verify(roots, expected=publisher))
    for record in records:
        try:
            ledger.admit(record)
        except UntrustedError as error:
            raise StatementError(f"an announced log that contradicts itself: {error.message}") from error
    pairs = [ForkProof.decode(proof) for proof in proofs]
    for pair in pairs:
        ledger.admit_fork(pair)
    tip = ledger.newest
    root, position = _rank(tip) if tip is not None else (0, 0)
    rank = (len(roots), bool(pairs), root, position, len(ledger.revocations()))
    page = LogPage(roots, tuple((pair.first, pair.second) for pair in pairs), records, newest=position)
    return AnnouncedLog(publisher, page, rank)


def best_announced_log(key: str, values: Sequence[bytes]) -> int:
    """Return the index of the best of valid values; of equal ones, of that which came first."""
    ranks = [decode_announced_log(key, value).rank for value in values]
    return ranks.index(max(ranks))


def _items(value: bytes) -> list[Item]:
    reader = RecordFileReader()
    items = list(reader.receive(value))
    reader.finish()
    return items


def _admits(ledger: Ledger, envelope: bytes) -> bool:
    try:
        ledger.admit(envelope)
    except (RecordError, UntrustedError):
        return False
    return True


def _rank(entry: Entry) -> tuple[int, int]:
    place = place_of(entry)
    return root_of(entry), 0 if place is None else place.position
