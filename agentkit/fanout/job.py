"""What a fan-out is given, what it gives back, and how far it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from agentkit.result import TaskResult

Origin = Literal["run", "resumed", "known"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One request of a fan-out, with tags of its own."""

    request: str
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True, slots=True)
class Mapped:
    """What became of the request at place `index`: a result, or the error that kept it from one.

    `origin` is `run` for a task of this process, `resumed` for one that an earlier process had
    begun, `known` for one that had ended before, which costs nothing now.
    """

    index: int
    request: str
    result: TaskResult | None = None
    error: Exception | None = None
    origin: Origin = "run"

    @property
    def ok(self) -> bool:
        """True where the task was answered within its budget."""
        return self.result is not None and self.result.ok

    def to_dict(self) -> dict[str, object]:
        """The outcome as JSON types, without the request."""
        told: dict[str, object] = {"index": self.index, "origin": self.origin}
        if self.error is not None:
            told["error"] = {"type": type(self.error).__name__, "message": str(self.error)}
        return told if self.result is None else {**told, **self.result.to_dict()}


@dataclass(frozen=True, kw_only=True, slots=True)
class MapProgress:
    """How far a fan-out is. `cost_nusd` is what was spent now, `total` None for a generator."""

    done: int
    failed: int
    known: int
    running: int
    total: int | None
    cost_nusd: int
    seconds: float


OnMapProgress = Callable[[MapProgress], None]
Request = str | Job
