"""key delegate, key delegations and publish --as: what a person sees, and what a script gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.cli import Here


@pytest.fixture
def anna(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    return Here(tmp_path / "anna", capsys, monkeypatch)


@pytest.fixture
def carol(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    return Here(tmp_path / "carol", capsys, monkeypatch)


def ok(here: Here, *command: str) -> dict[str, Any]:
    """The JSON of a command that ends well."""
    code, found = here.json(*command)
    assert code == 0, found
    return found


def tell(one: Here, other: Here, path: Path) -> None:
    """Carry one home's log to another, as a file."""
    ok(one, "records", "export", str(path), "me")
    ok(other, "records", "import", str(path))


def test_from_the_delegation_to_its_end_on_the_command_line(anna: Here, carol: Here, tmp_path: Path) -> None:
    publisher, did = ok(anna, "key", "show")["publisher"], ok(carol, "key", "show")["key"]
    ok(carol, "key", "name", publisher, "anna")
    model = tmp_path / "tonight"
    model.mkdir()
    (model / "model.bin").write_bytes(b"weights")
    publish = ("publish", str(model), "--name", "night-42", "--license", "MIT", "--as", "anna")
    code, _, err = carol.samara(*publish)
    assert (code, "the log of anna is not here" in err) == (3, True)

    made = ok(anna, "key", "delegate", "night-*", "--to", did, "--expires", "2099-01-01T00:00:00Z")
    assert (made["names"], made["keys"], made["state"], made["new"]) == (["night-*"], [did], "in force", True)
    _, again, _ = anna.samara("key", "delegate", "night-*", "--to", did, "--expires", "2099-01-01T00:00:00Z")
    assert "is delegated so already" in again
    tell(anna, carol, tmp_path / "log")
    _, listed, _ = carol.samara("key", "delegations", "anna")
    assert "night-*  (in force, until 2099-01-01T00:00:00Z)" in listed
    assert "samara publish PATH --name NAME --as anna" in listed

    released = ok(carol, *publish)
    assert f"k={publisher}" in released["link"]
    shown = ok(carol, "show", "anna/night-42")
    assert shown["publisher_id"] == publisher
    assert shown["delegate"] == {
        "delegation": made["record"],
        "keys": [did],
        "names": ["night-*"],
        "expires": "2099-01-01T00:00:00Z",
        "state": "in force",
    }
    words = "a delegate for night-* until 2099-01-01T00:00:00Z"
    for command in (("show", "anna/night-42"), ("log", "anna/night-42"), ("verify", "anna/night-42")):
        assert words in carol.samara(*command)[1]
    assert "signed by a delegate of anna" in carol.samara("verify", "anna/night-42")[1]
    own = ok(carol, "publish", str(model), "--name", "mine", "--license", "MIT")
    assert ok(carol, "show", own["release"])["delegate"] is None

    code, out, _ = anna.samara("key", "delegate", "night-*", "--end")
    assert (code, "night-* is delegated no more" in out) == (0, True)
    tell(anna, carol, tmp_path / "later")
    assert "night-*  (ended)" in carol.samara("key", "delegations", "anna")[1]
    code, out, _ = carol.samara("verify", "anna/night-42")
    assert code == 5
    assert out.startswith("UNTRUSTED: night-42 1")
    assert "whose delegation has ended" in out
    code, _, err = carol.samara(*publish)
    assert (code, "anna delegates night-42 to this home no more" in err) == (1, True)
