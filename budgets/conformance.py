"""The suite that any ledger store must pass.

>>> from agentkit.budgets.conformance import check
>>> from agentkit.budgets.stores.memory import MemoryStore
>>> "settling_twice_is_harmless" in check(MemoryStore)
True
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agentkit.budgets import conformance_rules as rules
from agentkit.budgets.conformance_bench import Bench, ManualClock, RuleBroken, StoreFactory


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One rule of the budget. `moves_clock` marks those that a server's own clock cannot show."""

    name: str
    rule: str
    moves_clock: bool
    run: Callable[[Bench], None]

    def __call__(self, store_factory: StoreFactory, *, server_clock: bool = False) -> None:
        """Try the rule on a fresh store; raises RuleBroken."""
        bench = Bench(self.name, store_factory, server_clock=server_clock)
        try:
            self.run(bench)
        finally:
            bench.close()


def check(store_factory: StoreFactory, *, server_clock: bool = False) -> tuple[str, ...]:
    """Names of the checks that the stores of `store_factory` passed, one fresh store each.

    `store_factory` takes a clock and returns an empty store that reads Unix time from it. A store
    that takes its time from a server ignores that clock: say `server_clock=True`, and the suite
    uses leases of 50 ms and real sleeps, and leaves out the checks that move the calendar. Raises
    RuleBroken, an AssertionError that names the rule.
    """
    suited = [each for each in CHECKS if not (server_clock and each.moves_clock)]
    for each in suited:
        each(store_factory, server_clock=server_clock)
    return tuple(each.name for each in suited)


def _check(run: Callable[[Bench], None], *, moves_clock: bool = False) -> Check:
    return Check(
        name=run.__name__, rule=(run.__doc__ or "").strip(), moves_clock=moves_clock, run=run
    )


CHECKS: tuple[Check, ...] = (
    _check(rules.holds_worst_case_in_every_scope),
    _check(rules.denied_in_any_writes_nothing),
    _check(rules.denial_tells_the_first_scope_and_dimension),
    _check(rules.denied_id_can_be_asked_again),
    _check(rules.every_dimension_binds),
    _check(rules.unlimited_never_denies),
    _check(rules.asking_nothing_is_never_denied),
    _check(rules.missing_scope_refuses),
    _check(rules.same_id_answers_as_before),
    _check(rules.same_id_for_another_request_conflicts),
    _check(rules.settle_moves_held_to_settled),
    _check(rules.settling_twice_is_harmless),
    _check(rules.overrun_is_recorded_in_full),
    _check(rules.release_gives_everything_back),
    _check(rules.release_never_undoes_a_charge),
    _check(rules.settling_a_released_one_counts),
    _check(rules.forfeit_charges_unconfirmed),
    _check(rules.late_settle_corrects_a_forfeit),
    _check(rules.expired_lease_is_forfeited),
    _check(rules.expired_reserve_is_given_back),
    _check(rules.expiry_is_bounded),
    _check(rules.renewed_lease_lives_on),
    _check(rules.held_lists_open_reservations),
    _check(rules.unknown_reservation_is_told),
    _check(rules.changes_show_limited_scopes),
    _check(rules.limits_can_be_replaced),
    _check(rules.scopes_lists_a_subtree),
    _check(rules.dropped_scope_is_gone),
    _check(rules.account_is_one_moment),
    _check(rules.concurrent_reservations_fit),
    _check(rules.concurrent_settlements_count_once),
    _check(rules.same_id_at_once_holds_once),
    _check(rules.day_window_starts_anew, moves_clock=True),
    _check(rules.month_window_starts_anew, moves_clock=True),
    _check(rules.settlement_lands_in_its_window, moves_clock=True),
    _check(rules.window_can_be_changed),
    _check(rules.journal_is_read_back),
    _check(rules.call_is_written_with_its_settlement),
    _check(rules.money_is_exact),
    _check(rules.sums_follow_the_rule_of_charge),
    _check(rules.closing_twice_is_harmless),
)

__all__ = ["CHECKS", "Bench", "Check", "ManualClock", "RuleBroken", "StoreFactory", "check"]
