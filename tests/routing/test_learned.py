"""What a learned route makes of outcomes: what it skips, drops, tries out, and never pays for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from agentkit.errors import ConfigError
from agentkit.routing import LearnedRoute, RouteHistory, RouteRequest
from agentkit.routing.difficulty import Difficulty
from agentkit.routing.estimate import ability_of, near_chance, record_of
from agentkit.routing.learned import Learning
from agentkit.routing.outcome import MemoryOutcomeStore, Outcome
from agentkit.routing.request import PastOutcome

CHEAP, MIDDLE, DEAR = TIERS = ("a:cheap", "b:middle", "c:dear")
PRICES = (100, 1_000, 10_000)


class Topics:
    """A vector a first word: requests are alike where they begin with the same one."""

    fingerprint = "topics"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = np.zeros((len(texts), 16), np.float32)
        for row, text in zip(rows, texts, strict=True):
            row[sum(text.split(" ")[0].encode()) % 16] = 1.0
        return rows


def outcome(tier: str, ok: bool, **given: object) -> Outcome:
    facts = {
        "task_id": "t", "tier": tier, "is_ok": ok, "weight": 1.0, "was_first": True,
        "cost_nusd": dict(zip(TIERS, PRICES, strict=True))[tier], "difficulty": 0.0, "at": 1.0,
    }  # fmt: skip
    return Outcome(**(facts | given))  # type: ignore[arg-type]  # the facts of a test


def history(*told: tuple[str, str, bool, int]) -> RouteHistory:
    """A history of (request, tier, did it do, how often)."""
    found = RouteHistory(
        MemoryOutcomeStore(), embedder=Topics(), difficulty=replace(Difficulty.shipped())
    )
    for text, tier, ok, times in told:
        found.record("acme", text, [outcome(tier, ok)] * times)
    return found


def asked(
    text: str,
    known: RouteHistory,
    *,
    task_id: str = "task",
    prices: tuple[int | None, ...] = PRICES,
) -> RouteRequest:
    return RouteRequest(
        text=text, scope="acme/support", task_id=task_id, tiers=TIERS, prices_nusd=prices,
        recall=lambda: known.nearest("acme", text),
    )  # fmt: skip


NEVER = Learning(explore=0)


def test_without_outcomes_it_begins_with_the_cheapest() -> None:
    known = history()
    assert LearnedRoute(known, learning=NEVER)(asked("refund it", known)).order == (0, 1, 2)


def test_a_tier_that_fails_on_such_requests_is_skipped_for_them_alone() -> None:
    known = history(("lawsuit now", CHEAP, False, 12), ("refund it", CHEAP, True, 12))
    route = LearnedRoute(known, learning=NEVER)
    hard, easy = (route(asked(text, known)) for text in ("lawsuit later", "refund that"))
    assert (hard.order, easy.order) == ((1, 2), (0, 1, 2))
    assert "a:cheap would do in" in hard.reason
    assert hard.chances[CHEAP] < 0.25 < easy.chances[CHEAP]


def test_a_tier_in_the_middle_is_skipped_where_it_costs_more_than_it_saves() -> None:
    known = history(("sum it", MIDDLE, False, 6), ("sum it", MIDDLE, True, 3))
    prices = (100, 9_000, 10_000)
    dearer = [replace(each, cost_nusd=9_000) for each in known.outcomes("acme")]
    again = RouteHistory(MemoryOutcomeStore(), embedder=Topics())
    again.record("acme", "sum it", dearer)
    found = LearnedRoute(again, learning=NEVER)(asked("sum it", again, prices=prices))
    assert found.order == (0, 2)
    assert "costs more than it saves" in found.reason


def test_a_tier_that_is_dearer_and_worse_is_dropped() -> None:
    known = history(("x", CHEAP, True, 40), ("y", DEAR, False, 30), ("y", DEAR, True, 10))
    found = LearnedRoute(known, learning=NEVER)(asked("x", known))
    assert found.order == (0, 1)
    assert "c:dear is dearer than a:cheap and worse" in found.reason


def test_a_dear_tier_that_only_sees_what_others_failed_at_is_not_dropped_for_it() -> None:
    """Its share is of harder requests, and says nothing against it."""
    known = history(("x", CHEAP, True, 40))
    known.record("acme", "y", [outcome(DEAR, False, was_first=False)] * 30)
    assert LearnedRoute(known, learning=NEVER)(asked("x", known)).order == (0, 1, 2)


def test_a_tenant_learns_nothing_from_another() -> None:
    known = history(("lawsuit now", CHEAP, False, 12))
    request = replace(asked("lawsuit now", known), scope="other/support", recall=lambda: ())
    assert LearnedRoute(known, learning=NEVER)(request).order == (0, 1, 2)


def test_a_task_goes_on_as_it_began() -> None:
    known = history(("lawsuit now", CHEAP, False, 12))
    request = replace(asked("lawsuit now", known), step=2, current=(0, 2))
    assert LearnedRoute(known)(request).order == (0, 2)


def test_few_tasks_try_a_skipped_tier_and_always_the_same_ones() -> None:
    known = history(("lawsuit now", CHEAP, False, 12), ("lawsuit now", DEAR, True, 40))
    route = LearnedRoute(known, learning=Learning(explore=0.1))
    found = [
        route(asked("lawsuit now", known, task_id=f"task {number}")) for number in range(1_000)
    ]
    tried = [each for each in found if each.is_exploration]
    assert 60 < len(tried) < 140
    assert {each.order for each in tried} == {(0, 1, 2)}
    assert {each.exploration_nusd for each in tried} == {100}
    again = [
        route(asked("lawsuit now", known, task_id=f"task {number}")) for number in range(1_000)
    ]
    assert again == found


@settings(max_examples=60, deadline=None)
@given(
    outcomes=st.lists(
        st.tuples(
            st.sampled_from(TIERS), st.booleans(), st.booleans(), st.integers(0, 50_000),
            st.integers(0, 5_000),
        ),
        max_size=60,
    ),
    explore=st.floats(0, 0.5),
    numbers=st.integers(0, 10_000),
)  # fmt: skip
def test_trying_out_never_costs_more_than_its_share_of_what_was_spent(
    outcomes: list[tuple[str, bool, bool, int, int]], explore: float, numbers: int
) -> None:
    known = RouteHistory(MemoryOutcomeStore(), embedder=Topics())
    rows = [
        outcome(tier, ok, was_first=first, cost_nusd=cost, exploration_nusd=explored)
        for tier, ok, first, cost, explored in outcomes
    ]
    known.record("acme", "x", rows)
    spent, explored = (
        sum(getattr(row, name) for row in rows) for name in ("cost_nusd", "exploration_nusd")
    )
    route = LearnedRoute(known, learning=Learning(explore=explore))
    for number in range(numbers, numbers + 20):
        found = route(asked("x", known, task_id=str(number)))
        assert list(found.order) == sorted(set(found.order))
        if found.is_exploration:
            assert explored + found.exploration_nusd <= explore * spent


def test_a_chance_falls_with_difficulty_and_follows_outcomes() -> None:
    prior = ability_of([])
    assert prior.chance(-1) > prior.chance(0) > prior.chance(1)
    assert ability_of([outcome(CHEAP, False)] * 20).chance(0) < 0.2
    hard = [outcome(CHEAP, False, difficulty=1.0)] * 20
    easy = [outcome(CHEAP, True, difficulty=-1.0)] * 20
    taught = ability_of([*hard, *easy])
    assert (taught.chance(-1) > 0.8, taught.chance(1) < 0.3) == (True, True)


def test_what_is_not_alike_moves_no_chance() -> None:
    past = PastOutcome(
        similarity=0.5, tier=CHEAP, is_ok=False, weight=1.0, was_first=True, cost_nusd=0,
        difficulty=0.0, at=0.0,
    )  # fmt: skip
    assert near_chance(0.7, [past] * 9) == pytest.approx(0.7)
    assert near_chance(0.7, [replace(past, similarity=1.0)] * 2) == pytest.approx(0.35)


def test_a_record_counts_what_was_asked_first() -> None:
    rows = [outcome(DEAR, True)] * 8 + [outcome(DEAR, False, was_first=False)] * 50
    assert record_of(rows).evidence == 8
    assert record_of(rows).share == pytest.approx(0.9)


@pytest.mark.parametrize("given", [{"explore": 0.6}, {"least_chance": -1}, {"least_evidence": 0}])
def test_settings_that_make_no_sense_are_refused(given: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="use"):
        Learning(**given)


def test_a_route_without_a_history_says_where_to_get_one() -> None:
    with pytest.raises(ConfigError, match="RouteHistory"):
        LearnedRoute()(RouteRequest(text="x", tiers=TIERS))
