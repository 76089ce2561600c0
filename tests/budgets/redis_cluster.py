"""A real Redis cluster of three nodes, on ports of this machine."""

from __future__ import annotations

import random
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import redis

from tests.budgets.redis_server import BINARY

_SLOTS = ((0, 5460), (5461, 10922), (10923, 16383))


def free_port() -> int:
    """A port that is free, as its cluster bus is, 10,000 above it.

    Both lie under those that systems give to outgoing connections, one of which could otherwise
    take it before the server does.
    """
    for _ in range(1_000):
        port = random.randrange(10_000, 22_000)
        with closing(socket.socket()) as one, closing(socket.socket()) as other:
            try:
                one.bind(("127.0.0.1", port))
                other.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
        return port
    raise RuntimeError("no port between 10,000 and 22,000 is free")


class Cluster:
    """Three masters that share the slots."""

    def __init__(self, folder: Path) -> None:
        self.ports = [free_port() for _ in _SLOTS]
        self.processes: list[subprocess.Popen[bytes]] = []
        for port in self.ports:
            (folder / str(port)).mkdir()
            options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "5000", "--save", "")
            command = [
                BINARY or "",
                "--port",
                str(port),
                "--dir",
                str(folder / str(port)),
                *options,
            ]
            self.processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        for port, (first, last) in zip(self.ports, _SLOTS, strict=True):
            self.wait_for(lambda p=port: self.ask(p, "PING"))
            self.ask(port, "CLUSTER", "ADDSLOTSRANGE", first, last)
            self.ask(self.ports[0], "CLUSTER", "MEET", "127.0.0.1", port)
        for port in self.ports:
            self.wait_for(lambda p=port: "cluster_state:ok" in str(self.ask(p, "CLUSTER", "INFO")))

    @property
    def address(self) -> str:
        """How a ledger names this cluster: by any of its nodes."""
        return f"redis://127.0.0.1:{self.ports[0]}?cluster=yes&durability=ignore"

    def ask(self, port: int, *command: object) -> Any:
        """The answer of one node."""
        with closing(redis.Redis(port=port)) as client:
            return client.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py

    def flush(self) -> None:
        """Forget everything."""
        for port in self.ports:
            self.ask(port, "FLUSHALL")

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Until it holds; raises RuntimeError after half a minute."""
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                if condition():
                    return
            except redis.RedisError:
                pass
            time.sleep(0.05)
        raise RuntimeError("the cluster did not come up")

    def kill(self) -> None:
        """End the nodes."""
        for process in self.processes:
            process.kill()
            process.wait()
