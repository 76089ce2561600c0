"""Models wrapped with `metered`, through the real clients, against a server with its own bill."""

from __future__ import annotations

import functools
import operator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from agentkit import Budget, chat_model, metered
from agentkit.budgets import BudgetExceeded, Ledger, PriceUnknown
from agentkit.budgets.task import Task
from tests.wire import Fault, FaultKind, Reply, Script, ScriptedProvider, WireRequest, answer

Wire = Literal["openai", "anthropic"]
MODELS = {"openai": "openai:gpt-5-mini", "anthropic": "anthropic:claude-haiku-4-5"}
TEXT = "the answer is forty two, and it has always been"


def look(q: str) -> str:
    """Look something up."""
    return q


@pytest.fixture(params=["openai", "anthropic"])
def wire(request: pytest.FixtureRequest) -> Wire:
    name: Wire = request.param
    return name


def client(wire: Wire, server: ScriptedProvider, **arguments: Any) -> BaseChatModel:
    url = server.openai_url if wire == "openai" else server.anthropic_url
    return chat_model(MODELS[wire], base_url=url, api_key="test", **arguments)


def task_with(usd: str = "1") -> Task:
    return Ledger().open_task(budget=Budget(usd=usd))


def billed_nusd(server: ScriptedProvider) -> int:
    assert server.wait_idle()
    return int(server.bill.to_dict()["total"]["cost_nusd"])


def call_look(request: WireRequest) -> Reply:
    return Reply(tool_calls=[("look", {"q": "x"})]) if request.may_call else Reply(text=TEXT)


def failing(kind: FaultKind) -> Script:
    return lambda _: Reply(text=TEXT, fault=Fault(kind=kind))


def test_invoke_costs_what_the_server_bills(wire: Wire) -> None:
    task = task_with()
    with ScriptedProvider(answer(TEXT)) as server:
        assert metered(client(wire, server), task).invoke("hi").text == TEXT
        assert task.record.cost_nusd == billed_nusd(server) > 0


async def test_ainvoke_costs_what_the_server_bills(wire: Wire) -> None:
    task = task_with()
    with ScriptedProvider(answer(TEXT)) as server:
        model = client(wire, server)
        assert (await metered(model, task).ainvoke("hi")).text == TEXT
        assert task.record.cost_nusd == billed_nusd(server) > 0


def test_a_stream_comes_in_pieces_and_costs_what_the_server_bills(wire: Wire) -> None:
    task = task_with()
    with ScriptedProvider(answer(TEXT)) as server:
        pieces = [chunk.text for chunk in metered(client(wire, server), task).stream("hi")]
        assert "".join(pieces) == TEXT
        assert len([piece for piece in pieces if piece]) > 2
        assert task.record.cost_nusd == billed_nusd(server) > 0


async def test_astream_comes_in_pieces_and_costs_what_the_server_bills(wire: Wire) -> None:
    task = task_with()
    with ScriptedProvider(answer(TEXT)) as server:
        model = client(wire, server)
        pieces = [chunk.text async for chunk in metered(model, task).astream("hi")]
        assert "".join(pieces) == TEXT
        assert task.record.cost_nusd == billed_nusd(server) > 0


def test_tools_are_offered_in_the_providers_shape(wire: Wire) -> None:
    task = task_with()
    with ScriptedProvider(call_look) as server:
        model = metered(client(wire, server), task).bind_tools([look])
        message = model.invoke("hi")
        chunk = functools.reduce(operator.add, model.stream("hi"))
        assert task.record.cost_nusd == billed_nusd(server)
    for found in (message, chunk):
        assert [(call["name"], call["args"]) for call in found.tool_calls] == [("look", {"q": "x"})]
    assert [call.tools_called for call in task.calls] == [("look",)] * 2


def test_the_output_is_clamped_to_what_the_budget_allows(wire: Wire) -> None:
    task = task_with("0.01")
    with ScriptedProvider(answer("word " * 60_000)) as server:
        metered(client(wire, server), task).invoke("hi")
        assert 5_000_000 < billed_nusd(server) <= 10_000_000


def test_a_refusal_sends_nothing(wire: Wire) -> None:
    task = task_with("0.0000001")
    with ScriptedProvider(answer(TEXT)) as server:
        model = metered(client(wire, server), task)
        for refused in (lambda: model.invoke("hi"), lambda: list(model.stream("hi"))):
            with pytest.raises(BudgetExceeded, match="raise the limit"):
                refused()
        assert not server.requests
    assert task.room().nusd == 100


def test_an_unknown_price_refuses(wire: Wire) -> None:
    with ScriptedProvider(answer(TEXT)) as server:
        model = client(wire, server)
        setattr(model, "model_name" if wire == "openai" else "model", "nobody-knows-me")
        with pytest.raises(PriceUnknown):
            metered(model, task_with()).invoke("hi")
        assert not server.requests


def test_a_stream_left_early_is_charged_at_its_worst_case(wire: Wire) -> None:
    task = task_with()
    with ScriptedProvider(answer(TEXT)) as server:
        stream = metered(client(wire, server, max_tokens=500), task).stream("hi")
        next(stream)
        stream.close()
        (call,) = task.calls
        assert (call.status, call.confirmed) == ("cancelled", False)
        assert call.cost_nusd >= billed_nusd(server)
    assert call.usage.output_tokens == 500


async def test_an_astream_left_early_is_charged_at_its_worst_case(wire: Wire) -> None:
    task = task_with()
    with ScriptedProvider(answer(TEXT)) as server:
        model = client(wire, server)
        stream = metered(model, task).astream("hi")
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]
        (call,) = task.calls
        assert (call.status, call.confirmed) == ("cancelled", False)
        assert call.cost_nusd >= billed_nusd(server)


def test_a_stream_left_after_its_usage_is_charged_as_reported(wire: Wire) -> None:
    task = task_with()
    with ScriptedProvider(answer(TEXT)) as server:
        stream = metered(client(wire, server), task).stream("hi")
        while next(stream).usage_metadata is None:
            pass
        stream.close()
        assert task.calls[0].confirmed
        assert task.record.cost_nusd == billed_nusd(server)


@pytest.mark.parametrize("kind", ["cut_stream", "reset_billed", "no_usage"])
def test_a_stream_without_its_usage_is_charged_at_its_worst_case(
    wire: Wire, kind: FaultKind
) -> None:
    task = task_with()
    with ScriptedProvider(failing(kind)) as server:
        model = metered(client(wire, server), task)
        if kind == "no_usage":
            list(model.stream("hi"))
        else:
            with pytest.raises(Exception, match=r"(?i)connection|peer|read"):
                list(model.stream("hi"))
        (call,) = task.calls
        assert not call.confirmed
        assert call.cost_nusd >= billed_nusd(server)
    assert task.ledger.account(task.path).held.nusd == 0


@pytest.mark.parametrize("kind", ["rate_limited", "server_error", "overloaded"])
def test_a_stream_that_the_provider_refuses_costs_nothing(wire: Wire, kind: FaultKind) -> None:
    task = task_with()
    with ScriptedProvider(failing(kind)) as server:
        with pytest.raises(Exception, match=r"429|5\d\d"):
            list(metered(client(wire, server), task).stream("hi"))
        assert billed_nusd(server) == 0
    assert (task.record.cost_nusd, task.record.calls) == (0, 0)


def test_many_threads_share_a_task_and_none_passes_its_limit(wire: Wire) -> None:
    task = task_with("0.01")

    def ask(number: int) -> bool:
        try:
            model.invoke(f"hi {number}")
        except BudgetExceeded:
            return False
        return True

    with ScriptedProvider(answer("word " * 300)) as server:
        model = metered(client(wire, server, max_tokens=400), task)
        with ThreadPoolExecutor(16) as pool:
            served = list(pool.map(ask, range(60)))
        assert task.record.cost_nusd == billed_nusd(server) <= 10_000_000
        assert served.count(True) == len(server.requests) == task.record.calls
    assert 0 < served.count(True) < 60


class Whole(BaseChatModel):
    """A model that cannot stream."""

    @property
    def _llm_type(self) -> str:
        return "whole"

    def _generate(self, messages: list[BaseMessage], *_: Any, **kwargs: Any) -> ChatResult:
        usage = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
        message = AIMessage("as one", usage_metadata=usage)  # type: ignore[arg-type]
        return ChatResult(generations=[ChatGeneration(message=message)])


async def test_a_model_that_cannot_stream_answers_in_one_chunk() -> None:
    task = Ledger().open_task(budget=Budget(tokens=100_000))
    model = metered(Whole(), task)
    assert [chunk.text for chunk in model.stream("hi") if chunk.text] == ["as one"]
    assert [chunk.text async for chunk in model.astream("hi") if chunk.text] == ["as one"]
    assert [call.usage.total_tokens for call in task.calls] == [5, 5]


def test_langchains_response_cache_keeps_models_apart() -> None:
    set_llm_cache(InMemoryCache())
    try:
        with ScriptedProvider(lambda request: Reply(text=request.model)) as server:
            task = task_with()
            names = ("openai:gpt-5-mini", "openai:gpt-5.1")
            models = [chat_model(n, base_url=server.openai_url, api_key="test") for n in names]
            answers = [metered(model, task).invoke("hi").text for model in models * 2]
        assert answers == ["gpt-5-mini", "gpt-5.1"] * 2
        assert len(server.requests) == task.record.calls == 2
    finally:
        set_llm_cache(None)
