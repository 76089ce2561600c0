"""The exporter behind `trace_to("otlp")`: over HTTP or gRPC, as OpenTelemetry's variables say."""

from __future__ import annotations

import os

from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_OTLP_HEADERS,
    OTEL_EXPORTER_OTLP_PROTOCOL,
    OTEL_EXPORTER_OTLP_TRACES_HEADERS,
    OTEL_EXPORTER_OTLP_TRACES_PROTOCOL,
)
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.util.re import parse_env_headers

from agentkit.errors import ConfigError, ExtraMissing
from agentkit.telemetry import names

_HTTP, _GRPC = "http/protobuf", "grpc"


def otlp_exporter() -> SpanExporter:
    """An exporter to where OTEL_EXPORTER_OTLP_ENDPOINT and its kin point.

    Raises ConfigError for a protocol that is not spoken, ExtraMissing without the exporter.
    """
    protocol = _said(OTEL_EXPORTER_OTLP_TRACES_PROTOCOL, OTEL_EXPORTER_OTLP_PROTOCOL) or _HTTP
    if protocol == _HTTP:
        return _over_http()
    if protocol == _GRPC:
        return _over_grpc()
    raise ConfigError(
        f"{OTEL_EXPORTER_OTLP_PROTOCOL}={protocol!r} is not spoken here; "
        f"set it to {_HTTP!r} or {_GRPC!r}"
    )


def _over_http() -> SpanExporter:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise ExtraMissing(what="trace_to('otlp')", extra="otlp") from error
    return OTLPSpanExporter(headers=_headers())


def _over_grpc() -> SpanExporter:
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise ExtraMissing(what="trace_to('otlp') over gRPC", extra="otlp") from error
    return OTLPSpanExporter()


def _headers() -> dict[str, str]:
    """The user's headers, and MLflow's default experiment: it takes no trace without one."""
    said = _said(OTEL_EXPORTER_OTLP_TRACES_HEADERS, OTEL_EXPORTER_OTLP_HEADERS)
    return {names.MLFLOW_EXPERIMENT_HEADER: "0", **parse_env_headers(said, liberal=True)}


def _said(special: str, general: str) -> str:
    """What the environment says for traces, else for all signals; these are OpenTelemetry's own."""
    return (os.environ.get(special) or os.environ.get(general) or "").strip()
