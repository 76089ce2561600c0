"""Recorded traffic of a company, made up but billed by the providers' rules, the same every time.

`Feature` says what one part of a product does; `traffic` plays all of them for some days, call by
call in the order of time, with a prompt cache that expires, retries, escalations, forfeits and
prices that nobody knows. A lever is switched by changing a feature: the difference between two runs
is what it saves. `write` puts the result into a SQLite ledger.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal

from agentkit.budgets import Amount, PriceBook
from agentkit.budgets.counterfactual import saved_by_prompt_cache, saved_by_routing
from agentkit.budgets.journal import CallRecord, Component, EventRecord, Lever, Outcome, TaskRecord
from agentkit.budgets.price import Price
from agentkit.budgets.stores.sqlite import SqliteStore
from agentkit.budgets.stores.sqlite_rows import write_call, write_event, write_task
from agentkit.budgets.usage import Usage

START = 1_761_955_200.0
"""1 November 2025, 00:00 UTC."""
DAY = 86_400.0
_LIFETIME_SECONDS = {"5m": 300.0, "1h": 3600.0}
_LEAST_CACHED = 1024
_BUSY_HOURS = (1, 1, 1, 1, 1, 2, 4, 7, 10, 12, 12, 11, 10, 11, 12, 12, 11, 9, 7, 5, 4, 3, 2, 1)
_ORG = "acme"
_TASKS_AT_ONCE = 2_000


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One part of a product. Tokens are means; `cache` says what is marked for the prompt cache.

    `cheap_model` is asked first where it is given, and gives way in `escalated` of its calls.
    `repeats` is the share of requests that somebody asked before.
    """

    name: str
    team: str
    model: str
    weight: float
    calls_a_task: int = 1
    system_tokens: int = 400
    tool_tokens: int = 0
    request_tokens: int = 120
    observation_tokens: int = 0
    output_tokens: int = 120
    cache: Literal["none", "prefix", "transcript"] = "transcript"
    lifetime: Literal["5m", "1h"] = "5m"
    cheap_model: str | None = None
    escalated: float = 0.0
    resolved: float = 0.9
    repeats: float = 0.0
    can_wait: bool = False
    batch: bool = False


SONNET, HAIKU, MINI = (
    "anthropic:claude-sonnet-4-5",
    "anthropic:claude-haiku-4-5",
    "openai:gpt-5-mini",
)

SUPPORT = Feature(
    name="support", team="service", model=SONNET, weight=12, calls_a_task=4, system_tokens=1800,
    tool_tokens=3200, observation_tokens=350, output_tokens=110, resolved=0.86,
)  # fmt: skip
CLASSIFY = Feature(
    name="classify", team="service", model=HAIKU, weight=20, system_tokens=700, request_tokens=180,
    output_tokens=8, resolved=0.97,
)  # fmt: skip
RESEARCH = Feature(
    name="research", team="analysts", model=SONNET, weight=0.8, calls_a_task=30,
    system_tokens=500, tool_tokens=900, observation_tokens=900, output_tokens=150, resolved=0.7,
)  # fmt: skip
FAQ = Feature(
    name="faq", team="web", model=MINI, weight=8, system_tokens=1400, request_tokens=60,
    output_tokens=150, resolved=0.93, repeats=0.45,
)  # fmt: skip
ORDERS = Feature(
    name="orders", team="web", model=SONNET, weight=8, calls_a_task=4, tool_tokens=1500,
    observation_tokens=200, output_tokens=60, cheap_model="local:pocket", escalated=0.22,
)  # fmt: skip
NIGHTLY = Feature(
    name="nightly", team="data", model=MINI, weight=6, system_tokens=300, request_tokens=900,
    output_tokens=200, can_wait=True, resolved=0.95,
)  # fmt: skip
HEALTHY: tuple[Feature, ...] = (SUPPORT, CLASSIFY, RESEARCH, FAQ, ORDERS, NIGHTLY)
"""Nothing is wasted that a lever of ours would save at once."""


def planted(feature: Feature, **changes: object) -> tuple[Feature, ...]:
    """The healthy product with `feature` changed, for the worse."""
    worse = replace(feature, **changes)  # type: ignore[arg-type]  # names of fields
    return tuple(worse if each.name == feature.name else each for each in HEALTHY)


NO_PREFIX_CACHE = planted(SUPPORT, cache="none", calls_a_task=1, weight=40)
FRONTIER_CLASSIFIER = planted(CLASSIFY, model=SONNET, weight=300)
TRANSCRIPT_REPLAYED = planted(RESEARCH, cache="none", weight=2)
WASTEFUL: tuple[Feature, ...] = (
    replace(SUPPORT, cache="none"), replace(CLASSIFY, model=SONNET),
    replace(RESEARCH, cache="none"), FAQ, ORDERS, NIGHTLY,
)  # fmt: skip
"""All three wastes at once: what the worked example of docs/cost.md begins with."""


@dataclass(frozen=True, kw_only=True)
class Played:
    """One task with what it came to."""

    task: TaskRecord
    calls: tuple[CallRecord, ...]
    events: tuple[EventRecord, ...]


@dataclass
class _Open:
    """A task while it is played."""

    number: int
    feature: Feature
    user: str
    start: float
    steps: int
    rng: random.Random
    calls: list[CallRecord]
    events: list[EventRecord]
    transcript: int = 0
    seen: int = 0
    observations: int = 0


class _PromptCache:
    """What a provider keeps: prefixes with the time until which they can be read."""

    def __init__(self) -> None:
        self._until: dict[tuple[str, ...], float] = {}

    def read(self, key: tuple[str, ...], now: float, lifetime: str) -> bool:
        """True where it is there; it is kept, or written, from now on."""
        known = self._until.get(key, 0.0) > now
        self._until[key] = now + _LIFETIME_SECONDS[lifetime]
        return known


def traffic(
    features: Sequence[Feature] = HEALTHY,
    *,
    calls: int = 300_000,
    days: int = 30,
    users: int = 400,
    start: float = START,
    seed: int = 7,
) -> Iterator[Played]:
    """About `calls` calls of all features over `days`, as tasks in the order of their start."""
    return iter(_Company(features, calls, days, users, start, seed).played())


class _Company:
    def __init__(
        self,
        features: Sequence[Feature],
        calls: int,
        days: int,
        users: int,
        start: float,
        seed: int,
    ) -> None:
        self._book = PriceBook()
        self._prices: dict[str, Price] = {}
        self._cache = _PromptCache()
        self._open = list(self._begin(features, calls, days, users, start, seed))

    def _begin(
        self,
        features: Sequence[Feature],
        calls: int,
        days: int,
        users: int,
        start: float,
        seed: int,
    ) -> Iterator[_Open]:
        """Every task with its time, user and steps; each feature has its own source of chance."""
        mean = sum(f.weight * f.calls_a_task for f in features) / sum(f.weight for f in features)
        tasks = calls / mean
        number = 0
        for feature in features:
            rng = random.Random(f"{seed} {feature.name}")
            share = feature.weight / sum(f.weight for f in features)
            for _ in range(round(tasks * share)):
                number += 1
                day, hour = rng.randrange(days), rng.choices(range(24), _BUSY_HOURS)[0]
                at = start + day * DAY + hour * 3600 + rng.random() * 3600
                steps = feature.calls_a_task
                if 1 < steps < 20:
                    steps = max(1, round(rng.gauss(steps, steps / 3)))
                user = f"u{min(int(rng.paretovariate(1.1)), users)}"
                yield _Open(number, feature, user, at, steps, rng, [], [])

    def played(self) -> Iterable[Played]:
        moments = [
            (task.start + step * 6.0, task.number, step, task)
            for task in self._open
            for step in range(1, task.steps + 1)
        ]
        for at, _, step, task in sorted(moments, key=lambda moment: moment[:3]):
            self._step(task, step, at)
        for task in sorted(self._open, key=lambda task: (task.start, task.number)):
            yield self._end(task)

    def _step(self, task: _Open, step: int, at: float) -> None:
        feature, rng = task.feature, task.rng
        request = _about(rng, feature.request_tokens)
        output = _about(rng, feature.output_tokens)
        chance = rng.random()
        if step == 1:
            task.transcript = request
        escalation: str | None = None
        if feature.cheap_model and not any(c.escalation for c in task.calls):
            turned_down = chance < feature.escalated
            self._call(
                task, step, at, feature.cheap_model, output, tier=0, accepted=not turned_down
            )
            if turned_down:
                escalation = "unsure: log-probability -4.10 is under -2.30"
                told = {"tier": 0, "to_tier": 1, "reason": escalation}
                text = f"{feature.cheap_model} gave way: {escalation}"
                event = EventRecord(
                    task_id=_id(task), at=at, kind="escalation", step=step, text=text, data=told
                )
                task.events.append(event)
        if not feature.cheap_model or escalation or any(c.escalation for c in task.calls):
            model = "acme-lab:mystery" if chance > 0.998 else feature.model
            if chance < 0.012:
                self._fault(task, step, at, model, output)
            self._call(
                task, step, at + 2.0, model, output,
                tier=1 if feature.cheap_model else 0, escalation=escalation,
                attempt=2 if chance < 0.012 else 1,
            )  # fmt: skip
        observation = _about(rng, feature.observation_tokens)
        task.transcript += output + observation
        task.observations += observation

    def _call(
        self, task: _Open, step: int, at: float, model: str, output: int, *, tier: int,
        escalation: str | None = None, accepted: bool | None = None, attempt: int = 1,
    ) -> None:  # fmt: skip
        feature = task.feature
        price = self._price(model)
        usage = self._usage(task, at, model, output)
        cost = price.cost_nusd(usage)
        if feature.batch and accepted is None:
            cost = -(-cost // 2)
        saved: dict[Lever, int] = {"prompt_cache": saved_by_prompt_cache(price, usage)}
        if feature.cheap_model and tier == 0:
            saved["routing"] = saved_by_routing(
                self._price(feature.model), usage, cost_nusd=cost, seen_tokens=task.seen,
                turned_down=accepted is False,
            )  # fmt: skip
        last = step == task.steps
        task.calls.append(
            replace(
                self._record(task, step, at, model, usage),
                tier=tier, attempt=attempt, escalation=escalation, accepted=accepted,
                cost_nusd=cost, latency_seconds=0.4 + output / 90,
                saved_nusd={lever: nusd for lever, nusd in saved.items() if nusd},
                reason="unsure" if accepted is False else None,
                tools_called=() if last or not feature.tool_tokens else ("look_up",),
            )
        )  # fmt: skip
        task.seen = usage.input_tokens

    def _fault(self, task: _Open, step: int, at: float, model: str, output: int) -> None:
        """A first attempt that the provider refused, or whose answer was lost."""
        usage = Usage()
        record = replace(
            self._record(task, step, at, model, usage), status="rejected", error="rate limited"
        )
        if task.rng.random() < 0.4:
            usage = Usage(input_tokens=task.transcript + 2000, output_tokens=2 * output)
            cost = self._price(model).cost_nusd(usage)
            record = replace(
                record, status="cut", error="ReadTimeout", usage=usage, confirmed=False,
                cost_nusd=cost,
            )  # fmt: skip
        task.calls.append(record)

    def _usage(self, task: _Open, at: float, model: str, output: int) -> Usage:
        feature = task.feature
        prefix = feature.system_tokens + feature.tool_tokens
        total = prefix + task.transcript
        read = written = 0
        caches = feature.cache if not model.startswith("local:") else "none"
        if caches != "none" and prefix >= _LEAST_CACHED:
            hit = self._cache.read((model, feature.name), at, feature.lifetime)
            read, written = (prefix, 0) if hit else (0, prefix)
        if caches == "transcript" and total >= _LEAST_CACHED and feature.calls_a_task > 1:
            live = self._cache.read((model, _id(task)), at, feature.lifetime)
            read = max(read, task.seen if live else 0)
            written = total - read
        if model.startswith("openai:"):
            return Usage(input_tokens=total, cache_read_tokens=read, output_tokens=output)
        is_long = feature.lifetime == "1h"
        return Usage(
            input_tokens=total, cache_read_tokens=read, output_tokens=output,
            cache_write_5m_tokens=0 if is_long else written,
            cache_write_1h_tokens=written if is_long else 0,
        )  # fmt: skip

    def _record(self, task: _Open, step: int, at: float, model: str, usage: Usage) -> CallRecord:
        feature = task.feature
        provider, _, name = model.partition(":")
        price = self._price(model)
        parts: dict[Component, int] = {
            "system": feature.system_tokens,
            "tools": feature.tool_tokens,
            "observations": task.observations,
            "user": min(feature.request_tokens, task.transcript),
        }
        parts["history"] = max(0, task.transcript - task.observations - parts["user"])
        parts["output"] = usage.output_tokens
        index = len(task.calls) + 1
        offered = ("look_up", "change", "refund") if feature.tool_tokens else ()
        return CallRecord(
            call_id=f"{_id(task)}.{index}", task_id=_id(task), scope=_scope(task), step=step,
            index=index, model=name, provider=provider, started_at=at, usage=usage,
            estimated_input_tokens=round((usage.input_tokens or 1) * 0.99),
            cost_source=price.source,
            priced_on="2025-11-01" if price.state == "priced" else None, components=parts,
            prefix=f"{feature.name}-1" if feature.system_tokens else "", tools_offered=offered,
            max_output_tokens=4096, tags=_tags(task),
        )  # fmt: skip

    def _end(self, task: _Open) -> Played:
        rng, feature = task.rng, task.feature
        usage = sum((call.usage for call in task.calls), Usage())
        chance = rng.random()
        outcome: Outcome = "resolved"
        if chance > feature.resolved:
            outcome = rng.choices(("answered", "landed", "failed"), (6, 2, 2))[0]
        asked = rng.randrange(40) if rng.random() < feature.repeats else 1000 + task.number
        record = TaskRecord(
            task_id=_id(task), scope=_scope(task), started_at=task.start,
            ended_at=task.start + 6.0 * task.steps, outcome=outcome, budget={"usd": "1"},
            models=tuple(m for m in (feature.cheap_model, feature.model) if m), tags=_tags(task),
            steps=task.steps, calls=sum(call.status != "rejected" for call in task.calls),
            escalations=sum(call.escalation is not None for call in task.calls), usage=usage,
            cost_nusd=sum(call.cost_nusd for call in task.calls),
            unconfirmed_nusd=sum(call.cost_nusd for call in task.calls if not call.confirmed),
            request_digest=f"{feature.name}-{asked}",
        )  # fmt: skip
        return Played(task=record, calls=tuple(task.calls), events=tuple(task.events))

    def _price(self, model: str) -> Price:
        known = self._prices.get(model)
        if known is None:
            provider, _, name = model.partition(":")
            known = self._prices[model] = self._book.price(name, provider)
        return known


def write(path: Path, played: Iterable[Played]) -> int:
    """A SQLite ledger at `path` of what was played: journal, scopes and accounts; its calls."""
    store = SqliteStore(path, synchronous="NORMAL")
    sums: dict[str, Amount] = {}
    written = 0
    tasks = iter(played)
    while page := list(islice(tasks, _TASKS_AT_ONCE)):
        with store._file.write() as db:  # one transaction, where the verbs would take one a call
            for each in page:
                for call in each.calls:
                    write_call(db, call)
                    written += 1
                    charged = sums.get(call.scope, Amount())
                    sums[call.scope] = Amount(
                        charged.nusd + call.cost_nusd, charged.tokens + call.usage.total_tokens,
                        charged.fresh_tokens, charged.calls + 1,
                    )  # fmt: skip
                write_task(db, each.task)
                for event in each.events:
                    write_event(db, event)
    for scope, spent in sums.items():
        parts = scope.split("/")
        chain = ["/".join(parts[: depth + 1]) for depth in range(len(parts))]
        store.ensure_scopes(chain)
        store.reserve(f"sum {scope}", spent, chain, lease_seconds=60)
        store.settle(f"sum {scope}", spent)
    store.close()
    return written


def _about(rng: random.Random, mean: int) -> int:
    return max(1, round(mean * rng.uniform(0.7, 1.3))) if mean else 0


def _id(task: _Open) -> str:
    return f"{int(task.start * 1000):011x}{task.number:010x}"


def _scope(task: _Open) -> str:
    return f"{_ORG}/{task.feature.team}/{task.user}"


def _tags(task: _Open) -> dict[str, str]:
    feature = task.feature
    tags = {
        "environment": "production", "feature": feature.name, "project": "shop",
        "team": feature.team, "user": task.user,
    }  # fmt: skip
    return {**tags, "wait": "yes"} if feature.can_wait else tags
