"""All operations of this program: the node's, and the stick's, which are put in here since neither room knows the
other.

Each is imported when it is first asked for: a command needs one of them, and all together take longer to import than a
small fetch takes otherwise.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Final, final

from samara.node.operations.base import AnyOperation, Query

__all__ = ["Operations"]

_NODE: Final = "samara.node.operations"

_WHERE: Final = {
    "collection show": (f"{_NODE}.catalogues", "COLLECTION_SHOW"),
    "collection ls": (f"{_NODE}.catalogues", "COLLECTION_LS"),
    "follows": (f"{_NODE}.catalogues", "FOLLOWS"),
    "collection add": (f"{_NODE}.collecting", "COLLECTION_ADD"),
    "collection remove": (f"{_NODE}.collecting", "COLLECTION_REMOVE"),
    "collection publishers": (f"{_NODE}.collecting", "COLLECTION_PUBLISHERS"),
    "key delegations": (f"{_NODE}.delegating", "DELEGATIONS"),
    "key delegate": (f"{_NODE}.delegating", "DELEGATE"),
    "delta": (f"{_NODE}.delta", "DELTA"),
    "fetch": (f"{_NODE}.fetch", "FETCH"),
    "fetch --dry-run": (f"{_NODE}.fetch", "DRY_RUN"),
    "queue --drop": (f"{_NODE}.fetch", "DROP"),
    "follow": (f"{_NODE}.follows", "FOLLOW"),
    "unfollow": (f"{_NODE}.follows", "UNFOLLOW"),
    "log": (f"{_NODE}.history", "LOG"),
    "trust proposals": (f"{_NODE}.introducing", "PROPOSALS"),
    "trust import": (f"{_NODE}.introducing", "TRUST_IMPORT"),
    "key tell agent": (f"{_NODE}.keys", "TELL_AGENT"),
    "key unlock": (f"{_NODE}.keys", "UNLOCK"),
    "key lock": (f"{_NODE}.keys", "LOCK"),
    "key protect": (f"{_NODE}.keys", "PROTECT"),
    "key unprotect": (f"{_NODE}.keys", "UNPROTECT"),
    "key restore": (f"{_NODE}.keys", "RESTORE"),
    "verify": (f"{_NODE}.library", "VERIFY"),
    "pin": (f"{_NODE}.library", "PIN"),
    "unpin": (f"{_NODE}.library", "UNPIN"),
    "rm": (f"{_NODE}.library", "REMOVE"),
    "gc": (f"{_NODE}.library", "GC"),
    "key name": (f"{_NODE}.library", "KEY_NAME"),
    "limits": (f"{_NODE}.limits", "LIMITS"),
    "peers": (f"{_NODE}.network", "PEERS"),
    "status": (f"{_NODE}.network", "STATUS"),
    "doctor": (f"{_NODE}.network", "DOCTOR"),
    "key oms": (f"{_NODE}.oms", "OMS_KEY"),
    "attest oms": (f"{_NODE}.oms", "ATTEST_OMS"),
    "key rotate oms": (f"{_NODE}.oms", "OMS_ROTATE"),
    "publish": (f"{_NODE}.publish", "PUBLISH"),
    "ls": (f"{_NODE}.queries", "LIST"),
    "show": (f"{_NODE}.queries", "SHOW"),
    "queue": (f"{_NODE}.queries", "QUEUE"),
    "key show": (f"{_NODE}.queries", "KEY_SHOW"),
    "records export": (f"{_NODE}.records", "RECORDS_EXPORT"),
    "records import": (f"{_NODE}.records", "RECORDS_IMPORT"),
    "records sync": (f"{_NODE}.records", "RECORDS_SYNC"),
    "key rotate": (f"{_NODE}.roots", "ROTATE"),
    "key change": (f"{_NODE}.roots", "CHANGE_KEYS"),
    "key use agent": (f"{_NODE}.roots", "USE_AGENT"),
    "key sign": (f"{_NODE}.roots", "SIGN_ROOT"),
    "key renew": (f"{_NODE}.roots", "RENEW"),
    "run": (f"{_NODE}.run", "RUN"),
    "sbom": (f"{_NODE}.sbom", "SBOM"),
    "search": (f"{_NODE}.searching", "SEARCH"),
    "seed": (f"{_NODE}.seeding", "SEED"),
    "revoke": (f"{_NODE}.signing", "REVOKE"),
    "attest": (f"{_NODE}.signing", "ATTEST"),
    "export": ("samara.cli.stick", "EXPORT"),
    "import": ("samara.cli.stick", "IMPORT"),
    "tensors": (f"{_NODE}.tensors", "TENSORS"),
    "trust show": (f"{_NODE}.trusting", "TRUST_SHOW"),
    "trust add": (f"{_NODE}.trusting", "TRUST_ADD"),
    "trust remove": (f"{_NODE}.trusting", "TRUST_REMOVE"),
    "trust lift": (f"{_NODE}.trusting", "TRUST_LIFT"),
    "trust reset-clock": (f"{_NODE}.trusting", "TRUST_RESET_CLOCK"),
    "update": (f"{_NODE}.update", "UPDATE"),
    "update --dry-run": (f"{_NODE}.update", "UPDATE_DRY_RUN"),
    "witness": (f"{_NODE}.witnessing", "WITNESS"),
}
"""By name: the module that an operation is in, and what it is called there."""


@final
class Operations(Mapping[str, AnyOperation]):
    """Every operation that a node of this program answers, by name."""

    def __getitem__(self, name: str) -> AnyOperation:
        module, attribute = _WHERE[name]
        found: AnyOperation | Query[object, object] = getattr(importlib.import_module(module), attribute)
        return found.operation() if isinstance(found, Query) else found

    def __iter__(self) -> Iterator[str]:
        return iter(_WHERE)

    def __len__(self) -> int:
        return len(_WHERE)

    def load(self) -> None:
        """Import them all: a program that is updated beneath a node that runs must not get into it in parts."""
        for name in self:
            self[name]
