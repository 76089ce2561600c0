"""Where outcomes are kept, and what is read back of rows that somebody else wrote."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agentkit.routing.outcome import (
    MemoryOutcomeStore,
    Outcome,
    OutcomeStore,
    RouteStoreError,
    SqliteOutcomeStore,
)

Open = Callable[[], OutcomeStore]


def outcome(task_id: str = "t1", **given: Any) -> Outcome:
    facts: dict[str, Any] = {
        "tier": "a:small", "is_ok": True, "weight": 1.0, "was_first": True, "cost_nusd": 7,
        "difficulty": 0.5, "at": 10.0, "embedding": "e", "vector": b"\x01\xff",
    }  # fmt: skip
    return Outcome(task_id=task_id, **(facts | given))


@pytest.fixture(params=["memory", "sqlite", "redis"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    if request.param == "memory":
        store = MemoryOutcomeStore(most_kept=3)
        yield lambda: store
    elif request.param == "sqlite":
        yield lambda: SqliteOutcomeStore(tmp_path / "ledger.db", most_kept=3)
    else:
        server = request.getfixturevalue("redis_url")
        from agentkit.budgets.stores.redis_address import read_address
        from agentkit.routing.outcome_redis import RedisOutcomeStore

        yield lambda: RedisOutcomeStore(read_address(server), most_kept=3)


def test_a_tenant_keeps_its_latest_outcomes_and_no_one_elses(opened: Open) -> None:
    store = opened()
    store.add("acme", [outcome(str(number)) for number in range(4)])
    store.add("other", [outcome("9", is_ok=False)])
    assert [each.task_id for each in store.latest("acme")] == ["1", "2", "3"]
    assert store.latest("other") == [outcome("9", is_ok=False)]
    assert store.tenants() == ["acme", "other"]
    store.close()


def test_what_is_forgotten_is_gone(opened: Open) -> None:
    store = opened()
    store.add("acme", [outcome()])
    store.add("other", [outcome(), outcome("t2")])
    assert (store.forget("acme"), store.latest("acme")) == (1, [])
    assert (store.forget(), store.tenants()) == (2, [])
    store.close()


def test_a_file_keeps_what_it_was_told(tmp_path: Path) -> None:
    first = SqliteOutcomeStore(tmp_path / "ledger.db")
    first.add("acme", [outcome()])
    first.close()
    second = SqliteOutcomeStore(tmp_path / "ledger.db")
    assert second.latest("acme") == [outcome()]
    second.close()


def _changed(**facts: object) -> str:
    return json.dumps({**json.loads(outcome().to_json()), **facts})


@pytest.mark.parametrize(
    "row",
    [
        "",
        "null",
        "[1]",
        "{",
        "[" * 5_000,
        _changed(v=2),
        _changed(weight=1e9),
        _changed(weight=-0.1),
        _changed(difficulty="hard"),
        _changed(difficulty=float("nan")),
        _changed(nusd=-1),
        _changed(nusd=2**60),
        _changed(tier="x" * 201),
        _changed(tier=None),
        _changed(vector="not base64!"),
        _changed(at=True),
        _changed(padding="x" * 9_000),
    ],
)
def test_a_row_that_is_no_outcome_is_left_aside(tmp_path: Path, row: str) -> None:
    path = tmp_path / "ledger.db"
    store = SqliteOutcomeStore(path)
    store.add("acme", [outcome()])
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO route_outcome (tenant, row) VALUES ('acme', ?)", (row,))
    db.close()
    assert store.latest("acme") == [outcome()]
    store.close()


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(RouteStoreError, match=r"ledger\.db"):
        SqliteOutcomeStore(path)
