"""Where spans go: a JSON-lines file, OTLP, nowhere; and what never goes with them."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from agentkit import Agent, Budget
from agentkit.errors import ConfigError, ExtraMissing
from agentkit.telemetry import JsonLinesExporter, trace_to
from agentkit.telemetry.provider import TARGETS, tracer
from tests.agentkit.telemetry_cases import (  # noqa: F401  fixtures are used by their names
    TWO_CALLS,
    Captured,
    captured_spans,
    look,
    metric_reader,
    openai_model,
)
from tests.wire import Reply, ScriptedProvider, answer, steps

SECRET = "zebra-4711"


@pytest.fixture(autouse=True)
def no_target_is_left_open() -> Iterator[None]:
    yield
    assert not TARGETS


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_task_without_any_target_still_has_a_trace_id() -> None:
    with ScriptedProvider(answer("yes")) as server:
        result = Agent([openai_model(server)]).run("hi")
    assert len(result.trace_id) == 32
    assert int(result.trace_id, 16)


def test_one_line_a_span(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    with ScriptedProvider(TWO_CALLS) as server, trace_to(path):
        result = Agent([openai_model(server)], [look]).run("hi")
    spans = {span["span_id"]: span for span in lines(path)}
    assert len(spans) == 6
    assert {span["trace_id"] for span in spans.values()} == {result.trace_id}
    chat = next(span for span in spans.values() if span["name"] == "chat gpt-5-mini")
    parent = spans[chat["parent_span_id"]]
    assert parent["name"] == "invoke_agent agent"
    assert spans[parent["parent_span_id"]]["parent_span_id"] is None
    assert chat["kind"] == "CLIENT"
    assert parent["start_ns"] < chat["start_ns"] < chat["end_ns"] < parent["end_ns"]
    assert chat["attributes"]["gen_ai.usage.cost"] > 0
    assert chat["status"] == {"code": "UNSET", "description": None}
    assert chat["service"] == "agentkit"


def test_events_and_errors_are_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    script = steps([Reply(tool_calls=[("look", {"q": "x"})])])
    with ScriptedProvider(script) as server, trace_to(path):
        Agent([openai_model(server)], [look], budget=Budget(calls=3)).run("hi")
    agent = next(span for span in lines(path) if span["name"].startswith("invoke_agent"))
    assert "agentkit.budget.breach" in [event["name"] for event in agent["events"]]
    assert all(event["time_ns"] > agent["start_ns"] for event in agent["events"])


def test_a_second_run_appends(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    with ScriptedProvider(answer("yes")) as server:
        agent = Agent([openai_model(server)])
        for _ in range(2):
            with trace_to(path):
                agent.run("hi")
    assert len({span["trace_id"] for span in lines(path)}) == 2


def test_nothing_is_written_after_close(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    handle = trace_to(path)
    handle.close()
    handle.close()
    tracer().start_span("late").end()
    assert path.read_text() == ""
    assert handle.flush() is False


def test_many_threads_write_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    with trace_to(path), ThreadPoolExecutor(16) as pool:
        for number in range(2_000):
            pool.submit(lambda n: tracer().start_span(f"span {n}" + "x" * 500).end(), number)
    assert len({span["name"] for span in lines(path)}) == 2_000


def test_two_targets_get_the_same(tmp_path: Path) -> None:
    with trace_to(tmp_path / "a.jsonl"), trace_to(tmp_path / "b.jsonl"):
        tracer().start_span("one").end()
    assert lines(tmp_path / "a.jsonl") == lines(tmp_path / "b.jsonl") != []


def test_a_process_that_forgets_to_close_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    code = (
        "import sys; from agentkit.telemetry import trace_to\n"
        "from agentkit.telemetry.provider import tracer\n"
        "handle = trace_to(sys.argv[1]); tracer().start_span('left').end()\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code, str(path)], check=True)
    assert [span["name"] for span in lines(path)] == ["left"]


def test_an_applications_own_provider_is_never_overridden(
    captured: Captured, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="add an exporter to that provider"):
        trace_to(tmp_path / "spans.jsonl")
    assert not (tmp_path / "spans.jsonl").exists()


@pytest.mark.parametrize("target", ["", "http://localhost:4318", "grpc://collector"])
def test_what_is_no_target_is_refused(target: str) -> None:
    with pytest.raises(ConfigError, match="path of a file, or 'otlp'"):
        trace_to(target)


def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory"):
        trace_to(tmp_path / "missing" / "spans.jsonl")


def test_without_the_exporter_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ExtraMissing, match=r'pip install "agentkit\[otlp\]"'):
        trace_to("otlp")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_a_full_disk_is_told_once_and_stops_no_task(caplog: pytest.LogCaptureFixture) -> None:
    with ScriptedProvider(TWO_CALLS) as server, trace_to("/dev/full"):
        result = Agent([openai_model(server)], [look]).run("hi")
    assert result.outcome == "answered"
    warnings = [r for r in caplog.records if r.name == "agentkit.telemetry"]
    assert len(warnings) == 1


class Collector(BaseHTTPRequestHandler):
    """An OTLP collector: keeps what it is sent."""

    bodies: list[bytes]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        type(self).bodies.append(body)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    Collector.bodies = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    yield Collector.bodies
    server.shutdown()
    server.server_close()
    thread.join()


def test_otlp_sends_protobuf_that_a_collector_can_read(collected: list[bytes]) -> None:
    with ScriptedProvider(TWO_CALLS) as server, trace_to("otlp") as handle:
        result = Agent([openai_model(server)], [look]).run("hi")
        assert handle.flush()
    spans = [
        span
        for body in collected
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert len(spans) == 6
    assert {span.trace_id.hex() for span in spans} == {result.trace_id}
    chat = next(span for span in spans if span.name == "chat gpt-5-mini")
    told = {pair.key: pair.value for pair in chat.attributes}
    assert told["gen_ai.operation.name"].string_value == "chat"
    assert told["gen_ai.usage.input_tokens"].int_value > 0
    assert told["gen_ai.usage.cost"].double_value > 0
    assert chat.kind == chat.SPAN_KIND_CLIENT


def test_a_collector_that_is_away_stops_no_task(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    caplog.set_level(logging.CRITICAL, "opentelemetry")
    with ScriptedProvider(answer("yes")) as server, trace_to("otlp"):
        assert Agent([openai_model(server)]).run("hi").outcome == "answered"


def test_no_contents_go_anywhere(
    tmp_path: Path,
    collected: list[bytes],
    reader: InMemoryMetricReader,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A secret in every place where text goes is in no span, no metric and no log line."""

    def leak(q: str) -> str:
        """Say something secret."""
        if q.startswith("bad"):
            raise ValueError(f"{SECRET} broke")
        return f"the result is {SECRET}"

    script = steps(
        [
            Reply(tool_calls=[("leak", {"q": SECRET}), ("leak", {"q": f"bad {SECRET}"})]),
            Reply(tool_calls=[(f"unknown_{SECRET}", {"q": SECRET})]),
            Reply(tool_calls=[("leak", {"wrong": SECRET})]),
            Reply(tool_calls=[("leak", {})], raw_arguments=f'{{"q": "{SECRET}'),
            Reply(text=f"the answer is {SECRET}"),
        ]
    )
    caplog.set_level(logging.DEBUG, "agentkit")
    path = tmp_path / "spans.jsonl"
    with ScriptedProvider(script) as server:
        cheap, dear = openai_model(server), openai_model(server, "gpt-5.1")
        agent = Agent([cheap, dear], [leak], system=SECRET, check=lambda r: SECRET in r.answer)
        with trace_to(path), trace_to("otlp"):
            result = agent.run(f"tell me about {SECRET}")
    assert SECRET in result.answer
    assert result.escalations >= 1
    metrics = reader.get_metrics_data()
    assert metrics is not None
    assert collected
    assert SECRET not in path.read_text()
    assert not [body for body in collected if SECRET.encode() in body]
    assert SECRET not in metrics.to_json()
    own = [r for r in caplog.records if r.name.startswith("agentkit")]
    assert not [record for record in own if SECRET in record.getMessage()]


def test_the_exporter_works_in_an_applications_own_provider(
    captured: Captured, tmp_path: Path
) -> None:
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    path = tmp_path / "spans.jsonl"
    captured.provider.add_span_processor(SimpleSpanProcessor(JsonLinesExporter(path)))
    with ScriptedProvider(answer("yes")) as server:
        Agent([openai_model(server)]).run("hi")
    captured.provider.shutdown()
    assert [s["name"] for s in lines(path)] == [s.name for s in captured.spans()]
