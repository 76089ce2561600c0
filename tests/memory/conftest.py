"""Cache stores of every kind, and an embedding with obvious arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from numpy.typing import NDArray

from agentkit.memory.cache import CacheStore
from agentkit.memory.cache.stores import open_cache_store
from tests.budgets.redis_server import running_redis

STORES = ("memory", "sqlite", "redis")


class WordVectors:
    """A text is the sum of its words' own directions: half the words shared, a cosine of a half."""

    fingerprint = "words"

    def __init__(self) -> None:
        self._words: dict[str, int] = {}

    def embed(self, texts: list[str] | tuple[str, ...]) -> NDArray[np.float32]:
        rows = np.zeros((len(texts), 256), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().replace("?", "").split():
                row[self._words.setdefault(word, len(self._words)) % 256] += 1
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.asarray(rows / np.maximum(lengths, 1e-9), np.float32)


@pytest.fixture
def words() -> WordVectors:
    return WordVectors()


@pytest.fixture(scope="session")
def cache_server() -> Iterator[str]:
    """The address of a real redis-server."""
    with running_redis() as server:
        yield f"unix://{server.socket}"


@pytest.fixture
def client(cache_server: str) -> Iterator[Any]:
    """A client of that server, which is empty."""
    opened: Any = redis.Redis.from_url(cache_server)
    opened.flushall()
    yield opened
    opened.close()


@pytest.fixture(params=STORES)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a store of each kind is, empty."""
    if request.param == "memory":
        yield "memory://"
    elif request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'cache.db'}"
    else:
        request.getfixturevalue("client")
        yield request.getfixturevalue("cache_server")


@pytest.fixture
def store(address: str) -> Iterator[CacheStore]:
    opened = open_cache_store(address)
    yield opened
    opened.close()
