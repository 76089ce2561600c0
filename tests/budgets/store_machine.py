"""A state machine that drives a store and a model of it side by side."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agentkit.budgets import Amount, Limits, Scope, Store
from agentkit.budgets.conformance import ManualClock
from agentkit.budgets.store import Grant, ReservationState
from agentkit.budgets.stores.memory import MemoryStore

_PATHS = ("acme", "acme/a", "acme/a/u", "acme/b")
_AMOUNTS = st.builds(Amount, *[st.integers(0, 30)] * 4)
_LIMITS = st.builds(Limits, *[st.none() | st.integers(0, 60)] * 4)
EXAMPLES = settings(
    max_examples=int(os.environ.get("AGENTKIT_EXAMPLES", "25")),
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@dataclass
class _Entry:
    worst: Amount
    paths: tuple[str, ...]
    until: float
    dispatched: bool
    state: ReservationState = "held"
    charged: Amount = field(default_factory=Amount)

    def end(self, state: ReservationState, charged: Amount) -> None:
        self.state, self.charged = state, charged


@dataclass
class _Model:
    """What the rules of the budget say, in the plainest way: all sums are made anew each time."""

    limits: dict[str, Limits]
    entries: dict[str, _Entry] = field(default_factory=dict[str, _Entry])

    def sums(self, path: str) -> tuple[Amount, Amount, int]:
        settled, held, unconfirmed = Amount(), Amount(), 0
        for entry in self.entries.values():
            if path in entry.paths:
                settled = settled.plus(entry.charged)
                held = held.plus(entry.worst) if entry.state == "held" else held
                unconfirmed += entry.charged.nusd if entry.state == "forfeited" else 0
        return settled, held, unconfirmed

    def fits(self, worst: Amount, path: str) -> bool:
        settled, held, _ = self.sums(path)
        taken = settled.plus(held).plus(worst)
        rows = zip(self.limits[path], taken, worst, strict=True)
        return all(not asked or limit is None or sum_ <= limit for limit, sum_, asked in rows)

    def settle(self, entry: _Entry, actual: Amount, confirmed: bool) -> None:
        if entry.state == "settled" or (entry.state == "forfeited" and not confirmed):
            return
        entry.end("settled" if confirmed else "forfeited", actual)

    def expire(self, now: float) -> set[str]:
        due = {k for k, e in self.entries.items() if e.state == "held" and e.until <= now}
        for entry in (self.entries[key] for key in due):
            entry.end(*(("forfeited", entry.worst) if entry.dispatched else ("released", Amount())))
        return due


class StoreMachine(RuleBasedStateMachine):
    """Drives a store and the model side by side."""

    def open(self, clock: Callable[[], float]) -> Store:
        return MemoryStore(clock)

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.store = self.open(self.clock)
        self.model = _Model(dict.fromkeys(_PATHS, Limits()))
        self.store.ensure_scopes(_PATHS)

    @rule(path=st.sampled_from(_PATHS), limits=_LIMITS)
    def limit(self, path: str, limits: Limits) -> None:
        self.model.limits[path] = limits
        self.store.put_scope(Scope(path=path, limits=limits))

    @rule(
        worst=_AMOUNTS,
        depth=st.integers(1, 3),
        lease_seconds=st.integers(1, 50),
        dispatched=st.booleans(),
    )
    def reserve(self, worst: Amount, depth: int, lease_seconds: int, dispatched: bool) -> None:
        reservation_id, paths = f"r{len(self.model.entries)}", _PATHS[:depth]
        answer = self.store.reserve(
            reservation_id, worst, paths, lease_seconds=lease_seconds, dispatched=dispatched
        )
        refusing = [path for path in paths if not self.model.fits(worst, path)]
        if isinstance(answer, Grant):
            assert not refusing
            until = self.clock.now_seconds + lease_seconds
            self.model.entries[reservation_id] = _Entry(worst, paths, until, dispatched)
        else:
            assert answer.path == refusing[0]

    @precondition(lambda self: self.model.entries)
    @rule(data=st.data(), actual=_AMOUNTS, confirmed=st.booleans())
    def settle(self, data: st.DataObject, actual: Amount, confirmed: bool) -> None:
        reservation_id = self._any(data)
        entry = self.model.entries[reservation_id]
        self.model.settle(entry, actual, confirmed)
        ended = self.store.settle(reservation_id, actual, confirmed=confirmed)
        assert (ended.after, ended.charged) == (entry.state, entry.charged)

    @precondition(lambda self: self.model.entries)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        reservation_id = self._any(data)
        entry = self.model.entries[reservation_id]
        if entry.state == "held":
            entry.end("released", Amount())
        assert self.store.release(reservation_id).after == entry.state

    @precondition(lambda self: self.model.entries)
    @rule(data=st.data(), lease_seconds=st.integers(1, 50), dispatched=st.booleans())
    def renew(self, data: st.DataObject, lease_seconds: int, dispatched: bool) -> None:
        reservation_id = self._any(data)
        entry = self.model.entries[reservation_id]
        renewed = self.store.renew(
            reservation_id, lease_seconds=lease_seconds, dispatched=dispatched
        )
        assert renewed == (entry.state == "held")
        if renewed:
            entry.until = self.clock.now_seconds + lease_seconds
            entry.dispatched = entry.dispatched or dispatched

    @precondition(lambda self: self.model.entries)
    @rule(data=st.data())
    def reserve_again(self, data: st.DataObject) -> None:
        reservation_id = self._any(data)
        entry = self.model.entries[reservation_id]
        again = self.store.reserve(reservation_id, entry.worst, entry.paths, lease_seconds=9.0)
        assert again == Grant(reservation_id, entry.state, entry.worst, True, entry.dispatched)

    @rule(seconds=st.integers(0, 40))
    def expire(self, seconds: int) -> None:
        self.clock.now_seconds += seconds
        ended = {settlement.reservation_id for settlement in self.store.expire(1_000)}
        assert ended == self.model.expire(self.clock.now_seconds)

    @invariant()
    def sums_agree(self) -> None:
        for account in self.store.accounts(_PATHS):
            found = (account.settled, account.held, account.unconfirmed_nusd)
            assert found == self.model.sums(account.path)

    @invariant()
    def held_agrees(self) -> None:
        held = {key for key, entry in self.model.entries.items() if entry.state == "held"}
        assert {row[0] for row in self.store.held()} == held

    def teardown(self) -> None:
        self.store.close()

    def _any(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.model.entries)))
