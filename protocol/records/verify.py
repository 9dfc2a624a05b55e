"""All that records alone can say of a release, in one call (specs/records.md §5).

What is left to check needs the file table: `VerifiedRelease.check_table` and `check_facts`. What is left to decide is
trust.
"""

from __future__ import annotations

import dataclasses

from samara.protocol.errors import StatementError
from samara.protocol.ids import PublisherId, ReleaseId, format_record
from samara.protocol.ports import Records
from samara.protocol.records.delegation import NO_DELEGATIONS, Delegations
from samara.protocol.records.head import VerifiedHead, verify_head
from samara.protocol.records.release import VerifiedRelease, verify_release_envelope
from samara.protocol.records.root import PublisherChain
from samara.protocol.records.signers import Standing

__all__ = ["attach_head", "verify_release"]


def verify_release(
    records: Records,
    *,
    expected: ReleaseId | None,
    publisher: PublisherId | None = None,
    known: PublisherChain | None = None,
    delegations: Delegations = NO_DELEGATIONS,
) -> VerifiedRelease:
    """Verify a release with its root chain and its head.

    Args:
        records: The envelopes as received.
        expected: The release that was asked for, or None when it was asked for by name.
        publisher: The publisher that was asked for, or that a link states in `k`; None when any will do.
        known: The chain that is already known here of this publisher: an older one that comes along rolls nothing back.
        delegations: What is known here of the publisher's delegations, which its log has.

    Returns:
        The release; `publisher` of it is the longer of both chains.

    Raises:
        RecordError: One of its subclasses; which one for what, is in the spec.

    Source: specs/records.md §5, 1–4.
    """
    chain = PublisherChain.verify(records.roots, expected=publisher)
    if known is not None:
        chain = known.join(chain)
    release = verify_release_envelope(records.release, chain, delegations)
    if expected is not None and release.id != expected:
        raise StatementError(f"release {format_record(release.id)} came, {format_record(expected)} was asked for")
    if records.head is None:
        return release
    return attach_head(release, verify_head(records.head, chain, delegations))


def attach_head(release: VerifiedRelease, head: VerifiedHead) -> VerifiedRelease:
    """Return the release with a head that names it; a current head vouches for retired keys.

    Raises:
        StatementError: The head is of another publisher or name, or names another release.

    Source: specs/records.md §6, 2 and 3.
    """
    said = release.release
    if (head.head.publisher, head.head.name) != (said.publisher, said.name):
        raise StatementError(
            f"the head is of {head.head.name!r}, the release of {said.name!r}, or of another publisher"
        )
    if not head.subject.matches(release.payload):
        raise StatementError(
            f"the head names release {format_record(head.head.release)}, not {format_record(release.id)}"
        )
    signers = release.signers
    if signers.standing is Standing.RETIRED and head.signers.standing is Standing.CURRENT:
        signers = dataclasses.replace(signers, standing=Standing.VOUCHED)
    return dataclasses.replace(release, signers=signers, head=head)
