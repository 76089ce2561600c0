"""What LangChain does with a chat model works with a metered one, and costs what is billed."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware, SummarizationMiddleware
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler, get_usage_metadata_callback
from langchain_core.language_models import BaseChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, trim_messages
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, Send
from openai import LengthFinishReasonError
from pydantic import BaseModel, Field

from agentkit import Agent, Budget, chat_model, metered
from agentkit.budgets import BudgetExceeded, Ledger
from agentkit.budgets.task import Task
from agentkit.errors import ConfigError
from agentkit.memory.tokens import MessageCounter
from agentkit.metered import MeteredChatModel
from tests.scripted import ScriptedModel, in_turn
from tests.wire import Reply, ScriptedProvider, WireRequest, answer

Wire = Literal["openai", "anthropic"]
MODELS = {"openai": "openai:gpt-5-mini", "anthropic": "anthropic:claude-haiku-4-5"}


class City(BaseModel):
    """A city."""

    name: str = Field(description="its name in English")


def _script(request: WireRequest) -> Reply:
    if request.may_call and not any(message.role == "tool" for message in request.messages):
        return Reply(tool_calls=[(request.tools[0].name, {"name": "Lisbon"})])
    return Reply(text='{"name": "Lisbon"}')


@dataclass(frozen=True)
class World:
    """A provider, a task, and a model that spends from it."""

    wire: Wire
    provider: ScriptedProvider
    task: Task

    def plain(self, **settings: Any) -> BaseChatModel:
        own = self.provider
        url = own.openai_url if self.wire == "openai" else own.anthropic_url
        return chat_model(MODELS[self.wire], base_url=url, api_key="test", **settings)

    def model(self, **settings: Any) -> MeteredChatModel:
        return metered(self.plain(**settings), self.task)

    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.provider.requests[-1].body)
        return body

    def check(self, calls: int) -> None:
        assert self.provider.wait_idle()
        assert len(self.provider.requests) == self.task.record.calls == calls
        assert self.task.record.cost_nusd == self.provider.bill.cost_nusd > 0


@pytest.fixture(params=["openai", "anthropic"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    wire: Wire = request.param
    with ScriptedProvider(_script) as provider:
        yield World(wire, provider, Ledger().open_task(budget=Budget(usd="1")))


# structured output


@pytest.mark.filterwarnings("ignore:Pydantic serializer")  # of langchain-openai's own streams
@pytest.mark.parametrize("include_raw", [False, True])
@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
def test_structured_output_goes_by_the_method_that_was_asked_for(
    method: str, include_raw: bool, world: World
) -> None:
    model = world.model().with_structured_output(City, method=method, include_raw=include_raw)
    found = model.invoke("which city? json")
    assert (found["parsed"] if include_raw else found) == City(name="Lisbon")
    keys = {"openai": "response_format", "anthropic": "output_config"}
    assert (keys[world.wire] in world.body()) == (method == "json_schema")
    assert ("tools" in world.body()) == (method == "function_calling")
    assert list(model.stream("which city? json"))
    asyncio.run(model.ainvoke("which city? json"))
    world.check(3)


def test_json_mode_is_asked_for() -> None:
    with ScriptedProvider(_script) as provider:
        world = World("openai", provider, Ledger().open_task(budget=Budget(usd="1")))
        model = world.model().with_structured_output(City, method="json_mode")
        assert model.invoke("json") == City(name="Lisbon")
        assert world.body()["response_format"] == {"type": "json_object"}
        strict = world.model().with_structured_output(City, method="json_schema", strict=True)
        assert strict.invoke("json") == City(name="Lisbon")
        assert world.body()["response_format"]["json_schema"]["strict"]
        world.check(2)


def test_an_answer_by_a_schema_that_was_cut_costs_what_it_did() -> None:
    with ScriptedProvider(answer('{"name": "' + "Lisbon " * 300)) as provider:
        world = World("openai", provider, Ledger().open_task(budget=Budget(usd="1")))
        model = world.model(max_tokens=40).with_structured_output(City, method="json_schema")
        with pytest.raises(LengthFinishReasonError):
            model.invoke("json")
        world.check(1)
        assert [call.status for call in world.task.calls] == ["error"]


def test_a_resumed_task_knows_requests_by_their_schemas(world: World) -> None:
    ledger = world.task.ledger
    told = {"task_id": "resumed", "budget": Budget(usd="1"), "keep_responses": True}
    first = metered(world.plain(), ledger.open_task(**told))  # type: ignore[arg-type]  # one dict of several kinds
    first.with_structured_output(City, method="json_schema").invoke("json")
    again = metered(world.plain(), ledger.open_task(**told))  # type: ignore[arg-type]  # as above
    again.invoke("json")
    assert len(world.provider.requests) == 2
    again.with_structured_output(City, method="json_schema").invoke("json")
    assert len(world.provider.requests) == 2


# LCEL


def test_chains_batches_retries_and_fallbacks_are_metered(world: World) -> None:
    model = world.model()
    chain = ChatPromptTemplate.from_template("about {it}") | model | StrOutputParser()
    assert chain.invoke({"it": "x"}) == '{"name": "Lisbon"}'
    assert len(chain.batch([{"it": "a"}, {"it": "b"}], {"max_concurrency": 2})) == 2
    assert len(asyncio.run(chain.abatch([{"it": "c"}, {"it": "d"}]))) == 2
    assert RunnableParallel(one=chain, two=RunnableLambda(str) | model).invoke({"it": "e"})["two"]
    assert model.with_retry(stop_after_attempt=2).invoke("f")
    assert model.with_fallbacks([model]).invoke("g")
    world.check(9)


def test_a_fallback_takes_over_where_the_budget_refuses(world: World) -> None:
    poor = metered(world.plain(), world.task.ledger.open_task(budget=Budget(usd="0.0000001")))
    assert poor.with_fallbacks([world.model()]).invoke("hi").text
    world.check(1)


async def test_events_are_those_of_one_model(world: World) -> None:
    model = world.model()
    found = [event["event"] async for event in model.astream_events("hi", version="v2")]
    assert found.count("on_chat_model_start") == found.count("on_chat_model_end") == 1
    assert found.count("on_chat_model_stream") > 2
    world.check(1)


def test_usage_is_told_to_callbacks(world: World) -> None:
    with get_usage_metadata_callback() as told:
        world.model().invoke("hi")
        list(world.model().stream("hi"))
    (usage,) = told.usage_metadata.values()
    assert usage["input_tokens"] == sum(call.usage.input_tokens for call in world.task.calls)


# what a model was given for LangChain to heed


class _Starts(BaseCallbackHandler):
    """Counts calls."""

    def __init__(self) -> None:
        self.count = 0

    def on_chat_model_start(self, *_: Any, **__: Any) -> None:
        self.count += 1


class _Limiter(InMemoryRateLimiter):
    """Counts what it lets through."""

    count = 0

    def acquire(self, *, blocking: bool = True) -> bool:
        self.count += 1
        return super().acquire(blocking=blocking)


def test_a_models_own_callbacks_limiter_and_cache_are_kept(world: World) -> None:
    starts, limiter = _Starts(), _Limiter(requests_per_second=1_000, max_bucket_size=10)
    model = world.model(callbacks=[starts], rate_limiter=limiter, cache=InMemoryCache())
    assert model.invoke("hi").text == model.invoke("hi").text
    assert (starts.count, limiter.count) == (2, 1)
    world.check(1)


def test_a_models_profile_and_output_version_are_kept(world: World) -> None:
    model = world.model(output_version="v1")
    assert model.profile == world.plain().profile
    assert model.profile is not None
    assert model.model_name == world.task.ledger.prices.price(model.tier.name, world.wire).model
    assert model.invoke("hi").content == [{"type": "text", "text": '{"name": "Lisbon"}'}]


def test_tokens_are_counted_as_for_a_reservation(world: World) -> None:
    model = world.model()
    messages = [HumanMessage("word " * 50), HumanMessage("word " * 50)]
    counted = model.get_num_tokens_from_messages(messages)
    assert counted == model.tier.count(messages, ())
    assert model.get_num_tokens_from_messages(messages, [City]) > counted
    assert model.get_num_tokens("three plain words") == 3
    kept = trim_messages(messages, max_tokens=counted - 1, token_counter=model, strategy="last")
    assert len(kept) == 1
    assert not world.provider.requests


# what is no chat model


def test_a_model_with_something_around_it_is_refused_with_advice(world: World) -> None:
    plain = world.plain()
    for made, advice in (
        (
            plain.bind(stop=["x"]),
            r"RunnableBinding|Binding is not a chat model: give its arguments",
        ),
        (plain.with_retry(), "make the rest of what metered"),
        (plain.with_fallbacks([plain]), r"metered\(a\)\.with_fallbacks"),
        (RunnableLambda(str), "give the chat model within it"),
        (len, "any LangChain chat model"),
    ):
        with pytest.raises(ConfigError, match=advice):
            metered(made, world.task)  # type: ignore[arg-type]  # the point
        with pytest.raises(ConfigError, match=advice):
            Agent([made])  # type: ignore[list-item]  # the point


class _KeepsTools(ScriptedModel):
    """Binds tools as some do: by a copy that keeps them."""

    def bind_tools(self, tools: Sequence[Any], **_: Any) -> Any:
        return self.model_copy(update={"name_of_model": f"with {len(tools)} tools"})


def test_a_model_that_keeps_its_tools_in_itself_is_metered() -> None:
    task = Ledger().open_task(budget=Budget(tokens=100_000))
    model = metered(_KeepsTools(script=in_turn("hello")), task)
    assert model.bind_tools([City]).invoke("hi").text == "hello"
    assert [call.model for call in task.calls] == ["with 1 tools"]


def test_langchains_fake_model_is_charged_at_its_worst_case_for_it_tells_no_usage() -> None:
    task = Ledger().open_task(budget=Budget(tokens=10_000))
    model = metered(GenericFakeChatModel(messages=iter(["a", "b", "c", "d"])), task)
    assert model.invoke("hi").text == "a"
    assert [chunk.text for chunk in model.stream("hi") if chunk.text] == ["b"]
    assert all(call.usage.output_tokens == 4_096 for call in task.calls)
    with pytest.raises(NotImplementedError):
        model.bind_tools([City])
    with pytest.raises(BudgetExceeded):
        for _ in range(3):
            model.invoke("hi")


def test_functions_in_a_binding_are_refused(world: World) -> None:
    with pytest.raises(ConfigError, match="offer functions with bind_tools"):
        world.model().bind(tools=[len]).invoke("hi")
    assert not world.provider.requests


@pytest.mark.parametrize("arguments", [{"nonsense": 1}, {"extra_body": {"x": object()}}])
async def test_arguments_that_no_request_can_be_made_of_cost_nothing(
    arguments: dict[str, Any], world: World
) -> None:
    model = world.model()
    with pytest.raises(TypeError, match=r"unexpected keyword|not JSON serializable"):
        model.invoke("hi", **arguments)
    with pytest.raises(TypeError, match=r"unexpected keyword|not JSON serializable"):
        await model.ainvoke("hi", **arguments)
    with pytest.raises(TypeError, match=r"unexpected keyword|not JSON serializable"):
        list(model.stream("hi", **arguments))
    assert not world.provider.requests
    assert (world.task.record.cost_nusd, world.task.record.calls) == (0, 0)


def test_a_shorter_timeout_of_a_call_is_kept(world: World) -> None:
    task = world.task.ledger.open_task(budget=Budget(usd="1", seconds=60))
    model = metered(world.plain(), task)
    with ScriptedProvider(lambda _: Reply(text="late", delay_seconds=3.0)) as slow:
        url = slow.openai_url if world.wire == "openai" else slow.anthropic_url
        late = metered(chat_model(MODELS[world.wire], base_url=url, api_key="test"), task)
        begun = time.monotonic()
        with pytest.raises(Exception, match=r"(?i)timed out"):
            next(late.stream("hi", timeout=0.3))
        assert time.monotonic() - begun < 2.0
    assert model.invoke("hi", timeout=20).text


# reasoning that goes back to its provider


def test_reasoning_that_a_provider_keeps_counts_by_its_usage() -> None:
    counter = MessageCounter(lambda text: len(text.split()))
    usage: Any = {"input_tokens": 1, "output_tokens": 900, "total_tokens": 901}
    details = {"output_token_details": {"reasoning": 800}}
    plain = AIMessage("words", usage_metadata={**usage, **details})
    block = {"type": "reasoning", "id": "rs_1", "summary": []}
    named = AIMessage(
        [block, {"type": "text", "text": "words"}], usage_metadata={**usage, **details}
    )
    beside = AIMessage(
        "words", additional_kwargs={"reasoning": block}, usage_metadata={**usage, **details}
    )
    assert counter.message(plain) < 10
    assert 800 <= counter.message(named) < 820
    assert 800 <= counter.message(beside) < 820
    told = AIMessage("words", additional_kwargs={"reasoning_content": "a thought " * 500})
    assert counter.message(told) > 1_000


# agents of LangChain


def test_an_agent_of_langchains_with_middleware_is_metered(world: World) -> None:
    def look(name: str) -> str:
        """Look a city up."""
        return f"{name} is in Portugal"

    model = world.model()
    agent = create_agent(
        model,
        [look],
        response_format=City,
        middleware=[
            SummarizationMiddleware(model, trigger=("fraction", 0.9)),  # reads the profile
            HumanInTheLoopMiddleware(interrupt_on={"look": True}),
        ],
        checkpointer=InMemorySaver(),
    )
    config: Any = {"configurable": {"thread_id": "1"}}
    assert "__interrupt__" in agent.invoke({"messages": [HumanMessage("where?")]}, config)
    approved: Any = Command(resume={"decisions": [{"type": "approve"}]})
    assert agent.invoke(approved, config)["structured_response"] == City(name="Lisbon")
    world.check(2)


def test_branches_of_a_graph_share_a_task(world: World) -> None:
    def ask(state: dict[str, Any]) -> dict[str, Any]:
        return {"messages": [world.model().invoke(state["messages"])]}

    builder: Any = StateGraph(MessagesState)
    builder.add_node("ask", ask)
    builder.add_conditional_edges(
        START,
        lambda _: [Send("ask", {"messages": [HumanMessage(f"{n}")]}) for n in range(5)],
        ["ask"],
    )
    assert len(builder.compile().invoke({"messages": []})["messages"]) == 5
    world.check(5)


def test_an_agents_graph_is_a_node_and_a_branch_of_ones_own(world: World) -> None:
    ledger = world.task.ledger
    agent = Agent([world.plain()], budget=Budget(usd="1"), ledger=ledger)
    builder: Any = StateGraph(MessagesState)
    builder.add_node("agent", agent.graph)
    builder.add_conditional_edges(
        START, lambda _: [Send("agent", {"messages": [HumanMessage(f"{n}")]}) for n in range(3)],
        ["agent"],
    )  # fmt: skip
    graph = builder.compile(checkpointer=InMemorySaver())
    state = graph.invoke({"messages": []}, {"configurable": {"thread_id": "1"}})
    assert len(state["messages"]) == 6
    assert ledger.account("default").settled.nusd == world.provider.bill.cost_nusd > 0
    assert ledger.account("default").settled.calls == 3


def test_time_travel_gives_no_money_back(world: World) -> None:
    ledger = world.task.ledger
    agent = Agent(
        [world.plain()], budget=Budget(usd="1"), ledger=ledger, checkpoint=InMemorySaver()
    )
    agent.run("hi", thread_id="1")
    history = list(agent.graph.get_state_history({"configurable": {"thread_id": "1"}}))
    before = next(state for state in reversed(history) if "think" in state.next)
    assert agent.graph.invoke(None, before.config)["answer"] == '{"name": "Lisbon"}'
    assert ledger.account("default").settled.nusd == world.provider.bill.cost_nusd
    assert ledger.account("default").settled.calls == len(world.provider.requests) == 2
