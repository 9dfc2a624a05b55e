"""How chunks of a fetch may come: which contents that are here it names as bases of deltas, what a model was made from
and its other versions.

Who is asked hears that they are held here, so only public ones are named.
"""

from __future__ import annotations

from samara.node.store.catalog import HeldRelease
from samara.node.store.store import Store
from samara.protocol.errors import SamaraError
from samara.protocol.exchange.messages import SPOKEN
from samara.protocol.ids import ContentId, ReleaseId, parse_record
from samara.protocol.limits import MAX_BASES
from samara.protocol.ports import RAW_ALONE, Accepts
from samara.protocol.records import VerifiedRelease

__all__ = ["accepts_of", "bases_of"]


def bases_of(store: Store, verified: VerifiedRelease) -> tuple[ContentId, ...]:
    """Return the contents that are here and that this release may differ little from; likely ones first."""
    release = verified.release
    made_from = [held for name in release.lineage.bases if (held := _known(store, name)) is not None]
    versions = store.catalog.releases(publisher=release.publisher, name=release.name)
    found: dict[ContentId, None] = {}
    for held in [*made_from, *versions]:
        if held.visibility == "public" and held.content != release.content and _is_here(store, held.content):
            found[held.content] = None
    return tuple(found)[:MAX_BASES]


def accepts_of(store: Store, verified: VerifiedRelease, encode: str) -> Accepts:
    """Return how chunks of a release may come: `encode` is `never`, or another word for whatever we can decode."""
    return RAW_ALONE if encode == "never" else Accepts(SPOKEN, bases_of(store, verified))


def _is_here(store: Store, content: ContentId) -> bool:
    return store.contents.has(content) and any(place.state == "online" for place in store.contents.places(content))


def _known(store: Store, name: str) -> HeldRelease | None:
    """Return the release that a lineage names, if it is an id that is known here."""
    try:
        return store.catalog.release(ReleaseId(parse_record(name)))
    except SamaraError:  # a URL, or a name that is used elsewhere
        return None
