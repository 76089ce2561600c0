"""A real redis-server on a socket in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

BINARY = os.environ.get("AGENTKIT_REDIS") or shutil.which("redis-server")
"""AGENTKIT_REDIS names another server than the one on the path: `make test-redis8`."""


class RedisServer:
    """Started on a unix socket; can be killed and started again on the same data."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.socket = folder / "redis.sock"
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def address(self) -> str:
        """How a ledger names this server."""
        return f"unix://{self.socket}?durability=ignore"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        if BINARY is None:
            raise RuntimeError("redis-server is not installed")
        self.process = subprocess.Popen(
            [
                *(BINARY, "--port", "0", "--unixsocket", str(self.socket)),
                *("--dir", str(self.folder), "--save", "", *self.options),
            ],
            stdout=subprocess.DEVNULL,
        )
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                self.ask("PING")
            except redis.ConnectionError:
                time.sleep(0.02)
            else:
                return
        raise RuntimeError("redis-server did not answer within half a minute")

    def ask(self, *command: str) -> Any:
        """The answer of one command."""
        client: Any = redis.Redis(unix_socket_path=str(self.socket), decode_responses=True)
        try:
            return client.execute_command(*command)
        finally:
            client.close()

    def flush(self) -> None:
        """Forget everything."""
        self.ask("FLUSHALL")

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def running_redis(*options: str) -> Generator[RedisServer]:
    """A server in a folder with a short path; skips the test where none is installed."""
    if BINARY is None:
        pytest.skip("redis-server is not installed")
    with tempfile.TemporaryDirectory(prefix="agentkit-") as folder:
        server = RedisServer(Path(folder), *options)
        try:
            yield server
        finally:
            server.kill()
