"""Opens the cache store of an address."""

from __future__ import annotations

from agentkit.memory.cache.sqlite import SqliteCacheStore
from agentkit.memory.cache.store import CacheError, CacheStore


def open_cache_store(address: str) -> CacheStore:
    """The store at `memory://`, `sqlite:///path` or `redis://…`; raises CacheError."""
    if address == "memory://":
        return SqliteCacheStore(":memory:")
    if address.startswith("sqlite:///") and len(address) > len("sqlite:///"):
        return SqliteCacheStore(address.removeprefix("sqlite:///"))
    if address.startswith(("redis://", "rediss://", "unix://")):
        from agentkit.memory.cache.redis import RedisCacheStore

        return RedisCacheStore(address)
    raise CacheError(
        f"the cache address {address!r} is not known; use memory://, sqlite:///cache.db or "
        "redis://host:6379/0"
    )
