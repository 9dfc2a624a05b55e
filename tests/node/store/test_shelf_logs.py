"""Whose logs a store shows to whom: what is unlisted or private must not be told of by what was said beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.contents import Source, give_home, make_source, take_all
from support.publishers import Publisher
from support.speaking import publisher_of, release_of, tell

from samara.node.store.store import Store
from samara.protocol.ids import PublisherId
from samara.protocol.ports import LogPage


def shown(store: Store, publisher: PublisherId, peer: str = "anyone") -> LogPage | None:
    return store.shelf.log(publisher, 0, 1, peer)


def speak(store: Store, made: Source) -> Publisher:
    """Have the publisher of a home take a release back."""
    publisher = publisher_of(store)
    publisher.revoke(release_of(store, made.release))
    tell(store, publisher, own=True)
    return publisher


def test_a_log_is_shown_to_all_when_a_public_release_is_held(tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store:
        publisher = speak(store, make_source(store, tmp_path / "public", {"p": 10}))
        page = shown(store, publisher.chain.publisher)
        assert page == LogPage(roots=publisher.chain.envelopes, entries=tuple(publisher.said), newest=2)
        assert shown(store, PublisherId(bytes(32))) is None


def test_a_log_is_not_shown_for_what_is_unlisted(tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store:
        publisher = speak(store, make_source(store, tmp_path / "unlisted", {"u": 10}, visibility="unlisted"))
        assert shown(store, publisher.chain.publisher) is None


def test_a_log_is_shown_to_those_for_whom_a_release_is(tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store:
        made = make_source(store, tmp_path / "private", {"q": 10}, visibility="private", allow=("friend",))
        publisher = speak(store, made).chain.publisher
        assert shown(store, publisher, "friend") is not None
        assert shown(store, publisher, "stranger") is None


@pytest.mark.parametrize("tightened", ["unlisted", "private"])
def test_who_keeps_a_public_release_to_himself_shows_no_log(tightened: str, tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store:
        made = make_source(store, tmp_path / "public", {"p": 10})
        publisher = speak(store, made).chain.publisher
        store.catalog.tighten(made.release, tightened)
        assert shown(store, publisher) is None


def test_the_log_of_what_is_condemned_or_gone_from_the_disk_is_shown(tmp_path: Path) -> None:
    with give_home(tmp_path / "home") as store:
        made = make_source(store, tmp_path / "public", {"p": 10})
        publisher = speak(store, made).chain.publisher
        store.catalog.condemn(made.content, "its header lies")
        assert shown(store, publisher) is not None
        (tmp_path / "public" / "p").unlink()
        assert shown(store, publisher) is not None


def test_a_log_of_somebody_who_only_has_a_name_is_not_shown(tmp_path: Path) -> None:
    """Else whoever asks for many logs would learn whom this home has a name for."""
    anna = Publisher.of("anna")
    anna.publish("1")
    with give_home(tmp_path / "home") as store:
        store.catalog.set_petname(anna.chain.publisher, "anna")
        tell(store, anna)
        assert store.ledgers.ledger(anna.chain.publisher) is not None
        assert shown(store, anna.chain.publisher) is None


def test_who_fetched_a_release_shows_the_log_too(tmp_path: Path) -> None:
    with give_home(tmp_path / "source") as source, give_home(tmp_path / "target") as target:
        made = make_source(source, tmp_path / "public", {"p": 10})
        publisher = speak(source, made)
        take_all(made, source, target)
        page = shown(target, publisher.chain.publisher)
        came = LogPage(roots=publisher.chain.envelopes, entries=tuple(publisher.said[:1]), newest=1)
        assert page == came, "its head has come with the release, and nothing else"
        tell(target, publisher)
        assert shown(target, publisher.chain.publisher) == shown(source, publisher.chain.publisher)
