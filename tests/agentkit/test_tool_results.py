"""A read tool with `cache_seconds` runs once for the same call of the same tenant and user."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.tools import InjectedToolArg, StructuredTool

from agentkit import Agent
from agentkit.memory.cache import CachePolicy, ResponseCache
from agentkit.tools import InvalidTool, ToolSpec
from tests.scripted import ScriptedModel, call


class Shop:
    """A tool that counts its calls."""

    def __init__(self, result: Callable[[str], str] = lambda item: f"12 {item}") -> None:
        self.asked: list[str] = []
        self._result = result
        self._lock = threading.Lock()

    def stock(self, item: str) -> str:
        """How many of an item are there."""
        with self._lock:
            self.asked.append(item)
        return self._result(item)

    async def astock(self, item: str) -> str:
        """How many of an item are there."""
        await asyncio.sleep(0.05)
        return self.stock(item)


def asks(item: str, name: str = "stock") -> Callable[[Sequence[BaseMessage]], AIMessage]:
    """Ask the tool once, then answer with what it said."""

    def script(messages: Sequence[BaseMessage]) -> AIMessage:
        said = messages[-1]
        return AIMessage(said.text) if said.type == "tool" else call(name, item=item)

    return script


def agent_of(shop: Shop, item: str = "pens", *, seconds: float = 60.0, **arguments: Any) -> Agent:
    tool = ToolSpec.of(shop.stock, cache_seconds=seconds)
    return Agent([ScriptedModel(script=asks(item))], [tool], **arguments)


def test_the_same_call_is_made_once_and_shown_as_saved() -> None:
    shop = Shop()
    agent = agent_of(shop)
    first, second = (agent.run("how many pens", scope="acme") for _ in range(2))
    assert (first.answer, second.answer, shop.asked) == ("12 pens", "12 pens", ["pens"])
    told = agent.ledger.store.events(second.task_id)
    (event,) = [each for each in told if each.kind == "tool_remembered"]
    assert event.data["tool"] == "stock"
    assert agent.ledger.store.events(first.task_id) == []


def test_other_arguments_tenants_and_users_get_their_own() -> None:
    shop, cache = Shop(), ResponseCache()
    pens = agent_of(shop, tool_results=cache)
    cups = agent_of(shop, "cups", tool_results=cache)
    pens.run("?", scope="acme/a")
    cups.run("?", scope="acme/a")
    pens.run("?", scope="other")
    pens.run("?", scope="acme/b", tags={"user": "u1"})
    pens.run("?", scope="acme/b", tags={"user": "u2"})
    assert shop.asked == ["pens", "cups", "pens", "pens", "pens"]
    pens.run("?", scope="acme/c")
    pens.run("?", scope="acme/c", tags={"user": "u2"})
    assert len(shop.asked) == 5


def test_a_changed_definition_is_another_tool() -> None:
    shop, cache = Shop(), ResponseCache()
    agent_of(shop, tool_results=cache).run("?")
    tool = ToolSpec.of(shop.stock, description="How many are left.", cache_seconds=60)
    Agent([ScriptedModel(script=asks("pens"))], [tool], tool_results=cache).run("?")
    assert len(shop.asked) == 2


def test_a_result_is_fetched_again_after_its_time_and_after_it_was_forgotten() -> None:
    now = [1_000.0]
    shop, cache = Shop(), ResponseCache(clock=lambda: now[0])
    agent = agent_of(shop, tool_results=cache, seconds=10.0)
    agent.run("?")
    now[0] += 9.0
    agent.run("?")
    assert len(shop.asked) == 1
    now[0] += 2.0
    agent.run("?")
    assert len(shop.asked) == 2
    assert cache.forget(tag="tool:stock") == 1
    agent.run("?")
    assert len(shop.asked) == 3


def test_a_failure_is_not_kept() -> None:
    def fail(item: str) -> str:
        raise OSError("down")

    shop = Shop(fail)
    agent = agent_of(shop)
    for _ in range(2):
        agent.run("?")
    assert len(shop.asked) == 2


def test_a_size_limit_holds() -> None:
    shop = Shop(lambda item: "x" * 2_000)
    cache = ResponseCache(policy=CachePolicy(max_bytes=1_500))
    agent = agent_of(shop, tool_results=cache)
    for _ in range(2):
        agent.run("?")
    assert len(shop.asked) == 2
    assert cache.store.totals().entries == 0


def test_a_tool_without_the_declaration_is_not_kept() -> None:
    shop = Shop()
    agent = Agent([ScriptedModel(script=asks("pens"))], [shop.stock], tool_results=ResponseCache())
    for _ in range(2):
        agent.run("?")
    assert len(shop.asked) == 2


@pytest.mark.parametrize("side_effect", ["write", "spend"])
def test_what_has_effects_cannot_be_remembered(side_effect: Any) -> None:
    with pytest.raises(InvalidTool, match="must be done each time"):
        ToolSpec.of(Shop().stock, side_effect=side_effect, cache_seconds=5)


def test_what_depends_on_an_injected_argument_cannot_be_remembered() -> None:
    def orders(item: str, token: Annotated[str, InjectedToolArg]) -> str:
        """List orders."""
        return item + token

    with pytest.raises(InvalidTool, match="token is injected"):
        ToolSpec.of(orders, cache_seconds=5)


def test_a_langchain_tool_may_say_so_itself() -> None:
    tool = StructuredTool.from_function(Shop().stock, metadata={"cache_seconds": 30})
    assert ToolSpec.of(tool).cache_seconds == 30
    assert ToolSpec.of(tool, cache_seconds=5).cache_seconds == 5
    with pytest.raises(InvalidTool, match="give a number"):
        ToolSpec.of(StructuredTool.from_function(Shop().stock, metadata={"cache_seconds": "x"}))


def test_fifty_at_once_fetch_once(tmp_path: Path) -> None:
    def slow(item: str) -> str:
        time.sleep(0.2)
        return f"12 {item}"

    shop = Shop(slow)
    cache = ResponseCache(f"sqlite:///{tmp_path / 'tools.db'}")
    results = list(agent_of(shop, tool_results=cache).map(["?"] * 50, concurrency=50))
    assert {each.result.answer for each in results if each.result} == {"12 pens"}
    assert shop.asked == ["pens"]
    cache.close()


async def test_on_an_event_loop() -> None:
    shop = Shop()
    tool = ToolSpec.of(shop.astock, name="stock", cache_seconds=60)
    agent = Agent([ScriptedModel(script=asks("pens"))], [tool])
    answers = await asyncio.gather(*(agent.arun("?") for _ in range(8)))
    assert {each.answer for each in answers} == {"12 pens"}
    assert shop.asked == ["pens"]


def test_another_process_finds_it(tmp_path: Path) -> None:
    shop, address = Shop(), f"sqlite:///{tmp_path / 'tools.db'}"
    for _ in range(2):
        cache = ResponseCache(address)
        agent_of(shop, tool_results=cache).run("?")
        cache.close()
    assert shop.asked == ["pens"]


@pytest.mark.parametrize(
    "planted",
    [
        "",
        "7",
        "[" * 100_000,
        '{"content": "planted"}',
        '{"content": "planted", "original_bytes": 1e999, "cut": false, "seconds": 1}',
    ],
)
def test_a_damaged_result_is_fetched_anew(planted: str) -> None:
    shop, cache = Shop(), ResponseCache()
    agent = agent_of(shop, tool_results=cache)
    agent.run("how many pens", scope="acme")
    (kept,) = cache.store.find()
    cache.store.put(replace(kept, answer=planted))
    assert agent.run("how many pens", scope="acme").answer == "12 pens"
    assert shop.asked == ["pens", "pens"]


def test_a_cache_that_fails_does_not_fail_the_tool(tmp_path: Path) -> None:
    shop, cache = Shop(), ResponseCache(f"sqlite:///{tmp_path / 'tools.db'}")
    agent = agent_of(shop, tool_results=cache)
    cache.close()
    assert agent.run("?").answer == "12 pens"
