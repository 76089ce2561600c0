"""What an agent's calls leave in the journal: components, prefixes, escalations, savings."""

from __future__ import annotations

import json

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from agentkit import Agent
from agentkit.budgets import Ledger, PriceBook
from agentkit.budgets.price_file import PriceOverride
from agentkit.budgets.tokens import count_text
from agentkit.memory.components import SUMMARY_MARK, Prefix, component_of
from agentkit.reports.saving import savings
from tests.scripted import ScriptedModel, call, in_turn


def look(query: str) -> str:
    """Look something up."""
    return f"found {query} " + "and more of it " * 40


def _model(name: str, *answers: AIMessage | str) -> ScriptedModel:
    return ScriptedModel(script=in_turn(*answers), name_of_model=name)


def _ledger() -> Ledger:
    prices = [
        PriceOverride(model="cheap", input=1, output=2),  # type: ignore[arg-type]  # read as decimals
        PriceOverride(model="dear", input=10, output=20),  # type: ignore[arg-type]  # read as decimals
    ]
    return Ledger("memory://", prices=PriceBook(prices))


def test_components_grow_as_the_transcript_does() -> None:
    model = _model("dear", call("look", query="x"), call("look", query="y"), "done")
    agent = Agent([model], [look], system="You look things up.", ledger=_ledger())
    first, second, third = agent.run("find x and y").records
    for record in (first, second, third):
        parts = {name: n for name, n in record.components.items() if name != "output"}
        assert abs(sum(parts.values()) - record.estimated_input_tokens) <= 8
        assert record.components["output"] == record.usage.output_tokens
        assert record.components["system"] > 0 and record.components["tools"] > 0
    assert first.components.get("observations", 0) == 0
    observed = [record.components["observations"] for record in (second, third)]
    assert 0 < observed[0] < observed[1]
    assert second.components["user"] == first.components["user"]
    assert first.prefix == second.prefix == third.prefix != ""


def rows(query: str) -> str:
    """List many rows."""
    return json.dumps([{"id": f"row-{n}", "text": f"{query} number {n}"} for n in range(400)])


def test_what_pruning_left_out_is_saved_on_each_later_call() -> None:
    model = _model("dear", call("rows", query="x"), call("look", query="y"), "done")
    first, *later = Agent([model], [rows, look], ledger=_ledger()).run("go").records
    sent = next(m.text for m in model.seen[-1] if isinstance(m, ToolMessage))
    spared_tokens = count_text(rows("x")) - count_text(sent)
    assert spared_tokens > 1_000
    assert "pruning" not in first.saved_nusd
    for record in later:  # a long text is counted on its beginning
        assert record.saved_nusd["pruning"] == pytest.approx(spared_tokens * 10_000, rel=0.01)


def test_an_escalated_call_says_why_and_what_routing_cost() -> None:
    cheap = _model("cheap", call("look", wrong=1))
    dear = _model("dear", "done")
    ledger = _ledger()
    turned_down, escalated = Agent([cheap, dear], [look], ledger=ledger).run("go").records
    assert escalated.escalation == turned_down.reason
    assert turned_down.escalation is None
    assert turned_down.saved_nusd["routing"] == -turned_down.cost_nusd < 0
    assert "routing" not in escalated.saved_nusd


def test_a_cheap_answer_saves_what_the_dearest_would_have_cost() -> None:
    ledger = _ledger()
    agent = Agent([_model("cheap", "done"), _model("dear", "never")], ledger=ledger)
    (record,) = agent.run("go").records
    dearest = ledger.prices.price("dear", "scripted").cost_nusd(record.usage)
    assert record.saved_nusd["routing"] == dearest - record.cost_nusd > 0
    (group,) = ledger.store.sum_calls(("model",))
    assert group.sums.saved_routing == record.saved_nusd["routing"]


def test_a_message_belongs_to_one_component() -> None:
    marked = HumanMessage("what came before", additional_kwargs={SUMMARY_MARK: True})
    kinds = [
        component_of(message)
        for message in (
            SystemMessage("s"), HumanMessage("u"), AIMessage("a"),
            ToolMessage("t", tool_call_id="1"),
            marked,
        )
    ]  # fmt: skip
    assert kinds == ["system", "user", "history", "observations", "summary"]


def test_a_prefix_is_the_same_while_system_text_and_tools_are() -> None:
    prefix, tools = Prefix(), [{"type": "function", "function": {"name": "look"}}]
    told = prefix.digest([SystemMessage("s"), HumanMessage("u")], tools)
    assert prefix.digest([SystemMessage("s"), HumanMessage("v")], list(tools)) == told
    assert prefix.digest([SystemMessage("other"), HumanMessage("u")], tools) != told
    assert prefix.digest([SystemMessage("s"), HumanMessage("u")], []) != told


def test_an_answer_from_a_cache_is_a_call_that_cost_nothing() -> None:
    ledger = _ledger()
    task = ledger.open_task(scope="acme", tags={"feature": "faq"})
    record = task.answered_from_cache("exact", saved_nusd=70)
    closed = task.close("answered")
    assert (closed.calls, closed.cost_nusd, record.cached_by) == (0, 0, "exact")
    (group,) = ledger.store.sum_calls(("model",))
    assert group.key == ("cache:exact",)
    assert (group.sums.cache_answers, group.sums.saved_semantic_cache) == (1, 70)
    assert savings(ledger.store)[0].lever == "semantic_cache"
