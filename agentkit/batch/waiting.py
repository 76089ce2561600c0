"""Which call sites can wait, and until when: an argument, a tag, or a `with` block."""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from agentkit.errors import ConfigError

if TYPE_CHECKING:
    from agentkit.budgets.task import Task

WAIT_TAG = "wait"
"""The tag of a task that can wait; its value is a duration, counted from the task's start."""

Duration = str | int | float

_UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")
_LONGEST_SECONDS = 28 * 86_400.0
_until: ContextVar[float | None] = ContextVar("agentkit_batch_until", default=None)


@contextmanager
def can_wait(wait: Duration) -> Generator[None]:
    """Within it, and in a function that it decorates, model calls may go by batch.

    Their answers are there after `wait`, like `"24h"` or seconds, at the latest. Raises
    ConfigError.

    >>> @can_wait("24h")
    ... def nightly(): ...
    """
    token = _until.set(time.time() + seconds_of(wait))
    try:
        yield
    finally:
        _until.reset(token)


def seconds_of(wait: Duration) -> float:
    """A duration such as `"90m"`, `"24h"`, `"2d"`, or seconds. Raises ConfigError.

    >>> seconds_of("1.5h")
    5400.0
    """
    found = None if isinstance(wait, int | float) else _DURATION.fullmatch(wait.strip())
    if isinstance(wait, int | float):
        seconds = float(wait)
    elif found is None:
        raise ConfigError(f"wait={wait[:40]!r} is no duration; write it like '24h', '90m' or '2d'")
    else:
        seconds = float(found[1]) * _UNITS[found[2]]
    if not 0 < seconds <= _LONGEST_SECONDS:
        raise ConfigError(
            f"wait={wait!r}: use more than 0 and 28 days at the most, for providers keep results "
            "29 days"
        )
    return seconds


def tagged(tags: Mapping[str, str] | None, wait: Duration | None) -> dict[str, str]:
    """`tags` with what `wait` says, so that a task can wait in whatever process goes on with it."""
    given = dict(tags or {})
    if wait is not None:
        seconds_of(wait)
        given[WAIT_TAG] = wait if isinstance(wait, str) else f"{wait:g}s"
    return given


def deadline_of(task: Task) -> float | None:
    """When an answer must be there, by the task's clock; None for a call that cannot wait."""
    until = _until.get()
    named = task.tags.get(WAIT_TAG, "")
    if _DURATION.fullmatch(named.strip()):
        by_tag = task.record.started_at + seconds_of(named)
        until = by_tag if until is None else min(until, by_tag)
    if until is None:
        return None
    left = task.seconds_left()
    return until if left is None else min(until, task.ledger.clock() + left)
