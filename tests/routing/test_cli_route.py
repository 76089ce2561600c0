"""`agentkit route`, and what `agentkit why` tells of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentkit import Agent
from agentkit.budgets import Ledger
from agentkit.cli import main
from agentkit.routing import LearnedRoute, RouteHistory
from agentkit.routing.outcome import Outcome
from tests.scripted import ScriptedModel, in_turn

MODELS = ("--model", "local:pocket", "--model", "openai:gpt-5-mini")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def taught(tmp_path: Path) -> Path:
    """A ledger whose tenant `default` has seen the pocket model fail on contracts."""
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    history = RouteHistory.of(ledger)
    row = Outcome(
        task_id="t", tier="local:pocket", is_ok=False, weight=1.0, was_first=True, cost_nusd=0,
        difficulty=0.0, at=1.0,
    )  # fmt: skip
    history.record("default", "write a contract", [row] * 12)
    history.store.close()
    ledger.close()
    return tmp_path / "ledger.db"


def _json(capsys: pytest.CaptureFixture[str], *arguments: str) -> object:
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_explain_says_where_a_request_would_begin_and_why(
    taught: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = f"sqlite:///{taught}"
    found = _json(capsys, "route", "explain", "write a contract", *MODELS, "--ledger", at)
    assert isinstance(found, dict)
    assert found["begins_with"] == "openai:gpt-5-mini"
    assert "local:pocket would do in" in found["reason"]
    cheap, dear = found["tiers"]
    assert (cheap["outcomes"], dear["outcomes"], found["similar"]) == (12, 0, 12)
    assert main(["route", "explain", "write a contract", *MODELS, "--ledger", at]) == 0
    told = capsys.readouterr().out
    assert told.startswith("begins with openai:gpt-5-mini: local:pocket would do in")
    assert "difficulty" in told


def test_explain_needs_no_ledger_and_makes_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = _json(capsys, "route", "explain", "hello", *MODELS)
    assert isinstance(found, dict)
    assert found["order"] == ["local:pocket", "openai:gpt-5-mini"]
    assert list(tmp_path.iterdir()) == []


def test_rules_of_the_project_file_come_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "agentkit.toml").write_text(
        """
[agent]
models = ["local:pocket", "openai:gpt-5-mini"]

[[route]]
when = { says = ["contract*"] }
tier = "openai:gpt-5-mini"
""",
        "utf-8",
    )
    found = _json(capsys, "route", "explain", "two contracts")
    assert isinstance(found, dict)
    assert (found["begins_with"], found["reason"]) == ("openai:gpt-5-mini", "rule 1 holds")
    other = _json(capsys, "route", "explain", "hello")
    assert isinstance(other, dict)
    assert (other["begins_with"], other["reason"]) == ("local:pocket", "no rule holds")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("route = 3", r"[[route]]"),
        ("[[route]]\nwhen = {}", "names no tier"),
        ("[[route]]\ntier = 1\nwhen = { sais = 'x' }", "no condition 'sais'"),
        ("[[route]]\ntier = 9", "names the tier 9"),
        ("[agent]\nroute = 'learnt'", "learned"),
    ],
)
def test_rules_that_make_no_sense_are_wrong_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, told: str
) -> None:
    (tmp_path / "agentkit.toml").write_text(text, "utf-8")
    assert main(["route", "explain", "hello", *MODELS]) == 2
    assert told in capsys.readouterr().err


def test_show_and_forget(taught: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = ("--ledger", f"sqlite:///{taught}")
    assert _json(capsys, "route", "show", *at) == [
        {
            "tenant": "default", "tier": "local:pocket", "outcomes": 12, "did": 0, "first": 12,
            "cost_usd": "0", "explored_usd": "0",
        }
    ]  # fmt: skip
    assert main(["route", "show", *at]) == 0
    assert "local:pocket" in capsys.readouterr().out
    assert main(["route", "forget", *at]) == 2
    assert "--tenant NAME, or --all" in capsys.readouterr().err
    assert _json(capsys, "route", "forget", "--tenant", "other", *at) == {"forgotten": 0}
    assert _json(capsys, "route", "forget", "--all", *at) == {"forgotten": 12}
    assert _json(capsys, "route", "show", *at) == []


def test_why_tells_where_a_task_began(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = f"sqlite:///{tmp_path / 'ledger.db'}"
    ledger = Ledger(at)
    models = [
        ScriptedModel(script=in_turn("done"), name_of_model=name)
        for name in ("one", "two", "three")
    ]
    task = Agent(models, route=lambda request: [1, 2], ledger=ledger).run("hello").task_id
    ledger.close()
    found = _json(capsys, "why", task, "--ledger", at)
    assert isinstance(found, dict)
    assert found["routes"] == [
        {
            "step": 1, "tiers": ["scripted:two", "scripted:three"],
            "reason": "the route said so", "chances": {}, "is_exploration": False,
        }
    ]  # fmt: skip
    assert main(["why", task, "--ledger", at]) == 0
    told = capsys.readouterr().out
    assert "step 1 begins with scripted:two, then scripted:three: the route said so" in told


def test_a_route_for_an_agent_is_named_in_the_project_file(tmp_path: Path) -> None:
    from agentkit.cli.assembly import open_agent
    from agentkit.cli.settings import Flags, read_settings

    (tmp_path / "agentkit.toml").write_text("[agent]\nroute = 'learned'", "utf-8")
    settings = read_settings(Flags(models=("local:pocket",), checkpoint="none"))
    with open_agent(settings, Ledger(), settings.make_budget()) as agent:
        assert agent.run("play some jazz").task_id
        history = RouteHistory.of(agent.ledger)
        assert LearnedRoute(history).history is history
