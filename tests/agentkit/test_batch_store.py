"""The rules of a batch store, for SQLite, a real Redis and a real cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agentkit.batch.item import Batch, BatchItem, ItemAnswer
from agentkit.batch.redis import RedisBatchStore
from agentkit.batch.sqlite import SqliteBatchStore
from agentkit.batch.store import BatchStore
from agentkit.budgets import Amount
from agentkit.budgets.journal import CallRecord
from tests.budgets.redis_cluster import Cluster
from tests.budgets.redis_server import BINARY, RedisServer

_ENDPOINT = "/v1/chat/completions"
_QUEUE = f"openai@here|{_ENDPOINT}|m"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    if BINARY is None:
        pytest.skip("redis-server is not installed")
    running = RedisServer(tmp_path_factory.mktemp("redis"))
    yield running
    running.kill()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if BINARY is None:
        pytest.skip("redis-server is not installed")
    running = Cluster(tmp_path_factory.mktemp("cluster"))
    yield running
    running.kill()


@pytest.fixture(params=["sqlite", "redis", "cluster"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BatchStore]:
    if request.param == "sqlite":
        opened: BatchStore = SqliteBatchStore(tmp_path / "batches.db")
    else:
        kind = "server" if request.param == "redis" else "cluster"
        server: RedisServer | Cluster = request.getfixturevalue(kind)
        server.flush()
        opened = RedisBatchStore(server.address)
    yield opened
    opened.close()


def _item(number: int, *, deadline: float = 1_000.0, size: int = 10) -> BatchItem:
    record = CallRecord(call_id=f"t.batch-{number}", task_id="t", scope="acme", step=0, index=1)
    return BatchItem(
        item_id=f"item{number}",
        call_id=f"t.batch-{number}",
        task_id="t",
        queue=_QUEUE,
        endpoint=_ENDPOINT,
        fingerprint="f",
        queued_at=float(number),
        deadline=deadline,
        size_bytes=size,
        worst=Amount(nusd=5, tokens=3, fresh_tokens=3, calls=1),
        max_output_tokens=2,
        record=json.loads(json.dumps(record.to_dict())),
        key=f"key{number}",
    )


def _sealed(store: BatchStore, name: str = "b", most: int = 100, size: int = 10_000) -> Batch:
    batch = Batch(batch_id=name, queue=_QUEUE, endpoint=_ENDPOINT, created_at=1.0)
    sealed = store.seal(batch, most_requests=most, most_bytes=size)
    assert sealed is not None
    return sealed


def _fill(store: BatchStore, *items: BatchItem) -> None:
    for item in items:
        store.add(item, b'{"body": 1}')


def test_an_item_is_kept_as_it_was_and_only_once(store: BatchStore) -> None:
    _fill(store, _item(1))
    assert store.add(replace(_item(1), key="another"), b"{}") == _item(1)
    assert store.item("item1") == _item(1)
    assert store.body("item1") == b'{"body": 1}'
    assert store.item("item2") is None


def test_a_queue_is_summed_and_sealed_the_most_urgent_first(store: BatchStore) -> None:
    _fill(store, _item(1, deadline=30.0), _item(2, deadline=10.0), _item(3, deadline=20.0))
    (queue,) = store.queues()
    assert (queue.requests, queue.size_bytes, queue.oldest_at, queue.least_deadline) == (
        3,
        30,
        1.0,
        10.0,
    )
    sealed = _sealed(store, most=2)
    assert (sealed.requests, sealed.size_bytes, sealed.least_deadline) == (2, 20, 10.0)
    assert [custom_id for custom_id, _ in store.bodies("b")] == ["item2-0", "item3-0"]
    assert store.queues()[0].requests == 1


def test_a_batch_takes_no_more_than_its_bytes_and_one_request_at_least(store: BatchStore) -> None:
    _fill(store, _item(1, size=50), _item(2, size=50))
    assert _sealed(store, size=60).requests == 1
    assert _sealed(store, "c", size=10).requests == 1
    batch = Batch(batch_id="d", queue=_QUEUE, endpoint=_ENDPOINT, created_at=1.0)
    assert store.seal(batch, most_requests=9, most_bytes=99) is None


def test_one_process_at_a_time_goes_on_with_a_batch(store: BatchStore) -> None:
    _fill(store, _item(1))
    batch = _sealed(store)
    assert store.claim("b", "me", seconds=60)
    assert store.claim("b", "me", seconds=60)
    assert not store.claim("b", "you", seconds=60)
    assert store.put_batch(replace(batch, state="submitted", provider_id="p"), "me")
    assert not store.put_batch(replace(batch, state="failed"), "you")
    found = store.batch("b")
    assert found is not None and found.provider_id == "p"
    assert store.claim("b", "me", seconds=-1)
    assert store.claim("b", "you", seconds=60)
    assert not store.put_batch(batch, "me")


def test_withdrawing_outlives_what_the_owner_writes(store: BatchStore) -> None:
    _fill(store, _item(1))
    batch = _sealed(store)
    assert store.claim("b", "me", seconds=60)
    store.withdraw("b")
    store.put_batch(batch, "me")
    found = store.batch("b")
    assert found is not None and found.withdrawn
    assert [each.batch_id for each in store.batches(("sealed",))] == ["b"]
    assert store.batches(("processed",)) == []


def test_an_answer_is_written_once_and_only_for_its_own_batch(store: BatchStore) -> None:
    _fill(store, _item(1), _item(2))
    _sealed(store)
    assert store.answer("other", [ItemAnswer("item1", "answered", b"x")]) == []
    assert store.answer("b", [ItemAnswer("item1", "answered", b"x")]) == ["item1"]
    assert store.answer("b", [ItemAnswer("item1", "answered", b"y")]) == []
    assert store.answer_of("item1") == b"x"
    assert [item.item_id for item in store.unfinished()] == ["item1"]
    store.finish(["item1"])
    assert store.unfinished() == []
    assert store.body("item1") is None
    assert store.answer_of("item1") == b"x"
    store.finish(["item1"], taken=True)
    assert store.answer_of("item1") is None
    assert store.counts() == {"answered": 1, "sent": 1}
    assert store.counts("nobody") == {}


def test_what_goes_back_into_its_queue_counts_an_attempt(store: BatchStore) -> None:
    _fill(store, _item(1))
    _sealed(store)
    assert store.answer("b", [ItemAnswer("item1", "queued", error="expired")]) == ["item1"]
    item = store.item("item1")
    assert item is not None
    assert (item.state, item.attempts, item.batch_id, item.error) == ("queued", 1, None, "expired")
    assert _sealed(store, "c").requests == 1
    assert [name for name, _ in store.bodies("c")] == ["item1-1"]
    assert store.answer("b", [ItemAnswer("item1", "refused")]) == []


def test_overdue_requests_are_taken_out_of_their_queue(store: BatchStore) -> None:
    _fill(store, _item(1, deadline=5.0), _item(2, deadline=50.0))
    assert store.overdue(10.0) == ["item1"]
    assert store.move(["item1", "item1", "nobody"], "late") == ["item1"]
    assert store.states(["item1", "item2", "nobody"]) == {"item1": "late", "item2": "queued"}
    assert store.queues()[0].requests == 1


def test_an_item_can_be_put_back_with_other_money(store: BatchStore) -> None:
    _fill(store, _item(1))
    _sealed(store)
    store.answer("b", [ItemAnswer("item1", "refused", error="no")])
    store.finish(["item1"])
    item = store.item("item1")
    assert item is not None and item.closed
    store.put_item(replace(item, call_id="new", state="queued", batch_id=None, closed=False))
    again = store.item("item1")
    assert again is not None and (again.call_id, again.state) == ("new", "queued")
    assert store.items(batch_id="b") == []
    assert _sealed(store, "c").requests == 1


def test_old_batches_are_forgotten_with_what_was_in_them(store: BatchStore) -> None:
    _fill(store, _item(1))
    batch = _sealed(store)
    store.claim("b", "me", seconds=60)
    store.answer("b", [ItemAnswer("item1", "answered", b"x")])
    store.finish(["item1"])
    store.put_batch(replace(batch, state="processed", ended_at=10.0), "me")
    assert store.forget(5.0) == 0
    assert store.forget(20.0) == 1
    assert store.item("item1") is None and store.batch("b") is None
    assert store.items(task_id="t") == []
