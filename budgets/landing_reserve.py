"""Money that is kept for a task's final answer, from its start on."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agentkit.budgets.amount import Amount, Limits
from agentkit.budgets.call_plan import CallPlan
from agentkit.budgets.errors import BudgetTooSmall
from agentkit.budgets.store import Denial, Grant, denied

if TYPE_CHECKING:
    from agentkit.budgets.ledger import Ledger

_SUFFIX = ".landing"


def is_landing(reservation_id: str) -> bool:
    """True for the reservation of a landing reserve, or of the call that it became."""
    return _SUFFIX in reservation_id


class LandingReserve:
    """A reservation that no step may touch; it becomes the call for the final answer."""

    def __init__(
        self, ledger: Ledger, task_id: str, chain: Sequence[str], worst: Amount, *, seconds: float
    ) -> None:
        """Hold `worst` in all of `chain`, the task last, for `seconds` unless it is renewed.

        Raises BudgetTooSmall where the task's own limit is below it, BudgetExceeded where a shared
        scope has too little left.
        """
        self._ledger = ledger
        self._seconds = seconds
        self._renewed = time.monotonic()
        answer = self._hold(task_id, chain, worst)
        if isinstance(answer, Denial):
            ledger.announcer.breach(answer)
            if answer.path == chain[-1] and answer.settled == 0:
                raise BudgetTooSmall(
                    dimension=answer.dimension,
                    needed=answer.asked,
                    limit=answer.limit,
                    scope=answer.path,
                )
            raise denied(answer)
        self.reservation_id, self.worst = answer.reservation_id, answer.worst

    def keep(self) -> None:
        """Renew the lease once half of it is over."""
        if time.monotonic() - self._renewed > self._seconds / 2:
            self._renewed = time.monotonic()
            self._ledger.renew(self.reservation_id, lease_seconds=self._seconds, dispatched=False)

    def output_for(self, plan: CallPlan) -> int | None:
        """The output tokens of `plan` that it covers, now sent; None where it is of no use.

        It is given back where it covers too little, and gone where its lease had ended.
        """
        output = plan.affordable_output(Limits(*self.worst))
        if output is not None and output < plan.least_output_tokens:
            self.release()
            return None
        if not self._ledger.renew(self.reservation_id, lease_seconds=plan.lease_seconds):
            return None
        wanted = plan.wanted_output_tokens
        return wanted if output is None else min(wanted, output)

    def release(self) -> None:
        """Give it back."""
        self._ledger.release(self.reservation_id)

    def _hold(self, task_id: str, chain: Sequence[str], worst: Amount) -> Grant | Denial:
        """A reserve that is whole: what an earlier run sent is not taken again."""
        for run in itertools.count(1):
            answer = self._ledger.try_reserve(
                f"{task_id}{_SUFFIX}" + (f".{run}" if run > 1 else ""),
                worst,
                chain,
                lease_seconds=self._seconds,
                dispatched=False,
            )
            if isinstance(answer, Denial) or (answer.state == "held" and not answer.dispatched):
                return answer
        raise AssertionError("unreachable: the count of runs has no end")
