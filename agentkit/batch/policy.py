"""When what waits is sent, how long it is waited for, and what goes live instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from agentkit.batch.item import Batch, QueueSums
from agentkit.errors import ConfigError

COMPLETION_SECONDS = 86_400.0
"""Both providers end a batch after 24 hours at the latest (November 2026)."""
RESULTS_SECONDS = 29 * 86_400.0
"""How long Anthropic keeps results; OpenAI keeps output files until they are deleted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchPolicy:
    """How requests are collected into batches, and when the wait for one ends.

    A batch is sent once it has `most_requests` or `most_bytes` (the provider's limits hold
    besides), once its oldest request is `most_age_seconds` old, at the times of day in `at` (local,
    like "02:00"), or when every task that is running waits for it.

    A request goes live where less than `usual_seconds` + `live_seconds` are left until its
    deadline: the first is how long a batch usually takes, the second what a live call is given.
    A batch that is not there `live_seconds` before the deadline of one of its requests is
    cancelled, and what it has not answered by then goes live, or into the next batch.

    A refused or expired request is sent `most_attempts` times at the most. `claim_seconds` after a
    process died, another goes on with its batches; `uncertain_seconds` after a submission whose
    answer was lost, the provider is asked whether it has arrived. If it has not, it is made void
    and sent again where that can be done (OpenAI), else sent again after `late_seconds`. Batches
    that have ended are forgotten after `keep_seconds`, with all that is in them.

    With `seeds`, what the requests of a batch share is written into the provider's cache before it
    is sent, where that pays.
    """

    most_requests: int = 10_000
    most_bytes: int = 100_000_000
    most_age_seconds: float = 300.0
    at: Sequence[str] = ()
    usual_seconds: float = 3_600.0
    live_seconds: float = 600.0
    poll_seconds: float = 30.0
    longest_poll_seconds: float = 600.0
    most_attempts: int = 4
    claim_seconds: float = 120.0
    uncertain_seconds: float = 60.0
    late_seconds: float = 600.0
    keep_seconds: float = RESULTS_SECONDS
    seeds: bool = True

    def __post_init__(self) -> None:
        """Raises ConfigError for what cannot be meant."""
        for name in ("most_requests", "most_bytes", "most_attempts"):
            if getattr(self, name) < 1:
                raise ConfigError(f"BatchPolicy({name}={getattr(self, name)}): use 1 or more")
        for text in self.at:
            _clock_time(text)

    def goes_live(self, deadline: float, now: float) -> bool:
        """Whether a batch would probably be late."""
        return deadline - now < self.usual_seconds + self.live_seconds

    def is_full(self, queue: QueueSums) -> bool:
        """Whether a queue is to be sent whatever its age."""
        return queue.requests >= self.most_requests or queue.size_bytes >= self.most_bytes

    def is_due(self, queue: QueueSums, now: float) -> bool:
        """Whether a queue is to be sent now."""
        if self.is_full(queue) or now - queue.oldest_at >= self.most_age_seconds:
            return True
        if queue.least_deadline - now < self.usual_seconds + self.live_seconds:
            return True
        return any(_passed(text, queue.oldest_at, now) for text in self.at)

    def gives_up(self, batch: Batch, now: float) -> bool:
        """Whether a batch is to be cancelled, so that there is time left for live calls."""
        return batch.least_deadline - now < self.live_seconds

    def next_poll(self, batch: Batch, now: float) -> float:
        """When to look at a batch again: the longer it takes, the less often."""
        wait = self._wait_seconds(now - (batch.submitted_at or now))
        until_late = batch.least_deadline - self.live_seconds - now
        return now + (min(wait, max(until_late, self.poll_seconds)) if until_late > 0 else wait)

    def next_look(self, batch: Batch, now: float) -> float:
        """When to look again for what may have arrived besides a batch that has ended."""
        return now + self._wait_seconds(now - (batch.asked_at or now))

    def lease_seconds(self, deadline: float, now: float) -> float:
        """How long money is held for a request that waits: to its deadline, and a day more."""
        return max(deadline - now, 0.0) + COMPLETION_SECONDS

    def _wait_seconds(self, since: float) -> float:
        return min(max(self.poll_seconds, since / 10), self.longest_poll_seconds)


def _passed(text: str, since: float, now: float) -> bool:
    """Whether the time of day came between two moments."""
    hour, minute = _clock_time(text)
    begin = datetime.fromtimestamp(since).astimezone()
    due = begin.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if due <= begin:
        due += timedelta(days=1)
    return due.timestamp() <= now


def _clock_time(text: str) -> tuple[int, int]:
    hour, _, minute = text.partition(":")
    if hour.isdigit() and minute.isdigit() and int(hour) < 24 and int(minute) < 60:
        return int(hour), int(minute)
    raise ConfigError(f"BatchPolicy(at=[{text[:20]!r}]) is no time of day; write it like '02:00'")
