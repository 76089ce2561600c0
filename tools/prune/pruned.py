"""What pruning gives back, the kinds it tells apart, and what can stop it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "binary",
    "code",
    "diff",
    "html",
    "json",
    "listing",
    "log",
    "search",
    "table",
    "text",
    "trace",
    "yaml",
]


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """An observation within its bound, fit to be sent.

    `left_out` is the line that `text` ends with where something had to go, else "". `handle` brings
    back the whole, where a keeper was given. `failure` names what stopped the pruner of this kind,
    so that the text was merely cut. `kept_lines` of `original_lines` are shown; the pruner of a
    kind says what a line is (a value of JSON, a row, a sentence).
    """

    text: str
    kind: Kind
    original_bytes: int
    kept_bytes: int
    original_lines: int
    kept_lines: int
    left_out: str = ""
    handle: str | None = None
    failure: str | None = None

    @property
    def was_pruned(self) -> bool:
        """Whether anything is missing from `text` that the observation held."""
        return bool(self.left_out)


class OutOfTime(Exception):  # noqa: N818  named by what happened; never leaves the package
    """The time budget of one observation is spent."""


class Deadline:
    """The end of a time budget, on the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self._ends_at = time.monotonic() + seconds

    def check(self) -> None:
        """Raises OutOfTime once the budget is spent."""
        if time.monotonic() > self._ends_at:
            raise OutOfTime
