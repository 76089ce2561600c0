"""The rules of reserving and ending, each as a check of a store. The docstring is the rule."""

from __future__ import annotations

from agentkit.budgets.amount import NOTHING, Amount, Limits
from agentkit.budgets.conformance_bench import PLENTY, Bench, moved
from agentkit.budgets.errors import ReservationConflict, ReservationUnknown, ScopeMissing
from agentkit.budgets.store import Grant, charge

_TREE = ("acme", "acme/support", "acme/support/u42", "acme/support/u42/~t1")


def holds_worst_case_in_every_scope(bench: Bench) -> None:
    """A granted reservation holds its worst case in each scope and settles nothing."""
    bench.scope(_TREE[-1])
    worst = Amount(100, 20, 15, 1)
    bench.hold(worst, *_TREE)
    for path in _TREE:
        bench.sums(path, held=worst)


def denied_in_any_writes_nothing(bench: Bench) -> None:
    """A limit passed in one scope denies the whole reservation, wherever that scope stands."""
    for place, limited in enumerate(_TREE):
        root = f"org{place}"
        paths = [path.replace("acme", root, 1) for path in _TREE]
        bench.scope(paths[-1])
        bench.scope(limited.replace("acme", root, 1), Limits(nusd=99))
        denial = bench.refused(Amount(100, 20, 15, 1), *paths)
        bench.equal(denial.path, paths[place], "the scope that denied")
        for path in paths:
            bench.sums(path)
    bench.equal(bench.store.held(), [], "reservations held after denials")


def denial_tells_the_first_scope_and_dimension(bench: Bench) -> None:
    """A denial names the first scope from the root, its dimension, and the sums it stood on."""
    bench.scope("acme/support", Limits(nusd=50))
    bench.scope("acme", Limits(nusd=100, tokens=10))
    bench.store.settle(bench.hold(Amount(30, 2), "acme"), Amount(30, 2))
    bench.hold(Amount(20, 3), "acme")
    denial = bench.refused(Amount(10, 6), "acme", "acme/support")
    wanted = ("acme", "tokens", 6, 5, 10, 2, 3)
    bench.equal(tuple(denial), wanted, "the denial")


def denied_id_can_be_asked_again(bench: Bench) -> None:
    """A denied reservation leaves nothing behind: its id may ask for less."""
    bench.scope("acme", Limits(tokens=10))
    bench.refused(Amount(tokens=11), "acme", reservation_id="same")
    bench.hold(Amount(tokens=10), "acme", reservation_id="same")


def every_dimension_binds(bench: Bench) -> None:
    """Each of the four dimensions is a limit of its own, reached exactly and never passed."""
    for dimension in Limits._fields:
        path = f"only-{dimension.replace('_', '-')}"
        bench.scope(path, Limits()._replace(**{dimension: 3}))
        one = Amount(7, 7, 7, 7)._replace(**{dimension: 1})
        for _ in range(3):
            bench.hold(one, path)
        bench.equal(bench.refused(one, path).dimension, dimension, "the dimension that denied")


def unlimited_never_denies(bench: Bench) -> None:
    """A dimension without a limit denies nothing, and what is left of it is None."""
    bench.scope("acme", Limits(calls=2))
    bench.hold(PLENTY._replace(calls=1), "acme")
    available = bench.store.account("acme").available
    bench.equal(available, Limits(calls=1), "what is available")


def asking_nothing_is_never_denied(bench: Bench) -> None:
    """What asks for 0 of a dimension is not denied by it, not even after an overrun."""
    bench.scope("acme", Limits(nusd=10, tokens=100))
    bench.store.settle(bench.hold(Amount(nusd=10), "acme"), Amount(nusd=15))
    bench.equal(bench.store.account("acme").available.nusd, -5, "what is left after the overrun")
    bench.hold(Amount(tokens=5), "acme")
    bench.refused(Amount(nusd=1), "acme")


def missing_scope_refuses(bench: Bench) -> None:
    """A scope that the store does not hold refuses, and nothing is written elsewhere."""
    bench.scope("acme")
    bench.raises(
        ScopeMissing, lambda: bench.ask(Amount(1), "acme", "acme/gone"), "reserve in no scope"
    )
    bench.raises(ScopeMissing, lambda: bench.store.account("acme/gone"), "account of no scope")
    bench.sums("acme")


def same_id_answers_as_before(bench: Bench) -> None:
    """The same id and fingerprint answer with the first grant; nothing is held twice."""
    bench.scope("acme", Limits(nusd=10))
    bench.hold(Amount(10), "acme", reservation_id="same", fingerprint="f")
    again = bench.ask(Amount(4), "acme", reservation_id="same", fingerprint="f")
    bench.equal(again, Grant("same", "held", Amount(10), True), "the repeated grant")
    bench.sums("acme", held=Amount(10))
    bench.store.settle("same", Amount(3))
    again = bench.ask(Amount(10), "acme", reservation_id="same", fingerprint="f")
    bench.equal(again, Grant("same", "settled", Amount(10), True), "the grant after its settlement")
    bench.sums("acme", settled=Amount(3))


def repeated_grant_tells_what_was_sent(bench: Bench) -> None:
    """A repeated grant says whether its money is only kept for later or may have been spent."""
    bench.scope("acme")
    bench.hold(Amount(5), "acme", reservation_id="kept", dispatched=False)
    again = bench.ask(Amount(5), "acme", reservation_id="kept", dispatched=False)
    bench.equal(again, Grant("kept", "held", Amount(5), True, False), "the grant of a reserve")
    bench.store.renew("kept", lease_seconds=60.0, dispatched=True)
    again = bench.ask(Amount(5), "acme", reservation_id="kept", dispatched=False)
    bench.equal(again, Grant("kept", "held", Amount(5), True, True), "the grant once it was sent")


def same_id_for_another_request_conflicts(bench: Bench) -> None:
    """The same id with another fingerprint is refused, and the first stays as it was."""
    bench.scope("acme")
    bench.hold(Amount(10), "acme", reservation_id="same", fingerprint="f")
    bench.raises(
        ReservationConflict,
        lambda: bench.ask(Amount(10), "acme", reservation_id="same", fingerprint="g"),
        "reserve with another fingerprint",
    )
    bench.sums("acme", held=Amount(10))


def settle_moves_held_to_settled(bench: Bench) -> None:
    """A settlement takes the whole worst case off and the actual on, in every scope."""
    bench.scope(_TREE[-1])
    worst, actual = Amount(100, 20, 15, 1), Amount(40, 12, 2, 1)
    settlement = bench.store.settle(bench.hold(worst, *_TREE), actual)
    bench.equal((settlement.before, settlement.after), ("held", "settled"), "the states")
    bench.equal((settlement.charged, settlement.overrun), (actual, NOTHING), "the charge")
    for path in _TREE:
        bench.equal(bench.sums(path, settled=actual).unconfirmed_nusd, 0, "unconfirmed")


def settling_twice_is_harmless(bench: Bench) -> None:
    """A second settle changes nothing and says so, whatever it brings."""
    bench.scope("acme", Limits(nusd=100))
    held = bench.hold(Amount(10), "acme")
    bench.store.settle(held, Amount(4))
    for actual, confirmed in ((Amount(4), True), (Amount(9), True), (Amount(9), False)):
        again = bench.store.settle(held, actual, confirmed=confirmed)
        bench.equal((again.before, again.after), ("settled", "settled"), "the states")
        bench.equal((again.charged, again.changes), (Amount(4), ()), "the second settlement")
        bench.sums("acme", settled=Amount(4))


def overrun_is_recorded_in_full(bench: Bench) -> None:
    """An actual above the worst case is charged whole and told, never clipped to a limit."""
    bench.scope("acme", Limits(nusd=100, tokens=100))
    settlement = bench.store.settle(bench.hold(Amount(100, 50), "acme"), Amount(130, 40))
    bench.equal(settlement.overrun, Amount(nusd=30), "the overrun")
    bench.sums("acme", settled=Amount(130, 40))
    bench.equal(bench.store.account("acme").available, Limits(nusd=-30, tokens=60), "what is left")


def release_gives_everything_back(bench: Bench) -> None:
    """A released reservation leaves no trace in the sums; a second release changes nothing."""
    bench.scope("acme", Limits(nusd=10))
    held = bench.hold(Amount(10), "acme")
    released = bench.store.release(held)
    bench.equal((released.before, released.after), ("held", "released"), "the states")
    bench.sums("acme")
    again = bench.store.release(held)
    bench.equal((again.before, again.after), ("released", "released"), "the second release")
    bench.hold(Amount(10), "acme")


def release_never_undoes_a_charge(bench: Bench) -> None:
    """What was settled or forfeited stays charged when it is released afterwards."""
    bench.scope("acme")
    settled, forfeited = (bench.hold(Amount(10), "acme") for _ in range(2))
    bench.store.settle(settled, Amount(4))
    bench.store.settle(forfeited, Amount(10), confirmed=False)
    bench.equal(bench.store.release(settled).after, "settled", "a settled one released")
    bench.equal(bench.store.release(forfeited).after, "forfeited", "a forfeited one released")
    bench.sums("acme", settled=Amount(14))


def settling_a_released_one_counts(bench: Bench) -> None:
    """Money that was billed after all counts, though the reservation had been released."""
    bench.scope("acme")
    held = bench.hold(Amount(10), "acme")
    bench.store.release(held)
    bench.equal(bench.store.settle(held, Amount(6)).after, "settled", "the state")
    bench.sums("acme", settled=Amount(6))


def forfeit_charges_unconfirmed(bench: Bench) -> None:
    """An unconfirmed settle charges what it says, and the sum tells how much is unconfirmed."""
    bench.scope("acme", Limits(nusd=10))
    held = bench.hold(Amount(10, 5), "acme")
    bench.equal(
        bench.store.settle(held, Amount(10, 5), confirmed=False).after, "forfeited", "state"
    )
    account = bench.sums("acme", settled=Amount(10, 5))
    bench.equal(account.unconfirmed_nusd, 10, "unconfirmed")
    bench.refused(Amount(1), "acme")


def late_settle_corrects_a_forfeit(bench: Bench) -> None:
    """The true usage of a forfeited call replaces the worst case, once, in either direction."""
    for late in (Amount(3, 2), Amount(14, 9)):
        path = f"org{late.nusd}"
        bench.scope(path, Limits(nusd=100))
        held = bench.hold(Amount(10, 5), path)
        bench.store.settle(held, Amount(10, 5), confirmed=False)
        settlement = bench.store.settle(held, late)
        bench.equal((settlement.before, settlement.after), ("forfeited", "settled"), "the states")
        bench.equal(bench.sums(path, settled=late).unconfirmed_nusd, 0, "unconfirmed")
        bench.store.settle(held, Amount(10, 5), confirmed=False)
        bench.sums(path, settled=late)


def expired_lease_is_forfeited(bench: Bench) -> None:
    """A dispatched reservation whose lease is over is charged its worst case, once."""
    bench.scope("acme", Limits(nusd=10))
    held = bench.hold(Amount(6, 5), "acme", lease_seconds=bench.lease_seconds)
    bench.hold(Amount(3, 1), "acme")
    bench.equal(bench.store.expire(), [], "what expired before its time")
    bench.pass_lease()
    ended = bench.store.expire()
    states = [(s.reservation_id, s.before, s.after, s.charged) for s in ended]
    bench.equal(states, [(held, "held", "forfeited", Amount(6, 5))], "what expired")
    bench.equal(bench.store.expire(), [], "what expired a second time")
    account = bench.sums("acme", settled=Amount(6, 5), held=Amount(3, 1))
    bench.equal(account.unconfirmed_nusd, 6, "unconfirmed")
    bench.store.settle(held, Amount(2, 1))
    bench.sums("acme", settled=Amount(2, 1), held=Amount(3, 1))


def expired_reserve_is_given_back(bench: Bench) -> None:
    """Money that was only kept for later is given back when its lease is over."""
    bench.scope("acme", Limits(nusd=10))
    held = bench.hold(Amount(6), "acme", lease_seconds=bench.lease_seconds, dispatched=False)
    bench.pass_lease()
    states = [(s.reservation_id, s.after) for s in bench.store.expire()]
    bench.equal(states, [(held, "released")], "what expired")
    bench.sums("acme")


def expiry_is_bounded(bench: Bench) -> None:
    """`expire(limit)` ends at most so many, and the next call goes on."""
    bench.scope("acme")
    for _ in range(5):
        bench.hold(Amount(1), "acme", lease_seconds=bench.lease_seconds)
    bench.pass_lease()
    counts = [len(bench.store.expire(2)) for _ in range(4)]
    bench.equal(counts, [2, 2, 1, 0], "how many ended in each call")
    bench.sums("acme", settled=Amount(5))


def renewed_lease_lives_on(bench: Bench) -> None:
    """Renewing counts from now, may mark the money as sent, and fails once it is over."""
    bench.scope("acme")
    held = bench.hold(Amount(1), "acme", lease_seconds=bench.lease_seconds, dispatched=False)
    bench.expect(bench.store.renew(held, lease_seconds=3600.0), "a held lease was not renewed")
    bench.pass_lease()
    bench.equal(bench.store.expire(), [], "what expired after it was renewed")
    bench.expect(
        bench.store.renew(held, lease_seconds=bench.lease_seconds, dispatched=True),
        "a held lease was not renewed a second time",
    )
    bench.pass_lease()
    bench.equal([s.after for s in bench.store.expire()], ["forfeited"], "the end of a sent one")
    bench.expect(not bench.store.renew(held, lease_seconds=9.0), "an ended lease was renewed")
    bench.expect(not bench.store.renew("nobody", lease_seconds=9.0), "no lease was renewed")


def sent_money_stays_sent(bench: Bench) -> None:
    """A renewal of kept money that comes after the one that sent it does not unsend it."""
    bench.scope("acme")
    held = bench.hold(Amount(4), "acme", lease_seconds=bench.lease_seconds, dispatched=False)
    for dispatched in (True, False):
        bench.store.renew(held, lease_seconds=bench.lease_seconds, dispatched=dispatched)
    bench.pass_lease()
    bench.equal([s.after for s in bench.store.expire()], ["forfeited"], "the end of a sent one")
    bench.sums("acme", settled=Amount(4))


def held_lists_open_reservations(bench: Bench) -> None:
    """`held` shows what is open, its worst case and the seconds left, and nothing that ended."""
    bench.scope("acme")
    kept, ended = bench.hold(Amount(7, 2), "acme"), bench.hold(Amount(1), "acme")
    bench.store.settle(ended, Amount(1))
    rows = bench.store.held()
    bench.equal([(row[0], row[1]) for row in rows], [(kept, Amount(7, 2))], "what is held")
    bench.expect(3590 < rows[0][2] <= 3600, f"seconds left: {rows[0][2]!r}")


def unknown_reservation_is_told(bench: Bench) -> None:
    """Settling or releasing what was never reserved is an error, not a free call."""
    bench.scope("acme")
    settle, release = bench.store.settle, bench.store.release
    bench.raises(ReservationUnknown, lambda: settle("nobody", Amount(1)), "settle")
    bench.raises(ReservationUnknown, lambda: release("nobody"), "release")


def changes_show_limited_scopes(bench: Bench) -> None:
    """A settlement shows each scope with limits before and after, root first, with thresholds."""
    bench.scope(_TREE[-1], Limits(calls=9), thresholds=(0.25, 1.0))
    bench.scope("acme", Limits(nusd=100, tokens=50))
    bench.store.settle(bench.hold(Amount(10, 5), *_TREE), Amount(8, 4))
    held = bench.hold(Amount(20, 5, 0, 1), *_TREE)
    bench.hold(Amount(1), *_TREE)
    settlement = bench.store.settle(held, Amount(12, 4, 0, 1))
    wanted = (Amount(8, 4), Amount(20, 8, 0, 1), Amount(1))
    bench.equal(moved(settlement), {_TREE[0]: wanted, _TREE[-1]: wanted}, "the changes")
    first, last = settlement.changes
    bench.equal((first.path, last.path), (_TREE[0], _TREE[-1]), "the order of the changes")
    bench.equal((first.limits, first.thresholds), (Limits(nusd=100, tokens=50), (0.5, 1.0)), "root")
    bench.equal((last.limits, last.thresholds), (Limits(calls=9), (0.25, 1.0)), "task")


def money_is_exact(bench: Bench) -> None:
    """Sums are integers up to the largest limit, to the last nano-USD."""
    largest = 2**53
    bench.scope("acme", Limits(nusd=largest))
    held = bench.hold(Amount(largest - 1), "acme")
    bench.refused(Amount(2), "acme")
    bench.store.settle(held, Amount(largest - 3))
    account = bench.sums("acme", settled=Amount(largest - 3))
    bench.equal(account.available.nusd, 3, "what is left")
    bench.hold(Amount(3), "acme")
    bench.refused(Amount(1), "acme")


def sums_follow_the_rule_of_charge(bench: Bench) -> None:
    """Every order of two ends of a reservation gives the sums that `store.charge` tells."""
    ends = [(Amount(4), True), (Amount(10), False), (Amount(13), True)]
    for number, pair in enumerate((a, b) for a in ends for b in ends):
        path = f"org{number}"
        bench.scope(path)
        held = bench.hold(Amount(10), path)
        state, charged = charge("held", *pair[0]) or ("held", NOTHING)
        state, charged = charge(state, *pair[1]) or (state, charged)
        for actual, confirmed in pair:
            bench.store.settle(held, actual, confirmed=confirmed)
        account = bench.sums(path, settled=charged)
        unconfirmed = charged.nusd if state == "forfeited" else 0
        bench.equal(account.unconfirmed_nusd, unconfirmed, f"unconfirmed after {pair!r}")


def account_is_one_moment(bench: Bench) -> None:
    """`accounts` reads all scopes at one moment, and settled plus held never passes a limit."""
    bench.scope("acme/u", Limits(nusd=50))
    bench.scope("acme", Limits(nusd=50))

    def work(worker: int) -> None:
        for _ in range(10):
            if worker % 2:
                outer, inner = bench.store.accounts(["acme", "acme/u"])
                bench.equal(outer[3:], inner[3:], "two accounts with the same spending")
                both = outer.settled.nusd + outer.held.nusd
                bench.expect(both <= 50, f"{both} of 50 settled and held")
            elif isinstance(grant := bench.ask(Amount(9), "acme", "acme/u"), Grant):
                bench.store.settle(grant.reservation_id, Amount(1))

    bench.in_threads(8, work)


def concurrent_reservations_fit(bench: Bench) -> None:
    """Sixteen threads that ask at once are granted exactly what fits, in every scope."""
    bench.scope("acme/u", Limits(calls=50))
    bench.scope("acme", Limits(nusd=1_000_000_000))
    worst = Amount(100_000_000, 10, 10, 1)

    def ask(_: int) -> int:
        paths = ("acme", "acme/u")
        return sum(isinstance(bench.ask(worst, *paths), Grant) for _attempt in range(4))

    bench.equal(sum(bench.in_threads(16, ask)), 10, "calls of $0.10 granted from $1")
    bench.equal(bench.store.account("acme").held, Amount(10**9, 100, 100, 10), "held")


def concurrent_settlements_count_once(bench: Bench) -> None:
    """Threads that settle one reservation charge it once; exactly one of them moved it."""
    bench.scope("acme", Limits(nusd=10**6))
    ids = [bench.hold(Amount(10), "acme") for _ in range(5)]
    ended = bench.in_threads(16, lambda _: [bench.store.settle(each, Amount(7)) for each in ids])
    movers = sum(s.before == "held" for settlements in ended for s in settlements)
    bench.equal(movers, len(ids), "settlements that moved a reservation")
    bench.sums("acme", settled=Amount(35))


def same_id_at_once_holds_once(bench: Bench) -> None:
    """Threads that reserve one id at once hold it once."""
    bench.scope("acme", Limits(nusd=100))
    grants = bench.in_threads(16, lambda _: bench.ask(Amount(10), "acme", reservation_id="same"))
    first = sum(isinstance(grant, Grant) and not grant.repeated for grant in grants)
    bench.equal(first, 1, "first grants")
    bench.sums("acme", held=Amount(10))
