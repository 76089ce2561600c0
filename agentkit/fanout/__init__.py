"""Many tasks on one machine: results as they come, one shared budget, resumable by name.

A named fan-out gives each of its tasks an id made of the name and the task's place in the list. So
another process finds in the ledger which tasks have ended, and in the checkpoints what they
answered or where they stopped.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping

from agentkit.budgets.budget import Budget
from agentkit.budgets.ledger import DEFAULT_SCOPE
from agentkit.fanout.fan import Fan, Fanned
from agentkit.fanout.job import Job, Mapped, MapProgress, OnMapProgress, Origin, Request
from agentkit.fanout.loop import amapped
from agentkit.fanout.threads import mapped

__all__ = [
    "DEFAULT_CONCURRENCY",
    "Job",
    "MapProgress",
    "Mapped",
    "OnMapProgress",
    "Origin",
    "Request",
    "amap_requests",
    "map_requests",
]

DEFAULT_CONCURRENCY = 8


def map_requests(
    agent: Fanned,
    requests: Iterable[Request],
    *,
    concurrency: int = DEFAULT_CONCURRENCY,
    name: str | None = None,
    scope: str = DEFAULT_SCOPE,
    tags: Mapping[str, str] | None = None,
    budget: Budget | None = None,
    stagger: bool | None = None,
    on_progress: OnMapProgress | None = None,
) -> Iterator[Mapped]:
    """Carry out `requests`, `concurrency` at a time, and give each result as it comes.

    `requests` may be a generator: it is read as places come free, and no more than twice
    `concurrency` results wait for whoever reads them. A task that fails gives its error and the
    rest go on. `budget` limits all of them together, in the scope `scope/NAME`.

    With a `name`, and a checkpoint, the same call in another process takes the run up: what has
    ended is given again at no cost, what was cut off goes on. Another list under the same name
    raises ListChanged. Ctrl-C and an iterator that is closed begin no further call, wait for those
    under way and settle them. With `stagger` the others wait until the first answer has begun, so
    that they read what it wrote into the provider's cache; by default where that pays.
    """
    fan = Fan(agent, requests, concurrency, name, scope, tags, budget, stagger, on_progress)
    return mapped(fan)


def amap_requests(
    agent: Fanned,
    requests: Iterable[Request] | AsyncIterable[Request],
    *,
    concurrency: int = DEFAULT_CONCURRENCY,
    name: str | None = None,
    scope: str = DEFAULT_SCOPE,
    tags: Mapping[str, str] | None = None,
    budget: Budget | None = None,
    stagger: bool | None = None,
    on_progress: OnMapProgress | None = None,
) -> AsyncIterator[Mapped]:
    """As `map`, on the event loop; a cancellation is settled by every task, then raised."""
    listed = requests if isinstance(requests, Iterable) else ()
    fan = Fan(agent, listed, concurrency, name, scope, tags, budget, stagger, on_progress)
    return amapped(fan, requests if isinstance(requests, AsyncIterable) else None)
