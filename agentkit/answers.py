"""An agent's cache: tasks whose answer is known are not run, and good answers are kept.

A whole task is what is cached: its request, what it was answered, and what that cost. Tasks of a
thread are left out, for their answers depend on what was said before.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from agentkit.budgets.journal import Outcome
from agentkit.budgets.ledger import Ledger
from agentkit.budgets.money import plain_usd, usd_from_nusd
from agentkit.budgets.task import Task
from agentkit.memory.cache import CacheError, CacheHit, CacheRequest, Claim, ResponseCache, refusal
from agentkit.memory.cache.entry import digest
from agentkit.models.tier import Tier
from agentkit.result import Check, TaskResult, checked, result_of
from agentkit.state import AgentState, transcript
from agentkit.telemetry.trace import TaskTrace
from agentkit.tools.catalogue import ToolCatalogue

if TYPE_CHECKING:
    from agentkit.budgets.budget import Budget

_log = logging.getLogger("agentkit")

USER_TAG = "user"
METADATA_TAGS = ("product", "segment", "locale", "date", "environment")
LASTING = "lasting"
"""A tool's tag: its results are trusted and stay true, so that answers made of them may be kept."""

_DATED = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{8})$")


def cache_of(cache: str | ResponseCache | None) -> ResponseCache | None:
    """A cache, or the one at an address. Raises CacheError where it cannot be opened."""
    return ResponseCache(cache) if isinstance(cache, str) else cache


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A task that is about to be run: what it asks, and for whom.

    `walks` says that it needs nothing of LangGraph's but the nodes; see `agentkit.walk`. `streams`
    has its answers streamed, so that `on_progress` hears of each when it begins ("answering").
    """

    request: str
    scope: str
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    parent: Task | None = None
    task_id: str | None = None
    walks: bool = False
    streams: bool = False

    @property
    def digest(self) -> str:
        """Tells a request from another one without keeping its text."""
        return hashlib.sha256(self.request.encode("utf-8", "replace")).hexdigest()[:16]


class Answers:
    """Ties a ResponseCache to an agent."""

    def __init__(
        self,
        cache: ResponseCache,
        *,
        name: str,
        ledger: Ledger,
        budget: Budget,
        tiers: Sequence[Tier],
        system: str,
        catalogue: ToolCatalogue,
        check: Check | None,
    ) -> None:
        self._cache = cache
        self._name = name
        self._ledger = ledger
        self._budget = budget
        self._models = [tier.label for tier in tiers]
        self._family = ",".join(_DATED.sub("", label) for label in self._models)
        self._system = digest(system)
        self._tools = digest(catalogue.openai_schemas())
        self._lasting = frozenset(spec.name for spec in catalogue if LASTING in spec.tags)
        self._check = check

    def look_up(self, asked: Asked, remake: Callable[[Making], object]) -> TaskResult | Making:
        """The result from the cache, or the right to make it.

        `remake` runs the task anew, behind the user's back, where the answer is past its time.
        """
        try:
            begun = self._cache.begin(self._request(asked))
        except CacheError as error:
            return self._without_cache(asked, error)
        return self._outcome(asked, begun, remake)

    async def alook_up(
        self, asked: Asked, remake: Callable[[Making], object]
    ) -> TaskResult | Making:
        """As `look_up`, on the event loop."""
        try:
            begun = await self._cache.abegin(self._request(asked))
        except CacheError as error:
            return self._without_cache(asked, error)
        if self._ledger.store.blocking:
            return await asyncio.to_thread(self._outcome, asked, begun, remake)
        return self._outcome(asked, begun, remake)

    def keep(self, claim: Claim, asked: Asked, state: AgentState, result: TaskResult) -> bool:
        """Keep a result where that is safe, else tell the log why not.

        False where no answer to such a request would be kept, so that nobody should wait for one.
        """
        if not result.ok or result.reason is not None:
            reason = result.reason or f"the task was {result.outcome}"
            _log.info("the answer of %s is not kept: %s", result.task_id, reason)
            return True
        refused = refusal(
            transcript(state),
            answer=result.answer,
            user=claim.request.user,
            lasting_tools=self._lasting,
        )
        if refused is None:
            refused = self._kept(claim, asked, result)
        if refused is not None:
            _log.info("the answer of %s is not kept: %s", result.task_id, refused)
        return refused is None

    def _kept(self, claim: Claim, asked: Asked, result: TaskResult) -> str | None:
        """Why the cache does not keep a result, or None."""
        try:
            entry_id = self._cache.keep(
                claim.request,
                result.answer,
                cost_nusd=int(result.cost_usd * 1_000_000_000),
                tags=tuple(f"{name}:{value}" for name, value in sorted(asked.tags.items())),
            )
        except CacheError as error:
            _log.warning("an answer could not be kept: %s", error)
            return "the cache failed"
        return None if entry_id is not None else "it is larger than the cache, or no text"

    async def off_loop(self, act: Callable[[], object]) -> None:
        """Do `act`, in a thread where the cache waits for a disk or a network."""
        if self._cache.store.blocking:
            await asyncio.to_thread(act)
        else:
            act()

    def give_up(self, claim: Claim, *, refused: bool) -> None:
        """Let the next one try, or all of them at once."""
        try:
            self._cache.give_up(claim, refused=refused)
        except CacheError as error:
            _log.warning("others wait for an answer until its claim is over: %s", error)

    def _request(self, asked: Asked) -> CacheRequest:
        return CacheRequest(
            tenant=asked.scope.partition("/")[0],
            exact=digest(asked.request.strip()),
            text=asked.request.strip(),
            user=asked.tags.get(USER_TAG),
            family=self._family,
            system=self._system,
            tools=self._tools,
            metadata={name: asked.tags[name] for name in METADATA_TAGS if name in asked.tags},
        )

    def _without_cache(self, asked: Asked, error: CacheError) -> Making:
        _log.warning("the cache is not asked, the task is run: %s", error)
        return Making(self, None, asked)

    def _outcome(
        self, asked: Asked, begun: CacheHit | Claim, remake: Callable[[Making], object]
    ) -> TaskResult | Making:
        if isinstance(begun, Claim):
            return Making(self, begun, asked)
        if begun.stale:
            self._remake(asked, remake)
        return self._served(asked, begun)

    def _remake(self, asked: Asked, remake: Callable[[Making], object]) -> None:
        """Run the task in a thread, unless somebody is at it already."""
        try:
            claim = self._cache.claim(self._request(asked))
        except CacheError as error:
            _log.warning("a stale answer is not made anew: %s", error)
            return
        if claim is not None:
            making = Making(self, claim, asked)
            threading.Thread(target=_remade, args=(remake, making), daemon=True).start()

    def _served(self, asked: Asked, hit: CacheHit) -> TaskResult:
        """The hit as a task of its own in the ledger, which cost nothing."""
        task = (self._ledger if asked.parent is None else asked.parent.ledger).open_task(
            scope=asked.scope,
            budget=self._budget,
            tags=asked.tags,
            models=self._models,
            parent=asked.parent,
        )
        trace = TaskTrace(task.record, agent_name=self._name)
        task.answered_from_cache(hit.kind, saved_nusd=hit.saved_nusd)
        task.note(
            "cache_hit",
            f"answered from the cache ({hit.kind}, {hit.score:.2f}), which saved "
            f"${plain_usd(usd_from_nusd(hit.saved_nusd))}",
            data={
                "hit_id": hit.hit_id,
                "entry_id": hit.entry_id,
                "kind": hit.kind,
                "score": round(hit.score, 4),
                "saved_nusd": hit.saved_nusd,
                "age_seconds": round(hit.age_seconds, 1),
            },
        )
        result = result_of(task.record, answer=hit.answer, calls=[])
        outcome: Outcome = "answered"
        reason: str | None = None
        if self._check is not None:
            outcome, reason = checked(self._check, result)
        record = task.close(outcome, reason=reason, trace_id=trace.trace_id)
        trace.end(record)
        return replace(result_of(record, answer=hit.answer, calls=[]), cache_hit=hit)


class Making:
    """The time while a task is run whose answer others wait for: a context that ends the wait.

    Without a claim nobody waits, and nothing is kept: the cache does not answer.
    """

    def __init__(self, answers: Answers, claim: Claim | None, asked: Asked) -> None:
        self._answers = answers
        self._claim = claim
        self._refused = False
        self.asked = asked

    def __enter__(self) -> Making:
        return self

    def __exit__(self, *_: object) -> None:
        if self._claim is not None:
            self._answers.give_up(self._claim, refused=self._refused)

    async def __aenter__(self) -> Making:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._claim is not None:
            give_up = partial(self._answers.give_up, self._claim, refused=self._refused)
            await self._answers.off_loop(give_up)

    def keep(self, state: AgentState, result: TaskResult) -> None:
        """Keep the result where that is safe."""
        if self._claim is not None:
            self._refused = not self._answers.keep(self._claim, self.asked, state, result)

    async def akeep(self, state: AgentState, result: TaskResult) -> None:
        """As `keep`, on the event loop."""
        if self._claim is not None:
            await self._answers.off_loop(partial(self.keep, state, result))


def _remade(remake: Callable[[Making], object], making: Making) -> None:
    try:
        remake(making)
    except Exception as error:  # noqa: BLE001  nobody waits for it: the stale answer was served, and a later request tries again
        _log.warning("a stale answer could not be made anew: %s", type(error).__name__)
