"""The bench on which a store is tried: a fresh store, a clock, and plain sentences about money."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TypeVar

from agentkit.budgets.amount import NOTHING, Amount, Limits
from agentkit.budgets.journal import CallRecord
from agentkit.budgets.scope import Scope, Window, scope_chain
from agentkit.budgets.store import Account, Denial, Grant, Settlement, Store

StoreFactory = Callable[[Callable[[], float]], Store]
"""Makes an empty store that reads Unix time, in seconds, from the clock it is given."""

_T = TypeVar("_T")
_START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC).timestamp()
_LEASE_SECONDS = 60.0
_SERVER_LEASE_SECONDS = 0.05
PLENTY = Amount(10**15, 10**12, 10**12, 10**9)


class RuleBroken(AssertionError):  # named like the package's other errors
    """A store does not do what the ledger relies on; `rule` names the check."""

    def __init__(self, rule: str, what: str) -> None:
        self.rule = rule
        super().__init__(f"{rule}: {what}")


class ManualClock:
    """Unix time that passes only when told to."""

    def __init__(self, start_seconds: float = _START) -> None:
        self.now_seconds = start_seconds

    def __call__(self) -> float:
        return self.now_seconds


class Bench:
    """One empty store under test; where it takes its time from a server, the bench sleeps."""

    def __init__(self, rule: str, factory: StoreFactory, *, server_clock: bool) -> None:
        self.rule = rule
        self.clock = ManualClock()
        self.server_clock = server_clock
        self.lease_seconds = _SERVER_LEASE_SECONDS if server_clock else _LEASE_SECONDS
        self.store = factory(time.time if server_clock else self.clock)
        self._ids = itertools.count(1)

    def expect(self, holds: bool, what: str) -> None:
        """Raise RuleBroken with `what` unless it holds."""
        if not holds:
            raise RuleBroken(self.rule, what)

    def equal(self, found: object, wanted: object, what: str) -> None:
        """Raise RuleBroken unless both are equal."""
        self.expect(found == wanted, f"{what}: {found!r} instead of {wanted!r}")

    def raises(self, error: type[Exception], action: Callable[[], object], what: str) -> None:
        """Raise RuleBroken unless `action` raises `error`."""
        try:
            action()
        except error:
            return
        raise RuleBroken(self.rule, f"{what}: no {error.__name__} was raised")

    def scope(
        self,
        path: str,
        limits: Limits | None = None,
        *,
        window: Window = "total",
        timezone: str = "UTC",
        thresholds: Sequence[float] = (0.5, 1.0),
    ) -> None:
        """Create `path`, and its ancestors without limits."""
        self.store.ensure_scopes(scope_chain(path)[:-1])
        self.store.put_scope(
            Scope(
                path=path,
                limits=limits or Limits(),
                window=window,
                timezone=timezone,
                thresholds=tuple(thresholds),
            )
        )

    def ask(
        self,
        worst: Amount,
        *paths: str,
        reservation_id: str | None = None,
        fingerprint: str = "",
        dispatched: bool = True,
        lease_seconds: float = 3600.0,
    ) -> Grant | Denial:
        """Reserve with a new id, or with `reservation_id`."""
        return self.store.reserve(
            reservation_id or f"r{next(self._ids)}",
            worst,
            paths,
            lease_seconds=lease_seconds,
            fingerprint=fingerprint,
            dispatched=dispatched,
        )

    def hold(self, worst: Amount, *paths: str, **options: object) -> str:
        """The id of a reservation that must be granted."""
        answer = self.ask(worst, *paths, **options)  # type: ignore[arg-type]  # passed on as given
        if isinstance(answer, Denial):
            raise RuleBroken(self.rule, f"a reservation that fits was denied: {answer!r}")
        self.equal((answer.state, answer.worst), ("held", worst), "the grant")
        return answer.reservation_id

    def refused(self, worst: Amount, *paths: str, **options: object) -> Denial:
        """The denial of a reservation that must not be granted."""
        answer = self.ask(worst, *paths, **options)  # type: ignore[arg-type]  # passed on as given
        if isinstance(answer, Grant):
            raise RuleBroken(self.rule, f"{worst!r} was granted in {paths!r} past a limit")
        return answer

    def sums(self, path: str, *, settled: Amount = NOTHING, held: Amount = NOTHING) -> Account:
        """The account of `path`, which must hold exactly this."""
        account = self.store.account(path)
        self.equal(account.settled, settled, f"settled in {path!r}")
        self.equal(account.held, held, f"held in {path!r}")
        return account

    def pass_lease(self) -> None:
        """Let a lease of `lease_seconds` run out."""
        if self.server_clock:
            time.sleep(2 * self.lease_seconds)
        else:
            self.clock.now_seconds += 2 * self.lease_seconds

    def set_time(self, moment: str) -> None:
        """Move the manual clock to an ISO time with an offset."""
        self.clock.now_seconds = datetime.fromisoformat(moment).timestamp()

    def in_threads(self, count: int, action: Callable[[int], _T]) -> list[_T]:
        """What `action(0)` to `action(count - 1)` return, run at once."""
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(action, range(count)))

    def close(self) -> None:
        """Close the store."""
        self.store.close()


def call_of(reservation_id: str, task_id: str, *, cost_nusd: int = 0) -> CallRecord:
    """A plain record of one call."""
    return CallRecord(
        call_id=reservation_id,
        task_id=task_id,
        scope="acme",
        step=1,
        index=1,
        cost_nusd=cost_nusd,
        tools_offered=("search", "refund"),
        tags={"feature": "refunds"},
    )


def moved(settlement: Settlement) -> dict[str, tuple[Amount, Amount, Amount]]:
    """Each change of a settlement by path: settled before, settled after, held after."""
    return {c.path: (c.before, c.after, c.held) for c in settlement.changes}
