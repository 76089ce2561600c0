"""The threshold keeps its promise, and the neighbours are the nearest."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.memory.cache import Outcome, threshold_for
from agentkit.memory.cache.calibrated import shipped_threshold
from agentkit.memory.cache.neighbours import SHORTLIST, WIDEST_MARGIN, Neighbours, first_of
from agentkit.memory.cache.store import Near
from agentkit.memory.cache.threshold import NEVER, moved_threshold

outcomes = st.lists(st.builds(Outcome, st.floats(0, 1), st.booleans()), max_size=300)


@given(outcomes, st.floats(0.005, 0.5))
def test_the_promise_holds_on_what_it_was_chosen_on(rows: list[Outcome], share: float) -> None:
    threshold = threshold_for(rows, share)
    hits = [row for row in rows if row.score >= threshold]
    wrong = sum(not hit.right for hit in hits)
    assert not hits or (wrong + 1) / (len(hits) + 1) <= share


@given(outcomes, st.floats(0.005, 0.5))
def test_no_lower_score_keeps_it(rows: list[Outcome], share: float) -> None:
    threshold = threshold_for(rows, share)
    for lower in {row.score for row in rows if row.score < threshold}:
        hits = [row for row in rows if row.score >= lower]
        assert (sum(not hit.right for hit in hits) + 1) / (len(hits) + 1) > share


def test_a_hundred_rows_are_the_least_that_promise_one_percent() -> None:
    right = [Outcome(0.9, True)] * 98
    assert threshold_for(right, 0.01) == NEVER
    assert threshold_for([*right, Outcome(0.8, True)], 0.01) == 0.8
    with pytest.raises(ValueError, match="give a share"):
        threshold_for(right, 1.0)


@given(outcomes, st.floats(0.001, 0.5))
def test_reports_only_ever_raise_it_and_keep_the_promise(rows: list[Outcome], share: float) -> None:
    moved = moved_threshold(0.3, rows, share)
    kept = [row for row in rows if row.score >= moved]
    assert moved >= 0.3
    assert sum(not row.right for row in kept) <= share * len(kept)


def test_a_promise_takes_the_threshold_of_the_stricter_one() -> None:
    exact, looser = (shipped_threshold("agentkit-static-1", share) for share in (0.01, 0.015))
    assert exact == looser < NEVER
    assert shipped_threshold("agentkit-static-1", 0.05) < exact
    assert shipped_threshold("agentkit-static-1", 0.001) == NEVER
    assert shipped_threshold("somebody-elses", 0.05) == NEVER


def unit(rng: np.random.Generator, count: int, dimensions: int) -> np.ndarray:
    rows = rng.standard_normal((count, dimensions)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_sketches_find_the_nearest_of_many() -> None:
    rng = np.random.default_rng(3)
    rows = unit(rng, 6_000, 128)
    near = Neighbours(128)
    for number, row in enumerate(rows):
        near.put(str(number), row, str(number))
    for number in range(0, 6_000, 60):
        asked = rows[number] + 0.05 * unit(rng, 1, 128)[0]
        asked /= np.linalg.norm(asked)
        found = near.nearest(asked)
        assert found is not None and found.entry_id == str(number)
        assert found.cosine == pytest.approx(float(rows[number] @ asked), abs=1e-5)


def kept_at(*kept: tuple[float, str]) -> Neighbours:
    """Questions at these cosines to `ASKED`, with their answers."""
    near = Neighbours(2)
    for number, (cosine, answer) in enumerate(kept):
        near.put(str(number), np.array([cosine, math.sqrt(1 - cosine**2)], np.float32), answer)
    return near


ASKED = np.array([1, 0], np.float32)


def test_entries_with_the_same_answer_are_no_rivals() -> None:
    found = kept_at((1.0, "yes"), (0.8, "yes")).nearest(ASKED)
    assert found is not None and found.margin == WIDEST_MARGIN
    found = kept_at((1.0, "yes"), (0.3, "yes"), (0.8, "no")).nearest(ASKED)
    assert found is not None and found.margin == pytest.approx(0.2, abs=1e-6)
    assert found.score == pytest.approx(1.4, abs=1e-6)


def test_other_entries_of_an_answer_speak_for_it_and_a_unique_one_counts_by_its_cosine() -> None:
    alone = kept_at((0.8, "yes"), (0.7, "no")).nearest(ASKED)
    assert alone is not None and alone.evidence == pytest.approx(alone.cosine)
    backed = kept_at((0.8, "yes"), (0.8, "yes"), (0.7, "no")).nearest(ASKED)
    assert backed is not None and backed.cosine == alone.cosine
    assert backed.evidence == pytest.approx(0.8 + 0.05 * math.log(2))
    assert backed.margin == pytest.approx(0.1 + 0.05 * math.log(2))


def test_an_answer_with_more_behind_it_than_the_nearest_one_takes_its_lead_away() -> None:
    found = kept_at((0.8, "yes"), *[(0.78, "no")] * 4).nearest(ASKED)
    assert found is not None and found.entry_id == "0"
    assert found.margin == pytest.approx(0.02 - 0.05 * math.log(4))
    assert found.score < found.cosine


def test_any_number_of_entries_adds_less_than_a_quarter() -> None:
    found = kept_at(*[(0.5, "yes")] * 500).nearest(ASKED)
    assert found is not None and 0.7 < found.evidence < 0.75


@given(st.lists(st.tuples(st.integers(0, 99), st.sampled_from("abc")), min_size=1, max_size=150))
def test_a_server_that_compares_comes_to_the_same(kept: list[tuple[int, str]]) -> None:
    rows = [(cosine / 100 + place / 1e5, answer) for place, (cosine, answer) in enumerate(kept)]
    near = [Near(str(place), cosine, answer) for place, (cosine, answer) in enumerate(rows)]
    there = first_of(sorted(near, key=lambda each: -each.cosine)[:SHORTLIST])
    here = kept_at(*rows).nearest(ASKED)
    assert here is not None and there is not None and here.entry_id == there.entry_id
    assert here[1:] == pytest.approx(there[1:], abs=1e-4)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), max_size=60))
def test_what_is_removed_is_gone_whatever_the_order(steps: list[tuple[bool, int]]) -> None:
    near, kept = Neighbours(4), set[int]()
    for put, number in steps:
        if put:
            angle = number / 10
            near.put(str(number), np.array([math.cos(angle), math.sin(angle), 0, 0], "f4"), "x")
            kept.add(number)
        else:
            near.remove([str(number)])
            kept.discard(number)
    assert len(near) == len(kept)
    for number in kept:
        angle = number / 10
        found = near.nearest(np.array([math.cos(angle), math.sin(angle), 0, 0], "f4"))
        assert found is not None and found.entry_id == str(number)
