"""Keeps an agent's prefix in its provider's prompt cache: by one small call, or as long as it pays.

A provider forgets an unused prefix (five minutes or an hour at Anthropic's), and whoever comes next
pays for writing it anew. A call of one token reads it, and so keeps it: that pays where more is
saved by the calls that come after a pause than the calls in between cost.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from agentkit.budgets.budget import Budget
from agentkit.budgets.call_plan import HeldCall
from agentkit.budgets.errors import BudgetError, BudgetExceeded
from agentkit.budgets.journal_query import JournalFilter
from agentkit.budgets.ledger import DEFAULT_SCOPE, Ledger
from agentkit.budgets.money import nusd_from_usd, usd_from_nusd
from agentkit.budgets.task import Task, new_id
from agentkit.budgets.usage import Usage
from agentkit.effects import Reply, Work, adrive, drive
from agentkit.errors import ConfigError
from agentkit.memory.breakpoints import Breakpoint, marked
from agentkit.memory.cache_rules import Ttl, cache_rules
from agentkit.memory.components import Prefix
from agentkit.metering import metered_call
from agentkit.model_call import Call
from agentkit.models.tier import Tier, ToolSchemas
from agentkit.reports.cache_replay import WARMING_TAG, is_refresh, prefix_tokens, warming
from agentkit.tools.provision.toolbox import Batch, Toolbox

__all__ = ["Balance", "PrefixKeeper", "Warmed", "awarm_prefix", "warm_prefix"]

_log = logging.getLogger("agentkit")
_ASK = "Reply with OK."
_OUTPUT_TOKENS = {"anthropic": 1}
_OTHERS_OUTPUT_TOKENS = 16
"""OpenAI's API refuses a lower limit."""
_TAGS = {"feature": "warming"}
_MARK = {WARMING_TAG: "yes"}
_CACHES = ("breakpoints", "automatic")
_MARGIN_SECONDS = 30.0
_MOMENTS = (0.7, 1.0)
"""Within which part of the margin a keeper refreshes, each at a place of its own."""
_WEEK_SECONDS = 7 * 86_400.0


class Warmable(Protocol):
    """An agent, as warming needs it."""

    ledger: Ledger
    tiers: tuple[Tier, ...]
    toolbox: Toolbox
    system: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Warmed:
    """What one call did: tokens that it found in the cache, and those that it wrote there."""

    task_id: str
    cost_nusd: int
    read_tokens: int
    written_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Balance:
    """What a keeper has spent, and what was saved by `bridged` calls that came after a pause.

    The saving is reckoned: what writing the prefix anew would have cost them, less a read.
    """

    refreshes: int
    spent_nusd: int
    bridged: int
    saved_nusd: int


def warm_prefix(
    agent: Warmable,
    *,
    like: str = "",
    tier: int | None = None,
    ttl: Ttl = "5m",
    scope: str = DEFAULT_SCOPE,
    tags: Mapping[str, str] | None = None,
) -> Warmed:
    """Write the agent's system text and tools into the cache of a tier, or keep them there.

    The tier is by default the cheapest that caches. `like` is a typical request, for agents whose
    tools depend on it; `ttl="1h"` seeds an hour at Anthropic's, as before a batch. It is a task of
    its own under `scope`, tagged `feature=warming` unless `tags` say otherwise. Raises
    BudgetExceeded where a limit has no room, ConfigError where there is nothing to keep, and what
    the model's client raises; nothing is sent then, or what was sent is settled.
    """
    work, task = _begun(agent, like, tier, ttl, scope, tags)
    with _closing(task):
        drive(work)
    return _told(task)


async def awarm_prefix(
    agent: Warmable,
    *,
    like: str = "",
    tier: int | None = None,
    ttl: Ttl = "5m",
    scope: str = DEFAULT_SCOPE,
    tags: Mapping[str, str] | None = None,
) -> Warmed:
    """As `warm`, on the event loop."""
    work, task = _begun(agent, like, tier, ttl, scope, tags)
    with _closing(task):
        await adrive(work)
    return _told(task)


class PrefixKeeper:
    """Refreshes an agent's prefix just before it is forgotten, while that pays.

    `refreshes` is how many calls in a row may follow the last use; by default the number that would
    have paid best on the last week's calls of the scope, 0 where none would have. It never spends
    more than `most_usd` in all: it sends nothing where what is left could not pay for writing the
    prefix anew, nor once the prefix is forgotten. In a `with` it works in a thread of its own;
    `tick` decides once. Keepers of one scope and ledger see each other's refreshes, in whatever
    process they are, and each takes its own moment: two refresh at once only by chance.
    """

    def __init__(
        self,
        agent: Warmable,
        *,
        most_usd: Decimal | str | float,
        like: str = "",
        tier: int | None = None,
        scope: str = DEFAULT_SCOPE,
        tags: Mapping[str, str] | None = None,
        refreshes: int | None = None,
    ) -> None:
        """Raises InvalidLimit or ConfigError for what is below 0 or where nothing can be kept."""
        self._most_nusd = nusd_from_usd(most_usd)
        if refreshes is not None and refreshes < 0:
            raise ConfigError(f"refreshes={refreshes}; use 0 or more")
        self._agent = agent
        self._like = like
        self._tier = _tier_of(agent, tier)
        self._scope = scope
        self._tags = tags
        rules = cache_rules(self._tier.name, self._tier.provider)
        self._ttl_seconds = rules.ttl_seconds
        tools = _tools(agent, self._tier, like)
        self._prefix = Prefix().digest(_messages(agent), tools)
        self._refreshed = Prefix().digest(_sent(agent, self._tier, "5m"), tools)
        self.refreshes = self._paying() if refreshes is None else refreshes
        self._warmed: list[tuple[float, Warmed]] = []
        self._margin_seconds = _MARGIN_SECONDS * random.uniform(*_MOMENTS)  # noqa: S311  no secret
        self._began = agent.ledger.clock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> PrefixKeeper:
        self._thread = threading.Thread(target=self._run, name="agentkit-warming", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def tick(self) -> Warmed | None:
        """Refresh the prefix if it is about to be forgotten and that pays; else None.

        Raises what `Agent.warm` raises.
        """
        now = self._agent.ledger.clock()
        uses, kept = self._seen(since=now - (self.refreshes + 2) * self._ttl_seconds)
        if not uses:
            return None
        used = uses[-1][0]
        in_a_row = sum(at > used for at in kept)
        forgotten = max([used, *kept]) + self._ttl_seconds
        left = self._most_nusd - sum(each.cost_nusd for _, each in self._warmed)
        if not forgotten - self._margin_seconds <= now < forgotten:
            return None
        if in_a_row >= self.refreshes or left <= 0:
            return None
        work, task = _begun(
            self._agent, self._like, self._tier.index, "5m", self._scope, self._tags, most_nusd=left
        )
        try:
            with _closing(task):
                drive(work)
        except BudgetExceeded as refused:
            if refused.scope != task.path:
                raise
            return None  # what is left of the keeper's own money does not cover the worst case
        warmed = _told(task)
        self._warmed.append((now, warmed))
        return warmed

    def balance(self) -> Balance:
        """What was spent on refreshes, and what they have saved until now."""
        price = self._agent.ledger.prices.price(self._tier.name, self._tier.provider)
        bridged = saved = 0
        before: float | None = None
        for at, tokens in self._seen(self._began)[0]:
            paused = before is not None and at - before > self._ttl_seconds
            if paused and any(at - self._ttl_seconds <= when < at for when, _ in self._warmed):
                written = 0 if price.writes_by_itself else tokens
                anew = price.cost_nusd(Usage(input_tokens=tokens, cache_write_5m_tokens=written))
                read = price.cost_nusd(Usage(input_tokens=tokens, cache_read_tokens=tokens))
                bridged, saved = bridged + 1, saved + anew - read
            before = at
        return Balance(
            refreshes=len(self._warmed),
            spent_nusd=sum(each.cost_nusd for _, each in self._warmed),
            bridged=bridged,
            saved_nusd=saved,
        )

    def _run(self) -> None:
        while not self._stop.wait(min(_MARGIN_SECONDS / 6, self._ttl_seconds)):
            try:
                self.tick()
            except BudgetError as error:
                _log.warning("a prefix is kept no longer: %s", error)
                return
            except Exception as error:  # noqa: BLE001  whatever a client raises: the next tick comes
                _log.warning("a prefix could not be refreshed: %s", type(error).__name__)

    def _where(self, since: float) -> JournalFilter:
        model = f"{self._tier.provider}:{self._tier.name}"
        return JournalFilter(since=since, scope=self._scope, model=model)

    def _paying(self) -> int:
        ledger = self._agent.ledger
        found = warming(ledger.store, ledger.prices, self._where(ledger.clock() - _WEEK_SECONDS))
        return found.refreshes if found.saves_nusd > 0 else 0

    def _seen(self, since: float) -> tuple[list[tuple[float, int]], list[float]]:
        """When the prefix was sent and its tokens, and when it was refreshed, in order of time."""
        uses: list[tuple[float, int]] = []
        refreshed: list[float] = []
        groups = self._agent.ledger.store.sum_calls(
            ("at", "task", "prefix", "tags"), self._where(since)
        )
        for (at, _, prefix, tags), sums in groups:
            if is_refresh(tags) and prefix == self._refreshed:
                refreshed.append(int(at) / 1000)
            elif not is_refresh(tags) and prefix == self._prefix:
                uses.append((int(at) / 1000, prefix_tokens(sums)))
        return sorted(uses), sorted(refreshed)


def _begun(
    agent: Warmable,
    like: str,
    tier: int | None,
    ttl: Ttl,
    scope: str,
    tags: Mapping[str, str] | None,
    *,
    most_nusd: int | None = None,
) -> tuple[Work[Any], Task]:
    chosen = _tier_of(agent, tier)
    tools = _tools(agent, chosen, like)
    messages = _sent(agent, chosen, ttl)
    task = agent.ledger.open_task(
        scope=scope,
        budget=Budget(calls=1, usd=None if most_nusd is None else usd_from_nusd(most_nusd)),
        task_id=new_id(),
        tags={**_TAGS, **(tags or {}), **_MARK},
        models=[chosen.label],
    )
    return metered_call(task, _call(chosen, messages, tools, task)), task


@contextmanager
def _closing(task: Task) -> Generator[None]:
    try:
        yield
    except BaseException as error:
        task.close("failed", reason=type(error).__name__)
        raise
    task.close("answered")


def _told(task: Task) -> Warmed:
    record = task.calls[-1]
    usage = record.usage
    return Warmed(
        task_id=task.task_id,
        cost_nusd=record.cost_nusd,
        read_tokens=usage.cache_read_tokens,
        written_tokens=usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
    )


def _call(tier: Tier, messages: Sequence[BaseMessage], tools: ToolSchemas, task: Task) -> Call:
    kwargs = tier.tool_arguments(tools)

    def arguments(held: HeldCall, seconds: float | None) -> dict[str, Any]:
        return {**kwargs, **tier.call_arguments(held.max_output_tokens, seconds, task.task_id)}

    def send(held: HeldCall, seconds: float | None) -> Reply:
        return tier.model.invoke(list(messages), **arguments(held, seconds))

    async def asend(held: HeldCall, seconds: float | None) -> Reply:
        return await tier.model.ainvoke(list(messages), **arguments(held, seconds))

    return Call(
        tier=tier,
        messages=messages,
        tools=tools,
        send=send,
        asend=asend,
        kwargs=kwargs,
        wanted_output_tokens=_OUTPUT_TOKENS.get(tier.provider, _OTHERS_OUTPUT_TOKENS),
        attempts=1,
    )


def _tier_of(agent: Warmable, tier: int | None) -> Tier:
    """The tier that is meant, or the cheapest whose provider caches."""
    if not agent.system and not len(agent.toolbox.catalogue):
        raise ConfigError("there is no prefix to keep: the agent has no system text and no tools")
    if tier is not None and not 0 <= tier < len(agent.tiers):
        raise ConfigError(f"tier={tier}; the agent has tiers 0 to {len(agent.tiers) - 1}")
    wanted = agent.tiers if tier is None else agent.tiers[tier : tier + 1]
    caching = [each for each in wanted if tier is not None or _how(each) in _CACHES]
    if not caching:
        raise ConfigError("no tier of the agent has a prompt cache at its provider")
    chosen = caching[0]
    if not agent.system and _how(chosen) == "breakpoints":
        raise ConfigError(
            f"{chosen.label} keeps a prefix up to a breakpoint, which stands behind a system text, "
            "and the agent has none; give it one with system=..."
        )
    return chosen


def _how(tier: Tier) -> str:
    return cache_rules(tier.name, tier.provider).how


def _messages(agent: Warmable) -> list[BaseMessage]:
    system = [SystemMessage(agent.system)] if agent.system else []
    return [*system, HumanMessage(_ASK)]


def _sent(agent: Warmable, tier: Tier, ttl: Ttl) -> list[BaseMessage]:
    """The messages of a refresh, with a breakpoint where the provider wants one."""
    messages = _messages(agent)
    rules = cache_rules(tier.name, tier.provider)
    if rules.how == "breakpoints":
        return marked(messages, (Breakpoint(at=0, ttl=ttl),), rules.mark)
    return messages


def _tools(agent: Warmable, tier: Tier, like: str) -> ToolSchemas:
    """The definitions that a task begins with."""
    toolbox = agent.toolbox
    offered: list[Batch] = [] if toolbox.offers_all else [toolbox.begin(like, used=[])]
    return toolbox.schemas(offered, tier=tier.index, window_tokens=tier.context_tokens)
