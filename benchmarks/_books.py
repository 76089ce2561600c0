"""What a ledger must hold after each verb, worked out anew beside it: the simulation's auditor.

The books know the rules of the budget and what the provider billed. Every verb that a store carries
out is told to them through `WatchedStore`; the first thing that does not fit raises `Violation`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentkit.budgets.amount import DIMENSIONS, NOTHING, Amount, Limits
from agentkit.budgets.event import BudgetEvent
from agentkit.budgets.scope import Scope
from agentkit.budgets.store import Denial, Grant, ReservationState, Settlement, Store

Place = tuple[str, str]
"""A scope and the key of its window."""
Crossing = tuple[str, str, float]
"""A scope, a dimension, the fraction of its limit that was crossed."""


class Violation(AssertionError):
    """The ledger broke a rule; `rule` names which."""

    def __init__(self, rule: str, what: str) -> None:
        self.rule = rule
        super().__init__(f"{rule}: {what}")


@dataclass(slots=True)
class Entry:
    """One reservation as the rules say that it stands."""

    worst: Amount
    places: tuple[Place, ...]
    lease_until: float
    dispatched: bool
    state: ReservationState = "held"
    charged: Amount = NOTHING
    billed: Amount = NOTHING


@dataclass(slots=True)
class _Sums:
    settled: Amount = NOTHING
    held: Amount = NOTHING
    billed: Amount = NOTHING
    unconfirmed_nusd: int = 0


@dataclass(slots=True)
class Books:
    """Reservations, sums and limits, moved by the rules alone."""

    scopes: dict[str, Scope] = field(default_factory=dict[str, Scope])
    entries: dict[str, Entry] = field(default_factory=dict[str, Entry])
    sums: dict[Place, _Sums] = field(default_factory=dict[Place, _Sums])
    crossings: Counter[Crossing] = field(default_factory=Counter[Crossing])
    announced: Counter[Crossing] = field(default_factory=Counter[Crossing])

    def hear(self, event: BudgetEvent) -> None:
        """Count a threshold that the ledger announced."""
        if event.kind == "threshold" and event.fraction is not None:
            self.announced[event.scope, event.dimension, event.fraction] += 1

    def bill(self, reservation_id: str, actual: Amount) -> None:
        """The provider served this call, and wants `actual` for it."""
        entry = self.entries[reservation_id]
        _expect(entry.billed == NOTHING, "served once", f"{reservation_id} was served twice")
        entry.billed = actual
        for place in entry.places:
            self.sums[place].billed = self.sums[place].billed.plus(actual)
        if entry.state in ("settled", "released"):
            raise Violation("no undercount", f"{reservation_id} was sent when {entry.state}")

    def granted(self, reservation_id: str, entry: Entry, answer: Grant) -> None:
        """A reservation was answered with a grant."""
        known = self.entries.get(reservation_id)
        if known is not None:
            found = (answer.repeated, answer.state, answer.worst, answer.dispatched)
            wanted = (True, known.state, known.worst, known.dispatched)
            _expect(found == wanted, "idempotence", f"{reservation_id}: {found}, not {wanted}")
            return
        _expect(not answer.repeated, "idempotence", f"{reservation_id} was never granted")
        for path, key in entry.places:
            sums = self.sums.setdefault((path, key), _Sums())
            sums.held = sums.held.plus(entry.worst)
        self.entries[reservation_id] = entry

    def denied(self, worst: Amount, place: Place, denial: Denial) -> None:
        """A reservation was denied: there must be too little left."""
        sums = self.sums.setdefault(place, _Sums())
        index = DIMENSIONS.index(denial.dimension)
        limit = self.scopes[denial.path].limits[index]
        left = None if limit is None else limit - sums.settled[index] - sums.held[index]
        fits = left is None or worst[index] <= left
        _expect(not fits, "denied without need", f"{worst[index]} of {left} in {place}")

    def ended(self, answer: Settlement, after: ReservationState, charge: Amount) -> None:
        """A reservation ended as `after` at `charge`; one that may not be moved stays."""
        entry = self.entries[answer.reservation_id]
        found = (answer.before, answer.after, answer.charged)
        wanted = (entry.state, after, charge)
        _expect(found == wanted, "settlement", f"{answer.reservation_id}: {found}, not {wanted}")
        drop = entry.worst if entry.state == "held" and after != "held" else NOTHING
        add = charge.minus(entry.charged)
        unconfirmed = charge.nusd if after == "forfeited" else 0
        unconfirmed -= entry.charged.nusd if entry.state == "forfeited" else 0
        for path, key in entry.places:
            sums = self.sums[path, key]
            before = sums.settled
            sums.held, sums.settled = sums.held.minus(drop), before.plus(add)
            sums.unconfirmed_nusd += unconfirmed
            self._cross(path, before, sums.settled)
        entry.state, entry.charged = after, charge

    def dropped(self, path: str) -> None:
        """A scope was forgotten: what still happens to its reservations no longer moves it."""
        stuck = [place for place, sums in self.sums.items() if place[0] == path and any(sums.held)]
        _expect(not stuck, "nothing stuck", f"{path!r} was dropped while money is held in it")
        for place in [place for place in self.sums if place[0] == path]:
            del self.sums[place]
        for entry in self.entries.values():
            entry.places = tuple(place for place in entry.places if place[0] != path)

    def check(self, store: Store, paths: Sequence[str]) -> None:
        """The store's sums are these, within every limit, and cover what was billed."""
        for account in store.accounts(paths):
            sums = self.sums.setdefault((account.path, account.window_key), _Sums())
            found = (account.settled, account.held, account.unconfirmed_nusd)
            wanted = (sums.settled, sums.held, sums.unconfirmed_nusd)
            _expect(found == wanted, "sums", f"{account.path!r}: {found}, not {wanted}")
            _expect(
                account.limits == self.scopes[account.path].limits,
                "limits",
                f"{account.path!r} has {account.limits}",
            )
            taken = account.settled.plus(account.held)
            _expect(_within(taken, account.limits), "never over", f"{account.path!r}: {account}")
            covered = sums.billed.excess_over(taken) == NOTHING
            _expect(covered, "no undercount", f"{account.path!r}: {taken}, billed {sums.billed}")
        _expect(
            self.crossings == self.announced,
            "thresholds once",
            f"crossed {self.crossings}, announced {self.announced}",
        )

    def close(self, store: Store) -> None:
        """Every lease is over: nothing is held, in any window, and all that was billed is in."""
        stuck = [name for name, *_ in store.held()]
        stuck += [name for name, entry in self.entries.items() if entry.state == "held"]
        _expect(not stuck, "nothing stuck", f"{sorted(set(stuck))} are held after their leases")
        for place, sums in self.sums.items():
            _expect(sums.held == NOTHING, "nothing stuck", f"{sums.held} in {place}")
            limits = self.scopes[place[0]].limits
            _expect(_within(sums.billed, limits), "never over", f"billed {sums.billed} in {place}")
        for name, entry in self.entries.items():
            short = entry.billed.excess_over(entry.charged)
            _expect(short == NOTHING, "no undercount", f"{name}: {short} billed, not charged")

    def _cross(self, path: str, before: Amount, after: Amount) -> None:
        scope = self.scopes[path]
        for dimension, limit, old, new in zip(DIMENSIONS, scope.limits, before, after, strict=True):
            for fraction in scope.thresholds if limit else ():
                if limit and old < fraction * limit <= new:
                    self.crossings[path, dimension, fraction] += 1


class WatchedStore:
    """A store whose verbs are told to the books; what the ledger of a simulation stands on.

    The journal passes through unseen.
    """

    def __init__(self, store: Store, books: Books, clock: Callable[[], float]) -> None:
        self.store = store
        self.books = books
        self.clock = clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def put_scope(self, scope: Scope) -> None:
        self.store.put_scope(scope)
        self.books.scopes[scope.path] = scope

    def ensure_scopes(self, paths: Sequence[str]) -> None:
        self.store.ensure_scopes(paths)
        for path in paths:
            self.books.scopes.setdefault(path, Scope(path=path))

    def drop_scope(self, path: str) -> None:
        self.store.drop_scope(path)
        if not any(scope.path == path for scope in self.store.scopes(path)):
            self.books.dropped(path)

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
        answer = self.store.reserve(
            reservation_id,
            worst,
            paths,
            lease_seconds=lease_seconds,
            fingerprint=fingerprint,
            dispatched=dispatched,
        )
        places = tuple((a.path, a.window_key) for a in self.store.accounts(paths))
        if isinstance(answer, Grant):
            entry = Entry(worst, places, self.clock() + lease_seconds, dispatched)
            self.books.granted(reservation_id, entry, answer)
        else:
            self.books.denied(worst, dict(zip(paths, places, strict=True))[answer.path], answer)
        return answer

    def renew(self, reservation_id: str, *, lease_seconds: float, dispatched: bool = True) -> bool:
        answer = self.store.renew(
            reservation_id, lease_seconds=lease_seconds, dispatched=dispatched
        )
        entry = self.books.entries.get(reservation_id)
        held = entry is not None and entry.state == "held"
        _expect(answer == held, "renewal", f"{reservation_id}: {answer} of {entry}")
        if entry is not None and held:
            entry.lease_until = self.clock() + lease_seconds
            entry.dispatched = entry.dispatched or dispatched
        return answer

    def settle(
        self, reservation_id: str, actual: Amount, *, confirmed: bool = True, **journal: Any
    ) -> Settlement:
        answer = self.store.settle(reservation_id, actual, confirmed=confirmed, **journal)
        entry = self.books.entries[reservation_id]
        stays = entry.state == "settled" or (entry.state == "forfeited" and not confirmed)
        after: ReservationState = "settled" if confirmed else "forfeited"
        self.books.ended(
            answer, entry.state if stays else after, entry.charged if stays else actual
        )
        return answer

    def release(self, reservation_id: str, **journal: Any) -> Settlement:
        answer = self.store.release(reservation_id, **journal)
        entry = self.books.entries[reservation_id]
        stays = entry.state != "held"
        after: ReservationState = entry.state if stays else "released"
        self.books.ended(answer, after, entry.charged if stays else NOTHING)
        return answer

    def expire(self, limit: int = 100) -> list[Settlement]:
        now = self.clock()
        answers = self.store.expire(limit)
        for answer in answers:
            entry = self.books.entries[answer.reservation_id]
            due = entry.state == "held" and entry.lease_until <= now
            _expect(due, "expiry", f"{answer.reservation_id} ended before its lease: {entry}")
            sent = entry.dispatched
            self.books.ended(
                answer, "forfeited" if sent else "released", entry.worst if sent else NOTHING
            )
        if len(answers) < limit:
            entries = self.books.entries.items()
            left = [name for name, e in entries if e.state == "held" and e.lease_until <= now]
            _expect(not left, "expiry", f"{left} are left though their leases are over")
        return answers


def _within(amount: Amount, limits: Limits) -> bool:
    rows = zip(amount, limits, strict=True)
    return all(limit is None or value <= limit for value, limit in rows)


def _expect(holds: bool, rule: str, what: str) -> None:
    if not holds:
        raise Violation(rule, what)
