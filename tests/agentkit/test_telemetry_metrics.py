"""Metrics, as an application with its own meter provider reads them."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from agentkit import Agent, Budget, metered
from agentkit.budgets import Ledger
from tests.agentkit.telemetry_cases import (  # noqa: F401  fixtures are used by their names
    TWO_CALLS,
    look,
    metric_reader,
    openai_model,
)
from tests.wire import Fault, Reply, ScriptedProvider, always_tool, answer


def points(reader: InMemoryMetricReader) -> dict[str, list[Any]]:
    data = reader.get_metrics_data()
    assert data is not None
    return {
        metric.name: list(metric.data.data_points)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def test_tokens_duration_and_cost_of_calls(reader: InMemoryMetricReader) -> None:
    with ScriptedProvider(TWO_CALLS) as server:
        Agent([openai_model(server)], [look]).run("hi")
        billed = server.bill.to_dict()["total"]
    found = points(reader)
    tokens = {p.attributes["gen_ai.token.type"]: p for p in found["gen_ai.client.token.usage"]}
    assert tokens["input"].sum == billed["usage"]["input_tokens"]
    assert tokens["output"].sum == billed["usage"]["output_tokens"]
    (duration,) = found["gen_ai.client.operation.duration"]
    assert duration.count == 2
    (cost,) = found["agentkit.cost"]
    assert round(cost.value * 1e9) == billed["cost_nusd"]
    assert cost.attributes["gen_ai.provider.name"] == "openai"


def test_buckets_are_those_of_the_conventions(reader: InMemoryMetricReader) -> None:
    with ScriptedProvider(answer("yes")) as server:
        Agent([openai_model(server)]).run("hi")
    found = points(reader)
    tokens = found["gen_ai.client.token.usage"][0].explicit_bounds
    assert (tokens[0], tokens[1], tokens[2], tokens[-1]) == (1, 4, 16, 67_108_864)
    seconds = found["gen_ai.client.operation.duration"][0].explicit_bounds
    assert (seconds[0], seconds[-1]) == (0.01, 81.92)


def test_a_worst_case_is_a_cost_but_no_token_count(reader: InMemoryMetricReader) -> None:
    with ScriptedProvider(lambda _: Reply(text="a", fault=Fault(kind="no_usage"))) as server:
        result = Agent([openai_model(server)]).run("hi")
    found = points(reader)
    assert "gen_ai.client.token.usage" not in found
    assert round(found["agentkit.cost"][0].value * 1e9) == int(result.cost_usd * 10**9) > 0


def test_budget_events_are_counted_by_kind(reader: InMemoryMetricReader) -> None:
    with ScriptedProvider(always_tool("look", {"q": "x"})) as server:
        Agent(
            [openai_model(server)], [look], budget=Budget(usd="0.01"), no_progress_after=None
        ).run("hi")
    counts = {
        (p.attributes["agentkit.budget.kind"], p.attributes["agentkit.budget.dimension"]): p.value
        for p in points(reader)["agentkit.budget.events"]
    }
    assert counts[("threshold", "nusd")] >= 1
    assert counts[("breach", "nusd")] == 1


def test_no_label_names_a_task(reader: InMemoryMetricReader) -> None:
    with ScriptedProvider(always_tool("look", {"q": "x"})) as server:
        agent = Agent([openai_model(server)], [look], budget=Budget(usd="0.01"))
        results = [agent.run("hi", scope="acme/u1", tags={"k": "v"}) for _ in range(2)]
    for name, found in points(reader).items():
        values = [str(value) for point in found for value in point.attributes.values()]
        for result in results:
            assert not [v for v in values if result.task_id in v or "acme" in v], name


def test_budget_events_of_a_metered_model_are_counted_too(reader: InMemoryMetricReader) -> None:
    with ScriptedProvider(answer("yes")) as server:
        task = Ledger().open_task(budget=Budget(calls=2))
        metered(openai_model(server), task).invoke("hi")
    (crossed,) = points(reader)["agentkit.budget.events"]
    assert crossed.attributes["agentkit.budget.kind"] == "threshold"
