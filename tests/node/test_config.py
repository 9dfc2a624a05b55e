"""Settings that are written: the file says them, and all that it said before, comments and all."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from samara.node.config import save_settings
from samara.node.network.timetable import parse_window
from samara.node.settings import load_settings
from samara.node.store.home import Home
from samara.protocol.errors import StoreError, UsageError

WINDOWS = (parse_window("mon-fri 08:00-18:00 upload=200kB download=0"), parse_window("22:00-07:00 upload=off"))

FILE = """# my node
[network]  # the line
listen = [
    "/ip4/0.0.0.0/tcp/4001",
]
upload = "2 MB"      # as the contract says
metered = false

[[network.schedule]]
from = "01:00"
to = "02:00"
download = 5

# disks
[store]
quota = "50 GB"  # half
"""


def saved(tmp_path: Path, text: str | None, **values: Any) -> str:
    home = Home(tmp_path)
    if text is not None:
        home.config.write_text(text)
    save_settings(home, "network", values)
    load_settings(home, {})  # refuses what makes no sense
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]
    return home.config.read_text()


def test_a_file_is_made_where_there_is_none(tmp_path: Path) -> None:
    assert tomllib.loads(saved(tmp_path, None, upload=5, metered=True, download=None)) == {
        "network": {"upload": 5, "metered": True}
    }
    assert load_settings(Home(tmp_path), {}).network.upload == 5


def test_all_else_stays_as_it_is(tmp_path: Path) -> None:
    text = saved(tmp_path, FILE, upload=7, max_upload=9, schedule=WINDOWS)
    for kept in (
        "# my node",
        "[network]  # the line",
        "# disks",
        '[store]\nquota = "50 GB"  # half',
        "metered = false",
    ):
        assert kept in text
    found = load_settings(Home(tmp_path), {})
    assert (found.network.upload, found.network.max_upload, found.network.schedule) == (7, 9, WINDOWS)
    assert found.network.listen == ("/ip4/0.0.0.0/tcp/4001",)
    assert found.store.quota == 50 * 10**9
    assert saved(tmp_path, text, upload=7, max_upload=9, schedule=WINDOWS).split() == text.split()


def test_what_is_off_is_taken_out(tmp_path: Path) -> None:
    text = saved(tmp_path, FILE, upload=None, schedule=(), peer_upload=None)
    assert "upload" not in text
    assert "schedule" not in text
    assert tomllib.loads(text)["network"].keys() == {"listen", "metered"}


@pytest.mark.parametrize(
    "text",
    [
        '[store]\nquota = "1 GB"\n',
        "",
        "# nothing\n",
        '[[network.schedule]]\nfrom = "01:00"\nto = "02:00"\nupload = 1\n',
    ],
)
def test_a_section_is_added(tmp_path: Path, text: str) -> None:
    saved(tmp_path, text, upload=3)
    assert load_settings(Home(tmp_path), {}).network.upload == 3
    saved(tmp_path, text, schedule=WINDOWS)
    assert load_settings(Home(tmp_path), {}).network.schedule == WINDOWS


@pytest.mark.parametrize(
    "text",
    [
        "network = { upload = 5 }\n",
        "network.upload = 5\n",
        '[network]\n"upload" = 5\n',
        '[network]\nschedule = [\n  {from = "01:00", to = "02:00", upload = 1},\n]\n',
        "['network']\nupload = 5\n",
    ],
)
def test_a_file_that_cannot_be_edited_is_left_alone(tmp_path: Path, text: str) -> None:
    home = Home(tmp_path)
    home.config.write_text(text)
    with pytest.raises(UsageError, match="cannot be edited") as caught:
        save_settings(home, "network", {"upload": 7, "schedule": WINDOWS})
    assert "upload = 7" in caught.value.hint
    assert home.config.read_text() == text


def test_a_file_that_says_nothing_sensible_is_left_alone(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.config.write_text("[network\n")
    with pytest.raises(UsageError, match="cannot be read"):
        save_settings(home, "network", {"upload": 7})


def test_a_folder_that_is_gone_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be written"):
        save_settings(Home(tmp_path / "gone"), "network", {"upload": 7})


def test_who_may_read_it_stays_so(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.config.write_text("")
    home.config.chmod(0o600)
    save_settings(home, "network", {"upload": 7})
    assert home.config.stat().st_mode & 0o777 == 0o600
