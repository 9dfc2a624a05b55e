"""How it stands with the keys that signed a release or a head (specs/records.md §5).

A record is signed under the root version that it names. Whether those keys still speak for the publisher is another
question, and the answer is part of the result, not an error.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import final

from samara.protocol.dsse import require
from samara.protocol.errors import StatementError
from samara.protocol.ids import PublisherId, format_record
from samara.protocol.records.root import PublisherChain

__all__ = ["Signers", "Standing", "check_publisher", "check_signers"]


class Standing(enum.Enum):
    """How the signers of an intact record stand today."""

    CURRENT = "current"
    """They also meet the threshold of the current root."""
    VOUCHED = "vouched"
    """They do not, but a head by current keys names this release."""
    RETIRED = "retired"
    """They were the publisher's once. Whoever stole such a key could have signed this."""


@final
@dataclass(frozen=True, slots=True)
class Signers:
    """Who signed a record.

    Attributes:
        root: Version of the root under which it is signed.
        keys: did:keys of that root, or of the delegation, that signed, ascending.
        cosigners: Other did:keys whose signatures are right, ascending. They count for nothing.
        standing: Whether the keys still speak for the publisher.
        delegation: The delegation whose keys signed; None for keys of the root itself.
    """

    root: int
    keys: tuple[str, ...]
    cosigners: tuple[str, ...]
    standing: Standing
    delegation: bytes | None = None

    @property
    def everyone(self) -> frozenset[str]:
        """All did:keys that signed, whosever they are."""
        return frozenset(self.keys) | frozenset(self.cosigners)


def check_publisher(publisher: PublisherId, chain: PublisherChain, *, what: str) -> None:
    """Check that the publisher that a record names is the chain's.

    Raises:
        StatementError: It is another.
    """
    if publisher != chain.publisher:
        raise StatementError(
            f"{what} is of publisher {format_record(publisher)}, the root chain of {format_record(chain.publisher)}"
        )


def check_signers(
    signed: frozenset[str], publisher: PublisherId, root: int, chain: PublisherChain, *, what: str
) -> Signers:
    """Check that a record is its publisher's.

    Args:
        signed: did:keys that signed it.
        publisher: The publisher that it names.
        root: The root version that it names.
        chain: The verified chain.
        what: The record, in messages.

    Raises:
        StatementError: Another publisher's, or under a root that the chain does not have.
        SignatureError: Too few keys of that root signed.

    Source: specs/records.md §5, 3.
    """
    check_publisher(publisher, chain, what=what)
    named = chain.at(root)
    require(signed, named.keys, named.threshold, what=what)
    now = chain.current
    standing = Standing.CURRENT if len(signed & set(now.keys)) >= now.threshold else Standing.RETIRED
    ours = signed & set(named.keys)
    return Signers(root, tuple(sorted(ours)), tuple(sorted(signed - ours)), standing)
