"""Whole observations in Redis, shared by many machines; expired tasks go by themselves."""

from __future__ import annotations

import hashlib
import time
import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Self

import redis

from agentkit.tools.observation_store import (
    KeepLimits,
    ObservationStoreError,
    bounded,
    handles,
)

_PREFIX = "agentkit:observations:"
_DIGEST_BYTES = 20
_TIMEOUT_SECONDS = 10.0
_PUT = """
local old = redis.call('HGET', KEYS[1], ARGV[1])
if old and string.sub(old, 1, 20) ~= string.sub(ARGV[2], 1, 20) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1])
redis.call('HSET', KEYS[3], ARGV[1], ARGV[3])
local sum = 0
for _, size in ipairs(redis.call('HVALS', KEYS[3])) do sum = sum + tonumber(size) end
for _, handle in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  if sum <= tonumber(ARGV[5]) then break end
  if handle ~= ARGV[1] then
    sum = sum - tonumber(redis.call('HGET', KEYS[3], handle))
    redis.call('HDEL', KEYS[1], handle)
    redis.call('ZREM', KEYS[2], handle)
    redis.call('HDEL', KEYS[3], handle)
  end
end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[6]) end
return 1
"""


class RedisObservationStore:
    """Implements ObservationStore at `redis://host:6379/0`, `rediss://…` or `unix:///path.sock`."""

    def __init__(
        self,
        address: str,
        limits: KeepLimits | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Connect. Raises ObservationStoreError where the server does not answer."""
        self._limits = limits or KeepLimits()
        self._clock = clock
        self._address = address
        with self._told():
            client: Any = redis.Redis  # its **kwargs have no types
            self._redis: Any = client.from_url(address, socket_timeout=_TIMEOUT_SECONDS)
            self._put: Any = self._redis.register_script(_PUT)
            self._redis.ping()

    def put(self, task_id: str, text: str) -> str:
        """See ObservationStore."""
        data = bounded(text, self._limits)
        digest = hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()
        packed = digest + zlib.compress(data, 1)
        expiry_ms = max(1, int(self._limits.expiry_seconds * 1000))
        with self._told():
            for handle in handles(data):
                arguments = [
                    *(handle, packed, len(data), self._clock()),
                    *(self._limits.max_task_bytes, expiry_ms),
                ]
                if self._put(keys=_keys(task_id), args=arguments):
                    return handle
        raise ObservationStoreError("two observations of a task have one fingerprint of 160 bits")

    def get(self, task_id: str, handle: str) -> str | None:
        """See ObservationStore."""
        texts, times, _ = _keys(task_id)
        with self._told():
            packed, at = self._redis.hget(texts, handle), self._redis.zscore(times, handle)
        if packed is None or at is None or at + self._limits.expiry_seconds <= self._clock():
            return None
        try:
            data = zlib.decompressobj().decompress(
                packed[_DIGEST_BYTES:], self._limits.longest_bytes
            )
        except zlib.error:
            return None
        return data.decode(errors="replace")

    def forget(self, task_id: str) -> None:
        """See ObservationStore."""
        with self._told():
            self._redis.delete(*_keys(task_id))

    def expire(self) -> int:
        """See ObservationStore; a task of which nothing is young any more goes without it."""
        bound = self._clock() - self._limits.expiry_seconds
        dropped = 0
        with self._told():
            for key in list(self._redis.scan_iter(match=f"{_PREFIX}*:at")):
                base = key[: -len(b":at")]
                old = self._redis.zrangebyscore(key, "-inf", bound)
                if old:
                    self._redis.hdel(base, *old)
                    self._redis.hdel(base + b":bytes", *old)
                    dropped += self._redis.zrem(key, *old)
        return dropped

    def close(self) -> None:
        """Closes the connections; the store is of no use afterwards."""
        self._redis.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _told(self) -> Generator[None]:
        """Says what failed without the address, which may hold a password."""
        try:
            yield
        except (redis.RedisError, ValueError, OSError) as error:
            raise ObservationStoreError(
                f"the observation store in Redis cannot be used: {type(error).__name__}; "
                "check the address and that the server runs"
            ) from error


def _keys(task_id: str) -> list[str]:
    """Texts, times and sizes of a task; one hash tag, so that a cluster keeps them together."""
    base = f"{_PREFIX}{{{task_id}}}"
    return [base, f"{base}:at", f"{base}:bytes"]
