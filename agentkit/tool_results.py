"""Results of read tools that are not fetched twice, kept where answers are kept.

A result serves the same call again: same tool and definition, same arguments, same tenant and user.
It stays an observation from outside: pruned, bounded and trusted no more than at first.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from opentelemetry import trace

from agentkit.answers import USER_TAG
from agentkit.budgets.journal import TaskRecord
from agentkit.budgets.task import Task
from agentkit.memory.cache import CacheError, CacheHit, CacheRequest, Claim, ResponseCache
from agentkit.memory.cache.entry import digest
from agentkit.telemetry import names
from agentkit.tools.catalogue import ToolCatalogue
from agentkit.tools.observation import Observation
from agentkit.tools.remembered import Making, Remembered, Wanted

_log = logging.getLogger("agentkit")
TOOL_LABEL = "tool"


def results_of(cache: ResponseCache | None, catalogue: ToolCatalogue) -> ResponseCache | None:
    """Where an agent keeps results; None where none of its tools has `cache_seconds`."""
    if all(spec.cache_seconds is None for spec in catalogue):
        return None
    return cache or ResponseCache()


def task_results(cache: ResponseCache | None, task: Task) -> TaskResults | None:
    """The results that a task may use."""
    return None if cache is None else TaskResults(cache, task.record)


class TaskResults:
    """The cache of one agent's tool results as one task may use it."""

    def __init__(self, cache: ResponseCache, task: TaskRecord) -> None:
        self._cache = cache
        self._tenant = task.scope.partition("/")[0]
        self._user = task.tags.get(USER_TAG)

    def begin(self, wanted: Wanted) -> Remembered | Making:
        """See `agentkit.tools.remembered`."""
        request = self._request(wanted)
        try:
            begun = self._cache.begin(request, wait_seconds=wanted.wait_seconds)
        except CacheError as error:
            return _unknown(error)
        return self._outcome(begun, wanted)

    async def abegin(self, wanted: Wanted) -> Remembered | Making:
        """As `begin`, on the event loop."""
        request = self._request(wanted)
        try:
            begun = await self._cache.abegin(request, wait_seconds=wanted.wait_seconds)
        except CacheError as error:
            return _unknown(error)
        return self._outcome(begun, wanted)

    def tell(self, known: Remembered) -> None:
        """Mark the tool's span."""
        span = trace.get_current_span()
        span.set_attribute(names.TOOL_REMEMBERED, True)
        span.set_attribute(names.AGE_SECONDS, known.age_seconds)

    def _request(self, wanted: Wanted) -> CacheRequest:
        spec = wanted.spec
        definition = digest(spec.openai_schema, spec.origin, wanted.max_result_bytes)
        return CacheRequest(
            tenant=self._tenant,
            user=self._user,
            exact=digest(spec.name, dict(wanted.arguments)),
            tools=definition,
            metadata={TOOL_LABEL: spec.name},
        )

    def _outcome(self, begun: CacheHit | Claim, wanted: Wanted) -> Remembered | Making:
        if isinstance(begun, Claim):
            return _Claimed(self._cache, begun, wanted)
        return _read(begun) or _Unclaimed()  # damaged, or not ours


@dataclass(frozen=True, slots=True)
class _Claimed:
    """The right to fetch a result while others wait."""

    cache: ResponseCache
    claim: Claim
    wanted: Wanted

    def keep(self, observation: Observation) -> None:
        spec = self.wanted.spec
        kept = {
            "content": observation.content,
            "original_bytes": observation.original_bytes,
            "cut": observation.cut,
            "seconds": observation.duration_seconds,
        }
        try:
            self.cache.keep(
                self.claim.request,
                json.dumps(kept, ensure_ascii=False),
                cost_nusd=0,
                tags=(f"{TOOL_LABEL}:{spec.name}",),
                ttl_seconds=spec.cache_seconds,
            )
        except CacheError as error:
            _unknown(error)

    def give_up(self) -> None:
        try:
            self.cache.give_up(self.claim)
        except CacheError as error:
            _unknown(error)

    async def akeep(self, observation: Observation) -> None:
        await self._off_loop(partial(self.keep, observation))

    async def agive_up(self) -> None:
        await self._off_loop(self.give_up)

    async def _off_loop(self, act: Callable[[], None]) -> None:
        if self.cache.store.blocking:
            await asyncio.to_thread(act)
        else:
            act()


class _Unclaimed:
    """A result that nobody waits for and that is not kept: the cache does not answer."""

    def keep(self, observation: Observation) -> None: ...

    def give_up(self) -> None: ...

    async def akeep(self, observation: Observation) -> None: ...

    async def agive_up(self) -> None: ...


def _unknown(error: CacheError) -> Making:
    _log.warning("a tool's result could not be looked up or kept: %s", error)
    return _Unclaimed()


def _read(hit: CacheHit) -> Remembered | None:
    """A stored result is untrusted, like every stored row."""
    try:
        kept = json.loads(hit.answer)
        return Remembered(
            content=str(kept["content"]),
            original_bytes=int(kept["original_bytes"]),
            cut=bool(kept["cut"]),
            age_seconds=hit.age_seconds,
            saved_seconds=float(kept["seconds"]),
        )
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
