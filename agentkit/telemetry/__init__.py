"""Traces and metrics of tasks, in OpenTelemetry's words."""

from agentkit.telemetry.jsonl import JsonLinesExporter
from agentkit.telemetry.setup import TraceHandle, trace_to

__all__ = ["JsonLinesExporter", "TraceHandle", "trace_to"]
