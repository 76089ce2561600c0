"""How fast a ledger reserves and settles over four scopes, beside trips for nothing.

Run `python benchmarks/ledger.py` for a table, `--json` for numbers. `noop_ops_s` is what the
store's medium does alone: two lock rounds in memory, two empty transactions in SQLite, two scripts
that return at once in Redis. `ratio` is how much of that the ledger keeps: the median over short
turns of both, one right after the other. `redis` is a server on a TCP port of this machine, as
`redis://` means it, `redis_socket` one behind a Unix socket, where a trip costs least. `scopes`
shows what a call costs where the org has that many other scopes: the median of its microseconds,
the best of some turns.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import redis

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from agentkit.budgets import Amount, Limits, Scope, Store, open_store
from agentkit.budgets.stores.redis_address import read_address
from agentkit.budgets.stores.redis_connection import client_options
from agentkit.budgets.stores.redis_script import org_key
from tests.budgets.redis_server import RedisServer

_PATHS = ("acme", "acme/support", "acme/support/u42", "acme/support/u42/~task")
_WORST, _ACTUAL = Amount(1_000, 500, 500, 1), Amount(400, 210, 30, 1)
Figures = dict[str, float]
_COUNTS = (10, 1_000, 10_000, 100_000)
_TURNS = 5
_PAIRS = 24
_CALLS_A_TURN = 300
Operation = Callable[[str], object]


def main() -> None:
    """Measure the stores that are asked for, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each measurement")
    parser.add_argument("--most-scopes", type=int, default=_COUNTS[-1], help="to try up to")
    options = parser.parse_args()
    counts = [count for count in _COUNTS if count <= options.most_scopes]
    with tempfile.TemporaryDirectory(prefix="agentkit-") as folder:
        figures = _measure_all(Path(folder), options.seconds)
        scopes = _measure_scopes(Path(folder), counts)
    if options.json:
        print(json.dumps({**figures, "scopes": scopes}, indent=2))
        return
    print(
        f"{'store':28}{'ops/s':>10}{'nothing/s':>12}{'ratio':>8}{'p50 ms':>10}{'p99 ms':>10}"
        f"{'nothing':>10}"
    )
    for name, row in figures.items():
        print(
            f"{name:28}{row['ops_s']:>10,.0f}{row['noop_ops_s']:>12,.0f}{row['ratio']:>8.2f}"
            f"{row['p50_ms']:>10.3f}{row['p99_ms']:>10.3f}{row['noop_p50_ms']:>10.4f}"
        )
    print(f"\n{'scopes':28}" + "".join(f"{count:>10,}" for count in counts))
    for name, costs in scopes.items():
        print(f"{name:28}" + "".join(f"{costs[str(count)]:>10.1f}" for count in counts))


def _measure_all(folder: Path, seconds: float) -> dict[str, Figures]:
    measured: dict[str, Figures] = {}

    def measure(name: str, store: Store, noop: Operation, threads: int = 1) -> None:
        _fill(store)
        measured[name] = _figures(_operation(store), noop, seconds, threads)
        store.close()

    measure("memory", open_store("memory://"), _nothing_in_memory())
    for name, mode in (("sqlite", "NORMAL"), ("sqlite_full", "FULL")):
        address = f"sqlite:///{folder / name}.db?synchronous={mode}"
        measure(name, open_store(address), _nothing_in_sqlite(folder / f"{name}-0.db", mode))
    if shutil.which("redis-server") is None:
        return measured
    for way, on_port in (("redis", True), ("redis_socket", False)):
        for name, threads in ((way, 1), (f"{way}_32_connections", 32)):
            with _redis(on_port=on_port) as address:
                measure(name, open_store(address), _nothing_in_redis(address), threads)
    return measured


def _measure_scopes(folder: Path, counts: Sequence[int]) -> dict[str, Figures]:
    """Microseconds of a call in each store as its scopes become more."""
    stores = {
        "memory": "memory://",
        "sqlite": f"sqlite:///{folder / 'scopes'}.db?synchronous=NORMAL",
    }
    found = {name: _by_scopes(open_store(address), counts) for name, address in stores.items()}
    if shutil.which("redis-server") is not None:
        with _redis(on_port=False) as address:
            found["redis"] = _by_scopes(open_store(address), counts)
    return found


def _by_scopes(store: Store, counts: Sequence[int]) -> Figures:
    _fill(store)
    operation = _operation(store)
    costs: Figures = {}
    there = 0
    for count in counts:
        for start in range(there, count, 1_000):
            paths = [f"acme/s{i}" for i in range(start, min(count, start + 1_000))]
            store.ensure_scopes(paths)
        there = count
        medians: list[float] = []
        for turn in range(_TURNS):
            taken: list[float] = []
            for call in range(_CALLS_A_TURN):
                began = time.perf_counter()
                operation(f"s{count}.{turn}.{call}")
                taken.append(time.perf_counter() - began)
            medians.append(median(taken))
        costs[str(count)] = round(min(medians) * 1_000_000, 1)
    store.close()
    return costs


def _fill(store: Store) -> None:
    for path in _PATHS:
        store.put_scope(Scope(path=path, limits=Limits(nusd=2**53, tokens=2**53)))


def _operation(store: Store) -> Operation:
    def reserve_and_settle(name: str) -> None:
        store.reserve(name, _WORST, _PATHS, lease_seconds=60.0)
        store.settle(name, _ACTUAL)

    return reserve_and_settle


def _figures(operation: Operation, noop: Operation, seconds: float, threads: int) -> Figures:
    """Both in turns, so that a noisy machine is unfair to neither."""
    noops: list[float] = []
    rates: list[float] = []
    noop_taken: list[float] = []
    taken: list[float] = []
    for turn in range(_PAIRS):
        for found, times, each in ((noops, noop_taken, noop), (rates, taken, operation)):
            rate, latencies = _rate(each, f"{turn}", seconds / _PAIRS, threads)
            found.append(rate)
            times.extend(latencies)
    cuts = quantiles(taken, n=100)
    return {
        "ops_s": round(median(rates), 1),
        "noop_ops_s": round(median(noops), 1),
        "ratio": round(median(ops / noop for ops, noop in zip(rates, noops, strict=True)), 3),
        "p50_ms": round(cuts[49] * 1000, 4),
        "p99_ms": round(cuts[98] * 1000, 4),
        "noop_p50_ms": round(median(noop_taken) * 1000, 4),
    }


def _rate(
    operation: Operation, name: str, seconds: float, threads: int
) -> tuple[float, list[float]]:
    """Operations a second, all threads together, and the seconds that each took."""
    until = time.perf_counter() + seconds

    def work(worker: int) -> list[float]:
        taken: list[float] = []
        began = time.perf_counter()
        while began < until:
            operation(f"{name}.{worker}.{len(taken)}")
            ended = time.perf_counter()
            taken.append(ended - began)
            began = ended
        return taken

    start = time.perf_counter()
    if threads == 1:
        latencies = work(0)
    else:
        with ThreadPoolExecutor(threads) as pool:
            latencies = [each for part in pool.map(work, range(threads)) for each in part]
    return len(latencies) / (time.perf_counter() - start), latencies


def _nothing_in_memory() -> Operation:
    lock = threading.Lock()

    def nothing(_: str) -> None:
        for _verb in range(2):
            with lock:
                pass

    return nothing


def _nothing_in_sqlite(path: Path, mode: str) -> Operation:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute(f"PRAGMA synchronous={mode}")
    db.execute("CREATE TABLE n (n INTEGER)")
    db.execute("INSERT INTO n VALUES (0)")

    def nothing(_: str) -> None:
        for _verb in range(2):
            db.execute("BEGIN IMMEDIATE")
            db.execute("UPDATE n SET n = n + 1")
            db.execute("COMMIT")

    return nothing


def _nothing_in_redis(address: str) -> Operation:
    """Two scripts that do nothing, by redis-py's own client as anybody would call it."""
    where = read_address(address)
    client: Any = redis.Redis
    client = client.from_url(where.url, **client_options(where))
    nothing = client.script_load("return 'NOTHING'")
    seen, key = bytes(24), org_key("acme")
    reserve = ("", seen, "name", bytes(32), 60_000, "", 1, *_PATHS, "")
    settle = (seen, "name", bytes(32), "s", "", "", "")

    def trips(_: str) -> None:
        client.execute_command("EVALSHA", nothing, 1, key, *reserve)
        client.execute_command("EVALSHA", nothing, 1, key, *settle)

    return trips


@contextmanager
def _redis(*, on_port: bool) -> Generator[str, None, None]:
    """The address of a redis-server of our own, without persistence, on a port or a socket."""
    port = _free_port() if on_port else 0
    with tempfile.TemporaryDirectory(prefix="ak-") as folder:
        server = RedisServer(Path(folder), "--port", str(port), "--bind", "127.0.0.1")
        try:
            yield f"redis://127.0.0.1:{port}/0?durability=ignore" if on_port else server.address
        finally:
            server.kill()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    main()
