"""Stores that ship with agentkit, opened by address."""

from __future__ import annotations

from agentkit.budgets.errors import StoreError
from agentkit.budgets.store import Store


def open_store(address: str) -> Store:
    """The store at `memory://` or `sqlite:///path/to/file.db[?synchronous=FULL|NORMAL]`.

    Raises StoreError for an address that no store answers to, or a file that cannot be opened.
    """
    scheme, separator, _ = address.partition("://")
    if separator and scheme == "memory":
        from agentkit.budgets.stores.memory import MemoryStore

        return MemoryStore()
    if separator and scheme == "sqlite":
        from agentkit.budgets.stores.sqlite import SqliteStore

        return SqliteStore.from_address(address)
    raise StoreError(
        f"no ledger store answers to {address!r}; use 'memory://' or 'sqlite:///agentkit.db'"
    )


__all__ = ["open_store"]
