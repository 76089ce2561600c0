"""The paid answers of a task, stored with their settlement until what rests on them is stored."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from agentkit.budgets.journal import PaidResponse


class PaidResponses:
    """Answers that an earlier process paid for, each to be used once. Safe from many threads.

    `are_kept` says that each new answer is stored with its settlement.
    """

    def __init__(self, found: Iterable[PaidResponse], *, are_kept: bool) -> None:
        self.are_kept = are_kept
        self.outlast = False
        """True where they must not go with the task: what rests on them is stored after its end."""
        self._left = list(found)
        self._lock = threading.Lock()

    @property
    def any_left(self) -> bool:
        """True for a resumed task that has stored answers left."""
        return bool(self._left)

    def has(self, fingerprint: str) -> bool:
        """True where an answer to the request `fingerprint` is stored and not used up."""
        with self._lock:
            return any(response.fingerprint == fingerprint for response in self._left)

    def take(self, fingerprint: str) -> PaidResponse | None:
        """The first stored answer to the request `fingerprint`, which is then used up."""
        with self._lock:
            for at, response in enumerate(self._left):
                if response.fingerprint == fingerprint:
                    return self._left.pop(at)
        return None
