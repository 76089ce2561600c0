"""Stores that ship with agentkit, opened by address."""

from __future__ import annotations

from agentkit.budgets.errors import StoreError
from agentkit.budgets.store import Store


def open_store(address: str) -> Store:
    """The store at `memory://`, `sqlite:///path/to/file.db[?synchronous=FULL|NORMAL]`, or
    `redis://host:6379/0`, `rediss://…`, `unix:///path.sock` `[?durability=warn|require|ignore]`.

    Raises StoreError for an address that no store answers to, a file that cannot be opened, or a
    server that cannot be reached.
    """
    scheme, separator, _ = address.partition("://")
    if separator and scheme == "memory":
        from agentkit.budgets.stores.memory import MemoryStore

        return MemoryStore()
    if separator and scheme == "sqlite":
        from agentkit.budgets.stores.sqlite import SqliteStore

        return SqliteStore.from_address(address)
    if separator and scheme in ("redis", "rediss", "unix"):
        from agentkit.budgets.stores.redis import RedisStore

        return RedisStore(address)
    raise StoreError(
        f"no ledger store answers to {scheme + separator!r}; use 'memory://', "
        "'sqlite:///agentkit.db' or 'redis://host:6379/0'"
    )


__all__ = ["open_store"]
