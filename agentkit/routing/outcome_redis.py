"""Outcomes in the Redis of a ledger: one list a tenant, shared by many machines."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from redis.cluster import RedisCluster

from agentkit.budgets.stores.redis_address import RedisAddress, close_client
from agentkit.routing.outcome import MOST_KEPT, Outcome, RouteStoreError, readable

_PREFIX = "agentkit:route:"
_TENANTS = "agentkit:routes"
_TIMEOUT_SECONDS = 10.0


class RedisOutcomeStore:
    """Implements OutcomeStore at a ledger's address."""

    def __init__(self, address: RedisAddress, *, most_kept: int = MOST_KEPT) -> None:
        """Connect. Raises RouteStoreError where the server does not answer."""
        self._where = address.where
        self._most_kept = most_kept
        client: Any = RedisCluster if address.cluster else redis.Redis  # their kwargs have no types
        with self._told():
            self._redis: Any = client.from_url(address.url, socket_timeout=_TIMEOUT_SECONDS)
            self._redis.ping()

    @property
    def blocking(self) -> bool:
        return True

    def add(self, tenant: str, outcomes: Sequence[Outcome]) -> None:
        if not outcomes:
            return
        with self._told():
            self._redis.rpush(_PREFIX + tenant, *(outcome.to_json() for outcome in outcomes))
            self._redis.ltrim(_PREFIX + tenant, -self._most_kept, -1)
            self._redis.sadd(_TENANTS, tenant)

    def latest(self, tenant: str) -> list[Outcome]:
        with self._told():
            rows: list[bytes] = self._redis.lrange(_PREFIX + tenant, -self._most_kept, -1)
        return readable([row.decode("utf-8", "replace") for row in rows])

    def tenants(self) -> list[str]:
        with self._told():
            found: set[bytes] = self._redis.smembers(_TENANTS)
        return sorted(name.decode("utf-8", "replace") for name in found)

    def forget(self, tenant: str | None = None) -> int:
        gone = 0
        for each in self.tenants() if tenant is None else [tenant]:
            with self._told():
                gone += int(self._redis.llen(_PREFIX + each))
                self._redis.delete(_PREFIX + each)
                self._redis.srem(_TENANTS, each)
        return gone

    def close(self) -> None:
        close_client(self._redis)

    @contextmanager
    def _told(self) -> Generator[None]:
        try:
            yield
        except redis.RedisError as error:
            raise RouteStoreError(
                f"what was learned about routes at {self._where} cannot be used: {error}"
            ) from error
