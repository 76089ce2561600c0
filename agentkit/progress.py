"""Notices a task that goes in circles: the same calls, with the same arguments and results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from agentkit.tools.call import Call
from agentkit.tools.observation import Observation

LONGEST_CYCLE = 4


class ProgressWatch:
    """Counts how often the last steps, or a cycle of up to four steps, came again unchanged.

    A step is unchanged where it made the same calls with the same arguments and got the same
    results; one new argument or one new word in a result is progress.
    """

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self._recent: list[bytes] = []
        self._repeated = dict.fromkeys(range(1, LONGEST_CYCLE + 1), 0)

    def note(self, calls: Sequence[Call], observed: Sequence[Observation]) -> str | None:
        """Take in a step; the reason to end the task once it has gone round often enough."""
        step = _signature(calls, observed)
        for period in self._repeated:
            same = len(self._recent) >= period and self._recent[-period] == step
            self._repeated[period] = self._repeated[period] + 1 if same else 0
        self._recent = [*self._recent[-LONGEST_CYCLE + 1 :], step]
        for period, repeated in self._repeated.items():
            if repeated >= period * (self._rounds - 1):
                steps = "step" if period == 1 else f"{period} steps"
                return (
                    f"no progress: the last {steps} came {self._rounds} times with the same calls "
                    "and the same results"
                )
        return None


def _signature(calls: Sequence[Call], observed: Sequence[Observation]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    asked = [[call["name"], call["args"]] for call in calls]
    digest.update(json.dumps(asked, sort_keys=True, default=str).encode("utf-8", "replace"))
    for observation in observed:
        digest.update(observation.status.encode())
        digest.update(observation.content.encode("utf-8", "replace"))
    return digest.digest()
