"""A Redis that loses what it was told: noticed, told, closed, brought back, opened again."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
import redis

from agentkit.budgets import (
    Amount,
    Budget,
    BudgetEvent,
    BudgetStateLost,
    Ledger,
    Limits,
    ReservationUnknown,
    Scope,
    ScopeMissing,
    StoreError,
)
from agentkit.budgets.conformance import ManualClock
from agentkit.budgets.loss import StateLoss
from agentkit.budgets.store import Denial, Grant
from agentkit.budgets.stores.redis import RedisStore
from agentkit.budgets.stores.redis_address import read_address, waits_after_restart
from agentkit.budgets.stores.redis_script import Script, Verb
from tests.budgets.redis_server import RedisServer, running_redis

_WAIT_SECONDS = 40.0
_CHAIN = ("acme", "acme/a")


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server that writes everything, in a folder of its own."""
    with running_redis("--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


class Workers:
    """Stores of several processes over one server, with one clock that the test moves."""

    def __init__(self, server: RedisServer, options: str = "") -> None:
        self.server = server
        self.clock = ManualClock()
        self.losses: list[StateLoss] = []
        self._options = options
        self._stores: list[RedisStore] = []

    def open(self) -> RedisStore:
        """The store of one more process."""
        address = f"{self.server.address}&wait_seconds={_WAIT_SECONDS:g}{self._options}"
        store = RedisStore(address, clock=self.clock)
        store.on_loss = self.losses.append
        self._stores.append(store)
        return store

    def spend(
        self, store: RedisStore, name: str, nusd: int = 1, settled: int | None = None
    ) -> None:
        """Reserve, and settle."""
        assert isinstance(_reserve(store, name, nusd), Grant)
        store.settle(name, Amount(nusd=nusd if settled is None else settled))

    def close(self) -> None:
        """End all of them."""
        for store in self._stores:
            store.close()


@pytest.fixture
def workers(server: RedisServer) -> Iterator[Workers]:
    workers = Workers(server)
    yield workers
    workers.close()


@pytest.fixture
def worker(workers: Workers) -> RedisStore:
    """A process in whose org 'acme' 90 of 100 nano-USD are spent."""
    store = workers.open()
    store.put_scope(Scope(path="acme", limits=Limits(nusd=100), thresholds=(0.5,)))
    store.put_scope(Scope(path="acme/a", limits=Limits(nusd=95)))
    for number in range(45):
        workers.spend(store, f"early{number}", 2)
    return store


def _reserve(store: RedisStore, name: str, nusd: int = 1) -> Grant | Denial:
    return store.reserve(name, Amount(nusd=nusd), _CHAIN, lease_seconds=30.0)


def _lose_disk(server: RedisServer) -> None:
    server.kill()
    for entry in server.folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
    server.start()


def _truncate(server: RedisServer) -> None:
    """Cut the last 30 % off the server's append-only file, as a torn disk does."""
    server.kill()
    (journal,) = server.folder.glob("appendonlydir/*.incr.aof")
    content = journal.read_bytes()
    journal.write_bytes(content[: len(content) * 7 // 10])
    server.start()


def _evict_all(server: RedisServer) -> None:
    """Memory pressure, under a policy that evicts whatever it likes."""
    server.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    server.ask("CONFIG", "SET", "maxmemory", "1")
    until = time.monotonic() + 5
    while server.ask("DBSIZE") and time.monotonic() < until:
        with suppress(redis.ResponseError):  # out of memory, as it was told to be
            server.ask("SET", "filler", "x")
        time.sleep(0.01)
    server.ask("CONFIG", "SET", "maxmemory", "0")
    server.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    assert server.ask("DBSIZE") == 0


_LOSSES = [RedisServer.flush, _lose_disk, _truncate, _evict_all]
_NAMES = ["flush", "disk", "truncated", "evicted"]


@pytest.mark.parametrize("lose", _LOSSES, ids=_NAMES)
def test_loss_closes_the_org_and_is_brought_back_exactly(
    server: RedisServer,
    workers: Workers,
    worker: RedisStore,
    lose: Callable[[RedisServer], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    _reserve(worker, "open", 3)
    seen = worker.memory_of("acme").seq
    lose(server)
    with pytest.raises(BudgetStateLost, match="nothing is granted there") as caught:
        _reserve(worker, "next", 1)
    error = caught.value
    assert (error.org, error.seq_found < seen) == ("acme", True)
    assert error.reopens_in_seconds == _WAIT_SECONDS
    assert "was lost in part or put back in time" in caplog.text
    assert [loss.kind for loss in workers.losses] == ["lost"]
    assert worker.settle("open", Amount(nusd=2)).after == "settled"
    with pytest.raises(BudgetStateLost):
        worker.ensure_scopes(["acme/b"])
    workers.clock.now_seconds += _WAIT_SECONDS
    assert isinstance(_reserve(worker, "next", 1), Grant)
    assert [loss.kind for loss in workers.losses] == ["lost", "reopened"]
    assert workers.losses[-1].orphaned == Amount()
    for path, limit in (("acme", 100), ("acme/a", 95)):
        account = worker.account(path)
        assert (account.settled, account.held) == (Amount(nusd=92), Amount(nusd=1))
        assert account.limits == Limits(nusd=limit)
    refused = _reserve(worker, "too much", 3)
    assert isinstance(refused, Denial)
    assert (refused.path, refused.available) == ("acme/a", 2)
    assert worker.settle("early0", Amount(nusd=2)).before == "settled"


@pytest.mark.parametrize("lose", _LOSSES, ids=_NAMES)
def test_others_bring_back_theirs_and_share_the_new_epoch(
    server: RedisServer, workers: Workers, worker: RedisStore, lose: Callable[[RedisServer], None]
) -> None:
    second = workers.open()
    assert isinstance(_reserve(second, "theirs", 4), Grant)
    lose(server)
    with pytest.raises(BudgetStateLost):
        _reserve(worker, "mine", 1)
    assert worker.account("acme").held == Amount()
    assert second.settle("theirs", Amount(nusd=3)).after == "settled"
    workers.clock.now_seconds += _WAIT_SECONDS
    assert isinstance(_reserve(second, "more", 1), Grant)
    assert worker.account("acme").settled == Amount(nusd=93)
    epochs = {store.memory_of("acme").seen[:16] for store in (worker, second)}
    assert len(epochs) == 1
    assert worker.settle("more", Amount(nusd=1)).after == "settled"


def test_process_that_knew_nothing_is_stopped_too(
    server: RedisServer, workers: Workers, worker: RedisStore
) -> None:
    """It begins the org anew after a FLUSHALL; the first that knows better closes it for all."""
    server.flush()
    fresh = workers.open()
    fresh.put_scope(Scope(path="acme", limits=Limits(nusd=500)))
    fresh.ensure_scopes(_CHAIN)
    workers.spend(fresh, "fresh", 5)
    with pytest.raises(BudgetStateLost):
        _reserve(worker, "mine", 1)
    with pytest.raises(BudgetStateLost):
        _reserve(fresh, "more", 1)
    workers.clock.now_seconds += _WAIT_SECONDS
    assert isinstance(_reserve(fresh, "more", 0), Grant)
    account = worker.account("acme")
    assert account.settled == Amount(nusd=95)
    assert account.limits == Limits(nusd=100), "the lower of two limits"


def test_process_that_knew_less_cannot_hide_a_restart(
    server: RedisServer, workers: Workers, worker: RedisStore
) -> None:
    """It goes on where the log was cut, past the seq that another process has seen."""
    second = workers.open()
    workers.spend(second, "theirs", 1)
    _truncate(server)
    fresh = workers.open()
    for number in range(20):
        workers.spend(fresh, f"fresh{number}", 1, settled=0)
    workers.spend(fresh, "one", 1)
    with pytest.raises(BudgetStateLost):
        _reserve(second, "next", 1)
    worker.expire()
    workers.clock.now_seconds += _WAIT_SECONDS
    _reserve(second, "next", 0)
    assert second.account("acme").settled == Amount(nusd=92)


def test_restart_can_be_made_to_wait(server: RedisServer) -> None:
    """`after_restart=wait`: nobody spends before everybody could say what they saw."""
    workers = Workers(server, "&after_restart=wait")
    store, second = workers.open(), workers.open()
    store.put_scope(Scope(path="acme", limits=Limits(nusd=10)))
    store.ensure_scopes(_CHAIN)
    workers.spend(second, "r", 9)
    _truncate(server)
    with pytest.raises(BudgetStateLost):
        _reserve(store, "next", 9)
    second.expire()
    workers.clock.now_seconds += _WAIT_SECONDS
    assert isinstance(_reserve(store, "next", 9), Denial)
    workers.close()


@pytest.mark.parametrize("fsync", ["everysec", "always"])
def test_restart_of_a_server_that_may_forget_waits_by_default(
    server: RedisServer, fsync: str
) -> None:
    server.ask("CONFIG", "SET", "appendfsync", fsync)
    workers = Workers(server, "&durability=warn")
    store = workers.open()
    store.put_scope(Scope(path="acme", limits=Limits(nusd=10)))
    store.ensure_scopes(_CHAIN)
    server.kill()
    server.start()
    refused = False
    try:
        _reserve(store, "next", 9)
    except BudgetStateLost:
        refused = True
    workers.close()
    assert refused is (fsync == "everysec")


@pytest.mark.parametrize(
    ("options", "appendfsync", "replicas", "waits"),
    [
        ("durability=require", "always", 0, False),
        ("durability=require", "everysec", 0, True),
        ("durability=warn", "always", 1, True),
        ("durability=warn", None, None, True),
        ("durability=ignore", None, None, False),
        ("durability=ignore&after_restart=wait", None, None, True),
        ("after_restart=trust", "everysec", 1, False),
    ],
)
def test_what_is_asked_after_a_restart_follows_from_what_the_server_keeps(
    options: str, appendfsync: str | None, replicas: int | None, waits: bool
) -> None:
    settings = {"appendonly": appendfsync and "yes", "appendfsync": appendfsync}
    address = read_address(f"redis://host/0?{options}")
    assert waits_after_restart(address, settings, replicas) is waits


def test_restart_that_lost_nothing_goes_on(
    server: RedisServer, workers: Workers, worker: RedisStore
) -> None:
    second = workers.open()
    workers.spend(second, "theirs", 1)
    server.kill()
    server.start()
    workers.spend(worker, "mine", 1)
    workers.spend(second, "more", 1)
    assert worker.account("acme").settled == Amount(nusd=93)
    assert workers.losses == []


@pytest.mark.parametrize(
    ("keys", "verb"),
    [
        (["scopes"], "reserve"),
        (["leases"], "expire"),
        (["leases"], "settle"),
        (["hold:open"], "settle"),
        (["hold:open"], "renew"),
        (["hold:open", "leases"], "settle"),
        (["scopes", "leases"], "settle"),
    ],
)
def test_evicted_key_is_noticed_and_brought_back(
    keys: list[str], verb: str, server: RedisServer, workers: Workers, worker: RedisStore
) -> None:
    _reserve(worker, "open", 3)
    for key in keys:
        assert server.ask("DEL", f"agentkit:ledger:{{acme}}:{key}") == 1
    match verb:
        case "reserve":
            with pytest.raises(BudgetStateLost):
                _reserve(worker, "next", 1)
        case "expire":
            assert worker.expire() == []
        case "renew":
            assert worker.renew("open", lease_seconds=30.0)
        case _:
            worker.settle("open", Amount(nusd=3))
    assert [loss.kind for loss in workers.losses] == ["lost"]
    workers.clock.now_seconds += _WAIT_SECONDS
    worker.settle("open", Amount(nusd=3))
    assert isinstance(_reserve(worker, "next", 0), Grant)
    account = worker.account("acme")
    assert (account.settled, account.held) == (Amount(nusd=93), Amount())


def test_evicted_window_is_noticed(server: RedisServer, workers: Workers) -> None:
    """The sums of yesterday, of which a call is still open."""
    store = workers.open()
    store.put_scope(Scope(path="acme", limits=Limits(nusd=10), window="day"))
    store.reserve("r", Amount(nusd=4), ["acme"], lease_seconds=200_000.0)
    workers.clock.now_seconds += 86_400
    store.reserve("today", Amount(nusd=1), ["acme"], lease_seconds=60.0)
    assert server.ask("DEL", "agentkit:ledger:{acme}:past:acme") == 1
    store.settle("r", Amount(nusd=4))
    assert [loss.kind for loss in workers.losses] == ["lost"]
    store.settle("today", Amount(nusd=1))
    workers.clock.now_seconds += 250_000.0
    store.reserve("next", Amount(nusd=0), ["acme"], lease_seconds=60.0)
    assert workers.losses[-1].kind == "reopened"


def test_call_of_a_process_that_died_is_charged_at_its_worst(
    server: RedisServer, workers: Workers, worker: RedisStore
) -> None:
    """Others saw what it held in the scopes, but nobody has its reservation."""
    dead = workers.open()
    assert isinstance(_reserve(dead, "lost", 4), Grant)
    dead.close()
    workers.spend(worker, "after", 1)
    server.flush()
    with pytest.raises(BudgetStateLost):
        _reserve(worker, "next", 1)
    workers.clock.now_seconds += _WAIT_SECONDS
    _reserve(worker, "next", 0)
    assert workers.losses[-1].orphaned == Amount(nusd=4)
    account = worker.account("acme")
    assert (account.settled, account.unconfirmed_nusd) == (Amount(nusd=95), 4)
    with pytest.raises(ReservationUnknown):
        worker.settle("lost", Amount(nusd=2))


def test_process_that_comes_late_is_counted(
    server: RedisServer, workers: Workers, worker: RedisStore
) -> None:
    """It slept through the recovery: what it held is charged, and what it settles corrects that."""
    late = workers.open()
    workers.spend(late, "done", 1)
    _reserve(late, "open", 4)
    _truncate(server)
    with pytest.raises(BudgetStateLost):
        worker.memory_of("acme").seq = 400.0
        _reserve(worker, "next", 1)
    workers.clock.now_seconds += _WAIT_SECONDS
    assert isinstance(_reserve(worker, "next", 0), Grant)
    assert late.settle("open", Amount(nusd=3)).before == "forfeited"
    assert worker.account("acme").settled == Amount(nusd=94)
    assert workers.losses[-1].kind == "lost"


def test_process_may_die_while_it_brings_back(
    server: RedisServer, workers: Workers, worker: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had brought by then counts once; another process brings the rest."""
    second = workers.open()
    workers.spend(second, "theirs", 1)
    server.flush()
    from agentkit.budgets.stores import redis_recovery

    monkeypatch.setattr(redis_recovery, "_PART", 1)
    drive = worker._redis.run
    left = 2

    def dying(script: Script) -> object:
        nonlocal left
        left -= script.verb == "replay"
        if left < 0:
            raise KeyboardInterrupt
        return drive(script)

    monkeypatch.setattr(worker._redis, "run", dying)
    with pytest.raises(KeyboardInterrupt):
        _reserve(worker, "next", 1)
    with pytest.raises(BudgetStateLost):
        _reserve(second, "next", 1)
    workers.clock.now_seconds += _WAIT_SECONDS
    assert isinstance(_reserve(second, "next", 0), Grant)
    assert second.account("acme").settled == Amount(nusd=91)
    monkeypatch.setattr(worker._redis, "run", drive)
    assert worker.account("acme").settled == Amount(nusd=91)


def test_many_notice_at_once(server: RedisServer, workers: Workers, worker: RedisStore) -> None:
    stores = [worker, *(workers.open() for _ in range(5))]
    for number, store in enumerate(stores[1:]):
        workers.spend(store, f"w{number}", 1)
    server.flush()
    refused: list[str] = []

    def ask(number: int) -> None:
        try:
            _reserve(stores[number], f"next{number}", 1)
        except BudgetStateLost as error:
            refused.append(error.org)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == ["acme"] * 6
    workers.clock.now_seconds += _WAIT_SECONDS
    assert isinstance(_reserve(stores[3], "next", 0), Grant)
    assert {store.account("acme").settled for store in stores} == {Amount(nusd=95)}


def test_nobody_left_to_remember_stays_closed_until_it_is_opened_by_hand(
    server: RedisServer, workers: Workers, worker: RedisStore
) -> None:
    """The server still knows that the org was begun; a process that knows nothing must not."""
    worker.close()
    server.ask("DEL", "agentkit:ledger:{acme}:scopes")
    fresh = workers.open()
    for _ in range(2):
        with pytest.raises(BudgetStateLost):
            fresh.put_scope(Scope(path="acme", limits=Limits(nusd=100)))
        workers.clock.now_seconds += _WAIT_SECONDS
    with pytest.raises(BudgetStateLost, match="agentkit budget reopen acme") as caught:
        fresh.ensure_scopes(["acme"])
    assert caught.value.reopens_in_seconds is None
    assert fresh.reopen("acme").kind == "reopened"
    fresh.put_scope(Scope(path="acme", limits=Limits(nusd=7)))
    assert fresh.account("acme").limits == Limits(nusd=7)


def test_new_orgs_can_be_refused(server: RedisServer) -> None:
    """A server that was emptied, and only processes that know nothing: with this it is noticed."""
    workers = Workers(server, "&new_orgs=refuse")
    store = workers.open()
    with pytest.raises(BudgetStateLost, match="is not there, and it must be"):
        store.ensure_scopes(["acme"])
    store.reopen("acme")
    store.put_scope(Scope(path="acme", limits=Limits(nusd=5)))
    assert isinstance(store.reserve("r", Amount(nusd=5), ["acme"], lease_seconds=9.0), Grant)
    server.flush()
    fresh = workers.open()
    with pytest.raises(BudgetStateLost):
        fresh.ensure_scopes(["acme"])
    workers.close()


def test_journal_remembers_over_the_end_of_every_process(
    server: RedisServer, tmp_path: Path
) -> None:
    """Server and process go down together; the next process knows what was spent."""
    workers = Workers(server, f"&journal={tmp_path / 'journal.db'}")
    store = workers.open()
    store.put_scope(Scope(path="acme", limits=Limits(nusd=10)))
    store.ensure_scopes(_CHAIN)
    workers.spend(store, "r", 6)
    _reserve(store, "open", 2)
    store.close()
    server.flush()
    fresh = workers.open()
    with pytest.raises(BudgetStateLost):
        fresh.ensure_scopes(_CHAIN)
    assert fresh.settle("open", Amount(nusd=1)).after == "settled"
    fresh.close()
    server.flush()
    third = workers.open()
    with pytest.raises(BudgetStateLost):
        _reserve(third, "next", 1)
    workers.clock.now_seconds += _WAIT_SECONDS
    denial = _reserve(third, "next", 4)
    assert isinstance(denial, Denial)
    assert (denial.settled, denial.held) == (7, 0)
    workers.close()


def test_journal_of_another_format_is_refused(server: RedisServer, tmp_path: Path) -> None:
    address = f"{server.address}&journal={tmp_path / 'journal.db'}"
    for _ in range(2):  # a new one, and one that is there
        RedisStore(address).close()
    with closing(sqlite3.connect(tmp_path / "journal.db")) as file:
        file.execute("PRAGMA user_version=7")
    with pytest.raises(StoreError, match=r"has format 7, .* name another file in \?journal="):
        RedisStore(address)


def test_journal_that_cannot_be_written_grants_nothing(server: RedisServer, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"take \?journal= out of the address"):
        RedisStore(f"{server.address}&journal={tmp_path / 'file' / 'journal.db'}")


def test_opening_by_hand_does_not_wait(
    server: RedisServer, workers: Workers, worker: RedisStore
) -> None:
    _reserve(worker, "open", 3)
    server.flush()
    with pytest.raises(BudgetStateLost):
        _reserve(worker, "next", 1)
    operator = workers.open()
    assert operator.reopen("acme").orphaned == Amount()
    assert isinstance(_reserve(worker, "next", 1), Grant)
    assert worker.account("acme").held == Amount(nusd=4)


def test_ledger_tells_its_tasks_and_refuses(server: RedisServer) -> None:
    """Opening a task makes no limits anew; the loss is an event of every task there."""
    ledger = Ledger(f"{server.address}&wait_seconds=0.2")
    ledger.set_limits("acme", Limits(tokens=1_000))
    events: list[BudgetEvent] = []
    task = ledger.open_task(scope="acme/support", budget=Budget(tokens=300))
    task.listen(events.append)
    server.flush()
    with pytest.raises(BudgetStateLost):
        ledger.open_task(scope="acme/support", task_id="another")
    assert [(event.kind, event.scope) for event in events] == [("lost", "acme")]
    time.sleep(0.3)
    ledger.open_task(scope="acme/support", task_id="another")
    assert events[-1].kind == "reopened"
    assert ledger.account("acme").limits == Limits(tokens=1_000)
    assert task.room().tokens == 300
    ledger.close()


def test_scope_that_was_dropped_is_no_loss(workers: Workers, worker: RedisStore) -> None:
    worker.ensure_scopes(["acme/gone"])
    worker.drop_scope("acme/gone")
    with pytest.raises(ScopeMissing):
        worker.reserve("r", Amount(), ["acme", "acme/gone"], lease_seconds=1.0)
    assert workers.losses == []


def test_evicting_server_is_refused_where_that_is_asked(server: RedisServer) -> None:
    server.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    bare = server.address.partition("?")[0]
    with pytest.raises(StoreError, match="under memory pressure it evicts what was spent"):
        RedisStore(f"{bare}?durability=require")


def test_server_that_crashed_knows_all_that_it_answered(
    server: RedisServer, worker: RedisStore
) -> None:
    server.kill()
    server.start()
    assert worker.account("acme").settled == Amount(nusd=90)


def test_every_verb_takes_what_was_seen() -> None:
    """No script that grants or ends a reservation forgets to compare."""
    from agentkit.budgets.stores.redis_script import source

    verbs: tuple[Verb, ...] = (
        *("reserve", "settle", "release", "renew", "expire", "accounts", "turn", "drop", "scope"),
    )
    assert all("sound(meta" in source(verb) for verb in verbs)
