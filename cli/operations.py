"""All operations of this program: the node's, and the stick's, which are put in here since neither room knows the
other.
"""

from __future__ import annotations

from typing import Any

from samara.cli import stick
from samara.node.operations import (
    catalogues,
    collecting,
    delegating,
    delta,
    fetch,
    follows,
    history,
    introducing,
    keys,
    library,
    limits,
    network,
    oms,
    publish,
    queries,
    records,
    roots,
    run,
    sbom,
    searching,
    seeding,
    signing,
    tensors,
    trusting,
    update,
    witnessing,
)
from samara.node.operations.base import AnyOperation, Query

__all__ = ["all_operations"]


def all_operations() -> list[AnyOperation]:
    """Return every operation that a node of this program answers."""
    asked: list[Query[Any, Any]] = [queries.LIST, searching.SEARCH, queries.SHOW, queries.QUEUE, queries.KEY_SHOW]
    asked += [tensors.TENSORS, oms.OMS_KEY, sbom.SBOM, history.LOG, trusting.TRUST_SHOW, delegating.DELEGATIONS]
    asked += [catalogues.COLLECTION_SHOW, catalogues.COLLECTION_LS, catalogues.FOLLOWS, introducing.PROPOSALS]
    return [
        publish.PUBLISH,
        delta.DELTA,
        fetch.FETCH,
        fetch.DRY_RUN,
        fetch.DROP,
        update.UPDATE,
        update.UPDATE_DRY_RUN,
        library.VERIFY,
        library.PIN,
        library.UNPIN,
        library.REMOVE,
        library.GC,
        library.KEY_NAME,
        keys.TELL_AGENT,
        keys.UNLOCK,
        keys.LOCK,
        keys.PROTECT,
        keys.UNPROTECT,
        keys.RESTORE,
        roots.ROTATE,
        roots.CHANGE_KEYS,
        roots.USE_AGENT,
        roots.SIGN_ROOT,
        roots.RENEW,
        delegating.DELEGATE,
        oms.ATTEST_OMS,
        collecting.COLLECTION_ADD,
        collecting.COLLECTION_REMOVE,
        collecting.COLLECTION_PUBLISHERS,
        follows.FOLLOW,
        follows.UNFOLLOW,
        introducing.TRUST_IMPORT,
        oms.OMS_ROTATE,
        records.RECORDS_EXPORT,
        records.RECORDS_IMPORT,
        records.RECORDS_SYNC,
        run.RUN,
        seeding.SEED,
        signing.REVOKE,
        signing.ATTEST,
        witnessing.WITNESS,
        trusting.TRUST_ADD,
        trusting.TRUST_REMOVE,
        trusting.TRUST_LIFT,
        trusting.TRUST_RESET_CLOCK,
        limits.LIMITS,
        network.PEERS,
        network.STATUS,
        network.DOCTOR,
        stick.EXPORT,
        stick.IMPORT,
        *(query.operation() for query in asked),
    ]
