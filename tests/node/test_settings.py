"""Settings: from the file and the environment, in units, and refused when they make no sense."""

from __future__ import annotations

from pathlib import Path

import pytest

from samara.node.network.timetable import Window
from samara.node.settings import NetworkSettings, load_settings
from samara.node.store.home import Home
from samara.protocol.errors import UsageError
from samara.protocol.limits import MAX_WINDOWS

SCHEDULE = """
[[network.schedule]]
days = "mon-fri"
from = "08:00"
to = "18:00"
upload = "200 kB"
download = 0

[[network.schedule]]
from = "22:00"
to = "07:00"
upload = "off"
"""


def read(tmp_path: Path, text: str, **environ: str) -> NetworkSettings:
    home = Home(tmp_path)
    home.config.write_text(text)
    return load_settings(home, environ).network


def test_limits_are_read_in_units(tmp_path: Path) -> None:
    text = '[network]\nupload = "2 MB"\ndownload = 0\npeer_upload = "20 Mbit"\nmax_upload = "1 GiB"\nmetered = true\n'
    found = read(tmp_path, text + SCHEDULE)
    assert (found.upload, found.download, found.peer_upload) == (2_000_000, 0, 2_500_000)
    assert (found.peer_download, found.max_upload, found.metered) == (None, 1 << 30, True)
    assert found.schedule == (
        Window("08:00", "18:00", "mon-fri", 200_000, 0),
        Window("22:00", "07:00", "daily", "off", None),
    )


def test_off_is_no_cap_and_the_environment_wins(tmp_path: Path) -> None:
    text = '[network]\nupload = "off"\ndownload = "1 MB"\nmax_upload = 5\n' + SCHEDULE
    found = read(
        tmp_path,
        text,
        SAMARA_NETWORK_DOWNLOAD="off",
        SAMARA_NETWORK_MAX_UPLOAD="7 kB",
        SAMARA_NETWORK_METERED="yes",
        SAMARA_NETWORK_SCHEDULE="sat 10:00-11:00 upload=1; 12:00-13:00 download=2 MB;",
    )
    assert (found.upload, found.download, found.max_upload, found.metered) == (None, None, 7000, True)
    assert list(map(str, found.schedule)) == ["sat 10:00-11:00 upload=1", "daily 12:00-13:00 download=2000000"]


@pytest.mark.parametrize(
    "text",
    [
        "upload = -1",
        'upload = "fast"',
        "upload = 1.5",
        "peer_upload = 0",
        "max_upload = -1",
        "metered = 1",
        'schedule = "mon 08:00-09:00 upload=1"',
        'schedule = [{from = "08:00", to = "08:00", upload = 1}]',
        'schedule = [{from = "08:00", to = "09:00"}]',
        'schedule = [{from = "08:00", to = "09:00", upload = "quick"}]',
        'schedule = [{from = "08:00", to = "09:00", upload = 1, connections = 3}]',
        'schedule = [{from = 08:00:00, to = "09:00", upload = 1}]',
        "schedule = [" + '{from = "08:00", to = "09:00", upload = 1}, ' * (MAX_WINDOWS + 1) + "]",
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError):
        read(tmp_path, f"[network]\n{text}\n")
