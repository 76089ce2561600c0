"""One seed of the deterministic simulation: workers, a reaper and an operator over one ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from agentkit.budgets.amount import NOTHING, Amount, Limits
from agentkit.budgets.errors import (
    BudgetError,
    ReservationConflict,
    ReservationUnknown,
    ScopeMissing,
)
from agentkit.budgets.ledger import Ledger
from agentkit.budgets.scope import Scope
from agentkit.budgets.store import Denial, Grant, Store
from benchmarks._books import Books, Violation, WatchedStore
from benchmarks._simulated_world import (
    Answer,
    Ask,
    Call,
    Pause,
    Process,
    Program,
    Tell,
    Verb,
    World,
)

StoreFactory = Callable[[Callable[[], float]], Store]
HARNESS = "harness"
"""The rule that is broken where a simulation ends in an error that it does not expect."""
_LEASE_SECONDS = 12.0
_SHARED = ("acme", "acme/a", "acme/b", "acme/a/u")
_CHAINS = (("acme", "acme/a", "acme/a/u"), ("acme", "acme/b"))
_EXPECTED = (ReservationUnknown, ReservationConflict, ScopeMissing)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What happened in one seed; `violation` is None where every rule held."""

    seed: int
    counts: Counter[str]
    violation: Violation | None = None


class Simulation:
    """The world of one seed, with a store under test as the ledger's."""

    def __init__(self, seed: int, store_factory: StoreFactory) -> None:
        self.seed = seed
        self.world = World(seed, self._execute, self._bill)
        self.random = self.world.random
        self.books = Books()
        self.store = store_factory(self.world.clock)
        watched = WatchedStore(self.store, self.books, self.world.clock)
        self.ledger = Ledger(
            cast("Store", watched),  # the verbs that a ledger uses here, and no others
            on_event=self.books.hear,
            clock=self.world.clock,
        )
        self._workers = 0

    def run(self) -> Outcome:
        """Live through the seed to its end, when every lease is over."""
        try:
            self._set_up()
            self.world.run()
            self._end_leases()
        except Violation as violation:
            return Outcome(seed=self.seed, counts=self.world.counts, violation=violation)
        except (BudgetError, LookupError) as error:  # an answer that no rule allows
            unexpected = Violation(HARNESS, f"{type(error).__name__}: {error}")
            return Outcome(seed=self.seed, counts=self.world.counts, violation=unexpected)
        finally:
            self.store.close()
        return Outcome(seed=self.seed, counts=self.world.counts)

    def _set_up(self) -> None:
        put = self.ledger.store.put_scope
        put(Scope(path="acme", limits=Limits(nusd=self.random.choice((150, 600, 2_000)))))
        put(Scope(path="acme/a", limits=Limits(nusd=300, fresh_tokens=800), window="day"))
        put(Scope(path="acme/b", limits=Limits(tokens=900)))
        put(Scope(path="acme/a/u", limits=Limits(calls=self.random.choice((3, 12)))))
        for _ in range(self.random.randint(1, 4)):
            self._start_worker()
        for seconds in range(5, 180, 10):
            self.world.later(seconds, self._reap)
        for _ in range(3):
            self.world.later(self.random.uniform(0.0, 60.0), self._operate)

    def _start_worker(self) -> None:
        """A worker; where it crashes, another takes its place for a while."""
        self._workers += 1
        name = f"w{self._workers}"
        restart = self._workers < 8
        worker = self._work(name, self.random.choice(_CHAINS))
        Process(self.world, worker, self._start_worker if restart else lambda: None)

    def _work(self, name: str, shared: tuple[str, ...]) -> Program:
        """Opens a task, keeps money for its last answer, makes calls, lands, and lets go."""
        task = f"{shared[-1]}/~{name}"
        chain = (*shared, task)
        limits = Limits(nusd=self.random.choice((60, 250)), calls=9)
        if (yield Ask(lambda: self._open(task, chain, limits))) is None:
            return
        kept = f"{name}.landing"
        landing = yield Ask(self._reserve(kept, Amount(10, 20, 20, 1), chain, sent=False))
        for number in range(self.random.randint(1, 4)):
            yield Pause(self.random.choice((0.0, 0.5, 8.0)))
            yield Tell(lambda: self.ledger.renew(kept, lease_seconds=9.0, dispatched=False))
            yield from self._spend(f"{name}.{number}", chain)
        if isinstance(landing, Grant):
            taken = yield Ask(lambda: self.ledger.renew(kept, lease_seconds=_LEASE_SECONDS))
            if taken is True:
                yield from self._send(kept, landing.worst)
        yield Ask(lambda: self._drop(task))

    def _spend(self, name: str, chain: tuple[str, ...]) -> Program:
        """One call: hold its worst case, or less of it, send it, and end it."""
        size = self.random.choice((8, 30, 90))
        worst = Amount(size, 2 * size, size, 1)
        answer = yield Ask(self._reserve(name, worst, chain))
        if isinstance(answer, Denial):
            worst = Amount(size // 4, size // 2, size // 4, 1)
            answer = yield Ask(self._reserve(name, worst, chain))
        if answer is None:
            yield Ask(lambda: self.ledger.release(name))
        if not isinstance(answer, Grant) or answer.state != "held":
            return
        if self.random.random() < 0.1:
            yield Ask(lambda: self._misuse(name, worst, chain))
        if self.random.random() < 0.3:
            yield Ask(lambda: self.ledger.renew(name, lease_seconds=_LEASE_SECONDS))
        yield from self._send(name, answer.worst)

    def _send(self, name: str, worst: Amount) -> Program:
        billed = yield Call(name, worst, lambda actual: self._settle(name, actual))
        if isinstance(billed, Amount):
            yield from self._settle(name, billed)
        elif billed is False:
            rejected = self.random.random() < 0.5
            yield Ask(
                (lambda: self.ledger.settle(name, NOTHING))
                if rejected
                else (lambda: self.ledger.release(name))
            )
        else:
            yield Ask(lambda: self.ledger.forfeit(name, worst))

    def _settle(self, name: str, actual: Amount) -> Program:
        yield Ask(lambda: self.ledger.settle(name, actual))

    def _reserve(
        self, name: str, worst: Amount, chain: tuple[str, ...], *, sent: bool = True
    ) -> Verb:
        return lambda: self.ledger.try_reserve(
            name, worst, chain, lease_seconds=_LEASE_SECONDS, fingerprint="f", dispatched=sent
        )

    def _open(self, task: str, chain: tuple[str, ...], limits: Limits) -> bool:
        self.ledger.store.ensure_scopes(chain[:-1])
        self.ledger.store.put_scope(Scope(path=task, limits=limits))
        return True

    def _drop(self, task: str) -> bool:
        self.ledger.store.drop_scope(task)
        return True

    def _misuse(self, name: str, worst: Amount, chain: tuple[str, ...]) -> Answer:
        """Another request under the same id: it must be refused."""
        answer = self.ledger.try_reserve(
            name, worst, chain, lease_seconds=_LEASE_SECONDS, fingerprint="another"
        )
        raise Violation("one id, one request", f"{name} was answered with {answer}")

    def _reap(self) -> None:
        self.ledger.expire_due()
        self._audit()

    def _operate(self) -> None:
        """Raise a limit, set the clock of the ledger's machine, or do nothing."""
        chosen = self.random.randrange(3)
        if chosen == 0:
            path = self.random.choice(_SHARED)
            scope = self.books.scopes[path]
            raised = Limits(*(None if limit is None else limit + 50 for limit in scope.limits))
            self.ledger.store.put_scope(
                Scope(path=path, limits=raised, window=scope.window, timezone=scope.timezone)
            )
        elif chosen == 1:
            self.world.skew_seconds = self.random.uniform(-20.0, 20.0)
        self._audit()

    def _execute(self, verb: Verb) -> Answer:
        try:
            answer = verb()
        except _EXPECTED as error:
            answer = error
        self._audit()
        return answer

    def _bill(self, reservation_id: str, actual: Amount) -> None:
        self.books.bill(reservation_id, actual)
        self._audit()

    def _audit(self) -> None:
        self.books.check(self.store, _SHARED)

    def _end_leases(self) -> None:
        self.world.skew_seconds += 10 * _LEASE_SECONDS
        while self.ledger.store.expire(1_000):
            pass
        self.books.close(self.store)
        self._audit_tasks()

    def _audit_tasks(self) -> None:
        """Tasks that were not dropped hold what the books say, too."""
        there = [s.path for s in self.store.scopes() if s.path not in _SHARED]
        final = Books(scopes=self.books.scopes, sums=self.books.sums)
        final.check(self.store, there)
