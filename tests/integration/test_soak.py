"""A swarm that comes and goes for a while: scripts/soak.py, shorter than by hand.

`SAMARA_SOAK_MINUTES` says how long (2 by hand, 5 in CI; for an hour run the script itself), and `SAMARA_SOAK_SEED` what
is drawn.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.scripts import ROOT

MINUTES = float(os.environ.get("SAMARA_SOAK_MINUTES", "2"))
SEED = os.environ.get("SAMARA_SOAK_SEED", "1")


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at processes in /proc")
def test_a_swarm_that_comes_and_goes_loses_nothing(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "soak.py"), "--minutes", str(MINUTES), "--seed", SEED]
    done = subprocess.run(
        [*command, "--folder", str(tmp_path / "soak"), "--json"], capture_output=True, text=True, check=False,
        timeout=60 * MINUTES + 240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["violations"] == []
    acts = report["acts"]
    assert acts["publish ended well"] > MINUTES
    assert acts["fetch ended well"] > MINUTES
    assert acts["compared"] > MINUTES
