"""An agent's observations are pruned before they are sent; `recall` brings back the rest."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from agentkit import Agent
from agentkit.budgets.tokens import count_text
from agentkit.errors import ConfigError
from agentkit.tools import ExecutionLimits
from agentkit.tools.pruner import Pruning
from tests.scripted import ScriptedModel, call, in_turn

ROWS = [{"order_id": f"ORD-{n}", "note": f"Customer {n} asked for {n * 7}."} for n in range(400)]


def orders(customer: str) -> str:
    """List the orders of a customer."""
    return json.dumps({"orders": ROWS}, indent=2)


def weather(city: str) -> str:
    """Tell the weather."""
    return f"{city}: sunny"


def tool_names(model: ScriptedModel, step: int) -> list[str]:
    return [tool["function"]["name"] for tool in model.kwargs_seen[step].get("tools", [])]


def handle_in(messages: Sequence[BaseMessage]) -> str:
    text = next(m.text for m in reversed(messages) if isinstance(m, ToolMessage))
    found = re.search(r"recall (o-\w+)", text)
    assert found is not None
    return found.group(1)


def recalling(messages: Sequence[BaseMessage]) -> AIMessage:
    """Lists the orders, brings back one that was left out, then says what it is told."""
    observed = [m for m in messages if isinstance(m, ToolMessage)]
    if not observed:
        return call("orders", customer="Ada")
    if len(observed) == 1:
        return call("recall", handle=handle_in(messages), query="ORD-317")
    return AIMessage(observed[-1].text)


def test_a_long_observation_is_pruned_and_the_rest_recalled() -> None:
    model = ScriptedModel(script=recalling)
    result = Agent([model], [orders]).run("what did the customer of ORD-5 ask for?")
    assert "ORD-317|Customer 317 asked for 2219." in result.answer
    pruned = model.seen[1][-1].text
    assert count_text(pruned) <= Pruning().max_tokens
    assert "ORD-5|Customer 5 asked" in pruned
    assert "ORD-317|" not in pruned


def test_recall_is_offered_from_the_first_pruned_observation_on() -> None:
    model = ScriptedModel(script=recalling)
    Agent([model], [orders]).run("please")
    assert tool_names(model, 0) == ["orders"]
    assert tool_names(model, 1) == ["orders", "recall"]
    assert tool_names(model, 2) == ["orders", "recall"]


def test_short_observations_are_sent_as_they_are_without_recall() -> None:
    model = ScriptedModel(script=in_turn(call("weather", city="Oslo"), AIMessage("ok")))
    Agent([model], [weather]).run("please")
    assert model.seen[1][-1].content == "Oslo: sunny"
    assert tool_names(model, 1) == ["weather"]


def test_the_journal_says_what_was_pruned_and_nothing_of_it() -> None:
    agent = Agent([ScriptedModel(script=recalling)], [orders])
    result = agent.run("please")
    events = agent.ledger.store.events(result.task_id)
    pruned = [event for event in events if event.kind == "observation"]
    assert [event.text for event in pruned] == ["orders: pruned"]
    assert pruned[0].data["original_bytes"] > 10_000
    assert "ORD-317" not in str(pruned[0])


def test_recall_works_in_another_process_that_takes_the_task_up(tmp_path: Path) -> None:
    place = f"sqlite:///{tmp_path}/checkpoints.db"
    ledger = f"sqlite:///{tmp_path}/ledger.db"

    def stops(messages: Sequence[BaseMessage]) -> AIMessage | BaseException:
        done = any(isinstance(m, ToolMessage) for m in messages)
        return KeyboardInterrupt() if done else call("orders", customer="Ada")

    first = Agent([ScriptedModel(script=stops)], [orders], checkpoint=place, ledger=ledger)
    with pytest.raises(KeyboardInterrupt):
        first.run("please", thread_id="t")
    model = ScriptedModel(script=recalling)
    second = Agent([model], [orders], checkpoint=place, ledger=ledger)
    assert "ORD-317|Customer 317 asked for 2219." in second.resume("t").answer
    assert tool_names(model, 0) == ["orders", "recall"]


def test_pruning_can_be_turned_off() -> None:
    model = ScriptedModel(script=in_turn(call("orders", customer="Ada"), AIMessage("ok")))
    Agent([model], [orders], pruning=None).run("please")
    assert model.seen[1][-1].content == orders("Ada")


def test_a_bound_set_by_hand_still_cuts() -> None:
    model = ScriptedModel(script=in_turn(call("orders", customer="Ada"), AIMessage("ok")))
    limits = ExecutionLimits(max_result_bytes=120)
    Agent([model], [orders], tool_limits=limits).run("please")
    assert "characters left out" in model.seen[1][-1].text


def test_a_tool_of_the_same_name_is_refused_with_what_to_do() -> None:
    def recall(what: str) -> str:
        """Remember."""
        return what

    with pytest.raises(ConfigError, match="rename it, or give pruning=None"):
        Agent([ScriptedModel(script=recalling)], [recall])
