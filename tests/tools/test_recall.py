"""Recall brings back the part that is asked for, and never more than its bound."""

import json
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.budgets.tokens import count_text
from agentkit.tools import ToolCatalogue, run_calls
from agentkit.tools.observation_store import MemoryObservationStore
from agentkit.tools.prune import prune
from agentkit.tools.recall import recall, recall_tool

ROWS = json.dumps([{"id": f"ORD-{n}", "total": n * 7} for n in range(4000)])
FEW_ROWS = json.dumps([{"id": f"ORD-{n}", "total": n * 7} for n in range(3)])
LINES = "\n".join(f"line number {n}" for n in range(1, 3001))


@pytest.fixture
def store() -> MemoryObservationStore:
    return MemoryObservationStore()


def test_what_pruning_left_out_comes_back_for_a_query(store: MemoryObservationStore) -> None:
    pruned = prune(ROWS, max_tokens=150, keep=partial(store.put, "task"))
    assert pruned.handle is not None
    assert "ORD-3141" not in pruned.text
    found = recall(store, "task", pruned.handle, "ORD-3141", max_tokens=150)
    assert "ORD-3141 21987" in found
    assert count_text(found) <= 150


def test_log_line_that_is_asked_for_goes_before_templates(store: MemoryObservationStore) -> None:
    lines = [f"2026-01-01 10:00:00 INFO paid order {n}" for n in range(3000)]
    handle = store.put("task", "\n".join(lines))
    assert lines[2718] in recall(store, "task", handle, "2718", max_tokens=100).split("\n")


def test_range_gives_those_lines(store: MemoryObservationStore) -> None:
    found = recall(store, "task", store.put("task", LINES), range="120-122")
    assert found == (
        "line number 120\nline number 121\nline number 122\n[lines 120 to 122 of 3,000]"
    )


def test_range_that_does_not_fit_says_what_comes_next(store: MemoryObservationStore) -> None:
    found = recall(store, "task", store.put("task", LINES), range="100-2000", max_tokens=100)
    last = int(found.split("\n")[-2].rsplit(" ", 1)[1])
    assert found.endswith(f"[lines 100 to {last} of 3,000; next: {last + 1}-2000]")
    assert count_text(found) <= 100


@pytest.mark.parametrize(
    ("wanted", "first", "last"), [("", 1, 3000), ("7", 7, 7), ("2998-", 2998, 3000), ("-2", 1, 2)]
)
def test_ranges_may_be_short(
    store: MemoryObservationStore, wanted: str, first: int, last: int
) -> None:
    found = recall(store, "task", store.put("task", LINES), range=wanted, max_tokens=100_000)
    assert found.startswith(f"line number {first}\n")
    assert found.endswith(f"[lines {first:,} to {last:,} of 3,000]")


@pytest.mark.parametrize("wanted", ["5-2", "0", "9000", "ten", "1-2-3"])
def test_range_that_makes_no_sense_is_said(store: MemoryObservationStore, wanted: str) -> None:
    found = recall(store, "task", store.put("task", LINES), range=wanted)
    assert found == '[no such range; give lines of 1 to 3,000, as in "120-180"]'


def test_range_of_json_on_one_line_counts_its_rows(store: MemoryObservationStore) -> None:
    found = recall(store, "task", store.put("task", FEW_ROWS), range="2-3")
    assert found.splitlines()[:2] == [" ORD-0 0", " ORD-1 7"]


def test_range_of_long_json_counts_its_readable_lines(store: MemoryObservationStore) -> None:
    found = recall(store, "task", store.put("task", ROWS), range="2-4")
    assert found.startswith(' {\n  "id": "ORD-0",\n  "total": 0\n')


def test_what_is_asked_for_is_shown_before_names_in_the_rest(store: MemoryObservationStore) -> None:
    files = [
        {"name": f"File of {kind}", "url": f"https://data.example/{kind}?{'x' * 150}"}
        for kind in ("csv", "rdf", "json", "xml")
    ]
    kept = store.put("task", json.dumps({"files": files}))
    found = recall(store, "task", kept, "the rdf file", max_tokens=180)
    assert files[1]["url"] in found


def test_tool_brings_back_more_lines_than_answers_to_a_query(store: MemoryObservationStore) -> None:
    tool = recall_tool(store, lambda: "task", max_tokens=100, range_tokens=400).tool
    kept = store.put("task", LINES)
    asked, lines = (
        str(tool.invoke({"handle": kept, **wanted}))
        for wanted in ({"query": "2718"}, {"range": "1-"})
    )
    assert count_text(asked) <= 100 < 300 < count_text(lines) <= 400


def test_one_endless_line_is_cut(store: MemoryObservationStore) -> None:
    found = recall(store, "task", store.put("task", "word " * 100_000), range="1", max_tokens=80)
    assert count_text(found) <= 80
    assert found.endswith("[lines 1 to 1 of 1]")


def test_unknown_handle_is_said(store: MemoryObservationStore) -> None:
    assert "nothing is kept as o-x" in recall(store, "task", "o-x", "query")


@given(
    text=st.text(min_size=1, max_size=2000),
    query=st.none() | st.text(max_size=30),
    wanted=st.none() | st.text("0123456789-", max_size=8),
    handle=st.none() | st.text(max_size=300),
)
def test_answer_never_exceeds_its_bound(
    text: str, query: str | None, wanted: str | None, handle: str | None
) -> None:
    store = MemoryObservationStore()
    kept = store.put("task", text)
    found = recall(store, "task", kept if handle is None else handle, query, wanted, max_tokens=64)
    assert found
    assert count_text(found) <= 64


def test_tool_sees_the_running_tasks_observations_only(store: MemoryObservationStore) -> None:
    handle = store.put("task a", "the code is 4711")
    task = "task a"
    catalogue = ToolCatalogue([recall_tool(store, lambda: task)])
    call = {"name": "recall", "args": {"handle": handle}, "id": "c1", "type": "tool_call"}
    (found,) = run_calls([call], catalogue)  # type: ignore[list-item]  # a plain ToolCall
    assert found.content.startswith("the code is 4711")
    task = "task b"
    (found,) = run_calls([call], catalogue)  # type: ignore[list-item]  # a plain ToolCall
    assert "nothing is kept" in found.content
