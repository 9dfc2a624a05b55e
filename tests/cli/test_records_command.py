"""records as commands: what they print, their JSON, and their exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.cli import Here
from support.contents import give_home, make_source
from support.publishers import Publisher
from support.speaking import tell

from samara.cli.operations import Operations
from samara.protocol.ids import format_record


@pytest.fixture
def here(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    return Here(tmp_path / "here", capsys, monkeypatch)


@pytest.fixture
def there(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    return Here(tmp_path / "there", capsys, monkeypatch)


@pytest.fixture
def anna(here: Here) -> Publisher:
    """Somebody with a name and a log here."""
    anna = Publisher.of("anna")
    release = anna.release("1")
    anna.head(release)
    anna.revoke(release)
    with give_home(here.path) as store:
        store.catalog.set_petname(anna.chain.publisher, "anna")
        tell(store, anna)
    return anna


def test_all_are_operations_of_a_node() -> None:
    assert {"records export", "records import", "records sync"} <= set(Operations())


def test_records_go_from_home_to_home(here: Here, there: Here, anna: Publisher, tmp_path: Path) -> None:
    code, out, _ = here.samara("records", "export", tmp_path / "news")
    assert (code, "2 records of 1 publisher" in out, "anna" in out) == (0, True, True)
    code, out, _ = there.samara("records", "import", tmp_path / "news")
    assert code == 0
    assert "2 new records, 1 new root, 0 known" in out
    code, again = there.json("records", "import", tmp_path / "news")
    who = format_record(anna.chain.publisher)
    row = {"publisher": who, "publisher_id": who, "roots": 0, "records": 0, "known": 2, "forks": 0, "refused": {}}
    assert (code, again) == (0, {"publishers": [row], "skipped": []})


def test_a_file_that_was_cut_off_gives_what_it_has_and_says_so(
    here: Here, there: Here, anna: Publisher, tmp_path: Path
) -> None:
    here.samara("records", "export", tmp_path / "news", "anna")
    (tmp_path / "news").write_bytes((tmp_path / "news").read_bytes()[:-10])
    code, out, _ = there.samara("records", "import", tmp_path / "news")
    assert code == 4
    assert "2 new records" in out
    assert "SKIPPED the rest of the file: the file of records is cut off" in out


def test_what_is_wrong_has_its_exit_code(here: Here, anna: Publisher, tmp_path: Path) -> None:
    (tmp_path / "photo").write_bytes(b"\xff\xd8" * 100)
    assert here.json("records", "import", tmp_path / "photo")[1]["error"] == "RecordFileError"
    assert here.samara("records", "import", tmp_path / "photo")[0] == 4
    assert here.samara("records", "import", tmp_path / "nothing")[0] == 3
    assert here.samara("records", "export", tmp_path / "news", "nobody")[0] == 3
    assert here.samara("records", "export", tmp_path / "photo", "anna")[0] == 1


def test_a_log_that_was_forked_has_the_exit_code_of_what_is_not_trusted(
    here: Here, there: Here, anna: Publisher, tmp_path: Path
) -> None:
    other = anna.copy()
    anna.publish("2")
    other.publish("3")
    with give_home(here.path) as store:
        tell(store, anna)
    with give_home(there.path) as store:
        tell(store, other)
    here.samara("records", "export", tmp_path / "news")
    code, out, _ = there.samara("records", "import", tmp_path / "news")
    assert code == 5
    assert "1 proof that two logs were signed" in out
    assert "1 refused: ForkError" in out


def test_asking_nobody_says_so(here: Here, there: Here, anna: Publisher) -> None:
    assert here.samara("records", "sync")[0] == 3
    assert there.samara("records", "sync")[0] == 3
    peer = "/ip4/127.0.0.1/tcp/9/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"
    code, found = here.json("records", "sync", "--peer", peer)
    assert code == 1
    assert found["asked"] == 0
    assert len(found["failed"]) == 1


def test_a_home_that_has_nothing_public_exports_nothing(here: Here, tmp_path: Path) -> None:
    with give_home(here.path) as store:
        make_source(store, tmp_path / "secret", {"s": 10}, visibility="private")
    assert here.samara("records", "export", tmp_path / "news")[0] == 3
    assert here.samara("records", "export", tmp_path / "news", "me")[0] == 0
