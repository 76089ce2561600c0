"""The stores of a chaos run: an empty one for each run, on this machine."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

StoreKind = Literal["memory", "sqlite", "redis"]
_READY_SECONDS = 120.0
"""A busy machine takes its time."""


class Stores:
    """Addresses of empty stores; holds a redis-server of its own where one is asked for.

    A server has one store at a time: each fresh one is a server started anew, for a log that only
    grows takes ever longer to read after a crash.
    """

    def __init__(self, kind: StoreKind) -> None:
        """Raises RuntimeError where redis-server is needed and not installed."""
        self.kind = kind
        self._folder = Path(tempfile.mkdtemp(prefix="agentkit-"))
        self._server: subprocess.Popen[bytes] | None = None
        self._made = 0
        if kind == "redis" and shutil.which("redis-server") is None:
            raise RuntimeError("redis-server is not installed; install it, or choose another store")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def fresh(self) -> str:
        """The address of a store that holds nothing."""
        self._made += 1
        if self.kind == "memory":
            return "memory://"
        if self.kind == "sqlite":
            return f"sqlite:///{self._folder / f'{self._made}.db'}?synchronous=NORMAL"
        self._kill()
        shutil.rmtree(self._folder / "appendonlydir", ignore_errors=True)
        self._start()
        return f"unix://{self._socket}?durability=require"

    def crash(self) -> bool:
        """Kill the server and start it again on what it had written; False where there is none."""
        if self._server is None:
            return False
        self._kill()
        self._start()
        return True

    @property
    def _socket(self) -> Path:
        return self._folder / "redis.sock"

    def _start(self) -> None:
        where = [
            "redis-server",
            "--port",
            "0",
            "--unixsocket",
            str(self._socket),
            "--dir",
            str(self._folder),
        ]
        kept = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        self._server = subprocess.Popen([*where, *kept], stdout=subprocess.DEVNULL)
        import redis

        until = time.monotonic() + _READY_SECONDS
        while time.monotonic() < until:
            try:
                self._ask("PING")
            except redis.RedisError:  # not there yet, or still loading
                time.sleep(0.01)
            else:
                return
        raise RuntimeError(f"redis-server did not answer within {_READY_SECONDS:g} s")

    def _kill(self) -> None:
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None

    def _ask(self, command: str) -> None:
        import redis

        client: Any = redis.Redis(unix_socket_path=str(self._socket))  # its types are incomplete
        try:
            client.execute_command(command)
        finally:
            client.close()
