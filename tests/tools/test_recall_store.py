"""Observations come back by handle, per task, within the limits, from every store alike."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agentkit.tools.errors import InvalidLimits
from agentkit.tools.observation_store import (
    KeepLimits,
    MemoryObservationStore,
    ObservationStore,
    ObservationStoreError,
    SqliteObservationStore,
)
from agentkit.tools.redis_observations import RedisObservationStore
from tests.budgets.redis_server import BINARY, RedisServer


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


Open = Callable[..., ObservationStore]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def redis_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if BINARY is None:
        pytest.skip("redis-server is not installed")
    server = RedisServer(tmp_path_factory.mktemp("observations"))
    yield f"unix://{server.socket}"
    server.kill()


@pytest.fixture(params=["memory", "sqlite", "redis"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Open:
    def make(**limits: float) -> ObservationStore:
        kept = KeepLimits(**limits)  # type: ignore[arg-type]  # the keywords are the test's data
        if request.param == "memory":
            return MemoryObservationStore(kept, clock=clock)
        if request.param == "redis":
            shared = RedisObservationStore(
                request.getfixturevalue("redis_address"), kept, clock=clock
            )
            request.addfinalizer(shared.close)
            request.addfinalizer(lambda: shared._redis.flushdb())
            return shared
        store = SqliteObservationStore(tmp_path / "kept.db", kept, clock=clock)
        request.addfinalizer(store.close)
        return store

    return make


def test_what_was_put_comes_back_whole(open_store: Open) -> None:
    store = open_store()
    text = "é 名前\n" * 1000
    assert store.get("task", store.put("task", text)) == text


def test_handle_is_short_and_the_same_for_the_same_text(open_store: Open) -> None:
    store = open_store()
    handle = store.put("task", "some text")
    assert (
        handle == store.put("task", "some text") == MemoryObservationStore().put("t", "some text")
    )
    assert len(handle) == 10


def test_another_task_sees_nothing(open_store: Open) -> None:
    store = open_store()
    handle = store.put("task", "secret")
    assert store.get("other", handle) is None


def test_what_is_unknown_is_none(open_store: Open) -> None:
    assert open_store().get("task", "o-nothing") is None


def test_old_ones_expire(open_store: Open, clock: Clock) -> None:
    store = open_store(expiry_seconds=60)
    old = store.put("task", "old")
    clock.now += 40
    young = store.put("task", "young")
    clock.now += 20
    assert store.get("task", old) is None
    assert store.get("task", young) == "young"
    assert store.expire() == 1
    assert store.get("task", young) == "young"


def test_full_task_loses_its_oldest(open_store: Open, clock: Clock) -> None:
    store = open_store(max_task_bytes=250)
    handles: list[str] = []
    for letter in "abc":
        clock.now += 1
        handles.append(store.put("task", letter * 100))
    assert [store.get("task", handle) is None for handle in handles] == [True, False, False]


def test_too_long_a_text_loses_its_middle(open_store: Open) -> None:
    store = open_store(max_observation_bytes=500)
    found = store.get("task", store.put("task", "a" * 5000 + "z" * 5000))
    assert found is not None
    assert len(found.encode()) <= 500
    assert found.startswith("aaa")
    assert found.endswith("zzz")
    assert "left out" in found


def test_forgotten_tasks_are_gone(open_store: Open) -> None:
    store = open_store()
    handle, other = store.put("task", "x"), store.put("other", "x")
    store.forget("task")
    assert store.get("task", handle) is None
    assert store.get("other", other) == "x"


def test_texts_that_cannot_be_sent_are_made_so(open_store: Open) -> None:
    store = open_store()
    assert store.get("task", store.put("task", "a\ud800b\0c")) == "a?b?c"


def test_texts_that_share_a_short_handle_keep_apart(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def handles(data: bytes) -> list[str]:
        return ["o-same", f"o-{data.decode()}"]

    for module in ("observation_store", "redis_observations"):
        monkeypatch.setattr(f"agentkit.tools.{module}.handles", handles)
    store = open_store()
    assert [store.put("task", text) for text in ("one", "two", "one")] == [
        "o-same",
        "o-two",
        "o-same",
    ]
    assert store.get("task", "o-same") == "one"


def test_many_threads_may_put_at_once(open_store: Open) -> None:
    store = open_store()
    handles: list[str] = []

    def put(number: int) -> None:
        handles.append(store.put("task", f"text {number}"))

    threads = [threading.Thread(target=put, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(str(store.get("task", handle)) for handle in handles) == sorted(
        f"text {number}" for number in range(16)
    )


def test_sqlite_keeps_across_a_restart(tmp_path: Path) -> None:
    with SqliteObservationStore(tmp_path / "kept.db") as store:
        handle = store.put("task", "kept")
    with SqliteObservationStore(tmp_path / "kept.db") as store:
        assert store.get("task", handle) == "kept"


def test_row_that_unpacks_to_too_much_is_bounded(tmp_path: Path) -> None:
    limits = KeepLimits(max_observation_bytes=1000)
    with SqliteObservationStore(tmp_path / "kept.db") as store:
        handle = store.put("task", "a" * 1_000_000)
    with SqliteObservationStore(tmp_path / "kept.db", limits) as store:
        assert store.get("task", handle) == "a" * 1000


def test_row_that_is_not_ours_is_none(tmp_path: Path) -> None:
    with SqliteObservationStore(tmp_path / "kept.db") as store:
        handle = store.put("task", "kept")
        with closing(sqlite3.connect(tmp_path / "kept.db")) as db, db:
            db.execute("UPDATE observations SET packed = x'00ff'")
        db.close()
        assert store.get("task", handle) is None


def test_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no database " * 100)
    with pytest.raises(ObservationStoreError, match=r"notes\.txt.*name another file"):
        SqliteObservationStore(tmp_path / "notes.txt")


@pytest.mark.parametrize("name", ["max_observation_bytes", "max_task_bytes", "expiry_seconds"])
def test_limits_that_cannot_be_meant_are_refused(name: str) -> None:
    with pytest.raises(InvalidLimits, match=name):
        KeepLimits(**{name: 0})


def test_redis_that_does_not_answer_is_said_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(ObservationStoreError, match="ConnectionError") as refused:
        RedisObservationStore(f"unix://user:geheim@{tmp_path}/no.sock")
    assert "geheim" not in str(refused.value)
