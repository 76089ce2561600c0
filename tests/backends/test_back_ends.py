"""A task's figures in Phoenix and MLflow, started for real: `make test-backends`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentkit import Agent, chat_model
from agentkit.budgets import Ledger
from agentkit.budgets.journal import TaskRecord
from agentkit.telemetry import trace_to
from tests.backends.back_end import ask, free_port, running, wait_for
from tests.wire import Reply, ScriptedProvider, steps

VENV = os.environ.get("AGENTKIT_BACKENDS", "")
pytestmark = [
    pytest.mark.skipif(not VENV, reason="starts Phoenix and MLflow; run `make test-backends`"),
    pytest.mark.timeout(400),
]

RULES = "Answer from what the tools say, and say where it is from. " * 120
"""Long enough that the second call reads it from the provider's cache."""


def look(q: str) -> str:
    """Look something up."""
    return f"about {q}: 42"


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    command = [
        *(Path(VENV, "bin", "mlflow"), "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
        *("--default-artifact-root", str(folder / "artifacts")),
    ]
    url = f"http://127.0.0.1:{port}"
    with running(command, f"{url}/health", {}, folder / "log"):
        yield url


@pytest.fixture(scope="module")
def phoenix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    folder, port, grpc = tmp_path_factory.mktemp("phoenix"), free_port(), free_port()
    environment = {
        "PHOENIX_WORKING_DIR": str(folder),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(grpc),
    }
    command = [Path(VENV, "bin", "phoenix"), "serve"]
    url = f"http://127.0.0.1:{port}"
    with running(command, f"{url}/healthz", environment, folder / "log"):
        yield url, f"http://127.0.0.1:{grpc}"


def run_a_task(endpoint: str, monkeypatch: pytest.MonkeyPatch, **options: Any) -> TaskRecord:
    """Two tiers, four calls, cached input, an escalation; nothing set but the endpoint."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    script = steps(
        [
            Reply(tool_calls=[("look", {"q": "x"})]),
            Reply(tool_calls=[("look", {"wrong": "y"})]),
            Reply(tool_calls=[("look", {"q": "y"}), ("look", {"q": "z"})]),
            Reply(text="forty two"),
        ]
    )
    ledger = Ledger("memory://")
    with ScriptedProvider(script) as server, trace_to("otlp", **options) as handle:
        models = [
            chat_model(name, base_url=server.openai_url, api_key="test")
            for name in ("openai:gpt-5-mini", "openai:gpt-5.1")
        ]
        agent = Agent(models, [look], system=RULES, ledger=ledger)
        result = agent.run("what is x", tags={"user": "ann"})
        assert handle.flush()
    task = ledger.store.task(result.task_id)
    assert task is not None
    assert task.calls >= 3
    assert task.usage.cache_read_tokens > 0
    return task


def test_mlflow_shows_tokens_and_our_cost(mlflow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task = run_a_task(mlflow, monkeypatch)
    where = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}

    def find() -> Any:
        found = ask(f"{mlflow}/api/3.0/mlflow/traces/search", {"locations": [where]})
        return [t for t in found["traces"] if t["trace_id"] == f"tr-{task.trace_id}"]

    (trace,) = wait_for(find)
    told = trace["trace_metadata"]
    usage = json.loads(told["mlflow.trace.tokenUsage"])
    assert usage["input_tokens"] == task.usage.input_tokens
    assert usage["output_tokens"] == task.usage.output_tokens
    assert usage["cache_read_input_tokens"] == task.usage.cache_read_tokens
    cost = json.loads(told["mlflow.trace.cost"])["total_cost"]
    assert round(cost * 1e9) == task.cost_nusd
    assert told["mlflow.trace.user"] == "ann"
    print(f"mlflow: {usage}, {cost} USD; ledger {task.cost_nusd} nano-USD")


@pytest.mark.parametrize("profile", ["plain", "openinference"])
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_phoenix_shows_tokens(
    profile: str, protocol: str, phoenix: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    http, grpc = phoenix
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    task = run_a_task(grpc if protocol == "grpc" else http, monkeypatch, profile=profile)
    query = (
        f'{{getTraceByOtelId(traceId: "{task.trace_id}")'
        "{costSummary {total {cost tokens} prompt {tokens} completion {tokens}}"
        " rootSpan {cumulativeTokenCountPrompt cumulativeTokenCountCompletion}}}"
    )

    def find() -> Any:
        found = ask(f"{http}/graphql", {"query": query})["data"]["getTraceByOtelId"]
        return found if found and found["costSummary"]["total"]["tokens"] else None

    trace = wait_for(find)
    assert trace["rootSpan"]["cumulativeTokenCountPrompt"] == task.usage.input_tokens
    assert trace["rootSpan"]["cumulativeTokenCountCompletion"] == task.usage.output_tokens
    costs = trace["costSummary"]
    assert costs["prompt"]["tokens"] == task.usage.input_tokens
    assert costs["completion"]["tokens"] == task.usage.output_tokens
    assert costs["total"]["tokens"] == task.usage.input_tokens + task.usage.output_tokens
    theirs = costs["total"]["cost"]
    print(f"phoenix: {costs}; it prices tokens itself: {theirs} USD, ledger {task.cost_nusd / 1e9}")
