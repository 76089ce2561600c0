"""Calls that are allowed while the store does not answer, and their charges until it does again.

Only for `Ledger(on_store_error="allow")`: then a store that is down stops no work, and limits bind
only afterwards. What is owed lives in this process; where it dies first, it is lost.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agentkit.budgets.amount import NOTHING, Amount
from agentkit.budgets.errors import BudgetStateLost, StoreError
from agentkit.budgets.journal import CallRecord, EventRecord, PaidResponse
from agentkit.budgets.store import Denial, Grant, ReservationState, Settlement, Store

_log = logging.getLogger("agentkit.budgets")


@dataclass(slots=True)
class _Owed:
    """A call that the store does not know of, or whose end it does not know."""

    worst: Amount
    paths: tuple[str, ...]
    lease_seconds: float
    fingerprint: str
    actual: Amount | None = None
    confirmed: bool = True
    call: CallRecord | None = None
    response: PaidResponse | None = None


class OwingStore:
    """A store that grants where the one behind it cannot be reached, and charges there later.

    A store that has lost its state (`BudgetStateLost`) still refuses: it was reached. What is not
    named here goes to the store behind.
    """

    def __init__(self, store: Store) -> None:
        self.behind = store
        self._owed: dict[str, _Owed] = {}
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.behind, name)

    @property
    def owed(self) -> Amount:
        """What may have been spent and is not in the store: the worst case of open calls."""
        total = NOTHING
        for call in list(self._owed.values()):
            total = total.plus(call.worst if call.actual is None else call.actual)
        return total

    def reserve(
        self,
        reservation_id: str,
        worst: Amount,
        paths: Sequence[str],
        *,
        lease_seconds: float,
        fingerprint: str = "",
        dispatched: bool = True,
    ) -> Grant | Denial:
        try:
            self.pay()
            return self.behind.reserve(
                reservation_id,
                worst,
                paths,
                lease_seconds=lease_seconds,
                fingerprint=fingerprint,
                dispatched=dispatched,
            )
        except BudgetStateLost:
            raise
        except StoreError as error:
            _log.warning("%s is allowed without a reservation: %s", reservation_id, error)
            with self._lock:
                self._owed[reservation_id] = _Owed(worst, tuple(paths), lease_seconds, fingerprint)
            return Grant(reservation_id, "held", worst, False, dispatched)

    def renew(self, reservation_id: str, *, lease_seconds: float, dispatched: bool = True) -> bool:
        if reservation_id in self._owed:
            return True
        return self.behind.renew(reservation_id, lease_seconds=lease_seconds, dispatched=dispatched)

    def settle(
        self,
        reservation_id: str,
        actual: Amount,
        *,
        confirmed: bool = True,
        call: CallRecord | None = None,
        response: PaidResponse | None = None,
    ) -> Settlement:
        owed = self._owed.get(reservation_id)
        if owed is None:
            try:
                return self.behind.settle(
                    reservation_id, actual, confirmed=confirmed, call=call, response=response
                )
            except BudgetStateLost:
                raise
            except StoreError:  # its lease may end meanwhile: this corrects the forfeit later
                owed = _Owed(NOTHING, (), 0.0, "")
        owed.actual, owed.confirmed, owed.call, owed.response = actual, confirmed, call, response
        with self._lock:
            self._owed[reservation_id] = owed
        after: ReservationState = "settled" if confirmed else "forfeited"
        return Settlement(reservation_id, "held", after, actual, NOTHING, ())

    def release(self, reservation_id: str, *, call: CallRecord | None = None) -> Settlement:
        with self._lock:
            owed = self._owed.pop(reservation_id, None)
        if owed is None:
            return self.behind.release(reservation_id, call=call)
        return Settlement(reservation_id, "held", "released", NOTHING, NOTHING, ())

    def expire(self, limit: int = 100) -> list[Settlement]:
        try:
            self.pay()
            return self.behind.expire(limit)
        except BudgetStateLost:
            raise
        except StoreError:
            return []

    def add_event(self, event: EventRecord) -> None:
        try:
            self.behind.add_event(event)
        except StoreError:
            _log.warning("an event of task %s is not written: %s", event.task_id, event.text)

    def pay(self) -> None:
        """Charge what is owed and has ended; raises StoreError where the store does not answer."""
        for name, owed in [(n, o) for n, o in list(self._owed.items()) if o.actual is not None]:
            if owed.paths:
                self.behind.ensure_scopes(owed.paths)
                self.behind.reserve(
                    name,
                    NOTHING,  # nothing is never denied: what was spent is a fact
                    owed.paths,
                    lease_seconds=owed.lease_seconds,
                    fingerprint=owed.fingerprint,
                )
            self.behind.settle(
                name,
                owed.actual or NOTHING,
                confirmed=owed.confirmed,
                call=owed.call,
                response=owed.response,
            )
            with self._lock:
                self._owed.pop(name, None)
            _log.warning("%s, allowed without a reservation, is charged now", name)

    def close(self) -> None:
        if self._owed:
            try:
                self.pay()
            except StoreError:
                _log.error("%s was spent and could not be charged", self.owed)
        self.behind.close()
