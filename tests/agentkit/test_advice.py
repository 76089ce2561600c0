"""The advisor names a planted waste first, and its figure is what switching the lever on saves."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from agentkit.budgets import Ledger, PriceBook, Usage
from agentkit.budgets.call_plan import CallPlan
from agentkit.budgets.stores.sqlite import SqliteStore
from agentkit.reports.advice import AdviceReport, advise
from agentkit.reports.lever import Advice, Question
from agentkit.reports.saving import savings
from benchmarks._traffic import (
    CLASSIFY,
    FRONTIER_CLASSIFIER,
    HAIKU,
    HEALTHY,
    NIGHTLY,
    NO_PREFIX_CACHE,
    RESEARCH,
    SUPPORT,
    TRANSCRIPT_REPLAYED,
    Feature,
    traffic,
    write,
)

_CALLS = 4_000
_ADVISED = object()
_PLAIN = Usage(input_tokens=10_000, output_tokens=50)
Play = Callable[[Sequence[Feature]], SqliteStore]


@pytest.fixture
def play(tmp_path: Path, request: pytest.FixtureRequest) -> Play:
    def play(features: Sequence[Feature]) -> SqliteStore:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.db"
        write(path, traffic(features, calls=_CALLS, days=3, users=20))
        store = SqliteStore(path)
        request.addfinalizer(store.close)
        return store

    return play


def _bill(store: SqliteStore) -> int:
    return store.sum_calls()[0].sums.cost_nusd


def _switched(features: Sequence[Feature], name: str, **changes: object) -> list[Feature]:
    return [replace(f, **changes) if f.name == name else f for f in features]  # type: ignore[arg-type]  # names of fields


@pytest.mark.parametrize(
    ("features", "lever", "name", "changes"),
    [
        (
            NO_PREFIX_CACHE,
            "cache_prefix",
            "support",
            {"cache": SUPPORT.cache, "lifetime": _ADVISED},
        ),
        (FRONTIER_CLASSIFIER, "tier_down", "classify", {"model": CLASSIFY.model}),
        (
            TRANSCRIPT_REPLAYED,
            "cache_transcript",
            "research",
            {"cache": RESEARCH.cache, "lifetime": _ADVISED},
        ),
    ],
    ids=["no cache on a 5,000-token prefix", "frontier model on a classifier", "thirty replays"],
)
def test_planted_waste_is_named_first_with_what_the_lever_saves(
    play: Play, features: Sequence[Feature], lever: str, name: str, changes: dict[str, object]
) -> None:
    wasteful = play(features)
    found = advise(wasteful, PriceBook())
    first = found.advice[0]
    assert (first.lever, first.feature) == (lever, name)
    advised = {k: first.setting if v is _ADVISED else v for k, v in changes.items()}
    measured = _bill(wasteful) - _bill(play(_switched(features, name, **advised)))
    assert first.saves_nusd == pytest.approx(measured, rel=0.1)
    assert first.month_nusd == pytest.approx(first.saves_nusd * 30 / found.days, rel=1e-6)
    assert first.assumption and first.against and first.found


def test_healthy_traffic_is_not_told_to_do_what_it_does(play: Play) -> None:
    found = advise(play(HEALTHY), PriceBook())
    named = {(each.lever, each.feature) for each in found.advice}
    assert not {(lever, name) for lever, name in named if lever.startswith("cache_")}
    assert ("tier_down", "classify") not in named


def test_batch_is_advised_for_what_can_wait_only(play: Play) -> None:
    store = play(HEALTHY)
    found = _by_lever(advise(store, PriceBook()), "batch")
    assert [each.feature for each in found] == ["nightly"]
    measured = _bill(store) - _bill(play(_switched(HEALTHY, NIGHTLY.name, batch=True)))
    assert found[0].saves_nusd == pytest.approx(measured, rel=0.1)
    nothing = advise(store, PriceBook(), question=Question(can_wait=("urgency", "low")))
    assert "batch" in {silent.lever for silent in nothing.silent}


def test_what_is_named_like_background_work_is_told_to_ask_whether_it_can_wait(play: Play) -> None:
    store = play(HEALTHY)
    unmarked = Question(can_wait=("urgency", "low"))
    found = _by_lever(advise(store, PriceBook(), question=unmarked), "can_wait")
    assert {each.feature for each in found} == {"nightly", "classify"}
    nightly = next(each for each in found if each.feature == "nightly")
    measured = _bill(store) - _bill(play(_switched(HEALTHY, NIGHTLY.name, batch=True)))
    assert nightly.saves_nusd == pytest.approx(measured, rel=0.1)
    assert nightly.basis == "assumed" and nightly.setting == "urgency=24h"
    marked = _by_lever(advise(store, PriceBook()), "can_wait")
    assert "nightly" not in {each.feature for each in marked}


def _played(
    starts: Iterable[float],
    *,
    feature: str = "checks",
    model: str = "claude-sonnet-4-5",
    provider: str = "anthropic",
    usage: Usage = _PLAIN,
    system: int = 100,
    thread: str | None = None,
) -> AdviceReport:
    """What is advised where a task of one call begins at each of these seconds."""
    now = [0.0]
    ledger = Ledger("memory://", clock=lambda: now[0])
    price = ledger.prices.price(model, provider)
    for number, start in enumerate(starts):
        now[0] = start
        user = {"user": f"u{number % 7}"}
        task = ledger.open_task(
            scope="acme", tags={"feature": feature, **user}, thread_id=thread, models=[model]
        )
        plan = CallPlan(
            price=price, counted_input_tokens=usage.input_tokens, input_tokens=usage.input_tokens,
            wanted_output_tokens=99, prefix="p",
            components={"system": system, "user": usage.input_tokens - system},
        )  # fmt: skip
        task.settle_call(task.hold_call(plan), usage)
        task.close("resolved")
    return advise(ledger.store, ledger.prices)


def _independently(count: int, *, days: int) -> list[float]:
    """As people come who do not know of each other."""
    chance = random.Random(3)
    return sorted(chance.random() * days * 86_400 for _ in range(count))


def _in_loops(count: int, *, each: int) -> list[float]:
    """At any time of the day, so many one upon the other."""
    begun = _independently(count, days=5)
    return [start + 0.3 * number for start in begun for number in range(each)]


def test_a_feature_that_is_called_in_loops_is_told_to_ask_its_users() -> None:
    [found] = _by_lever(_played(_in_loops(6, each=40)), "can_wait")
    assert found.feature == "checks"
    assert "begin within a second of another" in found.found
    assert "the 7 users that its tasks name" in found.against


def test_people_who_come_independently_are_not_taken_for_a_loop() -> None:
    for count in (240, 3_000):
        assert not _by_lever(_played(_independently(count, days=5)), "can_wait")


def test_a_feature_that_people_talk_with_cannot_wait_whatever_it_is_called() -> None:
    starts = _independently(100, days=5)
    assert not _by_lever(_played(starts, feature="weekly-report", thread="t"), "can_wait")
    assert _by_lever(_played(starts, feature="weekly-report"), "can_wait")


def test_what_a_batch_would_no_longer_read_cached_is_not_saved() -> None:
    starts = _in_loops(6, each=40)
    cached = replace(_PLAIN, cache_read_tokens=9_500)
    assert not _by_lever(_played(starts, usage=cached, system=100), "can_wait")
    [found] = _by_lever(_played(starts, usage=cached, system=8_000), "can_wait")
    price = PriceBook().price("claude-sonnet-4-5", "anthropic")
    half = price.halved().cost_nusd(replace(_PLAIN, cache_read_tokens=8_000))
    assert found.saves_nusd == 240 * (price.cost_nusd(cached) - half)
    assert "15% of the input is no longer read cached" in found.assumption
    assert "seeded before each batch" in found.assumption


def test_a_cheaper_model_is_billed_by_the_length_of_each_request() -> None:
    told = _played(_independently(100, days=5), model="claude-opus-4-5")
    [found] = _by_lever(told, "tier_down")
    sonnet = PriceBook().price("claude-sonnet-4-5", "anthropic").cost_nusd(_PLAIN)
    assert found.saves_nusd == told.cost_nusd - 100 * sonnet  # not at the price above 200k tokens


def test_a_provider_without_batches_is_not_advised_to_wait() -> None:
    starts = _in_loops(6, each=40)
    told = _played(starts, model="gemini-2.5-pro", provider="google")
    assert told.cost_nusd > 0
    assert not _by_lever(told, "can_wait")


def test_repeats_are_found_where_they_are(play: Play) -> None:
    found = _by_lever(advise(play(HEALTHY), PriceBook()), "semantic_cache")
    assert [each.feature for each in found] == ["faq"]


def _called_each(minutes: float, *, calls: int) -> Ledger:
    """Calls of one prefix of 5,000 tokens that is cached, so many minutes apart."""
    now = [0.0]
    ledger = Ledger("memory://", clock=lambda: now[0])
    price = ledger.prices.price("claude-sonnet-4-5", "anthropic")
    for _ in range(calls):
        task = ledger.open_task(scope="acme", tags={"feature": "faq"})
        plan = CallPlan(
            price=price, counted_input_tokens=5_000, input_tokens=5_000, wanted_output_tokens=9,
            prefix="p", components={"system": 5_000},
        )  # fmt: skip
        written = Usage(input_tokens=5_000, cache_write_5m_tokens=5_000, output_tokens=9)
        task.settle_call(task.hold_call(plan), written)
        task.close("answered")
        now[0] += minutes * 60
    return ledger


def test_a_prefix_that_expires_between_calls_is_worth_refreshing() -> None:
    """At eight minutes one refresh a pause, and one in vain at the end: 10 % of the input each."""
    store = _called_each(8, calls=11).store
    (found,) = _by_lever(advise(store, PriceBook()), "warming")
    prefix_nusd = 5_000 * 3_000
    worth = 10 * (1.25 - 0.1 - 0.1) - 0.1
    assert found.saves_nusd == pytest.approx(worth * prefix_nusd)
    assert found.setting == "1"


@pytest.mark.parametrize("minutes", [2, 600])
def test_a_prefix_that_stays_or_is_rarely_asked_for_is_not(minutes: float) -> None:
    found = advise(_called_each(minutes, calls=11).store, PriceBook())
    assert "warming" in {silent.lever for silent in found.silent}


def test_levers_without_data_give_no_figure(play: Play) -> None:
    report = advise(play(HEALTHY), PriceBook())
    silent = {each.lever for each in report.silent}
    assert {"self_hosting", "retrieval", "provisioning"} <= silent
    hosted = Question(host_usd_an_hour=0.00001, host_tokens_a_second=1e6)
    found = _by_lever(advise(play([replace(CLASSIFY, model=HAIKU)]), PriceBook(), question=hosted),
                      "self_hosting")  # fmt: skip
    assert found and found[0].basis == "assumed"


def test_an_empty_ledger_gives_nothing(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "empty.db")
    assert advise(store, PriceBook()).advice == ()
    store.close()


def test_losses_are_shown_as_losses(play: Play) -> None:
    """Prompt-cache writes that nobody reads again cost more than plain input would have."""
    lonely = replace(RESEARCH, cache="transcript", calls_a_task=2, weight=1, system_tokens=3000)
    store = play([replace(lonely, calls_a_task=1, cache="prefix", weight=1)])
    found = savings(store)
    assert found[0].lever == "prompt_cache"
    rare = SqliteStore(store.path.with_name("rare.db"))
    rare.close()
    write(rare.path, traffic([replace(lonely, calls_a_task=1, cache="prefix")], calls=40, days=30))
    again = SqliteStore(rare.path)
    losses = savings(again)
    assert losses[0].lever == "prompt_cache" and losses[0].saved_nusd < 0
    assert losses[0].without_nusd < _bill(again)
    again.close()


def _by_lever(report: AdviceReport, lever: str) -> list[Advice]:
    return [each for each in report.advice if each.lever == lever]
