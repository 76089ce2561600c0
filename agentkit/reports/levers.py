"""The levers that recorded traffic is held against, one function each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agentkit.budgets.journal_query import CallSums
from agentkit.budgets.money import format_usd
from agentkit.budgets.price import Price
from agentkit.budgets.usage import Usage
from agentkit.reports.cache_replay import break_even_hit_rate, replay, warming
from agentkit.reports.cause import OBSERVATIONS_KEPT, OUTPUT_KEPT
from agentkit.reports.deferrable import batch, deferrable
from agentkit.reports.lever import FeatureSums, Finding, Silent, Traffic

_LADDERS = {
    "anthropic": ("claude-opus-4-5", "claude-sonnet-4-5", "claude-haiku-4-5"),
    "openai": ("gpt-5.2", "gpt-5.1", "gpt-5", "gpt-5-mini", "gpt-5-nano"),
}
"""Models from dear to cheap, as of November 2026; the next cheaper one is what is held against."""
_EASY_RESOLVED, _EASY_OUTPUT_TOKENS = 0.9, 200
_CACHED_ALREADY = 0.05
_TASKS_LOOKED_AT = 5_000
_TOOLS_MANY, _TOOLS_KEPT = 20, 0.35
_TUNED_PRICE = 0.1
_KNOWLEDGE_TOKENS, _RETRIEVED_TOKENS = 4_000, 1_500


def prompt_cache(traffic: Traffic) -> Sequence[Finding]:
    """Prefixes and transcripts that are sent again and again at the full price."""
    found: list[Finding] = []
    for feature, model, price, sums in _priced(traffic):
        used = sums.cache_read_tokens + sums.cache_write_5m_tokens + sums.cache_write_1h_tokens
        if not sums.input_tokens or used > _CACHED_ALREADY * sums.input_tokens:
            continue
        where, times = traffic.latest(traffic.of(feature, model), sums.calls)
        told = replay(traffic.store, traffic.prices, where).times(times)
        best = max(told.five_minutes_nusd, told.hour_nusd)
        if best <= 0:
            continue
        least = break_even_hit_rate(price)
        even = "" if least is None else f"; it pays from a hit rate of {least:.0%}"
        part = "transcript" if told.transcript_nusd > told.prefix_nusd else "prefix"
        share = max(told.prefix_nusd, told.transcript_nusd) / max(1, best)
        setting = "5m" if told.five_minutes_nusd >= told.hour_nusd else "1h"
        lifetime = "five minutes" if setting == "5m" else "one hour"
        found.append(
            traffic.advice(
                f"cache_{part}", feature, best, basis="replayed",
                found=f"{model} is sent {told.prefix_tokens:,} tokens of system text and tools a "
                f"call, uncached; {told.hits / told.calls:.0%} of {told.calls:,} calls "
                f"would find them cached{even}. {share:.0%} of the saving is the {part}",
                assumption=f"writes that last {lifetime} "
                f"(five minutes {_usd(told.five_minutes_nusd)}, one hour {_usd(told.hour_nusd)}), "
                "and nothing in the prefix changes between calls"
                + ("" if times == 1 else f"; replayed on the last {told.calls:,} calls"),
                against="anything that changes the prefix loses it: dates, the order of tools, "
                "another model; a fan-out writes once a branch unless the first answer has begun",
                setting=setting,
            )
        )  # fmt: skip
    return found or [Silent(lever="prompt_cache", reason="what can be cached is cached")]


def warm_prefix(traffic: Traffic) -> Sequence[Finding]:
    """Cached prefixes that expire between calls, and are written anew each time."""
    found: list[Finding] = []
    for feature, model, _, sums in _priced(traffic):
        where, times = traffic.latest(traffic.of(feature, model), sums.calls)
        told = warming(traffic.store, traffic.prices, where)
        if told.saves_nusd <= 0:
            continue
        found.append(
            traffic.advice(
                "warming", feature, round(told.saves_nusd * times), basis="replayed",
                found=f"{told.gaps:,} pauses of more than five minutes on {model}, after which the "
                "prefix is written anew",
                assumption="the prefix is cached, and after its last use a request of one output "
                f"token reads it each five minutes, {told.refreshes} times at the most; that "
                f"bridges {told.kept:,} pauses"
                + ("" if times == 1 else "; replayed on the latest calls"),
                against="one-hour writes bridge the same pauses without extra requests; compare "
                "with the figure of one hour under caching",
                setting=str(told.refreshes),
            )
        )  # fmt: skip
    return found or [Silent(lever="warming", reason="no pause is worth a refresh")]


def tier_down(traffic: Traffic) -> Sequence[Finding]:
    """Easy features on a dear model."""
    found: list[Finding] = []
    for feature, model, _, sums in _priced(traffic):
        entry = traffic.features[feature, model]
        cheaper = _next_cheaper(traffic, model)
        if cheaper is None or not _is_easy(entry):
            continue
        cost = cheaper.total_nusd(_usage(sums), sums.calls)
        saved = sums.cost_nusd - cost
        if saved <= 0:
            continue
        share = saved / sums.cost_nusd
        found.append(
            traffic.advice(
                "tier_down", feature, saved, basis="replayed",
                found=f"{model} resolves {entry.resolved_calls / entry.ended_calls:.0%} with "
                f"{sums.output_tokens / sums.calls:.0f} tokens an answer: an easy task",
                assumption=f"{cheaper.model} takes the same tokens",
                against="a harness of 50 to 200 cases must show first that it does as well: with "
                f"{share:.0%} of the tasks left unresolved the saving is gone",
                setting=cheaper.model,
            )
        )  # fmt: skip
    return found or [
        Silent(lever="tier_down", reason="no feature is easy (90 % resolved, short answers) and "
               "on a model with a cheaper sibling")
    ]  # fmt: skip


def semantic_cache(traffic: Traffic) -> Sequence[Finding]:
    """Requests that came before, word for word: the least that a semantic cache would hit."""
    tasks = traffic.store.tasks(limit=_TASKS_LOOKED_AT, where=traffic.where)
    known = [task for task in reversed(tasks) if task.request_digest and task.outcome]
    if not known:
        return [Silent(lever="semantic_cache", reason="no task has a digest of its request")]
    first: set[tuple[str, str]] = set()
    sums: dict[str, tuple[int, int, int]] = {}
    for task in known:
        feature = task.tags.get("feature", "")
        key = (feature, task.request_digest)
        is_repeat = key in first
        first.add(key)
        count, repeats, nusd = sums.get(feature, (0, 0, 0))
        cost = task.cost_nusd if is_repeat else 0
        sums[feature] = (count + 1, repeats + is_repeat, nusd + cost)
    span_days = max(1.0, (known[-1].started_at - known[0].started_at) / 86_400)
    found: list[Finding] = [
        traffic.advice(
            "semantic_cache", feature, round(nusd * traffic.days / span_days), basis="replayed",
            found=f"{repeats / count:.0%} of {count:,} requests had come before, word for word",
            assumption=f"repeats among the last {len(known):,} tasks, over {span_days:.1f} days; "
            "an answer is still right when it is asked for again",
            against="wrong hits where the answer depends on who asks or when: needs a time to live "
            "and keys by user; it pays from 60 to 80 % hits in practice",
        )
        for feature, (count, repeats, nusd) in sums.items()
        if nusd
    ]  # fmt: skip
    return found or [Silent(lever="semantic_cache", reason="no request came twice")]


def shorter_output(traffic: Traffic) -> Sequence[Finding]:
    """Answers that are most of the bill."""
    found: list[Finding] = []
    for feature, model, price, sums in _priced(traffic):
        output = price.cost_nusd(Usage(output_tokens=sums.output_tokens))
        if output < 0.3 * sums.cost_nusd:
            continue
        found.append(
            traffic.advice(
                "shorter_output", feature, round(output * (1 - OUTPUT_KEPT)), basis="assumed",
                found=f"output is {output / sums.cost_nusd:.0%} of the cost on {model}, "
                f"{sums.output_tokens / sums.calls:.0f} tokens a call",
                assumption=f"answers get {1 - OUTPUT_KEPT:.0%} shorter",
                against="a limit that is too low cuts answers off; ask for brevity first",
            )
        )  # fmt: skip
    return found or [Silent(lever="shorter_output", reason="output is under 30 % of every bill")]


def provisioning(traffic: Traffic) -> Sequence[Finding]:
    """Many tools offered, few used."""
    found: list[Finding] = []
    for feature, model, price, sums in _priced(traffic):
        offered = sums.tools_offered / sums.calls
        if offered < _TOOLS_MANY:
            continue
        saved = round(_input_share(price, sums, sums.tools) * (1 - _TOOLS_KEPT))
        found.append(
            traffic.advice(
                "provisioning", feature, saved, basis="assumed",
                found=f"{offered:.0f} tools are offered a call on {model}, "
                f"{sums.tools_called / sums.calls:.1f} called",
                assumption=f"{_TOOLS_KEPT:.0%} of the definitions are still sent, and the prefix "
                "stays as stable as it is",
                against="a tool that is missing ends the task: docs/provisioning.md has the recall",
            )
        )  # fmt: skip
    reason = f"no feature offers {_TOOLS_MANY} tools"
    return found or [Silent(lever="provisioning", reason=reason)]


def pruning(traffic: Traffic) -> Sequence[Finding]:
    """What tools returned, sent again with every call."""
    found: list[Finding] = []
    for feature, model, price, sums in _priced(traffic):
        money = _input_share(price, sums, sums.observations)
        if not money or sums.saved_pruning:
            continue
        found.append(
            traffic.advice(
                "pruning", feature, round(money * (1 - OBSERVATIONS_KEPT)), basis="assumed",
                found=f"observations are {money / sums.cost_nusd:.0%} of the cost on {model}, as "
                "billed: cached ones at the price of a read",
                assumption=f"{OBSERVATIONS_KEPT:.0%} of observations are kept (measured on "
                "LiveMCPBench, docs/pruning.md)",
                against="what later calls copy must be kept or fetched back by its handle",
            )
        )  # fmt: skip
    reason = "no observations were recorded, or they are pruned already"
    return found or [Silent(lever="pruning", reason=reason)]


def tuned_model(traffic: Traffic) -> Sequence[Finding]:
    """A small model tuned on one narrow, frequent feature."""
    found: list[Finding] = []
    tuning = round(traffic.question.tuning_usd * 1e9)
    for feature, model, _, sums in _priced(traffic):
        entry = traffic.features[feature, model]
        saved = round(sums.cost_nusd * (1 - _TUNED_PRICE))
        if not _is_easy(entry) or traffic.month(saved) * 12 < tuning:
            continue
        calls = traffic.month(sums.calls)
        even = round(tuning / max(1, saved / sums.calls))
        found.append(
            traffic.advice(
                "tuned_model", feature, saved, basis="assumed",
                found=f"{calls:,} calls a month on {model}; tuning is earned back after {even:,}",
                assumption=f"a tuned model at {_TUNED_PRICE:.0%} of the price resolves as much; "
                f"{_usd(tuning)} once to prepare and train",
                against="it knows one task as it was: data drift means tuning again; below 300,000 "
                "calls a month it rarely pays",
            )
        )  # fmt: skip
    reason = f"no easy feature would earn {_usd(tuning)} back within a year"
    return found or [Silent(lever="tuned_model", reason=reason)]


def retrieval(traffic: Traffic) -> Sequence[Finding]:
    """Knowledge that every call carries, instead of the few passages that it needs."""
    found: list[Finding] = []
    for feature, model, price, sums in _priced(traffic):
        system = sums.system / sums.calls
        if system < _KNOWLEDGE_TOKENS:
            continue
        saved = round(_input_share(price, sums, sums.system) * (1 - _RETRIEVED_TOKENS / system))
        found.append(
            traffic.advice(
                "retrieval", feature, saved, basis="assumed",
                found=f"the system text on {model} has {system:,.0f} tokens",
                assumption=f"{_RETRIEVED_TOKENS:,} tokens of instructions and two passages do; "
                "tuning instead of retrieving would take the passages out too, at the price of "
                "training",
                against="retrieval changes the prefix: what is cached now would be fresh input; "
                "what is not found is not known",
            )
        )  # fmt: skip
    reason = f"no system text has {_KNOWLEDGE_TOKENS:,} tokens"
    return found or [Silent(lever="retrieval", reason=reason)]


def self_hosting(traffic: Traffic) -> Sequence[Finding]:
    """A quantized open model on a machine of one's own."""
    hourly = traffic.question.host_usd_an_hour
    speed = traffic.question.host_tokens_a_second
    if hourly is None or speed is None:
        return [
            Silent(lever="self_hosting", reason="say what a machine costs and does: "
                   "--host-usd-an-hour 2.5 --host-tokens-a-second 1500")
        ]  # fmt: skip
    easy = [
        sums for feature, model, _, sums in _priced(traffic)
        if _is_easy(traffic.features[feature, model])
    ]  # fmt: skip
    tokens = sum(sums.output_tokens + sums.fresh_input_tokens / 10 for sums in easy)
    busy_hours = tokens / speed / 3600
    machines = -(-busy_hours // (traffic.days * 24)) or 1
    cost = sum(sums.cost_nusd for sums in easy)
    saved = round(cost - machines * traffic.days * 24 * hourly * 1e9)
    if saved <= 0:
        reason = f"{machines:.0f} machine(s) all day cost more than the easy calls do now"
        return [Silent(lever="self_hosting", reason=reason)]
    return [
        traffic.advice(
            "self_hosting", "(easy features)", saved, basis="assumed",
            found=f"{busy_hours:,.0f} busy hours on {machines:.0f} machine(s)",
            assumption=f"{hourly:g} USD an hour, all day; {speed:g} output tokens a second, input "
            "ten times as fast; a 4-bit model resolves as much",
            against="quality falls by task with quantization: measure failures at full and at 4 "
            "bit; somebody must run it",
        )
    ]  # fmt: skip


LEVERS = (
    prompt_cache, warm_prefix, tier_down, batch, deferrable, semantic_cache, shorter_output,
    provisioning, pruning, tuned_model, retrieval, self_hosting,
)  # fmt: skip


def _priced(traffic: Traffic) -> Iterator[tuple[str, str, Price, CallSums]]:
    """Every feature and model that costs money, the dearest first."""
    rows = sorted(traffic.features.items(), key=lambda item: -item[1].sums.cost_nusd)
    for (feature, named), entry in rows:
        provider, _, model = named.partition(":")
        price = traffic.prices.price(model, provider)
        if price.state == "priced" and entry.sums.cost_nusd:
            yield feature, named, price, entry.sums


def _next_cheaper(traffic: Traffic, named: str) -> Price | None:
    provider, _, model = named.partition(":")
    ladder = _LADDERS.get(provider, ())
    if model not in ladder:
        return None
    below = ladder[ladder.index(model) + 1 :]
    price = traffic.prices.price(below[0], provider) if below else None
    return price if price is not None and price.state == "priced" else None


def _is_easy(entry: FeatureSums) -> bool:
    sums = entry.sums
    return (
        entry.ended_calls > 0
        and entry.resolved_calls >= _EASY_RESOLVED * entry.ended_calls
        and sums.output_tokens <= _EASY_OUTPUT_TOKENS * sums.calls
        and not sums.tools_called
        and not sums.escalations
    )


def _usage(sums: CallSums) -> Usage:
    return Usage(
        input_tokens=sums.input_tokens, cache_read_tokens=sums.cache_read_tokens,
        cache_write_5m_tokens=sums.cache_write_5m_tokens,
        cache_write_1h_tokens=sums.cache_write_1h_tokens, output_tokens=sums.output_tokens,
    )  # fmt: skip


def _input_share(price: Price, sums: CallSums, tokens: int) -> int:
    """The part of what the input was billed that falls on `tokens` of our own count."""
    counted = (
        sums.system + sums.tools + sums.summary + sums.history + sums.observations + sums.user
    )  # fmt: skip
    billed = sums.cost_nusd - price.cost_nusd(Usage(output_tokens=sums.output_tokens))
    return billed * tokens // counted if counted else 0


def _usd(nusd: int) -> str:
    return f"-{format_usd(-nusd)}" if nusd < 0 else format_usd(nusd)
