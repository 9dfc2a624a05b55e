"""Two sites that never meet: each has its own network, and never at the same time; between them goes a file.

What the publisher at one site says arrives at the other, and `samara verify` there says the truth at each step.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from support.namespaces import lan

pytestmark = [pytest.mark.network, pytest.mark.slow]

SAMARA = (sys.executable, "-m", "samara.cli.main")


class Site:
    """A site with one machine, which is on while something is done there, and has nobody to talk to.

    Args:
        home: Its home.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.last_exit_code = 0

    def samara(self, *arguments: str) -> dict[str, Any]:
        """Turn the machine on, run a command, turn it off; return what it says."""
        with lan(1) as (machine,):
            process = machine.start([*SAMARA, *arguments, "--json"], env={"SAMARA_HOME": str(self.home)})
            said, _ = process.communicate(timeout=120)
            self.last_exit_code = process.returncode
        found: dict[str, Any] = json.loads(said)
        return found

    def verdict(self, release: str) -> dict[str, Any]:
        return self.samara("verify", release)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.bin"
    path.write_bytes(random.Random(11).randbytes(400_000))
    return path


def test_what_is_said_at_one_site_arrives_at_the_other_by_file(model: Path, tmp_path: Path) -> None:
    near, far = Site(tmp_path / "near"), Site(tmp_path / "far")
    stick = tmp_path / "stick"
    stick.mkdir()

    # A model is published here, and carried there.
    published = near.samara("publish", str(model), "--name", "tiny", "--license", "MIT")
    release = published["release"]
    near.samara("export", str(stick), release)
    far.samara("import", str(stick))
    assert far.last_exit_code == 0
    who = far.samara("show", release)["publisher_id"]
    far.samara("key", "name", who, "anna")
    first = far.verdict(release)
    assert (first["verdict"], far.last_exit_code) == ("GOOD", 0)
    assert first["judged"]["newer"] == ""

    def carry(name: str) -> dict[str, Any]:
        file = str(tmp_path / f"{name}.samara")
        near.samara("records", "export", file)
        assert near.last_exit_code == 0
        return far.samara("records", "import", file)

    # The key is replaced, and the new one signs a newer release.
    old_key = near.samara("key", "show")["key"]
    near.samara("key", "rotate")
    assert near.last_exit_code == 0
    model.write_bytes(random.Random(12).randbytes(400_000))
    second = near.samara("publish", str(model), "--name", "tiny", "--license", "MIT")["release"]
    (came,) = carry("second")["publishers"]
    assert (came["publisher"], came["roots"], came["forks"], came["refused"]) == ("anna", 1, 0, {})
    assert came["records"] >= 1
    now = far.verdict(release)
    assert (now["verdict"], far.last_exit_code) == ("GOOD", 0), "what the old key signed stays good: a head names it"
    assert now["judged"]["newer"] == second

    # The old key is taken back: what it signed until then stays as good as it was.
    near.samara("revoke", "--key", old_key)
    assert near.last_exit_code == 0
    (came,) = carry("third")["publishers"]
    assert (came["roots"], came["records"], came["refused"]) == (0, 1, {})
    assert (far.verdict(release)["verdict"], far.last_exit_code) == ("GOOD", 0)

    # The first release is taken back.
    near.samara("revoke", release, "--reason", "broken", "--replace", second)
    assert near.last_exit_code == 0
    (came,) = carry("fourth")["publishers"]
    assert (came["roots"], came["records"], came["refused"]) == (0, 1, {})
    gone = far.verdict(release)
    assert (gone["verdict"], far.last_exit_code) == ("REVOKED", 5)
    assert gone["judged"]["replacement"] == second

    # An old file takes nothing back, and the way back brings nothing that is not known.
    (again,) = far.samara("records", "import", str(tmp_path / "second.samara"))["publishers"]
    assert (again["roots"], again["records"], far.last_exit_code) == (0, 0, 0)
    assert far.verdict(release)["verdict"] == "REVOKED"
    far.samara("records", "export", str(tmp_path / "back.samara"), "anna")
    (back,) = near.samara("records", "import", str(tmp_path / "back.samara"))["publishers"]
    assert (back["roots"], back["records"], back["refused"], near.last_exit_code) == (0, 0, {}, 0)
    assert near.verdict(release)["verdict"] == "REVOKED"
