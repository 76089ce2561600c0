"""What the ledger remembers of tasks and calls: the truth for every report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self

from agentkit.budgets.usage import Usage

LOST_CALL = "the process ended before the answer was settled"
"""The error of a call that was sent and whose process died before it heard the answer."""

CallStatus = Literal["ok", "error", "rejected", "cut", "cancelled"]
CostSource = Literal["provider", "table", "override", "free", "unknown"]
Purpose = Literal["step", "landing", "metered", "summary", "hint", "sample"]
"""A `hint` is the beginning of an answer that a cheaper tier goes on with, a `sample` a second
answer to compare with the first."""
Outcome = Literal["resolved", "answered", "landed", "exhausted", "failed", "cancelled"]
Component = Literal["system", "tools", "summary", "history", "observations", "user", "output"]
"""What a part of a call's tokens is: all but `output` are parts of the request."""
Lever = Literal[
    "prompt_cache", "routing", "semantic_cache", "pruning", "provisioning", "summary", "batch"
]
"""Something that changes what a call costs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CallRecord:
    """One model call as it was billed; written together with its settlement.

    `confirmed` is False where no usage arrived and the worst case was charged. `status` is
    `rejected` where the provider answered with an error that it does not bill.

    `components` are tokens by our own count (but for `output`, which is reported), so that they sum
    to `estimated_input_tokens` rather than to what was billed. `escalation` says what the cheaper
    tier gave way on, where this call was made because of it. `cached_by` names the cache that
    answered in the provider's place. `prefix` is a digest of the system text and the tools.
    `saved_nusd` is, by lever, what the call would have cost without it less what it cost: below 0
    where the lever cost more than it saved.
    """

    call_id: str
    task_id: str
    scope: str
    step: int
    index: int
    attempt: int = 1
    purpose: Purpose = "step"
    tier: int = 0
    model: str = ""
    provider: str = ""
    status: CallStatus = "ok"
    error: str | None = None
    started_at: float = 0.0
    latency_seconds: float = 0.0
    usage: Usage = field(default_factory=Usage)
    estimated_input_tokens: int = 0
    max_output_tokens: int | None = None
    cost_nusd: int = 0
    cost_source: CostSource = "unknown"
    priced_on: str | None = None
    confirmed: bool = True
    tools_offered: tuple[str, ...] = ()
    tools_called: tuple[str, ...] = ()
    confidence: float | None = None
    accepted: bool | None = None
    reason: str | None = None
    escalation: str | None = None
    cached_by: str | None = None
    prefix: str = ""
    components: Mapping[Component, int] = field(default_factory=dict[Component, int])
    saved_nusd: Mapping[Lever, int] = field(default_factory=dict[Lever, int])
    tags: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def is_billed(self) -> bool:
        """False where the provider turned the call down, and where a cache answered it."""
        return self.status != "rejected" and self.cached_by is None

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON types."""
        return _facts(self, _CALL_FIELDS, self.usage)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """A record read back; names of a later version are left aside."""
        known = {name: data[name] for name in _CALL_FIELDS if name in data}
        known["usage"] = Usage(**data["usage"])
        for name in ("tools_offered", "tools_called"):
            known[name] = tuple(data.get(name, ()))
        return cls(**known)


def all_priced(calls: Iterable[CallRecord]) -> bool:
    """Whether the price of every billed call is known.

    A call whose process died was charged its worst case and has no price of its own: what the
    task's other calls say holds for it, and alone it is known by having been charged anything.
    """
    billed = [call for call in calls if call.is_billed]
    told = [call for call in billed if call.error != LOST_CALL]
    if not told:
        return all(call.cost_nusd for call in billed)
    return all(call.cost_source != "unknown" for call in told)


@dataclass(frozen=True, kw_only=True, slots=True)
class PaidResponse:
    """An answer that was paid for, kept until its task ends: resuming does not pay again.

    `fingerprint` names the request; `payload` is the answer as its writer serialized it.
    """

    task_id: str
    call_id: str
    fingerprint: str
    payload: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class EventRecord:
    """Something worth telling in a task's story: an escalation, a threshold, a tool that failed."""

    task_id: str
    at: float
    kind: str
    step: int = 0
    text: str = ""
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON types."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskRecord:
    """One task: its limits when it opened, and its sums when it closed.

    `cost_nusd` includes `unconfirmed_nusd`, the part charged at the worst case because no usage
    arrived. `outcome` is None while the task runs. `request_digest` tells a repeated request from
    another one without keeping its text. `extensions` is what its limits were raised by, each
    under a name of its own: `nusd`, `tokens`, `fresh_tokens`, `calls`, `seconds`. A subtask has a
    `parent_id`, and took from it `purses` times. `subtasks_nusd` is what ended subtasks cost beside
    `cost_nusd`, which is that of the task's own calls. `landing` is what was kept for the final
    answer, under the names of `extensions`.
    """

    task_id: str
    scope: str
    started_at: float
    ended_at: float | None = None
    outcome: Outcome | None = None
    reason: str | None = None
    budget: Mapping[str, Any] = field(default_factory=dict[str, Any])
    models: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    steps: int = 0
    calls: int = 0
    escalations: int = 0
    usage: Usage = field(default_factory=Usage)
    cost_nusd: int = 0
    unconfirmed_nusd: int = 0
    trace_id: str = ""
    thread_id: str | None = None
    request_digest: str = ""
    extensions: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict[str, Mapping[str, Any]]
    )

    parent_id: str | None = None
    purses: int = 0
    subtasks_nusd: int = 0
    landing: Mapping[str, int] = field(default_factory=dict[str, int])

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON types."""
        return _facts(self, _TASK_FIELDS, self.usage)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """A record read back; names of a later version are left aside."""
        known = {name: data[name] for name in _TASK_FIELDS if name in data}
        known["usage"] = Usage(**data["usage"])
        known["models"] = tuple(data.get("models", ()))
        return cls(**known)


def _facts(record: object, names: tuple[str, ...], usage: Usage) -> dict[str, Any]:
    """The fields as they are; `asdict` copies deeply, which was most of a recording."""
    return {**{name: getattr(record, name) for name in names}, "usage": usage.to_dict()}


_CALL_FIELDS = tuple(entry.name for entry in fields(CallRecord))
_TASK_FIELDS = tuple(entry.name for entry in fields(TaskRecord))
