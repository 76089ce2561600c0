"""Entries as a store gives them back: written by us, or by anybody who can write there."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from types import UnionType

from agentkit.memory.cache.entry import CacheEntry
from agentkit.memory.cache.threshold import Outcome

_log = logging.getLogger("agentkit.memory")

_SAID_AT_MOST = 512
_TEXTS = ("entry_id", "key", "tenant", "partition", "question", "answer")
_NUMBERS = ("kept_at", "expires_at")
_WHOLE_NUMBERS = ("cost_nusd", "saved_nusd", "hits", "seq")


class Warned:
    """Warns of each problem once, so that a damaged entry does not fill a log."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def say(self, problem: str) -> None:
        """Warn of `problem`, which must not tell contents."""
        if problem in self._said:
            return
        if len(self._said) >= _SAID_AT_MOST:
            self._said.clear()
        self._said.add(problem)
        _log.warning("cache: %s", problem)

    def sound(self, entry_id: object, read: Callable[[], CacheEntry]) -> CacheEntry | None:
        """The entry that `read` makes; None, with a warning, where it is damaged."""
        try:
            entry = read()
            if _is_sound(entry):
                return entry
            problem = "a field of another type"
        except (KeyError, ValueError, TypeError, RecursionError) as error:
            problem = type(error).__name__
        self.say(f"{entry_id!r:.60} is damaged, nothing is served from it ({problem})")
        return None


def outcomes(rows: Iterable[tuple[object, object]]) -> list[Outcome]:
    """Likeness and truth of the hits that were served, without the damaged ones."""
    return [
        Outcome(float(score), bool(right))
        for score, right in rows
        if isinstance(score, int | float) and math.isfinite(score)
    ]


def _is_sound(entry: CacheEntry) -> bool:
    """Whether fields are what they say; raises UnicodeEncodeError for text that is none."""
    fields: Iterable[tuple[object, type | UnionType]] = (
        *((getattr(entry, name), str) for name in _TEXTS),
        *((getattr(entry, name), int | float) for name in _NUMBERS),
        *((getattr(entry, name), int) for name in _WHOLE_NUMBERS),
        *((name, str) for name in (*entry.tags, *entry.sources)),
        (entry.vector, bytes),
    )
    return all(isinstance(value, kind) for value, kind in fields) and entry.size_bytes > 0
