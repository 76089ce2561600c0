"""How the batch desk behaves: limits, delays, and what goes wrong, drawn from one seed."""

from __future__ import annotations

import random
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Literal

Trouble = Literal["refuse", "lose_before", "lose_after", "lose_late"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchRules:
    """Limits of both protocols, and rates of trouble.

    A batch ends a random time between `least_seconds` and `most_seconds` after it was accepted.
    `refuse_rate` of submissions are answered by 429; of `lose_before_rate` the connection is lost
    before they are accepted, of `lose_after_rate` after, of `lose_late_rate` so that they are
    accepted `late_seconds` later. `error_rate` of requests fail with a server error and
    `invalid_rate` as invalid; `expire_rate` of batches expire when a part is done. With
    `forgets_nothing` a file that was deleted can be made a batch of all the same. `concurrent`
    requests of a batch read only what was in the prompt cache before it.
    """

    most_requests_openai: int = 50_000
    most_bytes_openai: int = 200_000_000
    most_requests_anthropic: int = 100_000
    most_bytes_anthropic: int = 256_000_000
    least_seconds: float = 0.0
    most_seconds: float = 0.0
    refuse_rate: float = 0.0
    retry_after_seconds: float = 0.05
    lose_before_rate: float = 0.0
    lose_after_rate: float = 0.0
    lose_late_rate: float = 0.0
    late_seconds: float = 0.0
    forgets_nothing: bool = False
    error_rate: float = 0.0
    invalid_rate: float = 0.0
    expire_rate: float = 0.0
    concurrent: bool = False
    seed: int = 0


class Dice:
    """Draws what happens next; counts what did."""

    def __init__(self, rules: BatchRules) -> None:
        self._rules = rules
        self._random = random.Random(rules.seed)
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()

    def trouble(self) -> Trouble | None:
        """What spoils a submission."""
        rules = self._rules
        drawn = self._draw()
        for name, rate in (
            ("refuse", rules.refuse_rate),
            ("lose_before", rules.lose_before_rate),
            ("lose_after", rules.lose_after_rate),
            ("lose_late", rules.lose_late_rate),
        ):
            if drawn < rate:
                return self._noted(name)
            drawn -= rate
        return None

    def seconds(self) -> float:
        """How long a batch takes."""
        rules = self._rules
        return rules.least_seconds + self._draw() * (rules.most_seconds - rules.least_seconds)

    def done_share(self) -> float:
        """The share of a batch that is done before it expires; 1 where it does not."""
        if self._draw() >= self._rules.expire_rate:
            return 1.0
        self._noted("expire")
        return self._draw()

    def request_error(self) -> Literal["server", "invalid"] | None:
        """What one request fails with."""
        drawn = self._draw()
        if drawn < self._rules.error_rate:
            self._noted("server")
            return "server"
        if drawn < self._rules.error_rate + self._rules.invalid_rate:
            self._noted("invalid")
            return "invalid"
        return None

    def shuffle(self, things: list[int]) -> None:
        """Any order."""
        with self._lock:
            self._random.shuffle(things)

    def _draw(self) -> float:
        with self._lock:
            return self._random.random()

    def _noted(self, name: Trouble | str) -> Trouble:
        with self._lock:
            self.counts[name] += 1
        return name  # type: ignore[return-value]  # the callers' own literals
