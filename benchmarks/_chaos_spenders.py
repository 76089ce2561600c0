"""What a chaos worker runs: the ledger under test, and peers that the same load is put to.

A spender makes one call after the other until the shared limit is used up. `step` is where it may
die: it is called wherever a crash would hurt.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

from agentkit.budgets import BudgetExceeded, Ledger, Limits, Price, StoreError, Usage
from agentkit.budgets.call_plan import CallPlan, HeldCall
from agentkit.budgets.price import Rates
from agentkit.budgets.task import Task
from benchmarks._chaos_provider import INPUT_TOKENS, Client, Cut, Refused

LEASE_SECONDS = 0.4
_PATIENCE_SECONDS = 120.0
OUTPUT_TOKENS = 100
WORST_NUSD = INPUT_TOKENS + OUTPUT_TOKENS
_SCOPE = "acme/team"
_WHOLE = Rates(
    input=1_000_000,
    cache_read=1_000_000,
    cache_write_5m=1_000_000,
    cache_write_1h=1_000_000,
    output=1_000_000,
)
_PRICE = Price(
    model="chaos", provider="loopback", state="priced", source="override", bands=((0, _WHOLE),)
)

Peer = Literal["agentkit", "check-then-increment", "litellm"]
Step = Callable[[], None]
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """One run: where the budget is kept, how much it is, and who serves."""

    run: str
    peer: Peer
    address: str
    provider_port: int
    limit_nusd: int


@dataclass(kw_only=True, slots=True)
class Finding:
    """What a budget believes once the run is over."""

    charged_nusd: int
    stuck_leases: int = 0
    faults: list[str] = field(default_factory=list[str])


class Spender(Protocol):
    """Spends from a budget that others spend from too."""

    def set_up(self) -> None:
        """Set the limit, before any worker starts."""
        ...

    def spend(self, name: str, step: Step) -> None:
        """Make calls until the limit allows none; `step` may end the worker."""
        ...

    def find(self) -> Finding:
        """What was charged, once every lease is over."""
        ...

    def close(self) -> None:
        """Let go of the budget."""
        ...


class LedgerSpender:
    """agentkit: the worst case is held before each call, its output clamped to what is left."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._ledger = _patiently(lambda: Ledger(load.address))

    def set_up(self) -> None:
        self._ledger.set_limits("acme", Limits(nusd=self._load.limit_nusd))

    def spend(self, name: str, step: Step) -> None:
        provider = Client(self._load.provider_port)
        task = _patiently(lambda: self._ledger.open_task(scope=_SCOPE, task_id=name))
        while True:
            step()
            try:
                held = task.hold_call(_plan())
            except BudgetExceeded:
                if self._used_up():
                    break
                continue
            except StoreError:  # what was held, if it was, ends with its lease
                time.sleep(0.02)
                continue
            step()
            self._call(task, held, provider, step)
        provider.close()

    def find(self) -> Finding:
        until = time.monotonic() + 20 * LEASE_SECONDS
        store = self._ledger.store
        while store.held() and time.monotonic() < until:
            store.expire()
            time.sleep(LEASE_SECONDS / 10)
        accounts = {scope.path: self._ledger.account(scope.path) for scope in store.scopes()}
        top = accounts["acme"]
        finding = Finding(charged_nusd=top.settled.nusd, stuck_leases=len(store.held()))
        if any(any(account.held) for account in accounts.values()):
            finding.stuck_leases = max(1, finding.stuck_leases)
        tasks = [a.settled for path, a in accounts.items() if "/~" in path]
        for index, name in enumerate(top.settled._fields):
            parts = sum(settled[index] for settled in tasks)
            if not parts == accounts[_SCOPE].settled[index] == top.settled[index]:
                finding.faults.append(f"{name}: tasks {parts}, top {top.settled[index]}")
        return finding

    def close(self) -> None:
        self._ledger.close()

    def _call(self, task: Task, held: HeldCall, provider: Client, step: Step) -> None:
        try:
            tokens = provider.serve(self._load.run, held.call_id, held.max_output_tokens)
        except Refused:
            _patiently(lambda: task.reject_call(held, error="429"))
            return
        except Cut:
            _patiently(lambda: task.forfeit_call(held, status="cut", error="cut"))
            return
        step()
        usage = Usage(input_tokens=INPUT_TOKENS, output_tokens=tokens)
        _patiently(lambda: task.settle_call(held, usage))
        step()

    def _used_up(self) -> bool:
        """True where nobody holds money that may still come back."""
        with contextlib.suppress(StoreError):
            store = self._ledger.store
            store.expire()
            if not store.held(1):
                return store.account("acme").available.nusd in range(INPUT_TOKENS + 1)
        time.sleep(0.01)
        return False


class TallySpender:
    """check-then-increment: read what is spent, call if one more worst case fits, add the cost."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._tally = _open_tally(load.address)

    def set_up(self) -> None:
        self._tally.add(0)

    def spend(self, name: str, step: Step) -> None:
        provider = Client(self._load.provider_port)
        number = 0
        while self._tally.read() + WORST_NUSD <= self._load.limit_nusd:
            number += 1
            step()
            try:
                tokens = provider.serve(self._load.run, f"{name}.{number}", OUTPUT_TOKENS)
            except (Refused, Cut):
                continue
            step()
            self._tally.add(INPUT_TOKENS + tokens)
            step()
        provider.close()

    def find(self) -> Finding:
        return Finding(charged_nusd=self._tally.read())

    def close(self) -> None:
        self._tally.close()


class _Tally(Protocol):
    def read(self) -> int: ...

    def add(self, nusd: int) -> None: ...

    def close(self) -> None: ...


class _MemoryTally:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spent = 0

    def read(self) -> int:
        return self._spent

    def add(self, nusd: int) -> None:
        with self._lock:
            self._spent += nusd

    def close(self) -> None:
        """Nothing to let go of."""


class _SqliteTally:
    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
        self._db.execute("CREATE TABLE IF NOT EXISTS spent (id INTEGER PRIMARY KEY, nusd INTEGER)")
        self._db.execute("INSERT OR IGNORE INTO spent VALUES (1, 0)")

    def read(self) -> int:
        spent: int = self._db.execute("SELECT nusd FROM spent").fetchone()[0]
        return spent

    def add(self, nusd: int) -> None:
        self._db.execute("UPDATE spent SET nusd = nusd + ?", (nusd,))

    def close(self) -> None:
        self._db.close()


class _RedisTally:
    def __init__(self, socket_path: str) -> None:
        import redis

        self._redis = redis.Redis(unix_socket_path=socket_path, decode_responses=True)

    def read(self) -> int:
        return int(str(self._redis.get("spent") or 0))

    def add(self, nusd: int) -> None:
        self._redis.incrby("spent", nusd)

    def close(self) -> None:
        self._redis.close()


def _open_tally(address: str) -> _Tally:
    kind, _, place = address.partition("?")[0].partition("://")
    if kind == "sqlite":
        return _SqliteTally(f"{place[1:]}.tally")
    return _RedisTally(place) if kind == "unix" else _MemoryTally()


def _plan() -> CallPlan:
    return CallPlan(
        price=_PRICE,
        counted_input_tokens=INPUT_TOKENS,
        input_tokens=INPUT_TOKENS,
        wanted_output_tokens=OUTPUT_TOKENS,
        lease_seconds=LEASE_SECONDS,
    )


def _patiently(verb: Callable[[], _T]) -> _T:
    """What `verb` returns, tried again while the store does not answer."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return verb()
        except StoreError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
