"""Faults that a provider shows in life, drawn by seed or given in order, and counted."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

FaultKind = Literal[
    "rate_limited",
    "server_error",
    "overloaded",
    "reset_unread",
    "reset_billed",
    "cut_stream",
    "hang",
    "slow",
    "invalid_json",
    "no_usage",
    "wrong_length",
]
"""What goes wrong.

Not billed: `rate_limited` (429 with retry-after), `server_error` (500), `overloaded` (OpenAI 503,
Anthropic 529), `reset_unread` (the connection is reset, the request is not looked at).
Billed and without usage: `reset_billed` (reset instead of an answer), `cut_stream` (a part of the
answer, then a reset; a stream is billed up to what was sent), `hang` (no answer until the client
leaves), `invalid_json`, `no_usage` (a good answer that says nothing of usage), `wrong_length` (the
connection ends before the announced content-length).
Billed as usual: `slow` (the answer comes late).
"""

EVERY_KIND: frozenset[FaultKind] = frozenset(get_args(FaultKind))
UNBILLED_KINDS: frozenset[FaultKind] = frozenset(
    ("rate_limited", "server_error", "overloaded", "reset_unread")
)
QUICK_KINDS: frozenset[FaultKind] = EVERY_KIND - {"hang", "slow"}
"""All kinds that cost a test no waiting."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One fault; `delay_seconds` is for `slow`, `retry_after_seconds` for `rate_limited`."""

    kind: FaultKind
    delay_seconds: float = 0.2
    retry_after_seconds: float = 0


class Faults:
    """Decides which requests fail, safely from many threads.

    With `sequence` the n-th request gets the n-th entry (None: no fault) and later ones get none.
    Otherwise each request fails with probability `rate`. The draw hangs on the seed, the task and
    how many requests that task has made, so that a task with a tag meets the same faults however
    its neighbours are scheduled. `most` bounds the faults in all.
    """

    def __init__(
        self,
        *,
        rate: float = 0.0,
        kinds: Collection[FaultKind] = QUICK_KINDS,
        seed: int = 0,
        sequence: Sequence[FaultKind | Fault | None] | None = None,
        most: int | None = None,
    ) -> None:
        self._rate = rate
        self._kinds = sorted(kinds)
        self._seed = seed
        self._sequence = sequence
        self._most = most
        self._lock = threading.Lock()
        self._asked: Counter[str | None] = Counter()
        self._given: Counter[FaultKind] = Counter()

    @property
    def counts(self) -> Counter[FaultKind]:
        """Faults given so far, by kind; those that a script asked for are among them."""
        with self._lock:
            return Counter(self._given)

    def draw(self, task: str | None) -> Fault | None:
        """The fault of the next request of `task`, or None."""
        with self._lock:
            if self._most is not None and self._given.total() >= self._most:
                return None
            fault = self._in_order() if self._sequence is not None else self._by_chance(task)
            if fault is not None:
                self._given[fault.kind] += 1
            return fault

    def note(self, fault: Fault) -> None:
        """Counts a fault that was decided elsewhere."""
        with self._lock:
            self._given[fault.kind] += 1

    def _in_order(self) -> Fault | None:
        position = self._asked[None]
        self._asked[None] += 1
        if self._sequence is None or position >= len(self._sequence):
            return None
        entry = self._sequence[position]
        return Fault(kind=entry) if isinstance(entry, str) else entry

    def _by_chance(self, task: str | None) -> Fault | None:
        self._asked[task] += 1
        dice = random.Random(f"{self._seed}/{task}/{self._asked[task]}")
        if not self._kinds or dice.random() >= self._rate:
            return None
        return Fault(kind=dice.choice(self._kinds))
