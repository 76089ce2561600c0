"""Every store passes every rule, and the suite notices stores that break one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from agentkit.budgets.amount import NOTHING, Amount
from agentkit.budgets.conformance import CHECKS, Check, RuleBroken, check
from agentkit.budgets.journal import CallRecord
from agentkit.budgets.store import Denial, Grant, Settlement, Store
from agentkit.budgets.stores.memory import MemoryStore
from agentkit.budgets.stores.sqlite import SqliteStore


@pytest.mark.parametrize("rule", CHECKS, ids=lambda rule: rule.name)
def test_memory_store_keeps_the_rule(rule: Check) -> None:
    rule(MemoryStore)


@pytest.mark.parametrize("rule", CHECKS, ids=lambda rule: rule.name)
def test_sqlite_store_keeps_the_rule(rule: Check, tmp_path: Path) -> None:
    def fresh(clock: Callable[[], float]) -> Store:
        return SqliteStore(tmp_path / "ledger.db", synchronous="NORMAL", clock=clock)

    rule(fresh)


def test_check_leaves_out_what_a_server_clock_cannot_show() -> None:
    ran = check(lambda _: MemoryStore(), server_clock=True)
    assert set(ran) == {rule.name for rule in CHECKS if not rule.moves_clock}


def test_every_check_states_its_rule() -> None:
    assert all(rule.rule.endswith(".") for rule in CHECKS)
    assert len({rule.name for rule in CHECKS}) == len(CHECKS)


class _Forgetful(MemoryStore):
    """Never denies: a counter instead of a budget."""

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
        given = super().reserve(
            reservation_id,
            worst,
            paths,
            lease_seconds=lease_seconds,
            fingerprint=fingerprint,
            dispatched=dispatched,
        )
        return Grant(reservation_id, "held", worst, False) if isinstance(given, Denial) else given


class _Clipping(MemoryStore):
    """Charges at most the worst case."""

    def settle(
        self,
        reservation_id: str,
        actual: Amount,
        *,
        confirmed: bool = True,
        call: CallRecord | None = None,
    ) -> Settlement:
        held = self._reservation(reservation_id).worst
        clipped = Amount(*(min(a, b) for a, b in zip(actual, held, strict=True)))
        return super().settle(reservation_id, clipped, confirmed=confirmed, call=call)


class _Generous(MemoryStore):
    """Gives expired calls back, though the provider may have billed them."""

    def expire(self, limit: int = 100) -> list[Settlement]:
        due = [row[0] for row in self.held() if row[2] <= 0]
        return [self.release(reservation_id) for reservation_id in due[:limit]]


class _TwiceCharged(MemoryStore):
    """Charges each settle anew."""

    def settle(
        self,
        reservation_id: str,
        actual: Amount,
        *,
        confirmed: bool = True,
        call: CallRecord | None = None,
    ) -> Settlement:
        reservation = self._reservation(reservation_id)
        if reservation.state == "settled":
            reservation.state, reservation.charged = "released", NOTHING
        return super().settle(reservation_id, actual, confirmed=confirmed, call=call)


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (_Forgetful, "denied_in_any_writes_nothing"),
        (_Forgetful, "concurrent_reservations_fit"),
        (_Clipping, "overrun_is_recorded_in_full"),
        (_Generous, "expired_lease_is_forfeited"),
        (_TwiceCharged, "settling_twice_is_harmless"),
        (_TwiceCharged, "concurrent_settlements_count_once"),
    ],
)
def test_broken_store_is_caught(broken: type[MemoryStore], rule: str) -> None:
    chosen = next(each for each in CHECKS if each.name == rule)
    with pytest.raises(RuleBroken) as caught:
        chosen(broken)
    assert caught.value.rule == rule
