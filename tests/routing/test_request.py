"""What a route's answer means."""

from __future__ import annotations

import pytest

from agentkit.errors import ConfigError
from agentkit.routing.request import RouteAnswer, Routed, RouteRequest, routed

REQUEST = RouteRequest(text="hello", tiers=("a:small", "b:middle", "c:dear"))


@pytest.mark.parametrize(
    ("answer", "order"),
    [
        (None, (0, 1, 2)),
        (0, (0, 1, 2)),
        (1, (1, 2)),
        (-1, (2,)),
        ("b:middle", (1, 2)),
        ([0, 2], (0, 2)),
        (("a:small", -1), (0, 2)),
        ([1], (1,)),
        (Routed(order=(0, 2), reason="because"), (0, 2)),
    ],
)
def test_an_answer_names_the_tiers_that_are_tried(
    answer: RouteAnswer, order: tuple[int, ...]
) -> None:
    assert routed(answer, REQUEST, reason="").order == order


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (3, "names the tier 3; there are 0"),
        (-4, "names the tier -4"),
        ("d:dearer", "'d:dearer'; there are"),
        (True, "by bool"),
        ([], "no tier at all"),
        ([2, 0], "from cheap to dear"),
        ([1, 1], "each tier once"),
        (1.5, "answered with float"),
    ],
)
def test_an_answer_that_names_no_tier_is_refused(answer: object, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        routed(answer, REQUEST, reason="")  # type: ignore[arg-type]  # what a function may return


def test_nothing_said_later_on_leaves_a_task_as_it_was() -> None:
    later = RouteRequest(text="hello", tiers=REQUEST.tiers, step=2, current=(1, 2))
    assert routed(None, later, reason="").order == (1, 2)
