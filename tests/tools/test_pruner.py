"""Observations of a task: tighter at once, pruned once offering recall pays."""

import json
from functools import partial
from typing import Any

import pytest

from agentkit.budgets.tokens import count_text
from agentkit.tools.errors import InvalidLimits
from agentkit.tools.observation_store import MemoryObservationStore
from agentkit.tools.prune import prune
from agentkit.tools.prune.pruned import Pruned
from agentkit.tools.pruner import Pruning, TaskPruner
from agentkit.tools.sent_prefix import SentPrefix

ROWS = [
    {"order_id": f"ORD-{n}", "note": f"Customer {n} asked twice for {n * 7}."} for n in range(60)
]
LONG = json.dumps({"orders": ROWS}, indent=2)


@pytest.fixture
def store() -> MemoryObservationStore:
    return MemoryObservationStore()


def pruner_of(store: MemoryObservationStore, *, recalls: bool = False) -> TaskPruner:
    return TaskPruner(Pruning(), partial(store.put, "task"), recalls=recalls)


def test_short_observations_are_not_touched(store: MemoryObservationStore) -> None:
    assert pruner_of(store).prune("sunny", query="", sent=SentPrefix(tokens=9_000, calls=1)) is None


def test_long_one_is_pruned_where_little_was_cached(store: MemoryObservationStore) -> None:
    pruner = pruner_of(store)
    found = pruner.prune(LONG, query="", sent=SentPrefix(tokens=300, calls=1))
    assert found is not None
    assert pruner.recalls
    assert found.handle is not None
    assert store.get("task", found.handle) == LONG
    assert count_text(found.text) <= Pruning().max_tokens


def test_nothing_is_left_out_where_the_broken_cache_costs_more(
    store: MemoryObservationStore,
) -> None:
    pruner = pruner_of(store)
    found = pruner.prune(LONG, query="", sent=SentPrefix(tokens=50_000, calls=1))
    assert found is not None
    assert not pruner.recalls
    assert found.handle is None
    assert count_text(found.text) < count_text(LONG)
    for row in ROWS:
        assert row["order_id"] in found.text
        assert row["note"] in found.text


def test_where_recall_is_on_offer_a_long_one_is_pruned(store: MemoryObservationStore) -> None:
    found = pruner_of(store, recalls=True).prune(
        LONG, query="", sent=SentPrefix(tokens=9_000, calls=9)
    )
    assert found is not None
    assert found.handle is not None


def test_prefix_is_filled_up_to_the_least_that_is_cached(store: MemoryObservationStore) -> None:
    """What is sent must reach 1,024 tokens: 700 stand there, so that pruning to 200 would not."""
    pruner = pruner_of(store, recalls=True)
    found = pruner.prune(LONG, query="", sent=SentPrefix(tokens=700, calls=3))
    assert found is not None
    assert found.was_pruned
    assert 324 <= count_text(found.text) <= 324 + 48


def test_short_one_is_sent_as_it_is_where_only_so_it_is_cached(
    store: MemoryObservationStore,
) -> None:
    spaced = json.dumps({"orders": ROWS[:5]}, indent=6)
    before = SentPrefix(tokens=1_024 - count_text(spaced) + 10, calls=3)
    assert pruner_of(store).prune(spaced, query="", sent=before) is None
    nowhere = SentPrefix(tokens=before.tokens, calls=3, least_cached_tokens=None)
    assert pruner_of(store).prune(spaced, query="", sent=nowhere) is not None


def test_little_is_not_left_out_where_a_fetch_would_cost_much(
    store: MemoryObservationStore,
) -> None:
    """In a task's first step nothing was saved yet that could pay for bringing it back."""
    text = "\n".join(f"The order ORD-{n} was paid on day {n} of March." for n in range(19))
    first = pruner_of(store).prune(text, query="", sent=SentPrefix(tokens=600, calls=1))
    assert first is not None
    assert not first.was_pruned
    later = pruner_of(store)
    later.prune(LONG, query="", sent=SentPrefix(tokens=600, calls=1))
    again = later.prune(text, query="", sent=SentPrefix(tokens=9_000, calls=20))
    assert again is not None
    assert again.was_pruned


def test_long_one_is_looked_at_once(
    store: MemoryObservationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    def counted(text: str, **arguments: Any) -> Pruned:
        looks.append(len(text))
        return prune(text, **arguments)

    monkeypatch.setattr("agentkit.tools.pruner.prune", counted)
    found = pruner_of(store).prune(LONG * 9, query="", sent=SentPrefix(tokens=300, calls=1))
    assert found is not None
    assert found.was_pruned
    assert looks == [len(LONG * 9)]


def test_what_an_earlier_process_sent_is_not_told_again(store: MemoryObservationStore) -> None:
    pruner = pruner_of(store, recalls=True)
    pruner.remember(LONG)
    found = pruner.prune(LONG, query="", sent=SentPrefix(tokens=100, calls=1))
    assert found is not None
    assert count_text(found.text) < 60


@pytest.mark.parametrize(
    "name", ["max_tokens", "recall_tokens", "range_tokens", "time_budget_seconds"]
)
def test_limits_are_above_zero(name: str) -> None:
    with pytest.raises(InvalidLimits, match=name):
        Pruning(**{name: 0})
