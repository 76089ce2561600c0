"""Phoenix and MLflow as processes on loopback, with whatever they would send home switched off."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

QUIET = {
    "PHOENIX_TELEMETRY_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}
_START_SECONDS = 180


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(url: str, body: object = None) -> Any:
    """The JSON that `url` answers; a POST where there is a body."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def wait_for(look: Callable[[], Any], *, seconds: float = 60) -> Any:
    """What `look` answers once that is something; the last failure after `seconds`."""
    until = time.monotonic() + seconds
    while True:
        try:
            found = look()
        except (OSError, urllib.error.URLError, LookupError):
            if time.monotonic() > until:
                raise
            found = None
        if found:
            return found
        if time.monotonic() > until:
            raise TimeoutError(f"nothing came within {seconds} s")
        time.sleep(0.5)


@contextmanager
def running(
    command: Sequence[str | Path], health: str, environment: Mapping[str, str], log: Path
) -> Iterator[None]:
    """The process, from when `health` answers until the block ends."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, env={**os.environ, **QUIET, **environment}
        )
    try:
        wait_for(lambda: _answers(process, health, log), seconds=_START_SECONDS)
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(process: subprocess.Popen[bytes], health: str, log: Path) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"{process.args!r} ended: {log.read_text()[-2000:]}")
    with urllib.request.urlopen(health, timeout=5) as response:
        return bool(response.status == 200)
