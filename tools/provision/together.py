"""Which tools earlier tasks used together: what is found for a request raises its companions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

_MOST_OF_A_TASK = 24
_DOUBT = 2
"""Tasks in which a tool is taken to have been used without a companion, before any was seen."""


@dataclass(frozen=True, kw_only=True)
class Together:
    """How many tasks used each tool, and each pair of tools; `tasks` is how many were looked at."""

    tasks: int
    used: Mapping[str, int]
    pairs: Mapping[str, Mapping[str, int]]

    @classmethod
    def of(cls, tasks: Iterable[Collection[str]]) -> Together:
        """From the names that each task called; of a task with more than 24 the first count."""
        used: Counter[str] = Counter()
        pairs: dict[str, Counter[str]] = defaultdict(Counter)
        count = 0
        for names in tasks:
            distinct = list(islice(dict.fromkeys(names), _MOST_OF_A_TASK))
            count += 1
            used.update(distinct)
            for name in distinct:
                pairs[name].update(other for other in distinct if other != name)
        return cls(tasks=count, used=dict(used), pairs={n: dict(p) for n, p in pairs.items()})

    def companions(self, name: str) -> dict[str, float]:
        """The tools that tasks used along with one, each with the share of its tasks, 0 to 1."""
        tasks = self.used.get(name, 0) + _DOUBT
        return {other: count / tasks for other, count in self.pairs.get(name, {}).items()}
