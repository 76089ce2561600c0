"""Holding the worst case of a call, its output clamped to what every limit allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from agentkit.budgets.amount import Limits
from agentkit.budgets.call_plan import CallPlan
from agentkit.budgets.store import Denial, Grant, denied

if TYPE_CHECKING:
    from agentkit.budgets.ledger import Ledger

_CLAMP_ROUNDS = 8
_WAITING = ".batch-"


class Clamped(NamedTuple):
    """What is held for a call, and the output that this bounds."""

    grant: Grant
    output_tokens: int


def waiting_id(task_id: str, name: str) -> str:
    """The reservation of a call that waits for a batch; the same in every process."""
    return f"{task_id}{_WAITING}{name}"


def is_waiting(reservation_id: str) -> bool:
    """True for the reservation of a call in a batch: it outlives the process that asked for it."""
    return _WAITING in reservation_id


def hold_clamped(
    ledger: Ledger,
    call_id: str,
    plan: CallPlan,
    chain: Sequence[str],
    room: Callable[[], Limits],
    *,
    dispatched: bool = True,
) -> Clamped:
    """Hold `plan` under `call_id`, with as much output as the limits allow.

    Raises BudgetExceeded, with nothing held.
    """
    output = plan.wanted_output_tokens
    denial: Denial | None = None
    for _ in range(_CLAMP_ROUNDS):
        answer = ledger.try_reserve(
            call_id,
            plan.worst(output),
            chain,
            lease_seconds=plan.lease_seconds,
            fingerprint=plan.fingerprint,
            dispatched=dispatched,
        )
        if isinstance(answer, Grant):
            return Clamped(answer, _bounded(plan, answer) if answer.repeated else output)
        denial = answer
        affordable = plan.affordable_output(room())
        if affordable is not None and affordable < plan.least_output_tokens:
            break
        output = output if affordable is None else min(output, affordable)
    if denial is None:
        raise AssertionError("unreachable: at least one round was tried")
    least = plan.worst(plan.least_output_tokens)._asdict()[denial.dimension]
    denial = denial._replace(asked=max(least, denial.available + 1))
    ledger.announcer.breach(denial)
    raise denied(denial)


def _bounded(plan: CallPlan, grant: Grant) -> int:
    """The output that an earlier hold of the same call covers."""
    output = plan.affordable_output(Limits(*grant.worst))
    wanted = plan.wanted_output_tokens
    return wanted if output is None else max(1, min(wanted, output))
