"""Many independent requests as one piece of work that can wait, under one budget.

A job is a task of the ledger. Its name is its memory: a process that died is followed by another
that adds the same requests again, and nothing is asked or paid for twice.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from agentkit.batch.call import batch_plan, item_id_of, queued
from agentkit.batch.item import BatchItem, ItemState
from agentkit.batch.lane import BatchLane, OnProgress, Progress, lane_of
from agentkit.batch.policy import BatchPolicy
from agentkit.batch.provider import CannotBatch
from agentkit.batch.providers import message_of
from agentkit.batch.waiting import Duration, seconds_of
from agentkit.budgets.budget import Budget
from agentkit.budgets.call_plan import HeldCall
from agentkit.budgets.ledger import DEFAULT_SCOPE, Ledger
from agentkit.budgets.money import usd_from_nusd
from agentkit.budgets.task import Task
from agentkit.effects import drive
from agentkit.errors import ConfigError
from agentkit.memory.components import RequestParts
from agentkit.metering import metered_call
from agentkit.model_call import Call, plan_of
from agentkit.models.provider import describe
from agentkit.models.tier import Tier, tier_of

_OUTPUT_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_NAME = re.compile(r"[^/~]{1,200}")


@dataclass(frozen=True, kw_only=True, slots=True)
class JobResult:
    """How a job ended. `cost_usd` is what it cost in all processes that worked on it, what was
    seeded for it alone included."""

    answered: int
    refused: int
    cancelled: int
    cost_usd: Decimal


class BatchJob:
    """Requests by key, sent in batches, answered by a deadline; what would be late goes live.

    >>> from agentkit.batch import BatchJob
    >>> job = BatchJob("nightly", model="openai:gpt-5-mini", wait="24h")  # doctest: +SKIP
    >>> job.add("doc-1", "Summarise: ...")  # doctest: +SKIP
    >>> job.run().answered  # doctest: +SKIP
    """

    def __init__(
        self,
        name: str,
        *,
        model: str | BaseChatModel,
        ledger: str | Ledger = "sqlite:///agentkit.db",
        scope: str = DEFAULT_SCOPE,
        budget: Budget | None = None,
        wait: Duration = "24h",
        system: str = "",
        tags: Mapping[str, str] | None = None,
        policy: BatchPolicy | None = None,
    ) -> None:
        """The job `name` of `scope`, taken up where an earlier process left it.

        Raises ConfigError for a model that has no batches, and what opening a ledger raises.
        """
        if not _NAME.fullmatch(name):
            raise ConfigError(f"a job cannot be called {name[:40]!r}; use no '/' and no '~'")
        self.ledger = Ledger(ledger) if isinstance(ledger, str) else ledger
        self.tier: Tier = tier_of(model, 0)
        self.lane = (
            lane_of(self.ledger) if policy is None else BatchLane(self.ledger, policy=policy)
        )
        provider = self.lane.provider(self.tier)
        if provider is None:
            raise ConfigError(
                f"{self.tier.label} has no batches; use a model of openai: or anthropic:"
            )
        self._provider = provider
        self._system = system
        task_id = f"job{hashlib.sha256(f'{scope} {name}'.encode()).hexdigest()[:24]}"
        self.task: Task = self.ledger.open_task(
            scope=scope,
            budget=budget,
            task_id=task_id,
            tags={**(tags or {}), "job": name},
            models=[self.tier.label],
        )
        self._deadline = self.task.record.started_at + seconds_of(wait)

    @property
    def deadline(self) -> float:
        """When all answers are to be there, counted from when the job was first begun."""
        return self._deadline

    def add(self, key: str, request: str | Sequence[BaseMessage]) -> None:
        """Queue one request; the same `key` again does nothing.

        Raises BudgetExceeded where its worst case does not fit: then nothing of it is held.
        """
        if self.lane.store.item(self._item_id(key)) is not None:
            return
        call = self._call(request)
        plan = plan_of(self.task, call)
        plan = batch_plan(self.task, call, plan, self.lane, self._deadline)
        try:
            queued(
                self.task, call, plan,
                name=_name_of(key), deadline=self._deadline, lane=self.lane,
                provider=self._provider, key=key,
            )  # fmt: skip
        except CannotBatch as error:
            raise ConfigError(
                f"the request {key[:40]!r} cannot go into a batch: {error}"
            ) from error

    def run(self, on_progress: OnProgress | None = None) -> JobResult:
        """Send all that is queued, and wait until something has become of every request.

        Ctrl-C breaks off the wait only: the batches go on, and so does a job of the same name.
        """
        while True:
            wait = self.lane.tick(flush=True)
            self._ask_late()
            progress = self.lane.progress(self.task.task_id)
            if on_progress is not None:
                on_progress(progress)
            if progress.is_done and not progress.late:
                return self._closed(progress)
            time.sleep(wait)

    def answers(self) -> Iterator[tuple[str, AIMessage]]:
        """The answers that are there, by key."""
        for item in self.lane.store.items(task_id=self.task.task_id, states=("answered",)):
            payload = self.lane.store.answer_of(item.item_id)
            if payload is not None:
                yield item.key, message_of(item.endpoint, payload, self.tier.model)

    def refused(self) -> Iterator[tuple[str, str]]:
        """The requests that were turned down, by key, and why."""
        states: tuple[ItemState, ...] = ("refused", "cancelled")
        for item in self.lane.store.items(task_id=self.task.task_id, states=states):
            yield item.key, item.error or item.state

    def _item_id(self, key: str) -> str:
        return item_id_of(self.task.task_id, _name_of(key))

    def _call(self, request: str | Sequence[BaseMessage]) -> Call:
        messages = [HumanMessage(request)] if isinstance(request, str) else list(request)
        if self._system:
            messages = [SystemMessage(self._system), *messages]
        return Call(
            tier=self.tier,
            messages=messages,
            tools=(),
            purpose="metered",
            send=_unused,
            asend=_unused,
        )

    def _ask_late(self) -> None:
        """Ask live what no batch would answer in time."""
        late = self.lane.store.items(task_id=self.task.task_id, states=("late",))
        for item in late:
            if item.closed:
                self._ask_live(item)

    def _ask_live(self, item: BatchItem) -> None:
        body = self.lane.store.body(item.item_id)
        if body is None:
            return
        try:
            payload = self._answer_to(item, json.loads(body))
        except Exception as error:  # noqa: BLE001  whatever a client raises: other requests go on
            self.lane.store.put_item(replace(item, state="refused", error=describe(error)))
            return
        self.lane.store.put_item(replace(item, state="answered", error=None), payload)

    def _answer_to(self, item: BatchItem, body: dict[str, Any]) -> bytes:
        """The answer to a stored request, asked live on the job's budget."""
        told: list[bytes] = []

        def send(held: HeldCall, seconds: float | None) -> AIMessage:  # noqa: ARG001  the client has its own
            limits = {name: held.max_output_tokens for name in _OUTPUT_LIMITS if name in body}
            told.append(self._provider.ask(item.endpoint, {**body, **limits}))
            return message_of(item.endpoint, told[-1], self.tier.model)

        call = Call(
            tier=self.tier,
            messages=(),
            tools=(),
            purpose="metered",
            send=send,
            asend=_unused,
            input_tokens=int(item.record["estimated_input_tokens"]),
            wanted_output_tokens=item.max_output_tokens,
            parts=RequestParts(tokens=item.record["components"], prefix=item.record["prefix"]),
        )
        drive(metered_call(self.task, call))
        return told[-1]

    def _closed(self, progress: Progress) -> JobResult:
        calls = self.ledger.store.calls(self.task.task_id)
        cost = sum(call.cost_nusd for call in calls)
        record = self.task.close("answered" if progress.answered else "failed")
        self.ledger.store.put_task(
            replace(record, calls=sum(call.is_billed for call in calls), cost_nusd=cost)
        )
        seeds = self.lane.seeded(self.task.path).spent_nusd
        return JobResult(
            answered=progress.answered,
            refused=progress.refused,
            cancelled=progress.cancelled,
            cost_usd=usd_from_nusd(cost + seeds),
        )


def _name_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _unused(*_: object) -> AIMessage:
    raise AssertionError("a job's requests are sent by the lane, and late ones from a thread")
