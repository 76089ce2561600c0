"""A cache of answers is not poisoned, and serves nothing that a killed process left half done."""

from __future__ import annotations

import os

import pytest

from benchmarks.cache_safety import cross_tenant, kills, poisoning


def test_no_answer_crosses_tenants_or_users() -> None:
    told = cross_tenant(tenants=10, requests=40)
    assert told["crossed"] == 0
    assert told["own_hits"] == 10 * 20  # so that something could have crossed


def test_an_attackers_near_duplicates_and_planted_pages_reach_nobody_else() -> None:
    told = poisoning(10)
    assert (told["false"], told["false_after_taint"]) == (0, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a fork of itself")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_process_killed_while_it_keeps_answers_leaves_none_that_is_wrong() -> None:
    told = kills(3, seed=1)
    assert told["kills"] == 3
    assert (told["wrong"], told["wrong_afterwards"]) == (0, 0)
