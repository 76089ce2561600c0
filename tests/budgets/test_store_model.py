"""Any sequence of verbs leaves a store where a model of thirty lines says it is."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from agentkit.budgets import Store
from agentkit.budgets.stores.sqlite import SqliteStore
from tests.budgets.store_machine import EXAMPLES, StoreMachine


class SqliteMachine(StoreMachine):
    """The same against a file."""

    def open(self, clock: Callable[[], float]) -> Store:
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "ledger.db"
        return SqliteStore(path, synchronous="NORMAL", clock=clock)

    def teardown(self) -> None:
        super().teardown()
        self.folder.cleanup()


TestMemoryStore = StoreMachine.TestCase
TestMemoryStore.settings = EXAMPLES
TestSqliteStore = SqliteMachine.TestCase
TestSqliteStore.settings = EXAMPLES
