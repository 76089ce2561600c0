"""What earlier observations of a task told is named, and never told again."""

import json
from functools import partial

from agentkit.budgets.tokens import count_text
from agentkit.tools.observation_store import MemoryObservationStore
from agentkit.tools.prune import Earlier, prune

TOOL = {"server": "maps", "tool": "geocode", "about": "Finds coordinates of an address. " * 9}
OTHER = {"server": "maps", "tool": "route", "about": "Finds the way between two places. " * 9}
CODE = "\n".join(f"def step_{n}(order):\n    return order.total * {n}" for n in range(30))


def test_object_that_comes_again_is_shown_by_its_first_fields() -> None:
    earlier = Earlier()
    first = prune(json.dumps({"tools": [TOOL]}), earlier=earlier)
    second = prune(json.dumps({"tools": [OTHER, TOOL]}), earlier=earlier)
    assert "coordinates" in first.text
    assert "geocode" in second.text
    assert "coordinates" not in second.text
    assert "way between" in second.text


def test_lines_that_come_again_are_counted() -> None:
    earlier = Earlier()
    prune(CODE, earlier=earlier)
    again = prune(f"NEW = 1\n{CODE}", earlier=earlier).text
    assert "NEW = 1" in again
    assert "lines as before]" in again
    assert count_text(again) < count_text(CODE) / 4


def test_whole_is_kept_where_something_is_only_named() -> None:
    store, earlier = MemoryObservationStore(), Earlier()
    text = json.dumps({"tools": [TOOL]})
    prune(text, earlier=earlier)
    found = prune(text, earlier=earlier, keep=partial(store.put, "task"))
    assert found.handle is not None
    assert found.handle in found.text
    assert store.get("task", found.handle) == text


def test_short_repeats_stay() -> None:
    earlier = Earlier()
    text = '{"status": "open"}'
    prune(text, earlier=earlier)
    assert "open" in prune(text, earlier=earlier).text


def test_copy_remembers_the_same_and_goes_its_own_way() -> None:
    earlier = Earlier()
    prune(json.dumps(TOOL), earlier=earlier)
    other = earlier.copy()
    prune(json.dumps(OTHER), earlier=other)
    assert "way between" not in prune(json.dumps(OTHER), earlier=other).text
    assert "way between" in prune(json.dumps(OTHER), earlier=earlier).text
