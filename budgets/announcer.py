"""Budget events: what happened to a scope, told to its owners once the store has committed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from weakref import WeakMethod

from agentkit.budgets.amount import DIMENSIONS, Amount
from agentkit.budgets.event import BudgetEvent, EventKind, facts
from agentkit.budgets.loss import StateLoss
from agentkit.budgets.purse import is_purse
from agentkit.budgets.store import Change, Denial, Settlement

_log = logging.getLogger("agentkit.budgets")

Hears = Callable[[BudgetEvent], object]


class Announcer:
    """Tells each event to the log, a webhook, the tasks that it concerns, and `on_event`."""

    def __init__(
        self, *, clock: Callable[[], float], webhook: Hears | None, on_event: Hears | None
    ) -> None:
        self._clock = clock
        self._webhook = webhook
        self._on_event = on_event
        self._tasks: dict[str, WeakMethod[Hears]] = {}

    def listen(self, path: str, hear: Hears) -> None:
        """Tell `hear`, a method, of what concerns the task at `path`, while its object lives."""
        self._tasks[path] = WeakMethod(hear)

    def forget(self, path: str) -> None:
        """The task at `path` has ended."""
        self._tasks.pop(path, None)

    def settlement(self, settlement: Settlement) -> None:
        """Events of one settlement: each threshold is crossed by exactly one of them."""
        for change in settlement.changes:
            self._thresholds(change)
        if settlement.after == "forfeited" and settlement.before == "held":
            self._amount("forfeit", settlement, settlement.charged)
        if any(settlement.overrun) and not is_purse(settlement.reservation_id):
            self._amount("overrun", settlement, settlement.overrun)

    def breach(self, denial: Denial) -> None:
        """Tell the owners of a scope that a reservation was denied."""
        self._send(
            "breach",
            denial.path,
            dimension_index=DIMENSIONS.index(denial.dimension),
            limit=denial.limit,
            settled=denial.settled,
            held=denial.held,
            asked=denial.asked,
        )

    def landing(self, path: str, held: Amount) -> None:
        """Tell the owners of a task that its final answer comes from the reserve."""
        index = 0 if held.nusd else 1
        self._send("landing", path, dimension_index=index, limit=None, settled=0, held=held[index])

    def loss(self, loss: StateLoss) -> None:
        """Tell the owners of an org that its state was lost in part, or that it is open again."""
        charged = next((i for i, value in enumerate(loss.orphaned) if value), 0)
        self._send(
            loss.kind,
            loss.org,
            dimension_index=charged,
            limit=None,
            settled=0,
            held=0,
            asked=loss.orphaned[charged],
        )

    def _thresholds(self, change: Change) -> None:
        for index, limit in enumerate(change.limits):
            if not limit or change.before[index] == change.after[index]:
                continue
            for fraction in change.thresholds:
                if change.before[index] < fraction * limit <= change.after[index]:
                    self._send(
                        "threshold",
                        change.path,
                        dimension_index=index,
                        limit=limit,
                        settled=change.after[index],
                        held=change.held[index],
                        fraction=fraction,
                    )

    def _amount(self, kind: EventKind, settlement: Settlement, amount: Amount) -> None:
        index = next((i for i, value in enumerate(amount) if value), 0)
        path = settlement.changes[-1].path if settlement.changes else ""
        last = settlement.changes[-1] if settlement.changes else None
        self._send(
            kind,
            path,
            dimension_index=index,
            limit=last.limits[index] if last else None,
            settled=last.after[index] if last else 0,
            held=last.held[index] if last else 0,
            asked=amount[index],
        )

    def _send(
        self,
        kind: EventKind,
        path: str,
        *,
        dimension_index: int,
        limit: int | None,
        settled: int,
        held: int,
        asked: int = 0,
        fraction: float | None = None,
    ) -> None:
        _, marker, task_id = path.rpartition("/~")
        event = BudgetEvent(
            kind=kind,
            scope=path,
            task_id=task_id if marker else None,
            dimension=DIMENSIONS[dimension_index],
            limit=limit,
            settled=settled,
            held=held,
            asked=asked,
            fraction=fraction,
            at_seconds=self._clock(),
        )
        _log.info(
            "budget %s in %s: %s",
            event.kind,
            event.scope,
            event.dimension,
            extra={f"budget_{name}": value for name, value in facts(event).items()},
        )
        if self._webhook is not None:
            self._webhook(event)
        for reference in self._concerned(path):
            if (hear := reference()) is not None:
                _tell(hear, event)
        if self._on_event is not None:
            self._on_event(event)

    def _concerned(self, path: str) -> list[WeakMethod[Hears]]:
        """The task at `path`, or every task that spends from the scope there."""
        if (own := self._tasks.get(path)) is not None:
            return [own]
        prefix = f"{path}/"
        return [hear for at, hear in list(self._tasks.items()) if at.startswith(prefix)]


def _tell(hear: Hears, event: BudgetEvent) -> None:
    try:
        hear(event)
    except Exception:  # noqa: BLE001  # an observer's fault must never undo or stop a settlement
        _log.exception("a budget listener failed on a %s event", event.kind)
