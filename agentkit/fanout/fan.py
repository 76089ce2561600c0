"""One fan-out: what is next, what each request needs, what has come of it, what it may cost."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from agentkit.answers import Asked
from agentkit.budgets.budget import Budget
from agentkit.budgets.ledger import Ledger
from agentkit.budgets.money import nusd_from_usd
from agentkit.budgets.task import new_id
from agentkit.errors import ConfigError, ListChanged
from agentkit.fanout.job import Job, Mapped, MapProgress, OnMapProgress, Origin, Request
from agentkit.memory.cache_rules import cache_rules
from agentkit.models.tier import Tier
from agentkit.result import TaskResult, result_of
from agentkit.run import OnProgress, Progress
from agentkit.state import AgentState
from agentkit.tools.catalogue import ToolCatalogue

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TASK_ID_CHARS = 21


class Fanned(Protocol):
    """The agent, as a fan-out needs it."""

    ledger: Ledger

    tiers: tuple[Tier, ...]
    catalogue: ToolCatalogue
    system: str
    saves: bool

    def kept(self, thread_id: str) -> tuple[AgentState, bool]: ...

    def carry_out(
        self, asked: Asked, thread_id: str | None, on_progress: OnProgress | None
    ) -> TaskResult: ...

    async def acarry_out(
        self, asked: Asked, thread_id: str | None, on_progress: OnProgress | None
    ) -> TaskResult: ...

    def resume(self, thread_id: str, *, on_progress: OnProgress | None = None) -> TaskResult: ...

    async def aresume(
        self, thread_id: str, *, on_progress: OnProgress | None = None
    ) -> TaskResult: ...


class Interrupted(BaseException):
    """Ends a task before its next call; nothing of it is lost, and it can be resumed."""


class Fan:
    """One fan-out: what is next, what each item needs, and what is counted."""

    def __init__(
        self,
        agent: Fanned,
        requests: Iterable[Request],
        concurrency: int,
        name: str | None,
        scope: str,
        tags: Mapping[str, str] | None,
        budget: Budget | None,
        stagger: bool | None,
        on_progress: OnMapProgress | None,
    ) -> None:
        if concurrency < 1:
            raise ConfigError(f"concurrency={concurrency}; use 1 or more")
        if name is not None and not _NAME.fullmatch(name):
            raise ConfigError(f"name={name!r}; use up to 64 letters, digits, '.', '_' or '-'")
        if name is not None and not agent.saves:
            raise ConfigError(
                f"name={name!r} is for taking a run up again, and this agent keeps no checkpoints; "
                "pass Agent(checkpoint='sqlite:///checkpoints.db', ledger='sqlite:///ledger.db')"
            )
        if budget is not None and budget.seconds is not None:
            raise ConfigError("seconds limit one task; give them to Agent(budget=...)")
        self.agent = agent
        self.concurrency = concurrency
        self.name = name
        self.scope = scope
        self.tags = dict(tags or {})
        self.total = len(requests) if isinstance(requests, (list, tuple)) else None
        self.stopped = False
        self.staggers = concurrency > 1 and (_pays(agent) if stagger is None else stagger)
        self.warm = threading.Event()
        self._items = enumerate(requests)
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._counts = {"done": 0, "failed": 0, "known": 0, "running": 0, "cost_nusd": 0}
        if name is not None or budget is not None:
            self.scope = f"{scope}/{name or 'map-' + new_id()}"
        if budget is not None:
            agent.ledger.set_limits(self.scope, budget.limits, thresholds=budget.thresholds)

    def next_item(self) -> tuple[int, Request] | None:
        """The next request; safe from many threads. Raises what the user's generator raises."""
        with self._lock:
            return None if self.stopped else next(self._items, None)

    def begin(self, index: int, request: Request) -> Item:
        """What is to be carried out for the request at place `index`."""
        job = request if isinstance(request, Job) else Job(request=request)
        if not isinstance(job.request, str):  # pyright: ignore[reportUnnecessaryIsInstance]  a caller's
            raise ConfigError(
                f"request {index} is a {type(job.request).__name__}; give text or Job"
            )
        self._count(running=1)
        return Item(
            index=index,
            thread_id=None if self.name is None else f"{self.name}.{index}",
            asked=Asked(
                request=job.request,
                scope=self.scope,
                tags={**self.tags, **job.tags},
                task_id=None if self.name is None else _task_id(self.name, index),
                walks=True,
                streams=self.staggers and not self.warm.is_set(),
            ),
        )

    def standing(self, item: Item) -> TaskResult | Origin:
        """The result of a task that has ended before, or how to come by it.

        Raises ListChanged where its place belongs to another request or scope.
        """
        if item.thread_id is None or item.asked.task_id is None:
            return "run"
        record = self.agent.ledger.store.task(item.asked.task_id)
        values, pending = self.agent.kept(item.thread_id)
        if record is None:
            if values.get("task_id"):
                raise ListChanged(
                    f"the checkpoints know {item.thread_id!r} and the ledger does not; use the "
                    "ledger that it ran on, or another name"
                )
            return "run"
        if record.request_digest != item.asked.digest or record.scope != item.asked.scope:
            what = "request" if record.request_digest != item.asked.digest else "scope"
            raise ListChanged(
                f"{item.thread_id!r} was run with another {what}; a list that has changed needs "
                "another name"
            )
        if not values.get("task_id"):
            return "run"  # cut off before its first step: paid answers are in the ledger
        if pending or record.outcome is None:
            return "resumed"
        store = self.agent.ledger.store
        if store.responses(record.task_id):  # its process died just before it let them go
            store.forget_responses(record.task_id)
        calls = store.calls(record.task_id)
        return result_of(record, answer=str(values.get("answer", "")), calls=calls)

    def watch(self, item: Item) -> OnProgress:
        """Ends a task of a stopped fan-out before its next call, and tells when one has begun."""

        def heard(progress: Progress) -> None:
            if progress.phase in ("answering", "thought"):
                self.warm.set()
            elif self.stopped:
                raise Interrupted(f"task {item.index} goes on when the run is taken up")

        return heard

    def end(self, mapped: Mapped) -> Mapped:
        """Count an outcome and tell of it."""
        self.warm.set()
        result = mapped.result
        known = mapped.origin == "known"
        cost = 0 if result is None or known else nusd_from_usd(result.cost_usd)
        self._count(done=1, running=-1, failed=int(not mapped.ok), known=int(known), cost_nusd=cost)
        return mapped

    def _count(self, **changes: int) -> None:
        with self._lock:
            for name, change in changes.items():
                self._counts[name] += change
            told = MapProgress(
                **self._counts, total=self.total, seconds=time.monotonic() - self._started
            )
        if self._on_progress is not None:
            self._on_progress(told)


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One request with its place, its thread and its task."""

    index: int
    thread_id: str | None
    asked: Asked

    def ended(self, result: TaskResult, origin: Origin) -> Mapped:
        return Mapped(index=self.index, request=self.asked.request, result=result, origin=origin)

    def failed(self, error: Exception) -> Mapped:
        return Mapped(index=self.index, request=self.asked.request, error=error)


def _pays(agent: Fanned) -> bool:
    """True where the first answer writes a prefix into a cache that the others then read."""
    first = agent.tiers[0]
    rules = cache_rules(first.name, first.provider)
    if rules.how not in ("breakpoints", "automatic"):
        return False
    fixed = first.counter.text(agent.system) + first.counter.tools(agent.catalogue.openai_schemas())
    return fixed >= rules.least_tokens


def _task_id(name: str, index: int) -> str:
    """The same in every process, and like any other task's to look at."""
    return hashlib.sha256(f"{name}\n{index}".encode()).hexdigest()[:_TASK_ID_CHARS]
