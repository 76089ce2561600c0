"""Who holds which sequence of the KV cache."""

from __future__ import annotations

import pytest

from agentkit.models.local.slots import Claim, SlotTable, shared_prefix


def claim(table: SlotTable, prompt: list[int], who: str | None, reserve: int = 20) -> Claim:
    found = table.claim(prompt, conversation=who, reserve_tokens=reserve)
    assert found is not None
    return found


def run(table: SlotTable, prompt: list[int], who: str | None, reserve: int = 20) -> Claim:
    """Claim, evaluate the whole prompt, release."""
    found = claim(table, prompt, who, reserve)
    found.slot.tokens = list(prompt)
    table.release(found.slot)
    return found


def test_a_conversation_comes_back_to_its_own_prefix() -> None:
    table = SlotTable(sequences=2, cells=100)
    first = run(table, [1, 2, 3], "a")
    run(table, [7, 8, 9], "b")
    again = claim(table, [1, 2, 3, 4, 5], "a")
    assert (again.slot.index, again.reused_tokens) == (first.slot.index, 3)


def test_the_last_token_is_always_evaluated() -> None:
    table = SlotTable(sequences=1, cells=100)
    run(table, [1, 2, 3], "a")
    assert claim(table, [1, 2, 3], "a").reused_tokens == 2


def test_the_least_recently_used_idle_slot_is_taken_over() -> None:
    table = SlotTable(sequences=2, cells=100)
    run(table, [1], "a")
    run(table, [2], "b")
    run(table, [1, 1], "a")
    run(table, [3], "c")
    assert table.resident() == {"a": 2, "c": 1}


def test_a_busy_slot_is_never_taken() -> None:
    table = SlotTable(sequences=1, cells=100)
    claim(table, [1, 2], "a")
    assert table.claim([3], conversation="b", reserve_tokens=5) is None


def test_two_calls_of_one_conversation_at_once_get_two_slots() -> None:
    table = SlotTable(sequences=2, cells=100)
    first = claim(table, [1, 2], "a")
    assert claim(table, [1, 3], "a").slot is not first.slot


def test_idle_conversations_leave_when_cells_run_out_oldest_first() -> None:
    table = SlotTable(sequences=4, cells=100)
    run(table, list(range(40)), "old", 40)
    run(table, list(range(100, 140)), "new", 40)
    found = claim(table, list(range(200, 230)), "c", 50)
    assert found.evicted == (0,)
    assert table.resident() == {"new": 40, "c": 0}


def test_cells_promised_to_busy_slots_are_not_promised_again() -> None:
    table = SlotTable(sequences=4, cells=100)
    claim(table, [1], "a", 80)
    assert table.claim([2], conversation="b", reserve_tokens=30) is None
    assert table.claim([2], conversation="b", reserve_tokens=20) is not None


def test_a_long_common_beginning_is_copied_from_another_conversation() -> None:
    table = SlotTable(sequences=3, cells=200)
    donor = run(table, list(range(50)), "a", 60)
    found = claim(table, [*range(40), 99, 98], "b", 60)
    assert (found.copy_from, found.reused_tokens) == (donor.slot.index, 40)


def test_a_short_common_beginning_is_not_worth_a_copy() -> None:
    table = SlotTable(sequences=3, cells=200)
    run(table, list(range(50)), "a", 60)
    assert claim(table, [0, 1, 2, 99], "b").copy_from is None


@pytest.mark.parametrize(
    ("left", "right", "length"),
    [([], [1], 0), ([1, 2], [1, 2], 2), ([1, 2, 3], [1, 2], 2), ([1, 9], [1, 2, 3], 1)],
)
def test_shared_prefix(left: list[int], right: list[int], length: int) -> None:
    assert shared_prefix(left, right) == length
