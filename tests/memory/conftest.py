"""Cache stores of every kind, and an embedding with obvious arithmetic."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from numpy.typing import NDArray

from agentkit.memory.cache import CacheStore
from agentkit.memory.cache.stores import open_cache_store

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
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("redis-server is not installed")
    folder = tempfile.mkdtemp(prefix="akc")
    socket = Path(folder) / "s"
    process = subprocess.Popen(
        [binary, "--port", "0", "--unixsocket", str(socket), "--dir", folder, "--save", ""],
        stdout=subprocess.DEVNULL,
    )
    client: Any = redis.Redis(unix_socket_path=str(socket))
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            client.ping()
            break
        except redis.ConnectionError:
            time.sleep(0.02)
    client.close()
    yield f"unix://{socket}"
    process.kill()
    process.wait()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=STORES)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a store of each kind is, empty."""
    if request.param == "memory":
        yield "memory://"
    elif request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'cache.db'}"
    else:
        found: str = request.getfixturevalue("cache_server")
        client: Any = redis.Redis.from_url(found)
        client.flushall()
        client.close()
        yield found


@pytest.fixture
def store(address: str) -> Iterator[CacheStore]:
    opened = open_cache_store(address)
    yield opened
    opened.close()
