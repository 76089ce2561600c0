"""A Redis that forgets: workers with memories of their own over a server that is put back in time.

One seed is one story: reservations and settlements by several workers, and in between the server is
emptied, restarted, restarted with the end of its log cut off, or robbed of single keys. The books
keep what providers billed. Rules: what was billed and may yet be billed never passes a limit; what
is charged in the end covers what was billed in every scope; nothing stays held; a loss that took
anything away is told. Workers may die with all they knew only in seeds that say so: then what they
alone had seen may be missing, and only the other rules are checked.
"""

from __future__ import annotations

import logging
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from agentkit.budgets.amount import NOTHING, Amount, Limits
from agentkit.budgets.errors import (
    BudgetStateLost,
    ReservationUnknown,
    ScopeMissing,
)
from agentkit.budgets.loss import StateLoss
from agentkit.budgets.scope import Scope
from agentkit.budgets.store import Denial, Grant, Settlement
from agentkit.budgets.stores.redis import RedisStore
from benchmarks._books import Violation
from tests.budgets.redis_server import RedisServer

ORG = "acme"
_CHAINS = ((ORG, "acme/a", "acme/a/u"), (ORG, "acme/b"), (ORG, "acme/a"))
_LIMITS = {ORG: 400, "acme/a": 260, "acme/a/u": 150, "acme/b": 220}
_LEASE_SECONDS = 30.0
_STEPS = 60
_OPTIONS = f"&after_restart=wait&wait_seconds={_LEASE_SECONDS:g}"
_SHOWN = 10


Make = Callable[[str, Callable[[], float]], RedisStore]
"""Opens a worker's store at an address, by a clock."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ways:
    """How bad it gets."""

    deaths: bool = False
    """Workers die, with all that they knew."""
    overlapping: bool = False
    """The next loss does not wait until everybody is back from the last."""


@dataclass(slots=True)
class _Call:
    worst: Amount
    chain: tuple[str, ...]
    worker: int
    billed: Amount | None = None


@dataclass(slots=True)
class _Worker:
    number: int
    store: RedisStore
    losses: list[StateLoss] = field(default_factory=list[StateLoss])


class Rollback:
    """The story of one seed; `make` opens a worker's store, the honest one or a broken copy."""

    def __init__(
        self,
        seed: int,
        server: RedisServer,
        make: Make,
        ways: Ways,
    ) -> None:
        self.random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self._server = server
        self._make = make
        self._deaths = ways.deaths
        self._overlapping = ways.overlapping
        self._now = 1_700_000_000.0
        self._calls: dict[str, _Call] = {}
        self._open: list[str] = []
        self._made = 0
        self._roll_call: list[int] = []
        self._workers: list[_Worker] = []

    def run(self) -> Counter[str]:
        """Live through the story; raises Violation."""
        try:
            self._set_up()
            for _ in range(_STEPS):
                self._step()
            self._end()
        finally:
            for worker in self._workers:
                worker.store.close()
        return self.counts

    def _set_up(self) -> None:
        self._server.kill()
        self._wipe()
        self._server.start()
        for number in range(3):
            self._workers.append(self._worker(number))
        for path, limit in _LIMITS.items():
            self._workers[0].store.put_scope(Scope(path=path, limits=Limits(nusd=limit)))
        for worker in self._workers:
            worker.store.accounts(list(_LIMITS))

    def _worker(self, number: int) -> _Worker:
        store = self._make(f"{self._server.address}{_OPTIONS}", lambda: self._now)
        worker = _Worker(number, store)
        store.on_loss = worker.losses.append
        return worker

    def _step(self) -> None:
        self._now += self.random.choice((0.1, 1.0, 4.0))
        if self._roll_call:
            worker = self._workers[self._roll_call.pop()]
            worker.store.expire()
            return
        worker = self.random.choice(self._workers)
        chance = self.random.random()
        if chance < 0.45:
            self._reserve(worker)
        elif chance < 0.8:
            self._settle(worker)
        elif chance < 0.86:
            worker.store.expire()
        elif chance < 0.9:
            self._renew(worker)
        elif chance < 0.97:
            self._lose()
        elif self._deaths:
            self._die(worker)

    def _reserve(self, worker: _Worker) -> None:
        self._made += 1
        name = f"{worker.number}.{self._made}"
        chain = self.random.choice(_CHAINS)
        worst = Amount(self.random.choice((5, 20, 45)), 10, 10, 1)
        try:
            answer = worker.store.reserve(name, worst, chain, lease_seconds=_LEASE_SECONDS)
        except BudgetStateLost:
            self.counts["refused while closed"] += 1
            return
        except ScopeMissing:
            self.counts["scope missing"] += 1
            return
        if isinstance(answer, Grant):
            self.counts["grants"] += 1
            self._calls[name] = _Call(worst, chain, worker.number)
            self._open.append(name)
            self._check_limits()

    def _settle(self, worker: _Worker) -> None:
        mine = [name for name in self._open if self._calls[name].worker == worker.number]
        if not mine:
            return
        name = self.random.choice(mine)
        call = self._calls[name]
        share = self.random.choice((0, 1, 3, 4))
        if share == 0 and self.random.random() < 0.5:
            call.billed = NOTHING
            self._end_call(worker, name, lambda: worker.store.release(name))
            return
        call.billed = Amount(*(value * share // 4 for value in call.worst))
        billed = call.billed
        self._end_call(worker, name, lambda: worker.store.settle(name, billed))

    def _end_call(self, worker: _Worker, name: str, verb: Callable[[], object]) -> None:
        self._open.remove(name)
        try:
            verb()
        except ReservationUnknown:
            raise Violation("nothing is forgotten", f"{name} of {worker.number}") from None

    def _renew(self, worker: _Worker) -> None:
        mine = [name for name in self._open if self._calls[name].worker == worker.number]
        if mine:
            worker.store.renew(self.random.choice(mine), lease_seconds=_LEASE_SECONDS)

    def _die(self, worker: _Worker) -> None:
        """A worker ends with all it knew; its open calls may have been billed in full."""
        self.counts["deaths"] += 1
        worker.store.close()
        for name in [n for n in self._open if self._calls[n].worker == worker.number]:
            self._calls[name].billed = self._calls[name].worst
            self._open.remove(name)
        number = 1 + max(each.number for each in self._workers)
        self._workers[self._workers.index(worker)] = self._worker(number)

    def _lose(self) -> None:
        if not (self._overlapping or self._whole()):
            return
        kind = self.random.choice(("flush", "restart", "cut", "cut", "keys", "disk"))
        self.counts[kind] += 1
        self._roll_call = self.random.sample(range(len(self._workers)), len(self._workers))
        if kind == "flush":
            self._server.flush()
        elif kind == "keys":
            keys = sorted(str(key) for key in self._keys())
            for key in self.random.sample(keys, min(len(keys), self.random.choice((1, 1, 3)))):
                self._server.ask("DEL", key)
        else:
            self._server.kill()
            if kind == "cut":
                self._cut()
            elif kind == "disk":
                self._wipe()
            self._server.start()

    def _whole(self) -> bool:
        """True where every worker has come back from the last loss."""
        epochs = {epoch_of(worker.store) for worker in self._workers}
        return len(epochs) == 1 and None not in epochs

    def _keys(self) -> list[object]:
        found = self._server.ask("KEYS", "agentkit:*")
        return found if isinstance(found, list) else []

    def _wipe(self) -> None:
        for log in self._server.folder.glob("appendonlydir/*"):
            log.unlink()

    def _cut(self) -> None:
        """Cut a part off the end of the server's log."""
        (log,) = self._server.folder.glob("appendonlydir/*.incr.aof")
        content = log.read_bytes()
        log.write_bytes(content[: int(len(content) * self.random.choice((0.3, 0.7, 0.95)))])

    def _truth(self, path: str) -> int:
        """What was billed and what may yet be billed."""
        return sum(
            (call.worst if call.billed is None else call.billed).nusd
            for call in self._calls.values()
            if path in call.chain
        )

    def _check_limits(self) -> None:
        if self._deaths:
            return
        for path, limit in _LIMITS.items():
            truth = self._truth(path)
            if truth > limit:
                raise Violation("never over", f"{path!r}: {truth} of {limit}")

    def _end(self) -> None:
        """Everybody ends what is open, and asks until the org is open and every lease is over."""
        for worker in self._workers:
            for name in [n for n in self._open if self._calls[n].worker == worker.number]:
                self._calls[name].billed = billed = self._calls[name].worst
                self._end_call(worker, name, partial(worker.store.settle, name, billed))
        for _ in range(6):
            self._now += 400.0
            for worker in self._workers:
                self._knock(worker)
                worker.store.expire(1_000)
        self._check_end()

    def _knock(self, worker: _Worker) -> None:
        self._made += 1
        name = f"{worker.number}.{self._made}"
        try:
            worker.store.reserve(name, NOTHING, (ORG,), lease_seconds=1.0)
            worker.store.release(name)
        except (BudgetStateLost, ScopeMissing):
            self.counts["knocked in vain"] += 1

    def _check_end(self) -> None:
        store = self._workers[0].store
        try:
            accounts = store.accounts(list(_LIMITS))
        except ScopeMissing:
            if self._deaths:
                return
            raise Violation("restored", "a scope did not come back") from None
        if store.held():
            raise Violation("nothing stuck", f"{store.held()} is held")
        for account in accounts:
            if any(account.held):
                raise Violation("nothing stuck", f"{account.held} in {account.path!r}")
            if self._deaths:
                continue
            truth = self._truth(account.path)
            if account.settled.nusd < truth:
                what = f"{account.path!r}: charged {account.settled.nusd}, billed {truth}"
                raise Violation("no undercount", what)
            if account.limits.nusd != _LIMITS[account.path]:
                raise Violation("limits", f"{account.path!r} has {account.limits}")
            self.counts["exact" if account.settled.nusd == truth else "charged more"] += 1
            self.counts["charged more by"] += account.settled.nusd - truth


def epoch_of(store: RedisStore) -> bytes | None:
    """The epoch in which a store spends; None while the org is recovering."""
    memory = store.memory_of(ORG)
    return None if memory.recovering else memory.seen[:16]


def roll_back(
    seeds: range,
    make: Make = lambda where, clock: RedisStore(where, clock=clock),
    ways: Ways = Ways(),
) -> dict[str, object]:
    """What happened over `seeds`, and the first of those that broke a rule."""
    counts: Counter[str] = Counter()
    broken: dict[str, str] = {}
    with _server() as server:
        for seed in seeds:
            story = Rollback(seed, server, make, ways)
            try:
                story.run()
            except Violation as violation:
                broken[str(seed)] = str(violation)
            counts.update(story.counts)
    found = {name.replace(" ", "_"): count for name, count in sorted(counts.items())}
    return {
        "seeds": len(seeds),
        "violations": len(broken),
        **found,
        "first_violations": dict(list(broken.items())[:_SHOWN]),
    }


def rollback_caught_after(make: Make, seeds: range) -> tuple[int, str] | None:
    """How many of `seeds` it took until a rule was broken, and which; None where none was."""
    with _server() as server:
        for number, seed in enumerate(seeds, start=1):
            try:
                Rollback(seed, server, make, Ways()).run()
            except Violation as violation:
                return number, violation.rule
    return None


@contextmanager
def _server() -> Generator[RedisServer, None, None]:
    with tempfile.TemporaryDirectory(prefix="agentkit-") as folder:
        server = RedisServer(Path(folder), "--appendonly", "yes", "--appendfsync", "no")
        level = logging.getLogger("agentkit.budgets")
        before, level.disabled = level.disabled, True  # each loss is an error in the log
        try:
            yield server
        finally:
            level.disabled = before
            server.kill()


class _Unseeing(RedisStore):
    """Ignores epoch and seq: whatever the server says is taken for all there is."""

    def reserve(self, *arguments: Any, **options: Any) -> Grant | Denial:
        try:
            return super().reserve(*arguments, **options)
        except BudgetStateLost:
            memory = self.memory_of(ORG)
            memory.scopes.clear()
            memory.holds.clear()
            self.reopen(ORG)
            return super().reserve(*arguments, **options)


class _Empty(RedisStore):
    """Closes the org, waits, and brings no scope back."""

    def reserve(self, *arguments: Any, **options: Any) -> Grant | Denial:
        self.memory_of(ORG).scopes.clear()
        return super().reserve(*arguments, **options)


class _Forgetful(RedisStore):
    """Brings the scopes back, and not its open reservations."""

    def settle(self, *arguments: Any, **options: Any) -> Settlement:
        self.memory_of(ORG).holds.clear()
        return super().settle(*arguments, **options)


LOSERS: dict[str, Make] = {
    "epoch and seq are ignored": lambda where, clock: _Unseeing(where, clock=clock),
    "scopes are not brought back": lambda where, clock: _Empty(where, clock=clock),
    "reservations are not brought back": lambda where, clock: _Forgetful(where, clock=clock),
}
"""Broken copies of the recovery, which the stories must catch."""
