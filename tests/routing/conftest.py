"""A real redis-server for the outcomes of routes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.budgets.redis_server import RedisServer, running_redis


@pytest.fixture(scope="session")
def _server() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture
def redis_url(_server: RedisServer) -> str:
    """The address of an empty ledger."""
    _server.flush()
    return _server.address
