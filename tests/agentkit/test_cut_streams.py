"""Answers of hosted models that go in circles, through the real clients: cut while they come."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from agentkit import Agent, Cascade, TaskResult, chat_model
from tests.wire import Reply, ScriptedProvider, WireRequest

Wire = Literal["openai", "anthropic"]
CHEAP = {"openai": "openai:gpt-5-mini", "anthropic": "anthropic:claude-haiku-4-5"}
CIRCLES = "It is as it was and so it is. " * 1_500
"""It takes over a minute to send, so that it is cut in time on a busy machine, too."""
LIST = "\n".join(f"Order {n}: {n * 17 % 101} pieces, delivered to the shop." for n in range(60))


@pytest.fixture(params=["openai", "anthropic"])
def wire(request: pytest.FixtureRequest) -> Wire:
    name: Wire = request.param
    return name


def models(wire: Wire, server: ScriptedProvider) -> list[Any]:
    url = server.openai_url if wire == "openai" else server.anthropic_url
    return [
        chat_model(CHEAP[wire], base_url=url, api_key="test", max_tokens=16_000),
        chat_model("openai:gpt-5.1", base_url=server.openai_url, api_key="test"),
    ]


def says(cheap: str, *, pause_seconds: float = 0.0) -> Any:
    def script(request: WireRequest) -> Reply:
        if request.model == "gpt-5.1":
            return Reply(text="forty two")
        return Reply(text=cheap, pause_seconds=pause_seconds)

    return script


def billed_nusd(server: ScriptedProvider) -> int:
    assert server.wait_idle()
    return int(server.bill.to_dict()["total"]["cost_nusd"])


def assert_cut(result: TaskResult) -> None:
    first, second = result.records
    assert (first.status, first.confirmed, first.error) == (
        "cut", False, "it went in circles and was cut",
    )  # fmt: skip
    assert second.escalation == "the answer went in circles and was cut"
    assert (result.outcome, result.answer) == ("answered", "forty two")


def test_a_circling_answer_gives_way_and_costs_its_worst_case(wire: Wire) -> None:
    with ScriptedProvider(says(CIRCLES, pause_seconds=0.006)) as server:
        asked = Agent(models(wire, server), cascade=Cascade(cut_babble=True))
        result = asked.run("why?")
        assert_cut(result)
        assert sum(record.cost_nusd for record in result.records) >= billed_nusd(server)
        assert [each.delivered_usage for each in server.bill.records] == [False, True]


async def test_so_it_is_on_the_event_loop(wire: Wire) -> None:
    with ScriptedProvider(says(CIRCLES, pause_seconds=0.006)) as server:
        asked = Agent(models(wire, server), cascade=Cascade(cut_babble=True))
        assert_cut(await asked.arun("why?"))
        assert server.wait_idle()
        assert [each.delivered_usage for each in server.bill.records] == [False, True]


def test_an_answer_of_many_like_lines_is_whole_and_costs_what_is_billed(wire: Wire) -> None:
    with ScriptedProvider(says(LIST)) as server:
        cut = Cascade(cut_babble=True)
        result = Agent(models(wire, server), cascade=cut, quality=0.5).run("which?")
        (record,) = result.records
        assert (result.answer, record.status, record.confirmed) == (LIST, "ok", True)
        assert record.cost_nusd == billed_nusd(server)


def test_without_the_setting_it_is_read_to_its_end(wire: Wire) -> None:
    with ScriptedProvider(says(CIRCLES)) as server:
        result = Agent(models(wire, server), cascade=Cascade()).run("why?")
        assert (result.records[0].status, result.records[0].confirmed) == ("ok", True)
