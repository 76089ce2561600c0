"""The spans of a task, as an application with its own tracer provider sees them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from agentkit import Agent, Budget, metered
from agentkit.budgets import Ledger, read_price_file
from agentkit.budgets.price import PriceBook
from agentkit.telemetry import names
from agentkit.telemetry.calls import without_quotes
from tests.agentkit.telemetry_cases import (  # noqa: F401  fixtures are used by their names
    TWO_CALLS,
    Captured,
    captured_spans,
    fail,
    look,
    openai_model,
)
from tests.wire import Fault, Reply, ScriptedProvider, always_tool, answer, steps

GEN_AI_USAGE = "gen_ai.usage."
COSTS = (names.COST_LANGFUSE, names.COST_LOGFIRE, names.COST_MLFLOW)


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def parent_id(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def span_id(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.span_id


def test_a_task_has_one_workflow_one_agent_and_a_span_for_each_call(captured: Captured) -> None:
    with ScriptedProvider(TWO_CALLS) as server:
        Agent([openai_model(server)], [look], name="helper").run("hi")
    workflow, agent = captured.one("invoke_workflow helper"), captured.one("invoke_agent helper")
    assert workflow.kind is agent.kind is SpanKind.INTERNAL
    assert parent_id(workflow) is None
    assert parent_id(agent) == span_id(workflow)
    for name, kind in (
        ("chat gpt-5-mini", SpanKind.CLIENT),
        ("execute_tool look", SpanKind.INTERNAL),
    ):
        spans = captured.spans(name)
        assert len(spans) == 2
        assert {span.kind for span in spans} == {kind}
        assert {parent_id(span) for span in spans} == {span_id(agent)}


def test_chat_spans_carry_what_the_conventions_require(captured: Captured) -> None:
    with ScriptedProvider(TWO_CALLS) as server:
        result = Agent([openai_model(server)], [look]).run("hi")
        billed = server.bill.to_dict()["total"]
    told = [attributes(span) for span in captured.spans("chat ")]
    for one in told:
        assert one[names.OPERATION] == "chat"
        assert one[names.PROVIDER] == "openai"
        assert one[names.REQUEST_MODEL] == "gpt-5-mini"
        assert one[names.TASK_ID] == result.task_id
    assert sum(one["gen_ai.usage.input_tokens"] for one in told) == billed["usage"]["input_tokens"]
    assert (
        sum(one["gen_ai.usage.output_tokens"] for one in told) == billed["usage"]["output_tokens"]
    )


def test_both_names_of_cache_writes_are_emitted(captured: Captured) -> None:
    with ScriptedProvider(answer("yes")) as server:
        Agent([openai_model(server)]).run("hi")
    told = attributes(captured.one("chat "))
    assert told["gen_ai.usage.cache_write.input_tokens"] == 0
    assert told["gen_ai.usage.cache_creation.input_tokens"] == 0


def test_cost_stands_on_chat_spans_alone_and_adds_up(captured: Captured) -> None:
    with ScriptedProvider(TWO_CALLS) as server:
        result = Agent(
            [openai_model(server)], [look], budget=Budget(usd="0.01"), no_progress_after=None
        ).run("hi")
        billed_nusd = server.bill.to_dict()["total"]["cost_nusd"]
    costs = [attributes(span)[names.COST_LANGFUSE] for span in captured.spans("chat ")]
    assert round(sum(costs) * 1e9) == billed_nusd
    for span in captured.spans():
        if not span.name.startswith("chat "):
            assert not [key for key in attributes(span) if key.startswith(GEN_AI_USAGE)]
            assert not attributes(span).keys() & set(COSTS)
    sums = attributes(captured.one("invoke_workflow"))
    assert round(sums["agentkit.task.cost_usd"] * 1e9) == billed_nusd
    assert sums["agentkit.task.calls"] == 2
    assert sums["agentkit.task.outcome"] == "answered"
    assert sums["agentkit.task.input_tokens"] == result.usage.input_tokens


def test_all_three_cost_keys_say_the_same(captured: Captured) -> None:
    with ScriptedProvider(answer("yes")) as server:
        Agent([openai_model(server)]).run("hi")
    told = attributes(captured.one("chat "))
    assert told["gen_ai.usage.cost"] == told["operation.cost"] > 0
    assert told["mlflow.llm.cost"] == f'{{"total_cost": {told["operation.cost"]}}}'


def test_an_unknown_price_leaves_the_cost_out(captured: Captured) -> None:
    with ScriptedProvider(answer("yes")) as server:
        model = openai_model(server)
        model.model_name = "gpt-nobody-knows"
        Agent([model], budget=Budget(calls=3)).run("hi")
    told = attributes(captured.spans("chat ")[0])
    assert told[names.COST_SOURCE] == "unknown"
    assert not told.keys() & set(COSTS)


def test_the_workflow_goes_under_the_span_that_is_current(captured: Captured) -> None:
    with ScriptedProvider(answer("yes")) as server:
        agent = Agent([openai_model(server)])
        with captured.provider.get_tracer("app").start_as_current_span("request") as request:
            result = agent.run("hi")
    assert parent_id(captured.one("invoke_workflow")) == request.get_span_context().span_id
    assert result.trace_id == trace.format_trace_id(request.get_span_context().trace_id)


async def test_arun_goes_under_the_span_that_is_current(captured: Captured) -> None:
    with ScriptedProvider(TWO_CALLS) as server:
        model = openai_model(server)
        agent = Agent([model], [look])
        with captured.provider.get_tracer("app").start_as_current_span("request") as request:
            await agent.arun("hi")
        await model.root_async_client.close()
    assert parent_id(captured.one("invoke_workflow")) == request.get_span_context().span_id
    assert len(captured.spans("chat ")) == len(captured.spans("execute_tool ")) == 2


def test_stream_ends_its_spans(captured: Captured) -> None:
    with ScriptedProvider(TWO_CALLS) as server:
        list(Agent([openai_model(server)], [look]).stream("hi"))
    assert captured.one("invoke_workflow").end_time is not None
    assert len(captured.spans("chat ")) == 2


def test_spans_that_a_tool_makes_nest_in_its_own(captured: Captured) -> None:
    def nested(q: str) -> str:
        """Look something up."""
        with trace.get_tracer("app").start_as_current_span("database"):
            return q

    with ScriptedProvider(
        steps([Reply(tool_calls=[("nested", {"q": "x"})]), Reply(text="a")])
    ) as s:
        Agent([openai_model(s)], [nested]).run("hi")
    assert parent_id(captured.one("database")) == span_id(captured.one("execute_tool nested"))


def test_a_tool_that_raises_marks_its_span(captured: Captured) -> None:
    with ScriptedProvider(steps([Reply(tool_calls=[("fail", {"q": "x"})]), Reply(text="a")])) as s:
        Agent([openai_model(s)], [fail]).run("hi")
    span = captured.one("execute_tool fail")
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["error.type"] == "RuntimeError"
    assert not span.events


def test_each_attempt_is_a_span_and_a_refused_one_has_an_error(captured: Captured) -> None:
    faults = [Reply(fault=Fault(kind="rate_limited")), Reply(text="yes")]
    with ScriptedProvider(lambda request: faults[request.attempt - 1]) as server:
        result = Agent([openai_model(server)]).run("hi")
    refused, answered = captured.spans("chat ")
    assert refused.status.status_code is StatusCode.ERROR
    assert attributes(refused)["error.type"].endswith("RateLimitError (HTTP 429)")
    assert attributes(refused)["gen_ai.usage.cost"] == 0
    assert attributes(answered)[names.ATTEMPT] == 2
    assert answered.status.status_code is StatusCode.UNSET
    assert result.outcome == "answered"


def test_a_call_without_usage_is_marked_unconfirmed(captured: Captured) -> None:
    with ScriptedProvider(lambda _: Reply(text="yes", fault=Fault(kind="no_usage"))) as server:
        result = Agent([openai_model(server)]).run("hi")
    told = attributes(captured.one("chat "))
    assert told["agentkit.cost.confirmed"] is False
    assert told["gen_ai.usage.cost"] == float(result.unconfirmed_usd) > 0


def test_a_failed_task_marks_the_workflow(captured: Captured) -> None:
    with ScriptedProvider(answer("yes")) as server:
        result = Agent([openai_model(server, "no-such-model")]).run("hi")
    assert result.outcome == "failed"
    workflow = captured.one("invoke_workflow")
    assert workflow.status.status_code is StatusCode.ERROR
    assert attributes(workflow)["error.type"] == "failed"


def test_budget_events_stand_on_the_agent_span(captured: Captured) -> None:
    with ScriptedProvider(always_tool("look", {"q": "x"})) as server:
        result = Agent(
            [openai_model(server)], [look], budget=Budget(usd="0.01"), no_progress_after=None
        ).run("hi")
    assert result.outcome == "landed"
    events = [event for event in captured.one("invoke_agent").events if event.attributes]
    kinds = [event.name for event in events]
    assert "agentkit.budget.threshold" in kinds
    assert "agentkit.budget.breach" in kinds
    assert "agentkit.budget.landing" in kinds
    first = dict(events[0].attributes or {})
    assert first["agentkit.budget.fraction"] == 0.5
    assert first["agentkit.budget.limit"] == 10_000_000
    assert first["agentkit.budget.dimension"] == "nusd"


def test_an_escalation_is_told_on_the_agent_span(captured: Captured) -> None:
    def script(request: Any) -> Reply:
        return Reply(empty=True) if request.model == "gpt-5-mini" else Reply(text="forty two")

    with ScriptedProvider(script) as server:
        cheap, dear = openai_model(server), openai_model(server, "gpt-5.1")
        result = Agent([cheap, dear]).run("hi")
    assert result.escalations == 1
    (event,) = captured.one("invoke_agent").events
    assert event.name == "agentkit.escalation"
    assert dict(event.attributes or {})["agentkit.escalation.to_tier"] == 1
    refused, answered = captured.spans("chat ")
    assert attributes(refused)["agentkit.accepted"] is False
    assert attributes(answered)["agentkit.tier"] == 1


def test_tasks_in_many_threads_keep_their_spans_apart(captured: Captured) -> None:
    with ScriptedProvider(TWO_CALLS) as server:
        agent = Agent([openai_model(server)], [look])
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(lambda _: agent.run("hi"), range(16)))
    assert len({result.trace_id for result in results}) == 16
    for result in results:
        own = [
            span
            for span in captured.spans()
            if span.context and trace.format_trace_id(span.context.trace_id) == result.trace_id
        ]
        assert sorted(span.name.split()[0] for span in own) == [
            "chat",
            "chat",
            "execute_tool",
            "execute_tool",
            "invoke_agent",
            "invoke_workflow",
        ]


def test_a_metered_model_has_its_spans_under_the_current_one(captured: Captured) -> None:
    with ScriptedProvider(answer("yes")) as server:
        task = Ledger().open_task(budget=Budget(usd="1"))
        model = metered(openai_model(server), task)
        with captured.provider.get_tracer("app").start_as_current_span("node") as node:
            model.invoke("hi")
            list(model.stream("hi"))
    spans = captured.spans("chat ")
    assert [parent_id(span) for span in spans] == [node.get_span_context().span_id] * 2
    assert {attributes(span)[names.PURPOSE] for span in spans} == {"metered"}
    costs = sum(attributes(span)["gen_ai.usage.cost"] for span in spans)
    assert round(costs * 1e9) == task.record.cost_nusd


def test_price_overrides_are_named_as_the_source(captured: Captured, tmp_path: Any) -> None:
    path = tmp_path / "prices.toml"
    path.write_text('[[price]]\nmodel = "gpt-5-mini"\ninput = 1\noutput = 1\n')
    with ScriptedProvider(answer("yes")) as server:
        ledger = Ledger(prices=PriceBook(read_price_file(path)))
        Agent([openai_model(server)], ledger=ledger).run("hi")
    assert attributes(captured.one("chat "))[names.COST_SOURCE] == "override"


@pytest.mark.parametrize(
    ("reason", "kept"),
    [
        ("call to unknown tool 'my secret'", "call to unknown tool …"),
        ('call to "it\'s secret" is not valid JSON', "call to … is not valid JSON"),
        ("unsure: log-probability -2.00 is under -0.60",) * 2,
    ],
)
def test_reasons_lose_what_they_quote(reason: str, kept: str) -> None:
    assert without_quotes(reason) == kept


async def test_a_cancelled_task_ends_its_spans(
    captured: Captured, caplog: pytest.LogCaptureFixture
) -> None:
    with ScriptedProvider(lambda _: Reply(text="late", delay_seconds=30)) as server:
        model = openai_model(server)
        running = asyncio.create_task(Agent([model]).arun("hi"))
        while not server.requests:  # noqa: ASYNC110  the server is in another thread
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await model.root_async_client.close()
    chat, workflow = captured.one("chat "), captured.one("invoke_workflow")
    assert chat.status.description == workflow.status.description == "cancelled"
    assert attributes(chat)[names.COST_CONFIRMED] is False
    assert attributes(workflow)["agentkit.task.outcome"] == "cancelled"
    assert not [record for record in caplog.records if record.name.startswith("opentelemetry")]


async def test_an_astream_left_early_ends_its_spans(
    captured: Captured, caplog: pytest.LogCaptureFixture
) -> None:
    with ScriptedProvider(TWO_CALLS) as server:
        model = openai_model(server)
        stream = Agent([model], [look]).astream("hi")
        async for _ in stream:
            break
        await stream.aclose()  # type: ignore[attr-defined]
        await model.root_async_client.close()
    assert attributes(captured.one("invoke_workflow"))["agentkit.task.outcome"] == "cancelled"
    assert not [record for record in caplog.records if record.name.startswith("opentelemetry")]


def test_a_sub_agent_in_a_tool_nests_in_its_span(captured: Captured) -> None:
    script = steps([Reply(tool_calls=[("research", {"q": "x"})]), Reply(text="done")])
    with ScriptedProvider(script) as server, ScriptedProvider(answer("found")) as other:
        below = Agent([openai_model(other)], name="below")

        def research(q: str) -> str:
            """Look into something."""
            return below.run(q).answer

        Agent([openai_model(server)], [research], name="above").run("hi")
    below_span = captured.one("invoke_workflow below")
    assert parent_id(below_span) == span_id(captured.one("execute_tool research"))
    assert len({span.context.trace_id for span in captured.spans() if span.context}) == 1


def test_a_resumed_task_has_spans_of_its_own(captured: Captured, tmp_path: Any) -> None:
    def stop(q: str) -> str:
        """Be interrupted."""
        if not seen:
            seen.append(q)
            raise KeyboardInterrupt
        return q

    seen: list[str] = []
    script = steps([Reply(tool_calls=[("stop", {"q": "x"})]), Reply(text="done")])
    with ScriptedProvider(script) as server:
        agent = Agent([openai_model(server)], [stop], checkpoint=f"sqlite:///{tmp_path}/c.db")
        with pytest.raises(KeyboardInterrupt):
            agent.run("hi", thread_id="t")
        assert agent.resume("t").outcome == "answered"
    first, second = captured.spans("invoke_workflow")
    assert attributes(first)["agentkit.task.outcome"] == "cancelled"
    assert attributes(second)["agentkit.task.outcome"] == "answered"
    assert attributes(first)["agentkit.task.id"] == attributes(second)["agentkit.task.id"]
