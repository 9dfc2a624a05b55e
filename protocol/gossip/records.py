"""What is said by gossip: one record, root or proof of a fork in the topic of its publisher.

`look_at` finds what is wrong for everybody, whatever they know of the publisher; the rest is for the ledger.

Source: specs/gossip.md, "Topics", "Data" and "Checking".
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final, final

from samara.protocol.errors import EnvelopeError, JsonError, LinkError, RecordError, RecordFileError, SignatureError
from samara.protocol.ids import PublisherId, format_record, parse_record
from samara.protocol.records.root import ROOT_TYPE
from samara.protocol.records.statement import Opened, open_any
from samara.protocol.trust.forks import ForkProof
from samara.protocol.trust.recordfile import Item, Kind, decode_item

__all__ = ["Look", "is_topic", "look_at", "publisher_of", "topic_of"]

_PREFIX: Final = "/samara/records/1/"


def topic_of(publisher: PublisherId) -> str:
    """Return the topic in which records of a publisher are told."""
    return _PREFIX + format_record(publisher)


@functools.lru_cache(maxsize=4096)  # peers name the same topics again and again
def is_topic(topic: str) -> bool:
    """Return whether a topic is that of some publisher."""
    try:
        parse_record(topic.removeprefix(_PREFIX))
    except LinkError:
        return False
    return topic.startswith(_PREFIX)


def publisher_of(topic: str) -> PublisherId:
    """Return whose topic one is for which `is_topic` holds."""
    return PublisherId(parse_record(topic.removeprefix(_PREFIX)))


@final
@dataclass(frozen=True, slots=True)
class Look:
    """What a look at a message shows.

    Attributes:
        item: The record, root or proof; None when it is none.
        wrong: Why nobody who checks can have passed it on; empty when that cannot be said.
        root: The version of the root that it is, or that it names; 0 when it names none.
        of_genesis: Only the keys of the first root may have signed it, which nobody can fork.
    """

    item: Item | None
    wrong: str = ""
    root: int = 0
    of_genesis: bool = False


def look_at(publisher: PublisherId, data: bytes) -> Look:
    """Look at the data of a message, before a ledger is asked. It costs the verification of the signatures.

    Args:
        publisher: Whose topic it came in.
        data: What came.
    """
    try:
        item = decode_item(publisher, data)
        if item.kind is Kind.FORK:
            return _look_at_fork(item)
        opened = open_any(item.data)
    except (RecordFileError, EnvelopeError, JsonError, SignatureError) as error:
        return Look(None, error.message)
    except RecordError:
        # Somebody has signed it, and a later version may read it.
        return Look(item)
    return _look_at_root(item, opened) if item.kind is Kind.ROOT else _look_at_record(item, opened)


def _look_at_fork(item: Item) -> Look:
    proof = ForkProof.decode(item.data)
    first, second = open_any(proof.first), open_any(proof.second)
    if first.id == second.id:
        return Look(None, "a proof of a fork with one record twice")
    kind = _look_at_root if first.kind == ROOT_TYPE else _look_at_record
    looks = [kind(item, opened) for opened in (first, second)]
    wrong = next((look.wrong for look in looks if look.wrong), "")
    return Look(None, wrong) if wrong else Look(item, "", max(look.root for look in looks))


def _look_at_root(item: Item, opened: Opened) -> Look:
    if opened.kind != ROOT_TYPE:
        return Look(None, f"a {opened.kind} as a root")
    version = _number(opened, "version")
    if version == 1 and opened.id != item.publisher:
        return Look(None, "the genesis of another publisher")
    return Look(item, "", version, version <= 2)


def _look_at_record(item: Item, opened: Opened) -> Look:
    told = opened.fields.get("publisher") if "publisher" in opened.fields else None
    if told != format_record(item.publisher):
        return Look(None, "no record of the publisher whose topic it is")
    root = _number(opened, "root")
    return Look(item, "", root, root == 1 and "delegation" not in opened.fields)


def _number(opened: Opened, name: str) -> int:
    try:
        return opened.fields.integer(name, 1)
    except RecordError:
        return 0
