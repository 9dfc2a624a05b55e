"""What this home has co-signed last of each publisher's log (specs/trust.md, "Witnesses").

A witness that forgets what it signed may sign the other side of a fork. So it is written in the transaction in which
the signature itself is kept, and stays when all else of a publisher is forgotten.
"""

from __future__ import annotations

from typing import Final

from samara.node.store.index import Index
from samara.protocol.ids import PublisherId
from samara.protocol.trust import Cosigned

__all__ = ["Witnessed"]


class Witnessed:
    """The memory of a witness. Thread-safe.

    Args:
        index: Where it is kept.
    """

    def __init__(self, index: Index) -> None:
        self._index: Final = index

    def last(self, publisher: PublisherId) -> Cosigned | None:
        """Return what was co-signed last of a publisher's log, or None."""
        if not self._index.has("witnessed"):
            return None
        query = "SELECT root, position, record, envelope FROM witnessed WHERE publisher = ?"
        row = self._index.read.execute(query, (publisher,)).fetchone()
        return Cosigned(*row) if row else None

    def publishers(self) -> frozenset[PublisherId]:
        """Return those of whose logs something was co-signed: whoever sees a signature knows it of them."""
        if not self._index.has("witnessed"):
            return frozenset()
        return frozenset(PublisherId(row[0]) for row in self._index.read.execute("SELECT publisher FROM witnessed"))

    def remember(self, publisher: PublisherId, cosigned: Cosigned) -> None:
        """Remember what is co-signed; to be called in the transaction that keeps the signature."""
        with self._index.write() as db:
            db.execute(
                "INSERT OR REPLACE INTO witnessed (publisher, root, position, record, envelope) VALUES (?,?,?,?,?)",
                (publisher, cosigned.root, cosigned.position, cosigned.record, cosigned.envelope),
            )
