"""A real redis-server for the outcomes of routes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.budgets.redis_server import BINARY, RedisServer


@pytest.fixture(scope="session")
def _server() -> Iterator[RedisServer]:
    if BINARY is None:
        pytest.skip("redis-server is not installed")
    with tempfile.TemporaryDirectory(prefix="agentkit-") as folder:
        server = RedisServer(Path(folder))
        yield server
        server.kill()


@pytest.fixture
def redis_url(_server: RedisServer) -> str:
    """The address of an empty ledger."""
    _server.flush()
    return _server.address
