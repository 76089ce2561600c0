"""Callbacks on budget events: heard for a limited time, so that none holds up a task."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextvars import copy_context

from agentkit.budgets.event import BudgetEvent, Decision, OnBudget

_log = logging.getLogger("agentkit.budgets")

LISTENER_SECONDS = 5.0


class TimedListener:
    """Calls `hear` in a thread of its own and waits for it up to `seconds`.

    What it answers goes to `take`, also where it comes late. A callback that raises is logged. One
    that hangs is logged and left behind, and is not called again until it has returned: so it costs
    a task its time limit once, and one thread.
    """

    def __init__(
        self,
        hear: OnBudget,
        *,
        take: Callable[[Decision | None], None] | None = None,
        seconds: float = LISTENER_SECONDS,
    ) -> None:
        self._hear = hear
        self._take = take
        self._seconds = seconds
        self._overdue = 0
        self._lock = threading.Lock()

    def __call__(self, event: BudgetEvent) -> bool:
        """Tell `event`; False where the callback raised, hangs, or still hangs on an older one."""
        if self._overdue:
            _log.error("a budget listener still hangs; it is not told of a %s event", event.kind)
            return False
        call = _Hearing()
        context = copy_context()
        threading.Thread(
            target=context.run,
            args=(self._carry_out, event, call),
            name="agentkit-budget-listener",
            daemon=True,
        ).start()
        call.done.wait(self._seconds)
        with self._lock:
            if call.done.is_set():
                return call.went_well
            call.is_late = True
            self._overdue += 1
        _log.error(
            "a budget listener did not return within %g s of a %s event; the task goes on",
            self._seconds,
            event.kind,
        )
        return False

    def _carry_out(self, event: BudgetEvent, call: _Hearing) -> None:
        try:
            answer = self._hear(event)
            if self._take is not None:
                self._take(answer)
            call.went_well = True
        except Exception:  # noqa: BLE001  # a listener's fault must never undo or stop a settlement
            _log.exception("a budget listener failed on a %s event", event.kind)
        finally:
            with self._lock:
                self._overdue -= call.is_late
                call.done.set()


class _Hearing:
    """One event on its way through a callback."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.is_late = False
        self.went_well = False
