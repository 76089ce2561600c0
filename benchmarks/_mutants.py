"""Deliberately broken copies of each verb: what the simulation must catch to be worth anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from agentkit.budgets.amount import NOTHING, UNLIMITED, Amount
from agentkit.budgets.scope import Scope
from agentkit.budgets.store import Denial, Grant, Settlement, Store
from agentkit.budgets.stores.memory import MemoryStore


class _ReserveAgain(MemoryStore):
    """A repeated reservation holds its worst case once more."""

    def reserve(
        self, reservation_id: str, worst: Amount, paths: Sequence[str], **options: Any
    ) -> Grant | Denial:
        answer = super().reserve(reservation_id, worst, paths, **options)
        if isinstance(answer, Grant) and answer.repeated and answer.state == "held":
            for path in paths:
                self._sums[path].held = self._sums[path].held.plus(worst)
        return answer


class _ReserveForAnyRequest(MemoryStore):
    """An id answers whatever request comes with it."""

    def reserve(
        self,
        reservation_id: str,
        worst: Amount,
        paths: Sequence[str],
        *,
        fingerprint: str = "",
        **options: Any,
    ) -> Grant | Denial:
        return super().reserve(reservation_id, worst, paths, **options)


class _ReserveIgnoresHeld(MemoryStore):
    """Checks the limits against what is settled only, as check-then-increment does."""

    def reserve(
        self, reservation_id: str, worst: Amount, paths: Sequence[str], **options: Any
    ) -> Grant | Denial:
        held = {path: self._sums[path].held for path in paths if path in self._sums}
        for path in held:
            self._sums[path].held = NOTHING
        try:
            return super().reserve(reservation_id, worst, paths, **options)
        finally:
            for path, before in held.items():
                self._sums[path].held = self._sums[path].held.plus(before)


class _ReserveLeafOnly(MemoryStore):
    """Holds in the lowest scope, and not in those above it."""

    def reserve(
        self, reservation_id: str, worst: Amount, paths: Sequence[str], **options: Any
    ) -> Grant | Denial:
        return super().reserve(reservation_id, worst, paths[-1:], **options)


class _ReserveInParts(MemoryStore):
    """A denial leaves behind what was held in the scopes above."""

    def reserve(
        self, reservation_id: str, worst: Amount, paths: Sequence[str], **options: Any
    ) -> Grant | Denial:
        answer = super().reserve(reservation_id, worst, paths, **options)
        if isinstance(answer, Denial):
            for path in paths[: list(paths).index(answer.path)]:
                self._sums[path].held = self._sums[path].held.plus(worst)
        return answer


class _ReserveNever(MemoryStore):
    """Denies whatever asks for money: nobody can overspend so."""

    def reserve(
        self, reservation_id: str, worst: Amount, paths: Sequence[str], **options: Any
    ) -> Grant | Denial:
        limit = self._sums[paths[0]].scope.limits.nusd or 0
        return Denial(paths[0], "nusd", worst.nusd, 0, limit, limit, 0)


class _SettleTwice(MemoryStore):
    """A second settle is charged again."""

    def settle(self, reservation_id: str, actual: Amount, **options: Any) -> Settlement:
        reservation = self._reservation(reservation_id)
        if reservation.state == "settled":
            for sums in reservation.accounts:
                sums.settled = sums.settled.plus(actual)
        return super().settle(reservation_id, actual, **options)


class _SettleKeepsHold(MemoryStore):
    """Charges, and gives nothing back."""

    def settle(self, reservation_id: str, actual: Amount, **options: Any) -> Settlement:
        reservation = self._reservation(reservation_id)
        if reservation.state == "held":
            for sums in reservation.accounts:
                sums.held = sums.held.plus(reservation.worst)
        return super().settle(reservation_id, actual, **options)


class _SettleTooLate(MemoryStore):
    """A late settle no longer corrects a forfeit."""

    def settle(self, reservation_id: str, actual: Amount, **options: Any) -> Settlement:
        reservation = self._reservation(reservation_id)
        late = reservation.state == "forfeited"
        return super().settle(reservation_id, reservation.charged if late else actual, **options)


class _SettleOnlyLeaf(MemoryStore):
    """The scopes above do not learn what was charged."""

    def settle(self, reservation_id: str, actual: Amount, **options: Any) -> Settlement:
        reservation = self._reservation(reservation_id)
        first = reservation.state == "held"
        answer = super().settle(reservation_id, actual, **options)
        for sums in reservation.accounts[:-1] if first else ():
            sums.settled = sums.settled.minus(actual)
        return answer


class _SettleHidesItsMove(MemoryStore):
    """Tells nobody which scopes it moved, so no threshold is announced."""

    def settle(self, reservation_id: str, actual: Amount, **options: Any) -> Settlement:
        return super().settle(reservation_id, actual, **options)._replace(changes=())


class _ForfeitForNothing(MemoryStore):
    """A forfeit charges nothing, as if the provider had not billed."""

    def settle(
        self, reservation_id: str, actual: Amount, *, confirmed: bool = True, **options: Any
    ) -> Settlement:
        charged = actual if confirmed else NOTHING
        return super().settle(reservation_id, charged, confirmed=confirmed, **options)


class _ForfeitAfterSettle(MemoryStore):
    """A forfeit that comes after the settle charges the worst case nevertheless."""

    def settle(
        self, reservation_id: str, actual: Amount, *, confirmed: bool = True, **options: Any
    ) -> Settlement:
        reservation = self._reservation(reservation_id)
        if not confirmed and reservation.state == "settled":
            reservation.state = "forfeited"
            confirmed = True
        return super().settle(reservation_id, actual, confirmed=confirmed, **options)


class _ReleaseUndoes(MemoryStore):
    """Takes a charge back that stands."""

    def release(self, reservation_id: str, **options: Any) -> Settlement:
        reservation = self._reservation(reservation_id)
        if reservation.state == "forfeited":
            for sums in reservation.accounts:
                sums.settled = sums.settled.minus(reservation.charged)
            reservation.charged = NOTHING
        return super().release(reservation_id, **options)


class _ReleaseKeepsHold(MemoryStore):
    """Says that it gave back, and did not."""

    def release(self, reservation_id: str, **options: Any) -> Settlement:
        reservation = self._reservation(reservation_id)
        if reservation.state == "held":
            for sums in reservation.accounts:
                sums.held = sums.held.plus(reservation.worst)
        return super().release(reservation_id, **options)


class _ExpireReleases(MemoryStore):
    """Gives the money of dead workers back, though the provider may have billed it."""

    def expire(self, limit: int = 100) -> list[Settlement]:
        for reservation in self._open.values():
            reservation.dispatched = False
        return super().expire(limit)


class _ExpireForfeitsAll(MemoryStore):
    """Charges money that was only kept."""

    def expire(self, limit: int = 100) -> list[Settlement]:
        for reservation in self._open.values():
            reservation.dispatched = True
        return super().expire(limit)


class _ExpireNever(MemoryStore):
    """Leaves what dead workers held."""

    def expire(self, limit: int = 100) -> list[Settlement]:
        return []


class _ExpireEarly(MemoryStore):
    """Ends leases that are not over."""

    def expire(self, limit: int = 100) -> list[Settlement]:
        self._leases = [(0.0, name) for _, name in self._leases]
        for reservation in self._open.values():
            reservation.lease_until -= 5.0
        return super().expire(limit)


class _RenewNothing(MemoryStore):
    """Says yes, and extends nothing."""

    def renew(self, reservation_id: str, **options: Any) -> bool:
        return reservation_id in self._open


class _RenewAlways(MemoryStore):
    """Says yes to what is no longer held."""

    def renew(self, reservation_id: str, **options: Any) -> bool:
        super().renew(reservation_id, **options)
        return True


class _RenewUnsends(MemoryStore):
    """A late renewal of kept money marks money that was sent as kept."""

    def renew(self, reservation_id: str, *, dispatched: bool = True, **options: Any) -> bool:
        answer = super().renew(reservation_id, dispatched=dispatched, **options)
        if answer:
            self._open[reservation_id].dispatched = dispatched
        return answer


class _LimitsResetSums(MemoryStore):
    """New limits start a new account."""

    def put_scope(self, scope: Scope) -> None:
        self._sums.pop(scope.path, None)
        super().put_scope(scope)


class _LimitsForgotten(MemoryStore):
    """Ensuring that a scope exists takes its limits away."""

    def ensure_scopes(self, paths: Sequence[str]) -> None:
        super().ensure_scopes(paths)
        for path in paths:
            super().put_scope(Scope(path=path, limits=UNLIMITED))


class _DropWhileHeld(MemoryStore):
    """Forgets a scope in which money is held."""

    def drop_scope(self, path: str) -> None:
        self._sums.pop(path, None)


Factory = Callable[[Callable[[], float]], Store]

MUTANTS: dict[str, Factory] = {
    "reserve: a repetition holds again": _ReserveAgain,
    "reserve: an id for any request": _ReserveForAnyRequest,
    "reserve: ignores what is held": _ReserveIgnoresHeld,
    "reserve: in the leaf only": _ReserveLeafOnly,
    "reserve: a denial leaves parts": _ReserveInParts,
    "reserve: denies everything": _ReserveNever,
    "settle: twice counts twice": _SettleTwice,
    "settle: keeps the hold": _SettleKeepsHold,
    "settle: a late one is ignored": _SettleTooLate,
    "settle: in the leaf only": _SettleOnlyLeaf,
    "settle: hides what it moved": _SettleHidesItsMove,
    "forfeit: charges nothing": _ForfeitForNothing,
    "forfeit: overwrites a settlement": _ForfeitAfterSettle,
    "release: undoes a charge": _ReleaseUndoes,
    "release: keeps the hold": _ReleaseKeepsHold,
    "expire: releases what was sent": _ExpireReleases,
    "expire: forfeits what was kept": _ExpireForfeitsAll,
    "expire: never": _ExpireNever,
    "expire: early": _ExpireEarly,
    "renew: extends nothing": _RenewNothing,
    "renew: says yes to the dead": _RenewAlways,
    "renew: unsends what was sent": _RenewUnsends,
    "put_scope: resets the sums": _LimitsResetSums,
    "ensure_scopes: forgets the limits": _LimitsForgotten,
    "drop_scope: while money is held": _DropWhileHeld,
}
