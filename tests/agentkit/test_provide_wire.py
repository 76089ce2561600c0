"""Later tools through both real client libraries: valid requests, one prefix, one bill."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import pytest

from agentkit import Agent, Budget, chat_model
from agentkit.budgets.price import Price, Rates
from agentkit.budgets.tokens import count_text
from agentkit.tools.provision import Provisioning
from agentkit.tools.provision.placing import LEAST_CACHED_TOKENS, place, rewrite_nusd
from tests.agentkit.test_provide import many_tools
from tests.wire import Reply, ScriptedProvider, steps

NAMES = {"openai": "gpt-5-mini", "anthropic": "claude-haiku-4-5"}
RATES = Rates(
    input=3_000_000_000,
    cache_read=300_000_000,
    cache_write_5m=3_750_000_000,
    cache_write_1h=6_000_000_000,
    output=15_000_000_000,
)
PRICE = Price(
    model="large", provider="acme", state="priced", source="override", bands=((0, RATES),)
)


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
def test_a_tool_that_comes_later_is_called_over_the_wire(
    wire: Literal["openai", "anthropic"],
) -> None:
    called = {"name": "find_football_score", "arguments": {"item": "Brann"}}
    script = steps(
        [
            Reply(
                text="Next I need the football score.",
                tool_calls=[("find_weather_forecast", {"item": "Oslo"})],
            ),
            Reply(tool_calls=[("call_tool", called)]),
            Reply(text="done"),
        ]
    )
    with ScriptedProvider(script, count=count_text) as provider:
        url = provider.openai_url if wire == "openai" else provider.anthropic_url
        model = chat_model(f"{wire}:{NAMES[wire]}", base_url=url, api_key="test", timeout=20.0)
        agent = Agent(
            [model],
            many_tools(),
            budget=Budget(usd="0.10"),
            provisioning=Provisioning(limit_tokens=800, later="transcript"),
        )
        result = agent.run("find the weather forecast for Oslo")
        assert (result.outcome, result.answer) == ("answered", "done")
        assert [record.tools_called for record in result.records] == [
            ("find_weather_forecast",),
            ("find_football_score",),
            (),
        ]
        assert len({record.tools_offered for record in result.records}) == 1
        assert result.cost_usd == Decimal(provider.bill.cost_nusd).scaleb(-9)


def test_a_rewritten_prefix_costs_the_write_less_the_read() -> None:
    assert rewrite_nusd(PRICE, 1_000_000) == 3_750_000_000 - 300_000_000


@pytest.mark.parametrize(
    ("prefix_tokens", "is_local", "changes", "expected"),
    [
        (LEAST_CACHED_TOKENS - 1, False, 0, "definitions"),
        (LEAST_CACHED_TOKENS, False, 0, "transcript"),
        (50_000, False, 0, "transcript"),
        (100, False, 1, "transcript"),
        (50_000, True, 3, "definitions"),
    ],
    ids=["nothing cached", "just cached", "long", "changed before", "local"],
)
def test_what_costs_less_decides_where_later_tools_stand(
    prefix_tokens: int, is_local: bool, changes: int, expected: str
) -> None:
    where = place(PRICE, prefix_tokens=prefix_tokens, tools=3, is_local=is_local, changes=changes)
    assert where == expected
