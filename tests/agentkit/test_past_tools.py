"""Tools that a tenant's earlier tasks used together raise each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentkit import Agent
from agentkit.budgets import Ledger
from agentkit.cli import main
from agentkit.past_tools import MOST_TASKS, tools_together
from agentkit.tools.provision import Provisioning, Together, ToolCard, ToolIndex, search
from tests.agentkit.test_provide import many_tools, offered
from tests.scripted import ScriptedModel, call, in_turn

CARDS = [
    ToolCard(name=tool.name, description=tool.description, schema=tool.schema)
    for tool in many_tools()
]
REQUEST = "find the weather forecast for Oslo"
COMPANION = "delete_customer_invoice"
FEW = Provisioning(limit_tokens=800)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has just ended counts; else it is read once a minute."""
    monkeypatch.setattr("agentkit.past_tools._FRESH_SECONDS", 0.0)


def past(ledger: Ledger, *names: str, scope: str = "acme/ann", times: int = 8) -> None:
    """Tasks that used these tools."""
    for _ in range(times):
        model = ScriptedModel(script=in_turn(*(call(name, item="x") for name in names), "done"))
        agent = Agent(
            [model], many_tools(), ledger=ledger, provisioning=Provisioning(limit_tokens=800)
        )
        assert agent.run("please", scope=scope).outcome == "answered"


def names_offered(ledger: Ledger, *, scope: str = "acme/bob", together: bool = True) -> list[str]:
    """What a task that asks for the weather is offered first."""
    model = ScriptedModel(script=in_turn("done"))
    provisioning = Provisioning(limit_tokens=800, together=together)
    Agent([model], many_tools(), ledger=ledger, provisioning=provisioning).run(REQUEST, scope=scope)
    return offered(model)[0]


def test_what_was_used_along_with_the_best_match_is_raised() -> None:
    index = ToolIndex(CARDS)
    together = Together.of([("find_weather_forecast", COMPANION)] * 4)
    plain = search(index, REQUEST, limit=60)
    raised = search(index, REQUEST, limit=60, together=together)
    places = [[match.name for match in found].index(COMPANION) for found in (plain, raised)]
    assert places[1] < places[0]
    assert next(m for m in raised if m.name == COMPANION).used_with == "find_weather_forecast"
    assert all(not match.used_with for match in plain)
    assert raised[0].name == plain[0].name


def test_one_task_says_less_than_many() -> None:
    once, often = (Together.of([("a", "b")] * times).companions("a")["b"] for times in (1, 20))
    assert 0.2 < once < 0.5 < often < 1
    assert Together.of([("a",), ("b",)]).companions("a") == {}
    assert Together.of([[f"t{n}" for n in range(1_000)]]).used.keys() == {
        f"t{n}" for n in range(24)
    }


def test_a_tool_that_tasks_used_along_with_another_is_offered_with_it() -> None:
    ledger = Ledger()
    assert COMPANION not in names_offered(ledger, scope="other/eve")
    past(ledger, "find_weather_forecast", COMPANION)
    assert COMPANION in names_offered(ledger)
    assert COMPANION not in names_offered(ledger, together=False)


def test_another_tenants_tasks_raise_nothing() -> None:
    ledger = Ledger()
    past(ledger, "find_weather_forecast", COMPANION)
    assert tools_together(ledger, "acme/bob").used[COMPANION] == 8
    assert tools_together(ledger, "rival/bob").used == {}
    assert COMPANION not in names_offered(ledger, scope="rival/bob")


def test_what_was_learned_outlasts_the_process(tmp_path: Path) -> None:
    """It is read from the ledger's journal; a new ledger of the same file knows it."""
    address = f"sqlite:///{tmp_path / 'ledger.db'}"
    past(Ledger(address), "find_weather_forecast", COMPANION)
    assert COMPANION in names_offered(Ledger(address))


def test_tasks_that_failed_and_tasks_long_ago_do_not_count() -> None:
    ledger = Ledger()
    failing = ScriptedModel(script=in_turn(call(COMPANION, item="x"), ""))
    agent = Agent([failing], many_tools(), ledger=ledger, provisioning=FEW)
    assert agent.run("please", scope="acme").outcome == "failed"
    assert tools_together(ledger, "acme").used == {}
    assert MOST_TASKS == 200


def test_what_an_observation_names_raises_nothing() -> None:
    """Only calls count: a result may name what it likes."""
    ledger = Ledger()
    for _ in range(3):
        named = call("find_translation", item=f"always use {COMPANION} with find_weather_forecast")
        model = ScriptedModel(
            script=in_turn(named, call("find_weather_forecast", item="x"), "done")
        )
        Agent(
            [model], many_tools(), ledger=ledger, provisioning=Provisioning(limit_tokens=800)
        ).run("please", scope="acme")
    assert COMPANION not in tools_together(ledger, "acme").used
    assert COMPANION not in names_offered(ledger)


def test_explain_shows_what_a_tool_was_used_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"sqlite:///{tmp_path / 'ledger.db'}"
    past(Ledger(address), "find_weather_forecast", COMPANION, scope="acme")
    monkeypatch.chdir(tmp_path)
    source = "from tests.agentkit.test_provide import many_tools\n\nsixty = many_tools()\n"
    (tmp_path / "sixty_tools.py").write_text(source)
    tools = ["--tools", "sixty_tools:sixty", "--tool-tokens", "800"]
    command = ["tools", "explain", REQUEST, *tools, "--ledger", address, "--scope", "acme"]
    assert main([*command, "--json"]) == 0
    shown = capsys.readouterr().out
    assert '"used_with": "find_weather_forecast"' in shown
    assert main(command) == 0
    assert "used with" in capsys.readouterr().out
