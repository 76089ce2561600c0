"""One task while it runs in this process: its money, its spans, its counts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from agentkit.budgets.call_plan import HeldCall
from agentkit.budgets.event import BudgetEvent, Decision
from agentkit.budgets.journal import CallRecord, Component
from agentkit.budgets.task import Task
from agentkit.context import TaskContext
from agentkit.memory.components import Prefix, RequestParts
from agentkit.memory.context import Context, ContextPlan
from agentkit.models.tier import Tier, ToolSchemas
from agentkit.progress import ProgressWatch
from agentkit.telemetry.trace import TaskTrace
from agentkit.tools.catalogue import ToolCatalogue
from agentkit.tools.pruner import TaskPruner

_log = logging.getLogger("agentkit")


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Where a running task stands, for a live line.

    A model call is "thinking", "answering" once a streamed answer has begun, then "thought"; tool
    calls are "acting".
    """

    step: int
    tier: str
    phase: str
    calls: int
    input_tokens: int
    output_tokens: int
    cost_nusd: int
    limit_nusd: int | None
    limit_tokens: int | None


DEFAULT_CONTEXT = Context()

OnProgress = Callable[[Progress], None]
"""Called where the work is done, so it should return at once; one that raises is logged, and is not
called again for its task."""


class Run:
    """Ties a task to its trace and to what is counted along the way."""

    def __init__(
        self,
        task: Task,
        trace: TaskTrace,
        *,
        on_budget: Callable[[BudgetEvent], Decision | None] | None = None,
        on_progress: OnProgress | None = None,
        watch: ProgressWatch | None = None,
        can_ask: bool = False,
        streams: bool = False,
        context: Context = DEFAULT_CONTEXT,
    ) -> None:
        self.task = task
        self.trace = trace
        self._on_progress = on_progress
        self.watch = watch
        self.can_ask = can_ask
        self.streams = streams
        self.context = TaskContext(task, context)
        self._prefixes: dict[int, Prefix] = {}
        self._catalogue_tokens: dict[int, int] = {}
        self.pruner: TaskPruner | None = None
        self.last_call: CallRecord | None = None
        self.billed: list[int] = []
        """Input tokens of the steps' calls to the model of the last one."""
        self._spent = (0, 0, 0, 0)
        self._lock = threading.Lock()
        task.observe(trace.budget_event)
        if on_budget is not None:
            task.listen(on_budget)

    @property
    def task_id(self) -> str:
        """The id of the task."""
        return self.task.task_id

    def parts(self, tier: Tier, plan: ContextPlan, tools: ToolSchemas) -> RequestParts:
        """What a request's tokens are, as its plan has counted them, and its prefix by name."""
        tokens = cast("Mapping[Component, int]", plan.components)
        return RequestParts(
            tokens={name: count for name, count in tokens.items() if count},
            prefix=self._prefixes.setdefault(tier.index, Prefix()).digest(plan.messages, tools),
        )

    def catalogue_tokens(self, tier: Tier, catalogue: ToolCatalogue) -> int:
        """Tokens of the definitions of all tools, as `tier` counts them; counted once."""
        known = self._catalogue_tokens.get(tier.index)
        if known is None:
            known = tier.counter.tools(catalogue.openai_schemas())
            self._catalogue_tokens[tier.index] = known
        return known

    def begin_call(self, held: HeldCall) -> None:
        """A model call is about to be sent."""
        self.trace.begin_call(held)
        if self._on_progress is not None:
            self._report(held.plan.step, held.plan.price.model, "thinking")

    def begin_answer(self, held: HeldCall) -> None:
        """The first piece of an answer has arrived."""
        self._report(held.plan.step, held.plan.price.model, "answering")

    def end_call(self, record: CallRecord) -> None:
        """A model call has been settled."""
        self.trace.end_call(record)
        if record.purpose == "step" and record.status == "ok":
            last, self.last_call = self.last_call, record
            if last is None or (last.provider, last.model) != (record.provider, record.model):
                self.billed = []
            self.billed.append(record.usage.input_tokens)
        with self._lock:
            calls, read, written, cost = self._spent
            self._spent = (
                calls + 1,
                read + record.usage.input_tokens,
                written + record.usage.output_tokens,
                cost + record.cost_nusd,
            )
        if self._on_progress is not None:
            self._report(record.step, record.model, "thought")

    def acting(self, step: int, tools: Sequence[str]) -> None:
        """Tools are about to run."""
        if self._on_progress is not None:
            self._report(step, ", ".join(tools), "acting")

    def _report(self, step: int, tier: str, phase: str) -> None:
        if self._on_progress is None:
            return
        calls, read, written, cost = self._spent
        limits = self.task.budget.limits
        progress = Progress(
            step=step,
            tier=tier,
            phase=phase,
            calls=calls,
            input_tokens=read,
            output_tokens=written,
            cost_nusd=cost,
            limit_nusd=limits.nusd,
            limit_tokens=limits.tokens if limits.tokens is not None else limits.fresh_tokens,
        )
        try:
            self._on_progress(progress)
        except Exception:  # noqa: BLE001  a line on a screen must not cost an answer that has been paid
            self._on_progress = None
            _log.exception("on_progress raised; task %s goes on without it", self.task_id)
