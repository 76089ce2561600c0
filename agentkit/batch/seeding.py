"""Seeds a provider's prompt cache before a batch, where that pays.

The requests of a batch are worked on at once, so none can count on what another has written. One
small live call before it writes what they begin with for an hour, and each of them reads it.
https://docs.claude.com/en/docs/build-with-claude/batch-processing (November 2026)
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

from agentkit.batch.item import Batch, BatchItem
from agentkit.batch.office import Office
from agentkit.batch.provider import BatchProvider, SeedsPrefixes
from agentkit.batch.providers import message_of
from agentkit.budgets.budget import Budget
from agentkit.budgets.call_plan import CallPlan
from agentkit.budgets.errors import BudgetExceeded, InvalidLimit
from agentkit.budgets.journal import Component
from agentkit.budgets.journal_query import EVERYTHING, JournalFilter
from agentkit.budgets.ledger import Ledger
from agentkit.budgets.price import Price
from agentkit.budgets.task import new_id
from agentkit.budgets.usage import Usage
from agentkit.memory.cache_rules import cache_rules
from agentkit.models.provider import describe
from agentkit.models.usage import usage_of
from agentkit.reports.cache_replay import WARMING_TAG
from agentkit.settling import charge_failure

_log = logging.getLogger("agentkit.batch")

_SEED = "seed"
"""The value of the warming tag on a seed's task."""
_ASK_TOKENS = 16
"""What a seed asks besides the prefix, at the most."""
_FRONT: tuple[Component, ...] = ("system", "tools")
_WARM_SECONDS = 1_800.0
"""A submission that is tried again within this time needs no other seed."""
_DAY_SECONDS = 86_400.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Seeded:
    """The balance of seeding: what the seeds cost, and what reading them saved.

    Of the requests in batches that asked for a seeded prefix, `reads` found it in the cache and
    `misses` wrote it anew. `saved_nusd` is what the cache saved them over plain input at the price
    of the batch, less what the misses cost more.
    """

    seeds: int = 0
    spent_nusd: int = 0
    reads: int = 0
    misses: int = 0
    saved_nusd: int = 0

    @property
    def read_share(self) -> float:
        """The share of those requests that read; 1 where there were none."""
        asked = self.reads + self.misses
        return self.reads / asked if asked else 1.0


def balance(ledger: Ledger, where: JournalFilter = EVERYTHING) -> Seeded:
    """What seeding has cost and saved on the calls of `where`."""
    store = ledger.store
    tagged = replace(where, tags={**where.tags, WARMING_TAG: _SEED})
    seeds = store.sum_calls(("prefix",), tagged)
    prefixes = {key[0] for key, sums in seeds if sums.cost_nusd}
    if not prefixes:
        return Seeded()
    asked = [
        sums
        for key, sums in store.sum_calls(("prefix", "at", "task"), where)
        if key[0] in prefixes and sums.saved_batch > 0
    ]
    read = [sums for sums in asked if sums.cache_read_tokens]
    wrote = [sums for sums in asked if sums.cache_write_1h_tokens and not sums.cache_read_tokens]
    return Seeded(
        seeds=sum(sums.calls for _, sums in seeds),
        spent_nusd=sum(sums.cost_nusd for _, sums in seeds),
        reads=sum(sums.calls for sums in read),
        misses=sum(sums.calls for sums in wrote),
        saved_nusd=sum(sums.saved_prompt_cache for sums in (*read, *wrote)),
    )


def can_be_seeded(plan: CallPlan) -> bool:
    """Whether what a request begins with is long enough to be kept, and can be for an hour."""
    rules = cache_rules(plan.price.model, plan.price.provider)
    return "1h" in rules.lifetimes and _prefix_tokens(plan.components) >= rules.least_tokens


def pays(live: Price, in_batch: Price, tokens: int, requests: int, read_share: float = 1.0) -> bool:
    """Whether `requests` that begin with the same `tokens` save more by reading them than the seed
    costs, where `read_share` of them read and the others write them anew."""
    seed = live.cost_nusd(Usage(input_tokens=tokens, cache_write_1h_tokens=tokens))
    plain = in_batch.cost_nusd(Usage(input_tokens=tokens))
    read = in_batch.cost_nusd(Usage(input_tokens=tokens, cache_read_tokens=tokens))
    anew = in_batch.cost_nusd(Usage(input_tokens=tokens, cache_write_1h_tokens=tokens))
    saved = read_share * (plain - read) - (1 - read_share) * (anew - plain)
    return requests * saved > seed


def seed(
    office: Office, batch: Batch, provider: BatchProvider, items: Sequence[BatchItem]
) -> tuple[Batch, frozenset[str]]:
    """Seed what pays for a batch that is about to be sent.

    Gives the batch, and the custom ids of the requests that are to read what was seeded.
    """
    if not office.policy.seeds or not isinstance(provider, SeedsPrefixes):
        return batch, frozenset()
    reading: set[str] = set()
    for prefix, sharing in _by_prefix(office.ledger, items).items():
        now = office.ledger.clock()
        if now - batch.seeded.get(prefix, 0.0) > _WARM_SECONDS:
            if not _seeded_now(office, batch, provider, sharing):
                continue
            batch = replace(batch, seeded={**batch.seeded, prefix: now})
        reading.update(item.custom_id for item in sharing)
    return batch, frozenset(reading)


def as_sent(
    provider: BatchProvider, bodies: Iterable[tuple[str, bytes]], reading: frozenset[str]
) -> Iterator[tuple[str, bytes]]:
    """The requests of a batch; those that are to read what was seeded ask for it."""
    for name, body in bodies:
        if name in reading and isinstance(provider, SeedsPrefixes):
            yield name, provider.reading(body)
        else:
            yield name, body


def _by_prefix(ledger: Ledger, items: Sequence[BatchItem]) -> dict[str, list[BatchItem]]:
    """Requests by what they begin with, of those whose hold covers that it is written."""
    found: defaultdict[str, list[BatchItem]] = defaultdict(list)
    for item in items:
        price = ledger.prices.batch_price(item.record["model"], item.record["provider"])
        least = cache_rules(price.model, price.provider).least_tokens
        output = item.max_output_tokens
        worst = price.worst_nusd(item.worst.tokens - output, output, "1h")
        long_enough = _prefix_tokens(item.record["components"]) >= least
        if price.state == "priced" and long_enough and worst <= item.worst.nusd:
            found[item.record["prefix"]].append(item)
    return found


def _seeded_now(
    office: Office, batch: Batch, provider: SeedsPrefixes, sharing: Sequence[BatchItem]
) -> bool:
    """Write what these requests begin with into the cache, if that pays for who is to pay."""
    payer, requests = _payer(sharing)
    plan = _plan(office.ledger, sharing[0].record)
    if not _is_worth_it(office.ledger, payer, plan, requests):
        return False
    body = office.store.body(sharing[0].item_id)
    request = None if body is None else provider.seed(body)
    if request is None:
        return False
    tags = {"feature": "warming", WARMING_TAG: _SEED}
    with suppress(BudgetExceeded, InvalidLimit):  # no room, or no deeper scope: it goes without
        return _asked(office.ledger, payer, tags, plan, provider, batch.endpoint, request)
    return False


def _is_worth_it(ledger: Ledger, payer: str, plan: CallPlan, requests: int) -> bool:
    """By the prices, and by how many requests of the last day found what was seeded for them."""
    live, tokens = plan.price, _prefix_tokens(plan.components)
    in_batch = ledger.prices.batch_price(live.model, live.provider)
    if not pays(live, in_batch, tokens, requests):
        return False
    since = ledger.clock() - _DAY_SECONDS
    lately = JournalFilter(since=since, scope=payer, model=f"{live.provider}:{live.model}")
    return pays(live, in_batch, tokens, requests, balance(ledger, lately).read_share)


def _asked(
    ledger: Ledger,
    payer: str,
    tags: Mapping[str, str],
    plan: CallPlan,
    provider: SeedsPrefixes,
    endpoint: str,
    request: dict[str, Any],
) -> bool:
    """Carry out the seed as a task of its own; True where it was answered."""
    label = f"{plan.price.provider}:{plan.price.model}"
    task = ledger.open_task(
        scope=payer, budget=Budget(calls=1), task_id=new_id(), tags=tags, models=[label]
    )
    try:
        held = task.hold_call(plan)
    except BudgetExceeded as error:
        task.close("failed", reason=type(error).__name__)
        raise
    try:
        message = message_of(endpoint, provider.ask(endpoint, request))
    except BaseException as error:
        charge_failure(task, held, plan.price.provider, error, started=True)
        task.close("failed", reason=type(error).__name__)
        if not isinstance(error, Exception):
            raise
        _log.warning("a prefix could not be seeded: %s", describe(error))
        return False
    usage = usage_of(message, cache_write=plan.cache_write)
    if usage is None:
        task.forfeit_call(held, status="ok", error="the answer carried no usage")
    else:
        task.settle_call(held, usage)
    task.close("answered")
    return True


def _plan(ledger: Ledger, like: Mapping[str, Any]) -> CallPlan:
    """A seed for requests like the one of this record."""
    components: Mapping[Component, int] = like["components"]
    front: dict[Component, int] = {
        name: tokens for name, tokens in components.items() if name in _FRONT
    }
    behind = sum(components.values()) - sum(front.values())
    counted = like["estimated_input_tokens"] - behind + _ASK_TOKENS
    model, maker = like["model"], like["provider"]
    return CallPlan(
        price=ledger.prices.price(model, maker),
        counted_input_tokens=counted,
        input_tokens=ledger.margins.bound(counted, model=model, provider=maker),
        wanted_output_tokens=1,
        cache_write="1h",
        components={**front, "user": _ASK_TOKENS},
        prefix=like["prefix"],
        lease_seconds=ledger.lease_seconds,
    )


def _payer(sharing: Sequence[BatchItem]) -> tuple[str, int]:
    """The narrowest scope of all of a tenant's requests, or their task; and how many they are.

    The tenant with the most of them decides and pays; the others only read.
    """
    tenants: defaultdict[str, list[list[str]]] = defaultdict(list)
    for item in sharing:
        path = f"{item.record['scope']}/~{item.task_id}".split("/")
        tenants[path[0]].append(path)
    paths = max(tenants.values(), key=len)
    common = [names[0] for names in takewhile(_are_one, zip(*paths, strict=False))]
    task = next((at for at, name in enumerate(common) if name.startswith("~")), len(common))
    return "/".join(common[: task + 1]), len(paths)


def _are_one(names: Sequence[str]) -> bool:
    return len(set(names)) == 1


def _prefix_tokens(components: Mapping[Component, int]) -> int:
    return sum(components.get(name, 0) for name in _FRONT)
