"""The context of one running task: an engine a tier, and what was saved so far."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage

from agentkit.budgets.journal import CallRecord
from agentkit.budgets.task import Task
from agentkit.memory.breakpoints import is_marked, marked
from agentkit.memory.cache_rules import CacheRules, Mark, cache_rules
from agentkit.memory.context import Condensed, Context, ContextPlan, LeftOut
from agentkit.memory.engine import ContextEngine
from agentkit.memory.misses import Miss
from agentkit.memory.repair import takes_empty_results
from agentkit.memory.rewriting import NO_SAVINGS, Savings
from agentkit.models.single_attempt import sdk_of
from agentkit.models.tier import Tier, ToolSchemas, cache_write_asked

_TOLD_FROM_CALL = 3
"""A prompt too short to cache is worth telling where it comes again and again."""
_KEY_DIGITS = 32
_OPTIONS = "prompt_cache_options"


class TaskContext:
    """Keeps the engines of a task's tiers and carries their memory over from step to step."""

    def __init__(self, task: Task, policy: Context) -> None:
        self.policy = policy
        self.savings = NO_SAVINGS
        self._task = task
        self._engines: dict[int, ContextEngine] = {}
        self._tools: dict[int, tuple[ToolSchemas, int]] = {}
        self._restored = False
        self._calls = 0
        self._told: set[str] = set()
        self._left_out: tuple[LeftOut, ...] = ()

    def restore(self, kept: Mapping[str, Any] | None) -> Condensed:
        """What became of earlier messages; the first time also what was saved before a restart."""
        kept = kept or {}
        if not self._restored:
            self._restored = True
            self.savings = Savings(
                replay_nusd=float(kept.get("replay_nusd", 0.0)),
                paid_nusd=float(kept.get("paid_nusd", 0.0)),
            )
        return Condensed.from_dict(kept)

    def to_dict(self, condensed: Condensed) -> dict[str, Any]:
        """What a checkpoint keeps, as JSON types."""
        return {
            **condensed.to_dict(),
            "replay_nusd": self.savings.replay_nusd,
            "paid_nusd": self.savings.paid_nusd,
        }

    def engine(self, tier: Tier) -> ContextEngine:
        """The engine of `tier`, made at its first use."""
        found = self._engines.get(tier.index)
        if found is None:
            found = self._engines[tier.index] = ContextEngine(
                counter=tier.counter,
                policy=self.policy,
                rules=cache_rules(tier.name, tier.provider),
                price=self._task.ledger.prices.price(tier.name, tier.provider),
                empty_results=takes_empty_results(tier.provider),
            )
        return found

    def tools_tokens(self, tier: Tier, tools: ToolSchemas) -> int:
        """Tokens of the definitions as `tier` counts them; counted once."""
        key = id(tools)
        known = self._tools.get(key)
        if known is None or known[0] is not tools:
            known = self._tools[key] = (tools, tier.counter.tools(tools))
        return known[1]

    def limit_tokens(self, tier: Tier, *, allotted: bool = True) -> int | None:
        """The most input tokens by our count: the step's allotment, and what the window holds.

        A hosted model may count more than we do, by the margin that was learned of it. Where a
        model counts exactly, its window is not in it.
        """
        most = self.policy.limit_tokens if allotted else None
        room = self.room_tokens(tier)
        if tier.exact_count is not None:
            return most
        if room is not None:
            margins = self._task.ledger.margins
            factor = margins.learned_factor(model=tier.name, provider=tier.provider)
            room = int(room / factor)
        limits = [limit for limit in (most, room) if limit is not None]
        return min(limits) if limits else None

    def room_tokens(self, tier: Tier) -> int | None:
        """What the window of `tier` leaves for the input, as the model itself counts."""
        window = tier.context_tokens
        if window is None:
            return None
        reply = self.policy.allocation.reply or tier.output_tokens
        return window - min(reply, window // 4)

    def as_sent(
        self, plan: ContextPlan, tier: Tier, kwargs: Mapping[str, Any]
    ) -> list[BaseMessage]:
        """The messages of `plan`, with breakpoints where client and user leave them to us."""
        rules = self.engine(tier).rules
        if not plan.breakpoints or not _leaves_marks(tier, plan, rules.mark, kwargs):
            return plan.messages
        return marked(plan.messages, plan.breakpoints, rules.mark)

    def cache_arguments(
        self, plan: ContextPlan, tier: Tier, tools: ToolSchemas, kwargs: Mapping[str, Any]
    ) -> dict[str, Any]:
        """`prompt_cache_key` and `prompt_cache_options` where an OpenAI model takes them.

        Requests with a long common front share a key, so that one machine has it; others have the
        key of their task. Where our breakpoints are set, no others are written.
        """
        rules = self.engine(tier).rules
        ours = sdk_of(tier.model) == "openai"
        if not (ours and rules.takes_key and self.policy.caching):
            return {}
        found: dict[str, Any] = {"prompt_cache_key": self._cache_key(plan, tools, rules)}
        if plan.breakpoints and _leaves_marks(tier, plan, rules.mark, kwargs):
            found["prompt_cache_options"] = {"mode": "explicit"}
        return found

    def _cache_key(self, plan: ContextPlan, tools: ToolSchemas, rules: CacheRules) -> str:
        parts = plan.components
        if parts["system"] + parts["tools"] < rules.least_tokens:
            return self._task.task_id
        front = [m.content for m in plan.messages if m.type == "system"]
        told = json.dumps([front, list(tools)], default=str, sort_keys=True)
        digest = hashlib.sha256(told.encode("utf-8", "replace")).hexdigest()
        return digest[:_KEY_DIGITS]

    def settled(self, plan: ContextPlan, tier: Tier, record: CallRecord) -> Miss | None:
        """Take in a step's call; gives a cache miss that is worth telling."""
        self._calls += 1
        if not record.confirmed or record.usage.input_tokens == 0:
            self.paid(record)
            return None
        saved, miss = self.engine(tier).settled(plan, record.usage, at=record.started_at)
        self.savings = self.savings.after(replay_nusd=saved.replay_nusd, paid_nusd=saved.paid_nusd)
        if miss is None or miss.reason != "too_short":
            return miss
        if "too_short" in self._told or self._calls < _TOLD_FROM_CALL:
            return None
        self._told.add("too_short")
        return miss

    def paid(self, record: CallRecord) -> None:
        """Count a call that replaying everything would not have made, such as a summary's."""
        self.savings = self.savings.after(replay_nusd=0.0, paid_nusd=float(record.cost_nusd))

    def news(self, left_out: Sequence[LeftOut]) -> tuple[LeftOut, ...]:
        """`left_out` where it differs from what the last request left out; else nothing."""
        now = tuple(left_out)
        changed, self._left_out = now != self._left_out, now
        return now if changed else ()


def _leaves_marks(tier: Tier, plan: ContextPlan, mark: Mark, kwargs: Mapping[str, Any]) -> bool:
    """Whether a client takes our breakpoints, and its user has set none and no options."""
    model: Any = tier.model
    if mark == "cache_control":
        ours = sdk_of(model) == "anthropic"
        return ours and cache_write_asked(plan.messages, kwargs) == "none"
    return (
        sdk_of(model) == "openai"
        and getattr(model, _OPTIONS, None) is None
        and _OPTIONS not in (getattr(model, "model_kwargs", None) or {})
        and not model._use_responses_api({})  # there a tool's output takes no block of text
        and not is_marked(plan.messages, mark)
    )
