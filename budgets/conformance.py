"""The suite that any ledger store must pass.

>>> from agentkit.budgets.conformance import check
>>> from agentkit.budgets.stores.memory import MemoryStore
>>> "settling_twice_is_harmless" in check(MemoryStore)
True
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agentkit.budgets import conformance_journal as journal
from agentkit.budgets import conformance_scopes as scopes
from agentkit.budgets import conformance_verbs as verbs
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
    _check(verbs.holds_worst_case_in_every_scope),
    _check(verbs.denied_in_any_writes_nothing),
    _check(verbs.denial_tells_the_first_scope_and_dimension),
    _check(verbs.denied_id_can_be_asked_again),
    _check(verbs.every_dimension_binds),
    _check(verbs.unlimited_never_denies),
    _check(verbs.asking_nothing_is_never_denied),
    _check(verbs.missing_scope_refuses),
    _check(verbs.same_id_answers_as_before),
    _check(verbs.repeated_grant_tells_what_was_sent),
    _check(verbs.same_id_for_another_request_conflicts),
    _check(verbs.settle_moves_held_to_settled),
    _check(verbs.settling_twice_is_harmless),
    _check(verbs.overrun_is_recorded_in_full),
    _check(verbs.release_gives_everything_back),
    _check(verbs.release_never_undoes_a_charge),
    _check(verbs.settling_a_released_one_counts),
    _check(verbs.forfeit_charges_unconfirmed),
    _check(verbs.late_settle_corrects_a_forfeit),
    _check(verbs.expired_lease_is_forfeited),
    _check(verbs.expired_reserve_is_given_back),
    _check(verbs.expiry_is_bounded),
    _check(verbs.renewed_lease_lives_on),
    _check(verbs.sent_money_stays_sent),
    _check(verbs.held_lists_open_reservations),
    _check(verbs.unknown_reservation_is_told),
    _check(verbs.changes_show_limited_scopes),
    _check(scopes.limits_can_be_replaced),
    _check(scopes.scopes_lists_a_subtree),
    _check(scopes.dropped_scope_is_gone),
    _check(verbs.account_is_one_moment),
    _check(verbs.concurrent_reservations_fit),
    _check(verbs.concurrent_settlements_count_once),
    _check(verbs.same_id_at_once_holds_once),
    _check(scopes.day_window_starts_anew, moves_clock=True),
    _check(scopes.month_window_starts_anew, moves_clock=True),
    _check(scopes.settlement_lands_in_its_window, moves_clock=True),
    _check(scopes.window_can_be_changed),
    _check(scopes.journal_is_read_back),
    _check(scopes.thread_tells_its_latest_task),
    _check(scopes.call_is_written_with_its_settlement),
    _check(scopes.responses_are_kept_until_forgotten),
    _check(journal.sums_are_those_of_the_records),
    _check(journal.corrected_calls_count_once),
    _check(verbs.money_is_exact),
    _check(verbs.sums_follow_the_rule_of_charge),
    _check(scopes.closing_twice_is_harmless),
)

__all__ = ["CHECKS", "Bench", "Check", "ManualClock", "RuleBroken", "StoreFactory", "check"]
