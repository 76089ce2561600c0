"""OTLP as a collector decodes it, over HTTP and gRPC: figures once, equal to the ledger's."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)

from agentkit import Agent
from agentkit.budgets import Ledger
from agentkit.errors import ConfigError
from agentkit.telemetry import JsonLinesExporter, ProfiledExporter, trace_to
from tests.agentkit.telemetry_cases import (  # noqa: F401  fixtures are used by their names
    TWO_CALLS,
    Captured,
    captured_spans,
    look,
    openai_model,
)
from tests.wire import ScriptedProvider

Told = dict[str, Any]


class Collected:
    """What arrived: each span's name and attributes, each request's headers."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Told]] = []
        self.headers: list[dict[str, str]] = []

    def take(self, request: ExportTraceServiceRequest, headers: dict[str, str]) -> None:
        self.headers.append(headers)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    told = {
                        p.key: getattr(p.value, p.value.WhichOneof("value"))
                        for p in span.attributes
                    }
                    self.spans.append((span.name, told))

    def values(self, name: str) -> list[Any]:
        """The values of one attribute over all spans."""
        return [told[name] for _, told in self.spans if name in told]


@pytest.fixture
def over_http(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collected]:
    found = Collected()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {key.lower(): value for key, value in self.headers.items()}
            found.take(ExportTraceServiceRequest.FromString(body), headers)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def over_grpc(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collected]:
    found = Collected()

    class Servicer(TraceServiceServicer):
        def Export(  # noqa: N802  the service's own name
            self, request: ExportTraceServiceRequest, context: grpc.ServicerContext
        ) -> ExportTraceServiceResponse:
            found.take(
                request, {str(key): str(value) for key, value in context.invocation_metadata()}
            )
            return ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(2))
    add_TraceServiceServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    yield found
    server.stop(0).wait()


def run_a_task(ledger: Ledger, **options: Any) -> str:
    with ScriptedProvider(TWO_CALLS) as server, trace_to("otlp", **options) as handle:
        result = Agent([openai_model(server)], [look], ledger=ledger).run(
            "hi", tags={"user": "ann"}
        )
        assert handle.flush()
    return result.task_id


@pytest.mark.parametrize("transport", ["over_http", "over_grpc"])
def test_a_collectors_figures_equal_the_ledgers(
    transport: str, request: pytest.FixtureRequest
) -> None:
    collected: Collected = request.getfixturevalue(transport)
    ledger = Ledger("memory://")
    task = ledger.store.task(run_a_task(ledger))
    assert task is not None
    assert len(collected.spans) == 6
    assert sum(collected.values("gen_ai.usage.input_tokens")) == task.usage.input_tokens > 0
    assert sum(collected.values("gen_ai.usage.output_tokens")) == task.usage.output_tokens > 0
    usd = task.cost_nusd / 1e9
    assert sum(collected.values("gen_ai.usage.cost")) == pytest.approx(usd, rel=1e-12)
    assert sum(collected.values("operation.cost")) == pytest.approx(usd, rel=1e-12)
    mlflow = [json.loads(value)["total_cost"] for value in collected.values("mlflow.llm.cost")]
    assert sum(mlflow) == pytest.approx(usd, rel=1e-12)
    assert collected.values("user.id") == ["ann"]


def test_usage_stands_on_chat_spans_alone(over_http: Collected) -> None:
    """A back end that adds up all spans of a trace counts each token and each dollar once."""
    run_a_task(Ledger("memory://"))
    counted = ("gen_ai.usage.", "operation.cost", "mlflow.llm.cost")
    for name, told in over_http.spans:
        assert name.startswith("chat ") == any(key.startswith(counted) for key in told), name


@pytest.mark.parametrize(
    ("said", "arrives"),
    [("", "0"), ("x-mlflow-experiment-id=7,authorization=Basic%20abc", "7")],
)
def test_mlflows_experiment_is_named_unless_the_user_names_one(
    said: str, arrives: str, over_http: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", said)
    run_a_task(Ledger("memory://"))
    for headers in over_http.headers:
        assert headers["x-mlflow-experiment-id"] == arrives
        assert headers.get("authorization") == ("Basic abc" if said else None)


def test_langfuses_profile_has_usage_in_parts_that_do_not_overlap(over_http: Collected) -> None:
    ledger = Ledger("memory://")
    task = ledger.store.task(run_a_task(ledger, profile="langfuse"))
    assert task is not None
    usages = [json.loads(text) for text in over_http.values("langfuse.observation.usage_details")]
    assert len(usages) == 2
    for usage in usages:
        assert usage.pop("total") == sum(usage.values())
    whole = task.usage.input_tokens + task.usage.output_tokens
    assert sum(sum(usage.values()) for usage in usages) == whole
    costs = [json.loads(text) for text in over_http.values("langfuse.observation.cost_details")]
    assert sum(cost["total"] for cost in costs) == pytest.approx(task.cost_nusd / 1e9)
    assert over_http.values("langfuse.trace.name") == ["agent"]


def test_openinferences_profile_names_kinds_tokens_and_cost(over_http: Collected) -> None:
    ledger = Ledger("memory://")
    task = ledger.store.task(run_a_task(ledger, profile="openinference"))
    assert task is not None
    kinds = sorted(over_http.values("openinference.span.kind"))
    assert kinds == ["AGENT", "CHAIN", "LLM", "LLM", "TOOL", "TOOL"]
    assert sum(over_http.values("llm.token_count.prompt")) == task.usage.input_tokens
    assert sum(over_http.values("llm.token_count.completion")) == task.usage.output_tokens
    assert sum(over_http.values("llm.cost.total")) == pytest.approx(task.cost_nusd / 1e9)


def test_a_profile_leaves_the_spans_of_other_exporters_alone(
    captured: Captured, tmp_path: Path
) -> None:
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    path = tmp_path / "spans.jsonl"
    exporter = ProfiledExporter(JsonLinesExporter(path), "langfuse")
    captured.provider.add_span_processor(SimpleSpanProcessor(exporter))
    with ScriptedProvider(TWO_CALLS) as server:
        Agent([openai_model(server)], [look]).run("hi")
    captured.provider.shutdown()
    assert "langfuse.observation.usage_details" in path.read_text()
    kept = [key for span in captured.spans() for key in span.attributes or {}]
    assert not [key for key in kept if key.startswith("langfuse.")]


def test_an_unknown_profile_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"known: plain, langfuse, openinference"):
        trace_to(tmp_path / "spans.jsonl", profile="pheonix")


def test_an_unknown_protocol_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    with pytest.raises(ConfigError, match="'http/protobuf' or 'grpc'"):
        trace_to("otlp")


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_without_the_exporter_the_extra_is_named(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    from agentkit.errors import ExtraMissing

    package = "http" if protocol.startswith("http") else "grpc"
    monkeypatch.setitem(
        sys.modules, f"opentelemetry.exporter.otlp.proto.{package}.trace_exporter", None
    )
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    with pytest.raises(ExtraMissing, match=r'pip install "agentkit\[otlp\]"'):
        trace_to("otlp")
