"""Scopes: the tree of names that spend, each with its own limits and window."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from agentkit.budgets.amount import UNLIMITED, Limits, check_limits
from agentkit.budgets.budget import DEFAULT_THRESHOLDS, check_thresholds
from agentkit.budgets.errors import InvalidLimit

Window = Literal["total", "day", "month"]

_SEGMENT = re.compile(r"[A-Za-z0-9_.:@+~=-]{1,128}\Z")
_DEEPEST = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """One node of the tree: `acme`, `acme/support`, `acme/support/u42`, then a task.

    `window` says how often the account starts anew, in `timezone` (an IANA name).
    """

    path: str
    limits: Limits = UNLIMITED
    window: Window = "total"
    timezone: str = "UTC"
    thresholds: tuple[float, ...] = DEFAULT_THRESHOLDS

    def __post_init__(self) -> None:
        scope_chain(self.path)
        check_limits(self.limits)
        check_thresholds(self.thresholds)
        if self.window not in get_args(Window):
            raise InvalidLimit(f"a window of {self.window!r}; use 'total', 'day' or 'month'")
        _zone(self.timezone)

    def window_key(self, now_seconds: float) -> str:
        """Name of the account that a reservation at `now_seconds` (Unix time) belongs to."""
        if self.window == "total":
            return ""
        today = datetime.fromtimestamp(now_seconds, _zone(self.timezone))
        return today.strftime("%Y-%m-%d" if self.window == "day" else "%Y-%m")


def scope_chain(path: str) -> tuple[str, ...]:
    """`path` and its ancestors, from the root down.

    Raises InvalidLimit for an empty path, an odd segment, or more than 12 levels.
    """
    segments = path.split("/")
    if len(segments) > _DEEPEST:
        raise InvalidLimit(
            f"scope {path[:80]!r} has {len(segments)} levels; use at most {_DEEPEST}"
        )
    for segment in segments:
        if not _SEGMENT.match(segment):
            raise InvalidLimit(
                f"scope {path[:80]!r} is not a path like 'acme/support/u42': segments are 1 to 128 "
                "letters, digits or any of _ . : @ + ~ = -"
            )
    return tuple("/".join(segments[: depth + 1]) for depth in range(len(segments)))


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidLimit(
            f"{name!r} is not a time zone; use an IANA name like 'Europe/Berlin'"
        ) from error
