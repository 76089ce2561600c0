"""A client of a batch benchmark, killed by SIGKILL and started anew until it ends."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks._batch_client import READY

_LONGEST_SECONDS = 1_800.0
_ROOT = Path(__file__).resolve().parent.parent


def killed_until_done(
    module: str, arguments: Sequence[str], *, kills: int, most_seconds: float, seed: int
) -> int:
    """Run `python -m module` until it has ended by itself; gives how often it was killed.

    It is killed up to `kills` times, each at a random moment up to `most_seconds` after it said
    that it begins to work. Raises RuntimeError where it fails, TimeoutError after half an hour.
    """
    dice = random.Random(seed)
    started = time.monotonic()
    command = [sys.executable, "-m", module, *arguments]
    killed = 0
    while True:
        if time.monotonic() - started > _LONGEST_SECONDS:
            raise TimeoutError(f"{module} did not end in {_LONGEST_SECONDS:.0f} s")
        with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE) as client:
            if client.stdout is None or client.stdout.readline().strip() != READY.encode():
                raise RuntimeError(f"{module} did not start")
            try:
                moment = dice.uniform(0.02, most_seconds)
                status = client.wait(moment if killed < kills else None)
            except subprocess.TimeoutExpired:
                client.kill()
                killed += 1
                continue
        if status != 0:
            raise RuntimeError(f"{module} ended with status {status}")
        return killed
