"""Long tasks through both real client libraries: the server bills less than a full replay."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pytest

from agentkit import Agent, Budget, chat_model
from agentkit.budgets.tokens import count_text
from agentkit.cli import main
from agentkit.memory import Allocation, Context, never
from tests.wire import Reply, ScriptedProvider, WireRequest

WireName = Literal["openai", "anthropic"]
REPLAY = Context(rewrite=never)
MODELS = {"openai": "gpt-5.1", "anthropic": "claude-haiku-4-5"}
SUMMARY = (
    "GOAL:\n- check every order\nDECISIONS:\n- go on in order\nFACTS:\n- orders so far were fine\n"
    "OPEN:\n- the orders that are left\n"
)


def look_up(order: str) -> str:
    """Look up an order."""
    return f"order {order}: " + ", ".join(f"item {order}-{n} at ${n}.50" for n in range(60))


def script_of(steps: int) -> Any:
    """Looks up one order after another; sums up when it is told to stop."""

    def script(request: WireRequest) -> Reply:
        if "GOAL:" in request.last_text and "Stop here" in request.last_text:
            return Reply(text=SUMMARY)
        seen = [m.text for m in request.messages if m.text.startswith("order W")]
        last = max((int(text[7:].split(":")[0]) for text in seen), default=-1)
        if last + 1 >= steps or not request.may_call:
            return Reply(text=f"all {steps} orders are fine, {len(seen)} of them in view")
        return Reply(tool_calls=[("look_up", {"order": f"W{last + 1}"})])

    return script


def client(wire: WireName, provider: ScriptedProvider) -> Any:
    url = provider.openai_url if wire == "openai" else provider.anthropic_url
    name = f"{wire}:{MODELS[wire]}"
    return chat_model(name, base_url=url, api_key="test", timeout=60.0)


def task(wire: WireName, steps: int, context: Context) -> tuple[Any, Any, Any, list[Any]]:
    """(result, its bill, the agent, its events) of a task of so many steps."""
    with ScriptedProvider(script_of(steps), count=count_text) as provider:
        agent = Agent(
            [client(wire, provider)], [look_up], budget=Budget(usd=50), context=context,
            no_progress_after=None, system="You check orders. " * 100, pruning=None,
        )  # fmt: skip
        result = agent.run("check every order")
        events = agent.ledger.store.events(result.task_id)
        return result, provider.bill.total(), agent, list(events)


def test_gpt_5_6_is_told_where_to_cache_and_writes_nothing_else() -> None:
    """Key, options and breakpoints as the real client sends them; the server bills the writes."""
    with ScriptedProvider(script_of(12), count=count_text) as provider:
        model = chat_model("openai:gpt-5.6", base_url=provider.openai_url, api_key="test")
        agent = Agent(
            [model], [look_up], budget=Budget(usd=50), context=REPLAY,
            no_progress_after=None, system="You check orders. " * 300, pruning=None,
        )  # fmt: skip
        result = agent.run("check every order")
        bodies = [json.loads(request.body) for request in provider.requests]
        bill = provider.bill.total()
    assert (result.outcome, result.steps) == ("answered", 13)
    assert result.cost_usd == Decimal(bill.cost_nusd).scaleb(-9)
    assert all(body["prompt_cache_options"] == {"mode": "explicit"} for body in bodies)
    assert len({body["prompt_cache_key"] for body in bodies}) == 1
    for body in bodies:
        marked = [m for m in body["messages"] if "prompt_cache_breakpoint" in json.dumps(m)]
        assert 2 <= len(marked) <= 4
        assert marked[-1] is body["messages"][-1]
    usage = bill.usage
    assert usage.cache_read_tokens > 0.8 * usage.input_tokens
    assert usage.cache_read_tokens + usage.cache_write_5m_tokens > 0.99 * usage.input_tokens
    assert not [e for e in agent.ledger.store.events(result.task_id) if e.kind == "cache_missed"]


@pytest.mark.parametrize(
    "own", [{"prompt_cache_options": {"mode": "implicit"}}, {"use_responses_api": True}]
)
def test_cache_options_of_the_users_own_are_left_alone(own: dict[str, Any]) -> None:
    with ScriptedProvider(script_of(3), count=count_text) as provider:
        model = chat_model("openai:gpt-5.6", base_url=provider.openai_url, api_key="test", **own)
        agent = Agent(
            [model], [look_up], budget=Budget(usd=50), system="You check orders. " * 300,
            pruning=None,
        )  # fmt: skip
        assert agent.run("check every order").outcome == "answered"
        bodies = [json.loads(request.body) for request in provider.requests]
    assert "prompt_cache_breakpoint" not in json.dumps(bodies)
    assert all(body.get("prompt_cache_options", {}).get("mode") != "explicit" for body in bodies)


@pytest.fixture(params=["openai", "anthropic"])
def wire(request: pytest.FixtureRequest) -> WireName:
    name: WireName = request.param
    return name


def test_a_long_task_bills_less_than_a_full_replay_with_caching(wire: WireName) -> None:
    """110 steps with observations of 1,000 tokens, summaries and all, on the server's own bill."""
    result, bill, agent, events = task(wire, 110, Context())
    _, replay, _, _ = task(wire, 110, REPLAY)
    assert (result.outcome, result.steps) == ("answered", 111)
    assert result.cost_usd == Decimal(bill.cost_nusd).scaleb(-9)
    summaries = [c for c in agent.ledger.store.calls(result.task_id) if c.purpose == "summary"]
    assert summaries
    assert all(call.usage.cache_read_tokens > 0.8 * call.usage.input_tokens for call in summaries)
    assert any(event.kind == "context_rewritten" for event in events)
    assert bill.cost_nusd < 0.8 * replay.cost_nusd


def test_a_replayed_transcript_is_read_from_the_cache(wire: WireName) -> None:
    """Each step reads what the last one sent: a breakpoint changes nothing else of a prefix."""
    result, bill, _, events = task(wire, 12, REPLAY)
    assert result.outcome == "answered", result.reason
    usage = bill.usage
    assert usage.cache_read_tokens > 0.7 * usage.input_tokens
    missed = {event.data["reason"] for event in events if event.kind == "cache_missed"}
    assert missed <= {"too_short"}


def _rewritten(task_id: str, step: int, capsys: pytest.CaptureFixture[str]) -> list[Any]:
    """What `agentkit show` tells of rewriting at a step."""
    show = ["show", task_id, "--ledger", "sqlite:///ledger.db", "--context", str(step), "--json"]
    assert main(show) == 0
    events = json.loads(capsys.readouterr().out)["events"]
    return [event for event in events if event["kind"] == "context_rewritten"]


def test_show_tells_what_a_step_sent_and_left_out(
    wire: WireName,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    small = Context(limit_tokens=6000, allocation=Allocation(recent=2000))
    with ScriptedProvider(script_of(12), count=count_text) as provider:
        agent = Agent(
            [client(wire, provider)], [look_up], budget=Budget(usd=5), context=small,
            ledger="sqlite:///ledger.db", system="You check orders.", pruning=None,
        )  # fmt: skip
        result = agent.run("check every order")
        calls = agent.ledger.store.calls(result.task_id)
        assert all(c.estimated_input_tokens <= 6000 for c in calls if c.purpose == "step")
    assert result.outcome == "answered"
    show = ["show", result.task_id, "--ledger", "sqlite:///ledger.db", "--context"]
    assert main([*show, "13", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    parts = told["calls"][-1]["parts"]
    assert {"system", "tools", "summary", "history", "observations", "user"} == set(parts)
    assert sum(part["tokens"] for part in parts.values()) <= 6000
    assert told["left_out"][0]["why"] == "is nearly full"
    told_at = {step: _rewritten(result.task_id, step, capsys) for step in range(1, 14)}
    (decided, *_) = [event for found in told_at.values() for event in found]
    assert decided["data"]["new_tokens"] < decided["data"]["sent_tokens"] <= 6000
    assert decided["data"]["saving_nusd"] != 0
    assert f"{decided['data']['calls_left']:.0f} calls may follow" in decided["text"]
    assert main([*show, "13"]) == 0
    assert "observations" in capsys.readouterr().out
    assert main([*show, "99"]) != 0
    assert "no call at step 99; it has steps 1 to 13" in capsys.readouterr().err
