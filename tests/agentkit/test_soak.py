"""A few seconds of the soak: nothing stays held, and files are closed again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_short_soak_leaves_nothing_behind() -> None:
    """Half an hour of it, with the memory's slope: `make soak`."""
    command = [sys.executable, "benchmarks/soak.py", "--minutes", "0.12", "--json"]
    run = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=110)
    report = json.loads(run.stdout)
    assert report["tasks"] >= 7
    assert report["stuck_leases"] == report["leases_most"] == 0
    assert report["descriptors_most"] <= 40
